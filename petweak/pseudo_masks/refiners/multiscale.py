"""Multi-scale and mirror averaging: the source is asked about the photo at several sizes."""

from __future__ import annotations

from torch import Tensor

from petweak.pseudo_masks.base import Batch, Source
from petweak.pseudo_masks.refiners.base import Refiner, centred, on_grid


class MultiScale(Refiner):
    """The mean of the source's maps over `refine_scales` and mirror images, centred at 0.5, in the
    frame of the batch.

    Replaces the map it is given, so it stands first in a chain. A student's map stays as it is: the
    student has averaged over the mirror image itself.
    """

    settings = ("refine_scales",)
    features = True
    asks_source = True
    centres = True

    def refine(self, soft: Tensor, batch: Batch, source: Source | None) -> Tensor:
        if source is None:
            return soft
        total = 0
        for scale in self.context.settings.refine_scales:
            for mirror in (False, True):
                found = source.view(batch.seen(mirror != batch.mirror, scale))
                found = on_grid(found.flip(-1) if mirror else found, self.context.settings)
                total = total + found
        return centred(total)
