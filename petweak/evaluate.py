"""Scores of one photo -> a table of photos -> rows of results.csv."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from petweak import metrics
from petweak.data.pets import Sample, load_trimap
from petweak.maskformer.predict import Answer
from petweak.metrics import BASELINES, NO_BORDER
from petweak.pseudo_masks.store import PET, UNSURE, read_mask

# What the rows are called, in words.
MEANINGS = {
    "mask_iou_gt": "the student's foreground against ground truth; mean over photos",
    "pseudo_iou_gt": "the masks it learnt from against ground truth; mean over photos",
    "mask_iou": "the student's foreground against its source's own mask; mean over photos",
    "dataset_iou_gt": "summed intersections over summed unions of all photos",
    "boundary_iou_gt": "IoU of the bands inside both contours, 2 % of the diagonal wide "
    "(Cheng et al. 2021)",
    "class_accuracy": "share of photos whose class is right",
    "class_iou": "Jaccard index of the photos' predicted classes; mean over classes",
}


def against_truth(found: np.ndarray, trimap: np.ndarray) -> dict[str, float]:
    """{"iou/pet": ..., "boundary/pet": ..., "intersection/pet": ..., and so on for each border}."""
    scores: dict[str, float] = {}
    for border in metrics.BORDERS:
        mask, valid = metrics.truth(trimap, border)
        overlap, union = metrics.intersection_union(found, mask, valid)
        scores |= {
            f"iou/{border}": overlap / union if union else 1.0,
            f"boundary/{border}": metrics.boundary_iou(found, mask, valid),
            f"intersection/{border}": overlap,
            f"union/{border}": union,
        }
    return scores


def score_masks(samples: Iterable[Sample], folder: Path) -> pd.DataFrame:
    """A source's masks against ground truth, a row per photo."""

    def score(s: Sample) -> dict[str, Any]:
        found = read_mask(folder / f"{s.id}.png") == PET
        return {"id": s.id, "split": s.split, **against_truth(found, load_trimap(s.trimap))}

    return _table(score, samples)


def score_baseline(samples: Iterable[Sample], name: str) -> pd.DataFrame:
    """`all_ones` or `centre_box` against ground truth, a row per photo."""

    def score(s: Sample) -> dict[str, Any]:
        trimap = load_trimap(s.trimap)
        found = BASELINES[name](trimap.shape)
        return {"id": s.id, "split": s.split, **against_truth(found, trimap)}

    return _table(score, samples)


def score_student(
    answers: Iterable[tuple[Sample, Answer]], folder: Path, labels: str
) -> pd.DataFrame:
    """A student against ground truth and its source's masks in `folder`, a row per photo."""

    def score(pair: tuple[Sample, Answer]) -> dict[str, Any]:
        s, answer = pair
        trimap, own = load_trimap(s.trimap), read_mask(folder / f"{s.id}.png")
        found = answer.mask(*trimap.shape)
        return {
            "id": s.id,
            "split": s.split,
            "class": s.label(labels),
            "predicted": int(answer.classes.argmax()),
            "mask_iou": metrics.iou(found, own == PET, own != UNSURE),
            **against_truth(found, trimap),
        }

    return _table(score, answers)


def mean_iou(answers: Iterable[tuple[Sample, Answer]]) -> dict[str, float]:
    """{border: mask_iou_gt} of a student, and nothing else."""

    def score(pair: tuple[Sample, Answer]) -> dict[str, Any]:
        trimap = load_trimap(pair[0].trimap)
        found = pair[1].mask(*trimap.shape)
        return {b: metrics.iou(found, *metrics.truth(trimap, b)) for b in metrics.BORDERS}

    return _table(score, answers).mean().to_dict()


def mask_rows(table: pd.DataFrame, resamples: int) -> list[dict[str, Any]]:
    """The metrics of a source's masks: `pseudo_iou_gt` for both splits and all borders."""
    return [
        {"split": split, "border": border, "metric": "pseudo_iou_gt"}
        | _mean(part[f"iou/{border}"], resamples)
        for split, part in table.groupby("split", sort=False)
        for border in metrics.BORDERS
    ]


def truth_rows(table: pd.DataFrame, resamples: int) -> list[dict[str, Any]]:
    """mask_iou_gt, dataset_iou_gt and boundary_iou_gt for both splits and all borders."""
    rows = []
    for split, part in table.groupby("split", sort=False):
        for border in metrics.BORDERS:
            pooled = part[[f"intersection/{border}", f"union/{border}"]].to_numpy(float)
            values = {
                "mask_iou_gt": _mean(part[f"iou/{border}"], resamples),
                "dataset_iou_gt": _figure(pooled, metrics.dataset_iou, resamples),
                "boundary_iou_gt": _mean(part[f"boundary/{border}"], resamples),
            }
            rows += [{"split": split, "border": border, "metric": m} | v for m, v in values.items()]
    return rows


def student_rows(table: pd.DataFrame, num_classes: int, resamples: int) -> list[dict[str, Any]]:
    """Every metric of a student, for both splits."""
    rows = []
    for split, part in table.groupby("split", sort=False):
        pairs = part[["predicted", "class"]].to_numpy()
        values = {
            "class_iou": _figure(
                pairs, lambda r: metrics.class_iou(r[:, 0], r[:, 1], num_classes), resamples
            ),
            "class_accuracy": _mean(part["predicted"] == part["class"], resamples),
            "mask_iou": _mean(part["mask_iou"], resamples),
        }
        rows += [{"split": split, "border": NO_BORDER, "metric": m} | v for m, v in values.items()]
    return rows + truth_rows(table, resamples)


def _table(score, items) -> pd.DataFrame:
    # Decoding and OpenCV let go of the interpreter's lock, so two threads are nearly twice as fast.
    with ThreadPoolExecutor(2) as pool:
        rows: list[dict[str, Any]] = []
        items = iter(items)
        while chunk := list(islice(items, 64)):  # map() would first collect all answers
            rows += pool.map(score, chunk)
    return pd.DataFrame(rows)


def _mean(values, resamples: int) -> dict[str, float]:
    return _figure(np.asarray(values, dtype=float), np.mean, resamples)


def _figure(values: np.ndarray, statistic, resamples: int) -> dict[str, float]:
    low, high = metrics.bootstrap(values, statistic, n=resamples)
    value = statistic(*values.T) if statistic is metrics.dataset_iou else statistic(values)
    return {
        "value": float(value),
        "low": float(low),
        "high": float(high),
        "n_images": len(values),
    }
