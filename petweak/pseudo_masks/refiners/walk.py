"""An affinity random walk on frozen features: the idea of IRN (Ahn, Cho & Kwak 2019), untrained.

IRN trains a network to say which pixels belong together, and lets the CAM flow between them. Here
the frozen maps say it: cells with like features belong together.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from petweak.config import STRIDES, Settings
from petweak.features import Features
from petweak.pseudo_masks.base import Batch, Source
from petweak.pseudo_masks.refiners.base import Refiner, centred, resized


def affinity(maps: list[Tensor], grid: int, beta: float) -> Tensor:
    """Maps (B, C, h, w) of several taps -> transitions (B, N, N), N = grid^2; rows sum to 1.

    The affinity of two cells is the cosine of their features, averaged over taps, to the power
    `beta`; a map's mean over the photo is taken off first, so that what all cells share says
    nothing.
    """
    parts = []
    for m in maps:
        m = F.interpolate(m, (grid, grid), mode="bilinear")
        m = m - m.mean((-2, -1), keepdim=True)
        parts.append(F.normalize(m, dim=1).flatten(2) / len(maps) ** 0.5)
    x = torch.cat(parts, 1)
    a = torch.einsum("bci,bcj->bij", x, x).clamp_(min=0).pow_(beta)
    return a.div_(a.sum(-1, keepdim=True))


def random_walk(soft: Tensor, transitions: Tensor, steps: int) -> Tensor:
    """soft (B, g, g) after `steps` steps: each cell becomes the mean of the cells like it."""
    walked = []
    # Photo by photo: a batched product with a vector is ten times as slow on a CPU.
    for x, matrix in zip(soft.flatten(1), transitions, strict=True):
        for _ in range(steps):
            x = torch.mv(matrix, x)
        walked.append(x)
    return torch.stack(walked).view_as(soft)


class Walk(Refiner):
    """Long walks leave the two parts that the features themselves fall into (a normalised cut),
    and the map only says which of them is the pet."""

    settings = ("walk_taps", "walk_beta", "walk_steps")
    features = True
    centres = True

    @classmethod
    def check(cls, settings: Settings) -> None:
        if missing := [t for t in settings.walk_taps if t not in settings.store]:
            raise ValueError(f"walk_taps={settings.walk_taps}: {missing} is not in store")

    def refine(self, soft: Tensor, batch: Batch, source: Source | None) -> Tensor:
        features: Features = self.context.features
        s = self.context.settings
        grid = s.image_size // min(STRIDES[tap] for tap in s.walk_taps)
        found = []
        for k in range(0, len(batch.ids), 8):  # 1,600 cells are 10 MB of transitions a photo
            maps = [features.batch(tap, batch.ids[k : k + 8], batch.mirror) for tap in s.walk_taps]
            small = resized(soft[k : k + 8], grid)
            found.append(random_walk(small, affinity(maps, grid, s.walk_beta), s.walk_steps))
        small = torch.cat(found)
        return centred(F.interpolate(small[:, None], soft.shape[-2:], mode="bilinear")[:, 0])
