"""Breeds that nothing is learnt from: their photos are in no split, and the run stays whole."""

from __future__ import annotations

import pandas as pd
import pytest
from conftest import ROUNDS, small

from petweak.experiments.unseen_breeds import drawn, lost, unseen_breeds, without_breed
from petweak.study.run import Run


@pytest.fixture(scope="module")
def run(eight_breeds, tmp_path_factory) -> Run:
    flat = ROUNDS | dict(refinement_scales=(1.0, 1.5), border="ignore", background_threshold=0.5)
    return Run(tmp_path_factory.mktemp("unseen"), eight_breeds, small(**flat))


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


def test_breeds_are_left_out_together_for_any_source(run):
    table = unseen_breeds(run, seeds=(0,), sources=("ground_truth", "gradcam_pretrained"), draws=1,
                          together=3, photos="with_trimap")
    (group,) = table["breed"].unique()
    breeds = group.split("+")
    assert len(breeds) == 3 and set(table["source"]) == {"ground_truth", "gradcam_pretrained"}
    assert set(table["n_images"]) == {3} and table[["unseen", "seen"]].notna().all(axis=None)
    masks = table.query("source == 'ground_truth' and of == 'masks' and border == 'ignore'")
    assert (masks[["unseen", "seen"]] == 1).all(axis=None)
    without, test = without_breed(run.variant("with_trimap"), *breeds)
    learnt = {s.id for part in without.taught("ground_truth") for s in part}
    of = {i: run.pets.sample(i).breed_name for i in learnt | test}
    assert not {of[i] for i in learnt} & set(breeds)
    assert {of[i] for i in test} == set(breeds)


def test_a_draw_has_both_species(run):
    species = {s.breed_name: s.species for s in run.pets.samples}
    draws = [drawn(run, sorted(species), 5, seed) for seed in range(20)]
    assert all(len(set(d)) == 5 and {species[b] for b in d} == {0, 1} for d in draws)
    assert len({tuple(d) for d in draws}) > 15
    assert all({species[b] for b in drawn(run, sorted(species), 2, s)} == {0, 1} for s in range(20))
    for together in (1, len(species)):
        with pytest.raises(ValueError, match=f"together={together}: at least 2"):
            drawn(run, sorted(species), together, 0)


def test_what_an_unseen_breed_costs_is_a_mean_over_breeds_then_seeds():
    rows = [
        ("imagenet_only", "model", "ignore", seed, breed, unseen, 0.9)
        for seed, breed, unseen in ((0, "a", 0.6), (0, "b", 0.8), (1, "a", 0.8), (1, "b", 0.9))
    ]
    rows.append(("imagenet_only", "model", "foreground", 0, "a", 0.1, 0.1))
    columns = ["source", "of", "border", "seed", "breed", "unseen", "seen"]
    (row,) = lost(pd.DataFrame(rows, columns=columns)).to_dict("records")
    assert row["unseen"] == pytest.approx(0.775) and row["lost"] == pytest.approx(0.125)
    assert (row["smallest"], row["largest"], row["seeds"]) == pytest.approx((0.7, 0.85, 2))
    assert (row["draws"], row["worst"]) == pytest.approx((2, 0.7))
    # Losses of the draws are 0.2 and 0.05; Student's t of one degree of freedom is 12.706.
    half = 12.706 * 0.15 / 2
    limits = pytest.approx((0.125 - half, 0.125 + half), abs=1e-4)
    assert (row["lost low"], row["lost high"]) == limits
    one_seed = lost(pd.DataFrame(rows[:2], columns=columns))
    assert one_seed["seeds"].tolist() == [1] and not {"smallest", "largest"} & set(one_seed)
