"""What grows with what: points measured once, sizes that there are, the set's form."""

from __future__ import annotations

import runpy
import sys
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import process_context, small

from petweak.data.files import read_json, write_json
from petweak.data.oxford_pets import check, read_pets
from petweak.experiments import growth as module
from petweak.experiments import run_experiment
from petweak.experiments.growth import MEASURED, growth, own_memory, write_set
from petweak.study.run import Run

BASE = "photos=12 classes=3 side=64 queries=2"
TINY = dict(classes="", side="", queries="2", photos="12,30", base=BASE, repeats=1)


@pytest.fixture(scope="module")
def run(rendered, tmp_path_factory) -> Run:
    flat = dict(finetune_epochs=1, levels="final,penultimate", val_fraction=0.2)
    return Run(tmp_path_factory.mktemp("growth"), rendered, small(**flat))


def _module(words: list[str]) -> None:
    sys.argv[:] = words
    runpy.run_module(words[0], run_name="__main__")


@pytest.fixture(scope="module")
def table(run) -> pd.DataFrame:
    """The first point by its command, in a process that has imported PyTorch; the other one takes
    twice of everything."""
    first = {}

    def measure(command):
        assert command[:3] == [sys.executable, "-m", module.__name__]
        file = command[3] / MEASURED
        if first:
            write_json(file, {k: 2 * v for k, v in first.items()})
            return SimpleNamespace(returncode=0)
        process = process_context().Process(target=_module, args=([*map(str, command[2:])],))
        process.start()
        process.join()
        first.update(read_json(file))
        return SimpleNamespace(returncode=process.exitcode)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "subprocess", SimpleNamespace(run=measure))
        return run_experiment("growth", run, **TINY)


def test_a_row_per_point_and_nothing_is_left_of_the_studies(run, table):
    assert table[["axis", "value"]].values.tolist() == [
        ["photos", 12], ["photos", 30], ["queries", 2]]
    stages = ["features", "masks", "train", "evaluate"]
    assert table.columns[2:9].tolist() == [*stages, "all", "rss_mb", "own_mb"]
    assert (table[stages] > 0).all(axis=None) and (table[stages].sum(axis=1) < table["all"]).all()
    assert (table["own_mb"].between(50, table["rss_mb"])).all()
    assert table.loc[0, "all"] == table.loc[2, "all"], "the base is measured once for all axes"
    assert table["all"][1] == pytest.approx(2 * table["all"][0], abs=0.002)
    assert set(table["distinct"]) == {12, 30} and len(run.pets) == 111


def test_what_is_measured_is_not_measured_again(run, table, monkeypatch):
    again = SimpleNamespace(run=lambda *_: pytest.fail("again"))
    monkeypatch.setattr(module, "subprocess", again)
    pd.testing.assert_frame_equal(run_experiment("growth", run, **TINY), table)
    files = sorted((run.folder / "experiments" / "growth").iterdir())
    assert [f.stem for f in files] == [
        f"photos_{n}-classes_3-side_64-queries_2-0" for n in (12, 30)]
    assert set(read_json(files[0])) == {"key", "made"}
    with pytest.raises(pytest.fail.Exception):  # other settings, other seconds
        run_experiment("growth", run, **TINY | {"epochs": 2})


def test_a_study_that_was_killed_is_told_and_leaves_nothing(run, monkeypatch):
    monkeypatch.setattr(module.sys, "executable", "false")
    with pytest.raises(OSError, match="photos_6-classes_3-.* ended with the exit code 1"):
        growth(run, photos=(6,), classes=(), side=(), queries=(), base=BASE, repeats=1)
    assert not [f for f in (run.folder / "experiments" / "growth").iterdir() if f.is_dir()]


def test_the_median_is_over_repeats(run, monkeypatch):
    taken = iter([3.0, 1.0, 2.0])
    monkeypatch.setattr(module, "_kept", lambda *_: {"features": next(taken)})
    table = growth(run, photos=(12,), classes=(), side=(), queries=(), base=BASE, repeats=3)
    assert table["features"].tolist() == [2.0] and table["repeats"].tolist() == [3]


def test_a_base_without_a_size_is_refused(run):
    for wrong in ("photos=3", f"{BASE} breeds=2"):
        with pytest.raises(ValueError, match="say photos=N, classes=N, side=N, queries=N"):
            growth(run, base=wrong)


def test_more_classes_than_photos_are_refused_before_anything_is_measured(run, monkeypatch):
    monkeypatch.setattr(module, "_kept", lambda *_: pytest.fail("measured"))
    none = dict(side=(), queries=(), base=BASE)
    with pytest.raises(ValueError, match=r"^13 classes need as many photos, and a point has 12: "
                       r"say -o classes= with none above 12, or base='photos=13 \.\.\.'$"):
        growth(run, photos=(), classes=(2, 12, 13), **none)
    with pytest.raises(ValueError, match="3 classes need as many photos, and a point has 2"):
        growth(run, photos=(2,), classes=(), **none)


def test_a_set_has_as_many_classes_as_it_says(run, tmp_path):
    write_set(tmp_path, run.pets.samples, 12, 12)
    assert len(read_pets(tmp_path).breeds) == 12


def test_the_set_is_one_that_is_read_without_a_fault(run, tmp_path):
    write_set(tmp_path, run.pets.samples, 130, 5)
    pets = check(read_pets(tmp_path))
    assert len(pets) == 130 and not pets.quarantine and len(pets.breeds) == 5
    assert len(pets.split("test")) == 21 and {s.breed for s in pets.split("train")} == set(range(5))
    first, again = (pets.sample(f"{k:06}") for k in (0, 111))
    assert first.photo.read_bytes() == again.photo.read_bytes() and first.trimap
    assert {s.species for s in pets.samples if s.breed == 1} == {1}


def test_own_memory_sees_what_was_held_for_a_moment():
    with own_memory(0.001) as own:
        while not own:
            time.sleep(0.001)
        held, seen = np.ones(60 << 20, np.uint8), len(own)
        while len(own) < seen + 3:
            time.sleep(0.001)
        del held
    assert max(own) > own[0] + 40
