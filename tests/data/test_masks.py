"""Masks of any tool are read for what they are, a set as one, or refused with their values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_masks import (
    BLACK,
    BRIGHT,
    EMPTY,
    GREEN,
    LEFT,
    MASK,
    PET,
    RED,
    RIGHT,
    RING,
    RINGED,
    VOID,
    WHITE,
    H,
    W,
    cut_out,
    grey,
    noisy,
    palette,
    rgb,
    write,
)
from PIL import Image, ImageFilter, ImageOps
from PIL.PngImagePlugin import PngInfo

from petweak.data.masks import (
    PREDICT,
    RUN,
    Reading,
    find_masks,
    is_edited,
    is_mask_beside,
    listed,
    read_foreground,
    read_mask,
    recognise,
    same_shape,
    small_copy,
    some,
    write_mask,
    writer_of,
)

BOTH = LEFT // 255 + RIGHT // 255 * 2
VOC = [BLACK, RED, GREEN, *[(9, 9, 9)] * 252, VOID]

KINDS = {  # the pictures of a set, each with what it has to be read as
    "0 and 255": [(grey(), MASK), (EMPTY, EMPTY)],
    "0 and 1": [(grey(pet=1), MASK), (EMPTY, EMPTY)],
    "1 bit": [(PET, MASK), (EMPTY > 0, EMPTY)],
    "0 and 128": [(grey(pet=128), MASK)],
    "two values without 0": [(grey(10, 60), MASK)],
    "petweak's own": [(grey(ring=128), RINGED)],
    "a trimap of matting": [(grey(ring=127), RINGED)],
    "trimaps": [(grey(2, 1, 3), RINGED)],
    "cat 1, dog 2": [(grey(pet=1), MASK), (grey(pet=2), MASK)],
    "cat and dog in one": [(BOTH, MASK)],
    "cat and dog in one of five": [(grey(pet=1), MASK), (grey(pet=2), MASK)] * 4 + [
        (BOTH, MASK)] * 2,
    "VOC's values": [(grey(0, 8, 255), RINGED), (grey(0, 12, 255), RINGED)],
    "breeds": [(grey(pet=k), MASK) for k in (1, 5, 37)],
    "cat 127, dog 255": [(grey(pet=127), MASK), (grey(pet=255), MASK)],
    "cat 100, dog 200": [(grey(pet=100), MASK), (grey(pet=200), MASK)],
    "VOC's palette": [(palette(grey(0, 1, 255), *VOC), RINGED), (palette(grey(0, 2), *VOC), MASK)],
    "VOC's palette and a grey file": [(palette(grey(0, 1, 255), *VOC), RINGED), (EMPTY, EMPTY)],
    "palettes of white and black": [(palette(grey(1, 0), WHITE, BLACK), MASK),
                                    (palette(grey(0, 1), BLACK, WHITE), MASK)],
    "palettes in any order": [(palette(grey(1, 0), RED, BLACK), MASK),
                              (palette(grey(0, 1), BLACK, RED), MASK)],
    "labelme's colours": [(rgb(), MASK), (rgb(GREEN), MASK), (rgb(BLACK), EMPTY)],
    "VOC's colours": [(rgb((64, 0, 0), ring=VOID), RINGED)],
    "white in RGB": [(rgb(WHITE), MASK), (rgb(BLACK), EMPTY)],
    "1 in RGB": [(rgb((1, 1, 1)), MASK)],
    "an alpha channel, black": [(cut_out(grey(), photo=False), MASK)],
    "a cut-out photo": [(cut_out(grey()), MASK), (cut_out(EMPTY), EMPTY)],
    "half transparent": [(cut_out(grey(pet=128)), MASK)],
    "opaque": [(np.dstack([rgb(), EMPTY + np.uint8(255)]), MASK)],
    "grey and alpha": [(np.dstack([EMPTY, grey()]), MASK)],
    "16 bit": [(grey(pet=65535, dtype=np.uint16), MASK)],
    "labels of 16 bit": [(grey(0, k, 65535, np.uint16), RINGED) for k in (1, 2)],
}
OTHER_FORMATS = {
    ("gif", "a palette"): [(palette(grey(0, 1), BLACK, WHITE), MASK)],
    ("bmp", "a palette"): [(palette(grey(0, 1), BLACK, RED), MASK)],
    ("tif", "32 bit"): [(grey(pet=1, dtype=np.int32), MASK)],
    ("tif", "0.0 and 1.0"): [(grey(pet=1, dtype=np.float32), MASK)],
    ("tif", "cyan, magenta, yellow, black"): [(Image.fromarray(rgb(WHITE)).convert("CMYK"), MASK)],
    ("tiff", "0.0 and 255.0"): [(grey(dtype=np.float32), MASK)],
}


@pytest.mark.parametrize("kind", KINDS | OTHER_FORMATS)
def test_a_set_is_read_for_what_it_is(kind, tmp_path):
    pairs = (KINDS | OTHER_FORMATS)[kind]
    suffix = kind[0] if isinstance(kind, tuple) else "png"
    files = write(tmp_path, *(picture for picture, _ in pairs), suffix=suffix)
    how = recognise(files)
    for file, (_, expected) in zip(files, pairs, strict=True):
        mask = read_foreground(file, how)
        assert mask.dtype == np.uint8 and np.array_equal(mask, expected)


def test_noise_around_black_and_white_changes_no_decision(tmp_path):
    (file,) = write(tmp_path, noisy())
    assert np.array_equal(read_foreground(file) > 128, MASK > 128)


JPEGS = {
    "black and white": [(grey(), MASK), (EMPTY, EMPTY)],
    "noise": [(noisy(0, 255, 20), MASK)],
    "other greys": [(grey(20, 200), MASK)],
    "red": [(rgb(BRIGHT), MASK), (rgb(BLACK), EMPTY)],
    "cat red, dog green": [(rgb(BRIGHT), MASK), (rgb((0, 200, 0)), MASK)],
}


@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_is_cut_between_its_two_levels(kind, tmp_path):
    files = write(tmp_path, *(picture for picture, _ in JPEGS[kind]), suffix="jpg")
    how = recognise(files)
    for file, (_, expected) in zip(files, JPEGS[kind], strict=True):
        mask = read_foreground(file, how)
        assert set(np.unique(mask)) <= {0, 255}
        assert (mask != expected).mean() < 0.02  # at the edges alone


def test_colours_with_smooth_edges_are_cut_too(tmp_path):
    large = Image.fromarray(rgb(BRIGHT)).resize((8 * W, 8 * H), Image.Resampling.BICUBIC)
    (file,) = write(tmp_path, large)
    assert len(large.getcolors(1 << 16)) > 64
    mask = read_foreground(file, recognise([file]))
    assert (mask != np.kron(MASK, np.ones((8, 8)))).mean() < 0.02


@pytest.mark.parametrize("scale, dtype, suffix", [
    (255, np.uint8, "png"), (65535, np.uint16, "png"), (65535, np.int32, "tif"),
    (1, np.float32, "tif"), (255, np.float32, "tif")])
def test_probabilities_stay_probabilities(scale, dtype, suffix, tmp_path):
    ramp = np.linspace(0, 1, H * W, dtype=np.float64).reshape(H, W)
    (file,) = write(tmp_path, (ramp * scale).astype(dtype), suffix=suffix)
    mask = read_foreground(file, recognise([file]))
    assert np.abs(mask / 255 - ramp).max() < 1.6 / 255
    # 128 is "ignore" in 8 bit, as petweak writes it, and a half nowhere else
    assert (mask == 128).any() == (dtype == np.uint8)
    assert np.array_equal(mask > 128, ramp * 255 >= 129) or dtype != np.uint8


def test_the_orientation_is_that_of_a_viewer(tmp_path):
    image, exif = Image.fromarray(grey()), Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    image.save(tmp_path / "pet_0.png", exif=exif)
    assert np.array_equal(read_foreground(tmp_path / "pet_0.png"), np.rot90(MASK, -1))


def holding(*values, dtype=np.uint8) -> np.ndarray:
    """These values, 0 among them where it is, each in a part of the picture."""
    return np.resize(np.array(values, dtype), (H, W))


LEFT_OUT = "grey: {} is foreground, {} is left out"
READINGS = {  # of masks that hold these values, or of pictures
    "nothing": ([holding(0)], Reading("grey", "grey: nothing is foreground")),
    "one value": ([holding(7)], Reading("grey", "grey: 7 is foreground", (7,))),
    "petweak's": ([holding(0, 128, 255)],
                  Reading("grey", LEFT_OUT.format(255, 128), (255,), (128,))),
    "trimap": ([holding(1, 2, 3)], Reading("grey", LEFT_OUT.format(1, 3), (1,), (3,))),
    "90 is a label": ([holding(0, 90, 255)],
                      Reading("grey", LEFT_OUT.format(90, 255), (90,), (255,))),
    "colours": ([rgb((64, 0, 0), ring=(224, 224, 192))], Reading(
        "colour", "colour: #400000 is foreground, #e0e0c0 is left out", (0x400000,), (0xE0E0C0,))),
    "7 levels": ([holding(0, 100 + k) for k in range(7)], Reading(
        "grey", "grey: 100, 101, 102, 103, 104, 105, 106 is foreground", tuple(range(100, 107)))),
    "to 200": ([holding(*range(201))],
               Reading("grey", "grey: probabilities from 0 to 255", scale=255)),
    "9 values": ([holding(0, 30, 60, 90, 120, 150, 180, 220, 250)],
                 Reading("grey", "grey: probabilities from 0 to 255", scale=255)),
    "near the ends": ([holding(0, 15, 240, 255)],
                      Reading("grey", "grey: probabilities from 0 to 255", scale=255)),
    "16 bit": ([holding(*range(0, 52000, 500), dtype=np.uint16)],
               Reading("grey", "grey: probabilities from 0 to 65535", scale=65535)),
    "floats": ([holding(0, 0.25, 0.5, dtype=np.float32)],
               Reading("grey", "grey: probabilities from 0 to 1", scale=1)),
    "alpha": ([np.dstack([grey()] * 3 + [holding(*range(256))])],
              Reading("alpha", "alpha: probabilities from 0 to 255", scale=255)),
}


@pytest.mark.parametrize("kind", READINGS)
def test_a_reading_says_what_each_value_means(kind, tmp_path):
    pictures, reading = READINGS[kind]
    suffix = "tif" if pictures[0].dtype == np.float32 else "png"
    assert recognise(write(tmp_path, *pictures, suffix=suffix)) == reading


@pytest.mark.parametrize("picture", [
    holding(0, 91, 255), holding(*range(200)), holding(*range(0, 200, 10), 255),
    holding(0, 30, 60, 90, 120, 150, 180, 220), holding(0, 16, 240, 255),
    holding(0, 15, 239, 255), holding(*range(0, 51000, 500), dtype=np.uint16),
    holding(0, 0.5, 1.5, dtype=np.float32), holding(0, 1, np.inf, dtype=np.float32),
], ids=["no label", "to 199", "255 apart", "8 values", "16 from 0", "16 from 255", "16 bit",
        "floats above 1", "no number"])
def test_values_beside_these_bounds_are_refused(picture, tmp_path):
    with pytest.raises(ValueError, match="values found: 0"):
        recognise(write(tmp_path, picture, suffix="tif" if picture.dtype == np.float32 else "png"))


def test_more_than_seven_large_values_are_no_labels(tmp_path):
    with pytest.raises(ValueError, match="found: 0, 100, 101, 102, 103, 104, 105, 106, 107"):
        recognise(write(tmp_path, *[holding(0, 100 + k) for k in range(8)]))


def coloured(bright: np.ndarray) -> np.ndarray:
    """(32, 32) brightness as a picture of many colours: green differs everywhere, and is darker."""
    green = np.minimum(np.arange(1024).reshape(32, 32) % 97, bright)
    return np.dstack([bright, green, np.zeros_like(bright)]).astype(np.uint8)


def levels(*parts: tuple[int, int]) -> np.ndarray:
    """(32, 32): so many pixels of each level."""
    return np.concatenate([np.full(n, level) for n, level in parts]).reshape(32, 32)


@pytest.mark.parametrize("bright, reading", [
    (levels((512, 100), (512, 163)), Reading(
        "bright", "one level, about 132: above 32 is foreground", above=32)),
    (levels((512, 100), (512, 164)), Reading(
        "bright", "two levels, about 100 and 164: above 132 is foreground", above=132)),
    (levels((768, 0), (256, 201)), Reading(
        "bright", "two levels, about 0 and 201: above 100 is foreground", above=100.5)),
    # The upper 404 of 1,024 have the mean 167.5. 120 are far from this and from 0: 11.7 %, of a
    # bound of 0.3 x 404 / 1,024 = 11.8 %.
    (levels((620, 0), (120, 100), (284, 196)), Reading(
        "bright", "two levels, about 0 and 167: above 84 is foreground",
        above=(12000 + 284 * 196) / 404 / 2)),
])
def test_many_colours_are_one_level_of_brightness_or_two(bright, reading, tmp_path):
    (file,) = write(tmp_path, coloured(bright))
    found = recognise([file])
    assert (found.channel, found.text) == (reading.channel, reading.text)
    assert found.above == pytest.approx(reading.above)
    assert np.array_equal(read_foreground(file, found) == 255, bright > reading.above)


def test_too_many_pixels_between_two_levels_are_no_mask(tmp_path):
    """125 of 1,024 pixels, 12.2 %, of a bound of 0.3 x 409 / 1,024 = 12.0 %."""
    (file,) = write(tmp_path, coloured(levels((615, 0), (125, 100), (284, 196))))
    with pytest.raises(ValueError, match=r"about 0 and 167, and 12% of the pixels between\)"):
        recognise([file])


@pytest.mark.parametrize("foreground, picture, reading", [
    ("alpha", cut_out(EMPTY), dict(channel="alpha", scale=1)),
    ("alpha", cut_out(grey(pet=40)), dict(channel="alpha", scale=40)),
    ("soft", holding(0, 1), dict(channel="grey", scale=1)),
    ("soft", holding(0, 2), dict(channel="grey", scale=255)),
    ("soft", holding(0, 255, dtype=np.uint16), dict(channel="grey", scale=255)),
    ("soft", holding(0, 256, dtype=np.uint16), dict(channel="grey", scale=65535)),
    ("above:0.5", holding(0, 1), dict(channel="bright", above=0.5)),
    ("below:7", holding(0, 9), dict(channel="bright", below=7)),
    ("nonzero", holding(0, 9), dict(channel="grey", foreground=(9,))),
    ("nonzero", holding(9), dict(channel="grey", foreground=(9,))),
    ("#0000ff", rgb((0, 0, 255)), dict(channel="colour", foreground=(255,))),
    # Which labels are pets is unclear, and VOC's 255 still none of them.
    ("8", holding(0, 8, 15, 255), dict(channel="grey", foreground=(8,), ignore=(255,))),
    ("8", holding(0, 8, 15, 254), dict(channel="grey", foreground=(8,))),
])
def test_a_setting_is_a_reading(foreground, picture, reading, tmp_path):
    expected = Reading(**dict(text=f"x={foreground}", told=True) | reading)
    assert recognise(write(tmp_path, picture), foreground, "x") == expected


@pytest.mark.parametrize("one, other, same", [
    ((1000, 750), (1018, 750), True), ((1000, 750), (1022, 750), False),
    ((500, 375), (1000, 750), True), ((10, 10), (11, 10), True), ((10, 10), (12, 10), False),
    ((30, 3), (100, 12), True), ((3, 30), (12, 100), True), ((30, 3), (100, 16), False)])
def test_shapes_are_the_same_but_for_rounding(one, other, same):
    assert same_shape(one, other) is same


def test_lists_are_cut_where_they_are_long():
    assert some([str(k) for k in range(10)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 (10)"
    assert some([str(k) for k in range(11)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 ... (11)"
    assert listed({2, 0.5, 1}, "grey") == "0.5, 1, 2"
    assert listed(range(12), "grey") == ", ".join(map(str, range(12)))
    assert listed(range(13), "grey") == "0, 1, 2, 3, 4, 5, 6, 7, ..., 10, 11, 12"
    assert listed({255}, "colour") == "#0000ff"


@pytest.mark.parametrize("how, values, expected", [
    (dict(foreground=(1,), ignore=(3,)), np.uint8([0, 1, 2, 3]), [0, 255, 0, 128]),
    (dict(above=50), np.uint8([0, 50, 51]), [0, 0, 255]),
    (dict(below=50), np.uint8([0, 49, 50]), [255, 255, 0]),
    (dict(scale=255), np.uint8([0, 127, 128, 129, 255]), [0, 127, 128, 129, 255]),
    (dict(scale=255, channel="alpha"), np.uint8([127, 128, 129]), [127, 129, 129]),
    (dict(scale=200, channel="alpha"), np.uint8([99, 100, 101, 200]), [126, 127, 129, 255]),
    (dict(scale=65535), np.uint16([32767, 32768, 33023, 33025, 65535]), [127, 129, 129, 129, 255]),
    (dict(scale=65535), np.int32([32639, 32767, 32768]), [127, 127, 129]),
    (dict(scale=1), np.float32([-1, 0.2, 0.5, 0.501, 0.8, 2]), [0, 51, 127, 129, 204, 255]),
])
def test_a_reading_decides_value_by_value(how, values, expected):
    """A half, which is no "ignore" where a mask has more steps than 8 bit, lies on its own side."""
    decided = Reading(**dict(channel="grey", text="") | how).decide(values)
    assert decided.dtype == np.uint8 and decided.tolist() == expected


def test_a_small_copy_has_the_nearest_pixels_of_an_even_grid_from_corner_to_corner():
    rows = [0, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18, 20, 21, 23, 24, 26, 27, 29, 30, 32, 33, 35,
            36, 38, 39, 41, 42, 44, 45, 47]  # of 48, by 47 / 31 = 1.516
    columns = np.arange(0, 63, 2)
    mask = np.arange(48 * 63).reshape(48, 63)
    assert np.array_equal(small_copy(mask), np.array(rows)[:, None] * 63 + columns)


def photo_of(path: Path, size: tuple[int, int], orientation: int = 1) -> Path:
    """A photo of this stored size, to be turned as EXIF says."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size).save(path, exif=exif)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_drawn_on_stored_pixels_is_turned_with_its_photo(orientation, tmp_path):
    photo = photo_of(tmp_path / "pet.jpg", (2 * W, 2 * H), orientation)
    drawn = LEFT + RIGHT // 2  # it has no symmetry
    drawn[:5] = 0
    image = Image.fromarray(drawn)
    image.getexif()[0x0112] = orientation
    seen = np.array(ImageOps.exif_transpose(image))
    (as_stored,), (as_seen,) = write(tmp_path / "a", drawn), write(tmp_path / "b", seen)

    def read(file, **stored):
        return read_foreground(file, "soft", photo, **stored)

    assert np.array_equal(read(as_seen), seen)
    if orientation > 4:  # its size tells how it lies, whatever is said of those where it does not
        assert np.array_equal(read(as_stored), seen) and read(as_stored).flags.c_contiguous
        assert np.array_equal(read(as_seen, stored=True), seen)
    elif orientation > 1:
        assert np.array_equal(read(as_stored), drawn)
        assert np.array_equal(read(as_stored, stored=True), seen)
    else:
        assert np.array_equal(read(as_stored, stored=True), drawn)


@pytest.mark.parametrize("stored, mask, turned", [
    ((40, 30), (40, 30), True), ((40, 30), (30, 40), False), ((40, 30), (20, 15), True),
    ((40, 30), (41, 30), True), ((40, 30), (44, 30), False), ((40, 30), (50, 50), False),
    # 100 x 101 fits 101 x 100 but for rounding; where it is the stored size itself, it is that.
    ((101, 100), (101, 100), True), ((101, 100), (100, 101), False), ((101, 100), (50, 50), False),
    ((100, 100), (100, 100), False)])
def test_a_size_that_fits_the_stored_pixels_alone_turns_a_mask(stored, mask, turned, tmp_path):
    photo = photo_of(tmp_path / "pet.jpg", stored, 6)
    w, h = mask
    drawn = np.zeros((h, w), np.uint8)
    drawn[: h // 3] = 255
    (file,) = write(tmp_path, drawn)
    expected = np.rot90(drawn, -1) if turned else drawn
    assert np.array_equal(read_foreground(file, photo=photo), expected)


# --- petweak's own, and masks beside photos


def test_a_mask_of_predict_that_was_edited_is_told_from_one_that_was_not(tmp_path):
    path, about = tmp_path / "pet.png", PngInfo()
    write_mask(path, MASK, PREDICT)
    assert not is_edited(path)
    with Image.open(path) as image:
        for name, text in image.text.items():  # a tool that keeps the text
            about.add_text(name, text)
    Image.fromarray(MASK).save(path, pnginfo=about, compress_level=9)
    assert not is_edited(path)  # the same pixels in other bytes
    edited = MASK.copy()
    edited[0, 0] ^= 255
    for changed in (edited, MASK[:-1], np.stack([MASK] * 3, -1)):
        Image.fromarray(changed).save(path, pnginfo=about)
        assert is_edited(path) and writer_of(path) == PREDICT
    plain = PngInfo()
    plain.add_text("Software", PREDICT)
    Image.fromarray(MASK).save(path, pnginfo=plain)  # as older versions wrote them
    assert not is_edited(path)


def test_the_file_of_a_mask_says_who_wrote_it(tmp_path):
    path = tmp_path / "pet.png"
    for writer in (RUN, PREDICT):
        write_mask(path, RINGED, writer)
        assert writer_of(path) == writer and np.array_equal(read_mask(path), RINGED)
        assert Image.open(path).text["Software"] == writer
    write_mask(path, MASK)
    assert writer_of(path) == RUN == "petweak"
    other = PngInfo()
    other.add_text("Software", "another tool")
    Image.fromarray(MASK).save(path, pnginfo=other)
    assert writer_of(path) == ""
    Image.fromarray(MASK).save(path)
    assert writer_of(path) == ""
    Image.fromarray(MASK).save(path, "TIFF", software=RUN)  # petweak writes PNGs
    assert writer_of(path) == ""
    path.write_text(RUN)
    assert writer_of(path) == writer_of(tmp_path / "absent.png") == ""


@pytest.mark.parametrize("picture", [
    rgb(), grey(dtype=np.uint16), PET], ids=["colour", "16 bit", "1 bit"])
def test_another_picture_in_the_place_of_a_mask_is_refused(picture, tmp_path):
    (path,) = write(tmp_path, picture)
    with pytest.raises(OSError, match="pet_0.png is no mask that petweak wrote.*: delete it, "
                                      "and the same command makes it again$"):
        read_mask(path)


GRAIN = np.random.default_rng(3).integers(0, 255, (H, W), dtype=np.uint8)
BESIDE = {  # a picture beside a photo of the same name, as PNG: is it a mask?
    "labels": (grey(pet=1), True),
    "half as large": (grey()[::2, ::2], True),
    "of the stored pixels": (np.rot90(grey()), True),
    "soft edges": (Image.fromarray(grey()).filter(ImageFilter.GaussianBlur(0.5)), True),
    "16 values": (grey() // 255 * (GRAIN % 15 + 1), True),
    "a cut-out photo": (cut_out(grey()), True),
    "an opaque photo": (cut_out(EMPTY + np.uint8(255)), False),
    "a grey photo": (GRAIN, False),
    "a photo on a black ground": (grey() // 255 * GRAIN, False),
    "another shape": (grey()[:, :20], False),
}


@pytest.mark.parametrize("kind", BESIDE)
def test_a_mask_beside_its_photo_is_told_from_a_second_photo(kind, tmp_path):
    picture, is_mask = BESIDE[kind]
    photo = photo_of(tmp_path / "pet.jpg", (H, W), 6)  # of W x H as it is seen
    (file,) = write(tmp_path, picture)
    assert is_mask_beside(file, photo) is is_mask


def test_a_jpeg_or_a_broken_file_is_no_mask_beside_a_photo(tmp_path):
    photo = photo_of(tmp_path / "photo.jpg", (W, H))
    (file,) = write(tmp_path, grey(), suffix="jpg")
    assert not is_mask_beside(file, photo)
    file.write_bytes(b"")
    assert not is_mask_beside(file, photo)
    (good,) = write(tmp_path, grey())
    assert is_mask_beside(good, photo) and not is_mask_beside(good, file)


# --- refused, with the values

UNCLEAR = {
    "1 and 2": ([grey(1, 2)], "values found: 1, 2"),
    "two kinds mixed": ([grey(pet=1), grey(pet=255)], "mixed; values found: 0, 1, 255"),
    "many classes": ([grey(0, 8, 15), grey(0, 3, 15)], "found: 0, 3, 8, 15"),
    "trimaps counted from 0": ([grey(1, 0, 2)] * 2, "2 of 2 masks.*found: 0, 1, 2"),
    "floor and pet": ([BOTH, BOTH, grey(pet=2)], "2 of 3 masks.*found: 0, 1, 2"),
    "floor and pet in a third": ([BOTH] * 2 + [grey(pet=2)] * 4, "2 of 6 masks.*found: 0, 1, 2"),
    "floor and pet in a palette": ([palette(BOTH, BLACK, RED, GREEN)] * 2, "2 of 2.*: 0, 1, 2"),
    "floor and pet in colours": ([rgb(RED, ring=GREEN)] * 2, "#000000, #008000, #800000"),
    "a few grey levels": ([grey(0, 170, 85), grey(0, 255, 85)], "found: 0, 85, 170, 255"),
    "percent": ([np.linspace(0, 100, H * W).reshape(H, W).astype(np.uint8)], "found: 0, 1, 2"),
    "three colours": ([rgb(RED, ring=(0, 0, 255)), rgb(GREEN)], "#000000, #0000ff, #008000"),
    "no black": ([rgb(RED, WHITE)], "found: #800000, #ffffff"),
    "photos": ([cut_out(EMPTY)[..., :3]], "look like photos"),
    "transparent and not": ([cut_out(grey()), rgb()], "1 of 2 masks are partly transparent"),
}


@pytest.mark.parametrize("kind", UNCLEAR)
def test_what_is_unclear_is_refused_with_the_values_and_the_setting(kind, tmp_path):
    pictures, says = UNCLEAR[kind]
    with pytest.raises(ValueError, match=f"{tmp_path}: .*{says}.*external_foreground.*nonzero"):
        recognise(write(tmp_path, *pictures))


def test_the_setting_says_which_of_two_labels_is_the_pet(tmp_path):
    files = write(tmp_path, BOTH, BOTH, grey(pet=2))
    for told, expected in (("2", RIGHT), ("1,2", MASK)):
        assert np.array_equal(read_foreground(files[0], recognise(files, told)), expected)


def test_photos_and_numbers_below_0_are_refused(tmp_path):
    photo = np.random.default_rng(0).integers(0, 255, (H, W, 3)).astype(np.uint8)
    with pytest.raises(ValueError, match="look like photos"):
        recognise(write(tmp_path / "jpg", photo, suffix="jpg"))
    for value in (-1.0, np.nan):
        with pytest.raises(ValueError, match="not all values are numbers from 0 up"):
            recognise(write(tmp_path / "f", grey(pet=value, dtype=np.float32), suffix="tif"))


def test_a_file_that_is_no_picture_is_named(tmp_path):
    (file,) = write(tmp_path, grey())
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(OSError, match="pet_0.png: "):
        recognise([file])


def test_all_that_cannot_be_read_is_said_at_once(tmp_path):
    files = write(tmp_path, *[grey()] * 3)
    files[0].write_text("<html>")
    files[2].write_bytes(b"")
    with pytest.raises(OSError, match="2 masks cannot be read: .*pet_0.png: .*pet_2.png: "):
        recognise(files)


def test_a_mask_that_lacks_the_channel_of_its_set_is_named(tmp_path):
    (with_alpha,) = write(tmp_path / "a", cut_out(grey()))
    (without,) = write(tmp_path / "b", rgb())
    how = recognise([with_alpha])
    with pytest.raises(ValueError, match="b/pet_0.png has no alpha channel, as the other masks"):
        read_foreground(without, how)


def test_jpegs_beside_masks_of_16_bit_are_refused(tmp_path):
    files = write(tmp_path, grey(), suffix="jpg") + write(tmp_path, grey(pet=300, dtype=np.uint16))
    with pytest.raises(ValueError, match="some masks are JPEGs, others of more than 8 bit"):
        recognise(files)


def test_the_first_ten_of_many_that_cannot_be_read_are_named(tmp_path):
    files = write(tmp_path, *[grey()] * 12)
    for n, bad in ((10, files[:10]), (11, files[10:11]), (12, files[11:])):
        for file in bad:
            file.write_bytes(b"")
        with pytest.raises(OSError) as caught:
            recognise(files)
        named = "; ".join(f"{file}: is empty (0 bytes)" for file in files[:10])
        assert str(caught.value) == f"{n} masks cannot be read: {named}" + " ..." * (n > 10)


# --- told by the user

TOLD = {
    "2": (grey(1, 2), MASK),
    "1": (grey(2, 1, 3), RINGED),
    "1,3": (grey(2, 1, 3), np.where(RING, 255, MASK)),
    "8": (np.where(RING, 15, grey(pet=8)).astype(np.uint8), MASK),
    "8,12": (grey(0, 12, 255), RINGED),
    "0": (grey(255, 0), MASK),
    "nonzero": (np.where(RING, 85, grey()).astype(np.uint8), np.where(RING, 255, MASK)),
    "above:50": (np.where(RING, 49, grey(pet=60)).astype(np.uint8), MASK),
    "below:50": (grey(200, 20), MASK),
    "#FF0000": (rgb(BRIGHT, WHITE), MASK),
    "#800000,#0000ff": (rgb(RED, ring=(0, 0, 255)), np.where(RING, 255, MASK)),
    "alpha": (cut_out(grey(pet=7)), MASK),
}


@pytest.mark.parametrize("foreground", TOLD)
def test_the_setting_says_what_is_foreground(foreground, tmp_path):
    picture, expected = TOLD[foreground]
    (file,) = write(tmp_path, picture)
    assert np.array_equal(read_foreground(file, foreground), expected)


def test_soft_says_that_few_levels_are_probabilities(tmp_path):
    (file,) = write(tmp_path, grey(0, 170, 85))
    assert set(np.unique(read_foreground(file, "soft"))) == {0, 85, 170}


@pytest.mark.parametrize("foreground, says", [
    ("3", "values found are 0, 255"), ("alpha", "alpha is what pet_0.png"),
    ("#ff0000", "values found are #000000, #ffffff"), ("red", "'red' is no such text")])
def test_a_setting_that_does_not_fit_is_refused(foreground, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        recognise(write(tmp_path, grey()), foreground)


def test_an_error_says_the_option_that_was_given(tmp_path):
    with pytest.raises(ValueError, match="--foreground=7, but the values found are 0, 255"):
        recognise(write(tmp_path, grey()), "7", "--foreground")


def test_labels_are_of_palettes_though_these_differ(tmp_path):
    """Two palettes give index 1 two colours, so that of itself a set would go by its colours."""
    files = write(tmp_path, palette(BOTH, BLACK, RED, GREEN), palette(BOTH, BLACK, GREEN, RED))
    how = recognise(files, "2")
    for file in files:
        assert np.array_equal(read_foreground(file, how), RIGHT)
    files += write(tmp_path / "rgb", rgb())
    with pytest.raises(ValueError, match=r"=2, but pet_0.png \(1\) have colours"):
        recognise(files, "2")


# --- the files of a folder


def test_files_are_found_by_one_listing_whatever_their_case_and_suffix(tmp_path):
    ids = [f"Pet_{i}" for i in range(8)] + ["a_mask", "a"]
    names = ["Pet_0.png", "Pet_1.PNG", "pet_2.Tif", "Pet_3.jpg.png", "Pet_4_mask.png",
             "Pet_5-Mask.JPG", "Pet_6.jpeg", "PET_7.bmp", "a_mask.png", "a.png"]
    others = ["Pet_4.jpg", "._Pet_0.png", "Pet_0.jpg", "notes.txt", "Pet_1.json"]
    for name in (*names, *others):
        (tmp_path / name).touch()
    found = find_masks(tmp_path, ids)
    assert [found[i].name for i in ids] == names


@pytest.mark.parametrize("names, file", [
    (["a.png", "a_mask.jpg"], "a_mask.jpg"), (["a.jpg", "a.tif"], "a.tif"),
    (["a.JPG.png", "a.png"], "a.png"), (["a.jpg.png", "a.tif"], "a.jpg.png"),
    (["A_mask.png", "a.png"], "A_mask.png")])
def test_of_several_files_one_is_preferred(names, file, tmp_path):
    for name in names:
        (tmp_path / name).touch()
    assert find_masks(tmp_path, ["a"]) == {"a": tmp_path / file}


def test_ids_that_differ_in_case_have_each_its_own_mask(tmp_path):
    for name in ("Pet.png", "pet.png"):
        (tmp_path / name).touch()
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("these two names are one file here")
    found = find_masks(tmp_path, ["pet", "Pet", "PET"])
    assert [found[i].name for i in ("pet", "Pet", "PET")] == ["pet.png", "Pet.png", "pet.png"]


def test_all_that_is_missing_is_said_at_once(tmp_path):
    (tmp_path / "pet_0.png").touch()
    with pytest.raises(FileNotFoundError, match=r"lacks .* pet_1, .*pet_10 \.\.\. \(11\)"):
        find_masks(tmp_path, [f"pet_{i}" for i in range(12)])
