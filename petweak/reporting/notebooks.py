"""Execute the notebook series by papermill, one process each, and skip what is up to date.

`python -m petweak.reporting.notebooks [NN ...] [--solutions]` refreshes notebooks in place;
Jupyter's packages take two seconds to import, so they are where a notebook is executed.
"""

import argparse
import ast
import json
import os
import time
import traceback
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import petweak
from petweak.config import RENAMED, from_here, parse_assignments, parse_value
from petweak.data import files
from petweak.data.files import file_hash, shipped
from petweak.study.cache import key
from petweak.study.folder import claim

if TYPE_CHECKING:
    import nbformat

NUMBERED = "[0-9][0-9]*_*.ipynb"
NOT_NUMBERED = ("notebooks/_template.ipynb", "notebooks/explorers.ipynb")
PACKAGE = Path(petweak.__file__).parent
WIDGET = "application/vnd.jupyter.widget-view+json"
# A kernel would warn in our terminal that it listens on TCP, as every local kernel does.
# One that is asked to end goes on with its cell, for seconds, so that it is ended at once.
KERNEL = {"kernel_name": "python3", "extra_arguments": ["--IPKernelApp.log_level=ERROR"],
          "shutdown_kernel": "immediate"}


class NotebookError(Exception):
    """A cell failed. The cause is papermill's error, with the cell's traceback."""


def series(only: Iterable[str] | None = None, solutions: bool = False) -> list[Path]:
    """The numbered notebooks, in order, or the solutions of their exercises; `only` picks by number
    ("03", "3"; "7a", or "7" for all parts). ValueError for one that no notebook has."""
    every = sorted(shipped("notebooks/solutions" if solutions else "notebooks").glob(NUMBERED))
    there, chosen = [number(file) for file in every], [n.zfill(2) for n in only or ()]
    if unknown := ", ".join(n for n in chosen if not any(_is_part(t, n) for t in there)):
        raise ValueError(f"nothing has the number {unknown}: there are {', '.join(there)}")
    return [f for n in chosen for f in every if _is_part(number(f), n)] if only else every


def number(notebook: Path) -> str:
    """"03" of 03_a_b.ipynb, "07a" of 07a_c.ipynb."""
    return notebook.name.partition("_")[0]


def _is_part(notebook: str, of: str) -> bool:
    return of.zfill(3) in (notebook.zfill(3), notebook[:2].zfill(3))


def parameters_of(notebook: Path) -> dict[str, str]:
    """The names in the `parameters` cell, with the code of their defaults. ValueError where there
    is not exactly one such cell, or it is no Python: papermill would only run on."""
    cells = [c for c in _cells(notebook) if "parameters" in c["metadata"].get("tags", [])]
    if (n := len(cells)) != 1:
        raise ValueError(f"{notebook}: {n} cells are tagged `parameters`, it takes one")
    try:
        lines = ast.parse("".join(cells[0]["source"])).body
    except SyntaxError as error:
        raise ValueError(f"{notebook}: the cell tagged `parameters` is no Python: {error}"
                         ) from None
    assigned = [n for n in lines if isinstance(n, ast.Assign | ast.AnnAssign) and n.value]
    return {ast.unparse(name): ast.unparse(line.value) for line in assigned
            for name in getattr(line, "targets", None) or [line.target]}


def _cells(notebook: Path) -> list[dict[str, Any]]:
    """Its cells as they are in the file. ValueError for what is no notebook."""
    try:
        return json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{notebook} is no notebook of format 4") from None


def typed(values: dict[str, str], defaults: dict[str, str]) -> dict[str, Any]:
    """Those of `values` that have a default; text becomes what the default is: "3" for `epochs` is
    3. ValueError for text that is no such value."""
    result: dict[str, Any] = {name: v for name, v in values.items() if name in defaults}
    for name, value in result.items():
        kind = str  # of a default that is computed, too
        with suppress(ValueError, SyntaxError):
            kind = type(ast.literal_eval(defaults[name]))
        result[name] = parse_value(name, value, kind) if kind in (bool, int, float) else value
    return result


def with_options(values: dict, there: Iterable[str], profile, run, data_root) -> dict[str, Any]:
    """`values` and the three that are options. ValueError for a name that is not `there`."""
    options = {"profile": profile, "data_root": str(data_root or "")}
    options["run"] = str(files.project_path(run or f"runs/{profile}"))
    if unknown := sorted(n for n in values if n in options or n not in there):
        names = ", ".join(sorted(set(there) - set(options)))
        new = "".join(f"{n} is now {RENAMED[n]}; " for n in unknown if n in RENAMED)
        raise ValueError(f"unknown parameter {', '.join(unknown)}: {new}there are {names} (and "
                         "--profile, --run, --data-root)")
    return options | values


def run_notebooks(profile, run=None, data_root=None, only=None, parameters=(), solutions=False,
                  jobs=1):
    """Execute notebooks into `<run>/notebooks/`, or the solutions into its `solutions/`; yields a
    line for each. `parameters` ("key=value") go to every notebook that has them. So many `jobs` run
    at once, each with its share of the cores, unless OMP_NUM_THREADS is set. ValueError, before
    anything runs, for what no notebook has or a bad value; NotebookError where a cell fails: those
    that are at work end, no other one begins."""
    if jobs < 1:
        raise ValueError(f"--jobs {jobs}: say 1 or more")
    defaults = {notebook: parameters_of(notebook) for notebook in series(only, solutions)}
    names = [name for there in defaults.values() for name in there]
    given = {k: from_here(k, v) for k, v in parse_assignments(parameters).items()}
    values = with_options(given, names, profile, run, data_root)
    claim(Path(values["run"]))
    folder = Path(values["run"], "notebooks", "solutions" if solutions else "")

    def line(notebook: Path, part: dict[str, Any]) -> str:
        if not (there := is_executed(notebook, folder / notebook.name, part)):
            execute(notebook, folder / notebook.name, part)
        return f"{notebook.name}: {'up to date' if there else 'executed'}"

    parts = [typed(values, defaults[n]) for n in defaults]
    with ExitStack() as stack:
        each = map
        if jobs > 1:  # kernels are processes of their own, which inherit the environment
            os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
            each = stack.enter_context(ThreadPoolExecutor(jobs)).map
        yield from each(line, defaults, parts)


def is_executed(notebook: Path, out: Path, values: dict[str, Any]) -> bool:
    """Whether `out` is this notebook with these values and the package's present code."""
    note = files.read_json(out.with_suffix(".json")) or {}
    return files.is_whole(out) and note.get("key") == _key(notebook, values)


def _key(notebook: Path, values: dict[str, Any]) -> str:
    cells = ["".join(cell["source"]) for cell in _cells(notebook)]
    code = [file_hash(file) for file in sorted(PACKAGE.rglob("*.py"))]
    return key(cells=cells, values=values, code=code)


def execute(notebook: Path, out: Path, values: dict[str, Any]) -> None:
    """Execute a notebook in a process of its own; `out`, and a JSON file of its name with key,
    seconds and hash, are written when it has run to its end. What somebody has written into an
    earlier `out` is set aside. NotebookError where a cell fails."""
    import nbformat

    note, start = {"key": _key(notebook, values)}, time.perf_counter()
    about = out.with_suffix(".json")
    before = files.read_json(about) or {}
    figures = Path(os.path.relpath(shipped("figures"), out.parent)).as_posix()
    with files.replacing(out) as beside:
        done = _executed(notebook, beside, values)
        for cell in done.cells:
            cell.source = cell.source.replace("](../figures/", f"]({figures}/")
        nbformat.write(done, beside)
        note["files"] = [file_hash(beside)]
        if known := before.get("files"):  # nothing is noted by older versions
            files.set_aside(out, known)
        # Both are known while one takes the other's place.
        files.write_json(about, before | {"files": [*(known or [])[-1:], *note["files"]]})
    note["seconds"] = round(time.perf_counter() - start, 1)
    files.write_json(about, note)


def _executed(notebook: Path, out: Path, values: dict[str, Any]) -> "nbformat.NotebookNode":
    import papermill
    from papermill.exceptions import PapermillExecutionError

    os.environ["TQDM_DISABLE"] = "1"  # for the kernel, too
    # In a notebook of the wheel, relative paths count from where the user stands.
    cwd = Path.cwd() if PACKAGE in notebook.parents else notebook.parent
    try:  # its own `cwd` would move the process, and with it other notebooks
        at = {"metadata": {"path": str(cwd)}}
        done = papermill.execute_notebook(notebook, out, values, resources=at, **KERNEL)
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
    import nbformat

    others = () if only or solutions else NOT_NUMBERED
    for notebook in (*series(only, solutions), *map(shipped, others)):
        parameters_of(notebook)
        with files.replacing(notebook) as beside:
            done = _executed(notebook, beside, {})
            name = {"display_name": "Python 3", "language": "python", "name": "python3"}
            done.metadata = {"kernelspec": name, "language_info": {"name": "python"}}
            for cell in done.cells:
                # `slideshow` is for `make slides`; JupyterLab folds a source that `jupyter` hides
                kept = ((k, cell.metadata.get(k)) for k in ("tags", "slideshow", "jupyter"))
                cell.metadata = {k: v for k, v in kept if v}
            nbformat.write(nbformat.from_dict(done), beside)
        print(f"{notebook.name}: {notebook.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="execute notebooks in place")
    parser.add_argument("only", nargs="*", metavar="NN", help="numbers, default: all")
    parser.add_argument("--solutions", action="store_true", help="those of the exercises instead")
    args = parser.parse_args()
    refresh(args.only, args.solutions)
