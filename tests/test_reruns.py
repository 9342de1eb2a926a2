"""`petweak sweep`: one notebook for every combination, on a small one that is made here."""

from __future__ import annotations

from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import small

from petweak import execution, reruns
from petweak.cli import main
from petweak.execution import NotebookUsageError
from petweak.features import link_features
from petweak.files import read_json, write_json
from petweak.reruns import read_values, sweep
from petweak.study import Run
from petweak.tables import final

PARAMETERS = """\
profile = "embedded"
run = ""
data_root = ""
seed = 0
source = "ground_truth"
image_size = 64
student = True
"""
CELL = """\
from petweak.study import open_run

own = dict(decoder_channels=8, epochs=1, bootstrap=20, engine="eager")
study = open_run(profile, run, data_root, seed=seed, image_size=image_size, **own)
study.features
study.mask_scores(source)
if student:
    study.student_scores(source, "species")
"""


def write(path, *texts: str, tags=("parameters",)):
    cells = [nbformat.v4.new_code_cell(text) for text in texts]
    cells[0].metadata = nbformat.from_dict({"tags": list(tags)})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nb = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(nb, path)
    return path


@pytest.fixture
def notebook(tmp_path):
    return write(tmp_path / "01_small.ipynb", PARAMETERS, CELL)


@pytest.fixture
def base(rendered, tmp_path):
    """A run with features, made with the notebook's own settings."""
    folder = tmp_path / "run"
    assert Run(folder, rendered, small()).features.passes > 0
    return folder


@pytest.fixture
def inside(monkeypatch):
    """Notebooks without papermill: the cell in this process, which is faster; lists the calls."""
    calls = []

    def execute(notebook, out, values):
        calls.append(values)
        names = {}
        exec(PARAMETERS, names)
        exec(CELL, names | values)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("executed")
        write_json(out.with_suffix(".json"), {"key": execution._key(notebook, values)})

    monkeypatch.setattr(reruns, "execute", execute)
    return calls


def content(folder) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()}


def test_values():
    assert read_values(["seed=0, 1,2", "source=gradcam_pretrained"]) == {
        "seed": ["0", "1", "2"], "source": ["gradcam_pretrained"],
    }  # fmt: skip
    assert read_values(['sources=["a,b", "c"]']) == {"sources": ["a,b", "c"]}
    assert read_values(['x=["", 1, 0.5, true]']) == {"x": ["", "1", "0.5", "true"]}
    assert read_values(["folder=a=b"]) == {"folder": ["a=b"]}


@pytest.mark.parametrize(
    "pairs, says",
    [
        (["seed="], "an empty value"),
        (["seed=0,,1"], "an empty value"),
        (["seed=[]"], "an empty value"),
        (["seed"], "key=value,value"),
        (["=0"], "key=value,value"),
        (["seed=0", "seed=1"], "seed is there twice"),
        (["seed=0,0"], "a value is there twice"),
        (["sources=[a,b]"], "JSON list"),
        (["sources=[[1]]"], "JSON list"),
        (["seed=one"], "seed='one': not a value of type int"),
        (["sed=1"], "unknown parameter sed: known are data_root"),
        (["run=a,b"], "say --run"),
        ([], "nothing to sweep"),
    ],
)
def test_bad_usage_is_refused_before_anything_runs(pairs, says, notebook, inside, tmp_path):
    with pytest.raises(NotebookUsageError) as error:
        sweep(notebook, pairs, run=tmp_path / "run")
    assert says in str(error.value)
    assert not inside and not (tmp_path / "run").exists()


def test_a_notebook_without_a_run_is_refused(tmp_path, inside):
    write(tmp_path / "x.ipynb", "seed = 0", tags=())
    with pytest.raises(NotebookUsageError, match="0 cells are tagged"):
        sweep(tmp_path / "x.ipynb", ["seed=1"])
    write(tmp_path / "x.ipynb", "seed = 0")
    with pytest.raises(NotebookUsageError, match="no parameter `run`"):
        sweep(tmp_path / "x.ipynb", ["seed=1"])


def test_every_combination_and_one_table(notebook, base, rendered, inside, monkeypatch):
    monkeypatch.setattr("petweak.stages.extract_features", lambda *a: pytest.fail("a second pass"))
    pairs = ["source=ground_truth,gradcam_pretrained", "seed=0,1"]
    swept = sweep(notebook, pairs, run=base, data_root=rendered)
    assert (swept.done, swept.failed) == (4, {})
    asked = [(v["source"], v["seed"]) for v in inside]
    assert asked == [(s, n) for s in ("ground_truth", "gradcam_pretrained") for n in (0, 1)]
    assert len({v["run"] for v in inside}) == 4
    table = pd.read_csv(swept.table)
    assert swept.table == base / "sweeps" / "01_small" / "sweep.csv"
    assert list(table)[:3] == ["swept_source", "swept_seed", "profile"]
    part = table.query("swept_source == 'gradcam_pretrained' and swept_seed == 1").iloc[:, 2:]
    (folder,) = (v["run"] for v in inside if (v["source"], v["seed"]) == ("gradcam_pretrained", 1))
    own = final(pd.read_csv(f"{folder}/results.csv"))
    pd.testing.assert_frame_equal(part.reset_index(drop=True), own, check_dtype=False)
    assert set(own["seed"]) == {1} and "gradcam_pretrained" in set(own["source"])

    before = len(inside)  # a finished combination is not run again, a new one is
    swept = sweep(notebook, ["source=gradcam_pretrained", "seed=1,2"], run=base, data_root=rendered)
    assert [v["seed"] for v in inside[before:]] == [2] and swept.done == 2
    assert set(pd.read_csv(swept.table)["swept_seed"]) == {1, 2}
    (Path(folder) / "rows.csv").unlink()
    sweep(notebook, ["source=gradcam_pretrained", "seed=1,2"], run=base, data_root=rendered)
    assert [v["seed"] for v in inside[before:]] == [2, 1]


def test_features_of_other_settings_are_made_once_and_leave_the_runs_own_alone(
    notebook, base, rendered, inside
):
    before = content(base / "features")
    pairs = ["image_size=64,96", "seed=0,1", "student=false"]
    assert sweep(notebook, pairs, run=base, data_root=rendered).failed == {}
    made = {(v["image_size"], v["seed"]): Path(v["run"]) for v in inside}
    at = {k: (f / "features" / "last@1.0.npy").stat().st_ino for k, f in made.items()}
    assert at[64, 0] == at[64, 1] == (base / "features" / "last@1.0.npy").stat().st_ino
    assert at[96, 0] == at[96, 1] != at[64, 0]
    assert content(base / "features") == before
    # Another setting in a folder whose features are links: they are replaced there, and only there.
    own = made[64, 0]
    assert Run(own, rendered, small(image_size=32)).features.map("last").shape[-1] == 1
    assert (own / "features" / "last@1.0.npy").stat().st_ino != at[64, 0]
    assert content(base / "features") == before
    # Masks that no student has learnt from are in the table, too.
    table = pd.read_csv(base / "sweeps" / "01_small" / "sweep.csv")
    masks = table.query("source == 'ground_truth'")
    assert set(masks["labels"]) == {"-"} and set(masks["metric"]) == {"pseudo_iou_gt"}
    assert set(masks["profile"]) == {"embedded"} and (masks["value"] == 1.0).any()


def test_a_failure_does_not_lose_the_others(notebook, rendered, tmp_path, capsys):
    """By papermill, in processes of their own."""
    run = tmp_path / "run"
    arguments = ["-p", "seed=-1,0", "-p", "student=false", "--run", str(run)]
    assert main(["sweep", str(notebook), *arguments, "--data-root", str(rendered)]) == 1
    said = capsys.readouterr()
    assert "1 of 2 failed" in said.err and "seed=-1 student=False: ValueError: seed=-1" in said.err
    table = pd.read_csv(run / "sweeps" / "01_small" / "sweep.csv")
    assert set(table["swept_seed"]) == {0} and set(table["student"]) == {False}
    (error,) = run.glob("sweeps/*/*/error.txt")
    assert "seed=-1: has to be 0 or more" in error.read_text() and "\x1b" not in error.read_text()
    (done,) = run.glob("sweeps/*/*/rows.csv")
    executed = nbformat.read(done.parent / "notebooks" / "01_small.ipynb", as_version=4)
    assert executed.cells[-1].execution_count


def test_linked_features(tmp_path):
    index = {"key": "k", "ids": ["a"], "taps": ["last"], "scales": [1.0], "passes": 2, "seconds": 1}
    source, folder = tmp_path / "one" / "features", tmp_path / "two" / "features"
    source.mkdir(parents=True)
    write_json(source / "index.json", index)
    np.save(source / "last@1.0.npy", np.ones((1, 2, 3, 1, 1), np.float16))
    assert link_features(source, folder, "k") is None  # not complete
    np.save(source / "pooled@1.0.npy", np.ones((1, 2, 3), np.float32))
    assert link_features(source, folder, "other") is None and not folder.exists()
    found = link_features(source, folder, "k")
    assert found.folder == folder and (found.map("last") == 1).all()
    assert (folder / "last@1.0.npy").samefile(source / "last@1.0.npy")
    write_json(folder / "index.json", index | {"key": "mine"})
    assert read_json(source / "index.json")["key"] == "k"


def test_features_are_copied_where_links_cannot_be_made(tmp_path, monkeypatch):
    def no_links(*paths):
        raise OSError("not on this file system")

    monkeypatch.setattr("os.link", no_links)
    source = tmp_path / "one"
    source.mkdir()
    index = {"key": "k", "ids": [], "taps": ["last"], "scales": [1.0], "passes": 0, "seconds": 0}
    write_json(source / "index.json", index)
    for name in ("last@1.0", "pooled@1.0"):
        np.save(source / f"{name}.npy", np.zeros(3))
    assert link_features(source, tmp_path / "two", "k").map("last").sum() == 0
    assert not (tmp_path / "two" / "last@1.0.npy").samefile(source / "last@1.0.npy")
    assert not list(tmp_path.glob("*.linked"))
