"""One notebook, once for every combination of parameters: `petweak sweep`.

    <run>/sweeps/<notebook>/sweep.csv               what every combination came to
    <run>/sweeps/<notebook>/<combination>/          a run's folder of its own, because a run holds
                                                    one setting a student
        notebooks/<notebook>.ipynb                  executed
        rows.csv                                    its part of sweep.csv
        error.txt                                   instead, where it failed

The frozen features are not computed again: each combination names the run's own features, and those
of the other combinations, and links what was made with its key (see `Stages._linked`).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from petweak.execution import NotebookUsageError, execute, is_executed, parameters_of, typed
from petweak.files import project_path, read_json, write_json, write_text
from petweak.pseudo_masks import SOURCES
from petweak.results import collect_results
from petweak.runs import write_frame
from petweak.stages import FEATURES_FROM
from petweak.study import open_scores, reopen
from petweak.tables import final

OWN = ("profile", "run", "data_root")  # are said beside the parameters, not among them
CLASH = "swept_"  # before the name of a parameter that is a column of results.csv, too


@dataclass(frozen=True)
class Sweep:
    """`table`: sweep.csv; `done`: how many combinations are in it; `failed`: {combination: why}."""

    table: Path
    done: int
    failed: dict[str, str]


def read_values(pairs: list[str]) -> dict[str, list[str]]:
    """`["seed=0,1", 'sources=["a,b", "c"]']` -> `{"seed": ["0", "1"], "sources": ["a,b", "c"]}`.

    Values stand between commas; where one has a comma itself, the list is written as JSON.
    NotebookUsageError for what is no list, an empty one, and for anything that is there twice.
    """
    found: dict[str, list[str]] = {}
    for pair in pairs:
        name, equals, text = (part.strip() for part in pair.partition("="))
        if not name or not equals:
            raise NotebookUsageError(f"{pair!r}: write key=value,value, for example seed=0,1,2")
        if name in found:
            raise NotebookUsageError(f"{name} is there twice: write {name}=value,value")
        values = _listed(pair, text)
        if not values or "" in values and not text.startswith("["):
            raise NotebookUsageError(f"{pair!r}: an empty value; write {name}=value,value")
        if len(set(values)) < len(values):
            raise NotebookUsageError(f"{pair!r}: a value is there twice")
        found[name] = values
    return found


def _listed(pair: str, text: str) -> list[str]:
    if not text.startswith("["):
        return [value.strip() for value in text.split(",")]
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if values is None or not all(isinstance(v, str | int | float) for v in values):
        raise NotebookUsageError(
            f"{pair!r}: what begins with a bracket is a JSON list of texts and numbers, "
            'for example ["a,b", "c"]'
        )
    return [v if isinstance(v, str) else json.dumps(v) for v in values]


def sweep(
    notebook: str | Path,
    pairs: list[str],
    profile: str = "embedded",
    run: str | Path | None = None,
    data_root: str | Path | None = None,
) -> Sweep:
    """Execute a notebook for every combination of the values in `pairs` (see `read_values`).

    A combination that is finished (same cells, parameters, and code of the package) is not executed
    again; one that fails is noted, and the others go on. sweep.csv is of this call's combinations.

    Raises NotebookUsageError, before anything runs, for a notebook that is not there or opens no
    run, an unknown parameter, and a value that cannot be one.
    """
    path = _found(notebook)
    combinations = _combinations(path, read_values(pairs))
    known, base = parameters_of(path), project_path(run or f"runs/{profile}")
    common = {"profile": profile} | (
        {"data_root": str(project_path(data_root))} if data_root else {}
    )
    common = {k: v for k, v in common.items() if k in known}
    top, frames, failed = base / "sweeps" / path.stem, [], {}
    (top / "sweep.csv").unlink(missing_ok=True)  # of another call, perhaps
    for i, values in enumerate(combinations, 1):
        folder = top / folder_name(values, common)
        said = " ".join(f"{k}={v}" for k, v in values.items())
        print(f"{i}/{len(combinations)} {said}: ", end="", flush=True)
        start = time.perf_counter()
        try:
            made = _make(path, base, folder, common | values | {"run": str(folder)})
        except Exception as error:  # whatever it is, the other combinations are not to be lost
            failed[said] = _reason(error)
            write_text(folder / "error.txt", re.sub(r"\x1b\[[0-9;]*m", "", f"{error}\n"))
            print(f"failed, see {folder / 'error.txt'}")
            continue
        frames.append(_with_columns(pd.read_csv(folder / "rows.csv"), values))
        write_frame(top / "sweep.csv", pd.concat(frames))
        print(f"done in {time.perf_counter() - start:.0f} s" if made else "up to date")
    return Sweep(top / "sweep.csv", len(frames), failed)


def folder_name(values: dict[str, Any], common: dict[str, Any]) -> str:
    """A name that can be read, and a hash of all parameters, which is what tells folders apart."""
    text = re.sub(r"[^A-Za-z0-9.+-]+", "_", "_".join(f"{k}-{v}" for k, v in values.items()))
    whole = json.dumps(sorted((common | values).items()))
    return f"{text[:60]}-{hashlib.blake2b(whole.encode(), digest_size=4).hexdigest()}"


def _found(notebook: str | Path) -> Path:
    path = next((p for p in (Path(notebook), project_path(notebook)) if p.is_file()), None)
    if path is None:
        raise NotebookUsageError(f"{notebook}: no such notebook; they lie in notebooks/")
    try:
        known = parameters_of(path)
    except ValueError as error:
        raise NotebookUsageError(str(error)) from None
    if "run" not in known:
        raise NotebookUsageError(f"{path.name} has no parameter `run`, so it cannot be swept")
    return path.resolve()


def _combinations(notebook: Path, lists: dict[str, list[str]]) -> list[dict[str, Any]]:
    """The product, the first parameter slowest, as values of the notebook's types."""
    if not lists:
        raise NotebookUsageError("nothing to sweep: say -p key=value,value")
    if own := [name for name in OWN if name in lists]:
        raise NotebookUsageError(f"{own[0]} is not swept: say --{own[0].replace('_', '-')}")
    product = itertools.product(*lists.values())
    return [typed(notebook, dict(zip(lists, values, strict=True))) for values in product]


def _make(notebook: Path, base: Path, folder: Path, values: dict[str, Any]) -> bool:
    """Execute one combination and write its rows.csv; False where both are there already."""
    out, rows = folder / "notebooks" / notebook.name, folder / "rows.csv"
    if is_executed(notebook, out, values) and rows.is_file():
        return False
    rows.unlink(missing_ok=True)
    (folder / "run.json").unlink(missing_ok=True)  # the notebook's run writes it, with its settings
    others = [f / "features" for f in sorted(folder.parent.glob("*/")) if f != folder]
    found = [str(f) for f in (base / "features", *others) if f.is_dir()]
    write_json(folder / FEATURES_FROM, found)
    execute(notebook, out, values)
    write_frame(rows, _rows(folder))
    (folder / "error.txt").unlink(missing_ok=True)
    return True


def _rows(folder: Path) -> pd.DataFrame:
    """The final rows of a run's results.csv, which is written anew, and under the labels `-` those
    of masks that no student has learnt from (results.csv knows masks beside their student only)."""
    if not (folder / "run.json").is_file():
        raise FileNotFoundError(f"the notebook has opened no run in {folder}: `run` is its folder")
    run = reopen(folder)
    results, rows = final(collect_results(run)), []
    for source in SOURCES:
        place = run.masks_folder(source)
        if source in set(results["source"]) or not (place / "scores.json").is_file():
            continue
        if scores := open_scores(place, run.mask_scores_key(source)):
            seconds = read_json(place / "manifest.json")["seconds"]
            same = {"source": source, "labels": "-", "seconds": round(seconds, 3)}
            rows += [row | same for row in scores.rows]
    if not rows:
        return results
    alike = results[["profile", "dataset", "backbone", "seed"]].iloc[0].to_dict()
    masks = pd.DataFrame(rows).assign(**alike).reindex(columns=results.columns)
    return pd.concat([results, masks.astype(results.dtypes)])


def _with_columns(rows: pd.DataFrame, values: dict[str, Any]) -> pd.DataFrame:
    for i, (name, value) in enumerate(values.items()):
        rows.insert(i, CLASH + name if name in rows else name, value)
    return rows


def _reason(error: Exception) -> str:
    """One line: of papermill's error, that of the cell."""
    name = getattr(error, "ename", type(error).__name__)
    lines = str(getattr(error, "evalue", error)).strip().splitlines()
    return f"{name}: {lines[0] if lines else ''}"
