"""Predictions of photos -> a table with a row per photo -> rows of results.csv."""

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
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
    "semantic_miou": "IoU of each class and of the background, over the pixels of all photos, by "
    "MaskFormer's semantic inference; mean over those that occur",
    "class_accuracy": "share of photos whose class is right",
    "class_iou": "Jaccard index of the photos' predicted classes; mean over classes",
}

OF_A_PHOTO = ("iou", "boundary", "intersection", "union")  # of its mask, with each border
UNSCORED = {f"{name}/{b}": np.nan for b in BORDERS for name in OF_A_PHOTO}  # without a trimap
SEMANTIC = ("foreground", "ignore")  # the borders that segmentation papers know


def against_ground_truth(prediction: np.ndarray, trimap: np.ndarray) -> dict[str, float]:
    """For each border `iou/<border>`, `boundary/<border>`, `intersection/<border>`, `union/...`."""
    scores: dict[str, float] = {}
    for b in BORDERS:
        target, valid = metrics.target(trimap, b)
        overlap, union = metrics.intersection_union(prediction, target, valid)
        scores |= {f"iou/{b}": float(metrics.ratio(overlap, union)),
                   f"boundary/{b}": metrics.boundary_iou(prediction, target, valid),
                   f"intersection/{b}": overlap, f"union/{b}": union}
    return scores


def of_classes(segments: np.ndarray, trimap: np.ndarray, label: int, n: int) -> dict[str, str]:
    """`semantic/<border>`: JSON, [class, intersection, union] of each class that occurs in
    `segments` or in ground truth: the photo's `label`, and the background, the last of `n`."""
    counts = {}
    for b in SEMANTIC:
        target, valid = metrics.target(trimap, b)
        overlaps = metrics.class_overlaps(segments, np.where(target, label, n - 1), valid, n)
        rows = np.stack([np.arange(n), *overlaps], axis=1)
        counts[f"semantic/{b}"] = json.dumps(rows[rows[:, 2] > 0].tolist())
    return counts


def class_counts(cells: pd.Series, n: int) -> np.ndarray:
    """Of cells of `of_classes`: (N, 2, n), the intersection and the union of each of n classes."""
    counts = np.zeros((len(cells), 2, n))
    for of_photo, cell in zip(counts, cells, strict=True):
        for k, *overlap in json.loads(cell):
            of_photo[:, k] = overlap
    return counts


def score_masks(samples: Iterable[Sample], folder: Path) -> pd.DataFrame:
    """A source's masks against ground truth, a row per photo; empty where it has no trimap."""
    return _table(zip(samples), lambda trimap, s: UNSCORED if trimap is None else
                  against_ground_truth(read_mask(folder / f"{s.id}.png") == FOREGROUND, trimap))


def score_baseline(samples: Iterable[Sample], name: str) -> pd.DataFrame:
    """`all_ones` or `centre_box` against ground truth, a row per photo."""
    box = BASELINES[name]
    return _table(zip(samples), lambda trimap, _: UNSCORED if trimap is None else
                  against_ground_truth(box(trimap.shape), trimap))


def score_model(predictions: Iterable[tuple[Sample, Prediction]], folder: Path, labels: str
                ) -> pd.DataFrame:
    """A model against ground truth and its source's masks in `folder`, a row per photo. Empty
    where there is no trimap, and, of ground truth, no mask of the source either."""

    def score(trimap: np.ndarray | None, s: Sample, prediction: Prediction) -> dict[str, Any]:
        file = folder / f"{s.id}.png"
        scores = {"class": s.label(labels), "predicted": int(prediction.classes.argmax())}
        if trimap is None and not file.is_file():
            return scores | {"mask_iou": np.nan} | UNSCORED
        pseudo = read_mask(file)
        mask = prediction.mask(*pseudo.shape)
        scores["mask_iou"] = metrics.iou(mask, pseudo == FOREGROUND, pseudo != IGNORE)
        if trimap is None:
            return scores | UNSCORED
        segments = prediction.segments(*pseudo.shape)
        classes = of_classes(segments, trimap, scores["class"], len(prediction.classes) + 1)
        return scores | against_ground_truth(mask, trimap) | classes

    return _table(predictions, score)


def mean_iou(predictions: Iterable[tuple[Sample, Prediction]]) -> dict[str, float]:
    """{border: mask_iou_gt} of a model on photos with trimaps, and nothing else."""

    def score(trimap: np.ndarray, _: Sample, prediction: Prediction) -> dict[str, float]:
        mask = prediction.mask(*trimap.shape)
        return {b: metrics.iou(mask, *metrics.target(trimap, b)) for b in BORDERS}

    return _table(predictions, score)[list(BORDERS)].mean().to_dict()


def model_rows(table: pd.DataFrame, resamples: int, num_classes: int) -> list[dict[str, Any]]:
    """Every metric of a model, for all splits."""

    def class_iou(pairs: np.ndarray) -> float:
        return metrics.class_iou(*pairs.T.astype(int), num_classes)

    of = {"class_iou": (class_iou, "predicted", "class"), "class_accuracy": (np.mean, "right"),
          "mask_iou": (np.mean, "mask_iou")}
    table = table.assign(right=table["predicted"] == table["class"])
    return (_rows(table, resamples, of, [NO_BORDER]) + ground_truth_rows(table, resamples)
            + _semantic_rows(table, resamples, num_classes + 1))


def _semantic_rows(table: pd.DataFrame, resamples: int, n: int) -> list[dict[str, Any]]:
    table, counts = table.reset_index(drop=True), []
    for b in SEMANTIC:  # a column for the intersection and the union of each class
        cells = table.reindex(columns=[f"semantic/{b}"]).iloc[:, 0].dropna()
        values = class_counts(cells, n).reshape(-1, 2 * n)
        counts.append(pd.DataFrame(values, cells.index).add_prefix(f"{b}/"))

    def statistic(rows: np.ndarray) -> float:
        return metrics.semantic_miou(*np.hsplit(rows, 2))

    of = {"semantic_miou": (statistic, *(f"{{}}/{k}" for k in range(2 * n)))}
    return _rows(table[["split"]].join(counts), resamples, of, SEMANTIC, of_sums=True)


def _table(items: Iterable[tuple], score: Callable[..., dict[str, Any]]) -> pd.DataFrame:
    """A row per item (a sample, or a sample and more): about the sample, and its scores."""

    def row(item: tuple) -> dict[str, Any]:
        s = item[0]
        about = {"id": s.id, "split": s.split, "breed": s.breed_name}
        return about | score(load_trimap(s.trimap, s.photo) if s.trimap else None, *item)

    # Decoding and OpenCV release the interpreter's lock, so two threads are nearly twice as fast.
    with ThreadPoolExecutor(2) as pool:
        rows, items = [], iter(items)
        while chunk := list(islice(items, 32)):  # map() would first collect all predictions
            rows += pool.map(row, chunk)
            chunk.clear()  # before the next ones are made: queries may be many
    return pd.DataFrame(rows)


def _rows(table: pd.DataFrame, resamples: int, of: dict[str, tuple],
          borders: Iterable[str] = BORDERS, of_sums: bool = False) -> list[dict[str, Any]]:
    """For all splits and `borders`, the metrics {name: (statistic, columns that it is of)}, of the
    photos that have these values; no row where none has. `of_sums` as of `bootstrap`."""
    rows = []
    for split, part in table.groupby("split", sort=False):
        for border in borders:
            for metric, (statistic, *columns) in of.items():
                values = part[[c.format(border) for c in columns]].dropna().to_numpy(float)
                if not len(values):
                    continue
                values = values if len(columns) > 1 else values[:, 0]
                pooled = statistic is metrics.dataset_iou
                value = float(statistic(*values.T) if pooled else statistic(values))
                low, high = bootstrap(values, statistic, n=resamples, of_sums=of_sums)
                rows.append({"split": split, "border": border, "metric": metric, "value": value,
                             "low": low, "high": high, "n_images": len(values)})
    return rows


# Functions of a table and the number of resamples: of a source's masks, and of any scored masks.
mask_rows = partial(_rows, of={"pseudo_iou_gt": (np.mean, "iou/{}")})
ground_truth_rows = partial(_rows, of={"mask_iou_gt": (np.mean, "iou/{}"),
    "dataset_iou_gt": (metrics.dataset_iou, "intersection/{}", "union/{}"),
    "boundary_iou_gt": (np.mean, "boundary/{}")})
