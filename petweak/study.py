"""The grid of sources and labels: a stage is made when it is asked for and lacking.

    run = Run("runs/photos", "data", settings("photos"))
    run.masks("gradcam_pretrained")              # makes the features, too, if they are lacking
    run.student("gradcam_pretrained", "breed")   # trains
    petweak.results.run_study(run)               # everything, and results.csv

A stage is up to date when the key it was made with is the key it would be made with now. Keys hold
the content of files, the settings that matter to the stage, and the keys of the stages before.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
from filelock import FileLock

from petweak import evaluate
from petweak.backbones import BACKBONES, Backbone, load_backbone
from petweak.config import DATA_ROOTS, Settings, settings
from petweak.data import pets as data
from petweak.data.rendered import make_rendered
from petweak.features import Features, extract_features, open_features
from petweak.files import project_path, read_json, write_csv, write_json
from petweak.maskformer.predict import load_student, predict_cached
from petweak.maskformer.targets import load_targets
from petweak.maskformer.train import is_trained, train_student
from petweak.pseudo_masks import source_named
from petweak.pseudo_masks.base import Context, Source
from petweak.pseudo_masks.store import make_masks, manifest
from petweak.runs import (
    pick,
    pick_device,
    restore_timing,
    stage_key,
    write_frame,
    write_run_json,
    write_timing,
)

log = logging.getLogger(__name__)

# Which settings a stage's outcome depends on, beside the stages before it. A source names its own.
MATTERS = {
    "features": ("backbone", "image_size", "scales", "store", "engine", "pass_batch"),
    "student": ("seed", "val_fraction", "taps", "decoder_channels", "queries", "epochs",
                "batch_size", "lr", "weight_decay", "schedule", "clip", "class_weight",
                "mask_weight", "dice_weight", "no_object_weight"),
    "scores": ("bootstrap", "predict_mirror"),
}  # fmt: skip


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


class Run:
    """One run: a folder, a data set, settings. Nothing is computed until a method asks for it."""

    def __init__(self, folder: str | Path, data_root: str | Path, settings: Settings) -> None:
        # Unknown names are refused before anything runs.
        for source in settings.sources:
            source_named(source).check(settings)
        if settings.backbone not in BACKBONES:
            known = ", ".join(BACKBONES)
            raise ValueError(f"unknown backbone {settings.backbone!r}: known are {known}")
        self.folder, self.data_root, self.settings = Path(folder), Path(data_root), settings
        self.device = pick_device(settings.device)
        self._lock = FileLock(self.folder / ".lock")

    # --- data

    @cached_property
    def pets(self) -> data.Pets:
        """The usable photos. Files are opened once per content; bad ones go to quarantine.csv."""
        pets = data.read_pets(self.data_root)
        content = data.fingerprint(pets)
        known = read_json(self.folder / "data.json")
        if known is not None and known["content"] == content:
            bad = tuple(data.Quarantined(**q) for q in known["quarantine"])
            pets = pets.with_quarantine(bad)
        else:
            pets = data.check(pets)
        bad = [vars(q) for q in pets.quarantine]
        write_json(self.folder / "data.json", {"content": content, "quarantine": bad})
        write_csv(self.folder / "quarantine.csv", ("id", "file", "reason"), bad)
        if not (self.folder / "run.json").is_file():  # results.csv renews it
            write_run_json(self.folder, self.settings, self.data_root, pets.name, len(pets))
        for q in pets.quarantine:
            log.warning("left out: %s: %s", q.file, q.reason)
        return pets

    @cached_property
    def content(self) -> dict[str, str]:
        """Hashes of the usable photos, labels and trimaps."""
        return data.fingerprint(self.pets)

    @cached_property
    def val_ids(self) -> frozenset[str]:
        return data.val_ids(self.pets, self.settings.val_fraction, self.settings.seed)

    # --- features

    @cached_property
    def backbone(self) -> Backbone:
        return load_backbone(self.settings.backbone).to(self.device)

    @cached_property
    def features_key(self) -> str:
        ids = [s.id for s in self.pets.samples]
        return stage_key(stage="features", version=1, ids=ids, photos=self.content["photos"],
                         **pick(self.settings, MATTERS["features"]))  # fmt: skip

    @cached_property
    def features(self) -> Features:
        """The frozen backbone's maps of every photo."""
        folder, key = self.folder / "features", self.features_key
        with self._lock:
            found = open_features(folder, key)
            if found is None:
                found = extract_features(
                    self.pets.samples, self.backbone, self.settings, folder, key, self.device
                )
                write_timing(self.folder, "features", found.passes, found.seconds)
            restore_timing(self.folder, "features", found.passes, found.seconds)
        return found

    # --- pseudo-masks

    @cached_property
    def context(self) -> Context:
        """What sources may know: no trimap is in it."""
        samples = self.pets.samples
        return Context(
            settings=self.settings,
            open_features=lambda: self.features,
            open_backbone=lambda: self.backbone,
            photo_paths={s.id: s.photo for s in samples},
            train_labels={
                s.id: {"breed": s.breed, "species": s.species} for s in self.pets.split("train")
            },
            num_classes={labels: len(self.pets.classes(labels)) for labels in data.LABELS},
            val_ids=self.val_ids,
            device=self.device,
        )

    def source(self, name: str) -> Source:
        """The source `name`, not yet fitted. Only one that reads trimaps is told where they lie."""
        source = source_named(name)(self.context)
        if source.reads_trimaps:
            paths = {s.id: s.trimap for s in self.pets.samples}
            source.trimap_path = paths.__getitem__
        return source

    def masks_folder(self, source: str) -> Path:
        return self.folder / "masks" / source

    def masks_key(self, name: str) -> str:
        source, s = source_named(name), self.settings
        parts = {"photos": self.content["photos"], "labels": self.content["labels"]}
        if source.features:
            parts |= {"features": self.features_key, **pick(s, ("seed", "val_fraction"))}
        if source.reads_trimaps:
            parts["trimaps"] = self.content["trimaps"]
        ids = [s.id for s in self.pets.samples]
        return stage_key(
            stage="masks", source=name, version=source.version, ids=ids, **parts,
            settings=pick(s, source.settings), own=self.source(name).depends_on(),
        )  # fmt: skip

    def masks(self, name: str) -> dict:
        """The manifest of the source's masks, which are made if they are lacking."""
        folder, key = self.masks_folder(name), self.masks_key(name)
        with self._lock:
            found = manifest(folder, key)
            if found is None:
                if source_named(name).features:
                    self.features  # noqa: B018 - made now, so that the pass has its own seconds
                ids = [s.id for s in self.pets.samples]
                found = make_masks(self.source(name), name, ids, self.context, folder, key)
                write_timing(self.folder, "masks", len(ids), found["seconds"], name)
            restore_timing(self.folder, "masks", len(found["ids"]), found["seconds"], name)
        return found

    # --- students

    def student_folder(self, source: str, labels: str) -> Path:
        return self.folder / "models" / f"{source}-{labels}"

    def student_key(self, source: str, labels: str) -> str:
        return stage_key(stage="student", version=1, features=self.features_key, labels=labels,
                         masks=self.masks_key(source),
                         **pick(self.settings, MATTERS["student"]))  # fmt: skip

    def student(self, source: str, labels: str) -> Path:
        """The folder of the trained student, which is trained if it is lacking."""
        self.masks(source)
        folder, key = self.student_folder(source, labels), self.student_key(source, labels)
        with self._lock:
            if not is_trained(folder, key):
                features, s = self.features, self.settings
                grid = features.map(s.taps[0]).shape[-1] * 16
                train, val = (self._targets(source, labels, held, grid) for held in (False, True))
                about = {"source": source, "labels": labels}
                train_student(features, train, val, self.pets.classes(labels), s, folder, key,
                              self.device, about)  # fmt: skip
                write_timing(self.folder, "train", *self._trained(folder), source, labels)
            restore_timing(self.folder, "train", *self._trained(folder), source, labels)
        return folder

    def _trained(self, folder: Path) -> tuple[int, float]:
        """Photos that training looked at, over all epochs, and the seconds it took."""
        history = pd.read_csv(folder / "history.csv")
        photos = len(self.pets.split("train")) - len(self.val_ids)
        return photos * len(history), history["seconds"].sum()

    def _targets(self, source: str, labels: str, held_out: bool, grid: int):
        samples = [s for s in self.pets.split("train") if (s.id in self.val_ids) == held_out]
        classes = [s.label(labels) for s in samples]
        return load_targets(self.masks_folder(source), [s.id for s in samples], classes, grid)

    # --- scores

    def mask_scores(self, source: str) -> Scores:
        """The source's masks against ground truth (masks/<source>/scores.csv)."""
        self.masks(source)
        folder = self.masks_folder(source)

        def make() -> tuple[pd.DataFrame, list[dict]]:
            table = evaluate.score_masks(self.pets.samples, folder)
            return table, evaluate.mask_rows(table, self.settings.bootstrap)

        return self._scores(folder, self.mask_scores_key(source), make, source)

    def baseline_scores(self, name: str) -> Scores:
        """`all_ones` or `centre_box` against ground truth (baselines/<name>/scores.csv)."""

        def make() -> tuple[pd.DataFrame, list[dict]]:
            table = evaluate.score_baseline(self.pets.samples, name)
            resamples = self.settings.bootstrap
            pseudo = evaluate.mask_rows(table, resamples)
            return table, evaluate.truth_rows(table, resamples) + pseudo

        folder = self.folder / "baselines" / name
        return self._scores(folder, self._scores_key(baseline=name), make, name)

    def student_scores(self, source: str, labels: str) -> Scores:
        """The student's answers against ground truth and against its source's masks
        (models/<source>-<labels>/scores.csv)."""
        folder = self.student(source, labels)

        def make() -> tuple[pd.DataFrame, list[dict]]:
            student = load_student(folder, self.device)
            student.mirror = self.settings.predict_mirror  # of no matter to training
            ids = [s.id for s in self.pets.samples]
            answers = (a for _, a in predict_cached(student, self.features, ids))
            pairs = zip(self.pets.samples, answers, strict=True)
            table = evaluate.score_student(pairs, self.masks_folder(source), labels)
            return table, evaluate.student_rows(
                table, len(self.pets.classes(labels)), self.settings.bootstrap
            )

        return self._scores(folder, self.student_scores_key(source, labels), make, source, labels)

    def mask_scores_key(self, source: str) -> str:
        return self._scores_key(masks=self.masks_key(source))

    def student_scores_key(self, source: str, labels: str) -> str:
        return self._scores_key(student=self.student_key(source, labels))

    def _scores_key(self, **of: str) -> str:
        return stage_key(stage="scores", version=1, trimaps=self.content["trimaps"],
                         labels=self.content["labels"], **of,
                         **pick(self.settings, MATTERS["scores"]))  # fmt: skip

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


def open_run(
    profile: str = "embedded", run: str | Path = "", data_root: str | Path = "", **overrides
) -> Run:
    """A run by its name: what the notebooks and the commands begin with.

    run: its folder, runs/<profile> unless given; data_root: the folder that holds oxford-iiit-pet/,
    the profile's own unless given, and the rendered set is drawn there if it is lacking. Relative
    paths count from the project. `overrides` are settings; bad ones raise ValueError.
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
