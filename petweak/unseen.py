"""Unseen breeds: masks, finetuning and student never meet one breed; how well is it segmented?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from petweak import metrics, trials
from petweak.maskformer.targets import load_targets
from petweak.recipes import named
from petweak.study import Run

# What might help a student with animals unlike those of train: to lean on fewer channels, or on
# maps that know less of classes.
TRIED: tuple[dict[str, Any], ...] = (
    {},
    {"plus_dropout": 0.0},
    {"plus_dropout": 0.3},
    {"plus_dropout": 0.5},
    {"taps": ("before", "stride16", "stride8")},
    {"decoder_channels": 16},
)


def leave_one_out(run: Run, source: str, labels: str, breeds: Iterable[str] = ()) -> pd.DataFrame:
    """For every breed of `breeds`, or of the set: masks and self-training without it, scored on
    its photos of test, beside those that did meet it.

    Makes what is lacking in the run's variants/. Returns a row per breed, border and
    what was scored (`of`: the source's `masks`, or the `student`): `source`, `labels`, `breed`,
    `of`, `border`, `n_images`, `unseen` and `seen` (mean IoU without and with the breed in train).
    """
    rows = []
    for breed in breeds or run.pets.breeds:
        without, test = without_breed(run, breed)
        for of in ("masks", "student"):
            tables = [_photos(r, source, labels, of) for r in (without, run)]
            tables = [t[t["id"].isin(test)] for t in tables]
            for border in metrics.BORDERS:
                means = (t[f"iou/{border}"].mean() for t in tables)
                rows.append((source, labels, breed, of, border, len(test), *means))
    columns = ["source", "labels", "breed", "of", "border", "n_images", "unseen", "seen"]
    return pd.DataFrame(rows, columns=columns)


def without_breed(run: Run, breed: str) -> tuple[Run, set[str]]:
    """The run's variant that learns nothing from `breed`, and the photos of it in test."""
    test = {s.id for s in run.pets.split("test") if run.pets.breeds[s.breed] == breed}
    train = {s.id for s in run.pets.split("train") if run.pets.breeds[s.breed] != breed}
    return run.variant(f"without-{breed}", frozenset(train | test), leave_out=breed), test


def tried(
    run: Run,
    breed: str,
    source: str = "labels_free",
    labels: str = "species",
    recipes: Iterable[Mapping[str, Any]] = TRIED,
    border: str = "ignore",
) -> pd.DataFrame:
    """What would the student of a breed that is left out have been with other settings? The last
    one is trained again by every recipe, from the same last masks; and from the true masks of the
    same photos. The trimaps of `breed` are looked at, so no setting may be taken from here.

    Returns a row each: `breed`, `masks` (pseudo, true), `recipe`, `iou` (on the breed in test).
    """
    without, test = without_breed(run, breed)
    last, start, s = without.rounds(source, labels)[-1], without.start(source, labels), run.settings
    truth = without.variant(f"border-{border}", without.only, border=border)
    truth.masks("ground_truth")
    grid, ids, rows = s.image_size // 2, sorted(start.wanted), []
    own = dict(taps=s.selftrain_taps, epochs=s.last_epochs, seed=s.seed + 1000 * last.number)
    folders = {"pseudo": last.masks, "true": truth.masks_folder("ground_truth")}
    for masks, folder in folders.items():
        taught = load_targets(folder, ids, [start.wanted[i] for i in ids], grid)
        for changes in recipes if masks == "pseudo" else [{}]:
            name = f"unseen-{masks} {named(changes)}"
            student = trials.train(without, name, taught, labels, **own | changes)
            iou = trials.student_ious(without, student, sorted(test), border).mean()
            rows.append((breed, masks, named(changes), iou))
    return pd.DataFrame(rows, columns=["breed", "masks", "recipe", "iou"])


def by_recipe(table: pd.DataFrame) -> pd.DataFrame:
    """What `tried` returns, of several breeds: a row per masks and recipe, a column per breed, and
    their `mean`."""
    index = ["masks", "recipe"]
    wide = table.pivot_table(index=index, columns="breed", values="iou", sort=False)
    return wide.assign(mean=wide.mean(axis=1))


def lost(table: pd.DataFrame, border: str = "ignore") -> pd.DataFrame:
    """What not having met a breed costs: means of `leave_one_out` over breeds, then over seeds
    (column `seed`, if there is one). Returns a row per source and what was scored: `source`, `of`,
    `unseen`, `seen`, `lost` (seen - unseen), `seeds`, `smallest`, `largest` (of a seed, unseen),
    and who found the settings' `defaults`, as in `beyond.summary`.
    """
    part = table[table["border"] == border]
    part = part if "seed" in part else part.assign(seed=0)
    by_seed = part.groupby(["source", "of", "seed"], sort=False)[["unseen", "seen"]].mean()
    by_seed = by_seed.assign(lost=by_seed["seen"] - by_seed["unseen"])
    groups = by_seed.groupby(["source", "of"], sort=False)
    spread = groups["unseen"].agg(seeds="size", smallest="min", largest="max")
    return groups.mean().join(spread).reset_index().assign(defaults="oracle")


def _photos(run: Run, source: str, labels: str, of: str) -> pd.DataFrame:
    """A row per photo: of the source's masks, or of what self-training from them came to."""
    if of == "masks":
        return run.mask_scores(source).photos
    return run.self_trained_scores(source, labels).photos
