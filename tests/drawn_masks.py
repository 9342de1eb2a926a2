"""Masks of one small pet, drawn in the kinds of values and colours that tools write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

H, W = 24, 32
PET = np.zeros((H, W), bool)
PET[6:20, 9:25] = True
RING = np.zeros((H, W), bool)  # around the pet
RING[4:22, 7:27] = True
RING &= ~PET
RED, GREEN, VOID = (128, 0, 0), (0, 128, 0), (224, 224, 192)
EMPTY = np.zeros((H, W), np.uint8)


def grey(background=0, pet=255, ring=None, dtype=np.uint8) -> np.ndarray:
    ring = background if ring is None else ring
    return np.select([PET, RING], [pet, ring], background).astype(dtype)


MASK, RINGED = grey(), grey(ring=128)  # what a set has to be read as
LEFT, RIGHT = (MASK * (side == (np.arange(W) < 16)) for side in (True, False))


def rgb(pet=RED, background=(0, 0, 0), ring=None) -> np.ndarray:
    channels = zip(background, pet, ring or background, strict=True)
    return np.dstack([grey(*values) for values in channels])


def palette(indices: np.ndarray, *colours: tuple) -> Image.Image:
    image = Image.fromarray(indices)
    image.putpalette([v for c in colours for v in c])
    return image


def cut_out(mask: np.ndarray, photo: bool = True) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 255 if photo else 1, (H, W, 3))
    return np.dstack([pixels, mask]).astype(np.uint8)


def noisy(low=0, high=255, spread=9) -> np.ndarray:
    noise = np.random.default_rng(1).integers(-spread, spread + 1, (H, W))
    return (grey(low, high).astype(int) + noise).clip(0, 255).astype(np.uint8)


def write(folder: Path, *pictures, suffix: str = "png") -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"pet_{i}.{suffix}" for i in range(len(pictures))]
    for file, picture in zip(files, pictures, strict=True):
        picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        picture.save(file, **{"quality": 90, "subsampling": 0} if suffix == "jpg" else {})
    return files


BLACK, WHITE, BRIGHT = (0, 0, 0), (255, 255, 255), (255, 0, 0)
