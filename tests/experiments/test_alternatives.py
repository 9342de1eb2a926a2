"""Both ways of a stage give the same, and each is timed."""

from __future__ import annotations

import shutil
from contextlib import nullcontext

import pytest
import torch
from conftest import small

from petweak.data import feature_cache
from petweak.experiments import alternatives as module
from petweak.experiments.alternatives import STAGES, alternatives
from petweak.study.run import Run

SAME = ("queries", "crf", "walk")  # what these return can be compared here


@pytest.fixture(scope="module")
def run(eight_breeds, tmp_path_factory) -> Run:
    flat = dict(sources="ground_truth", labels="species", batch_size=4, walk_steps=3)
    return Run(tmp_path_factory.mktemp("alternatives"), eight_breeds, small(**flat))


@pytest.fixture(autouse=True)
def smaller(monkeypatch):
    monkeypatch.setattr(module, "GRID", 6)


def test_every_stage_has_two_ways_or_more(run):
    table = alternatives(run, stages=("engine", "precision", "queries", "walk"), photos=4, rounds=1)
    ways = table.groupby("stage", sort=False)["what"].apply(list)
    assert ways["engine"] == ["ONNX Runtime", "PyTorch", "PyTorch, bfloat16"]
    assert ways["walk"][0] == "photo by photo"
    assert len(ways["precision"]) == 4 and ways.map(len).min() >= 2
    assert (table.groupby("stage").first()["ratio"] == 1).all()
    assert (table["seconds"] > 0).all() and set(table["n_images"]) == {4}


@pytest.mark.parametrize("stage", SAME)
def test_the_ways_give_the_same(run, stage):
    torch.manual_seed(0)
    ways = STAGES[stage](run, run.pets.split("train")[:3])
    first, second = (torch.stack([torch.as_tensor(x) for x in way()]).float()
                     for way in ways.values())
    torch.testing.assert_close(first.squeeze(), second.squeeze(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stage", ["graph", "decoding", "batch"])
def test_the_default_comes_first(run, stage, monkeypatch):
    monkeypatch.setattr(module, "onnx_engine", lambda backbone: backbone)
    monkeypatch.setattr(module, "export", lambda backbone: b"")
    passed: list[tuple[int, int]] = []
    monkeypatch.setattr(module, "pass_anew", lambda run, samples, network, settings: passed.append(
        (settings.system.workers, settings.backbone.extraction_batch)))
    for call in STAGES[stage](run, run.pets.split("train")[:2]).values():
        call()
    s = run.settings
    assert stage == "graph" or passed[0] == (s.system.workers, s.backbone.extraction_batch)
    assert stage != "decoding" or [workers for workers, _ in passed] == [0, 2, 0]


def test_photos_decoded_by_threads_are_those_of_the_pass(run, monkeypatch):
    """The same cache, and no loader of torch's."""
    kept, samples, passed = [], run.pets.split("train")[:5], module.pass_anew
    monkeypatch.setattr(module, "scratch", lambda folder: nullcontext(run.folder / "passes"))
    monkeypatch.setattr(module, "onnx_engine", lambda backbone: backbone)

    def pass_anew(*args):
        passed(*args)
        kept.append((run.folder / "passes" / "features" / "final.npy").read_bytes())

    monkeypatch.setattr(module, "pass_anew", pass_anew)
    first, _, threads = STAGES["decoding"](run, samples).values()
    first()
    shutil.rmtree(run.folder / "passes")
    monkeypatch.setattr(feature_cache, "DataLoader", lambda *a, **k: pytest.fail("no threads"))
    threads()
    assert kept[0] == kept[1]


def test_an_unknown_stage_is_told(run):
    with pytest.raises(ValueError, match="unknown tea: there are graph, engine"):
        alternatives(run, stages=("tea",))
