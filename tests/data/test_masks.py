"""Masks of any tool are read for what they are, a set as one, or refused with their values."""

from __future__ import annotations

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
from PIL import Image

from petweak.data.masks import find_masks, read_foreground, recognise

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


def test_all_that_is_missing_is_said_at_once(tmp_path):
    (tmp_path / "pet_0.png").touch()
    with pytest.raises(FileNotFoundError, match=r"lacks .* pet_1, .*pet_10 \.\.\. \(11\)"):
        find_masks(tmp_path, [f"pet_{i}" for i in range(12)])
