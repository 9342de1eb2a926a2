"""A threshold under the finger: soft maps by source, method, level and refinement pipeline."""

import copy
import functools
from typing import NamedTuple

import ipywidgets as w
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from petweak.data.oxford_pets import load_trimap
from petweak.data.pictures import load_photo
from petweak.evaluation.metrics import BORDERS, iou, target
from petweak.explorers import controls, screen
from petweak.pseudo_masks import cam, source_class
from petweak.pseudo_masks.base import Batch
from petweak.pseudo_masks.gradcam import GradCAM
from petweak.pseudo_masks.refinement import PIPELINES, asks_for_scales, check_pipeline
from petweak.pseudo_masks.thresholds import otsu
from petweak.study.run import Run
from petweak.visualization.overlays import overlay
from petweak.visualization.style import palette

# Those of pytorch-grad-cam that answer at once; the others run the network hundreds of times.
METHODS = ("gradcam", "gradcam++", "xgradcam", "hirescam", "layercam", "eigencam", "eigengradcam")
THRESHOLDS = tuple(round(k / 20, 2) for k in range(1, 20))
CURVE_PHOTOS = 24  # of val, for the curve of val
SIDE = 360  # pixels, the longer side of a picture on the screen


class Choice(NamedTuple):
    """Which map: `method` and `level` matter to sources of Grad-CAM alone; `refinement` is `none`,
    AS_ON_DISK or a name of PIPELINES."""

    source: str
    method: str = "gradcam"
    level: str = "final"
    refinement: str = "none"


class Shown(NamedTuple):
    """One photo under one choice."""

    photo: np.ndarray  # (H, W, 3) uint8
    soft: np.ndarray  # (H, W) in [0, 1]: the map
    # {border: (mask, valid)}, (H, W) bool; empty where the photo has no trimap
    targets: dict[str, tuple[np.ndarray, np.ndarray]]

    def ious(self, threshold: float) -> dict[str, float]:
        """{border: IoU of the mask above `threshold`}."""
        return {b: iou(self.soft > threshold, *of) for b, of in self.targets.items()}

    def curve(self) -> dict[float, float]:
        """{threshold: IoU}, border as foreground; empty without a trimap."""
        return {t: iou(self.soft > t, self.targets["foreground"][0]) for t in THRESHOLDS
                if self.targets}


class CamMaps:
    """Maps of a run: `shown(choice, image_id)` of one photo, `curve(choice)` of val."""

    def __init__(self, run: Run) -> None:
        self.run, self.sources = run, controls.Sources(run)
        self.shown = functools.lru_cache(2 * CURVE_PHOTOS)(self._shown)
        self.curve = functools.cache(self._curve)

    def levels(self, source: str) -> tuple[str, ...]:
        """The levels that a source can explain; none where it is not of Grad-CAM."""
        stored = self.run.settings.backbone.stored_levels
        return stored if issubclass(source_class(source), GradCAM) else ()

    def refinements(self, source: str) -> list[str]:
        """That of the masks on disk first, then the pipelines for this source's maps; none that
        needs feature caches that the run lacks."""
        s, folder = self.run.settings, self.run.features_run.folder / "features"
        passes = [(s.backbone.backbone, x) for x in s.refinement.refinement_scales if x != 1]
        passes += [(m, 1.0) for m in s.refinement.fusion_maps if m not in s.backbone.stored_levels]
        cached = all((folder / f"{backbone}@{scale}").is_dir() for backbone, scale in passes)

        def possible(*steps: str) -> bool:
            try:
                check_pipeline(steps, source_class(source), s)
            except ValueError:
                return False
            return cached or not asks_for_scales(steps)

        stored = self.sources.manifests[source].get("refinement", ())
        first = [controls.AS_ON_DISK] * bool(stored and possible(*stored))
        return [*first, "none", *filter(possible, PIPELINES)]

    def threshold(self, source: str) -> float:
        """That of the masks on disk; 0.5 where it differs from photo to photo."""
        threshold = self.sources.manifests[source]["threshold"]
        return 0.5 if threshold == "otsu" else threshold

    @torch.no_grad()
    def _shown(self, choice: Choice, image_id: str) -> Shown:
        sample = self.run.pets.sample(image_id)
        photo = load_photo(sample.photo)
        context = self.run.context.replace(self.run.settings.replace(cam=choice.method))
        source = self.sources.source(choice.source, context, choice.refinement)
        batch, inner = context.batch([image_id]), choice.level != "final"
        soft = _inner_map(source, choice.level, batch) if inner else source.probabilities(batch)
        soft = source.pipeline(soft, batch)[None]
        size = photo.height, photo.width
        soft, targets = F.interpolate(soft, size, mode="bilinear")[0, 0], {}  # as on disk
        if sample.trimap:
            trimap = load_trimap(sample.trimap, sample.photo)
            targets = {border: target(trimap, border) for border in BORDERS}
        return Shown(np.asarray(photo), soft.numpy(), targets)

    def _curve(self, choice: Choice) -> dict[float, float]:
        """{threshold: mean IoU, border as foreground} of a few photos of val that have trimaps;
        empty where none has one."""
        train = self.run.pets.split("train")
        val = self.run.val_ids or {s.id for s in train}
        ids = sorted(s.id for s in train if s.id in val and s.trimap)[:CURVE_PHOTOS]
        curves = [self.shown(choice, image_id).curve() for image_id in ids]
        return {t: float(np.mean([c[t] for c in curves])) for t in THRESHOLDS if curves}


@controls.or_one_line
def cam_explorer(run: Run) -> w.Widget:
    """Photo, source, method, level, refinement and threshold; overlay and IoU follow."""
    maps = CamMaps(run)
    if not maps.sources.manifests:
        return controls.missing("This run has no masks yet", "petweak masks SOURCE")
    cams_first = sorted(maps.sources.manifests, key=lambda name: not maps.levels(name))
    source = controls.choice("source", cams_first)
    photo, method = controls.photos_of(run), controls.choice("method", METHODS)
    level, refinement = controls.choice("level", ()), controls.choice("refinement", ())
    threshold = w.FloatSlider(0.5, max=1, step=0.01, description="threshold",
                              layout=w.Layout(width="min(100%, 420px)"))
    to_otsu = w.Button(description="Otsu", tooltip="set the threshold to Otsu's of this map")
    heat, curve = w.HTML(), w.HTML()
    mask, text = w.HTML().add_class("petweak-overlay"), w.HTML().add_class("petweak-iou")
    now = {}  # source, Otsu's threshold

    def draw(changed: w.Widget | None) -> None:
        if now.get("source") != source.value:  # its menus first
            now["source"] = source.value
            controls.offer(level, maps.levels(source.value))
            method.disabled = level.disabled = not level.options
            controls.offer(refinement, maps.refinements(source.value))
            refinement.value = refinement.options[0]
            threshold.value = maps.threshold(source.value)
        chosen = Choice(source.value, method.value, level.value or "final", refinement.value)
        shown, t, colour = maps.shown(chosen, photo.value), threshold.value, palette([source.value])
        if changed is not threshold:
            colours, now["otsu"] = screen.heat(shown.photo, shown.soft), otsu(shown.soft)
            heat.value = screen.picture(colours, f"map of {source.value}, {photo.value}", SIDE)
        outline, _ = shown.targets.get("foreground", (None, None))
        drawn = overlay(shown.photo, shown.soft > t, colour[source.value], outline)
        mask.value = screen.picture(drawn, f"{photo.value}, the map above {t:.2f}", SIDE)
        ious = ", ".join(f"{b} <b>{v:.3f}</b>" for b, v in shown.ious(t).items())
        text.value = f"IoU by what the trimap's border counts as: {ious}" if ious else (
            "This photo has no trimap: no IoU")
        lines = {"this photo": shown.curve(), "mean of photos of val": maps.curve(chosen)}
        lines = {name: line for name, line in lines.items() if line}
        curve.value = screen.curves(lines, {"Otsu": now["otsu"]}, t) if lines else ""

    controls.follow(draw, source, photo, method, level, refinement, threshold, says=text)
    to_otsu.on_click(lambda _: threshold.set_trait("value", round(now["otsu"], 2)))
    rows = [(photo, source, method, level, refinement), (threshold, to_otsu), (heat, mask)]
    views = [*(controls.row(*row) for row in rows), text, curve]
    return w.VBox(views).add_class("petweak-cam-explorer")


def _inner_map(source: GradCAM, level: str, batch: Batch) -> Tensor:
    """(B, S, S): the source's score explained on an inner level, through the rest of the network,
    on the study's device."""
    context, s, total = source.context, source.context.settings, 0
    linear = copy.deepcopy(source.head).to(context.device)
    head = cam.Head(linear, lambda m: context.backbone.final_from(m, level))
    for mirror in (False, True)[: 1 + s.cam.cam_mirror]:
        maps = context.features.batch(level, batch.ids, mirror).to(context.device)
        soft = cam.library_cam(s.cam.cam, head, head.map, maps, source.score)
        soft = cam.upsample(soft, s.backbone.image_size)
        total = total + (soft.flip(-1) if mirror else soft)
    return cam.min_max(total)
