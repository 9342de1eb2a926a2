"""Multi-scale and mirror averaging: the source sees the photo at several sizes."""

from torch import Tensor

from petweak.pseudo_masks.base import Batch, Source
from petweak.pseudo_masks.refinement.base import RefinementStep, centred


class MultiScale(RefinementStep):
    """The mean of the source's maps over `refinement_scales` and mirror images, centred at 0.5, in
    the frame of the batch. It replaces the map it is given, so it comes first in a pipeline; a
    model's prediction stays as it is, an average over the mirror image already."""
    asks_source = centres = True

    def refine(self, soft: Tensor, batch: Batch, source: Source | None) -> Tensor:
        if source is None:
            return soft
        views = [batch.view(batch.mirror, scale) for scale in self.settings.refinement_scales]
        return centred(sum(m for view in views for m in self.both_views(view, source.view)))
