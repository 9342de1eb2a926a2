"""`petweak doctor`."""

from __future__ import annotations

import pytest
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


def test_data_sets_are_counted(rendered):
    assert "111 photos, 37 breeds" in doctor.data_set("embedded", rendered)[0]
    assert not doctor.data_set("embedded", rendered)[1]
    assert doctor.data_set("paper", rendered)[1]  # not all 7,349
