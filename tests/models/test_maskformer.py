"""The network against its definition, written out layer by layer."""

from __future__ import annotations

import pytest
import torch

from petweak.models.maskformer import (
    MaskFormer,
    MaskFormerConfig,
    class_probabilities,
    foreground,
    model_name,
    semantic_weights,
    sine_encoding,
    upsample,
)


def build(classes=37, channels=(24,), **options) -> MaskFormer:
    config = MaskFormerConfig(
        classes, channels, decoder_channels=16, queries=3, **{"hidden": 32} | options
    )
    return MaskFormer(config).eval()


@pytest.mark.parametrize("classes", [1, 37])
def test_shapes_for_any_number_of_classes_and_any_photo(classes):
    output = build(classes)([torch.randn(2, 24, 4, 5)])
    assert output["class_logits"].shape == (2, 3, classes + 1)
    assert output["mask_logits"].shape == (2, 3, 64, 80)
    torch.testing.assert_close(class_probabilities(output).sum(1), torch.ones(2))
    assert 0 <= foreground(output).min() and foreground(output).max() <= 1


def test_the_parts_are_the_papers():
    m = MaskFormer(MaskFormerConfig(37, (2048,), decoder_channels=256, queries=100))
    assert len(m.transformer.layers) == 3 and m.transformer.layers[0].self_attn.num_heads == 8
    assert m.class_head[0].out_features == 768 and m.class_head[-1].out_features == 38
    kinds = [[type(layer).__name__ for layer in part] for part in m.pixel_decoder]
    assert kinds == [["Conv2d", "GroupNorm", "ReLU"]] * 4
    assert m.mask_head.kernel_size == (1, 1) and not m.laterals
    assert model_name(m.config.levels) == "maskformer"


def by_definition(
    m: MaskFormer, x: torch.Tensor, laterals: dict[int, torch.Tensor]
) -> torch.Tensor:
    """Upsample, 1x1 convolution to pixel embeddings, dot product with the query embedding."""
    pixels = x
    for stride, part in zip((16, 8, 4, 2), m.pixel_decoder, strict=True):
        pixels = upsample(part(pixels)) + laterals.get(stride, 0)
    memory = m.project(x).flatten(2).transpose(1, 2)
    queries = m.transformer(m.queries.weight.expand(len(x), -1, -1), memory)
    return torch.einsum("bqd,bdhw->bqhw", queries, m.mask_head(pixels))


def test_the_folded_mask_head_gives_the_masks_of_the_definition():
    m, x = build(), torch.randn(2, 24, 4, 4)
    torch.testing.assert_close(m([x])["mask_logits"], by_definition(m, x, {}), atol=1e-5, rtol=1e-4)


def test_finer_levels_join_by_one_lateral_convolution_where_the_decoder_has_their_grid():
    m = build(channels=(24, 10, 6, 5), levels=("final", "penultimate", "stride16", "stride8"))
    maps = [
        torch.randn(1, 24, 4, 4),
        torch.randn(1, 10, 4, 4),
        torch.randn(1, 6, 8, 8),
        torch.randn(1, 5, 16, 16),
    ]
    assert {k: v.kernel_size for k, v in m.laterals.items()} == {
        "stride16": (1, 1),
        "stride8": (1, 1),
    }
    laterals = {16: m.laterals["stride16"](maps[2]), 8: m.laterals["stride8"](maps[3])}
    expected = by_definition(m, torch.cat(maps[:2], 1), laterals)
    torch.testing.assert_close(m(maps)["mask_logits"], expected, atol=1e-5, rtol=1e-4)
    assert model_name(m.config.levels) == "maskformer-ms"


def test_a_batch_gives_what_its_photos_give_alone():
    m, x = build(), torch.randn(3, 24, 4, 4)
    together = m([x])
    for i in range(3):
        alone = m([x[i : i + 1]])
        for name in together:
            torch.testing.assert_close(together[name][i], alone[name][0], atol=1e-5, rtol=1e-4)


def test_foreground_is_the_mask_of_the_query_with_an_object():
    output = {
        "class_logits": torch.tensor([[[20.0, 0.0, 0.0], [0.0, 0.0, 20.0]]]),
        "mask_logits": torch.tensor([[[[4.0, -4.0]], [[-9.0, 9.0]]]]),
    }
    torch.testing.assert_close(foreground(output), torch.tensor([[[4.0, -4.0]]]).sigmoid())
    torch.testing.assert_close(
        class_probabilities(output), torch.tensor([[1.0, 0.0]]), atol=1e-6, rtol=0
    )


def test_the_classes_of_pixels_are_maskformers_semantic_inference():
    """softmax without "no object", times sigmoid masks, as in its code, but for one factor a photo,
    which makes them add up to the foreground."""
    output = {"class_logits": torch.randn(3, 5, 8) * 3, "mask_logits": torch.randn(3, 5, 4, 6) * 5}
    masks = output["mask_logits"].sigmoid()
    scores = torch.einsum("bqc,bqhw->bchw", semantic_weights(output), masks)
    theirs = torch.einsum("bqc,bqhw->bchw", output["class_logits"].softmax(-1)[..., :-1], masks)
    factor = scores / theirs
    torch.testing.assert_close(factor, factor[:, :1, :1, :1].expand_as(factor))
    torch.testing.assert_close(scores.sum(1), foreground(output))


def test_channel_dropout_drops_whole_channels_in_training_alone():
    m, seen = build(channel_dropout=0.5), []
    m.project.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.rand(2, 24, 4, 4) + 1
    m([x])
    m.train()([x])
    predicting, training = seen
    assert torch.equal(predicting, x)
    gone = (training == 0).flatten(2)
    assert torch.equal(gone.all(2), gone.any(2)) and 0 < gone.float().mean() < 1
    torch.testing.assert_close(training[training > 0], (2 * x)[training > 0])


def test_transformer_dropout_is_a_setting_and_acts_in_training_alone():
    x = [torch.randn(1, 24, 4, 4)]
    for p, varies in ((0.0, False), (0.5, True)):
        m = build(transformer_dropout=p)
        assert torch.equal(m(x)["class_logits"], m(x)["class_logits"])
        m.train()
        assert torch.equal(m(x)["class_logits"], m(x)["class_logits"]) != varies


@pytest.mark.parametrize("blocks", [0, 1, 2, 3])
def test_fewer_blocks_leave_more_to_the_last_upsampling(blocks):
    m, x = build(blocks=blocks), torch.randn(2, 24, 4, 4)
    pixels = x
    for part in m.pixel_decoder[: max(blocks - 1, 0)]:
        pixels = upsample(part(pixels))
    pixels = m.mask_head(m.pixel_decoder[-1](pixels) if blocks else pixels)
    memory = m.project(x).flatten(2).transpose(1, 2)
    queries = m.transformer(m.queries.weight.expand(2, -1, -1), memory)
    masks = torch.einsum("bqd,bdhw->bqhw", queries, pixels)
    masks = upsample(masks, 64 // masks.shape[-1])
    assert len(m.pixel_decoder) == blocks
    torch.testing.assert_close(m([x])["mask_logits"], masks, atol=1e-5, rtol=1e-4)


def test_reduced_the_decoder_sees_fewer_channels_and_the_transformer_all():
    plain, slim = build(blocks=1), build(blocks=1, reduce=True)
    x, d = torch.randn(2, 24, 4, 4), slim.config.decoder_channels
    slim.load_state_dict(plain.state_dict() | {
        "pixel_decoder.0.0.weight": plain.pixel_decoder[0][0].weight[:, :d],
        "reduce.weight": torch.eye(d, 24)[..., None, None], "reduce.bias": torch.zeros(d)})
    rest = torch.cat([x[:, :d], torch.zeros_like(x[:, d:])], 1)
    for_the_transformer, pixels = slim.pixels([x])
    torch.testing.assert_close(pixels, plain.pixels([rest])[1], atol=1e-5, rtol=1e-4)
    assert torch.equal(for_the_transformer, x)
    assert sum(p.numel() for p in slim.parameters()) < sum(p.numel() for p in plain.parameters())


def test_a_level_that_the_decoder_does_not_reach_is_refused():
    build(channels=(24, 8), levels=("final", "stride8"), blocks=3)
    with pytest.raises(ValueError, match="blocks=2 do not reach final, stride8"):
        build(channels=(24, 8), levels=("final", "stride8"), blocks=2)


def test_without_layers_a_query_knows_the_mean_of_the_map():
    m, x = build(layers=0, hidden=0), torch.randn(2, 24, 4, 4)
    moved = x.flip(-1)  # the same mean, at other places
    logits = m([x])["class_logits"]
    torch.testing.assert_close(m([moved])["class_logits"], logits)
    assert not torch.allclose(m([2 * x])["class_logits"], logits)
    assert isinstance(m.class_head, torch.nn.Linear)


def test_only_with_the_encoding_do_places_tell_queries_anything():
    x = torch.randn(2, 24, 4, 4)
    for positional in (False, True):
        m = build(positional=positional)
        same = torch.allclose(m([x])["class_logits"], m([x.flip(-1)])["class_logits"], atol=1e-5)
        assert same != positional


def test_the_encoding_is_that_of_its_definition():
    e = sine_encoding(torch.zeros(1, 16, 3, 5))
    assert e.shape == (16, 3, 5)
    for k in range(4):
        step = 10_000 ** (-k / 4)
        rows, columns = torch.arange(3) * step, torch.arange(5) * step
        for offset, of in ((0, rows[:, None]), (8, columns[None])):
            torch.testing.assert_close(e[offset + k], of.sin().expand(3, 5))
            torch.testing.assert_close(e[offset + 4 + k], of.cos().expand(3, 5))
