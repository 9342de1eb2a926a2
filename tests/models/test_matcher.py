"""The matching against all assignments, and against scipy's."""

from __future__ import annotations

import itertools

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from petweak.models import matcher
from petweak.models.losses import dice_loss, mask_loss
from petweak.models.matcher import match

WEIGHTS = (2.0, 5.0, 5.0)


def random_batch(queries=4, objects=2, classes=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    output = {
        "class_logits": torch.randn(2, queries, classes + 1, generator=g),
        "mask_logits": torch.randn(2, queries, 6, 5, generator=g) * 3,
    }
    targets = torch.randint(0, classes, (2, objects), generator=g)
    masks = (torch.rand(2, objects, 6, 5, generator=g) > 0.5).float()
    return output, targets, masks, (torch.rand(2, 6, 5, generator=g) > 0.2).float()


def costs(output, targets, masks, valid, b) -> torch.Tensor:
    """(Q, T) of photo `b`, pair by pair, with the losses themselves."""
    table = torch.empty(output["class_logits"].shape[1], targets.shape[1])
    for q, t in itertools.product(*map(range, table.shape)):
        pair = output["mask_logits"][b, q][None], masks[b, t][None], valid[b][None]
        p = output["class_logits"][b, q].softmax(-1)[targets[b, t]]
        table[q, t] = WEIGHTS[1] * mask_loss(*pair) + WEIGHTS[2] * dice_loss(*pair) - WEIGHTS[0] * p
    return table


@pytest.mark.parametrize("seed", range(4))
def test_the_match_is_the_cheapest_of_all_assignments(seed):
    batch = random_batch(seed=seed)
    for b, matched in enumerate(match(*batch, WEIGHTS).tolist()):
        table = costs(*batch, b)
        assignments = itertools.permutations(range(4), 2)
        assert tuple(matched) == min(assignments, key=lambda qs: table[list(qs), [0, 1]].sum())  # noqa: B023


@pytest.mark.parametrize("seed", range(4))
def test_one_object_takes_scipys_assignment_without_calling_it(seed, monkeypatch):
    """A call would copy the costs from the GPU at every step."""
    batch = random_batch(objects=1, queries=5, seed=seed)
    monkeypatch.setattr(matcher, "linear_sum_assignment", lambda m: pytest.fail("a copy"))
    for b, matched in enumerate(match(*batch, WEIGHTS)):
        queries, _ = linear_sum_assignment(costs(*batch, b).numpy())
        assert matched.tolist() == queries.tolist()


def test_more_objects_than_queries_are_refused():
    with pytest.raises(ValueError, match="1 queries are too few for 2 objects"):
        match(*random_batch(queries=1), WEIGHTS)
