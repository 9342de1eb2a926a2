"""Which architecture is the simplest that satisfies, and do noisy masks want a simpler one?

The second question of the paper: a grid of architectures, in ablation.toml, each trained on the
same features, photos and masks for as many steps. Which rows get more seeds is decided on val.
"""

import hashlib
import re
import time
import tomllib
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
from petweak.evaluation.statistics import holm
from petweak.experiments import trials
from petweak.experiments.opponents import PerPixel, UNet, fit_prototypes
from petweak.experiments.supervision import SATISFIES
from petweak.models.maskformer import MaskFormer, MaskFormerConfig
from petweak.study.cache import key
from petweak.study.run import Run, Scores, open_scores
from petweak.study.tasks import ahead
from petweak.training.inference import Predictor, predict_features
from petweak.training.targets import Targets
from petweak.training.trainer import CONFIG, cached_maps

NETWORKS = {"MaskFormer": MaskFormer, "PerPixel": PerPixel, "UNet": UNet, "prototypes": PerPixel}
SHAPE = ("layers", "heads", "blocks", "hidden", "positional")  # of MaskFormerConfig, no settings
INPUT = ("image_size", "backbone")  # settings that need features of their own
PAPER, TENTH = "paper", 0.1  # the row that parameters are a share of; the share that is asked for
BASES = ("maskformer", "maskformer-ms")  # they always have all seeds
RESAMPLES, LEVEL, SEEDS = 9999, 0.05, 3  # with fewer seeds nothing satisfies


def grid() -> dict[str, dict[str, Any]]:
    """{row: what it sets}, of ablation.toml."""
    text, rows = files(__package__).joinpath("ablation.toml").read_text("utf-8"), {}
    for name, table in tomllib.loads(text).items():
        rows[name] = base = table.pop("base")
        rows |= {f"{name} {k}={v}": base | {k: v} for k, values in table.items() for v in values}
    return rows


def ablation(
    run: Run, rows: tuple[str, ...] = (),
    sources: tuple[str, ...] = ("ground_truth", "gradcam_pretrained"), labels: str = "breed",
    seeds: tuple[int, ...] = (0, 1, 2), contested: int = 6, photos: str = "all",
) -> pd.DataFrame:
    """Train every architecture on the masks of each source, and score it on test.

    rows: of the grid, all unless given. Each is trained with the first seed, and with all of
    `seeds` the BASES, the best on val, and the `contested` ones with the fewest parameters
    among those that are not clearly worse on val than the best: they may be the simplest.

    Returns a row per source and architecture:
    `source`, `row`, `network`, `levels`;
    `parameters` that are trained, and their `share` of the paper's; `gflops` of the head for a
    photo and `backbone_gflops`, additions and multiplications in 10^9; `memory_mb` that a step of
    training keeps (weights, gradients, moments, activations) in float32; `ms_per_photo` of the
    head, without the mirror image, the least of five times; `train_seconds`;
    `seeds`, and means over them: `iou` on test (with the border as it is trained) with the
    `smallest` and the `largest`, on `val`, with the border `ignore` and `foreground`,
    `semantic_miou`, `accuracy`;
    `minus_best`, `low`, `high`, `p` and whether the row `satisfies` (`yes`, by SEEDS seeds at
    least, `no`, `not told apart`); `pareto`: none has fewer parameters and a larger `iou`;
    for all sources but the first, and rows with fewer parameters than that of BASES with the same
    levels: `noise`, how much less they lose to it than with the first source's masks, `noise_low`,
    `noise_high`, `noise_p`.

    Differences are of the same photos and seeds. Intervals are the widest of all seeds, p-values
    (of a bootstrap over photos, two-sided) the largest, corrected by Holm over the rows of a
    source. ValueError for an unknown row or set of photos, and where no photo of val or test has a
    trimap.
    """
    run = trials.learning_from(run, photos)
    chosen, test = grid(), trials.scored(run, "test")
    if unknown := ", ".join(sorted(set(rows) - set(chosen))):
        raise ValueError(f"unknown row {unknown}: there are {', '.join(chosen)}")
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
        predictor, of, seconds = _trained(one, place, row, *targets(one, source), labels, seed)
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
        return scores

    names, tables, scores = list(rows or chosen), [], {}
    ahead(partial(score, *of, seeds[0]) for of in product(sources, names))
    again = set().union(*(_contested({name: score(source, name, seeds[0]) for name in names},
                                     border, contested) for source in sources))
    each = [(name, seed) for name in names for seed in (seeds if name in again else seeds[:1])]
    ahead(partial(score, source, *of) for source in sources for of in each if of[1] != seeds[0])
    for source in sources:
        scores[source] = {of: score(source, *of) for of in each}
        table = _compared(scores[source], border)
        table.insert(4, "share", table["parameters"] / paper_parameters(run, labels))
        if source != sources[0]:
            _add_noise(table, scores[source], scores[sources[0]], border)
        tables.append(table.assign(source=source))
    table = pd.concat(tables, ignore_index=True)
    return table[["source", *table.columns.drop("source")]]


def paper_parameters(run: Run, labels: str) -> int:
    """How many the paper's architecture has that are trained, on the features of the run."""
    s = run.settings.replace(**grid()[PAPER]).model
    channels = tuple(run.features.map(level).shape[2] for level in s.levels)
    with torch.device("meta"):
        model = MaskFormer(MaskFormerConfig(len(run.pets.classes(labels)), channels, **vars(s)))
    return sum(p.numel() for p in model.parameters())


def _trained(run: Run, place: str, row: dict[str, Any], train: Targets, val: Targets | None,
             labels: str, seed: int) -> tuple[Predictor, str, float]:
    """A row's model, its key, and the seconds that it was trained for."""
    flat = {k: v for k, v in row.items() if k not in ("network", *SHAPE, *INPUT)}
    shape, network = {k: v for k, v in row.items() if k in SHAPE}, row.get("network", "MaskFormer")
    if network != "prototypes":
        predictor = trials.train(run, place, train, labels, val, NETWORKS[network], shape,
                                 seed=seed, save_epochs=False, **flat)
        config = read_json(run.folder / trials.TRIALS / place / CONFIG)
        return predictor, config["key"], config["seconds"]
    s, start, classes = run.settings.replace(**flat), time.perf_counter(), run.pets.classes(labels)
    channels = tuple(run.features.map(level).shape[2] for level in s.model.levels)
    model = PerPixel(MaskFormerConfig(len(classes), channels, s.model.levels, blocks=0))
    fit_prototypes(model.to(run.device).eval().requires_grad_(False), run.features, train)
    predictor = Predictor(model, classes, s.backbone.backbone, s.backbone.image_size,
                          s.inference.predict_mirror)
    weights = model.mask_head.weight.cpu().numpy().tobytes()
    return predictor, hashlib.sha256(weights).hexdigest(), time.perf_counter() - start


def cost(run: Run, predictor: Predictor) -> dict[str, float]:
    """Of a model, on the first photos of the run: `parameters`, `gflops`, `backbone_gflops`,
    `memory_mb`, `ms_per_photo`, as in `ablation`."""
    model, device, size = predictor.model, predictor.device, run.settings.backbone.image_size
    ids = list(run.ids[: run.settings.training.batch_size])
    maps, seconds = cached_maps(model, run.features, ids), []
    with torch.inference_mode():
        for _ in range(5):
            start = time.perf_counter()
            model(maps)
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
    photo = torch.zeros(1, 3, size, size, device=run.device)
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # an output that holds its own graph would never be freed

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
            "memory_mb": (held + sum(kept.values())) / 2**20,
            "ms_per_photo": 1e3 * min(seconds) / len(ids)}


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
        return {"row": name, **of[0].rows[0], **means}

    table = pd.DataFrame(about(*row) for row in rows.items())
    table = table.astype({"parameters": int, "seeds": int})
    best = table["row"][table["iou"].where(table["seeds"] == table["seeds"].max()).idxmax()]
    gaps = pd.DataFrame([_paired([
        _ious(s, border) - _ious(scores[best, seed], border) for (n, seed), s in scores.items()
        if n == name], -SATISFIES) for name in table["row"]])
    others = table["row"] != best
    gaps["p"] = holm(gaps["p"][others])
    told, above = gaps["p"] < LEVEL, gaps["value"] > -SATISFIES
    table[["minus_best", "low", "high", "p"]] = gaps[["value", "low", "high", "p"]]
    table["satisfies"] = np.select(
        [(~others | told & above) & (table["seeds"] >= SEEDS), told & ~above], ["yes", "no"],
        "not told apart")
    n, iou = table["parameters"].to_numpy(), table["iou"].to_numpy()
    beaten = (n[:, None] >= n) & (iou[:, None] <= iou) & ((n[:, None] > n) | (iou[:, None] < iou))
    return table.assign(pareto=~beaten.any(1))


def _add_noise(table: pd.DataFrame, noisy: dict[tuple[str, int], Scores],
               clean: dict[tuple[str, int], Scores], border: str) -> None:
    """The columns `noise`... of the table of a source."""
    gaps = {}
    for base in table[table["row"].isin(BASES)].itertuples():
        like = (table["parameters"] < base.parameters) & (table["levels"] == base.levels)
        for at, name in table["row"][like].items():
            seeds = [seed for n, seed in noisy if n == name and (n, seed) in clean]
            losses = [[_ious(s[name, seed], border) - _ious(s[base.row, seed], border)
                       for s in (noisy, clean)] for seed in seeds]
            gaps[at] = _paired([one - other for one, other in losses], 0)
    noise = pd.DataFrame.from_dict(gaps, "index", columns=["value", "low", "high", "p"])
    noise["p"] = holm(noise["p"])
    table[["noise", "noise_low", "noise_high", "noise_p"]] = noise.reindex(table.index)


def _paired(gaps: list[pd.Series], against: float) -> dict[str, float]:
    """Of the differences of each seed, photo by photo: their mean `value`, the widest interval
    `low`, `high`, and `p` that the mean is `against`; 1 where the seeds lie on both sides."""
    ps, limits, means = [], [], [gap.mean() for gap in gaps]
    for gap in gaps:
        chosen = np.random.default_rng(0).integers(len(gap), size=(RESAMPLES, len(gap)))
        drawn = gap.to_numpy()[chosen].mean(1)
        below, above = ((side.sum() + 1) / (RESAMPLES + 1)
                        for side in (drawn <= against, drawn >= against))
        ps.append(min(1.0, 2 * min(below, above)))
        limits.append(np.quantile(drawn, [LEVEL / 2, 1 - LEVEL / 2]))
    agree = len({mean > against for mean in means}) == 1
    low, high = np.min(limits, 0)[0], np.max(limits, 0)[1]
    return {"value": np.mean(means), "low": low, "high": high, "p": max(ps) if agree else 1.0}


def answers(table: pd.DataFrame) -> pd.DataFrame:
    """What `ablation` came to, a row per source: `best` and its `iou`; the `simplest` that
    satisfies, its `parameters`, their `share` of the paper's, its `minus_best`; `tenth`: whether a
    model with at most TENTH of the paper's parameters satisfies (`yes`, `none of the grid`,
    `not told apart`); `wants`: what noisy masks want, beside those of the first source (`simpler`
    or `larger` models, `both`, `not told apart`), from the rows with SEEDS
    seeds whose `noise` is told from 0."""
    rows = []
    for source, part in table.groupby("source", sort=False):
        best = part.loc[part["minus_best"].where(part["p"].isna()).idxmax()]
        satisfied = part[part["satisfies"] == "yes"].sort_values("parameters", ignore_index=True)
        simplest = satisfied.reindex([0]).iloc[0]  # empty where none does
        small = set(part.loc[part["share"] <= TENTH, "satisfies"])
        told = pd.Series(dtype=float)
        if "noise" in part:
            told = part["noise"][(part["noise_p"] < LEVEL) & (part["seeds"] >= SEEDS)]
        signs = (bool((told > 0).any()), bool((told < 0).any()))
        rows.append({
            "source": source, "best": best["row"], "iou": best["iou"], "simplest": simplest["row"],
            **simplest[["parameters", "share", "minus_best"]],
            "tenth": "yes" if "yes" in small else
            "none of the grid" if small == {"no"} else "not told apart",
            "wants": {(True, False): "simpler", (False, True): "larger", (True, True): "both"}.get(
                signs, "not told apart") if source != table["source"][0] else ""})
    return pd.DataFrame(rows)


def sentences(table: pd.DataFrame) -> list[str]:
    """The same in words, one or two sentences per source."""
    out = []
    for said in answers(table).to_dict("records"):
        part = table[table["source"] == said["source"]]
        simplest = "none is told to satisfy"
        if isinstance(said["simplest"], str):
            simplest = (
                f"the simplest that satisfies is `{said['simplest']}` with {said['share']:.1%} of "
                f"the paper's parameters ({said['minus_best']:+.3f})")
        few = part[(part["share"] <= TENTH) & (part["seeds"] == part["seeds"].max())]
        if len(few):
            least = few.loc[few["iou"].idxmax()]
            simplest += (
                f". Of those with at most a tenth of them, `{least['row']}` ({least['share']:.1%}) "
                f"has the most: {least['minus_best']:+.3f} [{least['low']:+.3f}, "
                f"{least['high']:+.3f}] from the best, seeds {least['seeds']}, satisfies: "
                f"{least['satisfies']}")
        out.append(f"masks of `{said['source']}`: the best of {len(part)} architectures is "
                   f"`{said['best']}` (IoU {said['iou']:.3f}); {simplest}.")
        if "noise" in part and len(noisy := part[part["noise"].notna() & (part["seeds"] >= SEEDS)]):
            told = noisy["noise"][noisy["noise_p"] < LEVEL]
            out.append(
                f"with masks of `{said['source']}` in place of `{table['source'][0]}`, of "
                f"{len(noisy)} smaller architectures with {SEEDS} seeds {(told > 0).sum()} lose "
                f"less to the one that they are made from, {(told < 0).sum()} lose more (change of "
                f"the loss from {noisy['noise'].min():+.3f} to {noisy['noise'].max():+.3f}): noisy "
                f"masks want: {said['wants']}.")
    return out
