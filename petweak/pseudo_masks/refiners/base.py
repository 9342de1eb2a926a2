"""What a refiner is: a probability map and the photo in, a better probability map out."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from petweak.config import Settings
from petweak.features import photo_tensor
from petweak.pseudo_masks.base import Batch, Context, Source
from petweak.pseudo_masks.thresholds import otsu


class Refiner:
    """The base of all refiners. A new one writes `refine`, and `settings` if it reads any.

    What a class says of itself:

        settings      names of the settings that its maps depend on: another value, other masks
        features      whether it reads the cache of the backbone's maps
        asks_source   whether it asks the source about other views of the photo
        centres       whether 0.5 is where pet begins in its maps, whatever they were before
        version       to be raised when the code changes what comes out
    """

    settings: tuple[str, ...] = ()
    features: bool = False
    asks_source: bool = False
    centres: bool = False
    version: int = 1

    def __init__(self, context: Context) -> None:
        self.context = context

    @classmethod
    def check(cls, settings: Settings) -> None:
        """Raise ValueError where `settings`, or what is installed, cannot work for it."""

    def refine(self, soft: Tensor, batch: Batch, source: Source | None) -> Tensor:
        """(B, G, G) in [0, 1] -> the same; 0.5 is where pet begins. `source` made the map, and is
        None where a student did."""
        raise AttributeError(f"{type(self).__name__} has to define refine(soft, batch, source)")


def on_grid(soft: Tensor, settings: Settings) -> Tensor:
    """(B, H, W) -> (B, G, G), G = image_size / 2: the student's own grid, where refiners work."""
    return resized(soft, settings.image_size // 2)


def resized(soft: Tensor, size: int) -> Tensor:
    """(B, H, W) -> (B, size, size): the mean of what falls into a cell, bilinear where it grows."""
    if soft.shape[-2:] == (size, size):
        return soft
    if min(soft.shape[-2:]) >= size:
        return F.adaptive_avg_pool2d(soft[:, None], size)[:, 0]
    return F.interpolate(soft[:, None], (size, size), mode="bilinear")[:, 0]


def photos_on_grid(batch: Batch, size: int) -> Tensor:
    """(B, 3, size, size) float32 in [0, 1]."""
    return torch.stack([photo_tensor(p, size) for p in batch.images()])


def centred(soft: Tensor) -> Tensor:
    """Map by map, stretched to [0, 1] with Otsu's threshold at 0.5: (B, G, G) -> the same.

    Scores become probabilities by that, without ground truth: the two sides of the cut are the two
    kinds of pixels that the map itself tells apart.
    """
    low, high = soft.amin((1, 2), keepdim=True), soft.amax((1, 2), keepdim=True)
    soft = (soft - low) / (high - low).clamp(min=1e-7)
    cuts = torch.tensor([otsu(m) for m in soft.numpy()]).clamp(0.02, 0.98)[:, None, None]
    below = 0.5 * soft / cuts
    return torch.where(soft <= cuts, below, 0.5 + 0.5 * (soft - cuts) / (1 - cuts)).float()


def as_bytes(photos: Tensor) -> np.ndarray:
    """(B, 3, G, G) in [0, 1] -> (B, G, G, 3) uint8, BGR as OpenCV has it."""
    array = (photos * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return np.stack([cv2.cvtColor(a, cv2.COLOR_RGB2BGR) for a in array])
