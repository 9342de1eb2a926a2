"""Both ways of a stage give the same, and each is timed."""

from __future__ import annotations

import io
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import small

from petweak.experiments import alternatives as module
from petweak.experiments.alternatives import STAGES, InMemory, alternatives
from petweak.study.run import Run

SAME = ("queries", "crf", "walk")  # what these return can be compared here


@pytest.fixture(scope="module")
def run(eight_breeds, tmp_path_factory) -> Run:
    flat = dict(sources="ground_truth", labels="species", batch_size=4, walk_steps=3)
    return Run(tmp_path_factory.mktemp("alternatives"), eight_breeds, small(**flat))


@pytest.fixture(autouse=True)
def smaller(monkeypatch):
    monkeypatch.setattr(module, "GRID", 6)


def test_every_stage_has_two_ways_or_more(run, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    stages = ("engine", "precision", "queries", "views", "walk")
    table = alternatives(run, stages, photos=4, rounds=1)
    ways = table.groupby("stage", sort=False)["what"].apply(list)
    assert ways["engine"] == ["ONNX Runtime", "PyTorch", "PyTorch, bfloat16"]
    assert ways["walk"][0] == "photo by photo"
    assert ways["views"] == ["from the cache", "by a second pass"]
    assert len(ways["precision"]) == 8 and ways.map(len).min() >= 2
    assert ways["precision"][0] == "float32, channels first"
    assert (table.groupby("stage").first()["ratio"] == 1).all()
    assert (table["seconds"] > 0).all() and set(table["n_images"]) == {4}
    assert not (run.folder / module.PASSES).exists()


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
    monkeypatch.setattr(module, "extract", lambda run, samples, network, settings, loader=0:
                        passed.append((settings.system.workers + 10 * bool(loader),
                                       settings.backbone.extraction_batch)))
    for call in STAGES[stage](run, run.pets.split("train")[:2]).values():
        call()
    s = run.settings
    assert stage == "graph" or passed[0] == (s.system.workers, s.backbone.extraction_batch)
    assert stage != "decoding" or [workers for workers, _ in passed] == [0, 2, 10]


def test_photos_decoded_by_threads_are_those_of_the_pass(run, monkeypatch):
    """The same cache, and the loader is not torch's."""
    kept, samples, passed = [], run.pets.split("train")[:5], module.extract
    monkeypatch.setattr(module, "onnx_engine", lambda backbone: backbone)

    def extract(*args, **how):
        passed(*args, **how)
        kept.append((run.folder / module.PASSES / "features" / "final.npy").read_bytes())

    monkeypatch.setattr(module, "extract", extract)
    first, _, threads = STAGES["decoding"](run, samples).values()
    first()
    pools = []
    monkeypatch.setattr(module, "ThreadPoolExecutor",
                        lambda n: pools.append(n) or ThreadPoolExecutor(n))
    threads()
    assert kept[0] == kept[1] and pools == [2]
    shutil.rmtree(run.folder / module.PASSES)


def test_a_second_pass_gives_what_the_cache_has(run, monkeypatch):
    """To the last bit, as the engine is the same; and it passes each photo and its mirror image."""
    monkeypatch.setattr(module, "onnx_engine", lambda backbone: backbone)
    samples, run.backbone.passes = run.pets.split("train")[:3], 0
    cached, again = STAGES["views"](run, samples).values()
    photos, mirrored = cached()
    assert run.backbone.passes == 0
    again()
    assert run.backbone.passes == 2 * 3
    made = np.load(run.folder / module.PASSES / "features" / "final.npy")
    assert np.allclose(made[:, 0], photos, atol=0.02) and made.shape[1] == 2
    assert np.allclose(made[:, 1], mirrored, atol=0.02)
    assert not (run.folder / module.PASSES / "features" / "stride8.npy").exists()
    shutil.rmtree(run.folder / module.PASSES)


def test_openvino_reads_the_graph_of_the_cache(run, monkeypatch):
    """By a stand-in for the package, which gives what PyTorch gives."""
    asked, backbone = [], run.backbone

    class Core:
        def read_model(self, file: io.BytesIO) -> bytes:
            return file.getvalue()

        def compile_model(self, model: bytes, device: str, config: dict):
            asked.append((model, device, config["INFERENCE_PRECISION_HINT"]))
            return lambda given: {level: m.numpy() for level, m in backbone(
                torch.from_numpy(given["photos"])).items()}

    monkeypatch.setitem(sys.modules, "openvino", SimpleNamespace(Core=Core))
    monkeypatch.setattr(module, "find_spec", lambda name: name == "openvino")
    monkeypatch.setattr(module, "onnx_graph", lambda backbone: b"graph")
    monkeypatch.setattr(module, "onnx_engine", lambda backbone: backbone)
    monkeypatch.setattr(module, "extract", lambda run, samples, network, settings: network)
    assert "OpenVINO" not in STAGES["engine"](run, [], forks=True)  # it ends such a process
    engines = {name: call() for name, call in STAGES["engine"](run, []).items()}
    assert [*engines][3:] == ["OpenVINO", "OpenVINO, bfloat16"]
    assert asked == [(b"graph", "CPU", "f32"), (b"graph", "CPU", "bf16")]
    photos, before = torch.rand(2, 3, 64, 64), backbone.passes
    with torch.inference_mode():
        maps, same = engines["OpenVINO"](photos), backbone(photos)
    assert maps.keys() == same.keys() and all(torch.equal(maps[k], same[k]) for k in same)
    assert backbone.passes == before + 6  # those of the stand-in, its engine's, and PyTorch's


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_maps_in_memory_are_those_of_the_cache(run, layout):
    ids, mirror = list(run.ids[2:6]), np.array([False, True, True])
    maps = InMemory(run.features, ids, ("final", "stride8"), layout)
    for level in ("final", "stride8"):
        half = maps.half(level, ids[:3], mirror)
        assert torch.equal(half, run.features.half(level, ids[:3], mirror))
        assert half.float().is_contiguous(memory_format=layout)


def test_an_unknown_stage_is_told(run):
    with pytest.raises(ValueError, match="unknown tea: there are graph, engine"):
        alternatives(run, stages=("tea",))
