"""The opponents of MaskFormer: what their outputs mean, and prototypes against the definition."""

from __future__ import annotations

import pytest
import torch
from conftest import small
from torch.nn import functional as F
from toy import make_features, names, square

from petweak.config import LEVELS
from petweak.experiments.opponents import PerPixel, UNet, fit_prototypes
from petweak.models.maskformer import MaskFormerConfig
from petweak.training.targets import Targets


def config(levels=("final",), **options) -> MaskFormerConfig:
    return MaskFormerConfig(3, (4,) * len(levels), levels, decoder_channels=8, **options)


def maps(levels, b=2, side=2) -> list[torch.Tensor]:
    scale = {"final": 1, "penultimate": 1, "stride16": 2, "stride8": 4}
    return [torch.randn(b, 4, side * scale[level], side * scale[level]) for level in levels]


@pytest.mark.parametrize(("network", "levels", "blocks"), [
    (PerPixel, ("final",), 0), (PerPixel, ("final", "penultimate"), 0), (PerPixel, LEVELS, 4),
    (UNet, LEVELS, 4), (UNet, ("penultimate", "stride8"), 4)])
def test_every_pixel_has_its_classes_and_every_map_is_used(network, levels, blocks):
    model = network(config(levels, blocks=blocks)).eval()
    inputs = [m.requires_grad_() for m in maps(levels)]
    output = model(inputs)
    assert output["pixel_logits"].shape == (2, 4, 32, 32)
    output["pixel_logits"].square().sum().backward()
    assert all(m.grad.abs().sum() > 0 for m in inputs)
    assert all(p.grad is not None for p in model.parameters())  # nothing is counted that is idle


@pytest.mark.parametrize("network", [PerPixel, UNet])
def test_channels_are_dropped_as_from_a_maskformer(network):
    model, inputs = network(config(LEVELS, channel_dropout=0.9)), maps(LEVELS)
    once, again = (model(inputs)["pixel_logits"] for _ in range(2))
    assert not torch.equal(once, again)
    model.eval()
    assert torch.equal(*(model(inputs)["pixel_logits"] for _ in range(2)))


def test_it_is_read_by_hand():
    logits = torch.full((1, 4, 2, 2), -30.0)
    for (row, column), k in {(0, 0): 1, (0, 1): 1, (1, 0): 2, (1, 1): 3}.items():
        logits[0, k, row, column] = 30
    soft, classes, weights, masks = PerPixel.read({"pixel_logits": logits})
    assert soft[0].round().tolist() == [[1, 1], [1, 0]]  # class 3 is the background
    assert classes[0].tolist() == pytest.approx([0, 2 / 3, 1 / 3], abs=1e-6)
    segments = torch.einsum("qk,qhw->khw", weights[0], masks[0])
    torch.testing.assert_close(segments.sum(0), soft[0])
    assert segments[2].round().tolist() == [[0, 0], [1, 0]]


def test_the_loss_is_cross_entropy_over_what_is_valid():
    logits = torch.randn(2, 4, 3, 3)
    masks, valid = torch.randint(0, 2, (2, 1, 3, 3)).float(), torch.randint(0, 2, (2, 3, 3)).float()
    classes = torch.tensor([[2], [0]])
    labels = torch.where(masks[:, 0] > 0, classes[:, :, None], 3)
    labels[valid == 0] = -1
    terms = PerPixel.loss({"pixel_logits": logits}, classes, masks, valid, (1.0, 1.0, 1.0), 0.1)
    expected = F.cross_entropy(logits, labels, ignore_index=-1)
    torch.testing.assert_close(sum(terms.values()), expected)


def test_prototypes_are_the_nearest_means():
    ids, s = names(6), small()
    features, grid = make_features(ids, s), s.backbone.image_size // 2
    masks = [F.adaptive_avg_pool2d(square(i)[None], grid)[0] for i in ids]
    classes = torch.arange(6) % 2
    train = Targets.pack(ids, classes, [((255 * m).numpy(), m.numpy() >= 0) for m in masks])
    model = PerPixel(MaskFormerConfig(3, (4,), blocks=0)).eval()
    fit_prototypes(model, features, train)

    x = features.batch("final", ids)  # (6, 4, 2, 2)
    share = F.adaptive_avg_pool2d(train.masks.float() / 255, x.shape[-1])
    weight = torch.stack([share * (classes == k)[:, None, None] for k in (0, 1)] + [1 - share])
    means = torch.einsum("kbhw,bchw->kc", weight, x) / weight.sum((1, 2, 3))[:, None]
    flat = x.transpose(0, 1).flatten(1)
    z, centres = ((v.T - flat.mean(1)) / flat.std(1, correction=0) for v in (flat, means.T))
    nearest = torch.cdist(z, centres).argmin(1).reshape(6, *x.shape[-2:])
    logits = model.mask_head(x)
    nearest[nearest == 2] = 3  # the background is the last, and class 2 has no photo
    assert torch.equal(logits.argmax(1), nearest)
    assert {0, 3} <= set(nearest.flatten().tolist())
