"""A dense CRF (Krähenbühl & Koltun 2011) in torch, with the exact kernels on a coarse grid.

Their mean field needs a sum over all pairs of pixels, which they approximate by a permutohedral
lattice in C++. On at most 64 x 64 positions the pairs fit into memory, and the sum is a matrix
product.
"""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from petweak.pseudo_masks.base import Batch, Source
from petweak.pseudo_masks.refinement.base import RefinementStep, photos_on_grid, resized

GRID = 64  # at most, and at most half the grid of the maps: the cost grows with its fourth power
ITERATIONS = 10
# As in pydensecrf's example for pictures of about 500 pixels, in shares of the picture's side.
COLOUR, NEAR, SMOOTH = 13 / 255, 80 / 500, 3 / 500
BILATERAL_WEIGHT, SMOOTH_WEIGHT = 10.0, 3.0


def mean_field(
    soft: Tensor, photo: Tensor, iterations: int = ITERATIONS,
    weights: tuple[float, float] = (BILATERAL_WEIGHT, SMOOTH_WEIGHT),
    widths: tuple[float, float, float] = (NEAR, COLOUR, SMOOTH),
) -> Tensor:
    """Two labels, Potts: soft (H, W) in [0, 1], photo (3, H, W) in [0, 1] -> (H, W) in [0, 1].

    widths: of the bilateral kernel in space (shares of the side) and colour, and of the smoothness
    kernel in space. Kernels are normalised symmetrically, as pydensecrf does by default. With two
    labels the update has one value a pixel: q = sigmoid(logit(soft) + sum of k (2 q - 1)).
    """
    height, width = soft.shape
    side = max(height, width)
    positions = _positions(height, width) / side / widths[0]
    near = torch.cat([positions, photo.flatten(1).T / widths[1]], 1)
    kernel = _smooth(height, width, side * widths[2]).mul(weights[1])
    kernel.add_(_kernel(near), alpha=weights[0])
    unary = torch.logit(soft.flatten().clamp(0.01, 0.99))
    q = unary.sigmoid()
    for _ in range(iterations):
        q = (unary + torch.mv(kernel, 2 * q - 1)).sigmoid()
    return q.view(height, width)


def _positions(height: int, width: int) -> Tensor:
    """(N, 2): row and column of every position."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([y, x], -1).flatten(0, 1).float()


@lru_cache(maxsize=4)  # it depends on no photo
def _smooth(height: int, width: int, scale: float) -> Tensor:
    return _kernel(_positions(height, width) / scale)


def _kernel(points: Tensor) -> Tensor:
    """exp(-d^2 / 2) of all pairs (N, N), no pixel with itself, normalised on both sides."""
    kernel = torch.cdist(points, points).square_().mul_(-0.5).exp_().fill_diagonal_(0)
    norm = (kernel.sum(1) + 1e-20).rsqrt()
    return kernel.mul_(norm[:, None]).mul_(norm)


class MeanFieldCRF(RefinementStep):
    """Pixels of similar colour that are near each other get one label."""

    version = 3

    def refine(self, soft: Tensor, batch: Batch, source: Source | None) -> Tensor:
        grid = min(GRID, soft.shape[-1] // 2)
        small, photos = resized(soft, grid), photos_on_grid(batch, grid)
        fields = torch.stack([mean_field(m, p) for m, p in zip(small, photos, strict=True)])
        return F.interpolate(fields[:, None], soft.shape[-2:], mode="bilinear")[:, 0]
