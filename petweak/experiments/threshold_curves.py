"""Which threshold would ground truth choose, and which does the criterion without it choose?"""

import numpy as np
import pandas as pd
import torch

from petweak.data.oxford_pets import load_trimap
from petweak.evaluation import metrics
from petweak.experiments.trials import enlarged, scored
from petweak.pseudo_masks.gradcam import GradCAM
from petweak.pseudo_masks.thresholds import GRID, coarse_maps, separations
from petweak.study.run import Run

THRESHOLDS = (*GRID, *(round(t, 2) for t in np.arange(0.65, 1.0, 0.05)))


@torch.no_grad()
def threshold_curves(run: Run, sources: tuple[str, ...] = (), ids: tuple[str, ...] = ()
                     ) -> pd.DataFrame:
    """Of `sources` (the run's but ground_truth unless given) on the photos `ids` (val unless given;
    the best threshold on test would be tuned on test) that have ground truth, a row each: `source`,
    `threshold`, `iou` (mean IoU with ground truth, border as foreground) and `separation` (mean
    criterion, whose maximum `threshold=val` chooses; NaN without CAMs and outside GRID)."""
    rows, ids = [], [s.id for s in scored(run, ids or sorted(run.val_ids))]
    for source in sources or [s for s in run.settings.sources if s != "ground_truth"]:
        fitted, ious = run.fitted_source(source), []
        sums = dict.fromkeys(GRID if isinstance(fitted, GradCAM) else (), 0.0)
        for batch in run.context.batches(ids, fitted.batch_size):
            soft = fitted.refined(batch)
            if sums:
                means = separations(soft, coarse_maps(fitted, batch.ids)).mean(1).tolist()
                for t, value in zip(GRID, means, strict=True):
                    sums[t] += value * len(batch.ids) / len(ids)
            for image_id, one in zip(batch.ids, soft, strict=True):
                s = run.pets.sample(image_id)
                target, _ = metrics.target(load_trimap(s.trimap, s.photo), "foreground")
                large = enlarged(one, target.shape)
                ious.append([metrics.iou(large > t, target) for t in THRESHOLDS])
        means = zip(THRESHOLDS, np.mean(ious, axis=0).tolist(), strict=True)
        rows += [(source, t, iou, sums.get(t, np.nan)) for t, iou in means]
    return pd.DataFrame(rows, columns=["source", "threshold", "iou", "separation"])
