"""Oxford-IIIT Pet, re-packed: its lists, breeds and trimaps."""

from __future__ import annotations

import re
import shutil

import cv2
import numpy as np
import pytest
from own_sets import imported, iou, official, pet, photo, save

from petweak.data.importing import import_photos
from petweak.data.oxford_pets import check, load_trimap, read_pets


@pytest.mark.parametrize("images, notes, suffix", [
    ("images/images", "annotations/annotations", ".JPG"), ("images", "annotations", ".jpeg"),
    ("archive/images/images", "archive/annotations", ".png"),
    ("oxford-iiit-pet/images", "oxford-iiit-pet/annotations", ".jpg")])
def test_repackings_keep_lists_trimaps_and_numbers(images, notes, suffix, tmp_path):
    source = official(tmp_path / "s", images, notes, suffix)
    photo(source / images / f"beagle_9{suffix}", seed=99)
    pets, report = imported(source, tmp_path / "D")
    assert [s.id for s in pets.split("test")] == ["beagle_4", "beagle_1", "Bengal_4", "Bengal_1"]
    assert pets.breeds == ("beagle", "Bengal") and len(pets) == 8
    assert {s.breed_name: s.species for s in pets.samples} == {"beagle": 1, "Bengal": 0}
    for s in pets.samples:
        original = source / notes / "trimaps" / f"{s.id}.png"
        assert (load_trimap(s.trimap) == load_trimap(original)).all()
    assert "in no list" in report and "as the source has it" in report and "xml" not in report


def test_a_repacking_without_lists_or_with_the_long_one_alone(tmp_path):
    pets, report = imported(official(tmp_path / "a", lists=()), tmp_path / "A")
    assert pets.breeds == ("beagle", "Bengal") and "drawn" in report
    assert [len(pets.split(s)) for s in ("train", "test")] == [6, 2]
    again, _ = imported(official(tmp_path / "b", lists=("list.txt",)), tmp_path / "B")
    assert {s.breed_name: s.species for s in again.samples} == {"Bengal": 0, "beagle": 1}
    for file in list((tmp_path / "a" / "images").rglob("*.JPG")):
        file.rename(file.with_name(file.name.replace("beagle", "IMG").replace("Bengal", "DSC")))
    with pytest.raises(ValueError, match="BREED_NUMBER"):
        import_photos(tmp_path / "a", tmp_path / "C", progress=False)


def test_trimaps_that_are_exchanged_or_bad_are_doubted_or_left_out(tmp_path):
    source = official(tmp_path / "s")
    trimaps = source / "annotations" / "annotations" / "trimaps"
    for i in range(1, 5):
        for breed in ("Bengal", "beagle"):
            save(trimaps / f"{breed}_{i}.png", np.where(pet(i), 2, 1).astype(np.uint8))
    pets, report = imported(source, tmp_path / "D")
    assert "doubt" in report and "exchanged" in report and "--foreground 2" in report
    assert ".partial" not in report and len(pets) == 8
    mended, _ = imported(source, tmp_path / "D2", foreground="2")
    assert iou(mended, "beagle_2", pet(2)) == 1 and not mended.doubts
    for file in trimaps.glob("[!.]*.png"):  # 1 border, 2 background, 3 pet
        mask = cv2.dilate(pet(int(file.stem[-1])).astype(np.uint8), np.ones((3, 3)))
        save(file, (2 + mask - 2 * (mask - cv2.erode(mask, np.ones((3, 3))))).astype(np.uint8))
    pets, report = imported(source, tmp_path / "D4")
    assert "the border, which is thin, seems to be 1, the pet 3 and the background 2" in report
    assert "--foreground 3`" in report and "--foreground 2" not in report
    mended, _ = imported(source, tmp_path / "D5", foreground="3")
    assert iou(mended, "beagle_2", pet(2)) == 1 and not mended.doubts
    official(tmp_path / "s2")
    bad = next((tmp_path / "s2").rglob("beagle_3.png"))
    save(bad, pet(3).astype(np.uint8) * 255)
    pets, report = imported(tmp_path / "s2", tmp_path / "D3")
    assert [s.id for s in pets.samples if s.trimap is None] == ["beagle_3"] and len(pets) == 8
    assert "without a mask, its trimap has the values [0, 255]" in report


def padded(trimap: np.ndarray) -> np.ndarray:
    return np.pad(trimap, ((6, 6), (0, 0)), constant_values=2)


@pytest.mark.parametrize("change, of, says", [
    (padded, 8, "doubt: .*8 of 8 masks have other shapes than their photos.*48 x 48 px.*48 x 36"),
    (padded, 4, "doubt: .*4 of 8 masks have other shapes|error: .*4 of 8 .* other shapes"),
    (np.transpose, 4, "error: .*4 of 8 masks are turned: width and height are exchanged"),
    (np.transpose, 2, "its trimap of 36 x 48 px is of another shape than its photo: .*2\\)"),
    (lambda t: t[:, :36], 1, "its trimap of 36 x 36 px is of another shape than its photo"),
    (lambda t: t[::2, ::2], 8, "masks: trimaps, taken as they are")])
def test_trimaps_of_another_shape_are_not_stretched_in_silence(change, of, says, tmp_path):
    source = official(tmp_path / "s", "images", "annotations")
    for file in sorted(source.rglob("*_?.png"), reverse=True)[:of]:
        save(file, np.ascontiguousarray(change(load_trimap(file))))
    try:
        pets, report = imported(source, tmp_path / "D")
        assert len(pets) == 8 and sum(s.trimap is None for s in pets.samples) == of * (of < 3)
        assert all(iou(pets, s.id, pet(int(s.id[-1]))) > 0.85 for s in pets.samples if s.trimap
                   ) == (change is not padded)
    except ValueError as error:
        report = f"error: {error}"
    assert re.search(says, report)


@pytest.mark.parametrize("lists", [(), ("trainval.txt", "test.txt")])
def test_of_several_folders_of_trimaps_none_is_taken_in_silence(lists, tmp_path):
    source = official(tmp_path / "s", "images", "annotations", lists=lists)
    true = source / "annotations" / "trimaps"
    for folder in ("a/trimaps", "predictions/Trimaps"):  # the same once more, as re-packings have
        shutil.copytree(true, source / folder)
    pets, _ = imported(source, tmp_path / "D")
    assert all(iou(pets, s.id, pet(int(s.id[-1]))) > 0.9 for s in pets.samples)
    other = np.where(pet(4), 1, 2).astype(np.uint8)
    save(source / "predictions" / "Trimaps" / "beagle_2.png", other)
    with pytest.raises(ValueError, match="in a/trimaps and .* and predictions/Tri.* they differ"):
        import_photos(source, tmp_path / "D2", progress=False)
    pets, _ = imported(source, tmp_path / "D2", masks=true)
    assert all(iou(pets, s.id, pet(int(s.id[-1]))) > 0.9 for s in pets.samples)


def test_trimaps_of_photos_in_no_list_and_damaged_ones_do_not_differ(tmp_path):
    source = official(tmp_path / "s", "images", "annotations")
    copy = source / "copy" / "trimaps"
    shutil.copytree(source / "annotations" / "trimaps", copy)
    photo(source / "images" / "beagle_9.JPG")
    for k, folder in enumerate((copy, source / "annotations" / "trimaps")):
        save(folder / "beagle_9.png", np.where(pet(k), 1, 2).astype(np.uint8))
        file = folder / f"beagle_{1 + k}.png"
        file.write_bytes(file.read_bytes()[:60])
    pets, _ = imported(source, tmp_path / "D")
    assert len(pets) == 8
    assert all(iou(pets, s.id, pet(int(s.id[-1]))) > 0.9 for s in pets.samples)


def test_listed_photos_that_are_missing_are_named(tmp_path):
    source = official(tmp_path / "s")
    next(source.rglob("beagle_2.JPG")).unlink()
    pets, report = imported(source, tmp_path / "D")
    assert len(pets) == 7 and "listed, and there is no photo: beagle_2 (1)" in report


@pytest.mark.parametrize("end", [".png", ".HEIC.png", ".HEIC.jpg.png", ".png.png"])
def test_photos_with_two_suffixes_are_found_by_their_lists(end, tmp_path):
    top = tmp_path / "set" / "oxford-iiit-pet"
    for k in range(4):
        photo(top / "images" / f"a_{k}.HEIC.jpg")
        save(top / "annotations" / "trimaps" / f"a_{k}{end}", np.where(pet(k), 1, 2).astype("u1"))
    lists = {"trainval": "a_0.HEIC 1 1 1\na_1 1 1 1\n", "test": "a_2.HEIC.jpg 1 1 1\na_3 1 1 1\n"}
    for split, text in lists.items():
        (top / "annotations" / f"{split}.txt").write_text(text)
    for root in (tmp_path / "set", tmp_path / "again"):
        pets = check(read_pets(root))
        assert len(pets) == 4 and {s.photo.name[:3] for s in pets.samples} == {
            "a_0", "a_1", "a_2", "a_3"}
        assert all(iou(pets, s.id, pet(int(s.photo.name[2]))) == 1 for s in pets.samples)
        if root.name == "set":
            imported(top, tmp_path / "again", species="cat")
