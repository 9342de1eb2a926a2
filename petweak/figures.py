"""Pictures and numbers for the README and a report, from finished runs: `make figures`.

    figures/data/<run>/{results,timings}.csv, history-*.csv     what the pictures are drawn from
    figures/data/<run>/{notebooks,latency}.csv                  run times; a slider in the browser
    figures/data/<run>/{beyond,cost,signals,recipes,probes,taps,unseen,tried,labelling}.csv
                                                 of `petweak.beyond`, and tests/measure_crf.py
    figures/<run>-{overview,masks,curves,labelling}.png         drawn from it
    README.md                                                   the tables between the marks

Real photos are shown with their attribution in `figures/ATTRIBUTION.md`: three, at most.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

import pandas as pd

from petweak import plots, tables
from petweak.beyond import summary
from petweak.chapters import run_times
from petweak.data.pets import load_photo, load_trimap, read_pets
from petweak.files import project_path, read_json, replacing, write_text
from petweak.plots_beyond import labelling_lines
from petweak.pseudo_masks import SOURCES
from petweak.pseudo_masks.store import read_mask
from petweak.recipes import choices
from petweak.results import read_results
from petweak.runs import write_frame
from petweak.unseen import by_recipe, lost

TITLES = {"embedded": "Rendered pets", "photos": "Real photos, three breeds"}
BEYOND = ("beyond.csv", "cost.csv", "signals.csv", "recipes.csv", "probes.csv", "taps.csv",
          "unseen.csv", "tried.csv", "labelling.csv", "crf.csv")  # fmt: skip
SHOWN = 3  # photos in a picture
ATTRIBUTION = (
    "`photos-masks.png` shows photos of the Oxford-IIIT Pet data set (O. M. Parkhi, A. Vedaldi, "
    "A. Zisserman, C. V. Jawahar, *Cats and Dogs*, CVPR 2012), licensed CC BY-SA 4.0; the "
    "copyright of each photo stays with its owner. The masks were drawn on them by petweak. "
    "Shown are:\n\n"
)


def write_figures(run_folder: Path, name: str, out: Path) -> None:
    """Copy a run's tables to `out/data/<name>/` and draw its pictures into `out`.

    Raises FileNotFoundError where the run has no results.csv.
    """
    results, data = read_results(run_folder), out / "data" / name
    run = read_json(run_folder / "run.json")
    data.mkdir(parents=True, exist_ok=True)
    for file in ("results.csv", "timings.csv", "latency.csv"):
        if (run_folder / file).is_file():
            _copy(run_folder / file, data / file)
    times = run_times(run_folder)
    if len(times):
        write_frame(data / "notebooks.csv", times)
    for history in sorted((run_folder / "models").glob("*/history.csv")):
        if "-round" in history.parent.name:
            continue
        _copy(history, data / f"history-{history.parent.name}.csv")
    plots.save_or_show(plots.overview_bars(results), out / f"{name}-overview.png")
    plots.save_or_show(plots.learning_curves(run_folder), out / f"{name}-curves.png")
    ids = _draw_masks(run_folder, Path(run["data_root"]), out / f"{name}-masks.png")
    if run["dataset"] == "oxford-iiit-pet":
        write_text(out / "ATTRIBUTION.md", ATTRIBUTION + "".join(f"- {i}\n" for i in ids))


def write_beyond(run_folder: Path, name: str, out: Path) -> None:
    """Copy what `petweak.beyond` left in a run's folder to `out/data/<name>/`, and draw its curve;
    what it did not leave stays as it is."""
    data = out / "data" / name
    for file in BEYOND:
        if (run_folder / file).is_file():
            _copy(run_folder / file, data / file)
    if (data / "labelling.csv").is_file():
        lines = labelling_lines(pd.read_csv(data / "labelling.csv"))
        plots.save_or_show(lines, out / f"{name}-labelling.png")


def results_table(results: pd.DataFrame) -> str:
    """The README's table as Markdown: test, ground truth as judge, the paper's figure beside it."""
    paper = tables.compare_with_paper(results).query("metric == 'mask_iou_gt' and split == 'test'")
    paper = paper.set_index(["source", "labels"])["paper"]
    rows = []
    wanted = tables.final(results).query("split == 'test'")
    for (source, labels), part in wanted.groupby(["source", "labels"], sort=False):
        figures = part.set_index(["metric", "border"])
        row = {"source": source, "labels": labels}
        for title, metric, border in (
            ("its masks, border as pet", "pseudo_iou_gt", "pet"),
            ("student, border as pet", "mask_iou_gt", "pet"),
            ("student, border ignored", "mask_iou_gt", "ignore"),
            ("class accuracy", "class_accuracy", "-"),
        ):
            known = (metric, border) in figures.index
            row[title] = f"{figures.loc[(metric, border), 'value']:.3f}" if known else ""
        if labels != "-":
            low, high = figures.loc[("mask_iou_gt", "pet"), ["low", "high"]]
            row["student, border as pet"] += f" ({low:.3f} to {high:.3f})"
        theirs = paper.get((source, labels))
        row["the paper's student"] = "" if theirs is None or pd.isna(theirs) else f"{theirs:.3f}"
        rows.append(row)
    return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)


def _seeds(shown: pd.DataFrame) -> pd.Series:
    """How many seeds, and the smallest and the largest value of one."""
    spread = shown["smallest"].map("{:.3f} to ".format) + shown["largest"].map("{:.3f}".format)
    return shown["seeds"].astype(str) + ": " + spread


def beyond_table(table: pd.DataFrame) -> str:
    """The means over seeds of beyond.csv as Markdown."""
    shown = summary(table).drop(columns=["source", "labels"])
    cells = {
        "learnt from": shown["what"],
        "border": shown["border"],
        "first masks, train": shown["masks"].map("{:.3f}".format),
        "student, test": shown["student"].map("{:.3f}".format),
        "of seeds": _seeds(shown),
        "defaults by": shown["defaults"],
    }
    return pd.DataFrame(cells).to_markdown(index=False, disable_numparse=True)


def unseen_table(table: pd.DataFrame) -> str:
    """What a breed that was left out is worth, from unseen.csv, border ignored, as Markdown."""
    shown = lost(table)
    cells = {
        "source": shown["source"],
        "scored": shown["of"],
        "breed left out": shown["unseen"].map("{:.3f}".format),
        "breed in train": shown["seen"].map("{:.3f}".format),
        "lost": shown["lost"].map("{:.3f}".format),
        "of seeds": _seeds(shown),
        "defaults by": shown["defaults"],
    }
    return pd.DataFrame(cells).to_markdown(index=False, disable_numparse=True)


def tried_table(table: pd.DataFrame) -> str:
    """What else would have come of a breed that was left out, from tried.csv, as Markdown."""
    shown = by_recipe(table).map("{:.3f}".format).reset_index()
    return shown.to_markdown(index=False, disable_numparse=True)


def recipes_table(compared: pd.DataFrame) -> str:
    """What the ways of choosing a recipe come to, from recipes.csv, as Markdown."""
    shown = choices(compared)
    for border in ("ignore", "pet"):
        shown[border] = shown[border].map("{:.3f}".format)
    shown = shown.rename(columns={"ignore": "border ignored", "pet": "border as pet"})
    return shown.to_markdown(index=False, disable_numparse=True)


def chain_table(table: pd.DataFrame) -> str:
    """cost.csv as Markdown: what a whole chain takes, stage by stage."""
    return tables.readable(table).to_markdown(index=False, disable_numparse=True)


def costs_table(timings: pd.DataFrame) -> str:
    """Seconds a photo, by source, as Markdown."""
    return tables.readable(tables.costs(timings)).to_markdown(index=False, disable_numparse=True)


BEYOND_TABLES = {"beyond": beyond_table, "recipes": recipes_table, "unseen": unseen_table,
                 "tried": tried_table, "cost": chain_table}  # fmt: skip


def write_readme(readme: Path, out: Path) -> None:
    """Put the tables of every run in `out/data/` between the marks of the README.

    Raises ValueError where a mark is missing.
    """
    text = readme.read_text(encoding="utf-8")
    for name in TITLES:
        folder = out / "data" / name
        results = pd.read_csv(folder / "results.csv")
        text = _between(text, f"results {name}", results_table(results))
        text = _between(text, f"costs {name}", costs_table(pd.read_csv(folder / "timings.csv")))
        for file, shown in BEYOND_TABLES.items():
            if (folder / f"{file}.csv").is_file():
                table = shown(pd.read_csv(folder / f"{file}.csv"))
                text = _between(text, f"{file} {name}", table)
    if text != readme.read_text(encoding="utf-8"):
        write_text(readme, text)


def _between(text: str, mark: str, new: str) -> str:
    pattern = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"README.md has no '<!-- {mark} -->' ... '<!-- /{mark} -->'")
    return pattern.sub(lambda m: f"{m[1]}\n{new}\n\n{m[2]}", text)


def _draw_masks(run_folder: Path, data_root: Path, path: Path) -> list[str]:
    """A few test photos with every source's mask; returns their ids."""
    test = read_pets(data_root).split("test")
    samples = test[:: len(test) // SHOWN][:SHOWN]
    folders = [
        f
        for f in sorted((run_folder / "masks").iterdir())
        if f.name in SOURCES and (f / "manifest.json").is_file()
    ]
    order = {name: i for i, name in enumerate(plots.SOURCE_COLOURS)}
    folders.sort(key=lambda f: order.get(f.name, len(order)))
    rows = []
    for s in samples:
        trimap = load_trimap(s.trimap)
        masks = {f.name: read_mask(f / f"{s.id}.png") for f in folders if f.name != "ground_truth"}
        rows.append(
            {"title": s.id, "photo": load_photo(s.photo), "truth": trimap != 2, "masks": masks}
        )
    plots.save_or_show(plots.gallery(rows, columns=2 + len(folders)), path)
    return [s.id for s in samples]


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as beside:
        shutil.copyfile(source, beside)


def main() -> None:
    """`python -m petweak.figures`: figures/ and the README's tables from two finished runs."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    for name in TITLES:
        parser.add_argument(f"--{name}", default=f"runs/{name}", help="the run's folder")
    parser.add_argument("--beyond", default="runs/photos", help="the run of petweak.beyond")
    parser.add_argument("--only-beyond", action="store_true", help="leave the rest as it is")
    args, out = parser.parse_args(), project_path("figures")
    for name in () if args.only_beyond else TITLES:
        write_figures(project_path(getattr(args, name)), name, out)
    write_beyond(project_path(args.beyond), "photos", out)
    write_readme(project_path("README.md"), out)


if __name__ == "__main__":
    main()
