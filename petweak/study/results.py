"""results.csv: every score of a run in one long table."""

from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from petweak.config import Settings
from petweak.data.files import read_json, write_frame
from petweak.evaluation.metrics import BASELINES
from petweak.models.maskformer import model_name
from petweak.pseudo_masks import SOURCES, source_class
from petweak.study.run import Run, Scores, open_scores
from petweak.training.self_training import Round
from petweak.training.trainer import CONFIG

COLUMNS = ["profile", "dataset", "backbone", "source", "labels", "split", "border", "metric",
           "value", "low", "high", "n_images", "seed", "seconds", "round", "model"]


def grid(settings: Settings) -> list[tuple[str, str]]:
    """The models of a study: every source with every kind of labels that it has."""
    return [
        (source, labels)
        for source in settings.sources
        for labels in settings.labels
        if labels in source_class(source).labels
    ]


def run_study(run: Run) -> pd.DataFrame:
    """Make every stage of the grid `sources` x `labels` that is missing; write results.csv."""
    models = grid(run.settings)
    if not models:
        s = run.settings
        raise ValueError(f"none of {', '.join(s.sources)} has the labels {', '.join(s.labels)}")
    run.features  # noqa: B018 - they, and their time, come back where nothing else asks for them
    for name in BASELINES:
        run.baseline_scores(name)
    for source in run.settings.sources:
        run.mask_scores(source)
    for source, labels in tqdm(models, desc="study", unit="model"):
        run.model_scores(source, labels)
        if source_class(source).self_trained:
            score_rounds(run, source, labels)
    return collect_results(run)


def score_rounds(run: Run, source: str, labels: str) -> list[tuple[Round, Scores]]:
    """Self-train from `source` as far as it is missing, and score every round."""
    return [(r, run.round_scores(source, labels, r)) for r in run.rounds(source, labels)]


def collect_results(run: Run) -> pd.DataFrame:
    """Write results.csv and run.json from every score in the folder that is up to date with the
    settings.

    Scores that were made with other settings stay where they are and are left out. The table is
    sorted by the grid, so it does not depend on the order in which the stages were made.
    """
    rows: list[dict[str, Any]] = []
    for name in BASELINES:
        about = {"source": name, "labels": "-", "seconds": 0.0}
        rows += [row | about for row in run.baseline_scores(name).rows]
    for source in SOURCES:
        for labels in ("breed", "species"):
            rows += _model_rows(run, source, labels) + _round_rows(run, source, labels)
    s = run.settings
    frame = pd.DataFrame(rows).assign(
        profile=s.profile, dataset=run.pets.name, backbone=s.backbone.backbone, seed=s.data.seed
    )
    frame["round"] = frame.get("round", pd.Series(dtype=float)).astype("Int64")
    write_frame(run.folder / "results.csv", frame.reindex(columns=COLUMNS))
    run.write_about(run.pets)
    return read_results(run.folder)


def read_results(folder: str | Path) -> pd.DataFrame:
    """results.csv as a frame. FileNotFoundError where no study has been run."""
    path = Path(folder) / "results.csv"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: `petweak study --run {folder}` writes it")
    return pd.read_csv(path)


def score(results: pd.DataFrame, metric: str, **where: Any) -> float:
    """One value of results.csv: `score(r, "mask_iou_gt", source="ground_truth", border="ignore")`.

    `split` is test unless it is given, and rows of rounds count only where `round` is given.
    ValueError where not exactly one row fits.
    """
    if "round" in results and "round" not in where:
        results = results[results["round"].isna()]
    where = {"split": "test", "metric": metric} | where
    rows = results
    for column, value in where.items():
        rows = rows[rows[column] == value]
    if len(rows) != 1:
        raise ValueError(f"{len(rows)} rows of results.csv fit {where}, it has to be one")
    return float(rows["value"].iloc[0])


def mask_rows(run: Run, source: str, labels: str = "-") -> list[dict[str, Any]]:
    """The rows of a source's masks, if they are there and up to date."""
    folder = run.masks_folder(source)
    manifest = read_json(folder / "manifest.json")
    if manifest is None:
        return []
    scores = open_scores(folder, run.keys.scores(run.keys.masks(source)))
    return [] if scores is None else _about(scores, source, labels, manifest["seconds"])


def _model_rows(run: Run, source: str, labels: str) -> list[dict[str, Any]]:
    """The rows of one model and of its masks, if both are there and up to date."""
    folder = run.model_folder(source, labels)
    config = read_json(folder / CONFIG)
    try:
        masks = mask_rows(run, source, labels)
        if config is None or not masks:
            return []
        scores = open_scores(folder, run.keys.scores(run.keys.model(source, labels)))
    except (ValueError, FileNotFoundError):  # a folder of external masks that is no longer there
        return []
    if scores is None:
        return []
    rows = _about(scores, source, labels, config["seconds"])
    return [r | {"model": model_name(config["model"]["levels"])} for r in rows] + masks


def _round_rows(run: Run, source: str, labels: str) -> list[dict[str, Any]]:
    """The rows of every round that is up to date with the settings."""
    try:
        rounds = run.open_rounds(source, labels) or []
    except (ValueError, FileNotFoundError):
        return []
    rows: list[dict[str, Any]] = []
    for r in rounds:
        config = read_json(r.model / CONFIG)
        if scores := open_scores(r.model, run.keys.scores(config["key"])):
            about = {"round": r.number, "model": model_name(config["model"]["levels"])}
            rows += [row | about for row in _about(scores, source, labels, r.seconds)]
    return rows


def _about(scores: Scores, source: str, labels: str, seconds: float) -> list[dict[str, Any]]:
    about = {"source": source, "labels": labels, "seconds": round(float(seconds), 3)}
    return [row | about for row in scores.rows]
