"""A source's masks as training targets: one object a photo, on the model's grid."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from petweak.data.masks import FOREGROUND, IGNORE, read_mask
from petweak.data.oxford_pets import resize


@dataclass(frozen=True)
class Targets:
    """Of N photos."""
    ids: list[str]
    classes: Tensor  # (N,)
    masks: Tensor  # (N, G, G) uint8 of 0 ... 255
    valid: Tensor  # (N, G, G) uint8 of 0 and 1

    def batch(self, rows: Tensor, mirror: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """classes (B, 1), masks (B, 1, G, G) in [0, 1], valid (B, G, G) of 0 and 1, mirrored where
        `mirror` (B,) is true."""
        maps = self.masks[rows].float() / 255, self.valid[rows].float()
        masks, valid = (torch.where(mirror[:, None, None], m.flip(-1), m) for m in maps)
        return self.classes[rows, None], masks[:, None], valid

    def take(self, rows: Iterable[int]) -> "Targets":
        """These rows, which may repeat."""
        rows = torch.as_tensor(list(rows), dtype=torch.long)
        ids = [self.ids[i] for i in rows.tolist()]
        return Targets(ids, self.classes[rows], self.masks[rows], self.valid[rows])

    def cycle(self, rows: int, seed: int = 0) -> "Targets":
        """`rows` rows, each as often as any other, give or take one: so that an epoch of any number
        of photos has as many steps."""
        rng, n = np.random.default_rng(seed), len(self.ids)
        return self.take(np.concatenate([rng.permutation(n) for _ in range(-(-rows // n))])[:rows])

    @staticmethod
    def join(parts: "Iterable[Targets]") -> "Targets":
        """One after the other; a photo that comes more than once counts as often."""
        ids, *tensors = zip(*(vars(p).values() for p in parts), strict=True)
        return Targets(list(chain(*ids)), *map(torch.cat, tensors))


def load_targets(folder: Path, ids: list[str], classes: list[int], grid: int) -> Targets:
    """Read `<folder>/<id>.png` and bring each to grid x grid by the resize rule of photos. Valid is
    where less than half is in the ignore region; the value is the share of foreground in the
    rest."""
    masks, valid = np.zeros((2, len(ids), grid, grid), np.uint8)
    for i, image_id in enumerate(ids):
        mask = read_mask(folder / f"{image_id}.png")
        foreground, ignored = (
            np.asarray(resize(Image.fromarray((mask == value).astype(np.float32)), grid))
            for value in (FOREGROUND, IGNORE))
        valid[i] = ignored < 0.5
        masks[i] = np.rint(255 * np.clip(foreground / np.maximum(1 - ignored, 1e-6), 0, 1))
    return Targets(ids, torch.tensor(classes), torch.from_numpy(masks), torch.from_numpy(valid))


def no_targets() -> Targets:
    """For a model that trains without val."""
    return Targets([], torch.empty(0, dtype=torch.long), torch.empty(0), torch.empty(0))
