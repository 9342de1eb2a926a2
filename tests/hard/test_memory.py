"""A study's peak memory from 300 to 9,600 photos: every stage in a process of its own.

The photos are small, so a stage's memory is that of the libraries, and what grows with the photos
shows: 15 % of it are some 120 MB, or 13 kB a photo. What a photo's size adds is bounded by
tests/data/test_feature_cache.py and tests/training/test_targets.py.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import small
from PIL import Image

from petweak.study.results import run_study
from petweak.study.run import Run

FEW, MANY, FILES = 300, 9600, 20  # photos, and the files that they are links to
SOURCES = ("gradcam_pretrained", "gradcam_finetuned", "ground_truth", "imagenet_only")
STAGES = ("data", "features", *(f"masks {s}" for s in SOURCES), "train gradcam_finetuned",
          "train imagenet_only", "scores gradcam_finetuned", "results")
STATUS = Path("/proc/self/status")  # of Linux; ru_maxrss would count the parent's memory, too


def draw(root: Path, n: int) -> None:
    """A data root of `n` photos of two breeds, half of them train; all are links to a few."""
    base, rng = root / "oxford-iiit-pet", np.random.default_rng(0)
    folders = base / "images", base / "annotations" / "trimaps"
    for folder in folders:
        folder.mkdir(parents=True)
    for k in range(FILES):
        trimap = np.full((32, 32), 2, np.uint8)
        trimap[8:20, 6 + k % 8 : 24], trimap[10:18, 8 + k % 8 : 22] = 3, 1
        photo = rng.integers(0, 200, (32, 32, 3), dtype=np.uint8) + 55 * (trimap != 2)[..., None]
        Image.fromarray(photo.astype(np.uint8)).save(base / f"{k}.jpg")
        Image.fromarray(trimap).save(base / f"{k}.png")
    lists = {"trainval.txt": [], "test.txt": []}
    for i in range(n):
        name, kind = (f"Abyssinian_{i}", 1) if i % 2 else (f"beagle_{i}", 2)
        lists["test.txt" if i // 2 % 2 else "trainval.txt"].append(f"{name} {kind} {kind} 1")
        for folder, suffix in zip(folders, (".jpg", ".png"), strict=True):
            os.link(base / f"{i % FILES}{suffix}", folder / f"{name}{suffix}")
    for file, lines in lists.items():
        (base / "annotations" / file).write_text("\n".join(lines) + "\n")


def make(stage: str, root: Path) -> None:
    settings = small(image_size=32, epochs=1, sources=SOURCES, labels="species", refinement="pamr",
                     extraction_batch=16, rounds=2, round_epochs=1, last_epochs=1)
    run, (what, *source) = Run(root / "run", root, settings), stage.split()
    {"data": lambda: (run.pets, run.content), "features": lambda: run.features, "masks": run.masks,
     "train": lambda name: run.model(name, "species"), "results": lambda: run_study(run),
     "scores": lambda name: run.model_scores(name, "species")}[what](*source)


def peak_mb(stage: str, root: Path) -> float:
    """Of a new process that makes the stage, from what the stages before it left on disk."""
    tests = Path(__file__).parents[1]
    env = os.environ | {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1",
                        "PYTHONPATH": os.pathsep.join((str(tests.parent), str(tests)))}
    done = subprocess.run([sys.executable, __file__, stage, str(root)], env=env, text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1]) / 2**10


@pytest.mark.timeout(1200)
@pytest.mark.skipif(not STATUS.is_file(), reason="peak memory is read from Linux's /proc")
def test_every_stages_memory_is_flat(tmp_path, reliability):
    peaks = {}
    for n in (FEW, MANY):
        draw(tmp_path / str(n), n)
        peaks[n] = {stage: peak_mb(stage, tmp_path / str(n)) for stage in STAGES}
    growth = {stage: peaks[MANY][stage] / peaks[FEW][stage] - 1 for stage in STAGES}
    most = max(growth, key=growth.get)
    reliability(f"peak memory of each stage of a study, {FEW} and {MANY:,} photos", len(STAGES),
                f"the most is {growth[most]:+.1%}: {most}, {peaks[FEW][most]:.0f} and "
                f"{peaks[MANY][most]:.0f} MiB")
    assert growth[most] < 0.15, {k: f"{v:+.1%}" for k, v in growth.items()}


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]))
    print(re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())[1])
