"""The compact detector's training: views, one step after another, and its log."""

import csv

import numpy as np
import pytest
import timm
import torch

from petweak.models import mask_rcnn_compact as compact
from petweak.rendered import train_detector as training


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Such small steps take seconds longer where threads wait for cores that others use."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny_views(seed=0, count=2):
    drawn = training.draw_scenes(range(20), stream=7, seed=seed, size=96)
    drawn = [s for s in drawn if s[1]][:count]
    rng = np.random.default_rng(seed)
    return [training.make_view(s, drawn[0], rng) for s in drawn]


def test_views_are_reproducible_and_their_boxes_hold_their_masks():
    views, again = tiny_views(), tiny_views()
    for view, twin in zip(views, again, strict=True):
        assert torch.equal(view.photo, twin.photo) and (view.packed == twin.packed).all()
        assert view.photo.shape == (3, compact.SIZE, compact.SIZE)
        target = view.target()
        assert len(target["boxes"]) == len(target["labels"]) == len(target["masks"])
        for mask, (x0, y0, x1, y1) in zip(target["masks"], target["boxes"].int(), strict=True):
            assert mask[y0:y1, x0:x1].sum() == mask.sum() > 0


def test_cached_maps_are_those_of_the_whole_network():
    model, views = compact.build(), tiny_views()
    photos = torch.stack([v.photo for v in views])
    seen, _ = model.transform(list(photos.float() / 255))
    for cached, level in zip(
        compact.frozen_maps(model, photos), model.backbone.body(seen.tensors).values(), strict=True
    ):
        torch.testing.assert_close(cached.float(), level, atol=2e-2, rtol=2e-3)


def test_training_steps_lower_the_loss(monkeypatch):
    # Built again, the backbone draws numbers before the heads that are trained do.
    monkeypatch.setattr(timm, "create_model", timm.models.create_model)
    torch.manual_seed(0)
    rows = training.train(compact.build(), tiny_views(), epochs=8, lr=2e-3, seed=0)
    sums = [sum(row[k] for k in training.LOSSES) for row in rows]
    assert np.isfinite(sums).all()
    assert np.mean(sums[-3:]) < 0.9 * sums[0]


def test_a_view_without_a_pet_can_be_learnt_from():
    scene = (np.full((90, 120, 3), 90, np.uint8), [])
    view = training.make_view(scene, scene, np.random.default_rng(0))
    rows = training.train(compact.build(), [view], epochs=1, lr=1e-3, seed=0)
    assert np.isfinite([rows[0][k] for k in training.LOSSES]).all()
    with pytest.raises(ValueError, match="no views"):
        training.train(compact.build(), [], epochs=1, lr=1e-3, seed=0)


def test_log_holds_the_epochs_and_the_measurements():
    with compact.WEIGHTS.with_name("mask_rcnn_compact_log.csv").open() as f:
        rows = list(csv.DictReader(f))
    epochs = [r for r in rows if r["epoch"]]
    assert float(epochs[-1]["loss_mask"]) < float(epochs[0]["loss_mask"])
    measured = {(r["set"], r["border"]): float(r["mean_iou"]) for r in rows if r["set"]}
    assert measured["held-out scenes", "ignore"] > 0.75
    assert measured["rendered pets", "ignore"] > 0.7


def test_measure_counts_the_border_both_ways(monkeypatch):
    photo = np.zeros((4, 4, 3), np.uint8)
    trimap = np.full((4, 4), 2, np.uint8)
    trimap[:2], trimap[2] = 1, 3
    monkeypatch.setattr(training, "union", lambda model, photo: trimap == 1)
    rows = training.measure(None, [(photo, trimap)], "a set")
    assert {r["border"]: r["mean_iou"] for r in rows} == {"ignore": 1.0, "foreground": 0.6667}
    assert {r["set"] for r in rows} == {"a set"} and {r["n_images"] for r in rows} == {1}
