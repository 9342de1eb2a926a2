"""Faults made on purpose, for "Break it" in the notebooks. The experiment is that of a detector's
input: what does it detect in photos that are fed wrongly?"""

import copy
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torchvision.transforms.functional import normalize, to_tensor

from petweak.data.oxford_pets import load_photo
from petweak.experiments.trials import ious, scored
from petweak.models.backbones import Backbone
from petweak.pseudo_masks import source_class
from petweak.pseudo_masks.mask_rcnn import load_detector
from petweak.study.run import Run

# From a photo (3, H, W) in [0, 1] to the detector's input. torchvision's detectors normalise by
# themselves and expect the channels in the order red, green, blue.
INPUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "0 to 255": lambda x: 255 * x,
    "normalised twice": lambda x: normalize(x, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    "blue first": lambda x: x.flip(0),
}


@torch.inference_mode()
def input_faults(run: Run, source: str = "mask_rcnn_compact", ids: tuple[str, ...] = ()
                 ) -> pd.DataFrame:
    """The detector of `source` on the photos `ids` (val unless given) that have ground truth, a row
    per way of INPUTS: `fault`, `iou` (mean, border as foreground), `detected` (the share of photos
    with a pet)."""
    setting, rows, samples = run.settings.mask_rcnn, [], scored(run, ids or sorted(run.val_ids))
    model, pets = load_detector(source_class(source).detector(run.settings))
    photos = {s.id: to_tensor(load_photo(s.photo)) for s in samples}
    for fault, feed in INPUTS.items():
        masks = {}
        for i, photo in photos.items():
            out = model([feed(photo)])[0]
            keep = torch.isin(out["labels"], torch.tensor(pets))
            keep &= out["scores"] >= setting.score_threshold
            masks[i] = (out["masks"][keep, 0] > setting.mask_threshold).any(0).numpy()
        rows.append((fault, ious(run, masks).mean(), np.mean([m.any() for m in masks.values()])))
    return pd.DataFrame(rows, columns=["fault", "iou", "detected"])


def batch_statistics(backbone: Backbone) -> Backbone:
    """A copy whose batch norm uses mean and variance of the batch, as a careless `train()` leaves a
    network: no weight changes, but every output depends on the other photos of the batch."""
    copied = copy.deepcopy(backbone)
    for layer in copied.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.train()
    return copied
