"""The page of measurements, from the tables of finished experiments: `make figures`.

    figures/data/bench/<experiment>.csv, .json   what `petweak experiment <experiment>` has written
    figures/data/bench/demo.csv                  seconds of `make demo` at some commits, by a clock:
                                                 in a fresh clone, and once more
    figures/data/bench/remarks.csv               a sentence on how a table was measured
    figures/benchmark.md                         a section for each of them, the targets, a plan
    figures/bench-growth.png

    .venv/bin/python figures/benchmark.py [--run RUN] [--photos N] [--core-hour PRICE] ...

With --run, the tables of that run's experiments are copied first. Every number of the page is
computed here; what was measured elsewhere, or is supposed, is an option or one of the constants.
"""

import argparse
import gc
import inspect
import itertools
import math
import shlex
import shutil
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from petweak.config import STRIDES, Settings, parse_assignments, settings
from petweak.data.feature_cache import VIEWS, Features
from petweak.data.files import project_path, read_frame, read_json, replacing, to_json, write_text
from petweak.data.oxford_pets import LABELS, Pets, Sample
from petweak.evaluation.scoring import SEMANTIC
from petweak.experiments import EXPERIMENTS, experiment
from petweak.experiments.alternatives import GRID
from petweak.experiments.benchmark import CAM_BATCH, OURS
from petweak.models.backbones import load_backbone
from petweak.training.targets import Targets
from petweak.visualization import charts
from petweak.visualization.style import save_or_show

# What is after the hyphen is the backbone, where a second one was measured, some of the parts,
# another network beside petweak, or an axis that was measured with sizes of its own.
TABLES = ("benchmark", "benchmark-resnet50", "benchmark-stages", "time_to_quality",
          "time_to_quality-unet", "growth", "growth-classes", "limits", "alternatives")
# Of the demo: the second is the first and then the notebooks of the exercises' solutions.
FRESH, SOLVED, AGAIN = "in a fresh clone", "and the solutions", "again, with nothing to do"
SAME = ("rounds", "repeats", "n_images", "distinct", "precision", "gflops_float32",
        "gflops_bfloat16", "gb_copied", "threads", "device")  # where all rows agree: in the text
FILE, NAMES = 16 << 40, 10_000_000  # of ext4: bytes of a file, names that a folder holds with ease
MEMORY, DAYS = 64e9, 30  # supposed: bytes of a machine, and what a pass may take on one
ASSUMED = {"photos": 100_000_000, "core_hour": 0.04, "gpu_hour": 2.5}  # the plan's, prices in USD
ONNX, PASS = "backbone, ONNX Runtime", "pass, with decoding and writing"
Tables = dict[str, pd.DataFrame]


class Target(NamedTuple):
    """`value` raises KeyError where a table, or its row, is missing; it is NaN where petweak never
    reached what is measured."""

    text: str
    value: Callable[[Tables], float]
    sign: str  # of `value` and `bound`
    bound: float
    stage: str = ""  # of `limits`, which says where its time goes
    why: Callable[[Tables], str] = lambda tables: ""  # it is not met


def exponents(table: pd.DataFrame) -> pd.DataFrame:
    """Of each axis (a row) and measure (a column): b of the least squares fit of log(measure) by
    a + b log(value). Axes with one value are left out."""
    measures = table.loc[:, "features":"own_mb"].columns
    parts = {axis: part for axis, part in table.groupby("axis", sort=False) if len(part) > 1}
    fits = {axis: np.polyfit(np.log(part["value"]), np.log(part[measures].clip(lower=1e-3)), 1)[0]
            for axis, part in parts.items()}
    return pd.DataFrame.from_dict(fits, "index", columns=measures).rename_axis("axis")


def reached(table: pd.DataFrame, targets: tuple[float, ...] = (0.90, 0.92, 0.93)) -> pd.DataFrame:
    """A row per network: the median over seeds of the seconds until each of `targets` was reached
    for the first time (missing where that is more than half of the seeds never), of `before` and
    of the last `iou`; the number of `seeds`."""
    keys = ["what", "seed"]
    runs = table.sort_values("step").groupby(keys, sort=False)
    first = {f"{t:.2f}": table[table["iou"] >= t].groupby(keys)["seconds"].min() for t in targets}
    each = pd.DataFrame({**first, "before": runs["before"].first(), "iou": runs["iou"].last()})
    groups = each.fillna(np.inf).groupby("what")
    medians = groups.median().replace(np.inf, np.nan).assign(seeds=groups.size())
    return medians.loc[table["what"].unique()].reset_index()


def times(part: str, ours: str, *others: str, backbone: str = "") -> Callable[[Tables], float]:
    """How many times as long the quickest of the others takes."""
    def value(tables: Tables) -> float:
        table = tables[f"benchmark-{backbone}" if backbone == "resnet50" else "benchmark"]
        if backbone and table["backbone"].iloc[0] != backbone:
            raise KeyError(backbone)
        seconds = table[table["part"] == part].set_index("what")["seconds"]
        return seconds[list(others)].min() / seconds[ours]
    return value


def seconds_of(what: str) -> Callable[[Tables], float]:
    return lambda tables: tables["benchmark"].set_index("what")["seconds"][what]


def exponent(measure: str) -> Callable[[Tables], float]:
    return lambda tables: exponents(tables["growth"]).loc["photos", measure]


def until(tables: Tables, column: str) -> tuple[float, pd.Series]:
    """A column of `reached`: petweak's, of the table with more seeds, and the others'."""
    first, *more = (reached(tables[name]).set_index("what")[column] for name in qualities(tables))
    return first[OURS], pd.concat([first, *more]).drop(OURS)


def qualities(tables: Tables) -> list[str]:
    """The tables of `time_to_quality`: that of the FPN, and that of the U-Net where it is there."""
    return ["time_to_quality", *(name for name in ("time_to_quality-unet",) if name in tables)]


def share_of_seconds(tables: Tables) -> float:
    ours, others = until(tables, "0.92")
    return ours / others.min() if others.notna().any() else 0.0 * ours


def of_seconds(tables: Tables) -> str:
    """What the share of seconds is made of."""
    ours, others = until(tables, "0.92")
    before, table = until(tables, "before")[0], tables["time_to_quality"]
    steps = table[table["what"] == OURS]
    at = steps[steps["iou"] >= 0.92].groupby("seed")["step"].min().median()
    return (f"{number(QUALITY)} of {others.idxmin()}'s {number(others.min())} s is "
            f"{number(QUALITY * others.min())} s. petweak's pass takes {number(before)} s; 0.92 "
            f"comes at step {at:g} of {number(steps['step'].max())}, {number(ours - before)} "
            f"s later (medians). Without any pass the share would be "
            f"{number((ours - before) / others.min())}")


def pass_share(tables: Tables) -> float:
    seconds = tables["limits"].set_index(["stage", "n_images"])["seconds"]
    (photos, of_pass), = seconds[PASS].items()
    return seconds[ONNX, photos] / of_pass


def peak(tables: Tables) -> float:
    points = _points(tables["growth"])
    return points[points["value"] >= 600].set_index("value")["rss_mb"][600]


def share_of_demo(tables: Tables) -> float:
    """Seconds of the last demo, as a share of those of the first."""
    seconds = of_demos(tables, FRESH)
    return seconds.iloc[-1] / seconds.iloc[0]


def of_demos(tables: Tables, what: str) -> pd.Series:
    """Seconds of each demo. KeyError where none was measured so."""
    return tables["demo"].set_index("what").loc[[what], "seconds"]


QUALITY = 1 / 5
SMP = ("smp FPN", "smp U-Net")
LIVE, MASKFORMER = "the backbone in every step", "transformers MaskFormer"
LIBRARY = ("pytorch-grad-cam, one by one", f"pytorch-grad-cam, batches of {CAM_BATCH}")
STEP, CAMS = "training step, maskformer-ms", "CAMs from the cache"
TARGETS = (
    Target("an epoch, times under the quicker of smp's FPN and U-Net", times("epoch", OURS, *SMP),
           ">=", 10, STEP),
    Target("an epoch, times under the backbone in every step, efficientnet_lite0",
           times("epoch", OURS, LIVE, backbone="efficientnet_lite0"), ">=", 1.8, STEP),
    Target("the same, resnet50", times("epoch", OURS, LIVE, backbone="resnet50"), ">=", 4, STEP),
    Target("an epoch, times under transformers' MaskFormer", times("epoch", OURS, MASKFORMER),
           ">=", 20, STEP),
    Target("seconds to IoU 0.92 with the pass, share of those of the better of smp's",
           share_of_seconds, "<=", QUALITY, why=of_seconds),
    Target("last IoU, minus that of the better of smp's",
           lambda t: until(t, "iou")[0] - until(t, "iou")[1].max(), ">=", 0),
    Target("speed of the pass, share of the engine's own on ready tensors", pass_share, ">=", 0.8,
           PASS),
    Target("CAMs from the cache, times under the quicker pytorch-grad-cam",
           times("cams", f"{OURS}, from the cache", *LIBRARY), ">=", 100, CAMS),
    Target("CAMs from the photos, times under the quicker pytorch-grad-cam",
           times("cams", f"{OURS}, from the photos", *LIBRARY), ">=", 3, "decode and resize"),
    Target("a study's seconds by photos, exponent", exponent("all"), "<=", 1.05),
    Target("a study's own memory by photos, exponent (flat)", exponent("own_mb"), "<=", 0.05),
    Target("memory of a study of 600 photos, one source and an epoch, MB", peak, "<=", 2000),
    Target("seconds of `import petweak`", seconds_of("import petweak"), "<=", 0.2),
    Target("seconds of `petweak --help`", seconds_of("petweak --help"), "<=", 0.5),
    Target("seconds of the demo, share of f5951d4's", share_of_demo, "<=", 0.7,
           why=lambda tables: "below"),
    Target("seconds of the demo and the solutions, share of f5951d4's demo",
           lambda tables: of_demos(tables, SOLVED).iloc[-1] / of_demos(tables, FRESH).iloc[0],
           "<=", 1.2),
    Target("seconds of the demo again, with nothing to do",
           lambda tables: of_demos(tables, AGAIN).iloc[-1], "<=", 5,
           why=lambda tables: "the note of the last row"),
)


def read_tables(data: Path) -> tuple[Tables, dict[str, dict[str, Any]]]:
    """The tables that are in the folder, with a column `backbone`, and what was noted of each.
    ValueError where a table has no note."""
    tables, notes = {}, {}
    said = read_frame(file) if (file := data / "remarks.csv").is_file() else pd.DataFrame()
    remarks = {} if said.empty else said.set_index("table")["remark"].to_dict()
    for name in TABLES:
        if (file := data / f"{name}.csv").is_file():
            if (note := read_json(file.with_suffix(".json"))) is None:
                raise ValueError(f"{file.with_suffix('.json')} is missing: it lies beside the table"
                                 f" that `petweak experiment {name}` has written")
            backbone = note["settings"]["backbone"]["backbone"]
            table, remark = read_frame(file).assign(backbone=backbone), remarks.get(name, "")
            if of_table(name) == "growth":
                table, more = with_as_many_photos(table, note)
                remark = " ".join(filter(None, (remark, more)))
            tables[name], notes[name] = table, note | {"remark": remark}
    return tables, notes


def with_as_many_photos(growth: pd.DataFrame, note: dict[str, Any]) -> tuple[pd.DataFrame, str]:
    """Without the rows of more classes than photos, which tables of before may have: their studies
    had as many classes as photos. And a sentence on those rows."""
    photos = int(parse_assignments(note["options"]["base"].split())["photos"])
    wrong = (growth["axis"] == "classes") & (growth["value"] > photos)
    rows = ", ".join(map(number, growth.loc[wrong, "value"]))
    said = (f"Rows of the table that are left out: {rows} classes, as there were {photos:,} photos,"
            f" and so {photos:,} classes at most.")
    return growth[~wrong], said if rows else ""


def of_table(name: str) -> str:
    """The experiment that a table is of."""
    return name.partition("-")[0]


def number(value: Any) -> str:
    """Three digits, or all before the point; integers and text as they are, nothing for NaN."""
    if isinstance(value, str) or pd.isna(value):
        return value if isinstance(value, str) else ""
    if isinstance(value, int | np.integer) or value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{2 - math.floor(math.log10(abs(value)))}f}"


def shown(table: pd.DataFrame) -> str:
    return table.map(number).to_markdown(index=False, disable_numparse=True)


def of_both(value: Any) -> str:
    """A value of a setting or option as it is typed."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def changed(name: str, note: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """The options that are not at their default: {option: (value, default)}."""
    _, *parameters = inspect.signature(experiment(of_table(name))).parameters.values()
    both = {p.name: (of_both(note["options"][p.name]), of_both(p.default)) for p in parameters}
    return {option: values for option, values in both.items() if values[0] != values[1]}


def command(name: str, note: dict[str, Any]) -> str:
    """What has been typed to make the table, but for the folders."""
    of = Settings.from_dict(note["settings"])
    usual = settings(of.profile).flat()
    sets = [f"{k}={of_both(v)}" for k, v in of.flat().items() if v != usual[k]]
    options = [f"{k}={value}" for k, (value, _) in changed(name, note).items()]
    words = ["petweak", "experiment", of_table(name), "--profile", of.profile, "--data-root", "D",
             "--run", "R", *["--set"] * bool(sets), *sets, *["-o"] * bool(options), *options]
    return shlex.join(words)


def section(name: str, tables: Tables, note: dict[str, Any], photos: Path) -> list[str]:
    """What is measured, by which command, on what, and with which options. `photos` is a folder of
    other tables."""
    table = tables[name]
    same = [c for c in SAME if c in table and table[c].nunique() == 1]
    on = ", ".join(f"{c.replace('n_images', 'photos')}: {number(table[c].iloc[0])}" for c in same)
    fewer = "; ".join(f"`{option}` {value or 'none'} for {default}"
                      for option, (value, default) in changed(name, note).items())
    _, _, which = name.partition("-")
    commit = f", commit {note['commit'][:7]}" if note.get("commit") else ""
    lines = [f"## {EXPERIMENTS[of_table(name)]}{f' ({which})' * bool(which)}",
             f"```\n{command(name, note)}\n```",
             f"{on}. The command took {number(note['seconds'])} s, with petweak "
             f"{note['petweak']}{commit}." + f" Not at their defaults: {fewer}." * bool(fewer)]
    table = table.drop(columns=[*same, "backbone"])
    if of_table(name) == "benchmark":
        many = table["n_images"] if "n_images" in table else note["options"]["photos"]
        table.insert(2, "photos a second", (many / table["seconds"]).where(
            table["part"] != "start"))
        table["ratio"] = table["ratio"].where(table["part"] != "stages")
        if (table["what"] == LIVE).any():
            lines.append(f"`{LIVE}` trains petweak's model on maps that are those of the cache but "
                         "for rounding, so to the same IoU: tests/experiments/test_benchmark.py "
                         "compares them (`test_the_backbone_in_every_step_gives_the_maps_of_the_"
                         "cache`).")
    if of_table(name) == "time_to_quality":
        clocks = table.groupby(["what", "seed"])["seconds"].max().sum()
        lines.append(f"The clocks of all trainings add up to {number(clocks)} s; a command does "
                     "not train again what the run has kept, and scoring is not on the clock.")
        lines.append("Medians over seeds of the seconds until an IoU of test, with the pass:")
        ends = table.groupby("what", sort=False)[["epochs", "step"]].max()
        said = ", ".join(f"{e.step} for {what} ({e.epochs} epochs)"
                         for what, e in zip(ends.index, ends.itertuples(), strict=True))
        lines.append(f"The learning rate falls over all steps: {said}. A network that is missing "
                     "here was not trained to a quality. `before` is what petweak's pass takes.")
        if fewer := ends[ends["epochs"] < (ours := ends.loc[OURS, "epochs"])]["epochs"].to_dict():
            given = " and ".join(f"{what} {n}" for what, n in fewer.items())
            lines.append(f"Where petweak has {ours} epochs, {given}: over fewer steps the learning "
                         "rate falls sooner, and an IoU is reached sooner.")
        table = reached(table).astype(object).fillna("not reached")
    lines += [note["remark"]] * bool(note["remark"])  # what the table itself cannot tell
    if of_table(name) == "growth":
        figure = ["![Seconds of each stage and memory by photos, classes, side and queries, with "
                  "fitted exponents](bench-growth.png)"] * (name == "growth")
        lines += [*figure, "Exponents of the least squares fit of log(measure) by log(size):",
                  shown(exponents(table).round(2).reset_index())]
    if name == "limits":
        lines.append("`least` is the slower of arithmetic and memory (`bound`) at the speeds of a "
                     "matrix product and of a copy in the same rounds (`gflops_float32`, "
                     "`gflops_bfloat16`, `gb_copied`, a second); `share` is `least` / `seconds`; "
                     "`rest` says where the time goes. Outside of torch are ONNX Runtime (the pass "
                     "and the engine), Pillow (decoding) and NumPy (metrics). A round of "
                     "self-training is steps of maskformer-ms and, for its masks, prediction, PAMR "
                     "and random walk.")
    if name == "alternatives":
        lines.append("The first way of each stage is petweak's default on a CPU; `ratio` is to it. "
                     "bfloat16 and channels last are quicker, and no defaults: they change the "
                     "last digits of every score, so that stored results would not come out again "
                     "(`--set precision=bfloat16` takes both). The cache keeps its maps channels "
                     "first; rows with channels last turn them round in each step, on the clock. "
                     "No row have views that refinements share, which lie in one cache, and "
                     "memory, which `growth` has.")
        if "limits" in tables:
            share = tables["limits"].set_index("stage")["share"][ONNX]
            lines.append("Nor has OpenVINO, one more engine with a wheel of its own: ONNX Runtime "
                         f"reaches {share:.0%} of the machine's peak (`limits`).")
        if (file := photos / "crf.csv").is_file():
            crf = read_frame(file).set_index(["what", "grid"]).sort_index()
            (grid, ours), = crf.loc["crf"].iterrows()
            other = crf.loc[("densecrf", grid)]
            slower = number(ours["seconds"] / other["seconds"])
            lines.append(
                f"`crf` and `walk` are products of {GRID**2:,} positions alone. The whole CRF takes"
                f" {number(ours['seconds'])} s a photo on a grid of {grid} (`data/photos/crf.csv`),"
                f" and pydensecrf, whose sum over pairs is a lattice in C++, "
                f"{number(other['seconds'])} s: petweak's is {slower} times as slow. IoU of their "
                f"masks: {number(ours['iou'])} and {number(other['iou'])}.")
    return [*lines, shown(table)]


def targets(tables: Tables) -> list[str]:
    stages = tables["limits"].set_index("stage")["rest"] if "limits" in tables else {}
    rows, of = [], [tables[name]["what"] for name in qualities(tables) if name in tables]
    there = [name for name in SMP if not of or name in set(pd.concat(of))]
    others = "the better of " * (len(there) > 1) + " and ".join(there)
    for t in TARGETS:
        try:
            value = float(t.value(tables))
            met = value >= t.bound if t.sign == ">=" else value <= t.bound
            said = "not reached" if math.isnan(value) else "met" if met else "not met"
        except KeyError:
            value, said = math.nan, "not measured"
        why = filter(None, (t.why(tables), stages.get(t.stage)) if said == "not met" else ())
        text = t.text.replace("the better of smp's", others)
        rows.append({"what": text, "target": f"{t.sign} {number(t.bound)}", "value": value,
                     "": said, "why; where the time goes": "; ".join(why)})
    return ["## Targets", shown(pd.DataFrame(rows))]


def _points(growth: pd.DataFrame) -> pd.DataFrame:
    return growth[growth["axis"] == "photos"].sort_values("value")


def a_photo(growth: pd.DataFrame, measure: str) -> float:
    """What a further photo adds, between the fewest photos and the most."""
    ends = _points(growth)[[measure, "value"]].iloc[[0, -1]]
    more, photos = ends.iloc[1] - ends.iloc[0]
    return float(more / photos)


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


def plan(tables: Tables, notes: dict[str, dict[str, Any]], photos: int, core_hour: float,
         gpu_hour: float, gpu: Path) -> list[str]:
    """So many photos, from the growth of what was measured and from the code."""
    growth, note = tables["growth"], notes["growth"]
    of = Settings.from_dict(note["settings"])
    base = parse_assignments(note["options"]["base"].split())
    b, side, threads = of.backbone, int(base["side"]), int(growth["threads"].iloc[0])
    channels, largest = load_backbone(b.backbone).channels, int(_points(growth)["value"].max())
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
        f"{_points(growth)['value'].min():,} and {largest:,} photos, times {photos:,}. That is "
        f"{number(photos / largest)} times more than was measured.",
        f"The cache holds each photo and its mirror image, in float16 ({VIEWS * photos:,} pictures "
        "go through the backbone, and as many again for each further scale of a refinement):",
        shown(cache),
        f"Core-hours on this machine, and their cost at {core_hour} USD a core-hour (the option "
        f"--core-hour); `train` is of {note['options']['epochs']} epochs of the photos of train, "
        "and `all` has what no stage counts:",
        shown(cost)]
    if gpu.is_file() and len(of_gpu := read_frame(gpu).query("stage == 'features'")):
        views = float(of_gpu["images_per_second"].iloc[0])
        gpu_hours = VIEWS * photos / views / 3600
        lines.append(f"The pass on the GPU of `data/gpu/timings.csv`, at its {number(views)} "
                     f"pictures a second: {number(gpu_hours)} GPU-hours, "
                     f"{number(gpu_hours * gpu_hour)} USD at {gpu_hour} a GPU-hour (--gpu-hour).")
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
        (f"the pass under the run's lock, on {growth['threads'].iloc[0]} threads: {DAYS} days",
         seconds * photos / 86400, "days", DAYS * 86400 / seconds)]
    table = pd.DataFrame([{"what": what, f"with {photos:,}": f"{number(n)} {unit}", "breaks at": at}
                          for what, n, unit, at in rows])
    return table.sort_values("breaks at", ignore_index=True)


def of_demo(embedded: Path) -> list[str]:
    """What takes the demo's seconds, by the tables of its run, where they are."""
    files = embedded / "notebooks.csv", embedded / "timings.csv"
    if not all(file.is_file() for file in files):
        return []
    chapters, stages = (read_frame(file)["seconds"].sum() for file in files)
    return [f"Its chapters take {number(chapters)} s of a core, two of them at once. "
            f"{number(stages)} s of these are stages of the study (the pass, masks, trainings, "
            "scores). The rest is the chapters' own: they build each method in view, train small "
            "models and break them. So more than the waste of the stages would have to go."]


def page(data: Path, out: Path, photos: int, core_hour: float, gpu_hour: float) -> None:
    """Write `benchmark.md`, and the figure of growth, into `out`; nothing where no table is."""
    tables, notes = read_tables(data)
    if not tables:
        return
    lines = ["# How fast, and how wide", "`figures/benchmark.py` makes this page from the tables "
             f"in `data/{data.name}/`. Each table is of one machine and one day."]
    if (file := data / "demo.csv").is_file():  # no experiment: a clock beside a command
        lines += targets(tables | {"demo": (demo := read_frame(file))})
        lines += ["## What the demo takes", "`make demo` after `make install`, with nothing beside "
                  "it but what a note says:", shown(demo)]
        lines += of_demo(data.parent / "embedded")
    else:
        lines += targets(tables)
    for name in tables:
        lines += section(name, tables, notes[name], data.parent / "photos")
    if "growth" in tables:
        table = tables["growth"].drop(columns="backbone")
        if (more := tables.get("growth-classes")) is not None:
            table = pd.concat([table[table["axis"] != "classes"], more.drop(columns="backbone")])
        save_or_show(charts.growth_lines(table, exponents(table)), out / "bench-growth.png")
        lines += plan(tables, notes, photos, core_hour, gpu_hour, out / "data/gpu/timings.csv")
    write_text(out / "benchmark.md", "\n\n".join(lines) + "\n")


def copy(run: Path, data: Path) -> None:
    """Take over what the run's experiments have written: of one backbone."""
    if (about := read_json(run / "run.json")) is None:
        raise FileNotFoundError(f"{run / 'run.json'} is missing: --run takes the folder of a run "
                                "in which `petweak experiment` has written tables")
    backbone = about["settings"]["backbone"]["backbone"]
    for table, end in itertools.product(map(of_table, TABLES), (".csv", ".json")):
        if (file := run / "experiments" / f"{table}{end}").is_file():
            name = stored_as(table, backbone, read_frame(file.with_suffix(".csv")))
            with replacing(data / f"{name}{end}") as beside:
                shutil.copyfile(file, beside)


def stored_as(name: str, backbone: str, table: pd.DataFrame) -> str:
    """The one of TABLES that a table of an experiment is."""
    if name == "time_to_quality" and SMP[0] not in set(table["what"]):
        return "time_to_quality-unet"
    if name == "growth" and set(table["axis"]) == {"classes"}:
        return "growth-classes"
    if name == "benchmark" and not {"epoch", "cams"} & set(table["part"]):
        return "benchmark-stages"
    return f"{name}-{backbone}" if f"{name}-{backbone}" in TABLES else name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", help="copy the tables of its experiments first")
    for name, value in ASSUMED.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value,
                            help=f"of the plan; default: {value}")
    args, out = parser.parse_args(), project_path("figures")
    if args.run:
        copy(project_path(args.run), out / "data" / "bench")
    page(out / "data" / "bench", out, **{name: getattr(args, name) for name in ASSUMED})


if __name__ == "__main__":
    main()
