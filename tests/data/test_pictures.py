"""The one decoder: ranges, orientation, files that are no pictures."""

import errno
import io
import os
import struct
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from petweak.data.pictures import (
    HIDDEN,
    LINK,
    MASKS,
    OTHER,
    as_seen,
    header,
    load_array,
    load_image,
    load_photo,
    walk,
)

# A picture of 60 x 36 px, of blocks, so that JPEG changes little.
BLOCKS = np.random.default_rng(0).integers(0, 255, (3, 5, 3)).repeat(12, 0).repeat(12, 1)
PICTURE = Image.fromarray(BLOCKS.astype(np.uint8))
ORIENTATION = 0x0112


def turned(orientation: int) -> Image.Image:
    """PICTURE as a person sees it with this orientation, by Pillow's own rule."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    buffer = io.BytesIO()
    PICTURE.save(buffer, "PNG", exif=exif)
    return ImageOps.exif_transpose(Image.open(buffer)).convert("RGB")


def far(one: Image.Image, other: Image.Image) -> float:
    assert one.size == other.size and one.mode == other.mode == "RGB"
    return float(np.abs(np.asarray(one, int) - np.asarray(other, int)).mean())


@pytest.mark.parametrize("orientation", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_picture_comes_as_a_person_sees_it(tmp_path, form, orientation):
    path, exif = tmp_path / "photo.jpg", Image.Exif()
    exif[ORIENTATION] = orientation
    PICTURE.save(path, form, exif=exif if form == "TIFF" else exif.tobytes(), quality=95)
    photo, want = load_photo(path), turned(orientation)
    assert far(photo, want) < 5 and header(path).size == photo.size
    assert header(path).kind == f"{form}, RGB"
    assert far(Image.fromarray(load_array(path)), photo) == 0 == far(load_image(path), photo)
    assert far(load_photo(io.BytesIO(path.read_bytes())), photo) == 0
    # Whoever turns it once more changes nothing.
    assert far(ImageOps.exif_transpose(load_image(path)), photo) == 0
    # A mask as seen stays as it is; one of the stored pixels is turned with them.
    seen, stored = np.asarray(want)[..., 0], np.asarray(PICTURE)[..., 0]
    assert np.array_equal(as_seen(seen, "mask.png", path), seen)
    if orientation in (5, 6, 7, 8):
        assert np.array_equal(as_seen(stored, "mask.png", path), seen)
        assert np.array_equal(as_seen(np.asarray(PICTURE), "mask.png", path), np.asarray(want))
    with pytest.raises(OSError, match=r"mask.png: 59 x 36 px, its photo (60 x 36|36 x 60)"):
        as_seen(stored[:, :-1], "mask.png", path)


def test_a_square_mask_is_taken_as_seen(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    PICTURE.resize((40, 40)).save(tmp_path / "photo.jpg", exif=exif)
    mask = np.arange(1600).reshape(40, 40)
    assert np.array_equal(as_seen(mask, "mask.png", tmp_path / "photo.jpg"), mask)


def test_a_mask_of_an_upright_photo_is_not_turned_to_fit(tmp_path):
    PICTURE.save(tmp_path / "photo.png")
    with pytest.raises(OSError, match="36 x 60 px, its photo 60 x 36"):
        as_seen(np.zeros((60, 36)), "mask.png", tmp_path / "photo.png")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_no_harm(tmp_path):
    PICTURE.save(tmp_path / "photo.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xffnonsense")
    assert load_photo(tmp_path / "photo.jpg").size == PICTURE.size == header(
        tmp_path / "photo.jpg").size


def test_an_orientation_that_is_no_number_is_none(tmp_path):
    """One entry of type 2, text: "low"."""
    entry = struct.pack("<HHI4s", ORIENTATION, 2, 4, b"low\0")
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)
    PICTURE.save(tmp_path / "photo.png", exif=exif)
    assert Image.open(tmp_path / "photo.png").getexif()[ORIENTATION] == "low"
    assert header(tmp_path / "photo.png").orientation == 1
    assert far(load_photo(tmp_path / "photo.png"), PICTURE) == 0


def test_a_header_is_read_again_where_the_file_has_changed(tmp_path):
    path = tmp_path / "photo.png"
    PICTURE.save(path)
    assert header(path) == ((60, 36), 1, "PNG, RGB")
    times = path.stat()
    content = path.read_bytes()
    PICTURE.resize((30, 18)).save(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # its size alone is another
    assert header(path).size == (30, 18)
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 1))  # its time alone is another
    assert header(path).size == (60, 36)


RAMP = np.linspace(0, 1, 256)[None].repeat(8, 0)  # dark on the left, bright on the right


@pytest.mark.parametrize(
    "values",
    [
        (RAMP * 65535).astype(np.uint16),
        (RAMP * 4095).astype(np.uint16),  # of 12 bits, as scientific cameras have
        (RAMP * 255).astype(np.uint16),
        (RAMP * 65535).astype(np.int32),
        (RAMP * 2_000_000_000).astype(np.int32),
        (RAMP * 2000 - 1000).astype(np.int32),
        RAMP.astype(np.float32),
        (RAMP * 1.1 - 0.05).clip(-0.04, 1.04).astype(np.float32),  # a little beyond the ends
        (RAMP * 255).astype(np.float32),
        (RAMP * 65535).astype(np.float32),
        (RAMP * 3 - 1.5).astype(np.float32),
        (RAMP * 12).astype(np.float32),
    ],
)
def test_a_picture_of_many_bits_keeps_its_range(tmp_path, values):
    path = tmp_path / "photo.tif"
    Image.fromarray(values).save(path)
    photo = np.asarray(load_photo(path), int)
    assert np.abs(photo - (RAMP * 255)[..., None]).max() <= 16 and np.ptp(photo) > 238
    assert np.array_equal(load_array(path), values)


@pytest.mark.parametrize("dtype, values, expected", [
    # Whole numbers: of 8 bits, of 12, of 16, and of more.
    (np.uint16, [0, 100, 255], [0, 100, 255]), (np.uint16, [0, 160, 256], [0, 10, 16]),
    (np.uint16, [0, 160, 4095], [0, 10, 255]), (np.uint16, [0, 2560, 4096], [0, 10, 16]),
    (np.uint16, [0, 2560, 65535], [0, 10, 255]), (np.int32, [0, 25701, 65535], [0, 100, 255]),
    (np.int32, [16384, 40960, 65536], [0, 128, 255]), (np.int32, [-1, 100, 200], [0, 100, 200]),
    # Floats: up to 1, 255 or 65535, a little more, and stretched.
    (np.float32, [0.2, 0.4, 1.05], [51, 102, 255]), (np.float32, [0.2, 0.63, 1.065], [0, 127, 255]),
    (np.float32, [4, 10, 15.5], [0, 133, 255]), (np.float32, [4, 10, 16], [4, 10, 16]),
    (np.float32, [56, 100, 255.5], [56, 100, 255]), (np.float32, [56, 156.5, 256], [0, 128, 255]),
    (np.float32, [1000, 2560, 4095], [0, 129, 255]), (np.float32, [1028, 2570, 4096], [4, 10, 16]),
    (np.float32, [1028, 25700, 65535.5], [4, 100, 255]),
    (np.float32, [1028, 33412, 65536], [0, 128, 255]),
    (np.float32, [-0.04, 0.4, 1], [0, 102, 255]), (np.float32, [-0.06, 0.4, 1], [0, 111, 255]),
])
def test_the_range_of_many_bits_is_the_least_that_holds_the_highest(tmp_path, dtype, values,
                                                                    expected):
    Image.fromarray(np.array([values], dtype)).save(tmp_path / "photo.tif")
    photo = np.asarray(load_photo(tmp_path / "photo.tif"))
    assert photo.tolist() == [[[v] * 3 for v in expected]]


def test_a_jpeg_comes_smaller_where_that_will_do(tmp_path):
    PICTURE.resize((480, 288), 0).save(tmp_path / "photo.jpg", quality=95)
    sizes = [load_photo(tmp_path / "photo.jpg", least).size for least in (0, 288, 144, 100, 72)]
    assert sizes == [(480, 288), (480, 288), (240, 144), (240, 144), (120, 72)]
    assert far(load_photo(tmp_path / "photo.jpg", 72), PICTURE.resize((120, 72), 0)) < 10


def test_an_orientation_in_xmp_counts_once(tmp_path):
    text, info = '<x xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>', PngInfo()
    info.add_itxt("XML:com.adobe.xmp", text)
    PICTURE.save(tmp_path / "photo.png", pnginfo=info)
    assert far(load_photo(tmp_path / "photo.png"), turned(6)) == 0
    again = ImageOps.exif_transpose(load_image(tmp_path / "photo.png"))
    assert far(again, turned(6)) == 0


@pytest.mark.parametrize("form", ["I;16", "I;16B"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_grey_of_16_bits_is_turned_as_others_are(tmp_path, form, orientation):
    values = (np.asarray(PICTURE)[..., 0].astype(np.uint16) << 8) + 7
    data, exif = values.astype(">u2" if form == "I;16B" else "<u2").tobytes(), Image.Exif()
    exif[ORIENTATION] = orientation
    Image.frombytes(form, PICTURE.size, data).save(tmp_path / "photo.tif", exif=exif)
    seen = load_photo(tmp_path / "photo.tif")
    assert np.array_equal(np.asarray(seen)[..., 0], np.asarray(turned(orientation))[..., 0])


def test_not_a_number_and_a_flat_picture_are_no_trouble(tmp_path):
    values = RAMP.astype(np.float32)
    values[0, :3] = np.nan, np.inf, -np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for array in (values, np.full((4, 4), 1e9, np.float32), np.zeros((4, 4), np.float32)):
            Image.fromarray(array).save(tmp_path / "photo.tif")
            dark = [load_photo(tmp_path / "photo.tif").getpixel((x, 0)) for x in range(3)]
            assert dark == [(0, 0, 0)] * 3


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_mode_is_read_and_raw_values_stay(tmp_path, mode):
    form = "TIFF" if mode == "CMYK" else "PNG"
    picture = PICTURE.convert(mode)
    picture.save(tmp_path / "photo.jpg", form)
    photo = load_photo(tmp_path / "photo.jpg")
    assert far(photo, picture.convert("RGB")) == 0
    raw = load_image(tmp_path / "photo.jpg")
    assert raw.mode == mode and np.array_equal(load_array(tmp_path / "photo.jpg"), picture)
    if mode == "P":
        assert raw.getpalette() == picture.getpalette()


def test_transparency_and_16_bits_of_colour(tmp_path):
    picture = PICTURE.copy()
    picture.putalpha(0)
    picture.save(tmp_path / "photo.png")
    assert far(load_photo(tmp_path / "photo.png"), PICTURE) == 0  # its colours, though transparent
    import cv2

    cv2.imwrite(str(tmp_path / "deep.png"), BLOCKS[..., ::-1].astype(np.uint16) * 257)
    assert far(load_photo(tmp_path / "deep.png"), PICTURE) == 0


def tiff(path, values: np.ndarray, orientation: int = 1) -> None:
    """A TIFF of floats, (H, W) or (H, W, channels), by its bytes."""
    h, w, *channels = values.shape
    n, bits, at = (*channels, 1)[0], 8 * values.itemsize, 8 + 12 * 10 + 6
    tags = {256: w, 257: h, 258: at, 259: 1, 262: 2 if channels else 1, 273: at + 4 * n,
            274: orientation, 277: n, 279: values.nbytes, 339: at + 2 * n}
    entries = [struct.pack("<HHII", k, 4, 1, v) if k not in (258, 339) else
               struct.pack("<HHII", k, 3, n, v) if n > 2 else
               struct.pack("<HHIHH", k, 3, n, bits if k == 258 else 3, 0)
               for k, v in tags.items()]
    path.write_bytes(struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + b"".join(entries)
                     + bytes(4) + struct.pack(f"<{2 * n}H", *[bits] * n, *[3] * n)
                     + values.astype(values.dtype.newbyteorder("<")).tobytes())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1, 255, 65535])
def test_floats_of_64_bits_and_of_colours_keep_their_range(tmp_path, kind, scale, orientation):
    """Pillow has no mode for them. 0.2 of 1 is the same picture as 51 of 255."""
    path = tmp_path / "photo.tif"
    tiff(path, BLOCKS.astype(kind) / 255 * scale, orientation)
    assert far(load_photo(path), turned(orientation)) == 0
    assert header(path).size == turned(orientation).size
    grey = BLOCKS[..., 0].astype(kind) / 255 * scale
    tiff(path, grey, orientation)
    assert np.array_equal(np.asarray(load_photo(path))[..., 1], np.asarray(
        turned(orientation))[..., 0])
    if orientation == 1:
        assert np.allclose(load_array(path), grey, rtol=1e-6)


def test_a_tiff_that_nothing_decodes_is_named(tmp_path):
    path = tmp_path / "photo.tif"
    tiff(path, BLOCKS / 255)
    whole = path.read_bytes()
    for content in (whole[:60], whole.replace(struct.pack("<HHI", 256, 4, 1) + b"\x3c\0\0\0",
                                              struct.pack("<HHI", 256, 4, 1) + b"\0\0\0\1")):
        path.write_bytes(content)
        for load in (load_photo, load_image, header):
            with pytest.raises(OSError, match="photo.tif: "):
                load(path)


def test_a_mask_of_several_pages_is_refused(tmp_path):
    """Each page may be a pet. Of a photo, such as a phone's, the first one is seen."""
    path, left, right = tmp_path / "m.tif", *(Image.fromarray(m) for m in (BLOCKS[..., 0] < 99,
                                                                          BLOCKS[..., 0] > 199))
    left.save(path, save_all=True, append_images=[right])
    for load in (load_image, load_array):
        with pytest.raises(OSError, match="m.tif: has 2 pages.* save their union"):
            load(path)
    assert load_photo(path).size == left.size
    PICTURE.save(tmp_path / "m.jpg", "MPO", save_all=True, append_images=[PICTURE])
    assert load_image(tmp_path / "m.jpg").size == PICTURE.size


def test_a_small_copy_of_a_mask_in_its_tiff_is_no_page(tmp_path):
    """GIMP and scanners write one. What has another shape may be of another pet."""
    path, mask = tmp_path / "m.tif", Image.fromarray(BLOCKS[..., 0] < 99)
    for turn, seen in ((1, np.asarray(mask)), (6, np.rot90(mask, -1))):
        more = [mask.resize(size) for size in ((20, 12), (7, 4), (4, 7))]
        mask.save(path, save_all=True, append_images=more, tiffinfo={ORIENTATION: turn})
        assert np.array_equal(load_array(path), seen) and np.array_equal(load_image(path), seen)
        assert header(path).size == seen.shape[::-1]
    mask.save(path, save_all=True, append_images=[mask.resize((20, 12)), mask.resize((20, 20))])
    with pytest.raises(OSError, match="m.tif: has 2 pages"):
        load_array(path)


def test_a_tiff_of_float_colours_is_read_without_a_word(tmp_path, capfd):
    """OpenCV warns of tags that it does not know, such as what a fourth channel is."""
    path = tmp_path / "p.tif"
    cv2.imwrite(str(path), np.dstack([BLOCKS, BLOCKS[..., :1]]).astype(np.float32))
    capfd.readouterr()
    assert np.array_equal(load_photo(path), BLOCKS[..., ::-1])
    assert capfd.readouterr() == ("", "")


def test_a_large_photo_is_read_without_a_warning(tmp_path):
    """Of 108 megapixels: Pillow warns of an attack."""
    code = ("import sys; from pathlib import Path; from petweak.data.pictures import header; "
            "print(header(Path(sys.argv[1])).size)")
    (tmp_path / "big.ppm").write_bytes(b"P6 12000 9000 255\n")
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "big.ppm"], text=True, timeout=60,
                          capture_output=True, check=True)
    assert done.stdout == "(12000, 9000)\n" and not done.stderr


@pytest.mark.parametrize("form", ["GIF", "TIFF", "WEBP"])
def test_the_first_frame_counts(tmp_path, form):
    more = [Image.new("RGB", PICTURE.size, colour) for colour in ("red", "blue")]
    green = Image.new("RGB", PICTURE.size, (0, 255, 0))
    green.save(tmp_path / "moving", form, save_all=True, append_images=more)
    assert far(load_photo(tmp_path / "moving"), green) < 2


@pytest.mark.parametrize(
    "content, says",
    [
        (b"", "is empty"),
        (b"x", "cannot identify"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        (b"\n <!DOCTYPE html><html>moved</html>", "web page"),
        (b"\xef\xbb\xbf<html>", "web page"),
        (b"\0\5\x16\7\0\2\0\0Mac OS X", "AppleDouble"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"%PDF-1.4", "PDF"),
        (b"PK\3\4", "zip"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "cannot identify"),
    ],
)
def test_what_is_no_picture_is_named_for_what_it_is(tmp_path, content, says):
    path = tmp_path / "pug_1.jpg"
    path.write_bytes(content)
    for load in (load_photo, load_image, load_array, header):
        with pytest.raises(OSError, match=f"pug_1.jpg: .*{says}"):
            load(path)
    with pytest.raises(OSError, match=says):
        load_photo(io.BytesIO(content))


def test_a_walk_names_all_it_meets_and_why_it_is_no_photo(tmp_path):
    """Folder by folder, each in the order of names: what is passed over, files, what lies below."""
    for name in ("b.jpg", "a.PNG", "notes.txt", ".c.jpg", "Thumbs.db", "desktop.ini", "no_suffix",
                 "2/d.webp", "1/e.HEIC", "1/deep/f.tif", "1/g.jpg", "masks/m.png", "more/m.png",
                 ".git/h.jpg", "__MACOSX/i.jpg", "folder.jpg/j.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("1")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "k.jpg").symlink_to("b.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    masks = [tmp_path / "1" / ".." / "masks", tmp_path / "more", tmp_path / "absent"]
    found = [(path.relative_to(tmp_path).as_posix(), why) for path, why in walk(tmp_path, masks)]
    assert found == [
        (".git", HIDDEN), ("__MACOSX", HIDDEN), ("link", LINK), ("masks", MASKS), ("more", MASKS),
        (".c.jpg", HIDDEN), ("Thumbs.db", HIDDEN), ("a.PNG", ""), ("b.jpg", ""),
        ("desktop.ini", HIDDEN), ("gone.jpg", "no file"), ("k.jpg", ""), ("no_suffix", OTHER),
        ("notes.txt", OTHER), ("pipe.jpg", "no file"),
        ("1/e.HEIC", ""), ("1/g.jpg", ""), ("1/deep/f.tif", ""), ("2/d.webp", ""),
        ("folder.jpg/j.jpg", "")]
    absent = tmp_path / "absent"
    assert list(walk(absent)) == [(absent, os.strerror(errno.ENOENT))]


def test_folders_and_links_to_nowhere_are_os_errors(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    os.symlink("loop.jpg", tmp_path / "loop.jpg")
    os.symlink("nowhere", tmp_path / "gone.jpg")
    for name in ("folder.jpg", "loop.jpg", "gone.jpg"):
        for load in (load_photo, header):
            with pytest.raises(OSError, match=name):
                load(tmp_path / name)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"])
def test_a_cut_file_is_an_error_that_names_it(tmp_path, form):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo", form)
    whole = (tmp_path / "photo").read_bytes()
    for share in (0.02, 0.3, 0.9):
        (tmp_path / "photo").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(OSError, match="photo"):
            load_photo(tmp_path / "photo")


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path):
    header_of = b"P6 60000 60000 255\n"
    (tmp_path / "bomb.ppm").write_bytes(header_of)
    for load in (load_photo, header):
        with pytest.raises(OSError, match="bomb.ppm.*3600000000 pixels.*Make it smaller"):
            load(tmp_path / "bomb.ppm")


def heic(path, orientation=1):
    import pillow_heif

    made, exif = pillow_heif.from_pillow(PICTURE.resize((120, 72), 0)), Image.Exif()
    exif[ORIENTATION] = orientation
    made.info["exif"] = exif.tobytes()
    made.save(path, quality=-1)


@pytest.mark.parametrize("orientation", [1, 6])
def test_heic_is_read_where_the_plugin_is(tmp_path, orientation):
    path = tmp_path / "photo.HEIC"
    heic(path, orientation)
    photo = load_photo(path)
    assert photo.size == header(path).size
    assert far(photo, turned(orientation).resize(photo.size, 0)) < 5
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(OSError, match="photo.HEIC: is HEIC that pillow-heif cannot read, or a "
                                      "video: convert it to JPEG$"):
        load_photo(path)


def test_heic_and_avif_name_the_way_out_where_no_plugin_is(tmp_path, monkeypatch):
    heic(tmp_path / "photo.heic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(OSError, match="photo.heic: is HEIC.*pip install pillow-heif.*JPEG"):
        load_photo(tmp_path / "photo.heic")
    (tmp_path / "photo.avif").write_bytes(b"\0\0\0\x1cftypavif\0\0\0\0mif1avifmiaf")
    (tmp_path / "photo.jpg").write_bytes(b"\0\0\0\x1cftypavis\0\0\0\0mif1avifmiaf")
    for name in ("photo.avif", "photo.jpg"):
        with pytest.raises(OSError, match=f"{name}: is AVIF, and cannot be decoded: `pip install "
                                          "-U pillow`, or convert it to JPEG$"):
            load_photo(tmp_path / name)


def test_threads_read_alike(tmp_path):
    paths = [tmp_path / f"{i}.{form.lower()}" for i in range(8) for form in ("PNG", "WEBP", "TIFF")]
    for i, path in enumerate(paths):
        Image.fromarray(np.asarray(PICTURE) // (i + 1)).save(path, lossless=True)
    alone = [np.asarray(load_photo(p)).sum() for p in paths]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert [np.asarray(p).sum() for p in pool.map(load_photo, paths)] == alone


PNG, JPEG = io.BytesIO(), io.BytesIO()
PICTURE.save(PNG, "PNG")
PICTURE.save(JPEG, "JPEG")


@settings(max_examples=150)
@given(st.sampled_from([PNG, JPEG]), st.data())
def test_mutated_files_are_read_or_refused_and_nothing_else(whole, data):
    content = bytearray(whole.getvalue())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of odd metadata and of large sizes
            photo = load_photo(io.BytesIO(content))
    except OSError as error:
        assert str(error).startswith("the picture: ")
    else:
        assert photo.mode == "RGB" and min(photo.size) > 0
