"""ONNX Runtime as an engine: the same maps, counted passes, no picture left on another device."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from onnxruntime import InferenceSession
from torch import nn

from petweak.models import onnx
from petweak.models.backbones import Backbone
from petweak.models.onnx import make_engine


def toy_backbone() -> Backbone:
    """Four stages of convolutions as EfficientNet-Lite has them, one each; tests/hard exports the
    real ones."""
    torch.manual_seed(0)
    channels, stages = (3, 8, 12, 16, 20), []
    for k, (of, to) in enumerate(pairwise(channels)):
        layers = [nn.Conv2d(of, to, 3, 2 if k < 3 else 1, 1), nn.BatchNorm2d(to), nn.ReLU6()]
        nn.init.normal_(layers[1].running_mean)
        stages.append(nn.Sequential(*[nn.AvgPool2d(4)] * (k == 0), *layers))
    return Backbone("toy", nn.Sequential(*stages), nn.Linear(20, 1000), stages, stages[-1][-1],
                    channels[:0:-1], [0.5] * 3, [0.25] * 3)


@pytest.fixture(scope="module")
def backbone():
    return toy_backbone()


@pytest.fixture(scope="module")
def session(backbone, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx.pooch, "os_cache", lambda _: tmp_path_factory.getbasetemp() / "graphs")
        return new_session(backbone)


def new_session(backbone):
    name, engine = make_engine(backbone, torch.rand(4, 3, 64, 64), "onnxruntime")
    assert name == "onnxruntime"
    return engine


@pytest.mark.parametrize("batch, side", [(3, 64), (2, 96), (1, 224)])  # exported with 2, 64
def test_it_gives_pytorchs_maps_and_counts_its_passes(backbone, session, batch, side):
    photos, before = torch.rand(batch, 3, side, side), backbone.passes
    theirs = session(photos)
    assert backbone.passes == before + batch
    with torch.no_grad():
        ours = backbone(photos)
    for level, m in ours.items():
        torch.testing.assert_close(theirs[level], m, rtol=1e-3, atol=1e-3)


def test_many_or_large_pictures_pass_in_parts_with_the_same_maps(session, monkeypatch):
    """So memory does not grow with them. The maps are equal bit by bit."""
    sizes, run = [], InferenceSession.run
    monkeypatch.setattr(InferenceSession, "run", lambda self, names, given: (
        sizes.append(given["photos"].shape[::3]) or run(self, names, given)))
    monkeypatch.setattr(onnx, "AT_ONCE", 8 * 64**2)
    photos = torch.rand(5, 3, 96, 96)  # of 96 * 96 pixels three have room
    parts = session(photos)
    monkeypatch.undo()
    assert sizes == [(3, 96), (2, 96)]
    for level, whole in session(photos).items():
        assert torch.equal(parts[level], whole)


def test_the_graph_is_exported_once(backbone, session, tmp_path_factory, tmp_path, monkeypatch):
    kept = tmp_path_factory.getbasetemp() / "graphs"
    (file,) = kept.glob("toy-*.onnx")
    graph = file.read_bytes()
    monkeypatch.setattr(onnx, "export", lambda _: b"a new graph")
    monkeypatch.setattr(onnx.pooch, "os_cache", lambda _: kept)
    assert onnx.onnx_graph(backbone) == graph
    folder = tmp_path / "copy"
    monkeypatch.setattr(onnx.pooch, "os_cache", lambda _: folder)
    assert onnx.onnx_graph(backbone) == b"a new graph"  # nothing is there
    (copy,) = folder.glob("*.onnx")
    assert copy.name == file.name
    copy.write_bytes(graph[:-9])  # damaged
    assert onnx.onnx_graph(backbone) == b"a new graph" == copy.read_bytes()
    (folder / copy.with_suffix(".json").name).unlink()  # nobody knows whether it is whole
    copy.write_bytes(b"half a graph")
    assert onnx.onnx_graph(backbone) == b"a new graph" == copy.read_bytes()


def test_other_weights_have_another_graph(backbone, tmp_path, monkeypatch):
    graphs = iter((b"a", b"b"))
    monkeypatch.setattr(onnx, "export", lambda _: next(graphs))
    monkeypatch.setattr(onnx.pooch, "os_cache", lambda _: tmp_path)
    other = toy_backbone()
    other.net[-1][1].running_mean[0] += 1
    assert [onnx.onnx_graph(b) for b in (backbone, other, backbone, other)] == [b"a", b"b"] * 2


def test_where_the_users_cache_cannot_be_written_nothing_is_kept(backbone, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(onnx, "export", lambda _: b"graph")
    monkeypatch.setattr(onnx.pooch, "os_cache", lambda _: tmp_path / "file" / "petweak")
    assert onnx.onnx_graph(backbone) == b"graph"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_pictures_on_a_gpu_come_to_the_cpu_first(backbone, session):
    photos = torch.rand(2, 3, 64, 64)

    class OnGPU:
        """As a CUDA tensor: NumPy cannot read it."""

        def __len__(self):
            return 2

        def cpu(self):
            return photos

        def numpy(self):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")

    assert torch.equal(session(OnGPU())["final"], session(photos)["final"])


def test_auto_takes_it_only_where_its_maps_are_equal(backbone, session, monkeypatch):
    photos, before = torch.rand(4, 3, 64, 64), backbone.passes

    def wrong(photos):
        return session(photos) | {"stride8": session(photos)["stride8"] * 1.01}

    def fails(*args):
        raise RuntimeError("no such operator")

    for engine, expected in ((session, "onnxruntime"), (wrong, "eager")):
        monkeypatch.setattr(onnx, "onnx_engine", lambda *args, engine=engine: engine)
        assert make_engine(backbone, photos, "auto")[0] == expected
    monkeypatch.setattr(onnx, "onnx_engine", fails)
    assert make_engine(backbone, photos, "auto") == ("eager", backbone)
    assert make_engine(backbone, photos.to("meta"), "auto") == ("eager", backbone)
    assert backbone.passes == before, "a trial counts as passes"
    with pytest.raises(RuntimeError, match="no such operator"):  # who asked for it by name
        make_engine(backbone, photos, "onnxruntime")
