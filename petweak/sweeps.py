"""Curves over thresholds: what ground truth says of each, and what the criterion without it says.

For showing after the choice. Nothing here is read by a source.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from petweak import metrics
from petweak.data.pets import load_trimap
from petweak.pseudo_masks.store import prepare
from petweak.pseudo_masks.thresholds import GRID, separation_curve
from petweak.study import Run

THRESHOLDS = (*GRID, *(round(t, 2) for t in np.arange(0.65, 1.0, 0.05)))


def threshold_curve(run: Run, source: str, ids: list[str]) -> dict[float, float]:
    """{threshold: mean IoU with ground truth of the photos `ids`, border as pet}.

    The source's soft maps are made anew and written nowhere. Use photos of train: a curve over test
    is a choice made on test.
    """
    trimaps = {s.id: s.trimap for s in run.pets.samples}
    ious: list[list[float]] = []
    for photo_ids, soft in soft_maps(run, source, ids):
        for image_id, one in zip(photo_ids, soft, strict=True):
            target, _ = metrics.truth(load_trimap(trimaps[image_id]), "pet")
            large = F.interpolate(one[None, None], target.shape, mode="bilinear")[0, 0].numpy()
            ious.append([metrics.iou(large > t, target) for t in THRESHOLDS])
    return dict(zip(THRESHOLDS, np.mean(ious, axis=0).tolist(), strict=True))


def criterion_curve(run: Run, source: str, ids: list[str]) -> dict[float, float]:
    """{threshold: mean separation of the photos `ids`}: what `threshold=val` has the maximum of."""
    tap = "before" if "before" in run.features.taps else "last"
    sums = dict.fromkeys(GRID, 0.0)
    for photo_ids, soft in soft_maps(run, source, ids):
        part = separation_curve(soft, run.features.batch(tap, photo_ids))
        for threshold, value in part.items():
            sums[threshold] += value * len(photo_ids) / len(ids)
    return sums


def soft_maps(run: Run, source: str, ids: list[str]) -> Iterator[tuple[list[str], Tensor]]:
    """Batch by batch: ids, and the source's probabilities (B, H, W)."""
    fitted = run.source(source)
    prepare(fitted)
    for k in range(0, len(ids), fitted.batch_size):
        batch = run.context.batch(ids[k : k + fitted.batch_size])
        with torch.no_grad():
            yield batch.ids, fitted.refined(batch)
