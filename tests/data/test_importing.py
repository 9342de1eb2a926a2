"""Sets of one's own: class folders, re-packings, COCO, CSV; their split, species, names, masks."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zlib
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from petweak.__main__ import main
from petweak.data import finders, importing
from petweak.data.importing import import_photos
from petweak.data.masks import PREDICT, write_mask
from petweak.data.oxford_pets import check, load_photo, load_trimap, read_pets
from petweak.data.pictures import header

WIDTH, HEIGHT = 48, 36
TWO = dict(species="minka=cat,rex=dog")


def photo(path: Path, seed: int | None = None, size=(WIDTH, HEIGHT), turn: int = 1) -> Path:
    """A picture that no other has, with an EXIF orientation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = re.sub(r".*/(pytest-\d+|popen-gw\d+)/", "", path.as_posix())  # the same in every run
    rng = np.random.default_rng(zlib.crc32(name.encode()) if seed is None else seed)
    image, exif = Image.fromarray(rng.integers(0, 255, (*size[::-1], 3), np.uint8)), Image.Exif()
    exif[0x0112] = turn
    image.save(path, exif=exif) if turn != 1 else image.save(path)
    return path


def pet(n: int, size=(WIDTH, HEIGHT)) -> np.ndarray:
    """(H, W) bool: a box in the upper left, so that a mask that is turned is another one."""
    mask = np.zeros(size[::-1], bool)
    mask[4 : 20 + n % 5, 6 : 30 + n % 7] = True
    return mask


def save(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def two_pets(top: Path, n: int = 5) -> Path:
    for name in ("minka", "rex"):
        for i in range(n):
            photo(top / name / f"IMG_{1000 + i}.JPG")
    return top


def imported(source: Path, to: Path, **options):
    report = import_photos(source, to, progress=False, **options)
    pets = check(read_pets(to))
    assert not pets.quarantine
    return pets, "\n".join(report)


def table(to: Path) -> dict[str, dict]:
    with (to / "oxford-iiit-pet" / "annotations" / importing.TABLE).open(encoding="utf-8") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def state(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*"))
            if p.is_file()}


def iou(pets, image_id: str, mask: np.ndarray) -> float:
    trimap = load_trimap(pets.sample(image_id).trimap)
    assert trimap.shape == mask.shape
    return ((trimap == 1) & mask).sum() / ((trimap == 1) | mask).sum()


# --- class folders


def test_class_folders_become_a_set_with_a_seeded_split(tmp_path):
    source = two_pets(tmp_path / "pets")
    before = state(source)
    pets, report = imported(source, tmp_path / "D", **TWO)
    assert pets.breeds == ("minka", "rex")
    for name, kind in (("minka", 0), ("rex", 1)):
        of = [s for s in pets.samples if s.breed_name == name]
        assert [s.split for s in of].count("test") == 1 and len(of) == 5
        assert {s.species for s in of} == {kind}
    assert "10 photos of 2 breeds: 8 in train, 2 in test" in report
    assert "--profile photos --data-root" in report.splitlines()[-1]
    assert state(source) == before
    again, _ = imported(source, tmp_path / "D2", **TWO)
    assert [(s.id, s.split) for s in again.samples] == [(s.id, s.split) for s in pets.samples]
    drawn = {
        tuple(s.id for s in imported(source, tmp_path / f"S{n}", seed=n, **TWO)[0].split("test"))
        for n in range(5)
    }
    assert len(drawn) > 1


def test_stems_that_clash_and_odd_names_get_safe_ids_of_their_own(tmp_path):
    source = tmp_path / "pets"
    for file in ("minka/IMG_1.JPG", "rex/IMG_1.JPG", "rex/img_1.png", "rex/#Hund, groß (2).jpg",
                 "minka/ein Bild.jpeg", "rex/2023/x.webp", "minka/日本.png", "minka_IMG_1.jpg"):
        photo(source / file)
    pets, report = imported(source, tmp_path / "D", **TWO)
    rows = table(tmp_path / "D")
    ids = {f: r["id"] for f, r in rows.items() if r["id"]}
    assert ids["minka/IMG_1.JPG"] == "minka_IMG_1" and ids["minka/ein Bild.jpeg"] == "ein_Bild"
    assert len({i.casefold() for i in ids.values()}) == len(ids) == len(pets) == 7
    assert all(i.isascii() and not set(i) & set(" #,()") for i in ids.values())
    for file, image_id in ids.items():  # each id leads to its own picture, as it is
        assert pets.sample(image_id).photo.read_bytes() == (source / file).read_bytes()
    assert rows["minka_IMG_1.jpg"]["left_out"] == "in no class folder" in report


def test_what_is_no_photo_is_named_and_left_out(tmp_path):
    source = two_pets(tmp_path / "pets")
    photo(source / "rex" / "._IMG_1.JPG")
    photo(source / ".thumbnails" / "x.jpg")
    shutil.copy(source / "rex" / "IMG_1001.JPG", source / "minka" / "a copy.JPG")
    (source / "rex" / "Thumbs.db").write_bytes(b"x")
    (source / "rex" / "clip.mov").write_bytes(b"x")
    (source / "rex" / "empty.jpg").write_bytes(b"")
    cut = (source / "rex" / "IMG_1000.JPG").read_bytes()
    (source / "rex" / "cut.jpg").write_bytes(cut[: len(cut) // 2])
    (source / "rex" / "page.jpg").write_text("<!DOCTYPE html>", encoding="utf-8")
    pets, report = imported(source, tmp_path / "D", **TWO)
    assert len(pets) == 10
    left = {f: r["left_out"] for f, r in table(tmp_path / "D").items() if r["left_out"]}
    expected = {
        "rex/._IMG_1.JPG": "hidden", ".thumbnails": "hidden",
        "rex/Thumbs.db": "hidden", "rex/clip.mov": "no picture by its name",
        "rex/empty.jpg": "is empty", "rex/cut.jpg": "truncated", "rex/page.jpg": "web page",
        "rex/IMG_1001.JPG": "the same picture as minka/a copy.JPG",
    }
    assert left.keys() == expected.keys()
    for file, why in expected.items():
        assert why in left[file] and Path(file).name in report


@pytest.mark.parametrize("top", ["", "archive/", "images/", "archive/pets/photos/"])
def test_folders_around_the_classes_and_train_and_test_are_understood(top, tmp_path):
    source = tmp_path / "source"
    for split, n in (("Train", 3), ("test", 2), ("valid", 1)):
        two_pets(source / top / split, n)
    for i, file in enumerate(sorted(source.rglob("*.JPG"))):
        photo(file, seed=i)
    pets, report = imported(source, tmp_path / "D", **TWO)
    for file, row in table(tmp_path / "D").items():
        split = "test" if "/test/" in f"/{file}" else "train"  # petweak draws a val of its own
        assert (row["split"], row["class"]) == (split, Path(file).parent.name)
    assert len(pets.split("test")) == 4 and "split: as the source has it" in report


def test_one_split_alone_is_drawn_from(tmp_path):
    pets, report = imported(two_pets(tmp_path / "s" / "train").parent, tmp_path / "D", **TWO)
    assert pets.breeds == ("minka", "rex") and len(pets.split("test")) == 2
    assert "drawn with seed 0" in report


@pytest.mark.parametrize("name", ["test", "Val"])
def test_a_test_folder_beside_folders_of_classes_is_a_split(name, tmp_path):
    two_pets(two_pets(tmp_path / "s", 3) / name, 2)
    for i, file in enumerate(sorted((tmp_path / "s").rglob("*.JPG"))):
        photo(file, seed=i)
    pets, report = imported(tmp_path / "s", tmp_path / "D", **TWO)
    assert pets.breeds == ("minka", "rex")
    for file, row in table(tmp_path / "D").items():
        assert row["split"] == ("test" if file.startswith(name) else "train")
    assert "4 photos as the source has it (4 test), 6 without one: all train" in report
    assert f"the folder {name.lower()!r} is taken as a split" in report


@pytest.mark.parametrize("file", ["train/minka/1.jpg", "test/1.jpg", "test/minka2/1.jpg"])
def test_a_split_folder_beside_folders_of_classes_that_is_unclear_is_refused(file, tmp_path):
    photo(two_pets(tmp_path / "s", 3) / file)
    with pytest.raises(ValueError, match=f"folder '{file.split('/')[0]}' beside .*rename it"):
        import_photos(tmp_path / "s", tmp_path / "D", progress=False, species="cat")


@pytest.mark.parametrize("train, test", [
    ("training_set/training_set", "test_set/test_set"), ("train2017", "val2017"),
    ("Train_Images", "validation_images/images"), ("images/trainset", "images/testset"),
    ("images_train", "images_val"), ("train", "test1"), ("train/train/photos", "TEST/TEST")])
def test_names_of_splits_and_doubled_folders_are_understood(train, test, tmp_path):
    for k, (split, n) in enumerate(((train, 3), (test, 2))):
        for folder in ("cats", "dogs"):
            for i in range(n):
                photo(tmp_path / "s" / split / folder / f"{folder[:3]}.{k}{i}.jpg")
    pets, report = imported(tmp_path / "s", tmp_path / "D")  # the species by the names
    assert {s.breed_name: s.species for s in pets.samples} == {"cats": 0, "dogs": 1}
    assert "split: as the source has it" in report
    for file, row in table(tmp_path / "D").items():
        assert row["split"] == ("train" if file.startswith(train) else "test")


@pytest.mark.parametrize("dates", ["2023", "2023-05-01", "01"])
def test_folders_of_dates_belong_to_the_class_around_them(dates, tmp_path):
    for folder in ("cats", "dogs"):
        for i in range(2):
            photo(tmp_path / "s" / folder / dates / f"{i}.jpg")
    pets, _ = imported(tmp_path / "s", tmp_path / "D")
    assert {s.breed_name: s.species for s in pets.samples} == {"cats": 0, "dogs": 1}


@pytest.mark.parametrize("sep, train, test", [(".", "train", "test1"), ("_", "", "")])
def test_cats_and_dogs_by_the_names_of_files_are_not_one_class(sep, train, test, tmp_path):
    for i in range(4):
        photo(tmp_path / "s" / train / f"{('cat', 'Dog')[i % 2]}{sep}{i}.jpg")
        photo(tmp_path / "s" / test / f"{i}.jpg")
    with pytest.raises(ValueError, match="of cats and of dogs.*folders cats and dogs.*CSV"):
        import_photos(tmp_path / "s", tmp_path / "D", species="cat", progress=False)


def test_a_flat_folder_is_one_class_and_breed_number_of_known_breeds_are_several(tmp_path):
    for i in range(4):
        photo(tmp_path / "my cat" / f"IMG_{i}.jpg")
        photo(tmp_path / "official" / f"Abyssinian_{i}.jpg")
        photo(tmp_path / "official" / f"great_pyrenees_{i}.jpg")
        photo(tmp_path / "other" / f"labrador_{i}.jpg")
        photo(tmp_path / "other" / f"poodle_{i}.jpg")
    one, _ = imported(tmp_path / "my cat", tmp_path / "D1", species="cat")
    assert one.breeds == ("my cat",) and {s.species for s in one.samples} == {0}
    two, _ = imported(tmp_path / "official", tmp_path / "D2")
    assert two.breeds == ("Abyssinian", "great_pyrenees")
    assert {s.breed_name: s.species for s in two.samples} == {"Abyssinian": 0, "great_pyrenees": 1}
    other, report = imported(tmp_path / "other", tmp_path / "D3", species="dog")
    assert other.breeds == ("other",) and "labrador" in report and "--classes" in report
    named, _ = imported(tmp_path / "other", tmp_path / "D4", species="dog",
                        classes="labrador,poodle")
    assert named.breeds == ("labrador", "poodle")


def test_names_that_cannot_be_written_and_pipes_do_no_harm(tmp_path):
    source = two_pets(tmp_path / "pets", 3)
    photo(source / "rex" / os.fsdecode(b"gr\xfcn.jpg"), 5)
    os.mkfifo(source / "rex" / "pipe.jpg")
    pets, report = imported(source, tmp_path / "D", **TWO)
    assert len(pets) == 7 and "left out, no file: rex/pipe.jpg" in report
    assert table(tmp_path / "D")["rex/gr?n.jpg"]["id"] == "grn"
    for i in range(2):
        photo(source / "a\nb" / f"{i}.jpg")
    with pytest.raises(ValueError, match="cannot be printed"):
        import_photos(source, tmp_path / "D2", progress=False, species="cat")


# --- species


def test_species_are_asked_for_in_one_line_or_known_by_name(tmp_path):
    source = two_pets(tmp_path / "pets")
    with pytest.raises(ValueError, match=r"cat or dog\? .*--species minka=cat,rex=cat, with dog"):
        import_photos(source, tmp_path / "D", progress=False)
    assert not (tmp_path / "D").exists()
    same, _ = imported(source, tmp_path / "D", species="cat")
    assert {s.species for s in same.samples} == {0}
    mixed, _ = imported(source, tmp_path / "D2", species="rex=Dog,cat")
    assert {s.breed_name: s.species for s in mixed.samples} == {"minka": 0, "rex": 1}
    for wrong, says in (("rex=bird", "NAME=cat"), ("felix=cat", "minka, rex")):
        with pytest.raises(ValueError, match=says):
            import_photos(source, tmp_path / "D3", species=wrong, progress=False)
    for i in range(2):
        for folder in ("Cats/felix", "Cats/tom", "Dogs/rex", "Siamese", "shiba inu"):
            photo(tmp_path / "known" / folder / f"{i}.jpg")
    known, _ = imported(tmp_path / "known", tmp_path / "D4")
    assert {s.breed_name: s.species for s in known.samples} == {
        "felix": 0, "tom": 0, "rex": 1, "Siamese": 0, "shiba inu": 1}


def test_classes_with_commas_and_spaces_are_said_as_the_error_says_it(tmp_path):
    for name in ("minka", "Mix, brown", "cat, the 2nd"):
        for i in range(3):
            photo(tmp_path / "pets" / name / f"{name[:3]}{i}.jpg")
    with pytest.raises(ValueError, match="cat or dog") as error:
        import_photos(tmp_path / "pets", tmp_path / "D", progress=False)
    typed = shlex.split(re.search("--species (.*), with dog", str(error.value))[1])
    assert typed == ["cat, the 2nd=cat", "minka=cat", "Mix, brown=cat"]
    for k, species in enumerate((typed, "cat,minka=cat,Mix, brown=cat")):
        pets, _ = imported(tmp_path / "pets", tmp_path / f"D{k}", species=species)
        assert pets.breeds == ("cat, the 2nd", "minka", "Mix, brown")
    pets, _ = imported(tmp_path / "pets", tmp_path / "D3", species=["Mix, brown=dog", "cat"],
                       classes=["Mix, brown", "minka"])
    assert {s.breed_name: s.species for s in pets.samples} == {"minka": 0, "Mix, brown": 1}


@pytest.mark.parametrize("text", ["1 Minka\n2 Rex\n", "Minka\nRex\n"])
@pytest.mark.parametrize("form", ["folders", "split folders", "csv"])
def test_a_classes_txt_names_classes_that_are_numbers(text, form, tmp_path):
    top, source = tmp_path / "s", tmp_path / "s"
    for split in ("train", "test") if form == "split folders" else ("",):
        for k in "12":
            for i in range(2):
                photo(top / split / k / f"{split}{i}.jpg")
    (top / "classes.txt").write_text(text)
    if form == "csv":
        source = top / "ids.csv"
        rows = [f"{k}/{i}.jpg,{k}\n" for k in "12" for i in range(2)]
        source.write_text("file,class\n" + "".join(rows))
    pets, report = imported(source, tmp_path / "D", species="Minka=cat,Rex=dog")
    assert {(Path(f).parent.name, row["class"]) for f, row in table(tmp_path / "D").items()} == {
        ("1", "Minka"), ("2", "Rex")}
    assert pets.breeds == ("Minka", "Rex") and "classes.txt (1)" not in report
    (top / "classes.txt").write_text("5 Minka\n2 Rex\n")
    with pytest.raises(ValueError, match="no name for the class ids"):
        import_photos(source, tmp_path / "D2", species="cat", progress=False)


def test_two_classes_of_one_name_are_refused(tmp_path):
    for i, folders in enumerate((("cats/rex", "dogs/rex"), ("my_cat", "My Cat"))):
        for folder in folders:
            for n in range(2):
                photo(tmp_path / f"{i}" / folder / f"{n}.jpg")
        with pytest.raises(ValueError, match="rename one"):
            import_photos(tmp_path / f"{i}", tmp_path / "D", species="cat", progress=False)


# --- masks


def test_a_folder_of_masks_by_path_stem_or_suffix(tmp_path):
    source, masks = two_pets(tmp_path / "pets", 6), tmp_path / "masks"
    truth = {f"{name}_IMG_{1000 + i}": pet(i + (name == "rex")) for name in ("minka", "rex")
             for i in range(6)}
    endings = ("{}.png", "{}.PNG", "{}_mask.png", "{}.JPG.png", "{}.tif")
    for i, end in enumerate(endings):
        for name in ("minka", "rex"):
            mask = truth[f"{name}_IMG_{1000 + i}"]
            save(masks / name / end.format(f"IMG_{1000 + i}"), mask.astype(np.uint8) * 255)
    save(masks / "minka" / "IMG_7.png", pet(0))
    pets, report = imported(source, tmp_path / "D", masks=masks, **TWO)
    for image_id, mask in truth.items():
        if image_id.endswith("1005"):
            assert pets.sample(image_id).trimap is None
        else:
            assert iou(pets, image_id, mask) == 1
    assert "10 trimaps" in report and "1 masks belong to no photo" in report
    # Inside of the source, whether they are said to be masks or not.
    shutil.copytree(masks, source / "masks")
    for n, option in enumerate(({}, dict(masks=source / "masks"))):
        inside, report = imported(source, tmp_path / f"D{n}", **option, **TWO)
        assert sum(s.trimap is not None for s in inside.samples) == 10 and len(inside) == 12
        assert ("left out, the mask of a photo beside it: masks/minka/" in report) == (not option)


@pytest.mark.parametrize("end, kind", [
    ("{}.png", "labels"), ("{}_mask.png", "1 bit"), ("{}.png", "colour"), ("{}.png", "alpha")])
@pytest.mark.parametrize("told", [False, True])
def test_masks_beside_their_photos_are_no_photos(end, kind, told, tmp_path):
    source = two_pets(tmp_path / "pets", 3)
    for i, file in enumerate(sorted(source.rglob("*.JPG"))):
        file = file.rename(file.with_name(f"{i}.jpg"))
        to = file.parent / end.format(file.stem)
        to.parent.mkdir(exist_ok=True)
        KINDS[kind](pet(i)).save(to)
    photo(source / "rex" / "5.bmp", 8)  # of the same name, and a photo by all it shows
    option = dict(masks=source) if told else {}
    (source / "rex" / "5.bmp").unlink() if told else None  # with it, the mask is of neither
    pets, report = imported(source, tmp_path / "D", **option, **TWO)
    assert len(pets) == 7 - told
    for i, s in enumerate(s for s in sorted(pets.samples, key=lambda s: s.id)
                          if s.photo.suffix == ".jpg"):
        if i == 5 and not told:
            assert s.trimap is None
            continue
        assert (load_trimap(s.trimap) != 2).astype(int).tolist() == pet(i).astype(int).tolist()
    assert ("left out, the mask of a photo beside it: " in report) == (not told)
    assert ("have the stem of one mask: name masks as the photos" in report) == (not told)
    assert ("rex/5.bmp, rex/5.jpg (2)" in report) == (not told)


@pytest.mark.parametrize("end", ["{}_mask.tif", "{}.tif", "masks/{}.tif"])
def test_a_mask_of_several_pages_is_named_and_no_photo(end, tmp_path):
    """Each page may be a pet; one that is a small copy of the first is none."""
    source = two_pets(tmp_path / "pets", 3)
    for k, file in enumerate(sorted(source.rglob("*.JPG"))):
        mask = Image.fromarray(pet(k))
        to = file.parent / end.format(file.stem)
        to.parent.mkdir(exist_ok=True)
        page = mask.resize((WIDTH // 4, HEIGHT // 4)) if k else mask
        mask.save(to, save_all=True, append_images=[page])
    pets, report = imported(source, tmp_path / "D", **TWO)
    assert len(pets) == 6 and sum(s.trimap is not None for s in pets.samples) == 5
    assert ("without a mask, its mask has 2 pages, a mask of each pet perhaps: save their union as "
            "one: minka/IMG_1000.JPG (1)") in report
    rows = table(tmp_path / "D")
    files = sorted(str(f.relative_to(source)) for f in source.rglob("*.JPG"))
    for k, name in enumerate(files[1:], 1):
        assert iou(pets, rows[name]["id"], pet(k)) == 1


def test_masks_of_petweak_are_never_photos(tmp_path):
    source = two_pets(tmp_path / "pets", 3)
    for i, file in enumerate(sorted(source.rglob("*.JPG"))):
        write_mask(file.with_name(f"out_{i}.png"), pet(i).astype(np.uint8) * 255, PREDICT)
        write_mask(source / "out" / f"{i}.png", pet(i).astype(np.uint8) * 255)
    pets, report = imported(source, tmp_path / "D", **TWO)
    assert len(pets) == 6 and pets.breeds == ("minka", "rex")
    assert "left out, a mask that petweak wrote: minka/out_0.png" in report and "(12)" in report
    (source / "pets.csv").write_text("file,class\nminka/IMG_1000.JPG,x\nminka/IMG_1001.JPG,x\n"
                                     "minka/out_0.png,x\n")
    pets, report = imported(source / "pets.csv", tmp_path / "D2", species="cat")
    assert len(pets) == 2 and "a mask that petweak wrote: minka/out_0.png (1)" in report


def test_a_mask_that_could_be_of_two_photos_is_taken_for_neither(tmp_path):
    source = two_pets(tmp_path / "pets", 3)
    photo(source / "rex" / "bone.jpg")
    for stem in ("IMG_1000", "bone"):
        save(tmp_path / "masks" / f"{stem}.png", pet(0).astype(np.uint8) * 255)
    pets, report = imported(source, tmp_path / "D", masks=tmp_path / "masks", **TWO)
    assert [s.id for s in pets.samples if s.trimap] == ["bone"]
    assert "without a mask, several photos have the stem of one mask: name masks as the" in report
    assert "minka/IMG_1000.JPG, rex/IMG_1000.JPG (2)" in report
    (tmp_path / "masks" / "bone.png").unlink()
    with pytest.raises(ValueError, match="stem of a photo alone.*photo.jpg.png and photo.png.png"):
        import_photos(source, tmp_path / "D2", masks=tmp_path / "masks", progress=False, **TWO)


SUFFIXES = (".jpg", ".bmp", ".png")


@pytest.mark.parametrize("folder", ["", "rex/", "images/rex/"])
@pytest.mark.parametrize("end", ["{}.png", "{}_mask.png", "{}.tif"])
def test_photos_of_one_stem_have_masks_of_their_whole_names(end, folder, tmp_path):
    source, masks = tmp_path / "pets", tmp_path / "masks"
    for i, suffix in enumerate(SUFFIXES):
        photo(source / folder / f"bone{suffix}", i)
        save(masks / folder / end.format(f"bone{suffix}"), pet(i).astype(np.uint8) * 255)
    photo(source / folder / "rest.jpg", 9)
    pets, report = imported(source, tmp_path / "D", masks=masks, species="dog")
    rows = {Path(f).suffix: r["id"] for f, r in table(tmp_path / "D").items() if "bone" in f}
    for i, suffix in enumerate(SUFFIXES):
        assert iou(pets, rows[suffix], pet(i)) == 1
    assert "1 photos have no trimap" in report
    # One mask for all three is of none of them, and they are named; one for the JPEG is its own.
    for file in list(masks.rglob("bone*")):
        file.unlink()
    for name in ("bone.png", "rest.png"):
        save(masks / folder / name, pet(0).astype(np.uint8) * 255)
    pets, report = imported(source, tmp_path / "D2", masks=masks, species="dog")
    assert [s.id for s in pets.samples if s.trimap] == ["rest"]
    assert "photos have the stem of one mask: name masks as the photos" in report
    assert all(f"bone{suffix}" in report for suffix in SUFFIXES) and "(3)" in report
    assert "3 photos have no trimap" in report
    save(masks / folder / "bone.jpg.png", pet(1).astype(np.uint8) * 255)
    pets, report = imported(source, tmp_path / "D3", masks=masks, species="dog")
    (has,) = [s for s in pets.samples if s.trimap and s.id != "rest"]
    assert has.photo.suffix == ".jpg" and iou(pets, has.id, pet(1)) == 1
    assert f"{folder}bone.bmp, {folder}bone.png (2)" in report


@pytest.mark.parametrize("photos, masks", [
    ("{}", "{}/masks"), ("{}", "{}/labels"), ("{}", "{}/annotations"), ("{}/images", "{}/labels"),
    ("{}", "{}/trimaps"), ("train/{}", "train/{}/GT"), ("train/images/{}", "train/labels/{}"),
    ("{}", "masks/{}"), ("images/{}", "annotations/masks/{}"), ("cats/{}", "cats/{}/seg")])
@pytest.mark.parametrize("end", ["{}.png", "{}_mask.tif", "{}.JPG.png", "{}.jpg"])
def test_masks_in_a_folder_within_that_of_the_photos_are_no_photos(end, photos, masks, tmp_path):
    source, truth = tmp_path / "pets", {}
    for k, (name, i) in enumerate((name, i) for name in ("minka", "rex") for i in range(3)):
        file = photo(source / photos.format(name) / f"IMG_{i}.JPG", k)
        value = 1 if "trimaps" in masks and end[-3:] != "jpg" else 255
        mask = np.where(pet(k), value, 2 if value == 1 else 0).astype(np.uint8)
        save(source / masks.format(name) / end.format(f"IMG_{i}"), mask)
        truth[file.relative_to(source).as_posix()] = pet(k)
    save(source / masks.format("rex") / "other.png", mask)
    pets, report = imported(source, tmp_path / "D", species="cat")
    rows = table(tmp_path / "D")
    assert pets.breeds == ("minka", "rex") and len(pets) == 6 and "6 trimaps" in report
    for file, mask in truth.items():
        assert iou(pets, rows[file]["id"], mask) > (0.9 if end.endswith("jpg") else 0.999)
    assert "left out, the mask of a photo beside it: " in report and "(6)" in report
    assert "in a folder of masks, and of no photo beside it alone: " in report


def test_what_looks_like_masks_in_a_folder_of_any_name_is_no_photo(tmp_path):
    source = two_pets(tmp_path / "pets", 3)
    for i, file in enumerate(sorted(source.rglob("*.JPG"))):
        save(file.parent / "out" / "2023" / f"{file.stem}.png", pet(i).astype(np.uint8) * 255)
    photo(source / "rex" / "old" / "IMG_1000.png")  # a photo, whatever it is called
    pets, report = imported(source, tmp_path / "D", **TWO)
    rows = table(tmp_path / "D")
    assert len(pets) == 7 and rows["rex/old/IMG_1000.png"]["id"] and "out/2023/IMG" in report
    for i, file in enumerate(sorted(source.rglob("*.JPG"))[:3]):
        assert iou(pets, rows[file.relative_to(source).as_posix()]["id"], pet(i)) == 1


def masked(source: Path, photos: str, masks: dict[str, str], ext=".png") -> dict[str, np.ndarray]:
    """Six photos, and folders of masks of a kind; the masks by the photos' names."""
    truth = {}
    for k in range(6):
        place = dict(split=("train", "test")[k % 3 == 2], name=("minka", "rex")[k % 2])
        file = photo(source / photos.format(**place) / f"IMG_{k}.jpg", k)
        truth[file.relative_to(source).as_posix()] = pet(k)
        for folder, kind in masks.items():
            to = source / folder.format(**place) / f"IMG_{k}{ext}"
            to.parent.mkdir(parents=True, exist_ok=True)
            (KINDS | OTHERS)[kind](pet(k)).save(to)
    return truth


def overlay(mask: np.ndarray) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 255, (*mask.shape, 3), np.uint8)
    return Image.fromarray(np.where(mask[..., None], np.array([255, 0, 0], np.uint8), noise))


OTHERS = {  # drawn over the photo; instances; probabilities; another mask of the same pet
    "overlay": overlay,
    "instances": lambda m: Image.fromarray(
        np.where(m, 1 + (np.arange(m.shape[1]) > 15), 0).astype(np.uint8)),
    "soft": lambda m: Image.fromarray(cv2.GaussianBlur(m.astype(np.uint8) * 255, (9, 9), 0)),
    "other": lambda m: Image.fromarray(np.roll(m, 3, 0).astype(np.uint8) * 255)}


@pytest.mark.parametrize("photos, masks", [
    ("JPEGImages", {"SegmentationClass": "colour", "SegmentationObject": "instances"}),
    ("JPEGImages", {"SegmentationObject": "colour"}),
    ("ds0/img", {"ds0/masks_human": "overlay", "ds0/masks_machine": "labels"}),
    ("images", {"binary_masks": "labels"}), ("images", {"segmentation_masks": "1 bit"}),
    ("images", {"PixelLabelData": "labels"}), ("", {"silhouettes": "labels"}),
    ("originals", {"out": "labels"}), ("images", {"a_masks": "labels", "masks_b": "1 bit"}),
    ("{split}", {"{split}_masks": "labels"}), ("{split}_images", {"masks_{split}": "colour"}),
    ("{name}", {"{name}_masks": "labels"}), ("{name}", {"cutouts/{name}": "alpha"}),
    ("photos of pets/{name}", {"m/{name}": "labels"}), ("{name}", {"all_masks": "labels"}),
    ("train/JPEGImages", {"train/SegmentationClass": "colour",
                          "train/SegmentationObject": "colour"}),
    ("PNGImages", {"PedMasks": "labels"}), ("images", {"out": "soft"}),
    ("data/images", {"data/masks": "labels", "data/vis": "overlay"}),
    ("{split}/{name}", {"{split}_gt/{name}": "labels", "{split}_gt_color/{name}": "overlay"})])
def test_folders_of_masks_of_any_name_are_no_class(photos, masks, tmp_path):
    source = tmp_path / "pets"
    truth = masked(source, photos, masks)
    pets, report = imported(source, tmp_path / "D", species="cat")
    rows = table(tmp_path / "D")
    assert len(pets) == 6 and len(pets.breeds) == 1 + ("{name}" in photos)
    assert not set(pets.breeds) & {"train", "images", "JPEGImages", "out"}
    for file, mask in truth.items():
        assert iou(pets, rows[file]["id"], mask) > (0.9 if "soft" in masks.values() else 0.999)
        assert "{split}" not in photos or (rows[file]["split"] == "test") == ("test" in file)
    assert "left out, the mask of a photo beside it: " in report
    assert ("masks as well: those in " in report) == (len(masks) > 1)


def test_folders_of_masks_that_differ_are_refused_until_one_is_said(tmp_path):
    source = tmp_path / "pets"
    truth = masked(source, "images", {"masks_sam": "labels", "masks_cut": "other"})
    with pytest.raises(ValueError, match="masks_cut and masks_sam, and they differ.*--masks FOL"):
        import_photos(source, tmp_path / "D", species="cat", progress=False)
    pets, report = imported(source, tmp_path / "D", species="cat", masks=source / "masks_sam")
    assert len(pets) == 6 and pets.breeds == ("pets",)
    for file, mask in truth.items():
        assert iou(pets, Path(file).stem, mask) == 1


def test_a_folder_of_masks_that_look_like_photos_is_refused(tmp_path):
    masked(tmp_path / "pets", "images", {"masks_human": "overlay"})
    with pytest.raises(ValueError, match="masks_human: .*--foreground"):
        import_photos(tmp_path / "pets", tmp_path / "D", species="cat", progress=False)


def test_folders_of_photos_are_no_masks_whatever_they_share(tmp_path):
    for i in range(3):  # drawn, of few colours, and of the same names
        for k, name in enumerate(("minka", "rex", "tom")):
            save(tmp_path / "s" / name / f"{i}.png", np.uint8(pet(i)[..., None] * [9, i, 40 * k]))
    pets, _ = imported(tmp_path / "s", tmp_path / "D", species="cat")
    assert pets.breeds == ("minka", "rex", "tom") and len(pets) == 9
    for top in ("data/{}", "{}/images", "train/images/{}"):
        for i, name in enumerate(("minka", "rex")):
            for n in range(3):
                photo(tmp_path / top[:2] / top.format(name) / f"IMG_{n}.jpg", 10 * i + n)
        pets, _ = imported(tmp_path / top[:2], tmp_path / f"D{top[:2]}", species="cat")
        assert pets.breeds == ("minka", "rex") and len(pets) == 6


@pytest.mark.parametrize("folder", ["rex/masks", "rex/Labels", "labels", "train/gt/rex"])
def test_a_folder_named_as_one_of_masks_that_fits_no_photo_is_refused(folder, tmp_path):
    source = two_pets(tmp_path / "pets", 3)
    photo(source / folder / "IMG_9.png")
    with pytest.raises(ValueError, match=f"folder '{folder}'.*--masks.*if photos, rename it"):
        import_photos(source, tmp_path / "D", progress=False, **TWO)


KINDS = {
    "labels": lambda m: Image.fromarray(np.where(m, 8, 0).astype(np.uint8)),
    "void": lambda m: Image.fromarray(
        np.where(cv2.erode(m.astype(np.uint8), np.ones((3, 3))) == 1, 8, np.where(m, 255, 0))
        .astype(np.uint8)),
    "colour": lambda m: Image.fromarray(m[..., None] * np.array([128, 0, 0], np.uint8)),
    "alpha": lambda m: Image.fromarray(
        np.dstack([np.full((*m.shape, 3), 90, np.uint8), m.astype(np.uint8) * 255])),
    "16 bit": lambda m: Image.fromarray(m.astype(np.uint16) * 65535),
    "1 bit": lambda m: Image.fromarray(m),
}


@pytest.mark.parametrize("kind", KINDS)
def test_masks_of_other_tools_become_trimaps(kind, tmp_path):
    source = two_pets(tmp_path / "pets", 3)
    (tmp_path / "masks").mkdir()
    for i, file in enumerate(sorted(source.rglob("*.JPG"))):
        to = file.with_name(f"{file.parent.name}{i}.jpg")
        file.rename(to)
        KINDS[kind](pet(i)).save(tmp_path / "masks" / f"{to.stem}.png")
    pets, _ = imported(source, tmp_path / "D", masks=tmp_path / "masks", **TWO)
    for i, s in enumerate(sorted(pets.samples, key=lambda s: s.id)):
        trimap = load_trimap(s.trimap)
        assert ((trimap == 2) == ~pet(i)).all()
        assert (trimap == 3).any() == (kind == "void")  # a border only where the mask leaves out


def test_unclear_masks_are_refused_until_the_user_says_what_is_foreground(tmp_path):
    source = two_pets(tmp_path / "pets", 2)
    for file in source.rglob("*.JPG"):
        values = np.where(pet(0), 3, 5).astype(np.uint8)
        values[-4:] = 9
        save(tmp_path / "masks" / file.parent.name / f"{file.stem}.png", values)
    options = dict(masks=tmp_path / "masks", **TWO)
    with pytest.raises(ValueError, match="3, 5, 9.*--foreground"):
        import_photos(source, tmp_path / "D", progress=False, **options)
    assert not list(tmp_path.glob("D/[!.]*"))
    pets, _ = imported(source, tmp_path / "D", foreground="3", **options)
    assert iou(pets, "rex_IMG_1000", pet(0)) == 1
    with pytest.raises(ValueError, match="path or the stem of a photo alone"):
        import_photos(source, tmp_path / "D2", masks=photo(tmp_path / "n" / "x.png").parent, **TWO)


def test_masks_of_turned_photos_and_of_another_size(tmp_path):
    source, masks = tmp_path / "pets", tmp_path / "masks"
    for i, name in enumerate(("seen", "stored", "half", "plain")):
        photo(source / "rex" / f"{name}.jpg", i, turn=6 if i < 3 else 1)
    upright = pet(1, (HEIGHT, WIDTH))  # as a viewer shows the turned ones
    save(masks / "seen.png", upright)
    save(masks / "stored.png", np.rot90(upright))
    save(masks / "half.png", upright[::2, ::2])
    save(masks / "plain.png", pet(1))
    pets, _ = imported(source, tmp_path / "D", masks=masks, species="dog")
    for name in ("seen", "stored"):
        assert load_photo(pets.sample(name).photo).size == (HEIGHT, WIDTH)
        assert iou(pets, name, upright) == 1
    assert iou(pets, "half", upright) > 0.9 and iou(pets, "plain", pet(1)) == 1


# --- Oxford-IIIT Pet, re-packed


def official(top: Path, images="images/images", notes="annotations/annotations", suffix=".JPG",
             lists=("trainval.txt", "test.txt")) -> Path:
    for k, breed in enumerate(("Bengal", "beagle")):
        for i in range(1, 5):
            photo(top / images / f"{breed}_{i}{suffix}", seed=10 * k + i)
            trimap = np.where(pet(i), 1, 2).astype(np.uint8)
            trimap[2:4, 6:30] = 3
            save(top / notes / "trimaps" / f"{breed}_{i}.png", trimap)
    for name in lists:
        of = (4, 1) if name == "test.txt" else (2, 3) if name == "trainval.txt" else (1, 2, 3, 4)
        rows = [f"{breed}_{i} {k} {1 + (k > 3)} 1" for k, breed in ((6, "beagle"), (2, "Bengal"))
                for i in of]
        text = "\n".join(rows).replace("beagle_4 6 2", "beagle_4 6 2")
        (top / notes / name).write_text(text + "\n", encoding="utf-8")
    (top / notes / "trimaps" / "._beagle_1.png").write_bytes(b"x")
    (top / notes / "xmls").mkdir()
    (top / notes / "xmls" / "beagle_1.xml").write_text("<x/>")
    return top


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


def test_a_row_that_is_there_twice_is_one(tmp_path):
    rows = ["file,class,mask"]
    for i in range(6):
        photo(tmp_path / f"{i}.jpg")
        save(tmp_path / f"m{i}.png", pet(i).astype(np.uint8) * 255)
        rows += [f"{i}.jpg,rex,m{i}.png"] * (1 + i % 2)
    (tmp_path / "pets.csv").write_text("\n".join(rows))
    pets, report = imported(tmp_path / "pets.csv", tmp_path / "D", species="dog")
    assert all(s.trimap for s in pets.samples) and "several" not in report


def test_one_mask_of_several_photos_is_doubted_and_has_to_fit_them_all(tmp_path):
    for i in range(6):
        photo(tmp_path / f"{i}.jpg")
        save(tmp_path / f"m{i}.png", pet(i).astype(np.uint8) * 255)
    file = tmp_path / "pets.csv"
    file.write_text("file,class,mask\n" + "".join(f"{i}.jpg,rex,m{i % 4}.png\n" for i in range(6)))
    _, report = imported(file, tmp_path / "D", species="dog")
    assert "doubt: 2 masks are of several photos each: m0.png (2), m1.png (2)" in report
    photo(tmp_path / "0.jpg", 7, size=(HEIGHT, WIDTH))  # before the one whose mask it is
    with pytest.raises(ValueError, match="1 of 6 masks are turned.*0.jpg: 48 x 36 px"):
        import_photos(file, tmp_path / "D2", species="dog", progress=False)


def test_listed_photos_that_are_missing_are_named(tmp_path):
    source = official(tmp_path / "s")
    next(source.rglob("beagle_2.JPG")).unlink()
    pets, report = imported(source, tmp_path / "D")
    assert len(pets) == 7 and "listed, and there is no photo: beagle_2 (1)" in report


# --- COCO


def rle(mask: np.ndarray, packed: bool) -> dict:
    if packed:
        out = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        return {"size": out["size"], "counts": out["counts"].decode()}
    flat = mask.ravel(order="F")
    edges = [0, *(np.flatnonzero(np.diff(flat)) + 1).tolist(), flat.size]
    counts = [0] * bool(flat[0]) + np.diff(edges).tolist()
    return {"size": list(mask.shape), "counts": counts}


def box(x: int, y: int, w: int, h: int) -> list[float]:
    return [x, y, x + w, y, x + w, y + h, x, y + h]


def annotated(top: Path, json_at="annotations/instances.json", photos_at="images", **changes):
    """Five photos: polygons, both kinds of RLE, two pets of one class, two of two classes."""
    for i in range(1, 7):
        photo(top / photos_at / f"{i:03d}.jpg")
    shape = (HEIGHT, WIDTH)
    cut = np.zeros(shape, bool)
    cut[5:15, 10:25] = True
    segments = [  # photo, category, segmentation
        (1, 17, [box(10, 5, 15, 10)]), (2, 18, rle(cut, True)), (3, 17, rle(cut, False)),
        (4, 18, [box(2, 2, 10, 10)]), (4, 18, [box(20, 4, 6, 6), box(30, 4, 6, 6)]),
        (5, 17, [box(0, 0, 20, 20)]), (5, 18, [box(30, 10, 5, 5)])]
    data = {
        "images": [{"id": i, "file_name": f"{i:03d}.jpg", "height": HEIGHT, "width": WIDTH}
                   for i in range(1, 7)],
        "categories": [{"id": 17, "name": "cat", "supercategory": "animal"},
                       {"id": 18, "name": "rex", "supercategory": "dog"},
                       {"id": 1, "name": "person", "supercategory": "person"}],
        "annotations": [{"id": k, "image_id": i, "category_id": c, "segmentation": s, "iscrowd": 0,
                         "area": 400 if k == 5 else 25} for k, (i, c, s) in enumerate(segments)]}
    for key, change in changes.items():
        change(data[key])
    (top / json_at).parent.mkdir(parents=True, exist_ok=True)
    (top / json_at).write_text(json.dumps(data), encoding="utf-8")
    return top


@pytest.mark.parametrize("json_at, photos_at, source", [
    ("annotations/instances.json", "images", ""), ("instances.json", ".", "instances.json"),
    ("annotations/instances.json", "images", "annotations/instances.json"),
    ("train/_annotations.coco.json", "train", "")])
def test_coco_instances_of_polygons_and_rle(json_at, photos_at, source, tmp_path):
    annotated(tmp_path / "s", json_at, photos_at)
    pets, report = imported(tmp_path / "s" / source, tmp_path / "D")
    assert {s.id: s.breed_name for s in pets.samples} == {
        "001": "cat", "002": "rex", "003": "cat", "004": "rex", "005": "cat"}
    assert {s.breed_name: s.species for s in pets.samples} == {"cat": 0, "rex": 1}
    cut = np.zeros((HEIGHT, WIDTH), bool)
    cut[5:15, 10:25] = True
    for image_id in ("001", "002", "003"):
        assert iou(pets, image_id, cut) == 1
    several = np.zeros((HEIGHT, WIDTH), bool)
    several[2:12, 2:12] = several[4:10, 20:26] = several[4:10, 30:36] = True
    assert iou(pets, "004", several) == 1
    assert "2 photos show several pets: the mask is their union" in report
    assert "1 photos show pets of several classes" in report
    assert table(tmp_path / "D")[Path(photos_at, "006.jpg").name]["left_out"] == (
        "no pet is annotated")


def test_coco_boxes_of_several_pets_are_no_union(tmp_path):
    def boxes(annotations):
        for a in annotations[3:]:  # of photo 4; of photo 5, which is of two classes
            a["segmentation"] = []

    pets, report = imported(annotated(tmp_path / "s", annotations=boxes), tmp_path / "D")
    assert sum(s.trimap is None for s in pets.samples) == 2 and "union" not in report
    assert "1 photos show pets of several classes: the class is that of the largest" in report


def test_coco_splits_of_two_files_and_other_categories(tmp_path):
    annotated(tmp_path / "s", "annotations/instances_train2017.json", "train2017")
    annotated(tmp_path / "s", "annotations/instances_val2017.json", "val2017",
              annotations=lambda a: a.append(a[0] | {"image_id": 6, "category_id": 1}))
    for i, file in enumerate(sorted((tmp_path / "s").rglob("*.jpg"))):
        photo(file, seed=i)
    with pytest.raises(ValueError, match="person.*--classes"):
        import_photos(tmp_path / "s", tmp_path / "D", progress=False)
    pets, report = imported(tmp_path / "s", tmp_path / "D", classes="cat,rex")
    assert len(pets.split("train")) == len(pets.split("test")) == 5
    rows = csv.DictReader((tmp_path / "D/oxford-iiit-pet/annotations/import.csv").open())
    assert {r["id"]: r["split"] for r in rows if r["id"]} == {s.id: s.split for s in pets.samples}
    for s in pets.samples:  # of two files of one name, each has its own
        folder = "val2017" if s.split == "test" else "train2017"
        assert s.photo.read_bytes() in state(tmp_path / "s" / folder).values()


def test_coco_categories_without_annotations_do_not_count(tmp_path):
    def doubled(categories):  # as Roboflow writes a project of one class
        categories += [{"id": 0, "name": "cat", "supercategory": "none"}, {"id": 3, "name": "rex"}]

    pets, _ = imported(annotated(tmp_path / "s", categories=doubled), tmp_path / "D")
    assert pets.breeds == ("cat", "rex") and len(pets) == 5


@pytest.mark.parametrize("before", ["C:\\Users\\me\\pics\\{}\\", "/home/me/Pics/{}/", "{}/"])
def test_coco_paths_of_another_machine_are_told_by_their_ends(before, tmp_path):
    def renamed(images):
        for i, image in enumerate(images):
            image["file_name"] = f"{before.format('ab'[i % 2])}{i // 2}.jpg"

    annotated(tmp_path / "s", images=renamed)
    for i in range(6):
        photo(tmp_path / "s" / "pics" / "ab"[i % 2] / f"{i // 2}.jpg", 90 + i)
    pets, report = imported(tmp_path / "s", tmp_path / "D")
    rows = table(tmp_path / "D")
    expected = ["cat", "rex", "cat", "rex", "cat"]
    ids = [rows[f"{before.format('ab'[i % 2])}{i // 2}.jpg".replace("\\", "/")]["id"]
           for i in range(5)]
    assert [pets.sample(i).breed_name for i in ids] == expected
    for i, image_id in enumerate(ids):
        file = tmp_path / "s" / "pics" / "ab"[i % 2] / f"{i // 2}.jpg"
        assert pets.sample(image_id).photo.read_bytes() == file.read_bytes()


def test_coco_entries_whose_photo_is_missing_take_no_other(tmp_path):
    def renamed(images):
        images[1]["file_name"] = "gone/001.jpg"  # of the name of the first, which is there
        images[0]["file_name"] = "images/001.jpg"
        images.reverse()

    pets, report = imported(annotated(tmp_path / "s", images=renamed), tmp_path / "D")
    assert "left out, listed, and there is no photo: gone/001.jpg (1)" in report
    assert len(pets) == 4 and pets.sample("001").breed_name == "cat"


@pytest.mark.parametrize("change", [str, float])
def test_coco_ids_are_the_same_as_numbers_and_as_texts(change, tmp_path):
    def changed(annotations):
        for a in annotations:
            a["image_id"], a["category_id"] = change(a["image_id"]), change(a["category_id"])

    pets, report = imported(annotated(tmp_path / "s", annotations=changed), tmp_path / "D")
    assert len(pets) == 5 and all(s.trimap for s in pets.samples) and "doubt" not in report


def test_coco_annotations_of_no_photo_are_doubted(tmp_path):
    def lost(annotations):
        annotations[0]["image_id"] = 77

    pets, report = imported(annotated(tmp_path / "s", annotations=lost), tmp_path / "D")
    assert len(pets) == 4
    assert re.search("doubt: 1 annotations in .*instances.json are of no photo .*: 77", report)


@pytest.mark.parametrize("outline", [
    box(10, 5, 15, 10), [[10, 5], [25, 5], [25, 15], [10, 15]],
    [[[10, 5], [25, 5], [25, 15], [10, 15]]]])
def test_a_coco_outline_in_no_list_of_outlines_is_one(outline, tmp_path):
    source = annotated(tmp_path / "s", annotations=lambda a: a[0].update(segmentation=outline))
    pets, _ = imported(source, tmp_path / "D")
    cut = np.zeros((HEIGHT, WIDTH), bool)
    cut[5:15, 10:25] = True
    assert iou(pets, "001", cut) == 1


BROKEN = {
    "RLE of another size": lambda a: a[1]["segmentation"].update(size=[3, 3]),
    "counts": lambda a: a[2]["segmentation"].update(counts=[5, 5]),
    "negative": lambda a: a[2]["segmentation"].update(counts=[-5, HEIGHT * WIDTH + 5]),
    "far": lambda a: a[0].update(segmentation=[[1e12, 0, 0, 1e12, 5, 5]]),
    "odd": lambda a: a[0].update(segmentation=[[1, 2, 3, 4, 5, 6, 7]]),
    "nan": lambda a: a[0].update(segmentation=[[float("nan")] * 6]),
    "text": lambda a: a[0].update(segmentation=[["a", "b", 1, 2, 3, 4]]),
    "a point": lambda a: a[0].update(segmentation=[[4, 4, 5, 5]]),
    "a box alone": lambda a: a[0].update(segmentation=[]),
    "packed": lambda a: a[1]["segmentation"].update(counts="zzzz@@@@"),
    **{f"packed and cut to {n}": partial(lambda n, a: a[1]["segmentation"].update(
        counts=a[1]["segmentation"]["counts"][:n]), n) for n in (0, 1, 2, 3, 4, -2, -1)},
    "packed, no characters of it": lambda a: a[1]["segmentation"].update(counts="!\u00e9~"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_an_outline_that_is_none_costs_the_mask_and_not_the_photo(fault, tmp_path):
    pets, report = imported(annotated(tmp_path / "s", annotations=BROKEN[fault]), tmp_path / "D")
    assert len(pets) == 5 and sum(s.trimap is not None for s in pets.samples) == 4
    assert "without a mask" in report


def test_masks_packed_by_the_library_are_read_as_they_were(tmp_path):
    rng, masks = np.random.default_rng(0), {}

    def random(annotations):  # long and short runs, differences of either sign, from the first on
        del annotations[3:]
        for a in annotations:
            small = rng.random((HEIGHT // 4, WIDTH // 4)) < 0.7
            mask = np.kron(small, np.ones((4, 4), bool)) ^ (rng.random((HEIGHT, WIDTH)) < 0.02)
            masks[f"{a['image_id']:03d}"], a["segmentation"] = mask, rle(mask, True)

    pets, _ = imported(annotated(tmp_path / "s", annotations=random), tmp_path / "D")
    assert len(masks) == 3 and all(iou(pets, i, mask) == 1 for i, mask in masks.items())


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("source", ["", "annotations/instances.json"])
def test_coco_is_read_in_any_encoding_of_json(encoding, source, tmp_path):
    file = annotated(tmp_path / "s") / "annotations" / "instances.json"
    file.write_text(json.dumps(json.loads(file.read_text())), encoding=encoding)
    pets, _ = imported(tmp_path / "s" / source, tmp_path / "D")
    assert pets.breeds == ("cat", "rex") and all(s.trimap for s in pets.samples)


@pytest.mark.parametrize("content, says", [
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git-LFS pointer"),
    (b"<!DOCTYPE html><html>", "web page"), (b"", "is empty"), (b'{"images": [', "is no JSON"),
    (b'{"images": "\xff"}', "is no JSON"), (b"[" * 99999, "is no JSON"), (None, "link to none")])
@pytest.mark.parametrize("photos_at", ["images", "cats"])
def test_a_json_that_cannot_be_read_is_named_and_its_masks_not_lost(
    content, says, photos_at, tmp_path
):
    file = annotated(tmp_path / "s", photos_at=photos_at) / "annotations" / "instances.json"
    file.unlink()
    file.write_bytes(content) if content is not None else file.symlink_to("gone.json")
    for source in (tmp_path / "s", *[file] * file.exists()):
        with pytest.raises(ValueError, match=rf"instances.json .*{says}.* move it away"):
            import_photos(source, tmp_path / "D", progress=False, species="cat")
    file.unlink()
    file.with_name("._instances.json").write_bytes(b"\0\5\x16\7")  # of macOS: nobody's
    save(tmp_path / "s" / photos_at / "masks" / "001.png", pet(1))
    pets, _ = imported(tmp_path / "s", tmp_path / "D2", species="cat")
    assert len(pets) == 6


@pytest.mark.parametrize("content", [
    b"", b"// settings\n{}", b'{"a": 1}\n{"a": 2}\n', b'{"a": "M\xfcsli"}', b"\x1f\x8b\0"])
@pytest.mark.parametrize("coco", [True, False])
def test_a_json_of_something_else_is_named_and_costs_nothing(coco, content, tmp_path):
    source = annotated(tmp_path / "s") if coco else two_pets(tmp_path / "s")
    folder = source / ("images" if coco else "rex")
    (folder / "1.jpg.json").write_bytes(content)
    (tmp_path / "elsewhere").mkdir()
    (folder / "old.json").symlink_to(tmp_path / "elsewhere")
    pets, report = imported(source, tmp_path / "D", **{} if coco else TWO)
    assert len(pets) == (5 if coco else 10) and all(s.trimap for s in pets.samples) is coco
    assert f"no JSON: {folder.name}/1.jpg.json (1)" in report and "not followed" in report


@pytest.mark.parametrize("content", [
    '{"categories": [', "{'segmentation': 1}", "// of pets\n{'annotations': []}"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_json_of_any_name_that_speaks_of_masks_is_refused(encoding, content, tmp_path):
    source = two_pets(tmp_path / "s")
    (source / "rex" / "pets.json").write_text(content, encoding=encoding)
    with pytest.raises(ValueError, match="pets.json is no JSON.* move it away"):
        import_photos(source, tmp_path / "D", progress=False, **TWO)


def test_outlines_a_little_beyond_the_picture_are_cut_at_its_edge(tmp_path):
    """By 9 % of the width: said. By a pixel: rounding. By a third: of another picture."""
    def beyond(annotations):
        del annotations[3:]
        for a, by in zip(annotations, (0.09 * WIDTH, 1, WIDTH / 3), strict=True):
            a["segmentation"] = [box(20, 8, WIDTH - 20 + by, 20)]

    pets, report = imported(annotated(tmp_path / "s", annotations=beyond), tmp_path / "D")
    there = np.zeros((HEIGHT, WIDTH), bool)
    there[8:28, 20:] = True
    assert iou(pets, "001", there) == iou(pets, "002", there) == 1
    assert "outlines go beyond the edges of 1 photos, and are cut there: 001.jpg" in report
    assert pets.sample("003").trimap is None and "lies outside of its picture" in report


def polygons(change) -> object:
    """Of a mask: its outlines, with their points (n, 2) changed."""
    def of(mask: np.ndarray) -> list:
        found = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        return [change(points.reshape(-1, 2)).ravel().tolist() for points in found[0]]

    return of


def by_rows(mask: np.ndarray) -> dict:
    return {"size": list(mask.shape), "counts": rle(mask.T, False)["counts"]}


MISTAKEN = {
    "right": (lambda m: rle(m, True), ""), "right polygons": (polygons(lambda p: p + 0.5), ""),
    "by rows": (by_rows, "9 of 9 trimaps .* are lines"),
    "inverted": (lambda m: rle(~m, True), "9 of 9 trimaps .* more pet .* along the frame"),
    "x and y": (polygons(lambda p: p[:, ::-1]), r"outlines of \d of 9 .* not right, and those"),
    "from 0 to 1": (polygons(lambda p: p / [WIDTH, HEIGHT]), "outlines of 9 of 9 photos are not"),
    "of a larger one": (polygons(lambda p: 2 * p), r"outlines of \d of 9 photos are not right"),
    "a few pixels": (polygons(lambda p: np.array([[22, 18], [24, 18], [24, 20], [22, 20]])),
                     "9 of 9 trimaps .* have next to no pet"),
}


@pytest.mark.parametrize("kind", MISTAKEN)
def test_outlines_that_are_mistaken_are_doubted(kind, tmp_path):
    draw, says = MISTAKEN[kind]
    yy, xx = np.ogrid[:HEIGHT, :WIDTH]
    masks = {f"{k:03d}": (((xx - 22 - k) / 13) ** 2 + ((yy - 20) / (8 + k % 3)) ** 2 < 1)
             | ((xx - 15 - k) ** 2 + (yy - 9) ** 2 < 36) for k in range(1, 10)}
    for k, (name, mask) in enumerate(masks.items()):
        image = 180 * mask[..., None] + np.random.default_rng(k).integers(0, 40, (*mask.shape, 3))
        save(tmp_path / "s" / "images" / f"{name}.png", image.astype(np.uint8))

    def images(listed):
        listed[:] = [dict(listed[0], id=k, file_name=f"{k:03d}.png") for k in range(1, 10)]

    def annotations(listed):
        listed[:] = [dict(listed[0], id=k, image_id=k, category_id=17 + k % 2,
                          segmentation=draw(masks[f"{k:03d}"])) for k in range(1, 10)]

    pets, report = imported(annotated(tmp_path / "s", images=images, annotations=annotations),
                            tmp_path / "D")
    assert len(pets) == 9 and "masks: drawn from the outlines in the source" in report
    if says:
        assert re.search(f"doubt: .*{says}", report)
    else:
        assert "doubt" not in report
        assert all(iou(pets, name, mask) > 0.85 for name, mask in masks.items())


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_outlines_of_turned_photos_need_the_size_that_they_are_of(packed, said, tmp_path):
    mask = np.zeros((HEIGHT, WIDTH), bool)  # of the stored pixels
    mask[5:15, 10:25] = True

    def images(listed):
        for image in () if said else listed:
            del image["height"], image["width"]

    def annotations(listed):
        del listed[3:]
        for a in listed:
            a["segmentation"] = rle(mask, True) if packed else [box(10, 5, 15, 10)]

    annotated(tmp_path / "s", images=images, annotations=annotations)
    for k, turn in enumerate((6, 1, 8), 1):
        photo(tmp_path / "s" / "images" / f"00{k}.jpg", k, turn=turn)
    pets, report = imported(tmp_path / "s", tmp_path / "D")
    assert ("they need a width and a height: 001.jpg, 003.jpg (2)" in report) == (
        not said and not packed)
    assert len(pets) == 3 and iou(pets, "002", mask) == 1
    if said or packed:
        assert iou(pets, "001", np.rot90(mask, -1)) == iou(pets, "003", np.rot90(mask)) == 1


@pytest.mark.parametrize("changes, says", [
    (dict(annotations=lambda a: a[0].update(category_id=5)), "not as COCO's instances are"),
    (dict(annotations=lambda a: a.append(3)), "not as COCO's instances are"),
    (dict(images=lambda a: a[0].pop("file_name")), "not as COCO's instances are"),
    (dict(images=lambda a: a.append(dict(a[0]))), "listed twice"),
    (dict(images=lambda a: a[0].update(file_name="")), "not as COCO's instances are"),
    (dict(annotations=lambda a: a[0].update(area="big")), "not as COCO's instances are"),
    (dict(annotations=lambda a: a[0].update(area=0, bbox=[1])), "not as COCO's instances are"),
    (dict(categories=lambda a: a[0].update(name="rex")), "two categories .*'rex'.*rename one")])
def test_coco_that_is_none_is_refused(changes, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        import_photos(annotated(tmp_path / "s", **changes), tmp_path / "D", progress=False)


# --- CSV


def test_a_csv_of_file_class_split_and_mask(tmp_path):
    source = tmp_path / "s"
    lines = ["\ufeffFILE;Class;Split;MASK;species"]
    for i in range(4):
        photo(source / "sub folder" / f"{i}.png")
        save(source / "masks" / f"m{i}.png", pet(i))
        name = f"sub folder\\{i}.png" if i % 2 else f"sub folder/{i}.png"
        split = ("Train", "train", "TEST", "val")[i]
        lines.append(f"{name};{'rex' if i % 2 else 'Mia; the cat'!r};{split};masks/m{i}.png;")
    lines = [x.replace("'Mia; the cat'", '"Mia; the cat"').replace("'rex'", "rex") for x in lines]
    lines[1] += "cat"
    lines.append(lines[2].replace("m1", "m3") + "dog")  # a second pet in the second photo
    lines += ["", "missing.jpg;rex;train;;"]
    (source / "pets.csv").write_text("\n".join(lines), encoding="utf-8")
    pets, report = imported(source / "pets.csv", tmp_path / "D")
    assert {s.id: (s.breed_name, s.species, s.split) for s in pets.samples} == {
        "0": ("Mia; the cat", 0, "train"), "1": ("rex", 1, "train"),
        "2": ("Mia; the cat", 0, "test"), "3": ("rex", 1, "train")}
    assert iou(pets, "1", pet(1) | pet(3)) == iou(pets, "2", pet(2)) == 1
    assert "1 photos have several masks: their union is taken" in report
    assert "left out, No such file" in report and "missing.jpg" in report


@pytest.mark.parametrize("text, says", [
    ("image,label\na.jpg,rex\n", "image, label"), ("", "is empty"), (" \n\n", "is empty"),
    ("file,class\n,\n", "pets.csv lists no photo"),
    ("file,class,splits\na.jpg,rex,test\n", "pets.csv has a column 'splits': did you mean split"),
    ("file;Class;Masks\na.jpg;rex;m.png\n", "'masks': did you mean mask"),
    ("file,class,class\na.jpg,rex,\n", "pets.csv has two columns called 'class'"),
    ("file,class\na.jpg,rex\na.jpg,Shorthair, grey\n", "row 3: 3 cells.*has 2.*grey would be lost"),
    ("file,class\na.jpg,\n", "row 2"), ("file,class,split\na.jpg,rex,holdout\n", "holdout"),
    ("file,class\na.jpg,rex\na.jpg,minka\n", "row 3"),
    ("file,class,species\na.jpg,rex,bird\n", "bird")])
def test_a_csv_that_cannot_be_read_is_refused_by_row(text, says, tmp_path):
    photo(tmp_path / "a.jpg")
    (tmp_path / "pets.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=says):
        import_photos(tmp_path / "pets.csv", tmp_path / "D", species="dog", progress=False)
    (tmp_path / "pets.csv").write_bytes("file,class\nGroß.jpg,rex".encode("latin-1"))
    with pytest.raises(ValueError, match="UTF-8"):
        import_photos(tmp_path / "pets.csv", tmp_path / "D", species="dog", progress=False)


@pytest.mark.parametrize("given, says", [
    ({0: "test", 5: "test"}, "2 photos as the source has it (2 test), 8 without one: all train"),
    ({0: "val", 5: "val"}, "2 photos as the source has it (2 test), 8 without one: all train"),
    ({0: "train", 5: "test"}, "2 photos as the source has it (1 train and 1 test), 8 without one: "
                              "20% of each class for test"),
    ({i: "train" for i in range(9)}, "9 photos as the source has it (9 train), 1 without one: 20%"),
    ({i: "train" for i in range(10)}, "split: 20% of each class for test, drawn with seed 0")])
def test_splits_that_are_given_for_some_photos_are_kept(given, says, tmp_path):
    two_pets(tmp_path, 5)
    rows = [f"{name}/IMG_{1000 + i}.JPG,{name}" for name in ("minka", "rex") for i in range(5)]
    lines = [f"{row},{given.get(k, '')}" for k, row in enumerate(rows)]
    (tmp_path / "pets.csv").write_text("\n".join(["file,class,split", *lines]), encoding="utf-8")
    pets, report = imported(tmp_path / "pets.csv", tmp_path / "D", **TWO)
    splits = [row["split"] for row in table(tmp_path / "D").values()]
    if len(given) < 10:
        assert all(splits[k] == split.replace("val", "test") for k, split in given.items())
    assert set(splits) == {"train", "test"} and says in report
    if says.endswith("all train"):
        assert splits.count("test") == 2


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("form", ["csv", "coco", "folders"])
def test_a_source_of_one_split_alone_gets_a_seeded_one(form, split, tmp_path):
    source = tmp_path / "s"
    if form == "coco":
        annotated(source, f"annotations/instances_{split}2017.json", f"{split}2017")
    else:
        two_pets(source / split if form == "folders" else source)
    if form == "csv":
        rows = [f"{f.relative_to(source)},{f.parent.name},{split}" for f in source.rglob("*.JPG")]
        source /= "pets.csv"
        source.write_text("\n".join(["file,class,split", *rows]), encoding="utf-8")
    options = {} if form == "coco" else TWO
    pets, report = imported(source, tmp_path / "D", **options)
    assert sorted(s.breed_name for s in pets.split("test")) == sorted(pets.breeds)
    assert "split: 20% of each class for test, drawn with seed 0" in report
    assert (f"in the source all photos are {split}" in report) == (form != "folders")
    drawn = [imported(source, tmp_path / f"D{n}", seed=n, **options)[0] for n in range(5)]
    ids = [{s.id for s in each.split("test")} for each in (pets, *drawn)]
    assert ids[0] == ids[1] and any(each != ids[0] for each in ids)


def test_a_csv_of_one_photo_of_a_class_that_is_test_is_refused(tmp_path):
    photo(tmp_path / "a.jpg"), photo(tmp_path / "b.jpg")
    (tmp_path / "pets.csv").write_text("file,class,split\na.jpg,rex,test\nb.jpg,tom,test\n")
    with pytest.raises(ValueError, match="train or test is empty .given: 2 test.*leave"):
        import_photos(tmp_path / "pets.csv", tmp_path / "D", species="dog", progress=False)


def test_columns_of_a_csv_that_are_not_read_are_named(tmp_path):
    two_pets(tmp_path, 3)
    rows = [f"{k},{f.relative_to(tmp_path)},{f.parent.name},train,{k % 2},,"
            for k, f in enumerate(tmp_path.rglob("*.JPG"))]
    file = tmp_path / "pets.csv"
    file.write_text("\n".join([",file,class,split,fold,", *rows]), encoding="utf-8")
    pets, report = imported(file, tmp_path / "D", **TWO)  # empty cells at the end are no loss
    assert len(pets) == 6
    assert "columns of pets.csv that are not read: fold, one without a name (file, class" in report


def test_a_csv_as_excel_begins_it(tmp_path):
    two_pets(tmp_path, 3)
    rows = [f"{n}/IMG_{1000 + i}.JPG;{n}, the 1st" for n in ("minka", "rex") for i in range(3)]
    file = tmp_path / "pets.csv"
    file.write_text("\r\n".join(["\ufeffsep=;", "file;class", *rows]), encoding="utf-8")
    pets, _ = imported(file, tmp_path / "D", species="cat")
    assert pets.breeds == ("minka, the 1st", "rex, the 1st") and len(pets) == 6
    file.write_text("sep=;\r\nfile;class\r\na.jpg;\r\n", encoding="utf-8")
    with pytest.raises(ValueError, match="row 3"):
        import_photos(file, tmp_path / "D2", progress=False)


# --- nothing half, nothing of the user's


def test_nothing_is_overwritten_and_the_same_import_does_nothing(tmp_path):
    source, to = two_pets(tmp_path / "pets"), tmp_path / "D"
    pets, _ = imported(source, to, **TWO)
    (to / "oxford-iiit-pet" / "annotations" / "mine.txt").write_text("notes")
    before = state(to)
    assert "nothing was written" in imported(source, to, **TWO)[1]
    for other in (dict(seed=1), dict(link=True)):
        with pytest.raises(FileExistsError, match="other options"):
            import_photos(source, to, progress=False, **TWO, **other)
    photo(source / "rex" / "new.jpg")
    with pytest.raises(FileExistsError, match="have changed since"):
        import_photos(source, to, progress=False, **TWO)
    assert state(to) == before
    for name in ("images/a.jpg", "notes.txt"):
        foreign = tmp_path / Path(name).stem
        photo(foreign / name) if name.endswith("jpg") else save(foreign / "x.png", pet(0))
        with pytest.raises(FileExistsError, match="left alone"):
            import_photos(source, foreign, progress=False, **TWO)
    for inside in (source, source / "rex" / "new"):
        with pytest.raises(ValueError, match="inside of"):
            import_photos(source, inside, progress=False, **TWO)
    with pytest.raises(FileNotFoundError, match="is not there"):
        import_photos(tmp_path / "nowhere", tmp_path / "D2", progress=False)


@pytest.mark.parametrize("source", ["", "annotations/instances.json"])
def test_outlines_that_were_corrected_are_another_set(source, tmp_path):
    top, to = annotated(tmp_path / "s"), tmp_path / "D"
    imported(top / source, to)
    assert "nothing was written" in imported(top / source, to)[1]
    annotated(top, annotations=lambda a: a[0].update(segmentation=[box(1, 1, 7, 7)]))
    with pytest.raises(FileExistsError, match="files there have changed since"):
        import_photos(top / source, to, progress=False)


def test_links_where_they_can_be_made_and_copies_elsewhere(tmp_path, monkeypatch):
    source = two_pets(tmp_path / "pets")
    pets, _ = imported(source, tmp_path / "L", link=True, **TWO)
    assert all(s.photo.is_symlink() and s.photo.resolve().is_relative_to(source)
               for s in pets.samples)

    def refuse(*args, **kwargs):
        raise OSError("a privilege is not held")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    pets, report = imported(source, tmp_path / "C", link=True, **TWO)
    assert not any(s.photo.is_symlink() for s in pets.samples)
    assert "10 photos are copies" in report


def test_a_disk_that_is_too_small_is_named_before_the_first_copy(tmp_path, monkeypatch):
    source = two_pets(tmp_path / "pets")
    small = shutil.disk_usage(tmp_path)._replace(free=5000)
    monkeypatch.setattr(importing.shutil, "disk_usage", lambda folder: small)
    with pytest.raises(OSError, match="0 MB free.*--link"):
        import_photos(source, tmp_path / "D", progress=False, **TWO)
    assert not list((tmp_path / "D").glob("[!.]*"))
    imported(source, tmp_path / "D", link=True, **TWO)


def test_another_process_that_was_faster_has_done_it(tmp_path, monkeypatch):
    source, to = two_pets(tmp_path / "pets"), tmp_path / "D"
    lock = importing.FileLock

    def meanwhile(path):
        monkeypatch.setattr(importing, "FileLock", lock)
        import_photos(source, to, progress=False, **TWO)
        return lock(path)

    monkeypatch.setattr(importing, "FileLock", meanwhile)
    pets, report = imported(source, to, **TWO)
    assert len(pets) == 10 and "nothing was written" in report


@pytest.mark.parametrize("at", ["_put", "write_text", "write_json"])
def test_an_import_that_stops_leaves_nothing(at, tmp_path, monkeypatch):
    source, calls = two_pets(tmp_path / "pets"), []

    def stop(*args, **kwargs):
        calls.append(args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(importing if at == "_put" else importing.files, at, stop)
        import_photos(source, tmp_path / "D", progress=False, **TWO)
    assert calls and not list((tmp_path / "D").glob("[!.]*"))
    notes = tmp_path / "D" / ".import.partial" / "annotations"
    notes.mkdir(parents=True)  # as SIGKILL leaves it
    (notes / importing.RECORD).write_text('{"kind": "import"}')
    pets, _ = imported(source, tmp_path / "D", **TWO)
    assert len(pets) == 10 and not (tmp_path / "D" / ".import.partial").exists()


def test_a_folder_that_is_called_as_that_of_an_import_is_the_users(tmp_path):
    mine = tmp_path / "D" / ".import.partial" / "notes.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("precious")
    pets, _ = imported(two_pets(tmp_path / "pets"), tmp_path / "D", **TWO)
    assert len(pets) == 10 and mine.read_text() == "precious"
    assert not list((tmp_path / "D").glob(".import.2*"))


@pytest.mark.parametrize("link", [False, True])
def test_files_that_went_are_made_anew_and_changed_ones_are_named(link, tmp_path):
    source, masks = two_pets(tmp_path / "pets"), tmp_path / "masks"
    for i in range(4):
        save(masks / "rex" / f"IMG_{1000 + i}.png", 255 * pet(i).astype(np.uint8))
    to, options = tmp_path / "D", TWO | dict(masks=masks, link=link)
    imported(source, to, **options)
    before, top = state(to), to / "oxford-iiit-pet"
    lost = [*top.glob("images/minka*"), *top.glob("annotations/trimaps/*"), top / "annotations" /
            "trainval.txt"]
    shutil.rmtree(top / "annotations" / "trimaps")
    for file in lost:
        file.unlink(missing_ok=True)
    changed = top / "annotations" / "test.txt"
    changed.write_text(changed.read_text() + "# mine\n")
    report = import_photos(source, to, progress=False, **options)
    assert f"{len(lost)} of its files were missing, and are made anew: " in report[0]
    said = "doubt: 1 files of the set have changed.*left as they are: annotations/test.txt.*Delete"
    assert re.match(said, report[1]) and changed.read_text().endswith("# mine\n")
    again = import_photos(source, to, progress=False, **options)
    assert "nothing was written" in again[0] and re.match(said, again[1])
    changed.unlink()
    import_photos(source, to, progress=False, **options)
    assert state(to) == before and not list(to.glob(".import.p*"))


def test_a_file_in_the_place_of_the_new_folder_is_named(tmp_path):
    (tmp_path / "D").write_text("mine")
    for to in (tmp_path / "D", tmp_path / "D" / "set"):
        with pytest.raises(NotADirectoryError, match=f"as {tmp_path / 'D'} is no folder.*--to D"):
            import_photos(two_pets(tmp_path / "pets"), to, progress=False, **TWO)
    assert (tmp_path / "D").read_text() == "mine"


def test_a_disk_that_is_read_only_is_named_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(importing.os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match="D cannot be written to.*--to D"):
        import_photos(two_pets(tmp_path / "pets"), tmp_path / "D", progress=False, **TWO)


def test_links_to_photos_that_were_moved_are_named_with_their_target(tmp_path):
    source = two_pets(tmp_path / "pets")
    imported(source, tmp_path / "D", link=True, **TWO)
    source.rename(tmp_path / "elsewhere")
    bad = check(read_pets(tmp_path / "D")).quarantine
    assert len(bad) == 10
    for q in bad:
        assert f"is a link to {source}" in q.reason and "where no file is: put it back" in q.reason


@pytest.mark.parametrize("make, says", [
    (lambda s: s.mkdir(), "no picture"), (lambda s: photo(s / "rex" / "1.jpg"), "1 usable"),
    (lambda s: [photo(s / n / "1.jpg") for n in ("rex", "pug")], "no class has two photos"),
    (lambda s: s.write_bytes(b"x"), "a source is a folder")])
def test_sources_of_which_no_set_can_be_made(make, says, tmp_path):
    make(tmp_path / "s")
    with pytest.raises(ValueError, match=says):
        import_photos(tmp_path / "s", tmp_path / "D", species="dog", progress=False)
    assert not list(tmp_path.glob("D/[!.]*"))


# --- the command


def test_the_command_counts_paths_from_where_the_user_stands(tmp_path, monkeypatch, capsys):
    two_pets(tmp_path / "my photos")
    monkeypatch.chdir(tmp_path)
    assert main(["data", "import", "--to", "set", "my photos"]) == 2
    assert "cat or dog?" in capsys.readouterr().err
    command = ["data", "import", "my photos", "--to", "set", "--species", "minka=cat", "rex=dog"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-1].endswith("--data-root set --run runs/set")
    assert main(["data", "check", "--data-root", "set"]) == 0
    assert "10 photos of 2 breeds" in capsys.readouterr().out


def test_a_killed_import_leaves_nothing_half(tmp_path):
    source = two_pets(tmp_path / "pets", 4)
    code = ("import os, petweak.data.importing as i\n"
            "put, n = i._put, []\n"
            "def stop(*a):\n    n.append(1)\n"
            "    return os.kill(os.getpid(), 9) if len(n) > 3 else put(*a)\n"
            f"i._put, to = stop, {str(tmp_path / 'D')!r}\n"
            f"i.import_photos({str(source)!r}, to, species='cat')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=os.environ)
    assert done.returncode == -9 and not list((tmp_path / "D").glob("[!.]*"))
    pets, _ = imported(source, tmp_path / "D", species="cat")
    assert len(pets) == 8


def test_photos_with_two_suffixes_keep_their_place(tmp_path):
    """IMG_1.HEIC.jpg, as converters write it, and x.jpg.jpg, beside x.jpg or not."""
    names = {"minka": ["IMG_1.HEIC.jpg", "IMG_2.heic.JPG", "a.jpg.jpg", "a.png.jpg.jpg"],
             "rex": ["x.jpg", "x.jpg.jpg", "y.jpeg.png", "z" * 78 + ".jpgs.png"]}
    for name, files in names.items():
        for file in files:
            photo(tmp_path / "own" / name / file)
    pets, _ = imported(tmp_path / "own", tmp_path / "data", **TWO)
    assert len(pets) == 8
    rows = table(tmp_path / "data")
    for name, files in names.items():
        for file in files:
            there = pets.sample(rows[f"{name}/{file}"]["id"])
            original = tmp_path / "own" / name / file
            assert there.breed_name == name and there.photo.read_bytes() == original.read_bytes()


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


def scene(path: Path, seed: int, change=lambda x: x) -> Path:
    """A picture of large areas, which stay the same in other formats."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(40, 200, (6, 8, 3)).repeat(20, 0).repeat(20, 1)
    Image.fromarray(change(blocks).clip(0, 255).astype(np.uint8)).save(path, format={
        ".heic": "HEIF", ".heif": "HEIF"}.get(path.suffix.lower()))
    return path


SECOND = "a second file of a photo beside it"


def brighter(x):
    return x * 1.2 + 10


def test_one_photo_in_two_files_is_one_photo(tmp_path):
    """What phones, Takeout, editors and file managers leave in one folder: one of both would be in
    train, the other in test."""
    pytest.importorskip("pillow_heif").register_heif_opener()
    twins = {"IMG_1.HEIC": "IMG_1.jpg", "img_2.png": "IMG_2.JPG", "a(1).jpg": "a.jpg",
             "b-edited.jpg": "b.jpg", "c-bearbeitet.jpg": "c.jpg", "d copy.jpg": "d.jpg",
             "e - Kopie (2).jpg": "e.jpg", "IMG_E3.jpg": "IMG_3.HEIC", "f~2.jpg": "f.webp",
             "g-modifie\u0301.jpg": "g.jpg", "k-edited(1).jpg": "k(1).jpg",
             "Copy of l.jpg": "l.jpg",
             "m (bearbeitet).jpg": "m.jpg", "n \u2013 Kopie.jpg": "n.jpg", "o-COLLAGE.jpg": "o.jpg",
             "p_edited_1.jpg": "p.jpg", "q-edited.jpg": "q(1).jpg"}
    for k, (twin, plain) in enumerate(twins.items()):
        scene(tmp_path / "own" / "minka" / plain, k)
        scene(tmp_path / "own" / "minka" / twin, k, brighter if "ed" in twin else lambda x: x)
    # Others of the same name are photos of their own; so is a picture of another pet.
    others = ["h.jpg", "h(1).jpg", "h-edited.jpg", "h.png", "i (1).jpg", "i (2).jpg", "j_1.jpg"]
    for k, name in enumerate(others, 100):
        scene(tmp_path / "own" / "rex" / name, k)
    scene(tmp_path / "own" / "rex" / "a.jpg", 2, brighter)
    masks = tmp_path / "masks" / "minka"
    save(masks / "IMG_1.png", 255 * pet(3, (160, 120)).astype(np.uint8))
    pets, report = imported(tmp_path / "own", tmp_path / "data", masks=tmp_path / "masks", **TWO)
    rows = table(tmp_path / "data")
    left = {name: row["left_out"] for name, row in rows.items() if row["left_out"]}
    assert f"left out, {SECOND}: " in report and f" ... ({len(twins)})" in report
    assert len(left) == len(twins) and len(pets) == len(twins) + len(others) + 1
    for twin, plain in twins.items():
        pair = {f"minka/{twin}", f"minka/{plain}"}
        (out,) = pair & left.keys()
        (stands,) = pair - {out}
        assert left[out] == SECOND and rows[out]["note"] == f"of {stands}"
        if "IMG_1" not in plain and "IMG_2" not in plain:
            assert stands == f"minka/{plain}"
    with_mask = [s.id for s in pets.samples if s.trimap]
    assert with_mask == [rows[s]["id"] for s in ("minka/IMG_1.HEIC",)]


@pytest.mark.parametrize("one, other, says", [
    ("train/rex/x.jpg", "test/rex/y.png", "in train and in test"),
    ("train/minka/x.jpg", "train/rex/x.png", "in two classes")])
def test_one_picture_in_two_splits_or_classes_is_doubted(one, other, says, tmp_path, capsys):
    for k in range(8):
        breed, split = ("minka", "rex")[k % 2], ("train", "test")[k // 2 % 2]
        scene(tmp_path / "own" / split / breed / f"{k}.jpg", k)
    for file in (one, other):
        scene(tmp_path / "own" / file, 9)
    pets, report = imported(tmp_path / "own", tmp_path / "D", **TWO)
    said = "doubt: 1 pairs of files are the same picture"
    assert len(pets) == 10 and report.count(said) == 1
    assert f"{said} {says}: " in report and (
        f"{one} = {other}" in report or f"{other} = {one}" in report)
    assert main(["data", "check", "--data-root", str(tmp_path / "D")]) == 0
    assert f"{said} {says}: " in capsys.readouterr().out


def test_what_systems_keep_beside_photos_is_no_photo(tmp_path):
    """Synology's and QNAP's thumbnails, what was deleted, and a Mac's copies."""
    two_pets(tmp_path / "own")
    for file in list((tmp_path / "own").rglob("*.JPG")):
        for inner in ("@eaDir", "#recycle", "@Recycle", "__MACOSX", ".thumbnails", "$RECYCLE.BIN"):
            with Image.open(file) as image:
                to = file.parent / inner / file.name / "SYNOPHOTO_THUMB_M.jpg"
                to.parent.mkdir(parents=True)
                image.resize((24, 18)).save(to)
    pets, report = imported(tmp_path / "own", tmp_path / "data", **TWO)
    assert len(pets) == 10 and "left out, hidden: " in report and "minka/@eaDir" in report


@pytest.mark.parametrize("form", ["folders", "official", "coco"])
@pytest.mark.parametrize("name", ["thumbs/{}.jpg", "Thumbnails/{}_thumb.png"])
def test_a_folder_of_thumbnails_is_left_out(name, form, tmp_path):
    make = dict(folders=two_pets, official=official, coco=annotated)[form]
    files = [f for f in make(tmp_path / "own").rglob("*.*") if f.suffix.lower() == ".jpg"]
    for file in files:
        with Image.open(file) as image:
            to = file.parent / name.format(file.stem)
            to.parent.mkdir(exist_ok=True)
            image.resize((24, 18)).save(to)
    photo(to.parent / "of a photo that is deleted.jpg", size=(24, 18))
    options = TWO if form == "folders" else {}
    pets, report = imported(tmp_path / "own", tmp_path / "data", **options)
    assert len(pets) == len(files) - (form == "coco")  # of which one shows no pet
    assert all(header(s.photo).size == (WIDTH, HEIGHT) for s in pets.samples)
    left = [file for file, row in table(tmp_path / "data").items()
            if row["left_out"] == finders.THUMBNAIL]
    assert len(left) == len(files) + 1 and all(Path(f).parts[-2] in name for f in left)
    assert f"left out, {finders.THUMBNAIL}: " in report


def test_a_pet_called_thumbs_stays(tmp_path):
    for k in range(4):
        photo(tmp_path / "own" / "Thumbs" / f"IMG_{k}.jpg")
        photo(tmp_path / "own" / "rex" / f"IMG_{k}.jpg")
    pets, _ = imported(tmp_path / "own", tmp_path / "data", species="dog")
    assert pets.breeds == ("rex", "Thumbs") and len(pets) == 8


def test_masks_beside_photos_are_not_taken_for_their_twins(tmp_path):
    """A drawn pet is bright where its mask is."""
    for name in ("minka", "rex"):
        for k in range(4):
            mask = pet(k + 4 * (name == "rex"), (160, 120))
            grain = np.random.default_rng(k).integers(0, 40, (*mask.shape, 3))
            path = tmp_path / "own" / name / f"{name}{k}.jpg"
            save(path, (grain + 200 * mask[..., None]).astype(np.uint8))
            save(path.with_suffix(".png"), 255 * mask.astype(np.uint8))
    pets, _ = imported(tmp_path / "own", tmp_path / "data", **TWO)
    assert len(pets) == 8 and all(s.trimap for s in pets.samples)


BOTH = "the same picture as one beside it, and both stay"


def test_what_a_list_names_stays(tmp_path):
    """With its mask and its split; that two of them are one picture is told where it counts."""
    rows = ["file,class,mask,split"]
    for k in range(4):
        of = ("train", "test") if k < 2 else ("test", "test")
        for suffix, split in zip(("", " (1)"), of, strict=True):
            scene(tmp_path / f"minka{k}{suffix}.jpg", k)
            rows.append(f"minka{k}{suffix}.jpg,minka,{'' if suffix else f'm{k}.png'},{split}")
        save(tmp_path / f"m{k}.png", 255 * pet(k, (160, 120)).astype(np.uint8))
        scene(tmp_path / f"minka{k} (1).jpg", k, brighter)  # or it were the same file
    (tmp_path / "pets.csv").write_text("\n".join(rows))
    pets, report = imported(tmp_path / "pets.csv", tmp_path / "data", species="cat")
    assert len(pets) == 8 and sum(s.trimap is not None for s in pets.samples) == 4
    assert SECOND not in report
    assert f"doubt, {BOTH}" in report and ": minka0 (1).jpg, minka1 (1).jpg (2)" in report


@pytest.mark.parametrize("inside", [True, False])
def test_masks_of_edits_are_kept(tmp_path, inside):
    """Of a photo and its edit the one with the mask stands; with a mask each both do."""
    masks = tmp_path / "own" / "masks" if inside else tmp_path / "masks"
    for k in range(4):
        photo = scene(tmp_path / "own" / "minka" / f"minka{k}.jpg", k)
        edit = scene(photo.with_name(f"minka{k}-edited.jpg"), k, brighter)
        for file in (photo, edit)[k < 3 :]:
            save(masks / f"{file.stem}.png", 255 * pet(k, (160, 120)).astype(np.uint8))
    options = {} if inside else dict(masks=masks)
    pets, report = imported(tmp_path / "own", tmp_path / "data", species="cat", **options)
    assert {s.id for s in pets.samples} == {"minka3"} | {f"minka{k}-edited" for k in range(4)}
    assert all(iou(pets, s.id, pet(int(s.id[5]), (160, 120))) == 1 for s in pets.samples)
    assert f"{SECOND}: " in report and f"doubt, {BOTH}" in report


def test_of_twins_with_one_mask_the_larger_stands(tmp_path):
    """Not the thumbnail; a mask that fits both by its name is theirs."""
    for k in range(4):
        photo = scene(tmp_path / "own" / "minka" / f"minka{k}.jpg", k)
        with Image.open(photo) as image:
            image.resize((40, 30)).save(photo.with_suffix(".gif"))
        save(tmp_path / "own" / "masks" / f"minka{k}.png",
             255 * pet(k, (160, 120)).astype(np.uint8))
    pets, report = imported(tmp_path / "own", tmp_path / "data", species="cat")
    assert {s.photo.name for s in pets.samples} == {f"minka{k}.jpg" for k in range(4)}
    assert all(iou(pets, s.id, pet(int(s.id[5]), (160, 120))) == 1 for s in pets.samples)
    assert "several photos" not in report


@pytest.mark.parametrize("light", [1, 1 / 14])
def test_frames_of_one_scene_are_photos_of_their_own(tmp_path, light):
    """A pet that has moved by 3 % of the width, in bursts, before a camera that stands still, by
    day and by night."""
    shape, rng = (240, 320, 3), np.random.default_rng(0)
    for k in range(3):
        room = rng.integers(40, 200, (6, 8, 3)).repeat(40, 0).repeat(40, 1)
        fur = rng.integers(120, 255, (9, 9, 3)).repeat(10 + 5 * k, 0).repeat(10 + 5 * k, 1)
        for n in range(4):
            frame, x = room.copy(), 20 + round(0.03 * n * shape[1])
            frame[10 : 10 + len(fur), x : x + len(fur)] = fur
            name = f"{k}_120000{f'({n})' if n else ''}.jpg"
            save(tmp_path / "own" / "minka" / name, (frame * light).astype(np.uint8))
    save(tmp_path / "own" / "minka" / "0_120000-edited.jpg",
         np.asarray(load_photo(tmp_path / "own" / "minka" / "0_120000.jpg").point(
             lambda v: int(v * 1.1))))
    pets, _ = imported(tmp_path / "own", tmp_path / "data", species="cat")
    rows = table(tmp_path / "data")
    assert [f for f, row in rows.items() if row["left_out"]] == ["minka/0_120000-edited.jpg"]
    assert len(pets) == 12
