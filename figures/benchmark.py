"""The page of measurements, from the tables of finished experiments: `make figures`.

    figures/data/bench/<experiment>.csv, .json   what `petweak experiment <experiment>` has written
    figures/data/bench/demo.csv                  seconds of `make demo` at some commits, by a clock:
                                                 in a fresh clone, and once more
    figures/data/bench/memory.csv, .json         timings.csv of a study of 600 photos (--memory)
    figures/data/bench/install.csv               MB of the environment, by `du`
    figures/data/bench/before.csv                what masks without annotations took before
    figures/data/bench/remarks.csv               a sentence on how a table was measured; with a
                                                 commit (7 digits), on that of this commit alone
    figures/data/bench/commits.csv               how old the commits of the tables are, by git
    figures/benchmark.md                         a section for each of them, the targets, a plan
    figures/bench-growth.png

    .venv/bin/python figures/benchmark.py [--run RUN] [--memory RUN] [--photos N] ...

With --run, the tables of that run's experiments are copied first; with --memory, what the stages of
that run took, on the machine that they ran on. Every number of the page is computed here; what was
measured elsewhere, or is supposed, is an option or one of the constants.
"""

import argparse
import itertools
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import measured
import numpy as np
import pandas as pd
import torch
from measured import Tables, exponents, many, number, of_table, points, reached, shown
from plan import ASSUMED, plan

from petweak.config import Settings
from petweak.data import files
from petweak.data.feature_cache import VIEWS
from petweak.data.files import project_path, read_frame
from petweak.experiments import EXPERIMENTS
from petweak.experiments.alternatives import GRID
from petweak.experiments.benchmark import CAM_BATCH, OURS, hardware
from petweak.models.backbones import load_backbone
from petweak.pseudo_masks.refinement import STEPS
from petweak.visualization import charts
from petweak.visualization.style import save_figure

# Of the demo: the second is the first and then the notebooks of the exercises' solutions.
FRESH, SOLVED, AGAIN = "in a fresh clone", "and the solutions", "again, with nothing to do"
SAME = ("rounds", "repeats", "n_images", "side", "distinct", "precision", "gflops_float32",
        "gflops_bfloat16", "gb_copied", "threads", "device")  # where all rows agree: in the text
IN_TEXT = {"n_images": "photos", "side": "side in px"}
ONNX, PASS = "backbone, ONNX Runtime", "pass, with decoding and writing"
NO_EXPERIMENT = ("demo", "memory", "install")  # tables


class Target(NamedTuple):
    """`value` raises KeyError where a table, or its row, is missing; it is NaN where petweak never
    reached what is measured."""

    text: str
    value: Callable[[Tables], float]
    sign: str  # of `value` and `bound`
    bound: float
    stage: str = ""  # of `limits`, which says where its time goes
    why: Callable[[Tables], str] = lambda tables: ""  # it is not met; all have this or a stage


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


def beside(tables: Tables, column: str) -> pd.DataFrame:
    """A column of `reached`, a row per other network: petweak's value of the same run is `ours`,
    the network's is `other`, and `table` names the run."""
    rows = {}
    for name in qualities(tables):
        of = reached(tables[name]).set_index("what")[column]
        rows |= {what: (of[OURS], value, name) for what, value in of.drop(OURS).items()}
    return pd.DataFrame.from_dict(rows, "index", columns=["ours", "other", "table"])


def qualities(tables: Tables) -> list[str]:
    """The tables of `time_to_quality`: that of the FPN, and that of the U-Net where it is there."""
    return ["time_to_quality", *(name for name in ("time_to_quality-unet",) if name in tables)]


def share_of_seconds(tables: Tables) -> float:
    at = beside(tables, "0.92")
    return float((at["ours"] / at["other"].fillna(math.inf)).max(skipna=False))


def of_seconds(tables: Tables) -> str:
    """What the share of seconds is made of."""
    at = beside(tables, "0.92")
    what = (at["ours"] / at["other"]).idxmax()
    (ours, other, run), before = at.loc[what], beside(tables, "before").loc[what, "ours"]
    table, bound = tables[run], QUALITY * other
    steps = table[table["what"] == OURS]
    step = steps[steps["iou"] >= 0.92].groupby("seed")["step"].min().median()
    said = [f"{number(QUALITY)} of {what}'s {number(other)} s is {number(bound)} s. petweak's "
            f"pass takes {number(before)} s; 0.92 comes at step {step:g} of "
            f"{number(steps['step'].max())}, {number(ours - before)} s later (medians). Without "
            f"any pass the share would be {number((ours - before) / other)}",
            of_scorings(table), of_runs(tables)]
    if (half := tables.get("time_to_quality-bfloat16")) is not None:
        half = half[half["step"].isin(steps["step"])]  # scored as often
        taken, first = reached(half).set_index("what").loc[OURS, ["0.92", "before"]], half.iloc[0]
        share = (f"{number(taken['0.92'] / other)}, after {number(taken['0.92'])} s"
                 if taken.notna().all() else "not reached")
        said.append(f"With the precision {first['precision']}, which the others did not have "
                    f"(`time_to_quality-bfloat16`), it is {share}")
        said.append(of_both_halves(tables, before, taken["0.92"] - taken["before"], bound))
    return ". ".join(filter(None, [*said, no_defaults(tables)]))


def of_runs(tables: Tables) -> str:
    """How much the runs of `time_to_quality` differ in what all of them have: petweak."""
    at = beside(tables, "0.92")
    first = at.drop_duplicates("table")
    if len(first) < 2 or at["ours"].isna().any():
        return ""
    each = " and ".join(f"{number(s)} s in that of {what}" for what, s in first["ours"].items())
    return ("Not all is of one run, so each network is beside petweak of its own: petweak takes "
            f"{each}, by the same steps, a factor of "
            f"{number(first['ours'].max() / first['ours'].min())} between the runs")


def engines(tables: Tables) -> pd.Series:
    """Seconds of the pass by each engine, to those of ONNX Runtime."""
    table = tables.get("alternatives-engine", tables.get("alternatives"))
    if table is None:
        return pd.Series(dtype=float)
    return table[table["stage"] == "engine"].set_index("what")["ratio"]


def of_both_halves(tables: Tables, before: float, training: float, bound: float) -> str:
    """What both the pass and the training in bfloat16 would take, from two runs."""
    ratio = engines(tables).get("OpenVINO, bfloat16", math.nan)
    if math.isnan(whole := ratio * before + training):
        return ""
    end = ("less than the bound: the target is not shown to be out of reach" if whole <= bound
           else "more than the bound")
    return (f"With a pass by OpenVINO in bfloat16 too ({number(ratio)} of ONNX Runtime's seconds) "
            f"it would be {number(ratio * before)} s and {number(training)} s of training, "
            f"{number(whole)} s together, {end}. That is an estimate across runs: no IoU was "
            "measured on such maps, and the others would gain by bfloat16, too")


def no_defaults(tables: Tables) -> str:
    """What is quicker than the default of the pass or of a training step."""
    table = tables.get("alternatives")
    steps = pd.Series(dtype=float) if table is None else table[
        table["stage"] == "precision"].set_index("what")["ratio"]
    quicker = []
    for of, ratios in (("a step", steps), ("the pass", engines(tables))):
        names = (f"`{what}` {number(ratio)}" for what, ratio in ratios[ratios < 1].items())
        if each := ", ".join(names):
            quicker.append(f"of {of} {each}")
    return ("These pay, and are no defaults (shares of the default's seconds): "
            f"{'; '.join(quicker)}; `alternatives` below has the reasons") if quicker else ""


def of_scorings(table: pd.DataFrame) -> str:
    """How much later than it is reached an IoU may be seen; empty with one scoring of each."""
    between = table.groupby(["what", "seed"], sort=False)["seconds"].apply(
        lambda seconds: seconds.diff().median()).groupby("what", sort=False).median().dropna()
    each = ", ".join(f"{what} every {number(seconds)} s" for what, seconds in between.items())
    return f"An IoU is seen when a network is scored: {each} (medians)" if each else ""


def gaps_of_iou(table: pd.DataFrame) -> str:
    """The last IoU of petweak minus those of the other networks of a table, pair by pair."""
    last = table.sort_values("step").groupby(["what", "seed"])["iou"].last().unstack("what")
    gaps = last.drop(columns=OURS).rsub(last[OURS], axis=0)
    each = (f"{what}: {', '.join(f'{gap:+.4f} (seed {seed})' for seed, gap in of.dropna().items())}"
            for what, of in gaps.items())
    return f"The last IoU of {OURS} minus that of {'; '.join(each)}" if len(gaps.columns) else ""


def pass_share(tables: Tables) -> float:
    seconds = tables["limits"].set_index(["stage", "n_images"])["seconds"]
    (photos, of_pass), = seconds[PASS].items()
    return seconds[ONNX, photos] / of_pass


def of_pass(tables: Tables) -> str:
    """What the pass takes beside its engine."""
    seconds = tables["limits"].set_index(["stage", "n_images"])["seconds"]
    (photos, whole), = seconds[PASS].items()
    engine, decoding = (seconds.get((what, photos), math.nan) for what in (ONNX, DECODE))
    if math.isnan(decoding):
        return ""
    return (f"of its {number(whole)} s the engine takes {number(engine)} and decoding "
            f"{number(decoding)}; the other {number(whole - engine - decoding)} s convert maps to "
            "float16 and write them with their checksums. Decoding ahead in threads or processes "
            "does not pay here (`alternatives`)")


def peak(tables: Tables) -> float:
    return points(tables["growth"]).set_index("value")["rss_mb"][600]


def of_peak(tables: Tables) -> str:
    own = points(tables["growth"]).set_index("value")["own_mb"][600]
    return f"{number(own)} MB are its own; the rest are mapped files, which the system may drop"


def of_exponent(measure: str) -> Callable[[Tables], str]:
    """What the fit is of."""
    def why(tables: Tables) -> str:
        at = points(tables["growth"]).set_index("value")[measure]
        ends = " to ".join(f"{number(at[n])} with {n:,}" for n in at.index[[0, -1]])
        fits = exponents(tables["growth"]).loc["photos", "features":"all"].drop("all")
        fits = fits.round(2) + 0.0  # no -0.00
        of = ", ".join(f"{stage} {fit:.2f}" for stage, fit in fits.items())
        return f"from {ends} photos" + f"; of the stages: {of}" * (measure == "all")
    return why


def of_stages(tables: Tables) -> str:
    """Which stages took too much memory, and how much of it a process may owe to mapped files."""
    parts = by_stage(tables["memory"])
    above, first = parts[parts["peak_rss_mb"] > MEMORY], parts.loc[parts["peak_rss_mb"].idxmax()]
    said = (f"{len(above)} of {len(parts)} stages are above; the largest peak is of "
            f"{first['stage']}, {first['source']}. Mapped files count, which the system may drop, "
            "and how many of these MB they are was not measured")
    if "growth" in tables and 600 in (at := points(tables["growth"]).set_index("value")).index:
        said += (f"; in a study of 600 photos with one source (`growth`) they are "
                 f"{number(at['rss_mb'][600] - at['own_mb'][600])} of {number(at['rss_mb'][600])}")
    return said


def of_start(what: str) -> Callable[[Tables], str]:
    def why(tables: Tables) -> str:
        rows = tables["benchmark"].set_index("what")
        return (f"its quartiles are {number(rows['low'][what])} and {number(rows['high'][what])} s;"
                f" `import petweak` alone takes {number(rows['seconds']['import petweak'])} s")
    return why


def share_of_demo(tables: Tables) -> float:
    """Seconds of the last demo, as a share of those of the first."""
    seconds = of_demos(tables, FRESH)
    return seconds.iloc[-1] / seconds.iloc[0]


def of_demos(tables: Tables, what: str, column: str = "seconds") -> pd.Series:
    """Seconds of each demo. KeyError where none was measured so."""
    return tables["demo"].set_index("what").loc[[what], column]


QUALITY, MEMORY, DEMO = 1 / 5, 2000, 0.7
SMP = ("smp FPN", "smp U-Net")
LIVE, MASKFORMER = "the backbone in every step", "transformers MaskFormer"
LIBRARY = ("pytorch-grad-cam, one by one", f"pytorch-grad-cam, batches of {CAM_BATCH}")
STEP, CAMS = "training step, maskformer-ms", "CAMs from the cache"
DECODE = "decode and resize"
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
    Target("last IoU, minus that of the better of smp's after as many epochs as below",
           lambda t: (beside(t, "iou")["ours"] - beside(t, "iou")["other"]).min(), ">=", 0,
           why=lambda tables: gaps_of_iou(tables["time_to_quality"])),
    Target("speed of the pass, share of the engine's own on ready tensors", pass_share, ">=", 0.8,
           PASS, of_pass),
    Target("CAMs from the cache, times under the quicker pytorch-grad-cam",
           times("cams", f"{OURS}, from the cache", *LIBRARY), ">=", 100, CAMS),
    Target("CAMs from the photos, times under the quicker pytorch-grad-cam",
           times("cams", f"{OURS}, from the photos", *LIBRARY), ">=", 3, DECODE),
    Target("a study's seconds by photos, exponent", exponent("all"), "<=", 1.05,
           why=of_exponent("all")),
    Target("a study's own memory by photos, exponent (flat)", exponent("own_mb"), "<=", 0.05,
           why=of_exponent("own_mb")),
    Target("memory of a study of 600 photos, one source and an epoch, MB", peak, "<=", MEMORY,
           why=of_peak),
    Target("peak memory of any stage of a study of 600 photos, MB",
           lambda tables: tables["memory"]["peak_rss_mb"].max(), "<=", MEMORY, why=of_stages),
    Target("seconds of `import petweak`", seconds_of("import petweak"), "<=", 0.2,
           why=of_start("import petweak")),
    Target("seconds of `petweak --help`", seconds_of("petweak --help"), "<=", 0.5,
           why=of_start("petweak --help")),
    Target("seconds of the demo, share of f5951d4's", share_of_demo, "<=", DEMO,
           why=lambda tables: "below"),
    Target("seconds of the demo and the solutions, share of f5951d4's demo",
           lambda tables: of_demos(tables, SOLVED).iloc[-1] / of_demos(tables, FRESH).iloc[0],
           "<=", 1.2, why=lambda t: f"{number(of_demos(t, SOLVED).iloc[-1])} s, of which the demo "
           f"alone takes {number(of_demos(t, FRESH).iloc[-1])} s: the rest is solving exercises"),
    Target("seconds of the demo again, with nothing to do",
           lambda tables: of_demos(tables, AGAIN).iloc[-1], "<=", 5,
           why=lambda t: number(of_demos(t, AGAIN, "note").iloc[-1]) + ". What these seconds are "
           "made of was not measured: 5 s are not shown to be out of reach"),
)


def section(name: str, tables: Tables, note: dict[str, Any], photos: Path) -> list[str]:
    """What is measured, by which command, on what, and with which options. `photos` is a folder of
    other tables."""
    table, kind = tables[name], of_table(name)
    same = [c for c in SAME if c in table and table[c].nunique() == 1]
    on = ", ".join(f"{IN_TEXT.get(c, c)}: {number(table[c].iloc[0])}" for c in same)
    fewer = "; ".join(f"`{option}` {value or 'none'} for {default}"
                      for option, (value, default) in measured.changed(name, note).items())
    _, _, which = name.partition("-")
    commit = f", commit {note['commit'][:7]}" if note.get("commit") else (
        ", at a commit that was not noted: it may be older than all that were")
    commit += f" ({note['age']})" * bool(note["age"])
    lines = [f"## {EXPERIMENTS[kind]}{f' ({which})' * bool(which)}",
             f"```\n{measured.command(name, note)}\n```",
             f"{on}. The command took {number(note['seconds'])} s, with petweak "
             f"{note['petweak']}{commit}." + f" Not at their defaults: {fewer}." * bool(fewer)]
    if (clocks := clocks_of(kind, table)) > 2 * note["seconds"]:
        lines.append("Version and commit are those of the command; points that the run had kept, "
                     f"whose clocks add up to {number(clocks)} s, may be older.")
    # What the table itself cannot tell, and what is read off it.
    words = {"benchmark": of_benchmark, "time_to_quality": of_quality, "growth": of_growth,
             "limits": of_limits, "alternatives": of_alternatives}
    lines += [*[note["remark"]] * bool(note["remark"]), *words[kind](name, tables, note, photos)]
    if kind == "time_to_quality":
        table = reached(table).astype(object).fillna("not reached")
    if kind == "benchmark":
        n, of = table.get("n_images", note["options"]["photos"]), table["part"]
        table = table.assign(ratio=table["ratio"].where(of != "stages"))
        table.insert(2, "photos a second", (n / table["seconds"]).where(of != "start"))
        if (of == "epoch").any():
            steps = np.ceil(n / note["settings"]["training"]["batch_size"])
            table.insert(4, "seconds a step", (table["seconds"] / steps).where(of == "epoch"))
    return [*lines, shown(table.drop(columns=[*same, "backbone"], errors="ignore"))]


def clocks_of(kind: str, table: pd.DataFrame) -> float:
    """Seconds that its points took, of an experiment that keeps them; else 0."""
    if kind == "time_to_quality":
        return table.groupby(["what", "seed"])["seconds"].max().sum()
    return (table["all"] * table["repeats"]).sum() if kind == "growth" else 0.0


def of_benchmark(name: str, tables: Tables, note: dict[str, Any], photos: Path) -> list[str]:
    if not (tables[name]["what"] == LIVE).any():
        return []
    return [f"`{LIVE}` trains petweak's model on maps that are those of the cache but for "
            "rounding, so to the same IoU: tests/experiments/test_benchmark.py compares them "
            "(`test_the_backbone_in_every_step_gives_the_maps_of_the_cache`)."]


def of_quality(name: str, tables: Tables, note: dict[str, Any], photos: Path) -> list[str]:
    table = tables[name]
    off, clocks = "and scoring is not on the clock", number(clocks_of("time_to_quality", table))
    if (others := tables.get("alternatives")) is not None and len(
            graph := others[others["what"] == "exported anew"]):
        off += (". Nor is the first export of the backbone's graph, which takes "
                f"{number(graph['seconds'].iloc[0])} s once (`alternatives`)")
    ends = table.groupby("what", sort=False)[["epochs", "step"]].max()
    said = ", ".join(f"{e.step} for {what} ({many(e.epochs, 'epoch')})"
                     for what, e in zip(ends.index, ends.itertuples(), strict=True))
    missing = "A network that is missing here was not trained to a quality. "
    lines = [f"The clocks of all trainings add up to {clocks} s; a command does not train again "
             f"what the run has kept, {off}.",
             f"The learning rate falls over all steps: {said}. {missing * (len(ends) > 1)}`before` "
             "is what petweak's pass takes."]
    if fewer := ends[ends["epochs"] < (ours := ends.loc[OURS, "epochs"])]["epochs"].to_dict():
        given = " and ".join(f"{what} {n}" for what, n in fewer.items())
        lines.append(f"Where petweak has {ours} epochs, {given}: over fewer steps the learning "
                     "rate falls sooner, and an IoU is reached sooner. The last IoU may be lower "
                     "for it.")
    more = filter(None, (of_scorings(table), gaps_of_iou(table)))
    return [*lines, *(f"{text}." for text in more),
            "Medians over seeds of the seconds until an IoU of test, with the pass:"]


def of_growth(name: str, tables: Tables, note: dict[str, Any], photos: Path) -> list[str]:
    figure = ["![Seconds of each stage and memory by photos, classes, side and queries, with "
              "fitted exponents](bench-growth.png)"] * (name == "growth")
    said = ["There is one measurement of each point."] * bool((tables[name]["repeats"] == 1).all())
    if (before := tables.get(f"{name}-before")) is not None:
        both = pd.concat({"before": before.set_index("value")["own_mb"],
                          "after": tables[name].set_index("value")["own_mb"]}, axis=1).dropna()
        n, most = int(both.index.max()), both.iloc[-1]
        said.append(f"The table `{name}-before` is of a time when a prediction held a map of each "
                    f"class; now it holds its queries, few of them. With {n:,} classes a study has "
                    f"{number(most['after'])} MB of its own, before {number(most['before'])}.")
    if len(last := points(tables[name]).iloc[-2:]) == 2:
        few, most = last["value"]
        end = exponents(last).round(2).loc["photos", "features":"all"]
        each = ", ".join(f"{stage} {fit:.2f}" for stage, fit in end.items())
        said.append(f"Between the two largest numbers of photos alone ({few:,} and {most:,}) the "
                    f"exponents are: {each}.")
    return [*said, *figure, "Exponents of the least squares fit of log(measure) by log(size):",
            shown(exponents(tables[name]).round(2).reset_index())]


def of_limits(name: str, tables: Tables, note: dict[str, Any], photos: Path) -> list[str]:
    table = tables[name]
    lines = ["`least` is the slower of arithmetic and memory (`bound`) at the speeds of a matrix "
             "product and of a copy in the same rounds (`gflops_float32`, `gflops_bfloat16`, "
             "`gb_copied`, a second); `share` is `least` / `seconds`; `rest` says where the time "
             "goes. Outside of torch are ONNX Runtime (the pass and the engine), Pillow (decoding) "
             "and NumPy (metrics). A round of self-training is steps of maskformer-ms and, for its "
             "masks, prediction and the refinements by PAMR and walk."]
    rows = [*(f"refinement, {step}" for step in STEPS), "masks, imagenet_only"]
    if missing := ", ".join(f"`{row}`" for row in rows if row not in set(table["stage"])):
        lines.append(f"Rows that this table does not have: {missing}.")
    for row in table[table["stage"] == ONNX].to_dict("records"):
        photo = torch.zeros(1, 3, row["side"], row["side"])
        inner = inner_bytes(load_backbone(row["backbone"]), photo)
        seconds = inner * VIEWS * row["n_images"] / row["gb_copied"] / 1e9
        lines.append(
            f"Of a network `least` counts what goes in and what comes out. In between, the "
            f"convolutions of {row['backbone']} read and write {number(inner / 1e6)} MB a picture, "
            f"each map once: {number(seconds)} s of `{ONNX}` at `gb_copied`, "
            f"{number(seconds / row['least'])} of its `least`. One after the other, both would be "
            f"{number((seconds + row['least']) / row['seconds'])} of its seconds.")
    return lines


def inner_bytes(net: torch.nn.Module, photo: torch.Tensor) -> int:
    """Bytes of what the convolutions take and give for this picture."""
    moved = []
    hooks = [layer.register_forward_hook(
        lambda _, taken, given: moved.append(taken[0].nbytes + given.nbytes))
        for layer in net.modules() if isinstance(layer, torch.nn.Conv2d)]
    with torch.inference_mode():
        net(photo)
    for hook in hooks:
        hook.remove()
    return sum(moved)


def of_alternatives(name: str, tables: Tables, note: dict[str, Any], photos: Path) -> list[str]:
    ratios = tables[name].set_index("what")["ratio"].groupby(tables[name]["stage"].to_numpy())
    of = {stage: ratio.iloc[1:] for stage, ratio in ratios}
    openvino = [of_openvino(engines(tables).get("OpenVINO"), tables)] * ("engine" in of)
    views = [f"A second pass for views that the cache has (`views`) takes "
             f"{number(of['views'].iloc[-1])} times as long as reading them: sources and "
             "refinements share them."] if "views" in of else []
    if len(of) == 1:
        return views + openvino
    lines = ["The first way of each stage is petweak's default on a CPU; `ratio` is to it. The "
             "cache keeps its maps channels first; rows with channels last turn them round in each "
             "step, on the clock, but for those with maps in memory. Memory is in `growth`, and by "
             "stage below.", *views]
    if "precision" in of:
        quicker = of["precision"][of["precision"] < 1]
        said = ", ".join(f"`{what}` ({number(ratio)})" for what, ratio in quicker.items())
        lines.append(
            f"Quicker in training steps are {said}. They are no defaults: they change the last "
            "digits of every score, and all stored tables would have to be made again to be of "
            "one kind (`--set precision=bfloat16` takes bfloat16 and channels last). The cache "
            "itself stays channels first, as CAMs, heads and refinement read it so." if said else
            "No other precision or layout is quicker in training steps here.")
    lines += openvino
    if (file := photos / "crf.csv").is_file():
        crf = read_frame(file).set_index(["what", "grid"]).sort_index()
        (grid, ours), = crf.loc["crf"].iterrows()
        other = crf.loc[("densecrf", grid)]
        slower = number(ours["seconds"] / other["seconds"])
        lines.append(
            f"`crf` and `walk` are products of {GRID**2:,} positions alone. The whole CRF takes "
            f"{number(ours['seconds'])} s a photo on a grid of {grid} (`data/photos/crf.csv`), and "
            f"pydensecrf, whose sum over pairs is a lattice in C++, {number(other['seconds'])} s: "
            f"petweak's is {slower} times as slow. IoU of their masks: {number(ours['iou'])} and "
            f"{number(other['iou'])}.")
    return lines


def of_openvino(ratio: float | None, tables: Tables) -> str:
    """`ratio` is to the seconds of ONNX Runtime; None where there is no row."""
    if ratio is None:
        of = tables["limits"].set_index("stage")["share"] if "limits" in tables else {}
        more = (f". ONNX Runtime reaches {of[ONNX]:.0%} of the machine's peak (`limits`)"
                if ONNX in of else "")
        return f"OpenVINO was not measured{more}."
    said = f"OpenVINO takes {number(ratio)} times as long as ONNX Runtime"
    if ratio >= 1:
        return f"{said}, so it is no default."
    return (f"{said}: it wins. It is no default, as it is one more package to install, and its "
            "maps differ in their last digits: all stored tables would have to be made again.")


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


def of_passes(growth: pd.DataFrame, note: dict[str, Any]) -> str:
    """How many passes over its photos a study takes, and what is not the first one."""
    last = points(growth).iloc[-1]
    passes = last["features":"all"].astype(float) / last["features"]
    rest = passes.drop(["features", "all"]).sort_values(ascending=False, kind="stable")
    said = ", ".join(f"`{stage}` {number(n)}" for stage, n in rest.items())
    return (f"A study of {last['value']:,} photos takes as long as {number(passes['all'])} passes "
            f"over them: `all` / `features` of `growth`, with masks of one source and a model of "
            f"{many(note['options']['epochs'], 'epoch')}. Beside the pass these are {said}, and "
            f"{number(passes['all'] - 1 - rest.sum())} that no stage counts.")


def of_demo(demo: pd.DataFrame, embedded: Path, old: dict[str, str]) -> list[str]:
    """What `make demo` took; and what its seconds are, by the tables of its run, where they are."""
    lines = ["## What the demo takes", "`make demo` after `make install`, with nothing beside it "
             "but what a note says. Each row is of the hour in which its commit was tried: the "
             "machine is the same by name, and rows were not taken in turn, so it may have been "
             f"quicker in one than in another. The last row is of commit "
             f"{measured.dated(demo['demo'].iloc[-1], old)}.", shown(demo)]
    both = embedded / "notebooks.csv", embedded / "timings.csv"
    if not all(file.is_file() for file in both):
        return lines
    chapters, parts = map(read_frame, both)
    stages = parts.groupby("stage", sort=False)["seconds"].sum()
    each = ", ".join(f"{stage} {number(seconds)}" for stage, seconds in stages.items())
    of, in_all = chapters["seconds"].sum(), stages.sum()
    lines.append(
        f"Its chapters take {number(of)} s of a core, two of them at once. {number(in_all)} s of "
        f"these are stages of the study ({each}), each of which is made once and kept. The other "
        f"{number(of - in_all)} s are the chapters' own: they build each method in view, train "
        "small models and break them.")
    fresh = demo[demo["what"] == FRESH]["seconds"]
    aim = DEMO * fresh.iloc[0]
    if (gap := fresh.iloc[-1] - aim) > 0:
        idle = 2 * fresh.iloc[-1] - of
        said = (f"so without any of it the demo would still take {number(of / 2)} s: chapters "
                "would have to show less, or stages to compute less" if idle < 2 * gap else
                f"so {2 * gap / idle:.0%} of it would have to go, or chapters to show less")
        lines.append(f"The target is {number(aim)} s: {number(gap)} s less, or {number(2 * gap)} s "
                     "of a core. What is outside of the chapters (processes that start, a core "
                     f"that waits, the report) is {number(idle)} s of a core, {said}.")
    return lines


def by_stage(memory: pd.DataFrame) -> pd.DataFrame:
    """A row per stage and source, over labels and rounds."""
    return memory.groupby(["stage", "source"], sort=False).agg(
        {"seconds": "sum", "peak_rss_mb": "max"}).reset_index()


def of_memory(table: pd.DataFrame, note: dict[str, Any], old: dict[str, str]) -> list[str]:
    """The peaks of a study's stages, which several processes may have made, one after another."""
    parts, (stage, of) = by_stage(table), (table["stage"], table["source"])
    commit = f", commit {measured.dated(note['commit'], old)}" if note["commit"] else ""
    photos = table.loc[stage == "masks", "n_images"].max()
    words = ["`peak_rss_mb` is the most that the process which made the stage had had until then, "
             "mapped files included: it may owe it to an earlier stage of its own."]
    first = table.loc[(stage == "features") & (of == "-"), "peak_rss_mb"].max()
    if n := (parts["peak_rss_mb"] < first).sum():  # no process makes anything before it
        words.append(f"{n} of {len(parts)} stages have less than the first pass, so further "
                     "processes made them, which went on in the same folder.")
    named = re.search(r"sources=(\S+)", note["command"])
    asked = set(named[1].split(",")) if named else set()
    there = set(of[stage == "masks"])
    for sources, said in ((there - asked, "The command is the last one of this folder; an earlier "
                           "one made the masks of {}."),
                          (asked - there, "The table has no masks of {}: the study was stopped "
                           "before.")):
        words += [said.format(", ".join(sorted(sources)))] * bool(named and sources)
    passes = parts[parts["source"].str.contains("@")]
    if len(passes) and not re.search("imagenet_only|refinement=", note["command"]):
        words.append("The command asks for no pass at another size; an earlier one of this folder "
                     "did, by a refinement.")
    sizes = [(float(name.partition("@")[2]), s) for name, s in zip(
        passes["source"], passes["seconds"], strict=True)]
    if slow := [(a, s, b, t) for a, s in sizes for b, t in sizes if a < b and s > t]:
        a, s, b, t = max(slow, key=lambda row: row[1] / row[3])
        words.append(f"A pass at scale {a:g} took {number(s)} s, and one at {b:g}, of more pixels, "
                     f"{number(t)}: other work ran beside, so these seconds tell nothing of speed.")
    return ["## How much memory does each stage take?", f"```\n{note['command']}\n```",
            f"photos: {photos:,}, threads: {note['threads']}, device: {note['device']}{commit}. "
            + " ".join(words), shown(parts)]


def of_alone(data: Path, memory: pd.DataFrame | None, old: dict[str, str]) -> list[str]:
    """What masks without any annotation take, beside what they took."""
    if not (file := data.parent / "photos" / "cost.csv").is_file():
        return []
    now = read_frame(file).set_index("stage")
    at = (files.read_json(file.with_suffix(".json")) or {}).get("commit") or ""
    photos, seconds = now.loc["all", ["photos", "seconds"]]
    parts = now["seconds"].drop("all").groupby(lambda stage: stage.split()[0], sort=False).sum()
    each = ", ".join(f"{stage} {number(s)}" for stage, s in parts.items())
    lines = ["## How long does it take without any annotation?",
             f"`imagenet_only` takes {number(seconds / 60)} minutes for the {photos:.0f} photos of "
             f"train, from an empty folder to the last model, {number(seconds / photos)} s a photo "
             f"(`petweak experiment cost`, `data/photos/cost.csv`"
             f"{f', commit {measured.dated(at, old)}' * bool(at)}; seconds: {each})."]
    if not (before := data / "before.csv").is_file():
        return lines
    for b in read_frame(before).query("what == 'imagenet_only'").itertuples():
        mb = "" if pd.isna(b.mb) else f" and {b.mb:,.0f} MB"
        note = "" if pd.isna(b.note) else f", {b.note}"
        took = f"At {b.commit} {b.photos} photos took {number(b.seconds / 60)} minutes{mb}{note}"
        if at[:7] in ("", b.commit):
            lines.append(f"This was measured at the time of {b.commit}, so it does not show what "
                         f"was made quicker since. {took}.")
        else:
            then = b.seconds / b.photos
            lines.append(f"{took}: {number(then)} s a photo, {number(then / (seconds / photos))} "
                         "times what it takes now.")
    if memory is not None and len(of := memory[memory["source"] == "imagenet_only"]):
        lines.append("In the study of all photos above, its stages end at a peak of "
                     f"{number(of['peak_rss_mb'].max())} MB.")
    return lines


def of_install(table: pd.DataFrame) -> list[str]:
    least, most = (table.loc[at] for at in (table["MB"].idxmin(), table["MB"].idxmax()))
    lines = ["## How large is the install?"]
    if len(table) > 1:
        lines.append(f"{least['way']}: {number(least['MB'] / most['MB'])} of {most['way']}.")
    if not table[["way", "command"]].apply(" ".join, axis=1).str.contains("CPU=1").any():
        lines.append("There is no row of `make install CPU=1`, which leaves out CUDA's libraries: "
                     "PyTorch's index of CPU wheels was not in reach. That way is tested on "
                     "stand-ins (tests/test_environment.py); its size, in `notebooks/guide.md`, is "
                     "computed from `du` of the parts.")
    return [*lines, shown(table)]


def of_gpu(gpu: Path, tables: Tables) -> list[str]:
    """What ran on a GPU, and what did not. `gpu` is a folder."""
    if not (file := gpu / "tests.csv").is_file():
        return []
    rows = read_frame(file)
    cards, versions = (", ".join(rows[of].unique()) for of in ("gpu", "torch"))
    inside = (~(rows["value"] < rows["at_least"]) & ~(rows["value"] > rows["at_most"])).sum()
    needed = project_path("requirements.txt").read_text(encoding="utf-8")
    pinned = re.search(r"^torch==(\S+)", needed, re.M)[1]
    lines = [
        "## What was run on a GPU?",
        f"The tests of `make test-gpu`, on {cards} with torch {versions}: {inside} of {len(rows)} "
        "values lie within their limits, which most have to the CPU's (`data/gpu/tests.csv`). The "
        "tables of that folder have neither command nor commit; `notebooks/guide.md` has them. "
        "Of the two engines of the pass ONNX Runtime computes on the CPU there, too (petweak asks "
        "for its CPUExecutionProvider alone); on a GPU PyTorch is the default."]
    if pinned not in {version.partition("+")[0] for version in rows["torch"]}:
        lines.append(
            f"torch {pinned}, which pyproject.toml pins, has not been run on a GPU. Beside that "
            f"pin pip refuses torch {versions}: `pip install --no-deps -e .` takes petweak without "
            "it, in an environment that has a torch and what else pyproject.toml names.")
    if not any(table["device"].isin(rows["gpu"]).any() for table in tables.values()):
        lines.append("No benchmark has been run on a GPU: no table of this page is of one.")
    return lines


def page(data: Path, out: Path, **supposed: float) -> None:
    """Write `benchmark.md`, and the figure of growth, into `out`; nothing where no table is.
    `supposed`: of the plan."""
    tables, notes = measured.read_tables(data)
    if not tables:
        return
    old = measured.ages(data)
    more = {name: read_frame(file) for name in NO_EXPERIMENT
            if (file := data / f"{name}.csv").is_file()}
    lines = ["# How fast, and how wide", "`figures/benchmark.py` makes this page from the tables "
             f"in `data/{data.name}/`. Each says by which command and, where it was noted, "
             "at which commit, with its date; the machines have the same name, and not always the "
             "same speed, so seconds of two tables are not to be compared.",
             *targets(tables | more)]
    if "growth" in tables:
        lines.append(of_passes(tables["growth"], notes["growth"]))
    if "demo" in more:
        lines += of_demo(more["demo"], data.parent / "embedded", old)
    for name in tables:
        lines += section(name, tables, notes[name], data.parent / "photos")
    if "memory" in more:
        lines += of_memory(more["memory"], measured.noted(data / "memory.csv", "--memory"), old)
    lines += of_alone(data, more.get("memory"), old)
    if "install" in more:
        lines += of_install(more["install"])
    lines += of_gpu(data.parent / "gpu", tables)
    if "growth" in tables:
        table = tables["growth"]
        if (classes := tables.get("growth-classes")) is not None:
            table = pd.concat([table[table["axis"] != "classes"], classes])
        drawn = charts.growth_lines(table.drop(columns=["backbone", "side"]), exponents(table))
        save_figure(drawn, out / "bench-growth.png")
        lines += plan(tables, notes, data.parent / "gpu" / "timings.csv", **supposed)
    files.write_text(out / "benchmark.md", "\n\n".join(lines) + "\n")


def about(run: Path) -> dict[str, Any]:
    """Its run.json."""
    if (note := files.read_json(run / "run.json")) is None:
        raise FileNotFoundError(f"{run / 'run.json'} is missing: --run takes the folder of a run "
                                "in which `petweak experiment` has written tables, --memory that "
                                "of `petweak study`")
    return note


def copy_memory(run: Path, data: Path) -> None:
    """Take over what the stages of the run took; and by which command, and on what."""
    of = about(run)
    with files.replacing(data / "memory.csv") as beside:
        shutil.copyfile(run / "timings.csv", beside)
    files.write_json(data / "memory.json", {
        "command": measured.typed("study", Settings.from_dict(of["settings"])),
        "commit": of["git_commit"], **hardware(torch.device(of["device"])),
        "threads": of["hardware"]["threads"]})


def copy(run: Path, data: Path) -> None:
    """Take over what the run's experiments have written: of one backbone."""
    backbone = about(run)["settings"]["backbone"]["backbone"]
    for table, end in itertools.product(map(of_table, measured.TABLES), (".csv", ".json")):
        if (file := run / "experiments" / f"{table}{end}").is_file():
            name = stored_as(table, backbone, read_frame(file.with_suffix(".csv")))
            with files.replacing(data / f"{name}{end}") as beside:
                shutil.copyfile(file, beside)


def stored_as(name: str, backbone: str, table: pd.DataFrame) -> str:
    """The one of TABLES that a table of an experiment is."""
    if name == "time_to_quality" and SMP[0] not in set(table["what"]):
        return f"{name}-bfloat16" if set(table["what"]) == {OURS} else f"{name}-unet"
    if name == "growth" and set(table["axis"]) == {"classes"}:
        return "growth-classes"
    if name == "alternatives" and table["stage"].nunique() == 1:  # measured on its own
        return f"{name}-{table['stage'].iloc[0]}"
    if name == "benchmark" and not {"epoch", "cams"} & set(table["part"]):
        return "benchmark-stages"
    return f"{name}-{backbone}" if f"{name}-{backbone}" in measured.TABLES else name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", help="copy the tables of its experiments first")
    parser.add_argument("--memory", metavar="RUN", help="copy what a study's stages took first")
    for name, value in ASSUMED.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value,
                            help=f"of the plan; default: {value}")
    args, out = parser.parse_args(), project_path("figures")
    if args.run:
        copy(project_path(args.run), out / "data" / "bench")
    if args.memory:
        copy_memory(project_path(args.memory), out / "data" / "bench")
    measured.note_commits(out / "data" / "bench")
    page(out / "data" / "bench", out, **{name: getattr(args, name) for name in ASSUMED})


if __name__ == "__main__":
    main()
