"""Predictions: from the cache, of a photo, and as files."""

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
from petweak.data.masks import read_mask
from petweak.models.backbones import load_backbone
from petweak.models.maskformer import MaskFormer, MaskFormerConfig, class_probabilities, foreground
from petweak.training import inference
from petweak.training.inference import (
    Prediction,
    load_model,
    predict_features,
    predict_files,
    predict_photo,
)

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
        load_model(tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="holds no trained model"):
        load_model(folder)


# --- files


def test_a_mask_a_photo_of_the_photos_size(folder, photo, tmp_path):
    Image.new("L", (33, 21), 90).save(tmp_path / "tiny grey.jpg")
    photos = [str(tmp_path / "photo.png"), str(tmp_path / "tiny grey.jpg")]
    out = list(predict_files(photos, folder, tmp_path / "out"))
    assert [p.name for p in out] == ["photo.png", "tiny grey.png"]
    assert [read_mask(p).shape for p in out] == [(HEIGHT, WIDTH), (21, 33)]
    expected = predict_photo(load_model(folder), photo).mask(HEIGHT, WIDTH)
    assert np.array_equal(read_mask(out[0]), np.where(expected, 255, 0))


@pytest.mark.parametrize("where", [".", "sub/..", "link"])
def test_a_mask_never_replaces_its_photo(folder, photo, tmp_path, where, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = (tmp_path / "photo.png").read_bytes()
    for given in ("photo.png", str(tmp_path / "photo.png"), "link/photo.png"):
        with pytest.raises(ValueError, match="would replace its photo"):
            list(predict_files([given], folder, where))
    assert (tmp_path / "photo.png").read_bytes() == before


def test_what_cannot_work_is_refused_before_any_work(folder, photo, tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    photo.save(tmp_path / "other" / "photo.jpg")
    (tmp_path / "text.png").write_text("no picture")
    first, out = str(tmp_path / "photo.png"), tmp_path / "out"
    for photos, says in (
        ([first, str(tmp_path / "other" / "photo.jpg")], "two photos would both become photo.png"),
        ([first, str(tmp_path / "text.png")], "text.png cannot be read as a picture"),
        ([first, str(tmp_path / "none.png")], "none.png cannot be read"),
    ):
        with pytest.raises(ValueError, match=says):
            list(predict_files(photos, folder, out))
    assert not out.exists()


def test_a_picture_that_breaks_off_is_named_when_its_turn_comes(folder, photo, tmp_path):
    photo.save(tmp_path / "whole.jpg", quality=95)
    (tmp_path / "half.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:1500])
    photos = [str(tmp_path / "whole.jpg"), str(tmp_path / "half.jpg")]
    with pytest.raises(ValueError, match="half.jpg cannot be read as a picture"):
        list(predict_files(photos, folder, tmp_path / "out"))
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["whole.png"]


def test_files_are_predicted_on_the_device(folder, photo, tmp_path, monkeypatch):
    """The meta device stands for a GPU: the model and the backbone go there."""
    seen = []

    def predict(predictor, photo, backbone):
        seen.append((predictor.device.type, backbone.classifier.weight.device.type))
        return Prediction(np.zeros((4, 4), np.float32), np.ones(2))

    monkeypatch.setattr(inference, "predict_photo", predict)
    list(predict_files([str(tmp_path / "photo.png")], folder, tmp_path / "out", "meta"))
    list(predict_files([str(tmp_path / "photo.png")], folder, tmp_path / "out"))
    assert seen == [("meta", "meta"), ("cpu", "cpu")]
