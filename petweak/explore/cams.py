"""Soft maps of a run's photos by any source, method, layer and refiner, and what a threshold does.

Whatever is asked a second time comes from memory, so that moving a threshold costs a comparison of
numbers and three IoUs.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from petweak import metrics
from petweak.data.pets import load_photo, load_trimap
from petweak.explore.made import sources_of
from petweak.files import read_json
from petweak.pseudo_masks import SOURCES, cam
from petweak.pseudo_masks.base import Batch, Source
from petweak.pseudo_masks.gradcam import GradCAM
from petweak.pseudo_masks.refiners import CHAINS, Chain, check_chain
from petweak.pseudo_masks.thresholds import otsu
from petweak.study import Run
from petweak.sweeps import THRESHOLDS

# Those of pytorch-grad-cam that answer at once; the others run the network hundreds of times.
METHODS = ("gradcam", "gradcam++", "xgradcam", "hirescam", "layercam", "eigencam", "eigengradcam")
CURVE_PHOTOS = 24  # of val, for the curve of the data set
AS_MADE = "as in the run"  # the refiner: those that made the masks on disk
SIDE = 360  # pixels, the longer side of a picture on the screen


@dataclass(frozen=True)
class Choice:
    """Which map: `method` and `layer` (a tap) matter to Grad-CAM's sources alone."""

    source: str
    method: str = "gradcam"
    layer: str = "last"
    refiner: str = "none"  # or a name of CHAINS, or AS_MADE


@dataclass(frozen=True)
class Shown:
    """One photo under one choice."""

    photo: np.ndarray  # (h, w, 3) uint8, small, for the screen
    truth: np.ndarray  # (h, w) bool, border as pet, for the screen
    soft: np.ndarray  # (H, W) in [0, 1], at the photo's own size
    truths: dict[str, tuple[np.ndarray, np.ndarray]]  # {border: (mask, valid)}, (H, W) bool

    @cached_property
    def otsu(self) -> float:
        return otsu(self.soft)

    def ious(self, threshold: float) -> dict[str, float]:
        """{border: IoU with ground truth} of the mask above `threshold`."""
        mask = self.soft > threshold
        return {b: metrics.iou(mask, *truth) for b, truth in self.truths.items()}

    def mask(self, threshold: float) -> np.ndarray:
        """(h, w) bool, of the size of `photo`."""
        return self.small > threshold

    @cached_property
    def small(self) -> np.ndarray:
        """(h, w) in [0, 1]: the map at the size of `photo`."""
        return _resized(torch.from_numpy(self.soft), self.photo.shape[:2])

    def curve(self) -> dict[float, float]:
        """{threshold: IoU} of this photo, border as pet."""
        target, _ = self.truths["pet"]
        return {t: metrics.iou(self.soft > t, target) for t in THRESHOLDS}


class CamMaps:
    """Maps of a run: `shown` of one photo, `curve` of the data set."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.samples = {s.id: s for s in run.pets.samples}
        self._fitted: dict[str, Source] = {}
        self._shown: dict[tuple[Choice, str], Shown] = {}
        self._curves: dict[Choice, dict[float, float]] = {}

    @property
    def sources(self) -> list[str]:
        return sources_of(self.run)

    def layers(self, source: str) -> tuple[str, ...]:
        """The taps that a source can explain; none where it is no Grad-CAM."""
        return self.run.features.taps if issubclass(SOURCES[source], GradCAM) else ()

    def refiners(self, source: str) -> list[str]:
        """What made the masks on disk first, then the chains that can refine this source's maps."""
        names = [AS_MADE, "none"] if self._manifest(source).get("refine") else ["none"]
        for name in CHAINS:
            try:
                check_chain((name,), SOURCES[source], self.run.settings)
            except ValueError:
                continue
            names.append(name)
        return names

    def threshold(self, source: str) -> float:
        """The one that the run's masks were made with; 0.5 where each photo has its own."""
        made = self._manifest(source)["threshold"]
        return 0.5 if made == "otsu" else float(made)

    def shown(self, choice: Choice, image_id: str) -> Shown:
        """One photo under one choice."""
        if (choice, image_id) not in self._shown:
            sample = self.samples[image_id]
            photo, trimap = load_photo(sample.photo), load_trimap(sample.trimap)
            (soft,) = self._soft(choice, [image_id])
            truths = {b: metrics.truth(trimap, b) for b in metrics.BORDERS}
            photo.thumbnail((SIDE, SIDE))
            truth = torch.from_numpy(truths["pet"][0]).float()
            self._shown[choice, image_id] = Shown(
                np.asarray(photo), _resized(truth, (photo.height, photo.width)) > 0.5,
                _resized(soft, trimap.shape), truths,
            )  # fmt: skip
        return self._shown[choice, image_id]

    def curve(self, choice: Choice) -> dict[float, float]:
        """{threshold: mean IoU, border as pet} over a few photos of val: the first time it takes a
        second or two."""
        if choice not in self._curves:
            val = self.run.val_ids or {s.id for s in self.run.pets.split("train")}
            ids = sorted(val)[:CURVE_PHOTOS]
            ious = []
            for image_id, soft in zip(ids, self._soft(choice, ids), strict=True):
                target, _ = metrics.truth(load_trimap(self.samples[image_id].trimap), "pet")
                large = _resized(soft, target.shape)
                ious.append([metrics.iou(large > t, target) for t in THRESHOLDS])
            means = np.mean(ious, axis=0).tolist()
            self._curves[choice] = dict(zip(THRESHOLDS, means, strict=True))
        return self._curves[choice]

    @torch.no_grad()
    def _soft(self, choice: Choice, ids: list[str]) -> list[Tensor]:
        """A map (h, w) in [0, 1] for each of `ids`."""
        source, found = self._source(choice), []
        for k in range(0, len(ids), source.batch_size):
            batch = self.run.context.batch(ids[k : k + source.batch_size])
            if choice.layer == "last" or not self.layers(choice.source):
                soft = source.probabilities(batch)
            else:
                soft = _inner_map(source, choice, batch)
            found += source.chain(soft, batch) if source.chain else soft
        return found

    def _source(self, choice: Choice) -> Source:
        """The fitted source, told of the method, with the refiner behind it."""
        if choice.source not in self._fitted:
            fitted = self.run.source(choice.source)
            fitted.fit()
            self._fitted[choice.source] = fitted
        source = copy.copy(self._fitted[choice.source])
        made = self._manifest(choice.source)
        vote = made.get("vote")
        s = replace(self.run.settings, cam=choice.method)
        source.context = self.run.context.with_settings(replace(s, vote=tuple(vote)) if vote else s)
        named = () if choice.refiner == "none" else (choice.refiner,)
        names = tuple(made["refine"]) if choice.refiner == AS_MADE else named
        source.chain = Chain(names, source.context, source) if names else None
        return source

    def _manifest(self, source: str) -> dict:
        return read_json(self.run.masks_folder(source) / "manifest.json")


def _inner_map(source: GradCAM, choice: Choice, batch: Batch) -> Tensor:
    """(B, S, S): the source's score explained on an inner map, through the rest of the network."""
    backbone, tap = source.context.backbone, choice.layer
    head = cam.Head(source.head, lambda m: backbone.last_of(m, tap))
    total = 0
    for mirror in (False, True)[: 1 + source.context.settings.cam_mirror]:
        maps = source.context.features.batch(tap, batch.ids, mirror)
        found = cam.library_cam(choice.method, head, head.map, maps, source.score)
        found = cam.upsample(found, source.context.settings.image_size)
        total = total + (found.flip(-1) if mirror else found)
    return cam.min_max(total)


def _resized(soft: Tensor, shape: tuple[int, int]) -> np.ndarray:
    """(h, w) -> (H, W), bilinear; as `pseudo_masks.store` brings a map to its photo."""
    if tuple(soft.shape) == tuple(shape):
        return soft.numpy()
    return F.interpolate(soft[None, None], tuple(shape), mode="bilinear")[0, 0].numpy()
