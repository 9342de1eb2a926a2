"""The official archives of Oxford-IIIT Pet: downloaded once, checked, unpacked whole or not at all.

A download under way is `<archive>.part`, continued by the next attempt or the next run. A folder
is unpacked beside its place and renamed, with a marker in it that says what it came from.
"""

from __future__ import annotations

import os
import re
import shutil
import tarfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import requests
import urllib3
from filelock import FileLock
from pooch import file_hash
from tqdm.auto import tqdm

ARCHIVES = {
    "images.tar.gz": "5c4f3ee8e5d25df40f4fd59a7f44e54c",
    "annotations.tar.gz": "95a8c909bbe2e81eed6a22bccdf3f68f",
}
# The host that public code gets the files from, then torchvision's address for the same files.
BASE_URLS = (
    "https://thor.robots.ox.ac.uk/datasets/pets/",
    "https://www.robots.ox.ac.uk/~vgg/data/pets/data/",
)
OFFICIAL_PHOTOS = 7349  # trainval.txt and test.txt together
_MARKER = ".unpacked"  # in each folder: its archive's md5, and how many files it had


class FetchError(RuntimeError):
    """The official set could not be had; the message says what was tried and what to do."""


class ResumingDownloader:
    """A pooch downloader that continues `<output_file>.part` by HTTP Range.

    It copes with a connection cut half-way, a server that ignores Range (200: starts over) and
    one that has nothing after our last byte (416: the part is whole, or it starts over). Whether
    the bytes are the right ones is for the caller's hash to say.
    """

    retries = 3  # after an attempt that brought no new byte
    pause = 0.5  # seconds before the first of them, doubled for each further one
    timeout = (10, 60)  # seconds to connect, and between two reads

    def __init__(self, progressbar: bool = True):
        self.progressbar = progressbar

    def __call__(self, url: str, output_file: str | Path, pooch: object = None) -> None:
        """Download `url` to `output_file`.

        Raises FetchError when it gives up; `<output_file>.part` keeps what has come.
        """
        part = Path(f"{output_file}.part")
        failures, furthest = 0, _size(part)
        while True:
            try:
                if self._attempt(url, part):
                    os.replace(part, output_file)
                    return
                problem = "the download did not come to its end"
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                problem = f"{type(error).__name__}: {error}"
                status = getattr(getattr(error, "response", None), "status_code", 500)
                if status < 500 and status not in (408, 429):
                    raise FetchError(problem) from error
            # A long file over a poor line is cut often: only attempts without gain count.
            failures = 0 if _size(part) > furthest else failures + 1
            furthest = max(furthest, _size(part))
            if failures > self.retries:
                raise FetchError(f"{problem} ({_size(part)} bytes are kept)")
            time.sleep(self.pause * 2 ** max(0, failures - 1))

    def _attempt(self, url: str, part: Path) -> bool:
        """One request; True if the part is whole after it."""
        have = _size(part)
        # identity: a server that labels .tar.gz as gzip must not have it unpacked on the way.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(url, headers=headers, stream=True, timeout=self.timeout) as response:
            begin, total = _content_range(response)
            status = response.status_code
            if status == 416 and total == have > 0:
                return True
            if status in (206, 416) and begin != have:
                part.unlink(missing_ok=True)  # longer than the file, or not what was asked for
                return False
            response.raise_for_status()
            if status != 206:
                have, length = 0, response.headers.get("Content-Length")
                total = int(length) if length else None
            bar = tqdm(desc=part.stem, initial=have, total=total, unit="B", unit_scale=True,
                       disable=not self.progressbar)
            with open(part, "ab" if have else "wb") as file, bar:
                for chunk in response.raw.stream(1 << 18, decode_content=False):
                    file.write(chunk)
                    bar.update(len(chunk))
        return total is None or _size(part) == total


def fetch_official(
    data_root: str | Path,
    *,
    base_url: str | Sequence[str] = BASE_URLS,
    archives: Mapping[str, str] = ARCHIVES,
    progress: bool = True,
) -> Path:
    """Get the official photos and annotations into `data_root/oxford-iiit-pet`.

    Does nothing where they are there already. A right archive found in `data_root` is used
    without a download; archives stay there (0.8 GB). Several processes may call it at once.

    Args:
        data_root: the folder that holds, or will hold, `oxford-iiit-pet/`.
        base_url: the address of the archives' folder, or several to be tried in order.
        archives: file name -> md5, one for `images`, one for `annotations`.
        progress: draw a bar on stderr.

    Returns:
        `data_root/oxford-iiit-pet`, with `images/` and `annotations/` whole.

    Raises:
        FetchError: no address answered; an archive's md5 is wrong (a download is deleted, a file
            put there by hand renamed to `<archive>.bad`); an archive holds a link, a device or a
            path that leads out of it; or a folder unpacked by something else is in the way.
    """
    root = Path(data_root)
    folder = root / "oxford-iiit-pet"
    places = {folder / name.split(".")[0]: name for name in archives}
    if all(_whole(p, archives[name]) for p, name in places.items()) or _official(folder):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    urls = [base_url] if isinstance(base_url, str) else list(base_url)
    with FileLock(root / ".oxford-iiit-pet.lock"):
        # Asked again: another process may have done it while this one waited.
        todo = {p: name for p, name in places.items() if not _whole(p, archives[name])}
        for place in todo:
            if place.exists() and not (place / _MARKER).is_file():
                raise FetchError(f"{place} is in the way: something else put it there, and it is "
                                 "no complete official set. Move it away or use another data root.")
        # All archives before the first folder: without a network nothing is changed.
        found = {p: _archive(root, name, archives, urls, progress) for p, name in todo.items()}
        for place, archive in found.items():
            _unpack(archive, place, archives[archive.name])
    return folder


def _whole(place: Path, md5: str) -> bool:
    """Whether `place` was unpacked here from this archive and has lost no file since."""
    marker = place / _MARKER
    words = marker.read_text().split() if marker.is_file() else []
    # At least, not exactly: a file browser may have left its own.
    return words[:1] == [md5] and _count(place) >= int(words[1])


def _official(folder: Path) -> bool:
    """Whether a set that something else unpacked is complete, photo by listed photo."""
    lists = [folder / "annotations" / file for file in ("trainval.txt", "test.txt")]
    if not all(path.is_file() for path in lists):
        return False
    lines = [line for path in lists for line in path.read_text().splitlines()]
    listed = {line.split()[0] for line in lines if line.strip() and line[0] != "#"}
    # The count tells the official set from another one in its layout, such as the rendered pets.
    return len(listed) == OFFICIAL_PHOTOS and all(
        (folder / "images" / f"{name}.jpg").is_file()
        and (folder / "annotations" / "trimaps" / f"{name}.png").is_file()
        for name in listed
    )


def _archive(root: Path, name: str, archives: Mapping[str, str], urls: Sequence[str],
             progress: bool) -> Path:
    """The path of a checked archive, downloaded if it is not there."""
    path, tried = root / name, []
    by_hand = path.is_file()  # or kept from a run before
    for url in [] if by_hand else urls:
        address = f"{url.rstrip('/')}/{name}"
        try:
            ResumingDownloader(progress)(address, path)
            break
        except FetchError as error:
            tried.append(f"  {address}\n    {error}")
    way_out = (
        f"By hand: get {' and '.join(archives)} on any machine from\n  {urls[0]}\n"
        f"put them into {root} and run again; a right archive found there is used."
    )
    if not path.is_file():
        raise FetchError("\n".join([f"{name} could not be downloaded. Tried:", *tried,
                                    "Run again to continue where it stopped.", way_out]))
    md5 = file_hash(str(path), "md5")
    if md5 == archives[name]:
        return path
    if by_hand:  # not ours to delete
        os.replace(path, f"{path}.bad")
    else:
        path.unlink()
    fate = f"renamed to {name}.bad" if by_hand else "deleted"
    raise FetchError(f"{path} is not the official archive: expected md5 {archives[name]}, found "
                     f"{md5}. It was {fate}. Run again to download it anew.\n{way_out}")


def _unpack(archive: Path, place: Path, md5: str) -> None:
    """Unpack the archive's folder to `place`, which is absent or whole at every moment."""
    beside, old = (place.with_name(f".{place.name}.{word}") for word in ("partial", "old"))
    try:
        for leftover in (beside, old):
            shutil.rmtree(leftover, ignore_errors=True)
        with tarfile.open(archive) as tar:
            tar.extractall(beside, filter=_safe)
        whole = beside / place.name
        if not whole.is_dir():
            raise FetchError(f"{archive} holds no folder {place.name}/")
        (whole / _MARKER).write_text(f"{md5} {_count(whole)}\n")
        if place.exists():
            os.replace(place, old)
        os.replace(whole, place)
    finally:
        for leftover in (beside, old):
            shutil.rmtree(leftover, ignore_errors=True)


def _safe(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
    # Stricter than the data filter, which lets links inside through and strips a leading slash.
    name = PurePosixPath(member.name)
    if not (member.isreg() or member.isdir()) or name.is_absolute() or ".." in name.parts:
        raise FetchError(f"refused to unpack {member.name!r}: a link, a device, or a path that "
                         "leads out of the folder. Nothing was unpacked.")
    return tarfile.data_filter(member, path)


def _count(place: Path) -> int:
    return sum(name != _MARKER for _, _, files in os.walk(place) for name in files)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _content_range(response: requests.Response) -> tuple[int | None, int | None]:
    """First byte and the file's length, where the server says them."""
    header = response.headers.get("Content-Range", "")
    match = re.match(r"bytes (?:(\d+)-\d+|\*)/(?:(\d+)|\*)", header)
    begin, total = match.groups() if match else (None, None)
    return begin and int(begin), total and int(total)
