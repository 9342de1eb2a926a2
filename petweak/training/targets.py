"""A source's masks as training targets: one object a photo, on the model's grid."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from petweak.data.masks import FOREGROUND, IGNORE, read_mask
from petweak.data.oxford_pets import resize


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

    def take(self, rows: Iterable[int]) -> "Targets":
        """These rows, which may repeat."""
        rows = torch.as_tensor(list(rows), dtype=torch.long)
        ids = [self.ids[i] for i in rows.tolist()]
        return Targets(ids, self.classes[rows], self.masks[rows], self.valid[rows])

    def cycle(self, rows: int, seed: int = 0) -> "Targets":
        """`rows` rows of these targets, each as often as any other, give or take one: so that one
        epoch of any number of photos has the same number of steps."""
        rng, n = np.random.default_rng(seed), len(self.ids)
        return self.take(np.concatenate([rng.permutation(n) for _ in range(-(-rows // n))])[:rows])

    @staticmethod
    def join(parts: "Iterable[Targets]") -> "Targets":
        """One after the other; a photo that comes more than once counts as often."""
        parts = list(parts)
        tensors = (torch.cat([getattr(p, k) for p in parts]) for k in ("classes", "masks", "valid"))
        return Targets([i for p in parts for i in p.ids], *tensors)


def load_targets(folder: Path, ids: list[str], classes: list[int], grid: int) -> Targets:
    """Read `<folder>/<id>.png` and bring each to grid x grid by the resize rule of photos.

    A position is valid where less than half of it is in the ignore region; its value is the share
    of foreground in the rest.
    """
    masks = np.zeros((len(ids), grid, grid), np.uint8)
    valid = np.zeros((len(ids), grid, grid), np.uint8)
    for i, image_id in enumerate(ids):
        mask = read_mask(folder / f"{image_id}.png")
        foreground, ignored = _shrink(mask == FOREGROUND, grid), _shrink(mask == IGNORE, grid)
        valid[i] = ignored < 0.5
        masks[i] = np.rint(255 * np.clip(foreground / np.maximum(1 - ignored, 1e-6), 0, 1))
    return Targets(ids, torch.tensor(classes), torch.from_numpy(masks), torch.from_numpy(valid))


def no_targets() -> Targets:
    """Targets of no photo: for a model that trains without val."""
    return Targets([], torch.empty(0, dtype=torch.long), torch.empty(0), torch.empty(0))


def _shrink(mask: np.ndarray, grid: int) -> np.ndarray:
    return np.asarray(resize(Image.fromarray(mask.astype(np.float32)), grid))
