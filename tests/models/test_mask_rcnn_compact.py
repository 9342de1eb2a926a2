"""The compact Mask R-CNN: the shipped weights segment pets, and the file is what it claims to
be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from petweak.data.oxford_pets import load_photo, load_trimap, read_pets
from petweak.evaluation.metrics import all_ones, iou, target
from petweak.models import mask_rcnn_compact as compact
from petweak.models import weights


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
def photos(rendered) -> list[torch.Tensor]:
    """Two of different sizes."""
    two = [np.array(load_photo(s.photo)) for s in read_pets(rendered).samples[:2]]
    return [
        torch.from_numpy(p).permute(2, 0, 1).float()[:, : 90 - 20 * i] / 255
        for i, p in enumerate(two)
    ]


def test_the_shipped_weights_segment_pets(model, rendered):
    scores, baseline = [], []
    for s in read_pets(rendered).samples[::12]:
        pet, valid = target(load_trimap(s.trimap), "ignore")
        scores.append(iou(compact.union(model, np.array(load_photo(s.photo))), pet, valid))
        baseline.append(iou(all_ones(pet.shape), pet, valid))
    assert np.mean(scores) > max(0.6, np.mean(baseline) + 0.2)


def test_output_is_torchvisions_at_the_size_of_each_photo(model, photos):
    with torch.inference_mode():
        output, (alone,) = model(photos), model(photos[1:])
    for photo, detections in zip(photos, output, strict=True):
        n = len(detections["scores"])
        assert 0 < n <= 5 and detections["scores"].min() >= 0.05
        assert detections["masks"].shape == (n, 1, *photo.shape[1:])
        assert 0 <= detections["masks"].min() and detections["masks"].max() <= 1
        assert set(detections["labels"].tolist()) <= set(compact.PETS)
    # Not depending on the rest of the batch.
    torch.testing.assert_close(output[1]["scores"], alone["scores"], atol=1e-3, rtol=0)


def test_the_file_is_small_float16_and_without_the_backbone():
    assert compact.WEIGHTS.stat().st_size < 4e6
    state = load_file(compact.WEIGHTS)
    assert {v.dtype for v in state.values()} == {torch.float16}
    assert not [k for k in state if "body" in k]
    assert all(torch.isfinite(v).all() for v in state.values())


def test_the_backbone_is_frozen_and_photos_are_normalised_once():
    model = compact.build()
    learnt = {k for k, p in model.named_parameters() if p.requires_grad}
    assert learnt == set(compact.trainable(model))
    assert not any(m.training for m in model.backbone.body.backbone.modules())
    photo = torch.rand(3, compact.SIZE, compact.SIZE)
    seen, _ = model.eval().transform([photo])
    torch.testing.assert_close(seen.tensors[0], photo * 2 - 1)


def test_save_and_load_return_the_same_network(tmp_path):
    path, model = tmp_path / "w.safetensors", compact.build()
    compact.save(model, path)
    again = compact.trainable(compact.load(path))
    for key, value in compact.trainable(model).items():
        assert torch.equal(again[key], value.half().float())


def test_load_names_a_file_that_is_missing_cut_or_of_another_network(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"none\.safetensors.*{compact.MODULE}"):
        compact.load(tmp_path / "none.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(compact.WEIGHTS.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"cut\.safetensors"):
        compact.load(cut)
    state = load_file(compact.WEIGHTS)
    key, other = sorted(state)[0], tmp_path / "other.safetensors"
    lacking = {k: v for k, v in state.items() if k != key}
    for wrong in (lacking, state | {"extra": torch.zeros(1)}, state | {key: torch.zeros(3, 1, 4)}):
        save_file(wrong, other)
        with pytest.raises(ValueError, match=r"other\.safetensors does not fit"):
            compact.load(other)


def test_the_fingerprint_follows_the_content(tmp_path, monkeypatch):
    shipped, path = weights.fingerprint("mask_rcnn_compact"), tmp_path / "w"
    monkeypatch.setattr(weights, "MASK_RCNN_COMPACT", path)
    prints = []
    for content in (b"one", b"two too", b"one"):
        path.write_bytes(content)
        prints.append(weights.fingerprint("mask_rcnn_compact"))
    assert prints[0] == prints[2] != prints[1] and shipped not in prints
