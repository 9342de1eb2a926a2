"""The reader of the official layout: labels, oddities of the files, quarantine, splits."""

import io
import os
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.datasets import OxfordIIITPet

from petweak.data import oxford_pets
from petweak.data.oxford_pets import (
    BREED_NAMES,
    check,
    fingerprint,
    load_photo,
    load_trimap,
    read_pets,
    resize,
    val_ids,
)


def write_set(root, lines=("Abyssinian_1 1 1 1", "beagle_2 5 2 1"), test=("Bengal_3 6 1 2",)):
    """A tiny set in the official layout, with the given lines in the lists."""
    base = root / "oxford-iiit-pet"
    for folder in ("images", "annotations/trimaps"):
        (base / folder).mkdir(parents=True)
    (base / "annotations" / "trainval.txt").write_text("# a comment\n" + "\n".join(lines) + "\n")
    (base / "annotations" / "test.txt").write_text("\n".join(test) + "\n")
    for line in (*lines, *test):
        name = line.split()[0]
        Image.new("RGB", (40, 30), "red").save(base / "images" / f"{name}.jpg")
        trimap = np.full((30, 40), 2, np.uint8)
        trimap[10:20, 10:20] = 3
        trimap[12:18, 12:18] = 1
        Image.fromarray(trimap).save(base / "annotations" / "trimaps" / f"{name}.png")
    return base


def test_labels_are_contiguous_and_named_after_the_files(tmp_path):
    write_set(tmp_path)
    pets = read_pets(tmp_path)
    assert pets.breeds == ("Abyssinian", "beagle", "Bengal")  # class ids 1, 5, 6
    assert [s.breed for s in pets.samples] == [0, 1, 2]
    assert [s.species for s in pets.samples] == [0, 1, 0]
    assert [s.split for s in pets.samples] == ["train", "train", "test"]
    assert [s.breed_name for s in pets.samples] == list(pets.breeds)
    assert pets.name == "oxford-iiit-pet"


def test_a_photo_is_asked_for_by_its_id(tmp_path):
    write_set(tmp_path)
    pets = read_pets(tmp_path)
    assert pets.sample("beagle_2") is pets.samples[1]
    assert pets.only(["beagle_2"]).sample("beagle_2").breed == 1
    with pytest.raises(ValueError, match="pug_1"):
        pets.sample("pug_1")
    left = pets.leaving_out("beagle")
    assert [s.split for s in left.samples] == ["train", "left_out", "test"]
    with pytest.raises(ValueError, match="'pug' is not one of Abyssinian, beagle, Bengal"):
        pets.leaving_out("pug")


def test_real_part_of_the_set(real_photos):
    pets = check(read_pets(real_photos))
    assert (len(pets.split("train")), len(pets.split("test"))) == (300, 298)
    assert pets.breeds == ("Abyssinian", "american_bulldog", "Bengal")
    assert not pets.quarantine  # .mat files and unlisted photos are left alone
    # torchvision's reader as the oracle for files and order; its labels have gaps here
    theirs = OxfordIIITPet(real_photos, split="test", target_types="category")
    assert [s.photo.name for s in pets.split("test")] == [p.name for p in theirs._images]
    mapping = {t: s.breed for t, s in zip(theirs._labels, pets.split("test"), strict=True)}
    assert len(mapping) == 3 and sorted(mapping.values()) == [0, 1, 2]


def test_rendered_set_is_named_so(rendered):
    pets = check(read_pets(rendered))
    assert pets.name == "rendered" and pets.breeds == BREED_NAMES and not pets.quarantine


@pytest.mark.parametrize(
    "line, says",
    [
        ("Abyssinian_1 1", "line 2"),
        ("Abyssinian_1 1 7 1", "line 2"),
        ("Abyssinian_1 5 1 1", "class id 5 is Abyssinian and beagle"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, says):
    write_set(tmp_path, lines=(line, "beagle_2 5 2 1"))
    with pytest.raises(ValueError, match=says):
        read_pets(tmp_path)


def test_a_photo_in_both_lists_is_refused(tmp_path):
    write_set(tmp_path, test=("beagle_2 5 2 1",))
    with pytest.raises(ValueError, match="beagle_2 is listed twice"):
        read_pets(tmp_path)


def test_a_missing_folder_names_the_way_out(tmp_path):
    with pytest.raises(FileNotFoundError, match="petweak data make"):
        read_pets(tmp_path / "nowhere")


def test_unreadable_files_go_to_quarantine(tmp_path):
    lines = tuple(f"Abyssinian_{i} 1 1 1" for i in range(6))
    base = write_set(tmp_path, lines)
    images, trimaps = base / "images", base / "annotations" / "trimaps"
    (images / "Abyssinian_0.jpg").write_bytes(b"not a picture")
    noise = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(images / "Abyssinian_1.jpg")
    whole = (images / "Abyssinian_1.jpg").read_bytes()
    (images / "Abyssinian_1.jpg").write_bytes(whole[: len(whole) // 2])
    (trimaps / "Abyssinian_2.png").write_bytes(b"")
    Image.new("L", (10, 10), 1).save(trimaps / "Abyssinian_3.png")
    (images / "Abyssinian_4.jpg").unlink()
    pets = check(read_pets(tmp_path))
    assert [q.id for q in pets.quarantine] == [f"Abyssinian_{i}" for i in range(5)]
    reasons = [q.reason for q in pets.quarantine]
    assert "Abyssinian_2.png" in pets.quarantine[2].file
    assert "10 x 10 px, its photo 40 x 30" in reasons[3] and all(reasons)
    assert [s.id for s in pets.samples] == ["Abyssinian_5", "Bengal_3"]


def test_a_photo_without_a_trimap_is_usable(tmp_path):
    base = write_set(tmp_path)
    pets, content = check(read_pets(tmp_path)), fingerprint(read_pets(tmp_path))
    (base / "annotations" / "trimaps" / "beagle_2.png").unlink()
    without = check(read_pets(tmp_path))
    assert without.quarantine == () and [s.id for s in without.samples] == [
        s.id for s in pets.samples]
    assert [s.id for s in without.samples if s.trimap is None] == ["beagle_2"]
    moved = {k for k, v in fingerprint(without).items() if v != content[k]}
    assert moved == {"trimaps"}


def test_other_trimap_values_are_an_error_that_names_the_file(tmp_path):
    base = write_set(tmp_path)
    path = base / "annotations" / "trimaps" / "beagle_2.png"
    Image.fromarray(np.full((30, 40), 255, np.uint8)).save(path)
    with pytest.raises(ValueError, match="beagle_2.png.*255"):
        load_trimap(path)
    with pytest.raises(ValueError, match="beagle_2.png"):
        check(read_pets(tmp_path))


@pytest.mark.parametrize(
    "form", ["GIF", "PNG", "palette", "grey", "RGBA", "CMYK", "16 bit", "tail"]
)
def test_photos_are_decoded_by_content(tmp_path, form):
    path, picture = tmp_path / "Bengal_1.jpg", Image.new("RGB", (20, 10), (200, 60, 20))
    if form == "tail":
        picture.save(path, format="JPEG")
        path.write_bytes(path.read_bytes() + b"trailing bytes")
    elif form == "16 bit":
        grey = np.full((10, 20), 0x8000, np.uint16)
        Image.fromarray(grey).save(path, format="PNG")
    else:
        modes = {"palette": "P", "grey": "L", "RGBA": "RGBA", "CMYK": "CMYK"}
        shown = picture.convert(modes.get(form, "RGB"))
        shown.save(path, format={"CMYK": "JPEG", "GIF": "GIF"}.get(form, "PNG"))
    photo = load_photo(path)
    assert photo.mode == "RGB" and photo.size == (20, 10)
    pixel = np.array(photo.getpixel((5, 5)), int)
    expected = {"grey": [98] * 3, "16 bit": [128] * 3}.get(form, [200, 60, 20])
    assert np.abs(pixel - expected).max() < 40


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 64))
def test_resize_keeps_a_flat_picture_flat_at_every_size(width, height, size):
    out = resize(Image.new("RGB", (width, height), (10, 120, 250)), size)
    assert out.size == (size, size) and out.getextrema() == ((10, 10), (120, 120), (250, 250))


def test_resize_averages_when_it_shrinks():
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    small = np.asarray(resize(Image.fromarray(stripes), 16))
    assert np.abs(small.astype(int) - 128).max() < 20


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_whatever_cannot_be_read_is_an_os_error_that_names_the_file(tmp_path, content):
    path = tmp_path / "pug_1.jpg"
    path.write_bytes(content)
    for load in (load_photo, load_trimap):
        with pytest.raises(OSError, match="pug_1.jpg"):
            load(path)
        with pytest.raises(FileNotFoundError, match="nowhere"):
            load(tmp_path / "nowhere")


def test_fingerprints_follow_content_and_not_time(tmp_path):
    base = write_set(tmp_path)
    before = fingerprint(read_pets(tmp_path))
    photo = base / "images" / "beagle_2.jpg"
    shutil.copy(photo, tmp_path / "copy.jpg")
    photo.unlink()
    shutil.copy(tmp_path / "copy.jpg", photo)
    os.utime(photo, (1, 1))
    assert fingerprint(read_pets(tmp_path)) == before
    Image.new("RGB", (40, 30), "blue").save(photo)
    after = fingerprint(read_pets(tmp_path))
    assert [k for k in before if after[k] != before[k]] == ["photos"]


def test_a_set_is_decoded_and_hashed_once_a_process(tmp_path, monkeypatch):
    base, opened, open_file = write_set(tmp_path), [], io.open
    monkeypatch.setattr(io, "open", lambda f, *a, **k: opened.append(f) or open_file(f, *a, **k))
    load = oxford_pets.load_photo
    monkeypatch.setattr(oxford_pets, "load_photo", lambda path: opened.append(path) or load(path))
    pets = check(read_pets(tmp_path))
    first = fingerprint(pets)
    opened.clear()
    assert check(read_pets(tmp_path)) == pets and fingerprint(read_pets(tmp_path)) == first
    assert not [f for f in opened if str(f).endswith((".jpg", ".png"))]
    (base / "images" / "beagle_2.jpg").write_bytes(b"broken")
    again = check(read_pets(tmp_path))
    assert [q.id for q in again.quarantine] == ["beagle_2"]
    assert "cannot identify" in again.quarantine[0].reason
    assert fingerprint(read_pets(tmp_path))["photos"] != first["photos"]


def test_val_is_a_seeded_part_of_train_with_every_breed(rendered):
    pets = read_pets(rendered)
    val = val_ids(pets, 0.1, seed=0)
    train = {s.id: s.breed for s in pets.split("train")}
    assert val < set(train) and {train[i] for i in val} == set(range(37))
    assert val == val_ids(pets, 0.1, seed=0) != val_ids(pets, 0.1, seed=1)
    assert val_ids(pets, 0, seed=0) == frozenset()


@pytest.mark.parametrize("fraction", [0.5, 0.9, 0.99])
def test_val_never_takes_all_of_a_breed(tmp_path, fraction):
    lines = [f"Abyssinian_{i} 1 1 1" for i in range(2)] + [f"beagle_{i} 5 2 1" for i in range(9)]
    write_set(tmp_path, (*lines, "pug_1 7 2 2"))
    pets = read_pets(tmp_path)
    val = val_ids(pets, fraction, seed=0)
    left = {s.breed_name for s in pets.split("train") if s.id not in val}
    assert left == {"Abyssinian", "beagle", "pug"} and len(val) > 4
