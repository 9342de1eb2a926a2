"""Pixel-adaptive mask refinement (Araslanov & Roth 2020, section 4.2); theirs is no package."""

from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from petweak.pseudo_masks.base import Batch, Source
from petweak.pseudo_masks.refinement.base import RefinementStep, photos_on_grid

DILATIONS = (1, 2, 4, 8, 12, 24)  # the authors'


def neighbours(x: Tensor, dilations: tuple[int, ...]) -> list[Tensor]:
    """(B, C, H, W) -> 8 D views of that shape: the eight pixels around each, at every dilation."""
    height, width = x.shape[-2:]
    padded = {d: F.pad(x, (d, d, d, d), mode="replicate") for d in dilations}
    return [padded[d][..., y : y + height, x : x + width] for d in dilations
            for y, x in product((0, d, 2 * d), repeat=2) if (y, x) != (d, d)]


def pamr(soft: Tensor, photos: Tensor, iterations: int = 10,
         dilations: tuple[int, ...] = DILATIONS) -> Tensor:
    """Each pixel becomes the mean of its neighbours, weighted by similarity of colour; repeatedly.
    soft: (B, H, W); photos: (B, 3, H, W). The weights are a softmax over the neighbours of
    -|difference| / (0.1 standard deviation), averaged over channels."""
    # One photo and one neighbour at a time: 48 shifted copies at once would not fit into the cache.
    refined = []
    for m, photo in zip(soft.split(1), photos.split(1), strict=True):
        around = neighbours(photo, dilations)
        patch = [*around, photo]
        mean = sum(patch) / len(patch)
        spread = (sum((p - mean).square_() for p in patch) / (len(patch) - 1)).sqrt()
        unit = (1e-8 + 0.1 * spread).reciprocal()
        weights = torch.stack([-((a - photo).abs_() * unit).mean(1) for a in around]).softmax(0)
        for _ in range(iterations):
            mixed = torch.zeros_like(m)
            for weight, shifted in zip(weights, neighbours(m[:, None], dilations), strict=True):
                mixed.addcmul_(weight, shifted[:, 0])
            m = mixed
        refined.append(m)
    return torch.cat(refined)


class PAMR(RefinementStep):
    """Edges of the map move to edges of the photo, locally."""
    version = 2

    def refine(self, soft: Tensor, batch: Batch, source: Source | None) -> Tensor:
        return pamr(soft, photos_on_grid(batch, soft.shape[-1]))
