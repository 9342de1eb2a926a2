"""Sources of pseudo-labels. A new one is a file beside this one and a line in `SOURCES`."""

from pkgutil import resolve_name

from petweak import modules_of
from petweak.config import RENAMED_VALUES, Settings

SOURCES: dict[str, str] = {  # name: module:Class, of this package or with a full path
    "ground_truth": "ground_truth:GroundTruth",
    "mask_rcnn": "mask_rcnn:MaskRCNN",
    "mask_rcnn_compact": "mask_rcnn:MaskRCNNCompact",
    "gradcam_pretrained": "gradcam:GradCAMPretrained",
    "gradcam_finetuned": "gradcam:GradCAMFinetuned",
    "imagenet_only": "imagenet_only:ImageNetOnly",
    "external": "external:External",
}
__getattr__ = modules_of(__name__)


def source_class(name: str) -> type:
    """The class of a source, a `base.Source`; `external_<name>` is that of a folder of masks with a
    name of its own. ValueError says the new name of an old one, or lists those that there are."""
    if name not in SOURCES and name.startswith("external_"):
        return source_class("external").named(name)
    if name not in SOURCES:
        new = RENAMED_VALUES.get(name)
        there = f"{name} is now {new}" if new in SOURCES else f"there are {', '.join(SOURCES)}"
        raise ValueError(f"unknown source {name!r}: {there}")
    path = SOURCES[name]
    return resolve_name(path if "." in path else f"{__name__}.{path}")


def source_names(settings: Settings) -> list[str]:
    """Every source that a study with `settings` can have, in the order of its tables: SOURCES, with
    a source for each folder of `external_masks` in the place of `external`."""
    folders = settings.external.folders()
    return [n for name in SOURCES for n in (folders if name == "external" else [name])]
