"""Pixel-adaptive mask refinement (Araslanov & Roth 2020, section 4.2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from petweak.pseudo_masks.base import Batch, Source
from petweak.pseudo_masks.refiners.base import Refiner, photos_on_grid

DILATIONS = (1, 2, 4, 8, 12, 24)  # the authors'
ITERATIONS = 10


def neighbours(x: Tensor, dilations: tuple[int, ...]) -> Tensor:
    """(B, C, H, W) -> (B, C, 8 D, H, W): the eight pixels around each, at every dilation."""
    height, width = x.shape[-2:]
    found = []
    for d in dilations:
        padded = F.pad(x, (d, d, d, d), mode="replicate")
        for dy in (0, d, 2 * d):
            for dx in (0, d, 2 * d):
                if (dy, dx) != (d, d):
                    found.append(padded[..., dy : dy + height, dx : dx + width])
    return torch.stack(found, 2)


def pamr(
    soft: Tensor,
    photos: Tensor,
    iterations: int = ITERATIONS,
    dilations: tuple[int, ...] = DILATIONS,
) -> Tensor:
    """Each pixel becomes the mean of its neighbours, weighted by likeness of colour; repeatedly.

    soft: (B, H, W); photos: (B, 3, H, W). The weights are a softmax over the neighbours of
    -|difference| / (0.1 standard deviation), averaged over channels.
    """
    around, centre = neighbours(photos, dilations), photos[:, :, None]
    spread = torch.cat([around, centre], 2).std(2, keepdim=True)
    weights = (-(around - centre).abs() / (1e-8 + 0.1 * spread)).mean(1).softmax(1)
    masks = soft[:, None]
    for _ in range(iterations):
        masks = (neighbours(masks, dilations)[:, 0] * weights).sum(1, keepdim=True)
    return masks[:, 0]


class PAMR(Refiner):
    """Edges of the map move to edges of the photo, locally."""

    def refine(self, soft: Tensor, batch: Batch, source: Source | None) -> Tensor:
        photos = photos_on_grid(batch, soft.shape[-1])
        # Some photos at a time: 48 neighbours of three colours are much memory.
        parts = zip(soft.split(8), photos.split(8), strict=True)
        return torch.cat([pamr(m, p) for m, p in parts])
