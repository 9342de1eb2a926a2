"""The tables of a study: frames of numbers for notebooks, and the same as text for a reader.

    results = read_results("runs/photos")
    compare_with_paper(results)             # numbers, a row per figure of the paper
    readable(study_overview(results))       # "0.741 [0.722, 0.760]" instead of three columns

Every value is an IoU or a share in [0, 1] unless a column's name says otherwise.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from petweak import metrics
from petweak.files import read_json
from petweak.metrics import BASELINES, NO_BORDER

Folder = str | Path
BELOW = "below all_ones"
OVERVIEW = (
    *(("mask_iou_gt", border) for border in metrics.BORDERS), ("pseudo_iou_gt", "pet"),
    ("class_accuracy", NO_BORDER), ("class_iou", NO_BORDER),
    ("dataset_iou_gt", "pet"), ("boundary_iou_gt", "pet"),
)  # fmt: skip
# `all_ones` is no floor of the boundary IoU: its contour is the frame, which few pets reach.
FLOORED = ("mask_iou_gt", "pseudo_iou_gt", "dataset_iou_gt")
# What the metrics are called where people read; results.csv has the names on the left.
HEADINGS = {
    "mask_iou": "Mask IoU vs own masks",
    "mask_iou_gt": "Mask IoU vs truth",
    "pseudo_iou_gt": "Pseudo-mask IoU vs truth",
    "class_accuracy": "Class accuracy",
    "class_iou": "Class IoU",
    "dataset_iou_gt": "Pooled IoU vs truth",
    "boundary_iou_gt": "Boundary IoU vs truth",
    "iou": "Mask IoU vs truth",
    "n_images": "photos",
    "ours_border_ignored": "ours, border ignored",
    **{"masks_seconds": "masks, s", "features_seconds": "features pass, s"},
}


def paper_tables() -> pd.DataFrame:
    """Tables 1 to 4 and section 3.4 of the paper: source, labels, split, metric, value, where."""
    with resources.files("petweak").joinpath("data/paper_tables.csv").open() as file:
        return pd.read_csv(file)


def final(results: pd.DataFrame) -> pd.DataFrame:
    """The rows that are not of one round of self-training."""
    return results[results["round"].isna()] if "round" in results else results


def rounds(results: pd.DataFrame, split: str = "test", border: str = "pet") -> pd.DataFrame:
    """A row per round of self-training: `source`, `labels`, `round`, `masks` (pseudo_iou_gt on
    train), `student` with `student low`, `student high` (mask_iou_gt on `split`)."""
    if "round" not in results or results["round"].isna().all():
        return pd.DataFrame(columns=["source", "labels", "round", "masks", "student"])
    part = results[results["round"].notna() & (results["border"] == border)]
    keys = ["source", "labels", "round"]
    masks = part[(part["metric"] == "pseudo_iou_gt") & (part["split"] == "train")]
    student = part[(part["metric"] == "mask_iou_gt") & (part["split"] == split)]
    table = student[[*keys, "value", "low", "high"]].merge(
        masks[[*keys, "value"]].rename(columns={"value": "masks"}), "left", on=keys
    )
    names = {"value": "student", "low": "student low", "high": "student high"}
    table = table.rename(columns=names).astype({"round": int})
    return table[[*keys, "masks", "student", "student low", "student high"]]


def students(results: pd.DataFrame) -> list[tuple[str, str]]:
    """The (source, labels) that `results` has figures of, in its order, without the baselines."""
    results = final(results)
    found = results[~results["source"].isin(BASELINES)]
    return list(dict.fromkeys(zip(found["source"], found["labels"], strict=True)))


def compare_with_paper(results: pd.DataFrame, border: str = "pet") -> pd.DataFrame:
    """The paper's figures beside those of `results`.

    Returns:
        A row per (where, source, labels, metric, split) of the paper, in its order, then the
        baselines. `paper`, `ours` (at `border`, or without one where the metric has none), `low`
        and `high` (ours, 95 % bootstrap), `difference` (ours - paper), `n_images`,
        `ours_border_ignored` (for metrics against ground truth), `below all_ones` (bool, ours).
        Empty (NaN) where `results` has no such figure.
        ValueError for an unknown `border`, or where `results` holds several runs (seeds, say).
    """
    if border not in metrics.BORDERS:
        raise ValueError(f"unknown border {border!r}: known are {', '.join(metrics.BORDERS)}")
    results = final(results)
    keys = ["source", "labels", "split", "metric"]
    ours = results[results["border"].isin((border, NO_BORDER))]
    if ours.duplicated(keys).any():
        raise ValueError("several values for one figure: pass the results of one run")
    extra = ours[ours["source"].isin(BASELINES) & (ours["metric"] == "mask_iou_gt")]
    theirs = paper_tables().rename(columns={"value": "paper"})
    wanted = pd.concat([theirs, extra[keys].assign(where="Baselines")], ignore_index=True)
    values = ours[[*keys, "value", "low", "high", "n_images"]].rename(columns={"value": "ours"})
    table = wanted.merge(values, "left", on=keys).merge(
        results.loc[results["border"] == "ignore", [*keys, "value"]], "left", on=keys
    ).rename(columns={"value": "ours_border_ignored"})
    table["difference"] = table["ours"] - table["paper"]
    table["n_images"] = table["n_images"].astype("Int64")
    floor = _floor(results)
    table[BELOW] = [
        not pd.isna(r.n_images) and _below(floor, r.metric, border, r.split, r.ours)
        for r in table.itertuples()
    ]
    return table[["where", *keys[:2], "metric", "split", "paper", "ours", "low", "high",
                  "difference", "n_images", "ours_border_ignored", BELOW]]  # fmt: skip


def study_overview(results: pd.DataFrame, split: str = "test") -> pd.DataFrame:
    """A row per source and labels, the two baselines among them.

    Returns:
        `source`, `labels`, `n_images`; `metric/border` (`metric` alone where it has no border) of
        `OVERVIEW`, each followed by `... low` and `... high`; `below all_ones`, bool: an IoU with
        ground truth is worse than calling the whole image pet, the result is degenerate.
        ValueError where `results` holds more than one run.
    """
    return _wide(results, OVERVIEW, split)


def baselines(results: pd.DataFrame) -> pd.DataFrame:
    """`all_ones` and `centre_box` on both splits, in all borders; columns as `study_overview`."""
    part = final(results)[final(results)["source"].isin(BASELINES)]
    columns = [c for c in OVERVIEW if c[0] in ("mask_iou_gt", "dataset_iou_gt", "boundary_iou_gt")]
    tables = [_wide(part, columns, split).assign(split=split) for split in ("train", "test")]
    table = pd.concat(tables, ignore_index=True).drop(columns="labels")
    return table[["source", "split", *table.columns.drop(["source", "split"])]]


def per_breed(run_folder: Folder, source: str, labels: str, split: str = "test") -> pd.DataFrame:
    """One student, breed by breed: `breed`, `n_images`, `iou/<border>` (means), `accuracy`.

    The last rows are `all breeds`, `all_ones` and `centre_box`, each over the whole split. A
    breed is what stands before the number in a photo's id, so `species` students have them too.
    FileNotFoundError where the student has no scores.csv.
    """
    scores = read_scores(run_folder, source, labels, split)
    whole = [(name, read_scores(run_folder, name, "-", split)) for name in BASELINES]
    rows = []
    for breed, part in [*scores.groupby(_breed(scores)), ("all breeds", scores), *whole]:
        row = {"breed": breed, "n_images": len(part)}
        row |= {f"iou/{border}": part[f"iou/{border}"].mean() for border in metrics.BORDERS}
        right = (part["predicted"] == part["class"]).mean() if "predicted" in part else np.nan
        rows.append(row | {"accuracy": right})
    return pd.DataFrame(rows)


def breeds_compared(
    run_folder: Folder, of: list[tuple[str, str]], split: str = "test", border: str = "pet"
) -> pd.DataFrame:
    """`breed`, `n_images`, and a column of mean mask IoU for each (source, labels) of `of`, named
    `<source>-<labels>`, and for each baseline; the last row is `all breeds`."""
    columns = {}
    for source, labels in [*of, *((name, "-") for name in BASELINES)]:
        scores = read_scores(run_folder, source, labels, split)
        groups = scores[f"iou/{border}"].groupby(_breed(scores))
        columns.setdefault("n_images", {**groups.size(), "all breeds": len(scores)})
        name = source if source in BASELINES else f"{source}-{labels}"
        columns[name] = {**groups.mean(), "all breeds": scores[f"iou/{border}"].mean()}
    return pd.DataFrame(columns).rename_axis("breed").reset_index()


def costs(timings: pd.DataFrame) -> pd.DataFrame:
    """What a source's masks cost, in seconds per photo; a row per source of timings.csv.

    Returns:
        `source`, `n_images`, `masks_seconds` (the source's own stage), `features_seconds` (the
        backbone's pass, all views, which all that read it share; 0 for a source that does not, NaN
        where it was not timed), `seconds` (their sum).
    """
    from petweak.pseudo_masks import SOURCES  # imports torch, which the other tables do not need

    own_pass = (timings["stage"] == "features") & (timings["source"] == "-")
    passes = timings.loc[own_pass, "seconds"].sum(min_count=1)
    rows = []
    for r in timings[timings["stage"] == "masks"].itertuples():
        reads = r.source in SOURCES and SOURCES[r.source].features
        own, shared = r.seconds / r.n_images, passes / r.n_images if reads else 0.0
        rows.append((r.source, r.n_images, own, shared, own + shared))
    columns = ["source", "n_images", "masks_seconds", "features_seconds", "seconds"]
    return pd.DataFrame(rows, columns=columns)


def read_scores(run_folder: Folder, source: str, labels: str, split: str = "test") -> pd.DataFrame:
    """scores.csv of a student or a baseline, one row per photo of `split`; `labels` "masks": of the
    source's masks. FileNotFoundError where it is missing."""
    folder = {"-": f"baselines/{source}", "masks": f"masks/{source}"}
    found = folder.get(labels)
    parent = Path(run_folder) / found if found else student_folder(run_folder, source, labels)
    path = parent / "scores.csv"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: `petweak study --run {run_folder}` writes it")
    scores = pd.read_csv(path)
    return scores[scores["split"] == split].reset_index(drop=True)


def student_folder(run_folder: Folder, source: str, labels: str) -> Path:
    """`models/<source>-<labels>`, or its `-plus` where the run's students see more than the last
    map and there is one."""
    folder = Path(run_folder)
    run = read_json(folder / "run.json") or {}
    plain = folder / "models" / f"{source}-{labels}"
    plus = plain.with_name(plain.name + "-plus")
    seen = run.get("settings", {}).get("taps", ["last"])
    return plus if seen != ["last"] and plus.is_dir() else plain


def pick_examples(scores: pd.DataFrame, border: str = "pet") -> dict[str, str]:
    """{"best": id, "median": id, "worst": id} by mask IoU; equal photos in the order of ids."""
    ranked = scores.sort_values([f"iou/{border}", "id"])["id"].tolist()
    return {"best": ranked[-1], "median": ranked[(len(ranked) - 1) // 2], "worst": ranked[0]}


def readable(frame: pd.DataFrame, digits: int = 3) -> pd.DataFrame:
    """A frame of this module as text: intervals in one cell, headings in words, empty for NaN;
    "▼" marks an IoU with ground truth that is below the frame's own `all_ones` row."""
    floor = frame[frame["source"] == "all_ones"] if "source" in frame and BELOW in frame else []
    out: dict[str, list[str]] = {}
    for column in frame:
        if column in ("low", "high") or column.endswith((" low", " high")):
            continue
        low, high = ("low", "high") if column == "ours" else (f"{column} low", f"{column} high")
        cells = [_text(v, digits, signed=column == "difference") for v in frame[column]]
        if low in frame:
            limits = zip(cells, frame[low], frame[high], strict=True)
            cells = [f"{c} [{_text(a, digits)}, {_text(b, digits)}]" if c else ""
                     for c, a, b in limits]  # fmt: skip
        if column.startswith(FLOORED) and len(floor) == 1:
            base = floor[column].iloc[0]
            marks = (pd.notna(v) and metrics.degenerate(v, base) for v in frame[column])
            cells = [c + " ▼" * m for c, m in zip(cells, marks, strict=True)]
        metric, _, border = column.partition("/")
        out[HEADINGS.get(metric, metric) + (f", border {border}" if border else "")] = cells
    if "metric" in out:
        out["metric"] = [HEADINGS.get(m, m) for m in out["metric"]]
    return pd.DataFrame(out)


def _wide(results: pd.DataFrame, columns: Any, split: str) -> pd.DataFrame:
    results = final(results)
    rows, floor, part = [], _floor(results), results[results["split"] == split]
    for (source, labels), group in part.groupby(["source", "labels"], sort=False):
        found = group.set_index(["metric", "border"], verify_integrity=True)
        row = {"source": source, "labels": labels, "n_images": int(group["n_images"].max())}
        below = False
        for metric, border in columns:
            name = metric if border == NO_BORDER else f"{metric}/{border}"
            one = found.loc[(metric, border)] if (metric, border) in found.index else {}
            for end, key in (("", "value"), (" low", "low"), (" high", "high")):
                row[name + end] = one.get(key, np.nan)
            below |= bool(len(one)) and _below(floor, metric, border, split, row[name])
        rows.append(row | {BELOW: below})
    return pd.DataFrame(rows)


def _floor(results: pd.DataFrame) -> dict[tuple, float]:
    """The figures of `all_ones`, below which a result is degenerate."""
    rows = results[results["source"] == "all_ones"].set_index(["metric", "border", "split"])
    return rows["value"].to_dict()


def _below(floor: dict[tuple, float], metric: str, border: str, split: str, value: float) -> bool:
    base = floor.get((metric, border, split))
    return metric in FLOORED and base is not None and metrics.degenerate(value, base)


def _breed(scores: pd.DataFrame) -> pd.Series:
    return scores["id"].str.rsplit("_", n=1).str[0]


def _text(value: Any, digits: int, signed: bool = False) -> str:
    if pd.isna(value):
        return ""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else ""
    if isinstance(value, float):
        return f"{value:{'+' if signed else ''}.{digits}f}".replace("-", "\N{MINUS SIGN}")
    return str(value)
