"""Photos elsewhere -> masks and predictions.csv: what `petweak predict` does.

What lies in the folder for the masks and is not petweak's stays: its masks carry a mark in the PNG,
predictions.csv its header.
"""

import csv
import logging
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from glob import glob, has_magic
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from petweak.data import masks
from petweak.data.files import require_writable, set_aside, write_frame
from petweak.data.pictures import PASSED_OVER, load_photo, walk
from petweak.models.backbones import load_backbone
from petweak.training.inference import load_model, predict_photo

log = logging.getLogger(__name__)
TABLE = "predictions.csv"
FOREIGN = "is there, and petweak predict did not write it: choose another --out, or move it away"
EDITED = "was edited since petweak predict wrote it: choose another --out, or move it away"
COLUMNS = ["photo", "mask", "class", "probability", "foreground"]


def predict_files(photos: Iterable[str | Path], model: str | Path, out: str | Path,
                  device: torch.device | str = "cpu") -> Iterator[Path]:
    """Write a mask for each of `photos`: a PNG of 0 and 255, of the size and the way up that the
    photo is seen in. Yields their paths. `photos` are files, folders, whose sub-folders `out`
    mirrors, and globs. predictions.csv in `out` has a row for each, and keeps those of earlier
    calls: `photo`, `mask` (from `out`), `class`, `probability`, `foreground` (share of the pixels).

    ValueError, before any work, where there is no photo, where two masks would have one name, and
    where one would replace a photo, another photo's mask, or a file that is not petweak's. A table
    with other values than were predicted is set aside. What cannot be read is passed over, and
    named in warnings and an OSError at the end."""
    out = Path(out)
    paths, bad = find_photos(photos, out)
    named = name_masks(paths)
    _refuse_foreign([out / name for name in named], list(paths))
    require_writable(out.absolute(), "--out")
    rows = _earlier_rows(out)
    _refuse_others(out, named, rows)
    there = [(out / name, row) for name in named if (row := rows.get(_key(name)))]
    if any(path.exists() and masks.text_of(path) not in ("", _about(row)) for path, row in there):
        set_aside(out / TABLE)
    predictor = load_model(model, device)
    backbone = load_backbone(predictor.backbone).to(device)
    try:
        for name, path in named.items():
            try:
                photo = load_photo(path)
            except (OSError, ValueError, MemoryError) as error:
                bad[path] = str(error).removeprefix(f"{path}: ") or type(error).__name__
                continue
            prediction = predict_photo(predictor, photo, backbone)
            mask = prediction.mask(photo.height, photo.width)
            _refuse_foreign([out / name], [])  # it may have come meanwhile
            pixels = np.where(mask, masks.FOREGROUND, masks.BACKGROUND).astype(np.uint8)
            k, key = int(prediction.classes.argmax()), _key(name)
            shares = round(float(prediction.classes[k]), 4), round(float(mask.mean()), 4)
            row = (_text(path), key, predictor.classes[k], *shares)
            masks.write_mask(out / name, pixels, masks.PREDICT, _about(row))
            rows[key] = row
            yield out / name
    finally:  # when it was stopped half-way, too
        if rows:
            write_frame(out / TABLE, pd.DataFrame(list(rows.values()), columns=COLUMNS))
    for path, reason in bad.items():
        log.warning("not read: %s: %s", path, reason)
    if bad:
        raise OSError(f"{len(bad)} of {len(bad.keys() | set(paths))} could not be read and have no "
                      "mask; they are named above")


def find_photos(photos: Iterable[str | Path], out: Path
                ) -> tuple[dict[Path, Path], dict[Path, str]]:
    """{photo: its path in the structure that `out` mirrors}, and {path: why it is no photo}. In a
    folder what is hidden, no picture by its name, or a mask of petweak's is passed over, with a
    warning. ValueError where nothing is left."""
    given = [Path(os.path.abspath(os.path.expanduser(p))) for p in photos]
    paths, bad, passed = {}, {}, defaultdict(list)
    for path in given:
        top, files = path.parent, [path]
        if path.is_dir() and len(given) == 1:
            top = path
        elif not os.path.lexists(path) and has_magic(str(path)):
            top = next(p for p in path.parents if not has_magic(str(p)))
            files = sorted(map(Path, glob(str(path), recursive=True)))
            if not files:
                bad[path] = "there is no such file"
        for file in files:
            for photo, why in walk(file, [out]) if file.is_dir() else [(file, "")]:
                if why in PASSED_OVER:
                    passed[why].append(photo)
                elif why:
                    bad[photo] = why
                elif photo.is_file() and masks.writer_of(photo):
                    passed[masks.OWN_MASK].append(photo)
                elif photo.is_file():
                    paths.setdefault(photo, photo.relative_to(top))
                else:
                    bad[photo] = "no file" if os.path.lexists(photo) else "there is no such file"
    for reason, files in passed.items():
        more = f" and {len(files) - 3} more" * (len(files) > 3)
        log.warning("passed over, %s: %s%s", reason, ", ".join(map(str, files[:3])), more)
    if not paths:
        reasons = "; ".join(f"{path}: {reason}" for path, reason in bad.items())
        raise ValueError(reasons or f"no picture in {', '.join(map(str, given))}")
    return paths, bad


def name_masks(paths: dict[Path, Path]) -> dict[Path, Path]:
    """{mask's path in `out`: photo}: `x.jpg` has x.png, beside a `x.tif` both keep their suffix,
    x.jpg.png and x.tif.png. ValueError where two would have one name, upper and lower case taken
    for the same, as some disks take them."""
    plain = {photo: path.with_name(f"{path.stem}.png") for photo, path in paths.items()}
    often, named = Counter(map(_folded, plain.values())), {}
    for photo, path in paths.items():
        name = plain[photo]
        if often[_folded(name)] > 1:
            name = path.with_name(f"{path.name}.png")
        same = _folded(name)
        if same in named:
            raise ValueError(f"{named[same][1]} and {photo} would have one mask, {name}: give them "
                             "by the folder above, or one by one with an --out each")
        named[same] = name, photo
    return dict(named.values())


def _folded(name: Path) -> str:
    return unicodedata.normalize("NFC", str(name)).casefold()


def _refuse_foreign(targets: list[Path], photos: list[Path]) -> None:
    """ValueError where a target is a photo, by whatever name, or somebody else's file."""
    inputs = {photo.stat()[1:3]: photo for photo in photos}  # by the file, whatever leads there
    for target in targets:
        above = next(folder for folder in target.parents if os.path.lexists(folder))
        if not above.is_dir():
            raise ValueError(f"{above} is a file, no folder for masks: choose another --out")
        if target.exists() and (photo := inputs.get(target.stat()[1:3])):
            raise ValueError(f"{target}: this mask would replace the photo {photo}: choose another "
                             "--out")
        if os.path.lexists(target) and masks.writer_of(target) != masks.PREDICT:
            raise ValueError(f"{target} {FOREIGN}")
        if target.exists() and masks.is_edited(target):
            raise ValueError(f"{target} {EDITED}")


def _refuse_others(out: Path, named: dict[Path, Path], rows: dict[str, tuple]) -> None:
    """ValueError where a mask that is there is that of another photo, which is still there, too."""
    for name, photo in named.items():
        other = rows.get(_key(name), ("",))[0]
        if other not in ("", _text(photo)) and (out / name).exists() and os.path.exists(other):
            raise ValueError(f"{out / name} is the mask of {other}, and would be replaced by that "
                             f"of {photo}: choose another --out")


def _key(name: Path) -> str:
    """Of the row of a mask, by its path from `out`."""
    return _text(name.as_posix())


def _about(row: tuple) -> str:
    """A row's prediction as text, which its mask has, too."""
    return " ".join(map(str, row[2:]))


def _earlier_rows(out: Path) -> dict[str, tuple]:
    """{mask: row} of the table."""
    table = out / TABLE
    if not os.path.lexists(table):
        return {}
    try:
        with table.open(encoding="utf-8", newline="") as file:
            header, *rows = [*csv.reader(file)] or [COLUMNS]
    except (OSError, ValueError, csv.Error):
        header, rows = None, []
    if header != COLUMNS:
        raise ValueError(f"{table} {FOREIGN}")
    return {row[1]: tuple(row) for row in rows if len(row) == len(COLUMNS)}


def _text(path: Path | str) -> str:
    """A name that is no text in this system's encoding is written with escapes."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")
