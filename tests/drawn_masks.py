"""Masks of one small pet, drawn in the kinds of values and colours that tools write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

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


def scene(seed: int, size=(96, 96)) -> tuple[Image.Image, np.ndarray]:
    """A photo of a pet without symmetry before stripes and boxes, and its mask (0 and 255)."""
    rng, (w, h) = np.random.default_rng(seed), size
    shapes, mask = Image.new("RGB", size, (90, 110, 90)), Image.new("L", size)
    draw = ImageDraw.Draw(shapes)
    for _ in range(12):
        x, y, dx, dy = rng.uniform(0, 1, 4) * (w, h, w / 3, h / 3)
        draw.rectangle((x, y, x + dx, y + dy), fill=tuple(rng.integers(60, 150, 3).tolist()))
    x, y = rng.uniform(-0.06, 0.06, 2)
    for to, fill in ((draw, (225, 190, 130)), (ImageDraw.Draw(mask), 255)):
        for a, b, c, d in ((0.22, 0.45, 0.66, 0.80), (0.55, 0.22, 0.82, 0.52),  # body, head,
                           (0.28, 0.72, 0.36, 0.95), (0.10, 0.40, 0.30, 0.48)):  # leg, tail
            to.ellipse(((a + x) * w, (b + y) * h, (c + x) * w, (d + y) * h), fill=fill)
    grain = rng.normal(0, 6, (h, w, 3))
    return Image.fromarray((np.asarray(shapes) + grain).clip(0, 255).astype(np.uint8)), (
        np.asarray(mask))
