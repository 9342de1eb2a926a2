"""Latencies in one run, and hours of annotation by hand."""

from __future__ import annotations

import math
from functools import partial
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from conftest import small
from few import few_photos

from petweak.experiments import benchmark
from petweak.experiments import mask_costs as module
from petweak.experiments.mask_costs import (
    BASE,
    annotation_times,
    by_hours,
    hours,
    mask_costs,
    saved,
)
from petweak.study.run import Run


@pytest.fixture(scope="module")
def run(rendered, tmp_path_factory) -> Run:
    root = few_photos(rendered, tmp_path_factory.mktemp("costs"), breeds=1)
    return Run(tmp_path_factory.mktemp("run"), root, small())


def test_every_pipeline_makes_a_mask_and_has_its_time(run, monkeypatch):
    small_detector = partial(module.maskrcnn_resnet50_fpn, min_size=64)
    monkeypatch.setattr(module, "maskrcnn_resnet50_fpn", small_detector)
    monkeypatch.setattr(module, "resize", lambda x, size: x)
    table = mask_costs(run, photos=1).set_index("what")
    assert len(table) == 5 and table.loc[BASE, "ratio"] == 1
    assert (table["seconds"] > 0).all() and set(table["n_images"]) == {1}
    # torchvision's documentation: 44.4 million parameters of Mask R-CNN, 25.6 of ResNet-50
    assert table.loc["Mask R-CNN (torchvision, v1)", "parameters"] == pytest.approx(44.4, abs=0.1)
    assert table.loc[BASE, "parameters"] == pytest.approx(25.6, abs=0.1)


def test_ratios_are_of_the_same_photo_and_the_first_photo_warms_up(run, monkeypatch):
    calls, now = [], [0.0]  # a clock that the pipelines move

    def pipeline(what: str, seconds: float):
        def make(photo):
            warm = any(w == what for w, _ in calls)
            calls.append((what, photo.size))
            now[0] += seconds if warm else 0.5
            return torch.zeros(1)
        return make

    of = {BASE: pipeline(BASE, 0.25), "slow": pipeline("slow", 0.75)}
    monkeypatch.setattr(module, "_pipelines", lambda run: (of, [1.0, 2.0]))
    monkeypatch.setattr(benchmark, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    table = mask_costs(run, photos=1).set_index("what")
    assert [what for what, _ in calls] == [BASE, "slow", "slow", BASE]  # each is first in turn
    assert table.loc["slow", "seconds"] == 0.75 and table.loc["slow", "ratio"] == 3


def test_hours_are_those_of_the_cited_studies():
    assert hours(100, 0) == pytest.approx(100 * 79.2 / 3600)
    assert hours(0, 100) == pytest.approx(100 * 5.1 / 3600)
    assert hours(1, 1, "least") < hours(1, 1)
    times = annotation_times()
    assert set(times.index) == {"outline", "box", "click", "label"}
    # Of VOC's 20 classes 1.5 are in a photo: one click on each, and a second for each other one.
    assert 1.5 * times.loc["click", "seconds"] + 18.5 == pytest.approx(22.1)
    assert times["url"].str.startswith("https://arxiv.org/abs/").all()
    assert (times["least"] <= times["seconds"]).all() and times["where"].str.len().min() > 10


def curve() -> pd.DataFrame:
    values = {("true", 10): 0.6, ("true", 100): 0.8, ("both", 10): 0.7, ("pseudo", 0): 0.7}
    return pd.DataFrame([{"kind": kind, "masks": masks, "border": "ignore", "seed": seed,
                          "value": value + 0.01 * (seed - 1)}
                         for (kind, masks), value in values.items() for seed in (0, 1, 2)])


def test_a_curve_by_hours():
    points = by_hours(curve()).set_index(["source", "hours"])
    last = points.loc[("ground_truth", hours(100, 100))]
    assert last[["iou", "smallest", "largest"]].tolist() == pytest.approx([0.8, 0.79, 0.81])
    assert points.loc[("imagenet_only", 0.0), "iou"] == pytest.approx(0.7)
    least, usual = saved(curve())
    assert usual == pytest.approx(hours(math.sqrt(1000), math.sqrt(1000))) and least < usual
    weaker = curve().replace({"kind": {"pseudo": "true", "true": "pseudo"}})  # 0.6 and 0.8, 0.7
    weaker.loc[weaker["kind"] == "true", "masks"] = 5
    weaker.loc[weaker["kind"] == "pseudo", "value"] = 0.5
    assert saved(weaker) == (0, 0)  # 5 masks, the fewest, are better


def test_models_by_hours():
    rows = [("ground_truth border=ignore", "with_trimap", 170, 0.93),
            ("ground_truth border=foreground", "with_trimap", 170, 0.9),
            ("gradcam_finetuned", "all", 1600, 0.7), ("gradcam_finetuned", "with_trimap", 170, 0.6),
            ("imagenet_only", "all", 1600, 0.8),
            ("imagenet_only background_threshold=0.5", "all", 1600, 0.91)]
    table = pd.DataFrame([
        {"of": of, "photos": photos, "learnt_from": n, "labels": labels, "split": "test",
         "model": model, "metric": "mask_iou_gt", "border": border, "seed": seed, "value": value}
        for of, photos, n, value in rows for seed in (0, 1)
        for labels in (["species"] if of.startswith("imagenet") else ["breed", "species"])
        for border in ("ignore", "foreground") for model in ("maskformer", "maskformer-ms")])
    points = by_hours(models=table).set_index("source")
    assert points["iou"].to_dict() == pytest.approx(
        {"ground_truth": 0.93, "gradcam_finetuned": 0.7, "imagenet_only": 0.91})
    assert points["hours"].to_dict() == pytest.approx(
        {"ground_truth": hours(170, 170), "gradcam_finetuned": hours(0, 1600), "imagenet_only": 0})
    wide = by_hours(models=table, border="foreground").set_index("source")["iou"].to_dict()
    assert wide == pytest.approx(
        {"ground_truth": 0.9, "gradcam_finetuned": 0.7, "imagenet_only": 0.8})
