"""The trimaps themselves: full supervision, the line that every other source is held against."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from petweak.data.pets import BORDER, PET, load_trimap
from petweak.pseudo_masks.base import Batch, Source


class GroundTruth(Source):
    """1 pet, 0 background; the border as the setting `border` says, 0.5 (unsure) if ignored."""

    settings = ("border",)
    reads_trimaps = True
    refinable = False

    def unsure(self) -> tuple[float, float]:
        return 0.25, 0.75

    def probabilities(self, batch: Batch) -> Tensor:
        border = {"pet": 1.0, "ignore": 0.5, "background": 0.0}[self.context.settings.border]
        trimaps = [load_trimap(self.trimap_path(i)) for i in batch.ids]
        return torch.stack(
            [
                torch.from_numpy(np.where(t == BORDER, border, t == PET).astype(np.float32))
                for t in trimaps
            ]
        )
