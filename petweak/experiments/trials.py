"""Short trials beside a run: "what if" on some photos, with other targets or other settings.

They start from the run's features and masks, and no table of the run reads them. A trial with the
same targets and settings is opened and not trained again.
"""

import hashlib
import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from petweak.config import Settings, parse_assignments
from petweak.data import distributed
from petweak.data.files import read_json, write_json
from petweak.data.masks import FOREGROUND, read_mask
from petweak.data.oxford_pets import Sample, load_trimap
from petweak.data.pictures import header
from petweak.evaluation import metrics
from petweak.models.maskformer import MaskFormer
from petweak.pseudo_masks.base import Source
from petweak.pseudo_masks.store import to_mask
from petweak.study.cache import ensure, key
from petweak.study.run import Run
from petweak.training import self_training
from petweak.training.inference import Predictor, load_model, predict_features
from petweak.training.targets import Targets, load_targets, no_targets
from petweak.training.trainer import is_trained, train_model

Folders = Path | dict[str, Path]  # of masks `<id>.png`: one, or one an id
TRIALS = "experiments/trials"  # in a run's folder
PHOTOS = ("all", "with_trimap")  # of train: what a weak source's model learns from
DEFAULT = "default"  # the configuration that changes nothing
# What satisfies is at most so far below the best of its table (both questions of the paper), by so
# many seeds at least: their spread is a part of the rule, and of fewer it is not known.
SATISFIES, SEEDS = 0.02, 3
VERDICTS, UNDECIDED = ("better", "worse", "not told apart"), "undecided"
# What learns without masks: a name, the source, its labels, and settings beside the run's.
WEAK = (("no target annotations", "imagenet_only", "species", {}),
        ("breed labels", "gradcam_finetuned", "breed", {"refinement": ("auto",)}))


def changes(configuration: str) -> dict[str, str]:
    """`"rounds=1 channel_dropout=0.0"` -> {setting: text}; nothing for `default`."""
    return {} if configuration == DEFAULT else parse_assignments(configuration.split())


def for_border(run: Run, source: str, seed: int, border: str, background_threshold: float = 0.05,
               **flat) -> Run:
    """The run, or its variant, with a seed and `flat` settings, for a treatment of the border: the
    last masks of self-training are widened, by `background_threshold`, for `foreground` alone."""
    threshold = background_threshold if border == "foreground" else 0.5
    flat = {"seed": seed, "border": border, "background_threshold": threshold, **flat}
    same = flat.items() <= run.settings.flat().items()
    return run if same else run.variant(f"{source}-seed-{seed}-border-{border}", **flat)


def ground_truth(run: Run, border: str) -> Path:
    """The folder of ground-truth masks in which the trimap's border counts as `border`."""
    if run.settings.ground_truth.border != border:
        run = run.variant(f"border-{border}", border=border)
    run.masks("ground_truth")
    return run.masks_folder("ground_truth")


def scored(run: Run, of: str | Iterable[str]) -> tuple[Sample, ...]:
    """The photos of a split, or of these ids, that have ground truth. ValueError where none has: an
    experiment that compares with it asks before it begins."""
    samples = run.pets.split(of) if isinstance(of, str) else [run.pets.sample(i) for i in of]
    if not (there := tuple(s for s in samples if s.trimap)) and samples:
        what = f"no photo of {of}" if isinstance(of, str) else f"none of {len(samples)} photos"
        raise ValueError(f"this needs ground truth, and {what} in {run.pets.root} has a "
                         "trimap. `petweak study` and its report need none")
    return there


def with_trimap(run: Run, name: str, **flat: Any) -> Run:
    """The run's variant that learns from photos with ground truth alone, whatever the source."""
    few = (s.id for split in ("train", "test") for s in scored(run, split))
    return run.variant(name, frozenset(few), **flat)


def learning_from(run: Run, photos: str) -> Run:
    """The run, or its variant, for one of PHOTOS. ValueError for another one."""
    if photos not in PHOTOS:
        raise ValueError(f"unknown photos={photos}: there are {', '.join(PHOTOS)}")
    return run if photos == PHOTOS[0] else with_trimap(run, photos)


def ious(run: Run, masks: Mapping[str, np.ndarray], border: str = "foreground") -> pd.Series:
    """IoU with ground truth of any masks {id: boolean (H, W), the photo's size}, by id, of the
    photos that have it. ValueError where there are photos and none has."""
    trimaps = {s.id: load_trimap(s.trimap, s.photo) for s in scored(run, masks)}
    values = {i: metrics.iou(masks[i], *metrics.target(t, border)) for i, t in trimaps.items()}
    return pd.Series(values, name="iou", dtype=float)


def enlarged(soft: torch.Tensor, shape: tuple[int, int]) -> np.ndarray:
    """A map (h, w) at the size of a photo, bilinear."""
    return F.interpolate(soft[None, None], shape, mode="bilinear")[0, 0].numpy()


def read_masks(folder: Path, ids: Iterable[str]) -> dict[str, np.ndarray]:
    """{id: boolean (H, W), True on the foreground} from `<folder>/<id>.png`."""
    return {i: read_mask(folder / f"{i}.png") == FOREGROUND for i in ids}


def photo_shapes(run: Run, ids: Iterable[str]) -> dict[str, tuple[int, int]]:
    """{id: (height, width)} in pixels."""
    return {i: header(run.pets.sample(i).photo).size[::-1] for i in ids}


def model_ious(run: Run, predictor: Predictor, ids: Iterable[str], border: str = "foreground"
               ) -> pd.Series:
    """IoU of a model's predictions with ground truth, by id."""
    shapes = photo_shapes(run, ids)
    predictions = predict_features(predictor, run.features, list(shapes))
    return ious(run, {i: p.mask(*shapes[i]) for i, p in predictions}, border)


def source_masks(run: Run, fitted: Source, ids: Iterable[str], threshold: float | str
                 ) -> dict[str, np.ndarray]:
    """{id: boolean (H, W)}: masks of a fitted source (`run.fitted_source`). None is written."""
    shapes, masks = photo_shapes(run, ids), {}
    for batch in run.context.batches(list(shapes), fitted.batch_size):
        with torch.no_grad():
            soft = zip(batch.ids, fitted.refined(batch), strict=True)
        masks |= {i: to_mask(m, shapes[i], threshold) == FOREGROUND for i, m in soft}
    return masks


def source_ious(run: Run, fitted: Source, ids: Iterable[str], threshold: float | str | None = None
                ) -> pd.Series:
    """IoU (border as foreground) of the masks of a fitted source, by id; None: at its threshold."""
    cut = fitted.threshold() if threshold is None else threshold
    return ious(run, source_masks(run, fitted, ids, cut))


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """`folder`, empty, though a killed process may have left something there; nothing is left."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def kept(file: Path, known: str, make: Callable[[], Any]) -> Any:
    """What `make` returns, from `file` where that has it with the key `known`."""
    if (there := read_json(file) or {}).get("key") != known:
        write_json(file, there := {"key": known, "made": make()})
    return there["made"]


def flops(call: Callable[[], Any]) -> int:
    """Of the products and convolutions of a call, by torch's counter: a multiplication and an
    addition are two. What is done element by element is not counted."""
    # It knows no fused attention on the CPU and no product with a vector.
    more = {torch.ops.aten.mv: lambda matrix, vector, **_: 2 * math.prod(matrix)}
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False, custom_mapping=more) as count:
        count.mod_tracker.__exit__()  # of modules: its hooks fail where a module's input is a leaf
        call()
    return count.get_total_flops()


def verdicts(gaps: pd.DataFrame, keys: list[str], at: float = 0, words: tuple[str, ...] = VERDICTS
             ) -> pd.Series:
    """Of each group by `keys` the first or the second of the `words` where the interval over
    photos, `low` to `high`, of every row (a seed each) lies above or below `at`; else the third."""
    above, below, neither = words
    limits = gaps.groupby(keys)[["low", "high"]].agg(["min", "max"])
    told = pd.Series(neither, limits.index)
    told[limits["low", "min"] > at] = above
    told[limits["high", "max"] < at] = below
    return told


def satisfies(gaps: pd.DataFrame, keys: list[str], seeds: pd.Series) -> pd.Series:
    """Of each group by `keys`: `yes` or `no` where the interval of every seed, of the difference to
    the best of the table, lies above or below -SATISFIES, and for `yes` there are SEEDS of the
    `seeds` (by group) at least; `undecided` elsewhere."""
    told = verdicts(gaps, keys, -SATISFIES, ("yes", "no", UNDECIDED))
    return told.mask((told == "yes") & (seeds.reindex(told.index) < SEEDS), UNDECIDED)


def targets(run: Run, masks: Folders, ids: Iterable[str], labels: str,
            classes: dict[str, int] | None = None) -> Targets:
    """The masks of train photos as targets, in the order of `ids`, with `classes` {id: class} in
    place of the data set's labels. ValueError for a photo that is not in train."""
    ids, labelled = list(ids), {s.id: s.label(labels) for s in run.pets.split("train")}
    if strangers := [i for i in ids if i not in labelled]:
        raise ValueError(f"{', '.join(strangers[:3])}: not in train, so nothing may learn from it")
    labelled |= classes or {}
    folders = masks if isinstance(masks, dict) else dict.fromkeys(ids, masks)
    grid = run.settings.backbone.image_size // 2
    return Targets.join([load_targets(folders[i], [i], [labelled[i]], grid) for i in ids])


def shaped(network: type[MaskFormer], shape: Mapping[str, Any]) -> Callable:
    """Builds `network` from a MaskFormerConfig with the fields `shape` in place of its own."""
    return lambda config: network(replace(config, **shape))


def train(run: Run, name: str, targets: Targets, labels: str, val: Targets | None = None,
          network: type[MaskFormer] = MaskFormer, shape: Mapping[str, Any] | None = None, **flat
          ) -> Predictor:
    """A model trained on these targets, with the run's settings but for `flat`; without `val`, the
    last epoch is kept. `shape`: fields of MaskFormerConfig for `network` that are no settings."""
    s, folder, content = run.settings.replace(**flat), run.folder / TRIALS / name, hashlib.blake2b()
    for part in filter(None, (targets, val)):
        for tensor in (part.classes, part.masks, part.valid):
            content.update(tensor.numpy().tobytes())
    parts = {"val": val.ids} if val else {}
    parts |= {"network": network.__name__, "shape": shape} if shape or network != MaskFormer else {}
    trial = _key(run, s, ("model", "training"), labels=labels, ids=targets.ids,
                 kind=type(targets).__name__, content=content.hexdigest(), **parts)
    build = shaped(network, shape or {})

    def make() -> None:
        about = {"source": name, "labels": labels, "variant": "experiment", "round": None}
        train_model(run.features, targets, val or no_targets(), run.pets.classes(labels), s, folder,
                    trial, run.device, about, build if shape or network != MaskFormer else network)

    ensure(folder, ("trial", name, labels), lambda: is_trained(folder, trial) or None, make)
    predictor = load_model(folder, run.device, build)
    predictor.mirror = s.inference.predict_mirror
    return predictor


def self_train(run: Run, name: str, source: str, labels: str, **flat) -> list[self_training.Round]:
    """The rounds of self-training with other settings, from the masks that the run has."""
    s, start = run.settings.replace(**flat), run.start(source, labels)
    self_training.check(s)
    sections = ("model", "training", "self_training", "refinement", "masks", "inference")
    trial = _key(run, self_training.round_settings(s), sections, start=start.key)
    start = replace(start, key=trial)
    return self_training.self_train(start, run.context.replace(s), run.folder / TRIALS / name)


def _key(run: Run, settings: Settings, sections: tuple[str, ...], **parts) -> str:
    device = run.made_on + distributed.note(run.made_on)
    parts |= {"features": run.features_key, "device": device, "seed": settings.data.seed}
    return key(settings, sections, stage="trial", **parts)
