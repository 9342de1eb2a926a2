"""A world without networks: a few photos on disk, feature maps in memory, a source of one line.

Every photo is dark with a bright square, whose place follows from the photo's number. The maps hold
the square in channel 0 and the species in channel 1, so that models learn both in a few steps.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from conftest import small
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from petweak.config import STRIDES, Settings
from petweak.data.feature_cache import Features
from petweak.pseudo_masks.base import Batch, Context, Source
from petweak.training.targets import Targets, load_targets

CPU = torch.device("cpu")
HEIGHT, WIDTH, SIDE = 40, 56, 24  # of the photos and of their squares
CHANNELS = 4


def names(n: int) -> list[str]:
    return [f"pet_{i:02d}" for i in range(n)]


def number(image_id: str) -> int:
    return int(image_id.split("_")[1])


def square(image_id: str) -> Tensor:
    """(H, W) float of 0 and 1."""
    i = number(image_id)
    top, left = (i * 5) % (HEIGHT - SIDE), (i * 11) % (WIDTH - SIDE)
    mask = torch.zeros(HEIGHT, WIDTH)
    mask[top : top + SIDE, left : left + SIDE] = 1
    return mask


def square_targets(folder: Path, n: int = 16) -> Targets:
    """The squares of `n` photos as masks in `folder`, and as targets."""
    ids = names(n)
    for i in ids:
        Image.fromarray((square(i).numpy() * 255).astype(np.uint8)).save(folder / f"{i}.png")
    return load_targets(folder, ids, [number(i) % 2 for i in ids], 32)


def make_features(ids: list[str], settings: Settings) -> Features:
    generator, arrays = torch.Generator().manual_seed(0), {}
    for level in settings.backbone.stored_levels:
        side = settings.backbone.image_size // STRIDES[level]
        maps = 0.1 * torch.randn(len(ids), CHANNELS, side, side, generator=generator)
        for row, i in enumerate(ids):
            maps[row, 0] += 2 * F.adaptive_avg_pool2d(square(i)[None], side)[0]
            maps[row, 1] += number(i) % 2
        arrays[level] = torch.stack([maps, maps.flip(-1)], 1).half().numpy()
    arrays["pooled"] = arrays["final"].astype(np.float32).mean((-2, -1))
    return Features(Path(), tuple(ids), settings.backbone.stored_levels, arrays=arrays)


def world(folder: Path, n: int = 6, device: torch.device = CPU, **overrides) -> Context:
    """`n` photos in `folder`, all of them train; there is no backbone."""
    ids, rng, settings = names(n), np.random.default_rng(0), small(**overrides)
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    paths = {i: folder / "photos" / f"{i}.png" for i in ids}
    for i, path in paths.items():
        photo = rng.integers(0, 40, (HEIGHT, WIDTH, 3)) + 180 * square(i).numpy()[..., None]
        Image.fromarray(photo.astype(np.uint8)).save(path)
    features = make_features(ids, settings)
    return Context(
        settings=settings,
        open_features=lambda: features,
        open_backbone=lambda: pytest.fail("the backbone was opened"),
        open_more_features=lambda scale, backbone: pytest.fail("another pass was asked for"),
        photo_paths=paths,
        train_labels={i: {"breed": number(i), "species": number(i) % 2} for i in ids},
        num_classes={"breed": n, "species": 2},
        val_ids=frozenset(ids[::4]),
        device=device,
    )


class Squares(Source):
    """0.9 in the square and less and less around it, from photo to photo more blurred."""

    batch_size = 2

    def probabilities(self, batch: Batch) -> Tensor:
        return torch.stack([self.one(i) for i in batch.ids])

    def one(self, image_id: str) -> Tensor:
        width = 3 + 2 * (number(image_id) % 5)
        soft = F.avg_pool2d(square(image_id)[None], width, 1, width // 2)[0]
        return 0.05 + 0.85 * soft


def register(monkeypatch, table: dict[str, str], package: str, name: str, cls: type) -> None:
    """`cls` as the one class of the file `package`/`name`.py, and its line in `table` (SOURCES or
    STEPS)."""
    module = ModuleType(f"{package}.{name}")
    module.New = cls
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(table, name, f"{name}:New")
