"""Small worlds to test in: a rendered set, runs on it, and the real photos where they are.

What takes memory is imported where it is used: the process that hands tests out reads this, too.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from reliability import reliability  # noqa: F401 - a fixture

from petweak.config import Settings, settings

if TYPE_CHECKING:
    from petweak.study.run import Run

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"

# Files whose tests start processes take turns, as memory is what these need.
IN_TURN = {f"test_{name}.py" for name in (
    "assignments", "benchmark", "contributing", "distributed", "docs", "environment", "growth",
    "latex", "main", "notebooks_execution", "on_ray", "paper_profile", "report", "results", "run",
    "sweep")}

# Two photos a breed in train (one of them is val), one in test, small pictures, a small model.
SMALL = dict(image_size=64, decoder_channels=8, queries=2, epochs=2, bootstrap=20, engine="eager")

# Two short rounds of self-training, whose last masks are widened.
ROUNDS = dict(
    rounds=2, round_epochs=1, last_epochs=1, refinement="multiscale,walk",
    refinement_scales=(1.0,), threshold="otsu", labels="species",
    sources="imagenet_only,ground_truth", levels="final,penultimate,stride16,stride8",
    walk_steps=4, round_walk_steps=2, background_threshold=0.05,
)


def small(**overrides) -> Settings:
    return settings("embedded", **(SMALL | overrides))


@pytest.fixture(scope="session")
def rendered(tmp_path_factory) -> Path:
    """A data root with the rendered pets: 37 breeds, 2 train and 1 test photo each."""
    from petweak.rendered import make_rendered

    root = tmp_path_factory.mktemp("data")
    make_rendered(root, train_per_breed=2, test_per_breed=1, size=96, progress=False)
    return root


@pytest.fixture(scope="session")
def real_photos() -> Path:
    if not (REAL / "oxford-iiit-pet").is_dir():
        pytest.skip("the real photos (../shared/data) are not here")
    return REAL


@pytest.fixture(scope="module")
def compact_for_coco():
    """COCO's weights cannot be had: the compact detector stands for torchvision's."""
    from petweak.pseudo_masks import mask_rcnn

    with pytest.MonkeyPatch.context() as patch:
        load = mask_rcnn.load_detector
        patch.setattr(mask_rcnn, "load_detector", lambda name: load("compact"))
        yield


@pytest.fixture(autouse=True)
def _same_start():
    import torch

    torch.manual_seed(0)


def pytest_collection_modifyitems(items):
    """For `-n 2 --dist loadgroup`: a file stays in one process, where its tests share fixtures."""
    for item in items:
        name = "in turn" if item.path.name in IN_TURN else str(item.path)
        item.add_marker(pytest.mark.xdist_group(name))


def pytest_collection_finish():
    gc.freeze()  # what is imported stays: no collection has to look through it


def resident() -> int:
    """Bytes of this process that are in memory."""
    return psutil.Process().memory_info().rss


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem, _least=[0]):  # noqa: B006 - resident after a return
    """Memory goes back after each file, and after a test that leaves 100 MB: glibc keeps what large
    tensors leave, ipywidgets every widget with all that its callbacks hold."""
    if nextitem is None or nextitem.path != item.path:
        if widgets := sys.modules.get("ipywidgets"):
            widgets.Widget.close_all()
    elif resident() - _least[0] < 100 << 20:
        return
    gc.collect()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
    _least[0] = resident()


EXAMPLES = pytest.StashKey[dict[str, int]]()  # of each property that has passed, those that ran


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Counts the examples of a hypothesis test that hold, one by one; of a failed one, none."""
    if not (handle := getattr(getattr(item, "obj", None), "hypothesis", None)):
        return (yield)
    inner, held = handle.inner_test, 0

    @functools.wraps(inner)
    def counted(*args, **kwargs):
        nonlocal held
        inner(*args, **kwargs)
        held += 1

    handle.inner_test = counted
    try:
        result = yield
    finally:
        handle.inner_test = inner
    item.config.stash.setdefault(EXAMPLES, {})[f"{item.path.name}::{item.name}"] = held
    return result


@pytest.fixture(scope="session")
def _self_trained_once(rendered, tmp_path_factory) -> Path:
    from petweak.study.results import run_study
    from petweak.study.run import Run

    run = Run(tmp_path_factory.mktemp("self_trained"), rendered, small(**ROUNDS))
    run_study(run)
    return run.folder


@pytest.fixture(scope="module")
def self_trained(rendered, _self_trained_once, tmp_path_factory) -> Run:
    """A finished study with `ROUNDS`, a copy for each file of tests: they add to its folder."""
    from petweak.study.run import Run

    folder = tmp_path_factory.mktemp("self_trained") / "run"
    shutil.copytree(_self_trained_once, folder)
    return Run(folder, rendered, small(**ROUNDS))
