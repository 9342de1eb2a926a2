import pytest
import torch
from torch.nn import functional as F

from petweak.maskformer.model import (
    MaskFormer,
    MaskFormerConfig,
    class_probabilities,
    foreground,
    upsample,
)


def model(classes=37, channels=(24,), **kw) -> MaskFormer:
    config = MaskFormerConfig(classes, channels, decoder_channels=16, queries=3, hidden=32, **kw)
    return MaskFormer(config).eval()


@pytest.mark.parametrize("classes", [1, 2, 37])
def test_shapes_for_any_number_of_classes(classes):
    out = model(classes)([torch.randn(2, 24, 4, 5)])
    assert out["class_logits"].shape == (2, 3, classes + 1)
    assert out["mask_logits"].shape == (2, 3, 64, 80)
    assert foreground(out).shape == (2, 64, 80)
    assert torch.allclose(class_probabilities(out).sum(1), torch.ones(2))
    assert 0 <= foreground(out).min() and foreground(out).max() <= 1


def test_the_folded_mask_head_gives_the_numbers_of_the_definition():
    """Definition: upsample, 1x1 convolution to pixel embeddings, dot product with the query."""
    m, x = model(), torch.randn(2, 24, 4, 4)
    out = m([x])
    pixels = x
    for part in m.pixel_decoder:
        pixels = upsample(part(pixels))
    pixels = m.mask_head(pixels)
    memory = m.project(x).flatten(2).transpose(1, 2)
    queries = m.transformer(m.queries.weight.expand(2, -1, -1), memory)
    expected = torch.einsum("bqd,bdhw->bqhw", queries, pixels)
    assert torch.allclose(out["mask_logits"], expected, atol=1e-5)


def test_a_batch_gives_what_its_photos_give_alone():
    m, x = model(), torch.randn(4, 24, 4, 4)
    together = m([x])
    for i in range(4):
        alone = m([x[i : i + 1]])
        for name in together:
            assert torch.allclose(together[name][i], alone[name][0], atol=1e-5)


def test_the_parts_are_the_papers():
    m = MaskFormer(MaskFormerConfig(37, (2048,), decoder_channels=256, queries=100))
    assert len(m.pixel_decoder) == 4 and len(m.transformer.layers) == 3
    assert m.transformer.layers[0].self_attn.num_heads == 8
    assert m.class_head[0].out_features == 768 and m.class_head[-1].out_features == 38
    assert m.mask_head.kernel_size == (1, 1)
    kinds = [[type(layer).__name__ for layer in part] for part in m.pixel_decoder]
    assert kinds == [["Conv2d", "GroupNorm", "ReLU"]] * 4


def test_finer_taps_join_by_one_lateral_convolution_where_the_decoder_has_their_grid():
    """petweak+ by its definition, in the order in which the taps were named."""
    taps = ("last", "before", "stride16", "stride8")
    m = model(channels=(24, 10, 6, 5), taps=taps)
    maps = [torch.randn(1, 24, 4, 4), torch.randn(1, 10, 4, 4), torch.randn(1, 6, 8, 8),
            torch.randn(1, 5, 16, 16)]  # fmt: skip
    out = m(maps)
    assert out["mask_logits"].shape == (1, 3, 64, 64)
    assert {k: v.kernel_size for k, v in m.laterals.items()} == dict.fromkeys(taps[2:], (1, 1))
    x = torch.cat(maps[:2], 1)
    pixels = upsample(m.pixel_decoder[0](x)) + m.laterals["stride16"](maps[2])
    pixels = upsample(m.pixel_decoder[1](pixels)) + m.laterals["stride8"](maps[3])
    pixels = upsample(m.pixel_decoder[3](upsample(m.pixel_decoder[2](pixels))))
    memory = m.project(x).flatten(2).transpose(1, 2)
    queries = m.transformer(m.queries.weight.expand(1, -1, -1), memory)
    expected = torch.einsum("bqd,bdhw->bqhw", queries, m.mask_head(pixels))
    assert torch.allclose(out["mask_logits"], expected, atol=1e-5)
    assert not model().laterals


def test_foreground_is_the_mask_of_the_query_that_is_sure():
    out = {
        "class_logits": torch.tensor([[[20.0, 0.0, 0.0], [0.0, 0.0, 20.0]]]),
        "mask_logits": torch.tensor([[[[4.0, -4.0]], [[-9.0, 9.0]]]]),
    }
    assert torch.allclose(foreground(out), F.sigmoid(torch.tensor([[[4.0, -4.0]]])), atol=1e-6)
    assert class_probabilities(out).argmax(1).item() == 0


def test_dropout_leaves_whole_channels_out_and_only_in_training():
    m, seen = model(dropout=0.5), []
    m.project.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.rand(2, 24, 4, 4) + 1
    m([x])
    m.train()([x])
    asked, trained = seen
    assert torch.equal(asked, x), "an answer sees everything"
    gone = (trained == 0).flatten(2)
    assert torch.equal(gone.all(2), gone.any(2)) and 0 < gone.float().mean() < 1
    assert torch.allclose(trained[trained > 0], 2 * x[trained > 0]), "what stays makes up for it"
