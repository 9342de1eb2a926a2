"""Queries, epoch by epoch."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import every_lock, small
from explored import control, refuse, run, texts  # noqa: F401 - fixtures

from petweak.explorers import maskformer_explorer
from petweak.explorers.maskformer import Forming
from petweak.study.run import Run, reopen
from petweak.training.inference import load_model, predict_features


def test_the_queries_of_the_kept_epoch_are_the_models_prediction(run):  # noqa: F811
    folder, image_id = run.model_folder("gradcam_finetuned", "species"), run.ids[-1]
    forming, model = Forming(run, folder), load_model(folder)
    assert list(forming.epochs) == [1, 2]
    first = forming.predict(image_id, 1)[0]
    assert not np.allclose(first[0].mask, forming.predict(image_id, 2)[0][0].mask, atol=1e-3)
    queries, soft = forming.predict(image_id)  # of all epochs, the one that was kept again
    model.mirror = False
    ((_, prediction),) = predict_features(model, run.features, [image_id])
    assert np.allclose(soft, prediction.soft, atol=1e-6)
    assert sum(q.wins for q in queries) == 1
    assert min(queries, key=lambda q: q.no_object).wins
    assert [c for c, _ in queries[0].classes] in (["cat", "dog"], ["dog", "cat"])
    with pytest.raises(KeyError):
        forming.predict(image_id, 7)


def test_the_slider_goes_through_training(run):  # noqa: F811
    box = maskformer_explorer(run)
    assert "was kept" in texts(box)
    control(box, "epoch").value = 1
    assert "after epoch 1" in texts(box) and texts(box).count("<figure") == 4
    control(box, "model").value = "ground_truth-species"
    assert "was kept" in texts(box) and control(box, "epoch").value == "kept"


def test_a_run_without_models_says_so(rendered, tmp_path):
    assert "make demo" in maskformer_explorer(Run(tmp_path, rendered, small())).value


def test_a_finished_run_is_looked_at_without_a_change_or_a_lock(run, refuse):  # noqa: F811
    before = {p: p.stat().st_mtime_ns for p in run.folder.rglob("*") if p.is_file()}
    with every_lock(run):
        again = reopen(run.folder)
        box = maskformer_explorer(again)
    assert control(box, "photo").value == run.pets.split("test")[0].id
    assert {p: p.stat().st_mtime_ns for p in before} == before
