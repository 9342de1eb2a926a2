"""Masks on disk: `<image_id>.png`, (H, W) uint8 at the photo's own size."""

from pathlib import Path

import numpy as np
from PIL import Image

from petweak.data.files import replacing

FOREGROUND, IGNORE, BACKGROUND = 255, 128, 0  # the values of a mask's pixels


def read_mask(path: Path) -> np.ndarray:
    """(H, W) uint8 of FOREGROUND, BACKGROUND and IGNORE."""
    with Image.open(path) as image:
        return np.asarray(image)


def write_mask(path: Path, mask: np.ndarray) -> None:
    """Write (H, W) uint8 as a PNG, whole or not at all."""
    with replacing(path) as beside:
        Image.fromarray(mask).save(beside, format="PNG", compress_level=1)
