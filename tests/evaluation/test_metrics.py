"""Every metric against an oracle: by hand, by loops over pixels, by a distance transform, OpenCV,
scikit-learn or torchmetrics."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import distance_transform_cdt
from torchmetrics.functional.classification import multiclass_jaccard_index

from petweak.evaluation import metrics


def masks(count, max_side=24):
    """`count` boolean masks of one shape."""
    shape = st.tuples(st.integers(1, max_side), st.integers(1, max_side))
    return shape.flatmap(lambda s: st.tuples(*[arrays(bool, s) for _ in range(count)]))


def disc(shape, centre, radius):
    y, x = np.ogrid[: shape[0], : shape[1]]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def boundary_reference(prediction, target, valid=None, dilation_ratio=0.02):
    """The authors' procedure step by step: pad by one zero, erode d times by 3x3, subtract."""

    def band(mask):
        height, width = mask.shape
        distance = max(1, int(round(dilation_ratio * np.sqrt(height**2 + width**2))))
        padded = np.pad(mask.astype(np.uint8), 1)
        for _ in range(distance):
            padded = cv2.erode(padded, np.ones((3, 3), np.uint8))
        return mask & ~padded[1:-1, 1:-1].astype(bool)

    valid = np.ones_like(target) if valid is None else valid
    a, b = band(prediction & valid), band(target & valid)
    return (a & b).sum() / (a | b).sum() if (a | b).any() else 1.0


def band_by_distance(mask, valid, d):
    """Foreground whose distance to the nearest pixel outside is at most d; moves go in eight
    directions, and outside the frame nothing is foreground."""
    inside = np.pad(mask & valid, 1)
    return inside[1:-1, 1:-1] & (distance_transform_cdt(inside, "chessboard")[1:-1, 1:-1] <= d)


@settings(max_examples=50)
@given(masks(3), st.sampled_from([0.02, 0.1, 0.2]))
def test_boundary_iou_is_the_iou_of_bands_by_a_distance_transform(drawn, share):
    a, b, valid = drawn
    d = max(1, round(share * (a.shape[0] ** 2 + a.shape[1] ** 2) ** 0.5))
    one, other = (set(zip(*np.nonzero(band_by_distance(m, valid, d)), strict=True)) for m in (a, b))
    expected = len(one & other) / len(one | other) if one | other else 1.0
    assert metrics.boundary_iou(a, b, valid, share) == expected


@settings(max_examples=50)
@given(masks(3))
def test_iou_is_a_count_pixel_by_pixel(drawn):
    both = either = 0
    for a, b, counts in zip(*(m.ravel().tolist() for m in drawn), strict=True):
        both, either = both + (counts and a and b), either + (counts and (a or b))
    assert metrics.intersection_union(*drawn) == (both, either)
    assert metrics.iou(*drawn) == (both / either if either else 1.0)
    assert all(type(n) is int for n in metrics.intersection_union(*drawn))


@settings(max_examples=50)
@given(masks(3))
def test_masks_metrics_do_not_know_left_from_right_nor_up_from_down(drawn):
    for score in (metrics.iou, metrics.boundary_iou):
        value = score(*drawn)
        for turn in (np.fliplr, np.flipud, np.transpose):
            assert score(*map(turn, drawn)) == value


@settings(max_examples=50)
@given(masks(2), st.sampled_from(metrics.BORDERS))
def test_a_target_is_read_pixel_by_pixel(drawn, border):
    trimap = 1 + drawn[0].astype(np.uint8) + drawn[1]
    mask, valid = metrics.target(trimap, border)
    means = {1: (True, True), 2: (False, True), 3: {"foreground": (True, True),
             "background": (False, True), "ignore": (False, False)}[border]}
    pairs = zip(mask.ravel().tolist(), valid.ravel().tolist(), strict=True)
    assert list(pairs) == [means[v] for v in trimap.ravel().tolist()]


def test_boundary_iou_of_the_right_mask_is_1_with_the_border_ignored():
    """A mask that reaches through the ignored ring and one that stops at it are both right."""
    wide, narrow = disc((60, 60), (30, 30), 20), disc((60, 60), (30, 30), 16)
    valid = ~(wide & ~narrow)
    assert metrics.boundary_iou(wide, narrow, valid) == 1.0


def test_target_by_border():
    trimap = np.array([[1, 2, 3], [3, 1, 2]], dtype=np.uint8)
    inner, edge, everything = trimap == 1, trimap == 3, np.ones((2, 3), bool)
    expected = {
        "foreground": (inner | edge, everything),
        "ignore": (inner, ~edge),
        "background": (inner, everything),
    }
    assert tuple(expected) == metrics.BORDERS
    for border, pair in expected.items():
        for array, by_hand in zip(metrics.target(trimap, border), pair, strict=True):
            assert array.dtype == bool
            np.testing.assert_array_equal(array, by_hand)


def test_target_refuses():
    for value in (0, 4, 255):
        with pytest.raises(ValueError, match=rf"\[{value}\]"):
            metrics.target(np.array([[1, value]]), "ignore")
    with pytest.raises(ValueError, match=r"1, 2 or 3, there are also \[0, 4, 5, 6, 7\]$"):
        metrics.target(np.array([[1, 9, 8, 7, 6, 5, 4, 0]]), "ignore")
    with pytest.raises(ValueError, match="foreground, ignore, background"):
        metrics.target(np.ones((2, 2), int), "edge")
    with pytest.raises(ValueError, match="shape"):
        metrics.target(np.ones((2, 2, 3), int), "ignore")


def test_border_moves_iou_as_by_hand():
    # 4 foreground, 2 border, 2 background; the prediction is foreground and border.
    trimap, prediction = np.array([[1, 1, 1, 1, 3, 3, 2, 2]]), np.array([[True] * 6 + [False] * 2])
    ious = {b: metrics.iou(prediction, *metrics.target(trimap, b)) for b in metrics.BORDERS}
    assert ious == {"foreground": 1.0, "ignore": 1.0, "background": 4 / 6}


def test_iou_by_hand():
    a, b = np.array([[[1, 1, 0], [0, 0, 0]], [[0, 1, 1], [1, 0, 0]]], dtype=bool)
    valid = np.array([[1, 1, 0], [0, 1, 1]], dtype=bool)
    assert metrics.intersection_union(a, b) == (1, 4)
    assert metrics.intersection_union(a, b, valid) == (1, 2)
    assert metrics.iou(a, b) == 0.25


@pytest.mark.parametrize("score", [metrics.iou, metrics.boundary_iou])
def test_empty_masks_and_bad_input(score):
    full, empty = np.ones((4, 5), bool), np.zeros((4, 5), bool)
    assert score(empty, empty) == 1.0
    assert score(full, empty) == score(empty, full) == 0.0
    assert score(full, empty, valid=empty) == 1.0
    for name, bad in (("target", (full, full[:3])), ("target", (full, full[:3], full)),
                      ("valid", (full, full, full[:3])), ("prediction", (full[0], full[0]))):
        with pytest.raises(ValueError, match=f"^{name} has shape"):
            score(*bad)
    for i, name in enumerate(("prediction", "target", "valid")):
        arrays = [full, full, full]
        arrays[i] = full.astype(np.uint8) * 255
        with pytest.raises(TypeError, match=f"^{name} must be boolean, got uint8$"):
            score(*arrays)


@settings(max_examples=50)
@given(masks(3))
def test_iou_laws(drawn):
    a, b, valid = drawn
    assert 0 <= metrics.iou(a, b) == metrics.iou(b, a) <= 1
    assert metrics.iou(a, a) == 1
    assert metrics.iou(a, ~a) == 0
    # What is not valid does not matter, whichever way the prediction goes there.
    assert metrics.iou(a, b, valid) == metrics.iou(a | ~valid, b, valid)
    assert metrics.iou(a, b, valid) == metrics.iou(a & valid, b & valid)
    parts = [metrics.intersection_union(a, b, v) for v in (valid, ~valid)]
    assert tuple(np.sum(parts, axis=0)) == metrics.intersection_union(a, b)


@settings(max_examples=50)
@given(masks(3), st.sampled_from([0.0, 0.02, 0.1, 0.3]))
def test_boundary_iou_laws_and_reference(drawn, ratio):
    a, b, valid = drawn
    for v in (None, valid):
        value = metrics.boundary_iou(a, b, v, ratio)
        assert 0 <= value == metrics.boundary_iou(b, a, v, ratio) <= 1
        assert metrics.boundary_iou(a, a, v, ratio) == 1
        assert value == boundary_reference(a, b, v, ratio)


@pytest.mark.parametrize("shape", [(375, 500), (500, 375), (333, 500), (40, 40), (1, 60)])
def test_boundary_iou_is_the_reference_on_smooth_masks(shape):
    a = disc(shape, (shape[0] // 3, shape[1] // 4), shape[1] // 3)  # cut by the frame
    b = disc(shape, (shape[0] // 2, shape[1] // 3), shape[1] // 4)
    assert metrics.boundary_iou(a, b) == boundary_reference(a, b)


def test_boundary_iou_by_hand():
    # A 10x10 frame full of foreground: d = 1, the band is the outer ring of 36 pixels.
    full, shifted = np.ones((10, 10), bool), np.ones((10, 10), bool)
    shifted[0] = False  # 9x10: its ring has 2*9 + 2*10 - 4 = 34, shared: 9 + 9 + 8 = 26
    assert metrics.boundary_iou(full, shifted) == 26 / (36 + 34 - 26)
    with pytest.raises(ValueError, match="dilation_ratio"):
        metrics.boundary_iou(full, full, dilation_ratio=-0.1)


def test_boundary_iou_is_stricter_than_iou():
    a, b = disc((375, 500), (180, 240), 130), disc((375, 500), (180, 250), 130)
    assert metrics.boundary_iou(a, b) < metrics.iou(a, b)


def test_class_metrics_by_hand():
    predicted, actual = np.array([0, 0, 1, 3]), np.array([0, 1, 1, 0])
    # Classes 2 and 4 occur nowhere.
    assert metrics.class_iou(predicted, actual, 5) == pytest.approx((1 / 3 + 1 / 2 + 0) / 3)


@settings(max_examples=40)
@given(st.integers(2, 37), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_class_metrics_against_other_libraries(num_classes, count, seed):
    sklearn = pytest.importorskip("sklearn.metrics")
    predicted, actual = np.random.default_rng(seed).integers(num_classes, size=(2, count))
    value = metrics.class_iou(predicted, actual, num_classes)
    expected = sklearn.jaccard_score(actual, predicted, average="macro", zero_division=0)
    assert value == pytest.approx(expected, abs=1e-6)
    macro = multiclass_jaccard_index(*map(torch.from_numpy, (predicted, actual)), num_classes)
    assert value == pytest.approx(float(macro), abs=1e-6)


labels = st.integers(1, 6).flatmap(lambda k: st.tuples(st.just(k), st.lists(
    st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)), min_size=1, max_size=30)))


@settings(max_examples=50)
@given(labels, st.randoms())
def test_class_metrics_are_counts_photo_by_photo_in_any_order(drawn, random):
    num_classes, pairs = drawn
    ratios = []
    for k in range(num_classes):
        either = sum(k in pair for pair in pairs)
        if either:
            ratios.append(Fraction(sum(pair == (k, k) for pair in pairs), either))
    for order in (pairs, random.sample(pairs, len(pairs))):
        arrays = np.array(order).T
        value = metrics.class_iou(*arrays, num_classes)
        assert value == pytest.approx(float(sum(ratios) / len(ratios)), abs=1e-7)  # in float32


@pytest.mark.parametrize("pair, says", [
    (([0, 1], [0]), r"shape \(N,\), got \(2,\), \(1,\)"), (([], []), r"got \(0,\), \(0,\)"),
    (([[0]], [[0]]), r"\(1, 1\)"), (([0, 3], [0, 1]), r"labels in \[0, 3\) expected: 0 to 3"),
    (([1], [-1]), "-1 to 1")])
def test_class_iou_refuses(pair, says):
    with pytest.raises(ValueError, match=says):
        metrics.class_iou(*(np.array(labels, int) for labels in pair), num_classes=3)


def test_dataset_iou():
    # Pooled is not the mean of 1/2 and 1.
    assert metrics.dataset_iou(np.array([1, 90]), np.array([2, 90])) == 91 / 92
    assert metrics.dataset_iou(np.zeros(2), np.zeros(2)) == 1.0
    for bad in ([[3], [2]], [[-1], [2]]):
        with pytest.raises(ValueError, match="^an intersection is negative or larger than its uni"):
            metrics.dataset_iou(*np.array(bad))
    with pytest.raises(ValueError, match="two arrays"):
        metrics.dataset_iou(np.array([]), np.array([]))
    # In float32 a sum of 2^24 and 1 is 2^24.
    counts = np.array([2**24, 1, 1], np.float32)
    assert metrics.dataset_iou(counts, 2 * counts) == 0.5
    assert metrics.dataset_iou(counts, counts + [0, 1, 1]) == (2**24 + 2) / (2**24 + 4)
    assert metrics.dataset_iou(counts - [2, 1, 1], counts) == (2**24 - 2) / (2**24 + 2)


@st.composite
def label_maps(draw):
    """Pairs of label maps of a few images, with what is valid, and the number of classes."""
    num_classes, pairs = draw(st.integers(2, 6)), []
    labels = st.integers(0, num_classes - 1)
    for _ in range(draw(st.integers(1, 4))):
        shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
        maps = (draw(arrays(draw(st.sampled_from([np.uint8, np.int64])), shape, elements=labels))
                for _ in range(2))
        pairs.append((*maps, draw(arrays(bool, shape))))
    return num_classes, pairs


@settings(max_examples=80)
@given(label_maps(), st.randoms())
def test_semantic_miou_is_the_jaccard_index_of_all_pixels_together(drawn, random):
    """torchmetrics pools the pixels itself; pixels that do not count are its `ignore_index`."""
    num_classes, pairs = drawn
    overlaps = [metrics.class_overlaps(*pair, num_classes) for pair in pairs]
    predicted = np.concatenate([p.ravel() for p, _, _ in pairs]).astype(int)
    actual = np.concatenate([np.where(valid, t.astype(int), -1).ravel() for _, t, valid in pairs])
    if (actual < 0).all():
        expected = 1.0
    else:
        expected = float(multiclass_jaccard_index(
            torch.from_numpy(predicted), torch.from_numpy(actual), num_classes,
            average="macro", ignore_index=-1))
    for order in (overlaps, random.sample(overlaps, len(overlaps))):
        both, either = (np.stack(part) for part in zip(*order, strict=True))
        assert metrics.semantic_miou(both, either) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=50)
@given(label_maps())
def test_overlaps_of_classes_are_those_of_one_mask_a_class(drawn):
    num_classes, pairs = drawn
    for p, t, valid in pairs:
        both, either = metrics.class_overlaps(p, t, valid, num_classes)
        for k in range(num_classes):
            assert (both[k], either[k]) == metrics.intersection_union(p == k, t == k, valid)


def test_semantic_miou_by_hand():
    # Classes 0 and 1 of two images, 3 is the background; 2 occurs nowhere and is left out.
    first = metrics.class_overlaps(
        np.array([[0, 0, 1, 3]]), np.array([[0, 0, 0, 3]]), np.ones((1, 4), bool), 4)
    second = metrics.class_overlaps(
        np.array([[1, 3, 3, 3]]), np.array([[1, 1, 3, 0]]), np.array([[True] * 3 + [False]]), 4)
    assert [part.tolist() for part in first] == [[2, 0, 0, 1], [3, 1, 0, 1]]
    assert [part.tolist() for part in second] == [[0, 1, 0, 1], [0, 2, 0, 2]]
    both, either = np.stack([first, second], axis=1)
    # Pooled: 2 of 3, 1 of 3, 2 of 3 pixels. A mean over images would be another number.
    assert metrics.semantic_miou(both, either) == pytest.approx((2 / 3 + 1 / 3 + 2 / 3) / 3)
    assert metrics.semantic_miou(np.zeros((2, 4), int), np.zeros((2, 4), int)) == 1.0
    large = np.array([[2**24, 1], [1, 0], [1, 0]], np.float32)  # 2^24 + 1 has no float32
    assert metrics.semantic_miou(large - [[0, 1], [1, 0], [1, 0]], large) == (
        2**24 / (2**24 + 2) / 2)


def test_semantic_miou_refuses():
    labels, valid = np.array([[0, 1]]), np.ones((1, 2), bool)
    for bad, says in (((labels, labels + 1, valid), "0 to 2"), ((labels - 1, labels, valid), "-1"),
                      ((labels, labels.T, valid), "shapes differ"),
                      ((labels, labels, valid[:, :1]), "shapes differ")):
        with pytest.raises(ValueError, match=says):
            metrics.class_overlaps(*bad, 2)
    for bad in (np.zeros(3), np.zeros((0, 3)), np.zeros((3, 0)), np.zeros((1, 1, 1))):
        with pytest.raises(ValueError, match=r"shape \(N, C\)"):
            metrics.semantic_miou(bad, bad)
    with pytest.raises(ValueError, match=r"shape \(N, C\)"):
        metrics.semantic_miou(np.zeros((1, 3)), np.zeros((1, 4)))


counts = st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)).map(sorted)


@settings(max_examples=50)
@given(st.lists(counts, min_size=1, max_size=30), st.randoms())
def test_dataset_iou_and_ratios_are_fractions_in_any_order(rows, random):
    overlap, union = (sum(column) for column in zip(*rows, strict=True))
    expected = float(Fraction(overlap, union)) if union else 1.0
    for order in (rows, random.sample(rows, len(rows))):
        assert metrics.dataset_iou(*np.array(order).T) == expected
    by_row = [i / u if u else 1.0 for i, u in rows]
    with np.errstate(all="raise"):
        assert metrics.ratio(*np.array(rows).T).tolist() == by_row


@settings(max_examples=50)
@given(st.integers(1, 700), st.integers(1, 700))
def test_baselines(height, width):
    ones = metrics.all_ones((height, width))
    assert ones.all() and ones.shape == (height, width) and ones.dtype == bool
    box = metrics.centre_box((height, width))
    assert box.shape == (height, width) and box.dtype == bool
    # Rounding moves a side by half a pixel at most.
    assert abs(box.sum() - height * width / 2) <= (height + width) / 2 + 1
    for lines in (box.any(axis=1), box.any(axis=0)):
        assert 0 <= lines[::-1].argmax() - lines.argmax() <= 1  # centred


def test_degenerate():
    values = 0.40, float("nan"), 0.41, np.float64(0.9)
    assert [metrics.degenerate(v, 0.41) for v in values] == [True, True, False, False]
