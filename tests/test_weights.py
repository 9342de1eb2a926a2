"""Weights that are not the official file are another stage; the official ones need no mark."""

from __future__ import annotations

import hashlib

import pytest
from conftest import small

from petweak import weights
from petweak.study import Run


@pytest.fixture
def torch_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    weights.cached_path("resnet50").parent.mkdir(parents=True)


def test_only_another_file_than_the_official_one_has_a_hash(torch_home, monkeypatch):
    path = weights.cached_path("resnet50")
    assert weights.changed("resnet50") == ""  # nothing there: what comes is checked
    path.write_bytes(b"of my own")
    expected = hashlib.sha256(b"of my own").hexdigest()[:32]
    assert weights.changed("resnet50") == expected
    path.write_bytes(b"of my own, 2")
    assert weights.changed("resnet50") not in ("", expected)
    # A file whose hash begins as the official name says is the official one.
    monkeypatch.setattr(weights, "_sha256", lambda *a: path.stem.rsplit("-", 1)[1] + "f" * 56)
    assert weights.changed("resnet50") == ""
    assert weights.changed("efficientnet_lite0") == ""


def test_the_file_is_read_once(torch_home, monkeypatch):
    path = weights.cached_path("mask_rcnn_v1")
    path.write_bytes(b"read once")
    first = weights.changed("mask_rcnn_v1")
    monkeypatch.setattr(weights.hashlib, "file_digest", lambda *a: pytest.fail("read again"))
    assert weights.changed("mask_rcnn_v1") == first != ""


def test_keys_follow_the_file_where_it_is_used(rendered, torch_home, tmp_path):
    def keys() -> dict[str, str]:
        lite = Run(tmp_path / "lite", rendered, small(detector="compact"))
        resnet = Run(tmp_path / "resnet", rendered, small(backbone="resnet50", detector="v1"))
        return {
            "lite features": lite.features_key,
            "lite cam": lite.masks_key("gradcam_pretrained"),
            "compact": lite.masks_key("mask_rcnn"),
            "resnet features": resnet.features_key,
            "v1": resnet.masks_key("mask_rcnn"),
            "truth": resnet.masks_key("ground_truth"),
        }

    def changed(name: str) -> set[str]:
        """Which keys another file of the weights `name` moves."""
        before = keys()
        weights.cached_path(name).write_bytes(b"of my own")
        after = keys()
        return {k for k in before if before[k] != after[k]}

    assert changed("resnet50") == {"resnet features"}
    assert changed("mask_rcnn_v1") == {"v1"}
    assert changed("mask_rcnn_v2") == set()  # not in use
