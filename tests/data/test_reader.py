"""The reader's rules, one by one, and its words: what a user of another layout is told."""

from __future__ import annotations

import logging
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from petweak.data.files import file_hash, text_hash
from petweak.data.oxford_pets import (
    BREED_NAMES,
    Pets,
    Sample,
    check,
    describe,
    fingerprint,
    load_trimap,
    read_lines,
    read_pets,
    require_splits,
    resize,
    val_ids,
)


def trimap_of(value_inside: int = 1) -> np.ndarray:
    """Pet in the middle, background around."""
    trimap = np.full((30, 40), 3 - value_inside, np.uint8)
    trimap[8:22, 10:30], trimap[10:20, 12:28] = 3, value_inside
    return trimap


def write(root: Path, train: list[str], test: list[str], photos: list[str] | None = None,
          trimaps: dict[str, np.ndarray] | None = None, images: str = "images",
          notes: str = "annotations", maps: str = "trimaps") -> Path:
    """The layout, with lines `id class species` in the lists; files named as told, else after the
    ids, with trimaps of all."""
    for folder in (root / images, root / notes / maps):
        folder.mkdir(parents=True)
    for file, lines in (("trainval.txt", train), ("test.txt", test)):
        (root / notes / file).write_text("".join(f"{x} 1\n" for x in lines), encoding="utf-8")
    names = [x.rsplit(" ", 2)[0] for x in train + test]
    for name in (f"{n}.jpg" for n in names) if photos is None else photos:
        Image.new("RGB", (40, 30), "red").save(root / images / name)
    maps_of = {f"{n}.png": trimap_of() for n in names} if trimaps is None else trimaps
    for name, trimap in maps_of.items():
        Image.fromarray(trimap).save(root / notes / maps / name)
    return root


TRAIN, TEST = ["Bengal_1 3 1", "Bengal_2 3 1", "pug_1 7 2", "pug_2 7 2"], ["pug_3 7 2"]


@pytest.fixture
def official(tmp_path) -> Path:
    return write(tmp_path / "oxford-iiit-pet", TRAIN, TEST)


def refusal(root: Path, error: type = ValueError) -> str:
    with pytest.raises(error) as caught:
        read_pets(root)
    return str(caught.value)


# --- layouts


@pytest.mark.parametrize("inner, folders", [
    ("oxford-iiit-pet", {}), (".", {}), ("oxford-iiit-pet/oxford-iiit-pet", {}),
    ("oxford-iiit-pet", {"notes": "annotations/annotations"}),
    ("oxford-iiit-pet", {"images": "images/images"}),
    ("oxford-iiit-pet", {"maps": "trimaps/trimaps"}),
    (".", {"images": "images/images", "notes": "annotations/annotations"})])
def test_folders_of_the_same_name_in_each_other_are_one(tmp_path, inner, folders):
    root = write(tmp_path / inner, TRAIN, TEST, **folders)
    pets = read_pets(tmp_path)
    assert [s.id for s in pets.samples] == ["Bengal_1", "Bengal_2", "pug_1", "pug_2", "pug_3"]
    for s in pets.samples:
        assert s.photo == root / folders.get("images", "images") / f"{s.id}.jpg"
        maps = root / folders.get("notes", "annotations") / folders.get("maps", "trimaps")
        assert s.trimap == maps / f"{s.id}.png"
    assert (pets.root, pets.breeds) == (root, ("Bengal", "pug"))


def test_a_set_without_lists_is_told_the_way_out(tmp_path, official):
    text = refusal(tmp_path / "none", FileNotFoundError)
    lists = tmp_path / "none" / "oxford-iiit-pet" / "annotations" / "trainval.txt"
    assert text.startswith(f"{lists} is missing. --data-root is the folder that has oxford-iiit-")
    assert text.endswith("`petweak data make` writes the rendered pets, `petweak data fetch` the "
                         "official photos.")
    notes = official / "annotations"
    (notes / "test.txt").unlink()
    text = refusal(tmp_path, FileNotFoundError)
    assert text.startswith(f"{notes / 'test.txt'} is missing beside trainval.txt: a set needs both")
    (notes / "trainval.txt").rename(notes / "test.txt")
    assert "trainval.txt is missing beside test.txt" in refusal(tmp_path, FileNotFoundError)


def test_an_encoding_is_named(tmp_path, official):
    path = official / "annotations" / "test.txt"
    text = path.read_text()
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_pets(tmp_path).split("test")[0].id == "pug_3"
    for encoding, name, line in (("latin-1", "ISO-8859-1 (Latin-1)", 2), ("utf-16", "UTF-16", 1)):
        path.write_text("# one\ncaf\xe9_1 7 2 1\n", encoding=encoding)
        assert refusal(tmp_path) == (
            f"{path}, line {line}: is not UTF-8, but probably {name}. Save it as UTF-8: by an "
            f"editor, or `iconv -f {name.split()[0]} -t UTF-8 test.txt > new.txt`")
    path.write_bytes("pug_3 7 2 1\n".encode("utf-16-be").join([b"\xfe\xff", b""]))
    assert "probably UTF-16" in refusal(tmp_path)


def test_an_id_is_a_file_name_without_its_suffix(tmp_path):
    write(tmp_path, ["Bengal_1.JPG 3 1", "m.cat.v2_2 3 1", "cafe\u0301_1 7 2"], TEST,
          ["Bengal_1.JPG", "m.cat.v2_2.webp", "caf\xe9_1.png", "pug_3.jpeg"], {})
    pets = read_pets(tmp_path)
    assert [(s.id, s.photo.name) for s in pets.samples] == [
        ("Bengal_1", "Bengal_1.JPG"), ("m.cat.v2_2", "m.cat.v2_2.webp"),
        ("caf\xe9_1", "caf\xe9_1.png"), ("pug_3", "pug_3.jpeg")]
    assert {s.trimap for s in pets.samples} == {None}
    (tmp_path / "annotations" / "trimaps").rmdir()
    assert read_pets(tmp_path) == pets
    for n, bad in enumerate((".Bengal_1", "a/b_1", "a\\b_1", "C:b_1", "b\x7f_1", "b\x1f_1")):
        root = write(tmp_path / str(n), [f"{bad} 3 1"], TEST, [], {})
        assert refusal(root).endswith(": the id is a file name without its suffix, not a path")


def test_a_line_or_a_list_that_cannot_be_read_is_quoted(tmp_path):
    form = "is not 'Image CLASS-ID SPECIES BREED-ID'"
    for n, (line, more) in enumerate((
            ("Bengal_1 3 7", ": SPECIES is 1, a cat, or 2, a dog"),
            ("Bengal_1 3", ": not enough values to unpack (expected 4, got 3)"),
            ("../b_1 3 1", ": the id is a file name without its suffix, not a path"))):
        root = write(tmp_path / str(n), [line], TEST, [], {})
        path = root / "annotations" / "trainval.txt"
        assert refusal(root) == f"{path}, line 1: '{line} 1' {form}{more}"
    root = write(tmp_path / "empty", TRAIN, [], [], {})
    assert refusal(root) == (
        f"{root / 'annotations' / 'test.txt'} lists no photo. `petweak data import SOURCE --to D` "
        "writes this layout, with a seeded split, from yours; lines may also be moved from one "
        "list to the other")


def test_files_are_found_by_their_stem(tmp_path):
    """The very stem first, then any case; hidden files, folders and other kinds do not count."""
    root = write(tmp_path, ["Bengal_1 3 1", "Bengal_2 3 1", "Bengal_4 3 1"], TEST,
                 ["Bengal_1.jpg", "bengal_1.jpg", "BENGAL_2.PNG", "._Bengal_2.jpg", "pug_3.gif"],
                 {"BENGAL_1.png": trimap_of(), "pug_3.png": trimap_of()})
    (root / "images" / "pug_3.jpg").mkdir()
    (root / "images" / "pug_3.mat").write_text("")
    samples = {s.id: s for s in read_pets(tmp_path).samples}
    names = {i: (s.photo.name, s.trimap and s.trimap.name) for i, s in samples.items()}
    assert names == {
        "Bengal_1": ("Bengal_1.jpg", "BENGAL_1.png"), "Bengal_2": ("BENGAL_2.PNG", None),
        "Bengal_4": ("Bengal_4.jpg", None), "pug_3": ("pug_3.gif", "pug_3.png")}
    (root / "images" / "Bengal_1.webp").write_text("")
    (root / "images" / "pug_3.bmp").write_text("")
    assert refusal(tmp_path) == (f"{root}: two files for one id; keep one of each: Bengal_1.jpg "
                                 "and Bengal_1.webp; pug_3.bmp and pug_3.gif")
    other = write(tmp_path / "trimaps", TRAIN, TEST)
    (other / "annotations" / "trimaps" / "pug_3.tif").write_text("")
    assert refusal(other).endswith("keep one of each: pug_3.png and pug_3.tif")


def test_two_suffixes_count_after_the_very_stem_in_any_case(tmp_path):
    """x.HEIC.jpg, as converters call it: the photo of x.heic in the list, and of x, if no x is
    there."""
    write(tmp_path, ["Bengal_1.heic.jpg 3 1", "Bengal_2 3 1", "pug_1 7 2"], TEST,
          ["Bengal_1.HEIC.jpg", "Bengal_1.jpg", "BENGAL_2.HEIC.jpg", "pug_1.jpg", "pug_1.HEIC.png",
           "pug_3.jpg"], {})
    names = {s.id: s.photo.name for s in read_pets(tmp_path).samples}
    assert names == {"Bengal_1.heic": "Bengal_1.HEIC.jpg", "Bengal_2": "BENGAL_2.HEIC.jpg",
                     "pug_1": "pug_1.jpg", "pug_3": "pug_3.jpg"}


def test_lines_keep_their_numbers_without_those_that_say_nothing(tmp_path):
    (file := tmp_path / "list.txt").write_bytes(b"# Image\r\n a 1\r\rb\n#c\nd")
    assert read_lines(file) == [(2, "a 1"), (4, "b"), (6, "d")]


def test_two_ids_of_one_file_are_refused(tmp_path):
    root = write(tmp_path, ["Bengal_1 3 1", "bengal_1 3 1"], TEST, ["BENGAL_1.jpg", "pug_3.jpg"])
    assert refusal(tmp_path) == (f"{root}: ids that differ in case alone and have one file: "
                                 "Bengal_1; bengal_1")


def test_a_list_of_many_is_cut_and_counted(tmp_path):
    for n in (10, 11, 13):
        root = tmp_path / str(n)
        write(root, [f"{k}_1 {k} 1" for k in range(1, n + 1)], [f"1_{n} 1 1"], [], {})
        (doubt,) = read_pets(root).doubts
        shown = "; ".join(f"class_{k}" for k in range(1, 11))
        shown += f" and {n - 10} more ({n} in all)" if n > 10 else ""
        path = root / "annotations" / "classes.txt"
        assert doubt == (f"file names tell no names of {shown}: {path}, a name a line, gives them "
                         "names")


# --- classes


@pytest.mark.parametrize("name, is_one", [
    ("tabby", True), ("St. Bernard", True), ("trip 123", True), ("x2", True), ("caf\xe9", True),
    ("trip 2024", False), ("2024-05-01 12.30", False), ("123", False), ("IMG", False),
    ("WhatsApp Image", False), ("photo", False), ("class_3", False), ("my_class_3", True),
    ("trip_20240501", False), ("__", False)])
def test_what_a_file_name_tells_of_its_class(tmp_path, name, is_one):
    write(tmp_path, [f"{name}_1 3 1", f"{name}_2 3 1", "pug_1 7 2"], TEST, [], {})
    pets = read_pets(tmp_path)
    assert pets.breeds == (name if is_one else "class_3", "pug")
    assert len(pets.doubts) == (not is_one)


def test_no_two_classes_have_one_name_and_no_class_has_two(tmp_path):
    write(tmp_path, ["tom_1 1 1", "tom_2 2 1", "rex_1 5 2", "ben_1 5 2", "pug 6 2", "cleo_1 9 1"],
          ["cleo_2 9 1"], [], {})
    pets = read_pets(tmp_path)
    assert pets.breeds == ("class_1", "class_2", "class_5", "class_6", "cleo")
    assert [s.breed_name for s in pets.samples][-2:] == ["cleo", "cleo"]
    assert pets.doubts == ("file names tell no names of class_1; class_2; class_5; class_6: "
                           f"{tmp_path / 'annotations' / 'classes.txt'}, a name a line, gives them "
                           "names",)
    for extra in ([], ["Persian_1 3 1"]):
        root = write(tmp_path / f"wrong{len(extra)}", [*TRAIN, "pug_9 3 1", *extra], TEST, [], {})
        some = "Bengal and Persian and pug" if extra else "Bengal and pug"
        assert refusal(root) == f"{root / 'annotations'}: class id 3 is {some}"
    root = write(tmp_path / "all", [f"{breed}_1 1 1" for breed in BREED_NAMES], ["pug_2 1 1"], [])
    assert refusal(root).endswith(f"class id 1 is {' and '.join(sorted(BREED_NAMES))}")


@pytest.mark.parametrize("text, breeds", [
    ("tabby\nterrier\n", ("tabby", "terrier")),
    ("# names\n\n tabby \nterrier", ("tabby", "terrier")),
    ("7 terrier\n3 tabby", ("tabby", "terrier")),
    ("3: tabby cat\n7, terrier", ("tabby cat", "terrier")),
    ("a\nb\nc\nd\ne\nf\ng", ("c", "g"))])
def test_classes_have_the_names_of_their_list(tmp_path, official, text, breeds):
    (official / "annotations" / "classes.txt").write_text(text)
    pets = read_pets(tmp_path)
    assert pets.breeds == breeds and pets.doubts == ()
    assert [s.breed_name for s in pets.samples] == [breeds[s.breed] for s in pets.samples]


WAY_OUT = ": line k is class id k, or say 'id name' in each line"


@pytest.mark.parametrize("text, says", [
    ("a\nb\nc", "has 3 lines and no name for the class ids 7" + WAY_OUT),
    ("1 a\n2 b", "has 2 lines and no name for the class ids 3; 7" + WAY_OUT),
    ("", "has 0 lines and no name for the class ids 3; 7" + WAY_OUT),
    ("a\na", "two classes are called a")])
def test_a_list_of_classes_that_does_not_fit_is_refused(tmp_path, official, text, says):
    path = official / "annotations" / "classes.txt"
    path.write_text(text)
    assert refusal(tmp_path) == f"{path}: {says}"


FOREIGN = {
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git-LFS"),
    "page": (b"\n<!DOCTYPE html>\n<title>Sign in</title>\n", "web page"),
    "conflict": (b"<<<<<<< HEAD\nc\n=======\nd\n>>>>>>> b\n", "conflict"),
    "rich": (b"{\\rtf1\\ansi a\\\nb}", "rich text")}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("file", ["classes.txt", "test.txt", "trainval.txt"])
def test_what_stands_in_place_of_a_list_is_named(tmp_path, official, file, kind):
    """It would be names of classes, or lines that nobody has written."""
    path, (content, says) = official / "annotations" / file, FOREIGN[kind]
    path.write_bytes(content)
    assert re.search(f"^{re.escape(str(path))} .*{says}", refusal(tmp_path))


def test_names_that_nobody_can_see_are_refused(tmp_path, official):
    path = official / "annotations" / "classes.txt"
    for odd in ("a\x00", "\u202eb", "a\x85c", "a\u2028b"):
        path.write_text(f"{odd}\nz\n", encoding="utf-8")
        says = f"{path}: names with characters that nobody can see: {ascii(odd)}"
        assert refusal(tmp_path) == says
    path.write_text("Maine\xa0Coon\ncaf\xe9 \u2014 \u732b\n", encoding="utf-8")
    assert read_pets(tmp_path).breeds == ("Maine\xa0Coon", "caf\xe9 \u2014 \u732b")


@pytest.mark.parametrize("parts, name", [
    ("holiday", "holiday"), ("mine/oxford-iiit-pet", "mine"), ("rendered", "own photos"),
    ("oxford-iiit-pet/oxford-iiit-pet", "own photos")])
def test_a_set_of_other_breeds_is_called_as_its_folder(tmp_path, monkeypatch, parts, name):
    write(tmp_path / parts, ["rex_1 1 2", "rex_2 1 2"], ["rex_3 1 2"], [], {})
    assert read_pets(tmp_path / parts).name == name
    monkeypatch.chdir(tmp_path / parts)
    assert read_pets(".").name == "own photos"
    write(tmp_path / "official", TRAIN, TEST, [], {})
    assert read_pets(tmp_path / "official").name == "oxford-iiit-pet"
    (tmp_path / "official" / "annotations" / "rendered.json").write_text("{}")
    assert read_pets(tmp_path / "official").name == "rendered"
    whole = [f"{name}_1 {k} 1" for k, name in enumerate(BREED_NAMES, 1)]
    write(tmp_path / "whole", whole, [f"{BREED_NAMES[0]}_2 1 1"], [], {})
    assert read_pets(tmp_path / "whole").name == "oxford-iiit-pet"


def test_labels_and_splits_by_name(tmp_path, official):
    pets = read_pets(tmp_path)
    assert pets.classes("breed") == ("Bengal", "pug") and pets.classes("species") == ("cat", "dog")
    assert [(s.label("breed"), s.label("species")) for s in pets.samples[1:3]] == [(0, 0), (1, 1)]
    left = pets.leaving_out("Bengal")
    assert [s.id for s in left.split("left_out")] == ["Bengal_1", "Bengal_2"]
    assert pets.split("left_out") == ()
    with pytest.raises(ValueError, match="^unknown split 'val': there are train, test, left_out$"):
        pets.split("val")


# --- doubts, and what is told


@pytest.mark.parametrize("exchanged, doubted", [(0, 0), (1, 0), (2, 1), (5, 1)])
def test_trimaps_with_1_and_2_exchanged_are_doubted_from_two_on(tmp_path, exchanged, doubted):
    ids = ["Bengal_1", "Bengal_2", "pug_1", "pug_2", "pug_3"]
    maps = {f"{i}.png": trimap_of(2 if k < exchanged else 1) for k, i in enumerate(ids)}
    root = write(tmp_path, TRAIN, TEST, trimaps=maps)
    doubts = check(read_pets(tmp_path)).doubts
    where = root / "annotations" / "trimaps"
    text = (f"{exchanged} of 5 trimaps in {where} have more pet (1) along the frame than in the "
            "middle: are 1 and 2 exchanged?")
    assert doubts == (text,) * doubted


@pytest.mark.parametrize("pet, back, border", [(1, 3, 2), (3, 2, 1), (2, 3, 1), (3, 1, 2)])
def test_trimaps_with_a_border_that_is_not_3_are_doubted_and_a_pet_that_is_thin_is_not(
        tmp_path, pet, back, border):
    """Beside three sound ones two; a single one is no doubt, nor are pets and borders as thin."""
    values, ids = np.array([0, pet, back, border], np.uint8), [x.split()[0] for x in TRAIN + TEST]
    thin = np.full((30, 40), 2, np.uint8)
    thin[14:16, 5:35], thin[13, 5:35], thin[16, 5:35] = 1, 3, 3
    for odd, doubted in ((1, 0), (2, 1), (5, 1)):
        maps = {f"{i}.png": values[trimap_of()] if k < odd else thin if k == 4 else trimap_of()
                for k, i in enumerate(ids)}
        root = write(tmp_path / str(odd), TRAIN, TEST, trimaps=maps)
        doubts = check(read_pets(root)).doubts
        assert len(doubts) == doubted
        for doubt in doubts:
            assert doubt.startswith(f"in {odd} of 5 trimaps in {root / 'annotations' / 'trimaps'} "
                                    f"the border, which is thin, seems to be {border}, the pet "
                                    f"{pet} and the background {back}")
            assert f"--foreground {pet}`" in doubt


def test_a_close_portrait_is_no_doubt_and_half_of_the_set_is_not_most(tmp_path):
    """A pet that fills the photo but for its middle is odd; one without background is not."""
    odd, close = trimap_of(2), np.where(trimap_of() == 1, 3, 1).astype(np.uint8)
    assert not (close == 2).any()
    maps = {"Bengal_1.png": odd, "Bengal_2.png": trimap_of(), "pug_1.png": close}
    write(tmp_path, TRAIN, TEST, trimaps=maps)
    assert check(read_pets(tmp_path)).doubts == ()
    del maps["Bengal_2.png"]
    write(tmp_path / "half", TRAIN, TEST, trimaps=maps)
    assert check(read_pets(tmp_path / "half")).doubts == ()


@pytest.mark.parametrize("value, says", [(1, "background (2)"), (2, "pet (1)")])
def test_trimaps_without_a_value_are_doubted(tmp_path, value, says):
    maps = {f"{x.split()[0]}.png": np.full((30, 40), value, np.uint8) for x in TRAIN + TEST}
    write(tmp_path, TRAIN, TEST, trimaps=maps)
    where = tmp_path / "annotations" / "trimaps"
    assert check(read_pets(tmp_path)).doubts == (
        f"none of the 5 trimaps in {where} has {says}, in the middle or along the frame: are they "
        "masks of another kind?",)


def test_trimaps_with_next_to_no_pet_are_doubted(tmp_path):
    """Two of five, between frame and middle, beside others that are pet from edge to edge."""
    speck, whole = np.full((30, 40), 2, np.uint8), np.ones((30, 40), np.uint8)
    speck[4, 4] = 1
    ids = [x.split()[0] for x in TRAIN + TEST]
    maps = {f"{i}.png": speck if k < 2 else whole for k, i in enumerate(ids)}
    root = write(tmp_path, TRAIN, TEST, trimaps=maps)
    assert (f"2 of 5 trimaps in {root / 'annotations' / 'trimaps'} have next to no pet, under 0.5% "
            "of the photo: Bengal_1; Bengal_2") in check(read_pets(tmp_path)).doubts


@pytest.mark.parametrize("exchanged, doubted", [(2, 0), (3, 1)])
def test_one_exchanged_trimap_in_twenty_is_no_doubt(tmp_path, exchanged, doubted):
    train = [f"pug_{k} 7 2" for k in range(39)]
    maps = {f"pug_{k}.png": trimap_of(2 if k < exchanged else 1) for k in range(40)}
    write(tmp_path, train, ["pug_39 7 2"], trimaps=maps)
    assert len(check(read_pets(tmp_path)).doubts) == doubted


@pytest.mark.parametrize("lines, doubted", [(2, 0), (3, 1), (4, 1)])
def test_trimaps_of_lines_are_doubted_where_most_are(tmp_path, lines, doubted):
    """They are a fifth of the middle, 64 of 320 pixels, and of the frame, 28 of 140."""
    thin = np.full((30, 40), 2, np.uint8)
    thin[7:23, 12:28:4] = thin[0, 5:33] = 1
    ids = ["pug_1", "pug_2", "pug_3", "Bengal_1"]
    maps = {f"{i}.png": thin if k < lines else trimap_of() for k, i in enumerate(ids)}
    root = write(tmp_path, TRAIN, TEST, trimaps=maps)
    text = (f"{lines} of 4 trimaps in {root / 'annotations' / 'trimaps'} are lines, such as "
            "outlines that are not filled: 1 has to be all of the pet")
    assert check(read_pets(tmp_path)).doubts == (text,) * doubted


def test_a_breed_without_a_photo_in_train_is_doubted(tmp_path):
    write(tmp_path, ["Bengal_1 3 1"], ["pug_3 7 2", "beagle_1 5 2"], trimaps={})
    assert check(read_pets(tmp_path)).doubts == (
        "nothing is learnt of these breeds, of which train has no photo that can be used: beagle; "
        "pug",)


def test_a_breed_that_is_cat_and_dog_is_doubted(tmp_path):
    write(tmp_path, [*TRAIN[:2], "Bengal_3 3 2", *TRAIN[2:]], TEST)
    pets = check(read_pets(tmp_path))
    assert pets.doubts == ("Bengal is a cat in 2 lines of the lists and a dog in 1: a class has "
                           "one SPECIES, 1 or 2. Look at Bengal_3",)
    assert "  Bengal (cat and dog): 3 in train, 0 in test" in describe(pets)


def test_a_set_is_described_line_by_line(tmp_path):
    maps = {f"{i}.png": trimap_of() for i in ("Bengal_1", "pug_1", "pug_3")}
    root = write(tmp_path, TRAIN, TEST, trimaps=maps)
    (root / "images" / "Bengal_2.jpg").write_bytes(b"none")
    pets = check(read_pets(tmp_path))
    assert require_splits(pets) is pets
    assert list(describe(pets)) == [
        f"opened every photo and trimap of {root}", "4 photos of 2 breeds: 3 in train, 1 in test",
        "3 trimaps: 2 in train, 1 in test",
        "1 photos have no trimap: every source but ground_truth makes masks of them and teaches "
        "models with them; they are not scored",
        "  Bengal (cat): 1 in train, 0 in test", "  pug (dog): 2 in train, 1 in test", "1 left out",
        f"  {root / 'images' / 'Bengal_2.jpg'}: cannot identify a picture in it"]
    (root / "images" / "pug_3.jpg").unlink()
    (root / "images" / "Bengal_1.jpg").write_bytes(b"")
    bad = check(read_pets(tmp_path))
    lines = list(describe(bad))
    assert "  Bengal (no photo): 0 in train, 0 in test" in lines and "3 left out" in lines
    doubt = ("doubt: nothing is learnt of these breeds, of which train has no photo that can be "
             "used: Bengal")
    assert doubt in lines
    with pytest.raises(ValueError) as caught:
        require_splits(bad)
    assert str(caught.value) == (
        f"{root}: no photo of test (test.txt) can be used: Bengal_1.jpg: is empty (0 bytes); "
        "Bengal_2.jpg: cannot identify a picture in it; pug_3.jpg: there is no picture of this "
        "name, whatever its suffix")


def test_trimaps_of_other_values_are_all_named(tmp_path):
    maps = {f"{i}.png": np.full((30, 40), v, np.uint8) for i, v in (("pug_1", 255), ("pug_2", 0))}
    write(tmp_path, TRAIN, TEST, trimaps=maps)
    with pytest.raises(ValueError) as caught:
        check(read_pets(tmp_path))
    where = tmp_path / "annotations" / "trimaps"
    assert str(caught.value) == (
        f"{where / 'pug_1.png'}: has the values [255] in an array of shape (30, 40), not 1, 2 and "
        f"3; {where / 'pug_2.png'}: has the values [0] in an array of shape (30, 40), not 1, 2 and "
        "3. A trimap has one channel: 1 pet, 2 background, 3 border; `petweak data import SOURCE "
        "--to D` makes trimaps of other masks")


def test_a_trimap_is_opened_again_where_its_content_has_changed(tmp_path, official):
    assert not check(read_pets(tmp_path)).quarantine
    path = official / "annotations" / "trimaps" / "pug_3.png"
    path.write_bytes(b"none")
    (bad,) = check(read_pets(tmp_path)).quarantine
    assert (bad.id, bad.file) == ("pug_3", str(path))
    many = np.arange(1200, dtype=np.uint8).reshape(30, 40) % 9 + 1
    Image.fromarray(many).save(path)
    with pytest.raises(ValueError, match=r"has the values \[1, 2, 3, 4, 5, 6, 7, 8\] in an array"):
        load_trimap(path)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_a_trimap_is_one_channel_however_it_was_saved(tmp_path, mode):
    path, trimap = tmp_path / "a.png", trimap_of()
    if mode == "P":
        image = Image.fromarray(trimap, "P")
        image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9] + [0] * 756)
    else:
        image = Image.fromarray(trimap).convert(mode)
    image.save(path)
    found = load_trimap(path)
    assert found.dtype == np.uint8 and np.array_equal(found, trimap)
    colour = np.stack([trimap, trimap, 3 - trimap % 3], 2)
    Image.fromarray(colour).save(path)
    with pytest.raises(ValueError, match=r"a.png: has the values \[1, 2, 3\] in an array of shape "
                                         r"\(30, 40, 3\), not 1, 2 and 3$"):
        load_trimap(path)
    Image.fromarray(trimap).save(path)
    photo = tmp_path / "photo.jpg"
    Image.new("RGB", (40, 31)).save(photo)
    with pytest.raises(OSError, match="a.png: 40 x 30 px, its photo 40 x 31"):
        load_trimap(path, photo)


# --- keys, sizes, val


def test_fingerprints_are_hashes_of_lines_a_photo(tmp_path):
    maps = {"Bengal_1.png": trimap_of()}
    root = write(tmp_path, ["Bengal_1 3 1"], TEST, trimaps=maps)
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (30, 40)).save(root / "images" / "pug_3.jpg", exif=exif)
    one, other = read_pets(tmp_path).samples
    photos = f"Bengal_1 {file_hash(one.photo)}\npug_3 {file_hash(other.photo)}"
    expected = {"photos": f"{photos} turned 6",
                "labels": "Bengal_1 Bengal 0 train\npug_3 pug 1 test",
                "trimaps": f"Bengal_1 {file_hash(one.trimap)}\npug_3 none"}
    found = fingerprint(read_pets(tmp_path))
    assert found == {name: text_hash(text) for name, text in expected.items()}
    other.photo.write_bytes(b"none")
    photos = f"Bengal_1 {file_hash(one.photo)}\npug_3 {file_hash(other.photo)}"
    assert fingerprint(read_pets(tmp_path))["photos"] == text_hash(photos)


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 30), st.integers(0, 2**31))
def test_the_resize_rule_is_a_triangle_that_widens_as_pictures_shrink(width, height, size, seed):
    """Against weights by hand: the nearer a pixel's centre, the more; they sum to 1."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.float32)

    def weights(n: int) -> np.ndarray:
        scale = n / size
        centres, reach = (np.arange(size) + 0.5) * scale, max(scale, 1.0)
        near = 1 - np.abs((np.arange(n) + 0.5)[None] - centres[:, None]) / reach
        near = near.clip(min=0)
        return near / near.sum(1, keepdims=True)

    expected = weights(height) @ pixels @ weights(width).T
    assert np.abs(np.asarray(resize(Image.fromarray(pixels), size)) - expected).max() < 0.05


def of_breeds(breeds: list[int], species: list[int]) -> Pets:
    samples = tuple(Sample(f"p_{k}", Path(), None, b, s, "train", str(b))
                    for k, (b, s) in enumerate(zip(breeds, species, strict=True)))
    return Pets(Path("set"), "set", tuple(map(str, range(max(breeds) + 1))), samples)


@settings(max_examples=50)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.floats(0.01, 0.95),
       st.integers(0, 9))
def test_val_has_its_share_of_each_breed(breeds, fraction, seed):
    pets = of_breeds(breeds, [b % 2 for b in breeds])
    val, of = val_ids(pets, fraction, seed), Counter(breeds)
    share = {b: min(max(1, round(fraction * n)), n - 1) for b, n in of.items() if n > 1}
    if share:
        assert Counter(s.breed for s in pets.samples if s.id in val) == {
            b: n for b, n in share.items() if n}
        assert val == val_ids(pets, fraction, seed) and val_ids(pets, 0, seed) == frozenset()


@pytest.mark.parametrize("species, of, n", [
    ([0, 0, 1, 1, 1], "breed", {0: 1, 1: 1}), ([0, 1], "breed species", None),
    ([0], "breed species split", {})])
def test_val_of_breeds_of_one_photo_is_of_species_or_of_all(species, of, n, caplog):
    pets = of_breeds(list(range(len(species))), species)
    with caplog.at_level(logging.WARNING):
        val = val_ids(pets, 0.3, 0)
    assert [r.getMessage() for r in caplog.records] == [
        f"set: no {by} has two photos in train, so none is held out of each" for by in of.split()]
    found = Counter(s.species for s in pets.samples if s.id in val)
    assert found == n if n is not None else len(val) == 1
    caplog.clear()
    assert val_ids(pets, 0, 0) == frozenset() and not caplog.records


def test_val_is_drawn_breed_by_breed_in_the_order_of_breeds():
    """As it always was, so that masks and models of old sets stay: one draw a breed."""
    pets, rng = of_breeds([1, 0] * 6, [0] * 12), np.random.default_rng(3)
    expected = set()
    for breed in (0, 1):
        ids = [s.id for s in pets.samples if s.breed == breed]
        expected |= set(rng.choice(ids, size=2, replace=False).tolist())
    assert val_ids(pets, 0.4, 3) == expected
