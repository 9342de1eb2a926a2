"""Masks of any tool are read for what they are, a set as one, or refused with their values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from petweak.data.masks import doubts, find_masks, read_foreground, recognise

H, W = 24, 32
PET = np.zeros((H, W), bool)
PET[6:20, 9:25] = True
RING = np.zeros((H, W), bool)  # around the pet
RING[4:22, 7:27] = True
RING &= ~PET
RED, GREEN, VOID = (128, 0, 0), (0, 128, 0), (224, 224, 192)
EMPTY = np.zeros((H, W), np.uint8)


def grey(background=0, pet=255, ring=None, dtype=np.uint8) -> np.ndarray:
    ring = background if ring is None else ring
    return np.select([PET, RING], [pet, ring], background).astype(dtype)


MASK, RINGED = grey(), grey(ring=128)  # what a set has to be read as
LEFT, RIGHT = (MASK * (side == (np.arange(W) < 16)) for side in (True, False))


def rgb(pet=RED, background=(0, 0, 0), ring=None) -> np.ndarray:
    channels = zip(background, pet, ring or background, strict=True)
    return np.dstack([grey(*values) for values in channels])


def palette(indices: np.ndarray, *colours: tuple) -> Image.Image:
    image = Image.fromarray(indices)
    image.putpalette([v for c in colours for v in c])
    return image


def cut_out(mask: np.ndarray, photo: bool = True) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 255 if photo else 1, (H, W, 3))
    return np.dstack([pixels, mask]).astype(np.uint8)


def noisy(low=0, high=255, spread=9) -> np.ndarray:
    noise = np.random.default_rng(1).integers(-spread, spread + 1, (H, W))
    return (grey(low, high).astype(int) + noise).clip(0, 255).astype(np.uint8)


def write(folder: Path, *pictures, suffix: str = "png") -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"pet_{i}.{suffix}" for i in range(len(pictures))]
    for file, picture in zip(files, pictures, strict=True):
        picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        picture.save(file, **{"quality": 90, "subsampling": 0} if suffix == "jpg" else {})
    return files


BLACK, WHITE, BRIGHT = (0, 0, 0), (255, 255, 255), (255, 0, 0)
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
    "cat and dog in one": [(LEFT // 255 + RIGHT // 255 * 2, MASK)],
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


# --- doubts


def doubted(folder: Path, masks: list, size=(W, H), foreground="auto") -> list[str]:
    files = write(folder / "masks", *masks)
    photos = write(folder / "photos", *[Image.new("RGB", size)] * len(masks), suffix="jpg")
    names = [f.stem for f in files]
    reading = recognise(files, foreground)
    return doubts(dict(zip(names, files, strict=True)), dict(zip(names, photos, strict=True)),
                  reading)


def test_an_error_says_the_option_that_was_given(tmp_path):
    with pytest.raises(ValueError, match="--foreground=7, but the values found are 0, 255"):
        recognise(write(tmp_path, grey()), "7", "--foreground")


def test_masks_of_a_few_pixels_are_doubted(tmp_path):
    speck = EMPTY.copy()
    speck[H // 2, W // 2] = 255
    (doubt,) = doubted(tmp_path, [speck, speck, grey()])
    assert "2 of 3 masks have next to no foreground, under 0.5% of the photo" in doubt
    assert doubted(tmp_path / "one", [speck, grey(), grey()]) == []


def test_what_could_be_grey_photos_is_doubted(tmp_path):
    grain = np.random.default_rng(0).normal(128, 50, (H, W)).clip(0, 255).astype(np.uint8)
    (doubt,) = doubted(tmp_path, [grain] * 2)
    assert "of the probabilities lie between 0.2 and 0.8" in doubt
    soft = np.asarray(Image.fromarray(grey()).filter(ImageFilter.GaussianBlur(1)))
    assert doubted(tmp_path / "soft", [soft] * 2) == []


@pytest.mark.parametrize("level, says", [(255, "everywhere"), (3, "no foreground")])
def test_jpegs_of_one_level_are_all_full_or_all_empty(level, says, tmp_path):
    files = write(tmp_path, *[EMPTY + np.uint8(level)] * 2, suffix="jpg")
    masks = {f.stem: f for f in files}
    with pytest.raises(ValueError, match=f"all masks have .*{says}.*one level"):
        doubts(masks, masks, recognise(files))


def test_a_pet_cut_out_on_black_is_no_mask_of_two_levels(tmp_path):
    grain = np.random.default_rng(0).integers(0, 255, (H, W, 1)) * (1, 0.8, 0.6)
    with pytest.raises(ValueError, match="look like photos"):
        recognise(write(tmp_path, (grain * PET[..., None]).astype(np.uint8)))


def test_sound_sets_raise_no_doubt(tmp_path):
    half = Image.fromarray(grey()).resize((W // 2, H // 2), Image.Resampling.NEAREST)
    odd = Image.fromarray(grey()).resize((21, 16), Image.Resampling.NEAREST)
    close_up = np.full((H, W), 255, np.uint8)
    close_up[:9, :9] = 0
    assert doubted(tmp_path, [grey(), EMPTY, half, odd, close_up]) == []
    assert doubted(tmp_path / "trimaps", [grey(2, 1, 3)] * 3) == []


def test_all_empty_and_all_full_sets_are_refused(tmp_path):
    full = EMPTY + np.uint8(255)
    with pytest.raises(ValueError, match="all masks have no foreground .*values found: 0"):
        doubted(tmp_path, [EMPTY, EMPTY])
    with pytest.raises(ValueError, match="all masks have foreground everywhere .*found: 255"):
        doubted(tmp_path, [full, full])
    (doubt,) = doubted(tmp_path, [EMPTY, EMPTY, grey()])
    assert "2 of 3 masks have no foreground" in doubt and "pet_0, pet_1 (2)" in doubt
    (doubt,) = doubted(tmp_path, [full, full, grey()])
    assert "2 of 3 masks have foreground everywhere" in doubt


@pytest.mark.parametrize("picture, told", [
    (grey(255, 0), "255"), (grey(1, 2, 3), "1"), (cut_out(grey(255, 0)), "alpha"),
    (grey(1, 0, 2), "1,2"), (rgb(BLACK, RED), "#800000")])
def test_exchanged_masks_are_refused_unless_the_user_says_so(picture, told, tmp_path):
    """The trimap with 1 and 2 exchanged, and one counted from 0, among them."""
    with pytest.raises(ValueError, match="exchanged in 2 of 2 masks .*values found"):
        doubted(tmp_path, [picture] * 2)
    (doubt,) = doubted(tmp_path, [picture] * 2, foreground=told)
    assert "seem to be exchanged" in doubt


def test_some_exchanged_masks_are_a_doubt(tmp_path):
    (doubt,) = doubted(tmp_path, [grey(), grey(), grey(255, 0)])
    assert "exchanged in 1 of 3 masks" in doubt and "pet_2 (1)" in doubt


def test_turned_masks_and_other_shapes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="1 of 2 masks are turned.*24 x 32 px, its photo 32 x 24"):
        doubted(tmp_path, [grey(), np.rot90(grey())])
    with pytest.raises(ValueError, match="1 of 2 masks have other shapes.*pet_0: 32 x 20 px"):
        doubted(tmp_path, [grey()[:20], grey()])
    squares = [np.pad(grey(), ((4, 4), (0, 0)))] * 2
    (doubt,) = doubted(tmp_path, squares)
    assert "2 of 2 masks have other shapes" in doubt and "stretched" in doubt


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_are_of_the_photo_as_seen_or_of_its_stored_pixels(orientation, tmp_path):
    """Half as large as the photo. Which of the two it is, can be told where the sides change."""
    photo, exif, turns = tmp_path / "photo.jpg", Image.Exif(), orientation > 4
    exif[0x0112] = orientation
    Image.new("RGB", (2 * H, 2 * W) if turns else (2 * W, 2 * H)).save(photo, exif=exif)
    corner = MASK * (np.add.outer(np.arange(H), np.arange(W)) < 28)  # no symmetry
    seen = Image.fromarray(corner)
    (file,) = write(tmp_path / "seen", seen)
    (other,) = write(tmp_path / "stored", stored(seen, orientation))
    assert np.array_equal(read_foreground(file, photo=photo), corner)
    if turns:
        assert np.array_equal(read_foreground(other, photo=photo), corner)
    for f in (file, other):
        assert doubts({"pet": f}, {"pet": photo}, recognise([f])) == []


def stored(image: Image.Image, orientation: int) -> Image.Image:
    """The stored picture that a viewer shows as `image`."""
    image = image.copy()
    image.getexif()[0x0112] = {6: 8, 8: 6}.get(orientation, orientation)
    return ImageOps.exif_transpose(image)
