"""Unseen breeds: masks, finetuning and student never meet one breed; how well is it segmented?"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from petweak import metrics
from petweak.study import Run


def leave_one_out(run: Run, source: str, labels: str, breeds: Iterable[str] = ()) -> pd.DataFrame:
    """For every breed of `breeds`, or of the set: masks and self-training without it, scored on
    its photos of test, beside those that did meet it.

    Makes what is lacking in the run's variants/. Returns a row per breed, border and
    what was scored (`of`: the source's `masks`, or the `student`): `source`, `labels`, `breed`,
    `of`, `border`, `n_images`, `unseen` and `seen` (mean IoU without and with the breed in train).
    """
    rows = []
    for breed in breeds or run.pets.breeds:
        test = {s.id for s in run.pets.split("test") if run.pets.breeds[s.breed] == breed}
        train = {s.id for s in run.pets.split("train") if run.pets.breeds[s.breed] != breed}
        without = run.variant(f"without-{breed}", frozenset(train | test), leave_out=breed)
        for of in ("masks", "student"):
            tables = [_photos(r, source, labels, of) for r in (without, run)]
            tables = [t[t["id"].isin(test)] for t in tables]
            for border in metrics.BORDERS:
                means = (t[f"iou/{border}"].mean() for t in tables)
                rows.append((source, labels, breed, of, border, len(test), *means))
    columns = ["source", "labels", "breed", "of", "border", "n_images", "unseen", "seen"]
    return pd.DataFrame(rows, columns=columns)


def lost(table: pd.DataFrame, border: str = "ignore") -> pd.DataFrame:
    """What not having met a breed costs: means of `leave_one_out` over breeds, then over seeds
    (column `seed`, if there is one). Returns a row per source and what was scored: `source`, `of`,
    `unseen`, `seen`, `lost` (seen - unseen), `seeds`, and `smallest`, `largest`: of a seed, unseen.
    """
    part = table[table["border"] == border]
    part = part if "seed" in part else part.assign(seed=0)
    by_seed = part.groupby(["source", "of", "seed"], sort=False)[["unseen", "seen"]].mean()
    by_seed = by_seed.assign(lost=by_seed["seen"] - by_seed["unseen"])
    groups = by_seed.groupby(["source", "of"], sort=False)
    spread = groups["unseen"].agg(seeds="size", smallest="min", largest="max")
    return groups.mean().join(spread).reset_index()


def _photos(run: Run, source: str, labels: str, of: str) -> pd.DataFrame:
    """A row per photo: of the source's masks, or of what self-training from them came to."""
    if of == "masks":
        return run.mask_scores(source).photos
    return run.self_trained_scores(source, labels).photos
