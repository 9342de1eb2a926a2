"""Criteria without ground truth, compared with ground truth."""

from __future__ import annotations

import pandas as pd
import pytest
from conftest import small

from petweak.experiments.selection_criteria import RANKED, rank_criteria, selection_criteria
from petweak.pseudo_masks.selection import CRITERIA
from petweak.study.run import Run


def test_settings_are_compared_on_train(eight_breeds, tmp_path):
    run = Run(tmp_path, eight_breeds, small(refinement_scales=(1.0,)))
    table = selection_criteria(run, pipelines=("averaged", "local"), thresholds=(0.3, 0.6))
    assert table["pipeline"].tolist() == ["averaged"] * 2 + ["local"] * 2
    assert table["threshold"].tolist() == [0.3, 0.6] * 2
    assert set(CRITERIA) < set(table) and table.notna().all(axis=None)
    assert table[["iou/ignore", "iou/foreground"]].gt(0).all(axis=None)


def test_criteria_are_ranked_by_ground_truth():
    score = [0.1, 0.2, 0.3, 0.4]
    compared = pd.DataFrame({name: score for name in CRITERIA}).assign(
        pipeline=list("abcd"), threshold=0.5, area=score[::-1], **{"iou/ignore": score}
    )
    table = rank_criteria(compared).set_index("criterion")
    assert table.loc["mirror", "spearman"] == pytest.approx(1)
    assert table.loc["area", "spearman"] == pytest.approx(-1) and table.loc["area", "iou"] == 0.1
    assert table.loc["mean_rank", "pipeline"] == table.loc["ground truth", "pipeline"] == "d"
    assert RANKED == small().refinement.selection_criteria
