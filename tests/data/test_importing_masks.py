"""Masks beside photos, in folders of any name and of other tools: found, and never photos."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from own_sets import HEIGHT, TWO, WIDTH, imported, iou, pet, photo, save, table, two_pets
from PIL import Image

from petweak.data.importing import import_photos
from petweak.data.masks import PREDICT, write_mask
from petweak.data.oxford_pets import load_photo, load_trimap


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
