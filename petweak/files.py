"""Files that are whole or absent: written beside their place, then renamed. And where they lie."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

_BESIDE = re.compile(r"\..+\.(?P<pid>\d+)\.partial(\.[^.]*)?")  # what `replacing` names its files
_swept: set[Path] = set()  # folders that this process has cleared of what a kill left behind


def project_path(path: str | Path) -> Path:
    """A relative path counts from the project: the nearest folder upwards with a `pyproject.toml`.

    So a notebook in `notebooks/` and a command at the top mean the same run. Outside of any
    project it counts from the current folder.
    """
    path, here = Path(path).expanduser(), Path.cwd()
    if path.is_absolute():
        return path
    tops = [p for p in (here, *here.parents) if (p / "pyproject.toml").is_file()]
    return (tops[0] if tops else here) / path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a path beside `path` to write to; renames it on success, deletes it on failure.

    The first write into a folder deletes what processes that were killed left half-written there.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial{path.suffix}")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Delete the half-written files of processes that are no more; once for each folder, because a
    folder of masks has thousands of entries."""
    if folder in _swept:
        return
    _swept.add(folder)
    for file in folder.glob(".*.partial*"):
        name = _BESIDE.fullmatch(file.name)
        if name and not psutil.pid_exists(int(name["pid"])):
            file.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1) + "\n")


def read_json(path: str | Path) -> Any:
    """The file's value, or None where there is no file."""
    path = Path(path)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def write_csv(path: str | Path, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    """Rows in the order of `columns`; a key that is not a column raises ValueError."""
    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
