"""The students of a run: trained on a source's masks, or by rounds of self-training."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from petweak import selftrain
from petweak.files import read_json
from petweak.maskformer.targets import Targets, load_targets, no_targets
from petweak.maskformer.train import is_trained, publish, train_student
from petweak.pseudo_masks import source_named
from petweak.pseudo_masks.refiners import settings_of, versions_of
from petweak.runs import pick, restore_timing, stage_key, write_timing
from petweak.stages import Stages

# Which settings a student depends on, beside its source's masks.
STUDENT = ("seed", "val_fraction", "taps", "decoder_channels", "queries", "epochs", "batch_size",
           "lr", "weight_decay", "schedule", "clip", "class_weight", "mask_weight", "dice_weight",
           "no_object_weight", "plus_dropout", "precision")  # fmt: skip


class Students(Stages):
    """Training, on top of the stages before it."""

    def student_folder(self, source: str, labels: str) -> Path:
        """`models/<source>-<labels>`, with `-plus` for a student that sees more than the last map;
        what a self-trained source comes to has no further name."""
        plus = self.settings.taps != ("last",) and not source_named(source).self_trained
        return self.folder / "models" / (f"{source}-{labels}" + "-plus" * plus)

    def student_key(self, source: str, labels: str) -> str:
        if source_named(source).self_trained:
            return self.rounds_key(source, labels)
        return stage_key(stage="student", version=2, features=self.features_key, labels=labels,
                         masks=self.masks_key(source),
                         **pick(self.settings, STUDENT))  # fmt: skip

    def student(self, source: str, labels: str) -> Path:
        """The folder of the trained student, which is trained if it is lacking."""
        self.check_labels(source, labels)
        self.masks(source)
        folder, key = self.student_folder(source, labels), self.student_key(source, labels)
        if source_named(source).self_trained:
            return self.self_trained(source, labels)
        with self._lock:
            if not is_trained(folder, key):
                features, s = self.features, self.settings
                grid = s.image_size // 2
                train, val = (self._targets(source, labels, held, grid) for held in (False, True))
                about = {"source": source, "labels": labels}
                train_student(features, train, val, self.pets.classes(labels), s, folder, key,
                              self.device, about)  # fmt: skip
                write_timing(self.folder, "train", *self._trained(folder), source, labels)
            restore_timing(self.folder, "train", *self._trained(folder), source, labels)
        return folder

    def check_labels(self, source: str, labels: str) -> None:
        """ValueError where students of this source cannot learn these labels, or be trained."""
        if labels not in (known := source_named(source).labels):
            raise ValueError(f"{source} knows no {labels}: labels={', '.join(known)}")
        if source_named(source).self_trained:
            selftrain.check(self.settings)

    # --- self-training

    def rounds_key(self, source: str, labels: str) -> str:
        """Of what self-training came to."""
        s, start = self.settings, self._start_key(source, labels)
        border = s.sure_background if selftrain.is_wide(s, source) else None
        return stage_key(stage="self-trained", start=start, border=border)

    def _start_key(self, source: str, labels: str) -> str:
        """Of all rounds but the last: what they begin with, and the settings that they read."""
        s = self.settings
        own = {*STUDENT, *selftrain.OWN, *settings_of(s.round_refine)} - {"taps", "epochs"}
        return stage_key(stage="rounds", version=2, refiners=versions_of(s.round_refine),
                         features=self.features_key, labels=labels, masks=self.masks_key(source),
                         **pick(s, tuple(sorted(own))))  # fmt: skip

    def start(self, source: str, labels: str) -> selftrain.Start:
        """What self-training begins with; the source's masks are made if they are lacking."""
        self.masks(source)
        train = self.pets.split("train")
        own = self.source(source).image_labels()
        wanted = {s.id: own[s.id][labels] if own else s.label(labels) for s in train}
        return selftrain.Start(
            source, labels, self.masks_folder(source), self.pets.classes(labels), wanted,
            self._start_key(source, labels),
        )  # fmt: skip

    def rounds(self, source: str, labels: str) -> list[selftrain.Round]:
        """The rounds of self-training, which are made if they are lacking."""
        self.check_labels(source, labels)
        selftrain.check(self.settings)
        start = self.start(source, labels)
        with self._lock:
            rounds = selftrain.self_train(start, self.context, self.folder)
            for r in rounds:
                name = f"{labels}-round{r.number}"
                restore_timing(self.folder, "train", *self._trained(r.student), source, name)
        return rounds

    def self_trained(self, source: str, labels: str) -> Path:
        """What self-training came to: `models/<source>-<labels>` where that is what the source is
        for, `models/<source>-<labels>-selftrained` elsewhere."""
        folder, key = self.student_folder(source, labels), self.rounds_key(source, labels)
        if not source_named(source).self_trained:
            folder = self.folder / "models" / f"{source}-{labels}-selftrained"
        if not is_trained(folder, key):
            publish(self.rounds(source, labels)[-1].student, folder, key)
        return folder

    def _trained(self, folder: Path) -> tuple[int, float]:
        """Photos that training looked at, over all epochs, and the seconds it took."""
        history = pd.read_csv(folder / "history.csv")
        return read_json(folder / "config.json")["photos"] * len(history), history["seconds"].sum()

    def _targets(self, source: str, labels: str, held_out: bool, grid: int) -> Targets:
        samples = [s for s in self.pets.split("train") if (s.id in self.val_ids) == held_out]
        if not samples:  # val_fraction=0
            return no_targets()
        classes = [s.label(labels) for s in samples]
        return load_targets(self.masks_folder(source), [s.id for s in samples], classes, grid)
