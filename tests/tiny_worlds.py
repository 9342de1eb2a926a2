"""Worlds of a few drawn squares for tests of mutated files: a data set, masks, a model, a study."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from conftest import small
from handmade import make_model
from PIL import Image
from toy import names, square, world

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


def study(top: Path) -> tuple[Path, Path]:
    """A data root and the folder of a finished study of `ground_truth`."""
    data, run = pets(top / "data"), top / "run"
    run_study(Run(run, data, STUDY))
    return data, run
