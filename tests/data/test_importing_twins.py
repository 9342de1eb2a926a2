"""One photo in two files is one photo; what only looks alike is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from own_sets import TWO, imported, iou, pet, save, table
from PIL import Image

from petweak.__main__ import main
from petweak.data.oxford_pets import load_photo


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
