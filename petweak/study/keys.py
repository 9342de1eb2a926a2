"""The cache keys of a run's stages: what each of them depends on, and nothing else.

A stage names the sections of the settings that it reads, and includes the keys of the stages above
it. Computing a key opens no network, and no file of the data set that this process has checked.
"""

from dataclasses import dataclass

import torch

from petweak.config import Model, Settings
from petweak.data import distributed
from petweak.models import weights
from petweak.pseudo_masks import refinement, source_class
from petweak.study.cache import key
from petweak.training import self_training
from petweak.training.trainer import mixed_precision


@dataclass(frozen=True)
class Keys:
    """Of one run."""

    settings: Settings
    content: dict[str, str]  # hashes of photos, labels and trimaps
    ids: tuple[str, ...]
    device: str  # the kind that it is made on
    features: str  # the key of its feature cache, which may be its parent's

    @staticmethod
    def of_features(settings: Settings, content: dict[str, str], ids: tuple[str, ...], device: str
                    ) -> str:
        return key(settings, ("backbone",), stage="features", version=2, device=device, ids=ids,
            photos=content["photos"], weights=weights.fingerprint(settings.backbone.backbone))

    def masks(self, name: str) -> str:
        source, sections, parts = source_class(name), {"masks"}, {}
        if source.reads_trimaps:
            sections, parts["trimaps"] = set(), self.content["trimaps"]
        if steps := source.refinement(self.settings):
            sections.add("refinement")
            parts["steps"] = refinement.versions(steps)
        if source.network:
            parts["device"] = self.device
        if steps or source.features:
            sections.add("data")
            parts["features"] = self.features
        return key(self.settings, sections.union(source.sections), stage="masks", store=3,
                   source=name, version=source.version, ids=self.ids, photos=self.content["photos"],
                   labels=self.content["labels"], **parts, **source.depends_on(self.settings))

    def model(self, source: str, labels: str) -> str:
        if source_class(source).self_trained:
            return self.rounds(source, labels)
        return key(_used(self.settings), ("data", "model", "training"), stage="model",
                   **self._training(source, labels))

    def start(self, source: str, labels: str) -> str:
        """Of all rounds of self-training but the last, which alone is widened."""
        s = self_training.round_settings(self.settings).replace(background_threshold=0.5)
        sections = "data model training self_training refinement masks inference".split()
        return key(_used(s), sections, stage="rounds", **self._training(source, labels),
                   steps=refinement.versions(s.self_training.round_refinement))

    def rounds(self, source: str, labels: str) -> str:
        """Of the last round's model."""
        s = self.settings
        threshold = s.self_training.background_threshold
        widened = threshold if self_training.widens(s, source) else None
        return key(stage="self-trained", start=self.start(source, labels), widened=widened)

    def scores(self, of: str) -> str:
        """Of the scores of the stage with the key `of`, or of the baseline `of`."""
        return key(self.settings, ("evaluation", "inference"), stage="scores", version=3, of=of,
                   trimaps=self.content["trimaps"], labels=self.content["labels"])

    def _training(self, source: str, labels: str) -> dict[str, str | int]:
        return {"version": 3, "labels": labels, "features": self.features,
                "masks": self.masks(source), "compute": self._compute()}

    def _compute(self) -> str:
        """Device, precision and processes of training, as far as they change results."""
        precision = mixed_precision(self.settings, torch.device(self.device))
        return f"{self.device} {precision}{distributed.note(self.device)}"


def _used(settings: Settings) -> Settings:
    """With the default of what makes no difference to a training: `Keys._compute` has the precision
    that is used, and models of the final level have no `channel_dropout`."""
    if settings.model.levels == ("final",):
        settings = settings.replace(channel_dropout=Model().channel_dropout)
    return settings.replace(precision="auto")
