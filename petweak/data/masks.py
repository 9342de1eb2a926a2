"""Masks on disk: petweak's own, and what the pixels of masks from elsewhere mean.

petweak writes `<image_id>.png`, (H, W) uint8 at the photo's own size. Other tools write labels, in
values, palettes or colours, an alpha channel, probabilities of 8 or 16 bit or as floats, or what
JPEG leaves of them. `recognise` tells from all masks of a set together which of these they are, and
`read_foreground` brings one of them to petweak's values. `mask_checks` judges what was read.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from petweak.config import FOREGROUND as FOREGROUND_TEXT
from petweak.data.files import file_hash, replacing
from petweak.data.orientation import is_untold
from petweak.data.pictures import ARRAY_TURNS, ON_SIDE, header, load_array, load_image

RUN, PREDICT = "petweak", "petweak predict"  # who writes masks: a text chunk of the PNG says it
OWN_MASK = "a mask that petweak wrote"  # why it is no photo
FOREGROUND, IGNORE, BACKGROUND = 255, 128, 0  # the values of a mask's pixels
SUFFIXES = ("png", "tif", "tiff", "bmp", "gif", "webp", "jpg", "jpeg")  # the first one is preferred
# <id>.png, <id>.jpg.png, <id>_mask.png: what a mask's file is called after the photo's id.
_NAME = re.compile(rf"(.+?)(\.(?:{'|'.join(SUFFIXES)}))?([._-](?:mask|masks|seg|segmentation|label|"
                   rf"labels|gt|matte))?\.({'|'.join(SUFFIXES)})", re.I)
# What a setting may say of the foreground; notebooks/guide.md has the same.
WAYS = ("nonzero, alpha, soft (grey is a probability), above:N, below:N, values such as 1 or 1,3, "
        "or colours such as #ff0000")
LABELS = 90  # the largest value that may be a label: COCO's last class
VOID = {"colour": {0xE0E0C0}, "index": {255}, "grey": {255, 65535}}  # of VOC: no label
# Cat and dog: of a list of one's own, of VOC, of COCO (by ids, by ranks from 0 and from 1).
PAIRS = [{1, 2}, {8, 12}, {17, 18}, {15, 16}, {16, 17}, {0x800000, 0x008000}, {0x400000, 0x400080}]
# The share of a set's photos that show both. More have a pet and something else, a floor say.
TOGETHER = 0.2
SIDE = 32  # of the small copy of a mask that sets are judged by


def read_mask(path: Path) -> np.ndarray:
    """(H, W) uint8 of FOREGROUND, BACKGROUND and IGNORE, as petweak writes them. OSError names a
    file that cannot be read or is no such mask."""
    mask = load_array(path)
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise OSError(f"{path} is no mask that petweak wrote, as it has {mask.shape} {mask.dtype}: "
                      "delete it, and the same command makes it again")
    return mask


def write_mask(path: Path, mask: np.ndarray, writer: str = RUN, text: str = "") -> None:
    """Write (H, W) uint8 as a PNG, whole or not at all, with a `text` about a prediction."""
    about = PngInfo()
    about.add_text("Software", writer)
    if writer == PREDICT:  # a run knows the hashes of its masks; these lie in a user's folder
        about.add_text("Comment", _digest(mask))
        about.add_text("Description", text)
    with replacing(path) as beside:
        Image.fromarray(mask).save(beside, format="PNG", compress_level=1, pnginfo=about)


def writer_of(path: Path) -> str:
    """RUN or PREDICT of a mask that petweak wrote. Another file, or its absence, is empty text: it
    is somebody else's, and stays."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            writer = image.info.get("Software")
    except Exception:  # Pillow's many kinds
        return ""
    return writer if writer in (RUN, PREDICT) else ""


def is_edited(path: Path) -> bool:
    """Whether the pixels of a mask of `petweak predict` differ from what it wrote: some tools keep
    the text of a PNG that they change."""
    with Image.open(path, formats=["PNG"]) as image:
        wrote = image.info.get("Comment", "")  # nothing is noted by older versions
        return bool(wrote) and wrote != _digest(np.asarray(image))


def text_of(path: Path) -> str:
    """That `write_mask` wrote; nothing where it did not."""
    with Image.open(path, formats=["PNG"]) as image:
        return image.info.get("Description", "")


def _digest(mask: np.ndarray) -> str:
    about = f"{mask.shape} {mask.dtype} ".encode()
    return blake2b(about + np.ascontiguousarray(mask).tobytes(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Reading:
    """What the pixels of a set of masks mean: values of a channel, a cut, or probabilities."""

    channel: str  # grey, index (of a palette), colour (0xrrggbb), bright (of RGB), or alpha
    text: str  # the same in words
    foreground: tuple[float, ...] = ()
    ignore: tuple[float, ...] = ()
    above: float | None = None  # foreground lies above this value,
    below: float | None = None  # or below this one
    scale: float = 0.0  # of probabilities: the value of certainty
    told: bool = False  # by the user

    def decide(self, values: np.ndarray) -> np.ndarray:
        """A channel's values -> uint8 of FOREGROUND, IGNORE, BACKGROUND; of probabilities
        everything between, where 128 is IGNORE only if a mask of 8 bit says so itself."""
        if self.scale:
            soft = np.rint(np.clip(values / self.scale, 0, 1) * FOREGROUND)
            if values.dtype != np.uint8 or self.channel == "alpha":
                soft[soft == IGNORE] += np.where(values[soft == IGNORE] > self.scale / 2, 1, -1)
            return soft.astype(np.uint8)
        if self.above is not None:
            return np.where(values > self.above, FOREGROUND, BACKGROUND).astype(np.uint8)
        if self.below is not None:
            return np.where(values < self.below, FOREGROUND, BACKGROUND).astype(np.uint8)
        decided = [np.isin(values, self.foreground), np.isin(values, self.ignore)]
        return np.select(decided, [FOREGROUND, IGNORE], BACKGROUND).astype(np.uint8)


def read_foreground(path: Path, how: Reading | str = "auto",
                    photo: Path | None = None, stored: bool = False) -> np.ndarray:
    """Any tool's mask as (H, W) uint8: 255 foreground, 0 background, 128 "ignore", and
    probabilities in between (128 and more is foreground). `how`: what `recognise` says of the whole
    set, or a text as it takes, for a mask alone. Of `photo`, if given, it has the orientation as a
    viewer shows it (`upright`). OSError names a file that cannot be read, ValueError the values
    that cannot be told apart."""
    reading = recognise([path], how) if isinstance(how, str) else how
    channels = _channels(path)
    if (values := _of(channels, reading.channel)) is None:
        raise ValueError(f"{path} has no {reading.channel} channel, as the other masks have")
    mask = reading.decide(values)
    return upright(mask, photo, stored) if photo else mask


def upright(mask: np.ndarray, photo: Path, stored: bool) -> np.ndarray:
    """(H, W) as `photo` is seen: turned with it where it was drawn on the stored pixels, as its
    size tells, or `stored` where that does not."""
    if stored and is_untold(photo) or on_stored_pixels(mask.shape[::-1], photo):
        return np.ascontiguousarray(ARRAY_TURNS[header(photo).orientation](mask))
    return mask


def find_masks(folder: Path, ids: Sequence[str]) -> dict[str, Path]:
    """{id: file}, by one listing of `folder`: `<id>.png`, another suffix, `<id>.jpg.png` or
    `<id>_mask.png`, in any case. `_mask` goes before a plain name, PNG before other formats, JPEG
    last, so that photos beside their masks do no harm. FileNotFoundError names what is missing."""
    listed, named = set(ids), {}
    for file in mask_files(folder):
        stem, photo, mask, suffix = _NAME.fullmatch(file.name).groups()
        rank = not mask, SUFFIXES.index(suffix.lower()), bool(photo)
        owner = file.stem if file.stem in listed else stem  # an id may end in _mask itself
        for name in {owner, owner.casefold()}:
            named.setdefault(name, []).append((*rank, name != owner, file))
    masks = {i: min(files)[-1] for i in ids if (files := named.get(i) or named.get(i.casefold()))}
    if missing := [i for i in ids if i not in masks]:
        raise FileNotFoundError(f"{folder} lacks the masks of {some(missing)}; every photo needs "
                                "one, train and test: <id>.png, or .tif, .jpg, <id>_mask.png")
    return masks


def mask_files(folder: Path) -> list[Path]:
    """All that could be a mask in `folder`, sorted by name."""
    return sorted(f for f in folder.iterdir()
                  if _NAME.fullmatch(f.name) and not f.name.startswith("."))


def is_mask_beside(path: Path, photo: Path) -> bool:
    """Whether `path`, which has the name of `photo`, looks like its mask: as large, exact, and of
    few values, but for soft edges, or cut out by its alpha. Of several pages, of which no mask is
    made, the first one is looked at: they are no photo, either."""
    try:
        try:
            s = _looked_at(path, file_hash(path))
        except OSError:
            s = _looked_at(path, file_hash(path), True)
        fitting = fits(s.size, photo)
    except OSError:
        return False
    counts = np.sort(np.unique(s.small[_channel([s])], return_counts=True)[1])
    few = counts[-16:].sum() > 0.9 * SIDE**2 or len(s.values.get("alpha", ())) > 1
    return bool(fitting and few and not s.lossy)


# --- what a set of masks means


def recognise(paths: Sequence[Path], foreground: str = "auto",
              setting: str = "external_foreground") -> Reading:
    """What the pixels of these masks mean, told from all of them together.

    foreground: `auto`, or what the user says: `nonzero`, `alpha`, `soft`, `above:N`, `below:N`,
    values (`1`, `1,3`) or colours (`#ff0000`); what `auto` leaves out (255 beside labels, a
    trimap's 3) stays left out unless it is named. OSError names a file that cannot be read,
    ValueError the values found where they are unclear, and `setting`, which says what they are."""
    seen, where = look(paths), paths[0].parent
    try:
        return _told(seen, foreground.lower(), setting) if foreground != "auto" else _auto(seen)
    except _Unclear as unclear:
        raise ValueError(f"{where}: {unclear}. {way_out(setting)}") from None


class _Unclear(Exception):
    """Why a set cannot be read, with the values found."""


@dataclass(frozen=True)
class Seen:
    """One mask, looked at."""

    path: Path
    size: tuple[int, int]  # width and height in pixels, as a viewer shows it
    lossy: bool  # a JPEG, whose values are about what they were
    values: dict[str, frozenset]  # {channel: values}; of more than 256 an even choice of 257
    small: dict[str, np.ndarray]  # {channel: (SIDE, SIDE)}
    colours: dict[int, int]  # of a palette: {index: 0xrrggbb}

    def values_of(self, channel: str) -> set:
        """Its values in this channel."""
        if channel in self.values:
            return set(self.values[channel])
        return set(_of({"grey": np.array(list(self.values["grey"]))}, channel).tolist())

    def read(self, how: Reading) -> np.ndarray:
        """(SIDE, SIDE) uint8 as of `Reading.decide`."""
        return how.decide(_of(self.small, how.channel))

    def has_foreground(self, how: Reading) -> bool:
        """Whether any pixel of it, of the whole mask, is foreground."""
        return bool((how.decide(np.array(sorted(self.values_of(how.channel)))) >= IGNORE).any())


def look(paths: Iterable[Path]) -> list[Seen]:
    """OSError says of all files that cannot be read why."""

    def one(path: Path) -> Seen | OSError:
        try:
            return _looked_at(path, file_hash(path))
        except OSError as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        seen = list(pool.map(one, paths))
    if len(bad := [s for s in seen if isinstance(s, OSError)]) > 1:
        raise OSError(f"{len(bad)} masks cannot be read: {'; '.join(map(str, bad[:10]))}"
                      + " ..." * (len(bad) > 10))
    if bad:
        raise bad[0]
    return seen


@cache
def _looked_at(path: Path, _: str, pages: bool = False) -> Seen:
    channels, small, values = _channels(path, pages), {}, {}
    h, w = next(iter(channels.values())).shape
    for name, channel in channels.items():
        small[name] = small_copy(channel)
        levels = np.flatnonzero(np.bincount(channel.ravel())) if channel.dtype == np.uint8 else (
            np.unique(channel))
        if len(levels) > 256:
            levels = levels[np.linspace(0, len(levels) - 1, 257).astype(int)]
        values[name] = frozenset(levels.tolist())
    pairs = np.unique(channels["index"].astype(np.int64) << 24 | channels["colour"]).tolist() if (
        "index" in channels) else []
    lossy = header(path).kind.startswith(("JPEG,", "MPO,"))
    return Seen(path, (w, h), lossy, values, small, {p >> 24: p & 0xFFFFFF for p in pairs})


def small_copy(mask: np.ndarray) -> np.ndarray:
    """(H, W) -> (SIDE, SIDE): some of its pixels as they are."""
    rows, columns = (np.linspace(0, n - 1, SIDE).round().astype(int) for n in mask.shape)
    return mask[rows[:, None], columns]


def _channels(path: Path, pages: bool = False) -> dict[str, np.ndarray]:
    """{channel: (H, W)} of all that a mask's pixels could mean, in the orientation that a viewer
    shows: `grey` where all of the picture is grey, `index` and `colour` of a palette, `colour`
    (0xrrggbb) and `bright` (the largest of red, green and blue) of a colour picture, `alpha`."""
    image = load_image(path, pages)
    array, mode = np.asarray(image), image.mode
    if mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif mode not in ("1", "L", "LA", "RGB", "RGBA", "F") and not mode.startswith("I"):
        image = image.convert("RGB")  # CMYK and others
    pixels = np.asarray(image)
    out = {"index": array} if mode == "P" else {}
    if pixels.ndim == 2:
        grey = pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels
        return out | {"grey": grey, "bright": grey}
    if pixels.shape[2] in (2, 4):
        out["alpha"], pixels = pixels[..., -1], pixels[..., :-1]
    if pixels.shape[2] == 1 or (pixels == pixels[..., :1]).all():
        out["grey"], pixels = pixels[..., 0], np.repeat(pixels[..., :1], 3, 2)
    r, g, b = np.moveaxis(pixels.astype(np.int32), 2, 0)
    return out | {"colour": r << 16 | g << 8 | b, "bright": pixels.max(2)}


def _of(channels: dict[str, np.ndarray], name: str) -> np.ndarray | None:
    """One of a mask's channels. A grey picture stands for a palette or colours that it lacks."""
    if name in channels or name == "alpha" or "grey" not in channels:
        return channels.get(name)
    return channels["grey"].astype(np.int64) * (0x010101 if name == "colour" else 1)


def _channel(seen: list[Seen]) -> str:
    """The channel that carries the labels of the set, alpha aside."""
    if all("grey" in s.values for s in seen):
        return "grey"
    colours: dict[int, int] = {}  # of palettes: do all have the same, black first?
    for s in seen:
        for index, colour in s.colours.items():
            if colours.setdefault(index, colour) != colour or colour == 0 != index:
                return "colour"
    palettes = all("index" in s.values for s in seen)
    return "index" if palettes else "colour"


def _auto(seen: list[Seen]) -> Reading:
    with_alpha = [s for s in seen if "alpha" in s.values]
    if len(set().union(*(s.values["alpha"] for s in with_alpha))) > 1:
        if len(with_alpha) < len(seen):
            raise _Unclear(f"{len(with_alpha)} of {len(seen)} masks are partly transparent, and the"
                           " others have no alpha channel")
        return _read(seen, "alpha")
    channel = _channel(seen)
    many = channel == "colour" and len(union(seen, channel)) > 64
    return _two_levels(seen) if many or any(s.lossy for s in seen) else _read(seen, channel)


def union(seen: Iterable[Seen], channel: str) -> set:
    """All values of a channel in these masks."""
    return set().union(*(s.values_of(channel) for s in seen))


def _read(seen: list[Seen], channel: str) -> Reading:
    """Of exact values: labels, a trimap, or probabilities."""
    values = union(seen, channel)
    shown = f"{'alpha has ' if channel == 'alpha' else ''}values found: {listed(values, channel)}"
    if not all(np.isfinite(v) and v >= 0 for v in values):
        raise _Unclear(f"not all values are numbers from 0 up; {shown}")
    whole, top = all(v == int(v) for v in values), max(values)
    each = [s.values_of(channel) for s in seen]

    def labels(foreground: Iterable, ignore: Iterable = ()) -> Reading:
        foreground, ignore = tuple(sorted(foreground)), tuple(sorted(ignore))
        text = f"{channel}: {listed(foreground, channel) or 'nothing'} is foreground"
        text += f", {listed(ignore, channel)} is left out" if ignore else ""
        return Reading(channel, text, foreground, ignore)

    if values <= {0}:
        return labels(())
    if 255 in values <= {0, 127, 128, 255}:  # petweak's own, and trimaps of matting
        if len(values) < 3 or any(255 in v and v - {0, 255} for v in each):
            return labels({255}, values - {0, 255})
    if values == {1, 2, 3}:
        return labels({1}, {3})  # a trimap of this data set
    if len(values) <= 2 and (0 in values or channel != "colour") and values != {1, 2}:
        return labels({top})
    void = VOID.get(channel, set()) & values
    named = values - {0} - void
    if whole and 0 in values and (channel == "colour" or max(named, default=0) <= LABELS):
        if void and not any(v >= void and v & named for v in each):
            raise _Unclear(f"no mask has both {listed(void, channel)} and another label, as if two"
                           f" kinds of masks were mixed; {shown}")
        several = sum(len(v & named) > 1 for v in each)
        if not several or named in PAIRS and several <= max(1, TOGETHER * len(each)):
            return labels(named, void)
        raise _Unclear(f"several labels stand in one mask ({several} of {len(each)} masks), and "
                       f"which of them are pets is unclear; {shown}")
    if whole and 0 in values and len(values) <= 8 and all(len(v - {0}) < 2 for v in each):
        return labels(named | void)
    scale = 1 if not whole and top <= 1 else 255 if 200 <= top <= 255 else 65535
    spread = len(values) > 8 or all(min(v, abs(scale - v)) <= scale / 16 for v in values)
    between = any(0.78 * scale <= v < scale for v in values)  # not so of labels with 255 as void
    if channel in ("grey", "alpha") and top >= (0 if scale == 1 else 0.78 * scale) and (
            spread and between or scale == 1):
        return Reading(channel, f"{channel}: probabilities from 0 to {scale}", scale=scale)
    raise _Unclear(f"labels or probabilities, and of what, is unclear; {shown}")


def _two_levels(seen: list[Seen]) -> Reading:
    """Of values that are about what they were: dark is background, bright is foreground."""
    pixels = np.concatenate([s.small["bright"].ravel() for s in seen])
    if pixels.dtype != np.uint8:
        raise _Unclear("some masks are JPEGs, others of more than 8 bit")
    if int(pixels.max()) - int(pixels.min()) < 2 * LEVEL:
        level = f"one level, about {pixels.mean():.0f}"
        return Reading("bright", f"{level}: above {LEVEL} is foreground", above=LEVEL)
    upper = pixels > cv2.threshold(pixels[None], 0, 255, cv2.THRESH_OTSU)[0]
    dark, bright = pixels[~upper].mean(), pixels[upper].mean()
    apart = np.abs(pixels[:, None] - np.array([dark, bright])).min(1) > (bright - dark) / 4
    if bright - dark < 2 * LEVEL or apart.mean() > 0.3 * min(upper.mean(), 1 - upper.mean()):
        raise _Unclear("these look like photos rather than masks: their brightness is not of two "
                       f"levels (about {dark:.0f} and {bright:.0f}, and {apart.mean():.0%} of the "
                       "pixels between)")
    cut = float(dark + bright) / 2
    return Reading("bright", f"two levels, about {dark:.0f} and {bright:.0f}: above {cut:.0f} is "
                             "foreground", above=cut)


LEVEL = 32  # grey levels: what JPEG adds to 0 stays below


def _told(seen: list[Seen], foreground: str, setting: str) -> Reading:
    """The reading that a user's text means. _Unclear where no mask has what it names."""
    kind, _, number = foreground.partition(":")
    text = f"{setting}={foreground}"
    if not FOREGROUND_TEXT.fullmatch(foreground):
        raise _Unclear(f"{foreground!r} is no such text")
    if kind in ("alpha", "soft"):
        channel = "alpha" if kind == "alpha" else "grey"
        if without := [s.path.name for s in seen if channel not in s.values]:
            raise _Unclear(f"{text}, but {channel} is what {some(without)} lack")
        top = max(union(seen, channel))
        scale = 1 if top <= 1 else 255 if top <= 255 else 65535
        return Reading(channel, text, scale=top or 1 if kind == "alpha" else scale, told=True)
    if kind in ("above", "below"):
        return Reading("bright", text, **{kind: float(number)}, told=True)
    channel = "colour" if foreground.startswith("#") else _channel(seen)
    if channel == "colour" and foreground[0].isdigit():
        channel = "index"
    if without := [s.path.name for s in seen if not s.values.keys() & {channel, "grey"}]:
        raise _Unclear(f"{text}, but {some(without)} have colours")
    values = union(seen, channel)
    if foreground == "nonzero":
        return Reading(channel, text, tuple(values - {0}), told=True)
    named = {int(v.lstrip("#"), 16 if "#" in v else 10) for v in foreground.split(",")}
    if not named & values:
        raise _Unclear(f"{text}, but the values found are {listed(values, channel)}")
    try:
        ignore = set(_read(seen, channel).ignore)
    except _Unclear:
        ignore = VOID.get(channel, set()) & values
    return Reading(channel, text, tuple(named), tuple(ignore - named), told=True)


def fits(size: tuple[int, int], photo: Path) -> bool:
    """Whether a mask of this size has the photo's shape, as it is seen or as it is stored."""
    return same_shape(size, header(photo).size) or on_stored_pixels(size, photo)


def on_stored_pixels(size: tuple[int, int], photo: Path) -> bool:
    """Whether a mask of this size fits the photo before its EXIF orientation is applied, alone."""
    seen, orientation, _ = header(photo)
    fits = same_shape(size, seen) and not size[::-1] == seen != size
    return orientation in ON_SIDE and same_shape(size[::-1], seen) and not fits


def same_shape(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Of one aspect ratio, but for rounding to whole pixels."""
    (w, h), (width, height) = one, other
    return abs(w - width * h / height) <= max(1, 0.02 * w) or (
        abs(h - height * w / width) <= max(1, 0.02 * h))


def way_out(setting: str) -> str:
    return f"Say by {setting} what is foreground: {WAYS}"


def some(names: Collection[str]) -> str:
    """The first ten, and how many they are."""
    return f"{', '.join(list(names)[:10])}{' ...' * (len(names) > 10)} ({len(names)})"


def listed(values: Iterable[float], channel: str) -> str:
    ordered = sorted(values)
    texts = [f"#{v:06x}" if channel == "colour" else f"{v:g}" for v in ordered]
    return ", ".join(texts if len(texts) <= 12 else [*texts[:8], "...", *texts[-3:]])
