"""Linear probes of the frozen feature maps, and models by the levels that they see."""

from __future__ import annotations

import json

import numpy as np
import torch
from conftest import small

from petweak.data.feature_cache import Features
from petweak.data.masks import write_mask
from petweak.data.oxford_pets import Sample
from petweak.experiments.levels import levels
from petweak.experiments.probes import probe, probes
from petweak.study.run import Run


def test_a_probe_learns_a_linear_rule(tmp_path):
    """The left half of the photo is the pet, and one channel says so."""
    trimap = np.full((8, 8), 2, np.uint8)
    trimap[:, :4] = 1
    write_mask(tmp_path / "a.png", trimap)
    sample = Sample("a", tmp_path / "a.png", tmp_path / "a.png", 0, 0, "train", "a")
    maps = np.random.default_rng(0).normal(size=(1, 2, 3, 4, 4)).astype(np.float16)
    maps[..., 1, :, :2], maps[..., 1, :, 2:] = 1, -1
    features = Features(tmp_path, ("a",), ("final",), arrays={"final": maps})
    logits = probe(features, "final", (sample,))(torch.from_numpy(maps[0, :1]).float())
    assert logits.shape == (1, 1, 4, 4)
    assert ((logits > 0).squeeze() == torch.tensor([1, 1, 0, 0]).bool()).all()


def test_probes_have_a_row_per_level(eight_breeds, tmp_path):
    run = Run(tmp_path, eight_breeds, small())
    table = probes(run)
    assert list(table["level"]) == list(run.features.levels) and table["iou"].between(0, 1).all()
    assert table["stride"].tolist() == [32, 32, 16, 8]
    ones = run.baseline_scores("all_ones").photos.query("split == 'test'")["iou/ignore"].mean()
    assert table["iou"].max() > ones


def test_models_see_one_level_more_each_time(self_trained):
    table = levels(self_trained, epochs=1)
    assert table["levels"].tolist()[:2] == ["final", "final, penultimate"] and len(table) == 4
    model = self_trained.folder / "variants/levels-4/models/ground_truth-species-ms"
    config = json.loads((model / "config.json").read_text())
    assert config["model"]["channel_dropout"] == 0
    assert config["settings"]["ground_truth"]["border"] == "ignore"
    assert table["iou"].between(0, 1).all()
