"""How do time and memory grow with photos, classes, the pictures' side and queries?

Each point is a study of its own (features, masks of `gradcam_finetuned`, a model of breeds, scores)
in a process and a folder of its own, so that its peak of memory is its own. One size changes at a
time. The photos are those of the run that have a trimap, as often as they are needed, under other
names and in classes that mean nothing: the scores of such a study say nothing either, and only what
it takes is kept.
"""

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import psutil
import torch

from petweak.config import Settings, parse_assignments
from petweak.data.files import read_frame, read_json, write_json, write_text
from petweak.data.oxford_pets import CLASSES, OFFICIAL, SPLITS, Sample
from petweak.experiments.benchmark import hardware
from petweak.experiments.trials import kept, scored, scratch
from petweak.study.cache import key, peak_rss_mb
from petweak.study.results import run_study
from petweak.study.run import Run

SIZES = ("photos", "classes", "side", "queries")
SETTINGS, MEASURED = "settings.json", "measured.json"  # of a point
TEST = 6  # every so many photos one is of test
Point = tuple[int, ...]  # in the order of SIZES


def growth(
    run: Run, photos: tuple[int, ...] = (150, 300, 600, 1200, 2400, 4800, 9600),
    classes: tuple[int, ...] = (2, 10, 37, 100, 300, 1000), side: tuple[int, ...] = (
        128, 192, 256, 384, 512), queries: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100),
    base: str = "photos=1200 classes=37 side=256 queries=2", epochs: int = 1, repeats: int = 3,
) -> pd.DataFrame:
    """Measure the study at the sizes `base`, and with each of the values of one size in its place
    (none: `-o queries=`). What is measured is kept in the run's folder and not measured again.

    Returns a row per value: `axis` and `value`; medians over repeats of the seconds of each stage
    (`train` is of `epochs`), of `all` from an empty folder, and of two peaks of memory in MB:
    `rss_mb`, with the mapped files that the system may drop, and `own_mb` without them; `distinct`
    photos among them, `repeats`, `threads`, `device`. ValueError for another size in `base`, and
    for more classes than photos."""
    middle = {name: int(n) for name, n in parse_assignments(base.split()).items()}
    if set(middle) != set(SIZES):
        raise ValueError(f"base={base}: say {', '.join(f'{name}=N' for name in SIZES)}")
    samples = scored(run, "train") + scored(run, "test")
    axes = dict(zip(SIZES, (photos, classes, side, queries), strict=True))
    rows = [(axis, n, tuple((middle | {axis: n}).values())) for axis in SIZES for n in axes[axis]]
    for *_, (of, kinds, *_) in rows:
        if kinds > of:
            raise ValueError(f"{kinds} classes need as many photos, and a point has {of}: say "
                             f"-o classes= with none above {of}, or base='photos={kinds} ...'")
    taken = {point: [] for *_, point in rows}
    for repeat in range(repeats):
        for point, there in taken.items():
            there.append(_kept(run, samples, point, epochs, repeat))
    medians = {point: pd.DataFrame(of).median().round(3) for point, of in taken.items()}
    frame = pd.DataFrame([{"axis": axis, "value": n, **medians[p]} for axis, n, p in rows])
    distinct = [min(point[0], len(samples)) for *_, point in rows]
    return frame.assign(distinct=distinct, repeats=repeats, **hardware(run.device))


def _kept(run: Run, samples: tuple[Sample, ...], point: Point, epochs: int, repeat: int
          ) -> dict[str, float]:
    size = dict(zip(SIZES, point, strict=True))
    settings = run.settings.replace(
        image_size=size["side"], queries=size["queries"], epochs=epochs, save_epochs=False,
        sources=("gradcam_finetuned",), labels=("breed",), leave_out="")
    name = "-".join(f"{name}_{n}" for name, n in size.items())
    known = key(settings, settings.to_dict(), size=size, photos=run.content["photos"], version=1,
                threads=torch.get_num_threads(), device=run.made_on)

    def make() -> dict[str, float]:  # in a process with nothing of this one's memory
        with scratch(top / "point") as folder:
            write_set(folder / "data", samples, size["photos"], size["classes"])
            write_json(folder / SETTINGS, settings.to_dict())
            command = [sys.executable, "-m", __name__, folder, str(torch.get_num_threads())]
            if code := subprocess.run(command).returncode:
                raise OSError(f"the study of {name} ended with the exit code {code}, which is "
                              "negative where a signal killed it: without memory, perhaps")
            return read_json(folder / MEASURED)

    top = run.folder / "experiments" / "growth"
    return kept(top / f"{name}-{repeat}.json", known, make)


def write_set(root: Path, samples: tuple[Sample, ...], photos: int, classes: int) -> None:
    """A data root of so many photos and classes, in turn; photo k is `samples[k mod n]`."""
    notes = root / OFFICIAL / "annotations"
    (root / OFFICIAL / "images").mkdir(parents=True)
    (notes / "trimaps").mkdir(parents=True)
    lines: dict[str, list[str]] = {split: [] for split in SPLITS}
    for k in range(photos):
        s, c = samples[k % len(samples)], k % classes
        lines["test" if k % TEST == TEST - 1 else "train"].append(f"{k:06} {c + 1} {c % 2 + 1} 1")
        shutil.copyfile(s.photo, root / OFFICIAL / "images" / f"{k:06}{s.photo.suffix}")
        if s.trimap:
            shutil.copyfile(s.trimap, notes / "trimaps" / f"{k:06}{s.trimap.suffix}")
    for split, file in SPLITS.items():
        write_text(notes / file, "\n".join(lines[split]) + "\n")
    names = (f"{c + 1} kind {c + 1}" for c in range(classes))
    write_text(notes / CLASSES, "\n".join(names) + "\n")


def measure(folder: Path) -> dict[str, float]:
    """What a study of the data set and with the settings in `folder` takes."""
    settings = Settings.from_dict(read_json(folder / SETTINGS))
    with own_memory() as own:
        start = time.perf_counter()
        run_study(Run(folder / "run", folder / "data", settings))
        elapsed = time.perf_counter() - start
    stages = read_frame(folder / "run" / "timings.csv").groupby("stage", sort=False)["seconds"]
    return {**stages.sum(), "all": elapsed, "rss_mb": peak_rss_mb(), "own_mb": max(own)}


@contextmanager
def own_memory(every: float = 0.02) -> Iterator[list[float]]:
    """A list that gets, all the time, the MB of memory of this process without mapped files."""
    process, done, own = psutil.Process(), threading.Event(), []

    def watch() -> None:
        while not own or not done.wait(every):
            info = process.memory_info()  # `shared` is Linux's
            own.append((info.rss - getattr(info, "shared", 0)) / 2**20)

    (thread := threading.Thread(target=watch, daemon=True)).start()
    try:
        yield own
    finally:
        done.set()
        thread.join()


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[2]))
    write_json(Path(sys.argv[1], MEASURED), measure(Path(sys.argv[1])))
