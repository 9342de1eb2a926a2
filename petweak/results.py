"""results.csv: every figure of a run in one long table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from petweak.cards import write_data_card
from petweak.files import read_json, write_json
from petweak.metrics import BASELINES
from petweak.pseudo_masks import SOURCES, source_named
from petweak.runs import pick, write_frame, write_run_json
from petweak.selftrain import Round
from petweak.study import Run, Scores, grid, open_scores

COLUMNS = ("profile", "dataset", "backbone", "source", "labels", "split", "border", "metric",
           "value", "low", "high", "n_images", "seed", "seconds", "round")  # fmt: skip


def run_study(run: Run) -> pd.DataFrame:
    """Make every stage of the grid `sources` x `labels` that is lacking; write results.csv."""
    students = grid(run.settings)
    if not students:
        s = run.settings
        raise ValueError(f"none of {', '.join(s.sources)} knows {', '.join(s.labels)}")
    for name in BASELINES:
        run.baseline_scores(name)
    for source in run.settings.sources:
        run.mask_scores(source)
    for source, labels in tqdm(students, desc="study", unit="student"):
        run.student_scores(source, labels)
        if source_named(source).self_trained:
            score_rounds(run, source, labels)
    return collect_results(run)


def score_rounds(run: Run, source: str, labels: str) -> list[tuple[Round, Scores]]:
    """Self-train from `source` as far as it is lacking, and score every round. Their rows go into
    results.csv at the next `collect_results`; `runs/<name>/rounds.json` says which there are."""
    scored = [(r, run.round_scores(source, labels, r)) for r in run.rounds(source, labels)]
    path = run.folder / "rounds.json"
    known = read_json(path) or {}
    known[f"{source}-{labels}"] = [
        {"rounds_key": run.rounds_key(source, labels), "round": r.number,
         "student": r.student.name, "masks": r.masks.name, "kept": r.kept,
         "agreement": r.agreement, "seconds": r.seconds}
        for r, _ in scored
    ]  # fmt: skip
    write_json(path, known)
    return scored


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
            rows += _round_rows(run, source, labels)
    s = run.settings
    frame = pd.DataFrame(rows).assign(
        profile=s.profile, dataset=run.pets.name, backbone=s.backbone, seed=s.seed
    )
    frame["round"] = frame.get("round", pd.Series(dtype=float)).astype("Int64")
    write_frame(run.folder / "results.csv", frame[list(COLUMNS)])
    write_run_json(run.folder, s, run.data_root, run.pets.name, len(run.pets))
    write_data_card(run.folder, run.pets, run.content, run.baseline_scores("all_ones").photos,
                    pick(s, ("seed", "val_fraction", "leave_out")), len(run.val_ids))  # fmt: skip
    return read_results(run.folder)


def read_results(folder: str | Path) -> pd.DataFrame:
    """results.csv as a frame. FileNotFoundError where no study has been run."""
    path = Path(folder) / "results.csv"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: `petweak study --run {folder}` writes it")
    return pd.read_csv(path)


def figure(results: pd.DataFrame, metric: str, **where: Any) -> float:
    """One value of results.csv: `figure(r, "mask_iou_gt", source="ground_truth", border="pet")`.

    `split` is test unless told otherwise, and rows of rounds count only where `round` is given.
    KeyError where not exactly one row fits.
    """
    if "round" in results and "round" not in where:
        results = results[results["round"].isna()]
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


def _round_rows(run: Run, source: str, labels: str) -> list[dict[str, Any]]:
    """The rows of every round that is up to date with the settings."""
    rows: list[dict[str, Any]] = []
    for note in (read_json(run.folder / "rounds.json") or {}).get(f"{source}-{labels}", []):
        try:
            current = run.rounds_key(source, labels)
        except (ValueError, FileNotFoundError):
            return []
        folder = run.folder / "models" / note["student"]
        if note["rounds_key"] != current or not (folder / "config.json").is_file():
            return []
        found = open_scores(folder, run.round_scores_key(folder))
        if found is None:
            return []
        part = _labelled(found.rows, source=source, labels=labels, seconds=note["seconds"])
        rows += [row | {"round": note["round"]} for row in part]
    return rows


def _labelled(rows: list[dict], source: str, labels: str, seconds: float) -> list[dict[str, Any]]:
    note = {"source": source, "labels": labels, "seconds": round(float(seconds), 3)}
    return [row | note for row in rows]
