"""Worlds of a few drawn squares for tests of mutated files: a data set, masks, a model, a study."""

from __future__ import annotations

import json
import shutil
import tarfile
import tempfile
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path

import numpy as np
import torch
from conftest import small
from handmade import make_model
from PIL import Image
from pycocotools.mask import encode
from toy import HEIGHT, WIDTH, names, square, world

from petweak.config import Settings
from petweak.data.feature_cache import extract_features, open_features
from petweak.data.files import file_hash
from petweak.data.oxford_pets import Pets
from petweak.pseudo_masks.external import External
from petweak.pseudo_masks.store import make_masks
from petweak.study.results import run_study
from petweak.study.run import Run

BREEDS = {"Abyssinian": 1, "beagle": 2}  # with their species
STUDY = small(sources="ground_truth", labels="species", stored_levels="final", levels="final",
              self_training_levels="final", epochs=1)


def picture(number: int) -> Image.Image:
    rng = np.random.default_rng(number)
    photo = rng.integers(0, 40, (40, 56, 3)) + 180 * square(f"x_{number}").numpy()[..., None]
    return Image.fromarray(photo.astype(np.uint8))


def pets(root: Path) -> Path:
    """A data root: two breeds, two photos of train and one of test each."""
    top = root / "oxford-iiit-pet"
    for folder in ("images", "annotations/trimaps"):
        (top / folder).mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[str]] = {"trainval": [], "test": []}
    for k, (breed, species) in enumerate(BREEDS.items()):
        for n in (1, 2, 3):
            number = 3 * k + n
            picture(number).save(top / "images" / f"{breed}_{n}.jpg", quality=90)
            trimap = np.where(square(f"x_{number}").numpy() > 0, 1, 2).astype(np.uint8)
            trimap[19:21] = 3
            Image.fromarray(trimap).save(top / "annotations" / "trimaps" / f"{breed}_{n}.png")
            lines["test" if n == 3 else "trainval"].append(f"{breed}_{n} {k + 1} {species} 1")
    for name, of in lines.items():
        (top / "annotations" / f"{name}.txt").write_text("\n".join(of) + "\n")
    return root


def _engine(photos: torch.Tensor, engine: str):
    def maps(x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"final": torch.nn.functional.avg_pool2d(x, 32)}

    return "toy", maps


def results(of: Pets, top: Path) -> dict[str, tuple]:
    """{id: what a study reads of the photo}: its maps, and the content of its trimap."""
    folder = top / "features"
    extract_features(of.samples, _engine, STUDY, folder, "k", torch.device("cpu"))
    features = open_features(folder, "k")
    return {s.id: (features.map("final")[features.row[s.id]].tobytes(),
                   s.trimap and file_hash(s.trimap)) for s in of.samples}


def external(top: Path) -> tuple[list[str], Path]:
    folder = top / "external"
    folder.mkdir()
    for i in names(3):
        Image.fromarray((255 * square(i).numpy()).astype(np.uint8)).save(folder / f"{i}.png")
    return names(3), folder


def external_masks(top: Path) -> dict[str, bytes]:
    """{id: the mask that a run would use}."""
    context = world(top, 3, external_masks=str(top / "external"))
    masks = top / "masks"
    make_masks(External(context), "external", names(3), masks, "k")
    for leftover in masks.glob("*.json"):
        leftover.unlink()
    return {i: (masks / f"{i}.png").read_bytes() for i in names(3)}


def model(top: Path) -> Path:
    folder = top / "model"
    folder.mkdir()
    make_model(folder, "ground_truth")
    return folder


@cache
def _studied(settings: Settings) -> tuple[Path, Path]:
    """`study` in a folder that stays to the end: nobody writes there."""
    top = Path(tempfile.mkdtemp(prefix="petweak-tests-"))
    Finalize(None, shutil.rmtree, (top, True), exitpriority=0)  # of a forked process, too
    data, run = pets(top / "data"), top / "run"
    run_study(Run(run, data, settings))
    return data, run


def study(top: Path, settings: Settings = STUDY) -> tuple[Path, Path]:
    """A data root, to be read alone, and the folder of a finished study of `ground_truth`."""
    data, run = _studied(settings)
    return data, shutil.copytree(run, top / "run")


def external_study(top: Path) -> Settings:
    """The settings of a study of masks in `top/given`, for the photos of `pets`."""
    (folder := top / "given").mkdir()
    for k, i in enumerate(f"{breed}_{n}" for breed in BREEDS for n in (1, 2, 3)):
        mask = 255 * square(f"x_{k + 1}").numpy()
        Image.fromarray(mask.astype(np.uint8)).save(folder / f"{i}.png")
    return STUDY.replace(sources=("external",), external_masks=str(folder))


def own_photos(top: Path) -> dict[str, Path]:
    """Photos of two pets in class folders with masks; the same in a CSV, in COCO's form, and, with
    numbers for names, with a classes.txt; as an archive. {which: the file that says so}."""
    rows, images, annotations = ["file,class,split,mask"], [], []
    for k, (pet, n) in enumerate((pet, n) for pet in ("Minka", "Rex") for n in (1, 2, 3)):
        for folder in (top / "own" / pet, top / "numbers" / str(1 + (pet == "Rex"))):
            folder.mkdir(parents=True, exist_ok=True)
            picture(k + 1).save(folder / f"{pet}{n}.png")
        (top / "own" / "masks").mkdir(exist_ok=True)
        mask = square(f"x_{k + 1}").numpy() > 0
        Image.fromarray(mask).save(top / "own" / "masks" / f"{pet}{n}.png")
        split = "test" if n == 3 else "train"
        rows.append(f"{pet}/{pet}{n}.png,{pet},{split},masks/{pet}{n}.png")
        images.append({"id": k, "file_name": f"{pet}{n}.png", "height": HEIGHT, "width": WIDTH})
        (y0, x0), (y1, x1) = (of(np.argwhere(mask), axis=0).tolist() for of in (np.min, np.max))
        polygon = [x0, y0, x1 + 1, y0, x1 + 1, y1 + 1, x0, y1 + 1]
        counts = np.diff(np.flatnonzero(np.diff(mask.ravel("F"), prepend=~mask[:1, 0],
                                                append=~mask[-1:, -1]))).tolist()
        rle = {"size": [HEIGHT, WIDTH], "counts": [0] * bool(mask[0, 0]) + counts}
        packed = encode(np.asfortranarray(mask.astype(np.uint8)))
        packed["counts"] = packed["counts"].decode()
        annotations.append({"id": k, "image_id": k, "category_id": 1 + (pet == "Rex"),
                            "area": int(mask.sum()), "bbox": [x0, y0, x1 - x0, y1 - y0],
                            "iscrowd": 0, "segmentation": ([polygon], rle, packed)[k % 3]})
    categories = [{"id": 1, "name": "Minka", "supercategory": "cat"},
                  {"id": 2, "name": "Rex", "supercategory": "dog"}]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    files = {"csv": top / "own" / "pets.csv", "coco": top / "own" / "instances.json",
             "classes": top / "numbers" / "classes.txt", "zip": top / "own.zip"}
    files["csv"].write_text("\n".join(rows) + "\n")
    files["coco"].write_text(json.dumps(coco))
    files["classes"].write_text("1 Minka\n2 Rex\n")
    shutil.make_archive(str(top / "own"), "zip", top / "own")
    return files


def archives(top: Path) -> dict[str, Path]:
    """The two archives of an official set, of the photos of `pets`."""
    folder, out = pets(top / "packed") / "oxford-iiit-pet", {}
    for name in ("images", "annotations"):
        with tarfile.open(top / f"{name}.tar.gz", "w:gz", compresslevel=1) as tar:
            tar.add(folder / name, name)
        out[f"{name}.tar.gz"] = top / f"{name}.tar.gz"
    return out
