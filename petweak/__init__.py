"""petweak: how little labelling does it take to segment pets?

Data flows one way, and every step is a package:

    data -> models -> pseudo_masks -> training -> evaluation -> study
         -> visualization, explorers, experiments, reporting -> the command line

`petweak.open_run` opens a run, and its methods read as the study does. `petweak.config` lists every
setting, `petweak.pseudo_masks.base` says what a source of pseudo-labels is, and
`petweak.models.maskformer` is the model. After `import petweak`, a package or module is imported
when it is first used.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

__version__ = "0.2.0"


def modules_of(package: str) -> Callable[[str], Any]:
    """The `__getattr__` of a package whose modules are imported when they are first used."""

    def module(name: str) -> Any:
        if find_spec(path := f"{package}.{name}") is None:
            raise AttributeError(f"{package} has neither a name nor a module {name!r}")
        return import_module(path)

    return module


def __getattr__(name: str) -> Any:
    if name == "open_run":  # not above: the command line starts without PyTorch
        return import_module("petweak.study.run").open_run
    return modules_of(__name__)(name)
