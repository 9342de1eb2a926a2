"""results.csv: every score of a run in one long table."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from petweak.config import Settings
from petweak.data.files import is_as_written, read_json, text_hash, write_text
from petweak.data.oxford_pets import LABELS
from petweak.evaluation.metrics import BASELINES
from petweak.models.maskformer import model_name
from petweak.pseudo_masks import source_class, source_names
from petweak.study.cache import Busy, unless_busy
from petweak.study.run import Run, Scores, open_scores
from petweak.study.tables import final, model_folder, models, read_table
from petweak.study.tasks import Unmade, ahead
from petweak.training.self_training import Round
from petweak.training.trainer import CONFIG

log = logging.getLogger(__name__)
RESULTS = "results.csv"
COLUMNS = ["profile", "dataset", "backbone", "source", "labels", "split", "border", "metric",
           "value", "low", "high", "n_images", "seed", "seconds", "round", "model"]


def grid(settings: Settings) -> list[tuple[str, str]]:
    """The models of a study: every source with every kind of labels that it has."""
    return [(source, labels) for source in settings.sources for labels in settings.labels
            if labels in source_class(source).labels]


def run_study(run: Run) -> pd.DataFrame:
    """Make every stage of the grid `sources` x `labels` that is missing; write results.csv. Ground
    truth is left out, with a warning, where no photo of train has a trimap. Where tasks of a
    cluster fail, results.csv has what the others came to, and `tasks.Unmade` is raised."""
    chosen, s = grid(run.settings), run.settings
    if not chosen:
        raise ValueError(f"none of {', '.join(s.sources)} has the labels {', '.join(s.labels)}")
    sources = [source for source in s.sources if _can_teach(run, source)]
    if not sources:
        run.taught(s.sources[0])  # raises
    for source in sources:
        run.check_masks(source)
    stages = _stages(run, sources, [c for c in chosen if c[0] in sources])
    try:
        ahead(stages)
        _make(list(stages))
    except Unmade:
        collect_results(run)
        raise
    return collect_results(run)


def _make(stages: list[Callable]) -> None:
    """Those that another process makes come last, so that two on one run share the work."""
    with tqdm(total=len(stages), desc="study", unit="stage") as bar:
        while stages:
            busy = []
            for make in stages:
                try:
                    with unless_busy():
                        make()
                    bar.update()
                except Busy:
                    busy.append(make)
            if len(busy) == len(stages):  # there is nothing else to do meanwhile
                busy.pop(0)()
                bar.update()
            stages = busy


def _stages(run: Run, sources: list[str], chosen: list[tuple[str, str]]
            ) -> dict[Callable, list[Callable]]:
    """All that makes the masks of `sources` and the models `chosen`, each with what it needs."""
    features = partial(run.more_features)  # they come back even where nothing else asks for them
    masks = {source: partial(run.mask_scores, source) for source in sources}
    stages = {partial(run.baseline_scores, name): [] for name in BASELINES}
    stages = {features: [], **stages, **{make: [features] for make in masks.values()}}
    for source, labels in chosen:
        model = partial(run.model_scores, source, labels)
        stages[model] = [masks[source]]
        if source_class(source).self_trained:
            stages[partial(score_rounds, run, source, labels)] = [model]
    return stages


def _can_teach(run: Run, source: str) -> bool:
    try:
        return bool(run.taught(source))
    except ValueError as error:
        log.warning("left out: %s", error)
        return False


def score_rounds(run: Run, source: str, labels: str) -> list[tuple[Round, Scores]]:
    """Self-train from `source` as far as it is missing, and score every round."""
    return [(r, run.round_scores(source, labels, r)) for r in run.rounds(source, labels)]


def collect_results(run: Run) -> pd.DataFrame:
    """Write results.csv and run.json from every score in the folder that is up to date with the
    settings; others stay where they are and are left out. Rows are in the order of `source_names`,
    in whatever order the stages were made."""
    rows = [row | {"source": name, "labels": "-", "seconds": 0.0}
            for name in BASELINES for row in run.baseline_scores(name).rows]
    for source, labels in [(s, labels) for s in source_names(run.settings) for labels in LABELS]:
        try:
            source_class(source).check(run.settings)
        except ValueError:  # external masks that are not there
            continue
        rows += _model_rows(run, source, labels) + _round_rows(run, source, labels)
    s = run.settings
    frame = pd.DataFrame(rows).reindex(columns=COLUMNS).astype({"round": "Int64"}).assign(
        profile=s.profile, dataset=run.pets.name, backbone=s.backbone.backbone, seed=s.data.seed)
    text = frame.to_csv(index=False, lineterminator="\n", encoding="utf-8")
    _as_written(run.folder)  # says it where it is not
    run.write_about(run.pets, text_hash(text))
    write_text(run.folder / RESULTS, text)
    return read_results(run.folder)


def read_results(folder: str | Path) -> pd.DataFrame:
    """results.csv as a frame, with a column more: `learnt_from`, the number of photos that a model
    learnt from, as its config has it. FileNotFoundError where no study has been run, ValueError
    where the file is damaged or was changed."""
    file, command = Path(folder) / RESULTS, f"`petweak study --run {folder}` writes it"
    table = read_table(file, command, ("source", "labels", "split", "metric", "value", "round"))
    if not _as_written(Path(folder)):
        raise ValueError(f"{file} has changed since the study wrote it: {command} again")
    configs = {m: read_json(model_folder(folder, *m) / CONFIG) for m in models(table)}
    n = {m: config.get("n_images") for m, config in configs.items() if config}
    counts = [n.get(m) for m in zip(table["source"], table["labels"], strict=True)]
    counts = pd.Series(counts, table.index, "Int64").where(table["round"].isna())
    return table.assign(learnt_from=counts)


def _as_written(folder: Path) -> bool:
    about = read_json(folder / "run.json") or {}
    return is_as_written(folder / RESULTS, about.get("table", ""))


def score(results: pd.DataFrame, metric: str, **where: Any) -> float:
    """One value of results.csv: `score(r, "mask_iou_gt", source="ground_truth", border="ignore")`.

    `split` is test unless it is given, and rows of rounds count only where `round` is given.
    ValueError where not exactly one row fits."""
    rows = results if "round" in where else final(results)
    where = {"split": "test", "metric": metric} | where
    for column, value in where.items():
        rows = rows[rows[column] == value]
    if len(rows) != 1:
        raise ValueError(f"{len(rows)} rows of results.csv fit {where}, it has to be one")
    return float(rows["value"].iloc[0])


def mask_rows(run: Run, source: str, labels: str = "-") -> list[dict[str, Any]] | None:
    """The rows of a source's masks, if they are there and up to date."""
    folder = run.masks_folder(source)
    if (manifest := read_json(folder / "manifest.json")) is None:
        return None
    return _rows(run, folder, run.keys.masks(source), source, labels, manifest["seconds"])


def _model_rows(run: Run, source: str, labels: str) -> list[dict[str, Any]]:
    """The rows of one model and of its masks, if both are there and up to date."""
    folder, masks = run.model_folder(source, labels), mask_rows(run, source, labels)
    config = read_json(folder / CONFIG)
    if config is None or masks is None:
        return []
    of = run.keys.model(source, labels)
    if config.get("key") != of:  # of other settings or of an older version, whose config may differ
        return []
    name = model_name(config["model"]["levels"])
    rows = _rows(run, folder, of, source, labels, config["seconds"], model=name)
    return [] if rows is None else rows + masks


def _round_rows(run: Run, source: str, labels: str) -> list[dict[str, Any]]:
    """The rows of every round that is up to date with the settings."""
    rows = []
    for r in run.open_rounds(source, labels) or []:
        config = read_json(r.model / CONFIG)
        about = {"round": r.number, "model": model_name(config["model"]["levels"])}
        rows += _rows(run, r.model, config["key"], source, labels, r.seconds, **about) or []
    return rows


def _rows(run, folder: Path, of: str, source: str, labels: str, seconds: float, **about
          ) -> list[dict[str, Any]] | None:
    """The rows of the scores in `folder`, if they are of the stage with the key `of`."""
    scores = open_scores(folder, run.keys.scores(of))
    about |= {"source": source, "labels": labels, "seconds": round(float(seconds), 3)}
    return [row | about for row in scores.rows] if scores else None
