"""Execute the notebook series by papermill, one process each, and skip what is up to date."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import nbformat
import papermill

import petweak
from petweak.files import project_path, read_json, replacing, write_json


class NotebookUsageError(ValueError):
    """A number or a parameter that no notebook has."""


def series(only: list[str] | None = None) -> list[Path]:
    """The numbered notebooks, in order; `only` picks by number ("03", "3").

    Raises NotebookUsageError for a number that no notebook has, listing those that there are.
    """
    found = {p.name[:2]: p for p in sorted(project_path("notebooks").glob("[0-9][0-9]_*.ipynb"))}
    wanted = list(found) if only is None else [n.zfill(2) for n in only]
    if unknown := [n for n in wanted if n not in found]:
        raise NotebookUsageError(f"no notebook {', '.join(unknown)}: there are {', '.join(found)}")
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
) -> list[Path]:
    """Execute notebooks into `<run>/notebooks/`; returns the executed files.

    `parameters` go to every notebook that has them. Raises NotebookUsageError, before anything
    runs, for one that none has; papermill's own error where a cell fails.
    """
    notebooks, extra = series(only), parameters or {}
    known = {n: parameters_of(n) for n in notebooks}
    names = sorted({name for found in known.values() for name in found})
    if unknown := sorted(set(extra) - set(names)):
        text = f"unknown parameter {', '.join(unknown)}: known are {', '.join(names)}"
        raise NotebookUsageError(text)
    folder = project_path(run or f"runs/{profile}")
    common = {"profile": profile, "run": str(folder)}
    if data_root:
        common["data_root"] = str(project_path(data_root))
    executed = []
    for notebook in notebooks:
        values = {k: v for k, v in (common | extra).items() if k in known[notebook]}
        executed.append(_execute(notebook, folder / "notebooks" / notebook.name, values))
    return executed


def _execute(notebook: Path, out: Path, values: dict[str, Any]) -> Path:
    note = out.with_suffix(".json")
    key = _key(notebook, values)
    if out.is_file() and (read_json(note) or {}).get("key") == key:
        print(f"{notebook.name}: up to date")
        return out
    # A bar in an executed notebook is a widget that nobody can move.
    os.environ["TQDM_DISABLE"] = "1"
    with replacing(out) as beside:
        papermill.execute_notebook(
            str(notebook), str(beside), values, cwd=str(notebook.parent), kernel_name="python3"
        )
    write_json(note, {"key": key})
    return out


def _key(notebook: Path, values: dict[str, Any]) -> str:
    """Source of the notebook's cells, parameters, and the package's code."""
    h = hashlib.blake2b(repr(sorted(values.items())).encode(), digest_size=16)
    for cell in nbformat.read(notebook, as_version=4).cells:
        h.update(cell.source.encode())
    for file in sorted(Path(petweak.__file__).parent.rglob("*.py")):
        h.update(file.read_bytes())
    return h.hexdigest()
