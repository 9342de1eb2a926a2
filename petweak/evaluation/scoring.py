"""Predictions of photos -> a table with a row per photo -> rows of results.csv."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from petweak.data.masks import FOREGROUND, IGNORE, read_mask
from petweak.data.oxford_pets import Sample, load_trimap
from petweak.evaluation import metrics
from petweak.evaluation.metrics import BASELINES, BORDERS, NO_BORDER
from petweak.evaluation.statistics import bootstrap
from petweak.training.inference import Prediction

MEANINGS = {
    "mask_iou_gt": "predicted foreground against ground truth; mean over photos",
    "pseudo_iou_gt": "the source's masks against ground truth; mean over photos",
    "mask_iou": "predicted foreground against the source's mask; mean over photos",
    "dataset_iou_gt": "summed intersections over summed unions of all photos",
    "boundary_iou_gt": "IoU of the bands inside both contours, 2 % of the diagonal wide "
    "(Cheng et al. 2021)",
    "class_accuracy": "share of photos whose class is right",
    "class_iou": "Jaccard index of the photos' predicted classes; mean over classes",
}


def against_ground_truth(prediction: np.ndarray, trimap: np.ndarray) -> dict[str, float]:
    """{"iou/foreground": ..., "boundary/foreground": ..., "intersection/foreground": ...,
    "union/foreground": ..., and so on for each border}."""
    scores: dict[str, float] = {}
    for border in BORDERS:
        target, valid = metrics.target(trimap, border)
        overlap, union = metrics.intersection_union(prediction, target, valid)
        scores |= {
            f"iou/{border}": overlap / union if union else 1.0,
            f"boundary/{border}": metrics.boundary_iou(prediction, target, valid),
            f"intersection/{border}": overlap,
            f"union/{border}": union,
        }
    return scores


def score_masks(samples: Iterable[Sample], folder: Path) -> pd.DataFrame:
    """A source's masks against ground truth, a row per photo."""

    def score(s: Sample) -> dict[str, Any]:
        mask = read_mask(folder / f"{s.id}.png") == FOREGROUND
        return _about(s) | against_ground_truth(mask, load_trimap(s.trimap))

    return _table(score, samples)


def score_baseline(samples: Iterable[Sample], name: str) -> pd.DataFrame:
    """`all_ones` or `centre_box` against ground truth, a row per photo."""

    def score(s: Sample) -> dict[str, Any]:
        trimap = load_trimap(s.trimap)
        return _about(s) | against_ground_truth(BASELINES[name](trimap.shape), trimap)

    return _table(score, samples)


def score_model(
    predictions: Iterable[tuple[Sample, Prediction]], folder: Path, labels: str
) -> pd.DataFrame:
    """A model against ground truth and its source's masks in `folder`, a row per photo."""

    def score(pair: tuple[Sample, Prediction]) -> dict[str, Any]:
        s, prediction = pair
        trimap, source_mask = load_trimap(s.trimap), read_mask(folder / f"{s.id}.png")
        mask, valid = prediction.mask(*trimap.shape), source_mask != IGNORE
        return {
            **_about(s),
            "class": s.label(labels),
            "predicted": int(prediction.classes.argmax()),
            "mask_iou": metrics.iou(mask, source_mask == FOREGROUND, valid),
            **against_ground_truth(mask, trimap),
        }

    return _table(score, predictions)


def mean_iou(predictions: Iterable[tuple[Sample, Prediction]]) -> dict[str, float]:
    """{border: mask_iou_gt} of a model, and nothing else."""

    def score(pair: tuple[Sample, Prediction]) -> dict[str, Any]:
        trimap = load_trimap(pair[0].trimap)
        mask = pair[1].mask(*trimap.shape)
        return {b: metrics.iou(mask, *metrics.target(trimap, b)) for b in BORDERS}

    return _table(score, predictions).mean().to_dict()


def mask_rows(table: pd.DataFrame, resamples: int) -> list[dict[str, Any]]:
    """The metric of a source's masks: `pseudo_iou_gt` for all splits and borders."""
    return [
        {"split": split, "border": border, "metric": "pseudo_iou_gt"}
        | _mean(part[f"iou/{border}"], resamples)
        for split, part in table.groupby("split", sort=False)
        for border in BORDERS
    ]


def ground_truth_rows(table: pd.DataFrame, resamples: int) -> list[dict[str, Any]]:
    """mask_iou_gt, dataset_iou_gt and boundary_iou_gt for all splits and borders."""
    rows = []
    for split, part in table.groupby("split", sort=False):
        for border in BORDERS:
            pooled = part[[f"intersection/{border}", f"union/{border}"]].to_numpy(float)
            values = {
                "mask_iou_gt": _mean(part[f"iou/{border}"], resamples),
                "dataset_iou_gt": _value(pooled, metrics.dataset_iou, resamples),
                "boundary_iou_gt": _mean(part[f"boundary/{border}"], resamples),
            }
            rows += [{"split": split, "border": border, "metric": m} | v for m, v in values.items()]
    return rows


def model_rows(table: pd.DataFrame, resamples: int, num_classes: int) -> list[dict[str, Any]]:
    """Every metric of a model, for all splits."""
    rows = []

    def class_iou(pairs: np.ndarray) -> float:
        return metrics.class_iou(pairs[:, 0], pairs[:, 1], num_classes)

    for split, part in table.groupby("split", sort=False):
        values = {
            "class_iou": _value(part[["predicted", "class"]].to_numpy(), class_iou, resamples),
            "class_accuracy": _mean(part["predicted"] == part["class"], resamples),
            "mask_iou": _mean(part["mask_iou"], resamples),
        }
        rows += [{"split": split, "border": NO_BORDER, "metric": m} | v for m, v in values.items()]
    return rows + ground_truth_rows(table, resamples)


def _about(s: Sample) -> dict[str, Any]:
    return {"id": s.id, "split": s.split, "breed": s.breed_name}


def _table(score: Callable[[Any], dict[str, Any]], items: Iterable[Any]) -> pd.DataFrame:
    # Decoding and OpenCV release the interpreter's lock, so two threads are nearly twice as fast.
    with ThreadPoolExecutor(2) as pool:
        rows: list[dict[str, Any]] = []
        items = iter(items)
        while chunk := list(islice(items, 64)):  # map() would first collect all predictions
            rows += pool.map(score, chunk)
    return pd.DataFrame(rows)


def _mean(values: Any, resamples: int) -> dict[str, float]:
    return _value(np.asarray(values, dtype=float), np.mean, resamples)


def _value(values: np.ndarray, statistic: Callable, resamples: int) -> dict[str, float]:
    low, high = bootstrap(values, statistic, n=resamples)
    value = statistic(*values.T) if statistic is metrics.dataset_iou else statistic(values)
    return {"value": float(value), "low": float(low), "high": float(high), "n_images": len(values)}
