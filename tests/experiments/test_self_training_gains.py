"""Self-training beside full supervision: a model for each border, and means over seeds."""

from __future__ import annotations

import pandas as pd
import pytest
from safetensors.numpy import load_file

from petweak.experiments.self_training_gains import self_training_gains, summary


def test_each_border_has_a_model_of_its_own(self_trained):
    """The run's where its settings are these, a variant's elsewhere."""
    run = self_trained
    table = self_training_gains(run, (0,), ("imagenet_only", "ground_truth"), epochs=1)
    assert table["what"].tolist() == ["no target annotations"] * 2 + ["ground truth"] * 2
    assert table["border"].tolist() == ["ignore", "foreground"] * 2
    photos = run.self_trained_scores("imagenet_only", "species").photos.query("split == 'test'")
    assert table["model"][1] == pytest.approx(photos["iou/foreground"].mean())
    assert table["rounds"].tolist() == [2, 2, 0, 0]
    assert table["masks"].tolist()[2:] == [1, 1], "ground truth is its own masks"
    names = {p.name for p in (run.folder / "variants").iterdir()}
    truth = {f"ground_truth-seed-0-border-{b}" for b in ("ignore", "foreground")}
    assert names == truth | {"imagenet_only-seed-0-border-ignore"}
    variant = run.folder / "variants" / "imagenet_only-seed-0-border-ignore"
    assert not (variant / "features").exists()
    tight, wide = (
        load_file(folder / "models" / "imagenet_only-species" / "model.safetensors")
        for folder in (variant, run.folder)
    )
    assert any((tight[k] != wide[k]).any() for k in wide)


def test_the_summary_is_over_seeds():
    rows = [
        ("no target annotations", "imagenet_only", "species", s, "foreground", 0.6, v, 4)
        for s, v in ((0, 0.7), (1, 0.8))
    ]
    columns = ["what", "source", "labels", "seed", "border", "masks", "model", "rounds"]
    (row,) = summary(pd.DataFrame(rows, columns=columns)).to_dict("records")
    assert (row["seeds"], row["smallest"], row["largest"]) == (2, 0.7, 0.8)
    assert row["model"] == pytest.approx(0.75) and row["masks"] == pytest.approx(0.6)
    assert row["defaults"] == "tuned on test"
