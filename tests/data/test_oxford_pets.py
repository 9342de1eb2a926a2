"""The reader of the official layout: labels, oddities of the files, quarantine, splits."""

import io
import os
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_masks import scene
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.datasets import OxfordIIITPet

from petweak.data import oxford_pets
from petweak.data.oxford_pets import (
    BREED_NAMES,
    Pets,
    check,
    describe,
    fingerprint,
    load_photo,
    load_trimap,
    read_pets,
    require_splits,
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
    with pytest.raises(ValueError, match="pug is not one of Abyssinian, beagle, Bengal"):
        pets.leaving_out("pug")


def every(nth: int, pets: Pets) -> Pets:
    """Every so many photos of a set; tests/hard decodes all of the real ones."""
    return pets.only([s.id for s in pets.samples[::nth]])


def test_real_part_of_the_set(real_photos):
    pets = read_pets(real_photos)
    assert (len(pets.split("train")), len(pets.split("test"))) == (300, 298)
    assert pets.breeds == ("Abyssinian", "american_bulldog", "Bengal")
    assert not check(every(6, pets)).quarantine  # .mat files and unlisted photos are left alone
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
    assert without.sample("beagle_2").load()[1] is None
    moved = {k for k, v in fingerprint(without).items() if v != content[k]}
    assert moved == {"trimaps"}


def test_the_trimap_of_a_photo_without_one_is_an_error_in_words(tmp_path):
    with pytest.raises(ValueError, match="pug_1.jpg has no trimap, so there is no ground truth"):
        load_trimap(None, Path("pug_1.jpg"))
    with pytest.raises(ValueError, match="^this photo has no trimap.* with: choose a set, or a "
                                         "photo, that has one$"):
        load_trimap(None)


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


# --- sets of one's own


def put(base, image_id, suffix=".jpg", size=(40, 30)):
    Image.new("RGB", size, "blue").save(base / "images" / f"{image_id}{suffix}", format="PNG")


def own(root, train, test, **files):
    """A set in the official layout without trimaps; `files` are further texts in annotations/."""
    base = root / "oxford-iiit-pet"
    for folder in ("images", "annotations"):
        (base / folder).mkdir(parents=True)
    for file, lines in (("trainval", train), ("test", test)):
        (base / "annotations" / f"{file}.txt").write_text("\n".join(lines), encoding="utf-8")
    for name, text in files.items():
        (base / "annotations" / f"{name}.txt").write_text(text, encoding="utf-8")
    for line in (*train, *test):
        put(base, line.rsplit(None, 3)[0])
    return base


def lines(*ids):
    """A line of three classes, 1, 2 and 6, for each; the second is dogs."""
    return [f"{i} {(1, 2, 6)[k % 3]} {(1, 2, 1)[k % 3]} 1" for k, i in enumerate(ids)]


@pytest.mark.parametrize("images", ["images", "images/images"])
@pytest.mark.parametrize("notes", ["annotations", "annotations/annotations"])
@pytest.mark.parametrize("top", ["", "oxford-iiit-pet", "oxford-iiit-pet/oxford-iiit-pet"])
def test_common_copies_of_the_layout_are_read(tmp_path, images, notes, top):
    base, other = write_set(tmp_path / "made"), tmp_path / "copy" / top
    shutil.copytree(base / "images", other / images)
    shutil.copytree(base / "annotations", other / notes)
    pets = check(read_pets(tmp_path / "copy"))
    assert len(pets) == 3 and all(s.trimap for s in pets.samples) and not pets.quarantine
    assert fingerprint(pets) == fingerprint(check(read_pets(tmp_path / "made")))


@pytest.mark.parametrize("suffix", [".jpeg", ".JPG", ".png", ".PnG", ".webp", ".bmp", ".TIFF"])
def test_photos_are_found_by_their_stem(tmp_path, suffix):
    base = own(tmp_path, lines("Rex_1"), lines("Rex_2"))
    for image_id in ("Rex_1", "Rex_2"):
        os.rename(base / "images" / f"{image_id}.jpg", base / "images" / f"{image_id}{suffix}")
        (base / "images" / f"._{image_id}{suffix}").write_bytes(b"\0\5\x16\7")
        (base / "images" / f"{image_id}.mat").write_bytes(b"")
    pets = check(read_pets(tmp_path))
    assert [s.photo.name for s in pets.samples] == [f"Rex_1{suffix}", f"Rex_2{suffix}"]
    assert all(s.photo.is_file() for s in pets.samples) and not pets.quarantine


def test_two_files_of_one_stem_are_refused_and_named(tmp_path):
    base = own(tmp_path, lines("Rex_1"), lines("Rex_2"))
    put(base, "Rex_1", ".PNG")
    with pytest.raises(ValueError, match="Rex_1.PNG and Rex_1.jpg"):
        read_pets(tmp_path)


def test_a_folder_or_nothing_in_place_of_a_photo_goes_into_quarantine(tmp_path):
    base = own(tmp_path, lines("Rex_1", "Luna_1", "Tom_1", "Rex_3"), lines("Rex_2"))
    for image_id in ("Rex_1", "Luna_1"):
        (base / "images" / f"{image_id}.jpg").unlink()
    (base / "images" / "Luna_1.jpg").mkdir()
    os.symlink("Tom_1.jpg", base / "images" / "Tom_2.jpg")
    pets = check(read_pets(tmp_path))
    reasons = {q.id: q.reason for q in pets.quarantine}
    assert reasons.keys() == {"Rex_1", "Luna_1"}
    assert "no picture of this name" in reasons["Rex_1"] and "directory" in reasons["Luna_1"]
    assert [s.id for s in pets.samples] == ["Tom_1", "Rex_3", "Rex_2"]
    fingerprint(read_pets(tmp_path))


def test_ids_may_have_spaces_accents_suffixes_and_another_case(tmp_path):
    train = lines("my dog_1", "Bengale\u0301_1", "Tom_1.JPG", "REX_1")
    base = own(tmp_path, [], [])
    for name in ("my dog_1.jpg", "Bengal\u00e9_1.jpg", "Tom_1.jpg", "rex_1.Jpg", "Tom_2.jpg"):
        put(base, name, "")
    text = "\r\n".join(train)
    (base / "annotations" / "trainval.txt").write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\n")
    (base / "annotations" / "test.txt").write_bytes(b"Tom_2 6 1 1\r\n")
    pets = check(read_pets(tmp_path))
    assert [s.id for s in pets.samples] == ["my dog_1", "Bengal\u00e9_1", "Tom_1", "REX_1", "Tom_2"]
    assert not pets.quarantine and pets.samples[3].photo.name == "rex_1.Jpg"


@pytest.mark.parametrize(
    "image_id",
    ["../x_1", "/etc/x_1", "a/b_1", "a\\b_1", "C:x_1", ".hidden_1", "x\x00_1", "x\x07_1"],
)
def test_an_id_that_is_a_path_is_refused(tmp_path, image_id):
    base = own(tmp_path, [], lines("Rex_1"))
    (base / "annotations" / "trainval.txt").write_text(f"{image_id} 1 1 1\n")
    with pytest.raises(ValueError, match="trainval.txt, line 1: .*not a path"):
        read_pets(tmp_path)


@pytest.mark.parametrize("twice", ["Rex_1", "Rex_1.jpg", "REX_1"])
def test_one_photo_has_one_line(tmp_path, twice):
    base = own(tmp_path, lines("Rex_1"), [])
    (base / "annotations" / "test.txt").write_text(f"{twice} 1 1 1\n")
    with pytest.raises(ValueError, match="Rex_1 is listed twice|have one file: Rex_1; REX_1"):
        read_pets(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        [f"IMG_{i}" for i in range(100, 106)],
        [f"DSC_{i}" for i in range(6)],
        [f"IMG_20210503_1234{i}" for i in range(6)],
        [f"2021_05_{i:02d}" for i in range(6)],
        [f"2024-05-{i:02d}_Rex" for i in range(6)],
        [f"20210503_{i}" for i in range(6)],
        [f"{i}" for i in range(6)],
        [f"photo{i}" for i in range(6)],
        [f"class_2_{i}" for i in range(6)],
        ["Rex_1", "Rex_2", "Rex_3", "Rex_4", "Rex_5", "Rex_6"],
        ["IMG_1", "DSC_1", "PXL_1", "IMG_2", "DSC_2", "PXL_2"],
    ],
)
def test_no_class_is_called_after_a_camera_or_a_date(tmp_path, names):
    own(tmp_path, lines(*names[:3]), lines(*names[3:]))
    pets = read_pets(tmp_path)
    assert pets.breeds == ("class_1", "class_2", "class_6")
    assert len(pets.doubts) == 1 and "classes.txt" in pets.doubts[0]
    assert pets.name == tmp_path.name
    assert check(pets).doubts == pets.doubts


def test_a_class_with_names_of_its_own_keeps_them(tmp_path):
    own(tmp_path, lines("Rex_1", "IMG_1", "Maine Coon_1"), lines("Rex_2", "IMG_2", "Maine Coon_2"))
    pets = read_pets(tmp_path)
    assert pets.breeds == ("Rex", "class_2", "Maine Coon")
    assert "class_2" in pets.doubts[0] and "class_1" not in pets.doubts[0]


@pytest.mark.parametrize(
    "text, breeds",
    [
        ("Rex\nLuna\nTom\n", ("Rex", "Luna", "Tom")),  # as many as there are: in their order
        ("\ufeffRex\r\nLuna\r\nTom\r\n", ("Rex", "Luna", "Tom")),
        ("Rex\nLuna\nc\nd\ne\nMaine Coon", ("Rex", "Luna", "Maine Coon")),  # line k: class id k
        ("6 Tom\n1 Rex\n2 Luna\n9 Nobody", ("Rex", "Luna", "Tom")),
        ("# mine\n1: Rex\n2: Luna\n6: M\u00fcsli", ("Rex", "Luna", "M\u00fcsli")),
    ],
)
def test_classes_get_their_names_from_a_file(tmp_path, text, breeds):
    own(tmp_path, lines("IMG_1", "IMG_2", "IMG_3"), lines("IMG_4"), classes=text)
    pets = read_pets(tmp_path)
    assert pets.breeds == breeds and not pets.doubts
    assert pets.sample("IMG_4").breed_name == breeds[0]


@pytest.mark.parametrize(
    "text, says",
    [
        ("Rex\nLuna", "2 lines and no name for the class ids 6"),
        ("1 Rex\n2 Luna\n3 Tom", "no name for the class ids 6"),
        ("", "0 lines and no name for the class ids 1; 2; 6"),
        ("Rex\nLuna\nRex", "two classes are called Rex"),
    ],
)
def test_names_that_do_not_fit_are_refused(tmp_path, text, says):
    own(tmp_path, lines("IMG_1", "IMG_2", "IMG_3"), lines("IMG_4"), classes=text)
    with pytest.raises(ValueError, match=f"classes.txt: .*{says}"):
        read_pets(tmp_path)


@pytest.mark.parametrize("encoding, guess", [("latin-1", "ISO-8859-1"), ("utf-16", "UTF-16")])
@pytest.mark.parametrize("file", ["trainval", "test", "classes"])
def test_another_encoding_is_named_with_its_file_and_the_way_out(tmp_path, file, encoding, guess):
    base = own(tmp_path, lines("Rex_1"), lines("Rex_2"), classes="1 Rex")
    path = base / "annotations" / f"{file}.txt"
    path.write_bytes((path.read_text() + "\nBengal\u00e9_3 1 1 1").encode(encoding))
    with pytest.raises(ValueError, match=rf"{file}.txt, line \d: .*{guess}.*iconv -f {guess}"):
        read_pets(tmp_path)


def test_a_set_with_one_list_gets_a_way_out_that_fits_it(tmp_path):
    base = own(tmp_path, lines("Rex_1"), lines("Rex_2"))
    (base / "annotations" / "test.txt").write_text("# none yet\n")
    with pytest.raises(ValueError, match="test.txt lists no photo.*petweak data import"):
        read_pets(tmp_path)
    (base / "annotations" / "test.txt").unlink()
    for root in (tmp_path, base):
        with pytest.raises(FileNotFoundError, match="test.txt is missing.*petweak data import"):
            read_pets(root)
    with pytest.raises(FileNotFoundError, match="petweak data import.*petweak data fetch"):
        read_pets(tmp_path / "nowhere")


def test_a_set_without_trimaps_is_whole(tmp_path):
    own(tmp_path, lines("Rex_1", "Luna_1"), lines("Rex_2"))
    pets = require_splits(check(read_pets(tmp_path)))
    assert len(pets) == 3 and not pets.quarantine and not pets.doubts
    assert {s.trimap for s in pets.samples} == {None}
    text = "\n".join(describe(pets))
    assert "3 photos of 2 breeds: 2 in train, 1 in test" in text and "0 trimaps" in text
    assert "3 photos have no trimap" in text and "Luna (dog): 1 in train, 0 in test" in text


@pytest.mark.parametrize("split, other", [("train", "test"), ("test", "train")])
def test_a_split_of_which_nothing_can_be_read_is_refused(tmp_path, split, other):
    base = write_set(tmp_path)
    for s in read_pets(tmp_path).split(split):
        s.photo.write_bytes(b"")
    pets = check(read_pets(tmp_path))
    assert pets.split(other) and base.is_dir()
    with pytest.raises(ValueError, match=f"no photo of {split} .* can be used: .*is empty"):
        require_splits(pets)


# --- trimaps


def test_all_trimaps_with_other_values_are_listed_at_once(tmp_path):
    ids = [f"Abyssinian_{i}" for i in range(14)]
    base = write_set(tmp_path, [f"{i} 1 1 1" for i in ids])
    for i in ids[1:13]:
        Image.new("L", (40, 30), 255).save(base / "annotations" / "trimaps" / f"{i}.png")
    with pytest.raises(ValueError) as error:
        check(read_pets(tmp_path))
    assert [i for i in ids if f"{i}.png" in str(error.value)] == ids[1:11]
    assert "(12 in all)" in str(error.value) and "[255]" in str(error.value)


@pytest.mark.parametrize("form", ["P", "I;16", "RGB", "RGBA", "LA"])
def test_a_trimap_may_be_saved_in_other_modes(tmp_path, form):
    values = np.full((30, 40), 2, np.uint8)
    values[8:20, 8:30], values[10:15, 10:20] = 3, 1
    if form == "P":
        picture = Image.fromarray(values)
        picture.putpalette(list(range(256)) * 3)
    else:
        picture = Image.fromarray(values.astype(np.uint16) if form == "I;16" else values)
        picture = picture if form == "I;16" else picture.convert(form)
    picture.save(tmp_path / "trimap.png")
    trimap = load_trimap(tmp_path / "trimap.png")
    assert trimap.dtype == np.uint8 and np.array_equal(trimap, values)
    Image.fromarray(np.dstack([values, values, values * 0 + 1])).save(tmp_path / "trimap.png")
    with pytest.raises(ValueError, match="trimap.png: has the values"):
        load_trimap(tmp_path / "trimap.png")


@pytest.mark.parametrize("drawn_on", ["seen", "stored", "neither"])
def test_a_trimap_is_turned_with_its_photo_where_it_was_drawn_on_stored_pixels(tmp_path, drawn_on):
    base, exif = write_set(tmp_path), Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    photo = np.full((30, 40, 3), 40, np.uint8)
    photo[2:12, 4:30] = 220
    Image.fromarray(photo).save(base / "images" / "beagle_2.jpg", exif=exif, quality=95)
    trimap = np.where(photo[..., 0] > 100, 1, 2).astype(np.uint8)
    drawn = {"seen": np.rot90(trimap, -1), "stored": trimap, "neither": trimap[:, :-1]}[drawn_on]
    Image.fromarray(drawn).save(base / "annotations" / "trimaps" / "beagle_2.png")
    pets = check(read_pets(tmp_path))
    if drawn_on == "neither":
        (bad,) = pets.quarantine
        assert bad.file.endswith("beagle_2.png") and "39 x 30 px, its photo 30 x 40" in bad.reason
        return
    s = pets.sample("beagle_2")
    assert np.array_equal(load_trimap(s), load_trimap(s.trimap, s.photo))
    photo, trimap = s.load()
    assert np.array_equal(photo, load_photo(s.photo)) and np.array_equal(trimap, load_trimap(s))
    pet, bright = load_trimap(s) == 1, np.asarray(load_photo(s.photo))[..., 0] > 100
    assert pet.shape == (40, 30) and np.mean(pet == bright) > 0.97


def test_a_photo_that_is_turned_is_another_photo(tmp_path):
    base, exif, prints = write_set(tmp_path), Image.Exif(), []
    for exif[0x0112] in (1, 3):
        Image.new("RGB", (40, 30), "red").save(base / "images" / "beagle_2.jpg", exif=exif)
        prints.append(fingerprint(read_pets(tmp_path)))
    assert prints[0]["photos"] != prints[1]["photos"]


@pytest.mark.parametrize(
    "change, says",
    [
        ({1: 2, 2: 1}, "more pet (1) along the frame than in the middle"),
        ({1: 2}, "has pet (1)"),
        ({2: 1}, "has background (2)"),
        ({}, ""),
        ({3: 2}, ""),
    ],
)
def test_trimaps_that_are_odd_as_a_whole_raise_a_doubt(tmp_path, change, says):
    base = write_set(tmp_path, test=("beagle_3 5 2 1",))
    for path in (base / "annotations" / "trimaps").glob("*.png"):
        values = np.full((30, 40), 2, np.uint8)
        values[4:28, 6:32], values[6:26, 8:30] = 3, 1
        new = values.copy()
        for old, value in change.items():
            new[values == old] = value
        Image.fromarray(new).save(path)
    pets = check(read_pets(tmp_path))
    assert len(pets) == 3 and len(pets.doubts) == bool(says)
    assert all(says in doubt for doubt in pets.doubts)
    assert [line for line in describe(pets) if says and "doubt: " in line] == [
        f"doubt: {d}" for d in pets.doubts]


def test_turned_trimaps_and_outlines_raise_a_doubt(tmp_path):
    for name, change, says in (
            ("right", lambda a: a, ""),
            ("turned", lambda a: np.rot90(a, 2), "trimaps in .*trimaps.* turned by 180 degrees"),
            ("lines", lambda a: a - cv2.erode(a, np.ones((3, 3))), "5 of 5 .* are lines")):
        lists = [f"beagle_{k} 5 2 1" for k in range(4)]
        base = write_set(tmp_path / name, lists, ("beagle_4 5 2 1",))
        for k in range(5):
            photo, mask = scene(k)
            photo.save(base / "images" / f"beagle_{k}.jpg")
            trimap = 2 - change(mask) // 255
            Image.fromarray(trimap).save(base / "annotations" / "trimaps" / f"beagle_{k}.png")
        doubts = check(read_pets(tmp_path / name)).doubts
        assert len(doubts) == bool(says) and all(re.search(says, d) for d in doubts)


def test_one_odd_trimap_among_others_is_no_doubt(tmp_path):
    base = write_set(tmp_path, test=("beagle_3 5 2 1",))
    trimap = np.full((30, 40), 1, np.uint8)
    trimap[8:20, 8:30] = 2
    Image.fromarray(trimap).save(base / "annotations" / "trimaps" / "beagle_2.png")
    assert check(read_pets(tmp_path)).doubts == ()


def test_real_sets_raise_no_doubt(real_photos):
    for root in (real_photos, real_photos.with_name("data37")):
        pets = check(every(6, read_pets(root)))
        assert pets.doubts == () and not pets.quarantine and pets.name == "oxford-iiit-pet"


def test_a_breed_that_train_lacks_is_a_doubt(tmp_path):
    own(tmp_path, lines("Rex_1"), [*lines("Rex_2"), "Luna_1 2 2 1"])
    (doubt,) = check(read_pets(tmp_path)).doubts
    assert "Luna" in doubt and "Rex" not in doubt.replace(str(tmp_path), "")


# --- val of few photos


def test_val_of_one_photo_a_breed_is_of_each_species(tmp_path, caplog):
    own(tmp_path, lines("Rex_1", "Luna_1", "Tom_1"), lines("Rex_2"))
    pets = read_pets(tmp_path)
    val = val_ids(pets, 0.1, seed=0)
    assert len(val) == 1 and val < {"Rex_1", "Tom_1"}  # the cats; of dogs there is one
    assert "no breed has two photos in train" in caplog.text


def test_val_of_a_cat_and_a_dog_is_one_of_them_and_of_one_photo_none(tmp_path, caplog):
    own(tmp_path / "two", lines("Rex_1", "Luna_1"), lines("Rex_2"))
    assert len(val_ids(read_pets(tmp_path / "two"), 0.9, seed=0)) == 1
    own(tmp_path / "one", lines("Rex_1"), lines("Rex_2"))
    assert val_ids(read_pets(tmp_path / "one"), 0.1, seed=0) == frozenset()
    assert "no split has two photos in train" in caplog.text


def test_the_example_photos_have_trimaps_and_are_those_that_are_attributed():
    examples = oxford_pets.example_photos()
    text = (Path(__file__).parents[2] / "figures" / "ATTRIBUTION.md").read_text()
    named = re.findall(r"^- (\S+)$", text, re.M)  # and those of the README's picture
    assert named == sorted(set(named)) and set(examples) < set(named)
    for photo, trimap in examples.values():
        assert photo.mode == "RGB" and photo.size == trimap.shape[::-1] and max(photo.size) <= 300
        assert set(np.unique(trimap)) == {1, 2, 3}
