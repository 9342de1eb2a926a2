"""Oxford-IIIT Pet's layout on disk -> samples: the full set, a part of it, the rendered pets, and
photos of one's own in the same layout.

The official folder has oddities: GIF and PNG files named .jpg, .mat files, photos in no list,
and, in a part of the set, class ids with gaps. Sets of one's own have other suffixes, no trimaps,
and file names that tell no class. So files are looked up through the lists alone, by their stem,
photos are decoded by content (`petweak.data.pictures`), and labels are counted from 0. A
photo without a trimap is a full member. What cannot be read is an OSError that names the file.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import chain
from pathlib import Path
from typing import Self
from unicodedata import normalize

import numpy as np
from PIL import Image

from petweak.data.files import file_hash, shipped, text_hash, what_is
from petweak.data.mask_checks import FAINT, exchanged, is_lines, many
from petweak.data.masks import small_copy
from petweak.data.orientation import are_stored, evidence, is_untold, turned
from petweak.data.pictures import SUFFIXES, TURNS, as_seen, bare, header, load_array, load_photo

log = logging.getLogger(__name__)
SPECIES = ("cat", "dog")
LABELS = ("breed", "species")
OFFICIAL = "oxford-iiit-pet"  # the folder, and the name of what has the official breeds
SPLITS = {"train": "trainval.txt", "test": "test.txt"}  # and the list of each
CLASSES = "classes.txt"  # optional, beside the lists: names of classes
TRIMAP_FOREGROUND, TRIMAP_BACKGROUND, TRIMAP_BORDER = 1, 2, 3  # the values of a trimap's pixels
# The official names in order of class id, 1 to 37; cats begin with a capital letter.
BREED_NAMES = tuple(Path(__file__).with_name("breed_names.csv").read_text("utf-8").split())
# What cameras, phones and messengers call a photo: its number tells no class.
CAMERA = re.compile(r"(img|image|dscn?|dscf|dcim|pxl|mvimg|vid|p|pic|pict|picture|photo|foto|file|"
                    r"frame|scan|snapchat|screenshot|signal|whatsapp[ _-]image|download|wa)", re.I)
# Characters that control a screen, or the direction of writing.
UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
OWN = "`petweak data import SOURCE --to D` writes this layout, with a seeded split, from yours"
MOVE = "lines may also be moved from one list to the other"


@dataclass(frozen=True)
class Sample:
    """One listed photo. `breed` and `species` are contiguous from 0."""

    id: str
    photo: Path
    trimap: Path | None  # None where the photo has none: it is not scored, nor in ground_truth
    breed: int
    species: int
    split: str  # train or test; left_out where a study leaves a breed out
    breed_name: str

    def label(self, labels: str) -> int:
        return {"breed": self.breed, "species": self.species}[labels]

    def load(self) -> tuple[Image.Image, np.ndarray | None]:
        """The photo, and its trimap as `load_trimap` has it, None where it has none."""
        return load_photo(self.photo), load_trimap(self) if self.trimap else None


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
    doubts: tuple[str, ...] = ()  # what is odd in the set as a whole

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

    def leaving_out(self, *breeds: str) -> Self:
        """The same set with these breeds in the split `left_out`. ValueError for an unknown one."""
        if unknown := ", ".join(b for b in breeds if b not in self.breeds):
            raise ValueError(f"leave_out: {unknown} is not one of {', '.join(self.breeds)}")
        left = (replace(s, split="left_out") if s.breed_name in breeds else s for s in self.samples)
        return replace(self, samples=tuple(left))


def read_pets(data_root: str | Path) -> Pets:
    """Read the lists in `data_root/oxford-iiit-pet/annotations`; no photo is opened here.

    `data_root` may be that folder itself, and `images/` and `annotations/` may lie in folders of
    their own names, as some copies have them. A photo or trimap is the picture file with the id as
    its stem, whatever its suffix. Labels are ranks of the class ids among those that occur. Raises
    FileNotFoundError where a list is missing, ValueError where a line cannot be read, a photo is
    listed twice or has two files, a class has no name or another's, or a list is empty; each names
    the file and the way out."""
    root, notes = _find(Path(data_root))
    rows: dict[str, tuple[int, int, str]] = {}  # class id, species, split
    for split, file in SPLITS.items():
        path, before = notes / file, len(rows)
        for n, line in read_lines(path):
            try:
                image_id, class_id, species, _ = line.rsplit(None, 3)
                if species not in ("1", "2"):
                    raise ValueError("SPECIES is 1, a cat, or 2, a dog")
                row = int(class_id), int(species) - 1, split
                image_id = checked_id(image_id)
            except ValueError as error:
                raise ValueError(f"{path}, line {n}: {line!r} is not 'Image CLASS-ID SPECIES "
                                 f"BREED-ID': {error}") from None
            if image_id in rows:
                raise ValueError(f"{path}, line {n}: {image_id} is listed twice")
            rows[image_id] = row
        if len(rows) == before:
            raise ValueError(f"{path} lists no photo. {OWN}; {MOVE}")
    folder = _inner(root, "images")
    images, trimaps = _files(folder), _files(_inner(notes, "trimaps"))
    _check_files(root, rows, images, trimaps)
    names, doubts = class_names(notes, {i: class_id for i, (class_id, _, _) in rows.items()})
    rank = {class_id: i for i, class_id in enumerate(sorted(names))}
    samples = tuple(Sample(i, next(iter(images(i)), folder / f"{i}.jpg"), next(
        iter(trimaps(i)), None), rank[class_id], species, split, names[class_id])
        for i, (class_id, species, split) in rows.items())
    breeds = tuple(names[class_id] for class_id in rank)
    # A set of other classes is called as the folder that the user has named.
    name = next(n for n in (root.name, root.absolute().parent.name, "") if n != OFFICIAL)
    name = OFFICIAL if set(breeds) <= set(BREED_NAMES) else (
        name if name not in ("", "rendered") else "own photos")
    if (notes / "rendered.json").is_file():
        name = "rendered"
    return Pets(root, name, breeds, samples, doubts=doubts)


def _find(data_root: Path) -> tuple[Path, Path]:
    """The set's folder and that of its lists. FileNotFoundError where there are none."""
    official = data_root / OFFICIAL
    for root in (official, data_root, official / OFFICIAL):
        for notes in (root / "annotations", root / "annotations" / "annotations"):
            there = [file for file in SPLITS.values() if (notes / file).is_file()]
            if len(there) == len(SPLITS):
                return root, notes
            if there:
                absent = notes / next(f for f in SPLITS.values() if f not in there)
                raise FileNotFoundError(f"{absent} is missing beside {there[0]}: a set needs both. "
                                        f"{OWN}; {MOVE}")
    raise FileNotFoundError(f"{official / 'annotations' / SPLITS['train']} is missing. --data-root "
                            "is the folder that has oxford-iiit-pet/ (images/ and annotations/ "
                            f"with its lists). Photos of your own: {OWN}. `petweak data make` "
                            "writes the rendered pets, `petweak data fetch` the official photos.")


def _inner(folder: Path, name: str) -> Path:
    """`folder/name`, or the folder of the same name in it."""
    inner = folder / name / name
    return inner if inner.is_dir() else folder / name


def read_text(path: Path) -> str:
    """The file's text. ValueError where it is something else, such as a proxy's page, or not UTF-8,
    with its likely encoding."""
    content = path.read_bytes()
    if content and (other := what_is(content[:64], "")):
        raise ValueError(f"{path} {other}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        encoding = "UTF-16" if utf16 else "ISO-8859-1 (Latin-1)"
        n = content[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path}, line {n}: is not UTF-8, but probably {encoding}. Save it as UTF-8: by an "
            f"editor, or `iconv -f {encoding.split()[0]} -t UTF-8 {path.name} > new.txt`") from None


def read_lines(path: Path) -> list[tuple[int, str]]:
    """(number, line) of those that are neither empty nor a comment."""
    lines = enumerate(map(str.strip, re.split(r"\r\n?|\n", read_text(path))), 1)
    return [(n, line) for n, line in lines if line and line[0] != "#"]


def checked_id(image_id: str) -> str:
    """The id in Unicode's composed form, without suffix. ValueError if it is no plain file name."""
    image_id = normalize("NFC", image_id)
    if image_id.startswith(".") or re.search(r"[/\\:\x00-\x1f\x7f]", image_id):
        raise ValueError("the id is a file name without its suffix, not a path")
    stem, suffix = os.path.splitext(image_id)
    return stem if suffix.lower() in SUFFIXES else image_id


def _files(folder: Path) -> Callable[[str], list[Path]]:
    """A function of an id: the picture files of this stem in `folder`, which is listed once. Files
    in another case, and then those of two suffixes (x.HEIC.jpg), count where none has that stem."""
    exact: dict[str, list[Path]] = {}
    folded: dict[str, list[Path]] = {}
    bared: dict[str, list[Path]] = {}
    entries = os.scandir(folder) if folder.is_dir() else ()
    for name in sorted(e.name for e in entries if not e.is_dir() and e.name[0] != "."):
        stem, suffix = os.path.splitext(normalize("NFC", name))
        if suffix.lower() in SUFFIXES:
            exact.setdefault(stem, []).append(folder / name)
            folded.setdefault(stem.casefold(), []).append(folder / name)
            bared.setdefault(bare(stem).casefold(), []).append(folder / name)
    return lambda i: exact.get(i) or folded.get(i.casefold()) or bared.get(bare(i).casefold(), [])


def _check_files(root: Path, ids: Container[str], *finders: Callable[[str], list[Path]]) -> None:
    """ValueError where an id has two files, or two ids have one."""
    for find in finders:
        files_of = {i: find(i) for i in ids}
        two = [" and ".join(f.name for f in files) for files in files_of.values() if len(files) > 1]
        if two:
            raise ValueError(f"{root}: two files for one id; keep one of each: {_first(two)}")
        uses = Counter(chain.from_iterable(files_of.values()))
        if shared := [i for i, files in files_of.items() if files and uses[files[0]] > 1]:
            raise ValueError(f"{root}: ids that differ in case alone and have one file: "
                             f"{_first(shared)}")


def _first(items: list[str]) -> str:
    """The first ten of them, and how many there are."""
    more = f" and {len(items) - 10} more ({len(items)} in all)" if len(items) > 10 else ""
    return "; ".join(items[:10]) + more


def class_names(notes: Path, class_ids: dict[str, int]) -> tuple[dict[int, str], tuple[str, ...]]:
    """{class id: name}, no two alike, and doubts: from `classes.txt`, else from the file names
    where all of a class are `breed_number` with one breed, else `class_<id>`."""
    ids = sorted(set(class_ids.values()))
    if (path := notes / CLASSES).is_file():
        return _named(path, ids), ()
    of: dict[int, set[str]] = {}
    for image_id, class_id in class_ids.items():
        breed = re.fullmatch(r"(.+)_\d+", image_id)
        of.setdefault(class_id, set()).add(breed[1] if breed else "")
    for class_id, names in of.items():
        if len(names) > 1 and names <= set(BREED_NAMES):  # one line has a wrong id
            raise ValueError(f"{notes}: class id {class_id} is {' and '.join(sorted(names))}")
    uses = Counter(chain.from_iterable(of.values()))
    own = {k: next(iter(names)) for k, names in of.items()
           if len(names) == 1 and uses[next(iter(names))] == 1 and is_class_name(*names)}
    names = {k: own.get(k, f"class_{k}") for k in ids}
    nameless = _first([name for k, name in names.items() if k not in own])
    text = f"file names tell no names of {nameless}: {path}, a name a line, gives them names"
    return names, (text,) if nameless else ()


def is_class_name(text: str) -> bool:
    """Whether `text` can be a class, and is no date and nothing that a camera counts."""
    parts = re.split(r"[ _.-]+", text)
    dated = any(part.isdigit() and len(part) >= 4 for part in parts)
    counted = CAMERA.fullmatch(text) or re.fullmatch(r"class_\d+", text)
    return bool(re.search(r"[^\W\d_]", text)) and not dated and not counted


def _named(path: Path, ids: list[int]) -> dict[int, str]:
    """The names in `classes.txt`: `id name` in every line, or a name a line, in order of class id;
    line k is class id k where there are more lines than classes that occur."""
    lines = [line for _, line in read_lines(path)]
    pairs = [re.fullmatch(r"(\d+)\s*[\s:,;]\s*(\S.*)", line) for line in lines]
    if lines and all(pairs):
        names = {int(p[1]): p[2] for p in pairs}
    else:
        names = dict(zip(ids if len(lines) == len(ids) else range(1, len(lines) + 1), lines,
                         strict=True))
    if absent := [k for k in ids if k not in names]:
        raise ValueError(f"{path}: has {len(lines)} lines and no name for the class ids "
                         f"{_first([str(k) for k in absent])}: line k is class id k, or say "
                         "'id name' in each line")
    if odd := [ascii(names[k]) for k in ids if UNSEEN.search(names[k])]:
        raise ValueError(f"{path}: names with characters that nobody can see: {_first(odd)}")
    if twice := [name for name, n in Counter(names[k] for k in ids).items() if n > 1]:
        raise ValueError(f"{path}: two classes are called {_first(twice)}")
    return {k: names[k] for k in ids}


@dataclass(frozen=True)
class _Examination:
    """What one photo and its trimap are: a fault, other values than a trimap's, or the shares of
    foreground and of background in the trimap's frame and in its middle, (2, 2), a small copy,
    whether it is lines, and the roles that its values seem to have exchanged."""

    fault: Quarantined | None = None
    values: str = ""
    shares: tuple[tuple[float, float], ...] = ()
    upright: float | None = None  # `orientation.evidence`, where the size does not tell
    small: np.ndarray | None = None  # (masks.SIDE, masks.SIDE) bool: all but background
    lines: bool = False
    roles: tuple[int, int, int] | None = None  # `mask_checks.exchanged`


def check(pets: Pets) -> Pets:
    """Open every listed photo and trimap, once a process and content; what cannot be read, or does
    not fit together, goes into quarantine, and what is odd in most trimaps into `doubts`.
    ValueError, with all bad files, where trimaps have other values than 1, 2, 3: that is a
    misunderstanding of the set rather than one bad file."""
    examined = [_examine(s, file_hash(s.photo), s.trimap and file_hash(s.trimap))
                for s in pets.samples]
    if bad := [e.values for e in examined if e.values]:
        raise ValueError(f"{_first(bad)}. A trimap has one channel: 1 pet, 2 background, 3 border; "
                         "`petweak data import SOURCE --to D` makes trimaps of other masks")
    of = {s.id: e for s, e in zip(pets.samples, examined, strict=True) if e.shares}
    upright = {i: e.upright for i, e in of.items() if e.upright is not None}
    stored = (f"{said}; {OWN}, and turns them" for said in are_stored(upright)[1])
    pets = pets.with_quarantine(tuple(e.fault for e in examined if e.fault))
    return replace(pets, doubts=(*pets.doubts, *stored, *_doubts(pets, of)))


@cache
def _examine(s: Sample, photo_hash: str, trimap_hash: str | None) -> _Examination:
    file = s.photo
    try:
        if photo_hash == "missing" and file.is_symlink():
            raise OSError(f"is a link to {os.readlink(file)}, where no file is: put it back, or "
                          "import the photos from where they are into a new folder")
        if photo_hash == "missing":
            raise OSError("there is no picture of this name, whatever its suffix")
        load_photo(s.photo)
        if s.trimap is None:
            return _Examination()
        file = s.trimap
        trimap = load_trimap(s.trimap, s.photo)
    except OSError as error:
        reason = error.strerror if error.filename else str(error).removeprefix(f"{file}: ")
        return _Examination(Quarantined(s.id, str(file), reason))
    except ValueError as error:
        return _Examination(values=str(error))
    frame = np.concatenate([trimap[0], trimap[-1], trimap[:, 0], trimap[:, -1]])
    (y, x), (h, w) = (n // 4 for n in trimap.shape), trimap.shape
    parts = frame, trimap[y : h - y, x : w - x]
    values = TRIMAP_FOREGROUND, TRIMAP_BACKGROUND
    shares = tuple(tuple(float((p == v).mean()) for v in values) for p in parts)
    pet = trimap != TRIMAP_BACKGROUND
    upright = evidence(s.photo, pet) if is_untold(s.photo) else None
    return _Examination(shares=shares, upright=upright, small=small_copy(pet), lines=is_lines(pet),
                        roles=exchanged(trimap))


def _doubts(pets: Pets, examined: dict[str, _Examination]) -> tuple[str, ...]:
    """Of a set: trimaps that have values exchanged, or 1 or 2 nowhere, that are lines, turned or
    mirrored; breeds that nothing can be learnt of, or that are cats and dogs."""
    doubts, n, shares = [], len(examined), [e.shares for e in examined.values()]
    if examined:
        where = next(s.trimap for s in pets.samples if s.trimap).parent
        (frame, around), (middle, background) = np.moveaxis(np.array(shares), 0, -1)
        # Of the official trimaps, 0.3 % have more pet along the frame than in the middle.
        odd = int(((frame > middle) & (background > 0)).sum())
        others = Counter(filter(None, (e.roles for e in examined.values())))
        if (other := others.total()) > max(1, n / 20):
            pet, back, border = others.most_common(1)[0][0]
            doubts.append(f"in {other} of {n} trimaps in {where} the border, which is thin, seems "
                          f"to be {border}, the pet {pet} and the background {back}, in place of "
                          "3, 1 and 2: are values exchanged? `petweak data import SOURCE --to D "
                          f"--foreground {pet}` reads {pet} alone as the pet")
        elif odd > max(1, n / 20):
            doubts.append(f"{odd} of {n} trimaps in {where} have more pet (1) along the frame than "
                          "in the middle: are 1 and 2 exchanged?")
        for value, share in (("pet (1)", frame + middle), ("background (2)", background + around)):
            if not share.any():
                doubts.append(f"none of the {n} trimaps in {where} has {value}, in the middle or "
                              "along the frame: are they masks of another kind?")
        faint = [i for i, e in examined.items() if e.small.mean() < FAINT]
        if many(faint, examined) and (frame + middle).any():
            doubts.append(f"{len(faint)} of {n} trimaps in {where} have next to no pet, under "
                          f"{FAINT:.1%} of the photo: {_first(faint)}")
        if (odd := sum(e.lines for e in examined.values())) > n / 2 and (frame + middle).any():
            doubts.append(f"{odd} of {n} trimaps in {where} are lines, such as outlines that are "
                          "not filled: 1 has to be all of the pet")
        photos = {s.id: s.photo for s in pets.samples}
        doubts += turned({i: e.small for i, e in examined.items()}, photos, f"trimaps in {where}")
    train = {s.breed_name for s in pets.split("train")}
    if alone := [breed for breed in pets.breeds if breed not in train]:
        doubts.append(f"nothing is learnt of these breeds, of which train has no photo that can be "
                      f"used: {_first(alone)}")
    for breed in pets.breeds:
        cats, dogs = ([s.id for s in pets.samples if (s.breed_name, s.species) == (breed, k)]
                      for k in range(len(SPECIES)))
        if cats and dogs:
            few = _first(min(cats, dogs, key=len))
            doubts.append(f"{breed} is a cat in {len(cats)} lines of the lists and a dog in "
                          f"{len(dogs)}: a class has one SPECIES, 1 or 2. Look at {few}")
    return tuple(doubts)


def require_splits(pets: Pets) -> Pets:
    """The same set. ValueError where a split has no usable photo, to learn from or to score."""
    for split, file in SPLITS.items():
        if not pets.split(split):
            bad = [f"{Path(q.file).name}: {q.reason}" for q in pets.quarantine]
            raise ValueError(f"{pets.root}: no photo of {split} ({file}) can be used: "
                             f"{_first(bad)}")
    return pets


def describe(pets: Pets) -> Iterator[str]:
    """Lines for a person: photos, trimaps, classes and splits, doubts, and what was left out."""
    parts = {split: pets.split(split) for split in SPLITS}
    yield f"opened every photo and trimap of {pets.root}"
    counts = ", ".join(f"{len(part)} in {split}" for split, part in parts.items())
    yield f"{len(pets)} photos of {len(pets.breeds)} breeds: {counts}"
    have = {split: sum(s.trimap is not None for s in part) for split, part in parts.items()}
    counts = ", ".join(f"{n} in {split}" for split, n in have.items())
    yield f"{sum(have.values())} trimaps: {counts}"
    if without := len(pets) - sum(have.values()):
        yield (f"{without} photos have no trimap: every source but ground_truth makes masks of "
               "them and teaches models with them; they are not scored")
    of = {split: Counter(s.breed_name for s in part) for split, part in parts.items()}
    pairs = {(s.breed_name, s.species) for s in pets.samples}
    for breed in pets.breeds:
        counts = ", ".join(f"{n[breed]} in {split}" for split, n in of.items())
        species = " and ".join(name for k, name in enumerate(SPECIES) if (breed, k) in pairs)
        yield f"  {breed} ({species or 'no photo'}): {counts}"
    yield from (f"doubt: {doubt}" for doubt in pets.doubts)
    yield f"{len(pets.quarantine)} left out"
    yield from (f"  {q.file}: {q.reason}" for q in pets.quarantine)


def fingerprint(pets: Pets) -> dict[str, str]:
    """Hashes of the content of `photos`, `labels`, `trimaps`: what keys of stages start from."""
    lines = {
        "photos": (f"{s.id} {file_hash(s.photo)}{_turned(s.photo)}" for s in pets.samples),
        "labels": (f"{s.id} {s.breed_name} {s.species} {s.split}" for s in pets.samples),
        "trimaps": (f"{s.id} {file_hash(s.trimap) if s.trimap else 'none'}" for s in pets.samples)}
    return {name: text_hash("\n".join(of)) for name, of in lines.items()}


def _turned(photo: Path) -> str:
    """Of a photo that is not seen as it is stored: whatever was made of it as stored is stale."""
    try:
        orientation = header(photo).orientation
    except OSError:
        return ""
    return f" turned {orientation}" if orientation in TURNS else ""


def load_trimap(path: Path | Sample | None, photo: Path | None = None) -> np.ndarray:
    """(H, W) uint8 of 1 foreground, 2 background, 3 border, as large as its `photo` and turned as
    this one is (`pictures.as_seen`). OSError where it cannot be read or does not fit, ValueError
    where it has other values; both name the file. ValueError for None, of a photo without one.
    A sample stands for its trimap and its photo."""
    if isinstance(path, Sample):
        path, photo = path.trimap, path.photo
    if path is None:
        name = photo.name if photo else "this photo"
        raise ValueError(f"{name} has no trimap, so there is no ground truth to compare with: "
                         "choose a set, or a photo, that has one")
    trimap = load_array(path)
    if trimap.ndim == 3:  # grey saved as colour, with or without alpha
        colours = trimap[..., : {2: 1, 4: 3}.get(trimap.shape[2])]
        trimap = colours[..., 0] if (colours == colours[..., :1]).all() else trimap
    values = np.unique(trimap)
    if trimap.ndim != 2 or not set(values) <= {TRIMAP_FOREGROUND, TRIMAP_BACKGROUND, TRIMAP_BORDER}:
        raise ValueError(f"{path}: has the values {values[:8].tolist()} in an array of shape "
                         f"{trimap.shape}, not 1, 2 and 3")
    trimap = trimap.astype(np.uint8, copy=False)
    return trimap if photo is None else as_seen(trimap, path, photo)


def example_photos() -> dict[str, tuple[Image.Image, np.ndarray]]:
    """{id: a real photo, its trimap (H, W)}: three of test, made small, which need no data set.
    figures/ATTRIBUTION.md says whose they are."""
    files = sorted(shipped("figures/examples").glob("*.jpg"))
    return {f.stem: (load_photo(f), load_array(f.with_suffix(".png"))) for f in files}


def resize(image: Image.Image, size: int) -> Image.Image:
    """The one resize rule: the whole picture to size x size, bilinear, averaged when it shrinks.
    Nothing is cut off or padded; a mask goes back to the photo's size by the same rule."""
    return image.resize((size, size), Image.Resampling.BILINEAR)


def val_ids(pets: Pets, fraction: float, seed: int) -> frozenset[str]:
    """The seeded `fraction` of train that choices are made on: of each breed with two photos or
    more at least one, never all; none for 0. Where no breed has two it is of each species, else of
    all of train, and a warning says so; of a single photo there is none."""
    rng, chosen = np.random.default_rng(seed), []
    for by in ("breed", "species", "split") if fraction else ():
        groups: dict[str | int, list[str]] = {}
        for s in pets.split("train"):
            groups.setdefault(getattr(s, by), []).append(s.id)
        for _, ids in sorted(groups.items()):
            if len(ids) > 1:
                n = min(max(1, round(fraction * len(ids))), len(ids) - 1)
                chosen += rng.choice(ids, size=n, replace=False).tolist()
        if chosen:
            break
        log.warning("%s: no %s has two photos in train, so none is held out of each", pets.root, by)
    return frozenset(chosen)
