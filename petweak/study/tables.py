"""The tables of a study: frames of numbers for notebooks, and the same as text for a reader.

    results = read_results("runs/photos")
    compare_with_paper(results)             # numbers, a row per score of the paper
    readable(study_overview(results))       # "0.741 [0.722, 0.760]" instead of three columns

Every value is an IoU or a share in [0, 1] unless a column's name says otherwise.
"""

from collections.abc import Collection, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from petweak.data.files import read_frame, read_json, shipped
from petweak.evaluation.metrics import BASELINES, BORDERS, NO_BORDER
from petweak.evaluation.statistics import bootstrap
from petweak.pseudo_masks import SOURCES, source_class

Folder = str | Path
BELOW = "below all_ones"
OVERVIEW = [*(f"mask_iou_gt/{border}" for border in BORDERS), "pseudo_iou_gt/foreground",
            "class_accuracy", "class_iou", "dataset_iou_gt/foreground",
            "boundary_iou_gt/foreground", "semantic_miou/foreground", "mask_iou"]
# `all_ones` is no floor of the boundary IoU: its contour is the frame, which few pets reach.
FLOORED = ("mask_iou_gt", "pseudo_iou_gt", "dataset_iou_gt")
# What the metrics are called where people read; results.csv has the names on the left.
HEADINGS = {"mask_iou": "Mask IoU vs source's masks", "mask_iou_gt": "Mask IoU vs ground truth",
            "pseudo_iou_gt": "Pseudo-mask IoU vs ground truth", "class_accuracy": "Class accuracy",
            "class_iou": "Class IoU", "dataset_iou_gt": "Pooled IoU vs ground truth",
            "boundary_iou_gt": "Boundary IoU vs ground truth", "iou": "Mask IoU vs ground truth",
            "semantic_miou": "Semantic mIoU", "n_images": "photos",
            "n_ground_truth": "with ground truth", "learnt_from": "learnt from",
            "ours_border_ignored": "ours, border ignored", "masks_seconds": "masks, s",
            "features_seconds": "feature extraction, s"}


def read_table(path: Path, command: str, columns: Collection[str] = ()) -> pd.DataFrame:
    """A CSV file. FileNotFoundError, which says the `command` that writes it, where it is not;
    ValueError for one that is damaged or has not all of `columns`."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {command}")
    try:
        table = read_frame(path)
    except ValueError as error:  # pandas' own are of this kind
        raise ValueError(f"{path} is damaged ({error}): {command}") from error
    if missing := [column for column in columns if column not in table]:
        raise ValueError(f"{path} has no column {', '.join(missing)}: {command}")
    return table


def paper_tables() -> pd.DataFrame:
    """Tables 1 to 4 and section 3.4 of the paper: source, labels, split, metric, value, where."""
    return pd.read_csv(Path(__file__).with_name("paper_tables.csv"))


def stored(run: str, file: str) -> pd.DataFrame:
    """A table of a finished run that lies in figures/data/, as it cannot be made in minutes.
    FileNotFoundError where there is none."""
    return read_table(shipped("figures/data") / run / file, "`make figures` copies it there")


def final(results: pd.DataFrame) -> pd.DataFrame:
    """The rows that are not of one round of self-training."""
    return results[results["round"].isna()] if "round" in results else results


def rounds(results: pd.DataFrame, split: str = "test", border: str = "foreground") -> pd.DataFrame:
    """A row per round of self-training: `source`, `labels`, `round`, `masks` (pseudo_iou_gt on
    train), `model` with `model low`, `model high` (mask_iou_gt on `split`)."""
    keys = ["source", "labels", "round"]
    part = results.reindex(columns=[*keys, "border", "metric", "split", "value", "low", "high"])
    part = part[part["round"].notna() & (part["border"] == border)].astype({"round": int})
    masks = part[(part["metric"] == "pseudo_iou_gt") & (part["split"] == "train")]
    model = part[(part["metric"] == "mask_iou_gt") & (part["split"] == split)]
    masks = masks[[*keys, "value"]].rename(columns={"value": "masks"})
    model = model.rename(columns={"value": "model", "low": "model low", "high": "model high"})
    return model.merge(masks, "left", on=keys)[[*keys, "masks", "model", "model low", "model high"]]


def models(results: pd.DataFrame) -> list[tuple[str, str]]:
    """The (source, labels) that `results` has scores of, in its order, without the baselines."""
    rows = final(results)[["source", "labels"]].drop_duplicates()
    return [*rows[~rows["source"].isin(BASELINES)].itertuples(index=False, name=None)]


def compare_with_paper(results: pd.DataFrame) -> pd.DataFrame:
    """The paper's scores beside those of `results`: a row per (where, source, labels, metric,
    split) of the paper, in its order, then the baselines. `paper`, `ours` (the border as
    foreground), `low` and `high` (ours, 95 % bootstrap), `difference` (ours - paper), `learnt_from`
    (as in `study_overview`), `n_images` that were scored, `ours_border_ignored` (for metrics
    against ground truth), `below all_ones` (bool, ours); NaN where `results` has no such score.
    ValueError where `results` has several runs (seeds, say)."""
    results, keys = final(results), ["source", "labels", "split", "metric"]
    ours = results[results["border"].isin(("foreground", NO_BORDER))]
    ours = ours.rename(columns={"value": "ours"})
    if ours.duplicated(keys).any():
        raise ValueError("several values for one score: pass the results of one run")
    extra = ours[ours["source"].isin(BASELINES) & (ours["metric"] == "mask_iou_gt")]
    ignored = results[results["border"] == "ignore"]
    floor = ours[(ours["source"] == "all_ones") & ours["metric"].isin(FLOORED)]
    floor = floor.rename(columns={"ours": "floor"})[["split", "metric", "floor"]]
    table = pd.concat([paper_tables().rename(columns={"value": "paper"}),
                       extra[keys].assign(where="Baselines")], ignore_index=True)
    learnt = ours.reindex(columns=[*keys[:2], "learnt_from"]).groupby(keys[:2]).max()
    table = (table.merge(ours[[*keys, "ours", "low", "high", "n_images"]], "left", on=keys)
             .merge(learnt, "left", on=keys[:2])
             .merge(ignored[[*keys, "value"]], "left", on=keys)
             .merge(floor, "left", on=["split", "metric"])
             .astype({"learnt_from": "Int64", "n_images": "Int64"})
             .rename(columns={"value": "ours_border_ignored"}))
    table["difference"] = table["ours"] - table["paper"]
    table[BELOW] = table["ours"] < table["floor"]
    return table[["where", *keys[:2], "metric", "split", "paper", "ours", "low", "high",
                  "difference", "learnt_from", "n_images", "ours_border_ignored", BELOW]]


def study_overview(results: pd.DataFrame, split: str = "test") -> pd.DataFrame:
    """A row per source and labels, the two baselines among them: `source`, `labels`; `model`,
    maskformer or maskformer-ms (compare like with like), and `learnt_from`, the number of photos
    that it learnt from, where `results` has these (`read_results`); `n_images` of the split that
    were scored, and `n_ground_truth` of them, which every IoU with ground truth is over; the
    columns of `OVERVIEW`, metric/border, each followed by `... low` and `... high` (without
    `semantic_miou` where `results` is of a version that had none); `below all_ones`, bool: an IoU
    with ground truth is below that of calling every pixel foreground, so the result is degenerate.
    ValueError where `results` has more than one run."""
    has = (results["metric"] == "semantic_miou").any()
    columns = [c for c in OVERVIEW if has or not c.startswith("semantic_miou")]
    return _wide(final(results), split, columns)


def baselines(results: pd.DataFrame) -> pd.DataFrame:
    """`all_ones` and `centre_box` on both splits, for all borders; columns as `study_overview`."""
    rows = final(results)[final(results)["source"].isin(BASELINES)]
    columns = [c for c in OVERVIEW if c.startswith(("mask_iou_gt", "dataset", "boundary"))]
    tables = [_wide(rows, split, columns).assign(split=split) for split in ("train", "test")]
    table = pd.concat(tables, ignore_index=True)
    rest = table.columns.drop(["source", "labels", "model", "split", "learnt_from"])
    return table[["source", "split", *rest]]


def _wide(results: pd.DataFrame, split: str, columns: list[str]) -> pd.DataFrame:
    keys, rows = ["source", "labels"], results[results["split"] == split]
    name = rows["metric"].where(rows["border"] == NO_BORDER, rows["metric"] + "/" + rows["border"])
    values = rows.assign(name=name).pivot(
        index=keys, columns="name", values=["value", "low", "high"])
    table = rows.reindex(columns=[*keys, "learnt_from", "n_images"])
    table = table.astype({"learnt_from": "Int64"}).groupby(keys, sort=False).max()
    models = rows.reindex(columns=[*keys, "model"]).groupby(keys)["model"].first()
    table.insert(0, "model", models)
    of_masks = rows[rows["border"] != NO_BORDER].groupby(keys)["n_images"].max()
    table["n_ground_truth"] = of_masks.reindex(table.index, fill_value=0)
    for column in columns:
        for end, part in (("", "value"), (" low", "low"), (" high", "high")):
            table[column + end] = values.get((part, column), np.nan)
    floored = table[[c for c in columns if c.startswith(FLOORED)]]
    floor = floored.reindex([("all_ones", "-")]).iloc[0]
    table[BELOW] = (floored < floor).any(axis=1)
    return table.reset_index()


def per_breed(run_folder: Folder, source: str, labels: str, split: str = "test") -> pd.DataFrame:
    """One model, breed by breed: `breed`, `n_images`, of them `n_ground_truth`, `iou/<border>`
    (means over these), `accuracy` (over all).

    The last rows are `all breeds`, `all_ones` and `centre_box`, each over the whole split.
    FileNotFoundError where the model has no scores.csv."""
    scores = read_scores(run_folder, source, labels, split).sort_values("breed")
    if "predicted" in scores:
        scores["accuracy"] = (scores["predicted"] == scores["class"]).astype(float)
    whole = [read_scores(run_folder, name, "-", split).assign(breed=name) for name in BASELINES]
    groups = pd.concat([scores, scores.assign(breed="all breeds"), *whole]).groupby(
        "breed", sort=False)
    means = groups.mean(numeric_only=True).assign(
        n_images=groups.size(), n_ground_truth=groups[f"iou/{BORDERS[0]}"].count())
    columns = ["n_images", "n_ground_truth", *(f"iou/{border}" for border in BORDERS), "accuracy"]
    return means.reindex(columns=columns).reset_index()


def breeds_compared(run_folder: Folder, of: list[tuple[str, str]], split: str = "test",
                    border: str = "foreground") -> pd.DataFrame:
    """`breed`, `n_images` (those with ground truth), and a column of mean mask IoU for each
    (source, labels) of `of`, named `<source>-<labels>`, and for each baseline; the last row is
    `all breeds`."""
    out = pd.DataFrame()
    for source, labels in [*of, *((name, "-") for name in BASELINES)]:
        table = per_breed(run_folder, source, labels, split).set_index("breed")
        table = table.iloc[: -len(BASELINES)]
        if out.empty:
            out = table[["n_ground_truth"]].set_axis(["n_images"], axis=1)
        out[source if source in BASELINES else f"{source}-{labels}"] = table[f"iou/{border}"]
    return out.reset_index()


def minus_masks(run_folder: Folder, of: list[tuple[str, str]], split: str = "test",
                resamples: int = 1000) -> pd.DataFrame:
    """Is a model better than the masks of its source, those before self-training, on the same
    photos? A row per border and (source, labels) of `of`, without ground truth: `n_images`, IoU of
    `masks` and `model`, and their `difference` with `difference low` and `difference high`, paired
    over photos. Of one training, so it is no verdict; empty where no photo has a trimap."""
    rows = []
    for border, (source, labels) in product(BORDERS, of):
        if source_class(source).reads_trimaps:
            continue
        both = [read_scores(run_folder, source, kind, split).set_index("id")[f"iou/{border}"]
                for kind in ("masks", labels)]
        masks, model = pd.concat(both, axis=1, join="inner").dropna().to_numpy().T
        if not len(gap := model - masks):
            continue
        low, high = bootstrap(gap, n=resamples)
        rows.append([border, source, labels, len(gap), masks.mean(), model.mean(), gap.mean(), low,
                     high])
    return pd.DataFrame(rows, columns=["border", "source", "labels", "n_images", "masks", "model",
                                       "difference", "difference low", "difference high"])


def costs(timings: pd.DataFrame) -> pd.DataFrame:
    """What a source's masks cost, in seconds per photo; a row per source of timings.csv: `source`,
    `n_images`, `masks_seconds` (the source's own stage), `features_seconds` (the pass of the
    backbone, all views, which all its readers share; 0 for a source that is none of them, NaN where
    it was not timed), `seconds` (their sum)."""
    passes = timings[(timings["stage"] == "features") & (timings["source"] == "-")]["seconds"]
    table = timings[timings["stage"] == "masks"][["source", "n_images", "seconds"]]
    reads = [name in SOURCES and source_class(name).features for name in table["source"]]
    alone, shared = table["seconds"], np.where(reads, passes.sum(min_count=1), 0.0)
    table = table.assign(masks_seconds=alone / table["n_images"],
                         features_seconds=shared / table["n_images"])
    total = table["masks_seconds"] + table["features_seconds"]
    return table.drop(columns="seconds").assign(seconds=total).reset_index(drop=True)


def read_scores(run_folder: Folder, source: str, labels: str, split: str = "test") -> pd.DataFrame:
    """scores.csv of a model or a baseline (`labels` "-"), one row per photo of `split`; `labels`
    "masks": of the source's masks. FileNotFoundError where it is missing."""
    folders = {"-": f"baselines/{source}", "masks": f"masks/{source}"}
    folder = (Path(run_folder) / folders[labels] if labels in folders
              else model_folder(run_folder, source, labels))
    scores = read_table(folder / "scores.csv", f"`petweak study --run {run_folder}` writes it")
    return scores[scores["split"] == split].reset_index(drop=True)


def model_folder(run_folder: Folder, source: str, labels: str) -> Path:
    """`models/<source>-<labels>`, or its `-ms` where the run's models are MaskFormer-MS and there
    is one."""
    plain = Path(run_folder) / "models" / f"{source}-{labels}"
    run, ms = read_json(Path(run_folder) / "run.json") or {}, plain.with_name(plain.name + "-ms")
    levels = run.get("settings", {}).get("model", {}).get("levels", ["final"])
    return ms if levels != ["final"] and ms.is_dir() else plain


def masks_beside(sets: Mapping[str, pd.DataFrame], split: str = "test") -> pd.DataFrame:
    """IoU with ground truth of masks, of sets of results beside each other: {title: rows as in
    results.csv, with a `source`}. A row per set and source: `data` (the title), `source`,
    `n_images`, and of each border its IoU `<border>` with `<border> low` and `<border> high`."""
    rows = []
    for title, results in sets.items():
        part = results[(results["metric"] == "pseudo_iou_gt") & (results["split"] == split)]
        for source, of in part.groupby("source", sort=False):
            of = of.drop_duplicates("border").set_index("border")  # the same for both labels
            row = {"data": title, "source": source, "n_images": of["n_images"].max()}
            for b in BORDERS:
                row |= {b: of.loc[b, "value"], f"{b} low": of.loc[b, "low"],
                        f"{b} high": of.loc[b, "high"]}
            rows.append(row)
    return pd.DataFrame(rows)


def pick_examples(scores: pd.DataFrame, border: str = "foreground") -> dict[str, str]:
    """{"best": id, "median": id, "worst": id} by mask IoU with ground truth, or, where no photo has
    any, with the source's masks; equal photos in the order of ids. Empty without either."""
    columns = [c for c in (f"iou/{border}", "mask_iou") if c in scores and scores[c].notna().any()]
    if not columns:
        return {}
    ranked = scores.dropna(subset=columns[:1]).sort_values([columns[0], "id"])["id"].tolist()
    return {"best": ranked[-1], "median": ranked[(len(ranked) - 1) // 2], "worst": ranked[0]}


def readable(frame: pd.DataFrame, digits: int = 3) -> pd.DataFrame:
    """A frame of this module as text: intervals in one column, headings in words, empty for NaN;
    `n_ground_truth` only where it is not `n_images`; "▼" marks an IoU with ground truth that is
    below the frame's own `all_ones` row, in a frame of `masks_beside` that of the same data."""
    frame = frame.reset_index(drop=True)
    sets = frame.get("data", pd.Series("", frame.index))  # each with a floor of its own
    ones = frame[frame["source"] == "all_ones"] if (
        "source" in frame and {BELOW, "data"} & {*frame}) else frame[:0]
    ones = ones[~sets[ones.index].duplicated(keep=False)]
    out: dict[str, list[str]] = {}
    if "n_ground_truth" in frame and (frame["n_ground_truth"] == frame["n_images"]).all():
        frame = frame.drop(columns="n_ground_truth")
    for column in frame:
        if column in ("low", "high") or column.endswith((" low", " high")):
            continue
        low, high = ("low", "high") if column == "ours" else (f"{column} low", f"{column} high")
        texts = [as_text(v, digits, signed=column == "difference") for v in frame[column]]
        if low in frame:
            limits = zip(texts, frame[low], frame[high], strict=True)
            texts = [t and f"{t} [{as_text(a, digits)}, {as_text(b, digits)}]"
                     for t, a, b in limits]
        if column.startswith((*FLOORED, *BORDERS)) and len(ones):
            below = frame[column] < sets.map(ones[column].set_axis(sets[ones.index]))
            texts = [t + " ▼" * b for t, b in zip(texts, below, strict=True)]
        metric, _, border = column.partition("/")
        out[HEADINGS.get(metric, metric) + (f", border {border}" if border else "")] = texts
    if "metric" in out:
        out["metric"] = [HEADINGS.get(m, m) for m in out["metric"]]
    return pd.DataFrame(out)


def as_text(value: Any, digits: int = 3, signed: bool = False) -> str:
    """A value as tables show it: numbers with `digits` decimals, nothing for False and NaN."""
    if pd.isna(value):
        return ""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else ""
    if isinstance(value, float):
        return f"{value:{'+' if signed else ''}.{digits}f}".replace("-", "\N{MINUS SIGN}")
    return str(value)
