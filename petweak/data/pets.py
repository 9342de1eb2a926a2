"""Oxford-IIIT Pet's layout on disk -> samples. One reader for the full set, a part, and ours.

The official folder holds oddities: GIF and PNG files named .jpg, grey, palette and RGBA photos,
trailing bytes, .mat files, photos in no list, and, in a part of the set, class ids with gaps. So
files are found through the lists alone, photos are decoded by content, and labels are counted anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

SPECIES = ("cat", "dog")
LABELS = ("breed", "species")
LISTS = {"train": "trainval.txt", "test": "test.txt"}
PET, BACKGROUND, BORDER = 1, 2, 3  # the values of a trimap


@dataclass(frozen=True)
class Sample:
    """One listed photo. `breed` and `species` are contiguous from 0."""

    id: str
    photo: Path
    trimap: Path
    breed: int
    species: int
    split: str  # train or test, left_out where a study leaves a breed out

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
        return tuple(s for s in self.samples if s.split == name)

    def classes(self, labels: str) -> tuple[str, ...]:
        return {"breed": self.breeds, "species": SPECIES}[labels]

    def with_quarantine(self, quarantine: tuple[Quarantined, ...]) -> Pets:
        """The same set without the samples that `quarantine` names."""
        bad = {q.id for q in quarantine}
        good = tuple(s for s in self.samples if s.id not in bad)
        return replace(self, samples=good, quarantine=quarantine)

    def only(self, ids: Container[str]) -> Pets:
        """The same set, of these photos alone; breeds and classes keep their numbers."""
        return replace(self, samples=tuple(s for s in self.samples if s.id in ids))

    def leaving_out(self, breed: str) -> Pets:
        """The same set with all photos of one breed in a split of their own, `left_out`: neither
        train nor test. ValueError for an unknown breed."""
        if breed not in self.breeds:
            raise ValueError(f"leave_out={breed!r}: known are {', '.join(self.breeds)}")
        out = self.breeds.index(breed)
        samples = tuple(replace(s, split="left_out") if s.breed == out else s for s in self.samples)
        return replace(self, samples=samples)


def read_pets(data_root: str | Path) -> Pets:
    """Read the lists in `data_root/oxford-iiit-pet/annotations`; no photo is opened here.

    A breed's name is what stands before the number in its photos' ids, its label the rank of its
    official class id among those that occur.

    Raises FileNotFoundError where the folder or a list is missing, ValueError where a line
    cannot be read, two breeds share a class id, or a photo is listed twice; each names the file.
    """
    root = Path(data_root) / "oxford-iiit-pet"
    entries: dict[str, tuple[int, int, str]] = {}
    names: dict[int, str] = {}
    for split, file in LISTS.items():
        path = root / "annotations" / file
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing. --data-root is the folder that holds oxford-iiit-pet/; "
                "`petweak data make` writes the rendered pets, `petweak data fetch` the photos."
            )
        for n, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            try:
                image_id, class_id, species, _ = line.split()
                class_id, species = int(class_id), {"1": 0, "2": 1}[species]
            except (ValueError, KeyError):
                raise ValueError(
                    f"{path}, line {n}: {line!r} is not 'Image CLASS-ID SPECIES BREED-ID'"
                ) from None
            if image_id in entries:
                raise ValueError(f"{path}, line {n}: {image_id} is listed twice")
            breed = image_id.rsplit("_", 1)[0]
            if names.setdefault(class_id, breed) != breed:
                raise ValueError(
                    f"{path}, line {n}: class id {class_id} is {names[class_id]} and {breed}"
                )
            entries[image_id] = (class_id, species, split)

    rank = {class_id: i for i, class_id in enumerate(sorted(names))}
    samples = tuple(
        Sample(
            id=image_id,
            photo=root / "images" / f"{image_id}.jpg",
            trimap=root / "annotations" / "trimaps" / f"{image_id}.png",
            breed=rank[class_id],
            species=species,
            split=split,
        )
        for image_id, (class_id, species, split) in entries.items()
    )
    for split, file in LISTS.items():
        if not any(s.split == split for s in samples):
            raise ValueError(f"{root / 'annotations' / file} lists no photo")
    rendered = (root / "annotations" / "rendered.json").is_file()
    breeds = tuple(names[class_id] for class_id in sorted(names))
    return Pets(root, "rendered" if rendered else "oxford-iiit-pet", breeds, samples)


def check(pets: Pets) -> Pets:
    """Open every listed photo and trimap; what cannot be read goes into quarantine.

    Raises ValueError where a trimap can be read and holds other values than 1, 2, 3: that is a
    misunderstanding of the whole set rather than one bad file.
    """
    quarantine = []
    for s in pets.samples:
        file = s.photo
        try:
            size = load_photo(s.photo).size
            file = s.trimap
            if not s.trimap.is_file():
                raise OSError("the trimap is missing")
            with Image.open(s.trimap) as trimap:
                trimap.load()
        # Pillow raises SyntaxError, ValueError, EOFError, struct.error and its own for bad files.
        except Exception as error:
            quarantine.append(Quarantined(s.id, str(file), _reason(error)))
            continue
        values = load_trimap(s.trimap)
        if values.shape != size[::-1]:
            reason = f"{values.shape[1]} x {values.shape[0]} px, its photo {size[0]} x {size[1]}"
            quarantine.append(Quarantined(s.id, str(s.trimap), reason))
    return pets.with_quarantine(tuple(quarantine))


def fingerprint(pets: Pets) -> dict[str, str]:
    """Hashes of the content of `photos`, `labels`, `trimaps`: what keys of stages start from."""
    hashes = {name: hashlib.blake2b(digest_size=16) for name in ("photos", "labels", "trimaps")}
    for s in pets.samples:
        hashes["labels"].update(f"{s.id} {pets.breeds[s.breed]} {s.species} {s.split}\n".encode())
        for name, file in (("photos", s.photo), ("trimaps", s.trimap)):
            content = file.read_bytes() if file.is_file() else b"missing"
            hashes[name].update(f"{s.id} {len(content)}\n".encode() + content)
    return {name: h.hexdigest() for name, h in hashes.items()}


def load_photo(path: Path | BinaryIO) -> Image.Image:
    """The photo as RGB, decoded by content whatever its name says; alpha is dropped.

    The EXIF orientation is not applied, because the trimaps are drawn on the stored pixels.
    """
    with Image.open(path) as image:
        if image.mode.startswith("I;16"):  # Pillow clips 16 bit to white; keep the upper byte
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        return image.convert("RGB")


def load_trimap(path: Path) -> np.ndarray:
    """(H, W) uint8 of 1 pet, 2 background, 3 border. ValueError names a file with other values."""
    with Image.open(path) as image:
        trimap = np.asarray(image)
    found = np.unique(trimap)
    if trimap.ndim != 2 or not np.isin(found, (PET, BACKGROUND, BORDER)).all():
        raise ValueError(
            f"{path}: holds {found[:8].tolist()} in an array of shape {trimap.shape}; a trimap is "
            "one channel of 1 (pet), 2 (background), 3 (border). `petweak data check` looks at all"
        )
    return trimap.astype(np.uint8, copy=False)


def resize(image: Image.Image, size: int) -> Image.Image:
    """The one resize rule: the whole picture to size x size, bilinear, averaged when it shrinks.

    The aspect ratio is not kept: nothing is cut off or padded, and a mask goes back to the photo's
    size by the same rule. Pillow's bilinear filter widens with the reduction, so photos over and
    under the target size take the same path.
    """
    return image.resize((size, size), Image.Resampling.BILINEAR)


def val_ids(pets: Pets, fraction: float, seed: int) -> frozenset[str]:
    """The seeded `fraction` of train that choices are made on: at least one photo of each breed
    that has two; none where the fraction is 0. ValueError where no breed has two."""
    if fraction == 0:
        return frozenset()
    rng = np.random.default_rng(seed)
    chosen: list[str] = []
    for breed in range(len(pets.breeds)):
        ids = [s.id for s in pets.split("train") if s.breed == breed]
        if len(ids) > 1:
            n = max(1, round(fraction * len(ids)))
            chosen += rng.choice(ids, size=n, replace=False).tolist()
    if not chosen:
        raise ValueError(f"{pets.root}: no breed has two photos in train, so none can be held out")
    return frozenset(chosen)


def _reason(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return text.split(" '")[0] if "cannot identify image" in text else text
