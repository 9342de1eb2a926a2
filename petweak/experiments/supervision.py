"""How does a model of each source compare with full supervision? Like beside like, over seeds.

The first question of the paper: sources, architectures and sets of photos crossed, each model
trained for as many steps as any other, and differences taken photo by photo.
"""

import math
import re
from collections.abc import Iterator
from itertools import product

import pandas as pd

from petweak.config import LEVELS, parse_assignments
from petweak.data.files import read_json
from petweak.evaluation.statistics import bootstrap, holm, p_values
from petweak.experiments.trials import PHOTOS, satisfies, scored, verdicts, with_trimap
from petweak.pseudo_masks import source_class
from petweak.study.run import Run
from petweak.study.tasks import ahead, with_masks
from petweak.training.trainer import CONFIG

MODELS = {"maskformer": ("final",), "maskformer-ms": LEVELS}
# Full supervision is trained for each treatment of the border that it is compared in.
FULL = ("ground_truth border=ignore", "ground_truth border=foreground")
KEYS = ["of", "labels", "model", "photos"]
# Paired differences: from full supervision, from what is best, of species from breed, of all photos
# from those with a trimap, and of a model from the masks of its source.
GAPS = ("minus_ground_truth", "minus_best", "minus_breed", "minus_with_trimap", "minus_masks")


def supervision(
    run: Run, of: tuple[str, ...] = (), models: tuple[str, ...] = tuple(MODELS),
    photos: tuple[str, ...] = PHOTOS, labels: tuple[str, ...] = ("breed", "species"),
    seeds: tuple[int, ...] = (0, 1, 2), species_seeds: tuple[int, ...] = (0,),
) -> pd.DataFrame:
    """Train a model for each combination, and score it on test.

    of: sources, each with settings of its own if any (`"gradcam_pretrained cam_target=top1"`); the
        run's sources unless given. Ground truth stands for the models of FULL.
    photos: `all` of train, or those `with_trimap` alone, from which ground truth learns anyway.
        With fewer photos there are more epochs, so that all models take as many steps.

    Returns a row per score: `of`, `labels`, `model`, `photos`, `seed`, `learnt_from` (photos),
    `split`, `border`, `metric`, `value`, `low`, `high`, `n_images`. The rows of train are of the
    masks alone. The metrics of GAPS are paired differences in `mask_iou_gt`, means over photos,
    from a model with the same seed that is otherwise as this one: of full supervision; of what is
    best, by its mean over seeds, with the same labels; with breeds for labels; learnt from the
    photos with a trimap. The last one is from its source's masks of the same photos, those before
    self-training, but not of ground truth. ValueError for an unknown model or set of photos, where
    no source has such labels, and where no photo of train or test has a trimap.
    """
    for given, there in ((models, MODELS), (photos, PHOTOS)):
        if unknown := ", ".join(sorted(set(given) - set(there))):
            raise ValueError(f"unknown {unknown}: there are {', '.join(there)}")
    scored(run, "test")
    s, more = run.settings, len(run.pets.split("train")) / len(scored(run, "train"))
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
                one = (with_trimap(run, folder, **flat | longer) if fewer
                       else run.variant(folder, **flat))
                yield one, name, kind, (*key, seed)

    ahead(with_masks((one.model_scores, name, kind) for one, name, kind, _ in each()))
    for one, name, kind, key in each():
        scores, masks = one.model_scores(name, kind), one.mask_scores(name)
        about = dict(zip([*KEYS, "seed"], key, strict=True))
        about["learnt_from"] = read_json(one.model_folder(name, kind) / CONFIG)["n_images"]
        rows += [about | r for r in scores.rows if r["split"] == "test"]
        rows += [about | r for r in masks.rows]
        of_test = {key: scores} | ({} if source_class(name).reads_trimaps else
                                   {("masks", *key): masks})
        ious |= {at: s.photos[s.photos["split"] == "test"].set_index("id")
                 for at, s in of_test.items()}
    if not rows:
        has = (f"{t} has {', '.join(source_class(t.split()[0]).labels)}" for t in texts)
        raise ValueError(f"no model with labels={', '.join(labels)}: {'; '.join(has)}")
    table = pd.DataFrame(rows)
    return pd.concat([table, _gaps(table, ious, s.evaluation.bootstrap)], ignore_index=True)


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
    """What `supervision` came to, a row per model: KEYS, `learnt_from`, `seeds`, `masks` (IoU of
    the source's masks on train), `iou` with `smallest` and `largest` of a seed, `accuracy`,
    `semantic_miou`; from full supervision `difference` and its `verdict`; and whether it
    `satisfies`. Means over seeds.

    A verdict is `better` or `worse` where the interval of every seed, over photos, lies on one side
    of 0, else `not told apart`; what satisfies, `trials.satisfies` says of the differences to the
    best of the table.
    """
    part = table[(table["labels"] == labels) & table["border"].isin((border, "-"))]
    means = part.pivot_table("value", KEYS, ["split", "metric"], "mean", sort=False)
    columns = {"masks": ("train", "pseudo_iou_gt"), "iou": ("test", "mask_iou_gt"),
               "accuracy": ("test", "class_accuracy"), "semantic_miou": ("test", "semantic_miou"),
               "difference": ("test", GAPS[0])}
    out = pd.DataFrame({name: means.get(column) for name, column in columns.items()}, means.index)
    seeds = part[part["metric"] == "mask_iou_gt"].groupby(KEYS)
    spread = seeds["value"].agg(seeds="size", smallest="min", largest="max")
    out = out.join(spread).join(seeds["learnt_from"].first())
    from_full, from_best = (part[part["metric"] == metric] for metric in GAPS[:2])
    out["verdict"] = verdicts(from_full, KEYS)
    out["satisfies"] = satisfies(from_best, KEYS, out["seeds"])
    order = ["learnt_from", "seeds", "masks", "iou", "smallest", "largest", "accuracy",
             "semantic_miou", "difference", "verdict", "satisfies"]
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


def answers(table: pd.DataFrame, labels: str = "breed") -> list[str]:
    """The paper's first question, a sentence per treatment of the border and architecture: the weak
    source with the best model beside full supervision; outer limits of all seeds' intervals."""
    out = []
    for (border, model), part in both_borders(table, labels).groupby(["border", "model"]):
        full, weak = (part[(part["of"] == "ground_truth") == is_full] for is_full in (True, False))
        if full.empty or weak.empty:
            continue
        best, full = weak.loc[weak["iou"].idxmax()], full.iloc[0]
        same = (table[KEYS] == best[KEYS]).all(axis=1) & (table["border"] == border)
        gaps = table[same & (table["metric"] == GAPS[0])]
        out.append(
            f"border {border}, `{model}`: the best weak source is `{best['of']}`, IoU "
            f"{best['iou']:.3f} from {best['learnt_from']} photos; full supervision has "
            f"{full['iou']:.3f} from {full['learnt_from']}. Difference {best['difference']:+.3f} "
            f"[{gaps['low'].min():+.3f}, {gaps['high'].max():+.3f}], seeds {best['seeds']}: "
            f"{best['verdict']}.")
    return out


def compared(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One of the last three GAPS, a row per border and KEYS: `iou` and that of the `other` model,
    or of the masks, means over the seeds that both have; `difference`, with the outer limits of its
    intervals; `spread` over seeds, of the model that has more; `p`, of the seed with the largest
    one, from the width of its interval as if means were normal, corrected by Holm's method over the
    sources of a border, architecture and labels; and a verdict.

    A verdict other than `not told apart` needs, beside the intervals, a `p` below 0.05: of many
    limits one lies on the right side of 0 by chance. Intervals over photos say nothing of training
    again: where there is one for one seed alone, the difference also has to be larger than the
    spread, if that is known (NaN for one seed).
    """
    keys = ["border", "labels", "model", "of", "photos"]
    gaps = table[(table["metric"] == metric) & table["border"].isin(("foreground", "ignore"))]
    gaps = gaps[~gaps["of"].isin(FULL) | gaps["of"].eq("ground_truth border=" + gaps["border"])]
    ious = table[table["metric"] == "mask_iou_gt"]
    both = ious[[*KEYS, "seed", "border", "value"]].rename(columns={"value": "iou"}).merge(
        gaps, on=[*KEYS, "seed", "border"])
    both = both.assign(other=both["iou"] - both["value"], p=p_values(both))
    out = both.groupby(keys, sort=False).agg(
        iou=("iou", "mean"), other=("other", "mean"), difference=("value", "mean"),
        low=("low", "min"), high=("high", "max"), seeds=("seed", "size"), p=("p", "max"))
    out["p"] = out.groupby(["border", "labels", "model"])["p"].transform(holm)
    seeds = ious.groupby(["border", *KEYS])["value"].agg(
        lambda v: v.max() - v.min() if len(v) > 1 else math.nan)
    out["spread"] = seeds.groupby(["border", "model", "of"]).max().reindex(
        out.index.droplevel(["labels", "photos"])).to_numpy()
    out["verdict"] = verdicts(gaps, keys)
    by_seed = (out["seeds"] == 1) & (out["difference"].abs() <= out["spread"])
    out.loc[by_seed | (out["p"] >= 0.05), "verdict"] = "not told apart"
    return out.reset_index()


def counts(compared: pd.DataFrame, one: str, other: str) -> list[str]:
    """What `compared` says of `one` beside `other`, a sentence per border and architecture."""
    out = []
    for (border, model), part in compared.groupby(["border", "model"]):
        n, spread = part["verdict"].value_counts(), part["spread"].max()
        said = "one seed" if math.isnan(spread) else f"spread over seeds up to {spread:.3f}"
        out.append(
            f"border {border}, `{model}`: {one} in place of {other}, {len(part)} sources: "
            f"{n.get('better', 0)} better, {n.get('worse', 0)} worse, {n.get('not told apart', 0)} "
            f"not told apart; differences in IoU from {part['difference'].min():+.3f} to "
            f"{part['difference'].max():+.3f}, {said}.")
    return out


def by_verdict(compared: pd.DataFrame, one: str, other: str) -> list[str]:
    """What `compared` says of each source, a sentence per border, architecture and labels: where
    `one` is better or worse than `other`, with differences and their outer limits."""
    out = []
    for (border, model, labels), part in compared.groupby(["border", "model", "labels"]):
        part = part.sort_values("difference", ascending=False)
        named = part["of"] + part["photos"].map({PHOTOS[0]: ""}).fillna(" " + part["photos"])
        texts = [f"`{name}` {r.difference:+.3f} [{r.low:+.3f}, {r.high:+.3f}]"
                 for name, r in zip(named, part.itertuples(), strict=True)]
        texts = pd.Series(texts, part.index).groupby(part["verdict"]).agg(", ".join)
        said = (f"{verdict}: {texts.get(verdict, 'none')}"
                for verdict in ("better", "worse", "not told apart"))
        out.append(f"border {border}, `{model}`, {labels}: IoU of {one} minus that of {other}, "
                   f"seeds {part['seeds'].max()}, after Holm's correction: {'; '.join(said)}.")
    return out
