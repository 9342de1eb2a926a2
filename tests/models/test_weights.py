"""Weights that are not the official file are another stage; the official ones need no mark."""

from __future__ import annotations

import hashlib
import http.server
import threading
import traceback
from pathlib import Path

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
    monkeypatch.setattr(weights, "file_hash", lambda *a: path.stem.rsplit("-", 1)[1] + "f" * 56)
    assert weights.fingerprint("resnet50") == weights.fingerprint("efficientnet_lite0") == ""


def test_the_file_is_read_once(torch_home, monkeypatch):
    weights.cached_path("mask_rcnn_v1").write_bytes(b"read once")
    first = weights.fingerprint("mask_rcnn_v1")
    monkeypatch.setattr(hashlib, "file_digest", lambda *a: pytest.fail("read again"))
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
    with pytest.raises(ValueError, match="resnet50-0676ba61.pth .*something else than tensors"):
        load_backbone("resnet50")
    assert not (tmp_path / "written").exists()


# What is found in place of weights, and what is said of it.
FOUND = {
    "empty": (b"", "is empty"),
    "page": (b"\n<!DOCTYPE html><html><title>Sign in</title></html>", "is a web page, of a proxy"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a git-LFS pointer"),
    "cut": (None, "is cut or damaged"),
    "text": (b"not found", "is cut or damaged"),
}


@pytest.mark.parametrize("kind", FOUND)
@pytest.mark.parametrize("name", ["resnet50", "efficientnet_lite0"])
def test_something_else_in_place_of_weights_is_named(kind, name, torch_home, tmp_path, monkeypatch):
    content, what = FOUND[kind]
    if content is None:
        torch.save({"a": torch.rand(100)}, tmp_path / "a.pth")
        content = (tmp_path / "a.pth").read_bytes()[:-200]
    path = weights.cached_path("resnet50")
    if name != "resnet50":
        path = tmp_path / "lite.pth"
        monkeypatch.setattr(weights, "available", lambda name: path)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=what) as caught:
        load_backbone(name)
    text = str(caught.value)
    assert text.startswith(str(path)) and ("0676ba61" in text or "--force-reinstall" in text)
    assert "weights_only" not in text and "pickle" not in text
    assert "Unpickling" not in "".join(traceback.format_exception(caught.value))  # with --debug


def test_one_changed_byte_in_a_package_is_found(tmp_path, monkeypatch):
    content = bytearray(weights.package_path("efficientnet_lite0").read_bytes())
    content[len(content) // 2] ^= 1  # inside of a tensor, so that it could be loaded
    path = tmp_path / "lite.pth"
    path.write_bytes(content)
    monkeypatch.setattr(weights, "available", lambda name: path)
    with pytest.raises(ValueError, match="lite.pth is cut or damaged.*--force-reinstall"):
        load_backbone("efficientnet_lite0")


def test_every_package_has_the_file_of_its_hash():
    for name in weights.PACKAGES:
        assert hashlib.sha256(weights.package_path(name).read_bytes()).hexdigest() == (
            weights.SHA256[name])


def test_whole_weights_of_somebody_else_are_read_with_a_warning(torch_home, caplog):
    path = weights.cached_path("resnet50")
    torch.save({"a": torch.ones(1)}, path)
    assert weights.torchvision_weights("resnet50")["a"] == 1
    assert f"{path} is not the official file" in caplog.text and "0676ba61" in caplog.text


class Page(http.server.BaseHTTPRequestHandler):
    """A proxy that answers everything with its own page."""

    def do_GET(self):
        body = b"<html>Sign in to the network</html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def test_a_proxys_page_is_not_kept_as_weights(torch_home, monkeypatch):
    server = http.server.HTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    official = weights.torchvision_enums()["resnet50"].url
    url = f"http://127.0.0.1:{server.server_port}/{official.rsplit('/', 1)[-1]}"
    monkeypatch.setitem(weights.torchvision_enums(), "resnet50", type("Weights", (), {"url": url}))
    with pytest.raises(FileNotFoundError, match="invalid hash.*Put the file there"):
        weights.torchvision_weights("resnet50")
    server.shutdown()
    server.server_close()
    folder = weights.cached_path("resnet50").parent
    assert list(folder.iterdir()) == []


def test_a_home_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "torch").write_text("a file in place of the folder", encoding="utf-8")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(FileNotFoundError, match="are not at .*TORCH_HOME to a folder"):
        weights.torchvision_weights("resnet50")
    assert Path(tmp_path / "torch").is_file()
