"""Folders of classes: their split, species, ids; what in them is no photo."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path

import pytest
from own_sets import (
    HEIGHT,
    TWO,
    WIDTH,
    annotated,
    imported,
    official,
    photo,
    state,
    table,
    two_pets,
)
from PIL import Image

from petweak.data import finders
from petweak.data.importing import import_photos
from petweak.data.pictures import header


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
