"""One notebook, once for every combination of parameters: `petweak sweep`.

`<run>/sweeps/<notebook>/sweep.csv` has the results of every combination, each of which has a run's
folder of its own beside it, with the notebook in `notebooks/`, and `error.txt` where it failed.
Frozen features are not computed again: `features_from.json` in a combination's folder names those
of the run and of the other combinations, and `petweak.study.run.Run` reads them in place.
"""

import itertools
import json
import re
import traceback
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd

from petweak.config import from_here, parse_assignments
from petweak.data.files import text_hash, write_frame, write_json, write_text
from petweak.pseudo_masks import source_names
from petweak.reporting import notebooks
from petweak.study import results
from petweak.study.folder import FEATURES_FROM, claim
from petweak.study.run import reopen
from petweak.study.tables import final
from petweak.study.tasks import cluster, failures


def read_values(pairs: list[str]) -> dict[str, list[str]]:
    """`["seed=0,1", "sources=a,b;c"]` -> `{"seed": ["0", "1"], "sources": ["a,b", "c"]}`: values
    stand between commas, or between semicolons where one of them has commas (`a,b;` is one value).
    ValueError for an empty value and for anything that is there twice."""
    lists: dict[str, list[str]] = {}
    for name, text in parse_assignments(pairs).items():
        parts = text.rstrip(";").split(";" if ";" in text else ",")
        lists[name] = [from_here(name, part.strip()) for part in parts]
        if "" in lists[name] or len(set(lists[name])) < len(lists[name]):
            raise ValueError(f"{name}={text}: a value is empty, or there twice")
    if len(lists) < len(pairs):
        raise ValueError(f"{' '.join(pairs)}: a parameter is there twice")
    return lists


def sweep(notebook: Path, parameters, profile="embedded", run=None, data_root=None, on="", task=()
          ) -> Iterator:
    """Execute a notebook for every combination of the values in `parameters` (see `read_values`),
    the first slowest; yields a line for each, and the path of sweep.csv, which has this call's.
    A combination that is finished (same cells, values, and code) is not executed again; one that
    fails is noted, the others go on, and NotebookError ends the call. ValueError, before anything
    runs, for a notebook that is not there or opens no run, and for a bad parameter. `on` and
    `task`: the combinations are tasks of a cluster (`petweak.study.tasks.cluster`)."""
    if not notebook.is_file():
        raise ValueError(f"{notebook}: no such notebook")
    defaults, lists = notebooks.parameters_of(notebook), read_values(parameters)
    if "run" not in defaults or not lists:
        reason = "say -p key=value,value" if "run" in defaults else "it has no parameter `run`"
        raise ValueError(f"{notebook.name} cannot be swept: {reason}")
    shared = notebooks.with_options(lists, defaults, profile, run, data_root)
    top, frames, failed = Path(shared.pop("run"), "sweeps", notebook.stem), [], []
    products = [dict(zip(lists, p, strict=True)) for p in itertools.product(*lists.values())]
    combinations = [notebooks.typed(shared | product, defaults) for product in products]
    claim(top.parents[1])
    (top / "sweep.csv").unlink(missing_ok=True)  # of another call, perhaps
    calls = {}
    for values in combinations:
        name = " ".join(f"{k}={values[k]}" for k in lists)
        readable = re.sub(r"[^A-Za-z0-9.+-]+", "_", name.replace("=", "-"))[:60]
        folder = top / f"{readable}-{text_hash(json.dumps(values, sort_keys=True))[:8]}"
        calls[name] = partial(_execute, notebook, folder, values | {"run": str(folder)})
    with cluster(on, task, top.parents[1]):
        there = failures(calls.values())
    for values, (name, execute) in zip(combinations, calls.items(), strict=True):
        folder = execute.args[1]
        try:
            if execute in there:
                raise there[execute]
            done = execute()
            frames.append(_rows(folder))
        except Exception as error:  # whatever it is, the other combinations are not to be lost
            text = "".join(traceback.format_exception(error))
            write_text(folder / "error.txt", re.sub(r"\x1b\[[0-9;]*m", "", text))
            failed.append(f"{name}: {error!r}; see {folder / 'error.txt'}")
            yield f"{name}: failed"
            continue
        (folder / "error.txt").unlink(missing_ok=True)
        for at, k in enumerate(lists):
            frames[-1].insert(at, f"swept_{k}" if k in frames[-1] else k, values[k])
        write_frame(top / "sweep.csv", pd.concat(frames))
        yield f"{name}: {done}"
    yield from [top / "sweep.csv"] if frames else []
    if failed:
        text = f"{len(failed)} of {len(products)} failed (the same command tries them again)"
        raise notebooks.NotebookError("\n".join([text, *failed]))


def _execute(notebook: Path, folder: Path, values: dict) -> str:
    out = folder / "notebooks" / notebook.name
    if notebooks.is_executed(notebook, out, values):
        return "up to date"
    (folder / "run.json").unlink(missing_ok=True)  # the notebook's run writes it, with its settings
    others = [folder.parents[2], *(f for f in sorted(folder.parent.glob("*/")) if f != folder)]
    present = [str(f / "features") for f in others if (f / "features").is_dir()]
    write_json(folder / FEATURES_FROM, present)
    notebooks.execute(notebook, out, values)
    return "executed"


def _rows(folder: Path) -> pd.DataFrame:
    """The final rows of results.csv and, under the labels `-`, those of masks that no model has
    learnt from, which results.csv does not have."""
    run = reopen(folder)
    table, s = final(results.collect_results(run))[results.COLUMNS], run.settings
    others = [s for s in source_names(run.settings) if s not in set(table["source"])]
    rows = pd.DataFrame([r for source in others for r in results.mask_rows(run, source) or []])
    rows = rows.assign(profile=s.profile, dataset=run.pets.name, seed=s.data.seed,
                       backbone=s.backbone.backbone).reindex(columns=table.columns)
    return pd.concat([table, rows.astype(table.dtypes)]) if len(rows) else table
