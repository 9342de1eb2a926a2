"""Do more photos without labels make better models, and what does each step of self-training give?

Photos are drawn without their labels, a larger number contains the smaller ones, and models of all
numbers take about as many steps. Then steps are taken away, one at a time.
"""

from functools import partial

import numpy as np
import pandas as pd

from petweak.evaluation.statistics import bootstrap
from petweak.experiments import trials
from petweak.experiments.self_training_gains import BORDERS
from petweak.study.run import Run
from petweak.study.tasks import ahead

# What is left without: the vote of refined maps, later rounds, the choice of confident masks, PAMR
# and the walk between rounds, the finer maps, channels left out, masks widened to the border.
AWAY = ("refinement=averaged", "rounds=1", "keep_fractions=1.0", "round_refinement=walk",
        "round_refinement=pamr", "self_training_levels=final", "channel_dropout=0.0",
        "background_threshold=0.5")


def unlabelled_photos(run: Run, photos: tuple[int, ...] = (200, 400, 800, 0),
                      configurations: tuple[str, ...] = AWAY, at: int = 200, steps_of: int = 400,
                      source: str = "imagenet_only", labels: str = "species",
                      seeds: tuple[int, ...] = (0,)) -> pd.DataFrame:
    """Self-train on each number of `photos` (0: all of train) with the run's settings, and on `at`
    photos in each of `configurations`. Epochs are scaled so that rounds take about as many steps as
    the settings would with `steps_of` photos; models of `at` photos have the settings' epochs.

    Returns a row per model and border of its score: `photos`, `steps_of` (as many as of so many
    photos), `configuration`, `seed`, `border`, `masks` (IoU of the first masks with ground truth,
    on the `n_masks` photos of train that have it), `model` (on test), and its `difference` from
    `against` (the same photos with the default configuration; the default with fewest photos),
    photo by photo, with the interval `low` to `high`, in which nothing of training again is
    counted. ValueError where no photo of test has a trimap, and for more photos than there are."""
    train, ids = (sorted(s.id for s in part) for part in (
        run.pets.split("train"), trials.scored(run, "test")))
    if too_many := [n for n in (*photos, at) if n > len(train)]:
        raise ValueError(f"{too_many[0]} photos: train has {len(train)}")
    s, rows = run.settings.self_training, []

    def drawn(n: int, seed: int, like: int) -> Run:
        order = np.random.default_rng(seed).permutation(train)[: n or len(train)]
        more = like / len(order)
        return run.variant(
            f"unlabelled-{len(order)}-like-{like}-seed-{seed}", frozenset((*order, *ids)),
            seed=seed, round_epochs=max(1, round(s.round_epochs * more)),
            last_epochs=max(1, round(s.last_epochs * more)))

    def score(one: Run, configuration: str) -> tuple[pd.DataFrame, dict[str, pd.Series]]:
        changed = trials.changes(configuration)
        if "refinement" in changed:  # the first masks are others
            one, changed = one.variant(configuration.replace("=", "-"), **changed), {}
        rounds = trials.self_train(one, f"rounds {configuration}", source, labels, **changed) if (
            changed) else one.rounds(source, labels)
        model, masks = one.predictor(rounds[-1].model), one.mask_scores(source).photos
        return masks[masks["split"] == "train"], {
            b: trials.model_ious(one, model, ids, b) for b in BORDERS}

    for seed in seeds:
        sizes = [(n, trials.DEFAULT, drawn(n, seed, steps_of)) for n in photos]
        without = [(at, c, drawn(at, seed, at)) for c in (trials.DEFAULT, *configurations)]
        groups = ((steps_of, sizes), (at, without if configurations else []))
        ahead(partial(score, one, c) for _, group in groups for _, c, one in group)
        for steps, group in groups:
            base: dict[str, pd.Series] = {}
            for n, configuration, one in group:
                masks, ious = score(one, configuration)
                base = base or ious
                for border, iou in ious.items():
                    gap, first = (iou - base[border]).to_numpy(), masks[f"iou/{border}"]
                    low, high = bootstrap(gap, n=run.settings.evaluation.bootstrap)
                    rows.append({
                        "photos": n or len(train), "steps_of": steps,
                        "configuration": configuration, "seed": seed, "border": border,
                        "masks": first.mean(), "n_masks": first.count(),
                        "model": iou.mean(), "against": f"{group[0][0]} photos, {group[0][1]}",
                        "difference": gap.mean(), "low": low, "high": high})
    return pd.DataFrame(rows)
