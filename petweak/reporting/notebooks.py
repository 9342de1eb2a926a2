"""Execute the notebook series by papermill, one process each, and skip what is up to date.

`python -m petweak.reporting.notebooks [NN ...] [--solutions]` refreshes notebooks in place;
`--student DIR` writes the series for a class: without outputs, answers and solutions.
"""

import argparse
import ast
import os
import re
import shutil
import time
import traceback
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbconvert.preprocessors import ClearOutputPreprocessor, Preprocessor
from papermill.exceptions import PapermillExecutionError

import petweak
from petweak.config import from_here, parse_assignments
from petweak.data.files import (
    file_hash,
    is_whole,
    project_path,
    read_json,
    replacing,
    set_aside,
    shipped,
    write_json,
)
from petweak.study.cache import key
from petweak.study.run import claim

NUMBERED = "[0-9][0-9]*_*.ipynb"
NOT_NUMBERED = ("notebooks/_template.ipynb", "notebooks/explorers.ipynb")
PACKAGE = Path(petweak.__file__).parent
WIDGET = "application/vnd.jupyter.widget-view+json"
# A kernel would warn in our terminal that it listens on TCP, as every local kernel does.
# One that is asked to end goes on with its cell, for seconds, so that it is ended at once.
KERNEL = {"kernel_name": "python3", "extra_arguments": ["--IPKernelApp.log_level=ERROR"],
          "shutdown_kernel": "immediate"}
CONVERT = {bool: {"true": True, "false": False}.__getitem__, int: int, float: float}


class NotebookError(Exception):
    """A cell failed. The cause is papermill's error, with the cell's traceback."""


def series(only: Iterable[str] | None = None, solutions: bool = False) -> list[Path]:
    """The numbered notebooks, in order, or the solutions of their exercises; `only` picks by number
    ("03", "3"; "7a", or "7" for all parts). ValueError for one that no notebook has."""
    files = sorted(shipped("notebooks/solutions" if solutions else "notebooks").glob(NUMBERED))
    there, chosen = [number(file) for file in files], [n.zfill(2) for n in only or ()]
    if unknown := ", ".join(n for n in chosen if not any(_is_part(t, n) for t in there)):
        raise ValueError(f"nothing has the number {unknown}: there are {', '.join(there)}")
    return [f for n in chosen for f in files if _is_part(number(f), n)] if only else files


def number(notebook: Path) -> str:
    """"03" of 03_a_b.ipynb, "07a" of 07a_c.ipynb."""
    return notebook.name.partition("_")[0]


def _is_part(notebook: str, of: str) -> bool:
    return of.zfill(3) in (notebook.zfill(3), notebook[:2].zfill(3))


def parameters_of(notebook: Path) -> dict[str, str]:
    """The names in the `parameters` cell, with the code of their defaults. ValueError where there
    is not exactly one such cell: papermill would only run on."""
    cells = nbformat.read(notebook, as_version=4).cells
    if (n := sum("parameters" in c.metadata.get("tags", []) for c in cells)) != 1:
        raise ValueError(f"{notebook}: {n} cells are tagged `parameters`, it takes one")
    return {k: v["default"] for k, v in papermill.inspect_notebook(str(notebook)).items()}


def typed(values: dict[str, str], defaults: dict[str, str]) -> dict[str, Any]:
    """Those of `values` that have a default; text becomes what the default is: "3" for `epochs` is
    3. ValueError for text that is no such value."""
    result: dict[str, Any] = {name: v for name, v in values.items() if name in defaults}
    for name, value in result.items():
        kind = str  # of a default that is computed, too
        with suppress(ValueError, SyntaxError):
            kind = type(ast.literal_eval(defaults[name]))
        try:
            result[name] = CONVERT[kind](value.lower()) if kind in CONVERT else value
        except (ValueError, KeyError):
            raise ValueError(f"{name}={value!r}: not a value of type {kind.__name__}") from None
    return result


def with_options(values: dict, there: Iterable[str], profile, run, data_root) -> dict[str, Any]:
    """`values` and the three that are options. ValueError for a name that is not `there`."""
    options = {"profile": profile, "data_root": str(data_root or "")}
    options["run"] = str(project_path(run or f"runs/{profile}"))
    if unknown := sorted(n for n in values if n in options or n not in there):
        names = ", ".join(sorted(set(there) - set(options)))
        raise ValueError(f"unknown parameter {', '.join(unknown)}: there are {names} (and "
                         "--profile, --run, --data-root)")
    return options | values


def run_notebooks(profile, run=None, data_root=None, only=None, parameters=(), solutions=False):
    """Execute notebooks into `<run>/notebooks/`, or the solutions into its `solutions/`; yields a
    line for each. `parameters` ("key=value") go to every notebook that has them. ValueError, before
    anything runs, for one that no notebook has or a bad value; NotebookError where a cell fails."""
    defaults = {notebook: parameters_of(notebook) for notebook in series(only, solutions)}
    names = [name for there in defaults.values() for name in there]
    given = {k: from_here(k, v) for k, v in parse_assignments(parameters).items()}
    values = with_options(given, names, profile, run, data_root)
    claim(Path(values["run"]))
    folder = Path(values["run"], "notebooks", "solutions" if solutions else "")
    for notebook, part in [(n, typed(values, defaults[n])) for n in defaults]:
        if not (there := is_executed(notebook, folder / notebook.name, part)):
            execute(notebook, folder / notebook.name, part)
        yield f"{notebook.name}: {'up to date' if there else 'executed'}"


def is_executed(notebook: Path, out: Path, values: dict[str, Any]) -> bool:
    """Whether `out` is this notebook with these values and the package's present code."""
    note = read_json(out.with_suffix(".json")) or {}
    return is_whole(out) and note.get("key") == _key(notebook, values)


def _key(notebook: Path, values: dict[str, Any]) -> str:
    cells = [cell.source for cell in nbformat.read(notebook, as_version=4).cells]
    code = [file_hash(file) for file in sorted(PACKAGE.rglob("*.py"))]
    return key(cells=cells, values=values, code=code)


def execute(notebook: Path, out: Path, values: dict[str, Any]) -> None:
    """Execute a notebook in a process of its own; `out`, and a JSON file of its name with key,
    seconds and hash, are written when it has run to its end. What somebody has written into an
    earlier `out` is set aside. NotebookError where a cell fails."""
    note, start = {"key": _key(notebook, values)}, time.perf_counter()
    about = out.with_suffix(".json")
    before = read_json(about) or {}
    figures = Path(os.path.relpath(shipped("figures"), out.parent)).as_posix()
    with replacing(out) as beside:
        done = _executed(notebook, beside, values)
        for cell in done.cells:
            cell.source = cell.source.replace("](../figures/", f"]({figures}/")
        nbformat.write(done, beside)
        note["files"] = [file_hash(beside)]
        if known := before.get("files"):  # nothing is noted by older versions
            set_aside(out, known)
        # Both are known while one takes the other's place.
        write_json(about, before | {"files": [*(known or [])[-1:], *note["files"]]})
    note["seconds"] = round(time.perf_counter() - start, 1)
    write_json(about, note)


def _executed(notebook: Path, out: Path, values: dict[str, Any]) -> nbformat.NotebookNode:
    os.environ["TQDM_DISABLE"] = "1"  # for the kernel, too
    # In a notebook of the wheel, relative paths count from where the user stands.
    cwd = Path.cwd() if PACKAGE in notebook.parents else notebook.parent
    try:
        done = papermill.execute_notebook(notebook, out, values, cwd=cwd, **KERNEL)
    except PapermillExecutionError as error:
        text = f"{notebook.name}, cell {error.cell_index}: {error.ename}: {error.evalue}"
        raise NotebookError(text) from error
    except OSError as error:  # a full disk at its first writing: it leaves its bar open
        traceback.clear_frames(error.__traceback__)
        raise
    for cell in [c for c in done.cells if c.cell_type == "code"]:  # without widgets, such as bars
        cell.outputs = [o for o in cell.outputs if WIDGET not in o.get("data", {})]
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.id = "injected"  # papermill's is random, and stands in the pages
    return done


def refresh(only: Iterable[str] | None = None, solutions: bool = False) -> None:
    """Execute the series (without `only` the template and the explorers, too) or the solutions in
    place, with the parameters as they stand; what differs from machine to machine is left out."""
    others = () if only or solutions else NOT_NUMBERED
    for notebook in (*series(only, solutions), *map(shipped, others)):
        parameters_of(notebook)
        with replacing(notebook) as beside:
            done = _executed(notebook, beside, {})
            name = {"display_name": "Python 3", "language": "python", "name": "python3"}
            done.metadata = {"kernelspec": name, "language_info": {"name": "python"}}
            for cell in done.cells:
                tags = cell.metadata.get("tags")
                slide = cell.metadata.get("slideshow")  # of the chapters that `make slides` shows
                cell.metadata = {"tags": tags} if tags else {}
                cell.metadata |= {"slideshow": slide} if slide else {}
            nbformat.write(nbformat.from_dict(done), beside)
        print(f"{notebook.name}: {notebook.stat().st_size / 1000:.0f} kB")


class Unanswered(Preprocessor):
    """An nbconvert preprocessor: what gives an answer away is left out, with a place to write one.
    Cells still run: of code, only the text of an answer goes, and a cell that is nothing else."""

    def preprocess(self, nb: nbformat.NotebookNode, resources: dict) -> tuple:
        for cell in nb.cells:
            code = cell.cell_type == "code"
            cell.source = self.code(cell.source) if code else self.prose(cell.source)
            cell.metadata.pop("slideshow", None)
        nb.cells = [cell for cell in nb.cells if cell.source]
        return nb, resources

    @staticmethod
    def code(source: str) -> str:
        source = source.replace("# NBVAL_CHECK_OUTPUT\n", "")
        while "**Answer" in ast.unparse(tree := ast.parse(source)):
            if len(tree.body) == 1:
                return ""
            nodes = [n for n in ast.walk(tree) if "**Answer" in ast.unparse(n)]  # outside first
            shown = [n.args[0] for n in nodes if isinstance(n, ast.Call) and n.args]
            texts = shown or [n for n in nodes if isinstance(n, ast.JoinedStr | ast.Constant)]
            text = ast.get_source_segment(source, texts[0])
            source = source.replace(text, '"Was your prediction right? Why?"')
        return source

    @staticmethod
    def prose(source: str) -> str:
        source = re.sub(r"Tried them\? \[.*?\]\(solutions/.*?\)\.?",
                        "Add cells below this one for your work.", source, flags=re.DOTALL)
        source = source.replace(", then look at `solutions/`", "")
        return source + "\n\n*My prediction, and why:*" * ("**Predict" in source)


def student_edition(folder: Path) -> None:
    """The series, the explorers, the glossary and the figures that they show, in a new folder.
    FileExistsError for one that holds something."""
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty: name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(shipped("notebooks/glossary.md"), folder)
    notebooks = [*series(), shipped("notebooks/explorers.ipynb")]
    there = {"glossary.md", *(notebook.name for notebook in notebooks)}
    for notebook in notebooks:
        nb = nbformat.read(notebook, as_version=4)
        for step in (ClearOutputPreprocessor(), Unanswered()):
            nb, _ = step.preprocess(nb, {})
        for cell in [c for c in nb.cells if c.cell_type == "markdown"]:
            cell.source = cell.source.replace("](../figures/", "](figures/")
            for figure in re.findall(r"\]\((figures/.*?)\)", cell.source):
                (folder / figure).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(shipped(figure), folder / figure)
            cell.source = re.sub(  # of a link to what is not there, its words
                r"\[([^\]]*)\]\(((?!https?:|figures/)[^)\s]+\.\w+)\)",
                lambda link: link[0] if link[2] in there else link[1], cell.source)
        nbformat.write(nb, folder / notebook.name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="execute notebooks in place")
    parser.add_argument("only", nargs="*", metavar="NN", help="numbers, default: all")
    parser.add_argument("--solutions", action="store_true", help="those of the exercises instead")
    parser.add_argument("--student", type=Path, metavar="DIR", help="write the edition for a class")
    args = parser.parse_args()
    student_edition(args.student) if args.student else refresh(args.only, args.solutions)
