"""Explorers for a notebook or for Voilà, each of them one line:

    cam_explorer(study)           a threshold under the finger: overlay, IoU, the data set's curve
    maskformer_explorer(study)    what each query says, and how masks form epoch by epoch
    results_explorer(study)       figures by source, labels and metric; a breed's best and worst
    photo_explorer(study)         a photo of your own, through every source and student

All read the run's cache (`petweak.explore`). Nothing of a run is changed by looking at it.
"""

from __future__ import annotations

import html

import ipywidgets as w
import numpy as np

from petweak import tables
from petweak.controls import choice, live, missing, named_box, offer, photos_of, wrapping
from petweak.data.pets import load_photo
from petweak.evaluate import BASELINES
from petweak.explore import screen
from petweak.explore.cams import METHODS, CamMaps, Choice
from petweak.explore.made import students_of
from petweak.explore.outcomes import chosen, extremes
from petweak.explore.queries import Forming
from petweak.metrics import BORDERS
from petweak.pictures import overlay, palette
from petweak.results import read_results
from petweak.study import Run
from petweak.upload import photo_explorer

__all__ = ["cam_explorer", "maskformer_explorer", "photo_explorer", "results_explorer"]

THUMB = 110  # pixels, the mask of a query
MOST = 12  # queries that are shown


def cam_explorer(run: Run) -> w.Widget:
    """Photo, source, method, layer, refiner and threshold; overlay and IoU follow."""
    maps = CamMaps(run)
    if not maps.sources:
        return missing("No source has made masks in this run yet", "petweak masks SOURCE")
    cams_first = sorted(maps.sources, key=lambda name: not maps.layers(name))
    source = choice("source", cams_first)
    photo = photos_of(run)
    method, layer = choice("method", METHODS), choice("layer", maps.layers(source.value))
    refiner = choice("refiner", maps.refiners(source.value))
    threshold = w.FloatSlider(
        maps.threshold(source.value), min=0, max=1, step=0.01, description="threshold",
        readout_format=".2f", layout=w.Layout(width="min(100%, 420px)"),
    )  # fmt: skip
    to_otsu = w.Button(description="Otsu", tooltip="set the threshold to Otsu's of this map")
    heat, mask, curve, text = w.HTML(), w.HTML(), w.HTML(), live("iou")
    mask.add_class("petweak-overlay")
    now: dict = {}

    def draw_mask(_=None) -> None:
        shown, t = now["shown"], threshold.value
        colour = palette([source.value])[source.value]
        drawn = overlay(shown.photo, shown.mask(t), colour, shown.truth)
        mask.value = screen.picture(drawn, f"{photo.value}, the map above {t:.2f}", drawn.shape[1])
        ious = ", ".join(f"{b} <b>{v:.3f}</b>" for b, v in shown.ious(t).items())
        text.value = f"IoU by what the trimap's border is: {ious}"
        lines = {"this photo": now["own"], "mean of photos of val": now["set"]}
        curve.value = screen.curves(lines, {"Otsu": shown.otsu}, t)

    def draw(_=None) -> None:
        choice = Choice(source.value, method.value, layer.value or "last", refiner.value)
        shown = maps.shown(choice, photo.value)
        now.update(shown=shown, own=shown.curve(), set=maps.curve(choice))
        colours = screen.heat(shown.photo, np.clip(shown.small, 0, 1))
        about = f"the map of {source.value} on {photo.value}"
        heat.value = screen.picture(colours, about, colours.shape[1])
        draw_mask()

    def other_source(_) -> None:
        offer(layer, maps.layers(source.value))
        method.disabled = layer.disabled = not layer.options
        refiner.options = maps.refiners(source.value)
        refiner.value = refiner.options[0]  # what its masks were made with
        threshold.value = maps.threshold(source.value)
        draw()

    source.observe(other_source, "value")
    for control in (photo, method, layer, refiner):
        control.observe(draw, "value")
    threshold.observe(draw_mask, "value")
    to_otsu.on_click(lambda _: threshold.set_trait("value", round(now["shown"].otsu, 2)))
    other_source(None)
    controls = w.HBox([photo, source, method, layer, refiner], layout=wrapping())
    slider = w.HBox([threshold, to_otsu], layout=wrapping())
    views = w.HBox([heat, mask], layout=wrapping())
    return named_box("cam-explorer", [controls, slider, views, text, curve])


def maskformer_explorer(run: Run) -> w.Widget:
    """A student's queries on a photo, and a slider through its training."""
    folders, samples = students_of(run), {s.id: s for s in run.pets.samples}
    name, photo = choice("student", folders), photos_of(run)
    epoch = w.SelectionSlider(options=["kept"], description="epoch")
    grid, text = w.HTML(), live("queries")
    now: dict = {}

    def draw(_=None) -> None:
        kept = epoch.value == "kept"
        found, soft = now["student"].answer(photo.value, None if kept else epoch.value)
        picture = screen.shrunk(np.asarray(load_photo(samples[photo.value].photo)), THUMB)
        parts = [
            screen.captioned(screen.picture(picture, photo.value, THUMB), "the photo"),
            screen.captioned(_thumb(soft, "all queries together"), "<b>all together</b>"),
        ]
        for k, q in sorted(enumerate(found), key=lambda x: x[1].no_object)[:MOST]:
            likely = [f"{html.escape(name)} {p:.2f}" for name, p in q.classes]
            grey = "opacity:.35;filter:grayscale(1)" if q.no_object > 0.5 else ""
            frame = "outline:3px solid #009E73;" if q.wins else ""
            image = _thumb(q.mask, f"mask of query {k}")
            title = f"query {k}" + (" <b>wins</b>" if q.wins else "")
            says = "<br>".join([title, *likely, f"<i>no object {q.no_object:.2f}</i>"])
            parts.append(screen.captioned(image, says, frame + grey))
        grid.value = screen.join(parts)
        sure = sum(q.no_object <= 0.5 for q in found)
        when = "the epoch that was kept" if kept else f"after epoch {epoch.value}"
        text.value = f"{when}: {sure} of {len(found)} queries are surer of a pet than of nothing"

    def other_student(_=None) -> None:
        now["student"] = Forming(run, folders[name.value])
        epochs = list(now["student"].epochs)
        epoch.options = [*epochs, "kept"]
        epoch.value = "kept"
        epoch.disabled = not epochs
        draw()

    if not folders:
        return missing("No student has been trained in this run yet", "petweak train")
    name.observe(other_student, "value")
    for control in (photo, epoch):
        control.observe(draw, "value")
    other_student()
    controls = w.HBox([name, photo, epoch], layout=wrapping())
    return named_box("maskformer-explorer", [controls, text, grid])


def results_explorer(run: Run) -> w.Widget:
    """Sources, labels, metric -> bars and a table; a breed -> its best and worst photos."""
    if not (run.folder / "results.csv").is_file():
        return missing("This run has no results.csv yet", "petweak study")
    results = tables.final(read_results(run.folder))
    own = [s for s in results["source"].unique() if s not in BASELINES]
    sources = w.SelectMultiple(options=[*own, *BASELINES], value=[*own, *BASELINES],
                               description="sources", rows=6)  # fmt: skip
    known = [n for n in ("breed", "species") if n in set(results["labels"])]
    labels = w.ToggleButtons(options=known, description="labels")
    metric = choice("metric", results["metric"].unique())
    metric.value = "mask_iou_gt"
    border = choice("border", BORDERS)
    chart, photos = w.HTML(), w.HTML()
    student, breed = choice("student", ()), w.Select(description="breed", rows=8)

    def draw(_=None) -> None:
        rows = chosen(results, sources.value, [labels.value], metric.value, border.value)
        table = rows.round(3).to_html(index=False, border=0, justify="right")
        chart.value = screen.bars(rows) + f"<details><summary>table</summary>{table}</details>"
        there = [s for s in sources.value if (s, labels.value) in tables.students(results)]
        offer(student, there)
        breeds()

    def breeds(_=None) -> None:
        if student.value is None:
            breed.options, photos.value = [], ""
            return
        scores = tables.per_breed(run.folder, student.value, labels.value)
        scores = scores.sort_values(f"iou/{border.value}", ascending=False)
        values = zip(scores["breed"], scores[f"iou/{border.value}"], strict=True)
        breed.options = [(f"{b}  {v:.3f}", b) for b, v in values]
        draw_photos()  # the breed may have stayed, and the student not

    def draw_photos(_=None) -> None:
        if breed.value is None:
            photos.value = ""
            return
        found = extremes(run, student.value, labels.value, breed.value, border.value)
        parts = []
        for f in found:
            says = f"{f['word']}: {f['id']}, IoU {f['iou']:.3f}"
            image = screen.picture(screen.shrunk(f["image"], 200), says, 200)
            parts.append(screen.captioned(image, says))
        photos.value = screen.join(parts)

    for control in (sources, labels, metric, border):
        control.observe(draw, "value")
    student.observe(breeds, "value")
    breed.observe(draw_photos, "value")
    draw()
    controls = w.HBox([sources, w.VBox([labels, metric, border])], layout=wrapping())
    below = w.HBox([w.VBox([student, breed]), photos], layout=wrapping())
    return named_box("results-explorer", [controls, chart, below])


def _thumb(mask: np.ndarray, alt: str) -> str:
    grey = np.repeat(np.uint8(255 * mask)[..., None], 3, 2)
    return screen.picture(screen.shrunk(grey, THUMB), alt, THUMB)
