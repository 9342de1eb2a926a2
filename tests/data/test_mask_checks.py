"""Sets of masks that cannot be right are refused, and odd ones doubted, before they are used."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_masks import BLACK, EMPTY, MASK, PET, RED, H, W, cut_out, grey, rgb, scene, write
from PIL import Image, ImageFilter, ImageOps

from petweak.data.mask_checks import doubts, is_lines
from petweak.data.masks import read_foreground, recognise

OUTLINE = MASK - np.pad(MASK[7:19, 10:24], ((7, H - 19), (10, W - 24)))  # 1 pixel wide


def doubted(folder: Path, masks: list, size=(W, H), foreground="auto") -> list[str]:
    files = write(folder / "masks", *masks)
    photos = write(folder / "photos", *[Image.new("RGB", size)] * len(masks), suffix="jpg")
    names = [f.stem for f in files]
    reading = recognise(files, foreground)
    return doubts(dict(zip(names, files, strict=True)), dict(zip(names, photos, strict=True)),
                  reading)


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


@pytest.mark.parametrize("odd, says", [
    (EMPTY, "no foreground"), (EMPTY + np.uint8(255), "foreground everywhere"),
    (np.pad([[np.uint8(255)]], ((9, H - 10), (9, W - 10))), "next to no foreground"),
    (OUTLINE, "are lines")])
@pytest.mark.parametrize("n, of", [(10, 24), (2, 24), (1, 24), (1, 2), (2, 40), (3, 40)])
def test_more_odd_masks_than_a_good_set_has_are_doubted(odd, says, n, of, tmp_path):
    """Good sets have up to 2 in 100 empty ones, so one alone and 5 % are no doubt."""
    found = doubted(tmp_path, [grey()] * (of - n) + [odd] * n)
    assert len(found) == (n > 1 and n / of > 0.05)
    assert all(f"{n} of {of} masks" in d and says in d and f"pet_{of - 1}" in d for d in found)


@pytest.mark.parametrize("picture, told", [
    (grey(255, 0), "255"), (grey(1, 2, 3), "1"), (cut_out(grey(255, 0)), "alpha"),
    (rgb(BLACK, RED), "#800000")])
def test_exchanged_masks_are_refused_unless_the_user_says_so(picture, told, tmp_path):
    """The trimap with 1 and 2 exchanged among them."""
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


# --- as the pixels of their photos tell

WAYS = {"turned by 180 degrees": lambda a: np.rot90(a, 2), "mirrored left to right": np.fliplr,
        "mirrored top to bottom": np.flipud, "90 degrees clockwise": np.rot90,
        "90 degrees counter-clockwise": lambda a: np.rot90(a, -1)}


def set_of(folder: Path, n: int, change, size=(96, 96), foreground="auto") -> list[str]:
    pairs = [scene(k, size) for k in range(n)]
    files = write(folder / "masks", *(np.ascontiguousarray(change(mask)) for _, mask in pairs))
    photos = write(folder / "photos", *(photo for photo, _ in pairs), suffix="jpg")
    names = [f.stem for f in files]
    return doubts(dict(zip(names, files, strict=True)), dict(zip(names, photos, strict=True)),
                  recognise(files, foreground))


@pytest.mark.parametrize("n", [4, 24])
@pytest.mark.parametrize("way", WAYS)
def test_a_set_that_is_turned_or_mirrored_is_doubted(way, n, tmp_path):
    (doubt,) = set_of(tmp_path, n, WAYS[way])
    assert f"of {n} fit the edges in their photos better when they are" in doubt and way in doubt
    assert int(doubt.split(": ")[2].split(" of ")[0]) > 0.7 * n


def test_it_is_seen_in_photos_of_any_shape_and_not_in_right_sets(tmp_path):
    for size in ((120, 80), (80, 120)):
        name = f"{size[0]}"
        (doubt,) = set_of(tmp_path / name / "180", 8, WAYS["turned by 180 degrees"], size)
        assert "turned by 180 degrees" in doubt
        assert set_of(tmp_path / name / "right", 8, lambda a: a, size) == []
    assert set_of(tmp_path / "24", 24, lambda a: a) == []
    some = iter(range(24))  # a third of the set
    assert set_of(tmp_path / "some", 24, lambda a: a if next(some) % 3 else np.fliplr(a)) == []


def outline(mask: np.ndarray, width: int) -> np.ndarray:
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros_like(mask), contours, -1, 255, width)


@pytest.mark.parametrize("width", [1, 3])
def test_outlines_that_are_not_filled_are_refused_unless_the_user_says_so(width, tmp_path):
    with pytest.raises(ValueError, match="6 of 6 masks are lines.*Fill them"):
        set_of(tmp_path, 6, lambda a: outline(a, width))
    told = set_of(tmp_path, 6, lambda a: outline(a, width), foreground="255")
    assert any("6 of 6 masks are lines" in doubt for doubt in told)


def test_a_border_that_would_be_read_as_the_pet_is_refused(tmp_path):
    """Pet 128 and its border 255: petweak's own masks, and those of matting, have them the other
    way round."""
    own, odd = (grey(ring=128), grey(pet=128, ring=255))
    assert doubted(tmp_path / "own", [own] * 6) == []
    with pytest.raises(ValueError, match="6 of 6 masks are lines.*255 is foreground, 128 is left "
                                         "out; values found: 0, 128, 255"):
        doubted(tmp_path / "odd", [odd] * 6)


def test_thin_legs_are_no_lines_and_a_few_outlines_are_a_doubt(tmp_path):
    some = iter(range(8))
    (doubt,) = set_of(tmp_path, 8, lambda a: outline(a, 2) if next(some) < 3 else a)
    assert "3 of 8 masks are lines" in doubt
    legs = np.zeros((96, 96), np.uint8)
    legs[30:60, 20:70] = 255
    legs[60:90, 20:70:12] = legs[10:30, 66:69] = 255
    assert not is_lines(legs > 0) and is_lines(outline(legs, 2) > 0)
