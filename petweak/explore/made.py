"""What a run has for an explorer to show."""

from __future__ import annotations

from pathlib import Path

from petweak.pseudo_masks import SOURCES
from petweak.study import Run


def sources_of(run: Run) -> list[str]:
    """Sources whose masks the run has, but for ground truth, which has no threshold and no new
    photo."""
    made = [n for n in SOURCES if (run.masks_folder(n) / "manifest.json").is_file()]
    return [n for n in made if not SOURCES[n].reads_trimaps]


def students_of(run: Run) -> dict[str, Path]:
    """{name: folder} of every finished student in the run's models/, rounds included."""
    folders = sorted((run.folder / "models").glob("*/config.json"))
    return {f.parent.name: f.parent for f in folders}
