"""Intervals over photos."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from petweak.evaluation.metrics import dataset_iou, ratio

# A chunk of resamples gathers at most this many values: 16 MB of indices and 16 MB of values.
_CHUNK = 2_000_000


def bootstrap(values: np.ndarray, statistic: Callable[[np.ndarray], float] = np.mean, n: int = 1000,
              level: float = 0.95, seed: int = 0, of_sums: bool = False) -> tuple[float, float]:
    """Percentile bootstrap interval (low, high) of a statistic over images.

    `values` has one value an image, (N,), or a row, (N, k). Images are drawn with replacement, `n`
    times (at least once); `level`, in (0, 1), is the share of resamples inside the interval. The
    draw depends on N, `n` and `seed` alone, so two sets of values for the same images are resampled
    alike. `np.mean` of (N,) and `dataset_iou` itself of rows (intersection, union) are vectorised;
    any other statistic is called `n` times with resampled values, say `lambda rows:
    class_iou(rows[:, 0], rows[:, 1], 37)` for rows (predicted, actual). With `of_sums` it gets
    their sum, (1, k), instead: much quicker, and the same where it adds them up; sums of counts are
    exact. `scipy.stats.bootstrap` finds the same intervals of means, but refuses a single image,
    and cannot take sums: IoU over 38 classes takes it some ten times as long.
    Raises ValueError: no values, another number of dimensions, `n` or `level` out of range. Source:
    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3."""
    values = np.asarray(values)
    if values.ndim not in (1, 2) or len(values) == 0:
        raise ValueError(f"values must be (N,) or (N, k) with N >= 1, got {values.shape}")
    if n < 1 or not 0 < level < 1:
        raise ValueError(f"need n >= 1 and 0 < level < 1, got n={n}, level={level}")
    if pooled := statistic is dataset_iou:
        if values.shape[1:] != (2,):
            raise ValueError(f"dataset_iou needs rows (intersection, union), got {values.shape}")
        dataset_iou(*values.T)  # refuses impossible rows
    rng, size, results = np.random.default_rng(seed), len(values), []
    step = max(1, _CHUNK // (max(values.shape) if of_sums else values.size))
    for start in range(0, n, step):
        drawn = rng.integers(size, size=(min(step, n - start), size))
        if pooled:
            results.append(ratio(*(c[drawn].sum(axis=1, dtype=np.float64) for c in values.T)))
        elif statistic is np.mean and values.ndim == 1:
            results.append(values[drawn].mean(axis=1, dtype=np.float64))
        elif of_sums:
            often = np.stack([np.bincount(rows, minlength=size) for rows in drawn])
            results.append([float(statistic(row[None])) for row in often.astype(float) @ values])
        else:
            results.append([float(statistic(values[rows])) for rows in drawn])
    low, high = np.quantile(np.concatenate(results), [(1 - level) / 2, 1 - (1 - level) / 2])
    return float(low), float(high)


def p_values(gaps: pd.DataFrame) -> pd.Series:
    """Two-sided, that a mean difference `value` is 0, from the width of its 95 % interval, `low` to
    `high`, as if means were normal; a row each. Of an interval without width: 0, or 1 at 0."""
    errors = (gaps["high"] - gaps["low"]) / (2 * ndtri(0.975))
    return pd.Series(2 * ndtr(-(gaps["value"].abs() / errors).fillna(0)), gaps.index)


def holm(p: pd.Series) -> pd.Series:
    """The p-values of a family of tests, corrected by Holm's method (1979): what is below 0.05
    afterwards is wrong in at most 5 % of families. SciPy's `false_discovery_control` controls the
    share of wrong ones alone; statsmodels, which has it, would be a package for two lines."""
    steps = p.sort_values() * np.arange(len(p), 0, -1)
    return steps.cummax().clip(upper=1.0).reindex(p.index)
