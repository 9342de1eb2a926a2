"""Oxford-IIIT Pet's layout on disk -> samples: the full set, a part of it, and the rendered pets.

The official folder holds oddities: GIF and PNG files named .jpg, grey, palette and RGBA photos,
trailing bytes, .mat files, photos in no list, and, in a part of the set, class ids with gaps. So
files are looked up through the lists alone, photos are decoded by content, and labels are counted
anew from 0. What cannot be read is an OSError that names the file.
"""

from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from PIL import Image

from petweak.data.files import file_hash, text_hash

SPECIES = ("cat", "dog")
LABELS = ("breed", "species")
SPLITS = {"train": "trainval.txt", "test": "test.txt"}  # and the list of each
TRIMAP_FOREGROUND, TRIMAP_BACKGROUND, TRIMAP_BORDER = 1, 2, 3  # the values of a trimap's pixels
# The official names in order of class id, 1 to 37; cats begin with a capital letter.
BREED_NAMES = tuple(Path(__file__).with_name("breed_names.csv").read_text().split())


@dataclass(frozen=True)
class Sample:
    """One listed photo. `breed` and `species` are contiguous from 0."""

    id: str
    photo: Path
    trimap: Path | None  # None where the photo has none: it is not scored
    breed: int
    species: int
    split: str  # train or test; left_out where a study leaves a breed out
    breed_name: str

    def label(self, labels: str) -> int:
        return {"breed": self.breed, "species": self.species}[labels]


@dataclass(frozen=True)
class Quarantined:
    """A listed photo that cannot be used, and why."""

    id: str
    file: str
    reason: str


@dataclass(frozen=True)
class Pets:
    """A data set: usable samples in the order of the lists, class names, and what was set aside."""

    root: Path
    name: str  # what results.csv calls it
    breeds: tuple[str, ...]
    samples: tuple[Sample, ...]
    quarantine: tuple[Quarantined, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def split(self, name: str) -> tuple[Sample, ...]:
        if name not in (names := (*SPLITS, "left_out")):
            raise ValueError(f"unknown split {name!r}: there are {', '.join(names)}")
        return tuple(s for s in self.samples if s.split == name)

    def sample(self, image_id: str) -> Sample:
        """The photo with this id. ValueError where the set has none."""
        if image_id not in self._by_id:
            raise ValueError(f"{self.root} has no usable photo {image_id!r}")
        return self._by_id[image_id]

    @cached_property
    def _by_id(self) -> dict[str, Sample]:
        return {s.id: s for s in self.samples}

    def classes(self, labels: str) -> tuple[str, ...]:
        return {"breed": self.breeds, "species": SPECIES}[labels]

    def with_quarantine(self, quarantine: tuple[Quarantined, ...]) -> Self:
        """The same set without the samples that `quarantine` names."""
        good = self.only(set(self._by_id) - {q.id for q in quarantine})
        return replace(good, quarantine=quarantine)

    def only(self, ids: Container[str]) -> Self:
        """The same set, of these photos alone; the classes stay as they are."""
        return replace(self, samples=tuple(s for s in self.samples if s.id in ids))

    def leaving_out(self, breed: str) -> Self:
        """The same set with one breed in the split `left_out`. ValueError for an unknown breed."""
        if breed not in self.breeds:
            raise ValueError(f"leave_out={breed!r} is not one of {', '.join(self.breeds)}")
        left = (replace(s, split="left_out") if s.breed_name == breed else s for s in self.samples)
        return replace(self, samples=tuple(left))


def read_pets(data_root: str | Path) -> Pets:
    """Read the lists in `data_root/oxford-iiit-pet/annotations`; no photo is opened here.

    A breed's name is what stands before the number in its photos' ids, its label the rank of its
    official class id among those that occur. Raises FileNotFoundError where a list is missing,
    ValueError where a line cannot be read, two breeds share a class id, a photo is listed twice or
    a list is empty; each names the file.
    """
    root = Path(data_root) / "oxford-iiit-pet"
    notes = root / "annotations"
    rows: dict[str, tuple[int, int, str]] = {}  # class id, species, split
    names: dict[int, str] = {}
    for split, file in SPLITS.items():
        path, before = notes / file, len(rows)
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing. --data-root is the folder that holds oxford-iiit-pet/; "
                "`petweak data make` writes the rendered pets, `petweak data fetch` the photos.")
        for n, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            try:
                image_id, class_id, species, _ = line.split()
                row = int(class_id), {"1": 0, "2": 1}[species], split
            except (ValueError, KeyError):
                what = f"{line!r} is not 'Image CLASS-ID SPECIES BREED-ID'"
                raise ValueError(f"{path}, line {n}: {what}") from None
            if image_id in rows:
                raise ValueError(f"{path}, line {n}: {image_id} is listed twice")
            breed = image_id.rsplit("_", 1)[0]
            if (name := names.setdefault(row[0], breed)) != breed:
                raise ValueError(f"{path}, line {n}: class id {class_id} is {name} and {breed}")
            rows[image_id] = row
        if len(rows) == before:
            raise ValueError(f"{path} lists no photo")
    rank = {class_id: i for i, class_id in enumerate(sorted(names))}
    samples = tuple(
        Sample(i, root / "images" / f"{i}.jpg", trimap if trimap.is_file() else None,
               rank[class_id], species, split, names[class_id])
        for i, (class_id, species, split) in rows.items()
        for trimap in [notes / "trimaps" / f"{i}.png"])
    name = "rendered" if (notes / "rendered.json").is_file() else "oxford-iiit-pet"
    return Pets(root, name, tuple(names[class_id] for class_id in rank), samples)


def check(pets: Pets) -> Pets:
    """Open every listed photo and trimap, once a process and content; what cannot be read goes into
    quarantine. ValueError where a trimap has other values than 1, 2, 3: that is a misunderstanding
    of the whole set rather than one bad file."""
    faults = (_fault(s, file_hash(s.photo), _trimap_hash(s)) for s in pets.samples)
    return pets.with_quarantine(tuple(filter(None, faults)))


@cache
def _fault(s: Sample, photo_hash: str, trimap_hash: str) -> Quarantined | None:
    file = s.photo
    try:
        width, height = load_photo(s.photo).size
        if s.trimap is None:
            return None
        file = s.trimap
        h, w = load_trimap(s.trimap).shape
        if (h, w) != (height, width):
            raise OSError(f"{w} x {h} px, its photo {width} x {height}")
    except OSError as error:
        return Quarantined(s.id, str(file), str(error).removeprefix(f"{file}: "))


def _trimap_hash(s: Sample) -> str:
    return file_hash(s.trimap) if s.trimap else "none"


def fingerprint(pets: Pets) -> dict[str, str]:
    """Hashes of the content of `photos`, `labels`, `trimaps`: what keys of stages start from."""
    lines = {
        "photos": (f"{s.id} {file_hash(s.photo)}" for s in pets.samples),
        "labels": (f"{s.id} {s.breed_name} {s.species} {s.split}" for s in pets.samples),
        "trimaps": (f"{s.id} {_trimap_hash(s)}" for s in pets.samples)}
    return {name: text_hash("\n".join(of)) for name, of in lines.items()}


@contextmanager
def _reading(path: Path | BinaryIO) -> Iterator[None]:
    """Whatever goes wrong inside becomes an OSError that names the file: Pillow raises SyntaxError,
    ValueError, EOFError, struct.error and its own for bad files."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.filename:  # missing, not permitted: named already
            raise
        name = path if isinstance(path, str | Path) else "the picture"
        reason = str(error).split(" '")[0].split(" <")[0] or type(error).__name__
        raise OSError(f"{name}: {reason}") from error


def load_photo(path: Path | BinaryIO) -> Image.Image:
    """The photo as RGB, decoded by content whatever its name says; alpha is dropped. The EXIF
    orientation is not applied, because the trimaps are drawn on the stored pixels."""
    with _reading(path), Image.open(path) as image:
        if image.mode.startswith("I;16"):  # Pillow clips 16 bit to white; keep the upper byte
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        return image.convert("RGB")


def load_trimap(path: Path) -> np.ndarray:
    """(H, W) uint8 of 1 foreground, 2 background, 3 border. ValueError names a file with others."""
    with _reading(path), Image.open(path) as image:
        trimap = np.asarray(image)
    values = np.unique(trimap)
    if trimap.ndim != 2 or not set(values) <= {TRIMAP_FOREGROUND, TRIMAP_BACKGROUND, TRIMAP_BORDER}:
        raise ValueError(
            f"{path}: has the values {values[:8].tolist()} in an array of shape {trimap.shape}; a "
            "trimap has one channel: 1 pet, 2 background, 3 border. `petweak data check` opens all")
    return trimap.astype(np.uint8, copy=False)


def resize(image: Image.Image, size: int) -> Image.Image:
    """The one resize rule: the whole picture to size x size, bilinear, averaged when it shrinks.
    Nothing is cut off or padded; a mask goes back to the photo's size by the same rule."""
    return image.resize((size, size), Image.Resampling.BILINEAR)


def val_ids(pets: Pets, fraction: float, seed: int) -> frozenset[str]:
    """The seeded `fraction` of train that choices are made on: of each breed with two photos or
    more at least one, never all; none for 0. ValueError where no breed has two."""
    if fraction == 0:
        return frozenset()
    rng, chosen = np.random.default_rng(seed), []
    for breed in range(len(pets.breeds)):
        ids = [s.id for s in pets.split("train") if s.breed == breed]
        if len(ids) > 1:
            n = min(max(1, round(fraction * len(ids))), len(ids) - 1)
            chosen += rng.choice(ids, size=n, replace=False).tolist()
    if not chosen:
        raise ValueError(f"{pets.root}: no breed has two photos in train, so none can be held out")
    return frozenset(chosen)
