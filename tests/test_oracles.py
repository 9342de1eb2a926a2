"""Every function that a number comes from has an oracle under hypothesis."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from types import FunctionType, ModuleType

import hypothesis

TESTS = Path(__file__).parent
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


def test_every_function_of_numbers_has_a_property(monkeypatch, reliability):
    tests, examples, missing = 0, 0, []
    for module, file in WHERE.items():
        monkeypatch.syspath_prepend(TESTS / Path(file).parent)
        found = properties(importlib.import_module(Path(file).stem))
        text = "\n".join(inspect.getsource(f.hypothesis.inner_test) for f in found.values())
        tests += len(found)
        examples += sum(f._hypothesis_internal_use_settings.max_examples for f in found.values())
        ours = importlib.import_module(f"petweak.{module}")
        missing += [f"{module}.{name}" for name, f in vars(ours).items()
                    if isinstance(f, FunctionType) and f.__module__ == ours.__name__
                    and name[0] != "_" and name not in text and name not in BY_HAND]
    reliability("metrics, intervals, losses, the matcher and CAMs against independent oracles",
                examples, f"{tests} properties hold" if not missing else f"missing: {missing}")
    assert not missing
