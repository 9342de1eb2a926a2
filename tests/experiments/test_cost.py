"""The cost of self-training: on train alone, every stage, and nothing is left behind."""

from __future__ import annotations

import pytest
from conftest import ROUNDS, small

from petweak.experiments.cost import cost
from petweak.study.run import Run


def test_the_cost_is_of_train_alone_and_of_every_stage(eight_breeds, tmp_path):
    run = Run(tmp_path, eight_breeds, small(**ROUNDS))
    table, train = cost(run).set_index("stage"), len(run.pets.split("train"))
    assert table["photos"]["all"] == train and table["photos"]["features"] == 2 * train
    assert {"features", "masks imagenet_only"} < set(table.index)
    assert any(name.startswith("train imagenet_only species") for name in table.index)
    assert table["seconds"]["all"] == pytest.approx(table["seconds"].drop("all").sum(), abs=0.01)
    assert table["seconds"]["else"] > 0
    assert not (tmp_path / "experiments" / "cost").exists() and not (tmp_path / "masks").exists()
