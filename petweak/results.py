"""results.csv: every figure of a run in one long table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from petweak.evaluate import BASELINES
from petweak.files import read_json
from petweak.pseudo_masks import SOURCES
from petweak.runs import write_frame, write_run_json
from petweak.study import Run, open_scores

COLUMNS = ("profile", "dataset", "backbone", "source", "labels", "split", "border", "metric",
           "value", "low", "high", "n_images", "seed", "seconds")  # fmt: skip


def run_study(run: Run) -> pd.DataFrame:
    """Make every stage of the grid `sources` x `labels` that is lacking; write results.csv."""
    grid = [(s, labels) for s in run.settings.sources for labels in run.settings.labels]
    for name in BASELINES:
        run.baseline_scores(name)
    for source in run.settings.sources:
        run.mask_scores(source)
    for source, labels in tqdm(grid, desc="study", unit="student"):
        run.student_scores(source, labels)
    return collect_results(run)


def collect_results(run: Run) -> pd.DataFrame:
    """Write results.csv from every score in the folder that is up to date with the settings.

    Scores that were made with other settings stay where they are and stay out. The table is sorted
    by the grid, so it does not depend on the order in which the stages were run.
    """
    rows: list[dict[str, Any]] = []
    for name in BASELINES:
        rows += _labelled(run.baseline_scores(name).rows, source=name, labels="-", seconds=0.0)
    for source in SOURCES:
        for labels in ("breed", "species"):
            rows += _student_rows(run, source, labels)
    s = run.settings
    frame = pd.DataFrame(rows).assign(
        profile=s.profile, dataset=run.pets.name, backbone=s.backbone, seed=s.seed
    )
    write_frame(run.folder / "results.csv", frame[list(COLUMNS)])
    write_run_json(run.folder, s, run.data_root, run.pets.name, len(run.pets))
    return read_results(run.folder)


def read_results(folder: str | Path) -> pd.DataFrame:
    """results.csv as a frame. FileNotFoundError where no study has been run."""
    path = Path(folder) / "results.csv"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: `petweak study --run {folder}` writes it")
    return pd.read_csv(path)


def figure(results: pd.DataFrame, metric: str, **where: Any) -> float:
    """One value of results.csv: `figure(r, "mask_iou_gt", source="ground_truth", border="pet")`.

    `split` is test unless told otherwise. KeyError where not exactly one row fits.
    """
    where = {"split": "test", "metric": metric} | where
    found = results
    for column, value in where.items():
        found = found[found[column] == value]
    if len(found) != 1:
        raise KeyError(f"{len(found)} rows of results.csv fit {where}, one is wanted")
    return float(found["value"].iloc[0])


def _student_rows(run: Run, source: str, labels: str) -> list[dict[str, Any]]:
    """The rows of one student and of its masks, if both are there and up to date."""
    folder, masks = run.student_folder(source, labels), run.masks_folder(source)
    if not (folder / "scores.json").is_file() or not (masks / "scores.json").is_file():
        return []
    try:
        student = open_scores(folder, run.student_scores_key(source, labels))
        pseudo = open_scores(masks, run.mask_scores_key(source))
    except (ValueError, FileNotFoundError):  # a folder of PNGs that is no longer named or there
        return []
    if student is None or pseudo is None:
        return []
    made = read_json(masks / "manifest.json")["seconds"]
    trained = pd.read_csv(folder / "history.csv")["seconds"].sum()
    return _labelled(student.rows, source=source, labels=labels, seconds=trained) + _labelled(
        pseudo.rows, source=source, labels=labels, seconds=made
    )


def _labelled(rows: list[dict], source: str, labels: str, seconds: float) -> list[dict[str, Any]]:
    note = {"source": source, "labels": labels, "seconds": round(float(seconds), 3)}
    return [row | note for row in rows]
