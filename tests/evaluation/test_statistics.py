"""Intervals over photos: the vectorised bootstrap against the plain one, the normal interval, and
coverage."""

from __future__ import annotations

import tracemalloc
from itertools import combinations
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, ttest_1samp

from petweak.evaluation import metrics, statistics
from petweak.evaluation.statistics import bootstrap, holm, p_values


def rows_of_counts(rng, count):
    union = rng.integers(0, 1000, count)
    return np.stack([rng.integers(0, union + 1), union], axis=1)


def test_bootstrap_is_deterministic_by_seed_and_ordered():
    values = np.random.default_rng(1).random(200)
    low, high = bootstrap(values)
    assert bootstrap(values) == (low, high) != bootstrap(values, seed=1)
    wider = bootstrap(values, level=0.99)
    assert wider[0] < low < values.mean() < high < wider[1]
    rows = np.random.default_rng(4).integers(3, size=(60, 2))
    low, high = bootstrap(rows, lambda r: metrics.class_iou(r[:, 0], r[:, 1], 3), n=100)
    assert 0 <= low < metrics.class_iou(rows[:, 0], rows[:, 1], 3) < high <= 1


@pytest.mark.parametrize("chunk", [1, 300, 10**6])
def test_vectorised_bootstrap_is_the_plain_one(monkeypatch, chunk):
    monkeypatch.setattr(statistics, "_CHUNK", chunk)
    rng = np.random.default_rng(2)
    values, rows = rng.random(90), rows_of_counts(rng, 90)
    plain = bootstrap(values, lambda v: v.sum() / len(v), n=50)
    np.testing.assert_allclose(bootstrap(values, n=50), plain)
    plain = bootstrap(rows, lambda r: r[:, 0].sum() / r[:, 1].sum(), n=50)
    np.testing.assert_allclose(bootstrap(rows, metrics.dataset_iou, n=50), plain)


@pytest.mark.parametrize("chunk", [1, 300, 10**6])
def test_a_statistic_of_sums_is_that_of_all_rows(monkeypatch, chunk):
    """Of pixel counts of five classes, some of which occur in no photo of a resample."""
    monkeypatch.setattr(statistics, "_CHUNK", chunk)
    rng = np.random.default_rng(6)
    unions = rng.integers(1, 10**6, (40, 5)) * (rng.random((40, 5)) < 0.05)
    rows = np.hstack([unions // 3, unions]).astype(float)

    def miou(rows):
        return metrics.semantic_miou(*np.hsplit(rows, 2))

    assert bootstrap(rows, miou, n=80, of_sums=True) == bootstrap(rows, miou, n=80)


def interval_by_loops(values, statistic, n, level, seed):
    """The statistic of `n` lists drawn with replacement, and the quantiles of what comes out, read
    off between the two nearest."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(n):
        found.append(statistic([values[i] for i in rng.integers(len(values), size=len(values))]))
    found.sort()
    for share in ((1 - level) / 2, 1 - (1 - level) / 2):
        at = share * (n - 1)
        low = found[int(at)]
        yield low + (at - int(at)) * (found[min(int(at) + 1, n - 1)] - low)


chunks = st.sampled_from([1, 40, 10**6])  # values that are gathered at a time


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20), st.integers(1, 30),
       st.sampled_from([0.5, 0.9, 0.95]), st.integers(0, 9), chunks)
def test_an_interval_is_the_quantiles_of_resampled_lists(values, n, level, seed, chunk):
    options = dict(n=n, level=level, seed=seed)
    for statistic, by_loops in ((np.mean, lambda v: sum(v) / len(v)), (np.max, max)):
        expected = tuple(interval_by_loops(values, by_loops, **options))
        with mock.patch.object(statistics, "_CHUNK", chunk):
            found = bootstrap(np.array(values, np.float32), statistic, **options)
        assert found == pytest.approx(expected, abs=1e-9)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)).map(sorted), min_size=1,
                max_size=20), st.integers(1, 30), st.integers(0, 9), chunks)
def test_an_interval_of_rows_is_that_of_resampled_lists(rows, n, seed, chunk):
    def pooled(drawn):
        union = sum(u for _, u in drawn)
        return sum(i for i, _ in drawn) / union if union else 1.0

    def mean(drawn):
        return sum(i + u for i, u in drawn) / (2 * len(drawn))

    for statistic, by_loops in ((metrics.dataset_iou, pooled), (np.mean, mean)):
        expected = tuple(interval_by_loops(rows, by_loops, n, 0.95, seed))
        with mock.patch.object(statistics, "_CHUNK", chunk):
            found = bootstrap(np.array(rows), statistic, n=n, seed=seed)
        assert found == pytest.approx(expected, abs=1e-9)


def test_large_counts_are_summed_exactly_and_a_thousand_resamples_are_usual():
    counts = np.array([[2**24, 2**25], [1, 2], [1, 2]], np.float32)  # 2^24 + 1 has no float32
    assert bootstrap(counts, metrics.dataset_iou) == (0.5, 0.5)
    uneven = counts + np.float32([[0, 0], [0, 0], [0, 1]])
    exact = bootstrap(uneven.astype(np.float64), metrics.dataset_iou, n=1000, level=0.95, seed=0)
    assert bootstrap(uneven, metrics.dataset_iou) == exact
    values = np.random.default_rng(0).random(50)
    assert bootstrap(values) == bootstrap(values, n=1000) != bootstrap(values, n=1001)


def test_bootstrap_agrees_with_the_normal_interval_and_covers():
    rng = np.random.default_rng(3)
    values = rng.normal(0.6, 0.1, 2000)
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    expected = values.mean() - half, values.mean() + half
    assert bootstrap(values, n=4000) == pytest.approx(expected, abs=half / 10)
    intervals = [bootstrap(rng.normal(0.6, 0.1, 100), n=300, seed=i) for i in range(100)]
    assert 0.88 <= np.mean([low <= 0.6 <= high for low, high in intervals]) <= 0.99


def test_bootstrap_edges():
    assert bootstrap(np.array([0.7])) == (0.7, 0.7)
    assert bootstrap(np.array([[3, 4]]), metrics.dataset_iou) == (0.75, 0.75)
    assert bootstrap(np.zeros((5, 2), int), metrics.dataset_iou) == (1.0, 1.0)
    pooled = {"statistic": metrics.dataset_iou}
    for values, options, says in [
        ([], {}, r"with N >= 1, got \(0,\)"),
        (1.0, {}, r"got \(\)"),
        ([[[1]]], {}, r"got \(1, 1, 1\)"),
        ([1, 1], {"n": 0}, "0 < level < 1, got n=0, level=0.95"),
        ([1, 1], {"level": 1}, "level=1"),
        ([1, 1], {"level": 0}, "level=0"),
        ([1, 1], pooled, r"rows \(intersection, union\), got \(2,\)"),
        ([[1, 1, 1]], pooled, r"got \(1, 3\)"),
        ([[2, 1]], pooled, "larger than its union"),
    ]:
        with pytest.raises(ValueError, match=says):
            bootstrap(np.array(values), **options)


def test_the_bootstrap_of_the_full_set_needs_little_memory():
    rows = rows_of_counts(np.random.default_rng(5), 7000)
    for values, statistic in ((rows[:, 0], np.mean), (rows, metrics.dataset_iou)):
        tracemalloc.start()
        bootstrap(values, statistic, n=600)  # 34 MB of indices at once for each column
        assert tracemalloc.get_traced_memory()[1] < 100e6
        tracemalloc.stop()


def test_p_values_are_those_of_normal_means():
    """Of means with known intervals: 1.96 standard errors are 0.05, and 0 has no evidence."""
    gaps = pd.DataFrame({"value": [0.1, -0.1, 0.0, 0.3, 0.0], "low": [0.0, -0.2, -0.1, 0.3, 0.0],
                         "high": [0.2, 0.0, 0.1, 0.3, 0.0]}, index=list("abcde"))
    p = p_values(gaps)
    assert p.to_dict() == pytest.approx({"a": 0.05, "b": 0.05, "c": 1, "d": 0, "e": 1})
    draws = np.random.default_rng(0).normal(0.1, 1, (400, 50))  # beside the t-test of SciPy
    rows = [(d.mean(), *bootstrap(d)) for d in draws]
    close = p_values(pd.DataFrame(rows, columns=["value", "low", "high"]))
    assert np.abs(close - ttest_1samp(draws, 0, axis=1).pvalue).mean() < 0.02


def test_holm_by_hand():
    """Holm (1979): the smallest times 4, the next times 3 and never below the one before."""
    p = pd.Series({"a": 0.04, "b": 0.01, "c": 0.03, "d": 0.5})
    assert list(holm(p).index) == list(p.index)
    assert holm(p).to_dict() == pytest.approx({"a": 0.09, "b": 0.04, "c": 0.09, "d": 0.5})
    assert holm(pd.Series([0.9, 0.8])).tolist() == [1, 1]
    assert holm(p * 0).eq(0).all() and holm(pd.Series(dtype=float)).empty


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_test_of_bonferroni(values):
    """Marcus, Peritz & Gabriel (1976): a hypothesis is rejected where each set of hypotheses that
    contains it is, by its smallest p times its size."""
    p = pd.Series(values, index=[f"row {i}" for i in range(len(values))])
    sets = [s for n in range(1, len(p) + 1) for s in combinations(p.index, n)]
    want = [max(min(1, len(s) * p[list(s)].min()) for s in sets if i in s) for i in p.index]
    assert holm(p).to_numpy() == pytest.approx(want)
    assert list(holm(p).index) == list(p.index)


def test_holm_is_wrong_in_few_families():
    rng = np.random.default_rng(0)
    wrong = [holm(pd.Series(rng.random(20))).min() < 0.05 for _ in range(2000)]
    assert 0.035 < np.mean(wrong) < 0.065


@given(st.floats(-5, 5), st.floats(0.01, 5))
def test_a_p_value_is_that_of_the_normal_interval(value, error):
    low, high = norm.interval(0.95, value, error)
    (p,) = p_values(pd.DataFrame({"value": [value], "low": [low], "high": [high]}))
    assert p == pytest.approx(2 * norm.sf(abs(value), scale=error), abs=1e-9)
    assert (p < 0.05) == (low > 0 or high < 0) or p == pytest.approx(0.05)
