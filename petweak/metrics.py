"""The figures of a run: pure functions on NumPy arrays.

Masks are boolean, shape (H, W), True where the pet is. `valid`, where it is taken, is a
boolean array of the same shape: pixels where it is False count neither as right nor as wrong.
Every score lies in [0, 1] and higher is better.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

BORDERS = ("pet", "ignore", "background")
NO_BORDER = "-"  # the column `border` of a metric that ground truth has no part in

# The official trimaps' values (README of the Oxford-IIIT Pet annotations).
_PET, _BACKGROUND, _BORDER = 1, 2, 3

# A bootstrap chunk gathers at most this many numbers: 16 MB of indices and 16 MB of values.
_CHUNK_NUMBERS = 2_000_000


def truth(trimap: np.ndarray, border: str) -> tuple[np.ndarray, np.ndarray]:
    """Ground-truth mask of a trimap, and the pixels that count.

    Args:
        trimap: (H, W), values 1 pet, 2 background, 3 border.
        border: what value 3 means: "pet" or "background" count it as such, "ignore" leaves
            it out.

    Returns:
        `mask` and `valid`, boolean (H, W). `mask` is False wherever `valid` is.

    Raises:
        ValueError: another value or number of dimensions, or an unknown `border`.
    """
    if border not in BORDERS:
        raise ValueError(f"unknown border {border!r}, expected one of {', '.join(BORDERS)}")
    trimap = np.asarray(trimap)
    if trimap.ndim != 2:
        raise ValueError(f"a trimap has shape (H, W), got {trimap.shape}")
    pet, edge = trimap == _PET, trimap == _BORDER
    known = pet | edge | (trimap == _BACKGROUND)
    if not known.all():
        found = np.unique(trimap[~known])[:5].tolist()
        raise ValueError(f"trimap values must be 1, 2 or 3, also found {found}")
    if border == "pet":
        return pet | edge, known
    return pet, ~edge if border == "ignore" else known


def intersection_union(
    prediction: np.ndarray, target: np.ndarray, valid: np.ndarray | None = None
) -> tuple[int, int]:
    """Pixels in both masks and pixels in either; all arrays boolean (H, W).

    Raises:
        ValueError: shapes differ.
        TypeError: an array is not boolean (a 0/255 mask or a trimap would be miscounted).
    """
    _check(prediction, target, valid)
    both, either = prediction & target, prediction | target
    if valid is not None:
        both, either = both & valid, either & valid
    return int(np.count_nonzero(both)), int(np.count_nonzero(either))


def iou(prediction: np.ndarray, target: np.ndarray, valid: np.ndarray | None = None) -> float:
    """Intersection over union of two masks; 1.0 if both are empty, 0.0 if one is.

    Arguments and errors as in `intersection_union`.
    """
    intersection, union = intersection_union(prediction, target, valid)
    return intersection / union if union else 1.0


def boundary_iou(
    prediction: np.ndarray,
    target: np.ndarray,
    valid: np.ndarray | None = None,
    dilation_ratio: float = 0.02,
) -> float:
    """Boundary IoU: the IoU of the bands that lie within d pixels inside each mask's contour.

    d is `dilation_ratio` (not negative) times the image's diagonal, rounded, at least 1
    pixel. The image frame is a contour too, as in the authors' reference code. Pixels outside
    `valid` are taken out of both masks before the bands are drawn: bands of whole masks would lie
    in the ignored border and leave nothing to compare. Arguments and errors else as in `iou`; two
    empty bands: 1.0.

    Source: Cheng et al., Boundary IoU, CVPR 2021; code: boundary-iou-api.
    """
    _check(prediction, target, valid)
    if not dilation_ratio >= 0:
        raise ValueError(f"dilation_ratio must not be negative, got {dilation_ratio}")
    distance = max(1, round(dilation_ratio * float(np.hypot(*prediction.shape))))
    if valid is not None:
        prediction, target = prediction & valid, target & valid
    return iou(_inner_band(prediction, distance), _inner_band(target, distance))


def class_accuracy(predicted: np.ndarray, actual: np.ndarray) -> float:
    """Share of images whose class is right; both arrays integer (N,).

    Raises ValueError: shapes differ, not one-dimensional, or empty.
    """
    predicted, actual = _labels(predicted, actual)
    return float(np.mean(predicted == actual))


def class_iou(predicted: np.ndarray, actual: np.ndarray, num_classes: int) -> float:
    """Macro mean over classes of the Jaccard index of image-level class predictions.

    Both arrays integer (N,) in [0, num_classes). A class that occurs in neither has no
    Jaccard index and is left out of the mean.

    Raises ValueError: as in `class_accuracy`; a label out of range.
    """
    predicted, actual = _labels(predicted, actual)
    present = np.union1d(predicted, actual)
    if present[0] < 0 or present[-1] >= num_classes:
        raise ValueError(
            f"labels must lie in [0, {num_classes}), got {present[0]} to {present[-1]}"
        )
    # Here and not above: the masks' metrics need no torch, and its import takes seconds.
    import torch
    from torchmetrics.functional.classification import multiclass_jaccard_index

    per_class = multiclass_jaccard_index(
        torch.as_tensor(predicted.astype(np.int64)),
        torch.as_tensor(actual.astype(np.int64)),
        max(num_classes, 2),  # torchmetrics knows no single class
        average="none",
        validate_args=False,  # done above, with errors that name the labels
    )
    return float(np.mean(per_class.numpy()[present].astype(np.float64)))


def dataset_iou(intersections: np.ndarray, unions: np.ndarray) -> float:
    """Pooled IoU: summed intersections over summed unions; 1.0 if all unions are 0.

    Both arrays pixel counts (N,), one an image.

    Raises ValueError: as in `class_accuracy`; an intersection negative or above its union.
    """
    intersections, unions = _labels(intersections, unions)
    if (intersections < 0).any() or (intersections > unions).any():
        raise ValueError("an intersection is negative or larger than its union")
    return float(_ratio(intersections.sum(dtype=np.float64), unions.sum(dtype=np.float64)))


def bootstrap(
    values: np.ndarray,
    statistic: Callable[[np.ndarray], float] = np.mean,
    n: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval (low, high) of a statistic over images.

    Images are drawn with replacement, whole rows at a time. The draw depends on N, `n` and
    `seed` alone, so two sets of values for the same images are resampled alike. `np.mean`
    of (N,) and `dataset_iou` of (N, 2) are vectorised; any other statistic is called `n`
    times. One image gives (v, v).

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.

    Args:
        values: (N,) one figure an image, or (N, k) one row an image.
        statistic: gets the resampled values, shape as `values`. Pooled IoU: `dataset_iou`
            itself, rows (intersection, union). Class metrics: rows (predicted, actual) and,
            say, `lambda rows: class_iou(rows[:, 0], rows[:, 1], 37)`.
        n: resamples, at least 1; level: share of them inside the interval, in (0, 1).

    Raises ValueError: no values, another number of dimensions, `n` or `level` out of range.
    """
    values = np.asarray(values)
    if values.ndim not in (1, 2) or len(values) == 0:
        raise ValueError(f"values must be (N,) or (N, k) with N >= 1, got {values.shape}")
    if n < 1 or not 0 < level < 1:
        raise ValueError(f"need n >= 1 and 0 < level < 1, got n={n}, level={level}")
    pooled = statistic is dataset_iou
    if pooled:
        if values.shape[1:] != (2,):
            raise ValueError(f"dataset_iou needs rows (intersection, union), got {values.shape}")
        dataset_iou(*values.T)  # refuses impossible rows
    rng, size = np.random.default_rng(seed), len(values)
    step = max(1, _CHUNK_NUMBERS // values.size)
    results = []
    for start in range(0, n, step):
        drawn = rng.integers(size, size=(min(step, n - start), size))
        if pooled:
            sums = (column[drawn].sum(axis=1, dtype=np.float64) for column in values.T)
            results.append(_ratio(*sums))
        elif statistic is np.mean and values.ndim == 1:
            results.append(values[drawn].mean(axis=1, dtype=np.float64))
        else:
            results.append([float(statistic(values[rows])) for rows in drawn])
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(results), [tail, 1 - tail])
    return float(low), float(high)


def all_ones(shape: tuple[int, int]) -> np.ndarray:
    """Baseline mask, boolean (H, W): the whole image is pet."""
    return np.ones(shape, dtype=bool)


def centre_box(shape: tuple[int, int]) -> np.ndarray:
    """Baseline mask, boolean (H, W): a centred box, each side sqrt(1/2) of the image's."""
    mask = np.zeros(shape, dtype=bool)
    height, width = (round(side * 0.5**0.5) for side in shape)
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    mask[top : top + height, left : left + width] = True
    return mask


# What every table holds beside the students.
BASELINES = {"all_ones": all_ones, "centre_box": centre_box}


def degenerate(value: float, all_ones_value: float) -> bool:
    """Whether a result is below the `all_ones` baseline of the same metric, or not a number."""
    return not value >= all_ones_value


def _check(prediction: np.ndarray, target: np.ndarray, valid: np.ndarray | None) -> None:
    for name, array in (("prediction", prediction), ("target", target), ("valid", valid)):
        if array is None:
            continue
        if array.dtype != bool:
            raise TypeError(f"{name} must be boolean, got {array.dtype}")
        if array.ndim != 2 or array.shape != prediction.shape:
            raise ValueError(f"{name} has shape {array.shape}, prediction {prediction.shape}")


def _inner_band(mask: np.ndarray, distance: int) -> np.ndarray:
    # d erosions by a 3x3 square are one by a (2d+1)-square, which OpenCV does in two
    # one-dimensional passes. The zeros outside make the image frame a contour.
    square = np.ones((2 * distance + 1, 2 * distance + 1), dtype=np.uint8)
    ones = mask.astype(np.uint8)
    eroded = cv2.erode(ones, square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return mask & (eroded == 0)


def _labels(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.asarray(first), np.asarray(second)
    if first.ndim != 1 or first.shape != second.shape or len(first) == 0:
        raise ValueError(f"need two arrays of one shape (N,), got {first.shape}, {second.shape}")
    return first, second


def _ratio(intersection: np.ndarray, union: np.ndarray) -> np.ndarray:
    empty = union == 0
    return np.where(empty, 1.0, intersection / np.where(empty, 1.0, union))
