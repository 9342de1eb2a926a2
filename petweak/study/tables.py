"""The tables of a study: frames of numbers for notebooks, and the same as text for a reader.

    results = read_results("runs/photos")
    compare_with_paper(results)             # numbers, a row per score of the paper
    readable(study_overview(results))       # "0.741 [0.722, 0.760]" instead of three columns

Every value is an IoU or a share in [0, 1] unless a column's name says otherwise.
"""

from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from petweak.data.files import project_path, read_json
from petweak.evaluation import metrics
from petweak.evaluation.metrics import BASELINES, BORDERS, NO_BORDER
from petweak.pseudo_masks import SOURCES, source_class

Folder = str | Path
BELOW = "below all_ones"
OVERVIEW = [
    *(("mask_iou_gt", border) for border in BORDERS), ("pseudo_iou_gt", "foreground"),
    ("class_accuracy", NO_BORDER), ("class_iou", NO_BORDER), ("dataset_iou_gt", "foreground"),
    ("boundary_iou_gt", "foreground"),
]
# `all_ones` is no floor of the boundary IoU: its contour is the frame, which few pets reach.
FLOORED = ("mask_iou_gt", "pseudo_iou_gt", "dataset_iou_gt")
# What the metrics are called where people read; results.csv has the names on the left.
HEADINGS = {
    "mask_iou": "Mask IoU vs source's masks",
    "mask_iou_gt": "Mask IoU vs ground truth",
    "pseudo_iou_gt": "Pseudo-mask IoU vs ground truth",
    "class_accuracy": "Class accuracy",
    "class_iou": "Class IoU",
    "dataset_iou_gt": "Pooled IoU vs ground truth",
    "boundary_iou_gt": "Boundary IoU vs ground truth",
    "iou": "Mask IoU vs ground truth",
    "n_images": "photos",
    "ours_border_ignored": "ours, border ignored",
    "masks_seconds": "masks, s",
    "features_seconds": "feature extraction, s",
}


def paper_tables() -> pd.DataFrame:
    """Tables 1 to 4 and section 3.4 of the paper: source, labels, split, metric, value, where."""
    with resources.files("petweak.study").joinpath("paper_tables.csv").open(encoding="utf-8") as f:
        return pd.read_csv(f)


def stored(run: str, file: str) -> pd.DataFrame:
    """A table of a finished run that lies in figures/data/, as it cannot be made in minutes.

    FileNotFoundError where there is none.
    """
    path = project_path("figures/data") / run / file
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: `make figures` copies it there")
    return pd.read_csv(path)


def final(results: pd.DataFrame) -> pd.DataFrame:
    """The rows that are not of one round of self-training."""
    return results[results["round"].isna()] if "round" in results else results


def rounds(results: pd.DataFrame, split: str = "test", border: str = "foreground") -> pd.DataFrame:
    """A row per round of self-training: `source`, `labels`, `round`, `masks` (pseudo_iou_gt on
    train), `model` with `model low`, `model high` (mask_iou_gt on `split`)."""
    columns = ["source", "labels", "round", "masks", "model", "model low", "model high"]
    if "round" not in results or results["round"].isna().all():
        return pd.DataFrame(columns=columns)
    part = results[results["round"].notna() & (results["border"] == border)].drop(columns="model")
    masks = part[(part["metric"] == "pseudo_iou_gt") & (part["split"] == "train")]
    model = part[(part["metric"] == "mask_iou_gt") & (part["split"] == split)]
    masks = masks[[*columns[:3], "value"]].rename(columns={"value": "masks"})
    model = model.rename(columns={"value": "model", "low": "model low", "high": "model high"})
    return model.merge(masks, "left", on=columns[:3]).astype({"round": int})[columns]


def models(results: pd.DataFrame) -> list[tuple[str, str]]:
    """The (source, labels) that `results` has scores of, in its order, without the baselines."""
    rows = final(results)
    rows = rows[~rows["source"].isin(BASELINES)]
    return list(dict.fromkeys(zip(rows["source"], rows["labels"], strict=True)))


def compare_with_paper(results: pd.DataFrame, border: str = "foreground") -> pd.DataFrame:
    """The paper's scores beside those of `results`.

    Returns:
        A row per (where, source, labels, metric, split) of the paper, in its order, then the
        baselines. `paper`, `ours` (at `border`, or without one where the metric has none), `low`
        and `high` (ours, 95 % bootstrap), `difference` (ours - paper), `n_images`,
        `ours_border_ignored` (for metrics against ground truth), `below all_ones` (bool, ours).
        Empty (NaN) where `results` has no such score.
        ValueError for an unknown `border`, or where `results` holds several runs (seeds, say).
    """
    if border not in BORDERS:
        raise ValueError(f"unknown border {border!r}: there are {', '.join(BORDERS)}")
    results, keys = final(results), ["source", "labels", "split", "metric"]
    ours = results[results["border"].isin((border, NO_BORDER))]
    if ours.duplicated(keys).any():
        raise ValueError("several values for one score: pass the results of one run")
    extra = ours[ours["source"].isin(BASELINES) & (ours["metric"] == "mask_iou_gt")]
    table = pd.concat(
        [paper_tables().rename(columns={"value": "paper"}), extra[keys].assign(where="Baselines")],
        ignore_index=True,
    )
    values = ours[[*keys, "value", "low", "high", "n_images"]].rename(columns={"value": "ours"})
    ignored = results.loc[results["border"] == "ignore", [*keys, "value"]]
    table = table.merge(values, "left", on=keys).merge(ignored, "left", on=keys)
    table = table.rename(columns={"value": "ours_border_ignored"})
    table["difference"] = table["ours"] - table["paper"]
    table["n_images"] = table["n_images"].astype("Int64")
    floor = _floor(results)
    table[BELOW] = [_below(floor, r.metric, border, r.split, r.ours) for r in table.itertuples()]
    return table[["where", *keys[:2], "metric", "split", "paper", "ours", "low", "high",
                  "difference", "n_images", "ours_border_ignored", BELOW]]


def study_overview(results: pd.DataFrame, split: str = "test") -> pd.DataFrame:
    """A row per source and labels, the two baselines among them.

    Returns:
        `source`, `labels`, `n_images`; `metric/border` (`metric` alone where it has no border) of
        `OVERVIEW`, each followed by `... low` and `... high`; `below all_ones`, bool: an IoU with
        ground truth is below that of calling every pixel foreground, so the result is degenerate.
        ValueError where `results` holds more than one run.
    """
    return _wide(results, OVERVIEW, split)


def baselines(results: pd.DataFrame) -> pd.DataFrame:
    """`all_ones` and `centre_box` on both splits, for all borders; columns as `study_overview`."""
    part = final(results)[final(results)["source"].isin(BASELINES)]
    columns = [c for c in OVERVIEW if c[0] in ("mask_iou_gt", "dataset_iou_gt", "boundary_iou_gt")]
    tables = [_wide(part, columns, split).assign(split=split) for split in ("train", "test")]
    table = pd.concat(tables, ignore_index=True).drop(columns="labels")
    return table[["source", "split", *table.columns.drop(["source", "split"])]]


def per_breed(run_folder: Folder, source: str, labels: str, split: str = "test") -> pd.DataFrame:
    """One model, breed by breed: `breed`, `n_images`, `iou/<border>` (means), `accuracy`.

    The last rows are `all breeds`, `all_ones` and `centre_box`, each over the whole split.
    FileNotFoundError where the model has no scores.csv.
    """
    scores = read_scores(run_folder, source, labels, split)
    whole = [(name, read_scores(run_folder, name, "-", split)) for name in BASELINES]
    rows = []
    for breed, part in [*scores.groupby("breed"), ("all breeds", scores), *whole]:
        right = (part["predicted"] == part["class"]).mean() if "predicted" in part else np.nan
        means = {f"iou/{border}": part[f"iou/{border}"].mean() for border in BORDERS}
        rows.append({"breed": breed, "n_images": len(part), **means, "accuracy": right})
    return pd.DataFrame(rows)


def breeds_compared(
    run_folder: Folder, of: list[tuple[str, str]], split: str = "test", border: str = "foreground"
) -> pd.DataFrame:
    """`breed`, `n_images`, and a column of mean mask IoU for each (source, labels) of `of`, named
    `<source>-<labels>`, and for each baseline; the last row is `all breeds`."""
    columns = {}
    for source, labels in [*of, *((name, "-") for name in BASELINES)]:
        scores = read_scores(run_folder, source, labels, split)
        groups = scores.groupby("breed")[f"iou/{border}"]
        columns.setdefault("n_images", {**groups.size(), "all breeds": len(scores)})
        name = source if source in BASELINES else f"{source}-{labels}"
        columns[name] = {**groups.mean(), "all breeds": scores[f"iou/{border}"].mean()}
    return pd.DataFrame(columns).rename_axis("breed").reset_index()


def costs(timings: pd.DataFrame) -> pd.DataFrame:
    """What a source's masks cost, in seconds per photo; a row per source of timings.csv.

    Returns:
        `source`, `n_images`, `masks_seconds` (the source's own stage), `features_seconds` (the pass
        of the backbone, all views, which all its readers share; 0 for a source that is none of
        them, NaN where it was not timed), `seconds` (their sum).
    """
    passes = timings[(timings["stage"] == "features") & (timings["source"] == "-")]
    pass_seconds, rows = passes["seconds"].sum(min_count=1), []
    for r in timings[timings["stage"] == "masks"].itertuples():
        reads = r.source in SOURCES and source_class(r.source).features
        alone, shared = r.seconds / r.n_images, pass_seconds / r.n_images if reads else 0.0
        rows.append((r.source, r.n_images, alone, shared, alone + shared))
    columns = ["source", "n_images", "masks_seconds", "features_seconds", "seconds"]
    return pd.DataFrame(rows, columns=columns)


def read_scores(run_folder: Folder, source: str, labels: str, split: str = "test") -> pd.DataFrame:
    """scores.csv of a model or a baseline (`labels` "-"), one row per photo of `split`; `labels`
    "masks": of the source's masks. FileNotFoundError where it is missing."""
    places = {"-": f"baselines/{source}", "masks": f"masks/{source}"}
    if labels in places:
        folder = Path(run_folder) / places[labels]
    else:
        folder = model_folder(run_folder, source, labels)
    if not (folder / "scores.csv").is_file():
        raise FileNotFoundError(
            f"{folder / 'scores.csv'} is missing: `petweak study --run {run_folder}` writes it"
        )
    scores = pd.read_csv(folder / "scores.csv")
    return scores[scores["split"] == split].reset_index(drop=True)


def model_folder(run_folder: Folder, source: str, labels: str) -> Path:
    """`models/<source>-<labels>`, or its `-ms` where the run's models are MaskFormer-MS and there
    is one."""
    folder = Path(run_folder)
    run = read_json(folder / "run.json") or {}
    plain = folder / "models" / f"{source}-{labels}"
    ms = plain.with_name(plain.name + "-ms")
    levels = run.get("settings", {}).get("model", {}).get("levels", ["final"])
    return ms if levels != ["final"] and ms.is_dir() else plain


def pick_examples(scores: pd.DataFrame, border: str = "foreground") -> dict[str, str]:
    """{"best": id, "median": id, "worst": id} by mask IoU; equal photos in the order of ids."""
    ranked = scores.sort_values([f"iou/{border}", "id"])["id"].tolist()
    return {"best": ranked[-1], "median": ranked[(len(ranked) - 1) // 2], "worst": ranked[0]}


def readable(frame: pd.DataFrame, digits: int = 3) -> pd.DataFrame:
    """A frame of this module as text: intervals in one column, headings in words, empty for NaN;
    "▼" marks an IoU with ground truth that is below the frame's own `all_ones` row."""
    floor = frame[frame["source"] == "all_ones"] if "source" in frame and BELOW in frame else []
    out: dict[str, list[str]] = {}
    for column in frame:
        if column in ("low", "high") or column.endswith((" low", " high")):
            continue
        low, high = ("low", "high") if column == "ours" else (f"{column} low", f"{column} high")
        texts = [as_text(v, digits, signed=column == "difference") for v in frame[column]]
        if low in frame:
            limits = zip(texts, frame[low], frame[high], strict=True)
            ends = [f" [{as_text(a, digits)}, {as_text(b, digits)}]" for _, a, b in limits]
            texts = [t and t + end for t, end in zip(texts, ends, strict=True)]
        if column.startswith(FLOORED) and len(floor) == 1:
            base = floor[column].iloc[0]
            marks = (pd.notna(v) and metrics.degenerate(v, base) for v in frame[column])
            texts = [t + " ▼" * m for t, m in zip(texts, marks, strict=True)]
        metric, _, border = column.partition("/")
        out[HEADINGS.get(metric, metric) + (f", border {border}" if border else "")] = texts
    if "metric" in out:
        out["metric"] = [HEADINGS.get(m, m) for m in out["metric"]]
    return pd.DataFrame(out)


def _wide(results: pd.DataFrame, columns: list[tuple[str, str]], split: str) -> pd.DataFrame:
    results = final(results)
    rows, floor, part = [], _floor(results), results[results["split"] == split]
    for (source, labels), group in part.groupby(["source", "labels"], sort=False):
        values = group.set_index(["metric", "border"], verify_integrity=True)
        row = {"source": source, "labels": labels, "n_images": int(group["n_images"].max())}
        below = False
        for metric, border in columns:
            name = metric if border == NO_BORDER else f"{metric}/{border}"
            one = values.loc[(metric, border)] if (metric, border) in values.index else {}
            for end, column in (("", "value"), (" low", "low"), (" high", "high")):
                row[name + end] = one.get(column, np.nan)
            below |= _below(floor, metric, border, split, row[name])
        rows.append(row | {BELOW: below})
    return pd.DataFrame(rows)


def _floor(results: pd.DataFrame) -> dict[tuple, float]:
    """The scores of `all_ones`, below which a result is degenerate."""
    rows = results[results["source"] == "all_ones"].set_index(["metric", "border", "split"])
    return rows["value"].to_dict()


def _below(floor: dict[tuple, float], metric: str, border: str, split: str, value: float) -> bool:
    base = floor.get((metric, border, split))
    known = metric in FLOORED and base is not None and pd.notna(value)
    return bool(known and metrics.degenerate(value, base))


def as_text(value: Any, digits: int = 3, signed: bool = False) -> str:
    """A value as tables show it: numbers with `digits` decimals, nothing for False and NaN."""
    if pd.isna(value):
        return ""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else ""
    if isinstance(value, float):
        return f"{value:{'+' if signed else ''}.{digits}f}".replace("-", "\N{MINUS SIGN}")
    return str(value)
