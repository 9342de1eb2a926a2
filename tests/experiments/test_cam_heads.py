"""Heads and explained scores crossed: each cell is what the run's own source gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import small
from few import few_photos
from scipy.stats import norm

from petweak.experiments.cam_heads import CELL, by_labels, cam_heads, summary, two_by_two
from petweak.experiments.trials import source_ious
from petweak.study.run import Run


@pytest.fixture(scope="module")
def run(rendered, tmp_path_factory) -> Run:
    root = few_photos(rendered, tmp_path_factory.mktemp("heads"))
    return Run(tmp_path_factory.mktemp("run"), root, small(val_fraction=0.5))


@pytest.fixture(scope="module")
def table(run) -> pd.DataFrame:
    return cam_heads(run, seeds=(0, 1))


def test_heads_scores_methods_thresholds_and_borders_are_crossed(run, table):
    ious = table[table["metric"] == "iou"]
    assert len(ious) == len(ious[[*CELL, "seed"]].drop_duplicates()) == 2**4 * 3 * 2
    heads = ious[["head", "labels"]].drop_duplicates().to_numpy().tolist()
    assert heads == [["imagenet", "-"], ["finetuned", "breed"], ["finetuned", "species"]]
    assert set(ious["n_images"]) == {len(run.pets.split("test"))} == {4}
    assert (table.loc[table["threshold"] == "0.5", "cut"] == 0.5).all()
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()


@pytest.mark.parametrize(("labels", "explained", "source", "changes"), [
    ("-", "pets", "gradcam_pretrained", {"cam_target": "pets"}),
    ("-", "top1", "gradcam_pretrained", {"cam_target": "top1"}),
    ("breed", "top1", "gradcam_finetuned", {}),
    ("species", "top1", "gradcam_finetuned", {"finetune_labels": "species"}),
])
def test_a_cell_is_what_the_runs_source_gives(run, table, labels, explained, source, changes):
    ids = [s.id for s in run.pets.split("test")]
    for seed in (0, 1):
        own = Run(run.folder, run.data_root, run.settings.replace(cam="layercam", seed=seed))
        fitted = own.fitted_source(source, **changes)
        (row,) = table.query(
            "cam == 'layercam' and labels == @labels and explained == @explained and "
            "threshold == 'val' and border == 'foreground' and seed == @seed and metric == 'iou'"
        ).to_dict("records")
        assert row["cut"] == fitted.threshold()
        assert row["value"] == pytest.approx(source_ious(own, fitted, ids).mean())


def test_a_difference_is_from_the_cell_that_differs_in_one_factor_alone(table):
    cells = table.pivot_table("value", [*CELL, "seed"], "metric").reset_index()
    iou = cells.set_index([*CELL, "seed"])["iou"]
    for factor, base, more in (("head", "imagenet", {"labels": "-"}), ("explained", "top1", {}),
                               ("cam", "gradcam", {}), ("labels", "breed", {})):
        differ = (cells[factor] != base) & (cells[factor] != "-")
        changed = cells[differ]
        other = changed.assign(**{factor: base}, **more)[[*CELL, "seed"]]
        other = iou.loc[list(other.itertuples(index=False, name=None))]
        gap = changed["iou"].to_numpy() - other.to_numpy()
        assert changed[f"minus_{base}"].to_numpy() == pytest.approx(gap)
        assert cells.loc[~differ, f"minus_{base}"].isna().all()


def test_the_explained_score_matters_to_the_finetuned_head_too(run, table):
    """All breeds together: not the class with the largest logit alone."""
    cells = table.query("head == 'finetuned' and explained == 'pets' and cam == 'gradcam'")
    assert (cells.loc[cells["metric"] == "minus_top1", "value"] != 0).any()


def test_a_verdict_needs_the_interval_of_every_seed():
    about = ("gradcam", "finetuned", "breed", "top1", "val", "foreground")
    about = dict(zip(CELL, about, strict=True))
    gaps = {"val": (0.03, 0.05), "0.5": (-0.03, 0.01), "0.3": (-0.1, -0.03)}
    rows = [about | {"threshold": t, "seed": seed, "metric": "minus_imagenet", "value": value,
                     "low": value - 0.02, "high": value + 0.02}
            for t, values in gaps.items() for seed, value in enumerate(values)]
    table = summary(pd.DataFrame(rows), "minus_imagenet").set_index("threshold")
    assert table["verdict"].to_dict() == {
        "val": "better", "0.5": "not told apart", "0.3": "worse"}
    assert table.loc["val", ["value", "smallest", "largest"]].tolist() == [0.04, 0.03, 0.05]
    assert table.loc["val", ["low", "high"]].tolist() == pytest.approx([0.01, 0.07])
    ious = summary(pd.DataFrame(rows).assign(metric="iou"), "iou")
    assert "verdict" not in ious and np.isclose(ious["value"].sum(), 0.04 - 0.01 - 0.065)


def test_a_verdict_needs_holms_correction_over_the_table():
    """p of 0.03 to 0.042: each interval lies above 0, and one of five would by chance, too."""
    rows = [dict(zip(CELL, ("gradcam", "finetuned", "breed", "top1", t, "foreground"), strict=True))
            | {"seed": 0, "metric": "minus_imagenet", "value": 0.1, "low": low, "high": 0.2 - low}
            for t, low in (("0.1", 0.004), ("0.2", 0.005), ("0.3", 0.01), ("0.4", 0.08))]
    table = summary(pd.DataFrame(rows), "minus_imagenet").set_index("threshold")
    assert table["verdict"].to_dict() == dict.fromkeys(("0.1", "0.2", "0.3"), "not told apart") | {
        "0.4": "better"}
    assert (table["low"] > 0).all() and table.loc["0.4", "p"] < 1e-6
    third = 2 * norm.sf(0.1 / (0.09 / 1.959964))
    assert table.loc["0.3", "p"] == pytest.approx(3 * third, rel=1e-4)


def test_both_heads_stand_beside_each_other(table):
    rows = two_by_two(table, "ignore").set_index(["cam", "threshold", "explained"])
    assert len(rows) == 8
    gaps = rows["finetuned"] - rows["imagenet"]
    assert rows["difference"].to_numpy() == pytest.approx(gaps.to_numpy())
    gaps = table.query("border == 'ignore' and metric == 'minus_imagenet' and labels == 'breed'")
    for cell, of in gaps.groupby(["cam", "threshold", "explained"]):
        told = of["low"].min() > 0 or of["high"].max() < 0
        assert told or rows.loc[cell, "verdict"] == "not told apart"
    species = two_by_two(table, "ignore", "species").set_index(["cam", "threshold", "explained"])
    assert (species["imagenet"] == rows["imagenet"]).all()


def test_two_labels_stand_beside_the_breeds(table):
    rows = by_labels(table).set_index(["cam", "threshold", "explained"])
    heads = two_by_two(table).set_index(["cam", "threshold", "explained"])
    assert len(rows) == 8 and (rows["breed"] == heads["finetuned"]).all()
    gaps = (rows["species"] - rows["breed"]).to_numpy()
    assert rows["difference"].to_numpy() == pytest.approx(gaps) and gaps.any()
