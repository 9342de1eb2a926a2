"""The tables of README.md and figures/results.md, as text, from those in figures/data/."""

import math
from pathlib import Path

import numpy as np
import pandas as pd

from petweak.config import settings
from petweak.data.files import read_frame
from petweak.data.oxford_pets import BREED_NAMES
from petweak.evaluation.metrics import BASELINES
from petweak.experiments.ablation import BASES, GRID, SEEDS, after_holm, degenerate
from petweak.experiments.cam_heads import BORDERS, by_labels, two_by_two
from petweak.experiments.configurations import CRITERIA
from petweak.experiments.label_efficiency import summary as efficiency_summary
from petweak.experiments.mask_costs import by_hours
from petweak.experiments.selection_criteria import rank_criteria
from petweak.experiments.self_training_gains import summary
from petweak.experiments.supervision import (
    GAPS,
    KEYS,
    MODELS,
    NONE,
    ONE_SEED,
    both_borders,
    compared,
    with_limits,
)
from petweak.experiments.supervision import summary as supervision_summary
from petweak.experiments.trials import UNDECIDED
from petweak.experiments.unseen_breeds import lost
from petweak.experiments.unseen_breeds_tried import by_configuration
from petweak.models.maskformer import MaskFormerConfig
from petweak.study import tables

# Seconds of architectures, from `petweak experiment ablation_times`.
TIMES = Path(__file__).parent / "data" / "photos37" / "ablation_times.csv"
# Models that learnt from no annotation of the data set, by the border that each is trained for.
ALONE = {"foreground": "imagenet_only", "ignore": "imagenet_only background_threshold=0.5"}

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


def architectures_table(table: pd.DataFrame) -> pd.DataFrame:
    """Of each source the best architecture first, and the baselines, as text; "▽" marks what is
    degenerate, and columns what is on the Pareto front and, where a row is, post hoc."""
    table = table.sort_values(["source", "iou"], ascending=False)
    limits = ("minus_best", "low", "high")
    three, signed = ("iou", "semantic_miou", "accuracy"), (
        *limits, *(f"semantic_{name}" for name in limits))
    forms = dict.fromkeys(three, "{:.3f}") | dict.fromkeys(signed, "{:+.3f}")
    forms |= {"share": "{:.1%}", "gflops": "{:.2f}", "memory_mb": "{:.0f}"}
    forms |= {"photo_ms": "{:.1f}", "step_ms": "{:.0f}"}
    forms = {name: form for name, form in forms.items() if name in (table := with_times(table))}
    shown = table.assign(**{name: table[name].map(form.format) for name, form in forms.items()})
    shown["iou"] += np.where(degenerate(table), " ▽", "")
    for of in ("", "semantic_"):
        shown[f"{of}minus_best"] += " [" + shown[f"{of}low"] + ", " + shown[f"{of}high"] + "]"
    shown["semantic_minus_best"] = (
        shown["semantic_minus_best"] + ", " + shown["semantic_satisfies"]).fillna("")
    shown["satisfies"] += np.where(
        after_holm(table) == table["satisfies"], "", f", {UNDECIDED} after Holm")
    for name in ("post_hoc", "pareto"):
        shown[name] = np.where(table[name], "yes", "")
    late = ["post_hoc"] * bool(table["post_hoc"].any())
    costs = [name for name in ("memory_mb", "photo_ms", "step_ms") if name in table]
    floor = [{"row": n, "iou": f"{table[n].iloc[0]:.3f}"} for n in BASELINES]
    shown = pd.concat([shown.astype(str), pd.DataFrame(floor)])
    return shown[["source", "row", *late, "parameters", "share", "gflops", *costs, "steps", "seeds",
                  "iou", "pareto", "minus_best", "satisfies", "accuracy", "semantic_miou",
                  "semantic_minus_best"]].rename(columns={
        "post_hoc": "post hoc", "share": "of full-size's", "gflops": "GFLOPs", "iou": "IoU",
        "pareto": "Pareto front",
        "memory_mb": "memory, MB", "photo_ms": "photo, ms", "step_ms": "step, ms",
        "semantic_miou": "semantic mIoU", "minus_best": "minus the best",
        "semantic_minus_best": "minus the best by it, satisfies"}).replace("nan", "")


def with_times(table: pd.DataFrame) -> pd.DataFrame:
    """A table of `ablation` with milliseconds of `ablation_times`, where these are stored: of a
    photo's prediction, and of a step of training."""
    if not TIMES.is_file():
        return table
    times = read_frame(TIMES)
    ms = 1000 * times.pivot(index="row", columns="what", values="seconds")
    photo = ms["predict"] / times["n_images"].iloc[0]
    return table.assign(photo_ms=table["row"].map(photo), step_ms=table["row"].map(ms["step"]))


def architectures_of_note(table: pd.DataFrame) -> pd.DataFrame:
    """Those with several seeds, those with more than the best of these, and what is degenerate."""
    best = table["source"].map(table[table["p"].isna()].set_index("source")["iou"])
    several = table["seeds"] >= SEEDS
    return architectures_table(table[several | (table["iou"] > best) | degenerate(table)])


def wide_table(table: pd.DataFrame) -> pd.DataFrame:
    """Those of `ablation_wide`. Where a width of `maskformer-ms` has no row of `maskformer` beside
    it, the one of `ablation_ground_truth`, which no difference from this table's best is known of.
    """
    like = table["row"].str.replace("maskformer-ms decoder", "maskformer decoder")
    more = tables.stored("photos37", "ablation_ground_truth.csv")
    more = more[more["row"].isin(like) & ~more["row"].isin(table["row"])]
    shown = architectures_table(pd.concat([table, more], ignore_index=True))
    other = shown["row"].isin(more["row"])
    shown.loc[other, ["Pareto front", "minus the best", "minus the best by it, satisfies"]] = ""
    shown.loc[other, "satisfies"] = np.where(shown["seeds"][other] == "1", ONE_SEED, "")
    return shown


def one_by_one(table: pd.DataFrame) -> pd.DataFrame:
    """The architectures of `ablation_ground_truth` that differ from one of BASES in one thing, as
    text: a row per thing in the order of the grid, what the bases have and, by value, the IoUs with
    `maskformer` and with `maskformer-ms`; each from the table that has the row with most seeds."""
    every = pd.concat([table, *(tables.stored("photos37", f"ablation{end}.csv").query(
        "source == 'ground_truth'") for end in ("", "_wide"))])
    rows = every.sort_values("seeds", ascending=False, kind="stable").drop_duplicates("row")
    rows = rows.set_index("row")[["iou", "seeds"]]
    several = (" (" + rows["seeds"].astype(str) + " seeds)").where(rows["seeds"] > 1, "")
    texts = rows["iou"].map("{:.3f}".format) + several
    config, cells = vars(MaskFormerConfig(len(BREED_NAMES), ())), {}
    for base in BASES:
        usual = config | settings("photos").flat() | GRID[base]["base"]
        for what, values in GRID[base].items():
            names = {} if what == "base" else {v: f"{base} {what}={v}" for v in values}
            said = [f"{v}: {texts[name]}" for v, name in names.items() if name in texts]
            if said:
                cell = cells.setdefault(what, {"varied": f"`{what}`", "usual": str(usual[what])})
                cell[base] = "; ".join(said)
    heads = {base: f"`{base}`, IoU {texts[base]}" for base in BASES}
    return pd.DataFrame(cells.values()).fillna("").rename(columns={"usual": "usual value"} | heads)


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


def marked(models: pd.DataFrame, n: int) -> pd.DataFrame:
    """Rows of `both_borders` or of `summary` with a `border`, of n labels, as text: an IoU below
    that of `all_ones` with the same border is marked; baselines have nothing that they lack."""
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
    for name, title in (("accuracy", f"accuracy of {n} labels"),
                        ("semantic_miou", f"semantic mIoU of {n + 1} classes")):
        shown[title] = models[name].map("{:.3f}".format, na_action="ignore")
    gaps = pd.Series([with_limits(row) for row in models.itertuples()], models.index)
    shown["minus full supervision"] = gaps.mask(alone, "")
    shown["verdict"] = models["verdict"].mask(alone)
    return shown.assign(satisfies=models["satisfies"])


def supervision_table(table: pd.DataFrame) -> pd.DataFrame:
    """All models of all sources and both baselines, for both treatments of the border, as text."""
    return marked(both_borders(table), len(BREED_NAMES))


def species_table(table: pd.DataFrame) -> pd.DataFrame:
    """The models of all sources with the species for labels, as text."""
    models = both_borders(table, "species")
    return marked(models, 2)[~models["of"].isin(BASELINES)].drop(
        columns=["its masks (train)", "its masks (test)", "seeds from, to", "satisfies"])


def without_labels_table(table: pd.DataFrame) -> pd.DataFrame:
    """The models of ALONE, each scored as it was trained, and both baselines, as text; differences
    from full supervision where there are pairs of seeds on the same device."""
    parts = [part[part["of"].isin([of, *BASELINES])].assign(border=border)
             for border, of in ALONE.items()
             for part in [supervision_summary(table, border, "species")]]
    models = pd.concat(parts, ignore_index=True)
    pairs = table[table["metric"] == GAPS[0]].groupby([*KEYS, "border"])["seed"].nunique()
    shown = marked(models, 2).drop(columns="satisfies").fillna({"verdict": ""})
    pairs = models.join(pairs.rename("pairs"), on=[*KEYS, "border"])["pairs"]
    shown["pairs of seeds"] = pairs.map("{:.0f}".format).where(
        shown["minus full supervision"] != "", "")
    paired = ["minus full supervision", "verdict", "pairs of seeds"]
    return shown if models["difference"].notna().any() else shown.drop(columns=paired)


def metrics_table(table: pd.DataFrame) -> pd.DataFrame:
    """All metrics of `of_both`, as text, means over seeds: a row per model and baseline, and in a
    cell the values by treatment of the border, as foreground, ignored and as background, where a
    metric has them."""
    keys, borders = ["labels", "of", "model", "learnt_from"], ["foreground", "ignore", "background"]
    part = table[~table["metric"].isin(GAPS)]
    texts = part.groupby([*keys, "split", "metric", "border"])["value"].mean().map("{:.3f}".format)
    order = texts.index.get_level_values("border").map(dict(zip(
        [NONE, *borders], range(1 + len(borders)), strict=True)))
    cells = texts.iloc[np.argsort(order, kind="stable")].groupby(
        [*keys, "split", "metric"]).agg(" / ".join).unstack(["split", "metric"])
    masks = "pseudo_iou_gt"
    columns = [("test", name) for name in (
        "class_accuracy", "class_iou", "mask_iou", "mask_iou_gt", "dataset_iou_gt",
        "boundary_iou_gt", "semantic_miou")] + [("train", masks), ("test", masks)]
    shown = cells[columns].set_axis([
        *(name for _, name in columns[:-2]), "its masks (train)", "its masks (test)"], axis=1)
    shown.insert(0, "seeds", part.groupby(keys)["seed"].nunique())
    shown = shown.reindex(part.drop_duplicates(keys).set_index(keys).index).reset_index()
    shown = shown.astype({"learnt_from": str, "seeds": str}).fillna("")
    shown.loc[shown["of"].isin(BASELINES), ["learnt_from", "seeds"]] = ""
    return shown.rename(columns={"of": "source", "learnt_from": "learnt from"})


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


def beside_best(table: pd.DataFrame) -> pd.DataFrame:
    """Of a few models of `supervision`, each but the best minus the best, and the masks of their
    sources, as text."""
    pairs = compared(table, "minus_best")
    ious = table[(table["metric"] == "mask_iou_gt") & ~table["of"].isin(BASELINES)]
    best = ious.groupby(["border", "of"])["value"].mean().groupby("border").idxmax().str[1]
    best = pairs["border"].map(best)
    masks = table[table["metric"] == "pseudo_iou_gt"].pivot_table(
        "value", ["border", "of"], "split").round(3)
    ours, others = (masks.reindex(pd.MultiIndex.from_arrays([pairs["border"], of]))
                   .reset_index(drop=True) for of in (pairs["of"], best))
    return pd.DataFrame({
        "border": pairs["border"], "model of": pairs["of"], "its masks (train)": ours["train"],
        "its masks (test)": ours["test"], "IoU": pairs["iou"].round(3), "minus": best,
        "its masks (train) ": others["train"], "its masks (test) ": others["test"],
        "IoU ": pairs["other"].round(3), "difference": pairs.apply(with_limits, axis=1),
        "seeds": pairs["seeds"], "verdict": pairs["verdict"]})


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
    "ablation": architectures_of_note, "ablation_ground_truth": one_by_one,
    "ablation_wide": wide_table,
    "supervision": supervision_table,
    "supervision_cpu": without_labels_table, "machine_hours": machine_table,
    "supervision_heads": beside_best, "supervision_species": beside_best,
    "supervision_external": beside_best,
    "mask_costs": lambda costs: costs.drop(columns=["low", "high", "n_images", "threads"]),
    "choices": lambda choices: choices.drop(columns=["source", "labels", "model", "seconds"]),
}
