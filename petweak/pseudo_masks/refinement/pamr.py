"""Pixel-adaptive mask refinement (Araslanov & Roth 2020, section 4.2)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from petweak.pseudo_masks.base import Batch, Source
from petweak.pseudo_masks.refinement.base import RefinementStep, photos_on_grid

DILATIONS = (1, 2, 4, 8, 12, 24)  # the authors'
ITERATIONS = 10


def neighbours(x: Tensor, dilations: tuple[int, ...]) -> list[Tensor]:
    """(B, C, H, W) -> 8 D views of that shape: the eight pixels around each, at every dilation."""
    height, width = x.shape[-2:]
    views = []
    for d in dilations:
        padded = F.pad(x, (d, d, d, d), mode="replicate")
        for dy in (0, d, 2 * d):
            for dx in (0, d, 2 * d):
                if (dy, dx) != (d, d):
                    views.append(padded[..., dy : dy + height, dx : dx + width])
    return views


def pamr(
    soft: Tensor, photos: Tensor, iterations: int = ITERATIONS,
    dilations: tuple[int, ...] = DILATIONS,
) -> Tensor:
    """Each pixel becomes the mean of its neighbours, weighted by similarity of colour; repeatedly.

    soft: (B, H, W); photos: (B, 3, H, W). The weights are a softmax over the neighbours of
    -|difference| / (0.1 standard deviation), averaged over channels.
    """
    # Photo by photo and neighbour by neighbour: 48 shifted copies at once would leave the cache.
    parts = zip(soft.split(1), photos.split(1), strict=True)
    return torch.cat([_pamr(s, p, iterations, dilations) for s, p in parts])


def _pamr(soft: Tensor, photo: Tensor, iterations: int, dilations: tuple[int, ...]) -> Tensor:
    around = neighbours(photo, dilations)
    patch = [*around, photo]
    mean = sum(patch) / len(patch)
    spread = (sum((p - mean).square_() for p in patch) / (len(patch) - 1)).sqrt()
    unit = (1e-8 + 0.1 * spread).reciprocal()
    weights = torch.stack([-((a - photo).abs_() * unit).mean(1) for a in around]).softmax(0)
    for _ in range(iterations):
        mixed = torch.zeros_like(soft)
        for weight, shifted in zip(weights, neighbours(soft[:, None], dilations), strict=True):
            mixed.addcmul_(weight, shifted[:, 0])
        soft = mixed
    return soft


class PAMR(RefinementStep):
    """Edges of the map move to edges of the photo, locally."""

    version = 2

    def refine(self, soft: Tensor, batch: Batch, source: Source | None) -> Tensor:
        photos = photos_on_grid(batch, soft.shape[-1])
        return pamr(soft, photos)
