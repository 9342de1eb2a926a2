"""The matching against all assignments, by loops over pixels, and against scipy's."""

from __future__ import annotations

import itertools
import math

import pytest
import scipy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
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


# --- the costs once more, without a tensor


def softmax(logits) -> list[float]:
    e = [math.exp(x - max(logits)) for x in logits]
    return [x / sum(e) for x in e]


def bce(logits, targets, valid) -> float:
    """-t log p - (1 - t) log(1 - p), its mean over valid pixels; log p is -log(1 + e^-x)."""
    def minus_log_p(x):
        return math.log1p(math.exp(-abs(x))) + max(-x, 0)

    of = [t * minus_log_p(x) + (1 - t) * minus_log_p(-x)
          for x, t, v in zip(logits, targets, valid, strict=True) if v]
    return sum(of) / len(of) if of else 0.0


def dice(logits, targets, valid) -> float:
    triples = zip(logits, targets, valid, strict=True)
    kept = [(1 / (1 + math.exp(-x)), t) for x, t, v in triples if v]
    return 1 - (2 * sum(p * t for p, t in kept) + 1) / (sum(p + t for p, t in kept) + 1)


def cost_table(batch, b, weights) -> list[list[float]]:
    """[query][object] of photo `b`."""
    output, classes, masks, valid = batch
    kept, table = valid[b].flatten().tolist(), []
    for row, logits in zip(output["class_logits"][b].tolist(),
                           output["mask_logits"][b].flatten(1).tolist(), strict=True):
        table.append([
            -weights[0] * softmax(row)[k] + weights[1] * bce(logits, mask, kept)
            + weights[2] * dice(logits, mask, kept)
            for k, mask in zip(classes[b].tolist(), masks[b].flatten(1).tolist(), strict=True)])
    return table


def cheapest(batch, b, weights) -> tuple[int, ...]:
    """Of all assignments of queries to objects."""
    table = cost_table(batch, b, weights)
    return min(itertools.permutations(range(len(table)), len(table[0])),
               key=lambda qs: sum(table[q][t] for t, q in enumerate(qs)))


@st.composite
def batches(draw):
    """Two photos with 1 to 3 objects and at least as many queries, of any size."""
    queries, seed = draw(st.integers(1, 5)), draw(st.integers(0, 2**31))
    objects, classes = draw(st.integers(1, min(3, queries))), draw(st.integers(1, 4))
    size, g = draw(st.tuples(*[st.integers(1, 4)] * 2)), torch.Generator().manual_seed(seed)
    output = {"class_logits": 3 * torch.randn(2, queries, classes + 1, generator=g),
              "mask_logits": 4 * torch.randn(2, queries, *size, generator=g)}
    masks = torch.rand(2, objects, *size, generator=g)
    masks = masks if draw(st.booleans()) else masks.round()
    valid = (torch.rand(2, *size, generator=g) < draw(st.sampled_from([0.0, 0.7, 1.0]))).float()
    return output, torch.randint(0, classes, (2, objects), generator=g), masks, valid


@settings(max_examples=50)
@given(batches(), st.tuples(*[st.floats(0.5, 8)] * 3))
def test_the_match_costs_what_the_cheapest_assignment_costs(batch, weights):
    every = matcher.costs(*batch, weights)
    for b, matched in enumerate(match(*batch, weights).tolist()):
        table = cost_table(batch, b, weights)
        torch.testing.assert_close(every[b], torch.tensor(table), rtol=1e-4, atol=1e-4)
        assert len(set(matched)) == len(matched)  # a query has one object at most
        ours, best = (sum(table[q][t] for t, q in enumerate(qs))
                      for qs in (matched, cheapest(batch, b, weights)))
        assert ours == pytest.approx(best, rel=1e-4, abs=1e-4)


@settings(max_examples=50)
@given(batches(), st.randoms())
def test_the_match_follows_when_objects_queries_or_photos_change_places(batch, random):
    output, classes, masks, valid = batch
    ours = match(*batch, WEIGHTS)
    q, t = (random.sample(range(n), n) for n in (output["class_logits"].shape[1], masks.shape[1]))
    moved = match({name: x.flip(0)[:, q] for name, x in output.items()}, classes.flip(0)[:, t],
                  masks.flip(0)[:, t], valid.flip(0), WEIGHTS)
    table = [cost_table(batch, b, WEIGHTS) for b in range(2)]
    for b in range(2):  # equal but for ties, which have one cost
        back = [q[i] for i in moved.flip(0)[b].tolist()]
        costs_of = [sum(table[b][i][k] for i, k in pairs) for pairs in (
            zip(ours[b].tolist(), range(len(t)), strict=True), zip(back, t, strict=True))]
        assert costs_of[0] == pytest.approx(costs_of[1], rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("objects", [1, 2])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("queries", [1, 4])
def test_queries_that_are_not_finite_are_matched_all_the_same(objects, bad, queries):
    """The loss is then not finite, and the training loop reports it with the photos' ids."""
    output, classes, masks, valid = random_batch(objects=objects)
    output["mask_logits"][:, :queries] = bad
    for matched in match(output, classes, masks, valid, WEIGHTS).tolist():
        assert len(set(matched)) == objects and set(matched) <= {0, 1, 2, 3}


def test_the_one_in_both_terms_of_dice_prefers_an_empty_mask_to_a_large_one():
    """Of one pixel: 1 - (0 + 1) / (0 + 1 + 1) = 1/2 against 1 - (2 + 1) / (5 + 1 + 1) = 4/7."""
    target = torch.tensor([1.0, 0, 0, 0, 0, 0]).view(1, 1, 2, 3)
    masks = torch.tensor([[100.0, 100, 100, 100, 100, -100], [-100.0] * 6]).view(1, 2, 2, 3)
    output = {"class_logits": torch.zeros(1, 2, 2), "mask_logits": masks}
    classes, valid = torch.zeros(1, 1, dtype=torch.long), torch.ones(1, 2, 3)
    assert match(output, classes, target, valid, (0.0, 0.0, 1.0)).item() == 1


def test_the_cross_entropy_of_one_valid_pixel_is_its_own():
    """A logit of 0 costs log 2 = 0.69 there, one of 5 costs 0.01; the first query's class costs
    0.40 less (1 / (1 + e^-2.2) - 1/2), which does not make up for it."""
    output = {"class_logits": torch.tensor([[[2.2, 0.0], [0.0, 0.0]]]),
              "mask_logits": torch.tensor([0.0, 5.0]).view(1, 2, 1, 1).expand(1, 2, 2, 3)}
    valid = torch.zeros(1, 2, 3)
    valid[0, 1, 1] = 1
    batch = output, torch.zeros(1, 1, dtype=torch.long), torch.ones(1, 1, 2, 3), valid
    assert match(*batch, (1.0, 1.0, 0.0)).item() == 1


@pytest.mark.parametrize("objects", [1, 2])
def test_the_match_is_made_where_its_inputs_are(objects):
    """Whatever the usual device: one without values here, in place of a GPU."""
    batch = random_batch(objects=objects)
    expected = match(*batch, WEIGHTS)
    with torch.device("meta"):
        ours = match(*batch, WEIGHTS)
    assert ours.device.type == "cpu" and torch.equal(ours, expected)


def test_no_gradient_flows_through_the_matching():
    output, *targets = random_batch()
    output = {name: x.requires_grad_() for name, x in output.items()}
    assert not match(output, *targets, WEIGHTS).requires_grad


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
    monkeypatch.setattr(scipy.optimize, "linear_sum_assignment", lambda m: pytest.fail("a copy"))
    for b, matched in enumerate(match(*batch, WEIGHTS)):
        queries, _ = linear_sum_assignment(costs(*batch, b).numpy())
        assert matched.tolist() == queries.tolist()


def test_more_objects_than_queries_are_refused():
    with pytest.raises(ValueError, match="1 queries are too few for 2 objects"):
        match(*random_batch(queries=1), WEIGHTS)
