"""CAMs of several layers and backbones: each highlights other parts, their mean covers more."""

from torch import Tensor

from petweak.config import STRIDES, Settings
from petweak.models.backbones import BACKBONES
from petweak.pseudo_masks import cam
from petweak.pseudo_masks.base import Batch, Source
from petweak.pseudo_masks.refinement.base import RefinementStep, centred


class Fusion(RefinementStep):
    """The mean of the map and of those that `fusion_maps` names, centred at 0.5: LayerCAM (Jiang et
    al. 2021) of a level (penultimate, stride16), Grad-CAM of a backbone's final map. Both explain
    ImageNet's cats and dogs against the rest: no label is read."""
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
        for name in self.settings.fusion_maps:
            for extra in self.both_views(batch, lambda view, name=name: self._map(name, view)):
                soft = soft + 0.5 * extra
        return centred(soft)

    def _map(self, name: str, batch: Batch) -> Tensor:
        context, score = self.context, cam.pet_log_odds
        if name in STRIDES:
            maps = context.features.batch(name, batch.ids, batch.mirror).to(context.device)
            soft = cam.layer_cam(maps, lambda m: context.backbone.logits(m, name), score).cpu()
        else:
            maps = context.more_features(backbone=name).batch("final", batch.ids, batch.mirror)
            soft = cam.grad_cam(maps, context.classifier(name), score)
        return cam.min_max(soft)
