"""Intervals over photos."""

from collections.abc import Callable

import numpy as np

from petweak.evaluation.metrics import dataset_iou, ratio

# A chunk of resamples gathers at most this many values: 16 MB of indices and 16 MB of values.
_CHUNK = 2_000_000


def bootstrap(
    values: np.ndarray,
    statistic: Callable[[np.ndarray], float] = np.mean,
    n: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval (low, high) of a statistic over images.

    Images are drawn with replacement, whole rows at a time. The draw depends on N, `n` and `seed`
    alone, so two sets of values for the same images are resampled alike. `np.mean` of (N,) and
    `dataset_iou` of (N, 2) are vectorised; any other statistic is called `n` times. One image gives
    (v, v).

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.

    Args:
        values: (N,) one value an image, or (N, k) one row an image.
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
    step = max(1, _CHUNK // values.size)
    results = []
    for start in range(0, n, step):
        drawn = rng.integers(size, size=(min(step, n - start), size))
        if pooled:
            sums = (column[drawn].sum(axis=1, dtype=np.float64) for column in values.T)
            results.append(ratio(*sums))
        elif statistic is np.mean and values.ndim == 1:
            results.append(values[drawn].mean(axis=1, dtype=np.float64))
        else:
            results.append([float(statistic(values[rows])) for rows in drawn])
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(results), [tail, 1 - tail])
    return float(low), float(high)
