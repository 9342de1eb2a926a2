"""Sources of pseudo-masks. A new one is a file beside this one and a line in `SOURCES`."""

from petweak.pseudo_masks.base import Source
from petweak.pseudo_masks.external import External
from petweak.pseudo_masks.gradcam import GradCAMFinetuned, GradCAMPretrained
from petweak.pseudo_masks.ground_truth import GroundTruth
from petweak.pseudo_masks.labels_free import LabelsFree
from petweak.pseudo_masks.mask_rcnn import MaskRCNN

SOURCES: dict[str, type[Source]] = {
    "ground_truth": GroundTruth,
    "mask_rcnn": MaskRCNN,
    "gradcam_pretrained": GradCAMPretrained,
    "gradcam_finetuned": GradCAMFinetuned,
    "labels_free": LabelsFree,
    "external": External,
}


def source_named(name: str) -> type[Source]:
    """The class behind a name. ValueError lists the known ones."""
    if name not in SOURCES:
        raise ValueError(f"unknown source {name!r}: known are {', '.join(SOURCES)}")
    return SOURCES[name]
