"""The README's figures and tables, from finished runs: `make figures`.

    figures/data/<run>/              copies of the run's tables, the source of the rest
    figures/<run>-{overview,masks,label_efficiency,annotation_hours,ablation}.png
    README.md                        tables between marks such as `<!-- results photos -->`
    notebooks/                       the measured run time in the first cell of each chapter

    .venv/bin/python figures/draw.py [--embedded RUN] [--photos RUN] [--only-tables]

Real photos are shown with their attribution in `figures/ATTRIBUTION.md`: three, at most.
"""

import argparse
import math
import re
import shutil
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
from petweak.data.oxford_pets import read_pets
from petweak.evaluation.metrics import BASELINES, iou
from petweak.evaluation.metrics import target as target_of
from petweak.experiments.ablation import LEVEL, SEEDS, after_holm, degenerate
from petweak.experiments.ablation import answers as ablation_answers
from petweak.experiments.ablation import sentences as ablation_sentences
from petweak.experiments.cam_heads import BORDERS, by_labels, two_by_two
from petweak.experiments.configurations import chosen_configurations
from petweak.experiments.label_efficiency import sentences as efficiency_sentences
from petweak.experiments.label_efficiency import summary as efficiency_summary
from petweak.experiments.mask_costs import by_hours, saved
from petweak.experiments.self_training_gains import summary
from petweak.experiments.supervision import (
    KEYS,
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
from petweak.experiments.trials import UNDECIDED
from petweak.experiments.unlabelled_photos import sentences as unlabelled_sentences
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
        "training_hours": "training, h", "training_on": "training on", "iou": "IoU"})


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
        points = with_machine(points, machine_hours(data))
        title += "\n(behind each name: hours of a machine)"
    save_or_show(charts.annotation_hours(points, title), out / f"{data.name}-annotation_hours.png")


def write_ablation(data: Path, out: Path) -> None:
    """Draw the grid of architectures of a run from its table in `data`, where it has one."""
    if not (file := data / "ablation.csv").is_file():
        return
    table = read_frame(file)
    say = {"yes": "the simplest here that satisfies by mask IoU is {simplest}, with {share:.1%} of "
                  "full-size's parameters",
           "none of the grid": "nothing with a tenth of full-size's parameters satisfies",
           "undecided": "undecided whether a tenth of full-size's parameters is enough"}
    itself = "{simplest}, with {share:.1%} of full-size's parameters, is itself the best"
    rows = ablation_answers(table).to_dict("records")
    said = {r["source"]: (itself if r["tenth"] == "yes" and r["simplest"] == r["best"] else
                          say[r["tenth"]]).format(**r) for r in rows}
    title = "\n".join(f"{source}: {text}" for source, text in said.items())
    save_or_show(charts.ablation_points(table, title), out / f"{data.name}-ablation.png")


def architectures_table(table: pd.DataFrame) -> pd.DataFrame:
    """Of each source the best architecture first, and the baselines, as text; "▽" marks what is
    degenerate, and a column what is post hoc, where a row is."""
    table = table.sort_values(["source", "iou"], ascending=False)
    three, signed = ("iou", "semantic_miou", "accuracy"), ("minus_best", "low", "high")
    forms = dict.fromkeys(three, "{:.3f}") | dict.fromkeys(signed, "{:+.3f}")
    forms |= {"share": "{:.1%}", "gflops": "{:.2f}"}
    shown = table.assign(**{name: table[name].map(form.format) for name, form in forms.items()})
    shown["iou"] += np.where(degenerate(table), " ▽", "")
    shown["minus_best"] += " [" + shown["low"] + ", " + shown["high"] + "]"
    shown["satisfies"] += np.where(
        after_holm(table) == table["satisfies"], "", f", {UNDECIDED} after Holm")
    shown["post_hoc"] = np.where(table["post_hoc"], "yes", "")
    late = ["post_hoc"] * bool(table["post_hoc"].any())
    floor = [{"row": n, "iou": f"{table[n].iloc[0]:.3f}"} for n in BASELINES]
    shown = pd.concat([shown.astype(str), pd.DataFrame(floor)])
    return shown[["source", "row", *late, "parameters", "share", "gflops", "steps", "seeds", "iou",
                  "semantic_miou", "accuracy", "minus_best", "satisfies"]].rename(columns={
        "post_hoc": "post hoc", "share": "of full-size's", "gflops": "GFLOPs", "iou": "IoU",
        "semantic_miou": "semantic mIoU", "minus_best": "minus the best"})


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


def what_counts(table: pd.DataFrame) -> str:
    """Whose verdicts count, of `ablation_wide` or of `ablation`, and what satisfies by them."""
    grid = tables.stored("photos37", "ablation.csv").query("source == 'ground_truth'")
    rows = table.merge(grid, on=["source", "row"], suffixes=("", "_there"))
    rows = rows[rows["satisfies"] != rows["satisfies_there"]]
    other = ", ".join(f"`{r.row}` (`{r.satisfies_there}` there, `{r.satisfies}` here)"
                      for r in rows.itertuples())
    fine = table[table["satisfies"] == "yes"].sort_values("parameters")
    planned = fine[~fine["post_hoc"]].iloc[0]
    holm = "" if not planned["p"] >= LEVEL else f", {UNDECIDED} after Holm"
    return ("for the second question, with ground truth, this table counts and not the first one: "
            "a verdict is about the distance to the best row, and the wider models, of which one "
            "is the best, were rows of the same grid (`ablation.toml`) from its first version on. "
            f"Verdicts that differ: {other}. So the simplest that satisfies is "
            f"`{fine.iloc[0]['row']}`"
            f"{' (post hoc)' * bool(fine.iloc[0]['post_hoc'])}; of the rows that are not post hoc, "
            f"`{planned['row']}` with {planned['share']:.1%} of full-size's parameters{holm}.")


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
    shown = table.assign(n_images=table["n_ground_truth"])
    shown = tables.readable(shown[[*keys, *names, f"{iou} low", f"{iou} high", tables.BELOW]])
    shown = shown.drop(columns=tables.BELOW).set_axis([*keys, *names.values()], axis=1)
    multi = shown["model"] == "maskformer-ms"
    return [part.loc[:, (part != "").any()] for part in (shown[~multi], shown[multi]) if len(part)]


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


# Models that learnt from no annotation of the data set, by the border that each is trained for.
ALONE = {"foreground": "imagenet_only", "ignore": "imagenet_only background_threshold=0.5"}


def without_labels_table(table: pd.DataFrame) -> pd.DataFrame:
    """The models of ALONE, each scored as it was trained, and both baselines, as text."""
    parts = [part[part["of"].isin([of, *BASELINES])].assign(border=border)
             for border, of in ALONE.items()
             for part in [supervision_summary(table, border, "species")]]
    shown = marked(pd.concat(parts, ignore_index=True))
    return shown.drop(columns=["minus full supervision", "verdict", "satisfies"])


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
    larger = grid[grid.index.str.startswith("maskformer backbone=")]["iou"]
    larger = ", ".join(f"{name.partition('=')[2]} {iou:.3f}" for name, iou in larger.items())
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
        f"backbone: `maskformer` of ground truth has {grid.loc['maskformer', 'iou']:.3f} with "
        f"efficientnet_lite0, as in this table, and {larger} (border foreground, seed 0); the "
        "paper's ResNet-50 has not been run",
        f"steps: with {min(steps.values())} in place of {max(steps.values())} steps full "
        f"supervision moves by {lost} (border foreground, on a CPU)"])


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
    others; a verdict where there are paired differences."""
    said, fewest, told, aim = [], 3, "", []
    others = both_borders(tables.stored("photos37", "supervision.csv"), "species").query(
        "model == 'maskformer-ms' and (of == 'ground_truth' or of.str.startswith('external'))")
    for border, of in ALONE.items():
        models = supervision_summary(table, border, "species")
        models = models[models["of"] == of]
        one = models[models["photos"] == "all"].set_index("model").loc["maskformer-ms"]
        beside = [f"{r.iou:.3f} of `{r.of}`" for r in others.itertuples() if r.border == border]
        said.append(f"border {border} {one['iou']:.3f} (seeds {one['seeds']}) beside "
                    f"{', '.join(beside)}")
        fewest = min(fewest, one["seeds"])
        best = others[others["of"].str.startswith("external") & (others["border"] == border)]
        aim.append(f"{'reached' if one['iou'] >= best['iou'].max() else 'missed'} with the border "
                   f"as {border}".replace("as ignore", "ignored"))
        for row in models[models["verdict"].notna()].itertuples():
            pairs = table[(table["of"] == of) & (table["model"] == row.model) &
                          (table["photos"] == row.photos)].query(
                "metric == 'minus_ground_truth' and labels == 'species' and border == @border")
            told += (f" Border {border}, `{row.model}` of {row.learnt_from} photos, minus full "
                     "supervision on the same CPU "
                     f"{with_limits(row)} (pairs of seeds: {pairs['seed'].nunique()}): "
                     f"{row.verdict}.")
    missing = ("more seeds and " if fewest < 3 else "") + "the differences on each photo"
    return (f"no annotation of these photos (`imagenet_only`, `maskformer-ms` for species, on a "
            f"CPU): {'; '.join(said)} (those on a GPU, seeds {others['seeds'].max()}). "
            f"The aim to match the better of the two segmenters is {', '.join(aim)}, by these "
            "means."
            f"{told or f' There is no verdict: it would need {missing}.'} For the border as "
            "foreground the masks of `imagenet_only` are widened to the border, and those of the "
            "segmenters are not.")


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


# What a table says, in sentences that stand before it, and what more they say, after it.
SENTENCES = {
    "ablation": ablation_sentences,
    "ablation_ground_truth": lambda table: [*ablation_sentences(table), more_seeds(table)],
    "ablation_wide": lambda table: [*ablation_sentences(table), what_counts(table)],
    "label_efficiency": efficiency_sentences,
    "supervision": lambda table: [
        f"first question: {answer(table)}", f"second question, masks: {satisfying(table)}",
        would_change(table)],
    "supervision_cpu": lambda table: [without_labels(table), unseen_scores(
        table, tables.stored("photos37", "supervision_without.csv")), devices(table)],
    "unlabelled_photos": unlabelled_sentences}
DETAILS = {
    "supervision": lambda table: [
        *supervision_answers(table), of_classes(table),
        *counts(compared(table, "minus_breed"), "species", "breeds"),
        *beside_masks(table, "breed")],
    "supervision_cpu": lambda table: [*by_verdict(
        compared(table, "minus_with_trimap", tables.stored("photos37", "supervision.csv")),
        "models of all photos", "models of those with a trimap"),
        *beside_masks(table, "species")]}
TABLES = {  # a file in figures/data/<run>/, and the mark in the README: its table
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
    "mask_costs": lambda costs: costs.drop(columns=["low", "high", "n_images", "threads"]),
    "choices": lambda choices: choices.drop(columns=["source", "labels", "model", "seconds"]),
}


def write_readme(readme: Path, out: Path) -> None:
    """Put the tables of every run in `out/data/` between the marks of the README. ValueError where
    a mark is missing."""
    old = text = readme.read_text(encoding="utf-8")
    for file in (out / "data" / run / f"{name}.csv" for run in STORED for name in TABLES):
        if not file.is_file():
            continue
        mark = f"{file.stem} {file.parent.name}"
        start, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
        if start not in text or end not in text:
            raise ValueError(f"{readme} has no '{start.strip()}' ... '{end}'")
        frames = TABLES[file.stem](table := read_frame(file))
        shown = "\n\n".join(
            tables.readable(frame).to_markdown(index=False, disable_numparse=True)
            for frame in (frames if isinstance(frames, list) else [frames]))
        said, more = ("".join(f"- {sentence[0].upper()}{sentence[1:]}\n" for sentence in say(table))
                      for say in (of.get(file.stem, lambda _: []) for of in (SENTENCES, DETAILS)))
        shown = "\n\n".join(filter(None, (said.rstrip(), shown, more.rstrip())))
        shown = f"\n{shown}\n\n"
        text = f"{text.partition(start)[0]}{start}{shown}{end}{text.partition(end)[2]}"
    if text != old:
        write_text(readme, text)


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
    write_readme(project_path("README.md"), out)
    write_times(project_path("notebooks"), out)


if __name__ == "__main__":
    main()
