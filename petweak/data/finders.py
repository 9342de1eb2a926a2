"""Photos as people have them: which there are, of which class and split, with which masks.

A finder for each form in which they come: folders of classes, re-packings of Oxford-IIIT Pet, COCO,
CSV. Nothing is written: `pairing` gives photos their masks, and `importing` does the rest.
"""

import csv
import io
import json
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from difflib import get_close_matches
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pycocotools import mask as coco

from petweak.data import oxford_pets, pairing, pictures
from petweak.data.files import content_of
from petweak.data.masks import OWN_MASK, some, writer_of
from petweak.data.oxford_pets import BREED_NAMES, SPECIES, SPLITS
from petweak.data.pairing import MASK_FOLDERS, PHOTO_FOLDERS, Listing, Photo, split_of
from petweak.data.pictures import HIDDEN, LINK, MASKS, OTHER, SUFFIXES, bare, header

SPECIES_NAMES = dict(cat="cat", cats="cat", dog="dog", dogs="dog")
COLUMNS = ("file", "class", "split", "mask", "species")  # of a CSV; the first two are needed
NO_PHOTO = "listed, and there is no photo"
_NO_NAME = re.compile(r"[\d\W_]+")  # 2023, 2023-05-01: of cats/, no class of its own
OUTSIDE = 0.1  # of a picture's width or height, by which an outline may be beside it
# What a .json that cannot be read has in its name or content if masks or classes may be in it.
_ANNOTATES = re.compile(r"annotation|segmentation|instances|coco|\"(images|categories)\"", re.I)
NO_JSON = "no picture by its name, and no JSON"
_THUMBS = re.compile(r"thumb(nail)?s?", re.I)
THUMBNAIL = "in a folder of thumbnails, of photos elsewhere"
_NUMBERED = re.compile(r"(.+)_\d+")  # breed_number, as the official photos are called


def find(source: Path, chosen: list[str], without: set[Path]) -> Listing:
    if source.suffix.lower() in (".csv", ".tsv") and source.is_file():
        return _table(source)
    top = source if source.is_dir() else source.parent
    if top != source and top.name.lower() in MASK_FOLDERS:  # annotations/x.json beside images/
        top = top.parent
    files = [(f, why) for f, why in pictures.walk(top, without) if f not in without]
    small = _thumbnails(top, [f for f, why in files if not why])
    jsons = {f: _read_json(f, source) for f, why in files if f.suffix.lower() == ".json"
             and why not in (HIDDEN, LINK, MASKS) and source in (f, *f.parents)}
    says = dict.fromkeys(small, THUMBNAIL) | {f: NO_JSON for f in jsons if jsons[f] is None}
    files = [(f, says.get(f, why)) for f, why in files]
    keys = ("images", "annotations", "categories")  # what COCO's instances have
    if annotated := {f: data for f, data in jsons.items() if isinstance(data, dict)
                     and all(isinstance(data.get(k), list) for k in keys)}:
        return _coco(annotated, top, files, chosen)
    if source.is_file():
        raise ValueError(f"{source}: a source is a folder (no archive), a .csv, or a .json of COCO "
                         "instances")
    lists = [f for f, _ in files if f.name in (*SPLITS.values(), "list.txt") and _is_list(f)]
    if lists or any(f.parent.name.lower() == "trimaps" and (
            f.parts[-3].lower() == "annotations" or f.parent.parent == source) for f, _ in files):
        return _official(source, files, lists, chosen)
    return _folders(source, files, chosen)


def _thumbnails(top: Path, photos: list[Path]) -> set[Path]:
    """The pictures in folders called thumbs or thumbnails, of which most have the stem of a larger
    photo elsewhere: they would be in train and their photos in test."""
    elsewhere, inside = defaultdict(list), defaultdict(list)
    for f in photos:
        stem = re.sub(r"[-_. ]thumb(nail)?s?$|^thumb(nail)?s?[-_. ]", "", bare(f.stem).casefold())
        parts = [x.casefold() for x in f.relative_to(top).parts[:-1]]
        if any(map(_THUMBS.fullmatch, parts)):
            inside[f.parent].append((f, stem))
        elif not MASK_FOLDERS & set(parts):
            elsewhere[stem].append(f)

    def is_small(file: Path, stem: str) -> bool:
        with suppress(OSError):
            w, h = header(file).size
            return any(w * h < np.prod(header(f).size) for f in elsewhere[stem])
        return False

    return {f for of in inside.values() if 2 * sum(is_small(*x) for x in of) > len(of)
            for f, _ in of}


def _photos(files: list[tuple[Path, str]], source: Path) -> list[Photo]:
    names = (f.relative_to(source).as_posix().encode("utf-8", "replace").decode()
             for f, _ in files)  # a name of another encoding could not be written
    return [Photo(f, name, reason=why or OWN_MASK * bool(writer_of(f)))
            for name, (f, why) in zip(names, files, strict=True)]


def _folders(source: Path, files: list[tuple[Path, str]], chosen: list[str]) -> Listing:
    """(train|test/) (cats|dogs/) class/.../photo, or photos that lie in one folder."""
    listing = Listing(_photos(files, source), {})
    photos = [p for p in listing.photos if not p.reason]
    if not photos:
        raise ValueError("; ".join([f"{source} has no picture",
                                    *pairing.grouped("left out", listing.photos, "reason")]))
    photos = pairing.set_masks_aside(source, photos, listing)
    parts = {id(p): list(Path(p.name).parts[:-1]) for p in photos}
    inner = source
    while len(tops := {tuple(p[:1]) for p in parts.values()}) == 1 and tops != {()}:
        ((name,),) = tops  # everything is in one folder: is it a class, or around the classes?
        around = all(len(p) > 1 for p in parts.values()) and name.lower() not in SPECIES_NAMES
        if not around and name.lower() not in PHOTO_FOLDERS:
            break
        if name.lower() not in PHOTO_FOLDERS and not split_of(name):
            inner /= name
        parts = {k: p[1:] for k, p in parts.items()}
    tops = {p[0].lower() for p in parts.values() if p}
    of_split = set(filter(split_of, tops))
    splits = of_split if len(of_split) > 1 or of_split == tops else set()
    for name in (beside := of_split - splits):  # folders of classes
        splits = {name}
        below = {"".join(p[1:2]).lower() for p in parts.values() if p and p[0].lower() == name}
        if split_of(name) == "train" or not below <= tops - splits:
            raise ValueError(f"{inner} has a folder {name!r} beside folders of classes: move those "
                             "into train or test as well, or, if it is a class, rename it")
        listing.notes.append(f"the folder {name!r} is taken as a split: it has the same classes")
    for p in photos:
        path = parts[id(p)]
        if splits and path and path[0].lower() in splits:
            p.split = split_of(path.pop(0))
            while path and (path[0].lower() in PHOTO_FOLDERS or split_of(path[0]) == p.split):
                del path[0]  # train/images/, train/train/
        elif splits and not beside:
            p.reason = f"not in {' or '.join(sorted(splits))}"
    photos = [p for p in photos if not p.reason]
    loose = [p for p in photos if not parts[id(p)]]
    if len(loose) == len(photos):
        _by_name(listing, source, photos, inner.name, chosen)
        return listing
    for p in loose:
        p.reason = "in no class folder"
    numbers = (source / oxford_pets.CLASSES).is_file()  # which are names there
    for p in photos:
        if path := parts[id(p)]:
            kind = SPECIES_NAMES.get(path[0].lower(), "")
            named = kind and len(path) > 1 and path[1].lower() not in PHOTO_FOLDERS and (
                numbers or not _NO_NAME.fullmatch(path[1]))
            p.breed = path[1] if named else path[0]
            if listing.species.setdefault(p.breed, kind) != kind:
                raise ValueError(f"two classes are called {p.breed!r}, in {p.name} and elsewhere: "
                                 "rename one of their folders")
    return listing


def _by_name(listing: Listing, source: Path, photos: list[Photo], one: str, chosen: list[str]
             ) -> None:
    """Classes of photos in one folder: `breed_number` of known breeds, else all are class `one`."""
    known = {plain(name): name for name in (*BREED_NAMES, *chosen)}
    match = {id(p): _NUMBERED.fullmatch(p.file.stem) for p in photos}
    breeds = {k: known.get(plain(m[1])) for k, m in match.items() if m}
    if 2 * sum(map(bool, breeds.values())) <= len(photos):
        names = {m[1] for m in match.values() if m and oxford_pets.is_class_name(m[1])}
        listing.notes += [f"one class, {one}. If {name} in the names of files is a class, say "
                          "--classes with all classes" for name in sorted(names)[:1]]
        said = {SPECIES_NAMES.get(re.split("[^a-z]", p.file.stem.lower())[0], "") for p in photos}
        if {"cat", "dog"} <= said:
            raise ValueError(f"{source}: photos of cats and of dogs, by the names of files, lie in "
                             "one folder: put them into folders cats and dogs, or list them in a "
                             "CSV of file and class" + "; or say --classes cat,dog" * bool(names))
        breeds = {id(p): one for p in photos}
    for p in photos:
        if breed := breeds.get(id(p)):
            p.breed = breed
            listing.species.setdefault(breed, "")
        else:
            p.reason = "its name is not BREED_NUMBER of a known breed"


def _official(source: Path, files: list[tuple[Path, str]], lists: list[Path],
              chosen: list[str]) -> Listing:
    """Oxford-IIIT Pet, re-packed: wherever its folders lie; with its lists or without."""
    listing, trimaps = Listing([], {}, official=bool(lists)), defaultdict(list)
    for f, why in files:
        if not why and f.parent.name.lower() == "trimaps":
            trimaps[f.stem.casefold()].append(f)
    of_two = defaultdict(set)  # x.heic.jpg is x's, if it is one alone
    for stem in trimaps:
        of_two[bare(stem)].add(stem)
    # Of the annotations, only what is in their lists is of interest: not xmls, not .mat files.
    others = [(f, why) for f, why in files if f.parent.name.lower() != "trimaps"
              and not (why and "annotations" in f.relative_to(source).as_posix().lower())]
    photos, by_stem = _photos(others, source), defaultdict(list)
    for p in photos:
        if not p.reason:
            stem = p.file.stem.casefold()
            names = [stem, p.file.name.casefold(), bare(stem)]
            names += of_two[bare(stem)] if len(of_two[bare(stem)]) == 1 else []
            p.masks = trimaps[next((name for name in names if name in trimaps), "")]
            by_stem[stem].append(p)
    if not lists:
        listing.photos = photos
        _by_name(listing, source, [p for p in photos if not p.reason], "", chosen)
        if not listing.species:
            raise ValueError(f"{source} has trimaps, but neither trainval.txt nor photos called "
                             "BREED_NUMBER of known breeds: give class folders and --masks, or a "
                             "CSV")
        _one_trimap_each(source, listing)
        return listing
    rows = _read_lists(lists)
    class_ids = {i: class_id for i, (class_id, *_) in rows.items()}
    names, doubts = oxford_pets.class_names(lists[0].parent, class_ids)
    listing.notes += doubts
    of_two = {bare(stem): stem for stem in by_stem}  # x.heic.jpg
    for image_id, (class_id, kind, split) in rows.items():
        stem = image_id.casefold()
        p, *more = by_stem.pop(stem, None) or by_stem.pop(of_two.get(stem), None) or [
            Photo(source / image_id, image_id, reason=NO_PHOTO)]
        p.id, p.breed, p.split = image_id, names[class_id], split
        for twin in more:
            twin.reason = f"{p.name} has the same name"
        if listing.species.setdefault(p.breed, SPECIES[kind]) != SPECIES[kind]:
            raise ValueError(f"{p.breed} is a cat and a dog in the lists of {source}")
        listing.photos.append(p)
    _one_trimap_each(source, listing)
    for p in (p for same in by_stem.values() for p in same):
        p.reason = "in no list"
    listed = set(map(id, listing.photos))
    listing.photos += [p for p in photos if id(p) not in listed]
    return listing


def _one_trimap_each(source: Path, listing: Listing) -> None:
    """Of the trimaps of a photo the first that can be read; they may not differ."""
    twins = []
    for p in listing.photos:
        if len(p.masks) > 1 and not p.reason:
            first, *more = [f for f in p.masks if _is_readable(f)] or p.masks[:1]
            twins += [(first, f) for f in more]
            p.masks = [first]
    if twins and not pairing.same_foreground(*map(list, zip(*twins, strict=True))):
        listing.unclear = pairing.differ(source, sum(twins, ()))


def _is_readable(file: Path) -> bool:
    with suppress(OSError):
        return bool(pictures.load_image(file))
    return False


def _is_list(file: Path) -> bool:
    """Whether a text file begins as the lists of the data set do."""
    lines = oxford_pets.read_lines(file)
    return bool(lines) and bool(re.fullmatch(r"\S.*\s\d+\s+[12]\s+\d+", lines[0][1]))


def _read_lists(lists: list[Path]) -> dict[str, tuple[int, int, str]]:
    """{id: (class id, species from 0, split)}; list.txt alone says nothing about splits."""
    rows: dict[str, tuple[int, int, str]] = {}
    splits = {file: split for split, file in SPLITS.items()}
    for path in sorted(lists, key=lambda f: f.name not in splits):
        for n, line in oxford_pets.read_lines(path):
            try:
                image_id, class_id, kind, _ = line.rsplit(None, 3)
                row = int(class_id), ("1", "2").index(kind), splits.get(path.name, "")
                image_id = oxford_pets.checked_id(image_id)
            except ValueError:
                raise ValueError(f"{path}, line {n}: {line!r} is not 'Image CLASS-ID SPECIES "
                                 "BREED-ID'") from None
            if rows.setdefault(image_id, row) != row and row[2]:
                raise ValueError(f"{path}, line {n}: {image_id} is listed twice")
    return rows


def _read_json(file: Path, source: Path) -> Any:
    """The content of `file`, or None where it is no JSON. ValueError if masks and classes could be
    in that, as it stands for another file, or name or content speak of them."""
    what, content = "is no file, or a link to none", b""
    try:
        if file.is_file():
            what, content = content_of(file, "is no JSON"), file.read_bytes()
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        inside = os.path.relpath(file, source.parent)
        text = inside + content.replace(b"\0", b"").decode("latin-1")
        if what in ("is no JSON", "is empty (0 bytes)") and source != file and (
                not _ANNOTATES.search(text)):
            return None
        raise ValueError(f"{file} {what} ({error}): mend it, or move it away if nothing in it is "
                         "about the photos") from None


def _coco(annotated: dict[Path, dict], top: Path, files: list[tuple[Path, str]],
          chosen: list[str]) -> Listing:
    """COCO's instances: a photo's class is its category, its mask the union of its instances."""
    by_name, listing, counts = defaultdict(list), Listing([], {}), Counter()
    listed = defaultdict(list)  # {photo: (how well its path fits, its entry, the .json)}
    there = {p.file: p for p in _photos(files, top) if p.file not in annotated}
    for f, why in files:
        if not why:
            by_name[f.name.casefold()].append(f)
    for file, data in annotated.items():
        try:
            photos = list(_coco_photos(file, data, by_name, listing, chosen, counts))
        except (LookupError, TypeError, AttributeError, ArithmeticError) as error:
            raise ValueError(f"{file} is not as COCO's instances are: {error!r}") from None
        for p in photos:
            there.pop(p.file, None)
            fits = _shared(p.file.parts, PurePosixPath(p.name).parts)
            listed[p.file].append((fits, p, file))
        listing.photos += photos
    for of in listed.values():
        best = max(fits for fits, *_ in of)
        first, *more = [(p, file) for fits, p, file in of if fits == best]
        if more and not all(p.reason for p, _ in (first, *more)):
            raise ValueError(f"{more[0][1]}: {first[0].name} is listed twice, here or in another "
                             "file")
        for p in (p for fits, p, _ in of if fits < best):  # b/1.jpg, where a/1.jpg alone is there
            p.reason = p.reason or NO_PHOTO
    for p in there.values():
        p.reason = p.reason or "in no annotation"
    listing.photos += there.values()
    says = dict(several="several pets: the mask is their union",
                mixed="pets of several classes: the class is that of the largest area")
    listing.notes += [f"{counts[k]} photos show {text}" for k, text in says.items() if counts[k]]
    listing.read = set(annotated)
    return listing


def _coco_photos(file: Path, data: dict, by_name: dict[str, list[Path]], listing: Listing,
                 chosen: list[str], counts: Counter) -> Iterator[Photo]:
    names, of_image = {}, defaultdict(list)
    words = re.findall("[a-z]+", f"{file.stem} {file.parent.name}".lower())
    split, used = next(filter(None, map(split_of, words)), ""), {
        _id(a["category_id"]) for a in data["annotations"]}
    for c in (c for c in data["categories"] if _id(c["id"]) in used):  # Roboflow's first has its
        name = " ".join(c["name"].split())  # name
        if names.setdefault(_id(c["id"]), name) != name or list(names.values()).count(name) > 1:
            raise ValueError(f"{file}: two categories with annotations have the name {name!r} or "
                             f"the id {c['id']}: rename one, or give them one id")
    groups = {_id(c["id"]): str(c.get("supercategory", "")) for c in data["categories"]}
    listed, lost = {_id(image["id"]) for image in data["images"]}, []
    for a in data["annotations"]:
        category, image_id = _id(a["category_id"]), _id(a["image_id"])
        name = names[category]
        listing.species[name] = SPECIES_NAMES.get(groups[category].lower(), "")
        if image_id not in listed:
            lost.append(f"{a['image_id']!r}")
        elif not chosen or name in chosen:
            of_image[image_id].append(a)
    if lost:
        listing.notes.append(f"doubt: {len(lost)} annotations in {file} are of no photo that is in "
                             f"its images, by their image_id: {some(sorted(set(lost)))}")
    for image in data["images"]:
        parts, pets = PurePosixPath(image["file_name"].replace("\\", "/")).parts, Counter()
        same, of = by_name.get(parts[-1].casefold(), []), of_image[_id(image["id"])]
        shared = [_shared(f.parts, parts) for f in same]  # the path may be of another machine
        same = [f for f, n in zip(same, shared, strict=True) if n == max(shared)]
        same = [f for f in same if split and split in f.parent.name.lower()] or same
        same = [f for f in same if f.parent.name.lower() not in MASK_FOLDERS] or same
        for a in of:
            box = a.get("bbox") or [0, 0, 0, 0]
            pets[names[_id(a["category_id"])]] += (a.get("area") or box[2] * box[3]) * 1.0
        p = Photo(same[0] if same else file.parent / parts[-1], str(PurePosixPath(*parts)))
        p.split, p.breed = split, pets.most_common(1)[0][0] if pets else ""
        if len(same) != 1:
            p.reason = "several files have its name" if same else NO_PHOTO
        elif not pets:
            p.reason = "no pet is annotated"
        elif all(a.get("segmentation") for a in of):
            p.masks = [partial(_coco_mask, of, image.get("height"), image.get("width"),
                               listing.beyond)]
        else:
            p.note = "an annotation is a box without an outline"
        if not p.reason:
            counts += Counter(several=bool(p.masks) and len(of) > 1, mixed=len(pets) > 1)
        yield p


def _id(value: Any) -> str:
    """Ids are the same whether a program has written 7, 7.0 or "7"."""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    """How many parts two paths have in common from the end, in any case."""
    return len(os.path.commonprefix([[x.casefold() for x in path[::-1]] for path in (one, other)]))


def _coco_mask(annotations: list[dict], height: Any, width: Any, beyond: set[str], photo: Path
               ) -> np.ndarray:
    """(H, W) bool, the union of instances, in the size that the file says. What goes beyond the
    picture a little is cut, and the photo's name put into `beyond`. ValueError for outlines that
    are none: the library would read memory that is not its own, or leave some unwritten."""
    (w, h), orientation, _ = header(photo)
    if None not in (height, width):
        h, w = int(height), int(width)
    elif sizes := [s["size"] for a in annotations if isinstance(s := a["segmentation"], dict)]:
        h, w = sizes[0]
    elif orientation in pictures.ON_SIDE and h != w:
        raise ValueError("of a photo that is stored turned they need a width and a height")
    if h < 1 or w < 1 or h * w > 1 << 28:
        raise ValueError(f"they are of a picture of {w} x {h} px")
    union = np.zeros((h, w), bool)
    for s in (a["segmentation"] for a in annotations):
        if isinstance(s, dict):
            counts = _counts(s["counts"]) if isinstance(s["counts"], str) else s["counts"]
            if list(s["size"]) != [h, w]:
                raise ValueError(f"an RLE of size {s['size']} in a picture of {[h, w]}")
            if not all(isinstance(n, int) and n >= 0 for n in counts) or sum(counts) != h * w:
                raise ValueError("the counts of an RLE do not fill its picture")
            rle = coco.frPyObjects({"size": [h, w], "counts": counts}, h, w)
            union |= coco.decode(rle).astype(bool)
            continue
        # One outline that is in no list of outlines: x, y, x, y, ... or pairs of x and y
        for polygon in [s] if all(np.size(part) < 3 for part in s) else s:
            if (n := np.size(xy := np.asarray(polygon, np.float64))) % 2:
                raise ValueError(f"an outline has {n} numbers, which are no pairs of x and y")
            xy = xy.reshape(-1, 2)
            over = np.maximum(-xy, xy - [w, h])
            if not (over < np.array([w, h]) * OUTSIDE + 2).all():  # so of no number
                raise ValueError(f"an outline lies outside of its picture of {w} x {h} px")
            if len(xy) > 2 and xy.max() <= 1 < min(h, w):
                raise ValueError("an outline is not in pixels, but in numbers up to 1")
            if (over > 2).any():
                beyond.add(photo.name)
            if len(xy) > 2:  # fewer enclose nothing
                union |= coco.decode(coco.frPyObjects([xy.ravel().tolist()], h, w))[..., 0] > 0
    if not union.any():
        raise ValueError("they enclose nothing")
    return union


def _counts(text: str) -> list[int]:
    """The counts of an RLE in COCO's packed form: 5 bits a character, the lowest first, a sixth if
    more follow, a sign in the last; from the fourth on they are differences to the last but one.
    ValueError for a text that is cut or has other characters."""
    counts, value, shift = [], 0, 0
    for bits in (ord(character) - 48 for character in text):
        if not 0 <= bits < 64 or shift > 30:
            raise ValueError("the counts of an RLE are not in COCO's form")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= bool(bits & 16) << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("the counts of an RLE are cut off")
    return counts


def _table(file: Path) -> Listing:
    """A CSV of `file` and `class`, and `split`, `mask`, `species` if they are there. ValueError
    for what would be lost: a second column of a name, one of nearly a name, cells without one."""
    text, first = oxford_pets.read_text(file), 2
    if not text.strip():
        raise ValueError(f"{file} is empty: it takes a line of names, file,class and if you like "
                         "split,mask,species, and a line for each photo")
    if excel := re.match(r"sep=(.)\r?\n", text):
        text, first = text[excel.end():], 3
    delimiter = excel[1] if excel else max(",;\t", key=text.partition("\n")[0].count)
    listing, by_file = Listing([], {}, read={file}), {}
    try:
        header, *rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except (csv.Error, ValueError) as error:
        raise ValueError(f"{file} is no CSV with a line of names: {error}") from None
    names = [name.strip().lower() for name in header]
    if not {"file", "class"} <= set(names):
        raise ValueError(f"{file} has the columns {', '.join(header)}: it takes file and class, "
                         "and if you like split, mask, species")
    if twice := [name for name, n in Counter(filter(None, names)).items() if n > 1]:
        raise ValueError(f"{file} has two columns called {' and '.join(map(repr, twice))}: rename "
                         f"or delete one of them; {', '.join(COLUMNS)} are read")
    unread = [name for name in names if name and name not in COLUMNS]
    for name in unread:
        if like := get_close_matches(name, [c for c in COLUMNS if c not in names], 1):
            raise ValueError(f"{file} has a column {name!r}: did you mean {like[0]}? Call it so; "
                             f"or, if it is something else, by a name unlike {', '.join(COLUMNS)},"
                             " which are read, or delete it")
    for n, values in enumerate(rows, first):
        if more := list(filter(None, map(str.strip, values[len(names):]))):
            raise ValueError(f"{file}, row {n}: {len(values)} cells, and the line of names has "
                             f"{len(names)}, so that {', '.join(more)} would be lost: a cell with "
                             f"{delimiter!r} in it needs quotation marks around it")
        if "" in names and any(v.strip() for k, v in zip(names, values, strict=False) if not k):
            unread += ["one without a name"] * ("one without a name" not in unread)
        row = defaultdict(str, zip(names, (v.strip() for v in values), strict=False))
        if not any(row.values()):
            continue
        where = f"{file}, row {n}"
        name, breed, split = row["file"], row["class"], row["split"].lower()
        if not (name and breed):
            raise ValueError(f"{where}: a photo and its class are needed, here are {values}")
        if split and not split_of(split):
            raise ValueError(f"{where}: split {row['split']!r} is not train, val or test")
        if (kind := row["species"].lower()) and kind not in SPECIES_NAMES:
            raise ValueError(f"{where}: species {row['species']!r} is not cat or dog")
        path, split = _beside(file, name), split_of(split)
        p = by_file.setdefault(path, Photo(path, name, breed, split))
        if (p.breed, p.split) != (breed, split):
            raise ValueError(f"{where}: {name} is {breed} {split} here and {p.breed} {p.split} "
                             "before: a photo has one class and one split")
        other = OTHER * (path.suffix.lower() not in SUFFIXES)
        p.reason = other or OWN_MASK * bool(writer_of(path))
        if row["mask"] and (mask := _beside(file, row["mask"])) not in p.masks:
            p.masks.append(mask)
        kind = SPECIES_NAMES.get(kind, "")
        if kind and listing.species.get(breed) not in (None, "", kind):
            raise ValueError(f"{where}: {breed} is a cat and a dog")
        listing.species[breed] = kind or listing.species.get(breed, "")
    if not by_file:
        raise ValueError(f"{file} lists no photo: below the names it takes a line for each")
    listing.photos = list(by_file.values())
    if unread:
        listing.notes.append(f"columns of {file.name} that are not read: {', '.join(unread)} "
                             f"({', '.join(COLUMNS)} are)")
    if n := sum(len(p.masks) > 1 for p in listing.photos):
        listing.notes.append(f"{n} photos have several masks: their union is taken")
    return listing


def _beside(file: Path, name: str) -> Path:
    """A path in a table counts from the table; one that was written on Windows is read anywhere."""
    path = Path(os.path.abspath(file.parent / name))
    return path if path.exists() else Path(os.path.abspath(file.parent / name.replace("\\", "/")))


def name_classes(listing: Listing, notes: Path) -> None:
    """Classes that are numbers get the names of `classes.txt`, if that is in the folder `notes`."""
    if (file := notes / oxford_pets.CLASSES).is_file() and all(map(str.isdecimal, listing.species)):
        ids = {breed: int(breed) for breed in listing.species}
        names, _ = oxford_pets.class_names(notes, ids)
        listing.species = {names[ids[breed]]: kind for breed, kind in listing.species.items()}
        listing.photos = [p for p in listing.photos if p.file != file]
        for p in (p for p in listing.photos if p.breed):
            p.breed = names[ids[p.breed]]
        listing.source = file


def plain(name: str) -> str:
    """Two names that are alike for a person are equal."""
    return re.sub(r"[\s_-]+", "_", unicodedata.normalize("NFKC", name).strip()).casefold()
