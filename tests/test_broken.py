"""Mistakes on purpose: each is the mistake that it is said to be, and no other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import small

from petweak import broken
from petweak.backbones import load_backbone
from petweak.maskformer.targets import Targets
from petweak.study import Run


@pytest.fixture(scope="module")
def run(rendered, tmp_path_factory) -> Run:
    return Run(tmp_path_factory.mktemp("broken"), rendered, small())


def test_an_unfrozen_copy_answers_by_its_company_and_the_original_does_not():
    frozen = load_backbone("efficientnet_lite0")
    before = {k: v.clone() for k, v in frozen.state_dict().items()}
    thawed = broken.unfrozen(frozen)
    photos = torch.rand(4, 3, 64, 64)
    with torch.no_grad():
        for network, same in ((frozen, True), (thawed, False)):
            whole, part = network(photos)["last"][:2], network(photos[:2])["last"]
            assert torch.allclose(whole, part, atol=1e-4) == same
    weights = dict(thawed.named_parameters())
    assert all(torch.equal(p, weights[n]) for n, p in frozen.named_parameters())
    assert all(torch.equal(v, before[k]) for k, v in frozen.state_dict().items())


def test_ways_to_feed_a_detector():
    x = torch.zeros(3, 2, 2)
    x[0] = 0.485
    assert torch.equal(broken.INPUTS["none"](x), x)
    assert broken.INPUTS["0 to 255"](x)[0, 0, 0] == pytest.approx(255 * 0.485)
    assert broken.INPUTS["normalised twice"](x)[0, 0, 0] == pytest.approx(0, abs=1e-6)
    assert broken.INPUTS["blue first"](x)[:, 0, 0].tolist() == pytest.approx([0, 0, 0.485])


def test_a_detector_that_is_fed_rightly_has_the_studys_own_figure(run):
    ids = [s.id for s in run.pets.split("test")][:6]
    table = broken.fed_wrongly(run, ids)
    assert list(table.index) == list(broken.INPUTS)
    photos = run.mask_scores("mask_rcnn").photos.set_index("id").loc[ids]
    assert table.loc["none", "iou"] == pytest.approx(photos["iou/pet"].mean(), abs=1e-6)
    assert table.loc["0 to 255", "iou"] < table.loc["none", "iou"]


def test_maps_together_share_one_scale():
    maps = torch.tensor([[[1.0, 3.0]], [[1.0, 5.0]]])
    assert broken.together(maps).tolist() == [[[0, 0.5]], [[0, 1]]]
    assert broken.together(torch.ones(1, 2, 2)).abs().max() == 0


def test_labels_are_dealt_out_not_invented_and_the_run_keeps_its_own(run):
    wrong = broken.shuffled_labels(run)
    own, dealt = run.context.train_labels, wrong.context.train_labels
    assert own == {s.id: {"breed": s.breed, "species": s.species} for s in run.pets.split("train")}
    assert set(own) == set(dealt) and own != dealt
    breeds = [sorted(v["breed"] for v in labels.values()) for labels in (own, dealt)]
    assert breeds[0] == breeds[1] and wrong.head.out_features == 37


def test_unmirrored_targets_ignore_the_mirror_alone():
    masks = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    right = Targets(["a"], torch.tensor([3]), masks, torch.ones_like(masks))
    wrong = broken.Unmirrored(**vars(right))
    rows = torch.tensor([0])
    for mirror, wanted in ((False, [0, 1]), (True, [1, 0])):
        flags = torch.tensor([mirror])
        assert right.batch(rows, flags)[1].flatten().tolist() == wanted
        assert wrong.batch(rows, flags)[1].flatten().tolist() == [0, 1]
        assert wrong.batch(rows, flags)[0].item() == 3


def test_dilation_grows_by_three_cells(run):
    soft = torch.zeros(1, 15, 15)
    soft[0, 7, 7] = 0.8
    grown = broken.Dilation(run.context).refine(soft, None, None)
    assert grown.shape == soft.shape and np.isclose(grown.max(), 0.8)
    assert (grown > 0).sum() == 49 and (grown[0, 4:11, 4:11] > 0).all()
