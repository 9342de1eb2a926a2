"""Every stage on a CUDA GPU beside the CPU: `make test-gpu`. Skipped where there is none.

What a test measures lies afterwards in the CSV that PETWEAK_GPU_CSV names (figures/data/gpu/ holds
those that were made, with the card's name).
"""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
import torch

from petweak.config import settings
from petweak.rendered import make_rendered
from petweak.study.run import Run

SMALL = dict(image_size=96, decoder_channels=16, epochs=4, bootstrap=20, engine="eager")
ROWS: list[dict] = []


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        reason = f"torch {torch.__version__} sees no CUDA GPU here"
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_sessionfinish():
    if ROWS and (path := os.environ.get("PETWEAK_GPU_CSV")):
        about = {"gpu": torch.cuda.get_device_name(0), "torch": torch.__version__}
        pd.DataFrame(ROWS).assign(**about).to_csv(path, index=False, lineterminator="\n")


@pytest.fixture
def measured(request):
    """Call it with a name and a value: a row of the CSV, and what it has to be at least or most."""

    def note(what: str, value: float, least: float | None = None, most: float | None = None):
        row = {"test": request.node.name, "what": what, "value": round(float(value), 6)}
        ROWS.append(row | {"at_least": least, "at_most": most})
        assert least is None or value >= least, f"{what}: {value} is below {least}"
        assert most is None or value <= most, f"{what}: {value} is above {most}"

    return note


@pytest.fixture(autouse=True)
def _peak(request):
    torch.manual_seed(0)
    torch.cuda.reset_peak_memory_stats()
    yield
    value = torch.cuda.max_memory_allocated() / 2**20
    ROWS.append({"test": request.node.name, "what": "peak memory, MiB", "value": round(value, 1)})


@pytest.fixture(scope="session")
def rendered(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    make_rendered(root, train_per_breed=3, test_per_breed=1, size=128, progress=False)
    return root


@pytest.fixture(scope="session")
def open_run(rendered, tmp_path_factory):
    """A new run on a device: `open_run("cuda", epochs=2)`."""

    def new(device: str, **changes) -> Run:
        s = settings("embedded", **(SMALL | {"device": device} | changes))
        return Run(tmp_path_factory.mktemp(device), rendered, s)

    return new


@pytest.fixture(scope="session")
def cpu(open_run) -> Run:
    return open_run("cpu")


@pytest.fixture(scope="session")
def cuda(open_run) -> Run:
    return open_run("cuda")
