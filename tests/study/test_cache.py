"""What is there is read without a lock; what is missing is made once, timed, by one at a time."""

from __future__ import annotations

import logging
import os
import threading
import time
import types

import pandas as pd
import pytest
from conftest import small
from filelock import FileLock

from petweak.config import settings
from petweak.data.files import read_json, write_json
from petweak.study import cache
from petweak.study.cache import (
    TIMINGS,
    Busy,
    ensure,
    key,
    lock_file,
    locked,
    note_time,
    peak_rss_mb,
    unless_busy,
)

STAGE = ("masks", "ground_truth", "-")


def timings(folder) -> pd.DataFrame:
    return pd.read_csv(folder / "timings.csv")


def test_a_key_holds_the_named_sections_and_parts():
    s = small()
    one = key(s, ("data", "model"), stage="x", ids=("a", "b"))
    assert one == key(s.replace(epochs=7), ("model", "data"), ids=["a", "b"], stage="x")
    assert one != key(s.replace(queries=7), ("data", "model"), stage="x", ids=("a", "b"))
    assert one != key(s, ("data", "model"), stage="y", ids=("a", "b"))
    assert one != key(s, ("data", "model"), stage="x", ids=("b", "a"))
    assert len(one) == 32 and key(stage="x") != key(stage="y")


def test_sections_have_the_hashes_that_existing_runs_were_made_with():
    """Whoever adds a setting with intent, and has all models trained again, writes new ones."""
    sections = {
        "features": ["backbone"], "masks": ["cam", "data", "finetuning", "masks", "refinement"],
        "model": ["data", "model", "training"], "rounds": ["inference", "self_training"]}
    assert {stage: key(settings("photos"), of, stage=stage) for stage, of in sections.items()} == {
        "features": "b78b2853691a4b6f3daa7af2f426855d",
        "masks": "9902894fee92245f74f5244c337152ba",
        "model": "4d508b698c5ab44bac8366d0ab4be1fb",
        "rounds": "4153f4165b1e6bfda9d9e17f9b8b548f"}


class Stage:
    """A number in a file."""

    def __init__(self, folder):
        self.folder, self.file, self.made = folder, folder / "stage.json", 0

    def read(self):
        return read_json(self.file)

    def make(self):
        self.made += 1
        write_json(self.file, {"n": 4, "seconds": 2.0})

    def ensure(self):
        return ensure(self.folder, STAGE, self.read, self.make, lambda v: (v["n"], v["seconds"]))


def test_a_stage_is_made_once_and_timed(tmp_path):
    stage = Stage(tmp_path / "run")
    assert stage.ensure() == stage.ensure() == {"n": 4, "seconds": 2.0} and stage.made == 1
    row = timings(stage.folder)
    assert row.columns.tolist() == TIMINGS
    assert row.iloc[0].tolist()[:6] == [*STAGE, 4, 2.0, 2.0] and row.peak_rss_mb[0] > 0
    (stage.folder / "timings.csv").unlink()  # comes back, without what is no longer known
    assert stage.ensure()["n"] == 4 and stage.made == 1
    row = timings(stage.folder)
    assert row.seconds.tolist() == [2.0] and row.peak_rss_mb.isna().all()
    stage.file.unlink()
    stage.ensure()
    assert stage.made == 2 and len(timings(stage.folder)) == 1


def test_what_a_stage_has_freed_goes_back_to_the_system(tmp_path, monkeypatch):
    """Once, when it is made: the next stage would begin with it."""
    done, file = [], tmp_path / "value.json"
    monkeypatch.setattr(cache.psutil, "heap_trim", lambda: done.append("trim"), raising=False)

    def make():
        done.append("make")
        write_json(file, {"n": 1})

    for _ in range(2):
        assert cache.ensure(tmp_path, STAGE, lambda: read_json(file), make) == {"n": 1}
    assert done == ["make", "trim"]


def test_what_fails_leaves_no_lock_and_no_time(tmp_path):
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ensure(tmp_path, STAGE, lambda: None, fail, lambda v: (1, 1.0))
    assert not (tmp_path / "timings.csv").exists() and not list(tmp_path.rglob("*.json"))
    assert Stage(tmp_path).ensure()["n"] == 4


def test_timings_are_in_the_order_of_the_stages_with_one_row_each(tmp_path):
    for stage, n in (("train", 3), ("features", 1), ("masks", 2), ("features", 5)):
        note_time(tmp_path, (stage, "-", "-"), n, 1.0, 100.0)
    assert timings(tmp_path)[["stage", "n_images"]].values.tolist() == [
        ["features", 5], ["masks", 2], ["train", 3]]


def waits_for(condition, seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


def test_who_reads_does_not_wait_and_who_waits_says_for_whom_what_and_since_when(tmp_path, caplog):
    stage, results = Stage(tmp_path / "run"), []
    stage.ensure()
    missing = Stage(tmp_path / "run")
    missing.file = missing.folder / "missing.json"
    held, let_go = threading.Event(), threading.Event()

    def hold():  # flock is of an open file, so a thread is as good as a process
        with locked(stage.folder, " ".join(STAGE[:2])):
            held.set()
            let_go.wait(60)

    threads = [threading.Thread(target=hold),
               threading.Thread(target=lambda: results.append(missing.ensure()))]
    threads[0].start()
    assert held.wait(60)
    since = read_json(stage.folder / ".locks" / "masks-ground_truth.json")["since"]
    assert stage.ensure()["n"] == 4  # at once, while another one is at work
    with caplog.at_level(logging.WARNING):
        threads[1].start()
        assert waits_for(lambda: caplog.records)
    said = caplog.records[0].getMessage()
    assert f"waiting for process {os.getpid()}" in said
    assert f"making masks ground_truth in {stage.folder} since {since}" in said
    assert missing.made == 0 and results == []
    let_go.set()
    for thread in threads:
        thread.join(60)
    assert missing.made == 1 and results == [{"n": 4, "seconds": 2.0}]


def test_who_waits_to_note_a_time_says_so(tmp_path, caplog):
    (tmp_path / ".locks").mkdir()
    noting = threading.Thread(target=note_time, args=(tmp_path, STAGE, 1, 1.0, 100.0))
    with locked(tmp_path, "timings"):
        noting.start()
        assert waits_for(lambda: caplog.messages)
    noting.join(60)
    assert f"waiting for process {os.getpid()}" in caplog.text and len(timings(tmp_path)) == 1


def test_what_another_process_makes_can_be_left_to_it(tmp_path):
    stage = Stage(tmp_path)
    (tmp_path / ".locks").mkdir()
    with FileLock(lock_file(tmp_path, "masks ground_truth")):
        with unless_busy(), pytest.raises(Busy, match="masks ground_truth"):
            stage.ensure()
        with unless_busy(), locked(tmp_path, "masks gradcam_pretrained"):
            pass
    assert stage.made == 0
    with unless_busy():
        assert stage.ensure()["n"] == 4  # nobody is at work any more


def test_other_stages_are_made_meanwhile_but_one_pass_at_a_time(tmp_path):
    with locked(tmp_path, "train ground_truth breed"), locked(tmp_path, "masks ground_truth"):
        notes = [read_json(p)["what"] for p in sorted((tmp_path / ".locks").glob("*.json"))]
        assert notes == ["masks ground_truth", "train ground_truth breed"]
    assert not list(tmp_path.rglob("*.json"))
    one, other = (lock_file(tmp_path, f"features{name}") for name in ("", " resnet50@1.25"))
    assert one == other


def test_peak_memory_is_in_mib_whatever_the_system_counts_in(monkeypatch):
    usage = types.SimpleNamespace(ru_maxrss=3 << 20)
    fake = types.SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda who: usage)
    monkeypatch.setattr(cache, "resource", fake)
    for platform, mib in (("linux", 3 << 10), ("darwin", 3)):  # KiB, bytes
        monkeypatch.setattr(cache.sys, "platform", platform)
        assert peak_rss_mb() == mib
    info = types.SimpleNamespace(memory_info=lambda: types.SimpleNamespace(peak_wset=5 << 20))
    monkeypatch.setattr(cache, "resource", None)  # Windows
    monkeypatch.setattr(cache.psutil, "Process", lambda: info)
    assert peak_rss_mb() == 5
