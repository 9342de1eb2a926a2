"""Files -> pixels: the one decoder of photos, trimaps and masks, and the one rule of orientation.

A picture is decoded by its content, whatever its name says, and comes as a person sees it: turned
as its EXIF orientation asks. Of an animation or a file of several pages a photo is the first one;
a mask, of which each page may have a part, is refused, but for a TIFF's thumbnails. What cannot be
read is an OSError that names the file and the reason. No state is shared: threads may read at once.
"""

import base64
import io
import os
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import cv2
import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from petweak.data.files import what_is

# A photo of up to twice Pillow's limit is no attack; a larger one is an error, not a warning.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .bmp .dib .gif .tif .tiff .heic .heif .hif .avif .jp2 .ppm "
    ".pgm .pbm .pnm".split())  # of pictures, in lower case
# What systems, Synology's, QNAP's and others', keep beside photos: thumbnails, deleted files.
OF_SYSTEMS = ("thumbs.db", "desktop.ini", "__macosx", "@eadir", "@recycle", "#recycle", "#snapshot",
              "$recycle.bin", "lost+found", "system volume information")
# Frequent ones first. Not all that Pillow knows: EPS, for one, would start another program.
FORMATS = "JPEG PNG GIF WEBP BMP TIFF AVIF PPM JPEG2000 DIB MPO HEIF".split()
# What `walk` passes over; other reasons are faults.
PASSED_OVER = HIDDEN, OTHER, LINK, MASKS = ("hidden", "no picture by its name",
    "a link to a folder, which is not followed", "the folder of the masks")
# EXIF orientation -> what turns the stored picture upright, and the same for an array (H, W, ...).
_T = Image.Transpose
TURNS = {2: _T.FLIP_LEFT_RIGHT, 3: _T.ROTATE_180, 4: _T.FLIP_TOP_BOTTOM, 5: _T.TRANSPOSE,
         6: _T.ROTATE_270, 7: _T.TRANSVERSE, 8: _T.ROTATE_90}
ARRAY_TURNS = {2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
               5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1),
               7: lambda a: np.rot90(a.swapaxes(0, 1), 2), 8: np.rot90}
ON_SIDE = (5, 6, 7, 8)  # width and height are exchanged


def walk(top: Path, masks: Collection[Path] = ()) -> Iterator[tuple[Path, str]]:
    """Every file below `top`, in order, and why it cannot be a picture, if so by its name. Folders
    that are hidden, links, one of `masks`, or unreadable are named and not entered."""
    errors: list[OSError] = []
    for folder, folders, files in os.walk(top, onerror=errors.append):
        for path in (Path(folder, name) for name in sorted(folders)):
            why = HIDDEN * _is_hidden(path) or LINK * path.is_symlink() or MASKS * any(
                m.exists() and m.samefile(path) for m in masks)
            if why:
                folders.remove(path.name)
                yield path, why
        folders.sort()
        for path in (Path(folder, name) for name in sorted(files)):
            why = HIDDEN * _is_hidden(path) or OTHER * (path.suffix.lower() not in SUFFIXES)
            yield path, why or "no file" * (not path.is_file())  # a pipe, or a link to nothing
    yield from ((Path(error.filename), error.strerror) for error in errors)


def _is_hidden(path: Path) -> bool:
    return path.name[0] == "." or path.name.lower() in OF_SYSTEMS


def bare(name: str) -> str:
    """The name without suffixes of pictures, of which some have two: x of x.HEIC.jpg."""
    stem, suffix = os.path.splitext(name)
    return bare(stem) if suffix.lower() in SUFFIXES else name


def load_photo(file: Path | BinaryIO, least: int = 0) -> Image.Image:
    """The photo as RGB; alpha is dropped. `least`: pixels a side that will do, so that a JPEG may
    come smaller, and sooner; 0: all. Grey of more than 8 bits keeps its range: whole numbers
    count as 8, 12 or 16 bits, the fewest that the highest one needs; floats as [0, 1], [0, 255] or
    [0, 65535]. Other ranges are stretched, lowest to black and highest to white."""
    with _opened(file, least) as image:
        if image.mode.startswith("I") or image.mode == "F":
            image = Image.fromarray(_to_8_bits(np.asarray(image)))
        return image.convert("RGB")


def load_image(file: Path | BinaryIO, pages: bool = False) -> Image.Image:
    """The picture in its own mode: with its palette, alpha and depth. `pages`: of several the first
    one, where they are no error."""
    with _opened(file, pages=pages) as image:
        return image.copy()


def load_array(file: Path | BinaryIO) -> np.ndarray:
    """(H, W) or (H, W, channels): the values as stored; of a palette its indices, of 1 bit bool."""
    with _opened(file, pages=False) as image:
        return np.array(image)


def data_uri(image: Image.Image, kind: str, **options: Any) -> str:
    """The picture as an address of a page, `data:image/<kind>...`; `options` are Pillow's."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}"


class Header(NamedTuple):
    """What a picture's file says of itself."""

    size: tuple[int, int]  # (width, height) as a person sees it
    orientation: int  # 1 to 8, of EXIF
    kind: str  # its format and mode, such as "JPEG, RGB"


def header(path: Path) -> Header:
    """A file is opened once a process, and again only where its size or time has changed; of most
    formats the pixels are not read."""
    with _reading(path):
        stat = Path(path).stat()
        return _header(path, stat.st_size, stat.st_mtime_ns)


def as_seen(pixels: np.ndarray, file: Path, photo: Path) -> np.ndarray:
    """`pixels` (H, W, ...) of a trimap or mask `file`, as large as `photo`. They are taken as the
    photo is seen; if they fit its stored pixels alone, they were drawn on these, and are turned
    with them. OSError where they fit neither."""
    (width, height), orientation, _ = header(photo)
    h, w = pixels.shape[:2]
    if (w, h) == (height, width) != (width, height) and orientation in ON_SIDE:
        return np.ascontiguousarray(ARRAY_TURNS[orientation](pixels))
    if (w, h) != (width, height):
        raise OSError(f"{file}: {w} x {h} px, its photo {width} x {height}")
    return pixels


@cache
def _header(path: Path, size: int, modified: int) -> Header:
    with _open(path) as image:
        orientation = _orientation(image)
        # Pillow gives the size of a TIFF as it is seen, that of others as stored.
        turned = orientation in ON_SIDE and image.format != "TIFF"
        return Header(image.size[::-1] if turned else image.size, orientation,
                      f"{image.format}, {image.mode}")


@contextmanager
def _opened(file: Path | BinaryIO, least: int = 0, pages: bool = True) -> Iterator[Image.Image]:
    with _reading(file), _open(file) as image:
        if not pages and image.format != "MPO" and (n := _pages(image)) > 1:
            raise OSError(f"has {n} pages, a mask of each pet perhaps: save their union as one")
        if least:
            image.draft(None, (least, least))
        image.load()
        if (turn := TURNS.get(_orientation(image))) is not None:  # a TIFF has none once loaded
            image = image.transpose(turn)
            for key in [k for k in image.info if "exif" in k.lower() or "xmp" in k.lower()]:
                del image.info[key]  # or a reader of these would turn it again
        yield image


def _pages(image: Image.Image) -> int:
    """How many pages the picture has, without small copies of the first (GIMP's thumbnail)."""
    n, (w, h) = getattr(image, "n_frames", 1), sorted(image.size)  # which may lie on their sides
    if n == 1 or not isinstance(image, TiffImagePlugin.TiffImageFile):
        return n
    sizes = [(image.seek(i), sorted(image.size))[1] for i in range(n)]
    image.seek(0)
    return 1 + sum(x >= w or y >= h or abs(x * h - y * w) > 2 * max(w, h) for x, y in sizes[1:])


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # broken EXIF: the pixels are what counts
        return 1


@contextmanager
def _open(file: Path | BinaryIO) -> Iterator[Image.Image]:
    # A file that Pillow opens itself may be memory-mapped, which scrambles a TIFF to be turned.
    path = isinstance(file, str | Path)
    with Path(file).open("rb") if path else nullcontext(file) as stream:
        try:
            image = Image.open(stream, formats=_formats())
        except UnidentifiedImageError:
            image = _open_other(stream)
        with image:
            yield image


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(f for f in FORMATS if f in Image.OPEN)


def _open_tiff(stream: BinaryIO, head: bytes) -> Image.Image:
    """A TIFF of kinds that Pillow has no mode for: floats of 64 bits, or of colours, which come as
    8 bits by the rule of `load_photo`, without alpha."""
    tags = TiffImagePlugin.ImageFileDirectory_v2(head[:8])
    stream.seek(tags.next)
    tags.load(stream)
    if (n := tags.get(256, 0) * tags.get(257, 0)) > 2 * Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError(f"Image size ({n} pixels) exceeds limit.")
    stream.seek(0)
    level = cv2.utils.logging.setLogLevel(2)  # errors alone, no unknown tags
    try:
        values = cv2.imdecode(np.frombuffer(stream.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    finally:
        cv2.utils.logging.setLogLevel(level)
    if values is None:  # else turned as its orientation asks
        raise OSError("is a TIFF that cannot be decoded: save it as PNG, of 8 or 16 bits")
    image = Image.fromarray(values.astype(np.float32) if values.ndim == 2 else
                            _to_8_bits(values[..., 2::-1]))
    image.format, image.n_frames = "TIFF", 1 + bool(tags.next)
    return image


def _open_other(stream: BinaryIO) -> Image.Image:
    """What Pillow cannot open. OSError says what it is, and the way out."""
    stream.seek(0)
    head = stream.read(64)
    if head[:4] in (b"II*\0", b"MM\0*"):
        return _open_tiff(stream, head)
    if head[4:8] != b"ftyp":
        raise OSError(what_is(head, "cannot identify a picture in it", picture=True))
    if head[8:12] in (b"avif", b"avis"):
        raise OSError("is AVIF, and cannot be decoded: `pip install -U pillow`, or convert it to "
                      "JPEG")
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise OSError("is HEIC, or a video: `pip install pillow-heif` reads HEIC, or convert it to "
                      "JPEG") from None
    register_heif_opener()
    try:
        return Image.open(stream, formats=("HEIF",))
    except UnidentifiedImageError:
        raise OSError("is HEIC that pillow-heif cannot read, or a video: convert it to JPEG"
                      ) from None


@contextmanager
def _reading(file: Path | BinaryIO) -> Iterator[None]:
    """Whatever goes wrong inside becomes an OSError that names the file: Pillow raises SyntaxError,
    ValueError, EOFError, struct.error and its own for bad files."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.filename:  # missing, not permitted: named already
            raise
        name = file if isinstance(file, str | Path) else "the picture"
        reason = str(error).split(" <")[0] or type(error).__name__
        if isinstance(error, Image.DecompressionBombError):
            reason += " Make it smaller"
        raise OSError(f"{name}: {reason}") from error


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    """(H, W, ...) of whole numbers or floats -> (H, W) uint8, by the rule of `load_photo`."""
    whole = values.dtype.kind in "iu"
    values = values if whole else np.nan_to_num(values.astype(np.float64), posinf=0, neginf=0)
    low, high = values.min(), values.max()
    if whole and low >= 0 and high < 1 << 16:
        bits = next(b for b in (8, 12, 16) if high < 1 << b)
        return (values >> (bits - 8)).astype(np.uint8)
    # Resampling goes a little beyond the ends; a highest value of 3 is no picture of 8 bits.
    tops = ((0, 1.05, 1), (16, 255.5, 255), (4096, 65535.5, 65535))
    top = next((t for least, most, t in tops if -0.05 * t <= low and least <= high <= most), 0)
    low, top = (0, top) if top else (low, (high - low) or 1)
    return np.rint((values - low) * (255 / top)).clip(0, 255).astype(np.uint8)
