"""Explorers of a run, each one line in a notebook: `cam_explorer(run)`. They show what the run has:
none makes a stage of it, and all open while a study runs."""

from petweak.explorers.cam import cam_explorer
from petweak.explorers.maskformer import maskformer_explorer
from petweak.explorers.matcher import matcher_explorer
from petweak.explorers.photo import photo_explorer
from petweak.explorers.results import results_explorer

__all__ = ["cam_explorer", "maskformer_explorer", "matcher_explorer", "photo_explorer",
           "results_explorer"]
