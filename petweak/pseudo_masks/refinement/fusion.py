"""CAMs of several layers and backbones, fused: each highlights other parts, and their mean covers
more."""

from torch import Tensor

from petweak.config import STRIDES, Settings
from petweak.models.backbones import BACKBONES
from petweak.pseudo_masks import cam
from petweak.pseudo_masks.base import Batch, Source
from petweak.pseudo_masks.refinement.base import RefinementStep, centred, on_grid


class Fusion(RefinementStep):
    """The mean of the map and of those that `fusion_maps` names, centred at 0.5.

    The name of a level (penultimate, stride16) means LayerCAM (Jiang et al. 2021) of that level; a
    backbone's name means Grad-CAM of its final map. Both explain ImageNet's cats and dogs against
    the rest: no label is read.
    """

    centres = True

    @classmethod
    def check(cls, settings: Settings) -> None:
        maps, stored = settings.refinement.fusion_maps, settings.backbone.stored_levels
        names = [*(level for level in STRIDES if level != "final"), *BACKBONES]
        if unknown := [name for name in maps if name not in names]:
            raise ValueError(f"fusion_maps: unknown {', '.join(unknown)}; use {', '.join(names)}")
        if missing := [name for name in maps if name in STRIDES and name not in stored]:
            raise ValueError(f"fusion_maps: {', '.join(missing)} is not in stored_levels")

    def refine(self, soft: Tensor, batch: Batch, source: Source | None) -> Tensor:
        total = soft
        for name in self.settings.fusion_maps:
            for mirror in (False, True):
                extra = cam.min_max(self._map(name, batch, mirror != batch.mirror))
                extra = extra.flip(-1) if mirror else extra
                total = total + 0.5 * on_grid(extra, self.context.settings)
        return centred(total)

    def _map(self, name: str, batch: Batch, mirror: bool) -> Tensor:
        if name in STRIDES:
            maps = self.context.features.batch(name, batch.ids, mirror).to(self.context.device)
            backbone = self.context.backbone
            score = cam.pet_log_odds
            return cam.layer_cam(maps, lambda m: backbone.logits(m, name), score).cpu()
        maps = self.context.more_features(backbone=name).batch("final", batch.ids, mirror)
        return cam.grad_cam(maps, self.context.classifier(name), cam.pet_log_odds)
