"""Tables of photos and the rows of results.csv made of them, against values by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from petweak.data.oxford_pets import Sample
from petweak.evaluation import metrics
from petweak.evaluation.scoring import (
    MEANINGS,
    ground_truth_rows,
    mask_rows,
    mean_iou,
    model_rows,
    score_baseline,
    score_masks,
    score_model,
)
from petweak.training.inference import Prediction

# A strip of 8 pixels: 4 foreground, 2 border, 2 background.
TRIMAP = np.array([[1, 1, 1, 1, 3, 3, 2, 2]] * 2, np.uint8)
MASKS = {  # the source's masks of three photos, and the predicted foreground
    "great_dane_1": ([255] * 4 + [0] * 4, [1] * 6 + [0] * 2),
    "great_dane_2": ([255] * 2 + [0] * 6, [1] * 2 + [0] * 6),
    "pug_3": ([255] * 2 + [128] * 4 + [0] * 2, [0] * 8),
}
# IoU with ground truth, border as foreground, ignored, as background
OF_MASKS = {
    "great_dane_1": (4 / 6, 1, 1),
    "great_dane_2": (2 / 6, 2 / 4, 2 / 4),
    "pug_3": (2 / 6, 2 / 4, 2 / 4),
}
OF_MODEL = {
    "great_dane_1": (1, 1, 4 / 6),
    "great_dane_2": (2 / 6, 2 / 4, 2 / 4),
    "pug_3": (0, 0, 0),
}
BORDERS = ("foreground", "ignore", "background")


@pytest.fixture
def samples(tmp_path) -> list[Sample]:
    (tmp_path / "masks").mkdir()
    for i, (mask, _) in MASKS.items():
        Image.fromarray(np.array([mask] * 2, np.uint8)).save(tmp_path / "masks" / f"{i}.png")
    Image.fromarray(TRIMAP).save(tmp_path / "trimap.png")
    Image.new("RGB", TRIMAP.shape[::-1]).save(tmp_path / "photo.png")
    breeds = [("great_dane", 0, "train"), ("great_dane", 0, "test"), ("pug", 1, "test")]
    return [
        Sample(i, tmp_path / "photo.png", tmp_path / "trimap.png", breed, 1, split, name)
        for i, (name, breed, split) in zip(MASKS, breeds, strict=True)
    ]


def predictions(samples) -> list[tuple[Sample, Prediction]]:
    """Classes: right, wrong, right, of the photo as of each of its pixels."""
    classes, pairs = ([0.9, 0.1], [0.2, 0.8], [0.3, 0.7]), []
    for s, c in zip(samples, classes, strict=True):
        soft = np.array([MASKS[s.id][1]] * 2, np.float32)
        query = torch.tensor([c]), torch.from_numpy(soft[None])
        pairs.append((s, Prediction(soft, np.array(c), *query)))
    return pairs


def check_ious(table: pd.DataFrame, expected: dict[str, tuple[float, ...]]) -> None:
    assert table["id"].tolist() == list(expected)
    np.testing.assert_allclose(table[[f"iou/{b}" for b in BORDERS]], list(expected.values()))


def test_a_row_a_photo_with_its_breed_and_every_border(samples, tmp_path):
    table = score_masks(samples, tmp_path / "masks")
    assert list(table)[:3] == ["id", "split", "breed"]
    assert set(table) - {"id", "split", "breed"} == {
        f"{m}/{b}" for m in ("iou", "boundary", "intersection", "union") for b in BORDERS
    }
    assert table["breed"].tolist() == ["great_dane", "great_dane", "pug"]
    check_ious(table, OF_MASKS)
    first = table.iloc[0]
    assert (first["intersection/foreground"], first["union/foreground"]) == (8, 12)
    mask, pair = np.array([MASKS["great_dane_1"][0]] * 2) == 255, metrics.target(TRIMAP, "ignore")
    assert first["boundary/ignore"] == metrics.boundary_iou(mask, *pair)


def test_a_model_is_scored_against_ground_truth_and_against_its_source_without_the_ignore_region(
    samples, tmp_path
):
    table = score_model(predictions(samples), tmp_path / "masks", "breed")
    assert list(table)[:6] == ["id", "split", "breed", "class", "predicted", "mask_iou"]
    check_ious(table, OF_MODEL)
    assert table["mask_iou"].tolist() == pytest.approx([4 / 6, 1.0, 0.0])
    assert (table["class"].tolist(), table["predicted"].tolist()) == ([0, 0, 1], [0, 1, 1])
    # Of the ignored pixels alone there is nothing to say.
    Image.fromarray(np.full((2, 8), 128, np.uint8)).save(tmp_path / "masks" / "pug_3.png")
    assert score_model(predictions(samples)[2:], tmp_path / "masks", "breed")[
        "mask_iou"
    ].tolist() == [1.0]


def test_predictions_are_scored_at_the_size_of_the_trimap(samples, tmp_path):
    soft = np.array([[1.0, 0.0]], np.float32)
    query = torch.tensor([[1.0, 0.0]]), torch.from_numpy(soft[None])
    coarse = Prediction(soft, np.ones(2), *query)
    table = score_model([(samples[0], coarse)], tmp_path / "masks", "breed")
    assert table["iou/background"].tolist() == [1.0]  # 4 of 8 pixels
    assert table["semantic/ignore"].tolist() == ["[[0, 8, 8], [2, 4, 4]]"]


def test_classes_of_pixels_are_pooled_over_the_split(samples, tmp_path):
    """[class, intersection, union] of each photo; class 2 is the background."""
    pairs = predictions(samples)
    # The right class on the left half of the second photo's mask, the other one on the right.
    soft, left = pairs[1][1].soft, np.array([[1, 0] + [0] * 6] * 2, np.float32)
    halves = torch.from_numpy(np.stack([left, soft - left]))
    pairs[1] = (samples[1], replace(pairs[1][1], weights=torch.eye(2), masks=halves))
    table = score_model(pairs, tmp_path / "masks", "breed")
    assert [json.loads(c) for c in table["semantic/foreground"]] == [
        [[0, 12, 12], [2, 4, 4]], [[0, 2, 12], [1, 0, 2], [2, 4, 12]], [[1, 0, 12], [2, 4, 16]]]
    assert [json.loads(c) for c in table["semantic/ignore"]] == [
        [[0, 8, 8], [2, 4, 4]], [[0, 2, 8], [1, 0, 2], [2, 4, 8]], [[1, 0, 8], [2, 4, 12]]]
    found = [r for r in model_rows(table, 200, num_classes=2) if r["metric"] == "semantic_miou"]
    rows = {(r["split"], r["border"]): r for r in found}
    assert list(rows) == [(s, b) for s in ("train", "test") for b in ("foreground", "ignore")]
    expected = {  # classes that occur: in train 0 and the background, in test all three
        ("train", "foreground"): 1.0, ("train", "ignore"): 1.0,
        ("test", "foreground"): (2 / 12 + 0 / 14 + 8 / 28) / 3,
        ("test", "ignore"): (2 / 8 + 0 / 10 + 8 / 20) / 3}
    for at, value in expected.items():
        assert rows[at]["value"] == pytest.approx(value) and rows[at]["n_images"] in (1, 2)
    one, both = rows["train", "ignore"], rows["test", "ignore"]
    assert (one["low"], one["high"]) == (1, 1)
    # Twice the third photo, and twice the second one: classes 1 and 2, and all three.
    ends = sorted([(0 + 4 / 12) / 2, (2 / 8 + 0 + 4 / 8) / 3])
    assert ends[0] <= both["low"] <= both["value"] <= both["high"] <= ends[1]
    assert (both["low"], both["high"]) == pytest.approx(ends)


def test_mean_iou_is_the_mean_over_photos(samples):
    expected = np.mean(list(OF_MODEL.values()), axis=0)
    assert mean_iou(predictions(samples)) == pytest.approx(
        dict(zip(BORDERS, expected, strict=True))
    )


def test_baselines(samples):
    table = score_baseline(samples, "all_ones")
    check_ious(table, dict.fromkeys(MASKS, (6 / 8, 4 / 6, 4 / 8)))
    assert len(score_baseline(samples, "centre_box")) == 3


def test_rows_are_means_over_photos_of_each_split(samples, tmp_path):
    table = score_model(predictions(samples), tmp_path / "masks", "breed")
    rows = {
        (r["split"], r["border"], r["metric"]): r
        for r in model_rows(table, num_classes=2, resamples=50)
    }
    assert {m for *_, m in rows} | {"pseudo_iou_gt"} == set(MEANINGS)
    test = {m: rows["test", "-", m]["value"] for m in ("class_iou", "class_accuracy", "mask_iou")}
    # predicted 1, 1 for 0, 1: Jaccard 0 of class 0, 1/2 of class 1
    assert test == pytest.approx({"class_iou": 0.25, "class_accuracy": 0.5, "mask_iou": 0.5})
    for k, border in enumerate(BORDERS):
        assert rows["test", border, "mask_iou_gt"]["value"] == pytest.approx(
            (OF_MODEL["great_dane_2"][k]) / 2
        )
        assert rows["train", border, "mask_iou_gt"]["value"] == pytest.approx(
            OF_MODEL["great_dane_1"][k]
        )
    # Summed, not averaged: 4 of 12 and 0 of 12 pixels.
    assert rows["test", "foreground", "dataset_iou_gt"]["value"] == pytest.approx(4 / 24)
    assert all(r["n_images"] == {"train": 1, "test": 2}[s] for (s, *_), r in rows.items())
    outside = {k: r for k, r in rows.items() if not r["low"] <= r["value"] <= r["high"]}
    assert not outside
    assert (
        rows["test", "ignore", "mask_iou_gt"]["low"]
        == 0
        < rows["test", "ignore", "mask_iou_gt"]["high"]
    )


def test_a_photo_without_a_trimap_has_a_class_and_its_sources_mask_and_no_ground_truth(
    samples, tmp_path
):
    samples[2] = replace(samples[2], trimap=None)
    table = score_model(predictions(samples), tmp_path / "masks", "breed")
    assert table["mask_iou"].tolist() == pytest.approx([4 / 6, 1.0, 0.0])
    check_ious(table.iloc[:2], dict(list(OF_MODEL.items())[:2]))
    assert table.iloc[2].filter(regex="/").isna().all()
    rows = {(r["split"], r["metric"]): r for r in model_rows(table, num_classes=2, resamples=9)}
    assert rows["test", "semantic_miou"]["n_images"] == 1
    assert rows["test", "class_accuracy"]["n_images"] == rows["test", "mask_iou"]["n_images"] == 2
    assert {rows["test", m]["n_images"] for m in ("mask_iou_gt", "dataset_iou_gt")} == {1}
    (tmp_path / "masks" / "pug_3.png").unlink()  # ground truth has no mask of it
    table = score_model(predictions(samples), tmp_path / "masks", "breed")
    assert table["mask_iou"].isna().tolist() == [False, False, True]
    assert table["predicted"].tolist() == [0, 1, 1]
    for scored in (score_masks(samples, tmp_path / "masks"), score_baseline(samples, "all_ones")):
        assert scored["iou/ignore"].isna().tolist() == [False, False, True]


def test_without_any_trimap_there_are_no_rows_of_ground_truth(samples, tmp_path):
    bare = [replace(s, trimap=None) for s in samples]
    table = score_model(predictions(bare), tmp_path / "masks", "breed")
    rows = model_rows(table, num_classes=2, resamples=9)
    assert {r["metric"] for r in rows} == {"class_iou", "class_accuracy", "mask_iou"}
    assert mask_rows(score_masks(bare, tmp_path / "masks"), 9) == []
    assert ground_truth_rows(score_baseline(bare, "centre_box"), 9) == []
    (tmp_path / "masks" / "pug_3.png").unlink()
    with pytest.raises(FileNotFoundError):  # a photo that has a trimap has to have a mask
        score_model(predictions(samples), tmp_path / "masks", "breed")


def test_rows_of_masks_are_pseudo_iou(samples, tmp_path):
    rows = mask_rows(score_masks(samples, tmp_path / "masks"), 20)
    values = {(r["split"], r["border"]): r["value"] for r in rows}
    assert {r["metric"] for r in rows} == {"pseudo_iou_gt"} and len(values) == 6
    assert values["test", "ignore"] == pytest.approx(0.5) and values[
        "train", "foreground"
    ] == pytest.approx(4 / 6)
    truth = ground_truth_rows(score_masks(samples, tmp_path / "masks"), 20)
    assert {r["metric"] for r in truth} == {"mask_iou_gt", "dataset_iou_gt", "boundary_iou_gt"}
