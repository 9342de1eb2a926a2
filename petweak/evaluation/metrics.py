"""Metrics of masks and classes: pure functions on NumPy arrays.

Masks are boolean, shape (H, W), True on the foreground. `valid`, where it is given, is a boolean
array of the same shape: pixels where it is False count neither as right nor as wrong. Every score
lies in [0, 1] and higher is better. torchmetrics gives two empty masks 0 and not 1, pools pixels
where these keep a value a photo, and has no Boundary IoU: it checks these in tests.
"""

import cv2
import numpy as np

from petweak.data.oxford_pets import TRIMAP_BACKGROUND, TRIMAP_BORDER, TRIMAP_FOREGROUND

BORDERS = ("foreground", "ignore", "background")  # what a trimap's border can count as
NO_BORDER = "-"  # the column `border` of a metric without ground truth


def target(trimap: np.ndarray, border: str) -> tuple[np.ndarray, np.ndarray]:
    """Ground-truth mask of a trimap (H, W), and the pixels that count.

    `border` "foreground" or "background" counts the border as such, "ignore" leaves it out. Returns
    `mask` and `valid`, boolean (H, W); `mask` is False wherever `valid` is. Raises ValueError for
    values but 1, 2, 3, another number of dimensions, or an unknown `border`."""
    if border not in BORDERS:
        raise ValueError(f"unknown border {border!r}, expected one of {', '.join(BORDERS)}")
    trimap = np.asarray(trimap)
    if trimap.ndim != 2:
        raise ValueError(f"a trimap has shape (H, W), got {trimap.shape}")
    foreground, edge = trimap == TRIMAP_FOREGROUND, trimap == TRIMAP_BORDER
    labelled = foreground | edge | (trimap == TRIMAP_BACKGROUND)
    if not labelled.all():
        others = np.unique(trimap[~labelled])[:5].tolist()
        raise ValueError(f"trimap values must be 1, 2 or 3, there are also {others}")
    mask = foreground | edge if border == "foreground" else foreground
    return mask, ~edge if border == "ignore" else labelled


def intersection_union(prediction: np.ndarray, target: np.ndarray, valid: np.ndarray | None = None
                       ) -> tuple[int, int]:
    """Pixels in both masks and pixels in either; all arrays boolean (H, W). ValueError where shapes
    differ, TypeError for another type (a 0/255 mask or a trimap would be miscounted)."""
    _check(prediction, target, valid)
    both, either = prediction & target, prediction | target
    if valid is not None:
        both, either = both & valid, either & valid
    return int(np.count_nonzero(both)), int(np.count_nonzero(either))


def iou(prediction: np.ndarray, target: np.ndarray, valid: np.ndarray | None = None) -> float:
    """Intersection over union of two masks; 1.0 if both are empty, 0.0 if one is. Arguments and
    errors as in `intersection_union`."""
    return float(ratio(*intersection_union(prediction, target, valid)))


def boundary_iou(prediction: np.ndarray, target: np.ndarray, valid: np.ndarray | None = None,
                 dilation_ratio: float = 0.02) -> float:
    """Boundary IoU: the IoU of the bands that lie within d pixels inside each mask's contour.

    d is `dilation_ratio` (not negative) times the image's diagonal, rounded, at least 1 pixel. The
    image frame is a contour too, as in the authors' reference code. Pixels outside `valid` are
    taken out of both masks before the bands are drawn: bands of whole masks would lie in the
    ignored border and leave nothing to compare. Arguments and errors else as in `iou`.

    Source: Cheng et al., Boundary IoU, CVPR 2021; code: boundary-iou-api."""
    _check(prediction, target, valid)
    if not dilation_ratio >= 0:
        raise ValueError(f"dilation_ratio must not be negative, got {dilation_ratio}")
    d, bands = max(1, round(dilation_ratio * float(np.hypot(*prediction.shape)))), []
    # d erosions by a 3x3 square are one by a (2d+1)-square, which OpenCV does in two
    # one-dimensional passes. The zeros outside make the image frame a contour.
    square = np.ones((2 * d + 1, 2 * d + 1), np.uint8)
    outside = dict(borderType=cv2.BORDER_CONSTANT, borderValue=0)
    for mask in (prediction, target):
        mask = mask if valid is None else mask & valid
        bands.append(mask & (cv2.erode(mask.astype(np.uint8), square, **outside) == 0))
    return iou(*bands)


def class_iou(predictions: np.ndarray, targets: np.ndarray, num_classes: int) -> float:
    """Macro mean over classes of the Jaccard index of image-level class predictions; both arrays
    integer (N,) in [0, num_classes). A class that occurs in neither has no Jaccard index and is
    left out. ValueError for other shapes, empty arrays, and a label out of range."""
    predictions, targets = _pair(predictions, targets)
    counts = class_overlaps(predictions, targets, np.ones(len(targets), bool), num_classes)
    both, either = (n[counts[1] > 0].astype(np.float32) for n in counts)  # as torchmetrics has it
    return float(np.mean((both / either).astype(np.float64)))


def dataset_iou(intersections: np.ndarray, unions: np.ndarray) -> float:
    """Pooled IoU of pixel counts (N,): summed intersections over summed unions; 1.0 if all unions
    are 0. Errors as in `class_iou`, or an intersection negative or above its union."""
    intersections, unions = _pair(intersections, unions)
    if (intersections < 0).any() or (intersections > unions).any():
        raise ValueError("an intersection is negative or larger than its union")
    return float(ratio(intersections.sum(dtype=np.float64), unions.sum(dtype=np.float64)))


def class_overlaps(prediction: np.ndarray, target: np.ndarray, valid: np.ndarray, num_classes: int
                   ) -> tuple[np.ndarray, np.ndarray]:
    """Of each class, the pixels that have it in both maps, and those that have it in either:
    integer (num_classes,) each. The maps are integer (H, W) in [0, num_classes), the background a
    class among them; `valid` is boolean (H, W). Of photos' classes all may be (N,). ValueError for
    other shapes or labels."""
    if not prediction.shape == target.shape == valid.shape:
        raise ValueError(f"shapes differ: {prediction.shape}, {target.shape}, {valid.shape}")
    least, most = min(prediction.min(), target.min()), max(prediction.max(), target.max())
    if least < 0 or most >= num_classes:
        raise ValueError(f"labels in [0, {num_classes}) expected: {least} to {most}")
    prediction, target = prediction[valid], target[valid]
    both, *each = (np.bincount(labels, minlength=num_classes)
                   for labels in (target[target == prediction], target, prediction))
    return both, sum(each) - both


def semantic_miou(intersections: np.ndarray, unions: np.ndarray) -> float:
    """Mean over classes of the pooled IoU, summed intersections over summed unions, of pixel
    counts (N, C), a row per image. A class that occurs in neither map of any image has no IoU and
    is left out, as in `class_iou`: 37 breeds and the background make a mean of 38, three breeds
    one of 4, and a resample that lacks a breed one of fewer. 1.0 if none occurs. ValueError where
    shapes differ or are not (N, C), or N or C is 0."""
    counts = [np.asarray(part) for part in (intersections, unions)]
    if counts[0].shape != counts[1].shape or counts[0].ndim != 2 or not counts[0].size:
        raise ValueError(f"need two arrays of one shape (N, C), got {[c.shape for c in counts]}")
    both, either = (part.sum(0, dtype=np.float64) for part in counts)
    occurs = either > 0
    return float(np.mean(both[occurs] / either[occurs])) if occurs.any() else 1.0


def ratio(intersection: np.ndarray, union: np.ndarray) -> np.ndarray:
    """Intersection over union, element by element; 1 where both are empty."""
    empty = np.equal(union, 0)
    return np.where(empty, 1.0, intersection / np.where(empty, 1.0, union))


def all_ones(shape: tuple[int, int]) -> np.ndarray:
    """Baseline mask, boolean (H, W): the whole image is foreground."""
    return np.ones(shape, dtype=bool)


def centre_box(shape: tuple[int, int]) -> np.ndarray:
    """Baseline mask, boolean (H, W): a centred box, each side sqrt(1/2) of the image's."""
    mask, sides = np.zeros(shape, dtype=bool), [round(side * 0.5**0.5) for side in shape]
    top, left = ((whole - side) // 2 for whole, side in zip(shape, sides, strict=True))
    mask[top : top + sides[0], left : left + sides[1]] = True
    return mask


BASELINES = {"all_ones": all_ones, "centre_box": centre_box}  # they stand in every table


def degenerate(value: float, all_ones_value: float) -> bool:
    """Whether a result is below the `all_ones` baseline of the same metric, or not a number."""
    return not value >= all_ones_value


def _check(prediction: np.ndarray, target: np.ndarray, valid: np.ndarray | None) -> None:
    for name, array in (("prediction", prediction), ("target", target), ("valid", valid)):
        if array is not None and array.dtype != bool:
            raise TypeError(f"{name} must be boolean, got {array.dtype}")
        if array is not None and (array.ndim != 2 or array.shape != prediction.shape):
            raise ValueError(f"{name} has shape {array.shape}, prediction {prediction.shape}")


def _pair(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.asarray(first), np.asarray(second)
    if first.ndim != 1 or first.shape != second.shape or len(first) == 0:
        raise ValueError(f"need two arrays of one shape (N,), got {first.shape}, {second.shape}")
    return first, second
