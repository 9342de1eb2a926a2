"""GrabCut (Rother, Kolmogorov & Blake 2004), started from the map instead of a box."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import cv2
import numpy as np
import torch
from torch import Tensor

from petweak.pseudo_masks.base import Batch, Source
from petweak.pseudo_masks.refinement.base import RefinementStep, photos_on_grid

CERTAIN = (0.15, 0.85)  # below: fixed as background; above: fixed as foreground


def grabcut(soft: np.ndarray, photo: np.ndarray, iterations: int = 5) -> np.ndarray:
    """(H, W) in [0, 1] and (H, W, 3) uint8 BGR -> (H, W) float32 of 0 and 1. The map comes back,
    cut at 0.5, where one side has no pixels to learn a colour model from."""
    trimap = np.where(soft > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    trimap[soft < CERTAIN[0]], trimap[soft > CERTAIN[1]] = cv2.GC_BGD, cv2.GC_FGD
    if len(np.unique(trimap % 2)) == 2:  # odd: foreground
        cv2.setRNGSeed(0)  # of the k-means inside
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(photo, trimap, None, *models, iterations, cv2.GC_INIT_WITH_MASK)
    return np.isin(trimap, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)


class GrabCut(RefinementStep):
    """Two colour models and a graph cut: the result is 0 or 1."""
    def refine(self, soft: Tensor, batch: Batch, source: Source | None) -> Tensor:
        bgr = photos_on_grid(batch, soft.shape[-1]).flip(1).permute(0, 2, 3, 1)
        photos = (bgr * 255).round().byte().contiguous().numpy()
        with ThreadPoolExecutor(2) as pool:  # OpenCV releases the interpreter's lock
            one = partial(grabcut, iterations=self.settings.grabcut_iterations)
            return torch.from_numpy(np.stack(list(pool.map(one, soft.numpy(), photos))))
