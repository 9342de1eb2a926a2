"""Where the threshold of a map lies: Otsu's by OpenCV, separation by hand, and the rule of the
setting."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from toy import Squares, world

from petweak.pseudo_masks.refinement import Pipeline
from petweak.pseudo_masks.thresholds import GRID, choose_threshold, otsu, separation, separations


class Chooses(Squares):
    def threshold(self):
        return choose_threshold(self)

    def choice_ids(self):
        return sorted(self.context.val_ids)


def test_otsu_is_the_cut_with_the_least_variance_within():
    """Written out from Otsu's definition, over all cuts."""
    soft = np.random.default_rng(0).beta(0.5, 0.8, (20, 20)).astype(np.float32)
    grey = np.round(soft * 255)
    within = {}
    for cut in range(255):
        low, high = grey[grey <= cut], grey[grey > cut]
        if len(low) and len(high):
            within[cut] = len(low) * low.var() + len(high) * high.var()
    assert otsu(soft) * 255 == pytest.approx(min(within, key=within.get))
    assert cv2.threshold(grey.astype(np.uint8), 0, 255, cv2.THRESH_OTSU)[0] == otsu(soft) * 255


def test_separation_by_hand():
    """Two kinds of orthogonal features, half of the map each."""
    features = torch.zeros(1, 2, 2, 2)
    features[:, 0, 0], features[:, 1, 1] = 1, 5  # lengths do not count
    right = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    assert separation(features, right).item() == pytest.approx(1)
    assert separation(features, 1 - right).item() == pytest.approx(1)
    # one position of four: means (1, 0) and (1/3, 2/3); 3/16 of 8/9, of a total of 1/2
    assert separation(features, torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])).item() == pytest.approx(
        1 / 3
    )
    for nothing in (right * 0, right * 0 + 1):
        assert separation(features, nothing).item() == 0


def test_val_takes_the_threshold_whose_masks_separate_the_features_best(tmp_path):
    context = world(tmp_path, n=8, threshold="val")
    source, ids = Chooses(context), sorted(context.val_ids)
    chosen = choose_threshold(source)
    maps = context.features.batch("penultimate", ids)
    soft = torch.cat([source.probabilities(b) for b in context.batches(ids, 2)])
    curve = dict(zip(GRID, separations(soft, maps).mean(1).tolist(), strict=True))
    assert tuple(curve) == GRID and chosen == max(curve, key=curve.get) and chosen in GRID
    assert curve[chosen] > min(curve.values())


def test_the_setting_says_which_rule(tmp_path):
    assert choose_threshold(Chooses(world(tmp_path, threshold="otsu"))) == "otsu"
    assert choose_threshold(Chooses(world(tmp_path, threshold="0.3"))) == 0.3
    source = Chooses(world(tmp_path, threshold="val"))
    source.pipeline = Pipeline(("walk",), source.context)  # ends with Otsu's threshold at 0.5
    assert choose_threshold(source) == 0.5
    source.pipeline = Pipeline(("pamr",), source.context)
    assert choose_threshold(source) in GRID
    source.context.val_ids = frozenset()
    with pytest.raises(ValueError, match="val_fraction=0 leaves no photo"):
        choose_threshold(source)


def test_a_number_stands_although_the_pipeline_centres(tmp_path):
    """The manifest says that number, so the masks are cut there."""
    source = Chooses(world(tmp_path, threshold="0.3"))
    source.pipeline = Pipeline(("walk",), source.context)
    assert choose_threshold(source) == 0.3
