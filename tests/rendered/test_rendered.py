"""The rendered set: Oxford-IIIT Pet's layout, the same bytes for the same seed, exact outlines."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import petweak
from petweak import rendered
from petweak.data.files import read_json
from petweak.data.oxford_pets import BREED_NAMES
from petweak.rendered import make_rendered, render_domain_scene, render_pet
from petweak.rendered.breeds import BREEDS, OTHER_BREEDS

SMALL = {"train_per_breed": 1, "test_per_breed": 1, "size": 64, "progress": False}


def digests(root):
    return {
        p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    data_root = tmp_path_factory.mktemp("rendered")
    return data_root, make_rendered(data_root, **SMALL)


def test_breeds_are_oxfords():
    names = [b.name for b in BREEDS]
    assert tuple(names) == BREED_NAMES
    assert names == sorted(set(names), key=str.lower)
    assert sum(b.species == "dog" for b in BREEDS) == 25
    assert sum(b.species == "cat" for b in BREEDS) == 12
    assert all(b.name[0].isupper() == (b.species == "cat") for b in BREEDS)


def test_layout_and_lists(pets):
    data_root, root = pets
    assert root == data_root / "oxford-iiit-pet"
    notes = root / "annotations"
    lists = {
        n: [line.split() for line in (notes / f"{n}.txt").read_text().splitlines()]
        for n in ("list", "trainval", "test")
    }
    assert len(lists["trainval"]) == len(lists["test"]) == 37
    assert sorted(lists["list"]) == sorted(lists["trainval"] + lists["test"])
    by_class = {int(row[1]): row for row in lists["trainval"]}
    assert sorted(by_class) == list(range(1, 38))
    assert by_class[1][0].startswith("Abyssinian_") and by_class[1][2:] == ["1", "1"]
    assert by_class[2][0].startswith("american_bulldog_") and by_class[2][2:] == ["2", "1"]
    assert max(int(r[3]) for r in lists["list"] if r[2] == "1") == 12
    assert max(int(r[3]) for r in lists["list"] if r[2] == "2") == 25
    for name, *_ in lists["list"]:
        photo = Image.open(root / "images" / f"{name}.jpg")
        trimap = Image.open(notes / "trimaps" / f"{name}.png")
        assert photo.mode == "RGB" and trimap.mode == "L" and photo.size == trimap.size
        assert 64 <= max(photo.size) <= 87
        assert 0.69 < photo.size[0] / photo.size[1] < 1.42


def test_torchvision_opens_it(pets):
    torchvision = pytest.importorskip("torchvision")
    for split in ("trainval", "test"):
        theirs = torchvision.datasets.OxfordIIITPet(
            pets[0], split=split, target_types=["category", "segmentation"], download=False
        )
        assert len(theirs) == 37 and len(theirs.classes) == 37
        photo, (category, trimap) = theirs[36]
        assert category == 36 and photo.size == trimap.size


def test_trimap_is_thin_and_around_the_pet():
    for index in (0, 4, 33):
        photo, trimap = render_pet(BREEDS[index], np.random.default_rng(index), 128)
        assert photo.dtype == trimap.dtype == np.uint8 and photo.shape == (*trimap.shape, 3)
        assert set(np.unique(trimap)) == {1, 2, 3}
        pet, border = trimap == 1, trimap == 3
        # Pet and background never touch: the border lies between them.
        background = trimap == 2
        for axis in (0, 1):
            a, b = np.moveaxis(pet, axis, 0), np.moveaxis(background, axis, 0)
            assert not (a[1:] & b[:-1]).any() and not (a[:-1] & b[1:]).any()
        assert border.sum() < 0.35 * trimap.size
        assert 0.10 <= (pet | border).mean() <= 0.65


def test_a_photo_depends_on_its_generator_alone():
    one, again, other = (render_pet(BREEDS[7], np.random.default_rng(s), 64) for s in (5, 5, 6))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert one[0].shape != other[0].shape or not np.array_equal(one[0], other[0])


def test_another_seed_is_another_set(pets, tmp_path, monkeypatch):
    monkeypatch.setattr(rendered, "BREEDS", BREEDS[:2])
    a, b, c = (
        make_rendered(tmp_path / n, **SMALL, seed=s) for n, s in zip("abc", (0, 0, 1), strict=True)
    )
    assert digests(a) == digests(b)
    assert digests(a)["images/Abyssinian_1.jpg"] != digests(c)["images/Abyssinian_1.jpg"]
    # Independent of order and of what else is drawn.
    assert digests(a)["images/Abyssinian_1.jpg"] == digests(pets[1])["images/Abyssinian_1.jpg"]


def test_the_drawing_is_what_version_1_drew(pets):
    """Decoded, because a JPEG's bytes are its library's. A change here makes every rendered set,
    and the detector's weights, something else: it needs another VERSION."""
    photo = Image.open(pets[1] / "images" / "Abyssinian_1.jpg")
    trimap = np.asarray(Image.open(pets[1] / "annotations" / "trimaps" / "Abyssinian_1.png"))
    assert photo.size == (69, 74)
    mean = np.asarray(photo, float).mean(axis=(0, 1))
    assert mean == pytest.approx([126.4, 127.1, 95.8], abs=0.5)
    assert np.bincount(trimap.ravel()) == pytest.approx([0, 455, 4360, 291], rel=0.01)


def test_a_set_of_the_code_before_counts_as_complete(pets):
    record = read_json(pets[1] / "annotations" / "rendered.json")
    assert record == {
        "kind": "petweak rendered pets",
        "version": 1,
        "seed": 0,
        "size": 64,
        "domain": "pets",
        "breeds": 37,
        "train_per_breed": 1,
        "test_per_breed": 1,
        "photos": 74,
        "complete": True,
    }


def test_the_package_is_sealed():
    """Nobody outside imports anything of it but `make_rendered`."""
    top = Path(petweak.__file__).parent
    for path in (p for p in top.rglob("*.py") if "rendered" not in p.relative_to(top).parts):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not any(a.name.startswith("petweak.rendered") for a in node.names), path
            elif isinstance(node, ast.ImportFrom):
                names = {f"{node.module}.{a.name}" for a in node.names}
                taken = {n for n in names if n.startswith("petweak.rendered")}
                assert taken <= {"petweak.rendered.make_rendered"}, path


def test_second_call_does_no_work(pets, monkeypatch):
    before = {p: p.stat().st_mtime_ns for p in pets[1].rglob("*")}
    monkeypatch.setattr(rendered, "render_pet", None)
    assert make_rendered(pets[0], **SMALL) == pets[1]
    assert {p: p.stat().st_mtime_ns for p in pets[1].rglob("*")} == before


def test_killed_and_resumed_gives_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(rendered, "BREEDS", BREEDS[:4])
    whole = digests(make_rendered(tmp_path / "whole", **SMALL))
    drawn, calls = rendered.render_pet, []

    def killed(*args, **options):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return drawn(*args, **options)

    monkeypatch.setattr(rendered, "render_pet", killed)
    with pytest.raises(KeyboardInterrupt):
        make_rendered(tmp_path / "killed", **SMALL)
    assert len(list((tmp_path / "killed").rglob("*.jpg"))) == 3
    resumed = make_rendered(tmp_path / "killed", **SMALL)
    assert len(calls) == 4 + 5  # three of eight were not drawn again
    assert digests(resumed) == whole


def test_other_settings_replace_the_set(tmp_path, monkeypatch):
    monkeypatch.setattr(rendered, "BREEDS", BREEDS[:2])
    make_rendered(tmp_path, **{**SMALL, "train_per_breed": 2})
    root = tmp_path / "oxford-iiit-pet"
    mine = [root / "images" / "my_cat_1.jpg", root / "annotations" / "notes.txt"]
    for file in mine:
        file.write_bytes(b"mine")
    assert make_rendered(tmp_path, **SMALL, seed=3) == root
    fresh = make_rendered(tmp_path / "fresh", **SMALL, seed=3)
    assert all(file.read_bytes() == b"mine" for file in mine)
    for file in mine:
        file.unlink()
    assert digests(root) == digests(fresh)


def test_refuses_a_foreign_folder(tmp_path):
    photo = tmp_path / "oxford-iiit-pet" / "images" / "Abyssinian_1.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"a real photo")
    with pytest.raises(FileExistsError, match="oxford-iiit-pet.*another data_root"):
        make_rendered(tmp_path, **SMALL)
    assert photo.read_bytes() == b"a real photo"
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [photo]


@pytest.mark.parametrize("wrong", [{"size": 8}, {"train_per_breed": 0}])
def test_refuses_settings_out_of_range(tmp_path, wrong):
    with pytest.raises(ValueError):
        make_rendered(tmp_path, **{**SMALL, **wrong})


def test_domain_scenes():
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(12):
        photo, animals = render_domain_scene(rng, 96)
        seen.append(len(animals))
        taken = np.zeros(photo.shape[:2], int)
        for species, mask in animals:
            assert species in ("cat", "dog")
            assert mask.dtype == bool and mask.shape == photo.shape[:2] and mask.any()
            taken += mask
        assert taken.max(initial=0) <= 1  # of two animals, the nearer one is seen
    assert max(seen) == 2 and 1 in seen
    assert not {b.name for b in BREEDS} & {b.name for b in OTHER_BREEDS}
