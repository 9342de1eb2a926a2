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
    is_mask_beside,
    read_foreground,
    read_mask,
    recognise,
    small_copy,
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


def test_the_file_of_a_mask_says_who_wrote_it(tmp_path):
    path = tmp_path / "pet.png"
    for writer in (RUN, PREDICT):
        write_mask(path, RINGED, writer)
        assert writer_of(path) == writer and np.array_equal(read_mask(path), RINGED)
        assert Image.open(path).text == {"Software": writer}
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
