"""Recipes of self-training compared after the choice: what signals say of each, and ground truth.

`petweak.choices` does that for what comes before the first round; this is for what the rounds do.
A recipe is a few settings. No source reads what comes out of here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from petweak import trials
from petweak.choices import spearman_table
from petweak.maskformer.predict import Student, load_student, predict_cached
from petweak.pseudo_masks.refiners.base import photos_on_grid
from petweak.pseudo_masks.refiners.pamr import pamr
from petweak.pseudo_masks.signals import AREA, agreement, confidence
from petweak.study import Run

# One thing at a time is unlike the settings of the run, which are the first recipe.
RECIPES: tuple[dict[str, Any], ...] = (
    {},
    {"round_refine": ("walk",)},
    {"round_refine": ("walk", "pamr")},
    {"plus_dropout": 0.0},
    {"unsure": (0.05, 0.3)},  # IRN's
    {"border": "pet"},
)
AS_IT_IS = "as it is"
SIGNALS = ("rounds", "mirror", "pamr", "confidence", "area")


def compare_recipes(
    run: Run,
    source: str = "labels_free",
    labels: str = "species",
    recipes: Iterable[Mapping[str, Any]] = RECIPES,
) -> pd.DataFrame:
    """Self-train by every recipe, from the same masks. Returns a row each: `recipe`, the signals of
    its last student on train, all of them the more the better, and after them `train/ignore`,
    `train/pet`, `test/ignore`, `test/pet`: mean IoU of that student with ground truth.

        rounds        IoU of the last two rounds' masks
        mirror        IoU of its masks for the photo and for the mirror image
        pamr          IoU of its masks before and after one refiner, PAMR
        confidence    its answers are near 0 or 1 wherever it matters
        area          a pet fills about a third of a photo
    """
    rows = []
    ids = {split: [s.id for s in run.pets.split(split)] for split in ("train", "test")}
    for changes in recipes:
        name = named(changes)
        if changes:
            rounds = trials.self_train(run, f"recipe-{name}", source, labels, **changes)
        else:
            rounds = run.rounds(source, labels)
        last = rounds[-1]
        student = load_student(last.student, run.device)
        row = {"recipe": name, "rounds": last.agreement or 0.0}
        row |= _signals(run, student, ids["train"])
        student.mirror = run.settings.predict_mirror
        for split, part in ids.items():
            for border in ("ignore", "pet"):
                ious = trials.student_ious(run, student, part, border)
                row[f"{split}/{border}"] = ious.mean()
        rows.append(row)
    return pd.DataFrame(rows)


def named(changes: Mapping[str, Any]) -> str:
    """What a recipe is called: its settings, as `--set` has them."""
    values = {k: v if isinstance(v, tuple) else (v,) for k, v in changes.items()}
    return " ".join(f"{k}={','.join(map(str, v))}" for k, v in values.items()) or AS_IT_IS


def rank_by_signals(compared: pd.DataFrame, truth: str = "train/ignore") -> pd.DataFrame:
    """How well each signal ranks recipes: `signal`, `spearman` (with the column `truth`), and the
    `recipe` it would have chosen with the `iou` there; `ballot` is the mean of all ranks, and the
    last row is the oracle, which looks at ground truth."""
    return spearman_table(compared, SIGNALS, SIGNALS, truth, ["recipe"])


def choices(compared: pd.DataFrame) -> pd.DataFrame:
    """What each way of choosing on train comes to on test: `chosen by` (the run as it is, with an
    oracle's defaults; the ballot of the signals; the oracle, in one convention or the other),
    `recipe`, and IoU `ignore`, `pet`."""
    ranked = {b: rank_by_signals(compared, f"train/{b}").set_index("signal")["recipe"]
              for b in ("ignore", "pet")}  # fmt: skip
    chosen = {
        "an oracle's defaults": AS_IT_IS,
        "the signals' ballot": ranked["ignore"]["ballot"],
        "oracle, border ignored": ranked["ignore"]["oracle"],
        "oracle, border as pet": ranked["pet"]["oracle"],
    }
    by_recipe = compared.set_index("recipe")
    rows = [(by, r, *by_recipe.loc[r, ["test/ignore", "test/pet"]]) for by, r in chosen.items()]
    return pd.DataFrame(rows, columns=["chosen by", "recipe", "ignore", "pet"])


@torch.no_grad()
def _signals(run: Run, student: Student, ids: list[str]) -> dict[str, float]:
    found: dict[str, list[Tensor]] = {name: [] for name in SIGNALS[1:]}
    step = 16
    for k in range(0, len(ids), step):
        part = ids[k : k + step]
        one, both = (_soft(run, student, part, mirror) for mirror in (False, True))
        other = 2 * both - one  # the answer to the mirror image, because both is the mean
        smooth = pamr(both, photos_on_grid(run.context.batch(part), both.shape[-1]))
        found["mirror"].append(agreement(one > 0.5, other > 0.5))
        found["pamr"].append(agreement(both > 0.5, smooth > 0.5))
        found["confidence"].append(confidence(both))
        found["area"].append(-((both > 0.5).float().mean((1, 2)) - AREA).abs())
    return {name: torch.cat(values).mean().item() for name, values in found.items()}


def _soft(run: Run, student: Student, ids: list[str], mirror: bool) -> Tensor:
    student.mirror = mirror
    answers = predict_cached(student, run.features, ids)
    return torch.from_numpy(np.stack([a.soft for _, a in answers]))
