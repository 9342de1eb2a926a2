import itertools

import pytest
import torch
from torch.nn import functional as F

from petweak.maskformer.loss import dice_loss, mask_loss, set_loss
from petweak.maskformer.matcher import match

WEIGHTS = (2.0, 5.0, 5.0)


def batch(queries=4, things=2, classes=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    out = {
        "class_logits": torch.randn(2, queries, classes + 1, generator=g),
        "mask_logits": torch.randn(2, queries, 6, 5, generator=g) * 3,
    }
    wanted = torch.randint(0, classes, (2, things), generator=g)
    masks = (torch.rand(2, things, 6, 5, generator=g) > 0.5).float()
    valid = (torch.rand(2, 6, 5, generator=g) > 0.2).float()
    return out, wanted, masks, valid


def cost_of(out, wanted, masks, valid, b, q, t):
    """The cost of one pair, written out with the losses themselves."""
    keep = valid[b][None]
    mask = mask_loss(out["mask_logits"][b, q][None], masks[b, t][None], keep)
    dice = dice_loss(out["mask_logits"][b, q][None], masks[b, t][None], keep)
    p = out["class_logits"][b, q].softmax(-1)[wanted[b, t]]
    return (-WEIGHTS[0] * p + WEIGHTS[1] * mask + WEIGHTS[2] * dice).item()


@pytest.mark.parametrize("seed", range(5))
def test_the_match_is_the_cheapest_of_all_assignments(seed):
    out, wanted, masks, valid = batch(seed=seed)
    found = match(out, wanted, masks, valid, WEIGHTS)
    for b in range(2):
        best = min(
            itertools.permutations(range(4), 2),
            key=lambda qs: sum(  # noqa: B023 - used at once
                cost_of(out, wanted, masks, valid, b, q, t) for t, q in enumerate(qs)
            ),
        )
        assert tuple(found[b].tolist()) == best


def test_more_things_than_queries_are_refused():
    out, wanted, masks, valid = batch(queries=1)
    with pytest.raises(ValueError, match="1 queries cannot answer for 2 things"):
        match(out, wanted, masks, valid, WEIGHTS)


def test_losses_by_hand():
    logits = torch.tensor([[[0.0, 100.0], [-100.0, 0.0]]])
    wanted = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    valid = torch.tensor([[[1.0, 1.0], [1.0, 0.0]]])
    assert mask_loss(logits, wanted, valid).item() == pytest.approx(0.693147 / 3, abs=1e-5)
    # soft mask .5, 1, 0 against 1, 1, 0: 1 - (2 * 1.5 + 1) / (1.5 + 2 + 1)
    assert dice_loss(logits, wanted, valid).item() == pytest.approx(1 - 4 / 4.5, abs=1e-5)


def test_pixels_that_are_unsure_do_not_count():
    out, wanted, masks, valid = batch()
    spoilt = torch.where(valid[:, None] > 0, masks, 1 - masks)
    a = set_loss(out, wanted, masks, valid, WEIGHTS, 0.1)
    b = set_loss(out, wanted, spoilt, valid, WEIGHTS, 0.1)
    assert all(torch.allclose(a[k], b[k]) for k in a)


def test_the_class_term_is_cross_entropy_with_a_small_weight_on_no_object():
    out, wanted, masks, valid = batch()
    queries = match(out, wanted, masks, valid, WEIGHTS)
    targets = torch.full((2, 4), 3)
    for b, t in itertools.product(range(2), range(2)):
        targets[b, queries[b, t]] = wanted[b, t]
    weight = torch.tensor([1.0, 1.0, 1.0, 0.1])
    expected = 2 * F.cross_entropy(out["class_logits"].flatten(0, 1), targets.flatten(), weight)
    found = set_loss(out, wanted, masks, valid, WEIGHTS, 0.1)["class"]
    assert torch.allclose(found, expected)
