"""Files that are whole or absent, where they lie, and what they hold (hashes)."""

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psutil

log = logging.getLogger(__name__)
_PARTIAL = re.compile(r"\..+\.(\d+)\.partial(\.[^.]*)?")  # the names that `replacing` uses
_UMASK = os.umask(0)
os.umask(_UMASK)


def project_path(path: str | Path) -> Path:
    """A relative path counts from the project, the nearest parent folder with a `pyproject.toml`:
    a notebook in `notebooks/` and a command at the top mean the same run. Outside of any project it
    counts from the current folder."""
    here = Path.cwd()
    tops = (p for p in (here, *here.parents) if (p / "pyproject.toml").is_file())
    return next(tops, here) / Path(path).expanduser()


def shipped(path: str) -> Path:
    """What lies beside the package in the project, and in the package in a wheel (setup.py puts
    `notebooks` and `figures/data` there): of the project that one stands in, of the wheel, or of
    the project that the package was installed from in place."""
    package = Path(__file__).parents[1]
    places = project_path(path), package / path, package.parent / path
    return next((place for place in places if place.exists()), places[0])


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a path beside `path` to write to; renames it on success, deletes it on failure. The
    file gets the permissions of the user's umask, whatever wrote it: others can read it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial{path.suffix}")
    try:
        yield beside
        beside.chmod(0o666 & ~_UMASK)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@cache
def _sweep(folder: Path) -> None:
    """Delete the half-written files of processes that have ended, once a folder."""
    for file in folder.glob(".*.partial*"):
        if (name := _PARTIAL.fullmatch(file.name)) and not psutil.pid_exists(int(name[1])):
            file.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def signed(text: str) -> str:
    """A page in Markdown with a last line by which `is_signed` knows that nobody has changed it."""
    return f"{text}\n<!-- written by petweak, {text_hash(text)}: a changed page is kept -->\n"


def is_signed(path: Path) -> bool:
    """Whether the file is as petweak wrote it: a changed one is the user's, and stays."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return text == signed(text.rpartition("\n<!-- ")[0])


def write_json(path: str | Path, value: Any) -> None:
    """An object gets a `digest` of the rest, by which `read_json` knows one that was damaged."""
    if isinstance(value, dict):
        value = value | {"digest": text_hash(json.dumps(value))}
    write_text(path, json.dumps(value, indent=1) + "\n")


def read_json(path: str | Path, kind: type = dict) -> Any:
    """The file's value, without its digest. None where there is no file, or a damaged one or no
    `kind` in it, which a line tells."""
    path = Path(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        digest = value.pop("digest", None) if isinstance(value, dict) else None
        if isinstance(value, kind) and digest in (None, text_hash(json.dumps(value))):
            return value
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError):
        pass
    log.warning("%s is damaged and counts as missing (if you have changed it yourself, delete its "
                "line `digest`)", path)
    return None


def write_frame(path: str | Path, frame: Any) -> None:
    """Write a pandas DataFrame as CSV, without its index."""
    with replacing(path) as beside:
        frame.to_csv(beside, index=False, lineterminator="\n", encoding="utf-8")


def text_hash(text: str) -> str:
    """32 hexadecimal digits."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def file_hash(path: Path) -> str:
    """32 hexadecimal digits of the file's content, "missing" where there is none, "unreadable" for
    a folder and the like. A file is read once a process, and again only where its size or time has
    changed."""
    try:
        stat = path.stat()
        return _content_hash(path, stat.st_size, stat.st_mtime_ns)
    except FileNotFoundError:
        return "missing"
    except OSError:
        return "unreadable"


@cache
def _content_hash(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
