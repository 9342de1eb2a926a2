"""Typical mistakes, made on purpose: what the sections "Break it" of the notebooks measure.

`petweak.mistakes` has those on the way from a CAM to an IoU. Nothing of the study imports this.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms.functional import normalize, to_tensor

from petweak.backbones import Backbone
from petweak.data.pets import load_photo
from petweak.maskformer.targets import Targets
from petweak.pseudo_masks import source_named
from petweak.pseudo_masks.base import Batch, Source
from petweak.pseudo_masks.mask_rcnn import detector_in_use, load_detector
from petweak.pseudo_masks.refiners.base import Refiner
from petweak.study import Run
from petweak.trials import ious


def unfrozen(backbone: Backbone) -> Backbone:
    """A copy whose batch norm takes mean and variance from the batch, as a careless `train()`
    leaves a network: no weight changes, and yet every answer depends on the photos beside it."""
    copied = copy.deepcopy(backbone)
    for layer in copied.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.train()
    return copied


# What a detector is fed with, from a photo (3, H, W) in [0, 1]. torchvision's normalise by
# themselves and expect red first.
INPUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "0 to 255": lambda x: 255 * x,
    "normalised twice": lambda x: normalize(x, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    "blue first": lambda x: x.flip(0),
}


def fed_wrongly(run: Run, ids: list[str]) -> pd.DataFrame:
    """The run's detector on the photos `ids`, fed in every way of INPUTS: a row for each, `iou`
    (mean, border as pet) and `found`, the share of photos with a pet."""
    model, pets = load_detector(detector_in_use(run.settings.detector))
    photos, rows = {s.id: s.photo for s in run.pets.samples}, {}
    for name, feed in INPUTS.items():
        masks = {i: _detect(run, model, pets, feed(to_tensor(load_photo(photos[i])))) for i in ids}
        found = np.mean([mask.any() for mask in masks.values()])
        rows[name] = {"iou": ious(run, masks).mean(), "found": found}
    return pd.DataFrame(rows).T.rename_axis("mistake")


@torch.inference_mode()
def _detect(run: Run, model: nn.Module, pets: tuple[int, ...], x: Tensor) -> np.ndarray:
    """(3, H, W) -> (H, W) bool: the union of the pets, as the source `mask_rcnn` takes it."""
    found, s = model([x])[0], run.settings
    keep = torch.isin(found["labels"], torch.tensor(pets)) & (found["scores"] >= s.score_threshold)
    return (found["masks"][keep, 0] > s.mask_threshold).any(0).numpy()


def together(maps: Tensor) -> Tensor:
    """(B, h, w) -> [0, 1], by the smallest and the largest value of the batch, not of each map."""
    maps = maps - maps.min()
    return maps / maps.max().clamp(min=1e-7)


def shuffled_labels(run: Run, source: str = "gradcam_finetuned", seed: int = 0) -> Source:
    """The source, fitted to labels that were dealt out to the photos of train at random: as many
    of each class as before, and none of them says anything about its photo."""
    context = copy.copy(run.context)
    ids = sorted(context.train_labels)
    dealt = np.random.default_rng(seed).permutation(len(ids))
    context.train_labels = {i: run.context.train_labels[ids[k]]
                            for i, k in zip(ids, dealt, strict=True)}  # fmt: skip
    wrong = source_named(source)(context)
    wrong.fit()
    return wrong


class Unmirrored(Targets):
    """Targets that stay as they are where the photo is mirrored."""

    def batch(self, rows: Tensor, mirror: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `Targets.batch`, but for `mirror`, which nobody looks at."""
        return super().batch(rows, torch.zeros_like(mirror))


class Dilation(Refiner):
    """Every pet grows by three cells of the map. No photo is looked at, so it refines nothing."""

    def refine(self, soft: Tensor, batch: Batch, source: Source | None) -> Tensor:
        return F.max_pool2d(soft[:, None], 7, stride=1, padding=3)[:, 0]
