"""Masks of instance segmenters that were never trained on this data set (paper, section 3.1).
torchvision takes a second to import, so it is when a mask is made."""

import torch
from torch import Tensor, nn

from petweak.config import Settings
from petweak.models import weights
from petweak.pseudo_masks.base import Batch, Source

COCO_PETS = (17, 18)  # cat, dog


def load_detector(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """`v1`, `v2` or `compact` in eval mode, and the labels of its detections that are pets."""
    from torchvision.models import detection

    if name == "compact":
        from petweak.models import mask_rcnn_compact

        return mask_rcnn_compact.load(), mask_rcnn_compact.PETS
    build = {"v1": detection.maskrcnn_resnet50_fpn, "v2": detection.maskrcnn_resnet50_fpn_v2}[name]
    model = build(weights=None, weights_backbone=None)
    weights.fill(model, f"mask_rcnn_{name}")
    return model.eval(), COCO_PETS


class MaskRCNN(Source):
    """torchvision's Mask R-CNN with COCO weights: the union of the soft masks of all cats and dogs
    with a score of `score_threshold` or more, (1, H, W) at the photo's own size."""
    sections, network, views = ("mask_rcnn",), True, True

    @classmethod
    def detector(cls, settings: Settings) -> str:
        return settings.mask_rcnn.detector

    @classmethod
    def depends_on(cls, settings: Settings) -> dict[str, object]:
        return {"weights": weights.fingerprint(f"mask_rcnn_{cls.detector(settings)}")}

    def fit(self) -> None:
        model, self.pets = load_detector(self.detector(self.context.settings))
        self._model = model.to(self.context.device)

    @torch.inference_mode()
    def probabilities(self, batch: Batch) -> Tensor:
        from torchvision.transforms.functional import pil_to_tensor

        device = self.context.device
        photos = [pil_to_tensor(p).to(device, torch.float32) / 255 for p in batch.images()]
        return torch.stack([self._union(d) for d in self._model(photos)])

    def threshold(self) -> float:
        return self.context.settings.mask_rcnn.mask_threshold

    def _union(self, detections: dict[str, Tensor]) -> Tensor:
        labels, masks = detections["labels"], detections["masks"][:, 0]
        keep = torch.isin(labels, torch.tensor(self.pets, device=labels.device))
        keep &= detections["scores"] >= self.context.settings.mask_rcnn.score_threshold
        none = masks.new_zeros(1, *masks.shape[1:])  # an empty mask where nothing is detected
        return torch.cat([none, masks[keep]]).amax(0).clamp(max=1).cpu()


class MaskRCNNCompact(MaskRCNN):
    """A small Mask R-CNN that was trained on rendered scenes of other breeds, for machines that
    cannot download COCO's weights. It has never seen a photo: its scores are not the paper's."""
    @classmethod
    def detector(cls, settings: Settings) -> str:
        return "compact"
