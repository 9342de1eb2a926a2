"""Masks from elsewhere: a folder of PNGs named after the photos."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from petweak.config import Settings
from petweak.files import project_path
from petweak.pseudo_masks.base import Batch, Source
from petweak.pseudo_masks.store import PET, UNSURE


class External(Source):
    """`<external_masks>/<image_id>.png`, grey: black background, white pet, grey in between, and
    128 "unsure", as in the masks that petweak writes: training leaves such pixels out.

    Raises ValueError without the setting, FileNotFoundError for a photo without a PNG.
    """

    settings = ("external_masks",)
    version = 2  # 128 is unsure

    @classmethod
    def check(cls, settings: Settings) -> None:
        if not settings.external_masks or not project_path(settings.external_masks).is_dir():
            raise ValueError(
                f"external_masks={settings.external_masks!r} is not a folder: the source "
                "`external` reads <image_id>.png from there (--set external_masks=FOLDER)"
            )

    def folder(self) -> Path:
        self.check(self.context.settings)
        return project_path(self.context.settings.external_masks)

    def probabilities(self, batch: Batch) -> Tensor:
        return torch.stack([self._read(self.folder() / f"{i}.png") for i in batch.ids])

    def unsure(self) -> tuple[float, float] | None:
        """The setting's band; without one, 128 and nothing else. Refiners take 128 for what it is
        anyway, a probability of one half."""
        if self.context.settings.unsure or self.chain is not None:
            return super().unsure()
        return (UNSURE - 0.5) / PET, (UNSURE + 0.5) / PET

    def depends_on(self) -> dict[str, object]:
        h = hashlib.blake2b(digest_size=16)
        for file in sorted(self.folder().glob("*.png")):
            h.update(file.name.encode() + file.read_bytes())
        return {"content": h.hexdigest()}

    @staticmethod
    def _read(path: Path) -> Tensor:
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing: the source `external` needs a PNG for every photo, "
                "train and test"
            )
        with Image.open(path) as image:
            mask = np.asarray(image.convert("L"), dtype=np.float32) / 255
        if 0 < mask.max() < 2 / 255:
            raise ValueError(f"{path}: holds 0 and 1 only; white (255) is pet, 1 is nearly black")
        return torch.from_numpy(mask)
