"""Photos of one's own -> the official layout that `oxford_pets` reads, in a folder of their own.

`finders` says which photos there are. Here their species are settled, what cannot be used is left
out, a split is drawn where there is none, and masks become trimaps. The folder is written beside
its place and renamed at the end; nothing is written into the source, and nothing is replaced.
"""

import os
import re
import shlex
import shutil
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from petweak.data import files, finders, oxford_pets, pairing
from petweak.data.mask_checks import doubts, many
from petweak.data.masks import FOREGROUND, IGNORE, fits, read_foreground, recognise, some, upright
from petweak.data.orientation import are_stored, evidence, is_untold
from petweak.data.oxford_pets import BREED_NAMES, SPECIES, SPLITS
from petweak.data.pictures import bare, header, load_image, load_photo

RECORD = "import.json"  # in annotations/: that this folder is an import, and of what
TABLE = "import.csv"  # in annotations/: every file of the source, its id or why it is left out
OF_TRIMAP = np.array([0, FOREGROUND, 0, IGNORE], np.uint8)  # 1, 2, 3 -> a mask, of 0: background
TRIMAPS = "masks: trimaps, taken as they are"
OUTLINES = "masks: drawn from the outlines in the source"
NO_OUTLINES = "its outlines are not right"


def import_photos(source: str | Path, data_root: str | Path, *, masks: str | Path | None = None,
                  link: bool = False, test_fraction: float = 0.2, seed: int = 0,
                  foreground: str = "", species: str | Sequence[str] = "",
                  classes: str | Sequence[str] = "", progress: bool = True) -> list[str]:
    """Write `source` as `data_root/oxford-iiit-pet`, and return the lines of a report.

    source: a folder of class folders (below train/ and test/, or not), a folder of photos (one
    class, or `breed_number` of known breeds), a re-packing of Oxford-IIIT Pet, a folder with COCO
    annotations or the .json itself, or a .csv of `file`, `class`, and if you like `split`, `mask`,
    `species`; its paths count from the file. masks: a folder, in which a mask has its photo's path
    or stem, or all of its name, photo.jpg.png. link: symbolic links instead of copies.
    test_fraction: of each class, where the source has no split. foreground: as in
    `petweak.data.masks`. species: "minka=cat,rex=dog", or "cat" for all that nothing else tells.
    classes: the ones to take, with commas; default: all. Both may be lists of such texts, in which
    one may be of a class with a comma in its name.

    A set that the same call made from the same files is left as it is, but for files that are
    missing, which are made again; a line names those that have changed. FileNotFoundError for a
    source that is not there, FileExistsError where `data_root` has anything else, another OSError
    where that cannot be written to, and ValueError, before anything is written, for what cannot be
    understood: no usable photo, unknown species, two classes of one name, masks that fit no photo
    or whose values are not clear."""
    source, root = (Path(os.path.abspath(p)) for p in (source, data_root))
    masks = masks and Path(os.path.abspath(masks))
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction={test_fraction}: has to be between 0 and 1")
    for there in filter(None, (source, masks)):
        if not there.exists():
            raise FileNotFoundError(f"{there} is not there")
        if there.is_dir() and root.resolve().is_relative_to(there.resolve()):
            raise ValueError(f"{root} lies inside of {there}, where nothing is written: give "
                             "another folder")
    texts = [classes] if isinstance(classes, str) else list(classes)
    parts = [[c.strip() for c in text.split(",") if c.strip()] for text in texts]
    listing = finders.find(source, list(dict.fromkeys(filter(None, (*texts, *sum(parts, []))))),
                           {root, masks} - {None})
    listing.source = source
    finders.name_classes(listing, source if source.is_dir() else source.parent)
    pairing.pair_beside(listing)
    if masks:
        pairing.match_masks(listing, masks)
    elif listing.unclear:
        raise ValueError(listing.unclear)
    if not listing.official:
        pairing.leave_twins_out(listing)
    chosen = sum(([text] if text in listing.species else part
                  for text, part in zip(texts, parts, strict=True)), [])
    _choose(listing, chosen)
    listing.species = _species(listing, [species] if isinstance(species, str) else species)
    options = [link, test_fraction, seed, foreground, listing.species, chosen]
    record = {"kind": "import", "source": str(source), "content": _content(listing, options)}
    target = root / "oxford-iiit-pet"
    first = "has been imported before; nothing was written"
    before, missing = _before(root, target, record)
    if missing or not before:
        files.make_run_folder(root, "--to D")
        with files.locked(root / ".import.lock", "an import", root):
            before, missing = _before(root, target, record)  # of a process that was faster
            if missing or not before:
                first = (f"has been imported before; {len(missing)} of its files were missing, and "
                         f"are made again: {some(missing)}" if before else "is imported")
                note = Path("annotations", RECORD)  # by which an import that was killed is known
                beside = files.partial_folder(root, "import", lambda left: (
                    files.read_json(left / note) or {}).get("kind") == "import")
                try:
                    files.write_json(beside / note, {"kind": "import"})  # whose the folder is
                    with files.on_disk(target):
                        report = _write(listing, beside, link, test_fraction, seed, foreground,
                                        progress)
                        report = [line.replace(str(beside), str(target)) for line in report]
                        made = {f.relative_to(beside).as_posix(): files.file_hash(f)
                                for f in sorted(beside.rglob("*")) if not f.is_dir()}
                        del made[note.as_posix()]
                        wrote = before.get("files", {}) | {f: made[f] for f in missing or made}
                        before = record | {"report": report, "files": wrote}
                        files.write_json(beside / note, before)
                        for file in (*missing, *[note.as_posix()] * bool(missing)):
                            (target / file).parent.mkdir(parents=True, exist_ok=True)
                            os.replace(beside / file, target / file)
                        if not missing:
                            os.rename(beside, target)
                finally:
                    shutil.rmtree(beside, ignore_errors=True)
    report = before["report"]
    if changed := [f for f, wrote in before.get("files", {}).items()
                   if files.file_hash(target / f) not in (wrote, "missing")]:
        report = [f"doubt: {len(changed)} files of the set have changed since they were imported, "
                  f"and are left as they are: {some(changed)}. Delete them, and import again, for "
                  "those that were imported; the lines below are of these", *report]
    here = Path(os.path.relpath(root)) if root.is_relative_to(Path.cwd()) else root
    run = shlex.join(["--data-root", str(here), "--run", f"runs/{root.name}"])
    return [f"{target} {first}", *report, f"all files, with ids: {target / 'annotations' / TABLE}",
            f"next: petweak study --profile photos {run}"]


def _before(root: Path, target: Path, record: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What this import has noted, if it has been made, else an empty dict, and what is missing of
    the files that it wrote; FileExistsError where something else is."""
    before = files.read_json(target / "annotations" / RECORD)
    if isinstance(before, dict) and record.items() <= before.items():
        wrote = before.get("files", {})  # of older versions none
        return before, [f for f in wrote if not os.path.lexists(target / f)]
    if isinstance(before, dict) and before.get("kind") == "import":
        raise FileExistsError(
            f"{target} was imported from {before.get('source')} with other options, or the files "
            "there have changed since. It is left alone: give another folder, or delete it")
    if target.exists() or root.is_dir() and any(p.name[0] != "." for p in root.iterdir()):
        raise FileExistsError(f"{root} has other files and is left alone: give a new folder")
    return {}, []


def _content(listing: pairing.Listing, options: list) -> str:
    """The hash of what the set is made from: options, and the names, sizes and times of files."""
    read = {f for p in listing.photos for f in (p.file, *p.masks) if isinstance(f, Path)}
    read |= listing.read
    stats = [(str(f), f.stat()) if f.exists() else (str(f), None) for f in sorted(read)]
    lines = [f"{name!a} {s and (s.st_size, s.st_mtime_ns)}" for name, s in stats]
    photos = [f"{p.name!a} {p.breed} {p.split} {p.reason} {len(p.masks)}" for p in listing.photos]
    return files.text_hash("\n".join([repr(options), *lines, *photos]))


def _choose(listing: pairing.Listing, chosen: list[str]) -> None:
    """Keep the chosen classes. ValueError for one that is missing, and for two of one name."""
    if unknown := [c for c in chosen if c not in listing.species]:
        raise ValueError(f"{listing.source}: no class is called {', '.join(unknown)}: there are "
                         f"{', '.join(sorted(listing.species))}")
    for p in listing.photos:
        if chosen and p.breed and p.breed not in chosen:
            p.reason = p.reason or "of a class that was not asked for"
    names = sorted(listing.species, key=lambda c: (c.casefold(), c))
    listing.species = {c: listing.species[c] for c in names if not chosen or c in chosen}
    alike = defaultdict(list)
    for name in listing.species:
        if not name.strip() or not name.isprintable():
            raise ValueError(f"{listing.source}: the class {name!r} has a name that cannot be "
                             "printed: rename it")
        alike[finders.plain(name)].append(name)
    for names in alike.values():
        if len(names) > 1:
            raise ValueError(f"{listing.source}: the classes {' and '.join(map(repr, names))} have "
                             "the same name: rename one of them")


def _species(listing: pairing.Listing, options: Sequence[str]) -> dict[str, str]:
    """The species of every class: the option's, what the source says, what the name says."""
    said, rest, hints, parts = {}, "", listing.species, []
    for text in options:
        name, _, value = text.rpartition("=")
        whole = name.strip() in hints and value.strip().lower() in finders.SPECIES_NAMES
        begun = ""  # of a name with commas
        for part in [text] if whole else text.split(","):
            part = (f"{begun},{part}" if begun else part).strip()
            done = "=" in part or part.lower() in finders.SPECIES_NAMES
            parts, begun = parts + [part] * done, "" if done else part
        parts.append(begun)
    for part in filter(None, parts):
        name, _, value = part.rpartition("=")
        if (kind := finders.SPECIES_NAMES.get(value.strip().lower())) is None:
            raise ValueError(f"species {part!r}: write NAME=cat or NAME=dog, or one for all")
        said, rest = (said | {name.strip(): kind}, rest) if name else (said, kind)
    if unknown := sorted(set(said) - set(hints)):
        raise ValueError(f"{listing.source}: no class is called {', '.join(unknown)}: there are "
                         f"{', '.join(hints)}")
    official = {finders.plain(n): SPECIES[not n[0].isupper()] for n in BREED_NAMES}
    known = {name: said.get(name) or hint or finders.SPECIES_NAMES.get(name.lower())
             or official.get(finders.plain(name)) or rest for name, hint in hints.items()}
    if asked := [name for name, kind in known.items() if not kind]:
        typed = [f"{name}=cat" for name in asked[:8]]
        odd = any("," in name or shlex.quote(name) != name for name in asked[:8])
        answer = (" ".join(map(shlex.quote, typed)) + " ..." * (len(asked) > 8) if odd else
                  ",".join(typed) + ",..." * (len(asked) > 8))
        raise ValueError(
            f"{listing.source}: cat or dog? Nothing says so of {', '.join(asked[:8])}"
            f"{' ...' * (len(asked) > 8)}: say --species {answer}, with dog where it is one, or "
            "one species for all of them; --classes NAME,NAME leaves the others out")
    return known


def _write(listing: pairing.Listing, beside: Path, link: bool, test_fraction: float, seed: int,
           foreground: str, progress: bool) -> list[str]:
    """Write the layout into `beside`, and return the report."""
    hashes: dict[str, pairing.Photo] = {}
    for p in tqdm(listing.photos, desc="photos", unit="photo", disable=None if progress else True):
        if not p.reason:
            p.reason = _fault(p, hashes, listing.official)
    used = [p for p in listing.photos if not p.reason]
    if len(used) < 2:
        left = pairing.grouped("left out", listing.photos, "reason")
        raise ValueError("; ".join([f"{listing.source}: {len(used)} usable photos: train and test "
                                    "need one each", *left]))
    lines = [_split(listing.source, used, test_fraction, seed), *listing.notes]
    _name(used)
    trimap_of, said = _trimaps(used, foreground or "auto")
    room = sum(p.file.stat().st_size for p in used if not link)
    if room > (free := shutil.disk_usage(beside.parent).free):
        raise OSError(f"{beside.parent} has {free >> 20} MB free, and copies of the photos take "
                      f"{room >> 20} MB: --link takes none")
    images, notes = beside / "images", beside / "annotations"
    for folder in (images, notes / "trimaps"):
        folder.mkdir(parents=True)
    links = 0
    for p in used:
        links += _put(p.file, images / f"{p.id}{p.file.suffix}", link)
        if (trimap := trimap_of(p)) is not None:
            Image.fromarray(trimap).save(notes / "trimaps" / f"{p.id}.png")
    if link and links < len(used):
        lines.append(f"{len(used) - links} photos are copies: no links can be made here")
    _write_lists(listing, used, notes)
    lines += pairing.twins_apart(used)
    pets = oxford_pets.read_pets(beside)
    if {TRIMAPS, OUTLINES} & set(said):  # of other masks the doubts are known
        pets = oxford_pets.check(pets)
        if TRIMAPS in said and any("1 and 2 exchanged" in doubt for doubt in pets.doubts):
            said.append("if 1 is background and 2 the pet, say --foreground 2")
    if listing.beyond:
        said.append(f"outlines go beyond the edges of {len(listing.beyond)} photos, and are cut "
                    f"there: {some(sorted(listing.beyond))}")
    wrong = [p.name for p in used if p.note.startswith(NO_OUTLINES)]
    if many(wrong, drawn := [p for p in used if p.masks or p.name in wrong]):
        said.append(f"doubt: the outlines of {len(wrong)} of {len(drawn)} photos are not right"
                    + ", and those of the others may not be" * (len(wrong) < len(drawn)))
    known = list(oxford_pets.describe(pets))[1:-1]  # as `petweak data check` says it
    return [*known, *lines, *said, *pairing.grouped("left out", listing.photos, "reason"),
            *pairing.grouped("without a mask", used, "note")]


def _write_lists(listing: pairing.Listing, used: list[pairing.Photo], notes: Path) -> None:
    there = {p.breed for p in used}
    ranks, count, rows = {}, Counter(), defaultdict(list)
    for breed in (b for b in listing.species if b in there):
        kind = SPECIES.index(listing.species[breed]) + 1
        count[kind] += 1
        ranks[breed] = f"{len(ranks) + 1} {kind} {count[kind]}"
    for p in used:
        rows[p.split].append(f"{p.id} {ranks[p.breed]}\n")
    for split, file in SPLITS.items():
        files.write_text(notes / file, "".join(rows[split]))
    names = "".join(f"{rank.split()[0]} {breed}\n" for breed, rank in ranks.items())
    files.write_text(notes / oxford_pets.CLASSES, names)
    table = [(p.id, p.name, p.breed, "" if p.reason else listing.species[p.breed], p.split,
              p.reason, p.note) for p in listing.photos]
    columns = ["id", "file", "class", "species", "split", "left_out", "note"]
    files.write_frame(notes / TABLE, pd.DataFrame(table, columns=columns))


def _fault(p: pairing.Photo, hashes: dict[str, pairing.Photo], official: bool) -> str:
    """Why the photo cannot be used. Of two files with the same content one would be in train and
    one in test, so the first one stands for both."""
    try:
        load_photo(p.file)
    except OSError as error:
        return error.strerror or str(error).removeprefix(f"{p.file}: ")
    same = p if official else hashes.setdefault(files.file_hash(p.file), p)
    return "" if same is p else f"the same picture as {same.name}"


def _split(source: Path, used: list[pairing.Photo], test_fraction: float, seed: int) -> str:
    """Complete the split, class by class, and say in a line where it comes from. What the source
    gives stays, but where it calls all photos train, or val, or test: both are needed."""
    there = {p.split for p in used}
    rest = used if len(there) == 1 else [p for p in used if not p.split]
    how = f"{test_fraction:.0%} of each class for test, drawn with seed {seed}"
    if rest is used and there != {""}:
        how += f" (in the source all photos are {', '.join(there)})"
    for p in (p for p in used if p.split == "val"):  # petweak takes its own val from train
        p.split = "train" if "test" in there else "test"
    given, rng = Counter(p.split for p in used), np.random.default_rng(seed)
    for p in rest:
        p.split = ""
    trained = {p.breed for p in used if p.split == "train"}
    # Of a test set, that the rest is for training
    alone = rest is not used and given["test"] and not given["train"]
    for breed in sorted({p.breed for p in rest}):
        same = [p for p in rest if p.breed == breed]
        n = min(max(1, round(test_fraction * len(same))), len(same) - (breed not in trained))
        for k, i in enumerate(rng.permutation(len(same))):
            same[i].split = "test" if k < n and not alone else "train"
    said = " and ".join(f"{given[s]} {s}" for s in SPLITS if given[s])
    if not {"train", "test"} <= {p.split for p in used}:
        raise ValueError(f"{source}: train or test is empty (given: {said or 'no split'}), and no "
                         "class has two photos to draw from: add photos, or leave the split of "
                         "some empty")
    if len(rest) in (0, len(used)):
        return f"split: {how if rest else 'as the source has it'}"
    return (f"split: {len(used) - len(rest)} photos as the source has it ({said}), {len(rest)} "
            f"without one: {'all train' if alone else how}")


def _name(used: list[pairing.Photo]) -> None:
    """A file name without spaces and odd characters, that no other photo has in any case."""
    shared, taken = Counter(_safe(p.file.stem).casefold() for p in used), set()
    for p in used:
        stem = bare(p.id or _safe(p.file.stem))
        if not p.id and shared[stem.casefold()] > 1:
            stem = f"{_safe(p.breed)}_{stem}"
        p.id, n = stem, 2
        while p.id.casefold() in taken:
            p.id, n = f"{stem}_{n}", n + 1
        taken.add(p.id.casefold())


def _safe(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return bare(re.sub(r"[^A-Za-z0-9.-]+", "_", plain).strip("_.-")[:80]) or "photo"


def _trimaps(used: list[pairing.Photo], foreground: str
             ) -> tuple[Callable[[pairing.Photo], np.ndarray | None], list[str]]:
    """A function of a photo to its trimap, or None, and lines on what the masks are. ValueError
    where they are not clear, or cannot be right."""
    for p in used:
        try:
            for file in (m for m in p.masks if isinstance(m, Path)):
                load_image(file)
        except OSError as error:
            reason = error.strerror or str(error).removeprefix(f"{file}: ")
            p.masks, p.note = [], f"its mask {reason}"
    faults = {p.name: fault for p in used for m in p.masks
              if isinstance(m, Path) and (fault := _no_trimap(m, p.file))}
    with_files = [p for p in used if any(isinstance(m, Path) for m in p.masks)]
    if foreground == "auto" and 2 * len(faults) < len(with_files):  # a few bad ones among trimaps
        for p in (p for p in with_files if p.name in faults):
            p.masks, p.note = [], faults[p.name]
        faults = {}
    pairs = [(m, p) for p in with_files for m in p.masks if isinstance(m, Path)]
    reading, stored, lines = None, False, [TRIMAPS] if pairs else []
    if pairs and (foreground != "auto" or faults):
        reading = recognise(list(dict.fromkeys(m for m, _ in pairs)), foreground, "--foreground")
        named = {p.name if len(p.masks) == 1 else f"{p.name} ({m})": (m, p.file) for m, p in pairs}
        given, photos = ({i: of[k] for i, of in named.items()} for k in (0, 1))
        odd = doubts(given, photos, reading, "--foreground")
        lines = [f"masks: {reading.text}", *(f"doubt: {text}" for text in odd)]
    if shared := [f"{m.name} ({n})" for m, n in Counter(m for m, _ in pairs).items() if n > 1]:
        lines.append(f"doubt: {len(shared)} masks are of several photos each: {some(shared)}")
    lines += [OUTLINES] * any(callable(m) for p in used for m in p.masks)

    def mask_of(m: pairing.Mask, p: pairing.Photo) -> np.ndarray:
        if not isinstance(m, Path):
            return _fitted(m(p.file).astype(np.uint8) * FOREGROUND, p.file, stored, False)
        mask = read_foreground(m, reading) if reading else OF_TRIMAP[oxford_pets.load_trimap(m)]
        return _fitted(mask, p.file, stored, True)

    def union_of(p: pairing.Photo) -> np.ndarray | None:
        try:
            masks = [mask_of(m, p) for m in p.masks]
        except (ValueError, TypeError, KeyError, ArithmeticError, OSError) as error:
            if isinstance(p.masks[0], Path):
                raise
            p.masks, p.note = [], f"{NO_OUTLINES}: {error}"
            return None
        return np.maximum.reduce(masks) if masks else None

    unions = {p.name: (p.file, union) for p in used if p.masks and is_untold(p.file)
              and (union := union_of(p)) is not None}
    stored, said = are_stored({name: evidence(file, union > IGNORE)
                               for name, (file, union) in unions.items()})
    lines += [text + ", and are turned with these" * stored for text in said]

    def trimap_of(p: pairing.Photo) -> np.ndarray | None:
        if (union := union_of(p)) is None:
            return None
        values = oxford_pets.TRIMAP_FOREGROUND, oxford_pets.TRIMAP_BORDER
        kinds = [union > IGNORE, union == IGNORE]
        return np.select(kinds, values, oxford_pets.TRIMAP_BACKGROUND).astype(np.uint8)

    return trimap_of, lines


def _no_trimap(file: Path, photo: Path) -> str:
    """Why it is no trimap yet: in a folder `trimaps`, of 1, 2 and 3 alone, in the photo's shape.
    Empty if it is one."""
    try:
        h, w = oxford_pets.load_trimap(file).shape
        if not fits((w, h), photo):
            raise ValueError(f"of {w} x {h} px is of another shape than its photo")
        return "" if file.parent.name.lower() == "trimaps" else "a mask"
    except (OSError, ValueError) as error:
        return f"its trimap {str(error).removeprefix(f'{file}: ')}"


def _fitted(mask: np.ndarray, photo: Path, stored: bool, anyhow: bool) -> np.ndarray:
    """The mask as large as its photo: turned with it, or enlarged. ValueError for another shape,
    unless it has to fit `anyhow`."""
    mask = upright(mask, photo, stored)
    (w, h), (mh, mw) = header(photo).size, mask.shape
    if not anyhow and abs(mw * h - mh * w) > 2 * max(w, h):
        raise ValueError(f"they are of a picture of {mw} x {mh} px, and the photo has {w} x {h}")
    return mask if (w, h) == (mw, mh) else cv2.resize(mask, (w, h), None, 0, 0, cv2.INTER_NEAREST)


def _put(file: Path, to: Path, link: bool) -> bool:
    """Link or copy; True if it is a link."""
    if link:
        try:
            to.symlink_to(file.resolve())
            return True
        except (OSError, NotImplementedError):  # Windows without the right to, FAT
            pass
    shutil.copyfile(file, to)
    return False
