"""Sets of one's own: class folders, a re-packing, COCO; their import, and what it made of them."""

from __future__ import annotations

import csv
import json
import re
import zlib
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco

from petweak.data import importing
from petweak.data.importing import import_photos
from petweak.data.oxford_pets import check, load_trimap, read_pets

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
