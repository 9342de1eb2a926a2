"""`petweak sweep`: one notebook for every combination, on a small one that is written here."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pandas as pd
import pytest
from conftest import small
from few import few_photos

from petweak.__main__ import main
from petweak.data.files import read_json
from petweak.reporting import notebooks
from petweak.reporting.notebooks import NotebookError
from petweak.reporting.sweep import read_values, sweep
from petweak.study.run import Run
from petweak.study.tables import final

PARAMETERS = """\
profile = "embedded"
run = ""
data_root = ""
seed = 0
source = "ground_truth"
image_size = 64
trained = True
"""
CELL = """\
from petweak.study.run import open_run

small = dict(decoder_channels=8, epochs=1, bootstrap=20, engine="eager")
study = open_run(profile, run, data_root, seed=seed, image_size=image_size, **small)
study.features
study.mask_scores(source)
if trained:
    study.model_scores(source, "species")
"""


def write(path: Path, *texts: str, tags=("parameters",)) -> Path:
    cells = [nbformat.v4.new_code_cell(text) for text in texts]
    cells[0].metadata = nbformat.from_dict({"tags": list(tags)})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


@pytest.fixture
def notebook(tmp_path):
    return write(tmp_path / "01_small.ipynb", PARAMETERS, CELL)


@pytest.fixture(scope="module")
def few(rendered, tmp_path_factory) -> Path:
    return few_photos(rendered, tmp_path_factory.mktemp("few"))


@pytest.fixture
def base(few, tmp_path):
    """A run with features, made with the notebook's settings."""
    folder = tmp_path / "run"
    assert Run(folder, few, small()).features.passes > 0
    return folder


@pytest.fixture
def inside(monkeypatch):
    """Notebooks without papermill: the cell in this process, which is faster; lists the calls."""
    calls = []

    def papermill(notebook, out, values):
        calls.append(values)
        names = {}
        exec(PARAMETERS, names)
        try:
            exec(CELL, names | values)
        except ValueError as error:  # as papermill tells it
            coloured = RuntimeError("\x1b[0;31mred Traceback\x1b[0m")
            raise NotebookError(f"x.ipynb, cell 2: ValueError: {error}") from coloured
        return nbformat.read(notebook, as_version=4)

    monkeypatch.setattr(notebooks, "_executed", papermill)
    return calls


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()}


def test_values():
    assert read_values(["seed=0, 1,2", "source=gradcam_pretrained"]) == {
        "seed": ["0", "1", "2"],
        "source": ["gradcam_pretrained"],
    }
    assert read_values(["sources=a,b; c"]) == {"sources": ["a,b", "c"]}
    assert read_values(["sources=a,b;"]) == {"sources": ["a,b"]}
    assert read_values(["folder=a=b"]) == {"folder": ["a=b"]}


@pytest.mark.parametrize(
    "pairs, says",
    [
        (["seed="], "a value is empty"),
        (["seed=0,,1"], "a value is empty"),
        (["seed"], "key=value"),
        (["=0"], "unknown parameter"),
        (["seed=0", "seed=1"], "a parameter is there twice"),
        (["seed=0,0"], "there twice"),
        (["seed=one"], "seed='one': not a value of type int"),
        (["sed=1"], "unknown parameter sed: there are image_size"),
        (["run=a,b"], "--run"),
        ([], "say -p"),
    ],
)
def test_a_bad_argument_is_refused_before_anything_runs(pairs, says, notebook, inside, tmp_path):
    with pytest.raises(ValueError) as error:
        list(sweep(notebook, pairs, run=tmp_path / "run"))
    assert says in str(error.value)
    assert not inside and not (tmp_path / "run").exists()


def test_a_notebook_without_a_run_is_refused(tmp_path, inside):
    write(tmp_path / "x.ipynb", "seed = 0", tags=())
    with pytest.raises(ValueError, match="0 cells are tagged"):
        list(sweep(tmp_path / "x.ipynb", ["seed=1"]))
    write(tmp_path / "x.ipynb", "seed = 0")
    with pytest.raises(ValueError, match="no parameter `run`"):
        list(sweep(tmp_path / "x.ipynb", ["seed=1"]))
    with pytest.raises(ValueError, match="no such notebook"):
        list(sweep(tmp_path / "y.ipynb", ["seed=1"]))


def test_every_combination_and_one_table(notebook, base, few, inside, monkeypatch):
    monkeypatch.setattr("petweak.study.run.extract_features", lambda *a: pytest.fail("a pass"))
    pairs = ["source=ground_truth,gradcam_pretrained", "seed=0,1"]
    *lines, table = sweep(notebook, pairs, run=base, data_root=few)
    assert len(lines) == 4 and all(line.endswith("executed") for line in lines)
    asked = [(v["source"], v["seed"]) for v in inside]
    assert asked == [(s, n) for s in ("ground_truth", "gradcam_pretrained") for n in (0, 1)]
    assert len({v["run"] for v in inside}) == 4
    assert table == base / "sweeps" / "01_small" / "sweep.csv"
    rows = pd.read_csv(table)
    assert list(rows)[:3] == ["swept_source", "swept_seed", "profile"]
    part = rows.query("swept_source == 'gradcam_pretrained' and swept_seed == 1").iloc[:, 2:]
    (folder,) = (v["run"] for v in inside if (v["source"], v["seed"]) == ("gradcam_pretrained", 1))
    alone = final(pd.read_csv(f"{folder}/results.csv"))
    pd.testing.assert_frame_equal(part.reset_index(drop=True), alone, check_dtype=False)
    assert set(alone["seed"]) == {1} and "gradcam_pretrained" in set(alone["source"])

    before = len(inside)  # a finished combination is not run again, a new one is
    *lines, table = sweep(
        notebook, ["source=gradcam_pretrained", "seed=1,2"], run=base, data_root=few
    )
    assert [v["seed"] for v in inside[before:]] == [2] and lines[0].endswith("up to date")
    assert set(pd.read_csv(table)["swept_seed"]) == {1, 2}


def test_features_of_other_settings_are_made_once_and_leave_the_runs_own_alone(
    notebook, base, few, inside, monkeypatch
):
    from petweak.study import run as study_run

    passes, extract = [], study_run.extract_features
    monkeypatch.setattr(
        study_run, "extract_features", lambda *a: passes.append(a[3]) or extract(*a)
    )
    before = content(base / "features")
    pairs = ["image_size=64,96", "seed=0,1", "trained=false"]
    table = list(sweep(notebook, pairs, run=base, data_root=few))[-1]
    folders = {(v["image_size"], v["seed"]): Path(v["run"]) for v in inside}
    assert passes == [folders[96, 0] / "features"]
    assert str(base / "features") in read_json(folders[64, 1] / "features_from.json", list)
    assert content(base / "features") == before
    # Other settings in a folder that reads features in place: they are made there, and only there.
    other = folders[64, 0]
    assert Run(other, few, small(image_size=32)).features.map("final").shape[-1] == 1
    assert passes[1:] == [other / "features"] and content(base / "features") == before
    # Masks that no model has learnt from are in the table, too.
    rows = pd.read_csv(table).query("source == 'ground_truth'")
    assert set(rows["labels"]) == {"-"} and set(rows["metric"]) >= {"pseudo_iou_gt"}
    assert set(rows["profile"]) == {"embedded"} and (rows["value"] == 1.0).any()


def test_a_failure_does_not_lose_the_others(notebook, few, tmp_path, inside, capfd):
    run = tmp_path / "run"
    arguments = ["-p", "seed=-1,0", "-p", "trained=false", "--run", str(run)]
    assert main(["sweep", str(notebook), *arguments, "--data-root", str(few)]) == 1
    said = capfd.readouterr()
    assert "1 of 2 failed" in said.err and "ValueError: seed=-1" in said.err
    rows = pd.read_csv(run / "sweeps" / "01_small" / "sweep.csv")
    assert set(rows["swept_seed"]) == {0} and set(rows["trained"]) == {False}
    (error,) = run.glob("sweeps/*/*/error.txt")
    text = error.read_text()
    assert "red Traceback" in text and "seed=-1" in text and "\x1b" not in text
    assert (error.parent / "features_from.json").is_file()
    assert not list(error.parent.glob("notebooks/*"))


def test_the_error_says_what_failed(notebook, few, tmp_path, monkeypatch):
    def fail(*arguments):
        raise KeyError("pug_1")

    monkeypatch.setattr(notebooks, "_executed", fail)
    with pytest.raises(NotebookError, match=r"1 of 1 failed[\s\S]*KeyError\('pug_1'\)"):
        list(sweep(notebook, ["seed=0"], run=tmp_path / "run", data_root=few))
