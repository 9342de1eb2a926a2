"""Predictions: from the cache, and of a photo."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import small
from PIL import Image
from safetensors.torch import save_file
from toy import CHANNELS, HEIGHT, WIDTH, make_features, names

from petweak.data.feature_cache import photo_features, photo_tensor
from petweak.data.files import write_json
from petweak.models.backbones import load_backbone
from petweak.models.maskformer import MaskFormer, MaskFormerConfig, class_probabilities, foreground
from petweak.training import inference
from petweak.training.inference import Prediction, load_model, predict_features, predict_photo

LEVELS = ("final", "stride16")


def write_model(folder, channels, **changes):
    """An untrained model, as training leaves it."""
    torch.manual_seed(0)
    model = MaskFormer(
        MaskFormerConfig(2, channels, LEVELS, decoder_channels=8, transformer_dropout=0.3)
    )
    folder.mkdir(parents=True)
    save_file(model.state_dict(), folder / "model.safetensors")
    settings = small(levels=LEVELS, **changes)
    write_json(
        folder / "config.json",
        {"classes": ["cat", "dog"], "model": vars(model.config), "settings": settings.to_dict()},
    )
    return folder


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("efficientnet_lite0")


@pytest.fixture
def folder(tmp_path, backbone):
    return write_model(tmp_path / "model", tuple(backbone.channels[level] for level in LEVELS))


@pytest.fixture
def photo(tmp_path) -> Image.Image:
    array = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(array).save(tmp_path / "photo.png")
    return Image.fromarray(array)


def test_a_mask_is_upsampled_before_it_is_decided():
    prediction = Prediction(np.array([[0.0, 0.8]], np.float32), np.array([1.0]))
    # Upsampled: 0, 0.2, 0.6, 0.8 and 0, 0.15, 0.45, 0.6. Decided first, both would be a half.
    assert prediction.mask(1, 4).tolist() == [[False, False, True, True]]
    assert Prediction(np.array([[0.0, 0.6]], np.float32), np.array([1.0])).mask(1, 4).tolist() == [
        [False, False, False, True]
    ]


def test_a_prediction_is_the_mean_over_the_photo_and_its_mirror_image(tmp_path):
    predictor = load_model(write_model(tmp_path / "m", (CHANNELS,) * 2, predict_mirror=True))
    assert predictor.mirror and predictor.classes == ("cat", "dog") and not predictor.model.training
    features = make_features(names(5), small())
    with torch.no_grad():
        straight, mirror = (
            predictor.model([features.batch(level, names(5), m) for level in LEVELS])
            for m in (False, True)
        )
    soft = (foreground(straight) + foreground(mirror).flip(-1)) / 2
    classes = (class_probabilities(straight) + class_probabilities(mirror)) / 2
    predictions = list(predict_features(predictor, features, names(5), batch_size=2))
    assert [i for i, _ in predictions] == names(5)
    for k, (_, p) in enumerate(predictions):
        np.testing.assert_allclose(p.soft, soft[k], atol=1e-5)
        np.testing.assert_allclose(p.classes, classes[k], atol=1e-5)
    predictor.mirror = False
    ((_, one),) = predict_features(predictor, features, names(1))
    np.testing.assert_allclose(one.soft, foreground(straight)[0], atol=1e-5)


def test_a_photo_of_no_cache_gets_the_prediction_that_the_cache_gives(folder, photo, backbone):
    predictor = load_model(folder)
    cached = photo_features(photo, backbone, small(), "photo")
    ((_, expected),) = predict_features(predictor, cached, ["photo"])
    fresh = predict_photo(predictor, photo, backbone)
    np.testing.assert_allclose(fresh.soft, expected.soft, atol=1e-3)
    np.testing.assert_allclose(fresh.classes, expected.classes, atol=1e-3)
    assert photo_tensor(photo, predictor.image_size).shape == (3, 64, 64)


def test_an_open_backbone_is_used_and_not_loaded_again(folder, photo, backbone, monkeypatch):
    monkeypatch.setattr(inference, "load_backbone", lambda name: pytest.fail("loaded again"))
    before = backbone.passes
    predict_photo(load_model(folder), photo, backbone)
    assert backbone.passes == before + 2  # the photo and its mirror image


def test_a_folder_without_a_model_says_what_makes_one(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match="petweak train"):
        load_model(tmp_path / "elsewhere" / "model")
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="holds no trained model"):
        load_model(folder)


def test_the_model_near_a_wrong_folder_is_named(folder, tmp_path):
    for wrong in (tmp_path, folder / "model.safetensors"):
        with pytest.raises(FileNotFoundError, match=f"there is {folder}"):
            load_model(wrong)


@pytest.mark.parametrize(
    "name, change",
    [
        ("config.json", lambda t: b'{"model_type": "bert"}'),
        ("config.json", lambda t: b"[]"),
        ("config.json", lambda t: t.replace(b'"epochs"', b'"ages"')),
        ("config.json", lambda t: t.replace(b'"decoder_channels": 8', b'"decoder_channels": 16')),
        ("model.safetensors", lambda t: t[: len(t) // 2]),
        ("model.safetensors", lambda t: b"version https://git-lfs.github.com/spec/v1"),
    ],
)
def test_files_that_are_no_whole_model_are_named(folder, name, change):
    changed = change((folder / name).read_bytes())
    assert changed != (folder / name).read_bytes()
    (folder / name).write_bytes(changed)
    with pytest.raises(ValueError, match=f"{folder}: .*are no whole model .*train it anew"):
        load_model(folder)
