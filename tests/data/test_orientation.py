"""Masks of photos that EXIF mirrors, turns upside down, or turns although they are square."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy import HEIGHT, WIDTH, names, square, world

from petweak.data.importing import import_photos
from petweak.data.masks import read_mask
from petweak.data.orientation import are_stored, evidence, is_untold
from petweak.data.oxford_pets import check, load_trimap, read_pets
from petweak.pseudo_masks.external import External
from petweak.pseudo_masks.store import make_masks

# EXIF orientation -> what a writer does to the picture that a person sees, (H, W, ...).
STORE = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
         5: lambda a: a.swapaxes(0, 1), 6: np.rot90,
         7: lambda a: np.rot90(a.swapaxes(0, 1), 2), 8: lambda a: np.rot90(a, -1)}
UNTOLD, CLASHES = "stored turned or mirrored", "as well as what a person sees: look at them"


def shape(number: int, orientation: int) -> np.ndarray:
    """(H, W) bool of a pet; the picture is square where EXIF turns it on its side."""
    pet = square(f"x_{number}").numpy() > 0
    return pet[:, :HEIGHT] if orientation > 4 else pet


def draw(path: Path, number: int, orientation: int, pet: bool = True) -> np.ndarray:
    """Write a photo, stored as `orientation` has it; its mask as a person sees it."""
    mask, exif = shape(number, orientation), Image.Exif()
    rng = np.random.default_rng(number)
    photo = rng.integers(0, 40, (*mask.shape, 3)) + 180 * pet * mask[..., None]
    exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.ascontiguousarray(STORE[orientation](photo.astype(np.uint8)))
    Image.fromarray(pixels).save(path, exif=exif)
    return mask


def save(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(mask)).save(path)


@pytest.mark.parametrize("orientation", STORE)
def test_colours_tell_how_a_mask_lies(orientation, tmp_path):
    mask = draw(tmp_path / "a.png", 2, orientation)
    assert is_untold(tmp_path / "a.png") == (orientation > 1)
    if orientation > 1:
        assert evidence(tmp_path / "a.png", mask) > 0.1
        assert evidence(tmp_path / "a.png", STORE[orientation](mask)) < -0.1
    wide = np.zeros((HEIGHT, WIDTH), bool)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(wide).save(tmp_path / "b.png", exif=exif)
    assert is_untold(tmp_path / "b.png") == (orientation in (2, 3, 4))  # else its size tells


@pytest.mark.parametrize("given, stored, says", [
    ([], False, []), ([0.5, 0.4, 0.0, -0.01], False, []),
    ([-0.5, -0.3, 0.01], True, ["better than"]), ([-0.5, 0.5], False, [CLASHES]),
    ([0.01, -0.01], False, [CLASHES]),
    ([-0.5] * 4 + [0.5], True, ["better than"]), ([0.5] * 4 + [-0.5], False, [])])
def test_a_set_is_judged_by_three_quarters_of_those_that_say_anything(given, stored, says):
    found, texts = are_stored({f"p{i}": e for i, e in enumerate(given)})
    assert found == stored and len(texts) == len(says)
    assert all(f"{len(given)} photos are {UNTOLD} (p0, p1" in t and s in t
               for t, s in zip(texts, says, strict=True))


@pytest.mark.parametrize("orientation", [2, 3, 4, 6])
@pytest.mark.parametrize("drawn", ["seen", "stored", "half, stored", "unclear"])
def test_an_import_turns_what_was_drawn_on_stored_pixels(drawn, orientation, tmp_path):
    truth, turn = {}, STORE[orientation] if "stored" in drawn else STORE[1]
    step = 2 if "half" in drawn else 1
    for k in range(5):  # the last one is as it is stored, and its mask stays
        way = orientation if k < 4 else 1
        file = tmp_path / "tom" / f"{k}.png"
        truth[str(k)] = draw(file, k, way, pet=drawn != "unclear")
        mask = truth[str(k)][::step, ::step]
        save(tmp_path / "masks" / file.name, turn(mask) if k < 4 else mask)
    report = "\n".join(import_photos(tmp_path / "tom", tmp_path / "D", masks=tmp_path / "masks",
                                     species="cat", progress=False))
    pets = check(read_pets(tmp_path / "D"))
    for s in pets.samples:
        trimap = load_trimap(s)
        assert ((trimap == 1) != truth[s.id]).mean() < (0.001 if step == 1 else 0.1)
    assert (UNTOLD in report) == (drawn != "seen") and (CLASHES in report) == (drawn == "unclear")
    assert ("and are turned with these" in report) == ("stored" in drawn)
    assert any(CLASHES in doubt for doubt in pets.doubts) == (drawn == "unclear")


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("drawn", ["seen", "stored"])
def test_external_masks_lie_as_a_person_sees_the_photos(drawn, orientation, tmp_path, caplog):
    context = world(tmp_path, 4, external_masks=str(tmp_path / "given"))
    truth = {}
    for k, i in enumerate(names(4)):
        truth[i] = draw(context.photo_paths[i], k, orientation)
        lies = STORE[orientation if drawn == "stored" else 1]
        save(tmp_path / "given" / f"{i}.png", lies(truth[i]))
    source = External(context)
    source.check_files()
    turned = drawn == "stored" and orientation > 1
    assert ("better than what a person sees" in caplog.text) == turned
    make_masks(source, "external", names(4), tmp_path / "masks", "k")
    for i, mask in truth.items():
        assert (read_mask(tmp_path / "masks" / f"{i}.png") == 255 * mask.astype(np.uint8)).all()


@pytest.mark.parametrize("drawn, doubts", [("seen", 0), ("stored", 1)])
def test_trimaps_of_a_set_that_were_drawn_on_stored_pixels_are_doubted(drawn, doubts, tmp_path):
    root, lines = tmp_path / "oxford-iiit-pet", []
    for k in range(4):
        mask = draw(root / "images" / f"beagle_{k}.png", k, 3)
        trimap = np.where(mask, 1, 2).astype(np.uint8)
        lies = STORE[3 if drawn == "stored" else 1]
        save(root / "annotations" / "trimaps" / f"beagle_{k}.png", lies(trimap))
        lines.append(f"beagle_{k} 1 2 1")
    (root / "annotations" / "trainval.txt").write_text("\n".join(lines[:2]))
    (root / "annotations" / "test.txt").write_text("\n".join(lines[2:]))
    pets = check(read_pets(tmp_path))
    assert len(pets.doubts) == doubts and all(
        "4 photos are stored turned or mirrored (beagle_0, beagle_1" in d and "data import" in d
        for d in pets.doubts)
    import_photos(root, tmp_path / "D", progress=False)
    mended = check(read_pets(tmp_path / "D"))
    for s in mended.samples:  # the way out
        assert ((load_trimap(s) == 1) == shape(int(s.id[-1]), 3)).all()
    assert not mended.doubts
