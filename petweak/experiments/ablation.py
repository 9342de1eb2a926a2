"""Which architecture is the simplest that satisfies, and do noisy masks want a simpler one?

The second question of the paper: a grid of architectures, in ablation.toml, each trained on the
same features, photos and masks for as many steps. Which rows get more seeds is decided on val.
"""

import hashlib
import json
import math
import re
import time
import tomllib
from fnmatch import filter as matching
from functools import cache, partial
from importlib.resources import files
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.autograd.graph import saved_tensors_hooks

from petweak.data.files import file_hash, read_json, write_frame, write_json
from petweak.evaluation import scoring
from petweak.evaluation.metrics import BASELINES
from petweak.evaluation.statistics import holm
from petweak.experiments import trials
from petweak.experiments.opponents import PerPixel, UNet, fit_prototypes
from petweak.experiments.trials import SATISFIES, SEEDS, UNDECIDED, satisfies
from petweak.models.maskformer import MaskFormer, MaskFormerConfig
from petweak.study.cache import key
from petweak.study.run import Run, Scores, open_scores
from petweak.study.tasks import ahead
from petweak.training.inference import Predictor, predict_features
from petweak.training.targets import Targets
from petweak.training.trainer import CONFIG, cached_maps

NETWORKS = {"MaskFormer": MaskFormer, "PerPixel": PerPixel, "UNet": UNet, "prototypes": PerPixel}
SHAPE = ("layers", "heads", "blocks", "hidden", "positional", "reduce")  # of MaskFormerConfig
INPUT = ("image_size", "backbone")  # settings that need features of their own
FULL_SIZE, TENTH = "full-size", 0.1  # what parameters are a share of; the share asked for
BASES = ("maskformer", "maskformer-ms")  # they always have all seeds
RESAMPLES, LEVEL, CONTESTED = 9999, 0.05, 6
GRID = tomllib.loads(files(__package__).joinpath("ablation.toml").read_text("utf-8"))
POST_HOC = GRID.pop("post_hoc")  # rows that were designed when test scores of others were known


def grid() -> dict[str, dict[str, Any]]:
    """{row: what it sets}, of ablation.toml."""
    rows = {}
    for name, table in GRID.items():
        rows |= {name: table["base"].copy()} | {
            f"{name} {k}={v}": table["base"] | {k: v}
            for k, values in table.items() if k != "base" for v in values}
    return rows


def rows_of(names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """The rows of the grid with these names or patterns; all unless given. ValueError for none."""
    there = grid()
    if unknown := ", ".join(name for name in names if not matching(there, name)):
        raise ValueError(f"unknown row {unknown}: there are {', '.join(there)}")
    return {row: there[row] for name in names or there for row in matching(there, name)}


def parts_of(row: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], type[MaskFormer]]:
    """Of a row: its settings but for those of INPUT, the fields of SHAPE, and its network."""
    flat = {k: v for k, v in row.items() if k not in ("network", *SHAPE, *INPUT)}
    shape = {k: v for k, v in row.items() if k in SHAPE}
    return flat, shape, NETWORKS[row.get("network", "MaskFormer")]


def ablation(
    run: Run, rows: tuple[str, ...] = (),
    sources: tuple[str, ...] = ("ground_truth", "gradcam_pretrained"), labels: str = "breed",
    seeds: tuple[int, ...] = (0, 1, 2), contested: int = CONTESTED, photos: str = "all",
) -> pd.DataFrame:
    """Train every architecture on the masks of each source, and score it on test.

    rows: of the grid, by names or patterns (`small*`), all unless given. Each is trained with the
    first seed, and with all of `seeds` the BASES, the best on val, and the `contested` ones with
    the fewest parameters among those that are not clearly worse on val than the best.

    Returns a row per source and architecture:
    `source`, `row`, whether it is `post_hoc` (of POST_HOC), `network`, `levels`;
    trained `parameters`, and their `share` of those of FULL_SIZE; `gflops` of the head for a
    photo and `backbone_gflops`, additions and multiplications in 10^9; `memory_mb` that a step of
    training keeps (weights, gradients, moments, activations) in float32; `train_seconds`, beside
    whatever else runs (`ablation_times` has them in turn); `steps` of training; `seeds`, and means
    over them: `iou` on test (with the border as it is trained) with the `smallest` and the
    `largest`, on `val`, with the border `ignore` and `foreground`, `semantic_miou`, `accuracy`;
    `minus_best`, the difference in `iou` from the best of the rows with the most seeds, with `low`
    and `high`, and `p` that it is -SATISFIES; whether the row `satisfies`, as `trials.satisfies`
    says; the same of `semantic_miou`, of pixels pooled over the photos of each resample, from its
    own best: `semantic_minus_best`, `semantic_low`, `semantic_high`, `semantic_satisfies`;
    `pareto`: none has fewer parameters and a larger `iou`;
    for rows with fewer parameters than that of BASES with the same levels: `gain`, the difference
    from it, and for all sources but the first `noise`, by how much that is more than with the first
    source's masks, each with `gain_low`, `gain_high`, and `gain_p` that it is 0;
    `all_ones`, `centre_box`: the IoU of the baselines on test.

    Differences are of the same photos and seeds. Intervals are the widest of all seeds, p-values
    (of a bootstrap over photos, two-sided) the largest, as all have to agree, corrected by Holm
    over the rows of a source. ValueError for unknown rows or sets of photos, or without trimaps."""
    run = trials.learning_from(run, photos)
    chosen, test = rows_of(rows), trials.scored(run, "test")
    if not (val := trials.scored(run, sorted(run.val_ids))):
        raise ValueError("val_fraction=0: which rows get more seeds is decided on val")
    ids, border = [s.id for s in (*val, *test)], run.settings.ground_truth.border

    @cache
    def inputs(**changes) -> Run:
        text = "-".join(f"{k}-{v}" for k, v in changes.items())
        return run.variant(f"ablation-{text}", **changes) if changes else run

    @cache
    def targets(one: Run, source: str) -> list[Targets | None]:
        run.masks(source)
        parts = ([s.id for s in part] for part in run.taught(source))
        folder = run.masks_folder(source)
        return [trials.targets(one, folder, part, labels) if part else None for part in parts]

    def score(source: str, name: str, seed: int) -> Scores:
        row = chosen[name]
        one = inputs(**{k: row[k] for k in INPUT if k in row})
        place = re.sub(r"[^\w.]+", "-", f"ablation-{source}-{labels}-{name}-seed-{seed}")
        parts = targets(one, source)
        predictor, of, seconds, steps = _trained(one, place, row, *parts, labels, seed)
        folder = one.folder / trials.TRIALS / place
        of = run.keys.scores(key(stage="ablation", version=1, of=of, ids=ids))
        if (scores := open_scores(folder, of)) is None:
            predictions = ((run.pets.sample(i), p) for i, p in
                     predict_features(predictor, one.features, ids))
            photos = scoring.score_model(predictions, run.masks_folder(source), labels)
            about = {"network": row.get("network", "MaskFormer"), "train_seconds": seconds,
                     "levels": ",".join(predictor.levels)} | cost(one, predictor)
            metrics = scoring.model_rows(photos, 1, len(predictor.classes))
            write_frame(folder / "scores.csv", photos)
            write_json(folder / "scores.json", {
                "key": of, "rows": [about, *metrics], "seconds": seconds,
                "table": file_hash(folder / "scores.csv")})
            scores = open_scores(folder, of)
        scores.rows[0]["steps"] = steps
        return scores

    names, tables, scores = [*chosen], [], {}
    ahead(partial(score, *of, seeds[0]) for of in product(sources, names))
    again = set().union(*(_contested({name: score(source, name, seeds[0]) for name in names},
                                     border, contested) for source in sources))
    each = [(name, seed) for name in names for seed in (seeds if name in again else seeds[:1])]
    ahead(partial(score, source, *of) for source in sources for of in each if of[1] != seeds[0])
    for source in sources:
        scores[source] = {of: score(source, *of) for of in each}
        table = _compared(scores[source], border)
        table.insert(5, "share", table["parameters"] / full_size(run, labels))
        _beside_bases(table, scores[source], border,
                      scores[sources[0]] if source != sources[0] else None)
        tables.append(table.assign(source=source))
    table = pd.concat(tables, ignore_index=True).assign(
        **{name: _ious(run.baseline_scores(name), border).mean() for name in BASELINES})
    return table[["source", *table.columns.drop("source")]]


def full_size(run: Run, labels: str) -> int:
    """How many parameters FULL_SIZE has that are trained, on the features of the run."""
    s = run.settings.replace(**grid()[FULL_SIZE]).model
    channels = tuple(run.features.map(level).shape[2] for level in s.levels)
    with torch.device("meta"):
        model = MaskFormer(MaskFormerConfig(len(run.pets.classes(labels)), channels, **vars(s)))
    return sum(p.numel() for p in model.parameters())


def _trained(run: Run, place: str, row: dict[str, Any], train: Targets, val: Targets | None,
             labels: str, seed: int) -> tuple[Predictor, str, float, int]:
    """A row's model, its key, and the seconds and steps that it was trained for."""
    flat, shape, network = parts_of(row)
    s, start, classes = run.settings.replace(**flat), time.perf_counter(), run.pets.classes(labels)
    if row.get("network") != "prototypes":
        predictor = trials.train(run, place, train, labels, val, network, shape,
                                 seed=seed, save_epochs=False, **flat)
        config = read_json(run.folder / trials.TRIALS / place / CONFIG)
        steps = config["epochs"] * math.ceil(config["n_images"] / s.training.batch_size)
        return predictor, config["key"], config["seconds"], steps
    channels = tuple(run.features.map(level).shape[2] for level in s.model.levels)
    model = PerPixel(MaskFormerConfig(len(classes), channels, s.model.levels, blocks=0))
    fit_prototypes(model.to(run.device).eval().requires_grad_(False), run.features, train)
    predictor = Predictor(model, classes, s.backbone.backbone, s.backbone.image_size,
                          s.inference.predict_mirror)
    weights = model.mask_head.weight.cpu().numpy().tobytes()
    return predictor, hashlib.sha256(weights).hexdigest(), time.perf_counter() - start, 0


def cost(run: Run, predictor: Predictor) -> dict[str, float]:
    """Of a model, on the first photos of the run: `parameters`, `gflops`, `backbone_gflops`,
    `memory_mb`, as in `ablation`."""
    model, device, size = predictor.model, predictor.device, run.settings.backbone.image_size
    ids = list(run.ids[: run.settings.training.batch_size])
    maps = cached_maps(model, run.features, ids)
    photo = torch.zeros(1, 3, size, size, device=run.device)
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # an output that keeps its own graph would never be freed

    masks = torch.zeros(len(ids), size // 2, size // 2, device=device)
    classes = torch.zeros(len(ids), 1, dtype=torch.long, device=device)
    model.train()
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        terms = model.loss(model(maps), classes, masks[:, None], masks + 1, (1.0, 1.0, 1.0), 0.1)
    del terms
    model.eval()
    weights = list(model.parameters())
    for p in (*weights, *maps):
        kept.pop(p.untyped_storage().data_ptr(), None)
    held = sum(p.numel() * (16 if p.requires_grad else 4) for p in weights)
    return {"parameters": sum(p.numel() for p in weights),
            "gflops": trials.flops(lambda: model([m[:1] for m in maps])) / 1e9,
            "backbone_gflops": trials.flops(lambda: run.backbone(photo)) / 1e9,
            "memory_mb": (held + sum(kept.values())) / 2**20}


def _ious(scores: Scores, border: str, split: str = "test") -> pd.Series:
    """By photo; those of train are of val."""
    photos = scores.photos[scores.photos["split"] == split]
    return photos.set_index("id")[f"iou/{border}"]


def _contested(first: dict[str, Scores], border: str, most: int) -> set[str]:
    """The rows that get all seeds, by their scores on val with the first one."""
    val = {name: _ious(s, border, "train") for name, s in first.items()}
    best = max(val, key=lambda name: val[name].mean())
    hopeful = [n for n in val if _paired([val[n] - val[best]], -SATISFIES)["high"] > -SATISFIES]
    hopeful.sort(key=lambda name: first[name].rows[0]["parameters"])
    return {best, *hopeful[:most], *BASES}


def _compared(scores: dict[tuple[str, int], Scores], border: str) -> pd.DataFrame:
    """The table of a source, from {(row, seed): scores}."""
    rows: dict[str, list[Scores]] = {}
    for (name, _), s in scores.items():
        rows.setdefault(name, []).append(s)

    def metric(s: Scores, name: str, split: str = "test", of: str = "-") -> float:
        return next(r["value"] for r in s.rows[1:]
                    if (r["metric"], r["split"], r["border"]) == (name, split, of))

    def about(name: str, of: list[Scores]) -> dict[str, Any]:
        ious = [metric(s, "mask_iou_gt", of=border) for s in of]
        each = [{**s.rows[0], "seeds": len(of), "iou": iou, "smallest": min(ious),
                 "largest": max(ious), "val": metric(s, "mask_iou_gt", "train", border),
                 **{b: metric(s, "mask_iou_gt", of=b) for b in ("ignore", "foreground")},
                 "semantic_miou": metric(
                     s, "semantic_miou", of=scoring.SEMANTIC[border == "ignore"]),
                 "accuracy": metric(s, "class_accuracy")} for s, iou in zip(of, ious, strict=True)]
        means = pd.DataFrame(each).mean(numeric_only=True)
        return {"row": name, "post_hoc": name in POST_HOC, **of[0].rows[0], **means}

    table = pd.DataFrame(about(*row) for row in rows.items())
    table = table.astype({"parameters": int, "seeds": int, "steps": int})
    best, by_class = (table["row"][table[of].where(table["seeds"] == table["seeds"].max()).idxmax()]
                      for of in ("iou", "semantic_miou"))
    gaps = pd.DataFrame([_paired([
        _ious(s, border) - _ious(scores[best, seed], border) for (n, seed), s in scores.items()
        if n == name], -SATISFIES) for name in table["row"]])
    gaps["p"] = holm(gaps["p"][table["row"] != best])
    table[["minus_best", "low", "high", "p"]] = gaps[["value", "low", "high", "p"]]
    drawn = {of: _semantic(s, border) for of, s in scores.items()}
    limits = pd.DataFrame([_widest([d - drawn[by_class, seed] for (n, seed), d in drawn.items()
                                    if n == name]) for name in table["row"]])
    table[[f"semantic_{of}" for of in ("minus_best", "low", "high")]] = limits
    seeds = table.set_index("row")["seeds"]
    for of, told in (("", table), ("semantic_", limits.assign(row=table["row"]))):
        table[f"{of}satisfies"] = table["row"].map(satisfies(told, ["row"], seeds))
    n, iou = table["parameters"].to_numpy(), table["iou"].to_numpy()
    beaten = (n[:, None] >= n) & (iou[:, None] <= iou) & ((n[:, None] > n) | (iou[:, None] < iou))
    return table.assign(pareto=~beaten.any(1))


def _beside_bases(table: pd.DataFrame, scores: dict[tuple[str, int], Scores], border: str,
                  first: dict[tuple[str, int], Scores] | None) -> None:
    """The columns `gain`... of the table of a source, and, beside the `first` one, `noise`..."""
    gains, changes = {}, {}
    for base in table[table["row"].isin(BASES)].itertuples():
        like = (table["parameters"] < base.parameters) & (table["levels"] == base.levels)
        for at, name in table["row"][like].items():
            seeds = [seed for n, seed in scores if n == name]
            now, before = ([_ious(s[name, seed], border) - _ious(s[base.row, seed], border)
                            for seed in seeds] for s in (scores, first or scores))
            gains[at] = _paired(now, 0)
            changes[at] = _paired([one - other for one, other in zip(now, before, strict=True)], 0)
    for column, gaps in {"gain": gains, **({"noise": changes} if first else {})}.items():
        of = pd.DataFrame.from_dict(gaps, "index", columns=["value", "low", "high", "p"])
        of["p"] = holm(of["p"])
        table[[column, *(f"{column}_{end}" for end in of.columns[1:])]] = of.reindex(table.index)


@cache
def _drawn(n: int, times: int) -> np.ndarray:
    """The resamples of n photos: their indices, (times, n)."""
    return np.random.default_rng(0).integers(n, size=(times, n))


def _semantic(scores: Scores, border: str) -> np.ndarray:
    """Semantic mIoU on test: of all photos, and of each of their resamples."""
    photos = scores.photos[scores.photos["split"] == "test"].set_index("id").sort_index()
    cells = photos[f"semantic/{scoring.SEMANTIC[border == 'ignore']}"]
    n = 1 + max(k for cell in cells for k, *_ in json.loads(cell))
    drawn = _drawn(len(cells), RESAMPLES)
    times = [np.ones(len(cells)), *(np.bincount(d, minlength=len(d)) for d in drawn)]
    both, either = np.moveaxis(np.tensordot(times, scoring.class_counts(cells, n), 1), 1, 0)
    return np.nanmean(np.where(either > 0, both / np.maximum(either, 1), np.nan), axis=1)


def _widest(gaps: list[np.ndarray]) -> dict[str, float]:
    """Of the differences of each seed, of all photos and of each resample: the mean `value`, and
    the widest interval `low`, `high`."""
    low, high = np.quantile([gap[1:] for gap in gaps], [LEVEL / 2, 1 - LEVEL / 2], axis=1)
    return {"value": np.mean([gap[0] for gap in gaps]), "low": low.min(), "high": high.max()}


def _paired(gaps: list[pd.Series], against: float) -> dict[str, float]:
    """Of the differences of each seed, photo by photo: their mean `value`, the widest interval
    `low`, `high`, and `p` that the mean is `against`; 1 where the seeds lie on both sides."""
    drawn = [np.append(g.mean(), g.to_numpy()[_drawn(len(g), RESAMPLES)].mean(1)) for g in gaps]
    ps = [2 * (min((d[1:] <= against).sum(), (d[1:] >= against).sum()) + 1) / (RESAMPLES + 1)
          for d in drawn]
    agree = len({d[0] > against for d in drawn}) == 1
    return {**_widest(drawn), "p": min(1.0, max(ps)) if agree else 1.0}


def after_holm(table: pd.DataFrame) -> pd.Series:
    """`satisfies` where the corrected `p` says so, too. The rule itself takes each row alone; of
    many, the simplest that passes may have passed by chance."""
    return table["satisfies"].mask(table["p"] >= LEVEL, UNDECIDED)


def _told(table: pd.DataFrame, of: str) -> pd.Series:
    """`gain` or `noise` where the interval of every seed excludes 0, and Holm's correction, where
    the p-value is known, leaves it so; 0 elsewhere."""
    clear = (table[f"{of}_low"] > 0) | (table[f"{of}_high"] < 0)
    return table[of].where(clear & ~(table[f"{of}_p"] >= LEVEL), 0.0)


def degenerate(table: pd.DataFrame) -> pd.Series:
    """Whether a row has at most SATISFIES more than `all_ones`: it calls nearly all foreground."""
    return table["iou"] <= table["all_ones"] + SATISFIES


def answers(table: pd.DataFrame) -> pd.DataFrame:
    """What `ablation` came to, a row per source: `best` and its `iou`; the `simplest` that
    satisfies, its `parameters`, their `share` of those of FULL_SIZE, its `minus_best`; the simplest
    `after_holm`; `tenth`: whether a model with at most a TENTH of these satisfies
    (`yes`, `none of the grid`, `undecided`); by `semantic_miou` the best of the rows with SEEDS
    seeds, `semantic`, the simplest that satisfies, `semantic_simplest`, and which simpler ones are
    undecided, `semantic_open`, with their differences."""
    rows = []
    for source, part in table.groupby("source", sort=False):
        part = part.sort_values("parameters").set_index("row", drop=False)
        best = part.loc[part["minus_best"].where(part["p"].isna()).idxmax()]
        simplest, holm_too = (part[told == "yes"].reset_index(drop=True).reindex([0]).iloc[0]
                              for told in (part["satisfies"], after_holm(part)))  # empty if none
        small = set(part.loc[part["share"] <= TENTH, "satisfies"])
        by_class = part.loc[part["seeds"] >= SEEDS, "semantic_miou"]
        fine = part[part["semantic_satisfies"] == "yes"]
        unclear = part[part["parameters"] < fine["parameters"].min()].query(
            "semantic_satisfies == @UNDECIDED")
        rows.append({
            "source": source, "best": best["row"], "iou": best["iou"], "simplest": simplest["row"],
            **simplest[["parameters", "share", "minus_best"]], "after_holm": holm_too["row"],
            "tenth": "yes" if "yes" in small else
            "none of the grid" if small == {"no"} else UNDECIDED,
            "semantic": by_class.idxmax() if len(by_class) else None,
            "semantic_simplest": fine.index[0] if len(fine) else None,
            "semantic_open": ", ".join(
                f"`{r.Index}` {r.semantic_minus_best:+.3f} [{r.semantic_low:+.3f}, "
                f"{r.semantic_high:+.3f}]" for r in unclear.itertuples())})
    return pd.DataFrame(rows)


def sentences(table: pd.DataFrame) -> list[str]:
    """The same in words, two sentences per source, and two more for all but the first."""
    out, first = [], table[table["source"] == table["source"].iloc[0]].set_index("row")

    def named(row: pd.Series, best: str) -> str:
        below = (f"{row['minus_best']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}] from the best"
                 if row.name != best else "the best on test itself")
        return (f"`{row.name}` with {row['share']:.1%} of `{FULL_SIZE}`'s parameters ("
                f"{'post hoc; ' * bool(row['post_hoc'])}IoU {row['iou']:.3f}, {below}; semantic "
                f"mIoU {row['semantic_miou']:.3f}, accuracy {row['accuracy']:.3f})")

    for said in answers(table).to_dict("records"):
        part = table[table["source"] == said["source"]].set_index("row")
        best, masks = part.loc[said["best"]], f"masks of `{said['source']}`"
        several = part[part["seeds"] >= SEEDS]
        simplest, corrected = (
            named(part.loc[said[how]], said["best"]) if isinstance(said[how], str) else "none"
            for how in ("simplest", "after_holm"))
        text = (f"{masks}, {len(part)} architectures, {part['steps'].max()} steps: the best on "
                f"test of the {(part['seeds'] == best['seeds']).sum()} with {best['seeds']} seeds "
                f"is `{best.name}` (IoU {best['iou']:.3f})")
        for r in part[(part["iou"] > best["iou"])].itertuples():
            text += f"; `{r.Index}` has {r.iou:.3f}, but {r.seeds} seed{'s' * (r.seeds > 1)}"
        text += (". In this table, after so many steps and by mask IoU alone, the simplest that "
                 f"satisfies is {simplest}")
        if corrected != simplest:
            text += f"; after Holm's correction over all rows it is {corrected}"
        if not said["share"] <= TENTH:
            text += f". With at most a tenth of `{FULL_SIZE}`'s parameters: {said['tenth']}"
        out.append(f"{text}.")
        if isinstance(said["semantic_simplest"], str):
            top, small = (part.loc[said[of]] for of in ("semantic", "semantic_simplest"))
            simpler = part[part["parameters"] < small["parameters"]]["semantic_satisfies"]
            text = ("that a simpler one satisfies is not shown" if top.name == small.name else
                    f"the simplest that satisfies is {named(small, best.name)}")
            out.append(
                f"{masks}, by semantic mIoU (of pixels that are pooled over the photos of each "
                f"resample): the best of those with {SEEDS} seeds is {named(top, best.name)}; "
                f"{text}. Of {len(simpler)} simpler ones {(simpler == 'no').sum()} do not; "
                f"undecided: {said['semantic_open'] or 'none'}; no interval is stored for "
                f"{simpler.isna().sum()}.")
        if "noise" in several and len(small := several[several["noise"].notna()]):
            out += _of_noise(small, first, said)
            out[-1] += once_larger(part)
    return out


def once_larger(part: pd.DataFrame) -> str:
    """Of the rows of a source: the smaller ones, of those with one seed, that have a larger IoU
    than the model that they were derived from; nothing where there is none."""
    part = part[(part["seeds"] == 1) & (part["gain"] > 0)]
    if part.empty:
        return ""
    most = part.loc[part["gain"].idxmax()]
    return (f" Of the smaller ones with one seed {len(part)} have a larger IoU, most of all "
            f"`{most.name}` ({most['iou']:.3f}, {most['gain']:+.3f}): no verdict. At first more "
            f"seeds went to the best on val and to the {CONTESTED} smallest that val does not "
            "exclude (`contested`).")


def _of_noise(small: pd.DataFrame, first: pd.DataFrame, said: dict[str, Any]) -> list[str]:
    """Of the rows with SEEDS seeds, by name, those `small`er than one of BASES: whether they fall
    less far behind it than with the `first` source's masks, and whether they are better than it."""
    (less, more), (better, worse) = (((told > 0).sum(), (told < 0).sum()) for told in (
        _told(small, "noise"), _told(small, "gain")))
    n, known, most = len(small), small["gain_low"].notna().sum(), small["noise"].idxmax()
    seeds = "{smallest:.3f} to {largest:.3f}".format(**first.loc[most])
    others = " For the others it cannot be answered." * bool(known < n)
    return [
        f"with masks of `{said['source']}` in place of `{first['source'].iloc[0]}`, of {n} smaller "
        f"architectures with {SEEDS} seeds {less} fall less far behind the larger model that they "
        f"were derived from, {more} farther, after Holm's correction (the gap in IoU changes by "
        f"{small['noise'].min():+.3f} to {small['noise'].max():+.3f}, most for `{most}`, which "
        f"with `{first['source'].iloc[0]}` has {seeds} by seed).",
        f"is a simpler model better with masks of `{said['source']}`? A paired interval is stored "
        f"for {known} of the {n}: {better} better than the model that it was derived from, {worse} "
        f"worse, {known - better - worse} not told apart.{others}"]
