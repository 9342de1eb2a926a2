"""COCO's instances: outlines, boxes, categories, and files that are none."""

from __future__ import annotations

import csv
import json
import re
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from own_sets import (
    HEIGHT,
    TWO,
    WIDTH,
    annotated,
    box,
    imported,
    iou,
    pet,
    photo,
    rle,
    save,
    state,
    table,
    two_pets,
)

from petweak.data.importing import import_photos


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
