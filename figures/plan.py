"""So many photos, on paper: the part of the page of measurements that nobody has measured."""

import gc
import math
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from measured import Tables, a_photo, base_of, many, number, points, shown

from petweak.config import STRIDES, Settings
from petweak.data.feature_cache import VIEWS, Features
from petweak.data.files import read_frame, to_json
from petweak.data.oxford_pets import LABELS, Pets, Sample
from petweak.evaluation.scoring import SEMANTIC
from petweak.models.backbones import load_backbone
from petweak.training.targets import Targets

FILE, NAMES = 16 << 40, 10_000_000  # of ext4: bytes of a file, names that a folder holds with ease
MEMORY, DAYS = 64e9, 30  # supposed: bytes of a machine, and what a pass may take on one
# The plan's options; prices in USD.
ASSUMED = {"photos": 100_000_000, "core_hour": 0.04, "gpu_hour": 2.5, "tb_month": 23.0}


def plan(tables: Tables, notes: dict[str, dict[str, Any]], gpu: Path, photos: int,
         core_hour: float, gpu_hour: float, tb_month: float) -> list[str]:
    """So many photos, from the growth of what was measured and from the code. `gpu` is the table of
    a study's stages on a GPU."""
    growth, note = tables["growth"], notes["growth"]
    of = Settings.from_dict(note["settings"])
    base = base_of(note)
    b, side, threads = of.backbone, int(base["side"]), int(growth["threads"].iloc[0])
    channels, largest = load_backbone(b.backbone).channels, int(points(growth)["value"].max())
    bytes_of = {k: VIEWS * channels[k] * (side // STRIDES[k])**2 * 2 for k in b.stored_levels}
    bytes_of["pooled"] = VIEWS * channels["final"] * 4
    cache = pd.DataFrame([{"level": k, "bytes a photo": n, f"TB of {photos:,}": n * photos / 1e12}
                          for k, n in (bytes_of | {"all": sum(bytes_of.values())}).items()])
    whole = sum(bytes_of.values())
    read = (whole - bytes_of["pooled"]) // VIEWS  # of one view a photo, in an epoch
    stages = {k: a_photo(growth, k) for k in growth.loc[:, "features":"all"].columns}
    hours = {k: seconds * threads * photos / 3600 for k, seconds in stages.items()}
    cost = pd.DataFrame([{"stage": k, "seconds a photo": stages[k], "core-hours": h,
                          "USD": h * core_hour} for k, h in hours.items()])
    lines = [
        f"## {photos:,} photos, on paper",
        f"From the points of `growth` at {base['classes']} classes and {side} px, {b.backbone} and "
        f"the levels {', '.join(b.stored_levels)}: what a photo adds between "
        f"{points(growth)['value'].min():,} and {largest:,} photos, times {photos:,}. That is "
        f"{number(photos / largest)} times more than was measured.",
        f"The cache holds each photo and its mirror image, in float16 ({VIEWS * photos:,} pictures "
        "go through the backbone, and as many again for each further scale of a refinement):",
        shown(cache),
        f"{number(whole * photos / 1e12)} TB cost {number(whole * photos / 1e12 * tb_month)} USD "
        f"for each month that they are kept, at {tb_month} USD a TB and month (the option "
        "--tb-month). All prices here are supposed.",
        f"Core-hours on this machine, and their cost at {core_hour} USD a core-hour (the option "
        f"--core-hour); `train` is of {many(note['options']['epochs'], 'epoch')} of the photos of "
        "train, and `all` has what no stage counts:",
        shown(cost)]
    lines += of_slope(growth, photos)
    if gpu.is_file() and len(of_gpu := read_frame(gpu).query("stage == 'features'")):
        first = of_gpu.iloc[0]
        gpu_hours = VIEWS * photos / first["images_per_second"] / 3600
        card = f"a GPU, {first['gpu']}" if "gpu" in first else "a GPU that its table does not name"
        of_side = (f" of {first['side']} px, its rate at that side (the core-hours are of {side} "
                   "px)") if "side" in first else (
                       ", at a side that its table does not name (`notebooks/guide.md`: at most "
                       "320 px)")
        lines.append(f"The pass on {card} (`data/gpu/timings.csv`), at "
                     f"{number(first['images_per_second'])} pictures a second{of_side}: "
                     f"{number(gpu_hours)} GPU-hours, {number(gpu_hours * gpu_hour)} USD at "
                     f"{gpu_hour} a GPU-hour (--gpu-hour).")
    rate = read * VIEWS / (stages["features"] * threads)
    lines.append(
        f"An epoch of all levels reads {number(read * photos / 1e12)} TB, one view of each photo. "
        f"Where a core reads less than {number(rate / 1e6)} MB a second, the pass anew is as quick "
        "as its cache, which then is worth the levels that the model sees and no more.")
    first = breaks(growth, of, bytes_of, base, photos, stages["features"])
    least = int(first["breaks at"].min())
    return [*lines, "What breaks, the first one first, and at how many photos. Supposed are "
            f"machines of {number(MEMORY / 1e9)} GB and, of ext4, files of at most {FILE >> 40} "
            f"TiB and folders of about {NAMES:,} names (without its option large_dir):",
            shown(first),
            f"So a run as the code is takes up to {number(float(f'{least:.2g}'))} photos. More are "
            f"{number(math.ceil(photos / least))} runs of that size, whose passes and masks need "
            "nothing of each other; torchrun shares each pass among processes, `--on ray` makes "
            "passes and masks as tasks. One model of all the photos has to read all their caches, "
            "which no command does today."]


def of_slope(growth: pd.DataFrame, photos: int) -> list[str]:
    """What a straight line leaves out: with the exponent between the two largest points the hours
    of so many photos would be more."""
    few, most = points(growth)[["value", "all"]].iloc[-2:].to_numpy(dtype=float)
    power = math.log(most[1] / few[1]) / math.log(most[0] / few[0])
    if round(power, 2) <= 1:
        return []
    bent, straight = most[1] * (photos / most[0])**power, a_photo(growth, "all") * photos
    hours = bent * int(growth["threads"].iloc[0]) / 3600
    return [f"That is a straight line through the fewest and the most photos. Between the two "
            f"largest points, {few[0]:,.0f} and {most[0]:,.0f}, the seconds of `all` grow with the "
            f"power {power:.2f} of the photos. If they did so up to {photos:,}, they would be "
            f"{number(hours)} core-hours, {number(bent / straight)} times as many. Neither was "
            "measured."]


def breaks(growth: pd.DataFrame, of: Settings, bytes_of: dict[str, int], base: dict[str, str],
           photos: int, seconds: float) -> pd.DataFrame:
    """What grows with photos, how large it is with so many, and with how many it fails."""
    classes = int(base["classes"])
    batch, level = of.backbone.extraction_batch, max(bytes_of, key=bytes_of.get)
    index = text_of(lambda ids: {"crc32": {k: "0" * 8 * len(ids) for k in bytes_of}, "ids": ids},
                    photos)
    manifest = text_of(lambda ids: {"ids": ids, "confidence": dict.fromkeys(ids, 0.9999),
                                    "hashes": dict.fromkeys(ids, "0" * 32)}, photos)
    overlaps = 2 * (classes + 1) * len(SEMANTIC) * 8
    own = float(f"{added(of_all_photos(bytes_of, int(base['side']) // 2)):.1g}")
    note = {"key": "0" * 32, "engine": "onnxruntime", "rows": [photos - batch, photos],
            "seconds": photos * seconds, "crc32": dict.fromkeys(bytes_of, "0" * 8 * batch)}
    line = len(to_json(note)) / batch
    rows = [  # what, how much of it a photo adds, the unit, its size, and where it fails
        ("progress.jsonl of the pass, a line a batch, read as one text: the machine's memory",
         line * photos / 1e9, "GB", MEMORY / line),
        (f"{level}.npy, one file for all photos: the largest file of ext4",
         bytes_of[level] * photos / 1e12, "TB", FILE / bytes_of[level]),
        ("one folder of photos, and one of each source's masks, listed and sorted as a whole: "
         "names that ext4 holds", photos, "names", NAMES),
        (f"samples, labels, checksums and targets in memory while a model trains, about {own:,.0f} "
         "bytes a photo by these structures: the machine's memory", own * photos / 1e9, "GB",
         MEMORY / own),
        ("index.json, read as one text: the machine's memory", index * photos / 1e9, "GB",
         MEMORY / index),
        ("manifest.json of a source's masks, read as one text, and each of its files whenever it "
         "is opened", manifest * photos / 1e9, "GB", MEMORY / manifest),
        (f"pandas tables of the overlaps of {classes} classes, a row a photo: the machine's memory",
         overlaps * photos / 1e9, "GB", MEMORY / overlaps),
        (f"the pass under the run's lock, on {many(int(growth['threads'].iloc[0]), 'thread')}: "
         f"{DAYS} days",
         seconds * photos / 86400, "days", DAYS * 86400 / seconds)]
    table = pd.DataFrame([{"what": what, f"with {photos:,}": f"{number(n)} {unit}", "breaks at": at}
                          for what, n, unit, at in rows])
    return table.sort_values("breaks at", ignore_index=True)


def text_of(make: Callable[[list[str]], dict], photos: int) -> float:
    """Bytes of JSON that a photo adds to a file, its id a number of so many photos."""
    ids = [f"{k:0{len(str(photos))}}" for k in range(2000)]
    fewer, more = (len(to_json(make(part), indent=1)) for part in (ids[:1000], ids))
    return (more - fewer) / 1000


def added(make: Callable[[range], Any]) -> float:
    """Bytes of memory that a photo adds to what `make` makes of the numbers of so many."""
    photos = (1000, 2000)
    fewer, more = (min(traced(make, n) for _ in range(3)) for n in photos)  # others allocate, too
    return (more - fewer) / (photos[1] - photos[0])


def traced(make: Callable[[range], Any], n: int) -> int:
    """Bytes that are allocated meanwhile, and not freed."""
    tracemalloc.start()
    there = make(range(n))
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del there
    return size


def of_all_photos(levels: Iterable[str], grid: int) -> Callable[[range], Any]:
    """Makes what a study keeps of every photo while it trains: samples, their paths and labels, an
    open cache all of whose checksums were compared, and targets. For a pet there is a star of 15
    points, which takes as many bytes as ground truth: about 1,600 at 128 x 128."""
    places, levels = Path("data", "oxford-iiit-pet"), tuple(levels)
    y, x = np.mgrid[:grid, :grid] - (grid - 1) / 2
    edge = grid / 3 * (1 + 0.3 * np.sin(15 * np.arctan2(y, x)))
    star = 255 * np.clip(edge - np.hypot(x, y) + 0.5, 0, 1), np.ones((grid, grid))

    def make(numbers: range) -> list:
        samples = tuple(Sample(
            f"{k:09}", places / "images" / f"{k:09}.jpg", places / "trimaps" / f"{k:09}.png",
            k % 37, k % 2, "train", "a breed") for k in numbers)
        (pets := Pets(places, "own", ("a breed",), samples)).sample(samples[0].id)
        labels = {s.id: {of: s.label(of) for of in LABELS} for s in samples}
        features = Features(places, tuple(f"{k:09}" for k in numbers), levels,
                            crc32={level: "0" * 8 * len(numbers) for level in levels})
        features._good.update((level, row) for level in levels for row in numbers)
        targets = Targets.pack([s.id for s in samples], torch.arange(len(samples)),
                               (star for _ in numbers))
        return [pets, {s.id: s.photo for s in samples}, labels, features, targets]

    return make
