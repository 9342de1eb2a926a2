"""The device is one that is here; run.json says what a run was made with."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from conftest import small

from petweak.config import Settings
from petweak.study import about
from petweak.study.about import about_run, pick_device


@pytest.fixture
def machine(monkeypatch):
    """A machine with so many CUDA devices, and with or without Apple's."""

    def has(cuda: int = 0, mps: bool = False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return has


def test_auto_is_cuda_or_the_cpu(machine):
    machine(mps=True)
    assert pick_device("auto").type == "cpu"
    machine(cuda=1, mps=True)
    assert pick_device("auto").type == "cuda"


@pytest.mark.parametrize("name", ["mps", "cuda", "cuda:1", "meta"])
def test_a_device_that_is_not_here_is_refused(name, machine):
    machine()
    with pytest.raises(ValueError, match=f"device={name}.*device=cpu runs"):
        pick_device(name)


def test_a_device_that_is_here_is_taken(machine):
    machine(cuda=2, mps=True)
    assert [str(pick_device(d)) for d in ("cpu", "mps", "cuda", "cuda:1")] == [
        "cpu", "mps", "cuda", "cuda:1"]
    with pytest.raises(ValueError, match="cuda:2"):
        pick_device("cuda:2")


def test_a_word_that_is_no_device_says_what_is_one():
    with pytest.raises(ValueError, match="device=gpu: write auto, cpu, cuda"):
        pick_device("gpu")


def test_run_json_says_what_was_asked_for_and_with_what(monkeypatch):
    monkeypatch.setattr(about, "PACKAGES", ("torch", "no-such-package"))
    note = about_run(small(seed=3), Path("data"), "rendered", 12, "cuda")
    assert Settings.from_dict(json.loads(json.dumps(note))["settings"]) == small(seed=3)
    assert (note["seed"], note["n_photos"], note["dataset"], note["device"]) == (
        3, 12, "rendered", "cuda")
    assert note["versions"]["torch"] == version("torch")
    assert note["versions"]["no-such-package"] is None
    assert note["hardware"]["threads"] == torch.get_num_threads()
