"""The figures of a study. Each function returns a matplotlib `Figure`; a notebook shows it.

    overview_bars(results)                                  # last line of a cell: shown
    save_or_show(learning_curves("runs/photos"), "curves.png")

Every function that returns a Figure also takes `dark=True`, and `size="one"` or `"two"` for one or
both columns of a paper. Figures are made without pyplot, so nothing is changed for other code.
The names of `petweak.pictures`, which draws photos and masks, and of `petweak.looks` are here, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.ticker import FixedLocator

from petweak import tables
from petweak.files import read_json
from petweak.looks import (
    SOURCE_COLOURS,
    Figure,
    canvas,
    legend,
    palette,
    png,
    save_or_show,
    style,
    styled,
)
from petweak.pictures import gallery, overlay, show_masks, show_photos

__all__ = [
    "SOURCE_COLOURS",
    "Figure",
    "breed_points",
    "cost_bars",
    "gallery",
    "learning_curves",
    "overlay",
    "overview_bars",
    "palette",
    "png",
    "save_or_show",
    "show_masks",
    "show_photos",
    "style",
    "threshold_curves",
]


@styled
def overview_bars(results: pd.DataFrame, split: str = "test", paper: bool = True) -> Figure:
    """Mask IoU against truth (border as pet) of each student with its 95 % interval, the IoU of
    its pseudo-masks, the baselines and, unless `paper` is false, the paper's figure."""
    table = tables.study_overview(results, split).set_index(["source", "labels"])
    theirs = tables.compare_with_paper(results).query("metric == 'mask_iou_gt' and split == @split")
    theirs = theirs.set_index(["source", "labels"])["paper"]
    names = tables.students(results)
    colours, value = palette(s for s, _ in names), "mask_iou_gt/pet"
    fig = canvas(1.5 + 0.5 * len(names))
    ax = fig.add_subplot()
    for y, name in enumerate(names):
        row = table.loc[name]
        ax.barh(y, row[value], 0.62, color=colours[name[0]])
        limits = (row[value] - row[f"{value} low"], row[f"{value} high"] - row[value])
        ax.errorbar(row[value], y, xerr=np.array(limits)[:, None], color=_ink(), capsize=3, lw=1.2)
        ax.text(1.07, y, f"{row[value]:.3f}", va="center", weight="bold")
    ax.text(1.07, -0.45, "student", fontsize="small")
    marks = [("D", "its pseudo-masks", [table.loc[n, "pseudo_iou_gt/pet"] for n in names])]
    if paper:
        marks.append(("X", "the paper's student", [theirs.get(n, np.nan) for n in names]))
    for marker, label, values in marks:
        ax.scatter(values, range(len(names)), _point(52), marker=marker, color=_paper(),
                   edgecolor=_ink(), lw=1.2, zorder=3, label=label, clip_on=False)  # fmt: skip
    for name, dashes in zip(tables.BASELINES, ("--", ":"), strict=True):
        ax.axvline(table.loc[(name, "-"), value], color=_ink(), ls=dashes, lw=1.4, label=name)
    ax.set(yticks=range(len(names)), yticklabels=[f"{s}\n{labels}" for s, labels in names],
           xlim=(0, 1), xlabel=f"IoU against ground truth, {split}, border as pet")  # fmt: skip
    _finish(fig, ax, columns=2)
    return fig


@styled
def learning_curves(
    run_folder: str | Path, students: Sequence[tuple[str, str]] | None = None
) -> Figure:
    """Loss on train and mask IoU on val by epoch, from each models/*/history.csv of a run (or of
    `students`, (source, labels) each); a ring marks the epoch that was kept."""
    folders = sorted(p.parent for p in Path(run_folder).glob("models/*/history.csv"))
    folders = [f for f in folders if "-round" not in f.name]
    if students is not None:
        wanted = [f"{source}-{labels}" for source, labels in students]
        named = {f.name: f for f in folders}
        folders = [named[name] for name in wanted if name in named]
    configs = {f: read_json(f / "config.json") or {} for f in folders}
    of = {f: configs[f].get("source", f.name.rsplit("-", 1)[0]) for f in folders}
    colours = palette(of.values())
    fig = canvas(5.2 + 0.1 * len(folders))
    axes = fig.subplots(2, 1, sharex=True)
    for folder in folders:
        history = pd.read_csv(folder / "history.csv")
        dashes = "-" if folder.name.endswith("-breed") else "--"
        look = dict(color=colours[of[folder]], ls=dashes, marker=".")
        axes[0].plot(history["epoch"], history["loss"], label=folder.name, **look)
        if not history["val_mask_iou"].any():  # self-training has no val
            continue
        axes[1].plot(history["epoch"], history["val_mask_iou"], **look)
        kept = history[history["epoch"] == configs[folder].get("best_epoch")]
        axes[1].plot(kept["epoch"], kept["val_mask_iou"], "o", ms=10, mfc="none", mec=_ink())
    axes[0].set(ylabel="loss on train")
    axes[1].set(ylabel="mask IoU on val, own masks", xlabel="epoch")
    axes[1].xaxis.get_major_locator().set_params(integer=True)
    _finish(fig, axes[0], columns=1 if len(folders) < 3 else 2)
    return fig


@styled
def threshold_curves(
    curves: Mapping[str, Mapping[float, float]], chosen: Mapping[str, float] | None = None
) -> Figure:
    """IoU by threshold: {name: {threshold: IoU}}; a ring at each threshold of `chosen`, which is
    {name: threshold} (IoU between two measured thresholds is interpolated)."""
    colours = palette(name.split()[0] for name in curves)
    fig = canvas(3.8)
    ax = fig.add_subplot()
    for name, curve in curves.items():
        x, y = np.array(sorted(curve.items()), dtype=float).T
        ax.plot(x, y, marker=".", color=colours[name.split()[0]], label=name)
        if chosen and name in chosen:
            at = np.interp(chosen[name], x, y)
            ax.plot(chosen[name], at, "o", ms=11, mfc="none", mec=_ink(), mew=1.6)
            ax.annotate(f"{chosen[name]:.2f}", (chosen[name], at), (0, 9),
                        textcoords="offset points", ha="center")  # fmt: skip
    ax.set(xlabel="threshold", ylabel="IoU of the masks with ground truth", xlim=(0, 1))
    _finish(fig, ax, columns=2)
    return fig


@styled
def breed_points(table: pd.DataFrame) -> Figure:
    """Mean mask IoU by breed, a point per student, from `tables.breeds_compared`."""
    names = [c for c in table if c not in ("breed", "n_images")]
    colours = palette(n.rsplit("-", 1)[0] for n in names)
    fig = canvas(1.7 + 0.1 * len(names) + 0.3 * len(table))
    ax = fig.add_subplot()
    for name in names:
        marker = {"all_ones": "|", "centre_box": "x"}.get(name, "o")
        marker = "s" if name.endswith("-species") else marker
        ax.scatter(table[name], range(len(table)), _point(55), marker=marker, label=name,
                   color=colours[name.rsplit("-", 1)[0]], linewidths=1.8)  # fmt: skip
    ax.axhline(len(table) - 1.5, color=_ink(), lw=0.8)
    labels = [f"{r.breed} ({r.n_images})" for r in table.itertuples()]
    ax.set(yticks=range(len(table)), yticklabels=labels, xlim=(0, 1),
           ylim=(-0.6, len(table) - 0.4), xlabel="mean mask IoU, border as pet")  # fmt: skip
    _finish(fig, ax, columns=2)
    return fig


@styled
def cost_bars(costs: pd.DataFrame) -> Figure:
    """Seconds per photo by source, the shared features pass apart; takes `tables.costs`."""
    colours = palette(costs["source"])
    fig = canvas(1.5 + 0.42 * len(costs))
    ax = fig.add_subplot()
    at = range(len(costs))
    shared = costs["features_seconds"].fillna(0)
    ax.barh(at, costs["masks_seconds"], 0.62, color=[colours[s] for s in costs["source"]])
    ax.barh(at, shared, 0.62 * (shared > 0), left=costs["masks_seconds"], color=_paper(),
            edgecolor=_ink(), hatch="///", lw=0.8,
            label="features pass (made once, shared)")  # fmt: skip
    for y, seconds in enumerate(costs["masks_seconds"] + shared):
        ax.text(seconds, y, f"  {seconds:.3f}", va="center")
    ax.set(yticks=at, yticklabels=costs["source"], xlabel="seconds per photo on this hardware")
    ax.margins(x=0.14)
    _finish(fig, ax, columns=1)
    return fig


def _point(area: float) -> float:
    """Of a marker in square points, for fonts of 10 pt."""
    return area * (matplotlib.rcParams["font.size"] / 10) ** 3


def _ink() -> str:
    return matplotlib.rcParams["text.color"]


def _paper() -> str:
    return matplotlib.rcParams["axes.facecolor"]


def _finish(fig: Figure, ax, columns: int) -> None:
    """The legend; and categories are read from the top."""
    if ax.get_yticklabels() and ax.get_legend_handles_labels()[0]:
        legend(fig, columns)
    if isinstance(ax.yaxis.get_major_locator(), FixedLocator):
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
        ax.tick_params(axis="y", length=0)
