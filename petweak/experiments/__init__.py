"""Experiments: each answers a single question with a table, and no other package imports them.

An experiment is one file `<name>.py` with one function `<name>(run, **options) -> DataFrame`, and
one line in EXPERIMENTS. The function's parameters after `run` have types and defaults: they are its
options. `petweak experiment <name>` runs it; what is expensive stays in the run's cache.
"""

import inspect
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pandas as pd

from petweak import __version__, modules_of
from petweak.config import parse_value
from petweak.data.files import write_frame, write_json
from petweak.study.about import git_commit
from petweak.study.run import Run

EXPERIMENTS = {  # a module is imported when its experiment is run
    "choices": "Which configuration is best on val, before test is scored?",
    "supervision": "How does a model of each source compare with full supervision?",
    "ablation": "Which architecture is the simplest that satisfies, also with noisy masks?",
    "ablation_times": "How many seconds does each architecture take, to predict and to learn?",
    "self_training_gains": "What does self-training reach without masks, beside full supervision?",
    "unlabelled_photos": "Do more photos without labels help, and each step of self-training?",
    "label_efficiency": "How many ground-truth masks do the pseudo-masks replace?",
    "unseen_breeds": "How well is a breed segmented that nothing was learnt from?",
    "unseen_breeds_tried": "Would another configuration segment an unseen breed better?",
    "selection_criteria": "Which criterion ranks refinement pipelines as ground truth does?",
    "configurations": "Which configuration of self-training would the criteria choose?",
    "probes": "How well does a linear classifier segment each frozen feature map?",
    "levels": "How much does a model gain from each further feature level?",
    "threshold_curves": "Which threshold would ground truth choose, and which the criterion?",
    "cam_heads": "Does a finetuned head make better CAMs, or another explained score?",
    "cam_faults": "Which fault makes Grad-CAM masks as bad as the paper's Table 3?",
    "memorised_masks": "Which faulty masks does a model learn by heart, as that of Table 3 did?",
    "input_faults": "What does a detector detect in photos that are fed to it wrongly?",
    "mask_costs": "How many seconds does a mask take each network, as torchvision has it?",
    "time_to_quality": "How many seconds is it to an IoU, beside networks whose encoders learn?",
    "growth": "How do time and memory grow with photos, classes, side and queries?",
    "benchmark": "How fast is all this, beside what people would use instead?",
    "alternatives": "Does what petweak does to be fast pay, beside the plain way?",
    "limits": "How near does each stage come to what the machine can do?",
    "cost": "How many seconds does self-training take, from the photos to the last model?",
}
__getattr__ = modules_of(__name__)


def experiment(name: str) -> Callable[..., pd.DataFrame]:
    """The function of an experiment. ValueError for an unknown name, which lists the others."""
    if name not in EXPERIMENTS:
        raise ValueError(f"unknown experiment {name!r}: there are {', '.join(EXPERIMENTS)}")
    return getattr(import_module(f"petweak.experiments.{name}"), name)


def run_experiment(name: str, run: Run, **options: Any) -> pd.DataFrame:
    """Run an experiment and write `<run>/experiments/<name>.csv`, and beside it `<name>.json`: the
    options, settings, data and commit that made the table. `options` are values or text. ValueError
    for an unknown name or option, and for text that is not of the option's type."""
    function, start = experiment(name), time.perf_counter()
    _, *parameters = inspect.signature(function, eval_str=True).parameters.values()
    kinds = {p.name: p.annotation for p in parameters}
    if unknown := ", ".join(sorted(set(options) - set(kinds))):
        raise ValueError(f"{name}: unknown option {unknown}: there are {', '.join(kinds)}")
    options = {k: parse_value(k, v, kinds[k]) for k, v in options.items()}
    options = {p.name: p.default for p in parameters} | options
    table = function(run, **options)
    if table.empty:
        raise ValueError(f"{name}: these options give no row, so no table is written")
    about = {"petweak": __version__, "commit": git_commit(),
             "seconds": round(time.perf_counter() - start, 3), "options": options,
             "data": run.content, "settings": run.settings.to_dict()}
    path = run.folder / "experiments" / name
    write_frame(path.with_suffix(".csv"), table)
    write_json(path.with_suffix(".json"), about)
    return table
