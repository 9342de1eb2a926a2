"""Rendered pets: photo-like scenes in Oxford-IIIT Pet's layout, drawn from nothing.

For machines without the photos: 37 breeds in their likeness, exact masks, trimaps and lists, the
same bytes for the same seed. A photo depends on (seed, breed, number) alone, so a killed run
continues where it stopped.
"""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from petweak.data.files import read_json, replacing, write_json, write_text
from petweak.rendered.breeds import BREEDS, DRAWING, Breed
from petweak.rendered.scene import other_breed, render, trimap

__all__ = ["make_rendered"]  # the package is sealed: nothing else is imported from outside

VERSION = 1  # of the drawing; a set of another version is drawn again
KIND = "petweak rendered pets"
PET_SHARE = (0.10, 0.65)  # of the photo's area, border included


def render_pet(breed: Breed, rng: np.random.Generator, size: int = 256):
    """One pet in a scene; the same state of `rng` gives the same photo. size: pixels; the longer
    side is 1 to 1.35 times this, the aspect 0.7 to 1.4.

    Returns (H, W, 3) uint8 RGB photo and (H, W) uint8 trimap: 1 pet, 2 background, 3 border. The
    pet with its border takes 10 to 65 % of the area."""
    tries = []
    for _ in range(6):
        photo, masks = render(rng, size, "pets", [breed])
        marks = trimap(masks[0])
        share = float((marks != 2).mean())
        tries.append((max(PET_SHARE[0] - share, share - PET_SHARE[1], 0.0), photo, marks))
        if tries[-1][0] == 0:
            break
    return min(tries, key=lambda one: one[0])[1:]


def render_domain_scene(rng: np.random.Generator, size: int = 256):
    """A scene of the other domain: other breeds, places and palettes, none to two animals.

    Returns (H, W, 3) uint8 RGB photo and, by animal, ("cat" | "dog", (H, W) bool mask) of what is
    visible of it; an animal of which next to nothing is visible is not listed."""
    breeds = [other_breed(rng) for _ in range(int(rng.choice([0, 1, 2], p=[0.06, 0.62, 0.32])))]
    photo, masks = render(rng, size, "other", breeds)
    return photo, [(b.species, m) for b, m in zip(breeds, masks, strict=True) if m.mean() > 0.005]


def make_rendered(data_root: str | Path, *, train_per_breed: int = 12, test_per_breed: int = 6,
                  size: int = 256, seed: int = 0, progress: bool = True) -> Path:
    """Write a rendered set to `data_root/oxford-iiit-pet`; continue it if a run was killed.

    Nothing is drawn if the same set is complete there; a rendered set of other settings is
    replaced. size is that of `render_pet`.

    Raises FileExistsError where the folder has something else, ValueError for a count below 1 or
    a size below 64."""
    if size < 64 or train_per_breed < 1 or test_per_breed < 1:
        raise ValueError("size must be at least 64 pixels, train_per_breed and test_per_breed at "
                         f"least 1, got {size}, {train_per_breed} and {test_per_breed}")
    root, count = Path(data_root) / "oxford-iiit-pet", train_per_breed + test_per_breed
    record = dict(
        kind=KIND, version=VERSION, seed=seed, size=size, domain="pets", breeds=len(BREEDS),
        train_per_breed=train_per_breed, test_per_breed=test_per_breed, photos=len(BREEDS) * count)
    if not _prepare(root, record):
        return root
    lists, of_species = {"trainval": [], "test": []}, {"cat": [], "dog": []}
    notes, threads = root / "annotations", cv2.getNumThreads()
    jobs = [(i, breed, n) for i, breed in enumerate(BREEDS) for n in range(1, count + 1)]
    cv2.setNumThreads(1)  # small pictures: threads cost more than they bring
    try:
        for i, breed, n in tqdm(jobs, desc="rendered pets", unit="photo",
                                disable=None if progress else True):
            name, same = f"{breed.name}_{n}", of_species[breed.species]
            same += [breed.name] * (n == 1)
            row = f"{name} {i + 1} {1 if breed.species == 'cat' else 2} {len(same)}"
            lists["trainval" if n <= train_per_breed else "test"].append(row)
            files = notes / "trimaps" / f"{name}.png", root / "images" / f"{name}.jpg"
            if all(file.is_file() for file in files):
                continue  # whole, or it would not be there
            photo, marks = render_pet(breed, np.random.default_rng([seed, i, n]), size)
            for file, pixels in zip(files, (marks, photo), strict=True):
                with replacing(file) as beside:
                    Image.fromarray(pixels).save(beside, quality=90)  # which PNG ignores
    finally:
        cv2.setNumThreads(threads)
    for name, rows in (lists | {"list": lists["trainval"] + lists["test"]}).items():
        write_text(notes / f"{name}.txt", "\n".join(rows) + "\n")
    write_text(notes / "README", DRAWING["readme"])
    write_json(notes / "rendered.json", {**record, "complete": True})
    return root


def _prepare(root: Path, record: dict) -> bool:
    """Make `root` ready for the set of `record`; False if that set is complete there."""
    marker = root / "annotations" / "rendered.json"
    before = read_json(marker)
    there = root.exists() and (not root.is_dir() or any(root.iterdir()))
    if there if before is None else before.get("kind") != KIND:
        raise FileExistsError(f"{root} is not a set of rendered pets and is left alone: give "
                              "another data_root, or move that folder away")
    if before == {**record, "complete": True}:
        return False
    if before is not None and {k: before.get(k) for k in record} != record:
        # Unfinished before the first file goes, should this be killed in between. Only what was
        # drawn is removed, so that a user's notes and photos survive.
        write_json(marker, {**before, "complete": False})
        numbers = range(1, before["train_per_breed"] + before["test_per_breed"] + 1)
        for name in (f"{breed.name}_{n}" for breed in BREEDS for n in numbers):
            (root / "images" / f"{name}.jpg").unlink(missing_ok=True)
            (root / "annotations" / "trimaps" / f"{name}.png").unlink(missing_ok=True)
    # Before the first photo, the record says whose the folder is and that it is unfinished.
    write_json(marker, {**record, "complete": False})
    return True
