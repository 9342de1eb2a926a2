"""What a source of masks is: photos, features and image labels in, probabilities out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from petweak.backbones import Backbone, load_backbone
from petweak.config import Settings
from petweak.data.pets import load_photo
from petweak.features import Features


@dataclass(frozen=True)
class Batch:
    """Photos that a source is asked about. No trimap can be reached from here."""

    ids: list[str]
    paths: list[Path]  # of the photos
    mirror: bool = False  # the view: the photo or its mirror image,
    scale: float = 1.0  # at how many times the size that the source takes as a rule

    def seen(self, mirror: bool, scale: float = 1.0) -> Batch:
        """The same photos in another view."""
        return replace(self, mirror=mirror, scale=scale)

    def images(self) -> list[Image.Image]:
        """The photos as RGB pictures, of their own sizes times `scale`."""
        photos = [load_photo(p) for p in self.paths]
        if self.scale != 1:
            sizes = [(round(p.width * self.scale), round(p.height * self.scale)) for p in photos]
            photos = [
                p.resize((max(1, w), max(1, h))) for p, (w, h) in zip(photos, sizes, strict=True)
            ]
        return [ImageOps.mirror(p) for p in photos] if self.mirror else photos


class Context:
    """What a source may learn from: settings, the frozen backbone, features, train's labels."""

    def __init__(
        self,
        settings: Settings,
        open_features: Callable[[], Features],
        open_backbone: Callable[[], Backbone],
        photo_paths: dict[str, Path],
        train_labels: dict[str, dict[str, int]],
        num_classes: dict[str, int],
        val_ids: frozenset[str],
        device: torch.device,
        more_features: Callable[..., Features] | None = None,
    ) -> None:
        self.settings = settings
        self._open_features, self._open_backbone = open_features, open_backbone
        self._more_features = more_features
        self.photo_paths = photo_paths
        self.train_labels = train_labels  # {id: {"breed": 3, "species": 1}}, train photos only
        self.num_classes = num_classes  # {"breed": 37, "species": 2}
        self.val_ids = val_ids  # a part of train: choices are made here
        self.device = device

    def with_settings(self, settings: Settings) -> Context:
        """The same context under other settings, with the same open cache."""
        other = copy.copy(self)
        other.settings = settings
        return other

    def batch(self, ids: list[str]) -> Batch:
        return Batch(ids, [self.photo_paths[i] for i in ids])

    @cached_property
    def features(self) -> Features:
        """The cache of the frozen backbone's maps; made when a source first asks for it."""
        return self._open_features()

    @cached_property
    def backbone(self) -> Backbone:
        """The study's own, whose passes are counted; for its linear layer, as a rule."""
        return self._open_backbone()

    def more_features(self, scale: float = 1.0, backbone: str = "") -> Features:
        """A further cache, of the last map alone: another picture size, or another backbone."""
        if (scale, backbone) == (1.0, ""):
            return self.features
        return self._more_features(scale=scale, backbone=backbone)

    def classifier(self, backbone: str) -> nn.Linear:
        """The ImageNet layer of any backbone, on the CPU: means of its last map -> 1000 logits."""
        if backbone == self.settings.backbone:
            return copy.deepcopy(self.backbone.classifier).cpu()
        return load_backbone(backbone).classifier


class Source:
    """The base of all sources. A new one sets `settings`, and writes `probabilities`.

    What a class says of itself:

        settings      names of the settings that its masks depend on: another value, other masks
        features      whether it reads the cache (then the backbone counts, too)
        version       to be raised when the code changes what comes out
        batch_size    1 where the answer has the photo's own size
        labels        which image labels its students can learn
        views         whether `view` honours `batch.mirror` and `batch.scale`
        refinable     whether the setting `refine` is for it
        self_trained  whether its students go through the rounds of `petweak.selftrain`
    """

    settings: tuple[str, ...] = ()
    features: bool = False
    version: int = 1
    batch_size: int = 1
    labels: tuple[str, ...] = ("breed", "species")
    views: bool = False
    refinable: bool = True
    self_trained: bool = False
    chain: Any = None  # its refiners, a `refiners.Chain`: see store.prepare
    reads_trimaps: bool = False  # true for ground_truth alone, which gets `trimap_path`
    trimap_path: Callable[[str], Path]

    def __init__(self, context: Context) -> None:
        self.context = context

    @classmethod
    def check(cls, settings: Settings) -> None:
        """Raise ValueError where `settings` cannot work for this source; before anything runs."""

    def fit(self) -> None:
        """Whatever has to be learnt from train before the first batch. Nothing, as a rule."""

    def probabilities(self, batch: Batch) -> Tensor:
        """(B, H, W) in [0, 1]: how sure the source is that a pixel is pet. Any H and W will do,
        the store brings the map to the photo's size."""
        raise AttributeError(f"{type(self).__name__} has to define probabilities(batch)")

    def view(self, batch: Batch) -> Tensor:
        """(B, H, W) in [0, 1]: the map of one view, in the view's own frame, averaged over no
        other. For sources with `views`."""
        return self.probabilities(batch)

    def refined(self, batch: Batch) -> Tensor:
        """`probabilities`, after the refiners that the settings put behind it."""
        soft = self.probabilities(batch)
        return soft if self.chain is None else self.chain(soft, batch)

    def image_labels(self) -> dict[str, dict[str, int]] | None:
        """{id: {"species": 1}} where the source has labels of its own for its students; None where
        they learn those of the data set."""
        return None

    @classmethod
    def refine(cls, settings: Settings) -> tuple[str, ...]:
        """The refiners behind it, as the setting has them: names, or `auto`."""
        return settings.refine if cls.refinable else ()

    def threshold(self) -> float | str:
        """Above which probability a pixel is pet: a number, or `otsu` for one per photo."""
        return 0.5

    def unsure(self) -> tuple[float, float] | None:
        """Between which probabilities a pixel is neither; training leaves such pixels out."""
        return self.context.settings.unsure or None

    def depends_on(self) -> dict[str, object]:
        """Further things its masks depend on, for the key of the stage: the hash of a file, say."""
        return {}
