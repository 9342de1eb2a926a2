"""Predictions: from the cache, and of a photo."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import small
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F
from toy import CHANNELS, HEIGHT, WIDTH, make_features, names

from petweak.data.feature_cache import photo_features, photo_tensor
from petweak.data.files import write_json
from petweak.models.backbones import load_backbone
from petweak.models.maskformer import MaskFormer, MaskFormerConfig, class_probabilities, foreground
from petweak.training import inference
from petweak.training.inference import (
    Prediction,
    Predictor,
    load_model,
    predict_features,
    predict_photo,
)

LEVELS = ("final", "stride16")
NO_QUERY = torch.zeros(0, 1), torch.zeros(0, 1, 1)  # of a prediction whose segments nobody asks for


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
    prediction = Prediction(np.array([[0.0, 0.8]], np.float32), np.array([1.0]), *NO_QUERY)
    # Upsampled: 0, 0.2, 0.6, 0.8 and 0, 0.15, 0.45, 0.6. Decided first, both would be a half.
    assert prediction.mask(1, 4).tolist() == [[False, False, True, True]]
    half = Prediction(np.array([[0.0, 0.6]], np.float32), np.array([1.0]), *NO_QUERY)
    assert half.mask(1, 4).tolist() == [[False, False, False, True]]


def test_the_class_of_a_pixel_is_decided_after_upsampling():
    """Class 2 is the largest at no pixel of the grid, and is between two; 3 is the background."""
    queries = torch.eye(3), torch.tensor([[[0.9, 0.0]], [[0.0, 0.9]], [[0.6, 0.6]]])  # a class each
    prediction = Prediction(np.ones((1, 2), np.float32), np.ones(3), *queries)
    # 0.9, 0.675, 0.225, 0 of class 0 and the other way round of class 1
    assert prediction.segments(1, 4).tolist() == [[0, 0, 1, 1]]
    assert prediction.segments(1, 8).tolist() == [[0, 0, 0, 2, 2, 1, 1, 1]]
    faint = Prediction(np.array([[1.0, 0.3]], np.float32), np.ones(3), *queries)
    assert faint.segments(1, 8).tolist() == [[0, 0, 0, 2, 2, 3, 3, 3]]
    assert np.array_equal(faint.segments(5, 7) < 3, faint.mask(5, 7))
    tied = torch.eye(3)[1:], torch.ones(2, 1, 2)
    assert Prediction(faint.soft, np.ones(3), *tied).segments(1, 2).tolist() == [[1, 3]]


def test_a_class_that_may_win_between_two_pixels_of_the_grid_is_kept(monkeypatch):
    """A query a class; class 2 is second at every pixel of the grid, class 3 is always below it."""
    masks = torch.tensor([[[0.95, 0.7]], [[0.05, 0.95]], [[0.8, 0.8]], [[0.6, 0.5]]])
    output = {"class_logits": 99 * torch.eye(4, 5)[None], "mask_logits": masks.logit()[None]}
    config = MaskFormerConfig(4, (CHANNELS,), queries=4, decoder_channels=8)
    predictor = Predictor(MaskFormer(config), tuple("abcd"), "", 64, mirror=False)
    monkeypatch.setattr(predictor.model, "forward", lambda maps: output)
    ((_, prediction),) = predict_features(predictor, make_features(names(1), small()), names(1))
    assert set(prediction.semantic) == {0, 1, 2}
    assert prediction.segments(1, 8).tolist() == [[0, 0, 0, 0, 2, 1, 1, 1]]
    np.testing.assert_allclose(prediction.semantic[1], masks[1] / 4, atol=1e-6)


@pytest.mark.parametrize("queries, classes, mirror", [(2, 37, True), (7, 3, False), (99, 37, True)])
def test_segments_are_the_largest_of_all_classes_upsampled(queries, classes, mirror, monkeypatch):
    """MaskFormer's formula of any outputs, mean over the views; no class is left out before."""
    config = MaskFormerConfig(classes, (CHANNELS,), queries=queries, decoder_channels=8)
    predictor = Predictor(MaskFormer(config), tuple(map(str, range(classes))), "", 64, mirror)
    rng, outputs, views = torch.Generator().manual_seed(queries), [], []
    for turned in (False, True)[: 1 + mirror]:
        logits = 4 * torch.randn(3, queries, classes + 1, generator=rng)
        masks = 2 + 9 * torch.randn(3, queries, 6, 6, generator=rng)
        outputs.append({"class_logits": logits, "mask_logits": masks})
        p = logits.softmax(-1)
        scores = torch.einsum("bqc,bqhw->bchw", p[..., :-1], masks.sigmoid())
        scores /= (1 - p[..., -1]).sum(1)[:, None, None, None]
        views.append(scores.flip(-1) if turned else scores)
    left, seen = iter(outputs), set()
    monkeypatch.setattr(predictor.model, "forward", lambda maps: next(left))
    predictions = predict_features(predictor, make_features(names(3), small()), names(3))
    for scores, (_, prediction) in zip(torch.stack(views).mean(0), predictions, strict=True):
        np.testing.assert_allclose(scores.sum(0), prediction.soft, atol=1e-5)
        large = F.interpolate(scores[None], (50, 40), mode="bilinear")[0]
        segments, mask = prediction.segments(50, 40), prediction.mask(50, 40)
        assert np.array_equal(segments == classes, ~mask)
        (first, second), best = large.topk(2, dim=0)
        clear = mask & (first - second > 1e-6).numpy()
        assert np.array_equal(segments[clear], best[0].numpy()[clear])
        assert clear.sum() > 0.99 * mask.sum() > 100
        seen |= {*segments[mask].tolist()}
    assert len(seen) > 2


def test_a_prediction_of_many_classes_keeps_no_map_of_each():
    config = MaskFormerConfig(1000, (CHANNELS,), queries=2, decoder_channels=8)
    predictor = Predictor(MaskFormer(config).eval(), tuple(map(str, range(1000))), "", 64, True)
    for _, prediction in predict_features(predictor, make_features(names(3), small()), names(3)):
        views = 2 * config.queries
        assert (prediction.weights.shape, len(prediction.masks)) == ((views, 1000), views)
        kept = sum(v.nbytes for v in vars(prediction).values())
        assert kept < 0.05 * 1000 * prediction.soft.nbytes
        assert prediction.segments(40, 30).max() <= 1000


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
    with pytest.raises(FileNotFoundError, match="has no trained model"):
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
    with pytest.raises(ValueError, match=f"{folder}: .*are no whole model .*train it again"):
        load_model(folder)
