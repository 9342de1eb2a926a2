"""The grid of sources and labels: a stage is made when it is asked for and lacking.

    run = Run("runs/photos", "data", settings("photos"))
    run.masks("gradcam_pretrained")              # makes the features, too, if they are lacking
    run.student("gradcam_pretrained", "breed")   # trains
    petweak.results.run_study(run)               # everything, and results.csv

Here are the scores; `petweak.students` trains, `petweak.stages` does what comes before.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
from filelock import FileLock

from petweak import evaluate, selftrain
from petweak.cards import write_model_card
from petweak.config import DATA_ROOTS, Settings, settings
from petweak.data.rendered import make_rendered
from petweak.files import project_path, read_json, write_json
from petweak.maskformer.predict import load_student, predict_cached
from petweak.pseudo_masks import source_named
from petweak.runs import pick, restore_timing, stage_key, write_frame, write_timing
from petweak.students import Students

SCORES = ("bootstrap", "predict_mirror")  # the settings that scores depend on


@dataclass(frozen=True)
class Scores:
    """`photos`: a row per photo; `rows`: the figures drawn from them, as results.csv has them."""

    photos: pd.DataFrame
    rows: list[dict]
    seconds: float  # that scoring took


def open_scores(folder: Path, key: str) -> Scores | None:
    """The scores in `folder` if they were made with `key`, else None."""
    note, table = read_json(folder / "scores.json"), folder / "scores.csv"
    if note is None or note["key"] != key or not table.is_file():
        return None
    return Scores(pd.read_csv(table), note["rows"], note["seconds"])


def grid(settings: Settings) -> list[tuple[str, str]]:
    """The students of a study: every source with every kind of labels that it knows."""
    return [
        (source, labels)
        for source in settings.sources
        for labels in settings.labels
        if labels in source_named(source).labels
    ]


class Run(Students):
    """One run: a folder, a data set, settings. Nothing is computed until a method asks for it."""

    def mask_scores(self, source: str) -> Scores:
        """The source's masks against ground truth (`masks/<source>/scores.csv`)."""
        self.masks(source)
        folder = self.masks_folder(source)

        def make() -> tuple[pd.DataFrame, list[dict]]:
            table = evaluate.score_masks(self.pets.samples, folder)
            return table, evaluate.mask_rows(table, self.settings.bootstrap)

        return self._scores(folder, self.mask_scores_key(source), make, source)

    def baseline_scores(self, name: str) -> Scores:
        """`all_ones` or `centre_box` against ground truth (`baselines/<name>/scores.csv`)."""

        def make() -> tuple[pd.DataFrame, list[dict]]:
            table = evaluate.score_baseline(self.pets.samples, name)
            resamples = self.settings.bootstrap
            pseudo = evaluate.mask_rows(table, resamples)
            return table, evaluate.truth_rows(table, resamples) + pseudo

        folder = self.folder / "baselines" / name
        return self._scores(folder, self._scores_key(baseline=name), make, name)

    def student_scores(self, source: str, labels: str) -> Scores:
        """The student's answers against ground truth and against its source's masks
        (`models/<source>-<labels>/scores.csv`)."""
        folder = self.student(source, labels)
        key = self.student_scores_key(source, labels)
        make = partial(self._score, folder, source, labels)
        scores = self._scores(folder, key, make, source, labels)
        self._card(folder, source, scores)
        return scores

    def _card(self, folder: Path, source: str, scores: Scores) -> None:
        """The model card beside a student, renewed where it no longer says what its scores say;
        none in a variant without test photos, which has nothing to say."""
        if not self.pets.split("test"):
            return
        floor, own = self.baseline_scores("all_ones"), self.mask_scores(source)
        write_model_card(folder, self.pets, self.masks(source), scores.rows, scores.photos,
                         floor.rows, own.rows)  # fmt: skip

    def _score(self, folder: Path, source: str, labels: str) -> tuple[pd.DataFrame, list[dict]]:
        """The student in `folder` on every photo."""
        student = load_student(folder, self.device)
        student.mirror = self.settings.predict_mirror  # of no matter to training
        ids = [s.id for s in self.pets.samples]
        answers = (a for _, a in predict_cached(student, self.features, ids))
        pairs = zip(self.pets.samples, answers, strict=True)
        table = evaluate.score_student(pairs, self.masks_folder(source), labels)
        return self._rows_of(table, labels)

    def _rows_of(self, table: pd.DataFrame, labels: str) -> tuple[pd.DataFrame, list[dict]]:
        classes = len(self.pets.classes(labels))
        return table, evaluate.student_rows(table, classes, self.settings.bootstrap)

    def self_trained_scores(self, source: str, labels: str) -> Scores:
        """What self-training from this source came to, on every photo."""
        folder = self.self_trained(source, labels)
        key = self._scores_key(student=self.rounds_key(source, labels))

        def make() -> tuple[pd.DataFrame, list[dict]]:  # it is the last round's student
            last = self.rounds(source, labels)[-1]
            return self._rows_of(self.round_scores(source, labels, last).photos, labels)

        name = folder.name.removeprefix(f"{source}-")
        scores = self._scores(folder, key, make, source, name)
        self._card(folder, source, scores)
        return scores

    def round_scores(self, source: str, labels: str, r: selftrain.Round) -> Scores:
        """A round's student, and the masks it began with on train."""

        def make() -> tuple[pd.DataFrame, list[dict]]:
            table, rows = self._score(r.student, source, labels)
            of_masks = evaluate.score_masks(self.pets.split("train"), r.masks)
            return table, rows + evaluate.mask_rows(of_masks, self.settings.bootstrap)

        name = f"{labels}-round{r.number}"
        return self._scores(r.student, self.round_scores_key(r.student), make, source, name)

    def round_scores_key(self, student: Path) -> str:
        return self._scores_key(round=read_json(student / "config.json")["key"])

    def mask_scores_key(self, source: str) -> str:
        return self._scores_key(masks=self.masks_key(source))

    def student_scores_key(self, source: str, labels: str) -> str:
        return self._scores_key(student=self.student_key(source, labels))

    def _scores_key(self, **of: str) -> str:
        return stage_key(stage="scores", version=1, trimaps=self.content["trimaps"],
                         labels=self.content["labels"], **of,
                         **pick(self.settings, SCORES))  # fmt: skip

    def _scores(self, folder, key, make, source, labels="-") -> Scores:
        with self._lock:
            found = open_scores(folder, key)
            if found is None:
                start = time.perf_counter()
                (folder / "scores.json").unlink(missing_ok=True)
                table, rows = make()
                write_frame(folder / "scores.csv", table)
                seconds = time.perf_counter() - start
                note = {"key": key, "rows": rows, "seconds": seconds}
                write_json(folder / "scores.json", note)
                write_timing(self.folder, "evaluate", len(table), seconds, source, labels)
                # Read back, so that the first call and every later one give the same numbers.
                found = open_scores(folder, key)
            photos = len(found.photos)
            restore_timing(self.folder, "evaluate", photos, found.seconds, source, labels)
        return found


def reopen(run: str | Path) -> Run:
    """A run as it was made, with the settings and the data root in its run.json, so that looking at
    it makes nothing anew. FileNotFoundError where there is none."""
    folder = project_path(run)
    about = read_json(folder / "run.json")
    if about is None:
        raise FileNotFoundError(
            f"{folder / 'run.json'} is missing: `make demo` makes runs/embedded, "
            "`petweak study --run R` any other"
        )
    return Run(folder, about["data_root"], settings(**about["settings"]))


def open_run(
    profile: str = "embedded", run: str | Path = "", data_root: str | Path = "", **overrides
) -> Run:
    """A run by its name: what the notebooks and the commands begin with.

    run: its folder, `runs/<profile>` unless given; data_root: the folder that holds
    oxford-iiit-pet/, the profile's own unless given, and the rendered set is drawn there if it is
    lacking. Relative paths count from the project. `overrides` are settings; bad ones raise
    ValueError.
    """
    chosen = settings(profile, **overrides)
    root = project_path(data_root or DATA_ROOTS[profile])
    opened = Run(project_path(run or f"runs/{profile}"), root, chosen)
    if profile == "embedded" and not data_root:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / ".lock"):
            note = read_json(root / "oxford-iiit-pet" / "annotations" / "rendered.json")
            if note is None or not note["complete"]:  # a set of the user's own stays as it is
                make_rendered(root)
    return opened
