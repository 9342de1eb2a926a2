"""The trimaps themselves: full supervision, with which every other source is compared."""

import numpy as np
import torch
from torch import Tensor

from petweak.data.oxford_pets import TRIMAP_BORDER, TRIMAP_FOREGROUND, load_trimap
from petweak.pseudo_masks.base import Batch, Source

BORDER = {"foreground": 1.0, "ignore": 0.5, "background": 0.0}


class GroundTruth(Source):
    """1 foreground, 0 background; the trimap's border as the setting `border` says."""
    sections, reads_trimaps, refinable = ("ground_truth",), True, False

    def ignore_band(self) -> tuple[float, ...]:
        return 0.25, 0.75

    def probabilities(self, batch: Batch) -> Tensor:
        border = BORDER[self.context.settings.ground_truth.border]
        paths = zip(batch.ids, batch.paths, strict=True)
        trimaps = np.stack([load_trimap(self.trimap_path(i), photo) for i, photo in paths])
        soft = np.where(trimaps == TRIMAP_BORDER, border, trimaps == TRIMAP_FOREGROUND)
        return torch.from_numpy(soft.astype(np.float32))
