"""Breeds that nothing is learnt from: their photos are in no split, and the run stays whole."""

from __future__ import annotations

import pandas as pd
import pytest
from conftest import ROUNDS, small

from petweak.experiments.unseen_breeds import lost, unseen_breeds, without_breed
from petweak.study.run import Run


@pytest.fixture(scope="module")
def run(rendered, tmp_path_factory) -> Run:
    flat = ROUNDS | dict(refinement_scales=(1.0, 1.5), border="ignore", background_threshold=0.5)
    return Run(tmp_path_factory.mktemp("unseen"), rendered, small(**flat))


def test_a_partial_variant_leaves_the_runs_caches_whole(run):
    """Its masks are asked for first, and they need features of a second scale."""
    without, _ = without_breed(run, run.pets.breeds[3])
    ids = set(without.masks("imagenet_only")["ids"])
    assert len(ids) < len(run.pets)
    caches = (run.features, run.more_features(1.5))
    assert all(set(c.ids) == {s.id for s in run.pets.samples} for c in caches)
    assert not (without.folder / "features").exists()
    assert set(run.masks("imagenet_only")["ids"]) == set(caches[0].ids)


def test_a_breed_that_is_left_out_is_in_no_other_split(run):
    breed = run.pets.breeds[3]
    table = unseen_breeds(run, seeds=(0,), sources=("imagenet_only",), breeds=(breed,))
    assert len(table) == 2 * 3 and table[["unseen", "seen"]].notna().all(axis=None)
    assert table["of"].unique().tolist() == ["masks", "model"] and set(table["n_images"]) == {1}
    scores = run.mask_scores("imagenet_only").photos.query("breed == @breed and split == 'test'")
    seen = table.query("of == 'masks' and border == 'ignore'")["seen"].item()
    assert seen == pytest.approx(scores["iou/ignore"].mean())
    without = run.variant(f"without-{breed}", leave_out=breed)
    out = {s.id for s in without.pets.split("left_out")}
    assert out == {s.id for s in run.pets.samples if s.breed_name == breed}
    assert not out & (set(without.context.train_labels) | without.val_ids)
    assert not out & {s.id for s in without.pets.split("test")}
    masks = {p.stem for p in (without.folder / "masks" / "imagenet_only").glob("*.png")}
    train = {s.id for s in without.pets.split("train")}
    assert masks == train | {s.id for s in run.pets.split("test") if s.id in out}


def test_an_unknown_breed_is_refused(run):
    with pytest.raises(ValueError, match="Unicorn"):
        unseen_breeds(run, seeds=(0,), sources=("imagenet_only",), breeds=("Unicorn",))


def test_what_an_unseen_breed_costs_is_a_mean_over_breeds_then_seeds():
    rows = [
        ("imagenet_only", "model", "ignore", seed, unseen, 0.9)
        for seed, unseen in ((0, 0.6), (0, 0.8), (1, 0.8), (1, 0.9))
    ]
    rows.append(("imagenet_only", "model", "foreground", 0, 0.1, 0.1))
    columns = ["source", "of", "border", "seed", "unseen", "seen"]
    (row,) = lost(pd.DataFrame(rows, columns=columns)).to_dict("records")
    assert row["unseen"] == pytest.approx(0.775) and row["lost"] == pytest.approx(0.125)
    assert (row["smallest"], row["largest"], row["seeds"]) == pytest.approx((0.7, 0.85, 2))
    assert row["defaults"] == "tuned on test"
