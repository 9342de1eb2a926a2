"""Multi-scale and mirror averaging: the source sees the photo at several sizes."""

from torch import Tensor

from petweak.pseudo_masks.base import Batch, Source
from petweak.pseudo_masks.refinement.base import RefinementStep, centred, on_grid


class MultiScale(RefinementStep):
    """The mean of the source's maps over `refine_scales` and mirror images, centred at 0.5, in the
    frame of the batch.

    It replaces the map it is given, so it comes first in a pipeline. A model's prediction stays as
    it is: it is an average over the mirror image already.
    """

    asks_source = True
    centres = True

    def refine(self, soft: Tensor, batch: Batch, source: Source | None) -> Tensor:
        if source is None:
            return soft
        total = 0
        for scale in self.settings.refinement_scales:
            for mirror in (False, True):
                soft = source.view(batch.view(mirror != batch.mirror, scale))
                soft = on_grid(soft.flip(-1) if mirror else soft, self.context.settings)
                total = total + soft
        return centred(total)
