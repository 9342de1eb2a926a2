"""Execute the notebook series by papermill, one process each, and skip what is up to date."""

from __future__ import annotations

import argparse
import ast
import hashlib
import os
import time
from pathlib import Path
from typing import Any

import nbformat
import papermill

import petweak
from petweak.files import project_path, read_json, replacing, write_json


class NotebookUsageError(ValueError):
    """A number or a parameter that no notebook has."""


def series(only: list[str] | None = None, solutions: bool = False) -> list[Path]:
    """The numbered notebooks, in order, or the worked solutions of their exercises; `only` picks by
    number ("03", "3").

    Raises NotebookUsageError for a number that no notebook has, listing those that there are.
    """
    folder = project_path("notebooks/solutions" if solutions else "notebooks")
    found = {p.name[:2]: p for p in sorted(folder.glob("[0-9][0-9]_*.ipynb"))}
    wanted = list(found) if only is None else [n.zfill(2) for n in only]
    if unknown := [n for n in wanted if n not in found]:
        what = "no solutions" if solutions else "no notebook"
        raise NotebookUsageError(f"{what} {', '.join(unknown)}: there are {', '.join(found)}")
    return [found[n] for n in wanted]


def parameters_of(notebook: Path) -> dict[str, Any]:
    """The names in the `parameters` cell, with papermill's description of each.

    Raises ValueError where there is not exactly one such cell: papermill would only run on.
    """
    cells = nbformat.read(notebook, as_version=4).cells
    tagged = [c for c in cells if "parameters" in c.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(f"{notebook}: {len(tagged)} cells are tagged `parameters`, one is wanted")
    return papermill.inspect_notebook(str(notebook))


def run_notebooks(
    profile: str,
    run: str | Path | None = None,
    data_root: str | Path | None = None,
    only: list[str] | None = None,
    parameters: dict[str, Any] | None = None,
    solutions: bool = False,
) -> list[Path]:
    """Execute notebooks into `<run>/notebooks/`, or the worked solutions into its `solutions/`;
    returns the executed files.

    `parameters` go to every notebook that has them. Raises NotebookUsageError, before anything
    runs, for one that none has; papermill's own error where a cell fails.
    """
    notebooks, extra = series(only, solutions), parameters or {}
    known = {n: parameters_of(n) for n in notebooks}
    names = sorted({name for found in known.values() for name in found})
    if unknown := sorted(set(extra) - set(names)):
        text = f"unknown parameter {', '.join(unknown)}: known are {', '.join(names)}"
        raise NotebookUsageError(text)
    folder = project_path(run or f"runs/{profile}")
    common = {"profile": profile, "run": str(folder)}
    if data_root:
        common["data_root"] = str(project_path(data_root))
    wanted = {n: {k: _typed(k, v, known[n][k]) for k, v in (common | extra).items()
                  if k in known[n]} for n in notebooks}  # fmt: skip
    executed, place = [], folder / "notebooks" / ("solutions" if solutions else "")
    for notebook in notebooks:
        out = place / notebook.name
        if is_executed(notebook, out, wanted[notebook]):
            print(f"{notebook.name}: up to date")
        else:
            execute(notebook, out, wanted[notebook])
        executed.append(out)
    return executed


def typed(notebook: Path, values: dict[str, Any]) -> dict[str, Any]:
    """`values` that came as text, as what the notebook's own defaults are: "3" for `epochs` is 3.

    Raises NotebookUsageError for a parameter that it has not, and for text that is no such value.
    """
    known = parameters_of(notebook)
    if unknown := sorted(set(values) - set(known)):
        text = f"unknown parameter {', '.join(unknown)}: known are {', '.join(sorted(known))}"
        raise NotebookUsageError(text)
    return {name: _typed(name, value, known[name]) for name, value in values.items()}


def _typed(name: str, value: Any, about: dict[str, Any]) -> Any:
    try:
        kind = type(ast.literal_eval(about["default"]))
    except (ValueError, SyntaxError):  # a default that is computed
        return value
    if not isinstance(value, str) or kind not in (bool, int, float):
        return value
    try:
        return {"true": True, "false": False}[value.lower()] if kind is bool else kind(value)
    except (ValueError, KeyError):
        raise NotebookUsageError(f"{name}={value!r}: not a value of type {kind.__name__}") from None


def is_executed(notebook: Path, out: Path, values: dict[str, Any]) -> bool:
    """Whether `out` is this notebook with these values and the package's present code."""
    note = read_json(out.with_suffix(".json")) or {}
    return out.is_file() and note.get("key") == _key(notebook, values)


def execute(notebook: Path, out: Path, values: dict[str, Any]) -> None:
    """Execute a notebook in a process of its own; `out` is written when it has run to its end."""
    key = _key(notebook, values)
    os.environ["TQDM_DISABLE"], start = "1", time.perf_counter()
    with replacing(out) as beside:
        papermill.execute_notebook(
            str(notebook), str(beside), values, cwd=str(notebook.parent), kernel_name="python3"
        )
        nbformat.write(without_bars(nbformat.read(beside, as_version=4)), beside)
    seconds = round(time.perf_counter() - start, 1)
    write_json(out.with_suffix(".json"), {"key": key, "seconds": seconds})


def _key(notebook: Path, values: dict[str, Any]) -> str:
    """Source of the notebook's cells, parameters, and the package's code."""
    h = hashlib.blake2b(repr(sorted(values.items())).encode(), digest_size=16)
    for cell in nbformat.read(notebook, as_version=4).cells:
        h.update(cell.source.encode())
    for file in sorted(Path(petweak.__file__).parent.rglob("*.py")):
        h.update(file.read_bytes())
    return h.hexdigest()


def refresh(only: list[str] | None = None, solutions: bool = False) -> list[Path]:
    """Execute the series, or the worked solutions, in place, with the parameters as they stand;
    `make notebooks`.

    A notebook is replaced when it has run to its end, whole or not at all.
    """
    os.environ["TQDM_DISABLE"] = "1"
    others = [project_path(f"notebooks/{name}.ipynb") for name in ("_template", "explorers")]
    notebooks = series(only, solutions) + ([] if only or solutions else others)
    for notebook in notebooks:
        parameters_of(notebook)
        with replacing(notebook) as beside:
            papermill.execute_notebook(
                str(notebook), str(beside), cwd=str(notebook.parent), kernel_name="python3"
            )
            done = cleaned(without_bars(nbformat.read(beside, as_version=4)))
            nbformat.write(done, beside)
        print(f"{notebook.name}: {notebook.stat().st_size / 1000:.0f} kB")
    return notebooks


def without_bars(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Without progress bars: in an executed notebook each is a widget that nobody can move, or a
    line of text that has stopped. (tqdm's widgets do not ask TQDM_DISABLE.)"""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if not _is_bar(o)]
    return notebook


def _is_bar(output: nbformat.NotebookNode) -> bool:
    widget = "application/vnd.jupyter.widget-view+json" in output.get("data", {})
    lines = output.text.split("\n") if output.get("name") == "stderr" else [""]
    return widget or ("%|" in lines[0] and all("%|" in x or not x.strip() for x in lines))


def cleaned(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Without what differs from machine to machine: times, paths, papermill's notes, widgets."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        tags = [t for t in cell.metadata.get("tags", []) if t == "parameters"]
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
    return notebook


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="execute notebooks in place")
    parser.add_argument("only", nargs="*", metavar="NN", help="numbers, default: all")
    parser.add_argument("--solutions", action="store_true", help="the worked solutions instead")
    args = parser.parse_args()
    refresh(args.only or None, args.solutions)
