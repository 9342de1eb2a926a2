"""Does a finetuned head make better CAMs? Head and explained score crossed, like beside like.

The paper's section 3.3 sets a finetuned head beside the ImageNet head, its section 3.4 a head for
breeds beside one for species. What a CAM explains, how it is computed and where it is cut have to
be the same on both sides, or two things are compared.
"""

from itertools import product

import numpy as np
import pandas as pd

from petweak.data.oxford_pets import val_ids
from petweak.evaluation.statistics import bootstrap, holm, p_values
from petweak.experiments.trials import ious, scored, source_masks, verdicts
from petweak.pseudo_masks import cam as cams
from petweak.pseudo_masks import source_class
from petweak.pseudo_masks.store import prepare
from petweak.study.run import Run

# What is explained of each head: the logit of the class that it predicts, or all pets together. A
# finetuned head knows nothing but pets: there is no rest that log-odds would be against.
HEADS = {"imagenet": ("gradcam_pretrained", {"top1": cams.top1, "pets": cams.pet_log_odds}),
         "finetuned": ("gradcam_finetuned", {"top1": cams.top1,
                                             "pets": lambda logits: logits.logsumexp(-1)})}
BORDERS = ("foreground", "ignore")
NONE = "-"  # the labels that the ImageNet head has learnt of the data set
CELL = ["cam", "head", "labels", "explained", "threshold", "border"]
# A cell is compared, photo by photo, with the one that has these instead and is else equal.
BASES = {"gradcam": {"cam": "gradcam"}, "imagenet": {"head": "imagenet", "labels": NONE},
         "top1": {"explained": "top1"}, "breed": {"labels": "breed"}}
KEYS = ["cam", "threshold", "explained"]  # of a row in which two cells stand beside each other
GAP = ["difference", "difference low", "difference high", "verdict"]


def cam_heads(run: Run, cam: tuple[str, ...] = ("gradcam", "layercam"),
              threshold: tuple[str, ...] = ("val", "0.5"), seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
              finetune_labels: tuple[str, ...] = ("breed", "species"), split: str = "test"
              ) -> pd.DataFrame:
    """The masks of the ImageNet head, and of a head finetuned on each of `finetune_labels`, by both
    explained scores, each method of `cam` and each `threshold` (as the setting: `val` is chosen for
    each cell, without ground truth) on `split`. A seed draws val and, of a finetuned head, the
    first weights and the order of photos.

    Returns a row per score: CELL, `seed`, `cut` (the threshold that was used), `metric`, `value`
    with its interval over photos `low` to `high`, `n_images`. The metrics are `iou` and
    `minus_<base>`: the paired difference from the cell that BASES names, where that is another one.
    ValueError where no photo has ground truth."""
    ids, rows, photos, cuts = [s.id for s in scored(run, split)], [], {}, {}
    heads = [("imagenet", NONE), *product(["finetuned"], finetune_labels)]
    for seed, (head, labels) in product(seeds, heads):
        learnt = {} if labels == NONE else {"finetune_labels": labels}
        context = run.context.replace(run.settings.replace(seed=seed, **learnt))
        context.val_ids = val_ids(run.pets, context.settings.data.val_fraction, seed)
        source, scores = HEADS[head]
        prepare(fitted := source_class(source)(context))
        for method, cut, explained in product(cam, threshold, scores):
            changed = context.settings.replace(cam=method, threshold=cut)
            fitted.context, fitted.score = context.replace(changed), scores[explained]
            chosen = fitted.threshold()
            masks = source_masks(run, fitted, ids, chosen)
            for border in BORDERS:
                key = method, head, labels, explained, cut, border, seed
                photos[key], cuts[key] = ious(run, masks, border).to_numpy(), chosen
    for key, values in photos.items():
        measured = {"iou": values}
        for name, base in BASES.items():
            other = (*(dict(zip(CELL, key, strict=False)) | base).values(), key[-1])
            if other != key and other in photos:
                measured[f"minus_{name}"] = values - photos[other]
        for metric, of_photos in measured.items():
            low, high = bootstrap(of_photos, n=run.settings.evaluation.bootstrap)
            rows.append((*key, cuts[key], metric, np.mean(of_photos), low, high, len(ids)))
    columns = [*CELL, "seed", "cut", "metric", "value", "low", "high", "n_images"]
    return pd.DataFrame(rows, columns=columns)


def summary(table: pd.DataFrame, metric: str, border: str = "foreground") -> pd.DataFrame:
    """What `cam_heads` came to by one metric, a row per cell: the mean over seeds `value`, the
    `smallest` and `largest` of a seed, and, of a difference, the outer limits of all intervals
    `low` to `high`, `p` of the seed with the largest one, corrected by Holm's method over these
    rows, and the `verdict` of `trials.verdicts`, `not told apart` where `p` is not below 0.05."""
    part = table[(table["metric"] == metric) & (table["border"] == border)]
    of = part.groupby(keys := [k for k in CELL if k != "border"], sort=False)
    out = of["value"].agg(value="mean", smallest="min", largest="max")
    if metric != "iou":
        p = part.assign(p=p_values(part)).groupby(keys, sort=False)["p"].max()
        out = out.assign(low=of["low"].min(), high=of["high"].max(), p=holm(p),
                         verdict=verdicts(part, keys))
        out.loc[out["p"] >= 0.05, "verdict"] = "not told apart"
    return out.reset_index()


def two_by_two(table: pd.DataFrame, border: str = "foreground", labels: str = "breed"
               ) -> pd.DataFrame:
    """Both heads side by side, a row per method, threshold and explained score: mean IoU over seeds
    of each (of the finetuned one that of `labels`), `difference` (finetuned minus ImageNet), its
    outer limits `difference low` to `difference high`, and the `verdict` on the finetuned head."""
    of = table[table["labels"].isin([NONE, labels])]
    return _beside(of, "head", "imagenet", border)[[*KEYS, *HEADS, *GAP]]


def by_labels(table: pd.DataFrame, border: str = "foreground") -> pd.DataFrame:
    """Heads finetuned on breeds and on species beside each other, as in `two_by_two`: `breed`,
    `species`, their `difference` (species minus breed) and the `verdict` on species."""
    of = table[table["labels"] != NONE]
    return _beside(of, "labels", "breed", border)[[*KEYS, "breed", "species", *GAP]]


def _beside(table: pd.DataFrame, factor: str, base: str, border: str) -> pd.DataFrame:
    """The mean IoU at each value of a factor, and what is said of that which is not the base."""
    values = summary(table, "iou", border).pivot(index=KEYS, columns=factor, values="value")
    gaps = summary(table, f"minus_{base}", border).set_index(KEYS)
    gaps = gaps.rename(columns={"value": "difference", "low": "difference low",
                                "high": "difference high"})
    return gaps[GAP].join(values).reset_index()
