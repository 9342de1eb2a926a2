"""The official archives of Oxford-IIIT Pet: downloaded once, checked, unpacked whole or not at all.

pooch downloads and checks. Two things stay here. Unpacking: pooch's `Untar` writes into the final
folder, so a kill would leave half of it, and lets links pass. And what a user put there by hand is
never deleted. pooch cannot resume by HTTP Range: a download that was cut begins again.
"""

import os
import shutil
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from gzip import BadGzipFile
from itertools import count
from pathlib import Path, PurePosixPath

import pooch
import requests

from petweak.data.files import locked, partial_folder, replacing
from petweak.data.oxford_pets import read_pets

ARCHIVES = {"images.tar.gz": "5c4f3ee8e5d25df40f4fd59a7f44e54c",
            "annotations.tar.gz": "95a8c909bbe2e81eed6a22bccdf3f68f"}
# The host that public code gets the files from, then torchvision's address for the same files.
BASE_URLS = ("https://thor.robots.ox.ac.uk/datasets/pets/",
             "https://www.robots.ox.ac.uk/~vgg/data/pets/data/")
OFFICIAL_PHOTOS = 7349  # trainval.txt and test.txt together
RETRIES = 2  # of each address
_OURS = ".petweak-unpacks-here"
_MARKER = ".unpacked"  # in each folder: its archive's md5, and how many files it had


class FetchError(RuntimeError):
    """The official set could not be had; the message says what was tried and what to do."""


def fetch_official(data_root: str | Path, *, base_urls: Sequence[str] = BASE_URLS,
                   archives: Mapping[str, str] = ARCHIVES, progress: bool = True) -> Path:
    """Get the official photos and annotations into `data_root/oxford-iiit-pet`, and return it.

    Does nothing where they are complete. A right archive in `data_root` is used without a download;
    archives stay there (0.8 GB). Several processes may call it at once. base_urls: addresses of the
    archives' folder, tried in order. archives: file name -> md5.

    Raises FetchError where no address has the right archive; where a wrong one was put there by
    hand (it becomes `<archive>.bad`); where an archive has a link, a device or a path that leads
    out of it; and where a folder unpacked by something else is in the way."""
    root = Path(data_root)
    folder = root / "oxford-iiit-pet"
    parts = [(folder / name.split(".")[0], root / name, md5) for name, md5 in archives.items()]
    if all(_whole(part, md5) for part, _, md5 in parts) or _official(root):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with locked(root / ".oxford-iiit-pet.lock", "the official set", root):
        # Asked again: another process may have done it while this one waited.
        todo = [(part, archive, md5) for part, archive, md5 in parts if not _whole(part, md5)]
        for part, _, md5 in todo:
            if part.exists() and not _unpacked_from(part, md5):
                raise FetchError(f"{part} is in the way: something else put it there, and it is no "
                                 "complete official set. Move it away or use another data root.")
        for _, archive, md5 in todo:  # all before the first folder: without a network no change
            _get(archive, md5, base_urls, progress)
        for part, archive, md5 in todo:
            _unpack(archive, part, md5)
    return folder


def _get(path: Path, md5: str, base_urls: Sequence[str], progress: bool) -> None:
    """The checked archive at `path`, downloaded if it is not there."""
    way_out = (
        f"By hand: get {' and '.join(ARCHIVES)} on any machine from\n  {base_urls[0]}\n"
        f"put them into {path.parent} and run again; a right archive there is used.")
    if path.is_file():
        if (actual := pooch.file_hash(str(path), "md5")) == md5:
            return
        bad = next(p for n in count() if not (p := Path(f"{path}.bad{n or ''}")).exists())
        os.replace(path, bad)  # the user's, so it is not deleted
        raise FetchError(
            f"{path} is not the official archive: its md5 is {actual}, expected {md5}. It was "
            f"renamed to {bad.name}. Run again to download it.\n{way_out}")
    # Apache labels .tar.gz as gzip-encoded; it must not be decompressed on the way.
    as_sent = {"response": lambda response, **_: response.raw.headers.discard("Content-Encoding")}
    downloader = pooch.HTTPDownloader(progressbar=progress, hooks=as_sent)
    tried = ""
    for url in base_urls:
        address = f"{url.rstrip('/')}/{path.name}"
        try:
            with replacing(path) as beside:
                name = beside.name
                pooch.create(path.parent, "", registry={name: f"md5:{md5}"}, urls={name: address},
                             retry_if_failed=RETRIES).fetch(name, downloader=downloader)
            return
        except (requests.RequestException, ValueError) as error:  # ValueError: another md5
            tried += f"  {address}\n    {error}\n"
    raise FetchError(f"{path.name} could not be downloaded. Tried:\n{tried}{way_out}")


def _whole(folder: Path, md5: str) -> bool:
    """Whether `folder` was unpacked here from this archive and has lost no file since."""
    return 0 < _unpacked_from(folder, md5) <= _count(folder)  # a user may have added files


def _unpacked_from(folder: Path, md5: str) -> int:
    """How many files were unpacked here from this archive, 0 where it was another or nobody."""
    if not (folder / _MARKER).is_file():
        return 0
    of, files, *_ = *(folder / _MARKER).read_text(encoding="utf-8").split(), "", ""
    return int(files) if of == md5 and files.isdigit() else 0


def _official(root: Path) -> bool:
    """Whether a set that something else unpacked is complete, photo by listed photo."""
    try:
        samples = read_pets(root).samples
    except (OSError, ValueError):
        return False
    # The count tells the official set from another one in its layout, such as the rendered pets.
    there = len(samples) == OFFICIAL_PHOTOS
    return there and all(s.photo.is_file() and s.trimap for s in samples)


def _unpack(archive: Path, folder: Path, md5: str) -> None:
    """Unpack the archive's folder to `folder`, which is absent or whole at every moment. One that
    has lost files gets them back; what else is in it may have been changed, and stays."""
    beside = partial_folder(folder.parent, folder.name, lambda left: (left / _OURS).is_file())
    beside.mkdir(parents=True)
    (beside / _OURS).touch()
    try:
        try:
            with tarfile.open(archive, "r:gz") as tar:
                tar.extractall(beside, filter=_safe)
        except (tarfile.TarError, BadGzipFile, zlib.error, EOFError, ValueError) as error:
            why = " ".join(str(error).split())
            raise FetchError(f"{archive} is damaged ({why}). Nothing was unpacked: delete it, and "
                             "run again to download it") from None
        whole = beside / folder.name
        if not whole.is_dir():
            raise FetchError(f"{archive} has no folder {folder.name}/")
        (whole / _MARKER).write_text(f"{md5} {_count(whole)}\n", encoding="utf-8")
        if not folder.exists():
            os.replace(whole, folder)
        for file in [f for f in whole.rglob("*") if f.is_file()]:
            if not (there := folder / file.relative_to(whole)).exists():
                there.parent.mkdir(parents=True, exist_ok=True)
                os.replace(file, there)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _safe(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
    # Stricter than the data filter, which lets links inside through and strips a leading slash.
    name = PurePosixPath(member.name)
    if not (member.isreg() or member.isdir()) or name.is_absolute() or ".." in name.parts:
        raise FetchError(f"refused to unpack {member.name!r}: a link, a device, or a path that "
                         "leads out of the folder. Nothing was unpacked.")
    return tarfile.data_filter(member, path)


def _count(folder: Path) -> int:
    return sum(name != _MARKER for _, _, files in os.walk(folder) for name in files)
