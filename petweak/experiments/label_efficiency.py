"""How many ground-truth masks do pseudo-masks replace? Models learn from ground truth for a share
of train and nothing else (`true`), from pseudo-masks of all of train (`pseudo`), or from both
(`both`): by equally many steps, and without val, where ground truth would be further labels."""

import math
from functools import partial
from itertools import product

import numpy as np
import pandas as pd

from petweak.data.oxford_pets import Sample
from petweak.evaluation.scoring import mean_iou
from petweak.experiments import trials
from petweak.study.run import Run
from petweak.study.tasks import ahead
from petweak.training.inference import Predictor, predict_features


def label_efficiency(run: Run, source: str = "imagenet_only", labels: str = "species",
                     shares: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0),
                     seeds: tuple[int, ...] = (0, 1, 2), steps: int = 150, border: str = "ignore",
                     balanced: bool = False) -> pd.DataFrame:
    """The pseudo-masks are those that the last round of self-training from `source` began with; in
    ground truth the trimap's border counts as `border`; with `balanced`, every part of train has
    about equally many photos of each breed. Returns a row per model and border of its
    score: `kind`, `share` (of train's ground truth), `masks` (how many photos that are), `seed`,
    `border`, `value` (mask_iou_gt on test)."""
    marked_train, test = (trials.scored(run, split) for split in ("train", "test"))
    s, start = run.settings, run.start(source, labels)
    pseudo, ground_truth = run.rounds(source, labels)[-1].masks, trials.ground_truth(run, border)
    train, rows = run.pets.split("train"), []
    models = [("pseudo", 0.0), *((kind, x) for x in shares for kind in ("true", "both"))]

    def trained(seed: int, kind: str, share: float) -> tuple[Predictor, int]:
        marked = labelled_part(marked_train, share, seed, balanced) if share else []
        folders = {} if kind == "true" else {s.id: pseudo for s in train}
        folders |= dict.fromkeys(marked, ground_truth)
        # A pseudo-mask comes with the source's label, a ground-truth mask with the data set's.
        classes = start.targets | {i: run.pets.sample(i).label(labels) for i in marked}
        targets = trials.targets(run, folders, sorted(folders), labels, classes).cycle(
            steps * s.training.batch_size, seed)
        # With ground truth for every photo, "both" is "true".
        name = f"{'true' if len(marked) == len(train) else kind}-{share:g}-{seed}"
        model = trials.train(run, name, targets, labels, seed=seed, epochs=1,
                             levels=s.self_training.self_training_levels)
        return model, len(marked)

    each = [(seed, *of) for seed, of in product(seeds, models)]
    ahead(partial(trained, *of) for of in each)
    for seed, kind, share in each:
        model, n = trained(seed, kind, share)
        predictions = predict_features(model, run.features, [s.id for s in test])
        values = mean_iou(zip(test, (p for _, p in predictions), strict=True))
        row = {"kind": kind, "share": share, "masks": n, "seed": seed}
        rows += [row | {"border": b, "value": v} for b, v in values.items()]
    return pd.DataFrame(rows)


def labelled_part(train: tuple[Sample, ...], share: float, seed: int, balanced: bool = False
                  ) -> list[str]:
    """A seeded share of train, at least one photo; a larger share contains the smaller ones. With
    `balanced`, one of each breed comes before a second of any."""
    order = np.random.default_rng(seed).permutation(len(train))
    if balanced:
        breeds = pd.Series([train[i].breed for i in order])
        order = order[breeds.groupby(breeds).cumcount().argsort(kind="stable")]
    return sorted(train[i].id for i in order[: max(1, round(share * len(train)))])


def crossing(curve: pd.DataFrame, border: str = "ignore") -> float:
    """How many ground-truth masks alone give as good a model as pseudo-masks alone: linear in the
    logarithm between the points of the curve; inf where no number does, and 0 where the smallest
    one gives a better one: the curve does not begin early enough to say more."""
    means = curve[curve["border"] == border].groupby(["kind", "masks"])["value"].mean()
    level, points = means["pseudo"].iloc[0], means["true"].sort_index()
    reached = (points >= level).to_numpy()
    if not reached.any():
        return math.inf
    right = reached.argmax()
    around = points.iloc[max(0, right - 1) : right + 1]
    return float(np.exp(np.interp(level, around, np.log(around.index), left=-math.inf)))


def counted(masks: float, curve: pd.DataFrame) -> str:
    """What `crossing` has found on a curve, in words where it is beyond one of the curve's ends."""
    ends = curve.loc[curve["kind"] == "true", "masks"].agg(["min", "max"])
    return {0: f"fewer than {ends['min']}", math.inf: f"more than {ends['max']}"}.get(
        masks, f"{masks:.0f}")


def summary(curve: pd.DataFrame, border: str = "ignore") -> pd.DataFrame:
    """A row per kind of model and number of masks: `iou`, the mean over `seeds`, with the
    `smallest` and the `largest`."""
    values = curve[curve["border"] == border].groupby(["kind", "masks"], sort=False)["value"]
    over = dict(iou="mean", smallest="min", largest="max", seeds="size")
    return values.agg(**over).reset_index()


def sentences(curve: pd.DataFrame, border: str = "ignore") -> list[str]:
    """How many ground-truth masks the pseudo-masks replace, by all seeds and seed by seed."""
    masks, *of_seeds = (counted(crossing(part, border), part) for part in (
        curve, *(part for _, part in curve.groupby("seed"))))
    treated = "ignored" if border == "ignore" else f"as {border}"
    return [f"the mean of ground-truth masks alone crosses the level of pseudo-masks alone at "
            f"**{masks}** masks (seed by seed {', '.join(of_seeds)}), border {treated}"]
