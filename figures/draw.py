"""Figures and tables of the README and of figures/results.md, from finished runs: `make figures`.

    figures/data/<run>/              copies of the run's tables, the source of the rest
    figures/<run>-{overview,masks,label_efficiency,annotation_hours,ablation}.png
    README.md, figures/results.md    tables between marks such as `<!-- results photos -->`
    notebooks/                       the measured run time in the first cell of each chapter

    .venv/bin/python figures/draw.py [--embedded RUN] [--photos RUN] [--only-tables]
    .venv/bin/python figures/draw.py --gpu RUN    figures/data/gpu/timings.csv alone

Here are the figures and the command; the tables as text are in `result_tables.py` and `aims.py`,
what is said of them in `sentences.py`, and what fills the pages in `pages.py`.

Real photos are shown with their attribution in `figures/ATTRIBUTION.md`: three, at most.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from pages import PAGES, STORED, TITLES, write_tables, write_times
from result_tables import machine_hours, of_both
from sentences import alike

from petweak.config import Settings
from petweak.data.files import (
    project_path,
    read_frame,
    read_json,
    replacing,
    write_frame,
    write_text,
)
from petweak.data.masks import IGNORE, read_mask
from petweak.data.oxford_pets import read_pets
from petweak.evaluation.metrics import iou
from petweak.evaluation.metrics import target as target_of
from petweak.experiments.ablation import answers as ablation_answers
from petweak.experiments.mask_costs import by_hours, saved
from petweak.experiments.trials import UNDECIDED
from petweak.pseudo_masks import source_names
from petweak.reporting.chapters import run_times
from petweak.study import tables
from petweak.study.results import read_results
from petweak.visualization import charts
from petweak.visualization.overlays import gallery, gallery_row
from petweak.visualization.style import save_figure

ATTRIBUTION = """`photos-masks.png` and `examples/` show photos of the Oxford-IIIT Pet data set \
(O. M. Parkhi, A. Vedaldi, A. Zisserman, C. V. Jawahar, *Cats and Dogs*, CVPR 2012), licensed \
CC BY-SA 4.0; the copyright of each photo stays with its owner. The masks in the figure were drawn \
on them by petweak; the examples, photos and trimaps, were made smaller, and the notebooks draw on \
them. Shown are:

"""


def write_figures(run_folder: Path, name: str, out: Path) -> None:
    """Copy the tables of a run and of its experiments to `out/data/<name>/` and draw its figures
    into `out`; copies of what the run does not have stay as they are."""
    data, about = out / "data" / name, read_json(run_folder / "run.json")
    if about is None:
        raise FileNotFoundError(f"{run_folder / 'run.json'} is missing: `petweak study --run R` "
                                f"makes a run, and --{name} R names its folder")
    patterns = ("timings.csv", "latency.csv", "experiments/*.csv")
    copies = {f.name: f for pattern in patterns for f in run_folder.glob(pattern)}
    for folder in charts.finished_models(run_folder, rounds=False):
        copies[f"history-{folder.name}.csv"] = folder / "history.csv"
    for copy, file in copies.items():
        with replacing(data / copy) as beside:
            shutil.copyfile(file, beside)
    results = pd.read_csv(run_folder / "results.csv", dtype=str)  # to the letter, and a column more
    read = read_results(run_folder)
    write_frame(data / "results.csv", results.assign(learnt_from=read["learnt_from"]))
    write_frame(data / "minus_masks.csv", tables.minus_masks(run_folder, tables.models(read)))
    if len(times := run_times(run_folder)):
        write_frame(data / "notebooks.csv", times)
    rows = _masks(run_folder, about["data_root"])
    drawn = {"masks": gallery(rows, columns=1 + len(rows[0]["masks"]))}
    drawn["overview"] = charts.overview_bars(read_frame(data / "results.csv"))
    for figure, fig in drawn.items():
        save_figure(fig, out / f"{name}-{figure}.png")
    if about["dataset"] == "oxford-iiit-pet":
        ids = {row["title"].rpartition(" ")[2] for row in rows}
        ids |= {f.stem for f in (out / "examples").glob("*.jpg")}
        write_text(out / "ATTRIBUTION.md", ATTRIBUTION + "".join(f"- {i}\n" for i in sorted(ids)))


def _masks(run_folder: Path, data_root: str) -> list[dict]:
    """Rows of a gallery: every source's mask on the best, the median and the worst test photo, by
    the median of the sources' IoU with ground truth, border as foreground, so by no hand."""
    test, masks = read_pets(project_path(data_root)).split("test"), run_folder / "masks"
    sources = source_names(Settings.from_dict(read_json(run_folder / "run.json")["settings"]))
    sources = [s for s in sources if (masks / s / "manifest.json").is_file()]
    sources = [s for s in sources if s != "ground_truth"]  # the outline
    samples, ious = {s.id: s for s in test if s.trimap}, {}
    for i, sample in samples.items():
        target, _ = target_of(sample.load()[1], "foreground")
        drawn = {n: read_mask(masks / n / f"{i}.png") for n in sources}
        ious[i] = {n: iou((m != IGNORE) & (m > 0), target) for n, m in drawn.items()}
    scores = pd.DataFrame(ious).median()
    chosen = tables.pick_examples(scores.rename("iou/foreground").rename_axis("id").reset_index())
    return [gallery_row(samples[i], f"{word} of {len(samples)} by median IoU, {scores[i]:.2f}: {i}",
                        {f"{n} {v:.2f}": read_mask(masks / n / f"{i}.png")
                         for n, v in ious[i].items()}) for word, i in chosen.items()]


def hours_title(points: pd.DataFrame) -> str:
    """What the best model of each kind of annotation reaches, from `mask_costs.by_hours`. Detectors
    and segmenters learnt from outlines of other photos, which the hours do not count."""
    best = points.sort_values("iou").groupby(points["source"]).last()
    weak = best.drop("ground_truth").query("hours > 0")
    others = weak.index.str.startswith(("external", "mask_rcnn"))
    said = {"{hours:.1f} h of outlines and labels: {iou:.3f}": best.loc[["ground_truth"]],
            "{hours:.1f} h of labels, others' outlines of other photos: {iou:.3f}": weak[others],
            "{hours:.1f} h of labels alone: {iou:.3f}": weak[~others],
            "No annotation of these photos: {iou:.3f}": best.query("hours == 0")}
    return "\n".join(text.format(**part.loc[part["iou"].idxmax()])
                     for text, part in said.items() if len(part))


def write_label_efficiency(data: Path, out: Path) -> None:
    """Draw the label-efficiency curve of a run from its table in `data`, where it has one."""
    if (file := data / "label_efficiency.csv").is_file():
        save_figure(charts.label_efficiency_lines(read_frame(file), "ignore"),
                     out / f"{data.name}-label_efficiency.png")


def with_machine(points: pd.DataFrame, hours: pd.DataFrame) -> pd.DataFrame:
    """`mask_costs.by_hours`, and its `machine_hours` in the names."""
    both = (hours["masks_hours"] + hours["training_hours"]).map("{:.2f} h".format)
    both = both.replace("nan h", "not timed")
    names = (name.partition("\n") for name in points["name"])
    return points.assign(name=[f"{first}: {said}{line}{rest}" for (first, line, rest), said in zip(
        names, both, strict=True)])


def write_hours(data: Path, out: Path) -> None:
    """Draw IoU by hours of annotation from the tables of a run in `data`, where it has them. Models
    of `supervision` and of the curve are not in one picture: they took other numbers of steps."""
    curve = read_frame(f) if (f := data / "label_efficiency.csv").is_file() else None
    models = of_both(data)
    if curve is None and models is None:
        return
    if models is not None:
        curve = None
    points = by_hours(curve, models)
    if curve is not None and 0 < saved(curve)[0] < np.inf:
        least, usual = saved(curve)
        title = f"Pseudo-masks alone are worth {least:.1f} to {usual:.1f} hours of outlines"
    else:
        title = hours_title(points)
    if models is not None:
        points = with_machine(points, hours := machine_hours(data))
        title += (f"\n(not told apart: ground_truth and {', '.join(alike(hours))};"
                  "\nmaskformer-ms, border ignored; imagenet_only: species, on a CPU;"
                  "\nbehind each name: hours of a machine)")
    save_figure(charts.annotation_hours(points, title), out / f"{data.name}-annotation_hours.png")


def write_ablation(data: Path, out: Path) -> None:
    """Draw the grid of architectures of a run from its table in `data`, where it has one; of the
    sources that `ablation_wide` has, too, the rows of that one, which count."""
    if not (file := data / "ablation.csv").is_file():
        return
    table, first = read_frame(file), "Without wider models, by mask IoU"
    if (file := data / "ablation_wide.csv").is_file():
        wide = read_frame(file)
        table = pd.concat([wide, table[~table["source"].isin(wide["source"])]], ignore_index=True)
        first = f"By mask IoU; beside wider models: {', '.join(wide['source'].unique())} alone"
    say = {"yes": "the simplest that satisfies is {simplest}{late}, with {share:.1%} of "
                  "full-size's parameters",
           "none of the grid": "nothing with a tenth of full-size's parameters satisfies",
           "undecided": "undecided whether a tenth of full-size's parameters is enough"}
    itself = "{simplest}, with {share:.1%} of full-size's parameters, is itself the best"
    rows = ablation_answers(table).to_dict("records")
    late = set(table.loc[table["post_hoc"], "row"])
    for r in rows:
        notes = ["post hoc"] * (r["simplest"] in late)
        notes += [f"{UNDECIDED} after Holm"] * (r["after_holm"] != r["simplest"])
        r["late"] = f" ({', '.join(notes)})" * bool(notes)
    said = {r["source"]: (itself if r["tenth"] == "yes" and r["simplest"] == r["best"] else
                          say[r["tenth"]]).format(**r) for r in rows}
    title = "\n".join([first, *(f"{source}: {text}" for source, text in said.items())])
    save_figure(charts.ablation_points(table, title), out / f"{data.name}-ablation.png")


def write_gpu_timings(run_folder: Path, data: Path) -> None:
    """The seconds of a run's stages, with the pictures' side, the card and the torch."""
    about = read_json(run_folder / "run.json") or {}
    if about.get("device") != "cuda":
        raise ValueError(f"{run_folder} was not made on a GPU")
    times = read_frame(run_folder / "timings.csv")
    of = {"side": about["settings"]["backbone"]["image_size"],
          "gpu": about["hardware"]["gpu"], "torch": about["versions"]["torch"]}
    write_frame(data / "timings.csv", times.assign(**of))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in TITLES:
        parser.add_argument(f"--{name}", default=f"runs/{name}", help="the run's folder")
    parser.add_argument("--only-tables", action="store_true", help="leave figures/ as it is")
    parser.add_argument("--gpu", help="copy the times of this run, and do nothing else")
    args, out = parser.parse_args(), project_path("figures")
    if args.gpu:
        return write_gpu_timings(project_path(args.gpu), out / "data" / "gpu")
    for name in () if args.only_tables else TITLES:
        write_figures(project_path(getattr(args, name)), name, out)
    for name in () if args.only_tables else STORED:
        write_label_efficiency(data := out / "data" / name, out)
        if of_both(data) is not None:
            write_frame(data / "machine_hours.csv", machine_hours(data))
        write_hours(data, out)
        write_ablation(out / "data" / name, out)
    write_tables([project_path(page) for page in PAGES], out)
    write_times(project_path("notebooks"), out)


if __name__ == "__main__":
    main()
