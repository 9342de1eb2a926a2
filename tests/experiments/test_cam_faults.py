"""Faults on maps made by hand, and no fault against the study's own scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import small
from torch import nn

from petweak.experiments.cam_faults import FAULTS, HEADS, Case, cam_faults, faulty_masks
from petweak.study.run import Run


@pytest.fixture
def case() -> Case:
    """Two photos of 2 x 2 positions. Channel 0 is on in the left column, 1 in the right one; class
    0 looks at channel 0, class 1 at channel 1; the head names class 0, the labels say 1 and 0."""
    maps = torch.zeros(2, 2, 2, 2)
    maps[:, 0, :, 0], maps[:, 1, :, 1] = 4.0, 2.0
    maps[1] *= 3
    head = nn.Linear(2, 2)
    with torch.no_grad():
        head.weight.copy_(torch.eye(2))
        head.bias.zero_()
    return Case(maps, maps, torch.tensor([1, 0]), head, finetuned=False, backbone=None)


LEFT, RIGHT = [[1.0, 0.0], [1.0, 0.0]], [[0.0, 0.5], [0.0, 0.5]]


def test_what_each_explanation_responds_to(case):
    def explained(name: str) -> torch.Tensor:  # a map is sum of weight / positions * channel
        return FAULTS[name].explain(case).detach()

    scale = torch.tensor([1.0, 3.0])[:, None, None]
    assert torch.allclose(explained("none"), torch.tensor([LEFT, LEFT]) * scale)
    assert torch.allclose(explained("label as class id"), torch.tensor([RIGHT, LEFT]) * scale)
    assert explained("minus gradient").max() == 0
    assert torch.allclose(explained("another photo"), torch.tensor([LEFT, LEFT]) * scale.flip(0))
    # the mean of the weights (1, 0) / 4 for both channels
    both = torch.tensor([[0.5, 0.25], [0.5, 0.25]])
    assert torch.allclose(explained("mean over channels"), both.expand(2, 2, 2) * scale)


def test_an_untrained_head_does_not_respond_as_the_trained_one_does(case):
    explain = FAULTS["untrained head"].explain
    assert not torch.allclose(explain(case), FAULTS["none"].explain(case))
    assert torch.equal(explain(case), explain(case))  # drawn with a fixed seed
    trained = Case(**{**vars(case), "finetuned": True})
    assert torch.equal(explain(trained), FAULTS["label as class id"].explain(trained))


def test_decisions_and_targets_by_hand():
    soft = np.arange(20).reshape(4, 5) / 20  # 0, 0.05, ... 0.95
    counts = {"none": 9, "inverted map": 11, "peak above 0.9": 1, "0/255 threshold": 0}
    assert {name: FAULTS[name].decide(soft, 0.5).sum() for name in counts} == counts
    many = np.arange(1000.0).reshape(20, 50)
    assert FAULTS["top 5 %"].decide(many, 0.5).sum() == 49
    trimap = np.array([[1, 2, 3, 3]], np.uint8)
    targets = {
        "none": [1, 0, 1, 1],
        "target: background": [0, 1, 0, 0],
        "target: border": [0, 0, 1, 1],
        "target: not zero": [1, 1, 1, 1],
    }
    for name, target in targets.items():
        assert FAULTS[name].target(trimap).astype(int).tolist() == [target]


def test_scores_by_hand():
    mask, target = np.array([[True, True, False]]), np.array([[True, False, False]])
    # overlap 255, sums 510 and 1
    assert FAULTS["0/255 sums"].score(mask, target) == pytest.approx(255 / (510 + 1 - 255))
    # foreground 1/2, background 1/2, over 38 classes
    assert FAULTS["absent classes"].score(mask, target) == pytest.approx(1 / 38)


def test_every_fault_says_what_differs():
    assert FAULTS["none"].about == ""
    assert all(p.about for name, p in FAULTS.items() if name != "none")


@pytest.fixture(scope="module")
def run(rendered, tmp_path_factory) -> Run:
    chosen = small(cam_target="top1", cam_mirror=False, threshold="0.5")
    return Run(tmp_path_factory.mktemp("faults"), rendered, chosen)


def test_no_fault_gives_the_studys_scores(run):
    table = cam_faults(run, ("none", "inverted map"))
    assert table.columns.tolist() == ["fault", *HEADS, "area", "about"]
    assert table["fault"].tolist() == ["none", "inverted map"]
    for source in HEADS:
        photos = run.mask_scores(source).photos.query("split == 'test'")
        assert table[source][0] == pytest.approx(photos["iou/foreground"].mean(), abs=1e-6)
    assert table["area"].between(0, 1).all()


def test_masks_of_faults_have_the_photos_size_and_the_network_stays_where_it_was(run):
    first, backbone, device = run.pets.samples[0].id, run.backbone, run.device
    ((sample, trimap, masks),) = faulty_masks(run, HEADS[0], [first], list(FAULTS))
    assert sample.id == first and set(masks) == set(FAULTS)
    assert all(m.dtype == bool and m.shape == trimap.shape for m in masks.values())
    assert np.array_equal(masks["inverted map"], ~masks["none"])
    assert run.backbone is backbone
    assert {p.device.type for p in backbone.parameters()} == {device.type}


def test_an_earlier_layer_is_explained_on_the_networks_device(case):
    """The maps go there; the network, which is the run's, is not moved."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.ones(()), requires_grad=False)

        def final_from(self, maps, level):
            assert level == "stride16" and maps.device == self.factor.device
            return maps * self.factor

        def _apply(self, *args, **kwargs):
            raise AssertionError("moved")

    moving = Case(**{**vars(case), "backbone": Net()})
    explained = FAULTS["earlier layer"].explain(moving)
    assert torch.allclose(explained, FAULTS["none"].explain(case).detach())


def test_unknown_names_are_refused(run):
    with pytest.raises(ValueError, match="unknown fault no such fault"):
        cam_faults(run, ("no such fault",))
    with pytest.raises(ValueError, match="no linear head"):
        next(faulty_masks(run, "mask_rcnn", ["x"], ["none"]))
