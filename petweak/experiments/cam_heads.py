"""Does a finetuned head make better CAMs? Head and explained score crossed, like beside like.

The paper's section 3.3 sets a finetuned head beside the ImageNet head. What a CAM explains, how it
is computed and where it is cut have to be the same on both sides, or two things are compared.
"""

from itertools import product

import numpy as np
import pandas as pd

from petweak.data.oxford_pets import val_ids
from petweak.evaluation.statistics import bootstrap
from petweak.experiments.trials import ious, scored, source_masks, verdicts
from petweak.pseudo_masks import cam as cams
from petweak.pseudo_masks import source_class
from petweak.pseudo_masks.store import prepare
from petweak.study.run import Run

# What is explained of each head: the logit of the class that it predicts, or all pets together. A
# finetuned head knows nothing but pets: there is no rest that log-odds would be against.
HEADS = {
    "imagenet": ("gradcam_pretrained", {"top1": cams.top1, "pets": cams.pet_log_odds}),
    "finetuned": ("gradcam_finetuned",
                  {"top1": cams.top1, "pets": lambda logits: logits.logsumexp(-1)}),
}
BORDERS = ("foreground", "ignore")
CELL = ["cam", "head", "explained", "threshold", "border"]
# Where a cell differs from another in one factor alone, it is compared with it, photo by photo.
BASES = {"cam": "gradcam", "head": "imagenet", "explained": "top1"}


def cam_heads(
    run: Run, cam: tuple[str, ...] = ("gradcam", "layercam"),
    threshold: tuple[str, ...] = ("val", "0.5"), seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
    split: str = "test",
) -> pd.DataFrame:
    """The masks of both heads and both explained scores on `split`, by each method of `cam` and at
    each `threshold` (as the setting: `val` is chosen for each cell, without ground truth). A seed
    draws val and, of the finetuned head, the first weights and the order of photos.

    Returns a row per score: CELL, `seed`, `cut` (the threshold that was used), `metric`, `value`
    with its interval over photos `low` to `high`, `n_images`. The metrics are `iou` and, where a
    factor of BASES is not at its base, `minus_<base>`: the paired difference from the cell that is
    there, else equal. ValueError where no photo has ground truth.
    """
    ids, rows, photos, cuts = [s.id for s in scored(run, split)], [], {}, {}
    for seed, (head, (source, scores)) in product(seeds, HEADS.items()):
        context = run.context.replace(run.settings.replace(seed=seed))
        context.val_ids = val_ids(run.pets, context.settings.data.val_fraction, seed)
        prepare(fitted := source_class(source)(context))
        for method, cut, explained in product(cam, threshold, scores):
            changed = context.settings.replace(cam=method, threshold=cut)
            fitted.context, fitted.score = context.replace(changed), scores[explained]
            chosen = fitted.threshold()
            masks = source_masks(run, fitted, ids, chosen)
            for border in BORDERS:
                key = method, head, explained, cut, border, seed
                photos[key], cuts[key] = ious(run, masks, border).to_numpy(), chosen
    for key, values in photos.items():
        measured = {"iou": values}
        for factor, base in BASES.items():
            k = CELL.index(factor)
            other = (*key[:k], base, *key[k + 1 :])
            if other != key and other in photos:
                measured[f"minus_{base}"] = values - photos[other]
        for metric, of_photos in measured.items():
            low, high = bootstrap(of_photos, n=run.settings.evaluation.bootstrap)
            rows.append((*key, cuts[key], metric, np.mean(of_photos), low, high, len(ids)))
    columns = [*CELL, "seed", "cut", "metric", "value", "low", "high", "n_images"]
    return pd.DataFrame(rows, columns=columns)


def summary(table: pd.DataFrame, metric: str, border: str = "foreground") -> pd.DataFrame:
    """What `cam_heads` came to by one metric, a row per cell: the mean over seeds `value`, the
    `smallest` and `largest` of a seed, and, of a difference, the outer limits of all intervals
    `low` to `high` with the `verdict` of `trials.verdicts`."""
    part = table[(table["metric"] == metric) & (table["border"] == border)]
    of = part.groupby(keys := [k for k in CELL if k != "border"], sort=False)
    out = of["value"].agg(value="mean", smallest="min", largest="max")
    if metric != "iou":
        out = out.assign(low=of["low"].min(), high=of["high"].max(), verdict=verdicts(part, keys))
    return out.reset_index()


def two_by_two(table: pd.DataFrame, border: str = "foreground") -> pd.DataFrame:
    """Both heads beside each other, a row per method, threshold and explained score: mean IoU over
    seeds of each head, their `difference` (finetuned minus ImageNet) with its outer limits
    `difference low` to `difference high`, and the `verdict` on the finetuned head."""
    keys = ["cam", "threshold", "explained"]
    heads = summary(table, "iou", border).pivot(index=keys, columns="head", values="value")
    gaps = summary(table, "minus_imagenet", border).set_index(keys)
    gaps = gaps.rename(columns={"value": "difference", "low": "difference low",
                                "high": "difference high"})
    gaps = gaps[["difference", "difference low", "difference high", "verdict"]]
    return gaps.join(heads[list(HEADS)])[[*HEADS, *gaps]].reset_index()
