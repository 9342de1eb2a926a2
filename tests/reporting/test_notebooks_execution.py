"""Executing the series: what is run with what, and what is left as it is."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import papermill
import pytest

from petweak.config import PATHS, from_here
from petweak.reporting import notebooks
from petweak.reporting.notebooks import NotebookError, execute, parameters_of, run_notebooks, typed
from petweak.reporting.sweep import read_values, sweep

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
SERIES = sorted(FOLDER.glob("[0-9][0-9]*_*.ipynb"))
TEXT = "profile = ''  # a\nrun = ''  # b\ncount = 1  # c"


def write(path: Path, *texts: str) -> Path:
    cells = [nbformat.v4.new_code_cell(text) for text in texts]
    cells[0].metadata = nbformat.from_dict({"tags": ["parameters", "y"]})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


@pytest.fixture
def ran(monkeypatch):
    """The calls, which run nothing."""
    calls = []
    monkeypatch.setattr(notebooks, "execute", lambda *call: calls.append(call))
    return calls


def test_a_notebook_without_its_parameters_cell_is_refused(tmp_path):
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("profile = 'embedded'")])
    nbformat.write(nb, tmp_path / "01_x.ipynb")
    with pytest.raises(ValueError, match="0 cells are tagged"):
        parameters_of(tmp_path / "01_x.ipynb")


@pytest.mark.parametrize("text, says", [
    ("{}", "no notebook of format 4"), ("cut {", "no notebook of format 4"),
    ('{"cells": [{"source": ["%run x"], "metadata": {"tags": ["parameters"]}}]}', "no Python")])
def test_a_file_that_is_no_notebook_is_refused(tmp_path, text, says):
    (tmp_path / "01_x.ipynb").write_text(text)
    with pytest.raises(ValueError, match=f"01_x.ipynb.* is {says}"):
        parameters_of(tmp_path / "01_x.ipynb")


def test_parameters_are_papermills(tmp_path):
    text = f"{TEXT}\nshare: float = 0.5\nfree = [1, 'a']"
    notebook = write(tmp_path / "01_x.ipynb", text)
    theirs = {k: v["default"] for k, v in papermill.inspect_notebook(str(notebook)).items()}
    assert parameters_of(notebook) == theirs and len(theirs) == 5


def test_what_is_executed_already_is_found_without_jupyter(tmp_path):
    notebook, out = write(tmp_path / "01_x.ipynb", TEXT), tmp_path / "out.ipynb"
    out.write_text("{}\n")
    out.with_suffix(".json").write_text('{"key": "of other cells"}')
    code = """if 1:
        import sys
        from pathlib import Path
        from petweak.reporting.notebooks import is_executed, parameters_of
        notebook, out = map(Path, sys.argv[1:])
        print(is_executed(notebook, out, {}), *parameters_of(notebook), *sys.modules)"""
    command = [sys.executable, "-c", code, str(notebook), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answer, *words = done.stdout.split()
    assert answer == "False" and words[:3] == ["profile", "run", "count"]
    assert not {"nbformat", "nbconvert", "papermill", "torch", "pandas"} & set(words)


def test_a_chapter_in_parts_is_chosen_as_a_whole_or_by_its_letter(tmp_path, monkeypatch):
    names = ["00_z", "06_a", "07a_b", "07b_c", "10_d"]
    for name in names:
        write(tmp_path / f"{name}.ipynb", TEXT)
    monkeypatch.setattr(notebooks, "shipped", lambda path: tmp_path)
    for only, there in {
        None: names, ("07",): names[2:4], ("7",): names[2:4], ("7b",): names[3:4],
        ("07a", "6"): [names[2], names[1]], ("0",): names[:1],
    }.items():
        assert [p.stem for p in notebooks.series(only)] == there
    for wrong in ("7c", "1", "06a"):
        with pytest.raises(ValueError, match=r"are 00, 06, 07a, 07b, 10$"):
            notebooks.series([wrong])


def test_the_executed_copy_shows_the_diagrams_of_the_project(tmp_path):
    notebook = write(tmp_path / "01_x.ipynb", TEXT)
    nb = nbformat.read(notebook, as_version=4)
    nb.cells.append(nbformat.v4.new_markdown_cell("![a map](../figures/diagrams/x.svg)"))
    nbformat.write(nb, notebook)
    execute(notebook, tmp_path / "out" / "01_x.ipynb", {})
    source = nbformat.read(tmp_path / "out" / "01_x.ipynb", as_version=4).cells[-1].source
    target = source.removeprefix("![a map](").removesuffix("/diagrams/x.svg)")
    assert (tmp_path / "out" / target).resolve() == FOLDER.parent / "figures"


def test_what_somebody_wrote_into_an_executed_notebook_is_set_aside(tmp_path, caplog, monkeypatch):
    notebook, out = write(tmp_path / "01_x.ipynb", TEXT), tmp_path / "out" / "01_x.ipynb"
    monkeypatch.setattr(notebooks, "_executed", lambda *_: nbformat.read(notebook, as_version=4))
    for _ in range(2):  # its own is replaced
        execute(notebook, out, {})
    assert sorted(p.name for p in out.parent.iterdir()) == ["01_x.ipynb", "01_x.json"]
    mine = nbformat.read(out, as_version=4)
    mine.cells.append(nbformat.v4.new_markdown_cell("my notes"))
    nbformat.write(mine, out)
    execute(notebook, out, {})
    assert "my notes" not in out.read_text() and "kept as 01_x.ipynb.kept" in caplog.text
    assert "my notes" in (out.parent / "01_x.ipynb.kept").read_text()
    caplog.clear()
    execute(notebook, out, {})
    assert not caplog.text


@pytest.mark.parametrize(
    "options, says",
    [
        ({"parameters": ["epoch=3"]}, "unknown parameter epoch: there are"),
        ({"parameters": ["examples=few"]}, "examples='few': not a value of type int"),
        ({"parameters": ["run=x"]}, "--run"),
        ({"parameters": ["x"]}, "key=value"),
        ({"only": ["99"]}, "the number 99: there are 00, 01"),
        ({"only": ["99"], "solutions": True}, "the number 99: there are 01, 02"),
    ],
)
def test_a_bad_argument_is_refused_before_anything_runs(options, says, ran, tmp_path):
    with pytest.raises(ValueError, match=says):
        list(run_notebooks("embedded", tmp_path, **options))
    assert not ran


def test_solutions_are_a_series_of_their_own(ran, tmp_path):
    list(run_notebooks("embedded", tmp_path, only=["3"], solutions=True))
    name = "03_make_masks_with_mask_rcnn_solutions.ipynb"
    ((notebook, out, values),) = ran
    assert notebook == FOLDER / "solutions" / name
    assert out == tmp_path / "notebooks" / "solutions" / name
    assert values["run"] == str(tmp_path) and values["profile"] == "embedded"
    list(run_notebooks("embedded", tmp_path))
    assert [n for n, *_ in ran[1:]] == SERIES


def test_every_parameter_that_names_a_folder_is_known_as_one():
    options, named = {"profile", "run", "data_root"}, {}
    for notebook in SERIES:
        (cell,) = [c for c in nbformat.read(notebook, as_version=4).cells
                   if "parameters" in c.metadata.get("tags", [])]
        lines = (line.partition(" = ") for line in cell.source.splitlines())
        named |= {name: text for name, _, text in lines if "# a folder" in text}
    assert {"photos", "masks", "external_masks"} <= named.keys()
    assert named.keys() - options <= set(PATHS)
    here = Path.cwd()
    for name in named.keys() - options:
        assert from_here(name, "../x, y") == str(here.parent / "x, y") and not from_here(name, "")
    assert from_here("photos", "~/a=b") == str(Path.home() / "a=b")  # no name of several
    assert from_here("species", "../x") == "../x"


def test_a_typed_path_counts_from_where_the_user_stands(ran, tmp_path, monkeypatch):
    """A notebook counts relative paths from the project."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(notebooks, "series", lambda *_: [FOLDER / "07b_train_maskformer.ipynb"])
    list(run_notebooks("embedded", tmp_path / "run", parameters=["external_masks=../masks"]))
    assert ran[0][2]["external_masks"] == str(tmp_path / "masks")
    assert read_values(["external_masks=a,~/b", "seed=0,1"]) == {
        "external_masks": [str(tmp_path / "here" / "a"), str(Path.home() / "b")],
        "seed": ["0", "1"],
    }


def test_a_folder_of_somebody_else_gets_no_notebooks(ran, tmp_path):
    """`--run .` in the project would replace its notebooks by themselves, executed."""
    (tmp_path / "notebooks").mkdir()
    for run in (
        lambda: run_notebooks("embedded", tmp_path),
        lambda: sweep(SERIES[1], ["seed=0,1"], run=tmp_path),
    ):
        with pytest.raises(ValueError, match="is not a run of petweak, and has notebooks"):
            list(run())
    assert not ran and [p.name for p in tmp_path.iterdir()] == ["notebooks"]


def test_text_becomes_what_the_notebook_has():
    defaults = {"n": "0", "x": "0.5", "name": "'v1'", "on": "True", "later": "compute()"}
    values = {"n": "3", "x": "1", "name": "1", "on": "false", "later": "2", "of_another": "4"}
    result = typed(values, defaults)
    assert result == {"n": 3, "x": 1.0, "name": "1", "on": False, "later": "2"}
    assert [type(v) for v in result.values()] == [int, float, str, bool, str]


def test_a_notebook_is_executed_once_for_its_cells_values_and_code(tmp_path, monkeypatch, capfd):
    notebook = write(tmp_path / "01_x.ipynb", TEXT, "print(count + 1)")
    monkeypatch.setattr(notebooks, "series", lambda *_: [notebook])
    run, out = tmp_path / "run", tmp_path / "run" / "notebooks" / "01_x.ipynb"

    def run_it(**options):
        return list(run_notebooks("embedded", run, **options))

    assert run_it(parameters=["count=4"]) == ["01_x.ipynb: executed"]
    assert nbformat.read(out, as_version=4).cells[-1].outputs[0].text == "5\n"
    assert "without encryption" not in capfd.readouterr().err  # the kernel's warning about TCP
    assert run_it(parameters=["count=4"]) == ["01_x.ipynb: up to date"]
    monkeypatch.setattr(notebooks, "execute", lambda *_: None)
    assert run_it(parameters=["count=5"]) == ["01_x.ipynb: executed"]
    monkeypatch.setattr(notebooks, "file_hash", lambda file: "other code")
    assert run_it(parameters=["count=4"]) == ["01_x.ipynb: executed"]


def test_jobs_run_at_once_each_with_its_share_of_the_cores(tmp_path, monkeypatch):
    """Each of the two waits for what the other one writes."""
    meet = """import os, time
from pathlib import Path
Path({0!r}).touch()
while not Path({1!r}).exists(): time.sleep(0.01)
print(Path.cwd(), os.environ["OMP_NUM_THREADS"])"""
    pair = [write(tmp_path / f"0{n}_x.ipynb", TEXT, meet.format(str(n), str(3 - n)))
            for n in (1, 2)]
    monkeypatch.setattr(notebooks, "series", lambda *_: pair)
    monkeypatch.setattr(notebooks.os, "cpu_count", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    here, run = Path.cwd(), tmp_path / "run"
    lines = list(run_notebooks("embedded", run, jobs=2))
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert lines == ["01_x.ipynb: executed", "02_x.ipynb: executed"] and Path.cwd() == here
    for notebook in pair:
        done = nbformat.read(run / "notebooks" / notebook.name, as_version=4)
        assert done.cells[-1].outputs[0].text == f"{tmp_path} 3\n"


def test_of_several_jobs_a_failure_lets_no_other_one_begin(tmp_path, monkeypatch):
    begun = []

    def fail(notebook, *_):
        begun.append(notebook.name)
        time.sleep(len(begun) > 1)  # the first one fails at once
        raise NotebookError(notebook.name)

    monkeypatch.setattr(notebooks, "execute", fail)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with pytest.raises(NotebookError, match="^00_start_here.ipynb$"):
        list(run_notebooks("embedded", tmp_path, jobs=2))
    assert len(begun) < len(SERIES)
    with pytest.raises(ValueError, match="--jobs 0"):
        list(run_notebooks("embedded", tmp_path, jobs=0))


def test_a_cell_that_fails_is_named_and_leaves_nothing(tmp_path):
    notebook = write(tmp_path / "01_x.ipynb", TEXT, "{}['pug_1']")
    out = tmp_path / "out" / "01_x.ipynb"
    with pytest.raises(NotebookError, match=r"01_x.ipynb, cell \d: KeyError: 'pug_1'") as error:
        execute(notebook, out, {})
    assert "pug_1" in str(error.value.__cause__) and not list(out.parent.iterdir())


def test_a_full_disk_leaves_the_line_of_no_bar_open(tmp_path, monkeypatch, capfd):
    """The message that comes next would stand at its end."""
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("papermill.engines.write_ipynb", full)
    with pytest.raises(OSError) as error:
        execute(write(tmp_path / "01_x.ipynb", "a = 1"), tmp_path / "out.ipynb", {})
    written = capfd.readouterr().err
    assert written.endswith("\n") or not written, error
    assert not list(tmp_path.glob("out*"))


def test_refreshing_replaces_a_notebook_by_its_clean_self(tmp_path, monkeypatch):
    bar = "import tqdm.notebook\nfor _ in tqdm.notebook.tqdm(range(2)): pass\nprint('x')"
    notebook = write(tmp_path / "01_x.ipynb", TEXT, bar)
    given = nbformat.read(notebook, as_version=4)
    given.cells[1].metadata = {"slideshow": {"slide_type": "slide"}, "editable": True}
    nbformat.write(given, notebook)
    monkeypatch.setattr(notebooks, "series", lambda *_: [notebook])
    notebooks.refresh(["01"])
    done = nbformat.read(notebook, as_version=4)
    assert done.cells[0].metadata == {"tags": ["parameters", "y"]}
    assert done.cells[1].metadata == {"slideshow": {"slide_type": "slide"}}
    assert set(done.metadata) == {"kernelspec", "language_info"}
    assert [o.output_type for o in done.cells[1].outputs] == ["stream"]  # no widget
    text = io.StringIO()
    nbformat.write(done, text)
    assert str(tmp_path) not in text.getvalue()


def test_the_whole_series_means_the_notebooks_without_a_number_too(tmp_path, monkeypatch):
    names = ["00_a", "01_b", "_template", "explorers"]
    (tmp_path / "notebooks").mkdir()
    for name in names:
        write(tmp_path / "notebooks" / f"{name}.ipynb", TEXT)
    ran = []

    def executed(notebook, out, values):
        ran.append(notebook.stem)
        return nbformat.read(notebook, as_version=4)

    monkeypatch.setattr(notebooks, "shipped", lambda path: tmp_path / path)
    monkeypatch.setattr(notebooks, "_executed", executed)
    notebooks.refresh()
    assert ran == names
    notebooks.refresh(["1"])
    assert ran[len(names) :] == ["01_b"]
