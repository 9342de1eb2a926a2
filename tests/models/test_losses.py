"""The terms of the loss, by hand and by torch's own cross-entropy."""

from __future__ import annotations

import math

import pytest
import torch
from test_matcher import WEIGHTS, random_batch
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
