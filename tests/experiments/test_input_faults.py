"""Faults on purpose: each is the fault that it is said to be, and no other."""

from __future__ import annotations

import pytest
import torch
from conftest import small

from petweak.experiments.input_faults import INPUTS, batch_statistics, input_faults
from petweak.models.backbones import load_backbone
from petweak.study.run import Run


@pytest.fixture(scope="module")
def run(eight_breeds, tmp_path_factory) -> Run:
    return Run(tmp_path_factory.mktemp("inputs"), eight_breeds, small())


def test_ways_to_feed_a_detector():
    x = torch.zeros(3, 2, 2)
    x[0] = 0.485
    assert torch.equal(INPUTS["none"](x), x)
    assert INPUTS["0 to 255"](x)[0, 0, 0] == pytest.approx(255 * 0.485)
    assert INPUTS["normalised twice"](x)[0, 0, 0] == pytest.approx(0, abs=1e-6)
    assert INPUTS["blue first"](x)[:, 0, 0].tolist() == pytest.approx([0, 0, 0.485])


def test_a_detector_that_is_fed_rightly_has_the_studys_score(run):
    some = run.variant("some", only=frozenset(s.id for s in run.pets.samples[:6]))
    table = input_faults(some, ids=tuple(s.id for s in some.pets.samples))
    assert table["fault"].tolist() == list(INPUTS) and table["detected"].between(0, 1).all()
    photos, ious = some.mask_scores("mask_rcnn_compact").photos, table.set_index("fault")["iou"]
    assert ious["none"] == pytest.approx(photos["iou/foreground"].mean(), abs=1e-6)
    assert ious["0 to 255"] < ious["none"]


def test_a_network_with_batch_statistics_depends_on_the_batch_and_the_original_does_not():
    frozen = load_backbone("efficientnet_lite0")
    before = {k: v.clone() for k, v in frozen.state_dict().items()}
    copied = batch_statistics(frozen)
    photos = torch.rand(4, 3, 64, 64)
    with torch.no_grad():
        for network, same in ((frozen, True), (copied, False)):
            whole, part = network(photos)["final"][:2], network(photos[:2])["final"]
            assert torch.allclose(whole, part, atol=1e-4) == same
    weights = dict(copied.named_parameters())
    assert all(torch.equal(p, weights[n]) for n, p in frozen.named_parameters())
    assert all(torch.equal(v, before[k]) for k, v in frozen.state_dict().items())
