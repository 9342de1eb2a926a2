"""Masks from an instance segmenter that was never trained on this data set (paper, section 3.1)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection import maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2

from petweak import weights
from petweak.pseudo_masks import compact_mask_rcnn
from petweak.pseudo_masks.base import Batch, Context, Source

COCO_PETS = (17, 18)  # cat, dog


def detector_in_use(wanted: str) -> str:
    """v1, v2 or compact. `auto` is the paper's v1 where TORCH_HOME holds it, compact elsewhere."""
    if wanted != "auto":
        return wanted
    return "v1" if weights.found("mask_rcnn_v1") else "compact"


def load_detector(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """The detector in eval mode, and which of its classes are pets."""
    if name == "compact":
        return compact_mask_rcnn.load(), compact_mask_rcnn.PETS
    build = {"v1": maskrcnn_resnet50_fpn, "v2": maskrcnn_resnet50_fpn_v2}[name]
    model = build(weights=None, weights_backbone=None)
    model.load_state_dict(weights.torchvision_weights(f"mask_rcnn_{name}"))
    return model.eval(), COCO_PETS


class MaskRCNN(Source):
    """The union of the soft masks of all cats and dogs with a score of `score_threshold` or more.

    `detector`: v1 (the paper's), v2, or a compact one that has only seen rendered scenes of other
    breeds. A photo without a detection gets an empty mask.
    """

    settings = ("detector", "score_threshold", "mask_threshold")
    views = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.detector = detector_in_use(context.settings.detector)
        self._model: nn.Module | None = None

    def fit(self) -> None:
        model, self.pets = load_detector(self.detector)
        self._model = model.to(self.context.device)

    @torch.inference_mode()
    def probabilities(self, batch: Batch) -> Tensor:
        """(1, H, W): at the photo's own size, which is what the detector works on."""
        photos = [
            torch.from_numpy(np.array(image)).permute(2, 0, 1).float().to(self.context.device) / 255
            for image in batch.images()
        ]
        return torch.stack(
            [
                self._union(found, photo)
                for found, photo in zip(self._model(photos), photos, strict=True)
            ]
        )

    def threshold(self) -> float:
        return self.context.settings.mask_threshold

    def depends_on(self) -> dict[str, object]:
        if self.detector == "compact":
            version = compact_mask_rcnn.fingerprint()
        else:
            version = weights.changed(f"mask_rcnn_{self.detector}")
        return {"detector": self.detector, "weights": version}

    def _union(self, found: dict[str, Tensor], photo: Tensor) -> Tensor:
        pets = torch.isin(found["labels"], torch.tensor(self.pets, device=photo.device))
        keep = pets & (found["scores"] >= self.context.settings.score_threshold)
        if not keep.any():
            return torch.zeros(photo.shape[-2:])
        return found["masks"][keep, 0].amax(dim=0).clamp(0, 1).cpu()
