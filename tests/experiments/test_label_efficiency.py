"""Models of ground truth, of pseudo-masks and of both, and where their curves cross."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from petweak.experiments.label_efficiency import (
    counted,
    crossing,
    label_efficiency,
    labelled_part,
    sentences,
    summary,
)


def test_the_curve(self_trained):
    run, train = self_trained, self_trained.pets.split("train")
    curve = label_efficiency(run, shares=(0.02, 1.0), seeds=(0,), steps=2)
    assert set(curve["kind"]) == {"true", "pseudo", "both"} and len(curve) == 5 * 3
    assert curve[curve["share"] == 1.0]["masks"].unique().tolist() == [len(train)]
    again = label_efficiency(run, shares=(0.02, 1.0), seeds=(0,), steps=2)
    assert again.equals(curve)
    whole = curve[curve["share"] == 1.0].pivot(index="border", columns="kind", values="value")
    assert (whole["true"] == whole["both"]).all()
    models = list((run.folder / "experiments" / "trials").iterdir())
    assert {m.name for m in models} == {"pseudo-0-0", "true-0.02-0", "both-0.02-0", "true-1-0"}
    configs = [json.loads((m / "config.json").read_text()) for m in models]
    rows = {2 * run.settings.training.batch_size}
    assert {c["n_images"] for c in configs} == rows, "as many steps for all"


def test_a_larger_share_contains_the_smaller_ones(self_trained):
    train = self_trained.pets.split("train")
    few, more = (set(labelled_part(train, share, 0)) for share in (0.1, 0.5))
    assert few < more and len(labelled_part(train, 1e-9, 0)) == 1


def test_a_balanced_part_has_a_photo_of_each_breed_before_a_second_of_any(self_trained):
    train = self_trained.pets.split("train")
    breed = {s.id: s.breed for s in train}
    share = len(set(breed.values())) / len(train)
    part = labelled_part(train, share, 0, balanced=True)
    assert sorted(breed[i] for i in part) == sorted(set(breed.values()))
    assert set(part) < set(labelled_part(train, 1.5 * share, 0, balanced=True))
    assert part != labelled_part(train, share, 1, balanced=True)


def test_where_curves_cross():
    rows = [("pseudo", 0, 0.6), ("true", 10, 0.5), ("true", 1000, 0.7)]
    curve = pd.DataFrame(rows, columns=["kind", "masks", "value"]).assign(border="ignore")
    assert crossing(curve) == pytest.approx(100)  # half way in the logarithm
    assert crossing(curve.assign(value=[0.9, 0.5, 0.7])) == float("inf")
    assert crossing(curve.assign(value=[0.5, 0.5, 0.7])) == pytest.approx(10)
    assert crossing(curve.assign(value=[0.1, 0.5, 0.7])) == 0  # below 10, nobody knows where
    said = [counted(n, curve) for n in (0, 37.4, float("inf"))]
    assert said == ["fewer than 10", "37", "more than 1000"]


def test_what_the_curve_says_is_computed_from_it():
    rows = [(*of, seed) for seed, level in enumerate((0.625, 0.875)) for of in (
        ("pseudo", 0, level), ("true", 10, 0.5), ("true", 1000, 0.75))]
    curve = pd.DataFrame(rows, columns=["kind", "masks", "value", "seed"]).assign(border="ignore")
    (said,) = sentences(curve.assign(value=curve["value"] - 0.125 * (curve["kind"] == "pseudo")))
    assert said == ("the mean of ground-truth masks alone crosses the level of pseudo-masks alone "
                    "at **100** masks (seed by seed 10, 1000), border ignored")
    (said,) = sentences(curve.assign(value=curve["value"] - 0.25 * (curve["kind"] == "pseudo")))
    assert "at **10** masks (seed by seed fewer than 10, 100)" in said
    (said,) = sentences(curve)
    assert "at **1000** masks (seed by seed 100, more than 1000)" in said
    assert summary(curve).iloc[0].to_dict() == {
        "kind": "pseudo", "masks": 0, "iou": 0.75, "smallest": 0.625, "largest": 0.875, "seeds": 2}
