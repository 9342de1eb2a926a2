"""The terms of the loss, by hand, by loops over pixels and by torch's own cross-entropy."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_matcher import WEIGHTS, batches, bce, cheapest, dice, random_batch, softmax
from torch.nn import functional as F

from petweak.models.losses import dice_loss, mask_loss, set_loss
from petweak.models.matcher import match


def test_mask_and_dice_loss_by_hand():
    logits = torch.tensor([[[0.0, 100.0], [-100.0, 0.0]]])
    targets = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    valid = torch.tensor([[[1.0, 1.0], [1.0, 0.0]]])
    assert mask_loss(logits, targets, valid).item() == pytest.approx(math.log(2) / 3, abs=1e-5)
    # soft mask .5, 1, 0 against 1, 1, 0: 1 - (2 * 1.5 + 1) / (1.5 + 2 + 1)
    assert dice_loss(logits, targets, valid).item() == pytest.approx(1 - 4 / 4.5, abs=1e-5)
    empty = torch.full((1, 2, 2), -100.0)
    assert dice_loss(empty, torch.zeros(1, 2, 2), torch.ones(1, 2, 2)).item() == 0
    nothing_counts = mask_loss(logits, targets, torch.zeros(1, 2, 2))
    assert nothing_counts.item() == 0  # and no division by zero


def test_the_ignore_region_does_not_count():
    output, targets, masks, valid = random_batch()
    changed = torch.where(valid[:, None] > 0, masks, 1 - masks)
    one = set_loss(output, targets, masks, valid, WEIGHTS, 0.1)
    other = set_loss(output, targets, changed, valid, WEIGHTS, 0.1)
    for term, value in one.items():
        torch.testing.assert_close(value, other[term])


def test_the_terms_are_of_the_matched_queries_and_weighted():
    output, targets, masks, valid = random_batch()
    indices = match(output, targets, masks, valid, WEIGHTS)
    classes, pairs = torch.full((2, 4), 3), []
    for b in range(2):
        for t in range(2):
            classes[b, indices[b, t]] = targets[b, t]
            pairs.append((output["mask_logits"][b, indices[b, t]], masks[b, t], valid[b]))
    by_class = torch.tensor([1.0, 1.0, 1.0, 0.1])  # "no object" comes last
    logits, triples = (
        output["class_logits"].flatten(0, 1),
        [torch.stack(x) for x in zip(*pairs, strict=True)],
    )
    expected = {
        "class": 2 * F.cross_entropy(logits, classes.flatten(), by_class),
        "mask": 5 * mask_loss(*triples).mean(),
        "dice": 5 * dice_loss(*triples).mean(),
    }
    terms = set_loss(output, targets, masks, valid, WEIGHTS, 0.1)
    assert terms.keys() == expected.keys()
    for term, value in terms.items():
        torch.testing.assert_close(value, expected[term])


pixels = st.lists(st.tuples(st.floats(-200, 200, width=32), st.floats(0, 1, width=32),
                            st.integers(0, 1)), min_size=1, max_size=12)


@settings(max_examples=50)
@given(pixels, st.integers(1, 3))
def test_mask_and_dice_loss_are_sums_over_pixels(drawn, copies):
    """Of each mask by itself, however many there are, and finite where exp would overflow."""
    maps = [torch.tensor(column).float().repeat(copies, 1)[:, None]
            for column in zip(*drawn, strict=True)]
    for loss, by_loops in ((mask_loss, bce), (dice_loss, dice)):
        expected = pytest.approx([by_loops(*zip(*drawn, strict=True))] * copies, rel=1e-4, abs=1e-5)
        assert loss(*maps).tolist() == expected


@pytest.mark.parametrize("loss", [mask_loss, dice_loss])
def test_gradients_are_differences(loss):
    """torch's gradient against the change of the loss for a small step, and none where nothing is
    valid."""
    g = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(2, 2, 3, 4, generator=g, dtype=torch.double)
    valid = (torch.rand(2, 3, 4, generator=g) > 0.3).double()
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, targets.sigmoid(), valid), logits)
    loss(logits, targets.sigmoid(), valid).sum().backward()
    assert (logits.grad[valid == 0] == 0).all() and (logits.grad[valid == 1] != 0).all()


@settings(max_examples=50)
@given(batches(), st.tuples(*[st.floats(0.5, 8)] * 3), st.floats(0.05, 1))
def test_the_terms_are_sums_over_photos_queries_and_objects(batch, weights, no_object):
    """Without a tensor: every query has a class, "no object" unless an object is matched to it."""
    output, classes, masks, valid = batch
    nothing = output["class_logits"].shape[-1] - 1
    cross = total = 0.0
    pairs = []
    for b, logits in enumerate(output["class_logits"].tolist()):
        matched = dict(zip(cheapest(batch, b, weights), range(classes.shape[1]), strict=True))
        for q, row in enumerate(logits):
            k = classes[b, matched[q]].item() if q in matched else nothing
            weight = no_object if k == nothing else 1.0
            cross, total = cross - weight * math.log(softmax(row)[k]), total + weight
        pairs += [(output["mask_logits"][b, q].flatten().tolist(), masks[b, t].flatten().tolist(),
                   valid[b].flatten().tolist()) for q, t in matched.items()]
    expected = {"class": cross / total}
    expected |= {name: sum(loss(*p) for p in pairs) / len(pairs)
                 for name, loss in (("mask", bce), ("dice", dice))}
    terms = set_loss(*batch, weights, no_object)
    for weight, (name, value) in zip(weights, expected.items(), strict=True):
        assert terms[name].item() == pytest.approx(weight * value, rel=1e-4, abs=1e-5), name


def test_the_loss_is_made_where_its_inputs_are():
    """Whatever the usual device: one without values here, in place of a GPU."""
    batch = random_batch()
    expected = set_loss(*batch, WEIGHTS, 0.1)
    with torch.device("meta"):
        assert set_loss(*batch, WEIGHTS, 0.1) == expected
