"""Rendered pets: photo-like scenes in Oxford-IIIT Pet's own layout, drawn from nothing.

For machines without the photos: 37 breeds in their likeness, exact masks, trimaps and lists,
the same bytes for the same seed. A photo depends on (seed, breed, number) alone, so a killed
run continues where it stopped.
"""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from petweak.data.rendered_breeds import BREEDS, OTHER_BREEDS, Breed
from petweak.data.rendered_scene import other_breed, render, trimap
from petweak.files import read_json, replacing, write_json, write_text

__all__ = ["BREEDS", "OTHER_BREEDS", "Breed", "make_rendered", "render_domain_scene", "render_pet"]

VERSION = 1  # of the drawing; a set of another version is drawn anew
RECORD = "rendered.json"
KIND = "petweak rendered pets"
PET_SHARE = (0.10, 0.65)  # of the photo's area, border included
QUALITY = 90

README = """Rendered pets
-------------
Drawn by petweak.data.rendered; not photos. The layout is Oxford-IIIT Pet's:

trimaps/      1: pet  2: background  3: border
list.txt      Image CLASS-ID SPECIES BREED-ID
              CLASS-ID 1:37, SPECIES 1:cat 2:dog, BREED-ID 1:12 cat, 1:25 dog
trainval.txt  and test.txt: the same lines, by split
"""


def render_pet(breed: Breed, rng: np.random.Generator, size: int = 256,
               domain: str = "pets") -> tuple[np.ndarray, np.ndarray]:
    """Draw one pet in a scene.

    Args:
        breed: what to draw, usually one of ``BREEDS``.
        rng: decides everything else; the same state gives the same photo.
        size: pixels; the longer side is 1 to 1.35 times this, the aspect 0.7 to 1.4.
        domain: ``"pets"`` or ``"other"``: which places and palettes surround it.

    Returns:
        (H, W, 3) uint8 RGB photo and (H, W) uint8 trimap: 1 pet, 2 background, 3 border. The
        pet with its border takes 10 to 65 % of the area.

    Raises:
        ValueError: unknown domain, or size below 64.
    """
    _check(size, domain)
    best = None
    for _ in range(6):
        photo, masks = render(rng, size, domain, [breed])
        marks = trimap(masks[0])
        share = float((marks != 2).mean())
        miss = max(PET_SHARE[0] - share, share - PET_SHARE[1], 0.0)
        if best is None or miss < best[0]:
            best = (miss, photo, marks)
        if miss == 0:
            break
    return best[1], best[2]


def render_domain_scene(rng: np.random.Generator, size: int = 256
                        ) -> tuple[np.ndarray, list[tuple[str, np.ndarray]]]:
    """Draw a scene of the other domain: other breeds, places and palettes, none to two animals.

    Args:
        rng: decides everything. size: as in :func:`render_pet`.

    Returns:
        (H, W, 3) uint8 RGB photo and, by animal, ``("cat" | "dog", (H, W) bool mask)`` of what
        is visible of it; an animal of which next to nothing is visible is not listed.
    """
    _check(size, "other")
    count = int(rng.choice([0, 1, 2], p=[0.06, 0.62, 0.32]))
    breeds = [other_breed(rng) for _ in range(count)]
    photo, masks = render(rng, size, "other", breeds)
    return photo, [(b.species, m) for b, m in zip(breeds, masks, strict=True) if m.mean() > 0.005]


def make_rendered(data_root: str | Path, *, train_per_breed: int = 12, test_per_breed: int = 6,
                  size: int = 256, seed: int = 0, domain: str = "pets",
                  progress: bool = True) -> Path:
    """Write a rendered set in Oxford-IIIT Pet's layout; continue it if a run was killed.

    Args:
        data_root: the set goes to ``<data_root>/oxford-iiit-pet``.
        train_per_breed: photos of each of the 37 breeds in trainval.txt, at least 1.
        test_per_breed: the same in test.txt, at least 1.
        size: pixels, as in :func:`render_pet`.
        seed: another seed, another set.
        domain: places and palettes, as in :func:`render_pet`.
        progress: show a bar.

    Returns:
        ``<data_root>/oxford-iiit-pet``. Nothing is drawn if the same set is complete there; a
        rendered set of other settings is replaced.

    Raises:
        FileExistsError: the folder holds something that is not a rendered set.
        ValueError: a count below 1, an unknown domain, or size below 64.
    """
    _check(size, domain)
    if train_per_breed < 1 or test_per_breed < 1:
        raise ValueError("train_per_breed and test_per_breed must be at least 1, got "
                         f"{train_per_breed} and {test_per_breed}")
    root = Path(data_root) / "oxford-iiit-pet"
    record = {"kind": KIND, "version": VERSION, "seed": seed, "size": size, "domain": domain,
              "breeds": len(BREEDS), "train_per_breed": train_per_breed,
              "test_per_breed": test_per_breed,
              "photos": len(BREEDS) * (train_per_breed + test_per_breed)}
    if not _prepare(root, record):
        return root
    lines = {"trainval": [], "test": []}
    jobs = []
    in_species = {"cat": 0, "dog": 0}
    for index, breed in enumerate(BREEDS):
        in_species[breed.species] += 1
        ids = f"{index + 1} {1 if breed.species == 'cat' else 2} {in_species[breed.species]}"
        for number in range(1, train_per_breed + test_per_breed + 1):
            name = f"{breed.name}_{number}"
            lines["trainval" if number <= train_per_breed else "test"].append(f"{name} {ids}")
            jobs.append((index, breed, number, name))
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # small pictures: threads cost more than they bring
    try:
        for index, breed, number, name in tqdm(jobs, desc="rendered pets", unit="photo",
                                               disable=not progress):
            photo_file = root / "images" / f"{name}.jpg"
            trimap_file = root / "annotations" / "trimaps" / f"{name}.png"
            if photo_file.is_file() and trimap_file.is_file():
                continue  # whole, or it would not be there
            rng = np.random.default_rng([seed, index, number])
            photo, marks = render_pet(breed, rng, size, domain)
            _write_image(trimap_file, marks, format="PNG")
            _write_image(photo_file, photo, format="JPEG", quality=QUALITY)
    finally:
        cv2.setNumThreads(threads)
    notes = root / "annotations"
    for split, rows in lines.items():
        write_text(notes / f"{split}.txt", "\n".join(rows) + "\n")
    write_text(notes / "list.txt", "\n".join(lines["trainval"] + lines["test"]) + "\n")
    write_text(notes / "README", README)
    write_json(notes / RECORD, {**record, "complete": True})
    return root


def _check(size: int, domain: str) -> None:
    if domain not in ("pets", "other"):
        raise ValueError(f"domain must be 'pets' or 'other', got {domain!r}")
    if size < 64:
        raise ValueError(f"size must be at least 64 pixels, got {size}")


def _prepare(root: Path, record: dict) -> bool:
    """Make ``root`` ready for the set of ``record``; False if that set is complete there."""
    marker = root / "annotations" / RECORD
    found = read_json(marker)
    if root.exists() and (not root.is_dir() or (found is None and any(root.iterdir()))) or (
            found is not None and (not isinstance(found, dict) or found.get("kind") != KIND)):
        raise FileExistsError(
            f"{root} is not a set of rendered pets and is left alone: give another data_root, or "
            "move that folder away")
    if found == {**record, "complete": True}:
        return False
    if found is not None and {k: found.get(k) for k in record} != record:
        # Unfinished before the first file goes, should this be killed in between. Only what this
        # module writes is removed, so that a user's notes survive.
        write_json(marker, {**found, "complete": False})
        for pattern in ("images/*.jpg", "annotations/trimaps/*.png", "annotations/*.txt"):
            for path in root.glob(pattern):
                path.unlink()
    for folder in ("images", "annotations/trimaps"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    # Before the first photo, the record says whose the folder is and that it is unfinished.
    write_json(marker, {**record, "complete": False})
    for path in root.rglob(".*.partial*"):  # of a killed run
        path.unlink(missing_ok=True)
    return True


def _write_image(path: Path, pixels: np.ndarray, **options) -> None:
    memory = io.BytesIO()
    Image.fromarray(pixels).save(memory, **options)
    with replacing(path) as beside:
        beside.write_bytes(memory.getvalue())
