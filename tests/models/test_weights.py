"""Weights that are not the official file are another stage; the official ones need no mark."""

from __future__ import annotations

import hashlib

import pytest
import torch
from conftest import small

from petweak.models import weights
from petweak.models.backbones import load_backbone
from petweak.study.run import Run


@pytest.fixture
def torch_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    weights.cached_path("resnet50").parent.mkdir(parents=True)


def test_only_another_file_than_the_official_one_has_a_hash(torch_home, monkeypatch):
    path = weights.cached_path("resnet50")
    assert weights.fingerprint("resnet50") == "" and weights.available("resnet50") is None
    path.write_bytes(b"a user's")
    expected = hashlib.sha256(b"a user's").hexdigest()[:32]
    assert weights.fingerprint("resnet50") == expected and weights.available("resnet50") == path
    path.write_bytes(b"a user's, 2")
    assert weights.fingerprint("resnet50") not in ("", expected)
    # A file whose hash begins as the official name says is the official one.
    monkeypatch.setattr(weights, "_sha256", lambda *a: path.stem.rsplit("-", 1)[1] + "f" * 56)
    assert weights.fingerprint("resnet50") == weights.fingerprint("efficientnet_lite0") == ""


def test_the_file_is_read_once(torch_home, monkeypatch):
    weights.cached_path("mask_rcnn_v1").write_bytes(b"read once")
    first = weights.fingerprint("mask_rcnn_v1")
    monkeypatch.setattr(weights.hashlib, "file_digest", lambda *a: pytest.fail("read again"))
    assert weights.fingerprint("mask_rcnn_v1") == first != ""


def test_keys_follow_the_file_where_it_is_used(rendered, torch_home, tmp_path):
    def keys() -> dict[str, str]:
        lite = Run(tmp_path / "lite", rendered, small())
        resnet = Run(tmp_path / "resnet", rendered, small(backbone="resnet50"))
        return {
            "lite features": lite.features_key,
            "lite cam": lite.keys.masks("gradcam_pretrained"),
            "compact": lite.keys.masks("mask_rcnn_compact"),
            "v1": lite.keys.masks("mask_rcnn"),
            "resnet features": resnet.features_key,
            "resnet cam": resnet.keys.masks("gradcam_pretrained"),
            "ground truth": resnet.keys.masks("ground_truth"),
        }

    def moved_by(name: str) -> set[str]:
        before = keys()
        weights.cached_path(name).write_bytes(b"a user's")
        after = keys()
        return {k for k in before if before[k] != after[k]}

    assert moved_by("resnet50") == {"resnet features", "resnet cam"}
    assert moved_by("mask_rcnn_v1") == {"v1"}
    assert moved_by("mask_rcnn_v2") == set()  # not in use


class Trap:
    """Unpickling this writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_checkpoint_with_code_in_it_is_refused(torch_home, tmp_path):
    torch.save({"fc.weight": Trap(tmp_path / "written")}, weights.cached_path("resnet50"))
    with pytest.raises(Exception, match="[Ww]eights.only"):
        load_backbone("resnet50")
    assert not (tmp_path / "written").exists()
