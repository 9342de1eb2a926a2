"""What is on the clock, and what a rival learns from."""

from __future__ import annotations

from itertools import count
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import small
from torch import nn

from petweak.config import LEVELS
from petweak.data.oxford_pets import load_trimap
from petweak.evaluation.metrics import target
from petweak.experiments import time_to_quality as module
from petweak.experiments.time_to_quality import rival_learner, time_to_quality
from petweak.study.run import Run
from petweak.training.targets import Targets


@pytest.fixture(scope="module")
def run(rendered, tmp_path_factory) -> Run:
    return Run(tmp_path_factory.mktemp("quality"), rendered, small(levels=LEVELS))


def clock(monkeypatch):
    """Every look at it is a second after the one before."""
    ticks = map(float, count())
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))


@pytest.mark.parametrize("what", module.NETWORKS)
def test_scoring_is_not_on_the_clock_and_nothing_is_trained_again(run, what, monkeypatch):
    pytest.importorskip("segmentation_models_pytorch")
    pytest.importorskip("transformers")
    clock(monkeypatch)
    options = dict(networks=(what,), seeds=(1,), epochs=1, rival_epochs=1, every=2)
    table = time_to_quality(run, **options)
    assert table["step"].tolist() == [2, 4, 5] and set(table["seed"]) == {1}  # of 74 photos, by 16
    assert table["before"].tolist() == [2, 2, 2]  # masks; photos, or the pass over them
    assert table["seconds"].tolist() == [4, 6, 7]
    assert table["iou"].between(0, 1, inclusive="neither").all()
    files = (run.folder / "experiments" / "time_to_quality").iterdir()
    assert [f.name for f in files if what in f.name or f.is_dir()] == [f"{what}-1.json"]
    monkeypatch.setattr(module, "_curve", lambda *_: pytest.fail("again"))
    pd.testing.assert_frame_equal(time_to_quality(run, **options), table)
    with pytest.raises(pytest.fail.Exception):
        time_to_quality(run, **options | {"border": "background"})


class Map(nn.Module):
    """The same logits for every photo."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(x), 1, *self.logits.shape)


def test_a_rival_learns_the_mirrored_mask_where_it_is_valid(run):
    masks, valid = np.zeros((32, 32), np.uint8), np.ones((32, 32), np.uint8)
    masks[:, :8], valid[:4] = 255, 0
    image_id = run.pets.split("train")[0].id
    targets = Targets.pack([image_id], torch.tensor([0]), [(masks, valid)])
    net = Map(torch.zeros(64, 64))
    learner = rival_learner(net, run.settings, run, run, targets)
    learner.step(torch.tensor([0]), torch.tensor([True]), 0.01)
    moved = net.logits.detach()
    assert (moved[:8] == 0).all(), "the border, which is ignored"
    assert (moved[8:, 48:] > 0.009).all() and (moved[8:, :48] < -0.009).all()


def test_a_rival_is_scored_at_the_photos_size_over_both_views(run, monkeypatch):
    samples, net = run.pets.split("test")[:2], Map(torch.full((64, 64), 3.0))
    nothing = Targets.pack([run.pets.samples[0].id], torch.tensor([0]), [])
    learner, ids = rival_learner(net, run.settings, run, run, nothing), [s.id for s in samples]
    for border in ("ignore", "foreground"):
        truths = [target(load_trimap(s.trimap, s.photo), border) for s in samples]
        share = [(pet & keep).sum() / keep.sum() for pet, keep in truths]  # IoU of a full mask
        assert np.allclose(learner.ious(ids, border), share)
    seen = {}
    monkeypatch.setattr(module.trials, "ious", lambda run, masks, border: seen.update(masks))
    with torch.no_grad():
        net.logits[:] = -1.0
        net.logits[:, :16] = 4.0  # with the mirror image's, the right quarter, too
    learner.ious(ids, "ignore")
    for mask in seen.values():
        width = mask.shape[1]
        columns = mask.all(0)
        assert (columns == columns[::-1]).all() and (mask.any(0) == columns).all()
        assert abs(columns.sum() - width / 2) < width / 8


def test_an_unknown_network_is_refused(run):
    with pytest.raises(ValueError, match="unknown smp Linknet: there are petweak, smp FPN"):
        time_to_quality(run, networks=("smp Linknet",))
