"""The charts of a study. All also take `dark=True`, and `size="one"` or `"two"` for a paper."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from scipy.optimize import isotonic_regression

from petweak.data.files import read_frame
from petweak.evaluation.metrics import BASELINES, NO_BORDER
from petweak.study import tables
from petweak.training.trainer import finished_models
from petweak.visualization.style import SOURCE_COLOURS, Figure, canvas, palette, styled

LINES = {"breed": "-", "species": "--"}  # of the labels that a model learns
KINDS = {  # of petweak.experiments.label_efficiency: legend, colour, look
    "true": ("ground-truth masks alone", SOURCE_COLOURS["ground_truth"], "o-"),
    "both": ("ground-truth masks, else pseudo-masks", SOURCE_COLOURS["gradcam_finetuned"], "s-"),
    "pseudo": ("pseudo-masks alone", SOURCE_COLOURS["imagenet_only"], "--"),
}


@styled
def overview_bars(results: pd.DataFrame, split: str = "test", paper: bool = True) -> Figure:
    """Mask IoU with ground truth (border as foreground) of each model with its 95 % interval, the
    IoU of its pseudo-masks, the baselines and, unless `paper` is false, the paper's score; models
    that are maskformer-ms are named so and stand apart, below the others. Where no photo of `split`
    has ground truth: IoU with the masks of the model's source, and the axis says so."""
    table = tables.study_overview(results, split).set_index(["source", "labels"])
    names, value = tables.models(results), "mask_iou_gt/foreground"
    names.sort(key=lambda name: table.loc[name, "model"] == "maskformer-ms")
    rows, colours = table.loc[names], palette(s for s, _ in names)
    multi = (rows["model"] == "maskformer-ms").tolist()
    at = np.arange(len(names)) + 0.7 * np.array(multi) * (not all(multi))
    axis = f"IoU with ground truth, {split}, border as foreground"
    if not (scored := rows[value].notna().any()):
        value, axis = "mask_iou", f"IoU with the source's masks, {split}: no ground truth"
    named = [f"{s}\n{labels}" + ", MaskFormer-MS" * ms
             for (s, labels), ms in zip(names, multi, strict=True)]
    fig, ax = _rows(1.5 + 0.5 * len(names), named, axis)
    ax.set_yticks(at, named)
    if any(multi) and not all(multi):
        ax.axhline(at[multi.index(True)] - 0.85, lw=0.8)
    limits = rows[[f"{value} low", f"{value} high"]].sub(rows[value], axis=0).abs().T
    look = dict(ecolor=rcParams["text.color"], capsize=3, error_kw={"lw": 1.2})
    ax.barh(at, rows[value], 0.62, xerr=limits, color=[colours[s] for s, _ in names], **look)
    for y, score in zip(at, rows[value], strict=True):
        ax.text(1.07, y, tables.as_text(score), va="center", weight="bold")
    ax.text(1.07, -0.45, "model", fontsize="small")
    alike, of = (rows, "") if len({*multi}) < 2 else (rows[~np.array(multi)], " of MaskFormer")
    top = [f"{' '.join(n)} {iou:.3f}" for n, iou in alike[value].dropna().nlargest(2).items()]
    fig.suptitle(f"Highest IoU{of}: " * bool(top) + ", then ".join(top))
    if not scored:
        return fig
    marks = {"its pseudo-masks": ("D", rows["pseudo_iou_gt/foreground"])}
    if paper:
        theirs = tables.compare_with_paper(results).query("metric == 'mask_iou_gt'")
        theirs = theirs.set_index(["split", "source", "labels"])["paper"]
        marks["the paper's model"] = "X", [theirs.get((split, *n), np.nan) for n in names]
    for label, (marker, values) in marks.items():
        ax.plot(values, at, marker, mfc=rcParams["axes.facecolor"], label=label, clip_on=False)
    for name, dashes in zip(BASELINES, ("--", ":"), strict=True):
        ax.axvline(table.loc[(name, NO_BORDER), value], ls=dashes, lw=1.4, label=name)
    return fig


@styled
def learning_curves(run_folder: str | Path, models: Sequence | None = None) -> Figure:
    """Loss on train, and IoU on val with the source's masks, by epoch, of all models of a run or of
    `models`, (source, labels) each. Colour: source; line: labels; marker: levels; ring: kept."""
    configs = finished_models(run_folder, rounds=False).items()
    configs = {f: c for f, c in configs if not models or (c["source"], c["labels"]) in models}
    colours, fig = palette(c["source"] for c in configs.values()), canvas(5.2 + 0.1 * len(configs))
    (loss, val), rings = fig.subplots(2, 1, sharex=True), {}
    for folder, config in configs.items():
        multi = config["model"]["levels"] != ["final"]  # maskformer-ms
        look = dict(color=colours[config["source"]], ls=LINES[config["labels"]], marker="o^"[multi])
        name = f"{config['source']}, {config['labels']}" + ", maskformer-ms" * multi
        history = read_frame(folder / "history.csv").set_index("epoch")
        loss.plot(history["loss"], label=name, ms=4, **look)
        val.plot(history["val_mask_iou"], ms=4, **look)  # empty without val
        kept = history["val_mask_iou"][history.index == config["best_epoch"]]
        val.plot(kept, "o", ms=11, mfc="none")
        rings |= {f"{value:.2f} in epoch {epoch}, {name}": value for epoch, value in kept.items()}
    if (rings := pd.Series(rings, dtype=float).dropna()).size:
        fig.suptitle(f"Highest IoU on val of a kept epoch: {rings.idxmax()}")
    loss.set(ylabel="loss on train")
    val.set(ylabel="mask IoU on val", xlabel="epoch")
    val.xaxis.get_major_locator().set_params(integer=True)
    return fig


@styled
def threshold_curves(curves: Mapping, chosen: Mapping | None = None) -> Figure:
    """IoU by threshold: {name: {threshold: IoU}}; a ring at each threshold of `chosen`, which is
    {name: threshold} (IoU between two measured thresholds is interpolated)."""
    colours, fig = palette(name.split()[0] for name in curves), canvas(3.8)
    ax = fig.add_subplot(xlim=(0, 1), xlabel="threshold", ylabel="IoU with ground truth")
    for name, curve in curves.items():
        x, y = np.array(sorted(curve.items()), dtype=float).T
        ax.plot(x, y, marker=".", color=colours[name.split()[0]], label=name)
        if chosen and name in chosen:
            point = chosen[name], np.interp(chosen[name], x, y)
            ax.plot(*point, "o", ms=11, mfc="none")
            ax.annotate(f"{point[0]:.2f}", point, (0, 9), textcoords="offset points", ha="center")
    best = {name: max(curve, key=curve.get) for name, curve in curves.items()}
    name = max(best, key=lambda name: curves[name][best[name]])
    fig.suptitle(f"Highest IoU: {curves[name][best[name]]:.2f}, {name} at {best[name]:.2f}")
    return fig


@styled
def breed_points(table: pd.DataFrame, models: Sequence[tuple[str, str]]) -> Figure:
    """Mean mask IoU by breed, a point per model, from `tables.breeds_compared` of `models`."""
    points = {f"{s}-{labels}": (s, "s" if labels == "species" else "o") for s, labels in models}
    points |= {name: (name, marker) for name, marker in zip(BASELINES, "|x", strict=True)}
    colours, n = palette(s for s, _ in models), len(table)
    names = [f"{r.breed} ({r.n_images})" for r in table.itertuples()]
    fig, ax = _rows(1.7 + 0.1 * len(points) + 0.3 * n, names, "mask IoU, border as foreground")
    for name, (source, marker) in points.items():
        ax.plot(table[name], range(n), marker, color=colours[source], mew=1.8, label=name)
    ax.axhline(n - 1.5, lw=0.8)  # the last row is of all breeds
    ax.set_ylim(n - 0.4, -0.6)
    first = next(iter(points))
    of = table[:-1].set_index("breed")[first].dropna().sort_values()
    if len(of) > 1:
        fig.suptitle(f"{first}: {of.index[0]} has least, {of.iloc[0]:.2f}, "
                     f"and {of.index[-1]} most, {of.iloc[-1]:.2f}")
    return fig


@styled
def cost_bars(costs: pd.DataFrame) -> Figure:
    """Seconds per photo by source, the shared feature extraction apart; takes `tables.costs`. The
    title leaves out masks that are only read: whoever drew them took longer."""
    colours, at, alone = palette(costs["source"]), range(len(costs)), costs["masks_seconds"]
    read = costs["source"].str.match("ground_truth$|external")
    fig, ax = _rows(1.5 + 0.42 * len(costs), costs["source"], "seconds per photo on this hardware")
    ax.barh(at, alone, 0.62, color=[colours[s] for s in costs["source"]])
    shared = costs["features_seconds"].fillna(0)
    look = dict(fc=rcParams["axes.facecolor"], hatch="///", label="feature extraction (shared)")
    bars = ax.barh(at, shared, 0.62 * (shared > 0), alone, ec=rcParams["text.color"], **look)
    texts = [f"{s:.3f}" + ", only read" * old for s, old in zip(alone + shared, read, strict=True)]
    ax.bar_label(bars, texts, padding=5)
    ax.set_xlim(0, 1.14 * (alone + shared).max())
    made = (alone + shared).set_axis(costs["source"])[~read.to_numpy()].sort_values()
    if len(made):
        ends = dict.fromkeys(f"{s:.3f} s ({name})" for name, s in made.iloc[[0, -1]].items())
        fig.suptitle(f"To make a mask takes {' to '.join(ends)} a photo")
    return fig


@styled
def label_efficiency_lines(curve: pd.DataFrame, border: str = "ignore", of: str = "") -> Figure:
    """IoU by the number of ground-truth masks, from `experiments.label_efficiency`: means over
    seeds, and a band from the worst seed to the best one. The title begins with `of`."""
    part, fig, means = curve[curve["border"] == border], canvas(4.2), {}
    ticks = sorted(set(part["masks"]) - {0})
    ax = fig.add_subplot(xlabel="ground-truth masks in train", ylabel=f"IoU, border {border}")
    for kind, (label, colour, look) in KINDS.items():
        values = part[part["kind"] == kind].groupby("masks")["value"].agg(["mean", "min", "max"])
        if kind == "pseudo":  # the same whatever the number: a level
            values = values.iloc[[0, 0]].set_axis([ticks[0], ticks[-1]])
        ax.plot(means.setdefault(kind, values["mean"]), look, color=colour, label=label)
        ax.fill_between(values.index, values["min"], values["max"], color=colour, alpha=0.2)
    ax.set_xscale("log")
    ax.set_xticks(ticks, [str(t) for t in ticks])
    ax.minorticks_off()
    ahead = (means["true"] >= means["pseudo"].iloc[0]).tolist()
    at, numbers = ahead.index(True) if any(ahead) else -1, means["true"].index.tolist()
    fig.suptitle(f"{of}{': on' if of else 'On'} average " + {
        -1: f"pseudo-masks are ahead of {numbers[-1]} ground-truth masks",
        0: f"{numbers[0]} ground-truth masks do as well as pseudo-masks"}.get(
        at, "ground truth overtakes pseudo-masks between "
            f"{numbers[at - 1]} and {numbers[at]} masks"))
    return fig


@styled
def annotation_hours(points: pd.DataFrame, title: str, border: str = "ignore") -> Figure:
    """IoU by hours of annotation, from `experiments.mask_costs.by_hours`, each line and point named
    beside it; what takes no annotation is a dashed level. `title` says the finding."""
    colours, fig = palette(points["source"]), canvas(4.6)
    ax = fig.add_subplot(xlabel="hours of a person's annotation (logarithmic)",
                         ylabel=f"IoU on test, border {border}", xscale="log")
    paid = points[points["hours"] > 0]
    left, right = min(0.85 * paid["hours"].min(), 0.9), max(1.15 * paid["hours"].max(), 3.3)
    ends = []  # (IoU, text, colour) of what is named at the right edge
    for (name, source), part in points.groupby(["name", "source"], sort=False):
        part, look = part.sort_values("hours"), {"color": colours[source]}
        last = part.iloc[-1]
        if last["hours"] == 0:
            ax.axhline(last["iou"], ls="--", **look)
        else:
            ax.plot(part["hours"], part["iou"], "o-" if last["series"] else "D", **look)
            band = part["hours"], part["smallest"], part["largest"]
            if last["series"]:
                ax.fill_between(*band, alpha=0.2, lw=0, **look)
            else:
                ax.vlines(*band, **look)
        ends.append((last["iou"], name, colours[source]))
    ax.set_xlim(left, right)
    ticks = {1 / 60: "1 min", 1 / 12: "5 min", 0.25: "15 min", 1: "1 h", 3: "3 h", 10: "10 h"}
    ticks = {t: text for t, text in ticks.items() if left <= t <= right}
    ax.set_xticks(list(ticks), list(ticks.values()))
    ax.minorticks_off()
    low, high = ax.get_ylim()
    places, beside = spread([iou for iou, *_ in sorted(ends)], 0.1 * (high - low)), {}
    beside |= {"xycoords": ax.get_yaxis_transform(), "textcoords": "offset points", "va": "center"}
    for (_, text, colour), y in zip(sorted(ends), places, strict=True):
        ax.plot(1.03, y, "o", color=colour, transform=beside["xycoords"], clip_on=False)
        ax.annotate(text, (1.03, y), (7, 0), fontsize="small", **beside)
    fig.suptitle(title)
    return fig


@styled
def ablation_points(table: pd.DataFrame, title: str) -> Figure:
    """IoU on test by trained parameters, from `experiments.ablation`: a panel per source; filled
    where a row satisfies, a bar over its seeds, the Pareto front as a line. Named are the best row,
    the simplest that satisfies, and that of full size. `title` says the finding."""
    sources, text = table["source"].unique(), rcParams["text.color"]
    fig, colours = canvas(3.4 * len(sources) + 1), palette(sources)
    axes = fig.subplots(len(sources), 1, sharex=True, squeeze=False)[:, 0]
    final, queries = table["levels"] == "final", table["network"] == "MaskFormer"
    kinds = {"maskformer": ("o", queries & final), "maskformer-ms": ("^", queries & ~final),
             "classes of pixels": ("s", ~queries)}
    for ax, source in zip(axes, sources, strict=True):
        here = table["source"] == source
        for marker, of in kinds.values():
            for row in table[here & of].itertuples():
                bar = [[row.iou - row.smallest], [row.largest - row.iou]]
                fill = colours[source] if row.satisfies == "yes" else rcParams["axes.facecolor"]
                ax.errorbar(row.parameters, row.iou, bar, fmt=marker, color=colours[source],
                            mfc=fill, zorder=3)
        front = table[here & table["pareto"]].sort_values("parameters")
        ax.plot(front["parameters"], front["iou"], color=colours[source], lw=1)
        part = table[here].sort_values("parameters")
        best, satisfying = part.index[part["p"].isna()], part.index[part["satisfies"] == "yes"]
        named = dict.fromkeys((*best, *part.index[part["row"] == "full-size"]), "left")
        named |= {at: "right" for at in satisfying[:1] if at not in best}  # two texts, two sides
        for row in part.loc[list(named)].itertuples():
            side, up = ("right", 22) if row.share > 0.5 else (named[row.Index], 8)
            ax.annotate(row.row, (row.parameters, row.iou), (4 if side == "left" else -4, up),
                        textcoords="offset points", fontsize="small", ha=side, zorder=4,
                        bbox={"fc": rcParams["axes.facecolor"], "lw": 0, "pad": 1, "alpha": 0.8})
        ax.margins(y=0.16)
        ax.axvline(0.1 * (table["parameters"] / table["share"]).iloc[0], ls=":", color=text)
        ax.axhline(table["all_ones"].iloc[0], ls="--", color=text, lw=1)
        ax.set(xscale="log", ylabel="IoU on test")
        ax.set_title(f"masks of {source}", loc="left", fontsize="medium")
    ax.set_xlabel("trained parameters (logarithmic)")
    marks = [Line2D([], [], marker=m, ls="", color=text, mfc="none", label=kind)
             for kind, (m, _) in kinds.items()]
    lines = {"-": "Pareto front", ":": "a tenth of the parameters of full-size", "--": "all_ones"}
    marks += [Line2D([], [], marker="o", ls="", color=text, label="filled: satisfies"),
              *(Line2D([], [], ls=ls, color=text, lw=1, label=said) for ls, said in lines.items())]
    fig.legend(handles=marks, loc="outside lower left", ncols=2)
    fig.suptitle(title)
    return fig


@styled
def growth_lines(table: pd.DataFrame, fits: pd.DataFrame) -> Figure:
    """Seconds of each stage and peaks of memory by size, from `experiments.growth` and its
    `exponents`, which the titles name: a row per axis, logarithmic but for memory, from 0 on."""
    axes, stages = fits.index, table.loc[:, "features":"all"].columns
    fig = canvas(2.6 * len(axes) + 0.6)
    colours = palette(kinds := [*stages, "rss_mb", "own_mb"])
    names = {"rss_mb": "resident memory, MB", "own_mb": "own memory, MB"}
    for row, axis in zip(fig.subplots(len(axes), 2, squeeze=False), axes, strict=True):
        part = table[table["axis"] == axis]
        for kind in kinds:
            ax, look = (row[0], "o-") if kind in stages else (row[1], "s--")
            label = names.get(kind, kind) if axis == axes[0] else None
            ax.plot(part["value"], part[kind], look, color=colours[kind], label=label, ms=4)
        for ax, kind, unit in zip(row, ("all", "own_mb"), ("seconds", "MB"), strict=True):
            ax.set(xscale="log", xlabel=axis, ylabel=unit)
            ax.set_xticks(part["value"], part["value"], rotation=45, fontsize="small")
            ax.set_xticks([], minor=True)
            ax.set_title(f"exponent of {kind.removesuffix('_mb')}: {fits.loc[axis, kind]:.2f}",
                         loc="left", fontsize="medium")
        row[0].set_yscale("log")
        row[1].set_ylim(0)
    power = fits["all"].round(2)
    most = " and ".join(power.index[power == power.max()])  # as far as the titles show
    fig.suptitle(f"The seconds of all stages grow most with {most}: as power {power.max():.2f}")
    return fig


def spread(values: Sequence[float], gap: float) -> list[float]:
    """Ascending values moved apart, by the least that leaves `gap` between each two, so that texts
    beside them do not overlap."""
    steps = gap * np.arange(len(values))
    return (isotonic_regression(np.array(values, float) - steps).x + steps).tolist()


@styled
def clue_lines(clues: pd.DataFrame, paper: tuple[float, float], named: Sequence[str]) -> Figure:
    """Both clues of `experiments.cam_faults.joined`: IoU of the finetuned head (across) and of the
    pretrained one with each fault, a line over thresholds; those `named` in colour, with their name
    at the end, all others grey; a cross at `paper`, (pretrained, finetuned)."""
    colours, fig, clues = palette(named), canvas(4.2), clues.sort_values("threshold")
    ax = fig.add_subplot(ylabel="IoU of the pretrained head (Table 3)", xlim=(0, 0.86),
                         xlabel="IoU of the finetuned head with the fault (Table 4)", ylim=(0, 0.7))
    for fault, part in clues.groupby("fault", sort=False):
        look = {"color": colours[fault], "zorder": 3} if fault in named else {"zorder": 1}
        ax.plot(part["finetuned"], part["test"], ".-", **({"color": "#A8A8A8", "lw": 1} | look))
    ends = clues[clues["fault"].isin(named)].drop_duplicates("fault").sort_values("test")
    for y, end in zip(spread(ends["test"], 0.045), ends.itertuples(), strict=True):
        ax.annotate(end.fault, (end.finetuned, y), (9, 0), textcoords="offset points", va="center",
                    color=colours[end.fault], fontsize="small",
                    bbox={"fc": rcParams["axes.facecolor"], "lw": 0, "pad": 1})
    ax.plot(paper[1], paper[0], "X", ms=12, color=rcParams["text.color"], zorder=4)
    ax.annotate("the paper", (paper[1], paper[0]), (0, -16), textcoords="offset points",
                ha="center", weight="bold")
    far = np.hypot(clues["test"] - paper[0], clues["finetuned"] - paper[1]).min()
    fig.suptitle(f"No point is less than {far - 0.005:.2f} from the paper's pair")  # rounded down
    return fig


@styled
def round_lines(rounds: pd.DataFrame) -> Figure:
    """IoU by round of self-training, from `tables.rounds`: the masks of train that a round begins
    with, and its model on test with the 95 % interval."""
    colours, fig = palette(rounds["source"]), canvas(3.6)
    ax = fig.add_subplot(xticks=sorted(set(rounds["round"])), xlabel="round")
    for (source, labels), part in rounds.groupby(["source", "labels"], sort=False):
        limits = part[["model low", "model high"]].sub(part["model"], axis=0).abs().T
        look, name = dict(color=colours[source]), f"{source}, {labels}: model on test"
        ax.errorbar(part["round"], part["model"], limits, fmt="o-", capsize=3, label=name, **look)
        ax.plot(part["round"], part["masks"], "D--", label="its masks on train", **look)
    ax.set_ylabel("IoU with ground truth")
    means = rounds.groupby("round")["model"].mean().dropna()
    fig.suptitle("IoU of the model on test: " + ", ".join(
            f"{iou:.3f} in round {n}" for n, iou in means.iloc[[0, -1]].items()))
    return fig


@styled
def probe_bars(probes: pd.DataFrame) -> Figure:
    """IoU of a linear probe on each frozen map, from `experiments.probes`."""
    names = [f"{r.level}\n{r.channels} channels" for r in probes.itertuples()]
    fig, ax = _rows(2.4, names, "IoU of a linear probe on test, border ignored")
    bars = ax.barh(range(len(probes)), probes["iou"], color=SOURCE_COLOURS["ground_truth"])
    ax.bar_label(bars, fmt="%.3f", padding=4)
    most, *others = probes.sort_values("iou", ascending=False).itertuples()
    fig.suptitle(f"{most.level} has the highest IoU, {most.iou:.3f}" + (
        f": {most.iou - others[0].iou:.3f} more than {others[0].level}" if others else ""))
    return fig


def _rows(height: float, names: Sequence[str], axis: str) -> tuple[Figure, Axes]:
    """A canvas whose rows are called `names`, read from the top, along an axis from 0 to 1."""
    fig = canvas(height)
    ax = fig.add_subplot(yticks=range(len(names)), yticklabels=names, xlim=(0, 1))
    ax.set_xlabel(axis, loc="right")  # where the names leave little space, it begins below them
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    return fig, ax
