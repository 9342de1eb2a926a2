"""Figures and tables of the README and of figures/results.md, from finished runs: `make figures`.

    figures/data/<run>/              copies of the run's tables, the source of the rest
    figures/<run>-{overview,masks,label_efficiency,annotation_hours,ablation}.png
    README.md, figures/results.md    tables between marks such as `<!-- results photos -->`
    notebooks/                       the measured run time in the first cell of each chapter

    .venv/bin/python figures/draw.py [--embedded RUN] [--photos RUN] [--only-tables]

Real photos are shown with their attribution in `figures/ATTRIBUTION.md`: three, at most.
"""

import argparse
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

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
from petweak.data.oxford_pets import BREED_NAMES, read_pets
from petweak.evaluation.metrics import BASELINES, iou
from petweak.evaluation.metrics import target as target_of
from petweak.experiments.ablation import FULL_SIZE, LEVEL, SEEDS, TENTH, after_holm, degenerate
from petweak.experiments.ablation import answers as ablation_answers
from petweak.experiments.ablation import sentences as ablation_sentences
from petweak.experiments.cam_faults import PAPER, joined
from petweak.experiments.cam_heads import BORDERS, by_labels, two_by_two
from petweak.experiments.configurations import CRITERIA
from petweak.experiments.label_efficiency import sentences as efficiency_sentences
from petweak.experiments.label_efficiency import summary as efficiency_summary
from petweak.experiments.mask_costs import by_hours, saved
from petweak.experiments.memorised_masks import FORGETS, fitting
from petweak.experiments.selection_criteria import rank_criteria
from petweak.experiments.self_training_gains import summary
from petweak.experiments.supervision import (
    GAPS,
    KEYS,
    MODELS,
    answer,
    both_borders,
    by_verdict,
    compared,
    counts,
    satisfying,
    with_limits,
)
from petweak.experiments.supervision import answers as supervision_answers
from petweak.experiments.supervision import summary as supervision_summary
from petweak.experiments.trials import DEFAULT, UNDECIDED, VERDICTS, satisfies
from petweak.experiments.unlabelled_photos import AWAY
from petweak.experiments.unseen_breeds import lost
from petweak.experiments.unseen_breeds_tried import by_configuration
from petweak.pseudo_masks import source_names
from petweak.reporting.chapters import run_times
from petweak.study import tables
from petweak.study.results import read_results
from petweak.visualization import charts
from petweak.visualization.overlays import gallery, gallery_row
from petweak.visualization.style import save_or_show

TITLES = {"embedded": "Rendered pets", "photos": "Real photos, three breeds"}
# Folders of figures/data/ with tables; those of the last are of experiments alone.
STORED = (*TITLES, "photos37")
PAGES = "README.md", "figures/results.md"  # whose marks are filled
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
        save_or_show(fig, out / f"{name}-{figure}.png")
    if about["dataset"] == "oxford-iiit-pet":
        ids = {row["title"].rpartition(" ")[2] for row in rows}
        ids |= {f.stem for f in (out / "examples").glob("*.jpg")}
        write_text(out / "ATTRIBUTION.md", ATTRIBUTION + "".join(f"- {i}\n" for i in sorted(ids)))


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
        save_or_show(charts.label_efficiency_lines(read_frame(file), "ignore"),
                     out / f"{data.name}-label_efficiency.png")


def of_both(data: Path) -> pd.DataFrame | None:
    """The table `supervision` of a run in `data`, where it has one, with what `supervision_cpu` has
    beside: what was trained on a CPU alone."""
    models, cpu = (read_frame(f) if (f := data / f"supervision{end}.csv").is_file() else None
                   for end in ("", "_cpu"))
    if models is not None and cpu is not None:
        models = pd.concat([models, cpu[~cpu["of"].isin(models["of"])]])
    return models


def machine_hours(data: Path) -> pd.DataFrame:
    """Hours of a machine beside those of people, `mask_costs.by_hours` of models of a run in
    `data`: `masks_hours` for the masks of all photos that a model learns from, by the `seconds` a
    photo that were measured `masks_on` a machine, and `training_hours`, the median of its
    trainings on `training_on`. Empty where nobody has timed it.

    From `mask_costs` (the last layer of `gradcam_finetuned`, seconds, is not in it), from the
    timings of the trainings, and, for self-training, scaled from the photos of `cost`."""
    costs, chain, gpu = (read_frame(data.parent / f"{name}.csv").set_index(key) for name, key in (
        ("photos/mask_costs", "what"), ("photos/cost", "stage"), ("gpu/supervision_timings", "of")))
    models, points = of_both(data), by_hours(None, of_both(data))
    last = chain.filter(like="train ", axis=0)["seconds"].iloc[-1]
    n, whole = chain.loc["all", ["photos", "seconds"]]
    timed = f"one thread of a busy CPU ({costs['n_images'].max()} photos)"
    scaled = f"two CPU cores (scaled from {n:.0f} photos)"
    cards = f"one {gpu['gpu'].iloc[0].split()[1]}, {gpu['processes'].max()} trainings at once"
    cam = (costs.filter(like="gradcam", axis=0)["seconds"].iloc[0], timed)
    made = {"gradcam_pretrained": cam, "gradcam_finetuned": cam, "ground_truth": (0, "people"),
            "mask_rcnn_compact": (costs.loc["mask_rcnn_compact", "seconds"], timed),
            "imagenet_only": ((whole - last) / n, scaled)}
    trained = gpu.query("model == 'maskformer-ms' and labels == 'breed'")["train_seconds"]
    trained = trained.groupby("of").median() / 3600
    rows = []
    for point in points.itertuples():
        alone = point.source == "imagenet_only"
        of = ALONE["ignore"] if alone else point.name.replace("\n", " ")
        photos = models.loc[models["of"] == of, "learnt_from"].max()
        seconds, masks_on = made.get(point.source, (math.nan, "not timed"))
        rows.append({
            "of": of, "source": point.source, "photos": photos, "people_hours": point.hours,
            "seconds": seconds, "masks_hours": photos * seconds / 3600, "masks_on": masks_on,
            "training_hours": photos * last / n / 3600 if alone else trained.get(of, math.nan),
            "training_on": scaled if alone else cards, "iou": point.iou})
    return pd.DataFrame(rows)


def machine_table(hours: pd.DataFrame) -> pd.DataFrame:
    """`machine_hours` as text, the best model first."""
    forms = {"people_hours": "{:.1f}", "seconds": "{:.2f}", "masks_hours": "{:.2f}",
             "training_hours": "{:.2f}", "iou": "{:.3f}"}
    shown = hours.sort_values("iou", ascending=False).assign(
        **{name: hours[name].map(form.format, na_action="ignore") for name, form in forms.items()})
    return shown.drop(columns="source").rename(columns={
        "of": "source", "photos": "learnt from", "people_hours": "people, h",
        "seconds": "masks, s a photo", "masks_hours": "masks, h", "masks_on": "masks on",
        "training_hours": "training, h", "training_on": "training on",
        "iou": "IoU, border ignored"})


def alike(hours: pd.DataFrame) -> list[str]:
    """The sources of `machine_hours` whose model is not told apart from full supervision."""
    told = both_borders(tables.stored("photos37", "supervision.csv")).query(
        "border == 'ignore' and model == 'maskformer-ms'").set_index("of")["verdict"]
    return [of for of in hours["of"] if told.get(of) == VERDICTS[-1]]


def of_hours(hours: pd.DataFrame) -> str:
    """Which models the hours are of, and what their order does not say."""
    same = ", ".join(f"`{of}`" for of in alike(hours)) or "none"
    return ("every row is a `maskformer-ms`, scored with the border ignored; `imagenet_only` is "
            "for species, trained on a CPU, all others are for breeds, trained on a GPU. The rows "
            "are ordered by their means. For the first ones this order is no verdict: not told "
            f"apart from full supervision are {same}.")


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
    save_or_show(charts.annotation_hours(points, title), out / f"{data.name}-annotation_hours.png")


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
    save_or_show(charts.ablation_points(table, title), out / f"{data.name}-ablation.png")


def architectures_table(table: pd.DataFrame) -> pd.DataFrame:
    """Of each source the best architecture first, and the baselines, as text; "▽" marks what is
    degenerate, and a column what is post hoc, where a row is."""
    table = table.sort_values(["source", "iou"], ascending=False)
    three, signed = ("iou", "semantic_miou", "accuracy"), ("minus_best", "low", "high")
    forms = dict.fromkeys(three, "{:.3f}") | dict.fromkeys(signed, "{:+.3f}")
    forms |= {"share": "{:.1%}", "gflops": "{:.2f}", "memory_mb": "{:.0f}"}
    forms |= {"photo_ms": "{:.1f}", "step_ms": "{:.0f}"}
    forms = {name: form for name, form in forms.items() if name in (table := with_times(table))}
    shown = table.assign(**{name: table[name].map(form.format) for name, form in forms.items()})
    shown["iou"] += np.where(degenerate(table), " ▽", "")
    shown["minus_best"] += " [" + shown["low"] + ", " + shown["high"] + "]"
    shown["satisfies"] += np.where(
        after_holm(table) == table["satisfies"], "", f", {UNDECIDED} after Holm")
    shown["post_hoc"] = np.where(table["post_hoc"], "yes", "")
    late = ["post_hoc"] * bool(table["post_hoc"].any())
    costs = [name for name in ("memory_mb", "photo_ms", "step_ms") if name in table]
    floor = [{"row": n, "iou": f"{table[n].iloc[0]:.3f}"} for n in BASELINES]
    shown = pd.concat([shown.astype(str), pd.DataFrame(floor)])
    return shown[["source", "row", *late, "parameters", "share", "gflops", *costs, "steps", "seeds",
                  "iou", "semantic_miou", "accuracy", "minus_best", "satisfies"]].rename(columns={
        "post_hoc": "post hoc", "share": "of full-size's", "gflops": "GFLOPs", "iou": "IoU",
        "memory_mb": "memory, MB", "photo_ms": "photo, ms", "step_ms": "step, ms",
        "semantic_miou": "semantic mIoU", "minus_best": "minus the best"}).replace("nan", "")


def with_times(table: pd.DataFrame) -> pd.DataFrame:
    """A table of `ablation` with milliseconds of `ablation_times`, where these are stored: of a
    photo's prediction, and of a step of training."""
    if not TIMES.is_file():
        return table
    times = read_frame(TIMES)
    ms = 1000 * times.pivot(index="row", columns="what", values="seconds")
    photo = ms["predict"] / times["n_images"].iloc[0]
    return table.assign(photo_ms=table["row"].map(photo), step_ms=table["row"].map(ms["step"]))


def of_times() -> list[str]:
    """What memory and times in the tables of architectures are."""
    said = ["`memory, MB` is what a step of training keeps in float32, as it is computed"]
    if TIMES.is_file():
        of = read_frame(TIMES).iloc[0]
        said = [f"{said[0]}; `photo, ms` (a prediction, without its mirror image) and `step, ms` "
                f"(of training) are medians of {of['rounds']} rounds in which all rows took turns, "
                f"with {of['n_images']} photos at once, of the network on cached features alone "
                f"(threads: {of['threads']}, {of['device']}; `petweak experiment ablation_times`)"]
    return [f"{said[0]}."]


def architectures_of_note(table: pd.DataFrame) -> pd.DataFrame:
    """Those with several seeds, those with more than the best of these, and what is degenerate."""
    best = table["source"].map(table[table["p"].isna()].set_index("source")["iou"])
    several = table["seeds"] >= SEEDS
    return architectures_table(table[several | (table["iou"] > best) | degenerate(table)])


def more_seeds(table: pd.DataFrame) -> str:
    """Which rows of `ablation_ground_truth` another table of ground truth has with more seeds."""
    said, own = [], table.set_index("row")["seeds"]
    for name in ("ablation", "ablation_wide"):
        rows = tables.stored("photos37", f"{name}.csv").query("source == 'ground_truth'")
        rows = rows[rows["seeds"] > rows["row"].map(own)]
        said.append(f"{', '.join(f'`{row}`' for row in rows['row'])} (`{name}.csv`)")
    return ("some rows have more seeds in another table, which is the one to quote: "
            f"{'; '.join(said)}.")


def simplest(table: pd.DataFrame) -> dict[tuple[bool, bool], pd.Series]:
    """The row of `ablation_wide` with the fewest parameters that satisfies, by (whether it still
    does after Holm's correction, whether post hoc rows are left out)."""
    rows = table.sort_values("parameters")
    return {(holm, planned): rows[(told == "yes") & ~(planned & rows["post_hoc"])].iloc[0]
            for holm, told in ((False, rows["satisfies"]), (True, after_holm(rows)))
            for planned in (False, True)}


def parameters(row: pd.Series, table: pd.DataFrame) -> str:
    """A row of `simplest` with its share of the parameters, and what speaks against it."""
    late = "post hoc, " * bool(row["post_hoc"])
    late += f"{UNDECIDED} after Holm, " * (after_holm(table)[row.name] != row["satisfies"])
    late += f"names {row['accuracy']:.0%} of the breeds"
    return f"`{row['row']}` with {row['share']:.1%} ({late})"


def what_counts(table: pd.DataFrame) -> str:
    """Whose verdicts count, of `ablation_wide` or of `ablation`, and what satisfies by them."""
    grid = tables.stored("photos37", "ablation.csv").query("source == 'ground_truth'")
    rows = table.merge(grid, on=["source", "row"], suffixes=("", "_there"))
    rows = rows[rows["satisfies"] != rows["satisfies_there"]]
    other = ", ".join(f"`{r.row}` (`{r.satisfies_there}` there, `{r.satisfies}` here)"
                      for r in rows.itertuples())
    of = {at: parameters(row, table) for at, row in simplest(table).items()}
    return ("for the second question, with ground truth, this table counts and not the first one: "
            "a verdict is about the distance to the best row, and the wider models, of which one "
            "is the best, were rows of the same grid (`ablation.toml`) from its first version on. "
            f"Verdicts that differ: {other}. So the simplest that satisfies, with its share of "
            f"`{FULL_SIZE}`'s parameters, is {of[False, False]}; after Holm's correction "
            f"{of[True, False]}; of the rows that are not post hoc {of[False, True]}; of these "
            f"after Holm {of[True, True]}.")


def denominator(table: pd.DataFrame) -> str:
    """What the shares of `ablation_wide` are of, and what satisfies beside a smaller whole."""
    other = [tables.stored("photos37", f"ablation{end}.csv").query("source == 'ground_truth'")
             for end in ("", "_ground_truth")]
    every, size = pd.concat([table, *other]), table.set_index("row")["parameters"]
    small = every[every["parameters"] <= TENTH * size["maskformer"]]
    fine = [f"`{row}`" for row in small.loc[small["satisfies"] == "yes", "row"].unique()]
    names = ", ".join(f"`{row}`" for row in small["row"].unique())
    return (f"all shares are of `{FULL_SIZE}` ({size[FULL_SIZE] / 1e6:.2f} million parameters), "
            "our reading of the paper's sizes. Beside this study's own default `maskformer` "
            f"({size['maskformer'] / 1e6:.2f} million), of the rows of all three tables with at "
            f"most {TENTH:.0%} of its parameters ({names}), with ground truth, "
            f"{', '.join(fine) or 'none'} satisfies.")


def without_wider(table: pd.DataFrame) -> str:
    """Which verdicts of `ablation` no wider model has stood beside."""
    wide = tables.stored("photos37", "ablation_wide.csv")
    best = wide.loc[wide["p"].isna(), "row"].iloc[0]
    said = ablation_answers(table).set_index("source")["simplest"]
    told = [f"masks of `{source}`: `{row}`" for source, row in said.items()
            if source not in set(wide["source"]) and isinstance(row, str)]
    return ("only ground truth has rows beside wider models (`ablation_wide.csv`, whose best is "
            f"`{best}`). So the other verdicts of this table ({'; '.join(told)}) may fall in the "
            "same way.")


def noisy(grid: pd.DataFrame) -> str:
    """Whether a simpler model is better with noisy masks, by the table `ablation`."""
    part = grid[(grid["source"] == "gradcam_pretrained") & (grid["seeds"] >= SEEDS)]
    known = part[part["gain_low"].notna()]
    held = known[known["gain_p"] < LEVEL]
    wins, losses = (held["gain_low"] > 0).sum(), (held["gain_high"] < 0).sum()
    return (f"{'Some do' if wins else 'That is not shown'}: with those of `gradcam_pretrained`, of "
            f"{len(known)} smaller architectures {wins} are better than the larger one, {losses} "
            f"worse, {len(known) - wins - losses} not told apart.")


def table_3() -> str:
    """What chapter 12 came to about the masks of the paper's Table 3."""
    fits = fitting(joined(tables.stored("photos37", "cam_faults.csv")),
                   tables.stored("photos", "memorised_masks.csv"))
    whole, near = (", ".join(f"`{name}`" for name in fits.index[of]) for of in (
        fits["fits"], fits["shared"] & (fits["kept"] < FORGETS)))
    return (f"where do the {PAPER[0]:.4f} of the paper's Table 3, the IoU of its masks, come from? "
            + (f"Of {len(fits)} faults that were tried, what fits all clues is {whole}: a "
               "suspicion, not a proof" if whole else
               f"None of {len(fits)} faults that were tried fits all clues; it stays open")
            + f" (most clues are met by {near or 'none'}; "
              "[notebook 12](../notebooks/12_take_a_score_apart.ipynb)).")


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


def four_digits(scores: pd.Series) -> pd.Series:
    """The paper's scores as it prints them."""
    return scores.map("{:.4f}".format, na_action="ignore")


def results_tables(results: pd.DataFrame) -> list[pd.DataFrame]:
    """Test scores with ground truth, the paper's beside them, as text: a table of the baselines and
    the paper's architecture, and one of MaskFormer-MS, if there is any."""
    keys, iou = ["source", "labels"], "mask_iou_gt/foreground"
    paper = tables.compare_with_paper(results).query("metric == 'mask_iou_gt' and split == 'test'")
    table = tables.study_overview(results).merge(paper[[*keys, "paper"]], "left", on=keys)
    names = {"model": "model", "learnt_from": "learnt from", "n_images": "scored",
             "pseudo_iou_gt/foreground": "its masks, border as foreground",
             iou: "model, border as foreground", "mask_iou_gt/ignore": "model, border ignored",
             "class_accuracy": "class accuracy",
             "semantic_miou/foreground": "semantic mIoU, border as foreground",
             "paper": "the paper's model"}
    names = {c: name for c, name in names.items() if c in table}  # older runs have no mIoU
    shown = table.assign(n_images=table["n_ground_truth"], paper=four_digits(table["paper"]))
    shown = tables.readable(shown[[*keys, *names, f"{iou} low", f"{iou} high", tables.BELOW]])
    shown = shown.drop(columns=tables.BELOW).set_axis([*keys, *names.values()], axis=1)
    multi = shown["model"] == "maskformer-ms"
    return [part.loc[:, (part != "").any()] for part in (shown[~multi], shown[multi]) if len(part)]


def chosen_configurations(compared: pd.DataFrame) -> pd.DataFrame:
    """What each way of choosing on train comes to on test: `chosen by`, `configuration`, and IoU
    `ignore`, `foreground`. The first configuration is the default."""
    borders = ["ignore", "foreground"]
    ignored, whole = (rank_criteria(compared, f"train/{b}", CRITERIA).set_index("criterion")
                      ["configuration"] for b in borders)
    chosen = {"default (tuned on test)": compared["configuration"].iloc[0],
              "mean rank of the criteria": ignored["mean_rank"],
              "ground truth, border ignored": ignored["ground truth"],
              "ground truth, border as foreground": whole["ground truth"]}
    scores = compared.set_index("configuration")[[f"test/{b}" for b in borders]]
    rows = [(by, name, *scores.loc[name]) for by, name in chosen.items()]
    return pd.DataFrame(rows, columns=["chosen by", "configuration", *borders])


def chosen_table(chosen: pd.DataFrame) -> pd.DataFrame:
    """On which scores the defaults of settings were chosen, if on any, and by what."""
    groups = chosen[chosen["chosen_on"] != "no scores"].groupby(["chosen_on", "by"])["setting"]
    shown = groups.apply(lambda names: ", ".join(f"`{name}`" for name in names)).reset_index()
    return shown.set_axis(["chosen on", "by", "settings"], axis=1)


def marked(models: pd.DataFrame) -> pd.DataFrame:
    """Rows of `both_borders` or of `summary` with a `border`, as text: an IoU below that of
    `all_ones` with the same border is marked, and baselines have nothing that they lack."""
    blind, ones = models["of"].isin(BASELINES), models[models["of"] == "all_ones"]
    alone = blind | (models["of"] == "ground_truth") | models["difference"].isna()
    shown = models[["border", "of", "model"]].rename(columns={"of": "source"})
    shown["learnt from"] = models["learnt_from"].astype(str).mask(blind, "")
    shown["seeds"] = models["seeds"].astype(str).mask(blind, "")
    for name, title in (("masks", "its masks (train)"), ("masks_test", "its masks (test)"),
                        ("iou", "model, IoU")):
        floor = models["border"].map(ones.set_index("border")[name])
        shown[title] = models[name].map("{:.3f}".format) + np.where(models[name] < floor, " ▼", "")
    limits = models[["smallest", "largest"]].map("{:.3f}".format)
    shown["seeds from, to"] = (limits["smallest"] + ", " + limits["largest"]).where(
        models["seeds"] > 1, "")
    for name, title in (("accuracy", "accuracy"), ("semantic_miou", "semantic mIoU")):
        shown[title] = models[name].map("{:.3f}".format, na_action="ignore")
    gaps = pd.Series([with_limits(row) for row in models.itertuples()], models.index)
    shown["minus full supervision"] = gaps.mask(alone, "")
    shown["verdict"] = models["verdict"].mask(alone)
    return shown.assign(satisfies=models["satisfies"])


def supervision_table(table: pd.DataFrame) -> pd.DataFrame:
    """All models of all sources and both baselines, for both treatments of the border, as text."""
    return marked(both_borders(table))


# Seconds of architectures, from `petweak experiment ablation_times`.
TIMES = Path(__file__).parent / "data" / "photos37" / "ablation_times.csv"
# Models that learnt from no annotation of the data set, by the border that each is trained for.
ALONE = {"foreground": "imagenet_only", "ignore": "imagenet_only background_threshold=0.5"}


def without_labels_table(table: pd.DataFrame) -> pd.DataFrame:
    """The models of ALONE, each scored as it was trained, and both baselines, as text; differences
    from full supervision where there are pairs of seeds on the same device."""
    parts = [part[part["of"].isin([of, *BASELINES])].assign(border=border)
             for border, of in ALONE.items()
             for part in [supervision_summary(table, border, "species")]]
    models = pd.concat(parts, ignore_index=True)
    pairs = table[table["metric"] == GAPS[0]].groupby([*KEYS, "border"])["seed"].nunique()
    shown = marked(models).drop(columns="satisfies").fillna({"verdict": ""})
    pairs = models.join(pairs.rename("pairs"), on=[*KEYS, "border"])["pairs"]
    shown["pairs of seeds"] = pairs.map("{:.0f}".format).where(
        shown["minus full supervision"] != "", "")
    paired = ["minus full supervision", "verdict", "pairs of seeds"]
    return shown if models["difference"].notna().any() else shown.drop(columns=paired)


# Rows of the README's table, in its words: sources as `supervision` names them; the paper's source.
HEADLINE = {
    "ground_truth": ("full supervision (`ground_truth`)", "ground_truth"),
    "external_deeplab": ("DeepLabv3, which learnt from other photos (`external_deeplab`)", ""),
    "external_yolo": ("YOLOv8n-seg, which learnt from other photos (`external_yolo`)", ""),
    "imagenet_only": ("no annotation of these photos (`imagenet_only`)", ""),
    "mask_rcnn_compact": ("a small detector of rendered pets (`mask_rcnn_compact`)", ""),
    "gradcam_pretrained": ("Grad-CAM of ImageNet's classes (`gradcam_pretrained`)", ""),
    "gradcam_pretrained cam_target=top1 threshold=0.5": (
        "Grad-CAM nearest to the paper's (`gradcam_pretrained`, top class; the threshold of 0.5 is "
        "ours)",
        "gradcam_pretrained"),
    "gradcam_finetuned": (
        "Grad-CAM of a finetuned head (`gradcam_finetuned`; a chosen threshold)",
        "gradcam_finetuned"),
    **{name: (f"no model (`{name}`)", "") for name in BASELINES}}


def headline_table(table: pd.DataFrame, cpu: pd.DataFrame) -> pd.DataFrame:
    """IoU and verdict of models of 37 breeds, as text: a row per source of masks, full supervision
    first, a column per treatment of the border and architecture; and the paper's score. Those of no
    annotation are of `cpu`, and for species."""
    alone = [supervision_summary(cpu, border, "species").query("of == @of and photos == 'all'")
             .assign(border=border, of="imagenet_only") for border, of in ALONE.items()]
    models = pd.concat([both_borders(table), *alone], ignore_index=True)
    models = models[models["of"].isin(HEADLINE)]
    blind, full = models["of"].isin(BASELINES), models["of"] == "ground_truth"
    floor = models[models["of"] == "all_ones"].set_index("border")["iou"]
    models = models.assign(
        text=models["iou"].map("{:.3f}".format)
        + np.where(models["iou"] < models["border"].map(floor), " ▼", "")
        + np.where(blind | full, "", ", " + models["verdict"].fillna("no verdict")),
        learnt_from=models["learnt_from"].map("{:,}".format).mask(blind, ""),
        model=[[m] if m in MODELS else [*MODELS] for m in models["model"]]).explode("model")
    cells = models.pivot(index="of", columns=["border", "model"], values="text")
    first = models.query("border == 'foreground' and model == 'maskformer'").set_index("of")["iou"]
    order = first.drop("ground_truth").sort_values(ascending=False).index
    rows = models.groupby("of")
    paper = tables.paper_tables().query(
        "metric == 'mask_iou_gt' and split == 'test' and labels == 'breed'").set_index("source")
    words = {"foreground": "border as foreground", "ignore": "border ignored"}
    return pd.DataFrame([
        {"masks of": HEADLINE[of][0], "learnt from": ", ".join(rows["learnt_from"].unique()[of]),
         "seeds": "" if of in BASELINES else " and ".join(
             map(str, sorted(rows["seeds"].unique()[of])))}
        | {f"{said}, `{model}`": cells.loc[of, (border, model)]
           for border, said in words.items() for model in MODELS}
        | {"the paper": four_digits(paper["value"]).get(HEADLINE[of][1], math.nan)}
        for of in ("ground_truth", *order)])


def alone_satisfies(cpu: pd.DataFrame) -> str:
    """Whether models of no annotation satisfy, by their difference from full supervision of the
    same seeds, for both treatments of the border."""
    gaps = cpu.query(f"metric == '{GAPS[0]}' and labels == 'species' and photos == 'all' and "
                     "model == 'maskformer-ms'")
    gaps = gaps[gaps["of"] == gaps["border"].map(ALONE)]
    told = satisfies(gaps, ["border"], gaps.groupby("border").size())
    if len(set(told)) == 1:
        return f"{told.iloc[0]} for both borders"
    return f"{told['ignore']} with the border ignored, {told['foreground']} as foreground"


def headline(table: pd.DataFrame, cpu: pd.DataFrame, wide: pd.DataFrame,
             grid: pd.DataFrame) -> list[str]:
    """Both questions of the paper in short, from the tables of 37 breeds and from those of
    architectures, of which `wide` counts."""
    models = both_borders(table)
    full = models[models["of"] == "ground_truth"]
    weak = models[models["difference"].notna() & ~models.index.isin(full.index)]
    best = weak.loc[weak.groupby(["border", "model"])["iou"].idxmax()]

    def told(part: pd.DataFrame, what: str) -> str:
        n = part["verdict"].value_counts()
        few = [f"{word} in {n[word]}" for word in VERDICTS if word in n]
        return ", ".join([f"{few[0]} of {len(part)} {what}", *few[1:]])

    named = ("`" + weak["of"] + "` (`" + weak["model"] + "`)").groupby(
        [weak["border"], weak["satisfies"]]).agg(" and ".join)
    masks, unclear = ([named.get((border, told), "none") for border in ("ignore", "foreground")]
                      for told in ("yes", UNDECIDED))
    of = {at: parameters(row, wide) for at, row in simplest(wide).items()}
    tenth = wide[(wide["share"] <= TENTH) & (wide["satisfies"] == "yes")]
    small = ", ".join(f"`{row}`" for row in tenth.sort_values("parameters")["row"])
    small = (f"only post hoc rows satisfy ({small})" if len(tenth) and tenth["post_hoc"].all() else
             f"these satisfy: {small or 'none'}")
    said = ablation_answers(wide).iloc[0]
    share = wide.set_index("row")["share"][said["semantic_simplest"]]
    itself = said["semantic"] == said["semantic_simplest"]
    by_class = ("none simpler than the best, " * itself
                + f"`{said['semantic_simplest']}` with {share:.1%}")
    return [
        "**How do models of weak masks compare with full supervision?** With the best weak masks "
        f"with breed labels (`{'`, `'.join(best['of'].unique())}`) a model is "
        f"{told(best, 'columns')}; with Grad-CAM's masks it is "
        f"{told(weak[weak['of'].str.startswith('gradcam')], 'cells')}.",
        "**What is the simplest that satisfies?** Of the weak masks, with the border ignored: "
        f"{masks[0]}, and with the border as foreground: {masks[1]}; of {len(wide)} architectures, "
        "with their share of a full-size MaskFormer's parameters, by mask IoU "
        f"{of[False, False]}, and by semantic mIoU, which also asks for the breed, {by_class}."
        f"\n  - Masks that are {UNDECIDED}: with the border ignored {unclear[0]}, as foreground "
        f"{unclear[1]}. `imagenet_only` (species, on a CPU): {alone_satisfies(cpu)}."
        f"\n  - The architectures learnt from ground truth in {wide['steps'].max()} steps, beside "
        f"wider models. By mask IoU, after Holm's correction it is {of[True, False]}; of those not "
        f"post hoc {of[False, True]}, and after Holm {of[True, True]}; a guess names "
        f"{1 / len(BREED_NAMES):.0%}. With at most {TENTH:.0%} of these parameters {small}. "
        "Semantic mIoU is compared by means alone: it has no interval.",
        f"**Do noisy masks want a simpler model?** {noisy(grid)}"]


def unlabelled_table(table: pd.DataFrame) -> pd.DataFrame:
    """Models by photos and by steps taken away, for both borders of the score, as text. IoU of the
    masks is over the photos of train among these that have a trimap."""
    signs = {"masks": "", "model": "", "difference": "+", "low": "+", "high": "+"}
    table = table.assign(**{n: table[n].map(f"{{:{s}.3f}}".format) for n, s in signs.items()})
    table["difference"] += " [" + table["low"] + ", " + table["high"] + "]"
    keys = ["photos", "n_masks", "steps_of", "configuration"]
    order = ["foreground", "ignore"]
    shown = table.pivot(index=keys, columns="border", values=["masks", "model", "difference"])
    rows = table.drop_duplicates(keys)[keys].itertuples(index=False, name=None)
    shown = shown.reindex(rows)[[(v, b) for b in order for v in ("masks", "model", "difference")]]
    splits = {"masks": "masks (train)", "model": "model (test)"}
    shown.columns = [f"{splits.get(v, v)}, {b}" for v, b in shown.columns]
    return shown.reset_index().rename(columns={"steps_of": "steps as of", "n_masks": "scored"})


def beside_masks(table: pd.DataFrame, labels: str) -> list[str]:
    """Whether models of these labels are better than the masks of their source."""
    gaps = compared(table, "minus_masks")
    return by_verdict(gaps[gaps["labels"] == labels], "the model", "its source's masks")


def would_change(table: pd.DataFrame) -> str:
    """What moves the answers about 37 breeds, and how far: a list of what was varied."""
    models = both_borders(table).query("difference.notna()")
    weak = models[models["of"] != "ground_truth"]

    def crossed(rows: pd.DataFrame, values: str, over: str) -> pd.DataFrame:
        keys = [k for k in ("of", "model", "border") if k != over]
        return rows.pivot(index=keys, columns=over, values=values)

    other = {over: (crossed(weak, "verdict", over).nunique(axis=1) > 1).sum()
             for over in ("border", "model")}
    ignored = crossed(weak, "iou", "border").eval("ignore - foreground")
    finer = crossed(models, "iou", "model").eval("`maskformer-ms` - maskformer")
    same = tables.stored("photos37", "supervision_cpu.csv").query(
        "photos == 'with_trimap' and metric == 'minus_ground_truth' and labels == 'breed'")
    same = same[~same["of"].str.startswith("ground_truth")].groupby(["model", "border"])["value"]
    same = ", ".join(f"{v:+.3f} (`{model}`, border {border})"
                     for (model, border), v in same.max().items())
    few, many = models["learnt_from"].min(), models["learnt_from"].max()
    grid = tables.stored("photos37", "ablation_ground_truth.csv").set_index("row")
    larger = grid[grid.index.str.startswith("maskformer backbone=")]
    one, plain = larger["seeds"].max(), grid.loc["maskformer"]
    larger = ", ".join(f"{name.partition('=')[2]} {v:.3f}" for name, v in larger["iou"].items())
    batch, full = Settings().training.batch_size, models.query(
        "of == 'ground_truth' and border == 'foreground'").set_index("model")["iou"]
    steps = {n: math.ceil(few / batch) * n for n in (20, epochs("ground_truth"))}
    lost = ", ".join(f"{grid.loc[name, 'iou'] - iou:+.3f} (`{name}`)" for name, iou in full.items())
    return "\n  - ".join([
        "what would change it:",
        f"border: the verdict of {other['border']} of {len(weak) // 2} weak models is another one "
        f"with the border ignored, which moves the IoU of the same model by {ignored.min():+.3f} "
        f"to {ignored.max():+.3f} (full supervision has a model for each border)",
        f"architecture: the verdict of {other['model']} of {len(weak) // 2} sources and borders is "
        f"another one with `maskformer-ms`, which adds {finer.min():+.3f} to {finer.max():+.3f}",
        f"photos of a source: with masks of the same {few} photos, in place of {many}, the best "
        f"weak model is {same} from full supervision (seed 0, on a CPU: no verdict)",
        f"backbone: in the grid of architectures ({plain['steps']} steps, border foreground) "
        f"`maskformer` of ground truth has {plain['iou']:.3f} with efficientnet_lite0 (seeds "
        f"{plain['seeds']}), and {larger} (seeds {one}: no verdict); the paper's ResNet-50 has not "
        "been run",
        f"steps: with {min(steps.values())} in place of {max(steps.values())} steps full "
        f"supervision moves by {lost} (border foreground; one side is of a CPU with "
        f"{min(steps.values())} steps, the other of a GPU with {max(steps.values())}: no interval, "
        "no verdict)"])


def epochs(source: str) -> int:
    """Of the models of 37 breeds."""
    times = read_frame(project_path("figures/data/gpu/supervision_timings.csv"))
    return int(times[times["of"].str.startswith(source)]["epochs"].max())


def of_classes(table: pd.DataFrame) -> str:
    """What the class accuracy rests on."""
    models = both_borders(table).query("difference.notna()")
    full = models["of"] == "ground_truth"
    said = (f"{part['accuracy'].min():.3f} to {part['accuracy'].max():.3f} with {what}, from "
            f"labels of {part['learnt_from'].max()} photos"
            for part, what in ((models[full], "full supervision"), (models[~full], "weak masks")))
    return f"class accuracy: {'; '.join(said)}."


def without_labels(table: pd.DataFrame) -> str:
    """Models of no annotation of the data set beside those of outlines, of these photos or of
    others: a list. Where there are paired differences, the table has them."""
    said, most, fewest, paired, aim = [], 0, 3, False, []
    others = both_borders(tables.stored("photos37", "supervision.csv"), "species").query(
        "model == 'maskformer-ms' and (of == 'ground_truth' or of.str.startswith('external'))")
    for border, of in ALONE.items():
        models = supervision_summary(table, border, "species")
        models = models[models["of"] == of]
        one = models[models["photos"] == "all"].set_index("model").loc["maskformer-ms"]
        beside = [f"{r.iou:.3f} of `{r.of}`" for r in others.itertuples() if r.border == border]
        said.append(f"border {border}: {one['iou']:.3f} (seeds {one['seeds']}) beside "
                    f"{', '.join(beside)}")
        most, fewest = max(most, one["seeds"]), min(fewest, one["seeds"])
        paired = paired or models["verdict"].notna().any()
        best = others[others["of"].str.startswith("external") & (others["border"] == border)]
        aim.append(f"{'above' if one['iou'] >= best['iou'].max() else 'below'} it with the border "
                   f"as {border}".replace("as ignore", "ignored"))
    missing = ("more seeds and " if fewest < 3 else "") + "the differences on each photo"
    return "\n  - ".join([
        "no annotation of these photos (`imagenet_only`, `maskformer-ms` for species, on a CPU), "
        f"beside models of outlines (on a GPU, seeds {others['seeds'].max()}):",
        *said,
        f"the aim was to match the better of the two segmenters: the mean is {', '.join(aim)}; no "
        f"verdict, as it is of {most} seeds on a CPU beside {others['seeds'].max()} on a GPU, and "
        "not paired",
        "for the border as foreground the masks of `imagenet_only` are widened to the border, and "
        "those of the segmenters are not",
        "the differences from full supervision on the same CPU, and verdicts, are in the table"
        if paired else f"there is no verdict: it would need {missing}"])


def devices(cpu: pd.DataFrame) -> str:
    """How far the scores of a seed on a CPU are from the GPU's, and how often farther than the
    GPU's seeds are from each other."""
    gpu = tables.stored("photos37", "supervision.csv")
    names = {"mask_iou_gt": "IoU", "semantic_miou": "semantic mIoU",
             "class_accuracy": "class accuracy"}
    keys, said = [*KEYS, "border", "metric"], []
    gpu, cpu = (t[t["metric"].isin(names) & (t["split"] == "test") & ~t["of"].isin(BASELINES)]
                for t in (gpu, cpu))
    seeds = gpu.groupby(keys)["value"].agg(lambda v: v.max() - v.min())
    both = pd.concat({"gpu": gpu[gpu["seed"] == 0].set_index(keys)["value"],
                      "cpu": cpu[cpu["seed"] == 0].set_index(keys)["value"], "seeds": seeds},
                     axis=1).dropna()
    for metric, part in both.groupby("metric"):
        gap = (part["gpu"] - part["cpu"]).abs()
        said.append(f"{names[metric]} up to {gap.max():.3f} apart, in "
                    f"{(gap > part['seeds']).sum()} of {len(gap)} rows more than the GPU's seeds "
                    "from each other")
    return f"seed 0 on a CPU beside seed 0 on the GPU, the same models: {'; '.join(said)}."


def unseen_scores(table: pd.DataFrame, rest: pd.DataFrame) -> str:
    """How scores of test change without the photos that some settings were chosen on. rest: the
    rows of the same models, scored without them."""
    keys, what = ["of", "labels", "model", "photos", "seed", "border"], "split == 'test'"
    both = [rest.query(f"{what} and metric == '{metric}' and border in ('foreground', 'ignore')")
            .merge(table.query(f"metric == '{metric}'"), on=[*keys, "split"])
            for metric in ("mask_iou_gt", "minus_ground_truth")]
    models, gaps = (t[~t["of"].isin(BASELINES)].assign(
        moved=lambda t: t["value_x"] - t["value_y"]) for t in both)
    fewer = (models["n_images_y"] - models["n_images_x"]).max()
    trained = models[keys[:-1]].drop_duplicates()
    return (f"without the {fewer} photos of test that are also in the data of three breeds, on "
            f"which defaults were chosen (`supervision_without.csv`), the IoU of {len(trained)} of "
            f"these models moves by {models['moved'].min():+.3f} to {models['moved'].max():+.3f}, "
            f"its difference from full supervision by {gaps['moved'].min():+.3f} to "
            f"{gaps['moved'].max():+.3f}.")


def heads_table(table: pd.DataFrame) -> pd.DataFrame:
    """Of two models that differ in the head alone, the one that is not best minus the best."""
    best = table["metric"].eq("minus_best") & table["value"].eq(0)  # the best beside itself
    pairs = compared(table[~best], "minus_best")
    names = set(table.loc[table["of"].str.startswith("gradcam"), "of"])
    other = [(names - {of}).pop() for of in pairs["of"]]
    return pd.DataFrame({
        "border": pairs["border"], "model of": pairs["of"], "IoU": pairs["iou"].round(3),
        "minus": other, "IoU ": pairs["other"].round(3),
        "difference": pairs.apply(with_limits, axis=1), "seeds": pairs["seeds"],
        "verdict": pairs["verdict"]})


def unlabelled_sentences(table: pd.DataFrame, border: str = "foreground") -> list[str]:
    """What more photos give, for each border of the scores, and which steps are missed where they
    are taken away, scored with the `border` that the settings train for. No verdicts: intervals of
    one training each."""
    out, away = [], table["configuration"] != DEFAULT
    sizes = table[~away & (table["steps_of"] == table["steps_of"].max())]
    for scored, part in sizes.sort_values("border", kind="stable").groupby("border"):
        first, *more = part.itertuples()
        if more:
            ious = ", ".join(f"{r.model:.3f} ({r.photos:,})" for r in part.itertuples())
            rises = "rises" if part["model"].is_monotonic_increasing else "does not rise"
            texts = ", ".join(f"{r.photos:,} {r.difference:+.3f} [{r.low:+.3f}, {r.high:+.3f}]"
                              for r in more)
            out.append(f"border {scored}: IoU of the last model by photos, {ious}, {rises} from "
                       "each number to the next, by means of one training each: between neighbours "
                       "there is no interval, as no scores of single photos are stored, so no "
                       f"verdict. Against {first.photos} photos: {texts}")
    if (steps := table[away & (table["border"] == border)].sort_values("difference")).empty:
        return out
    sides = ("below 0", "above 0", "around 0")
    side = pd.Series(sides[2], steps.index).mask(steps["high"] < 0, sides[0])
    side = side.mask(steps["low"] > 0, sides[1])
    names = "`" + steps["configuration"] + "` " + steps["difference"].map("{:+.3f}".format)
    said = names.groupby(side).agg(", ".join)
    said = "; ".join(f"{of}: {said.get(of, 'none')}" for of in sides)
    out.append(f"border {border}, {steps['photos'].iloc[0]} photos, a step taken away, by the "
               f"interval of one training each, so no verdict: {said}")
    models, both = steps.set_index("configuration")["model"], [AWAY[1], AWAY[-1]]
    if models.index.isin(both).sum() == 2:
        one, narrow = models[both]
        out.append(f"`{both[0]}` widens no masks to the border either. Beside `{both[1]}`, which "
                   f"leaves out that alone, the IoU of its model is {one - narrow:+.3f}")
    return out


# What a table says, in sentences that stand before it, and what more they say, after it.
SENTENCES = {
    "ablation": lambda table: [*ablation_sentences(table), without_wider(table), *of_times()],
    "ablation_ground_truth": lambda table: [*ablation_sentences(table), more_seeds(table)],
    "ablation_wide": lambda table: [
        *ablation_sentences(table), what_counts(table), denominator(table)],
    "label_efficiency": efficiency_sentences, "machine_hours": lambda hours: [of_hours(hours)],
    "supervision": lambda table: [
        f"first question: {answer(table)}",
        f"second question, masks: {satisfying(table).removesuffix('.')}; `imagenet_only` "
        "(`maskformer-ms`, species, on a CPU), by its difference from full supervision of the same "
        f"seeds: {alone_satisfies(tables.stored('photos37', 'supervision_cpu.csv'))}.",
        would_change(table)],
    "supervision_cpu": lambda table: [without_labels(table), unseen_scores(
        table, tables.stored("photos37", "supervision_without.csv")), devices(table)],
    "unlabelled_photos": unlabelled_sentences}
DETAILS = {
    "supervision": lambda table: [
        *supervision_answers(table), of_classes(table),
        *counts(compared(table, "minus_breed"), "species", "breeds, learnt from the same masks"),
        *beside_masks(table, "breed")],
    "supervision_cpu": lambda table: [*by_verdict(
        compared(table, "minus_with_trimap", tables.stored("photos37", "supervision.csv")),
        "models of all photos", "models of those with a trimap"),
        *beside_masks(table, "species")]}
TABLES = {  # a file in figures/data/<run>/, and the mark in one of PAGES: its table
    "results": results_tables, "timings": tables.costs,
    "self_training_gains": lambda table: summary(table).rename(
        columns={"masks": "masks (train)", "model": "model (test)"}),
    "configurations": chosen_configurations, "unseen_breeds": lost,
    "label_efficiency": efficiency_summary,
    "unlabelled_photos": unlabelled_table,
    "unseen_breeds_tried": lambda tried: by_configuration(tried).reset_index(),
    "cost": lambda stages: stages, "chosen": chosen_table, "cam_heads": two_by_two,
    "cam_heads_labels": lambda table: pd.concat(
        {border: by_labels(table, border) for border in BORDERS}, names=["border"]
    ).reset_index("border"),
    "ablation": architectures_of_note, "ablation_ground_truth": architectures_of_note,
    "ablation_wide": architectures_table,
    "supervision": supervision_table,
    "supervision_cpu": without_labels_table, "machine_hours": machine_table,
    "supervision_heads": heads_table,
    "mask_costs": lambda costs: costs.drop(columns=["low", "high", "n_images", "threads"]),
    "choices": lambda choices: choices.drop(columns=["source", "labels", "model", "seconds"]),
}


def block(said: list[str], frames: list[pd.DataFrame], more: list[str]) -> str:
    """What stands between two marks: sentences as a list, tables, more sentences."""
    before, after = ("".join(f"- {text[0].upper()}{text[1:]}\n" for text in part).rstrip()
                     for part in (said, more))
    shown = (tables.readable(f).to_markdown(index=False, disable_numparse=True) for f in frames)
    return "\n\n".join(filter(None, (before, *shown, after)))


def blocks(data: Path) -> Iterator[tuple[str, str]]:
    """Each mark, and what stands there by the tables of every run in `data`."""
    names = "supervision", "supervision_cpu", "ablation_wide", "ablation"
    files = [data / "photos37" / f"{name}.csv" for name in names]
    if all(f.is_file() for f in files):
        models, cpu, *grids = map(read_frame, files)
        yield "headline photos37", block(
            headline(models, cpu, *grids), [headline_table(models, cpu)], [])
        yield "table_3 photos37", block([table_3()], [], [])
    for file in (data / run / f"{name}.csv" for run in STORED for name in TABLES):
        if file.is_file():
            frames = TABLES[file.stem](table := read_frame(file))
            said, more = (of.get(file.stem, lambda _: [])(table) for of in (SENTENCES, DETAILS))
            yield f"{file.stem} {file.parent.name}", block(
                said, frames if isinstance(frames, list) else [frames], more)


def write_tables(pages: list[Path], out: Path) -> None:
    """Put the tables of every run in `out/data/` between their marks in `pages`. ValueError where
    no page has a mark."""
    old = {page: page.read_text(encoding="utf-8") for page in pages}
    new = dict(old)
    for mark, shown in blocks(out / "data"):
        start, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
        page = next((p for p, text in new.items() if start in text and end in text), None)
        if page is None:
            names = ", ".join(p.name for p in pages)
            raise ValueError(f"no '{start.strip()}' ... '{end}' in {names}")
        before, after = new[page].partition(start)[0], new[page].partition(end)[2]
        new[page] = f"{before}{start}\n{shown}\n\n{end}{after}"
    for page, text in new.items():
        if text != old[page]:
            write_text(page, text)


def to_run(seconds: float) -> str:
    """The run time of a chapter as its first cell says it: to ten seconds, and at least ten."""
    return f"About {max(10, 10 * round(seconds / 10))} seconds to run"


def write_times(notebooks: Path, figures: Path) -> None:
    """The measured run times into the first cells of the chapters."""
    measured = read_frame(figures / "data" / "embedded" / "notebooks.csv")
    for chapter, seconds in measured.itertuples(index=False):
        for path in notebooks.glob(f"{str(chapter).zfill(2)}_*.ipynb"):
            write_text(path, re.sub(r"(?<=\*\*Time\.\*\* )About \d+ seconds to run",
                                    to_run(seconds), path.read_text(encoding="utf-8")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in TITLES:
        parser.add_argument(f"--{name}", default=f"runs/{name}", help="the run's folder")
    parser.add_argument("--only-tables", action="store_true", help="leave figures/ as it is")
    args, out = parser.parse_args(), project_path("figures")
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
