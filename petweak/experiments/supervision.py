"""How does a model of each source compare with full supervision? Like beside like, over seeds.

The first question of the paper: sources, architectures and sets of photos crossed, each model
trained for about as many steps as any other, and differences taken photo by photo.
"""

import math
import re
from collections.abc import Iterator
from itertools import product

import numpy as np
import pandas as pd

from petweak.config import LEVELS, parse_assignments
from petweak.data.files import project_path, read_json
from petweak.data.oxford_pets import read_pets
from petweak.evaluation.metrics import BASELINES
from petweak.evaluation.scoring import ground_truth_rows, mask_rows, model_rows
from petweak.evaluation.statistics import bootstrap, holm, p_values
from petweak.experiments import trials
from petweak.experiments.trials import PHOTOS, UNDECIDED, VERDICTS
from petweak.pseudo_masks import source_class
from petweak.study.run import Run
from petweak.study.tasks import ahead, with_masks
from petweak.training.trainer import CONFIG

MODELS = {"maskformer": ("final",), "maskformer-ms": LEVELS}
# Full supervision is trained for each treatment of the border that it is compared in.
FULL = ("ground_truth border=ignore", "ground_truth border=foreground")
KEYS, NONE = ["of", "labels", "model", "photos"], "-"  # NONE: what a baseline has of them
ONE_SEED = "one seed"  # of a verdict: nothing is known of training again
# Paired differences: from full supervision, from what is best, of species from breed, of all photos
# from those with a trimap, and of a model from the masks of its source.
GAPS = ("minus_ground_truth", "minus_best", "minus_breed", "minus_with_trimap", "minus_masks")


def supervision(
    run: Run, of: tuple[str, ...] = (), models: tuple[str, ...] = tuple(MODELS),
    photos: tuple[str, ...] = PHOTOS, labels: tuple[str, ...] = ("breed", "species"),
    seeds: tuple[int, ...] = (0, 1, 2), species_seeds: tuple[int, ...] = (0,), without: str = "",
) -> pd.DataFrame:
    """Train a model for each combination, and score it on test.

    of: sources, each with settings of its own if any (`"gradcam_pretrained cam_target=top1"`); the
        run's sources unless given. Ground truth stands for the models of FULL.
    photos: `all` of train, or those `with_trimap` alone, from which ground truth learns anyway.
        With fewer photos there are more epochs, so that all models take about as many steps: what
        is kept for val is no equal share of both sets.
    without: the root of another data set, whose photos do not count in scores of test: what was
        chosen there, by its scores, was chosen on them.

    Returns a row per score: `of`, `labels`, `model`, `photos`, `seed`, `learnt_from` (photos),
    `split`, `border`, `metric`, `value`, `low`, `high`, `n_images`. The rows of train are of the
    masks alone; the first ones are those of `baselines`. The metrics of GAPS are paired differences
    in `mask_iou_gt`, means over photos, from a model with the same seed that is otherwise as this
    one: of full supervision; of what is best, by its mean over seeds, with the same labels; with
    breeds for labels; learnt from the photos with a trimap. The last one is from its source's masks
    of the same photos, those before self-training, but not of ground truth. ValueError for an
    unknown model or set of photos, where no source has such labels, and where no photo of train or
    test has a trimap.
    """
    for given, there in ((models, MODELS), (photos, PHOTOS)):
        if unknown := ", ".join(sorted(set(given) - set(there))):
            raise ValueError(f"unknown {unknown}: there are {', '.join(there)}")
    tested = _tested(run, without)
    s, more = run.settings, len(run.pets.split("train")) / len(trials.scored(run, "train"))
    longer = {"epochs": round(s.training.epochs * more),
              "round_epochs": round(s.self_training.round_epochs * more),
              "last_epochs": round(s.self_training.last_epochs * more)}
    texts = [t for text in of or s.sources for t in (FULL if text == "ground_truth" else [text])]
    rows, ious = [], {}

    def each() -> Iterator[tuple[Run, str, str, tuple]]:
        for kind, text, model, what in product(labels, texts, models, photos):
            name, *own = text.split()
            source, key = source_class(name), (text, kind, model, what)
            if kind not in source.labels or source.reads_trimaps and what != photos[0]:
                continue
            if source.reads_trimaps:
                key = *key[:3], "with_trimap"
            fewer = key[3] == "with_trimap"
            for seed in seeds if kind == "breed" else species_seeds:
                level = "self_training_levels" if source.self_trained else "levels"
                flat = {level: MODELS[model], "seed": seed} | parse_assignments(own)
                parts = [f"seed-{seed}", key[3], *own, *[model] * source.self_trained]
                folder = re.sub(r"[^\w.]+", "-", "-".join(parts))
                one = (trials.with_trimap(run, folder, **flat | longer) if fewer
                       else run.variant(folder, **flat))
                yield one, name, kind, (*key, seed)

    ahead(with_masks((one.model_scores, name, kind) for one, name, kind, _ in each()))
    for one, name, kind, key in each():
        scores, masks = one.model_scores(name, kind), one.mask_scores(name)
        about = dict(zip([*KEYS, "seed"], key, strict=True))
        about["learnt_from"] = read_json(one.model_folder(name, kind) / CONFIG)["n_images"]
        of_model, of_masks = scores.rows, masks.rows
        if without:
            few, classes = _only(scores.photos, tested), len(one.pets.classes(kind))
            of_model = model_rows(few, s.evaluation.bootstrap, classes)
            of_masks = mask_rows(_only(masks.photos, tested), s.evaluation.bootstrap)
        rows += [about | r for r in of_model if r["split"] == "test"]
        rows += [about | r for r in of_masks]
        of_test = {key: scores} | ({} if source_class(name).reads_trimaps else
                                   {("masks", *key): masks})
        ious |= {at: _only(x.photos[x.photos["split"] == "test"], tested).set_index("id")
                 for at, x in of_test.items()}
    if not rows:
        has = (f"{t} has {', '.join(source_class(t.split()[0]).labels)}" for t in texts)
        raise ValueError(f"no model with labels={', '.join(labels)}: {'; '.join(has)}")
    table = pd.DataFrame(rows)
    gaps = _gaps(table, ious, s.evaluation.bootstrap)
    return pd.concat([baselines(run, without), table, gaps], ignore_index=True)


def _tested(run: Run, without: str) -> set[str]:
    """The photos of test with ground truth that are not in the data set `without`."""
    there = {x.id for x in read_pets(project_path(without)).samples} if without else set()
    return {x.id for x in trials.scored(run, "test")} - there


def _only(photos: pd.DataFrame, tested: set[str]) -> pd.DataFrame:
    """Of a table of photos those of train, and the `tested` ones."""
    return photos[(photos["split"] != "test") | photos["id"].isin(tested)]


def baselines(run: Run, without: str = "") -> pd.DataFrame:
    """The rows of `all_ones` and `centre_box` in the table of `supervision`: no model and no
    labels, learnt from no photo."""
    about = dict.fromkeys(KEYS[1:], NONE) | {"seed": run.settings.data.seed, "learnt_from": 0}
    tested, n = _tested(run, without), run.settings.evaluation.bootstrap
    each = [(name, _only(run.baseline_scores(name).photos, tested)) for name in BASELINES]
    table = pd.DataFrame([{"of": name} | about | row for name, photos in each
                          for row in (*ground_truth_rows(photos, n), *mask_rows(photos, n))])
    return table[(table["split"] == "test") | (table["metric"] == "pseudo_iou_gt")]


def _gaps(table: pd.DataFrame, photos: dict[tuple, pd.DataFrame], resamples: int) -> pd.DataFrame:
    """The rows of GAPS. photos: {(*KEYS, seed): scores of a model, a row per photo of test}, and
    of its source's masks at ("masks", *KEYS, seed)."""
    out, scores = [], table[(table["metric"] == "mask_iou_gt") & (table["split"] == "test")]
    for (kind, border), part in scores.groupby(["labels", "border"], sort=False):
        best = part.groupby(KEYS)["value"].mean().idxmax()
        for row in part.to_dict("records"):
            of, model, photos_of = (row[k] for k in ("of", "model", "photos"))
            others = dict.fromkeys(GAPS) | {
                GAPS[0]: (f"ground_truth border={border}", kind, model, "with_trimap"),
                GAPS[1]: best, GAPS[4]: ("masks", of, kind, model, photos_of)}
            if kind == "species":
                others[GAPS[2]] = of, "breed", model, photos_of
            if photos_of == "all":
                others[GAPS[3]] = of, kind, model, "with_trimap"
            one = photos[of, kind, model, photos_of, row["seed"]][f"iou/{border}"]
            for metric, other in others.items():
                if other and (*other, row["seed"]) in photos:
                    gap = (one - photos[*other, row["seed"]][f"iou/{border}"]).dropna().to_numpy()
                    low, high = bootstrap(gap, n=resamples)
                    value = {"value": gap.mean(), "low": low, "high": high}
                    out.append(row | {"metric": metric} | value)
    return pd.DataFrame(out)


def summary(table: pd.DataFrame, border: str, labels: str = "breed") -> pd.DataFrame:
    """Means over seeds of `supervision`, a row per model and baseline: KEYS, `learnt_from`,
    `seeds`, IoU of the source's masks on train (`masks`) and on test (`masks_test`), `iou` with
    `smallest` and `largest` of a seed, `accuracy`, `semantic_miou`; from full supervision
    `difference`, outer limits `low` to `high` of its intervals, `p`, a `verdict`; and `satisfies`.

    A verdict is `better` or `worse` where the interval of every seed, over photos, lies on one side
    of 0 and `p` is below 0.05, and `one seed` where there is no other: nothing is known of training
    again; else `not told apart`. `p` is that of `compared`, corrected over all models of the table.
    What satisfies, `trials.satisfies` says of the differences to the best of the table.
    """
    part = table[table["labels"].isin((labels, NONE)) & table["border"].isin((border, "-"))]
    means = part.pivot_table("value", KEYS, ["split", "metric"], "mean", sort=False)
    columns = {"masks": ("train", "pseudo_iou_gt"), "masks_test": ("test", "pseudo_iou_gt"),
               "iou": ("test", "mask_iou_gt"), "accuracy": ("test", "class_accuracy"),
               "semantic_miou": ("test", "semantic_miou"), "difference": ("test", GAPS[0])}
    out = pd.DataFrame({k: means.get(c, math.nan) for k, c in columns.items()}, means.index)
    seeds = part[part["metric"] == "mask_iou_gt"].groupby(KEYS)
    spread = seeds["value"].agg(seeds="size", smallest="min", largest="max")
    out = out.join(spread).join(seeds["learnt_from"].first())
    limits = part[part["metric"] == GAPS[0]].groupby(KEYS)
    out = out.join(limits.agg(low=("low", "min"), high=("high", "max")))
    from_full, from_best = (part[part["metric"] == metric] for metric in GAPS[:2])
    weak = from_full[~from_full["of"].isin(FULL)]
    out["p"] = holm(weak.assign(p=p_values(weak)).groupby(KEYS)["p"].max())
    out["verdict"] = trials.verdicts(from_full, KEYS).mask(out["p"] >= 0.05, VERDICTS[-1])
    out["satisfies"] = trials.satisfies(from_best, KEYS, out["seeds"])
    out.loc[out["verdict"].notna() & (out["seeds"] == 1), "verdict"] = ONE_SEED
    order = ["learnt_from", "seeds", "masks", "masks_test", "iou", "smallest", "largest",
             "accuracy", "semantic_miou", "difference", "low", "high", "p", "verdict", "satisfies"]
    return out[order].reset_index().sort_values("iou", ascending=False, ignore_index=True)


def both_borders(table: pd.DataFrame, labels: str = "breed") -> pd.DataFrame:
    """The rows of `summary` for both treatments of the border, a column `border` first; of full
    supervision the models that were trained for it."""
    parts = []
    for border in ("foreground", "ignore"):
        part = summary(table, border, labels)
        other = part["of"].isin(FULL) & ~part["of"].str.endswith(f"={border}")
        parts.append(part[~other].assign(border=border, of=part["of"].str.replace(
            f" border={border}", "")))
    out = pd.concat(parts, ignore_index=True)
    return out[["border", *out.columns.drop("border")]]


def _best_weak(models: pd.DataFrame) -> pd.DataFrame:
    """Of `both_borders`, for each border and architecture, the weak source with the best model; the
    columns of full supervision end in `_full`."""
    full = models["of"] == "ground_truth"
    weak = models[~full & models["difference"].notna()]
    best = weak.loc[weak.groupby(["border", "model"])["iou"].idxmax()]
    return best.merge(models[full], on=["border", "model"], suffixes=("", "_full"))


def with_limits(row) -> str:
    """`+0.024 [+0.012, +0.038]`, of what has a `difference`, `low` and `high`."""
    return f"{row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}]"


def answer(table: pd.DataFrame, labels: str = "breed") -> str:
    """The paper's first question in a sentence: models of the best weak masks, and of Grad-CAM's,
    beside full supervision; outer limits of all seeds' intervals."""
    best = _best_weak(models := both_borders(table, labels))
    cams = models[models["of"].str.startswith("gradcam")]
    texts = pd.Series([f"`{r.model}`, border {r.border} {with_limits(r)}"
                       for r in best.itertuples()], best.index)
    said = texts.groupby(best["verdict"], sort=False).agg("; ".join).items()
    of_cams = cams["verdict"].value_counts().sort_index(ascending=False).items()
    return (f"a model of the best weak masks with {labels} labels "
            f"(`{'`, `'.join(best['of'].unique())}`, {best['learnt_from'].max()} photos), "
            f"compared with full supervision ({best['learnt_from_full'].max()} photos), is "
            f"{', '.join(f'{verdict} ({text})' for verdict, text in said)}; with Grad-CAM's masks "
            f"it is {', '.join(f'{word} in {n} of {len(cams)} cases' for word, n in of_cams)}, "
            f"from {cams['difference'].min():+.3f} to {cams['difference'].max():+.3f}.")


def satisfying(table: pd.DataFrame, labels: str = "breed") -> str:
    """The paper's second question, of the masks, in a sentence: which weak ones satisfy; and
    whether full supervision of the paper's architecture does."""
    models, said = both_borders(table, labels), []
    below = models.groupby("border")["iou"].transform("max") - models["iou"]
    cams, full = models["of"].str.startswith("gradcam"), models["of"] == "ground_truth"
    itself = below.eq(0).map({True: ", itself the best)", False: ")"})
    names = "`" + models["of"] + "` (`" + models["model"] + "`" + itself
    names = names[models["difference"].notna()]
    for border, of in names[~full].groupby(models["border"]):
        told = of.groupby(models["satisfies"]).agg(", ".join)
        also = f" (undecided: {told[UNDECIDED]})" if UNDECIDED in told else ""
        said.append(f"border {border}: {told.get('yes', 'none')}{also}")
    fine, plain = models["satisfies"] == "yes", full & (models["model"] == "maskformer")
    return (f"weak masks whose model satisfies: {'; '.join(said)}; the models of Grad-CAM's masks, "
            f"the simplest of the paper, satisfy in {fine[cams].sum()} of {cams.sum()} cases and "
            f"are at least {below[cams].min():.3f} below the best; full supervision of the paper's "
            f"architecture satisfies in {fine[plain].sum()} of {plain.sum()}.")


def answers(table: pd.DataFrame, labels: str = "breed") -> list[str]:
    """The first question once more, a sentence per treatment of the border and architecture."""
    return [f"border {r.border}, `{r.model}`: of the weak sources with {labels} labels "
            f"`{r.of}` is the best, IoU {r.iou:.3f} from "
            f"{r.learnt_from} photos; full supervision has {r.iou_full:.3f} from "
            f"{r.learnt_from_full}. Difference {with_limits(r)}, seeds {r.seeds}: {r.verdict}."
            for r in _best_weak(both_borders(table, labels)).itertuples()]


def compared(table: pd.DataFrame, metric: str, *others: pd.DataFrame) -> pd.DataFrame:
    """One of GAPS, a row per border and KEYS, but for the best minus itself: `iou` and that of the
    `other` model, or of the masks, means over the seeds that both have; `difference`, with the
    outer limits of its intervals; `spread` over seeds, of the model that has more (one may be full
    supervision); `p`, of the seed with the largest one, from the width of its interval as if means
    were normal, by Holm's method over sources of a border, architecture and labels; and a verdict.

    A verdict other than `not told apart` needs, beside the intervals, a `p` below 0.05: of many
    limits one lies on the right side of 0 by chance. Intervals over photos say nothing of training
    again: where there is one for one seed alone, the difference also has to be larger than the
    spread, and the verdict ends in `, one seed`: a hint, which more seeds have to confirm. Where
    the spread is not known, it is `one seed`. `others`: more seeds of these models, for the spread.
    """
    keys = ["border", "labels", "model", "of", "photos"]
    gaps = table[(table["metric"] == metric) & table["border"].isin(("foreground", "ignore"))]
    gaps = gaps[~gaps["of"].isin(FULL) | gaps["of"].eq("ground_truth border=" + gaps["border"])]
    gaps = gaps[(metric != GAPS[1]) | (gaps["value"] != 0)]
    ious = table[table["metric"] == "mask_iou_gt"]
    both = ious[[*KEYS, "seed", "border", "value"]].rename(columns={"value": "iou"}).merge(
        gaps, on=[*KEYS, "seed", "border"])
    both = both.assign(other=both["iou"] - both["value"], p=p_values(both))
    out = both.groupby(keys, sort=False).agg(
        iou=("iou", "mean"), other=("other", "mean"), difference=("value", "mean"),
        low=("low", "min"), high=("high", "max"), seeds=("seed", "size"), p=("p", "max"))
    out["p"] = out.groupby(["border", "labels", "model"])["p"].transform(holm)
    each = pd.concat(dict(enumerate((table, *others))), names=["table"])
    seeds = each[each["metric"] == "mask_iou_gt"].groupby(["table", "border", *KEYS])["value"].agg(
        lambda v: v.max() - v.min() if len(v) > 1 else math.nan)
    seeds, at = seeds.groupby(["border", "model", "of"]).max(), out.reset_index()[
        ["border", "model", "of"]]
    full = at.assign(of="ground_truth border=" + at["border"])
    out["spread"] = np.maximum(*(seeds.reindex(pd.MultiIndex.from_frame(of)).to_numpy() for of in (
        at, full if metric == GAPS[0] else at)))
    out["verdict"] = trials.verdicts(gaps, keys)
    by_seed = (alone := out["seeds"] == 1) & (out["difference"].abs() <= out["spread"])
    out.loc[by_seed | (out["p"] >= 0.05), "verdict"] = VERDICTS[-1]
    out["verdict"] += np.where(alone & (out["verdict"] != VERDICTS[-1]), f", {ONE_SEED}", "")
    out.loc[alone & out["spread"].isna(), "verdict"] = ONE_SEED
    return out.reset_index()


def counts(compared: pd.DataFrame, one: str, other: str) -> list[str]:
    """What `compared` says of `one` beside `other`, a sentence per border and architecture."""
    out = []
    for (border, model), part in compared.groupby(["border", "model"]):
        n, spread = part["verdict"].value_counts(), part["spread"].max()
        said = "; ".join(f"{n.get(word, 0)} {word}" for word in verdict_words(n))
        out.append(
            f"border {border}, `{model}`: {one} in place of {other}, {len(part)} sources"
            f"{', one seed of each' * (part['seeds'].max().item() == 1)}: {said}; differences "
            f"in IoU from {part['difference'].min():+.3f} to {part['difference'].max():+.3f}"
            f"{'' if math.isnan(spread) else f', spread over seeds up to {spread:.3f}'}.")
    return out


def verdict_words(told: pd.Series) -> list[str]:
    """The verdicts that a sentence speaks of. told: its index has those that there are."""
    hints = [f"{word}, {ONE_SEED}" for word in VERDICTS[:2]]
    return [*VERDICTS, *(word for word in (*hints, ONE_SEED) if word in told)]


def labels_of_head(table: pd.DataFrame) -> list[str]:
    """What section 3.4 of the paper says, of models of masks from heads of two labels and of 37,
    and how far these masks are apart: of masks no paired interval is stored, so no verdict."""
    pairs, two = compared(table, GAPS[1]), "gradcam_finetuned finetune_labels=species"
    holds = (pairs["of"].eq(two) & pairs["verdict"].eq("worse")).all()
    each = ", ".join(f"border {r.border}, `{r.of}` minus the better one {with_limits(r)}"
                     for r in pairs.itertuples())
    masks = table[table["metric"].eq("pseudo_iou_gt") & table["border"].isin(pairs["border"])]
    masks = masks.pivot(index=["border", "split", "seed"], columns="of", values="value")
    gaps = (masks[two] - masks["gradcam_finetuned"]).map("{:+.3f}".format)
    said = [f"border {', '.join(at)} {', '.join(of)}" for at, of in gaps.groupby(level=[0, 1])]
    return [f"that two labels in place of 37 make worse models of Grad-CAM's masks (section 3.4) "
            f"{'holds' if holds else 'is not established'} here: {each}",
            "the models learnt from masks of train. IoU of masks of two labels minus 37, by seed: "
            f"{'; '.join(said)}. Of masks no paired interval is stored, so there is no verdict"]
