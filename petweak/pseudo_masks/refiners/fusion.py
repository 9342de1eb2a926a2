"""CAMs of several layers and backbones, fused: each sees something else, the mean sees more."""

from __future__ import annotations

from torch import Tensor

from petweak.backbones import BACKBONES
from petweak.config import STRIDES, Settings
from petweak.pseudo_masks import cam
from petweak.pseudo_masks.base import Batch, Source
from petweak.pseudo_masks.refiners.base import Refiner, centred, on_grid


class Fusion(Refiner):
    """The mean of the map and of those that `fuse` names, centred at 0.5.

    A tap (before, stride16) is LayerCAM (Jiang et al. 2021) there; a backbone is Grad-CAM on its
    last map. Both explain ImageNet's cats and dogs against the rest: no label is read.
    """

    settings = ("fuse",)
    features = True
    centres = True

    @classmethod
    def check(cls, settings: Settings) -> None:
        known = [*(t for t in STRIDES if t != "last"), *BACKBONES]
        if unknown := [name for name in settings.fuse if name not in known]:
            raise ValueError(f"fuse: {', '.join(unknown)} unknown; known are {', '.join(known)}")
        if missing := [n for n in settings.fuse if n in STRIDES and n not in settings.store]:
            raise ValueError(f"fuse={settings.fuse}: {', '.join(missing)} is not in store")

    def refine(self, soft: Tensor, batch: Batch, source: Source | None) -> Tensor:
        total = soft
        for name in self.context.settings.fuse:
            for mirror in (False, True):
                found = cam.min_max(self._map(name, batch, mirror != batch.mirror))
                found = found.flip(-1) if mirror else found
                total = total + 0.5 * on_grid(found, self.context.settings)
        return centred(total)

    def _map(self, name: str, batch: Batch, mirror: bool) -> Tensor:
        if name in STRIDES:
            maps = self.context.features.batch(name, batch.ids, mirror).to(self.context.device)
            backbone = self.context.backbone
            found = cam.layer_cam(maps, lambda m: backbone.logits(m, name), cam.pet_log_odds)
            return found.cpu()
        maps = self.context.more_features(backbone=name).batch("last", batch.ids, mirror)
        return cam.grad_cam(maps, self.context.classifier(name), cam.pet_log_odds)
