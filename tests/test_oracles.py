"""Every function that a number comes from has an oracle under hypothesis; those that ran, counted.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import conftest
import hypothesis
import pytest
from conftest import EXAMPLES
from reliability import TESTS

WHERE = {  # module of the package: tests of its numbers
    "evaluation.metrics": "evaluation/test_metrics.py",
    "evaluation.statistics": "evaluation/test_statistics.py",
    "models.losses": "models/test_losses.py", "models.matcher": "models/test_matcher.py",
    "pseudo_masks.cam": "pseudo_masks/test_cam_oracles.py"}
# Tried with values by hand: a comparison, and a call of pytorch-grad-cam.
BY_HAND = {"degenerate", "library_cam"}


def properties(module: ModuleType) -> dict[str, FunctionType]:
    """The tests of a module that hypothesis draws examples for."""
    return {name: f for name, f in vars(module).items()
            if name.startswith("test_") and hypothesis.is_hypothesis_test(f)}


def names(code: CodeType) -> set[str]:
    """All that code names, not what stands in its comments and texts."""
    inner = [names(c) for c in code.co_consts if isinstance(c, CodeType)]
    return set(code.co_names).union(*inner)


def test_every_function_of_numbers_has_a_property(monkeypatch, request):
    """The row is of the examples that have just run, if all properties did, and held."""
    ran, tests, missing = request.config.stash.get(EXAMPLES, {}), [], []
    for module, file in WHERE.items():
        monkeypatch.syspath_prepend(TESTS / Path(file).parent)
        found = properties(importlib.import_module(Path(file).stem))
        used = set().union(*(names(f.hypothesis.inner_test.__code__) for f in found.values()))
        tests += [f"{Path(file).name}::{name}" for name in found]
        ours = importlib.import_module(f"petweak.{module}")
        missing += [f"{module}.{name}" for name, f in vars(ours).items()
                    if isinstance(f, FunctionType) and f.__module__ == ours.__name__
                    and name[0] != "_" and name not in used and name not in BY_HAND]
    assert not missing
    if all(ran.get(test) for test in tests):
        request.getfixturevalue("reliability")(
            "metrics, intervals, losses, the matcher and CAMs against independent oracles",
            sum(ran[test] for test in tests), f"{len(tests)} properties hold")


PROPERTIES = """
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

@settings(max_examples=9, database=None)
@given(st.integers())
@example(1)
def test_holds(n):
    assert n == n

@settings(max_examples=9, database=None)
@given(st.integers())
def test_fails(n):
    assert n < 0

@given(st.integers())
def test_is_skipped(n):
    pytest.skip()
"""


def test_examples_are_counted_where_they_ran_and_held(tmp_path):
    class Seen:
        def pytest_sessionfinish(self, session):
            self.ran = session.config.stash.get(EXAMPLES, {})

    (file := tmp_path / "test_few.py").write_text(PROPERTIES, encoding="utf-8")
    plugins = ["no:terminal", "no:cacheprovider", "no:capture"]
    options = [word for p in plugins for word in ("-p", p)]
    seen = Seen()
    assert pytest.main([*options, f"--rootdir={tmp_path}", str(file)], [seen, conftest]) == 1
    assert seen.ran == {"test_few.py::test_holds": 10}
