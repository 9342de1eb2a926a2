"""The backbones of packages give the same maps in ONNX Runtime, at sizes of no export."""

from __future__ import annotations

import pytest
import torch

from petweak.models import onnx
from petweak.models.backbones import load_backbone
from petweak.models.weights import PACKAGES


@pytest.mark.parametrize("name", PACKAGES)
def test_an_exported_backbone_has_the_same_maps(name, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx.pooch, "os_cache", lambda _: tmp_path)
    backbone = load_backbone(name)
    session = onnx.onnx_engine(backbone)
    for batch, side in ((3, 64), (2, 96), (1, 224)):
        photos = torch.rand(batch, 3, side, side)
        theirs = session(photos)
        with torch.no_grad():
            ours = backbone(photos)
        for level, m in ours.items():
            torch.testing.assert_close(theirs[level], m, rtol=1e-3, atol=1e-3)
    assert onnx.make_engine(backbone, photos, "auto")[0] == "onnxruntime"
