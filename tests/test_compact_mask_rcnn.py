"""The compact Mask R-CNN: the shipped weights find pets, the file is what it claims to be."""

import csv

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from petweak import compact_mask_rcnn_train as training
from petweak.metrics import all_ones, iou
from petweak.pseudo_masks import compact_mask_rcnn as compact


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Such small steps take seconds longer where threads wait for cores that others use."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model():
    return compact.load()


@pytest.fixture(scope="module")
def scenes():
    """Scenes that training never drew: of a stream and a seed of their own."""
    drawn = training.draw_scenes(range(10), stream=7, seed=2024)
    return [s for s in drawn if s[1]]


def _tiny_views(seed=0, count=2):
    drawn = training.draw_scenes(range(20), stream=7, seed=seed, size=96)
    drawn = [s for s in drawn if s[1]][:count]
    rng = np.random.default_rng(seed)
    return [training.make_view(s, drawn[0], rng) for s in drawn]


def test_the_shipped_weights_find_the_pets_of_new_scenes(model, scenes):
    values, baseline = [], []
    for photo, animals in scenes:
        pet = np.any([m for _, m in animals], axis=0)
        values.append(iou(compact.union(model, photo), pet))
        baseline.append(iou(all_ones(pet.shape), pet))
    assert np.mean(values) > 0.7
    assert np.mean(values) > np.mean(baseline) + 0.2


def test_output_is_torchvisions_at_the_size_of_the_photo(model, scenes):
    photos = [torch.from_numpy(p).permute(2, 0, 1).float() / 255 for p, _ in scenes[:2]]
    photos[1] = photos[1][:, :150]  # sizes may differ within a batch
    with torch.inference_mode():
        found = model(photos)
    assert len(found) == 2 and not model.training
    for photo, detections in zip(photos, found, strict=True):
        n = len(detections["scores"])
        assert 0 < n <= 5
        assert detections["masks"].shape == (n, 1, *photo.shape[1:])
        assert 0 <= detections["masks"].min() and detections["masks"].max() <= 1
        assert set(detections["labels"].tolist()) <= set(compact.PETS)
        assert detections["scores"].min() >= 0.05


def test_masks_do_not_depend_on_the_batch(model, scenes):
    photos = [torch.from_numpy(p).permute(2, 0, 1).float() / 255 for p, _ in scenes[:2]]
    with torch.inference_mode():
        together, alone = model(photos)[1], model(photos[1:])[0]
    torch.testing.assert_close(together["scores"], alone["scores"], atol=1e-3, rtol=0)


def test_file_is_small_float16_and_without_the_backbone():
    assert compact.WEIGHTS.stat().st_size < 4e6
    state = load_file(compact.WEIGHTS)
    assert {v.dtype for v in state.values()} == {torch.float16}
    assert not [k for k in state if "body" in k]
    assert all(torch.isfinite(v).all() for v in state.values())


def test_backbone_is_frozen_and_normalises_once():
    model = compact.build()
    assert not any(p.requires_grad for p in model.backbone.body.parameters())
    assert not any(m.training for m in model.backbone.body.backbone.modules())
    learnt = {k for k, p in model.named_parameters() if p.requires_grad}
    assert learnt == set(compact.trainable(model))
    photo = torch.rand(3, compact.SIZE, compact.SIZE)
    seen, _ = model.eval().transform([photo])
    torch.testing.assert_close(seen.tensors[0], photo * 2 - 1)
    assert model.backbone.body.backbone.passes == 0


def test_save_and_load_return_the_same_network(tmp_path):
    path = tmp_path / "w.safetensors"
    model = compact.build()
    compact.save(model, path)
    again = compact.trainable(compact.load(path))
    for key, value in compact.trainable(model).items():
        torch.testing.assert_close(again[key], value.half().float(), atol=0, rtol=0)


def test_load_names_a_file_that_is_missing_cut_or_of_another_network(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors.*compact_mask_rcnn_train"):
        compact.load(tmp_path / "none.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(compact.WEIGHTS.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"cut\.safetensors"):
        compact.load(cut)
    state = load_file(compact.WEIGHTS)
    key = sorted(state)[0]
    for wrong in (
        {k: v for k, v in state.items() if k != key},
        {**state, "extra": torch.zeros(1)},
        {**state, key: torch.zeros(3, 1, 4)},
    ):
        path = tmp_path / "other.safetensors"
        save_file(wrong, path)
        with pytest.raises(ValueError, match=r"other\.safetensors does not fit"):
            compact.load(path)


def test_fingerprint_follows_the_content(tmp_path):
    path = tmp_path / "w"
    path.write_bytes(b"one")
    first = compact.fingerprint(path)
    path.write_bytes(b"two")
    assert compact.fingerprint(path) != first
    path.write_bytes(b"one")
    assert compact.fingerprint(path) == first
    assert len(compact.fingerprint()) == 32
    with pytest.raises(FileNotFoundError):
        compact.fingerprint(tmp_path / "none")


def test_views_are_reproducible_and_their_boxes_hold_their_masks():
    views, again = _tiny_views(), _tiny_views()
    for view, twin in zip(views, again, strict=True):
        assert torch.equal(view.photo, twin.photo) and (view.packed == twin.packed).all()
        assert view.photo.shape == (3, compact.SIZE, compact.SIZE)
        target = view.target()
        assert len(target["boxes"]) == len(target["labels"]) == len(target["masks"])
        for mask, (x0, y0, x1, y1) in zip(target["masks"], target["boxes"].int(), strict=True):
            assert mask[y0:y1, x0:x1].sum() == mask.sum() > 0


def test_cached_maps_are_those_of_the_whole_network():
    model, views = compact.build(), _tiny_views()
    photos = torch.stack([v.photo for v in views])
    seen, _ = model.transform(list(photos.float() / 255))
    for cached, level in zip(
        compact.frozen_maps(model, photos), model.backbone.body(seen.tensors).values(), strict=True
    ):
        torch.testing.assert_close(cached.float(), level, atol=2e-2, rtol=2e-3)


def test_training_steps_lower_the_loss():
    torch.manual_seed(0)
    rows = training.train(compact.build(), _tiny_views(), epochs=8, lr=2e-3, seed=0)
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
    with compact.WEIGHTS.with_name("compact_mask_rcnn_log.csv").open() as f:
        rows = list(csv.DictReader(f))
    epochs = [r for r in rows if r["epoch"]]
    assert float(epochs[-1]["loss_mask"]) < float(epochs[0]["loss_mask"])
    measured = {(r["set"], r["border"]): float(r["mean_iou"]) for r in rows if r["set"]}
    assert measured["held-out scenes", "ignore"] > 0.75
    assert measured["rendered pets", "ignore"] > 0.7
