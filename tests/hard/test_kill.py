"""Killed anywhere, twice: the restart repeats no finished work and ends as an undisturbed run. And
stopped by SIGTERM or Ctrl-C: within two seconds, with a line that says how to go on."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import tiny
from few import few_photos
from run_content import content, finished

TRIALS = 40
# Files that are there for a while only.
SCALED = "features/efficientnet_lite0@1.25.partial/progress.jsonl"
PASSING = ["features.partial/progress.jsonl", SCALED,
           *(f"masks/{s}/progress.jsonl"
             for s in (*tiny.SOURCES, "imagenet_only-species-round1")),
           *(f"models/{s}-species/checkpoint.safetensors" for s in tiny.SOURCES[:-1]),
           *(f"models/imagenet_only-species-round{r}/checkpoint.safetensors" for r in (0, 1))]


@dataclass
class Alone:
    """The undisturbed run."""
    data: Path
    run: Path
    content: dict[str, str]
    when: dict[str, float]  # {file: seconds after the start at which it was written}, in order


@pytest.fixture(scope="module")
def alone(rendered, tmp_path_factory) -> Alone:
    top = tmp_path_factory.mktemp("kill")
    data, run = few_photos(rendered, top / "data", 3), top / "alone"
    begin = time.time()
    assert tiny.finish(tiny.study(data, run), top / "log") == 0, (top / "log").read_text()
    times = {p.relative_to(run).as_posix(): p.stat().st_mtime - begin
             for p in run.rglob("*") if p.is_file()}
    return Alone(data, run, content(run), dict(sorted(times.items(), key=lambda t: t[1])))


def stage_of(name: str) -> str:
    top, *rest = name.split("/")
    if "score" in name or top == "baselines":
        return "scores"
    if "round" in name:
        return "self-training"
    if top in ("masks", "models"):
        return f"{top} of {rest[0].removesuffix('-species')}"
    return "the pass" if top.startswith("features") else "results and cards"


def kill_after(child, run: Path, name: str, delay: float) -> bool:
    """SIGKILL so many seconds after the file is there; False where the child was done before."""
    while not (run / name).exists():
        if not child.is_alive():
            return False
        time.sleep(0.0005)
    time.sleep(delay)
    child.kill()
    child.join()
    return child.exitcode == -signal.SIGKILL


def test_killed_at_forty_moments_twice_it_repeats_nothing_and_ends_alike(
    alone, tmp_path, reliability
):
    order = [n for n in alone.when if not re.match(r"\.lock|data|quaran|timings|tables", n)]
    order[2:2] = PASSING[:1]  # in the order in which they come, roughly
    stages: dict[str, list[str]] = {}
    for name in [*order, *PASSING[1:]]:
        stages.setdefault(stage_of(name), []).append(name)
    turn, hit, alike = list(stages), Counter(), 0
    for trial in range(TRIALS):
        rng, run, log = random.Random(trial), tmp_path / f"run{trial}", tmp_path / "log"
        first = rng.choice(stages[turn[trial % len(turn)]])
        later = order[order.index(first) + 1 :] if first in order else order[len(order) // 2 :]
        second, argv, kept = rng.choice(later or order[-1:]), tiny.study(alone.data, run), {}
        for name in (first, second):
            child = tiny.start(argv, log)
            if kill_after(child, run, name, rng.choice((0, rng.uniform(0, 0.06)))):
                hit[stage_of(name)] += 1
            kept = finished(run) | kept
        assert tiny.finish(argv, log) == 0, log.read_text()
        again = finished(run)
        repeated = {n for n, stat in kept.items() if again.get(n) != stat}
        assert not repeated, (trial, first, second, repeated)
        differs = content(run).items() ^ alone.content.items()
        assert not differs, (trial, first, second, sorted({n for n, _ in differs}))
        assert not list(run.rglob("*.partial*")), (trial, first, second)
        alike += 1
        shutil.rmtree(run)
    where = ", ".join(f"{stage} {n}" for stage, n in sorted(hit.items()))
    reliability("SIGKILL of a study at seeded moments, each restart killed again", hit.total(),
                f"{alike} of {TRIALS} studies end bit for bit as an undisturbed one and repeat no "
                f"finished work ({where})")
    assert alike == TRIALS and hit.total() >= 2 * TRIALS - 4 and set(hit) == set(stages)


# --- the report

REPORT = re.compile(r"report\.html|tables\.md|figures/.*")


def reported(run: Path) -> dict[str, str]:
    files = {n: h for n, h in content(run, re.compile("-")).items() if REPORT.fullmatch(n)}
    assert "report.html" in files and len(files) > 10
    return files


@pytest.fixture(scope="module")
def with_report(alone, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("report") / "run"
    shutil.copytree(alone.run, run)
    log = run.parent / "log"
    assert tiny.finish(tiny.study(alone.data, run), log, report=True) == 0, log.read_text()
    return run


def test_a_report_that_is_killed_twice_ends_alike(alone, with_report, tmp_path, reliability):
    names = ["notebooks/report.json", "figures/captions.json", "report.html"]
    kills, orphans = 0, 0
    for trial in range(3):
        rng, run, log = random.Random(trial), tmp_path / f"run{trial}", tmp_path / "log"
        shutil.copytree(alone.run, run)
        argv = tiny.study(alone.data, run)
        for name, delay in (("figures", rng.uniform(0, 1)), (names[trial], 0.0)):
            child = tiny.start(argv, log, report=True)
            while not (run / name).exists() and child.is_alive():
                time.sleep(0.002)
            kernels = psutil.Process(child.pid).children(recursive=True) if child.is_alive() else []
            kills += kill_after(child, run, name, delay)
            orphans += len(alive(psutil.wait_procs(kernels, timeout=10)[1]))
        assert tiny.finish(argv, log, report=True) == 0, log.read_text()
        assert reported(run) == reported(with_report)
    reliability("SIGKILL of a report's making, each restart killed again", kills,
                f"3 of 3 reports are bit for bit alike; {orphans} kernels outlive their command")
    assert kills >= 4 and orphans == 0


# --- asked to stop

def alive(processes: list[psutil.Process]) -> list[tuple[str, list[str]]]:
    """The state and command of those that run; one that waits for init to see its end does not."""
    left = []
    for process in processes:
        try:
            if (state := process.status()) != psutil.STATUS_ZOMBIE:
                left.append((state, process.cmdline()))
        except psutil.NoSuchProcess:
            pass
    return left


GO_ON = "petweak: stopped; the same command goes on from here"
STOPS = {  # stage: the file after which the signal comes, seconds later, settings
    "the pass": ("features.partial/progress.jsonl", 0.0, {}),
    "the pass with two workers": ("features.partial/final.npy", 0.0, {"workers": 2}),
    "the ONNX export": ("quarantine.csv", 1.5, {"engine": "onnxruntime"}),
    "masks of mask_rcnn_compact": ("masks/mask_rcnn_compact/Abyssinian_1.png", 0.0, {}),
    "fitting of imagenet_only": ("features/efficientnet_lite0@1.25/index.json", 0.3, {}),
    "masks of gradcam_finetuned": ("masks/gradcam_finetuned/progress.jsonl", 0.0, {}),
    "training": ("models/ground_truth-species/epochs/01.safetensors", 0.0, {"epochs": 40}),
    "scores of a model": ("models/ground_truth-species/config.json", 0.0, {}),
    "self-training": ("models/imagenet_only-species-round0/epochs/01.safetensors", 0.0, {}),
    "the start of the report": ("notebooks", 1.0, {}),
    "the report": ("figures", 1.5, {}),
}


@pytest.mark.parametrize("name, code", [("SIGINT", 130), ("SIGTERM", 143)])
def test_it_stops_within_two_seconds_and_says_how_to_go_on(
    name, code, alone, tmp_path, reliability
):
    number, slowest, tried = getattr(signal, name), 0.0, 0
    for trial, (stage, (file, delay, changes)) in enumerate(STOPS.items()):
        run, log = tmp_path / f"run{trial}", tmp_path / "log"
        if "report" in stage:  # begins with a finished study
            shutil.copytree(alone.run, run)
        settings = [f"{k}={v}" for k, v in changes.items()]
        child = tiny.start(tiny.study(alone.data, run, *settings), log, report="report" in stage)
        while not (run / file).exists():
            assert child.is_alive(), (stage, log.read_text())
            time.sleep(0.0005)
        time.sleep(delay)
        children = psutil.Process(child.pid).children(recursive=True)
        begin = time.perf_counter()
        os.killpg(child.pid, number)  # as a terminal and a process manager do
        child.join(60)
        seconds = time.perf_counter() - begin
        print(f"{stage}: {seconds:.2f} s, {len(children)} children")
        assert child.exitcode == code, (stage, child.exitcode, log.read_text())
        lines = [line for line in log.read_text().splitlines() if "it/s" not in line and line]
        assert lines[-1] == GO_ON, (stage, lines)
        assert "Traceback" not in log.read_text(), (stage, log.read_text())
        left = alive(psutil.wait_procs(children, timeout=60)[1])
        assert not left, (stage, "outlive it by a minute", left)
        slowest, tried = max(slowest, seconds), tried + 1
        assert not list(run.rglob(f"*.{child.pid}.partial*")), stage
    reliability(f"{name} at a stage: {', '.join(STOPS)}", tried,
                f"exit code {code} and a line that says how to go on, no process outlives it; "
                f"the slowest takes {slowest:.1f} s")


@pytest.mark.parametrize("name, code", [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_stopped_study_goes_on(name, code, alone, tmp_path):
    """The program itself, as it is installed, and what is made of it afterwards."""
    run, log = tmp_path / "run", tmp_path / "log"
    argv = tiny.study(alone.data, run)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background
    with log.open("w") as out:
        command = [sys.executable, "-m", "petweak", *argv]
        program = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        while not (run / "masks/imagenet_only").exists():
            assert program.poll() is None, log.read_text()
            time.sleep(0.001)
        os.killpg(program.pid, getattr(signal, name))
        assert program.wait(60) == code  # TimeoutExpired: it hangs
    assert log.read_text().splitlines()[-1] == GO_ON
    kept = finished(run)
    assert tiny.finish(argv, log) == 0 and content(run) == alone.content
    assert len(kept) > 40 and kept.items() <= finished(run).items()
