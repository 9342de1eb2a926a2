"""What a whole chain costs, measured: from nothing but the photos of train to the last student."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pandas as pd

from petweak.data.pets import LISTS, Pets
from petweak.runs import write_frame
from petweak.study import Run


def chain_cost(run: Run, source: str = "labels_free", labels: str = "species") -> pd.DataFrame:
    """Self-train from `source` in an empty folder, on the photos of train alone (and one of test,
    which is never scored), and write cost.csv into the run's folder.

    Returns `stage`, `photos`, `seconds`: a row per stage as timings.csv has it, then `else` (what
    no stage counts: reading files, masks between rounds) and `all`, the time on the clock.
    """
    folder = run.folder / "cost"
    shutil.rmtree(folder, ignore_errors=True)
    root = _train_alone(run.pets, folder / "data")
    start = time.perf_counter()
    alone = Run(folder / "run", root, run.settings)
    alone.self_trained(source, labels)
    whole = time.perf_counter() - start
    stages = pd.read_csv(alone.folder / "timings.csv")
    rows = [
        (" ".join(part for part in (r.stage, r.source, r.labels) if part != "-"),
         r.n_images, r.seconds)
        for r in stages.itertuples()
    ]  # fmt: skip
    photos = len(run.pets.split("train"))
    rows += [("else", photos, whole - stages["seconds"].sum()), ("all", photos, whole)]
    table = pd.DataFrame(rows, columns=["stage", "photos", "seconds"]).round({"seconds": 3})
    write_frame(run.folder / "cost.csv", table)
    shutil.rmtree(folder)
    return table


def _train_alone(pets: Pets, root: Path) -> Path:
    """A data root with the photos of train, and the one of test that no list can do without."""
    base = root / "oxford-iiit-pet"
    for part in ("images", "annotations/trimaps"):
        (base / part).mkdir(parents=True)
    for split, samples in (("train", pets.split("train")), ("test", pets.split("test")[:1])):
        lines = [f"{s.id} {s.breed + 1} {s.species + 1} 1\n" for s in samples]
        (base / "annotations" / LISTS[split]).write_text("".join(lines), encoding="utf-8")
        for s in samples:
            shutil.copyfile(s.photo, base / "images" / s.photo.name)
            shutil.copyfile(s.trimap, base / "annotations" / "trimaps" / s.trimap.name)
    return root
