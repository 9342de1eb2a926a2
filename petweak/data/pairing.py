"""Which mask belongs to which photo: by the names of files and folders, and by how they look."""

import math
import os
import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from unicodedata import normalize

import cv2
import numpy as np
from PIL import Image

from petweak.data.masks import IGNORE, is_mask_beside, read_foreground, recognise, same_shape, some
from petweak.data.pictures import bare, header, load_photo, walk

# train, validation, training_set, test1, val2017, train_images, images_train
_SPLIT = re.compile(r"(?:(?:data|dataset|images?|imgs?|photos?)[-_ ])?"
                    r"(train(?:ing|val)?|test(?:ing)?|val(?:id(?:ation)?)?)"
                    r"(?:[-_ ]?(?:set|split|data|dataset|images?|imgs?|photos?|\d+))*", re.I)
# Folders that contain photos and are no class, and folders that contain masks.
PHOTO_FOLDERS = set(
    "data dataset images image img imgs jpegimages pngimages photos pictures".split())
MASK_FOLDERS = set("""annotation annotations gt groundtruth ground_truth label labels mask masks
    matte mattes seg segmentation segmentationclass segmentations trimap trimaps""".split())
BESIDE = "the mask of a photo beside it"
SHARED = ("several photos have the stem of one mask: name masks as the photos, such as "
          "photo.jpg.png and photo.png.png, or put them into folders as the photos'")
# What names of folders of masks have in them, and of those that are the second choice: of single
# instances (VOC), drawn over the photo for a person (Supervisely).
_MASK_PART = re.compile(r"[-_. ]*(?<![a-z])((masks?|seg|segmentations?|groundtruth|gt|trimaps?|"
                        r"mattes?|labels?|annotations?)(?![a-z])|segmentation(class|object)$)"
                        r"[-_. ]*")
_SECOND = re.compile("object|instance|human|colou?r|overlay|preview|vis")
_MASK_WORD = re.compile(r"[-_. ](masks?|seg|segmentation|gt|labels?|trimap)$")
# What cameras, Takeout, editors, browsers and file managers add to the name of a copy or an edit.
_COPY = re.compile(
    r"([-\u2013_~.\s]+\(?(edit(ed)?|bearbeitet|modifié|modificat[oa]|editad[oa]|bewerkt|copy|kopie|"
    r"copie|copia|collage|effects|enhanced|original|resized|scaled|small|thumb(nail)?)\)?"
    r"([-_\s]*\(?\d{1,3}\)?)?|\s*\(\d+\)|~\d+)+$|^(copy of|kopie von|copie de|copia d[ei]) |"
    r"(?<=^img_)e(?=\d)")
Mask = Path | Callable[[Path], np.ndarray]  # a file, or the photo -> (H, W) bool


@dataclass
class Photo:
    """A file of the source, in the order of the report."""

    file: Path
    name: str  # its path in the source
    breed: str = ""
    split: str = ""  # train, val, test; empty where the source does not say
    masks: list[Mask] = field(default_factory=list)  # of its pets: their union counts
    id: str = ""
    reason: str = ""  # why it is left out
    note: str = ""  # what else is to be known, such as why its mask is not used


@dataclass
class Listing:
    """What a source has."""

    photos: list[Photo]
    species: dict[str, str]  # of each class: cat, dog, or empty where nothing says so
    notes: list[str] = field(default_factory=list)  # lines of the report
    source: Path = Path()  # what names the classes, for errors
    official: bool = False  # named by the lists of Oxford-IIIT Pet: nothing is renamed
    read: set[Path] = field(default_factory=set)  # what else it was told by: a CSV, a .json
    beyond: set[str] = field(default_factory=set)  # photos whose outlines reach beyond them
    unclear: str = ""  # why masks beside the photos cannot be taken, unless others are given


def leave_twins_out(listing: Listing) -> None:
    """Of files that are one picture, by their names (x.HEIC and x.jpg, a copy, an edit) and their
    pixels, in one folder and class: the one with a mask stands, else the largest, else the plain
    name. Else one would be in train and one in test. What a list names, or has a mask that the
    other has not, stays, with a doubt in the report."""
    of_name, kept = defaultdict(list), []
    for p in (p for p in listing.photos if not p.reason):
        plain = _COPY.sub("", normalize("NFC", _stem(p.file)))
        of_name[p.file.parent, p.breed, plain].append(p)
    for same in (same for same in of_name.values() if len(same) > 1):
        same.sort(key=lambda p: (not p.masks, -_pixels(p.file), len(_stem(p.file))))
        looks = np.stack([_look(p.file).ravel() for p in same])
        for k, p in enumerate(same):
            near = np.flatnonzero(looks[:k] @ looks[k] > NEAR * looks.shape[1])
            of = (same[i] for i in near if not same[i].reason)
            if not (twin := next((q for q in of if _look_alike(p.file, q.file)), None)):
                continue
            if not listing.read and (not p.masks or p.masks == twin.masks):
                p.reason, p.note = "a second file of a photo beside it", f"of {twin.name}"
            elif not p.split or p.split != twin.split:
                kept.append(p)
    listing.notes += grouped("doubt", [Photo(p.file, p.name, reason=(
        "the same picture as one beside it, and both stay, as a list names them or each has a mask:"
        " one may be in train, one in test")) for p in kept], "reason")


def twins_apart(photos: Sequence[Photo]) -> list[str]:
    """Doubts: pairs of files that are one picture and lie in train and in test, whose scores are
    then too good, or in two classes, of which one is then wrong. Every pair is compared by 16 x 16
    pixels, and those that are alike by `_look_alike`."""
    small = [cv2.resize(_look(p.file), (16, 16), None, 0, 0, cv2.INTER_AREA).ravel()
             for p in photos]
    looks = np.array([x / (np.linalg.norm(x) or 1) for x in small], np.float32)
    pairs: dict[str, list[str]] = {"in train and in test": [], "in two classes": []}
    for k, p in enumerate(photos):
        for q in (photos[i] for i in np.flatnonzero(looks[:k] @ looks[k] > NEAR)):
            apart = p.split != q.split, p.breed != q.breed
            if any(apart) and _look_alike(p.file, q.file):
                for of in (of for of, yes in zip(pairs.values(), apart, strict=True) if yes):
                    of.append(f"{q.name} = {p.name}")
    return [f"doubt: {len(of)} pairs of files are the same picture {where}: {some(of)}. Delete one "
            "of each, or put both into one split and class" for where, of in pairs.items() if of]


NEAR = 0.9  # correlation, of twins at least 0.98


def _look_alike(one: Path, other: Path) -> bool:
    """Whether two pictures are one in other files: of one shape, and but for a curve of brightness
    the same everywhere. The residual of a cubic fit of one to the other, in standard deviations,
    is averaged over 5 x 5 of the 64 x 64 pixels; the highest counts. Of 50 photos it was at most
    0.1 in other formats and sizes, 0.28 of brighter ones, 0.43 of the strongest edits, and at least
    0.70 where the pet had moved by 3 %."""
    a, b = _look(one), _look(other)
    if (a * b).mean() < NEAR or not _of_one_shape(one, other):
        return False
    with warnings.catch_warnings(action="ignore", category=np.exceptions.RankWarning):  # flat ones
        fits = [(x, y, np.polyfit(x.ravel(), y.ravel(), 3)) for x, y in ((a, b), (b, a))]
    off = min(cv2.blur(np.abs(y - np.polyval(fit, x)), (5, 5)).max() for x, y, fit in fits)
    return off < 0.4


def _look(file: Path) -> np.ndarray:
    """(64, 64) float32, brightness of mean 0 and variance 1; 0 where it is flat, or unreadable."""
    with suppress(OSError):
        return _look_of(file, file.stat().st_mtime_ns)
    return np.zeros((64, 64), np.float32)


@lru_cache(1 << 12)
def _look_of(file: Path, modified: int) -> np.ndarray:
    grey = load_photo(file, 256).convert("L").resize((64, 64), Image.Resampling.BILINEAR)
    values = np.asarray(grey, np.float32)
    return (values - values.mean()) / values.std() if values.std() > 1 else 0 * values


def _pixels(file: Path) -> int:
    with suppress(OSError):
        return math.prod(header(file).size)
    return 0


def pair_beside(listing: Listing) -> None:
    """What looks like a mask and has the name of a photo of its class is its mask, and no photo."""
    of_one_name = defaultdict(list)
    for p in (p for p in listing.photos if not p.reason):
        of_one_name[p.breed, p.split, _MASK_WORD.sub("", _stem(p.file))].append(p)
    for same in (same for same in of_one_name.values() if len(same) > 1):
        looks = {p.file: {q.file for q in same if is_mask_beside(p.file, q.file)} for p in same}
        masks = {f for f, of in looks.items() if any(f not in looks[q] for q in of - {f})}
        _match([p for p in same if p.file not in masks and not p.masks], masks)
        for p in (p for p in same if p.file in masks):
            p.reason = BESIDE


def set_masks_aside(source: Path, photos: list[Photo], listing: Listing) -> list[Photo]:
    """The photos without those in folders of masks, in which each is the mask of the photo that has
    its path but for such folders; or, where none is, most are masks by their stems. Of several
    folders with masks of the same photos one is taken. ValueError where none has any."""
    names, inside, rest = _mask_folders(photos), defaultdict(list), []
    for p in photos:
        within = tuple(x for x in _folders_of(p) if x in names)
        inside[within].append(p) if within else rest.append(p)
    of: dict[tuple, dict[str, Path]] = {}  # {folder: {photo: mask}}
    for within, masks in inside.items():
        files = [p.file for p in masks]
        few = not _match(rest, files, names, whole=True) and (
            2 * len(_match(rest, files, names)) <= len(files))
        pairs = {p.file: p.masks.pop() for p in rest if p.masks}
        of[within] = {} if few else pairs

    def worth(within: tuple) -> tuple[bool, bool]:
        looks = all(is_mask_beside(f, photo) for photo, f in of[within].items())
        return looks, not _SECOND.search(" ".join(within))

    taken: list[tuple] = []
    for within in sorted(of, key=worth, reverse=True) if len(of) > 1 else of:
        both = {k: of[k].keys() & of[within].keys() for k in taken}
        for rival in (k for k, shared in both.items() if shared):
            one, other = ([of[k][photo] for photo in sorted(both[rival])] for k in (rival, within))
            if worth(rival) == worth(within) and not same_foreground(one, other):
                listing.unclear = differ(source, (one[0], other[0]))
            for p in inside[within]:
                folder = one[0].parent.relative_to(source).as_posix()
                p.reason = f"masks as well: those in {folder} are taken"
            break
        else:
            taken.append(within)
    masks = {p.file: p for within in taken for p in inside[within]}
    given = {photo: f for within in taken for photo, f in of[within].items()}
    for p in (p for p in rest if p.file in given):
        p.masks, p.note = [given[p.file]], ""
    if masks and not given:
        name = Path(next(iter(masks.values())).name).parent
        raise ValueError(f"{source} has a folder {name.as_posix()!r}, and no picture in it has the "
                         "name of one photo beside it: if it has masks, say --masks FOLDER, or "
                         "name them as the photos, such as photo.jpg.png; if photos, rename it")
    given_masks = set(given.values())
    for f, p in masks.items():
        p.reason = (BESIDE if f in given_masks else
                    "in a folder of masks, and of no photo beside it alone")
    return rest


def _folders_of(p: Photo) -> list[str]:
    return [x.casefold() for x in Path(p.name).parts[:-1]]


def _mask_folders(photos: list[Photo]) -> dict[str, str]:
    """Names of the folders of masks, and what they say of the photos' folder: of train_masks train,
    mostly nothing. A folder is one by its name, or by its content: pictures that look like masks,
    and most have the name of a photo elsewhere. The photo must not look like the mask of its mask.
    They may look as they like (JPEG, soft, drawn over the photo) where the folder's name has a word
    for masks, or all are of the sizes and names of photos in a folder such as images/."""
    of_name, within = defaultdict(list), defaultdict(list)
    where = {p.file: set(_folders_of(p)) for p in photos}
    for p in photos:
        of_name[_stem(p.file)].append(p)
        for x in where[p.file]:
            within[x].append(p)
    out = within.keys() & MASK_FOLDERS
    around = {x for x in within if x in PHOTO_FOLDERS and len(within[x]) < len(photos)}
    for x, inside in within.items():
        if x in out or x in PHOTO_FOLDERS:
            continue
        pairs = [(p, [q for stem in _stems(p.file) for q in of_name[stem]
                      if x not in where[q.file]]) for p in inside]
        told = _MASK_PART.search(x) or all(not where[p.file] & around and any(
            where[q.file] & around and _of_one_shape(p.file, q.file) for q in of)
            for p, of in pairs)
        named = 2 * sum(bool(of) for _, of in pairs) > len(pairs)
        if told and named or (told or named) and all(
                any(is_mask_beside(p.file, q.file) and not is_mask_beside(q.file, p.file)
                    for q in of) if of else is_mask_beside(p.file, p.file) for p, of in pairs):
            out.add(x)
    known = {split_of(x) or x for x in within if x not in out}
    rest = {x: _MASK_PART.sub("", x) for x in out}
    return {x: y if (y := split_of(rest[x]) or rest[x]) in known else "" for x in out}


def _of_one_shape(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return same_shape(header(one).size, header(other).size)
    return False


def differ(source: Path, masks: Sequence[Path]) -> str:
    folders = dict.fromkeys(f.parent.relative_to(source).as_posix() for f in masks)
    return (f"{source} has masks of the same photos in {' and '.join(folders)}, and they differ: "
            "say which to take, --masks FOLDER")


def same_foreground(one: list[Path], other: list[Path]) -> bool:
    with suppress(ValueError, OSError):
        return all(map(np.array_equal, *([read_foreground(f, how) >= IGNORE for f in files]
                                         for files in (one, other) for how in [recognise(files)])))
    return False


def match_masks(listing: Listing, folder: Path) -> None:
    """Give every photo its mask in `folder`. ValueError where there is none of any."""
    masks, photos = [f for f, why in walk(folder) if not why], []
    for p in (p for p in listing.photos if not p.reason):
        p.masks = []
        photos.append(p)
    if not (taken := _match(photos, masks)):
        raise ValueError("; ".join([
            f"no mask in {folder} has the path or the stem of a photo alone, such as "
            f"{photos[0].name if photos else 'none'}", *grouped("without a mask", photos, "note")]))
    listing.photos = [p for p in listing.photos if p.file not in taken]  # they lay beside photos
    rest = set(masks) - taken - {p.file for p in listing.photos}
    listing.notes += [f"{len(rest)} masks belong to no photo"] if rest else []


def _match(photos: list[Photo], masks: Iterable[Path],
           apart: Mapping[str, str] | None = None, whole: bool = False) -> set[Path]:
    """Give photos the masks of their stem, and return what was given: of several the one that
    shares most folders with the photo from the end (`whole`: all), such as masks/ and those of
    `_mask_folders` apart; then one of its whole name, photo.jpg.png; then one whose name says that
    it is a mask. What fits several photos alike is of none of them, and they have a note, unless
    they are one picture in several files."""
    by_stem, claims = defaultdict(list), defaultdict(list)
    for f in masks:
        full = _MASK_WORD.sub("", f.stem.casefold())  # photo.jpg, if the mask is photo.jpg.png
        for word, stem in enumerate(_stems(f)):
            by_stem[stem].append((word, full, f))
    called = {p.file.name.casefold() for p in photos}
    apart = dict.fromkeys(MASK_FOLDERS | PHOTO_FOLDERS, "") | (apart or {})
    for p in photos:
        rated, name = defaultdict(list), p.file.name.casefold()
        for word, full, f in by_stem.get(_stem(p.file), []):
            one, other = ([split_of(y) or y for x in map(str.casefold, file.parts[-2::-1])
                           if (y := apart.get(x, x))] for file in (p.file, f))
            of_other = f == p.file or full != name and full in called
            if not of_other and (one == other or not whole):
                rated[len(os.path.commonprefix([one, other])), full == name, word].append(f)
        if len(best := rated[max(rated)] if rated else []) > 1:
            p.note = f"several masks are called {_stem(p.file)}"
        elif best:
            claims[best[0]].append((max(rated), p))
    given = set()
    for f, of in claims.items():
        first = max(rating for rating, _ in of)
        match [p for rating, p in of if rating == first]:
            case [one, *more] if all(_look_alike(one.file, p.file) for p in more):
                for p in (one, *more):  # one picture, in several files perhaps
                    p.masks, p.note = [f], ""
                given.add(f)
            case several:
                for p in several:
                    p.note = SHARED
    return given


def _stems(mask: Path) -> list[str]:
    """What the photo of a mask may be called: as it, or without _mask."""
    bare = Path(_MASK_WORD.sub("", mask.stem.casefold()) + mask.suffix)
    return list(dict.fromkeys([_stem(mask), _MASK_WORD.sub("", _stem(bare))]))


def _stem(file: Path) -> str:
    """photo.jpg, photo.png and photo.jpg.png are called photo."""
    return bare(file.stem).casefold()


def split_of(name: str) -> str:
    """train, val or test, if the name of a folder, or a word, says so; else empty."""
    split = _SPLIT.fullmatch(name)
    return {"tr": "train", "te": "test", "va": "val"}[split[1][:2].lower()] if split else ""


def grouped(what: str, photos: list[Photo], of: str) -> list[str]:
    """A line for every reason or note, with the first names."""
    groups = defaultdict(list)
    for p in photos:
        if getattr(p, of):
            groups[getattr(p, of)].append(p.name)
    return [f"{what}, {reason}: {', '.join(names[:5])}{' ...' * (len(names) > 5)} ({len(names)})"
            for reason, names in groups.items()]
