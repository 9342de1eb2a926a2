"""A dense CRF (Krähenbühl & Koltun 2011). They approximate the sum over all pairs of pixels by a
lattice in C++; the pairs of a coarse grid fit into memory, and the sum is a matrix product."""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from petweak.pseudo_masks.base import Batch, Source
from petweak.pseudo_masks.refinement.base import RefinementStep, photos_on_grid, resized

GRID = 64  # at most, and at most half the grid of the maps: the cost grows with its fourth power
# As in pydensecrf's example for pictures of about 500 pixels, in shares of the picture's side.
WIDTHS = (80 / 500, 13 / 255, 3 / 500)  # bilateral in space and colour, smoothness in space
WEIGHTS = (10.0, 3.0)  # of the bilateral and the smoothness kernel


def mean_field(soft: Tensor, photo: Tensor, iterations: int = 10, weights: tuple = WEIGHTS,
               widths: tuple = WIDTHS) -> Tensor:
    """Two labels, Potts: soft (H, W) in [0, 1], photo (3, H, W) in [0, 1] -> (H, W) in [0, 1]. With
    two labels the update has one value a pixel: q = sigmoid(logit(soft) + sum of k (2 q - 1))."""
    side = max(soft.shape)
    near = _positions(*soft.shape) / side / widths[0]
    kernel = _smooth(*soft.shape, side * widths[2]).mul(weights[1])
    kernel.add_(_kernel(torch.cat([near, photo.flatten(1).T / widths[1]], 1)), alpha=weights[0])
    unary = torch.logit(soft.flatten().clamp(0.01, 0.99))
    q = unary.sigmoid()
    for _ in range(iterations):
        q = (unary + torch.mv(kernel, 2 * q - 1)).sigmoid()
    return q.view_as(soft)


def _positions(height: int, width: int) -> Tensor:  # (N, 2): row and column
    return torch.cartesian_prod(torch.arange(height), torch.arange(width)).float()


@lru_cache(maxsize=4)  # it depends on no photo
def _smooth(height: int, width: int, scale: float) -> Tensor:
    return _kernel(_positions(height, width) / scale)


def _kernel(points: Tensor) -> Tensor:
    """exp(-d^2 / 2) of all pairs (N, N), no pixel with itself, normalised as in pydensecrf."""
    kernel = torch.cdist(points, points).square_().mul_(-0.5).exp_().fill_diagonal_(0)
    norm = (kernel.sum(1) + 1e-20).rsqrt()
    return kernel.mul_(norm[:, None]).mul_(norm)


class MeanFieldCRF(RefinementStep):
    """Pixels of similar colour that are near each other get one label."""
    version = 3

    def refine(self, soft: Tensor, batch: Batch, source: Source | None) -> Tensor:
        grid = min(GRID, soft.shape[-1] // 2)
        pairs = zip(resized(soft, grid), photos_on_grid(batch, grid), strict=True)
        fields = torch.stack([mean_field(m, p) for m, p in pairs])[:, None]
        return F.interpolate(fields, soft.shape[-2:], mode="bilinear")[:, 0]
