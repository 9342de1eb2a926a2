"""Where a probability map becomes a mask, without ground truth.

The setting `threshold` of CAM sources is a number (the paper), `otsu` (one threshold a photo), or
`val`: the threshold whose masks best separate the frozen features of some photos of train (val; for
`imagenet_only` a sample that is drawn without labels). After a refinement pipeline with a step that
`centres` its maps (Otsu's threshold of each map is put at 0.5), `val` means 0.5; a number or `otsu`
applies to the centred map. The manifest of the masks says which (`threshold`, `centred`).
"""

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from petweak.pseudo_masks.base import Source

GRID = tuple(round(t, 2) for t in np.arange(0.05, 0.65, 0.05))


@torch.no_grad()
def choose_threshold(source: Source) -> float | str:
    """A number, or `otsu`, by the rule above, of a subclass of GradCAM. ValueError where `val` has
    no photo to choose on."""
    setting = source.context.settings.cam.threshold
    if setting != "val":
        return setting if setting == "otsu" else float(setting)
    if source.pipeline is not None and source.pipeline.centres:
        return 0.5
    if not (ids := source.choice_ids()):
        raise ValueError("threshold=val: val_fraction=0 leaves no photo to choose it on; say otsu, "
                         "or a number")
    by_photo = [separations(source.refined(b), coarse_maps(source, b.ids))
                for b in source.context.batches(ids, source.batch_size)]
    curve = torch.cat(by_photo, dim=1).mean(1).tolist()
    return max(zip(GRID, curve, strict=True), key=lambda pair: pair[1])[0]


def coarse_maps(source: Source, ids: list[str]) -> Tensor:
    """(B, C, h, w): the level that `separation` is measured on, `penultimate` if it is stored."""
    features = source.context.features
    return features.batch("penultimate" if "penultimate" in features.levels else "final", ids)


def otsu(soft: np.ndarray) -> float:
    """Otsu's threshold of a map (H, W) in [0, 1]: the largest variance between the two sides."""
    grey = np.round(soft * 255).astype(np.uint8)
    return cv2.threshold(grey, 0, 255, cv2.THRESH_OTSU)[0] / 255


def separation(features: Tensor, masks: Tensor) -> Tensor:
    """How well masks split frozen features in two: between-class over total variance. features: (B,
    C, h, w); masks: (B, h, w) of 0 and 1 -> (B,) in [0, 1]. Otsu's criterion, on the backbone's
    features instead of the map's own values: a good mask has homogeneous features in each region.
    An empty or a full mask separates nothing."""
    x = F.normalize(features, dim=1).flatten(2)  # (B, C, hw)
    inside = masks.flatten(1)[:, None].to(x.dtype)
    n_in, n_out = inside.sum(-1), (1 - inside).sum(-1)
    mean_in = (x * inside).sum(-1) / n_in.clamp(min=1)
    mean_out = (x * (1 - inside)).sum(-1) / n_out.clamp(min=1)
    share = (n_in * n_out / x.shape[-1] ** 2)[:, 0]
    between = share * (mean_in - mean_out).square().sum(1)
    total = (x - x.mean(-1, keepdim=True)).square().sum(1).mean(-1)
    return between / total.clamp(min=1e-12)


def separations(soft: Tensor, features: Tensor) -> Tensor:
    """Of each threshold in GRID and each photo, (T, B); soft: (B, S, S) in [0, 1]."""
    small = F.interpolate(soft[:, None], features.shape[-2:], mode="area")[:, 0]
    return torch.stack([separation(features, small > t) for t in GRID])
