"""How well is a breed segmented that masks, finetuning and models learnt nothing from?"""

from collections.abc import Callable
from itertools import product

import numpy as np
import pandas as pd
from scipy.stats import t

from petweak.evaluation import metrics
from petweak.experiments.trials import WEAK, for_border, learning_from, scored
from petweak.study.run import Run, Scores
from petweak.study.tasks import ahead, with_masks

OTHERS = ("species", {})  # the labels, and settings, of sources without self-training


def unseen_breeds(run: Run, seeds: tuple[int, ...] = (0, 1, 2),
                  sources: tuple[str, ...] = ("imagenet_only", "gradcam_finetuned"),
                  breeds: tuple[str, ...] = (), border: str = "ignore", draws: int = 0,
                  together: int = 5, photos: str = "all") -> pd.DataFrame:
    """For each of `breeds` (all that test has ground truth of unless given): masks and models
    without it, scored on its test photos, beside those that have it in train; the models are
    trained with `border`. The sources of WEAK are self-trained; others train one model.

    breeds: `beagle+pug` are left out together.
    draws: in place of `breeds`, so many draws of `together` of them, both species among them.
    photos: one of `trials.PHOTOS`; with those that have a trimap, all sources learn from the same.

    Returns a row per source, seed, breed, border of the score, and what was scored (`of`: the
    source's `masks`, or the `model`), with `unseen` and `seen` (mean IoU without and with the breed
    in train) and `n_images`. ValueError where breeds are unknown or too few to draw from."""
    run = learning_from(run, photos)
    rows, there = [], {s.breed_name for s in scored(run, "test")}
    groups = breeds or [*filter(there.__contains__, run.pets.breeds)]
    if draws:
        groups = ["+".join(drawn(run, sorted(there), together, seed)) for seed in range(draws)]
    weak = {source: (labels, flat) for _, source, labels, flat in WEAK}

    def scored_by(one: Run, source: str) -> Callable[[str, str], Scores]:
        return one.self_trained_scores if source in weak else one.model_scores

    each = [(s, seed, for_border(run, s, seed, border, **weak.get(s, OTHERS)[1]))
            for s, seed in product(sources, seeds)]
    ahead(with_masks(
        (scored_by(one, source), source, weak.get(source, OTHERS)[0]) for source, _, seen in each
        for one in (seen, *(without_breed(seen, *g.split("+"))[0] for g in groups))))
    for source, seed, seen in each:
        labels, _ = weak.get(source, OTHERS)
        for group in groups:
            unseen, test = without_breed(seen, *group.split("+"))
            for of in ("masks", "model"):
                scores = [r.mask_scores(source).photos if of == "masks" else
                          scored_by(r, source)(source, labels).photos for r in (unseen, seen)]
                means = [p[p["id"].isin(test)].mean(numeric_only=True) for p in scores]
                rows += [(source, labels, group, of, b, len(scored(run, test)),
                          *(m[f"iou/{b}"] for m in means), seed) for b in metrics.BORDERS]
    columns = ["source", "labels", "breed", "of", "border", "n_images", "unseen", "seen", "seed"]
    return pd.DataFrame(rows, columns=columns)


def drawn(run: Run, breeds: list[str], together: int, seed: int) -> list[str]:
    """`together` of `breeds`, at random, at least one of each species."""
    species = {s.breed_name: s.species for s in run.pets.samples}
    order = np.random.default_rng(seed).permutation(breeds).tolist()
    kinds = {species[b] for b in order}
    if not len(kinds) <= together < len(breeds):
        raise ValueError(f"together={together}: at least {len(kinds)}, one of each species, and "
                         f"fewer than the {len(breeds)} breeds of test")
    first = [next(b for b in order if species[b] == kind) for kind in sorted(kinds)]
    return sorted(first + [b for b in order if b not in first][: together - len(first)])


def without_breed(run: Run, *breeds: str) -> tuple[Run, set[str]]:
    """The run's variant that learns nothing from `breeds`, and the ids of their test photos."""
    test = {s.id for s in run.pets.split("test") if s.breed_name in breeds}
    train = {s.id for s in run.pets.split("train") if s.breed_name not in breeds}
    return run.variant(f"without-{'+'.join(breeds)}", only=frozenset(train | test),
                       leave_out=",".join(breeds)), test


def lost(table: pd.DataFrame, border: str = "ignore") -> pd.DataFrame:
    """What an unseen breed costs: means over breeds, then over seeds, of `unseen_breeds`. A row per
    source and what was scored: `source`, `of`, `unseen`, `seen`, `lost` (seen - unseen) with the
    limits `lost low` to `lost high` of Student's 95 % interval over draws, `draws` (of breeds left
    out), `worst` (unseen, of a draw), `seeds`; where there are several, `smallest` and `largest`
    (unseen, of a seed)."""
    part = table[table["border"] == border].assign(lost=table["seen"] - table["unseen"])
    keys = ["source", "of"]
    means = part.groupby([*keys, "seed"], sort=False)[["unseen", "seen", "lost"]].mean()
    groups = means.groupby(keys, sort=False)
    draws = part.groupby([*keys, "breed"])[["unseen", "lost"]].mean().groupby(keys)
    out = groups.mean().join(draws["unseen"].agg(draws="size", worst="min"))
    half = t.ppf(0.975, out["draws"] - 1) * draws["lost"].sem().reindex(out.index)
    out = out.assign(**{"lost low": out["lost"] - half, "lost high": out["lost"] + half})
    out = out.join(groups["unseen"].agg(seeds="size", smallest="min", largest="max"))
    one = ["smallest", "largest"] if out["seeds"].max() == 1 else []
    return out.drop(columns=one).reset_index()
