"""Which fault makes Grad-CAM masks as bad as the paper's Table 3, with its IoU of 0.09?

An answer is a conjecture about somebody's run. Five steps lead from the cached feature maps to an
IoU, see `Pipeline`, and a fault is another version of one. `FAULTS["none"]` is the paper's section
3.2 as it is written: the class that the classifier names, a map normalised to [0, 1], one threshold
for all photos, the border as foreground.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from petweak.data import oxford_pets as data
from petweak.data.oxford_pets import BREED_NAMES as BREEDS
from petweak.evaluation import metrics
from petweak.experiments.trials import enlarged, scored
from petweak.models.backbones import Backbone
from petweak.pseudo_masks import cam
from petweak.study.run import Run

HEADS = ("gradcam_pretrained", "gradcam_finetuned")


@dataclass(frozen=True)
class Case:
    """A batch: final and `stride16` maps (B, C, h, w), a linear head, and labels (B,): ranks among
    the breeds, for the ImageNet head (not `finetuned`) among all 37 official ones."""

    maps: Tensor
    stride16: Tensor
    labels: Tensor
    head: nn.Linear
    finetuned: bool
    backbone: Backbone

    def gradient(self, classes: Tensor | None = None) -> Tensor:
        """(B, C): d logit / d map, equal at every position, of `classes` or of the named class."""
        if classes is None:
            classes = self.head(self.maps.mean((-2, -1))).argmax(1)
        return self.head.weight.detach()[classes] / self.maps[0, 0].numel()

    def weighted(self, weights: Tensor) -> Tensor:
        """The sum of the final map's channels by their weights (B, C), at least 0: (B, h, w)."""
        return torch.einsum("bc,bchw->bhw", weights, self.maps).relu()


def named_class(case: Case) -> Tensor:
    return cam.grad_cam(case.maps, case.head, cam.top1)


def untrained_head(case: Case) -> Tensor:
    weight = torch.empty(len(BREEDS), case.maps.shape[1])
    weight.uniform_(-1, 1, generator=torch.Generator().manual_seed(0))
    return case.weighted(case.gradient(case.labels) if case.finetuned else weight[case.labels])


def earlier_layer(case: Case) -> Tensor:
    device = next(case.backbone.parameters()).device  # of the run's network, which stays there
    weight, bias = (p.detach().to(device) for p in (case.head.weight, case.head.bias))
    with torch.enable_grad():
        x = case.stride16.to(device).clone().requires_grad_()
        logits = F.linear(case.backbone.final_from(x, "stride16").mean((-2, -1)), weight, bias)
        (gradient,) = torch.autograd.grad(logits.amax(1).sum(), x)
    return replace(case, maps=case.stride16).weighted(gradient.mean((-2, -1)).cpu())


def top_twentieth(soft: np.ndarray, threshold: float) -> np.ndarray:
    k = int(0.95 * soft.size)
    return soft > np.partition(soft, k, axis=None)[k]


def byte_sums(mask: np.ndarray, target: np.ndarray) -> float:
    m = mask.astype(float) * 255
    overlap = (m * target).sum()
    return float(overlap / max(m.sum() + target.sum() - overlap, 1))


def absent_classes(mask: np.ndarray, target: np.ndarray) -> float:
    return (metrics.iou(mask, target) + metrics.iou(~mask, ~target)) / (len(BREEDS) + 1)


@dataclass(frozen=True)
class Pipeline:
    """From feature maps to a score; `about` says what the step does that differs."""

    about: str = ""
    explain: Callable[[Case], Tensor] = named_class  # (B, h, w): what the head responds to
    scale: Callable[[Tensor, int], Tensor] = cam.upsample  # (B, h, w), size -> (B, S, S)
    decide: Callable[[np.ndarray, float], np.ndarray] = np.greater  # (H, W), threshold -> bool
    # trimap (H, W) -> bool, and the mask's score with it
    target: Callable[[np.ndarray], np.ndarray] = lambda trimap: trimap != data.TRIMAP_BACKGROUND
    score: Callable[[np.ndarray, np.ndarray], float] = metrics.iou


FAULTS: dict[str, Pipeline] = {
    "none": Pipeline(),
    "label as class id": Pipeline(
        "the label as ImageNet's class index", lambda c: c.weighted(c.gradient(c.labels))),
    "untrained head": Pipeline("a new layer for breeds, not yet trained", untrained_head),
    "minus gradient": Pipeline("a loss's gradient", lambda c: c.weighted(-c.gradient())),
    "mean over channels": Pipeline(
        "the gradient's mean over the wrong axis",
        lambda c: c.weighted(c.gradient().mean(1, keepdim=True).expand_as(c.gradient()))),
    "earlier layer": Pipeline("the hook on a layer in the middle, stride 16", earlier_layer),
    "another photo": Pipeline("the map of the next photo", lambda c: named_class(c).roll(1, 0)),
    "not normalised": Pipeline(
        "the threshold on the map's own values",
        scale=lambda m, size: F.interpolate(m[:, None], (size, size), mode="bilinear")[:, 0]),
    "inverted map": Pipeline("foreground below the threshold", decide=np.less_equal),
    "peak above 0.9": Pipeline("a threshold of 0.9", decide=lambda soft, _: soft > 0.9),
    "top 5 %": Pipeline("a percentile instead of a threshold", decide=top_twentieth),
    "0/255 threshold": Pipeline("a threshold of bytes", decide=lambda soft, t: soft > 255 * t),
    "target: background": Pipeline("the trimap's 2 as the pet", target=lambda trimap: trimap == 2),
    "target: border": Pipeline("the trimap's 3 as the pet", target=lambda trimap: trimap == 3),
    "target: not zero": Pipeline("all of a trimap as the pet", target=lambda trimap: trimap != 0),
    "0/255 sums": Pipeline("a mask of 255 times a target of 1, summed", score=byte_sums),
    "absent classes": Pipeline("a mean over 38 classes, 36 of them absent", score=absent_classes),
}


def cam_faults(
    run: Run, faults: tuple[str, ...] = (), threshold: float = 0.5, ids: tuple[str, ...] = ()
) -> pd.DataFrame:
    """Mean scores over the photos `ids` (of test unless given) that have ground truth, a row per
    fault (all unless given).

    Returns `fault`; `gradcam_pretrained` and `gradcam_finetuned`, the mean score with that head;
    `area`, the mean share of the photo that the pretrained head's mask covers; `about`.
    """
    ids = [s.id for s in scored(run, ids or "test")]
    rows = [(fault, head, FAULTS[fault].score(mask, FAULTS[fault].target(trimap)), mask.mean())
            for head in HEADS
            for _, trimap, masks in faulty_masks(run, head, ids, faults or FAULTS, threshold)
            for fault, mask in masks.items()]
    photos = pd.DataFrame(rows, columns=["fault", "head", "score", "area"])
    means = photos.pivot_table(["score", "area"], "fault", "head", sort=False)
    table = means["score"].assign(area=means["area", HEADS[0]])
    table["about"] = [FAULTS[fault].about for fault in table.index]
    return table.reset_index().rename_axis(columns=None)


def faulty_masks(
    run: Run, source: str, ids: list[str], faults: list[str], threshold: float = 0.5
) -> Iterator[tuple[data.Sample, np.ndarray, dict[str, np.ndarray]]]:
    """Photo by photo: its sample, its trimap, and {fault: mask (H, W) bool}, for the head of
    `source`, one of HEADS. ValueError for an unknown fault or a source without a head."""
    if source not in HEADS:
        raise ValueError(f"{source!r} has no linear head: there are {', '.join(HEADS)}")
    if unknown := [name for name in faults if name not in FAULTS]:
        raise ValueError(f"unknown fault {', '.join(unknown)}: there are {', '.join(FAULTS)}")
    used, finetuned = {name: FAULTS[name] for name in faults}, source == HEADS[1]
    fitted = run.source(source)
    fitted.fit()
    for batch in run.context.batches(list(ids), 16):
        part = [run.pets.sample(i) for i in batch.ids]
        labels = torch.tensor([
            s.breed if finetuned or s.breed_name not in BREEDS else BREEDS.index(s.breed_name)
            for s in part])
        maps, stride16 = (run.features.batch(level, batch.ids) for level in ("final", "stride16"))
        case = Case(maps, stride16, labels, fitted.head, finetuned, run.backbone)
        soft = {(explain, scale): scale(explain(case), run.settings.backbone.image_size)
                for explain, scale in {(p.explain, p.scale) for p in used.values()}}
        for row, sample in enumerate(part):
            trimap = data.load_trimap(sample.trimap, sample.photo)
            large = {way: enlarged(m[row], trimap.shape) for way, m in soft.items()}
            masks = {n: p.decide(large[p.explain, p.scale], threshold) for n, p in used.items()}
            yield sample, trimap, masks
