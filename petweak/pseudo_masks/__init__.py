"""Sources of pseudo-labels. A new one is a file beside this one and a line in `SOURCES`."""

from pkgutil import resolve_name

SOURCES: dict[str, str] = {  # name: module:Class, of this package or with a full path
    "ground_truth": "ground_truth:GroundTruth",
    "mask_rcnn": "mask_rcnn:MaskRCNN",
    "mask_rcnn_compact": "mask_rcnn:MaskRCNNCompact",
    "gradcam_pretrained": "gradcam:GradCAMPretrained",
    "gradcam_finetuned": "gradcam:GradCAMFinetuned",
    "imagenet_only": "imagenet_only:ImageNetOnly",
    "external": "external:External",
}


def source_class(name: str) -> type:
    """The class of a source, a `base.Source`. ValueError lists the names that there are."""
    if name not in SOURCES:
        raise ValueError(f"unknown source {name!r}: there are {', '.join(SOURCES)}")
    path = SOURCES[name]
    return resolve_name(path if "." in path else f"{__name__}.{path}")
