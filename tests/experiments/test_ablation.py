"""The grid of architectures: what each row is, costs and comes to, and when it satisfies."""

from __future__ import annotations

import gc
import json
import math
import re
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import small
from few import few_photos

from petweak.config import SECTION_OF
from petweak.data.files import read_frame
from petweak.data.oxford_pets import load_trimap, read_pets
from petweak.experiments import ablation as module
from petweak.experiments.ablation import (
    BASES,
    INPUT,
    NETWORKS,
    POST_HOC,
    SHAPE,
    ablation,
    after_holm,
    answers,
    cost,
    degenerate,
    full_size,
    grid,
    sentences,
)
from petweak.experiments.trials import satisfies
from petweak.models.maskformer import MaskFormer, MaskFormerConfig
from petweak.study.run import Run, Scores
from petweak.training.inference import Predictor

TOP = Path(__file__).parents[2]
ROWS = ("maskformer", "maskformer layers=0", "maskformer image_size=128", "per pixel", "U-Net",
        "prototypes")


@pytest.fixture(autouse=True, scope="module")
def _fewer_resamples():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "RESAMPLES", 999)
        yield


@pytest.fixture(scope="module")
def run(rendered, tmp_path_factory) -> Run:
    root = few_photos(rendered, tmp_path_factory.mktemp("few"))
    return Run(tmp_path_factory.mktemp("ablation"), root, small(val_fraction=0.5, epochs=1))


@pytest.fixture(scope="module")
def table(run) -> pd.DataFrame:
    return ablation(run, ROWS, labels="species", seeds=(0, 1), contested=1)


def test_a_row_of_the_grid_names_settings_and_fields_of_a_network():
    rows = grid()
    assert {*BASES, *ROWS} <= set(rows)
    for name, row in rows.items():
        assert row.pop("network", "MaskFormer") in NETWORKS, name
        assert set(row) <= {*SHAPE, *INPUT, *SECTION_OF}, name
        assert "=" in name or "," not in name  # as an option it stays one name
    assert set(POST_HOC) <= set(rows) and len(POST_HOC) == 3 and not set(POST_HOC) & {*BASES}
    values_of = {"layers": {0, 1, 6}, "queries": {1, 8, 20, 100}, "blocks": {0, 1, 2, 3}}
    for key, values in values_of.items():
        assert {r[key] for n, r in rows.items() if n.startswith(f"maskformer {key}=")} == values


def test_each_source_has_all_rows_and_the_bases_all_seeds(table):
    assert table["row"].tolist() == [*ROWS, *ROWS]
    seeds = table.set_index(["source", "row"])["seeds"]
    for source in ("ground_truth", "gradcam_pretrained"):
        assert seeds[source, "maskformer"] == 2 and set(seeds[source]) == {1, 2}
    assert seeds["ground_truth"].equals(seeds["gradcam_pretrained"])  # so that they are compared
    told = table["noise_p"].notna()
    like = (table["levels"] == "final") & table["row"].isin(["maskformer layers=0", "per pixel",
                                                             "prototypes"])
    assert (told == like & (table["source"] != "ground_truth")).all()
    bases = table[table["row"] == "maskformer"].set_index("source")["iou"]
    gain = table["iou"] - table["source"].map(bases)
    assert (table["gain_p"].notna() == like).all()
    one = like & (table["seeds"] == 1)  # of the first seed of both
    assert one.any() and (table["gain_low"] <= table["gain"])[like].all()
    assert table["gain"][like & ~one].tolist() == pytest.approx(gain[like & ~one].tolist())
    assert (table["smallest"] <= table["iou"]).all() and (table["iou"] <= table["largest"]).all()
    assert (table["iou"] == table["foreground"]).all()  # as the border is trained
    assert table.groupby("source")["p"].apply(lambda p: p.isna().sum()).eq(1).all()  # of the best
    assert table["steps"].eq(0).equals(table["network"] == "prototypes")
    assert list(table.columns[:7]) == ["source", "row", "post_hoc", "network", "train_seconds",
                                       "levels", "share"] and not table["post_hoc"].any()


def test_a_share_is_of_the_parameters_of_full_size(run, rendered, table):
    """It is not trained here: 37 breeds have the number of the stored table."""
    stored = read_frame(TOP / "figures/data/photos37/ablation_wide.csv").set_index("row")
    breeds = SimpleNamespace(settings=run.settings, features=run.features, pets=read_pets(rendered))
    assert {full_size(breeds, "breed")} == set(stored.loc[["full-size"], "parameters"])
    assert table["share"].equals(table["parameters"] / full_size(run, "species"))
    assert (table["share"] < 1).all() and (stored.loc[["full-size"], "share"] == 1).all()


def test_a_row_that_was_designed_after_the_scores_of_others_is_marked():
    of = made({"maskformer-ms": (1000, [0.9] * 3), "slim maskformer-ms": (90, [0.895] * 3)})
    table = module._compared(of, "ignore").assign(source="clean")
    module._beside_bases(table, of, "ignore", None)
    assert table.set_index("row")["post_hoc"].to_dict() == {
        "maskformer-ms": False, "slim maskformer-ms": True}
    text = sentences(table.assign(share=table["parameters"] / 1000))[0]
    assert "is `slim maskformer-ms` with 9.0% of `full-size`'s parameters (post hoc; IoU 0." in text
    assert text.count("post hoc") == 1


def test_steps_and_baselines_are_those_of_the_run(run, table):
    learnt = sum(s.trimap is not None for s in run.pets.split("train")) - len(run.val_ids)
    batches = math.ceil(learnt / run.settings.training.batch_size)
    assert set(table["steps"]) == {0, run.settings.training.epochs * batches}
    test = [s for s in run.pets.split("test") if s.trimap]
    whole = [load_trimap(s.trimap, s.photo) != 2 for s in test]  # 2: the background
    assert table["all_ones"].to_numpy() == pytest.approx(np.mean([w.mean() for w in whole]))
    assert (table["centre_box"] > 0).all()
    assert degenerate(table).equals(table["iou"] <= table["all_ones"] + 0.02)


def test_masks_and_photos_are_those_of_the_run_whatever_the_input(run, table):
    small_input = run.folder / "variants" / "ablation-image_size-128"
    assert (small_input / "features").is_dir() and not (small_input / "masks").exists()
    costs = table.set_index(["source", "row"]).loc["ground_truth"]
    large, base = costs.loc["maskformer image_size=128"], costs.loc["maskformer"]
    assert large["parameters"] == base["parameters"]
    assert 3.5 < large["gflops"] / base["gflops"] <= 4  # all but the queries
    assert large["backbone_gflops"] == pytest.approx(4 * base["backbone_gflops"], rel=0.01)
    assert large["memory_mb"] > base["memory_mb"]


def test_scores_are_kept(run, table, monkeypatch):
    monkeypatch.setattr(module, "cost", lambda *_: pytest.fail("scored again"))
    again = ablation(run, ROWS, labels="species", seeds=(0, 1), contested=1)
    pd.testing.assert_frame_equal(again, table)


def test_what_is_unknown_is_refused(run):
    with pytest.raises(ValueError, match="unknown row unet: there are maskformer"):
        ablation(run, ("unet", "U-*"))
    with pytest.raises(ValueError, match="val_fraction=0"):
        ablation(Run(run.folder / "other", run.data_root, small(val_fraction=0.0)))


def test_what_a_step_keeps_is_freed_when_it_is_counted(run, monkeypatch):
    """Without `detach`, outputs hold the graph that holds them: 140 MB a row."""
    kept, hooks = [], module.saved_tensors_hooks

    def watched(pack, unpack):
        return hooks(lambda t: [p := pack(t), kept.append(weakref.ref(p))][0], unpack)

    monkeypatch.setattr(module, "saved_tensors_hooks", watched)
    channels = run.features.map("final").shape[2]
    model = MaskFormer(MaskFormerConfig(2, (channels,))).eval()
    cost(run, Predictor(model, ("cat", "dog"), run.settings.backbone.backbone, 64, False))
    gc.collect()
    left = [tensor for ref in kept if (tensor := ref()) is not None]
    assert len(kept) > 20 and not [t for t in left if not t.is_leaf]


def test_costs_are_those_of_the_definition(run):
    """By hand, for a linear probe: one 1x1 convolution at stride 32."""
    network = NETWORKS["PerPixel"]
    channels = run.features.map("final").shape[2]
    model = network(MaskFormerConfig(2, (channels,), blocks=0))
    predictor = Predictor(model, ("cat", "dog"), "efficientnet_lite0", 64, mirror=False)
    costs = cost(run, predictor)
    assert costs["parameters"] == 3 * (channels + 1)
    assert costs["gflops"] == pytest.approx(2 * channels * 3 * 2 * 2 / 1e9)
    assert costs["memory_mb"] * 2**20 >= 16 * 3 * (channels + 1) + 8 * 3 * 32 * 32 * 4
    assert not model.training
    assert 0.05 < costs["backbone_gflops"] < 0.2  # 0.8 at 224 px (Liu 2020), a twelfth at 64


def test_attention_is_counted(run):
    """Twice the keys of a layer's attention: the difference is theirs, by hand."""
    flops, d, n = {}, 16, 4
    for queries in (1, 2):
        channels = run.features.map("final").shape[2]
        model = MaskFormer(MaskFormerConfig(2, (channels,), decoder_channels=d, queries=queries,
                                            layers=1, heads=1, hidden=0, transformer_dropout=0))
        predictor = Predictor(model, ("a", "b"), "efficientnet_lite0", 64, mirror=False)
        flops[queries] = cost(run, predictor)["gflops"] * 1e9
    # Of a query: q, k, v, out of self-attention, q and out of the cross-attention, the MLP, its
    # head; the products with the memory; those with the other query; mask weights and masks.
    alone = 2 * (4 * d * d + 2 * d * d + 8 * d * d + d * 3) + 2 * 2 * n * d
    pairs = 2 * 2 * d * (2 * 2 - 1)  # 4 pairs of queries for 1
    masks = 2 * (d * d + d) + 2 * d * 16 * 16
    assert flops[2] - flops[1] == pytest.approx(alone + pairs + masks, rel=0.02)


def scores(ious: dict[str, float], rng, n: int = 40, parameters: int = 100, **about) -> Scores:
    """Of n photos of test and n of val, around a mean."""
    noise = rng.normal(0, 0.002, 2 * n)
    photos = pd.DataFrame({"id": [f"p{i}" for i in range(2 * n)],
                           "split": ["test"] * n + ["train"] * n})
    rows = [{"parameters": parameters, "levels": "final", "network": "MaskFormer", "steps": 9,
             **about}]
    for border in ("ignore", "foreground"):
        photos[f"iou/{border}"] = ious["iou"] + noise
        photos[f"semantic/{border}"] = [json.dumps([[0, round(1e6 * v), 10**6]])
                                        for v in photos[f"iou/{border}"]]
        for split, part in photos.groupby("split"):
            value = part[f"iou/{border}"].mean()
            rows += [{"metric": m, "split": split, "border": border, "value": value}
                     for m in ("mask_iou_gt", "semantic_miou")]
    rows += [{"metric": "class_accuracy", "split": s, "border": "-", "value": 1.0}
             for s in ("test", "train")]
    return Scores(photos, rows, 1.0)


def made(values: dict[str, tuple[int, list[float]]]) -> dict[tuple[str, int], Scores]:
    rng = np.random.default_rng(0)
    return {(name, seed): scores({"iou": iou}, rng, parameters=n)
            for name, (n, ious) in values.items() for seed, iou in enumerate(ious)}


GROUND_TRUTH = {
    "maskformer": (1000, [0.9, 0.9, 0.9]), "wide": (900, [0.89, 0.9, 0.9]),
    "tiny": (50, [0.895, 0.893, 0.894]), "poor": (40, [0.8]), "torn": (30, [0.9, 0.86, 0.9]),
    "once": (20, [0.9])}


def test_a_row_satisfies_by_the_intervals_of_all_seeds():
    table = module._compared(made(GROUND_TRUTH), "ignore").set_index("row")
    assert table["satisfies"].to_dict() == {
        "maskformer": "yes", "wide": "yes", "tiny": "yes", "poor": "no", "torn": "undecided",
        "once": "undecided"}
    assert after_holm(table).equals(table["satisfies"])
    assert (after_holm(table.assign(p=0.06)) == "undecided").all()
    assert np.isnan(table["p"]["maskformer"]) == (table["iou"].idxmax() == "maskformer")
    assert table["p"].isna().sum() == 1
    assert table["p"]["torn"] == 1 and table["p"]["poor"] < 0.05
    assert table["minus_best"]["poor"] == pytest.approx(-0.1, abs=0.003)
    assert (table["smallest"]["torn"], table["largest"]["torn"]) == pytest.approx(
        (0.86, 0.9), abs=0.002)


def test_semantic_miou_of_a_resample_is_of_its_pixels_by_hand():
    """Two photos: one of class 0, one of class 1; class 2 is the background."""
    cells = ["[[0, 1, 2], [2, 3, 4]]", "[[1, 2, 2], [2, 1, 4]]"]
    photos = pd.DataFrame({"id": ["b", "a", "c"], "split": ["test", "test", "train"],
                           "semantic/foreground": [*cells, "[]"]})
    drawn = module._semantic(Scores(photos, [], 1.0), "foreground")
    both = (1 / 2 + 2 / 2 + 4 / 8) / 3
    assert drawn[0] == pytest.approx(both) and len(drawn) == 1 + module.RESAMPLES
    first, second = (1 / 2 + 6 / 8) / 2, (4 / 4 + 2 / 8) / 2  # one photo twice
    assert set(drawn.round(9)) == {round(v, 9) for v in (both, first, second)}
    again = module._semantic(Scores(photos[::-1], [], 1.0), "foreground")
    assert drawn.tolist() == again.tolist()  # photos are drawn by name


def test_a_row_satisfies_by_semantic_miou_by_the_intervals_of_all_seeds():
    of = made(GROUND_TRUTH)
    for (name, seed), s in of.items():  # `torn` has the best classes, but for one seed
        value = {"maskformer": 0.5, "wide": 0.49, "torn": (0.6, 0.6, 0.25)[seed]}.get(name, 0.2)
        s.photos["semantic/ignore"] = f"[[0, {round(1000 * value)}, 1000]]"  # of each photo
        for row in s.rows[1:]:
            if (row["metric"], row["split"]) == ("semantic_miou", "test"):
                row["value"] = value
    table = module._compared(of, "ignore").set_index("row")
    assert table["semantic_satisfies"].to_dict() == {
        "maskformer": "yes", "wide": "yes", "tiny": "no", "poor": "no", "torn": "undecided",
        "once": "no"}
    limits = table[[f"semantic_{of}" for of in ("minus_best", "low", "high")]]
    assert limits.loc["torn"].tolist() == pytest.approx([-0.05 / 3, -0.25, 0.1])
    assert limits.loc["wide"].tolist() == pytest.approx([-0.01] * 3)
    assert (limits.loc["maskformer"] == 0).all()
    assert table["satisfies"]["tiny"] == "yes"  # by mask IoU as before


def test_the_pareto_front():
    values = {"a": (100, [0.9]), "same": (100, [0.8]), "small": (10, [0.85]), "bad": (20, [0.7])}
    table = module._compared(made(values), "ignore").set_index("row")
    assert table["pareto"].to_dict() == {"a": True, "same": False, "small": True, "bad": False}


def test_what_gets_more_seeds_is_decided_on_val():
    first = {name: s for (name, seed), s in made(GROUND_TRUTH).items() if seed == 0}
    chosen = module._contested(first, "ignore", 2)
    assert {"once", "torn"} <= chosen and not {"poor", "tiny"} & chosen
    for s in first.values():  # whatever test says
        s.photos.loc[s.photos["split"] == "test", "iou/ignore"] = 0.0
    assert module._contested(first, "ignore", 2) == chosen


Ious = dict[str, tuple[int, list[float]]]


def two_tables(noisy: Ious, clean: Ious) -> pd.DataFrame:
    scores = [made(clean), made(noisy)]
    tables = [module._compared(s, "ignore") for s in scores]
    for t, s, first in zip(tables, scores, (None, scores[0]), strict=True):
        module._beside_bases(t, s, "ignore", first)
    parts = [t.assign(source=s, share=t["parameters"] / 1000)
             for t, s in zip(tables, ("clean", "noisy"), strict=True)]
    return pd.concat(parts, ignore_index=True)


def answer(noisy: Ious, clean: Ious = GROUND_TRUTH) -> pd.DataFrame:
    return answers(two_tables(noisy, clean)).set_index("source")


def test_the_answers():
    noisy = {name: (n, [0.6] * len(v)) for name, (n, v) in GROUND_TRUTH.items()}
    noisy["poor"], clean = (40, [0.6] * 3), GROUND_TRUTH | {"poor": (40, [0.8] * 3)}
    said = answer(noisy, clean)
    assert said["simplest"].to_dict() == {"clean": "tiny", "noisy": "torn"}
    assert said["tenth"].to_dict() == {"clean": "yes", "noisy": "yes"}
    larger = answer(GROUND_TRUTH | {"tiny": (50, [0.7] * 3)})
    assert larger["tenth"]["noisy"] == "undecided"  # `torn` and `once`
    once = {name: (n, v[:1]) for name, (n, v) in noisy.items()}
    early = answer(once, {name: (n, v[:1]) for name, (n, v) in clean.items()})
    assert set(early["tenth"]) == {"undecided"} and early["simplest"].isna().all()
    assert early["semantic"].isna().all()


def test_whether_a_simpler_model_is_better_with_noisy_masks_takes_all_seeds():
    noisy = {name: (n, [0.6] * len(v)) for name, (n, v) in GROUND_TRUTH.items()}
    noisy["poor"], clean = (40, [0.6] * 3), GROUND_TRUTH | {"poor": (40, [0.8] * 3)}
    two = {name: clean[name] for name in ("maskformer", "tiny")}
    # `poor` loses less than with clean masks, and is no better than its base: no reason to want it.
    for changed, of, n, told in (
            (noisy, clean, 4, "0 better"),
            (noisy | {"tiny": (50, [0.62] * 3)}, clean, 4, "1 better"),
            (noisy | {"tiny": (50, [0.62, 0.62, 0.58])}, clean, 4, "0 better"),
            (two | {"tiny": (50, [0.7] * 3)}, two, 1, "0 better")):
        said = sentences(two_tables(changed, of))[-1]
        assert f"stored for {n} of the {n}: {told} than the model that it was derived" in said
    assert "derived from, 1 worse" in said


def test_there_is_a_second_answer_by_semantic_miou_and_after_holm():
    table = two_tables(GROUND_TRUTH, GROUND_TRUTH)
    limits = [f"semantic_{of}" for of in ("minus_best", "low", "high")]
    table["semantic_satisfies"] = table["row"].map({
        "maskformer": "yes", "wide": "yes", "tiny": "no", "poor": "no", "torn": "undecided"})
    table.loc[table["row"] == "tiny", "p"] = 0.2
    table.loc[table["row"] == "torn", limits] = -0.03, -0.04, -0.01
    table.loc[table["row"] == "maskformer", "semantic_miou"] = 0.95
    clean = answers(table).iloc[0]
    assert clean["simplest"] == "tiny" and clean["after_holm"] == "wide"
    assert clean["semantic_simplest"] == "wide" and clean["semantic"] == "maskformer"
    assert clean["semantic_open"] == "`torn` -0.030 [-0.040, -0.010]"
    text = sentences(table)[1]
    assert "; the simplest that satisfies is `wide` with 90.0%" in text
    assert text.endswith("Of 4 simpler ones 2 do not; undecided: `torn` -0.030 [-0.040, -0.010]; "
                         "no interval is stored for 1.")
    table["semantic_satisfies"] = table["semantic_satisfies"].where(table["row"] == "maskformer")
    clean = answers(table).iloc[0]
    assert clean["semantic"] == clean["semantic_simplest"] == "maskformer"
    text = sentences(table)[1]
    assert ("; that a simpler one satisfies is not shown. Of 5 simpler ones 0 do not; undecided: "
            "none; no interval") in text
    assert text.endswith(" for 5.")


def test_without_a_stored_p_value_the_intervals_decide():
    noisy = GROUND_TRUTH | {"tiny": (50, [0.95] * 3)}
    table = two_tables(noisy, GROUND_TRUTH)
    table["gain_p"] = np.nan
    assert "stored for 3 of the 3: 1 better" in sentences(table)[-1]
    table["gain_low"] = np.nan
    said = sentences(table)[-1]
    assert "stored for 0 of the 3: " in said and said.endswith(" others it cannot be answered.")
    assert "nan" not in sentences(table)[-1]


def test_the_answers_in_words():
    noisy = {name: (n, [0.6] * len(v)) for name, (n, v) in GROUND_TRUTH.items()}
    noisy["poor"], clean = (40, [0.6] * 3), GROUND_TRUTH | {"poor": (40, [0.8] * 3)}
    table = two_tables(noisy, clean)
    table.loc[table["row"] == "once", "iou"] = 0.99
    first, semantic, second, _, fourth, fifth = sentences(table)
    assert first.startswith("masks of `clean`, 6 architectures, 9 steps: the best on test of the 5")
    assert "; `once` has 0.990, but 1 seed." in first
    assert "the simplest that satisfies is `tiny` with 5.0% of `full-size`'s parameters" in first
    assert "semantic mIoU 0.894, accuracy 1.000)" in first and "Holm" not in first
    assert "by semantic mIoU (of pixels that are pooled over the photos of each" in semantic
    assert second.startswith("masks of `noisy`")
    assert " 2 fall less far behind" in fourth and "`poor`, which with `clean` has 0.8" in fourth
    assert "simpler model better with masks of `noisy`? A paired interval is stored for 4" in fifth
    assert fifth.endswith("derived from, 0 worse, 4 not told apart.")
    table.loc[table["row"] == "once", "gain"] = [np.nan, 0.011]
    table.loc[(table["row"] == "once") & (table["source"] == "noisy"), "iou"] = 0.611
    assert sentences(table)[-1].partition("4 not told apart.")[2] == (
        " Of the smaller ones with one seed 1 have a larger IoU, most of all `once` (0.611, "
        "+0.011): no verdict. At first more seeds went to the best on val and to the 6 smallest "
        "that val does not exclude (`contested`).")
    table.loc[table["row"] == "tiny", "p"] = 0.2
    assert "after Holm's correction over all rows it is `wide` with 90.0%" in sentences(table)[0]
    none = {"maskformer": (1000, [0.9] * 3), "tiny": (50, [0.7] * 3)}
    table = two_tables(none, none).query("source == 'clean'")
    assert answers(table)["tenth"].tolist() == ["none of the grid"]
    text, _ = sentences(table)
    assert "satisfies is `maskformer` with 100.0%" in text and "the best on test itself" in text
    assert text.endswith("With at most a tenth of `full-size`'s parameters: none of the grid.")
    once = {name: (n, v[:1]) for name, (n, v) in clean.items()}
    assert "satisfies is none. With" in sentences(two_tables(once, once))[0]


@pytest.mark.parametrize("name", ["ablation", "ablation_ground_truth", "ablation_wide"])
def test_the_results_have_the_rows_of_each_stored_table(name):
    """Its commands are whole: these patterns are these rows, and what is stored says what the code
    would say of it."""
    file = TOP / "figures" / "data" / "photos37" / f"{name}.csv"
    if not file.is_file():
        pytest.skip(f"no {file.name} yet")
    page = (TOP / "figures/results.md").read_text(encoding="utf-8").replace("\\\n", "")
    given = re.search(rf'"rows=([^"]+)"  # {name}\n', page)[1].split(";")
    table = read_frame(file)
    assert {n for row in given for n in module.matching(grid(), row)} == set(table["row"])
    keys = ["source", "row"]
    told = satisfies(table, keys, table.set_index(keys)["seeds"])
    assert table.set_index(keys)["satisfies"].sort_index().equals(told.sort_index())
    assert table["post_hoc"].equals(table["row"].isin(POST_HOC))
