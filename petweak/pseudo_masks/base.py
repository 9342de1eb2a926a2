"""The base of all sources: photos, features and image labels in, probability maps out."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from petweak.config import Settings
from petweak.data.feature_cache import Features
from petweak.data.oxford_pets import load_photo
from petweak.models.backbones import Backbone, load_backbone


@dataclass(frozen=True)
class Batch:
    """Photos whose maps a source is asked for. No trimap can be reached from here."""
    ids: list[str]
    paths: list[Path]  # of the photos
    mirror: bool = False  # the view: the photo or its mirror image,
    scale: float = 1.0  # at this multiple of the usual size

    def view(self, mirror: bool, scale: float = 1.0) -> "Batch":
        """The same photos in another view."""
        return replace(self, mirror=mirror, scale=scale)

    def images(self) -> list[Image.Image]:
        """The photos as RGB pictures, of their own sizes times `scale`."""
        photos = [load_photo(p) for p in self.paths]
        if self.scale != 1:
            photos = [p.resize([max(1, round(n * self.scale)) for n in p.size]) for p in photos]
        return [ImageOps.mirror(p) for p in photos] if self.mirror else photos


@dataclass
class Context:
    """What a source may learn from. Features and backbone are opened when first asked for."""
    settings: Settings
    open_features: Callable[[], Features]
    open_backbone: Callable[[], Backbone]
    open_more_features: Callable[[float, str], Features]
    photo_paths: dict[str, Path]
    train_labels: dict[str, dict[str, int]]  # {id: {"breed": 3, "species": 1}}, train photos only
    num_classes: dict[str, int]  # {"breed": 37, "species": 2}
    val_ids: frozenset[str]  # the part of train that choices are made on
    device: torch.device

    def replace(self, settings: Settings) -> "Context":
        """The same context with other settings, sharing what is already open."""
        other = copy.copy(self)
        other.settings = settings
        return other

    def batch(self, ids: list[str]) -> Batch:
        return Batch(ids, [self.photo_paths[i] for i in ids])

    def batches(self, ids: list[str], size: int) -> list[Batch]:
        return [self.batch(ids[k : k + size]) for k in range(0, len(ids), size)]

    @cached_property
    def features(self) -> Features:
        return self.open_features()

    @cached_property
    def backbone(self) -> Backbone:  # the study's, on `device`
        return self.open_backbone()

    def more_features(self, scale: float = 1.0, backbone: str = "") -> Features:
        """A further cache, of the final map alone: another picture size, or another backbone."""
        further = scale != 1 or backbone
        return self.open_more_features(scale, backbone) if further else self.features

    def classifier(self, backbone: str = "") -> nn.Linear:
        """A copy of the ImageNet layer of any backbone, on the CPU: means of the final map (B, C)
        -> logits (B, 1000)."""
        if backbone in ("", self.settings.backbone.backbone):
            return copy.deepcopy(self.backbone.classifier).cpu()
        return load_backbone(backbone).classifier


class Source:
    """The base of all sources. A new one writes `probabilities`, and what else differs."""
    sections: tuple[str, ...] = ()  # of the settings that its masks depend on
    features = False  # whether it reads the feature cache
    network = False  # whether it runs a network of its own, whose results depend on the device
    version = 1  # to be raised when the code changes the masks
    batch_size = 1  # photos; 1 where the maps have the photo's own size
    labels: tuple[str, ...] = ("breed", "species")  # that its models can learn
    views = False  # whether `view` honours `batch.mirror` and `batch.scale`
    refinable = True  # whether the setting `refinement` applies to it
    self_trained = False  # whether its models come from `petweak.training.self_training`
    reads_trimaps = False  # true for ground_truth alone, which gets `trimap_path`
    trimap_path: Callable[[str], Path]
    pipeline: Any = None  # its refinement.Pipeline, once `store.prepare` has run

    def __init__(self, context: Context) -> None:
        self.context = context

    @classmethod
    def check(cls, settings: Settings) -> None:
        """Raise ValueError where `settings` cannot work for this source; before anything runs."""

    @classmethod
    def refinement(cls, settings: Settings) -> tuple[str, ...]:
        """The refinement steps after it, as the setting has them: names, or `auto`."""
        return settings.refinement.refinement if cls.refinable else ()

    @classmethod
    def depends_on(cls, settings: Settings) -> dict[str, object]:
        """Further parts of the cache key of its masks: the hash of a file, say."""
        return {}

    def check_files(self) -> None:
        """Raise where the files that it reads cannot work; before any pass and any mask."""

    def notes(self) -> dict[str, object]:
        """What the manifest of its masks tells of them; asked after `fit`."""
        return {}

    def fit(self) -> None:
        """Learn from train what has to be learnt before the first batch."""

    def probabilities(self, batch: Batch) -> Tensor:
        """(B, H, W) in [0, 1]: the probability that a pixel is foreground, at any H and W."""
        raise AttributeError(f"{type(self).__name__} has to define probabilities(batch)")

    def view(self, batch: Batch) -> Tensor:
        """(B, H, W) in [0, 1]: the map of one view, in its own frame, averaged over no other."""
        return self.probabilities(batch)

    def refined(self, batch: Batch) -> Tensor:
        """`probabilities`, after the refinement pipeline."""
        soft = self.probabilities(batch)
        return soft if self.pipeline is None else self.pipeline(soft, batch)

    def image_labels(self) -> dict[str, dict[str, int]] | None:
        """{id: {"species": 1}} where the source itself predicts the labels of its models."""

    def threshold(self) -> float | str:
        """Above which probability a pixel is foreground: a number, or `otsu` for one a photo. It is
        asked after `fit` and when the refinement pipeline is set."""
        return 0.5

    def ignore_band(self) -> tuple[float, ...]:
        """Two probabilities between which a pixel is left out of training, or nothing."""
        return self.context.settings.masks.ignore_band
