"""Criteria that need no ground truth: by hand where that is possible, and how they rank
pipelines."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from toy import Squares, names, world

from petweak.pseudo_masks.selection import (
    CRITERIA,
    SAMPLE,
    Maps,
    agreement,
    check_criteria,
    confidence,
    mean_rank,
    otsu_share,
    rank_pipelines,
    sample_of_train,
)


class Views(Squares):
    """The same map in every view; counts how often it is asked."""

    views = True
    asked = 0

    def view(self, batch):
        self.asked += 1
        soft = super().probabilities(batch)
        return soft.flip(-1) if batch.mirror else soft

    def probabilities(self, batch):
        return self.view(batch)


def test_criteria_by_hand():
    a = torch.tensor([[[True, True, False]], [[False, False, False]]])
    b = torch.tensor([[[True, False, False]], [[False, False, False]]])
    assert agreement(a, b).tolist() == [0.5, 1.0]
    assert confidence(torch.tensor([[[1.0, 0.6, 0.2]]])).item() == pytest.approx(1.6 / 2.2)
    assert confidence(torch.tensor([[[0.2, 0.2]]])).item() == 0  # an empty mask
    assert otsu_share(torch.tensor([[[0.0, 0.0, 1.0]]])).item() == pytest.approx(1)
    assert otsu_share(torch.tensor([[[0.3, 0.3, 0.3]]])).item() == 0


@pytest.mark.parametrize("name", CRITERIA)
def test_every_criterion_gives_a_value_a_photo(tmp_path, name):
    context = world(tmp_path, refinement_scales=(1.0,))
    values = CRITERIA[name](Maps(Views(context), ("pamr",), names(3)), 0.5)
    assert values.shape == (3,) and torch.isfinite(values).all() and values.max() <= 1
    if name in ("mirror", "scale"):  # the source gives one map for all views
        assert values.min() > 0.95
    if name == "area":
        soft = Maps(Views(context), (), names(3)).soft
        assert torch.allclose(
            CRITERIA[name](Maps(Views(context), (), names(3)), 0.5),
            -((soft > 0.5).float().mean((1, 2)) - 1 / 3).abs(),
        )


def test_mirror_sees_a_source_whose_mirror_image_differs(tmp_path):
    class Onesided(Views):
        def view(self, batch):
            soft = super().view(batch)
            return soft * 0.5 if batch.mirror else soft

    maps = Maps(Onesided(world(tmp_path)), (), names(3))
    assert CRITERIA["mirror"](maps, 0.5).max() < 0.1


def test_the_rank_is_the_mean_of_ranks():
    values = pd.DataFrame({"a": [0.1, 0.2, 0.3], "b": [30.0, 10.0, 20.0]})
    assert mean_rank(values).tolist() == [2.0, 1.5, 2.5]


def test_pipelines_are_ranked_and_share_the_steps_that_they_begin_with(tmp_path):
    context = world(
        tmp_path, refinement_scales=(1.0,), selection_criteria="otsu,area", walk_steps=4
    )
    source = Views(context)
    table = rank_pipelines(source, ["averaged", "local", "affinity"])
    assert list(table) == ["pipeline", "otsu", "area", "rank"]
    assert table["rank"].tolist() == sorted(table["rank"], reverse=True)
    alone = Maps(source, ("affinity",), sample_of_train(source))
    row = table.set_index("pipeline").loc["affinity"]
    assert row["otsu"] == pytest.approx(CRITERIA["otsu"](alone, 0.5).mean().item())
    batches = 3
    source.asked = 0
    rank_pipelines(source, ["averaged", "local", "affinity"])
    # a map each for the three pipelines, and `multiscale` once for all of them: two views
    assert source.asked == batches * (3 + 2)


def test_the_sample_is_seeded_and_reads_no_label(tmp_path):
    context = world(tmp_path, n=SAMPLE + 9)
    chosen = sample_of_train(Squares(context))
    assert len(chosen) == SAMPLE and chosen == sorted(chosen)
    context.train_labels = {i: {} for i in context.train_labels}
    assert sample_of_train(Squares(context)) == chosen
    other = context.replace(context.settings.replace(seed=1))
    assert sample_of_train(Squares(other)) != chosen


def test_unknown_criteria_are_refused(tmp_path):
    for names_of in ("luck", "otsu,luck", ()):
        with pytest.raises(ValueError, match="selection_criteria=.*separation"):
            check_criteria(world(tmp_path, selection_criteria=names_of).settings)
