"""A source's masks on the model's grid: positions by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from petweak.training.targets import Targets, load_targets, no_targets


@pytest.fixture
def targets(tmp_path) -> Targets:
    """Fine patterns on a grid of 2: of "a", a half is foreground and a quarter ignored; of "b", the
    left is mostly ignored and the right is background."""
    a = np.tile(np.array([255, 0, 128, 255]), (64, 16))
    b = np.concatenate(
        [np.tile(np.array([255, 128, 128, 128]), (64, 16)), np.zeros((64, 64))], axis=1
    )
    for name, mask in (("a", a), ("b", b)):
        Image.fromarray(mask.astype(np.uint8)).save(tmp_path / f"{name}.png")
    return load_targets(tmp_path, ["a", "b"], [3, 5], grid=2)


def test_a_position_is_the_share_of_foreground_in_what_is_not_ignored(targets):
    a, b = targets.masks.float() / 255
    assert torch.allclose(a, torch.tensor(2 / 3), atol=0.02)  # (1 / 2) / (3 / 4)
    assert (b[:, 0] > 0.5).all() and (b[:, 1] < 0.15).all()  # the filter reaches over the edge
    assert targets.valid.tolist() == [[[1, 1], [1, 1]], [[0, 1], [0, 1]]]
    assert targets.ids == ["a", "b"] and targets.classes.tolist() == [3, 5]
    assert targets.masks.dtype == targets.valid.dtype == torch.uint8


def test_a_batch_is_mirrored_row_by_row(targets):
    rows = torch.tensor([1, 0])
    classes, masks, valid = targets.batch(rows, torch.tensor([True, False]))
    assert classes.tolist() == [[5], [3]] and masks.shape == (2, 1, 2, 2)
    assert torch.equal(masks[0, 0], targets.masks[1].flip(-1) / 255)
    assert torch.equal(valid[0], targets.valid[1].flip(-1).float())
    assert torch.equal(masks[1, 0], targets.masks[0] / 255)


def test_targets_are_taken_cycled_and_joined(targets):
    assert targets.take([1, 1, 0]).ids == ["b", "b", "a"]
    many = targets.cycle(7, seed=0)
    assert sorted(map(many.ids.count, "ab")) == [3, 4]
    assert targets.cycle(7, seed=0).ids == many.ids
    assert [
        i for i, c in zip(many.ids, many.classes.tolist(), strict=True) if c != {"a": 3, "b": 5}[i]
    ] == []
    joined = Targets.join([targets, many])
    assert joined.ids == targets.ids + many.ids and len(joined.classes) == len(joined.masks) == 9
    assert no_targets().ids == []


def test_grids_are_kept_as_they_were_and_small(targets):
    """Of a mask as photos have it, at the usual size: a hundredth of the two grids."""
    y, x = np.ogrid[:160, :160]
    soft = np.clip(60 - np.hypot(y - 80, (x - 70) / 1.3), 0, 1) * 255
    grids = [(np.roll(soft, k, 1).round().astype(np.uint8), np.ones((160, 160))) for k in range(9)]
    packed = Targets.pack([str(k) for k in range(9)], torch.arange(9), grids)
    for row, (mask, valid) in enumerate(packed.pairs()):
        assert mask.dtype == valid.dtype == torch.uint8
        assert np.array_equal(mask, grids[row][0]) and np.array_equal(valid, grids[row][1])
    assert torch.equal(packed.take([4, 4]).masks[1], packed.masks[4])
    assert sum(map(len, packed.packed)) < 9 * 2 * 160 * 160 / 20
