"""Tables, from a results.csv and scores that are written here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from petweak.data.files import write_frame, write_json
from petweak.study import tables

BORDERS = ("foreground", "ignore", "background")
# Mask IoU by border; the last model is worse than all_ones where the border is foreground.
MASK_IOU = {
    "all_ones": (0.40, 0.30, 0.25),
    "centre_box": (0.50, 0.45, 0.40),
    "ground_truth": (0.80, 0.85, 0.60),
    "gradcam_pretrained": (0.10, 0.35, 0.30),
}


def make_results(mask_iou: dict = MASK_IOU) -> pd.DataFrame:
    """Breed models of one run; intervals of 0.05 to both sides."""
    rows = []
    for source, values in mask_iou.items():
        labels = "-" if source in tables.BASELINES else "breed"
        for split in ("train", "test"):
            at = {"source": source, "labels": labels, "split": split}
            for border, value in zip(BORDERS, values, strict=True):
                for metric in ("mask_iou_gt", "pseudo_iou_gt", "dataset_iou_gt", "boundary_iou_gt"):
                    # The boundary IoU is below all_ones everywhere, which must not be marked.
                    v = 0.01 if metric[0] == "b" and labels == "breed" else value
                    rows.append(at | {"metric": metric, "border": border, "value": v})
            if labels == "breed":
                for metric, v in (("class_iou", 0.9), ("class_accuracy", 0.95), ("mask_iou", 0.7)):
                    rows.append(at | {"metric": metric, "border": "-", "value": v})
                for border in ("foreground", "ignore"):
                    v = 0.6 if border == "foreground" else 0.65
                    rows.append(at | {"metric": "semantic_miou", "border": border, "value": v})
    frame = pd.DataFrame(rows).assign(n_images=4, seed=0, seconds=1.0, round=None, model=None)
    return frame.assign(low=frame["value"] - 0.05, high=frame["value"] + 0.05)


def make_scores(path: Path, iou: list[float], **more) -> None:
    """scores.csv of three photos each of two breeds, the first of which is in train."""
    breeds = ["Abyssinian"] * 3 + ["great_dane"] * 3
    frame = pd.DataFrame({"id": [f"{b}_{n}" for n, b in enumerate(breeds)], "breed": breeds,
                          "split": ["train", "test", "test"] * 2})
    write_frame(path, frame.assign(**{f"iou/{b}": iou for b in BORDERS}, **more))


@pytest.fixture
def run(tmp_path) -> Path:
    for name in tables.BASELINES:
        make_scores(tmp_path / "baselines" / name / "scores.csv", [0.4] * 6)
    classes = {"class": [0, 0, 0, 1, 1, 1], "predicted": [0, 0, 0, 1, 1, 0]}
    model = tmp_path / "models" / "ground_truth-breed" / "scores.csv"
    make_scores(model, [0.5, 0.6, 0.7, 0.1, 0.2, 0.3], **classes)
    make_scores(tmp_path / "masks" / "ground_truth" / "scores.csv", [1.0] * 6)
    return tmp_path


def test_the_paper_is_all_there():
    paper = tables.paper_tables()
    counts = paper["where"].value_counts().to_dict()
    assert counts == {f"Table {n}": 8 for n in (1, 2, 3, 4)} | {"Section 3.4": 8}
    row = paper[(paper["where"] == "Table 3") & (paper["metric"] == "pseudo_iou_gt")]
    assert row["value"].tolist() == [0.09, 0.09]


def test_compare_with_the_paper():
    table = tables.compare_with_paper(make_results())
    assert len(table) == len(tables.paper_tables()) + 4  # two baselines on two splits
    keys = ["source", "labels", "metric", "split"]
    table = table.set_index(keys)
    row = table.loc[("ground_truth", "breed", "mask_iou_gt", "test")]
    assert (row["paper"], row["ours"], row["n_images"]) == (0.7775, 0.80, 4)
    assert row["difference"] == pytest.approx(0.0225)
    assert (row["low"], row["high"]) == pytest.approx((0.75, 0.85))
    assert row["ours_border_ignored"] == 0.85 and not row["below all_ones"]
    row = table.loc[("ground_truth", "breed", "class_iou", "test")]  # a metric without a border
    assert row["difference"] == pytest.approx(0.9 - 0.8910)
    assert np.isnan(row["ours_border_ignored"])
    row = table.loc[("mask_rcnn", "breed", "mask_iou_gt", "test")]  # not in this run
    assert row["paper"] == 0.7212 and not row["below all_ones"]
    assert row[["ours", "low", "high", "difference", "n_images"]].isna().all()
    assert table.loc[("gradcam_pretrained", "breed", "mask_iou_gt", "test"), "below all_ones"]
    row = table.loc[("all_ones", "-", "mask_iou_gt", "test")]
    assert np.isnan(row["paper"]) and row["ours"] == 0.40 and not row["below all_ones"]


def test_the_compact_detector_is_not_taken_for_the_papers():
    results = make_results(MASK_IOU | {"mask_rcnn_compact": (0.7, 0.7, 0.7)})
    table = tables.compare_with_paper(results)
    assert table[table["source"] == "mask_rcnn"]["ours"].isna().all()


def test_two_runs_in_one_frame_are_refused():
    results = make_results()
    twice = pd.concat([results, results.assign(seed=1)])
    with pytest.raises(ValueError, match="one run"):
        tables.compare_with_paper(twice)
    with pytest.raises(ValueError):
        tables.study_overview(twice)


def test_the_overview_marks_what_is_degenerate():
    results = make_results()
    table = tables.study_overview(results).set_index("source")
    assert table.index.tolist() == list(MASK_IOU)
    assert table["mask_iou_gt/ignore"].tolist() == [0.30, 0.45, 0.85, 0.35]
    assert table["below all_ones"].tolist() == [False, False, False, True]
    text = tables.readable(table.reset_index()).set_index("source")
    row = text.loc["gradcam_pretrained"]
    assert row["Mask IoU vs ground truth, border foreground"] == "0.100 [0.050, 0.150] ▼"
    assert row["Mask IoU vs ground truth, border ignore"] == "0.350 [0.300, 0.400]"
    assert row["below all_ones"] == "yes" and text.loc["all_ones", "Class accuracy"] == ""
    assert row["Semantic mIoU, border foreground"] == "0.600 [0.550, 0.650]"
    assert text.loc["all_ones", "Semantic mIoU, border foreground"] == ""
    # A score that is missing is not degenerate.
    absent = results[(results["source"] != "gradcam_pretrained") | (results["border"] == "-")]
    assert not tables.study_overview(absent)["below all_ones"].any()


def test_the_overview_counts_what_was_scored_and_what_was_learnt_from():
    results = make_results()
    weak = results["source"] == "gradcam_pretrained"
    results.loc[results["border"] == "-", "n_images"] = 6  # two photos without ground truth
    results["learnt_from"] = pd.array([9] * len(results), "Int64")
    results.loc[results["labels"] == "-", "learnt_from"] = pd.NA
    table = tables.study_overview(results).set_index("source")
    columns = ["n_images", "n_ground_truth"]
    assert table.loc["ground_truth", columns].tolist() == [6, 4]
    assert table.loc["all_ones", columns].tolist() == [4, 4]
    text = tables.readable(table.reset_index())
    assert text["with ground truth"].tolist() == ["4"] * 4
    assert text["learnt from"].tolist() == ["", "", "9", "9"]
    compared = tables.compare_with_paper(results)  # both counts there, too, where it has the score
    rows = compared.query("source == 'ground_truth' and labels == 'breed'")
    rows = rows.query("metric == 'mask_iou_gt'")[["learnt_from", "n_images"]]
    assert rows.to_numpy().tolist() == [[9, 4], [9, 4]]
    assert compared.query("source == 'mask_rcnn'")["learnt_from"].isna().all()
    every = make_results()
    assert "with ground truth" not in tables.readable(tables.study_overview(every))
    none = results[(results["labels"] == "breed") & (results["border"] == "-") & weak]
    table = tables.study_overview(none)
    assert table["n_ground_truth"].tolist() == [0] and table["mask_iou"].tolist() == [0.7]
    assert table["mask_iou_gt/ignore"].isna().all() and not table["below all_ones"].any()


def test_results_of_a_version_without_semantic_miou_have_no_column_of_it():
    results = make_results()
    table = tables.study_overview(results[results["metric"] != "semantic_miou"])
    with_it = tables.study_overview(results)
    assert [c for c in with_it if c not in table] == [
        f"semantic_miou/foreground{end}" for end in ("", " low", " high")]
    pd.testing.assert_frame_equal(table, with_it[list(table)])


def test_numbers_are_written_with_signs_where_they_are_differences():
    frame = pd.DataFrame({"ours": [0.5], "low": [0.4], "high": [0.6], "difference": [-0.0225]})
    row = tables.readable(frame).iloc[0]
    assert row["ours"] == "0.500 [0.400, 0.600]" and row["difference"] == "\N{MINUS SIGN}0.022"
    assert tables.readable(frame.assign(difference=0.1), 2)["difference"][0] == "+0.10"


def test_baselines_have_both_splits():
    table = tables.baselines(make_results())
    assert table[["source", "split"]].to_numpy().tolist() == [
        [source, split] for split in ("train", "test") for source in ("all_ones", "centre_box")]
    assert table["mask_iou_gt/background"].tolist() == [0.25, 0.40, 0.25, 0.40]


def test_rounds_are_apart_from_results():
    results = make_results({"all_ones": (0.4, 0.3, 0.2), "imagenet_only": (0.6, 0.6, 0.6)})
    scores = [(0, "train", "pseudo_iou_gt", 0.3), (0, "test", "mask_iou_gt", 0.4),
              (1, "train", "pseudo_iou_gt", 0.5), (1, "test", "mask_iou_gt", 0.7),
              (0, "train", "mask_iou_gt", 0.9), (1, "train", "mask_iou_gt", 0.9)]
    rows = pd.DataFrame(scores, columns=["round", "split", "metric", "value"])
    rows = rows.assign(source="imagenet_only", labels="species", border="foreground",
                       model="maskformer-ms", low=rows["value"] - 0.1, high=rows["value"] + 0.1)
    both = pd.concat([results, rows])
    assert len(tables.final(both)) == len(results)
    table = tables.rounds(both)
    assert table.columns.tolist() == [
        "source", "labels", "round", "masks", "model", "model low", "model high"]
    assert table["round"].tolist() == [0, 1] and table["masks"].tolist() == [0.3, 0.5]
    assert table["model"].tolist() == [0.4, 0.7]
    assert table["model high"].tolist() == pytest.approx([0.5, 0.8])
    assert tables.rounds(both, split="train")["model"].tolist() == [0.9, 0.9]
    empty = tables.rounds(results)
    assert empty.empty and empty.columns.tolist() == table.columns.tolist()
    assert tables.models(both) == [("imagenet_only", "breed")]


def test_breeds(run):
    table = tables.per_breed(run, "ground_truth", "breed").set_index("breed")
    assert table.index.tolist() == [
        "Abyssinian", "great_dane", "all breeds", "all_ones", "centre_box"]
    assert table["iou/foreground"].tolist() == pytest.approx([0.65, 0.25, 0.45, 0.4, 0.4])
    assert table["accuracy"].tolist()[:3] == [1.0, 0.5, 0.75]
    assert table["n_images"].tolist() == [2, 2, 4, 4, 4]
    both = tables.breeds_compared(run, [("ground_truth", "breed")]).set_index("breed")
    assert both.loc["great_dane", "ground_truth-breed"] == pytest.approx(0.25)
    assert both.loc["all breeds", "all_ones"] == pytest.approx(0.4)
    with pytest.raises(FileNotFoundError, match="petweak study"):
        tables.per_breed(run, "mask_rcnn", "breed")


def test_scores_of_masks_and_of_the_model_that_the_run_is_about(run):
    assert tables.read_scores(run, "ground_truth", "masks")["iou/ignore"].tolist() == [1.0] * 4
    assert len(tables.read_scores(run, "ground_truth", "breed", "train")) == 2
    make_scores(run / "models" / "ground_truth-breed-ms" / "scores.csv", [0.9] * 6)
    assert tables.read_scores(run, "ground_truth", "breed")["iou/ignore"].max() == 0.7
    write_json(run / "run.json", {"settings": {"model": {"levels": ["final", "stride16"]}}})
    assert tables.read_scores(run, "ground_truth", "breed")["iou/ignore"].max() == 0.9


def test_a_model_is_compared_with_the_masks_of_its_source_photo_by_photo(run):
    weak, masks = "gradcam_pretrained", [0.9, 0.5, 0.4, 0.9, 0.3, np.nan]  # one is not scored
    make_scores(run / "masks" / weak / "scores.csv", masks)
    make_scores(run / "models" / f"{weak}-breed" / "scores.csv", [0.1, 0.6, 0.8, 0.1, 0.3, 0.9])
    of = [("ground_truth", "breed"), (weak, "breed")]
    table = tables.minus_masks(run, of)
    assert table["border"].tolist() == list(BORDERS)  # ground truth is not compared with itself
    row = table.iloc[0]
    assert (row["source"], row["n_images"]) == (weak, 3)
    assert (row["masks"], row["model"]) == pytest.approx((0.4, 1.7 / 3))
    # Differences 0.1, 0.4 and 0: of 27 draws one has three times 0, and one three times 0.4.
    assert row["difference"] == pytest.approx(0.5 / 3)
    assert (row["difference low"], row["difference high"]) == pytest.approx((0.0, 0.4))
    said = tables.readable(table).iloc[0]["difference"]
    assert said == "+0.167 [0.000, 0.400]"
    assert len(tables.minus_masks(run, of, "train")) == 3
    make_scores(run / "masks" / weak / "scores.csv", [np.nan] * 6)
    assert tables.minus_masks(run, of).empty


def test_costs_keep_the_shared_pass_apart():
    rows = [("features", "-", "-", 12, 12.0), ("masks", "ground_truth", "-", 6, 3.0),
            ("masks", "gradcam_pretrained", "-", 6, 6.0)]
    timings = pd.DataFrame(rows, columns=["stage", "source", "labels", "n_images", "seconds"])
    table = tables.costs(timings).set_index("source")
    columns = ["masks_seconds", "features_seconds", "seconds"]
    assert table.loc["ground_truth", columns].tolist() == [0.5, 0.0, 0.5]
    assert table.loc["gradcam_pretrained", columns].tolist() == [1.0, 2.0, 3.0]
    untimed = tables.costs(timings.iloc[1:]).set_index("source")
    assert untimed["features_seconds"].isna().tolist() == [False, True]


def test_masks_of_several_sets_stand_beside_each_other():
    rows = [("a", split, metric, border, value)
            for split, metric, values in (("test", "pseudo_iou_gt", (0.5, 0.4, 0.3)),
                                          ("train", "pseudo_iou_gt", (0.1, 0.1, 0.1)),
                                          ("test", "mask_iou_gt", (0.2, 0.2, 0.2)))
            for border, value in zip(BORDERS, values, strict=True)]
    frame = pd.DataFrame(rows, columns=["source", "split", "metric", "border", "value"])
    frame = frame.assign(low=frame["value"] - 0.1, high=frame["value"] + 0.1, n_images=7)
    table = tables.masks_beside({"one": pd.concat([frame, frame]), "two": frame})  # both labels
    assert table[["data", "source", "n_images"]].to_numpy().tolist() == [
        ["one", "a", 7], ["two", "a", 7]]
    assert table[list(BORDERS)].to_numpy().tolist() == [[0.5, 0.4, 0.3]] * 2
    assert tables.readable(table)["ignore"].tolist() == ["0.400 [0.300, 0.500]"] * 2
    floor = {"foreground": 0.45, "ignore": 0.41, "background": 0.3}
    ones = frame.assign(source="all_ones", value=frame["border"].map(floor))
    sets = {"one": frame, "two": pd.concat([frame, ones])}  # a floor in the second set alone
    text = tables.readable(tables.masks_beside(sets)).set_index(["data", "source"])
    below = {(k, border) for border in BORDERS for k, v in text[border].items() if "▼" in v}
    assert below == {(("two", "a"), "ignore")}  # equal is not below


def test_examples_do_not_depend_on_the_order():
    frame = pd.DataFrame({"id": ["d", "a", "c", "b"], "iou/foreground": [0.5, 0.5, 0.9, 0.1]})
    expected = {"best": "c", "median": "a", "worst": "b"}
    assert tables.pick_examples(frame) == expected == tables.pick_examples(frame.iloc[::-1])


def test_examples_without_ground_truth_go_by_the_sources_masks():
    frame = pd.DataFrame({"id": list("abc"), "mask_iou": [0.2, 0.9, 0.5],
                          "iou/foreground": [np.nan, 0.1, np.nan]})
    assert set(tables.pick_examples(frame).values()) == {"b"}  # the only one that has an IoU
    frame["iou/foreground"] = np.nan
    assert tables.pick_examples(frame) == {"best": "b", "median": "c", "worst": "a"}
    assert tables.pick_examples(frame.assign(mask_iou=np.nan)) == {}


def test_breeds_count_the_photos_that_were_scored(run):
    path = run / "models" / "ground_truth-breed" / "scores.csv"
    scores = pd.read_csv(path)
    scores.loc[1, [f"iou/{b}" for b in BORDERS]] = np.nan  # an Abyssinian of test
    write_frame(path, scores)
    table = tables.per_breed(run, "ground_truth", "breed").set_index("breed")
    assert table.loc["Abyssinian", ["n_images", "n_ground_truth"]].tolist() == [2, 1]
    assert table.loc["Abyssinian", ["iou/ignore", "accuracy"]].tolist() == [0.7, 1.0]
    both = tables.breeds_compared(run, [("ground_truth", "breed")]).set_index("breed")
    assert both["n_images"].tolist() == [1, 2, 3]


def test_a_stored_table_that_is_not_there_says_how_it_is_made():
    with pytest.raises(FileNotFoundError, match="make figures"):
        tables.stored("nothing", "results.csv")
