"""A source's masks as training targets: one thing a photo, on the student's grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from petweak.data.pets import resize
from petweak.pseudo_masks.store import PET, UNSURE, read_mask


@dataclass(frozen=True)
class Targets:
    """ids of N photos, their classes (N,), masks and validity (N, G, G) uint8 of 0 ... 255."""

    ids: list[str]
    classes: Tensor
    masks: Tensor
    valid: Tensor

    def batch(self, rows: Tensor, mirror: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """classes (B, 1), masks (B, 1, G, G) in [0, 1], valid (B, G, G) of 0 and 1, mirrored where
        `mirror` (B,) is true."""
        masks, valid = self.masks[rows].float() / 255, self.valid[rows].float()
        flip = mirror[:, None, None]
        masks = torch.where(flip, masks.flip(-1), masks)
        valid = torch.where(flip, valid.flip(-1), valid)
        return self.classes[rows, None], masks[:, None], valid


def load_targets(folder: Path, ids: list[str], classes: list[int], grid: int) -> Targets:
    """Read `<folder>/<id>.png` and bring each to grid x grid by the one resize rule.

    A cell is valid where less than half of it is "unsure"; its value is the share of pet in the
    sure part.
    """
    masks = np.zeros((len(ids), grid, grid), np.uint8)
    valid = np.zeros((len(ids), grid, grid), np.uint8)
    for i, image_id in enumerate(ids):
        mask = read_mask(folder / f"{image_id}.png")
        pet = _shrink(mask == PET, grid)
        unsure = _shrink(mask == UNSURE, grid)
        valid[i] = unsure < 0.5
        masks[i] = np.rint(255 * np.clip(pet / np.maximum(1 - unsure, 1e-6), 0, 1))
    return Targets(ids, torch.tensor(classes), torch.from_numpy(masks), torch.from_numpy(valid))


def no_targets() -> Targets:
    """Of no photo: for a student that trains without val."""
    return Targets([], torch.empty(0, dtype=torch.long), torch.empty(0), torch.empty(0))


def cycled(taught: Targets, rows: int, seed: int = 0) -> Targets:
    """`rows` rows of these targets, each as often as any other, give or take one: so that one epoch
    of whatever there is has the same number of steps."""
    rng, n = np.random.default_rng(seed), len(taught.ids)
    order = np.concatenate([rng.permutation(n) for _ in range(-(-rows // n))])[:rows]
    tensors = (getattr(taught, k)[order] for k in ("classes", "masks", "valid"))
    return Targets([taught.ids[i] for i in order], *tensors)


def _shrink(mask: np.ndarray, grid: int) -> np.ndarray:
    return np.asarray(resize(Image.fromarray(mask.astype(np.float32)), grid))
