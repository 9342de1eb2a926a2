"""An affinity random walk: IRN (Ahn, Cho & Kwak 2019) lets the CAM spread between pixels that a
trained network says belong together; here positions with similar frozen features do."""

import torch
from torch import Tensor
from torch.nn import functional as F

from petweak.config import STRIDES, Settings
from petweak.pseudo_masks.base import Batch, Source
from petweak.pseudo_masks.refinement.base import RefinementStep, centred, resized


def affinity(maps: list[Tensor], grid: int, beta: float) -> Tensor:
    """Maps (B, C, h, w) of several levels -> transitions (B, N, N), N = grid^2; rows sum to 1. The
    affinity of two positions is the cosine of their features, averaged over levels, to the power
    `beta`. A map's mean over the photo, which all positions share, is subtracted first."""
    parts = []
    for m in maps:
        m = F.interpolate(m, (grid, grid), mode="bilinear")
        m = m - m.mean((-2, -1), keepdim=True)
        parts.append(F.normalize(m, dim=1).flatten(2) / len(maps) ** 0.5)
    x = torch.cat(parts, 1)
    a = torch.einsum("bci,bcj->bij", x, x).clamp_(min=0).pow_(beta)
    return a.div_(a.sum(-1, keepdim=True))


def random_walk(soft: Tensor, transitions: Tensor, steps: int) -> Tensor:
    """soft (B, g, g) after `steps` steps: each position becomes the mean of those similar to it."""
    walked = []
    # Photo by photo: on a CPU a batched product with a vector is slower (figures/benchmark.md).
    for x, matrix in zip(soft.flatten(1), transitions, strict=True):
        for _ in range(steps):
            x = torch.mv(matrix, x)
        walked.append(x)
    return torch.stack(walked).view_as(soft)


class Walk(RefinementStep):
    """A long walk keeps what changes slowly between similar positions, the leading eigenvectors of
    the transitions (normalised cuts split by these alone); the map decides what is foreground."""
    centres = True

    @classmethod
    def check(cls, settings: Settings) -> None:
        levels, stored = settings.refinement.walk_levels, settings.backbone.stored_levels
        if missing := [level for level in levels if level not in stored]:
            raise ValueError(f"walk_levels: {', '.join(missing)} is not in stored_levels")

    def refine(self, soft: Tensor, batch: Batch, source: Source | None) -> Tensor:
        s, features, walked = self.settings, self.context.features, []
        strides = [STRIDES[level] for level in s.walk_levels]
        grid = self.context.settings.backbone.image_size // min(strides)
        for k in range(0, len(batch.ids), 8):  # 1,600 positions are 10 MB of transitions a photo
            ids, small = batch.ids[k : k + 8], resized(soft[k : k + 8], grid)
            maps = [features.batch(level, ids, batch.mirror) for level in s.walk_levels]
            walked.append(random_walk(small, affinity(maps, grid, s.walk_beta), s.walk_steps))
        small = torch.cat(walked)[:, None]
        return centred(F.interpolate(small, soft.shape[-2:], mode="bilinear")[:, 0])
