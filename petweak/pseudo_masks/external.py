"""Masks from elsewhere: a folder of PNGs named after the photos."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from petweak.config import Settings
from petweak.data.files import file_hash, project_path, text_hash
from petweak.data.masks import FOREGROUND, IGNORE
from petweak.pseudo_masks.base import Batch, Source


class External(Source):
    """`<external_masks>/<image_id>.png`, grey: 0 background, 255 foreground, probabilities in
    between, and 128 "ignore", as in the masks that petweak writes. Raises ValueError without the
    setting, FileNotFoundError for a photo without a PNG."""
    sections, version = ("external",), 2

    @classmethod
    def folder(cls, settings: Settings) -> Path:
        folder = project_path(settings.external.external_masks)
        if not settings.external.external_masks or not folder.is_dir():
            raise ValueError(f"external_masks={settings.external.external_masks!r} is not a folder"
                             ": the source `external` reads <image_id>.png from there "
                             "(--set external_masks=FOLDER)")
        return folder

    check = folder

    @classmethod
    def depends_on(cls, settings: Settings) -> dict[str, object]:
        files = sorted(cls.folder(settings).glob("*.png"))
        return {"content": text_hash("".join(f"{f.name} {file_hash(f)}\n" for f in files))}

    def probabilities(self, batch: Batch) -> Tensor:
        folder = self.folder(self.context.settings)
        return torch.stack([_read(folder / f"{i}.png") for i in batch.ids])

    def ignore_band(self) -> tuple[float, ...]:
        """The setting's; without it 128 alone. After refinement, 128 is a probability of 1/2."""
        if self.context.settings.masks.ignore_band or self.pipeline is not None:
            return super().ignore_band()
        return (IGNORE - 0.5) / FOREGROUND, (IGNORE + 0.5) / FOREGROUND


def _read(path: Path) -> Tensor:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: the source `external` needs a PNG for every "
                                "photo, train and test")
    with Image.open(path) as image:
        mask = np.asarray(image.convert("L"), dtype=np.float32) / 255
    if 0 < mask.max() < 2 / 255:
        raise ValueError(f"{path}: has the values 0 and 1 only; foreground is 255, 1 is background")
    return torch.from_numpy(mask)
