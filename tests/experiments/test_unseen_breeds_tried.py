"""Other configurations for an unseen breed: the same masks, and ground truth beside them."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from petweak.experiments.unseen_breeds_tried import by_configuration, unseen_breeds_tried


def test_every_configuration_learns_from_the_same_photos(self_trained):
    run = self_trained
    breed, names = run.pets.breeds[3], ("default", "channel_dropout=0.5")
    table = unseen_breeds_tried(run, (breed,), configurations=names)
    assert table["masks"].tolist() == ["pseudo", "pseudo", "true"]
    assert table["configuration"].tolist() == [*names, "default"]
    assert table["iou"].between(0, 1).all() and table["iou"].nunique() == 3
    (trials,) = run.folder.glob(f"variants/*/variants/without-{breed}/experiments/trials")
    train = [s for s in run.pets.split("train") if s.breed_name != breed]
    for folder in trials.iterdir():
        assert json.loads((folder / "config.json").read_text())["n_images"] == len(train)


def test_a_column_per_breed_and_their_mean():
    rows = [
        ("cat", "pseudo", "default", 0.8),
        ("dog", "pseudo", "default", 0.6),
        ("cat", "true", "default", 0.9),
        ("dog", "true", "default", 0.5),
    ]
    columns = ["breed", "masks", "configuration", "iou"]
    table = by_configuration(pd.DataFrame(rows, columns=columns))
    assert table.columns.tolist() == ["cat", "dog", "mean"]
    assert table.loc[("pseudo", "default")].tolist() == pytest.approx([0.8, 0.6, 0.7])
