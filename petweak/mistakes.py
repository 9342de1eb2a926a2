"""Which mistake makes Grad-CAM masks as bad as the paper's Table 3, with its IoU of 0.09?

The way from the cached maps to an IoU has five steps, and a mistake is another version of one:

    explain   Case -> (B, h, w)            what the head looks at, on a small map
    scale     (B, h, w), size -> (B, S, S)
    decide    (H, W), threshold -> bool    pet or not
    target    trimap (H, W) -> bool        what the masks are held against
    score     mask, target -> number

`MISTAKES["none"]` is the paper's section 3.2 done right: the class that the classifier names, a map
normalised to [0, 1], one threshold for all photos, the border as pet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from petweak import metrics
from petweak.backbones import Backbone
from petweak.data.pets import BACKGROUND, BORDER, Sample, load_trimap
from petweak.data.rendered import BREEDS
from petweak.pseudo_masks import cam
from petweak.study import Run

OFFICIAL = [breed.name for breed in BREEDS]  # the 37 breeds in the order of their class ids


@dataclass(frozen=True)
class Case:
    """A batch: the last maps (B, C, h, w), `stride16` maps, labels (B,) and a linear head.

    `labels` count as the data set does: official class id - 1 for the ImageNet head, the rank among
    the breeds that are there for a head `finetuned` on them.
    """

    maps: Tensor
    stride16: Tensor
    labels: Tensor
    head: nn.Linear
    finetuned: bool
    backbone: Backbone


# --- explain


def named_class(case: Case) -> Tensor:
    """Right: Grad-CAM of the class that the head names."""
    return cam.grad_cam(case.maps, case.head, cam.top1)


def minus_gradient(case: Case) -> Tensor:
    """The gradient of a loss instead of a score: it points away from the class."""
    return _weighted(-_weights(case, _named(case)), case.maps)


def label_as_class_id(case: Case) -> Tensor:
    """The data set's label as the class's index. ImageNet's first 37 are fish, birds, newts."""
    return _weighted(_weights(case, case.labels), case.maps)


def untrained_head(case: Case) -> Tensor:
    """A new last layer for the breeds, explained before it was trained."""
    if case.finetuned:
        return label_as_class_id(case)
    head = nn.Linear(case.maps.shape[1], len(OFFICIAL))
    with torch.no_grad():
        drawn = torch.empty_like(head.weight).uniform_(
            -1, 1, generator=torch.Generator().manual_seed(0)
        )
    return _weighted(drawn[case.labels], case.maps)


def mean_over_channels(case: Case) -> Tensor:
    """The gradient averaged over the wrong axis: one weight for all channels."""
    weights = _weights(case, _named(case))
    return _weighted(weights.mean(1, keepdim=True).expand_as(weights), case.maps)


def earlier_layer(case: Case) -> Tensor:
    """The hook on a layer in the middle of the network (stride 16)."""
    with torch.enable_grad():
        x = case.stride16.clone().requires_grad_()
        logits = case.head(_rest(case.backbone, x).mean((-2, -1)))
        (gradient,) = torch.autograd.grad(logits.amax(1).sum(), x)
    return _weighted(gradient.mean((-2, -1)), case.stride16)


def another_photo(case: Case) -> Tensor:
    """Masks and photos listed in two orders: each photo gets the map of its neighbour."""
    return named_class(case).roll(1, 0)


# --- scale, decide, target, score


def normalised(maps: Tensor, size: int) -> Tensor:
    """Right: each map to [0, 1]."""
    return cam.upsample(maps, size)


def as_it_is(maps: Tensor, size: int) -> Tensor:
    """No normalisation: the threshold meets the map's own values."""
    return F.interpolate(maps[:, None], (size, size), mode="bilinear")[:, 0]


def above(soft: np.ndarray, threshold: float) -> np.ndarray:
    """Right: above the threshold."""
    return soft > threshold


def below(soft: np.ndarray, threshold: float) -> np.ndarray:
    """Inverted: what the class does not need is called pet."""
    return soft <= threshold


def the_peak(soft: np.ndarray, threshold: float) -> np.ndarray:
    """A threshold of 0.9: the peak alone."""
    return soft > 0.9


def top_twentieth(soft: np.ndarray, threshold: float) -> np.ndarray:
    """The 5 % of the pixels with the largest values: a percentile instead of a threshold."""
    k = int(0.95 * soft.size)
    return soft > np.partition(soft, k, axis=None)[k]


def above_bytes(soft: np.ndarray, threshold: float) -> np.ndarray:
    """A threshold meant for 0 ... 255 on a map in [0, 1]: nothing is above it."""
    return soft > 255 * threshold


def pet(trimap: np.ndarray) -> np.ndarray:
    """Right: pet and border."""
    return trimap != BACKGROUND


def background(trimap: np.ndarray) -> np.ndarray:
    """The trimap's 2 taken for the pet (a mask of 0 and 1 held against trimap - 1)."""
    return trimap == BACKGROUND


def border(trimap: np.ndarray) -> np.ndarray:
    """The trimap's 3 taken for the pet: its outline alone."""
    return trimap == BORDER


def not_zero(trimap: np.ndarray) -> np.ndarray:
    """Everything that is not 0 taken for the pet: a trimap has no 0, so the whole photo."""
    return trimap != 0


def byte_sums(mask: np.ndarray, target: np.ndarray) -> float:
    """The mask as 0 and 255, the target as 0 and 1, overlap and union by sums of products."""
    m = mask.astype(float) * 255
    overlap = (m * target).sum()
    return float(overlap / max(m.sum() + target.sum() - overlap, 1))


def mean_over_absent_classes(mask: np.ndarray, target: np.ndarray) -> float:
    """A mean over 37 breeds and the background, where the 36 absent breeds count 0."""
    both = metrics.iou(mask, target) + metrics.iou(~mask, ~target)
    return both / (len(OFFICIAL) + 1)


# --- the mistakes


@dataclass(frozen=True)
class Pipeline:
    """From maps to a score; `about` is the docstring of the step that is not the right one."""

    explain: Callable[[Case], Tensor] = named_class
    scale: Callable[[Tensor, int], Tensor] = normalised
    decide: Callable[[np.ndarray, float], np.ndarray] = above
    target: Callable[[np.ndarray], np.ndarray] = pet
    score: Callable[[np.ndarray, np.ndarray], float] = metrics.iou

    @property
    def about(self) -> str:
        wrong = [f for f in vars(self).values() if f not in vars(type(self)).values()]
        return " ".join(" ".join(f.__doc__.split()) for f in wrong)


MISTAKES: dict[str, Pipeline] = {
    "none": Pipeline(),
    "label as class id": Pipeline(explain=label_as_class_id),
    "untrained head": Pipeline(explain=untrained_head),
    "minus gradient": Pipeline(explain=minus_gradient),
    "mean over channels": Pipeline(explain=mean_over_channels),
    "earlier layer": Pipeline(explain=earlier_layer),
    "another photo": Pipeline(explain=another_photo),
    "not normalised": Pipeline(scale=as_it_is),
    "inverted map": Pipeline(decide=below),
    "peak above 0.9": Pipeline(decide=the_peak),
    "top 5 %": Pipeline(decide=top_twentieth),
    "0/255 threshold": Pipeline(decide=above_bytes),
    "target: background": Pipeline(target=background),
    "target: border": Pipeline(target=border),
    "target: not zero": Pipeline(target=not_zero),
    "0/255 sums": Pipeline(score=byte_sums),
    "absent classes": Pipeline(score=mean_over_absent_classes),
}
HEADS = ("gradcam_pretrained", "gradcam_finetuned")


def mistaken(
    run: Run, source: str, ids: list[str], names: list[str], threshold: float = 0.5
) -> Iterator[tuple[Sample, np.ndarray, dict[str, np.ndarray]]]:
    """Photo by photo: its sample, its trimap, and {mistake: mask (H, W) bool}, for the head of
    `source`, one of HEADS. KeyError for an unknown mistake, ValueError for a source without a head.
    """
    if source not in HEADS:
        raise ValueError(f"{source!r} has no linear head: known are {', '.join(HEADS)}")
    pipelines = {name: MISTAKES[name] for name in names}
    fitted = run.source(source)
    fitted.fit()
    samples = {s.id: s for s in run.pets.samples}
    for k in range(0, len(ids), 16):
        part = [samples[i] for i in ids[k : k + 16]]
        case = _case(run, part, fitted.head, finetuned=source == HEADS[1])
        ways = {(p.explain, p.scale) for p in pipelines.values()}
        soft = {way: way[1](way[0](case), run.settings.image_size) for way in ways}
        for row, sample in enumerate(part):
            trimap = load_trimap(sample.trimap)
            large = {way: _to_photo(maps[row], trimap.shape) for way, maps in soft.items()}
            masks = {
                n: p.decide(large[p.explain, p.scale], threshold) for n, p in pipelines.items()
            }
            yield sample, trimap, masks


def mistake_table(
    run: Run, ids: list[str], threshold: float = 0.5, names: list[str] | None = None
) -> pd.DataFrame:
    """Mean scores over the photos `ids`, a row per mistake.

    Returns: `mistake`; `gradcam_pretrained` and `gradcam_finetuned`, the mean score with that head;
    `area`, the mean share of the photo that the pretrained head's mask covers; `about`.
    """
    names = list(MISTAKES) if names is None else names
    rows: dict[str, dict] = {name: {"mistake": name} for name in names}
    for source in HEADS:
        scores: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
        for _, trimap, masks in mistaken(run, source, ids, names, threshold):
            for name, mask in masks.items():
                p = MISTAKES[name]
                scores[name].append((p.score(mask, p.target(trimap)), mask.mean()))
        for name in names:
            score, area = np.mean(scores[name], axis=0)
            rows[name] |= {source: float(score)}
            rows[name] |= {"area": float(area)} if source == HEADS[0] else {}
    table = pd.DataFrame(rows.values()).assign(about=[MISTAKES[n].about for n in names])
    return table[["mistake", *HEADS, "area", "about"]]


def _case(run: Run, part: list[Sample], head: nn.Linear, finetuned: bool) -> Case:
    ids, names = [s.id for s in part], run.pets.breeds
    known = {n: OFFICIAL.index(n) if n in OFFICIAL else i for i, n in enumerate(names)}
    labels = [s.breed if finetuned else known[names[s.breed]] for s in part]
    maps, stride16 = (run.features.batch(tap, ids) for tap in ("last", "stride16"))
    return Case(maps, stride16, torch.tensor(labels), head, finetuned, run.backbone.cpu())


def _named(case: Case) -> Tensor:
    return case.head(case.maps.mean((-2, -1))).argmax(1)


def _weights(case: Case, classes: Tensor) -> Tensor:
    """(B, C): d score / d map of the logit of `classes`, which is the same at every place."""
    return case.head.weight.detach()[classes] / (case.maps.shape[-2] * case.maps.shape[-1])


def _weighted(weights: Tensor, maps: Tensor) -> Tensor:
    return torch.einsum("bc,bchw->bhw", weights, maps).relu()


def _rest(backbone: Backbone, stride16: Tensor) -> Tensor:
    """From the stride16 map to the last one."""
    n = backbone.net
    if hasattr(n, "layer4"):
        return n.layer4(stride16)
    return n.bn2(n.conv_head(n.blocks[5:](stride16)))


def _to_photo(soft: Tensor, shape: tuple[int, int]) -> np.ndarray:
    return F.interpolate(soft[None, None], shape, mode="bilinear")[0, 0].numpy()
