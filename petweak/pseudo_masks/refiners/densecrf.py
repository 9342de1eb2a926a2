"""The dense CRF of pydensecrf, whose C++ is compiled at installation: an optional extra.

`pip install petweak[densecrf]` needs a compiler. `crf` beside this file needs none, and
tests/measure_crf.py holds the two against each other.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from petweak.config import Settings
from petweak.pseudo_masks.base import Batch, Source
from petweak.pseudo_masks.refiners import crf
from petweak.pseudo_masks.refiners.base import Refiner, photos_on_grid


def dense_crf(soft: np.ndarray, photo: np.ndarray, iterations: int = crf.ITERATIONS) -> np.ndarray:
    """(H, W) in [0, 1] and (H, W, 3) uint8 -> (H, W) in [0, 1], the widths and weights of `crf`."""
    from pydensecrf import densecrf

    height, width = soft.shape
    side = max(height, width)
    field = densecrf.DenseCRF2D(width, height, 2)
    p = np.clip(soft, 0.01, 0.99).astype(np.float32).reshape(-1)
    field.setUnaryEnergy(np.ascontiguousarray(-np.log(np.stack([1 - p, p]))))
    field.addPairwiseGaussian(sxy=crf.SMOOTH * side, compat=crf.SMOOTH_WEIGHT)
    field.addPairwiseBilateral(
        sxy=crf.NEAR * side, srgb=crf.COLOUR * 255, rgbim=np.ascontiguousarray(photo),
        compat=crf.BILATERAL_WEIGHT,
    )  # fmt: skip
    return np.asarray(field.inference(iterations))[1].reshape(height, width)


class DenseCRF(Refiner):
    """As `crf`, on the whole grid, by the permutohedral lattice."""

    @classmethod
    def check(cls, settings: Settings) -> None:
        if find_spec("pydensecrf") is None:
            raise ValueError(
                "refine: densecrf needs pydensecrf, which is not installed: pip install "
                "petweak[densecrf] compiles it; `crf` needs no compiler"
            )

    def refine(self, soft: Tensor, batch: Batch, source: Source | None) -> Tensor:
        photos = (photos_on_grid(batch, soft.shape[-1]) * 255).round().byte().permute(0, 2, 3, 1)
        found = [dense_crf(m, p) for m, p in zip(soft.numpy(), photos.numpy(), strict=True)]
        return torch.from_numpy(np.stack(found)).float()
