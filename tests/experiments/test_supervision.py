"""Models of all sources beside full supervision: like beside like, and verdicts over seeds."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import small
from few import drop_trimaps, few_photos

from petweak.data.files import read_frame, read_json
from petweak.data.oxford_pets import load_trimap, read_pets
from petweak.evaluation.metrics import BASELINES
from petweak.evaluation.statistics import bootstrap
from petweak.experiments.supervision import (
    GAPS,
    answer,
    answers,
    both_borders,
    compared,
    counts,
    satisfying,
    summary,
    supervision,
)
from petweak.study.run import Run

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "figures"))  # not in the package

from sentences import by_verdict

GRADCAM = "gradcam_pretrained cam_target=top1 threshold=0.5"


@pytest.fixture(scope="module")
def run(rendered, tmp_path_factory) -> Run:
    """Of two photos a breed in train, one has a trimap; those of test all have."""
    root = few_photos(rendered, tmp_path_factory.mktemp("few"))
    lists = root / "oxford-iiit-pet" / "annotations"
    train = [line.split()[0] for line in (lists / "trainval.txt").read_text().splitlines()]
    test = [line.split()[0] for line in (lists / "test.txt").read_text().splitlines()]
    drop_trimaps(root, {*train[::2], *test})
    return Run(tmp_path_factory.mktemp("supervision"), root, small(
        sources="ground_truth,gradcam_pretrained", val_fraction=0.0, epochs=1, threshold="otsu"))


@pytest.fixture(scope="module")
def table(run) -> pd.DataFrame:
    of = ("ground_truth", "gradcam_pretrained", GRADCAM)
    return supervision(run, of, labels=("species",), species_seeds=(0, 1))


def test_it_crosses_sources_models_photos_and_seeds(run, table):
    models = table[~table["of"].isin(BASELINES)][["of", "model", "photos", "seed"]]
    # (sources x photos) x architectures x seeds
    assert len(models.drop_duplicates()) == (2 * 1 + 2 * 2) * 2 * 2
    full = table[table["of"].str.startswith("ground_truth")]
    assert set(full["photos"]) == {"with_trimap"} and set(full["learnt_from"]) == {4}
    weak = table[table["of"] == "gradcam_pretrained"]
    assert weak.groupby("photos")["learnt_from"].unique().map(list).to_dict() == {
        "all": [8], "with_trimap": [4]}


def test_all_models_take_as_many_steps(run, table):
    configs = [read_json(f) for f in run.folder.glob("variants/*/models/*/config.json")]
    models = table[~table["of"].isin(BASELINES)][["of", "model", "photos", "seed"]]
    assert len(configs) == len(models.drop_duplicates())
    assert {c["n_images"] * c["epochs"] for c in configs} == {8}


def test_photos_of_another_data_set_do_not_count(run, table, rendered, tmp_path):
    """What was chosen with their scores in sight was chosen on them."""
    seen = few_photos(rendered, tmp_path / "seen", 1)
    rest = supervision(run, ("gradcam_pretrained",), labels=("species",), without=str(seen))
    left = {x.id for x in run.pets.split("test")} - {x.id for x in read_pets(seen).samples}
    assert 0 < len(left) < len(run.pets.split("test"))
    on_test = rest[rest["split"] == "test"]
    assert set(on_test[on_test["border"] == "ignore"]["n_images"]) == {len(left)}
    keys = ["of", "labels", "model", "photos", "seed", "split", "border", "metric"]
    both = rest.merge(table, on=keys, suffixes=("", "_all"))
    of_train = both[both["split"] == "train"]
    assert len(of_train) and (of_train["value"] == of_train["value_all"]).all()
    row = both.query("metric == 'mask_iou_gt' and border == 'ignore' and model == 'maskformer-ms' "
                     "and photos == 'all'").iloc[0]
    scores = read_frame(run.folder / "variants" / "seed-0-all" / "models"
                        / "gradcam_pretrained-species-ms" / "scores.csv").set_index("id")
    assert row["value"] == pytest.approx(scores.loc[sorted(left), "iou/ignore"].mean())


def test_both_baselines_stand_in_the_table(run, table):
    blind = table[table["of"].isin(BASELINES)].set_index(["of", "split", "metric", "border"])
    assert set(blind[["labels", "model", "photos"]].to_numpy().ravel()) == {"-"}
    assert set(blind["learnt_from"]) == {0} and set(blind["seed"]) == {0}
    assert set(blind.xs("train", level="split").index.unique("metric")) == {"pseudo_iou_gt"}
    for split, n in (("train", 4), ("test", 4)):
        trimaps = [load_trimap(s.trimap, s.photo) for s in run.pets.split(split) if s.trimap]
        ones = np.mean([(t != 2).mean() for t in trimaps])  # 2 is background
        row = blind.loc["all_ones", split, "pseudo_iou_gt", "foreground"]
        assert row["value"] == pytest.approx(ones) and row["n_images"] == n == len(trimaps)
    for border in ("foreground", "ignore"):
        shown = summary(table, border, "species").set_index("of").loc[list(BASELINES)]
        on_test = blind.xs(("test", "mask_iou_gt", border), level=["split", "metric", "border"])
        assert shown["iou"].tolist() == shown["masks_test"].tolist() == on_test["value"].tolist()
        assert shown[["verdict", "satisfies", "difference", "accuracy"]].isna().all(axis=None)


def test_differences_are_of_the_same_photos(run, table):
    one = table.query("of == @GRADCAM and model == 'maskformer' and photos == 'all' and seed == 1 "
                      "and border == 'ignore' and split == 'test'").set_index("metric")["value"]
    full = table.query("of == 'ground_truth border=ignore' and model == 'maskformer' and seed == 1 "
                       "and border == 'ignore' and split == 'test'").set_index("metric")["value"]
    gap = one["mask_iou_gt"] - full["mask_iou_gt"]
    assert one[GAPS[0]] == pytest.approx(gap) and full[GAPS[0]] == 0


def test_a_model_is_compared_with_its_masks_on_the_same_photos(run, table):
    own = table.query("of == 'gradcam_pretrained' and model == 'maskformer' and photos == 'all' "
                      "and seed == 1 and border == 'ignore' and split == 'test'")
    own = own.set_index("metric")
    gap = own.loc["mask_iou_gt", "value"] - own.loc["pseudo_iou_gt", "value"]
    assert own.loc[GAPS[4], "value"] == pytest.approx(gap) and gap != 0
    model, masks = (read_frame(run.folder / "variants" / "seed-1-all" / part / "scores.csv")
                    for part in ("models/gradcam_pretrained-species", "masks/gradcam_pretrained"))
    of_photos = (model["iou/ignore"] - masks["iou/ignore"])[model["split"] == "test"]
    limits = bootstrap(of_photos.to_numpy(), n=run.settings.evaluation.bootstrap)
    assert own.loc[GAPS[4], ["low", "high"]].tolist() == pytest.approx(limits)
    of_masks = table[table["metric"] == GAPS[4]]
    assert set(of_masks["of"]) == {"gradcam_pretrained", GRADCAM}  # not of ground truth
    assert len(of_masks) == 2 * 2 * 2 * 2 * 3  # sources, architectures, photos, seeds, borders


def test_what_is_unknown_is_refused(run):
    with pytest.raises(ValueError, match="unknown unet: there are maskformer, maskformer-ms"):
        supervision(run, models=("unet",))
    with pytest.raises(ValueError, match="no model with labels=breed: imagenet_only has species"):
        supervision(run, ("imagenet_only",), labels=("breed",))


def rows(of: str, values: dict[int, float], gaps: dict[int, tuple], best: dict[int, tuple]):
    about = {"of": of, "labels": "breed", "model": "maskformer", "photos": "all", "split": "test",
             "learnt_from": 9, "border": "ignore"}
    for seed, value in values.items():
        yield about | {"metric": "mask_iou_gt", "seed": seed, "value": value}
        for metric, of_seed in zip(GAPS[:2], (gaps, best), strict=True):
            low, high = of_seed[seed]
            value = (low + high) / 2
            yield about | {"metric": metric, "seed": seed, "value": value, "low": low, "high": high}


def test_a_verdict_needs_every_seed():
    table = pd.DataFrame([
        *rows("a", {0: 0.9, 1: 0.8, 2: 0.85}, {0: (0.1, 0.2), 1: (0.1, 0.3), 2: (0.1, 0.25)},
              dict.fromkeys(range(3), (0, 0))),
        *rows("b", {0: 0.5, 1: 0.5}, {0: (-0.3, -0.1), 1: (-0.3, 0.1)},
              {0: (-0.5, -0.3), 1: (-0.4, -0.3)}),
        *rows("c", {0: 0.4, 1: 0.4}, {0: (-0.3, -0.1), 1: (-0.2, -0.1)},
              {0: (-0.03, -0.01), 1: (-0.4, -0.3)}),
        *rows("d", {0: 0.3, 1: 0.3}, {0: (-0.3, -0.1), 1: (-0.2, -0.1)},
              {0: (-0.01, 0), 1: (-0.01, 0)}),  # two seeds do not tell their spread
    ])
    a, b, c, d = summary(table, "ignore").to_dict("records")
    assert (a["iou"], a["smallest"], a["largest"], a["seeds"]) == pytest.approx((0.85, 0.8, 0.9, 3))
    assert [r["verdict"] for r in (a, b, c)] == ["better", "not told apart", "worse"]
    assert [r["satisfies"] for r in (a, b, c, d)] == ["yes", "no", *["undecided"] * 2]
    assert a["difference"] == pytest.approx(0.175) and pd.isna(a["accuracy"])
    assert (a["low"], a["high"]) == (0.1, 0.3)  # outer limits
    alone = summary(table[table["seed"] == 0], "ignore")
    assert set(alone["verdict"]) == {"one seed"}  # though each interval lies on one side of 0
    assert set(summary(table.query("seed == 0 or of != 'a'"), "ignore")["verdict"]) == {
        "one seed", "not told apart", "worse"}


def test_full_supervision_stands_once_a_border_beside_the_best_weak_source(table):
    shown = both_borders(table, "species").set_index(["border", "of", "model", "photos"])
    full = shown.xs("ground_truth", level="of")
    assert set(full["difference"]) == {0} and len(full) == 2 * 2
    of_masks = shown.drop(BASELINES, level="of")
    assert len(of_masks) == len(full) + 2 * 2 * 2 * 2  # sources, architectures, photos, borders
    said = answers(table, "species")
    assert len(said) == 4
    weak = shown.drop("ground_truth", level="of").xs("foreground").xs("maskformer", level="model")
    of, photos = weak["iou"].idxmax()
    learnt = 8 if photos == "all" else 4
    assert f"species labels `{of}` is the best, IoU {weak['iou'].max():.3f} from {learnt}" in said[
        0]
    gaps = table.query("of == @of and photos == @photos and model == 'maskformer' and border == "
                       "'foreground' and metric == @GAPS[0]")
    assert f"[{gaps['low'].min():+.3f}, {gaps['high'].max():+.3f}], seeds 2: " in said[0]
    assert answers(table[~table["of"].str.startswith("ground_truth")], "species") == []


def of_both(of: str, model: str, iou: float, full: tuple, best: tuple) -> pd.DataFrame:
    """A model with three seeds, scored alike with both borders."""
    part = pd.DataFrame(rows(of, dict.fromkeys(range(3), iou), dict.fromkeys(range(3), full),
                             dict.fromkeys(range(3), best)))
    return pd.concat(part.assign(model=model, border=b, of=of.replace("=", f"={b}"))
                     for b in ("foreground", "ignore"))


def test_both_questions_are_answered_in_a_sentence_each():
    table = pd.concat([
        of_both("ground_truth border=", "maskformer", 0.8, (0, 0), (-0.11, -0.09)),
        of_both("ground_truth border=", "maskformer-ms", 0.9, (0, 0), (0, 0)),
        of_both("external", "maskformer", 0.85, (0.04, 0.06), (-0.06, -0.04)),
        of_both("external", "maskformer-ms", 0.89, (-0.015, -0.005), (-0.015, -0.005)),
        of_both("gradcam_pretrained", "maskformer", 0.6, (-0.3, -0.1), (-0.4, -0.2)),
        of_both("gradcam_pretrained", "maskformer-ms", 0.7, (-0.3, 0.1), (-0.3, 0.1))])
    assert answer(table) == (
        "a model of the best weak masks with breed labels (`external`, 9 photos), compared with "
        "full supervision (9 photos), is better (`maskformer`, border foreground +0.050 [+0.040, "
        "+0.060]; `maskformer`, border ignore +0.050 [+0.040, +0.060]), worse (`maskformer-ms`, "
        "border foreground -0.010 [-0.015, -0.005]; `maskformer-ms`, border ignore -0.010 [-0.015, "
        "-0.005]); with Grad-CAM's masks it is worse in 2 of 4 cases, not told apart in 2 of 4 "
        "cases, from -0.200 to -0.100.")
    assert satisfying(table) == (
        "weak masks whose model satisfies: border foreground: `external` (`maskformer-ms`) "
        "(undecided: `gradcam_pretrained` (`maskformer-ms`)); border ignore: `external` "
        "(`maskformer-ms`) (undecided: `gradcam_pretrained` (`maskformer-ms`)); the models of "
        "Grad-CAM's masks, the simplest of the paper, satisfy in 0 of 4 cases and are at least "
        "0.200 below the best; full supervision of the paper's architecture satisfies in 0 of 2.")
    assert satisfying(table[~table["of"].str.startswith("ground")]).startswith(
        "weak masks whose model satisfies: border foreground: `external` (`maskformer-ms`, itself "
        "the best) (undecided: ")
    assert satisfying(table[table["of"] != "external"]).count(": none (undecided: ") == 2


def test_all_photos_are_compared_with_those_that_have_a_trimap(table):
    shown = compared(table, GAPS[3]).set_index(["border", "model", "of"])
    assert set(shown.index.unique("of")) == {"gradcam_pretrained", GRADCAM}  # weak sources alone
    assert len(shown) == 2 * 2 * 2 and set(shown["seeds"]) == {2}
    scores = table.query("metric == 'mask_iou_gt' and split == 'test'").pivot_table(
        "value", ["border", "model", "of"], "photos")
    for key, row in shown.iterrows():
        one, other = scores.loc[key, ["all", "with_trimap"]]
        assert row[["iou", "other", "difference"]].tolist() == pytest.approx(
            [one, other, one - other])
        assert row["low"] <= row["difference"] <= row["high"]
    assert compared(table, GAPS[2]).empty  # there is one kind of labels
    one = table[table["seed"] == 0]
    assert set(compared(one, GAPS[3])["verdict"]) == {"one seed"}
    (said, *_) = counts(compared(one, GAPS[3]), "all", "few")
    assert "0 worse; 0 not told apart; 2 one seed; differences" in said and "spread" not in said
    assert " sources, one seed of each: 0 better" in said


def both_labels(breed: dict[int, float], species: float, low: float, high: float) -> pd.DataFrame:
    about = {"of": "a", "model": "maskformer", "photos": "all", "border": "ignore"}
    about |= {"split": "test", "metric": "mask_iou_gt"}
    return pd.DataFrame([
        *(about | {"labels": "breed", "seed": n, "value": v} for n, v in breed.items()),
        about | {"labels": "species", "seed": 0, "value": species},
        about | {"labels": "species", "seed": 0, "metric": GAPS[2], "value": species - breed[0],
                 "low": low, "high": high}])


@pytest.mark.parametrize("species, low, high, verdict", [
    (0.85, 0.02, 0.08, "better, one seed"), (0.85, -0.01, 0.11, "not told apart"),
    (0.82, 0.01, 0.03, "not told apart"),  # the interval says better, another seed 0.03 more
    (0.75, -0.07, -0.03, "worse, one seed")])
def test_a_difference_has_to_be_larger_than_that_of_another_seed(species, low, high, verdict):
    table = both_labels({0: 0.8, 1: 0.83}, species, low, high)
    shown = compared(table, GAPS[2])
    assert shown["verdict"].tolist() == [verdict]
    assert shown["spread"].tolist() == pytest.approx([0.03])
    assert counts(shown, "species", "breeds") == [
        f"border ignore, `maskformer`: species in place of breeds, 1 sources, one seed of each: 0 "
        "better; 0 worse; "
        f"{verdict == 'not told apart':d} not told apart; "
        f"{'' if verdict == 'not told apart' else f'1 {verdict}; '}differences in IoU from "
        f"{species - 0.8:+.3f} to {species - 0.8:+.3f}, spread over seeds up to 0.030."]


@pytest.mark.parametrize("seen, verdict", [
    ({0: 0.8}, "one seed"), ({0: 0.8, 1: 0.83}, "better, one seed"),
    ({0: 0.8, 1: 0.86}, "not told apart")])
def test_the_spread_of_one_seed_is_that_of_the_same_model_in_another_table(seen, verdict):
    table = both_labels({0: 0.8}, 0.85, 0.02, 0.08)
    elsewhere = both_labels(seen, 0.9, 0, 0)
    alone = compared(table, GAPS[2])
    assert alone["verdict"].tolist() == ["one seed"] and alone["spread"].isna().all()
    assert by_verdict(alone, "species", "breeds") == [
        "border ignore, `maskformer`, species: IoU of species minus that of breeds, seeds 1, after "
        "Holm's correction:\n  - better: none\n  - worse: none\n  - not told apart: none\n"
        "  - one seed: `a` +0.050 [+0.020, +0.080]"]
    shown = compared(table, GAPS[2], elsewhere)
    assert shown["verdict"].tolist() == [verdict]
    assert len(seen) == 1 or shown["spread"].tolist() == pytest.approx([seen[1] - 0.8])
    assert shown.drop(columns=["spread", "verdict"]).equals(
        alone.drop(columns=["spread", "verdict"]))  # nothing else is of the other table
    other = elsewhere.assign(of="b")
    assert compared(table, GAPS[2], other)["verdict"].tolist() == ["one seed"]  # another model's


@pytest.mark.parametrize("full, verdict", [
    ({0: 0.9}, "one seed"), ({0: 0.9, 1: 0.91}, "worse, one seed"),
    ({0: 0.9, 1: 0.86}, "not told apart")])
def test_the_spread_of_full_supervision_counts_too(full, verdict):
    """By hand: one seed, 0.02 below; the weak model's seeds differ by 0.005 elsewhere."""
    about = {"labels": "breed", "model": "maskformer", "border": "ignore", "split": "test",
             "metric": "mask_iou_gt", "low": 0.0, "high": 0.0}
    exact = "ground_truth border=ignore"
    elsewhere = pd.DataFrame([
        *(about | {"of": "a", "photos": "all", "seed": n, "value": v}
          for n, v in enumerate((0.88, 0.885))),
        *(about | {"of": exact, "photos": "with_trimap", "seed": n, "value": v}
          for n, v in full.items())])
    about |= {"of": "a", "photos": "with_trimap", "seed": 0}
    table = pd.DataFrame([about | {"value": 0.88}, about | {
        "metric": GAPS[0], "value": -0.02, "low": -0.025, "high": -0.015}])
    assert compared(table, GAPS[0], elsewhere)["verdict"].tolist() == [verdict]


def beside_masks(of: str, photos: str, *seeds: tuple[float, float, float]) -> pd.DataFrame:
    """seeds: the model's IoU and the interval of its difference from masks that have 0.5."""
    about = {"of": of, "labels": "breed", "model": "maskformer", "photos": photos}
    about |= {"border": "ignore", "split": "test"}
    return pd.DataFrame([
        about | {"seed": seed, "metric": metric, "value": value, "low": low, "high": high}
        for seed, (iou, low, high) in enumerate(seeds)
        for metric, value in (("mask_iou_gt", iou), (GAPS[4], iou - 0.5))])


def test_it_is_said_which_models_are_better_than_their_masks():
    table = pd.concat([
        beside_masks("coarse", "all", (0.55, 0.01, 0.09), (0.65, 0.1, 0.2)),  # 0.1 apart, and told
        beside_masks("coarse", "with_trimap", (0.52, 0.01, 0.03), (0.51, -0.01, 0.03)),
        beside_masks("fine", "all", (0.4, -0.2, -0.05), (0.46, -0.06, -0.02)),
        beside_masks("narrow", "all", (0.52, 0.0005, 0.0395), (0.52, 0.0005, 0.0395))])
    shown = compared(table, GAPS[4])
    assert by_verdict(shown, "the model", "its masks") == [
        "border ignore, `maskformer`, breed: IoU of the model minus that of its masks, seeds 2, "
        "after Holm's correction:\n  - better: `coarse` +0.100 [+0.010, +0.200]\n"
        "  - worse: `fine` -0.070 [-0.200, -0.020]\n  - not told apart: `narrow` +0.020 "
        "[+0.001, +0.040], `coarse with_trimap` +0.015 [-0.010, +0.030]"]
    assert shown["other"].tolist() == pytest.approx([0.5] * 4)
    # z is 1.96 times the difference by half the width, of the worst seed: 2.45, 0.98, 2.61, 2.01.
    alone = np.array([0.0143, 0.327, 0.0089, 0.0443])
    assert shown["p"].tolist() == pytest.approx(alone * [3, 1, 4, 2], rel=0.02)  # Holm's method
    again = beside_masks("narrow", "all", (0.52, 0, 0), (0.525, 0, 0))
    narrow = compared(table[table["of"] == "narrow"], GAPS[4], again)  # a comparison of its own
    assert narrow["verdict"].tolist() == ["better"] and narrow["p"].iloc[0] < 0.05
    assert by_verdict(shown[shown["of"] == "fine"], "the model", "its masks")[0].endswith(
        "correction:\n  - better: none\n  - worse: `fine` -0.070 [-0.200, -0.020]\n"
        "  - not told apart: none")
    assert by_verdict(compared(table, GAPS[2]), "a", "b") == []  # a table without such rows


def test_a_verdict_of_the_first_table_is_corrected_for_the_models_of_the_table():
    """By hand: one model of p 0.04 is better alone, and beside a second one is not told apart."""
    half = 1.959964 * 0.05 / 2.053749  # of an interval around 0.05 with a two-sided p of 0.04
    limits = dict.fromkeys(range(3), (0.05 - half, 0.05 + half))
    one, other = (pd.DataFrame(rows(of, dict.fromkeys(range(3), 0.8), limits,
                                    dict.fromkeys(range(3), (0, 0)))) for of in "ab")
    alone, both = summary(one, "ignore"), summary(pd.concat([one, other]), "ignore")
    assert alone["p"].tolist() == pytest.approx([0.04], abs=1e-4)
    assert alone["verdict"].tolist() == ["better"]
    assert both["p"].tolist() == pytest.approx([0.08] * 2, abs=1e-4)
    assert set(both["verdict"]) == {"not told apart"}
