"""ONNX Runtime as an engine: the same maps, counted passes, no picture left on another device."""

from __future__ import annotations

import pytest
import torch

from petweak.models import onnx
from petweak.models.backbones import load_backbone
from petweak.models.onnx import make_engine


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("efficientnet_lite0")


@pytest.fixture(scope="module")
def session(backbone):
    name, engine = make_engine(backbone, torch.rand(4, 3, 64, 64), "onnxruntime")
    assert name == "onnxruntime"
    return engine


def test_it_gives_pytorchs_maps_and_counts_its_passes(backbone, session):
    photos, before = torch.rand(3, 3, 64, 64), backbone.passes  # another batch size than exported
    theirs = session(photos)
    assert backbone.passes == before + 3
    with torch.no_grad():
        ours = backbone(photos)
    for level, m in ours.items():
        torch.testing.assert_close(theirs[level], m, rtol=1e-3, atol=1e-3)


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
