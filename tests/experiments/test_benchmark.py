"""Petweak and its rivals in turn: the same photos, the same maps, and a row for each."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest
import torch
from conftest import small

from petweak.data.pictures import load_photo
from petweak.experiments import benchmark as module
from petweak.experiments.benchmark import InEveryStep, alternate, benchmark, rivals, untrained
from petweak.pseudo_masks.refinement import STEPS
from petweak.study.run import Run
from petweak.training.inference import predict_photo, predict_photos

LEVELS = "final,penultimate,stride16,stride8"


@pytest.fixture(scope="module")
def run(eight_breeds, tmp_path_factory) -> Run:
    flat = dict(sources="ground_truth", labels="species", levels=LEVELS, batch_size=4)
    return Run(tmp_path_factory.mktemp("benchmark"), eight_breeds, small(**flat))


def test_each_is_timed_in_every_round_and_begins_one_in_turn():
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}
    taken = alternate(calls, 2, torch.device("cpu"))
    assert taken.shape == (2, 3) and (taken > 0).all(axis=None)
    assert "".join(order[:3]) == "abc"
    assert [order[0], order[3], order[6]] == ["a", "c", "b"] and len(order) == 9


def test_what_a_call_has_made_is_deleted_while_no_clock_runs(tmp_path, monkeypatch):
    made, at = tmp_path / "made", [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: at[0])

    def make() -> None:
        made.mkdir()  # it is not there: FileExistsError
        at[0] += 3

    def delete(folder, ignore_errors: bool) -> None:
        folder.rmdir()
        at[0] += 100

    monkeypatch.setattr(module.shutil, "rmtree", delete)
    taken = alternate({"a": make, "b": make}, 2, torch.device("cpu"), made)
    assert (taken == 3).all(axis=None) and not made.exists()


def test_the_backbone_in_every_step_gives_the_maps_of_the_cache(run):
    samples = run.pets.split("train")[:3]
    live, ids, mirror = InEveryStep(run, samples), [s.id for s in samples], np.array([0, 1, 0]) > 0
    before = run.backbone.passes
    for level in run.settings.model.levels:
        one, cached = live.half(level, ids, mirror), run.features.half(level, ids, mirror)
        assert one.dtype == torch.float16
        torch.testing.assert_close(one.float(), cached.float(), rtol=0.01, atol=0.03)
    assert run.backbone.passes == before + 3  # once for all levels of a step


def test_cams_and_predictions(run):
    table = benchmark(run, parts=("cams", "predict"), photos=3, rounds=1)
    assert table["what"].str.startswith("pytorch-grad-cam").sum() == 2 and len(table) == 6
    first = table.groupby("part").first()
    assert (first["ratio"] == 1).all() and (table["seconds"] > 0).all()
    assert set(table["n_images"]) == {3} and set(table["threads"]) == {torch.get_num_threads()}
    assert (table["low"] <= table["high"]).all()


def test_what_a_study_does_after_the_pass(eight_breeds, tmp_path):
    flat = dict(sources="ground_truth,gradcam_pretrained", labels="species", levels=LEVELS,
                walk_steps=2, round_walk_steps=2, refinement="pamr", refinement_scales="1.0")
    run = Run(tmp_path, eight_breeds, small(**flat))
    table = benchmark(run, ("stages",), photos=3, rounds=1)
    assert table["what"].tolist() == [
        "soft masks, gradcam_pretrained", "soft masks, imagenet_only",
        *(f"refinement, {step}" for step in STEPS), "self-training, masks of a round",
        "self-training, an epoch of a round", "metrics"]
    assert (table["seconds"] > 0).all() and not (tmp_path / "masks" / "imagenet_only").exists()


def test_a_batch_is_predicted_as_its_photos(run):
    photos = [load_photo(s.photo) for s in run.pets.split("train")[:2]]
    predictor = untrained(run)
    for one, photo in zip(predict_photos(predictor, photos), photos, strict=True):
        alone = predict_photo(predictor, photo)
        np.testing.assert_allclose(one.soft, alone.soft, atol=1e-3)
        np.testing.assert_allclose(one.classes, alone.classes, atol=1e-3)


def test_an_epoch_beside_those_of_others(run):
    pytest.importorskip("transformers")
    pytest.importorskip("segmentation_models_pytorch")
    table = benchmark(run, parts=("epoch",), photos=5, rounds=1)
    assert table["what"].tolist() == ["petweak", "the backbone in every step",
                                      "transformers MaskFormer", "smp FPN", "smp U-Net"]
    nets = rivals(run.backbone, 2)
    for name in ("smp FPN", "smp U-Net"):
        stem = nets[name][0].encoder.model.conv_stem.weight
        assert torch.equal(stem, run.backbone.net.conv_stem.weight), "the backbone's weights"
        assert stem.requires_grad


def test_processes(run, monkeypatch):
    run.pets  # whose commit git tells, by a process  # noqa: B018
    ran: list[list[str]] = []
    monkeypatch.setattr("subprocess.run", lambda words, **_: ran.append(words[1:]))
    table = benchmark(run, parts=("start",), photos=16, rounds=1)
    assert table["what"].tolist() == ["import petweak", "petweak --help",
                                      "petweak predict, 1 photo", "petweak predict, 16 photos"]
    assert set(table["n_images"]) == {1}
    predicts = sorted((w for w in ran if "predict" in w), key=len)
    photos = [sum(word.endswith(".jpg") for word in w) for w in predicts]
    assert photos == [1, 1, 16, 16]
    model = predicts[0][predicts[0].index("--model") + 1]
    assert model == str(run.folder / "models" / "ground_truth-species-ms")


def test_what_cannot_be_timed_is_told(run, monkeypatch):
    with pytest.raises(ValueError, match="unknown training: there are epoch, cams, predict"):
        benchmark(run, parts=("training",))
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"needs .*: pip install -e \.\[benchmark\]"):
        rivals(run.backbone, 2)
