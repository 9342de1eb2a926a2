"""What does self-training reach without masks, beside full supervision? Over several seeds."""

from collections.abc import Callable
from itertools import product

import pandas as pd

from petweak.experiments.trials import WEAK, for_border, scored
from petweak.study.results import score
from petweak.study.run import Run, Scores
from petweak.study.tasks import ahead, with_masks

BORDERS = ("ignore", "foreground")  # a model for each, trained and scored with it


def self_training_gains(run: Run, seeds: tuple[int, ...] = (0, 1, 2),
                        sources: tuple[str, ...] = (*(w[1] for w in WEAK), "ground_truth"),
                        epochs: int = 24, background_threshold: float = 0.05) -> pd.DataFrame:
    """Self-train from weak sources, and train on ground truth by the same levels for `epochs`
    (self-training sees photos more often, over its rounds). `background_threshold` widens the last
    masks for `border=foreground`.

    Returns a row per model, seed and border: `what`, `source`, `labels`, `seed`, `border`, `masks`
    (pseudo_iou_gt of the first masks on train), `model` (mask_iou_gt on test), `rounds`."""
    # As in self-training: all of train, no val, and the last epoch is the result.
    for split in ("train", "test"):
        scored(run, split)
    levels = run.settings.self_training.self_training_levels
    as_long = {"levels": levels, "epochs": epochs, "val_fraction": 0.0}
    full, rows = ("ground truth", "ground_truth", "species", as_long), []

    def scored_by(seed: int, what: tuple, border: str) -> Callable[[str, str], Scores]:
        one = for_border(run, what[1], seed, border, background_threshold, **what[3])
        return one.model_scores if what is full else one.self_trained_scores

    each = list(product(seeds, [w for w in (*WEAK, full) if w[1] in sources], BORDERS))
    ahead(with_masks((scored_by(*of), *of[1][1:3]) for of in each))
    for seed, of, border in each:
        (what, source, labels, _), model = of, scored_by(seed, of, border)
        one, weak = model.__self__, of is not full
        masks, scores = one.mask_scores(source), model(source, labels)
        first = score(pd.DataFrame(masks.rows), "pseudo_iou_gt", split="train", border=border)
        last = score(pd.DataFrame(scores.rows), "mask_iou_gt", border=border)
        rounds = len(one.rounds(source, labels)) if weak else 0
        rows.append((what, source, labels, seed, border, first, last, rounds))
    columns = ["what", "source", "labels", "seed", "border", "masks", "model", "rounds"]
    return pd.DataFrame(rows, columns=columns)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds of `self_training_gains`, with the smallest and the largest score of a
    model. `defaults`: the defaults of the settings were tuned with test scores in sight."""
    groups = table.groupby(["what", "source", "labels", "border"], sort=False)
    means = groups.agg(seeds=("seed", "nunique"), masks=("masks", "mean"), model=("model", "mean"))
    spread = groups["model"].agg(smallest="min", largest="max")
    return means.join(spread).reset_index().assign(defaults="tuned on test")
