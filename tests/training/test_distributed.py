"""Two processes, as torchrun starts them, give the result of one; where one is killed all end, and
the next start goes on.

`TOLERANCE` is what notebooks/guide.md states. The processes are forks of this one, which spares
them the imports and their memory, but for those that torchrun starts itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import psutil
import pytest
import torch
import torch.distributed as dist
import torch.distributed.run as torchrun
from conftest import ROUNDS, SMALL, small
from few import few_photos
from filelock import FileLock
from safetensors.torch import load_file
from torch.nn import functional as F
from toy import CPU, make_features, square_targets

from petweak import __main__
from petweak.config import STRIDES
from petweak.data import distributed
from petweak.data.feature_cache import Features, extract_features, open_features
from petweak.data.files import lines_of, read_json
from petweak.data.oxford_pets import read_pets
from petweak.reporting import report
from petweak.study.keys import Keys
from petweak.training.targets import Targets
from petweak.training.trainer import CHECKPOINT, train_model

pytestmark = pytest.mark.skipif(not (dist.is_available() and dist.is_gloo_available()),
                                reason="this torch has no gloo, by which processes on CPUs talk")
TOLERANCE = 1e-3  # of weights, losses and scores, in float32
ABOUT = {"source": "squares", "labels": "species", "variant": "", "round": None}
# Elsewhere than on Linux, a fork of what has loaded torch may not work.
fork = multiprocessing.get_context("fork" if sys.platform == "linux" else "forkserver")


def start(n: int, log: Path, target, *args) -> list:
    """`target(*args)` in `n` processes with torchrun's variables; what rank r says is in log-r."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [fork.Process(target=_rank, args=(r, n, port, log, target, args)) for r in range(n)]
    for rank in ranks:
        rank.start()
    return ranks


def finish(ranks: list) -> list[int]:
    """Their exit codes."""
    for rank in ranks:
        rank.join(60)
    left = [rank for rank in ranks if rank.exitcode is None]
    for rank in left:
        rank.kill()
    assert not left
    return [rank.exitcode for rank in ranks]


def run(n: int, log: Path, target, *args) -> None:
    codes = finish(start(n, log, target, *args))
    assert codes == [0] * n, "".join(p.read_text() for p in log.parent.glob(f"{log.name}-*"))


def _say_in(file: str) -> None:
    said = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(said, stream)
    sys.stdout, sys.stderr = (os.fdopen(k, "w", buffering=1) for k in (1, 2))


def _rank(rank: int, n: int, port: int, log: Path, target, args) -> None:
    _say_in(f"{log}-{rank}")
    torch.set_num_threads(1)  # a fork has none of this process' threads, and would wait for them
    if n > 1:
        os.environ |= {"TORCHELASTIC_RUN_ID": "test", "RANK": str(rank), "LOCAL_RANK": str(rank),
                       "WORLD_SIZE": str(n), "LOCAL_WORLD_SIZE": str(n),
                       "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    if rank:  # the first process alone writes (but for rows of maps), and holds the lock
        os.replace = FileLock.acquire = None
    sys.exit(target(*args))


def led(function, *args) -> None:
    """`function(*args)` as a command."""
    command = partial(_once, function, *args)
    list(distributed.led(command) if "RANK" in os.environ else command())


def _once(function, *args):
    function(*args)
    return ()


# --- a training


class Watched(Features):
    """Notes which process reads which photos."""

    def half(self, level, ids, mirror=False):
        if dist.is_initialized():
            with Path(self.notes, f"read-{dist.get_rank()}").open("a") as file:
                print(*ids, file=file)
        return super().half(level, ids, mirror)


@pytest.fixture(scope="module")
def squares(tmp_path_factory) -> Targets:
    return square_targets(tmp_path_factory.mktemp("squares"))


def train(folder: Path, targets: Targets, changes: dict) -> None:
    """On 11 photos, in batches of 5, 5 and 1; 5 photos are val."""
    settings = small(batch_size=5, epochs=4, lr=2e-3, **changes)
    features = make_features(targets.ids, settings)
    features.__class__, features.notes = Watched, str(folder.parent)
    train_model(features, targets.take(range(11)), targets.take(range(11, 16)), ("cat", "dog"),
                settings, folder, "key", CPU, ABOUT)


MS = dict(levels="final,penultimate,stride16,stride8", channel_dropout=0.2)


@pytest.mark.parametrize("n, changes, tolerance", [
    (2, {}, TOLERANCE), (3, MS, TOLERANCE), (2, MS | {"precision": "bfloat16"}, 0.02)])
def test_a_training_ends_like_that_of_one_process(n, changes, tolerance, squares, tmp_path):
    """With dropout; the last batch, of one photo, leaves the others without any."""
    run(n, tmp_path / "log", led, train, tmp_path / "shared", squares, changes)
    read = [(tmp_path / f"read-{r}").read_text().split() for r in range(n)]
    assert all(len(ids) < 0.7 * sum(map(len, read)) for ids in read)  # they shared the photos
    train(tmp_path / "alone", squares, changes)
    shared, alone = (load_file(tmp_path / f / "model.safetensors") for f in ("shared", "alone"))
    assert max((shared[k] - alone[k]).abs().max().item() for k in alone) < tolerance
    files = [sorted(p.name for p in (tmp_path / f).rglob("*")) for f in ("shared", "alone")]
    assert files[0] == files[1]
    histories = (pd.read_csv(tmp_path / f / "history.csv").drop(columns="seconds")
                 for f in ("shared", "alone"))
    pd.testing.assert_frame_equal(*histories, rtol=0, atol=10 * tolerance)


def test_a_loss_that_is_not_finite_is_told_once_and_with_its_photos(squares, tmp_path):
    log = tmp_path / "log"
    codes = finish(start(2, log, led, train, tmp_path / "model", squares, {"class_weight": 1e39}))
    assert codes == [1, 0] and "pet_0" in Path(f"{log}-0").read_text()
    assert "FloatingPointError: the loss is inf" in Path(f"{log}-0").read_text()
    assert not Path(f"{log}-1").read_text()


# --- a pass


class Means:
    """Each level is the mean of squares of its stride. Its process kills itself at the batch
    `dies_at` of this rank."""

    def __init__(self, notes: Path, dies_at: int = 0, rank: int = 1) -> None:
        self.notes, self.dies_at, self.rank, self.batches = notes, dies_at, rank, 0

    def __call__(self, x):
        self.batches += 1
        if self.batches == self.dies_at and dist.get_rank() == self.rank:
            os.kill(os.getpid(), signal.SIGKILL)
        rank = dist.get_rank() if dist.is_initialized() else 0
        with (self.notes / f"batches-{rank}").open("a") as file:
            print(len(x) // 2, file=file)
        return {level: F.avg_pool2d(x, stride) for level, stride in STRIDES.items()}

    def engine(self, views, chosen):
        return "means", self


def extract(samples, folder: Path, network: Means) -> None:
    extract_features(samples, network.engine, small(extraction_batch=2), folder, "key", CPU)


@pytest.mark.parametrize("killed", [1, 0])
def test_a_pass_is_shared_and_goes_on_after_a_kill(rendered, tmp_path, killed):
    """Seven photos, so that one process has a batch of one; and five, so that it has none."""
    samples, log = read_pets(rendered).samples[:7], tmp_path / "log"
    for n, folder in ((7, "alone"), (5, "few")):
        extract(samples[:n], tmp_path / folder, Means(tmp_path))
    (tmp_path / "batches-0").unlink()
    run(2, log, led, extract, samples[:5], tmp_path / "few2", Means(tmp_path))
    ranks = start(2, log, led, extract, samples, tmp_path / "f", Means(tmp_path, 2, killed))
    codes = finish(ranks)
    assert (codes.pop(killed), *codes) == (-signal.SIGKILL, 1)
    said = Path(f"{log}-{1 - killed}").read_text()
    assert "ConnectionError: one of the processes that torchrun has started has ended" in said
    assert open_features(tmp_path / "f", "key") is None
    notes = lines_of(tmp_path / "f.partial" / "progress.jsonl")
    assert [note["rows"] for note in notes] == [[0, 4]]
    assert {p.name for p in (tmp_path / "f.partial").iterdir()} == {
        "progress.jsonl", "pooled.npy", *(f"{level}.npy" for level in STRIDES)}
    run(2, log, led, extract, samples, tmp_path / "f", Means(tmp_path))
    #                 few2   killed  again
    batches = ["2 1", "2 2" if killed else "2", "2"], ["2", "2" if killed else "2 1", "1"]
    assert [(tmp_path / f"batches-{r}").read_text().split() for r in (0, 1)] == [
        " ".join(of).split() for of in batches]
    for of, like in (("f", "alone"), ("few2", "few")):
        for level in (*STRIDES, "pooled"):
            maps = [(tmp_path / f / f"{level}.npy").read_bytes() for f in (of, like)]
            assert maps[0] == maps[1], (of, level)
        notes = [read_json(tmp_path / f / "index.json") for f in (of, like)]
        assert notes[0] | {"seconds": 0} == notes[1] | {"seconds": 0}
        assert not (tmp_path / f"{of}.partial").exists()


# --- commands


STUDY = SMALL | ROUNDS | dict(epochs=6, batch_size=3, extraction_batch=2)
del STUDY["sources"]


def command(name: str, data: Path, folder: Path, *more: str) -> list[str]:
    settings = [f"{k}={','.join(map(str, v)) if isinstance(v, tuple) else v}"
                for k, v in STUDY.items()]
    return [name, "--data-root", str(data), "--run", str(folder), *more, "--set", *settings]


def petweak(argv: list[str]) -> int:
    """Without the report, which has tests of its own."""
    report.ensure_report = lambda folder: (folder / "tables.md").touch()
    return __main__.main(argv)


@pytest.fixture(scope="module")
def world(rendered, tmp_path_factory) -> SimpleNamespace:
    """The data of seven breeds, and a study of one process."""
    top = tmp_path_factory.mktemp("study")
    data = few_photos(rendered, top / "data", 7)
    run(1, top / "log", petweak, study(data, top / "alone"))
    return SimpleNamespace(data=data, alone=top / "alone", top=top)


def study(data: Path, folder: Path) -> list[str]:
    return command("study", data, folder, "--sources", "imagenet_only", "ground_truth")


def test_a_study_of_two_processes_has_the_scores_of_one(world):
    run(2, world.top / "log", petweak, study(world.data, world.top / "shared"))
    shared, alone = (pd.read_csv(f / "results.csv").drop(columns="seconds")
                     for f in (world.top / "shared", world.alone))
    assert len(alone) > 100
    pd.testing.assert_frame_equal(shared, alone, rtol=0, atol=TOLERANCE)
    files = [{p.relative_to(f) for p in f.rglob("*") if p.is_file() and p.name != "timings.csv"}
             for f in (world.top / "shared", world.alone)]
    assert files[0] == files[1]
    said = [Path(f"{world.top / 'log'}-{r}").read_text() for r in (0, 1)]
    assert "report" in said[0] and not said[1]
    models = list((world.top / "shared" / "models").rglob("*.safetensors"))
    before = [p.stat().st_mtime_ns for p in models]
    run(1, world.top / "log", petweak, study(world.data, world.top / "shared"))
    assert before == [p.stat().st_mtime_ns for p in models]  # one process has the same keys


def _torchrun(log: Path, words: list[str]) -> None:
    _say_in(str(log))
    torchrun.main(words)


@pytest.mark.parametrize("killed", ["1", "0"])
def test_torchrun_ends_where_one_process_is_killed_and_goes_on_afterwards(world, killed):
    folder, log = world.top / f"killed-{killed}", world.top / "torchrun"
    argv = command("train", world.data, folder, "--source", "ground_truth", "--labels", "species")
    words = ["--standalone", "--nproc_per_node", "2", "-m", "--", "petweak", *argv]
    model = folder / "models" / "ground_truth-species-ms"
    (agent := fork.Process(target=_torchrun, args=(log, words))).start()
    while not (model / CHECKPOINT).exists():
        assert agent.is_alive(), log.read_text()
        time.sleep(0.001)
    ranks = psutil.Process(agent.pid).children()
    next(p for p in ranks if p.environ().get("RANK") == killed).kill()
    agent.join(60)
    assert agent.exitcode == 1, "None: torchrun hangs"
    text = log.read_text()
    assert "Signal 9 (SIGKILL) received" in text  # torchrun says it
    said = [line for line in text.splitlines() if line.startswith("petweak: ")]
    assert said or killed == "0"  # torchrun ends the others, which may be before they can speak
    assert all(line.endswith("the same command goes on from here") for line in said)
    left_over = psutil.wait_procs(ranks, timeout=60)[1]
    assert not left_over, "processes outlive torchrun by a minute"
    assert not (model / "config.json").exists()

    def left() -> list[Path]:
        return [*(folder / ".locks").glob("*.json"), *folder.rglob("*.partial*")]

    assert killed == "0" or not left()  # rank 0 alone writes: what it leaves goes with the restart
    first = (model / "epochs" / "01.safetensors").stat().st_mtime_ns
    run(2, world.top / "log", petweak, argv)
    assert (model / "epochs" / "01.safetensors").stat().st_mtime_ns == first and not left()
    ended, alone = (load_file(f / "models" / model.name / "model.safetensors")
                    for f in (folder, world.alone))
    assert max((ended[k] - alone[k]).abs().max().item() for k in alone) < TOLERANCE


def test_what_cannot_be_shared_is_refused_with_the_way_out(rendered, monkeypatch, capsys):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    for rank, code in (("0", 2), ("1", 0)):
        monkeypatch.setenv("RANK", rank)
        assert __main__.main(["data", "check", "--data-root", str(rendered)]) == code
    assert capsys.readouterr().err.splitlines() == [
        "petweak: this command has nothing to share: call it without torchrun"]


def test_a_cluster_is_refused_in_processes_of_torchrun(rendered, tmp_path):
    argv = command("study", rendered, tmp_path / "run", "--on", "ray")
    assert finish(start(2, tmp_path / "log", petweak, argv)) == [2, 0]
    said = [(tmp_path / f"log-{r}").read_text() for r in (0, 1)]
    assert said == ["petweak: --on ray under torchrun: call the command without torchrun, as tasks "
                    "share the work already, or leave out --on\n", ""]


def test_keys_count_processes_where_results_depend_on_them(monkeypatch):
    def keys(device: str) -> str:
        content = {"photos": "p", "labels": "l", "trimaps": "t"}
        return Keys(small(), content, (), device, "f").model("ground_truth", "breed")

    alone = keys("cpu"), keys("cuda")
    monkeypatch.setattr(distributed, "size", lambda: 2)
    assert keys("cpu") == alone[0] and keys("cuda") != alone[1]
