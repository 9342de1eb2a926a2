"""Mistakes on hand-made maps, and both curves and mistakes against the study's own numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import small
from torch import nn

from petweak import mistakes, sweeps
from petweak.mistakes import MISTAKES, Case, mistake_table, mistaken
from petweak.study import Run


@pytest.fixture
def case() -> Case:
    """Two photos of 2 x 2 cells. Channel 0 is on in the left column, 1 in the right one; class 0
    looks at channel 0, class 1 at channel 1; the head names class 0, the labels say 1 and 0."""
    maps = torch.zeros(2, 2, 2, 2)
    maps[:, 0, :, 0], maps[:, 1, :, 1] = 4.0, 2.0
    maps[1] *= 3
    head = nn.Linear(2, 2)
    with torch.no_grad():
        head.weight.copy_(torch.eye(2))
        head.bias.zero_()
    return Case(maps, maps, torch.tensor([1, 0]), head, finetuned=False, backbone=None)


LEFT, RIGHT = [[1.0, 0.0], [1.0, 0.0]], [[0.0, 0.5], [0.0, 0.5]]


def test_what_each_explanation_looks_at(case):
    def found(explain):  # a map is sum of weight / places * channel
        return explain(case).detach()

    assert torch.allclose(found(mistakes.named_class), torch.tensor([LEFT, LEFT]) * _scale())
    assert torch.allclose(found(mistakes.label_as_class_id), torch.tensor([RIGHT, LEFT]) * _scale())
    assert found(mistakes.minus_gradient).max() == 0
    assert torch.allclose(found(mistakes.another_photo), torch.tensor([LEFT, LEFT]) * _scale(3, 1))
    # the mean of the weights (1, 0) / 4 for both channels
    both = torch.tensor([[0.5, 0.25], [0.5, 0.25]])
    assert torch.allclose(found(mistakes.mean_over_channels), both.expand(2, 2, 2) * _scale())


def _scale(first: float = 1.0, second: float = 3.0) -> torch.Tensor:
    return torch.tensor([first, second])[:, None, None]


def test_an_untrained_head_does_not_look_where_the_trained_one_does(case):
    assert not torch.allclose(mistakes.untrained_head(case), mistakes.named_class(case))
    again = mistakes.untrained_head(case)
    assert torch.equal(mistakes.untrained_head(case), again)  # drawn with a fixed seed
    trained = Case(**{**vars(case), "finetuned": True})
    assert torch.equal(mistakes.untrained_head(trained), mistakes.label_as_class_id(trained))


def test_decisions_and_targets_by_hand():
    soft = np.arange(20).reshape(4, 5) / 20  # 0, 0.05, ... 0.95
    assert mistakes.above(soft, 0.5).sum() == 9
    assert mistakes.below(soft, 0.5).sum() == 11
    assert mistakes.the_peak(soft, 0.5).sum() == 1
    assert mistakes.above_bytes(soft, 0.5).sum() == 0
    many = np.arange(1000.0).reshape(20, 50)
    assert mistakes.top_twentieth(many, 0.5).sum() == 49
    trimap = np.array([[1, 2, 3, 3]], np.uint8)
    wanted = {"pet": [1, 0, 1, 1], "background": [0, 1, 0, 0], "border": [0, 0, 1, 1],
              "not_zero": [1, 1, 1, 1]}  # fmt: skip
    for name, mask in wanted.items():
        assert getattr(mistakes, name)(trimap).astype(int).tolist() == [mask]


def test_scores_by_hand():
    mask, target = np.array([[True, True, False]]), np.array([[True, False, False]])
    # overlap 255, sums 510 and 1
    assert mistakes.byte_sums(mask, target) == pytest.approx(255 / (510 + 1 - 255))
    # pet 1/2, background 1/2, over 38 classes
    assert mistakes.mean_over_absent_classes(mask, target) == pytest.approx(1 / 38)


def test_every_mistake_says_which_step_is_wrong():
    assert MISTAKES["none"].about == ""
    assert MISTAKES["inverted map"].about.startswith("Inverted")
    assert all(p.about for name, p in MISTAKES.items() if name != "none")


@pytest.fixture(scope="module")
def run(rendered, tmp_path_factory) -> Run:
    chosen = small(cam_target="top1", cam_mirror=False, threshold="0.5")
    return Run(tmp_path_factory.mktemp("mistakes"), rendered, chosen)


def test_no_mistake_gives_the_studys_own_figures(run):
    ids = [s.id for s in run.pets.split("test")]
    table = mistake_table(run, ids, names=["none", "inverted map"])
    row = table.set_index("mistake").loc["none"]
    for source in mistakes.HEADS:
        photos = run.mask_scores(source).photos.set_index("id").loc[ids]
        assert row[source] == pytest.approx(photos["iou/pet"].mean(), abs=1e-6)
    assert table["area"].between(0, 1).all()


def test_masks_of_mistakes_have_the_photos_size(run):
    first = run.pets.samples[0].id
    ((sample, trimap, masks),) = mistaken(run, "gradcam_pretrained", [first], list(MISTAKES))
    assert sample.id == first and set(masks) == set(MISTAKES)
    assert all(m.dtype == bool and m.shape == trimap.shape for m in masks.values())
    assert np.array_equal(masks["inverted map"], ~masks["none"])


def test_unknown_names_are_refused(run):
    with pytest.raises(KeyError):
        next(mistaken(run, "gradcam_pretrained", ["x"], ["no such mistake"]))
    with pytest.raises(ValueError, match="no linear head"):
        next(mistaken(run, "mask_rcnn", ["x"], ["none"]))


def test_the_curve_goes_through_the_studys_own_figure(run):
    ids = [s.id for s in run.pets.split("train")]
    curve = sweeps.threshold_curve(run, "gradcam_pretrained", ids)
    photos = run.mask_scores("gradcam_pretrained").photos.query("split == 'train'")
    assert curve[0.5] == pytest.approx(photos["iou/pet"].mean(), abs=1e-6)
    assert list(curve) == sorted(curve) and max(curve) == 0.95


def test_the_criterion_has_its_maximum_at_the_chosen_threshold(run):
    chooses = Run(run.folder, run.data_root, small(threshold="val"))
    source = chooses.source("gradcam_pretrained")
    source.fit()
    curve = sweeps.criterion_curve(chooses, "gradcam_pretrained", sorted(chooses.val_ids))
    assert max(curve, key=curve.get) == source.threshold()
