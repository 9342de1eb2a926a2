"""Small worlds to test in: a rendered set, a run on it, and the real photos where they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from petweak.config import Settings, settings
from petweak.data.rendered import make_rendered

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"

# Two photos a breed in train (one of them is val), one in test, small pictures, a small student.
SMALL = dict(image_size=64, decoder_channels=8, queries=2, epochs=2, bootstrap=20, engine="eager")


def small(**overrides) -> Settings:
    return settings("embedded", **(SMALL | overrides))


@pytest.fixture(scope="session")
def rendered(tmp_path_factory) -> Path:
    """A data root with the rendered pets: 37 breeds, 2 train and 1 test photo each."""
    root = tmp_path_factory.mktemp("data")
    make_rendered(root, train_per_breed=2, test_per_breed=1, size=96, progress=False)
    return root


@pytest.fixture(scope="session")
def real_photos() -> Path:
    if not (REAL / "oxford-iiit-pet").is_dir():
        pytest.skip("the real photos (../shared/data) are not here")
    return REAL


@pytest.fixture(autouse=True)
def _same_start():
    torch.manual_seed(0)
