"""Configurations of self-training, from the same masks."""

from __future__ import annotations

import json

import pytest

from petweak.experiments.configurations import CRITERIA, configurations
from petweak.experiments.selection_criteria import rank_criteria
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
