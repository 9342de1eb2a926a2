"""Sources of pseudo-labels. A new one is a file beside this one and a line in `SOURCES`."""

from pkgutil import resolve_name
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from petweak.pseudo_masks.base import Source

SOURCES: dict[str, str] = {  # name: module:Class
    "ground_truth": "ground_truth:GroundTruth",
    "mask_rcnn": "mask_rcnn:MaskRCNN",
    "mask_rcnn_compact": "mask_rcnn:MaskRCNNCompact",
    "gradcam_pretrained": "gradcam:GradCAMPretrained",
    "gradcam_finetuned": "gradcam:GradCAMFinetuned",
    "imagenet_only": "imagenet_only:ImageNetOnly",
    "external": "external:External",
}


def source_class(name: str) -> "type[Source]":
    """The class of a source. ValueError lists the names that there are."""
    if name not in SOURCES:
        raise ValueError(f"unknown source {name!r}: there are {', '.join(SOURCES)}")
    return resolve_name(f"{__name__}.{SOURCES[name]}")
