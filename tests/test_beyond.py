"""What petweak.beyond measures, on the rendered set: conventions, probes, the labelling curve,
recipes, left-out breeds, the cost."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest
from conftest import ROUNDS, small
from safetensors.numpy import load_file

from petweak.beyond import compare
from petweak.cost import chain_cost
from petweak.labelling import crossing, labelled_part, labelling_curve
from petweak.probes import probe_taps, students_by_taps
from petweak.recipes import compare_recipes, rank_by_signals
from petweak.results import figure
from petweak.study import Run
from petweak.unseen import leave_one_out, tried


@pytest.fixture(scope="module")
def run(self_trained) -> Run:
    return self_trained


def test_each_convention_has_a_student_of_its_own(run, monkeypatch):
    """The run's own where its settings are these, a variant's elsewhere."""
    monkeypatch.setattr("petweak.beyond.TRUE_EPOCHS", 1)
    table = compare(run, [0], ["labels_free", "ground_truth"])
    assert table["what"].tolist() == ["no labels"] * 2 + ["true masks"] * 2
    assert table["border"].tolist() == ["ignore", "pet"] * 2
    ours = run.self_trained_scores("labels_free", "species").rows
    wanted = ("mask_iou_gt", "test", "pet")  # the setting `border` of this run
    (value,) = [r["value"] for r in ours if (r["metric"], r["split"], r["border"]) == wanted]
    assert table["student"][1] == value
    names = {p.name for p in (run.folder / "variants").iterdir()}
    assert {"seed-0-border-ignore", "seed-0-border-pet"} <= names
    tight = run.folder / "variants" / "seed-0-border-ignore" / "models"
    assert {p.name for p in tight.iterdir()} >= {"labels_free-species", "ground_truth-species-plus"}
    tight, wide = (load_file(models / "labels_free-species" / "model.safetensors")
                   for models in (tight, run.folder / "models"))  # fmt: skip
    assert any((tight[k] != wide[k]).any() for k in wide)


def test_probes_have_a_row_per_tap(run):
    table = probe_taps(run)
    assert list(table["tap"]) == list(run.features.taps) and table["iou"].between(0, 1).all()
    assert table.set_index("tap")["iou"].max() > figure(
        pd.read_csv(run.folder / "results.csv"), "mask_iou_gt", source="all_ones", border="ignore")


def test_the_labelling_curve(run):
    curve = labelling_curve(run, shares=(0.02, 1.0), seeds=(0,), steps=2)
    assert set(curve["kind"]) == {"true", "pseudo", "both"} and len(curve) == 5 * 3
    train = run.pets.split("train")
    assert curve[curve["share"] == 1.0]["masks"].unique().tolist() == [len(train)]
    few, more = (set(labelled_part(train, share, 0)) for share in (0.1, 0.5))
    assert few < more and len(labelled_part(train, 1e-9, 0)) == 1
    again = labelling_curve(run, shares=(0.02, 1.0), seeds=(0,), steps=2)
    assert again.equals(curve)
    whole = curve[curve["share"] == 1.0].pivot(index="border", columns="kind", values="value")
    assert (whole["true"] == whole["both"]).all()
    made = {p.name for p in (run.folder / "labelling").iterdir()}
    assert made == {"pseudo-0-0", "true-0.02-0", "both-0.02-0", "true-1-0"}
    photos = {json.loads((run.folder / "labelling" / name / "config.json").read_text())["photos"]
              for name in made}  # fmt: skip
    assert photos == {2 * run.settings.batch_size}, "as many steps for all"


def test_where_curves_cross():
    rows = [("pseudo", 0, 0.6), ("true", 10, 0.5), ("true", 1000, 0.7)]
    curve = pd.DataFrame(rows, columns=["kind", "masks", "value"]).assign(border="ignore")
    assert crossing(curve) == pytest.approx(100)  # half way in the logarithm
    assert crossing(curve.assign(value=[0.9, 0.5, 0.7])) == float("inf")
    assert crossing(curve.assign(value=[0.1, 0.5, 0.7])) == 10


def test_recipes_are_compared_from_the_same_masks(run):
    one = Run(run.folder, run.data_root, replace(run.settings, predict_mirror=False))
    table = compare_recipes(one, recipes=({}, {"rounds": 1}, {"keep": (1.0,), "plus_dropout": 0.0}))
    assert table["recipe"].tolist() == ["as it is", "rounds=1", "keep=1.0 plus_dropout=0.0"]
    rounds = one.rounds("labels_free", "species")
    own = one.self_trained_scores("labels_free", "species").photos.query("split == 'test'")
    assert table["test/pet"][0] == pytest.approx(own["iou/pet"].mean(), abs=1e-6)
    assert table["rounds"].tolist()[:2] == [rounds[-1].agreement, 0]
    assert table[["mirror", "pamr", "confidence"]].le(1).all(axis=None)
    assert table["area"].le(0).all()
    made = run.folder / "variants" / "trials" / "recipe-keep=1.0 plus_dropout=0.0" / "models"
    about = json.loads((made / "labels_free-species-round1" / "config.json").read_text())
    assert about["model"]["dropout"] == 0 and about["photos"] == len(run.pets.split("train"))
    ranked = rank_by_signals(table.assign(mirror=table["train/ignore"])).set_index("signal")
    assert ranked.loc["mirror", "spearman"] == pytest.approx(1)
    assert ranked.loc["oracle", "iou"] == table["train/ignore"].max()


def test_students_see_one_map_more_each_time(run):
    table = students_by_taps(run, epochs=1)
    assert table["taps"].tolist()[:2] == ["last", "last, before"] and len(table) == 4
    last = json.loads((run.folder / "variants/taps-4/models/ground_truth-species-plus/config.json")
                      .read_text())  # fmt: skip
    assert last["model"]["dropout"] == 0 and last["settings"]["border"] == "ignore"
    assert table["iou"].between(0, 1).all()


def test_a_breed_that_is_left_out_is_in_no_other_split(run):
    breed = run.pets.breeds[3]
    table = leave_one_out(run, "labels_free", "species", breeds=[breed])
    without = run.variant(f"without-{breed}", leave_out=breed)
    out = {s.id for s in without.pets.split("left_out")}
    assert out == {s.id for s in run.pets.samples if s.id.startswith(breed)}
    assert not out & (set(without.context.train_labels) | without.val_ids)
    assert not out & {s.id for s in without.pets.split("test")}
    made = run.folder / "variants" / f"without-{breed}"
    masks = {p.stem for p in (made / "masks" / "labels_free").glob("*.png")}
    train = {s.id for s in without.pets.split("train")}
    assert masks == train | {s.id for s in run.pets.split("test") if s.id in out}
    assert not (made / "features").exists(), "the frozen features are those of the run"
    assert len(table) == 2 * 3 and table[["unseen", "seen"]].notna().all(axis=None)
    with pytest.raises(ValueError, match="known are"):
        _ = run.variant("x", leave_out="Unicorn").pets

    found = tried(run, breed, recipes=[{}, {"plus_dropout": 0.5}])
    assert found["masks"].tolist() == ["pseudo", "pseudo", "true"]
    assert found["recipe"].tolist() == ["as it is", "plus_dropout=0.5", "as it is"]
    assert found["iou"].between(0, 1).all() and found["iou"].nunique() == 3
    learnt = json.loads((made / "variants/trials/unseen-true as it is/config.json").read_text())
    assert learnt["photos"] == len(train)


def test_the_cost_is_of_train_alone_and_of_every_stage(rendered, tmp_path):
    run = Run(tmp_path, rendered, small(**ROUNDS))
    table = chain_cost(run).set_index("stage")
    assert table["photos"]["all"] == len(run.pets.split("train"))
    assert {"features", "masks labels_free", "train labels_free species-round1"} <= set(table.index)
    assert table["seconds"]["all"] == pytest.approx(table["seconds"].drop("all").sum(), abs=0.01)
    assert table["seconds"]["else"] > 0 and sorted(p.name for p in tmp_path.glob("c*")) == [
        "cost.csv"
    ]
