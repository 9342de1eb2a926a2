"""Small worlds to test in: a rendered set, a run on it, and the real photos where they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from petweak.config import Settings, settings
from petweak.data.rendered import make_rendered
from petweak.results import run_study
from petweak.study import Run

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"

# Two photos a breed in train (one of them is val), one in test, small pictures, a small student.
SMALL = dict(image_size=64, decoder_channels=8, queries=2, epochs=2, bootstrap=20, engine="eager")


def small(**overrides) -> Settings:
    return settings("embedded", **(SMALL | overrides))


# Two short rounds of self-training, whose last masks take in a border.
ROUNDS = dict(rounds=2, round_epochs=1, last_epochs=1, refine="multiscale,walk",
              refine_scales=(1.0,), threshold="otsu", labels="species",
              sources="labels_free,ground_truth", taps="last,before,stride16,stride8",
              walk_steps=4, round_walk_steps=2, sure_background=0.05)  # fmt: skip


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


@pytest.fixture(scope="module")
def self_trained(rendered, tmp_path_factory) -> Run:
    """A finished study with `ROUNDS`, one for each file of tests: they add to its folder."""
    run = Run(tmp_path_factory.mktemp("self_trained"), rendered, small(**ROUNDS))
    run_study(run)
    return run
