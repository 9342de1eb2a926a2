"""Stages beside the machine's limits: work counted by hand, and the roofline of known seconds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import small
from torch import nn

from petweak.experiments import limits as module
from petweak.experiments.limits import CPU, Stage, limits, moved
from petweak.experiments.trials import flops
from petweak.study.run import Run

SIDE, COPIED = 256, 4


@pytest.fixture(scope="module")
def run(eight_breeds, tmp_path_factory) -> Run:
    flat = dict(sources="ground_truth", labels="species", walk_steps=4, refinement_scales="0.5,1.0")
    return Run(tmp_path_factory.mktemp("limits"), eight_breeds, small(**flat))


@pytest.fixture(scope="module")
def table(run) -> pd.DataFrame:
    measured = limits(run, photos=2, of_pass=3, rounds=1, side=SIDE, copied=COPIED)
    return measured.set_index("stage")


def test_a_multiplication_and_an_addition_are_two():
    a, b, x = torch.rand(3, 4), torch.rand(4, 5), torch.rand(2, 3, 6, 7)
    assert flops(lambda: a @ b) == 2 * 3 * 4 * 5
    assert flops(lambda: torch.mv(a, b[:, 0])) == 2 * 3 * 4
    conv = nn.Conv2d(3, 8, 3, padding=1)
    assert flops(lambda: conv(x)) == 2 * (2 * 6 * 7) * 8 * (3 * 9)
    assert flops(lambda: x + x) == 0


def test_bytes_are_those_of_files_tensors_and_weights(tmp_path):
    (file := tmp_path / "x").write_bytes(b"12345")
    assert moved(file, torch.zeros(2, 3), np.zeros(7, np.uint8), torch.zeros(4).half()) == 44
    assert moved(nn.Linear(3, 2)) == 4 * (3 * 2 + 2)


def test_the_roofline_is_the_slower_of_the_two(run, monkeypatch):
    mm = torch.rand(100, 1000), torch.rand(1000, 50)
    calls = {"products": Stage(lambda: torch.mm(*mm), 10**6),
             "in half": Stage(lambda: torch.mm(*mm), 10**6, CPU, half=True),
             "copies": Stage(lambda: mm[0] + 1, 3 * 10**6),
             "another engine": Stage(lambda: None, 0, CPU, counted=lambda: torch.mm(*mm))}
    seconds = dict.fromkeys(calls, 0.5) | {
        "float32 cpu": 2.0, "bfloat16 cpu": 0.25, "copy cpu": 4.0}  # the best of two rounds
    taken = pd.DataFrame([seconds, {k: 3 * v for k, v in seconds.items()}])
    first, *others = calls.items()
    monkeypatch.setattr(module, "stages_of_pass", lambda run, samples: dict([first]))
    monkeypatch.setattr(module, "stages_of", lambda run, samples: dict(others))
    monkeypatch.setattr(module, "alternate", lambda calls, *_: taken[list(calls)])
    measured = limits(run, side=1000, copied=1).set_index("stage")
    flop, peak, copied = 2 * 100 * 1000 * 50, 2e9 / 2, 2e6 / 4
    least = [max(flop / peak, 1e6 / copied), max(flop / 8 / peak, 1e6 / copied), 3e6 / copied,
             flop / peak]
    assert np.allclose(measured["least"], least) and least[0] == 2
    assert measured["bound"].tolist() == ["memory", "memory", "memory", "arithmetic"]
    assert np.allclose(measured["gflop"], [0.01, 0.01, 0, 0.01])
    assert measured["precision"].tolist() == ["float32", "bfloat16", "float32", "float32"]
    assert np.allclose(measured[["gflops_float32", "gflops_bfloat16", "gb_copied"]], [1, 8, 5e-4])
    assert np.allclose(measured["seconds"], 1) and np.allclose(measured["share"], least)


def test_the_work_of_every_stage(run, table):
    n, levels, (h, w) = 2, run.settings.backbone.stored_levels, run.features.map("final").shape[3:]
    channels = {level: run.features.map(level).shape[2] for level in levels}
    gflop, at = table["gflop"] * 1e9, "backbone, PyTorch"
    through = gflop[["pass, with decoding and writing", "backbone, ONNX Runtime", at]]
    assert (through == gflop[at]).all() and gflop[at] > 2e7
    of_pass = 3
    classifier = 2 * n * 1000 * channels["final"]  # its logits, and the weights of the map
    assert gflop["CAMs from the cache"] == pytest.approx(
        2 * classifier + 2 * n * channels["final"] * h * w)
    places = (64 // 8) ** 2  # of the walk, at stride 8
    of = channels["stride16"] + channels["stride8"]
    assert gflop["refinement, walk"] == pytest.approx(n * 2 * places**2 * (of + 4))
    pairs = (64 // 2 // 2) ** 4  # of the CRF's positions
    assert gflop["refinement, crf"] >= n * 10 * 2 * pairs
    head = channels["final"] * len(run.pets.breeds)  # forward, and the gradient of its weights
    steps = run.settings.finetuning.finetune_epochs
    assert gflop["finetuning of the head"] == pytest.approx(steps * 2 * 2 * (2 * n) * head)
    assert gflop["Mask R-CNN, compact"] > 1e8
    views = n / of_pass * gflop[at]
    assert gflop["prediction"] == pytest.approx(views + gflop["evaluation"], rel=0.01)
    assert gflop["evaluation"] > 0
    none = ["decode and resize", "refinement, pamr", "refinement, grabcut", "metrics"]
    assert (gflop[none] == 0).all()
    one, more = (gflop[f"training step, {name}"] for name in ("maskformer", "maskformer-ms"))
    assert more > one > 0
    maps = 2 * n * sum(c * (64 // s) ** 2 for c, s in zip(
        (channels["stride16"], channels["stride8"]), (16, 8), strict=True))
    assert table.loc["refinement, walk", "mb"] * 1e6 == maps + 2 * (4 * n * 32**2)
    cache = sum(of_pass * run.features.map(level)[0].nbytes for level in (*levels, "pooled"))
    assert cache < table.loc["pass, with decoding and writing", "mb"] * 1e6 < 2e7 + cache
    assert not (run.folder / "experiments" / "alternatives").exists()
    for step in ("pamr", "grabcut", "crf"):
        assert table.loc[f"refinement, {step}", "mb"] * 1e6 == 4 * n * 32**2 * (1 + 3 + 1)
    # Multi-scale: a CAM of photo and mirror image at 32 and 64 px, 1 and 4 positions.
    maps = 2 * 2 * n * channels["final"] * (1 + 4)
    assert gflop["refinement, multiscale"] == pytest.approx(2 * 2 * 2 * classifier + maps)
    finals = 2 * 2 * n * channels["final"] * (1 + 4)
    for what in ("refinement, multiscale", "refinement, vote"):
        assert table.loc[what, "mb"] * 1e6 == finals + 2 * 4 * n * 32**2
    assert table.loc["masks, imagenet_only", "mb"] * 1e6 == finals + 4 * n * 32**2
    once = gflop["refinement, multiscale"] + gflop["refinement, walk"]
    assert gflop["refinement, vote"] == pytest.approx(once)  # two of three begin with both
    assert gflop["masks, imagenet_only"] > 0 < gflop["refinement, fusion"]


def test_a_step_costs_between_two_and_three_passes(run, table):
    """Gradients of weights and of inputs take a pass each; the first layers need none of inputs."""
    forward = module.benchmark.untrained(run).model
    maps = [run.features.batch(level, list(run.ids[:2])) for level in ("final",)]
    once = flops(lambda: forward(maps))
    assert 2 < table.loc["training step, maskformer", "gflop"] * 1e9 / once < 3


def test_every_row_says_what_it_was_measured_with(table):
    assert len(table) == 20 and not table.isna().any(axis=None) and set(table["rounds"]) == {1}
    assert table["n_images"].tolist() == [3] * 4 + [2] * 16
    assert np.allclose(table["share"], table["least"] / table["seconds"])
    assert table["rest"].str.fullmatch(r"(\S[^,]* \d+%(, |$))+").all()
    assert table.loc["decode and resize", "rest"].startswith("outside of torch")
