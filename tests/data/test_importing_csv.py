"""A CSV of photos: classes, splits, masks, and rows that cannot be read."""

from __future__ import annotations

import numpy as np
import pytest
from own_sets import HEIGHT, TWO, WIDTH, annotated, imported, iou, pet, photo, save, table, two_pets

from petweak.data.importing import import_photos


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
