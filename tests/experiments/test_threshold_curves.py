"""Both curves pass through what the study itself has at its threshold."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import small

from petweak.experiments.threshold_curves import THRESHOLDS, threshold_curves
from petweak.study.run import Run


@pytest.fixture(scope="module")
def run(eight_breeds, tmp_path_factory) -> Run:
    return Run(tmp_path_factory.mktemp("curves"), eight_breeds, small(threshold="0.5"))


def test_the_curve_passes_through_the_studys_score(run):
    some = run.variant("some", only=frozenset(s.id for s in run.pets.samples[:6]))
    ids = tuple(s.id for s in some.pets.samples)
    table = threshold_curves(some, ("gradcam_pretrained", "mask_rcnn_compact"), ids)
    assert table["threshold"].tolist() == 2 * list(THRESHOLDS)
    for source, part in table.groupby("source"):
        iou = part.set_index("threshold")["iou"][0.5]
        photos = some.mask_scores(source).photos
        assert iou == pytest.approx(photos["iou/foreground"].mean(), abs=1e-6)
    assert table.query("source == 'mask_rcnn_compact'")["separation"].isna().all()


def test_the_criterion_has_its_maximum_at_the_chosen_threshold(run):
    chooses = Run(run.folder, run.data_root, small(threshold="val"))
    curve = threshold_curves(chooses, ("gradcam_pretrained",))
    best = curve.loc[curve["separation"].idxmax(), "threshold"]
    assert best == chooses.fitted_source("gradcam_pretrained").threshold()
    assert np.isnan(curve["separation"].iloc[-1]), "no choice so far up"
