"""Files that are whole or absent, where they lie, and what they contain (hashes, damage)."""

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import socket
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from filelock import FileLock, Timeout
from PIL import Image
from safetensors import safe_open

log = logging.getLogger(__name__)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the last one: a limit of a file's size
# The first bytes of what is often found in place of a file, and is nobody's,
_PAGE = "is a web page, of a proxy perhaps: the download went wrong"
_NOT_A_FILE = {b"version https://git-lfs": "is a git-LFS pointer: `git lfs pull` fetches the file",
               b"<!doctype": _PAGE, b"<html": _PAGE, b"<head": _PAGE, b"<!--": _PAGE,
               b"<?xml": "is XML, a proxy's error perhaps: the download went wrong",
               b"<<<<<<<": "has git's marks of a conflict that is not resolved",
               b"{\\rtf": "is rich text (RTF): save it as plain text"}
# and of other files that have a picture's name.
_NOT_A_PICTURE = _NOT_A_FILE | {
    b"\x00\x05\x16\x07": "is a macOS resource file (AppleDouble), not the picture",
    b"<?xml": "is XML, not a picture", b"<svg": "is an SVG drawing: convert it to PNG",
    b"%pdf": "is a PDF, not a picture", b"pk\x03\x04": "is a zip archive, not a picture"}
# Columns whose values are people's own words, whatever they look like.
_TEXTS = ("id", "breed", "species", "dataset", "file", "mask", "reason", "left_out")
_PARTIAL = re.compile(r"\..+\.(\d+)\.partial(\.[^.]*)?")  # the names that `replacing` uses
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_BLAKE2B = partial(hashlib.blake2b, digest_size=16)
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
    `notebooks` and a part of `figures` there): of the project that one stands in, of the wheel, or
    of the project that the package was installed from in place."""
    package = Path(__file__).parents[1]
    places = project_path(path), package / path, package.parent / path
    return next((place for place in places if place.exists()), places[0])


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a path beside `path` to write to; renames it on success, deletes it on failure. The
    file gets the permissions of the user's umask, whatever wrote it: others can read it. A full
    disk is an OSError that names `path`, whatever the writer made of it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    name = path.name if len(os.fsencode(path.name)) < 200 else text_hash(path.name)  # 255 at most
    beside = path.with_name(f".{name}.{os.getpid()}.partial{path.suffix}")
    with on_disk(path):
        try:
            yield beside
            beside.chmod(0o666 & ~_UMASK)
            if path.is_file() and not path.stat().st_size:
                log.warning("%s was empty, and is made again", path)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)


def require_writable(folder: Path, option: str) -> None:
    """PermissionError where nothing can be written in `folder`, or nothing can be made in the one
    above, NotADirectoryError where a file is in its way; both with the way out."""
    there = next(p for p in (folder, *folder.parents) if os.path.lexists(p))
    if not there.is_dir():
        raise NotADirectoryError(f"{folder} cannot be made or written to, as {there} is no folder: "
                                 f"choose another folder, {option}")
    if not os.access(there, os.W_OK):  # of root, too, on a disk that is mounted read-only
        raise PermissionError(f"{folder} cannot be written to ({there} is read-only, or another "
                              f"user's): choose another folder, {option}")


def make_run_folder(folder: Path, option: str = "--run R") -> None:
    """Make a run's folder where it is missing. Errors as of `require_writable`."""
    require_writable(folder, option)
    folder.mkdir(parents=True, exist_ok=True)


class Busy(Exception):
    """Another process makes it."""


@contextmanager
def locked(file: Path, what: str, folder: Path, timeout: float = -1) -> Iterator[None]:
    """Alone among the processes that take the lock `file` to make `what` in `folder`. One that has
    to wait says for whom, for what and since when that one has been at work. Busy after `timeout`
    seconds, at once and without a word where it is 0; below 0 it waits as long as it takes."""
    lock, holder = FileLock(file), file.with_suffix(".json")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if timeout:
            h = read_json(holder) or dict.fromkeys(("pid", "host", "what", "since"), "?")
            log.warning("waiting for process %s on %s, which has been making %s in %s since %s",
                        h["pid"], h["host"], h["what"], folder, h["since"])
        try:
            lock.acquire(timeout=timeout)
        except Timeout:
            raise Busy(what) from None
    try:
        write_json(holder, {"pid": os.getpid(), "host": socket.gethostname(), "what": what,
                            "since": datetime.now().isoformat(" ", "seconds")})
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


@contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """Writing to `path`: a full disk, which a write tells without the file's name and libraries
    under names of their own, is an OSError with both."""
    try:
        yield
    except Exception as error:
        number = getattr(error, "errno", None)
        if number not in _FULL and "No space left" not in str(error):
            raise
        number = number if number in _FULL else errno.ENOSPC
        raise OSError(number, os.strerror(number), str(path)) from error


def reserve(path: Path) -> None:
    """Give a sparse file its blocks. One that is written through a memory map would otherwise end
    the process by SIGBUS when the disk is full; so it is an OSError, here and now."""
    with on_disk(path), path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except (AttributeError, OSError) as error:  # macOS, Windows, a file system without it
            if getattr(error, "errno", None) in _FULL:
                raise
            while part := file.read(1 << 20):
                file.seek(-len(part), os.SEEK_CUR)
                file.write(part)


@cache
def _sweep(folder: Path) -> None:
    """Delete the half-written files of processes that have ended, once a folder."""
    for file in folder.glob(".*.partial*"):
        if (name := _PARTIAL.fullmatch(file.name)) and not psutil.pid_exists(int(name[1])):
            file.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")


def signed(text: str) -> str:
    """A page in Markdown with a last line by which `is_signed` knows that nobody has changed it."""
    return f"{text}\n<!-- written by petweak, {text_hash(text)}: a changed page is kept -->\n"


def is_signed(path: Path) -> bool:
    """Whether the file is as petweak wrote it, or empty after a crash: a changed one stays."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
    return text is not None and text in ("", signed(text.rpartition("\n<!-- ")[0]))


def to_json(value: Any, indent: int | None = None) -> str:
    """An object gets a `digest` of the rest, by which `from_json` knows one that was damaged."""
    if isinstance(value, dict):
        value = value | {"digest": text_hash(json.dumps(value))}
    return json.dumps(value, indent=indent) + "\n"


def from_json(text: str | bytes) -> Any:
    """What `to_json` was given; an object may lack its digest. ValueError for a damaged one."""
    value = json.loads(text)
    digest = value.pop("digest", None) if isinstance(value, dict) else None
    if digest not in (None, text_hash(json.dumps(value))):
        raise ValueError("the digest differs")
    return value


def write_json(path: str | Path, value: Any) -> None:
    write_text(path, to_json(value, indent=1))


def read_json(path: str | Path, kind: type = dict) -> Any:
    """The file's value, without its digest. None where there is no file, or a damaged one or no
    `kind` in it, which a line tells."""
    path = Path(path)
    try:
        if isinstance(value := from_json(path.read_text(encoding="utf-8")), kind):
            return value
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError):
        pass
    log.warning("%s is damaged and counts as missing (if you have changed it yourself, delete its "
                "line `digest`)", path)
    return None


def add_to(path: Path, value: dict[str, Any]) -> None:
    """Append an object as a line of its own, also after one that a kill has torn."""
    with on_disk(path), path.open("a", encoding="utf-8", newline="\n") as lines:
        lines.write("\n" + to_json(value))


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The objects that `add_to` has appended, without lines that are damaged; of no file none."""
    values = []
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        with suppress(ValueError, RecursionError):
            values.append(from_json(line))
    return [value for value in values if isinstance(value, dict)]


def is_whole(path: Path) -> bool:
    """Whether a file that petweak wrote is there and looks whole: every byte of a PNG, which has
    checksums; both ends of a CSV, the header and the size of .npy and .safetensors, whose content
    others compare with a hash. A line tells of a damaged one."""
    if not path.is_file():
        return False
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "np"):
                return True
        if path.suffix == ".npy":
            return np.load(path, mmap_mode="r") is not None
        if path.suffix == ".png":
            with Image.open(path, formats=["PNG"]) as image:
                image.verify()  # checksums, which decoders do not look at, of all but the end
            if path.read_bytes().endswith(_PNG_END):
                return True
        with path.open("rb") as file:
            head = file.read(8)
            file.seek(max(-1, -file.seek(0, os.SEEK_END)), os.SEEK_END)
            if path.suffix != ".png" and file.read() == b"\n" and b"\0" not in head:
                return True
    except Exception:  # numpy and safetensors have kinds of their own
        pass
    warn_once(f"{path} {content_of(path)}; it counts as missing")
    return False


def is_as_written(path: Path, wrote: str | Collection[str]) -> bool:
    """Whether the file has the hash that its writer noted, or one of these; where none is noted, as
    by older versions, whether it is whole. A line tells of another one."""
    known = [wrote] if isinstance(wrote, str) else wrote
    if path.is_file() and file_hash(path) in known:  # asked first: it is read once a process
        return True
    if (whole := is_whole(path)) and any(known):
        warn_once(f"{path} has changed since it was written; it counts as missing")
    return whole and not any(known)


@cache
def warn_once(text: str) -> None:
    """A warning, once a process."""
    log.warning("%s", text)


def content_of(path: Path, other: str = "is cut or damaged") -> str:
    """What a file that is not what its name says is, from its first bytes; `other` is the rest."""
    with path.open("rb") as file:
        return what_is(file.read(64), other)


def what_is(head: bytes, other: str, picture: bool = False) -> str:
    """The same of the first 64 bytes; of what should be a picture, more kinds are known."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n").lower()
    table = _NOT_A_PICTURE if picture else _NOT_A_FILE
    named = (text for begins, text in table.items() if start.startswith(begins))
    return next(named, other if head else "is empty (0 bytes)")


def write_frame(path: str | Path, frame: Any) -> None:
    """Write a pandas DataFrame as CSV, without its index."""
    with replacing(path) as beside:
        frame.to_csv(beside, index=False, lineterminator="\n", encoding="utf-8")


def read_frame(path: str | Path) -> Any:
    """A CSV file of `write_frame` as it was written: a photo 0001 and a breed `NA` stay text, and
    an empty field alone is missing."""
    import pandas as pd  # takes a while, and most commands do without

    return pd.read_csv(path, dtype=dict.fromkeys(_TEXTS, str), keep_default_na=False,
                       na_values=[""], encoding="utf-8")


def partial_folder(parent: Path, name: str, is_left: Callable[[Path], bool]) -> Path:
    """A path in `parent` that is free for what is not complete yet. What a killed process has left
    there, as `is_left` tells, is deleted; a folder of the user's with that name stays."""
    for n in count(1):
        beside = parent / f".{name}{f'.{n}' * (n > 1)}.partial"
        if is_left(beside):
            shutil.rmtree(beside, ignore_errors=True)
        if not os.path.lexists(beside):
            return beside


def set_aside(path: Path, known: Collection[str] = ()) -> None:
    """Rename a file that has none of these hashes, because petweak did not write it or somebody has
    changed it since, to `<name>.kept`, with a warning. FileExistsError where that is taken."""
    if not path.is_file() or not path.stat().st_size or file_hash(path) in known:
        return
    kept = path.with_name(f"{path.name}.kept")
    if kept.exists():
        raise FileExistsError(f"{path} was not written by petweak, or has been changed since, and "
                              f"{kept} is there: move one of them away")
    os.replace(path, kept)
    log.warning("%s was not written by petweak, or has been changed since: kept as %s", path,
                kept.name)


def text_hash(text: str) -> str:
    """32 hexadecimal digits."""
    return _BLAKE2B(text.encode()).hexdigest()


def file_hash(path: Path, kind: str | Callable = _BLAKE2B) -> str:
    """32 hexadecimal digits of the file's content, or its hash of another kind, as `hashlib` names
    them; "missing" where there is none, "unreadable" for a folder and the like. Read once a
    process, and again where size or time have changed."""
    try:
        stat = path.stat()
        return _content_hash(path, kind, stat.st_size, stat.st_mtime_ns)
    except FileNotFoundError:
        return "missing"
    except OSError:
        return "unreadable"


@cache
def _content_hash(path: Path, kind: str | Callable, size: int, modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()
