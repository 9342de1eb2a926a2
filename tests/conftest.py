"""Small worlds to test in: a rendered set, runs on it, and the real photos where they are."""

from __future__ import annotations

import copy
import functools
import gc
import multiprocessing
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from few import few_photos
from filelock import FileLock
from processes import pytest_addoption, pytest_runtestloop  # noqa: F401 - hooks
from reliability import reliability  # noqa: F401 - a fixture

from petweak.config import Settings, settings

if TYPE_CHECKING:
    from petweak.study.run import Run

# A busy machine would miss a deadline; pytest's timeout ends what hangs.
hypothesis.settings.register_profile("petweak", deadline=None)
hypothesis.settings.load_profile("petweak")

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"

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


SELF_TRAINED = small(**ROUNDS, batch_size=8)  # two steps an epoch

def process_context():
    """The context of processes that begin with what is imported here, which takes 4 s. Elsewhere
    than on Linux, or with threads of torch, which a fork would wait for, they import it again."""
    import torch

    fork = sys.platform == "linux" and torch.get_num_threads() == 1
    return multiprocessing.get_context("fork" if fork else "spawn")


def once(folder: Path, make) -> Path:
    """The folder, which `make(folder)` makes in the first process that asks; the others wait."""
    with FileLock(f"{folder}.lock"):
        if not (made := folder.with_name(f"{folder.name}.made")).exists():
            make(folder)
            made.touch()
    return folder


@contextmanager
def every_lock(run: Run) -> Iterator[None]:
    """As if another process made each of its stages."""
    with ExitStack() as stack:
        for file in sorted(run.folder.glob(".locks/*.lock")):
            stack.enter_context(FileLock(file))
        yield


@pytest.fixture(scope="session")
def rendered(tmp_path_factory) -> Path:
    """A data root with the rendered pets: 37 breeds, 2 train and 1 test photo each."""
    from petweak.rendered import make_rendered

    size = dict(train_per_breed=2, test_per_breed=1, size=96, progress=False)
    return once(tmp_path_factory.getbasetemp() / "data", lambda root: make_rendered(root, **size))


@pytest.fixture(scope="session")
def real_photos() -> Path:
    if not (REAL / "oxford-iiit-pet").is_dir():
        pytest.skip("the real photos (../shared/data) are not here")
    return REAL


@pytest.fixture(autouse=True)
def _same_start():
    import torch

    torch.manual_seed(0)


@functools.cache
def _built(name: str):
    import timm

    return timm.models.create_model(name, pretrained=False)


@functools.cache
def _unpickled(path: Path, written: int) -> dict:
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


@pytest.fixture(scope="session", autouse=True)
def _networks_are_built_once():
    """Hundreds of tests open a backbone, which takes half a second: here it is a copy of the first
    one, and the weights of a package, after their hash, are those that were read first."""
    if (timm := sys.modules.get("timm")) is None:  # a few files alone, perhaps without a network
        yield
        return
    from petweak.models import weights

    def read(path: Path, needed: str, plain=weights._read) -> dict:
        ours = path in map(weights.available, weights.PACKAGES)
        return _unpickled(path, path.stat().st_mtime_ns) if ours else plain(path, needed)

    def create(name: str, plain=timm.create_model, **options):
        ours = options == {"pretrained": False}
        return copy.deepcopy(_built(name)) if ours else plain(name, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timm, "create_model", create)
        patch.setattr(weights, "_read", read)
        yield


def pytest_collection_finish(session):
    if session.config.option.processes:
        import timm  # noqa: F401 - petweak imports it late; here each file would do so
        import torch

        if torch.get_num_threads() == 1:  # a fork would wait for others
            from petweak.models.weights import package_path

            _built("tf_efficientnet_lite0")
            _unpickled(path := package_path("efficientnet_lite0"), path.stat().st_mtime_ns)
    gc.freeze()  # what is imported stays: no collection has to look through it


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
def eight_breeds(rendered, tmp_path_factory) -> Path:
    """A data root of a few breeds, for what needs several of each species: 16 photos of train."""
    return once(tmp_path_factory.getbasetemp() / "eight",
                lambda root: few_photos(rendered, root, breeds=8))


@pytest.fixture(scope="session")
def _self_trained_once(eight_breeds, tmp_path_factory) -> Path:
    from petweak.study.results import run_study
    from petweak.study.run import Run

    return once(tmp_path_factory.getbasetemp() / "self_trained",
                lambda folder: run_study(Run(folder, eight_breeds, SELF_TRAINED)))


@pytest.fixture(scope="module")
def self_trained(eight_breeds, _self_trained_once, tmp_path_factory) -> Run:
    """A finished study with `ROUNDS`, a copy for each file of tests: they add to its folder."""
    from petweak.study.run import Run

    folder = tmp_path_factory.mktemp("self_trained") / "run"
    shutil.copytree(_self_trained_once, folder)
    return Run(folder, eight_breeds, SELF_TRAINED)
