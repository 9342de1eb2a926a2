"""Configurations of self-training, from the same masks."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from petweak.experiments.configurations import (
    CRITERIA,
    chosen_configurations,
    configurations,
    rank_criteria,
)
from petweak.study.run import Run


def test_configurations_are_compared_from_the_same_masks(self_trained):
    one = Run(
        self_trained.folder,
        self_trained.data_root,
        self_trained.settings.replace(predict_mirror=False),
    )
    names = ("default", "rounds=1", "keep_fractions=1.0 channel_dropout=0.0")
    table = configurations(one, configurations=names)
    assert table["configuration"].tolist() == list(names)
    rounds = one.rounds("imagenet_only", "species")
    photos = one.self_trained_scores("imagenet_only", "species").photos.query("split == 'test'")
    assert table["test/foreground"][0] == pytest.approx(photos["iou/foreground"].mean(), abs=1e-6)
    assert table["rounds"].tolist()[:2] == [rounds[-1].agreement, 0]
    assert table[["mirror", "pamr", "confidence"]].le(1).all(axis=None)
    assert table["area"].le(0).all()
    models = one.folder / "experiments" / "trials" / f"rounds {names[2]}" / "models"
    config = json.loads((models / "imagenet_only-species-round1" / "config.json").read_text())
    assert config["model"]["channel_dropout"] == 0
    assert config["n_images"] == len(one.pets.split("train"))
    ranked = rank_criteria(table.assign(mirror=table["train/ignore"]), "train/ignore", CRITERIA)
    ranked = ranked.set_index("criterion")
    assert ranked.loc["mirror", "spearman"] == pytest.approx(1)
    assert ranked.loc["ground truth", "iou"] == table["train/ignore"].max()


def test_the_ways_of_choosing_a_configuration():
    names, better = ["default", "a=1", "b=2"], [0.1, 0.3, 0.2]
    compared = pd.DataFrame({"configuration": names} | dict.fromkeys(CRITERIA, better)).assign(
        **{
            "train/ignore": [0.5, 0.6, 0.9],
            "train/foreground": [0.9, 0.6, 0.5],
            "test/ignore": [0.4, 0.5, 0.8],
            "test/foreground": [0.8, 0.7, 0.6],
        }
    )
    table = chosen_configurations(compared)
    assert table["configuration"].tolist() == ["default", "a=1", "b=2", "default"]
    assert table["ignore"].tolist() == [0.4, 0.5, 0.8, 0.4]
    assert table["chosen by"][0] == "default (tuned on test)"
