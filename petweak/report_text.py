"""The sentences of a report; numbers in them come from the run's files or the paper's tables."""

from __future__ import annotations

from typing import Any

import pandas as pd

from petweak import metrics, tables
from petweak.data.fetch import OFFICIAL_PHOTOS
from petweak.results import figure

# Section 3.1 of the paper, "our fully supervised models with a test IoU of 75.5%": the one figure
# that stands in its text and in none of its tables. Section 3.4: "the 37 labels used".
PAPER_TEXT_FULL_SUPERVISION = 0.755
PAPER_BREEDS = 37
PAPER_BACKBONE = "resnet50"


def asked(
    results: pd.DataFrame, run: dict[str, Any], breeds: int, detector: str | None = None
) -> list[str]:
    """What the run is about, and what stands between its figures and the paper's."""
    s = run["settings"]
    counts = results[results["source"] == "all_ones"].groupby("split")["n_images"].max()
    text = [
        "How little labelling does it take to segment pets? Students of one architecture, the "
        "paper's simplified MaskFormer on a frozen backbone, learn from masks of different origin, "
        "and all are compared with ground truth.",
        f"Profile {run['profile']}, data set {run['dataset']}: {run['n_photos']} photos of "
        f"{breeds} breeds ({counts['train']} train, {counts['test']} test). Backbone "
        f"{s['backbone']} at {s['image_size']} x {s['image_size']} px, taps "
        f"{', '.join(s['taps'])}; {s['epochs']} epochs. Sources: {', '.join(s['sources'])}. "
        f"Labels: {', '.join(s['labels'])}. Seed {run['seed']}; intervals are over photos, not "
        "seeds.",
    ]
    apart = []
    if run["dataset"] == "rendered":
        apart.append("the photos are drawn by this package, so its figures show that every stage "
                     "works and nothing about real pets")  # fmt: skip
    elif run["n_photos"] < OFFICIAL_PHOTOS:
        apart.append(f"the data set has {OFFICIAL_PHOTOS:,} photos, this run {run['n_photos']:,}")
    if breeds < PAPER_BREEDS:
        apart.append(f"{breeds} breeds are easier to tell apart than {PAPER_BREEDS}, so the class "
                     "figures do not compare")  # fmt: skip
    if s["backbone"] != PAPER_BACKBONE:
        apart.append(f"the paper's backbone is {PAPER_BACKBONE}, here it is {s['backbone']}")
    if detector == "compact":
        apart.append("mask_rcnn is the compact detector instead of COCO's")
    if apart:
        text.append("Not the paper's setting: " + "; ".join(apart) + ".")
    return text


def oddities(results: pd.DataFrame) -> list[str]:
    """What does not add up in the paper, each with this run's figures beside it."""
    return [_full_supervision(results), _table_3(results), _border(results), _definitions()]


def _full_supervision(results: pd.DataFrame) -> str:
    printed = _paper("ground_truth", "mask_iou_gt", "test")
    ours = _ours(results, "mask_iou_gt", source="ground_truth", labels="breed")
    return (
        f"Two figures for full supervision: the text (section 3.1) says "
        f"{PAPER_TEXT_FULL_SUPERVISION:.1%}, Table 2 says {printed:.4f}."
        + (f" Ours: {ours:.4f}." if ours is not None else "")
    )


def _table_3(results: pd.DataFrame) -> str:
    printed = _paper("gradcam_pretrained", "pseudo_iou_gt", "test")
    fits = [_paper("gradcam_pretrained", "mask_iou", split) for split in ("train", "test")]
    floor = figure(results, "mask_iou_gt", source="all_ones", border="pet")
    ours = _ours(results, "pseudo_iou_gt", source="gradcam_pretrained")
    text = (
        f"Table 3 is not evidence about Grad-CAM: its pseudo-masks score {printed:.2f}, while "
        f"calling every pixel pet scores {floor:.2f} on this run's test photos. The paper's "
        f"student agrees with its own masks to {fits[0]:.2f} on train and {fits[1]:.2f} on test; "
        "no other table shows such a gap. That points to a mistake in making the masks."
    )
    if ours is None:
        return text
    word = "also below" if metrics.degenerate(ours, floor) else "above"
    return f"{text} Our Grad-CAM masks score {ours:.2f}, {word} that baseline."


def _border(results: pd.DataFrame) -> str:
    """The widest range that one and the same set of masks has over the three borders."""
    part = results[(results["split"] == "test") & results["border"].isin(metrics.BORDERS)]
    part = part[~part["source"].isin(tables.BASELINES)]
    sentences = []
    for metric, whose in (("mask_iou_gt", "student"), ("pseudo_iou_gt", "masks")):
        wide = part[part["metric"] == metric].pivot(
            index=["source", "labels"], columns="border", values="value"
        )
        if wide.empty:
            continue
        source, labels = (wide.max(axis=1) - wide.min(axis=1)).idxmax()
        row = wide.loc[(source, labels)]
        name = f"{source}" + (f" ({labels})" if whose == "student" else "")
        values = ", ".join(f"{b} {row[b]:.3f}" for b in metrics.BORDERS)
        sentences.append(
            f"the {whose} of {name}: {values}, a range of {row.max() - row.min():.3f}"
        )
    return (
        "The paper does not say what the trimap's border counts as: pet, background, or nothing. "
        "The same predictions score differently. Largest effect on test here: "
        + "; ".join(sentences) + "."
    )  # fmt: skip


def _definitions() -> str:
    return (
        "Class IoU and mean mask IoU are not defined in the paper. Ours stand under “What the "
        "figures mean”; others may give other numbers for the same predictions."
    )


def _paper(source: str, metric: str, split: str) -> float:
    row = tables.paper_tables().query(
        "source == @source and metric == @metric and split == @split and labels == 'breed'"
    )
    return float(row["value"].item())


def _ours(results: pd.DataFrame, metric: str, **where: str) -> float | None:
    """The figure on test with the border as pet, or None where the run has none."""
    part = results[results["source"] == where["source"]]
    # A source's masks are the same under both kinds of labels; the first row stands for them.
    part = part.drop_duplicates(["metric", "split", "border"]) if "labels" not in where else part
    try:
        return figure(part, metric, border="pet", **where)
    except KeyError:
        return None
