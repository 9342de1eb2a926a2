"""What speaks against a set of masks: their shapes and foregrounds, and their photos."""

from collections.abc import Mapping, Sized
from pathlib import Path

import cv2
import numpy as np

from petweak.data import masks
from petweak.data.orientation import chosen, turned
from petweak.data.pictures import ARRAY_TURNS, header

FAINT = 0.005  # the share of a photo below which a foreground is hardly a pet
# The share of a set above which odd masks are doubted. Of 4,758 masks of two segmenters 0 to 1.8 %
# of a set are empty, 0 to 0.06 % are full; a tool that fails leaves more.
ODD = 0.05
# Of the largest disc in a foreground, the share of its area. Of 2,700 trimaps and masks of two
# segmenters, of CAMs and of rendered pets none has less than 0.15; of their outlines, 1 to 15
# pixels wide, 95 % have less than 0.08.
LINES = 0.1


def doubts(files: Mapping[str, Path], photos: Mapping[str, Path], reading: masks.Reading,
           setting: str = "external_foreground") -> list[str]:
    """What makes one doubt these masks {id: file} of `photos`, in sentences; most sets have none.
    ValueError where they cannot be right: no foreground in any, foreground everywhere, the photos'
    sizes with width and height exchanged, shapes of other pictures, background and foreground
    exchanged, or lines in place of areas (these two: a doubt, if the user names the foreground)."""
    seen = dict(zip(files, masks.look(files.values()), strict=True))
    where, sentences = next(iter(files.values())).parent, []
    values = masks.listed(masks.union(seen.values(), reading.channel), reading.channel)
    decided = {i: s.read(reading) for i, s in seen.items()}
    small = {i: mask >= masks.IGNORE for i, mask in decided.items()}
    empty = [i for i, m in small.items() if not m.any() and not seen[i].has_foreground(reading)]
    full = [i for i, m in small.items() if m.mean() > 0.99]
    read = f"read as {reading.text}; values found: {values}"
    faint = [i for i, m in small.items() if m.mean() < FAINT and i not in empty]
    if many(faint, files):
        sentences.append(f"{len(faint)} of {len(files)} masks have next to no foreground, under "
                         f"{FAINT:.1%} of the photo ({read}): {masks.some(faint)}")
    for ids, what in ((empty, "no foreground"), (full, "foreground everywhere")):
        if len(ids) == len(files):
            raise ValueError(f"{where}: all masks have {what} ({read}). {masks.way_out(setting)}")
        if many(ids, files):
            sentences.append(f"{len(ids)} of {len(files)} masks have {what} ({read}): "
                             f"{masks.some(ids)}")
    sentences += _shapes(seen, photos, where)
    soft = np.concatenate(list(decided.values()))
    if (undecided := bool(reading.scale) * ((soft > 51) & (soft < 204)).mean()) > 0.5:
        sentences.append(f"{where}: {undecided:.0%} of the probabilities lie between 0.2 and 0.8 "
                         f"({read}): are these masks?")
    # Pets are in the middle: of 2,400 masks of two segmenters, and of trimaps, under 1 % lie more
    # at the frame than in the middle, and none covers half of the frame as well.
    rest = [i for i in small if i not in empty and i not in full]
    middle = slice(masks.SIDE // 4, -masks.SIDE // 4)
    outside = [i for i in rest if _at_frame(m := small[i]) > max(0.5, m[middle, middle].mean())]
    if len(outside) > len(rest) / 20:
        text = (f"{where}: foreground and background seem to be exchanged in {len(outside)} of "
                f"{len(files)} masks ({read}): foreground lies along the frame, background in the "
                f"middle of {masks.some(outside)}")
        if len(outside) > len(rest) / 2 and not reading.told:
            raise ValueError(f"{text}. {masks.way_out(setting)}")
        sentences.append(text)
    few = chosen([i for i in rest if i not in outside])
    least = masks.IGNORE + bool(reading.ignore)  # a border that was read as the pet is lines, too
    lines = [i for i in few if is_lines(masks.read_foreground(files[i], reading) >= least)]
    if many(lines, few) and undecided <= 0.5:
        text = (f"{where}: {len(lines)} of {len(few)} masks are lines, such as outlines that are "
                f"not filled ({read}): {masks.some(lines)}")
        if len(lines) > len(few) / 2 and not reading.told:
            raise ValueError(f"{text}. Fill them. {masks.way_out(setting)}")
        sentences.append(text)
    for i in (i for i in rest if masks.on_stored_pixels(seen[i].size, photos[i])):
        small[i] = ARRAY_TURNS[header(photos[i]).orientation](small[i])
    return sentences + turned({i: small[i] for i in rest}, photos, f"{where}: masks")


def many(odd: Sized, of: Sized) -> bool:
    """More of a set than happens in a good one: one mask alone never is, but in a set of one."""
    return len(odd) > ODD * len(of) and len(odd) >= min(2, len(of))


def is_lines(mask: np.ndarray) -> bool:
    """Whether the foreground of (H, W) bool is lines or specks rather than areas."""
    radius = float(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3).max())
    return bool(0 < np.pi * radius**2 < LINES * mask.sum())


def exchanged(trimap: np.ndarray) -> tuple[int, int, int] | None:
    """The values of (H, W), of 1, 2 and 3, that seem to be the pet, the background and the border,
    where that one is not 3: it is lines, and 3 is not. Of 946 official trimaps none has 1 or 2 as
    lines. Of the other two the background has more of the frame. None where nothing speaks against
    the trimap, or it lacks a value."""
    if not all((trimap == value).any() for value in (1, 2, 3)) or is_lines(trimap == 3):
        return None
    if (border := next((value for value in (1, 2) if is_lines(trimap == value)), None)) is None:
        return None
    pet, background = sorted({1, 2, 3} - {border}, key=lambda value: _at_frame(trimap == value))
    return pet, background, border


def _at_frame(mask: np.ndarray) -> float:
    return float(np.concatenate([mask[[0, -1]].ravel(), mask[1:-1, [0, -1]].ravel()]).mean())


def _shapes(seen: Mapping[str, masks.Seen], photos: Mapping[str, Path], where: Path) -> list[str]:
    """A doubt where all masks are of one size unlike their photos; ValueError where some are."""
    sizes = {i: header(photos[i]).size for i in seen}
    other = [i for i, s in seen.items() if not masks.fits(s.size, photos[i])]
    turned = [i for i in other if masks.same_shape(seen[i].size[::-1], sizes[i])]
    for ids, what in ((turned, "are turned: width and height are exchanged"),
                      (other, "have other shapes than their photos")):
        if not ids:
            continue
        (w, h), (width, height) = seen[ids[0]].size, sizes[ids[0]]
        text = (f"{where}: {len(ids)} of {len(seen)} masks {what} ({ids[0]}: {w} x {h} px, its "
                f"photo {width} x {height}): {masks.some(ids)}")
        if ids is other and len({s.size for s in seen.values()}) == 1:
            return [f"{text}. They are stretched to the photos' shapes, which is wrong if the "
                    "photos were cut or padded for the tool"]
        raise ValueError(f"{text}. Write masks in the photos' shapes")
    return []
