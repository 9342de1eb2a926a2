"""Scores by choice, and a breed's photos."""

from __future__ import annotations

import pandas as pd
from conftest import small
from explored import SOURCES, control, refuse, run, texts  # noqa: F401 - fixtures

from petweak.evaluation.metrics import BASELINES
from petweak.explorers import results_explorer
from petweak.explorers.results import Extremes, chosen
from petweak.explorers.screen import bars
from petweak.study.results import read_results
from petweak.study.run import Run


def test_the_scores_are_those_of_results_csv(run):  # noqa: F811
    where = dict(metric="mask_iou_gt", border="ignore")
    rows = chosen(read_results(run.folder), ["ground_truth", "all_ones"], "species", **where)
    assert sorted(rows["source"]) == ["all_ones", "ground_truth"]
    assert rows["value"].is_monotonic_decreasing
    assert all(f"{v:.3f}" in bars(rows) for v in rows["value"])
    shown = bars(rows)
    assert "learnt_from" in shown and "NA" not in shown and "nan" not in shown.lower()
    assert "no scores" in bars(rows[:0])


def test_rounds_of_self_training_are_not_among_them(run):  # noqa: F811
    results = read_results(run.folder)
    results = pd.concat([results.assign(round=0), results])
    where = dict(metric="mask_iou_gt", border="ignore")
    rows = chosen(results, ["ground_truth"], "species", **where)
    assert len(rows) == 1


def test_a_breed_has_its_best_and_worst_photos_once_each(run):  # noqa: F811
    breed = run.pets.breeds[0]
    (photo,) = Extremes(run).photos("ground_truth", "species", breed, "foreground")
    assert f"best: {breed}" in photo and "worst" not in photo and photo.count("<img") == 1
    means = Extremes(run).breeds("ground_truth", "species", "ignore")
    assert set(means.index) == set(run.pets.breeds) and means.is_monotonic_decreasing


def test_a_chosen_breed_stays_and_baselines_are_no_breeds(run, refuse):  # noqa: F811
    """A click on border forgot the breed, and all_ones was offered as one (fault 6)."""
    box = results_explorer(run)
    breed = control(box, "breed")
    names = [name for _, name in breed.options]
    assert sorted(names) == sorted(run.pets.breeds)
    assert not set(names) & {*BASELINES, "all breeds"}
    breed.value = names[20]
    for name, value in (
        ("border", "ignore"),
        ("border", "background"),
        ("metric", "boundary_iou_gt"),
        ("model", SOURCES[1]),
    ):
        before = texts(box)
        control(box, name).value = value
        assert breed.value == names[20] and texts(box) != before
        assert f"best: {names[20]}" in texts(box)
    control(box, "sources").value = tuple(BASELINES)
    assert breed.value is None and "best:" not in texts(box)


def test_a_change_is_drawn_once(run, monkeypatch):  # noqa: F811
    drawn, plain = [], Extremes.photos
    monkeypatch.setattr(Extremes, "photos", lambda *a: drawn.append(a[1:]) or plain(*a))
    box = results_explorer(run)
    for name, value in (("border", "ignore"), ("model", SOURCES[1])):
        drawn.clear()
        control(box, name).value = value
        assert len(drawn) == 1


def test_another_model_shows_its_own_predictions_of_the_same_breed(run):  # noqa: F811
    box, shown = results_explorer(run), []
    for source in SOURCES[:2]:
        control(box, "model").value = source
        control(box, "breed").value = run.pets.breeds[0]
        shown.append(texts(box).split("best: ")[1])
    assert shown[0] != shown[1]


def test_a_model_that_is_being_trained_again_is_said_to_be_missing(run):  # noqa: F811
    scores = run.model_folder("gradcam_finetuned", "species") / "scores.csv"
    scores.rename(scores.with_suffix(".away"))
    try:
        box = results_explorer(run)
        control(box, "model").value = "gradcam_finetuned"
        assert "scores.csv is missing" in texts(box)
    finally:
        scores.with_suffix(".away").rename(scores)


def test_a_run_without_results_says_so(rendered, tmp_path):
    assert "make demo" in results_explorer(Run(tmp_path, rendered, small())).value
