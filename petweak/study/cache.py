"""One way to keep results: make a stage unless it is there, write it whole, time it.

A stage is up to date when the key that it was made with is the key that it would be made with now.
A key has the sections of the settings that the stage depends on, the content of files, and the
keys of the stages above it.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

import psutil

from petweak.config import Settings
from petweak.data import files
from petweak.data.files import Busy

try:
    import resource
except ImportError:  # Windows
    resource = None

T = TypeVar("T")
Stage = tuple[str, str, str]  # its name, source and labels
_waits: ContextVar[bool] = ContextVar("waits", default=True)
STAGES = ("features", "masks", "train", "evaluate", "report")
TIMINGS = ["stage", "source", "labels", "n_images", "seconds", "images_per_second", "peak_rss_mb"]


def key(settings: Settings | None = None, sections: Iterable[str] = (), **parts: Any) -> str:
    """A hash of some sections of the settings, and of `parts`: plain values, or keys of stages."""
    if settings is not None:
        values = settings.to_dict()
        parts["settings"] = {name: values[name] for name in sections}
    return files.text_hash(json.dumps(parts, sort_keys=True, default=list))


def ensure(folder: Path, stage: Stage, read: Callable[[], T | None], make: Callable[[], Any],
           cost: Callable[[T], tuple[int, float]] | None = None) -> T:
    """What `read` returns. Where that is None, `make` runs first, under the stage's lock in
    `folder`. With `cost`, the photos and seconds of the value, it has a row in timings.csv."""
    if (value := read()) is None:
        with locked(folder, " ".join(part for part in stage if part != "-")):
            if (value := read()) is None:  # no other process has made it meanwhile
                make()
                if hasattr(psutil, "heap_trim"):  # not with musl; else the next stage begins with
                    psutil.heap_trim()  # the memory that this one has freed
                value = read()
                if cost:
                    note_time(folder, stage, *cost(value), peak_rss_mb())
    if cost:
        note_time(folder, stage, *cost(value))
    return value


def lock_file(folder: Path, what: str) -> Path:
    """Whose owner makes `what`, in the run in `folder`. All passes share one: the first of them
    replaces the folder in which the others lie."""
    name = "features" if what.split()[0] == "features" else re.sub(r"[^\w.@-]+", "-", what)
    return folder / ".locks" / f"{name}.lock"


@contextmanager
def unless_busy() -> Iterator[None]:
    """While it is entered, Busy is raised where another process makes what is missing. (Not where
    processes of torchrun work together: one of them alone would know.)"""
    from petweak.data import distributed  # imports PyTorch

    token = _waits.set(distributed.size() > 1)
    try:
        yield
    finally:
        _waits.reset(token)


@contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Alone among the processes that make the same in the run in `folder`; other stages may be made
    meanwhile. One that has to wait says so, as `files.locked` does; see `unless_busy`, too."""
    file = lock_file(folder, what)
    files.make_run_folder(folder)
    files.make_run_folder(file.parent)
    with files.locked(file, what, folder, -1 if _waits.get() else 0):
        yield


def note_time(folder: Path, stage: Stage, n: int, seconds: float, peak: float | None = None
              ) -> None:
    """Put the stage's row into timings.csv in the place of an earlier one. Without `peak`, the
    stage was made before, and a row is written only where it is missing or of another making."""
    import pandas as pd  # takes a while, and a key is asked for without it

    path = folder / "timings.csv"
    row = dict(zip(TIMINGS, (*stage, n, round(seconds, 3)), strict=False))
    new = {"images_per_second": round(n / max(seconds, 1e-9), 2), "peak_rss_mb": peak}

    def rows() -> list[dict]:  # those of a damaged file come back from the stages' own notes
        with suppress(FileNotFoundError, ValueError, KeyError):
            there = files.read_frame(path)[TIMINGS]
            return there[there["stage"].isin(STAGES)].to_dict("records")
        return []

    if peak is None and any(row.items() <= r.items() for r in rows()):
        return
    try:
        files.make_run_folder((lock := lock_file(folder, "timings")).parent)
        with files.locked(lock, path.name, folder, timeout=60):
            others = [r for r in rows() if tuple(r[k] for k in TIMINGS[:3]) != stage]
            table = sorted([*others, row | new], key=lambda r: STAGES.index(r["stage"]))
            files.write_frame(path, pd.DataFrame(table, columns=TIMINGS))
    except (Busy, PermissionError):  # somebody else may write here: the next study notes it
        pass


def peak_rss_mb() -> float:
    """The most memory that this process has had so far, in MiB."""
    if resource is None:
        return round(psutil.Process().memory_info().peak_wset / 2**20, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)  # bytes there, KiB else
