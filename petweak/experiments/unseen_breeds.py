"""How well is a breed segmented that masks, finetuning and models learnt nothing from?"""

from itertools import product

import pandas as pd

from petweak.evaluation import metrics
from petweak.experiments.trials import WEAK, for_border, scored
from petweak.study.run import Run


def unseen_breeds(
    run: Run, seeds: tuple[int, ...] = (0, 1, 2),
    sources: tuple[str, ...] = ("imagenet_only", "gradcam_finetuned"),
    breeds: tuple[str, ...] = (), border: str = "ignore",
) -> pd.DataFrame:
    """For each of `breeds` (all that test has ground truth of unless given): masks and
    self-training without it, scored on its test photos, beside those that have it in train; the
    models are trained with `border`.

    Returns a row per source, seed, breed, border of the score, and what was scored (`of`: the
    source's `masks`, or the `model`), with `unseen` and `seen` (mean IoU without and with the breed
    in train) and `n_images`."""
    rows, there = [], {s.breed_name for s in scored(run, "test")}
    for (_, source, labels, flat), seed in product((w for w in WEAK if w[1] in sources), seeds):
        seen = for_border(run, source, seed, border, **flat)
        for breed in breeds or filter(there.__contains__, run.pets.breeds):
            unseen, test = without_breed(seen, breed)
            for of in ("masks", "model"):
                photos = [(r.mask_scores(source) if of == "masks" else
                           r.self_trained_scores(source, labels)).photos for r in (unseen, seen)]
                means = [p[p["id"].isin(test)].mean(numeric_only=True) for p in photos]
                rows += [(source, labels, breed, of, b, len(scored(run, test)),
                          *(m[f"iou/{b}"] for m in means), seed) for b in metrics.BORDERS]
    columns = ["source", "labels", "breed", "of", "border", "n_images", "unseen", "seen", "seed"]
    return pd.DataFrame(rows, columns=columns)


def without_breed(run: Run, breed: str) -> tuple[Run, set[str]]:
    """The run's variant that learns nothing from `breed`, and the ids of its test photos."""
    test = {s.id for s in run.pets.split("test") if s.breed_name == breed}
    train = {s.id for s in run.pets.split("train") if s.breed_name != breed}
    return run.variant(f"without-{breed}", only=frozenset(train | test), leave_out=breed), test


def lost(table: pd.DataFrame, border: str = "ignore") -> pd.DataFrame:
    """What an unseen breed costs: means over breeds, then over seeds, of `unseen_breeds`. A row per
    source and what was scored: `source`, `of`, `unseen`, `seen`, `lost` (seen - unseen), `seeds`,
    `smallest`, `largest` (of a seed, unseen), and `defaults` as in `self_training_gains`."""
    part = table[table["border"] == border]
    by_seed = part.groupby(["source", "of", "seed"], sort=False)[["unseen", "seen"]].mean()
    by_seed = by_seed.assign(lost=by_seed["seen"] - by_seed["unseen"])
    groups = by_seed.groupby(["source", "of"], sort=False)
    spread = groups["unseen"].agg(seeds="size", smallest="min", largest="max")
    return groups.mean().join(spread).reset_index().assign(defaults="tuned on test")
