"""What a source of masks is: photos, features and image labels in, probabilities out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from petweak.backbones import Backbone
from petweak.config import Settings
from petweak.data.pets import load_photo
from petweak.features import Features


@dataclass(frozen=True)
class Batch:
    """Photos that a source is asked about. No trimap can be reached from here."""

    ids: list[str]
    paths: list[Path]  # of the photos

    def images(self) -> list[Image.Image]:
        """The photos as RGB pictures of their own sizes."""
        return [load_photo(p) for p in self.paths]


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
    ) -> None:
        self.settings = settings
        self._open_features, self._open_backbone = open_features, open_backbone
        self.photo_paths = photo_paths
        self.train_labels = train_labels  # {id: {"breed": 3, "species": 1}}, train photos only
        self.num_classes = num_classes  # {"breed": 37, "species": 2}
        self.val_ids = val_ids  # a part of train: choices are made here
        self.device = device

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


class Source:
    """The base of all sources. A new one sets `settings`, and writes `probabilities`.

    settings      names of the settings that its masks depend on: a change of one makes them anew
    features      whether it reads the cache (then a change of the backbone makes them anew, too)
    version       to be raised when the code changes what comes out
    batch_size    1 where the answer has the photo's own size
    """

    settings: tuple[str, ...] = ()
    features: bool = False
    version: int = 1
    batch_size: int = 1
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

    def threshold(self) -> float | str:
        """Above which probability a pixel is pet: a number, or `otsu` for one per photo."""
        return 0.5

    def unsure(self) -> tuple[float, float] | None:
        """Between which probabilities a pixel is neither; training leaves such pixels out."""
        return None

    def depends_on(self) -> dict[str, object]:
        """Further things its masks depend on, for the key of the stage: the hash of a file, say."""
        return {}
