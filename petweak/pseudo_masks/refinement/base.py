"""The base of all refinement steps, and the sizes and scales that they share."""

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from petweak.config import Settings
from petweak.data.feature_cache import photo_tensor
from petweak.pseudo_masks.base import Batch, Context, Source
from petweak.pseudo_masks.thresholds import otsu


class RefinementStep:
    """A probability map and the photo in, a better probability map out. A new step writes `refine`.

    asks_source   whether it asks the source for other views of the photo
    centres       whether its maps are decided at 0.5, whatever the threshold was before
    version       to be raised when the code changes the maps
    """

    asks_source: bool = False
    centres: bool = False
    version: int = 1

    def __init__(self, context: Context) -> None:
        self.context, self.settings = context, context.settings.refinement

    @classmethod
    def check(cls, settings: Settings) -> None:
        """Raise ValueError where `settings` cannot work for it; before anything runs."""

    def refine(self, soft: Tensor, batch: Batch, source: Source | None) -> Tensor:
        """(B, G, G) in [0, 1] -> the same; foreground is above 0.5. `source` made the map; it is
        None where the map is a model's prediction."""
        raise AttributeError(f"{type(self).__name__} has to define refine(soft, batch, source)")


def on_grid(soft: Tensor, settings: Settings) -> Tensor:
    """(B, H, W) -> (B, G, G), G = image_size / 2: the model's own grid, where steps work."""
    return resized(soft, settings.backbone.image_size // 2)


def resized(soft: Tensor, size: int) -> Tensor:
    """(B, H, W) -> (B, size, size): averaged over each position where it shrinks, bilinear where it
    grows."""
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

    Scores become probabilities without ground truth: the two sides of the threshold are the two
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
