"""What does a mask cost? Seconds of a computer, measured, and seconds of a person, from studies.

Latency needs no trained weights, so the networks that the paper compares are timed as torchvision
has them. `annotation_times.csv` says what people take for an outline, a box, a click or a label,
and where that is written; `hours` adds it up for what a model learnt from.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torchvision.models import resnet50
from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.models.segmentation import deeplabv3_resnet50
from torchvision.transforms.functional import pil_to_tensor, resize

from petweak.data.feature_cache import photo_tensor
from petweak.data.oxford_pets import load_photo
from petweak.experiments.benchmark import alternate, medians
from petweak.experiments.label_efficiency import crossing
from petweak.models import mask_rcnn_compact
from petweak.pseudo_masks import cam as cams
from petweak.pseudo_masks import source_class
from petweak.study.run import Run

BASE = "ResNet-50 with Grad-CAM"  # what ratios are to
Pipeline = Callable[[Image.Image], Tensor]  # a photo -> its mask


def mask_costs(run: Run, photos: int = 12, seed: int = 0) -> pd.DataFrame:
    """Time each pipeline on `photos` of train (and one before, for warming up), one after another
    on each photo, so that whatever else the machine does slows all of them. From a decoded photo
    to a mask; on the run's device. Nothing else should run beside.

    Returns a row per pipeline: `what`, `parameters` (millions), `seconds` (median per photo), its
    quartiles `low`, `high`, `ratio` (median over photos to BASE's time), `n_images`, `threads`."""
    pipelines, parameters = _pipelines(run)
    train = run.pets.split("train")
    order = np.random.default_rng(seed).permutation(len(train))[: photos + 1]
    decoded = [load_photo(train[i].photo) for i in order]

    def on_next(pipeline: Pipeline, photos: Iterator[Image.Image]) -> None:
        pipeline(next(photos)).cpu()

    calls = {what: partial(on_next, of, iter(decoded)) for what, of in pipelines.items()}
    seconds = alternate(calls, len(order) - 1, run.device)
    table = medians(seconds).assign(
        ratio=seconds.div(seconds[BASE], axis=0).median().to_numpy(), n_images=len(seconds),
        threads=torch.get_num_threads())
    table.insert(1, "parameters", parameters)
    return table


def _pipelines(run: Run) -> tuple[dict[str, Pipeline], list[float]]:
    """The pipelines by name, and the millions of parameters of each."""
    device, size = run.device, run.settings.backbone.image_size
    # Scores of random weights mean nothing, so the five best detections get a mask.
    detector = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, box_score_thresh=0.0,
                                     box_detections_per_img=5).eval().to(device)
    segmenter = deeplabv3_resnet50(weights=None, weights_backbone=None).eval().to(device)
    classifier, compact = resnet50().eval().to(device), mask_rcnn_compact.load().eval().to(device)
    source = source_class("gradcam_pretrained")(run.context)

    def whole(photo: Image.Image) -> Tensor:
        return pil_to_tensor(photo).to(device, torch.float32) / 255

    @torch.inference_mode()
    def detect(model: torch.nn.Module, photo: Image.Image) -> Tensor:
        return model([whole(photo)])[0]["masks"] > 0.5

    @torch.inference_mode()
    def segment(photo: Image.Image) -> Tensor:  # the side that its weights were trained with
        return segmenter(resize(whole(photo), 520)[None])["out"].argmax(1)

    def explain(photo: Image.Image) -> Tensor:  # forward and backward
        x = photo_tensor(photo, 224)[None].to(device)
        layer = classifier.layer4[-1]
        return cams.library_cam("gradcam", classifier, layer, x, cams.top1) > 0.5

    @torch.inference_mode()
    def multiply(photo: Image.Image) -> Tensor:  # forward, and a product of matrices
        maps = run.backbone(photo_tensor(photo, size)[None].to(device))["final"].cpu().float()
        with torch.inference_mode(False):
            soft = cams.grad_cam(maps.clone(), source.head, source.score)
        return cams.upsample(soft, size) > 0.5

    networks = {"Mask R-CNN (torchvision, v1)": (lambda photo: detect(detector, photo), detector),
                "DeepLabv3 (torchvision, ResNet-50)": (segment, segmenter),
                BASE: (explain, classifier),
                "mask_rcnn_compact": (lambda photo: detect(compact, photo), compact),
                f"gradcam_pretrained, {run.settings.backbone.backbone}": (multiply, run.backbone)}
    sizes = [sum(p.numel() for p in n.parameters()) / 1e6 for _, n in networks.values()]
    return {what: pipeline for what, (pipeline, _) in networks.items()}, sizes


def annotation_times() -> pd.DataFrame:
    """What people take, by `what` (outline, box, click, label): `seconds` a photo of one object,
    the `least` that a study has, `study`, `url` and `where` in it."""
    return pd.read_csv(Path(__file__).with_name("annotation_times.csv")).set_index("what")


def hours(outlines: float, labels: float, of: str = "seconds") -> float:
    """Hours of a person for so many outlines and class labels; `of`: `seconds` or `least`."""
    times = annotation_times()[of]
    return float(outlines * times["outline"] + labels * times["label"]) / 3600


def by_hours(curve: pd.DataFrame | None = None, models: pd.DataFrame | None = None,
             border: str = "ignore") -> pd.DataFrame:
    """IoU of models by the `hours` that people annotated for them, from the tables of
    `label_efficiency` (`curve`) and `supervision` (`models`): its MaskFormer-MS for breeds, for
    species where the source needs no annotation of the data.

    A ground-truth mask is an outline and a label; a model of another source has a label for each
    photo it learnt from. Of models for one border each, that for `border` is taken. Returns `name`,
    `source`, `series` (points of one name that are a line), `hours`, mean `iou` over seeds with the
    `smallest` and the `largest`."""
    names = {"true": ("outlines", "ground_truth"),
             "both": ("outlines,\npseudo-masks", "gradcam_finetuned"),
             "pseudo": ("pseudo-masks\n(no person)", "imagenet_only")}
    over, rows = {"iou": "mean", "smallest": "min", "largest": "max"}, []
    if curve is not None:
        of = curve[curve["border"] == border].groupby(["kind", "masks"])["value"]
        for (kind, masks), row in of.agg(**over).iterrows():
            name, source = names[kind]
            rows.append({"name": name, "source": source, "series": kind != "pseudo",
                         "hours": hours(masks, masks), **row})
    if models is not None:
        part = models.query("model == 'maskformer-ms' and split == 'test' and border == @border and"
                            " metric == 'mask_iou_gt'")
        last = ["background_threshold=0.5"] * (border == "ignore")  # masks that are not widened
        groups = part.groupby(["of", "labels", "photos", "learnt_from"], sort=False)["value"]
        for (text, labels, photos, n), row in groups.agg(**over).iterrows():
            name, *own = text.split()
            source = source_class(name)
            paid, drawn = not source.self_trained, source.reads_trimaps  # labels, outlines
            variant = [f"border={border}"] if drawn else own if paid else last
            if (labels, own) == ("breed" if paid else "species", variant) and (
                    drawn or photos == "all"):
                shown = [name, *own] if paid else [name, "(no person)"]
                rows.append({"name": "\n".join(shown), "source": name, "series": False,
                             "hours": hours(n * drawn, n * paid), **row})
    return pd.DataFrame(rows)


def saved(curve: pd.DataFrame, border: str = "ignore") -> tuple[float, float]:
    """Hours of annotation that are as good as pseudo-masks alone, from the table of
    `label_efficiency`: with the least time for an outline that a study has, and with the usual one.
    Infinite where no number of outlines is, and 0 where the fewest of the curve are better."""
    masks = crossing(curve, border)
    return hours(masks, masks, "least"), hours(masks, masks)
