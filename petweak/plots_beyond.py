"""The figures of what goes beyond the paper; see `petweak.plots` for how they are used."""

from __future__ import annotations

import numpy as np
import pandas as pd

from petweak.looks import SOURCE_COLOURS, Figure, canvas, legend, palette, styled

KINDS = {  # of petweak.labelling: what the legend says, colour, marker
    "true": ("true masks alone", SOURCE_COLOURS["ground_truth"], "o"),
    "both": ("pseudo-masks, and these true ones", SOURCE_COLOURS["gradcam_finetuned"], "s"),
    "pseudo": ("pseudo-masks alone", SOURCE_COLOURS["labels_free"], "D"),
}


@styled
def labelling_lines(curve: pd.DataFrame, border: str = "ignore") -> Figure:
    """IoU by the number of true masks, from `labelling.labelling_curve`: means over seeds, and a
    band from the worst seed to the best one."""
    fig = canvas(4.2)
    ax = fig.add_subplot()
    part = curve[curve["border"] == border]
    for kind, (label, colour, marker) in KINDS.items():
        values = part[part["kind"] == kind].groupby("masks")["value"].agg(["mean", "min", "max"])
        if kind == "pseudo":
            ends = [part.loc[part["masks"] > 0, "masks"].min(), part["masks"].max()]
            ax.plot(ends, [values["mean"].iloc[0]] * 2, "--", color=colour, label=label)
            ax.fill_between(ends, *values[["min", "max"]].iloc[0], color=colour, alpha=0.2)
        else:
            ax.plot(values.index, values["mean"], color=colour, marker=marker, label=label)
            ax.fill_between(values.index, values["min"], values["max"], color=colour, alpha=0.2)
    ticks = sorted(set(part["masks"]) - {0})
    ax.set(xscale="log", xticks=ticks, xlabel="true masks in train", ylabel=f"IoU, border {border}")
    ax.set_xticks(ticks, [str(t) for t in ticks])
    ax.minorticks_off()
    legend(fig, 2)
    return fig


@styled
def round_lines(rounds: pd.DataFrame) -> Figure:
    """IoU by round of self-training, from `tables.rounds`: the masks of train that a round begins
    with, and its student on test with the 95 % interval."""
    fig = canvas(3.6)
    ax = fig.add_subplot()
    colours = palette(rounds["source"])
    for (source, labels), part in rounds.groupby(["source", "labels"], sort=False):
        name, colour = f"{source}-{labels}", colours[source]
        limits = np.abs(part[["student low", "student high"]].sub(part["student"], axis=0)).T
        ax.errorbar(part["round"], part["student"], limits, color=colour, marker="o", capsize=3,
                    label=f"{name}, student on test")  # fmt: skip
        ax.plot(part["round"], part["masks"], "D--", color=colour, label="its masks on train")
    ax.set(xticks=sorted(set(rounds["round"])), xlabel="round", ylabel="IoU with ground truth")
    legend(fig, 2)
    return fig


@styled
def probe_bars(probes: pd.DataFrame) -> Figure:
    """IoU of a linear probe on each frozen map, from `probes.probe_taps`."""
    fig = canvas(2.4)
    ax = fig.add_subplot()
    names = [f"{r.tap}\n{r.channels} channels" for r in probes.itertuples()]
    bars = ax.barh(names, probes["iou"], color=SOURCE_COLOURS["ground_truth"])
    ax.bar_label(bars, fmt="%.3f", padding=4)
    ax.set(xlim=(0, 1), xlabel="IoU of a linear probe on test, border ignored")
    ax.invert_yaxis()
    return fig
