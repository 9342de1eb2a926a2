"""Tables, by hand oracles."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from handmade import MASK_IOU, make_run, results_of, timings

from petweak import tables
from petweak.report_text import oddities


def test_the_paper_is_all_there():
    paper = tables.paper_tables()
    counts = paper["where"].value_counts().to_dict()
    assert counts == {f"Table {n}": 8 for n in (1, 2, 3, 4)} | {"Section 3.4": 8}
    row = paper[(paper["where"] == "Table 3") & (paper["metric"] == "pseudo_iou_gt")]
    assert row["value"].tolist() == [0.09, 0.09]


def test_compare_with_paper():
    table = tables.compare_with_paper(results_of(MASK_IOU))
    assert len(table) == len(tables.paper_tables()) + 4  # two baselines on two splits
    keys = ["source", "labels", "metric", "split"]
    table = table.set_index(keys)
    row = table.loc[("ground_truth", "breed", "mask_iou_gt", "test")]
    assert (row["paper"], row["ours"], row["n_images"]) == (0.7775, 0.80, 4)
    assert row["difference"] == pytest.approx(0.0225)
    assert (row["low"], row["high"]) == pytest.approx((0.75, 0.85))
    assert row["ours_border_ignored"] == 0.85
    assert not row["below all_ones"]
    row = table.loc[("ground_truth", "breed", "class_iou", "test")]  # a metric without a border
    assert row["difference"] == pytest.approx(0.9 - 0.8910)
    assert np.isnan(row["ours_border_ignored"])
    row = table.loc[("mask_rcnn", "breed", "mask_iou_gt", "test")]  # not in this run
    assert row["paper"] == 0.7212
    assert row[["ours", "low", "high", "difference", "n_images"]].isna().all()
    assert not row["below all_ones"]
    assert table.loc[("gradcam_pretrained", "breed", "mask_iou_gt", "test"), "below all_ones"]
    row = table.loc[("all_ones", "-", "mask_iou_gt", "test")]
    assert np.isnan(row["paper"]) and row["ours"] == 0.40 and not row["below all_ones"]
    other = tables.compare_with_paper(results_of(MASK_IOU), "background").set_index(keys)
    assert other.loc[("ground_truth", "breed", "mask_iou_gt", "test"), "ours"] == 0.60


def test_two_runs_in_one_frame_are_refused():
    results = results_of(MASK_IOU)
    twice = pd.concat([results, results.assign(seed=1)])
    with pytest.raises(ValueError, match="one run"):
        tables.compare_with_paper(twice)
    with pytest.raises(ValueError):
        tables.study_overview(twice)
    with pytest.raises(ValueError, match="unknown border"):
        tables.compare_with_paper(results, "both")


def test_overview_flags_what_is_degenerate():
    results = results_of(MASK_IOU)
    table = tables.study_overview(results).set_index("source")
    assert table.index.tolist() == list(MASK_IOU)
    assert table["mask_iou_gt/ignore"].tolist() == [0.30, 0.45, 0.85, 0.35]
    assert table["below all_ones"].tolist() == [False, False, False, True]
    shown = tables.readable(table.reset_index()).set_index("source")
    cells = shown.loc["gradcam_pretrained"]
    assert cells["Mask IoU vs truth, border pet"] == "0.100 [0.050, 0.150] ▼"
    assert cells["Mask IoU vs truth, border ignore"] == "0.350 [0.300, 0.400]"
    assert cells["below all_ones"] == "yes"
    assert shown.loc["all_ones", "Class accuracy"] == ""
    # A figure that is not a number is degenerate, too; one that is lacking is not.
    broken = results.copy()
    broken.loc[broken["source"] == "ground_truth", "value"] = np.nan
    assert tables.study_overview(broken).set_index("source").loc["ground_truth", "below all_ones"]


def test_baselines_have_both_splits():
    table = tables.baselines(results_of(MASK_IOU))
    assert table[["source", "split"]].to_numpy().tolist() == [
        ["all_ones", "train"], ["centre_box", "train"], ["all_ones", "test"], ["centre_box", "test"]
    ]  # fmt: skip
    assert table["mask_iou_gt/background"].tolist() == [0.25, 0.40, 0.25, 0.40]


def test_breeds(tmp_path):
    make_run(tmp_path)
    run = tmp_path / "run"
    table = tables.per_breed(run, "ground_truth", "breed").set_index("breed")
    assert table.index.tolist() == [
        "Abyssinian", "great_dane", "all breeds", "all_ones", "centre_box"
    ]  # fmt: skip
    assert table["iou/pet"].tolist() == pytest.approx([0.65, 0.25, 0.45, 0.4, 0.4])
    assert table["accuracy"].tolist()[:3] == [1.0, 0.5, 0.75]
    assert table["n_images"].tolist() == [2, 2, 4, 4, 4]
    both = tables.breeds_compared(run, [("ground_truth", "breed")]).set_index("breed")
    assert both.loc["great_dane", "ground_truth-breed"] == pytest.approx(0.25)
    assert both.loc["all breeds", "all_ones"] == pytest.approx(0.4)
    with pytest.raises(FileNotFoundError, match="petweak study"):
        tables.per_breed(run, "mask_rcnn", "breed")


def test_costs_keep_the_shared_pass_apart():
    table = tables.costs(timings()).set_index("source")
    columns = ["masks_seconds", "features_seconds", "seconds"]
    assert table.loc["ground_truth", columns].tolist() == [0.5, 0.0, 0.5]
    assert table.loc["gradcam_pretrained", columns].tolist() == [1.0, 2.0, 3.0]
    untimed = tables.costs(timings().iloc[1:]).set_index("source")
    assert untimed["features_seconds"].isna().tolist() == [False, True]


def test_examples_do_not_depend_on_the_order():
    frame = pd.DataFrame({"id": ["d", "a", "c", "b"], "iou/pet": [0.5, 0.5, 0.9, 0.1]})
    wanted = {"best": "c", "median": "a", "worst": "b"}
    assert tables.pick_examples(frame) == wanted == tables.pick_examples(frame.iloc[::-1])


def test_oddities_quote_the_files():
    text = "\n".join(oddities(results_of(MASK_IOU)))
    for quoted in ("75.5%", "0.7775", "0.8000", "0.09", "0.40", "also below", "0.250"):
        assert quoted in text
    assert "Our Grad-CAM" not in "\n".join(oddities(results_of({"all_ones": (0.4, 0.3, 0.2)})))
