"""The list of experiments, and what running one of them leaves in the run's folder."""

from __future__ import annotations

import inspect
import json

import pandas as pd
import pytest
from conftest import small
from few import drop_trimaps, few_photos

from petweak import experiments
from petweak.experiments import EXPERIMENTS, experiment, run_experiment
from petweak.study.about import git_commit
from petweak.study.run import Run


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_is_a_function_from_a_run_and_options_to_a_table(name):
    run, *options = inspect.signature(experiment(name)).parameters.values()
    assert run.name == "run" and run.default is run.empty
    assert all(p.default is not p.empty and p.annotation is not p.empty for p in options)
    assert EXPERIMENTS[name].endswith("?") and experiment(name).__doc__


@pytest.fixture(scope="module")
def bare(rendered, tmp_path_factory) -> Run:
    """Photos without any trimap."""
    data = drop_trimaps(few_photos(rendered, tmp_path_factory.mktemp("bare")))
    return Run(tmp_path_factory.mktemp("bare_run"), data, small())


@pytest.mark.parametrize("name", [n for n in EXPERIMENTS if "cost" not in n])
def test_without_ground_truth_an_experiment_is_refused_before_it_begins(name, bare):
    with pytest.raises(ValueError, match="needs ground truth, and no.* has a trimap"):
        run_experiment(name, bare)
    assert not (bare.folder / "features").exists() and not (bare.folder / "models").exists()


@pytest.fixture
def two(monkeypatch, rendered, tmp_path) -> Run:
    """A run, and an experiment `two` in place of all others."""

    def two(run: Run, seeds: tuple[int, ...] = (0, 1), names: tuple[str, ...] = ("a",), x: int = 1,
            whole: bool = True):
        return pd.DataFrame({"seed": seeds, "name": ";".join(names), "x": x, "whole": whole})

    monkeypatch.setattr(experiments, "EXPERIMENTS", {"two": "Two?"})
    monkeypatch.setattr(experiments, "import_module", lambda name: type("module", (), {"two": two}))
    return Run(tmp_path, rendered, small())


def test_it_writes_its_table_and_what_it_was_made_with(two):
    table = run_experiment("two", two, x=5)
    assert pd.read_csv(two.folder / "experiments" / "two.csv").equals(table)
    about = json.loads((two.folder / "experiments" / "two.json").read_text())
    assert about["options"] == {"seeds": [0, 1], "names": ["a"], "x": 5, "whole": True}
    assert about["settings"]["backbone"]["image_size"] == 64 and about["data"] == two.content
    assert about["commit"] == git_commit()


def test_options_may_be_text(two):
    table = run_experiment("two", two, seeds="3, 4", names="rounds=1;keep_fractions=1,1", x="7")
    assert table["seed"].tolist() == [3, 4] and set(table["x"]) == {7}
    assert table["name"][0] == "rounds=1;keep_fractions=1,1"
    assert len(run_experiment("two", two, seeds="9")) == 1
    for text, on in (("false", False), ("0", False), ("true", True), ("1", True)):
        assert run_experiment("two", two, whole=text)["whole"].unique().tolist() == [on]
    with pytest.raises(ValueError, match="whole='perhaps'"):
        run_experiment("two", two, whole="perhaps")


def test_what_is_unknown_is_refused_with_what_there_is(two):
    with pytest.raises(ValueError, match="unknown experiment 'three': there are two"):
        run_experiment("three", two)
    with pytest.raises(ValueError, match="unknown option y: there are seeds, names, x, whole"):
        run_experiment("two", two, y=1)
    with pytest.raises(ValueError, match="seeds='a'"):
        run_experiment("two", two, seeds="a")
    assert not (two.folder / "experiments").exists()
