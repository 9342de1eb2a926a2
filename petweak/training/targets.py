"""A source's masks as training targets: one object a photo, on the model's grid."""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
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
    """Of N photos. Their grids are kept compressed: those of all of train need little memory."""
    ids: list[str]
    classes: Tensor  # (N,)
    packed: list[bytes]  # masks and valid of each photo, by zlib
    grid: tuple[int, int] = (0, 0)

    @classmethod
    def pack(cls, ids: list[str], classes: Tensor, grids: Iterable[tuple]) -> "Targets":
        """grids: as `pairs` gives them."""
        packed, shape = [], (0, 0)
        for pair in grids:
            both = np.stack([np.asarray(m, np.uint8) for m in pair])
            packed.append(zlib.compress(both.tobytes(), 1))
            shape = both.shape[1:]
        return cls(ids, classes, packed, shape)

    def _grids(self, rows: Iterable[int]) -> Tensor:
        """(2, B, G, G) uint8: masks and valid."""
        content = b"".join(zlib.decompress(self.packed[i]) for i in rows)
        grids = np.frombuffer(bytearray(content), np.uint8).reshape(-1, 2, *self.grid)
        return torch.from_numpy(grids).transpose(0, 1)

    def pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Of each photo its mask (G, G) uint8 of 0 ... 255 and what is valid (G, G), 0 or 1."""
        for row in range(len(self.ids)):
            yield tuple(self._grids([row])[:, 0])

    @property
    def masks(self) -> Tensor:
        """(N, G, G), all at once."""
        return self._grids(range(len(self.ids)))[0]

    @property
    def valid(self) -> Tensor:
        """(N, G, G), all at once."""
        return self._grids(range(len(self.ids)))[1]

    def batch(self, rows: Tensor, mirror: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """classes (B, 1), masks (B, 1, G, G) in [0, 1], valid (B, G, G) of 0 and 1, mirrored where
        `mirror` (B,) is true."""
        masks, valid = self._grids(rows.tolist()).float()
        masks, valid = (torch.where(mirror[:, None, None], m.flip(-1), m)
                        for m in (masks / 255, valid))
        return self.classes[rows, None], masks[:, None], valid

    def take(self, rows: Iterable[int]) -> "Targets":
        """These rows, which may repeat."""
        rows = [int(i) for i in rows]
        ids, packed = ([of[i] for i in rows] for of in (self.ids, self.packed))
        return replace(self, ids=ids, packed=packed, classes=self.classes[rows])

    def cycle(self, rows: int, seed: int = 0) -> "Targets":
        """`rows` rows, each as often as any other, give or take one: so that an epoch of any number
        of photos has as many steps."""
        rng, n = np.random.default_rng(seed), len(self.ids)
        return self.take(np.concatenate([rng.permutation(n) for _ in range(-(-rows // n))])[:rows])

    @staticmethod
    def join(parts: "Iterable[Targets]") -> "Targets":
        """One after the other; a photo that comes more than once counts as often."""
        parts = list(parts)
        ids, packed = (list(chain(*of)) for of in zip(
            *((p.ids, p.packed) for p in parts), strict=True))
        return Targets(ids, torch.cat([p.classes for p in parts]), packed, parts[0].grid)


def load_targets(folder: Path, ids: list[str], classes: list[int], grid: int) -> Targets:
    """Read `<folder>/<id>.png` and bring each to grid x grid by the resize rule of photos. Valid is
    where less than half is ignored; the value is the share of foreground in the rest."""
    def pair(image_id: str) -> tuple[np.ndarray, np.ndarray]:
        mask = read_mask(folder / f"{image_id}.png")
        foreground, ignored = (
            np.asarray(resize(Image.fromarray((mask == value).astype(np.float32)), grid))
            for value in (FOREGROUND, IGNORE))
        share = np.clip(foreground / np.maximum(1 - ignored, 1e-6), 0, 1)
        return np.rint(255 * share), ignored < 0.5

    return Targets.pack(ids, torch.tensor(classes), map(pair, ids))


def no_targets() -> Targets:
    """For a model that trains without val."""
    return Targets.pack([], torch.empty(0, dtype=torch.long), [])
