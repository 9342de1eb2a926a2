"""Tables of finished experiments, for the page of measurements: read, fitted, and in its words."""

import inspect
import math
import shlex
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from petweak.config import Settings, parse_assignments, settings
from petweak.data.files import read_frame, read_json, write_frame
from petweak.experiments import experiment

# What is after the hyphen is the backbone, where a second one was measured, some of the parts,
# another network beside petweak, petweak alone in bfloat16, or an axis that was measured with sizes
# of its own.
TABLES = ("benchmark", "benchmark-resnet50", "benchmark-stages", "time_to_quality",
          "time_to_quality-unet", "time_to_quality-bfloat16", "growth", "growth-classes",
          "growth-classes-before", "limits", "alternatives", "alternatives-engine",
          "alternatives-views")
Tables = dict[str, pd.DataFrame]


def exponents(table: pd.DataFrame) -> pd.DataFrame:
    """Of each axis (a row) and measure (a column): b of the least squares fit of log(measure) by
    a + b log(value). Axes with one value are left out."""
    measures = table.loc[:, "features":"own_mb"].columns
    parts = {axis: part for axis, part in table.groupby("axis", sort=False) if len(part) > 1}
    fits = {axis: np.polyfit(np.log(part["value"]), np.log(part[measures].clip(lower=1e-3)), 1)[0]
            for axis, part in parts.items()}
    return pd.DataFrame.from_dict(fits, "index", columns=measures).rename_axis("axis")


def reached(table: pd.DataFrame, targets: tuple[float, ...] = (0.90, 0.92, 0.93)) -> pd.DataFrame:
    """A row per network: the median over seeds of the seconds until each of `targets` was reached
    for the first time (missing where that is more than half of the seeds never), of `before` and
    of the last `iou`; the number of `seeds`."""
    keys = ["what", "seed"]
    runs = table.sort_values("step").groupby(keys, sort=False)
    first = {f"{t:.2f}": table[table["iou"] >= t].groupby(keys)["seconds"].min() for t in targets}
    each = pd.DataFrame({**first, "before": runs["before"].first(), "iou": runs["iou"].last()})
    groups = each.fillna(np.inf).groupby("what")
    medians = groups.median().replace(np.inf, np.nan).assign(seeds=groups.size())
    return medians.loc[table["what"].unique()].reset_index()


def read_tables(data: Path) -> tuple[Tables, dict[str, dict[str, Any]]]:
    """The tables that are in the folder, with columns `backbone`, `side` and, of trainings,
    `precision`, and what was noted of each. ValueError where a table has no note."""
    tables, notes, old = {}, {}, ages(data)
    remarks = pd.DataFrame(columns=["table", "remark"])
    if (file := data / "remarks.csv").is_file():
        remarks = read_frame(file)
    for name in TABLES:
        if (file := data / f"{name}.csv").is_file():
            note = noted(file, f"petweak experiment {of_table(name)}")
            of, commit = Settings.from_dict(note["settings"]), note.get("commit") or ""
            about = remarks[remarks["table"] == name]
            if "commit" in about:  # it is of the table that was made there, and of no later one
                about = about[about["commit"].isna() | (about["commit"] == commit[:7])]
            remark = " ".join(about["remark"])
            table = read_frame(file).assign(backbone=of.backbone.backbone,
                                            side=of.backbone.image_size)
            if of_table(name) == "time_to_quality":
                table["precision"] = of.training.precision
            if of_table(name) == "growth":
                table["side"] = int(base_of(note)["side"])
                table, more = with_as_many_photos(table, note)
                remark = " ".join(filter(None, (remark, more)))
            tables[name] = table
            notes[name] = note | {"remark": remark, "age": old.get(commit[:7], "")}
    return tables, notes


def note_commits(data: Path) -> None:
    """Write `commits.csv`, by git: of each commit that a table in the folder is of, and of the one
    that is checked out, `date`, `since` (how many commits there are between the two) and
    `package` (how many of these, merges apart, change the package). What git does not know is left
    out."""
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=data, capture_output=True, text=True,
                              encoding="utf-8").stdout

    notes = [*data.glob("*.json"), data.parent / "photos" / "cost.json"]
    commits = {"HEAD", *((read_json(file) or {}).get("commit") for file in notes)}
    for name, column in (("demo", "demo"), ("before", "commit")):
        if (file := data / f"{name}.csv").is_file():
            commits |= set(read_frame(file)[column])
    rows = []
    for commit in filter(None, commits):
        if shown := git("show", "-s", "--format=%H %cs", commit).split():
            count = "rev-list", "--count", f"{shown[0]}..HEAD"
            of_package = "--no-merges", "--full-history", "--", ":/petweak"
            rows.append((*shown, int(git(*count)), int(git(*count, *of_package))))
    if rows:
        table = pd.DataFrame(rows, columns=["commit", "date", "since", "package"])
        table = table.drop_duplicates().sort_values(["since", "commit"], ascending=False)
        write_frame(data / "commits.csv", table)


def ages(data: Path) -> dict[str, str]:
    """{the first 7 digits of a commit: its date, and how old it was when the page was made}, by
    `commits.csv`; nothing where that is not there."""
    if not (file := data / "commits.csv").is_file():
        return {}
    return {row.commit[:7]: row.date + (
        f", {many(row.since, 'commit')} before this page; {row.package or 'none'} of them changed "
        "the package") * bool(row.since) for row in read_frame(file).itertuples()}


def dated(commit: str, old: dict[str, str]) -> str:
    """A commit, and its age where that is known."""
    return f"{commit[:7]} ({old[commit[:7]]})" if commit[:7] in old else commit[:7]


def noted(table: Path, by: str) -> dict[str, Any]:
    """What lies beside a table. ValueError where nothing does."""
    if (note := read_json(file := table.with_suffix(".json"))) is None:
        raise ValueError(f"{file} is missing: it lies beside the table that `{by}` has written")
    return note


def with_as_many_photos(growth: pd.DataFrame, note: dict[str, Any]) -> tuple[pd.DataFrame, str]:
    """Without the rows of more classes than photos, which tables of before may have: their studies
    had as many classes as photos. And a sentence on those rows."""
    photos = int(base_of(note)["photos"])
    wrong = (growth["axis"] == "classes") & (growth["value"] > photos)
    rows = ", ".join(map(number, growth.loc[wrong, "value"]))
    said = (f"Rows of the table that are left out: {rows} classes, as there were {photos:,} photos,"
            f" and so {photos:,} classes at most.")
    return growth[~wrong], said if rows else ""


def base_of(growth: dict[str, Any]) -> dict[str, str]:
    """The sizes that all points of `growth` have but for one, by its note."""
    return parse_assignments(growth["options"]["base"].split())


def of_table(name: str) -> str:
    """The experiment that a table is of."""
    return name.partition("-")[0]


def number(value: Any) -> str:
    """Three digits, or all before the point; integers and text as they are, nothing for NaN."""
    if isinstance(value, str) or pd.isna(value):
        return value if isinstance(value, str) else ""
    if isinstance(value, int | np.integer) or value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{2 - math.floor(math.log10(abs(value)))}f}"


def many(n: int, what: str) -> str:
    """1 epoch, 2 epochs."""
    return f"{n:,} {what}{'s' * bool(n != 1)}"


def shown(table: pd.DataFrame) -> str:
    return table.map(number).to_markdown(index=False, disable_numparse=True)


def of_both(value: Any) -> str:
    """A value of a setting or option as it is typed."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def changed(name: str, note: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """The options that are not at their default: {option: (value, default)}."""
    _, *parameters = inspect.signature(experiment(of_table(name))).parameters.values()
    both = {p.name: (of_both(note["options"][p.name]), of_both(p.default)) for p in parameters}
    return {option: values for option, values in both.items() if values[0] != values[1]}


def command(name: str, note: dict[str, Any]) -> str:
    """What has been typed to make the table, but for the folders."""
    options, of = changed(name, note), Settings.from_dict(note["settings"])
    own = {k: settings(of.profile).flat()[k] for k in note["options"] if k in of.flat()}
    options = [f"{k}={value}" for k, (value, _) in options.items()]
    return " ".join([typed(f"experiment {of_table(name)}", of.replace(**own)),
                     *["-o"] * bool(options), *map(shlex.quote, options)])


def typed(words: str, of: Settings) -> str:
    """A command of petweak with the settings that are not at their default."""
    usual = settings(of.profile).flat()
    sets = [f"{k}={of_both(v)}" for k, v in of.flat().items() if v != usual[k]]
    return " ".join(["petweak", words, "--profile", of.profile, "--data-root", "D", "--run", "R",
                     *["--set"] * bool(sets), *map(shlex.quote, sets)])


def points(growth: pd.DataFrame) -> pd.DataFrame:
    """Those where the number of photos changes, the fewest first."""
    return growth[growth["axis"] == "photos"].sort_values("value")


def a_photo(growth: pd.DataFrame, measure: str) -> float:
    """What a further photo adds, between the fewest photos and the most."""
    ends = points(growth)[[measure, "value"]].iloc[[0, -1]]
    more, photos = ends.iloc[1] - ends.iloc[0]
    return float(more / photos)
