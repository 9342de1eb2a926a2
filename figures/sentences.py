"""What README.md and figures/results.md say of their tables, before them and after them."""

import math
from typing import Any

import pandas as pd
from result_tables import ALONE, TIMES

from petweak.config import Settings
from petweak.data.files import project_path, read_frame
from petweak.data.oxford_pets import BREED_NAMES
from petweak.evaluation.metrics import BASELINES
from petweak.experiments.ablation import FULL_SIZE, LEVEL, SEEDS, TENTH, after_holm, once_larger
from petweak.experiments.ablation import answers as ablation_answers
from petweak.experiments.ablation import sentences as ablation_sentences
from petweak.experiments.cam_faults import PAPER, joined
from petweak.experiments.label_efficiency import sentences as efficiency_sentences
from petweak.experiments.memorised_masks import FORGETS, fitting
from petweak.experiments.supervision import (
    GAPS,
    KEYS,
    answer,
    both_borders,
    compared,
    counts,
    labels_of_head,
    satisfying,
    verdict_words,
    with_limits,
)
from petweak.experiments.supervision import answers as supervision_answers
from petweak.experiments.supervision import summary as supervision_summary
from petweak.experiments.trials import DEFAULT, PHOTOS, UNDECIDED, VERDICTS, satisfies
from petweak.experiments.unlabelled_photos import AWAY
from petweak.study import tables


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


def pareto_front(table: pd.DataFrame) -> str:
    """The rows of the front in parameters and mask IoU, of each source, the smallest first."""
    front = table[table["pareto"]].sort_values("parameters")
    said = (f"masks of `{source}`: " + ", ".join(
        f"`{r.row}` {r.iou:.3f} with {r.share:.1%}" for r in front[front["source"] == source]
        .itertuples()) for source in table["source"].unique())
    return ("the Pareto front of this table, of parameters and mask IoU (no other row has at most "
            "as many parameters and at least as large an IoU; by means over the seeds of a row, so "
            f"no verdict): {'; '.join(said)}.")


def noisy(grid: pd.DataFrame, wide: pd.DataFrame) -> str:
    """Whether noisy masks want a simpler model, by the table `ablation`: what satisfies of each
    kind of masks alone, and what is better than the larger model. wide: `ablation_wide`."""
    exact, weak = ablation_answers(grid).to_dict("records")
    beside = wide.set_index("row")["satisfies"].get(exact["simplest"], "not run")
    rows = grid[grid["source"] == weak["source"]].set_index("row")
    several = rows[(rows["seeds"] >= SEEDS) & rows["gain"].notna()]
    known = several[several["gain_low"].notna()]
    held = known[known["gain_p"] < LEVEL]
    wins, losses = (held["gain_low"] > 0).sum(), (held["gain_high"] < 0).sum()
    hint = "suggests" if weak["share"] < exact["share"] else "does not suggest"

    def simplest(r: dict[str, Any]) -> str:
        notes = ["itself the best on test"] * (r["simplest"] == r["best"])
        notes += [f"after Holm's correction `{r['after_holm']}`"] * (
            r["after_holm"] != r["simplest"])
        return f"`{r['simplest']}` with {r['share']:.1%} of the parameters" + (
            f" ({', '.join(notes)})" if notes else "")

    return (f"What satisfies in this grid {hint} it, which is no verdict, as no test compares two "
            f"such rows: with masks of `{weak['source']}` the simplest is {simplest(weak)}, with "
            f"`{exact['source']}` {simplest(exact)}; beside wider models the second is {beside}, "
            "and the first was not run beside them. That a simpler one is better than "
            "the larger one is "
            f"{'shown' if wins else 'not shown'}: of {len(several)} smaller architectures with "
            f"{SEEDS} seeds and masks of `{weak['source']}` {wins} are better, {losses} worse, "
            f"{len(known) - wins - losses} not told apart, and {len(several) - len(known)} have no "
            f"interval.{once_larger(rows)}")


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
            + f" (of those tested, most clues are met by {near or 'none'}; "
              "[notebook 12](../notebooks/12_take_a_score_apart.ipynb)).")


def alone_satisfies(cpu: pd.DataFrame) -> str:
    """Whether models of no annotation satisfy, for both treatments of the border, by their
    difference from the best of the same seeds: where the table does not have it, from full
    supervision, which is the best."""
    gaps = cpu.query("labels == 'species' and photos == 'all' and model == 'maskformer-ms'")
    gaps = gaps[gaps["of"] == gaps["border"].map(ALONE)]
    gaps = gaps[gaps["metric"] == GAPS[GAPS[1] in set(gaps["metric"])]]
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
        said = []
        for word in VERDICTS:
            rows = part[part["verdict"] == word].sort_values("difference")
            if len(rows):
                ends = rows.iloc[[0, -1][:len(rows)]].itertuples()
                said.append(f"{word} in {len(rows)}{f' of {len(part)} {what}' * (not said)} "
                            f"({' to '.join(map(with_limits, ends))})")
        return ", ".join(said)

    itself = models["iou"].eq(models.groupby("border")["iou"].transform("max")).map(
        {True: ", itself the best on test)", False: ")"})
    named = ("`" + weak["of"] + "` (`" + weak["model"] + "`" + itself[weak.index]).groupby(
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
    notes = ["itself the best"] * (said["semantic"] == said["semantic_simplest"])
    notes.append(f"{said['semantic_open'].count('[')} simpler ones are {UNDECIDED}")
    by_class = f"`{said['semantic_simplest']}` with {share:.1%} ({', '.join(notes)})"
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
        f"{unclear[1]}; `imagenet_only` (species, on a CPU): {alone_satisfies(cpu)}."
        f"\n  - The architectures learnt from ground truth in {wide['steps'].max()} steps; by mask "
        f"IoU, after Holm's correction the simplest is {of[True, False]}, of those not post hoc "
        f"{of[False, True]}, and of these after Holm {of[True, True]}; a guess names "
        f"{1 / len(BREED_NAMES):.0%}."
        f"\n  - With at most {TENTH:.0%} of these parameters {small}.",
        f"**Do noisy masks want a simpler model?** {noisy(grid, wide)}"]


def by_verdict(pairs: pd.DataFrame, one: str, other: str) -> list[str]:
    """What rows of `compared` say of each source, for a list in Markdown, an item per border,
    architecture and labels: an item below it for each verdict, with differences and their outer
    limits."""
    out = []
    for (border, model, labels), part in pairs.groupby(["border", "model", "labels"]):
        part = part.sort_values("difference", ascending=False)
        named = part["of"] + part["photos"].map({PHOTOS[0]: ""}).fillna(" " + part["photos"])
        texts = [f"`{name}` {with_limits(r)}"
                 for name, r in zip(named, part.itertuples(), strict=True)]
        texts = pd.Series(texts, part.index).groupby(part["verdict"]).agg(", ".join)
        said = (f"\n  - {word}: {texts.get(word, 'none')}" for word in verdict_words(texts))
        seeds = " to ".join(map(str, sorted({part["seeds"].min(), part["seeds"].max()})))
        out.append(f"border {border}, `{model}`, {labels}: IoU of {one} minus that of {other}, "
                   f"seeds {seeds}, after Holm's correction:{''.join(said)}")
    return out


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
    cpu = tables.stored("photos37", "supervision_cpu.csv").query(
        "photos == 'with_trimap' and labels == 'breed'")
    same = compared(cpu[~cpu["of"].str.startswith("ground_truth")], "minus_ground_truth", table)
    same = same.loc[same.groupby(["model", "border"])["difference"].idxmax()]
    same = ", ".join(f"{with_limits(r)} (`{r.of}`, `{r.model}`, border {r.border}, seeds "
                     f"{r.seeds}: {r.verdict})" for r in same.itertuples())
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
        f"weak model is from full supervision, on a CPU: {same}",
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
    few = {what: table.query(f"photos == 'with_trimap' and of.str.startswith('{what}')")[
        "learnt_from"].max() for what in ("imagenet_only", "ground_truth")}
    missing = ("more seeds and " if fewest < 3 else "") + "the differences on each photo"
    return "\n  - ".join([
        "no annotation of these photos (`imagenet_only`, `maskformer-ms` for species, on a CPU), "
        f"beside models of outlines (on a GPU, seeds {others['seeds'].max()}):",
        *said,
        f"the aim was to match the better of the two segmenters: the mean is {', '.join(aim)}; no "
        f"verdict, as it is of {most} seeds on a CPU beside {others['seeds'].max()} on a GPU, and "
        "not paired; below is a table of pairs",
        "for the border as foreground the masks of `imagenet_only` are widened to the border, and "
        "those of the segmenters are not",
        "the differences from full supervision on the same CPU, and verdicts, are in the table"
        if paired else f"there is no verdict: it would need {missing}",
        *[f"of the photos with a trimap `imagenet_only` learns from all {few['imagenet_only']:.0f},"
          f" full supervision from {few['ground_truth']:.0f}, as the rest is val"
          ] * bool(few["imagenet_only"] > 0)])


def matches_segmenters(table: pd.DataFrame) -> str:
    """Whether models of no annotation match the better one of the two segmenters."""
    pairs, said = compared(table, "minus_best").set_index(["border", "of"]), []
    ious = table[table["metric"] == "mask_iou_gt"].groupby(["border", "of"])["value"].mean()
    for border, of in ALONE.items():
        if (border, of) not in pairs.index:
            said.append(f"border {border}: `{of}` is the best, with {ious[border, of]:.3f}")
            continue
        r = pairs.loc[(border, of)]
        said.append(f"border {border}: `{of}` has {r['iou']:.3f}, the best {r['other']:.3f}, a "
                    f"difference of {with_limits(r)}: {r['verdict']}")
    return "; ".join(said)


def devices(cpu: pd.DataFrame) -> str:
    """How far the scores of a seed on a CPU are from the GPU's, and how often farther than the
    GPU's seeds are from each other, where it has several."""
    gpu = tables.stored("photos37", "supervision.csv")
    names = {"mask_iou_gt": "IoU", "semantic_miou": "semantic mIoU",
             "class_accuracy": "class accuracy"}
    keys, said, all_farther = [*KEYS, "border", "metric"], [], 0
    gpu, cpu = (t[t["metric"].isin(names) & (t["split"] == "test") & ~t["of"].isin(BASELINES)]
                for t in (gpu, cpu))
    seeds = gpu.groupby(keys)["value"].agg(
        lambda v: v.max() - v.min() if len(v) > 1 else math.nan)
    both = pd.concat({"gpu": gpu[gpu["seed"] == 0].set_index(keys)["value"],
                      "cpu": cpu[cpu["seed"] == 0].set_index(keys)["value"], "seeds": seeds},
                     axis=1).dropna()
    for metric, part in both.groupby("metric"):
        gap = (part["gpu"] - part["cpu"]).abs()
        all_farther += (farther := (gap > part["seeds"]).sum())
        said.append(f"{names[metric]} up to {gap.max():.3f} apart, in {farther} of {len(gap)} rows "
                    "more than the GPU's seeds from each other")
    return (f"seed 0 on a CPU beside seed 0 on the GPU, the same models: {'; '.join(said)}. So "
            "that all rows of a CPU are within the spread of the GPU's seeds is "
            f"{'not ' * bool(all_farther)}met: {all_farther} of {len(both)} rows are not.")


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
    "ablation": lambda table: [
        *ablation_sentences(table), pareto_front(table), without_wider(table), *of_times()],
    "ablation_ground_truth": lambda table: [
        *ablation_sentences(table), pareto_front(table), more_seeds(table)],
    "ablation_wide": lambda table: [*ablation_sentences(table), pareto_front(table),
                                    what_counts(table), denominator(table)],
    "label_efficiency": efficiency_sentences, "machine_hours": lambda hours: [of_hours(hours)],
    "supervision": lambda table: [
        f"first question: {answer(table)}",
        f"second question, masks: {satisfying(table).removesuffix('.')}; `imagenet_only` "
        "(`maskformer-ms`, species, on a CPU), by its difference from full supervision of the same "
        "seeds, the best of that table: "
        f"{alone_satisfies(tables.stored('photos37', 'supervision_cpu.csv'))}.",
        would_change(table)],
    "supervision_cpu": lambda table: [without_labels(table), unseen_scores(
        table, tables.stored("photos37", "supervision_without.csv")), devices(table)],
    "supervision_species": labels_of_head,
    "supervision_external": lambda table: [matches_segmenters(table)],
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
