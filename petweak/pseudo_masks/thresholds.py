"""Where a soft map becomes a mask, without a look at ground truth."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from petweak.pseudo_masks.base import Context

GRID = tuple(round(t, 2) for t in np.arange(0.05, 0.65, 0.05))


def otsu(soft: np.ndarray) -> float:
    """Otsu's threshold of a map (H, W) in [0, 1]: the cut with the largest variance between."""
    levels = np.round(soft * 255).astype(np.uint8)
    return cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)[0] / 255


def separation(features: Tensor, masks: Tensor) -> Tensor:
    """How well masks split frozen features in two: between-class over total variance.

    features: (B, C, h, w); masks: (B, h, w) of 0 and 1 -> (B,) in [0, 1]. Otsu's criterion, on
    the backbone's features instead of the map's own values: a good mask has like things inside and
    like things outside. An empty or a full mask separates nothing.
    """
    x = F.normalize(features, dim=1).flatten(2)  # (B, C, hw)
    inside = masks.flatten(1)[:, None].to(x.dtype)
    n_in, n_out = inside.sum(-1), (1 - inside).sum(-1)
    mean_in = (x * inside).sum(-1) / n_in.clamp(min=1)
    mean_out = (x * (1 - inside)).sum(-1) / n_out.clamp(min=1)
    share = (n_in * n_out / x.shape[-1] ** 2)[:, 0]
    between = share * (mean_in - mean_out).square().sum(1)
    total = (x - x.mean(-1, keepdim=True)).square().sum(1).mean(-1)
    return between / total.clamp(min=1e-12)


def separation_curve(soft: Tensor, features: Tensor) -> dict[float, float]:
    """{threshold: mean separation} over GRID; soft: (B, S, S) in [0, 1]."""
    small = F.interpolate(soft[:, None], features.shape[-2:], mode="area")[:, 0]
    return {t: separation(features, small > t).mean().item() for t in GRID}


def choose_threshold(of_val: tuple[list[str], Tensor], context: Context) -> float:
    """The threshold whose masks best separate the frozen features of the val photos."""
    ids, soft = of_val
    if not ids:
        raise ValueError("threshold=val: val_fraction=0 leaves no photo to choose it on; say otsu, "
                         "or a number")  # fmt: skip
    tap = "before" if "before" in context.features.taps else "last"
    with torch.no_grad():
        curve = separation_curve(soft, context.features.batch(tap, ids))
    return max(curve, key=curve.get)
