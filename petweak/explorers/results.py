"""Scores of a run by source, labels and metric, and a breed's best and worst photos."""

import functools
import html

import ipywidgets as w
import pandas as pd

from petweak.data.oxford_pets import LABELS, load_trimap
from petweak.data.pictures import load_photo
from petweak.evaluation.metrics import BASELINES, BORDERS, NO_BORDER, target
from petweak.explorers import controls, screen
from petweak.study import tables
from petweak.study.results import read_results
from petweak.study.run import Run
from petweak.training.inference import load_model, predict_features
from petweak.visualization.overlays import overlay
from petweak.visualization.style import palette

SIDE = 200  # pixels of a photo, the longer side


def chosen(results: pd.DataFrame, sources: list[str], labels: str, **where: str) -> pd.DataFrame:
    """`source`, `labels`, `value`, `low`, `high`, `n_images` (scored), `learnt_from` of a `metric`
    on test, the largest value first; one without a border has the same rows for any `border`."""
    rows = tables.final(results).query("split == 'test' and metric == @where['metric']")
    rows = rows[rows["source"].isin(sources) & rows["labels"].isin([labels, "-"])
                & rows["border"].isin([where["border"], NO_BORDER])]
    rows = rows[["source", "labels", "value", "low", "high", "n_images", "learnt_from"]]
    return rows.sort_values("value", ascending=False, ignore_index=True)


class Extremes:
    """A breed's best and worst photos of test; scores and models are read once."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.scores = functools.cache(functools.partial(tables.read_scores, run.folder))
        self._model = functools.cache(load_model)

    def breeds(self, source: str, labels: str, border: str) -> pd.Series:
        """Mean IoU by breed, the largest first, of breeds with trimaps."""
        means = self.scores(source, labels).groupby("breed")[f"iou/{border}"].mean().dropna()
        return means.sort_values(ascending=False, kind="stable")

    def photos(self, source: str, labels: str, breed: str, border: str, n: int = 3) -> list[str]:
        """The best `n` and the worst `n` photos of a breed, without repeats, as markup: the mask
        that the model predicts, the id and the IoU."""
        scores, column = self.scores(source, labels), f"iou/{border}"
        ranked = scores[scores["breed"] == breed].dropna(subset=[column])
        ranked = ranked.sort_values([column, "id"], ascending=False)
        ious = ranked.set_index("id")[column]
        best = ious.index[: min(n, (len(ious) + 1) // 2)]
        worst = ious.index[len(best) :][::-1][:n]
        words = dict.fromkeys(best, "best") | dict.fromkeys(worst, "worst")
        model = self._model(self.run.model_folder(source, labels), self.run.device)
        colour, parts = palette([source])[source], []
        for i, prediction in predict_features(model, self.run.features, list(words)):
            sample, says = self.run.pets.sample(i), f"{words[i]}: {i}, IoU {ious[i]:.3f}"
            mask, _ = target(load_trimap(sample.trimap, sample.photo), "foreground")
            image = overlay(load_photo(sample.photo), prediction.mask(*mask.shape), colour, mask)
            parts.append(screen.captioned(screen.picture(image, says, SIDE), html.escape(says)))
        return parts


@controls.or_one_line
def results_explorer(run: Run) -> w.Widget:
    """Sources, labels, metric -> bars; a breed -> its best and worst photos."""
    if not (run.folder / "results.csv").is_file():
        return controls.missing("This run has no results.csv yet", "petweak study")
    results, extremes = tables.final(read_results(run.folder)), Extremes(run)
    models, cached = tables.models(results), controls.has_features(run)
    names = [*dict.fromkeys(source for source, _ in models), *BASELINES]
    sources = w.SelectMultiple(options=names, value=names, description="sources", rows=6)
    there = [n for n in LABELS if n in set(results["labels"])]
    labels = w.ToggleButtons(options=there, description="labels")
    metric = controls.choice("metric", results["metric"].unique())
    if "mask_iou_gt" in metric.options:  # without trimaps it is not
        metric.value = "mask_iou_gt"
    border, model = controls.choice("border", BORDERS), controls.choice("model", ())
    breed = w.Select(description="breed", rows=8)
    chart, photos = w.HTML(), w.HTML()

    def draw(_: w.Widget | None) -> None:
        where = dict(metric=metric.value, border=border.value)
        chart.value = screen.bars(chosen(results, sources.value, labels.value, **where))
        controls.offer(model, [s for s in sources.value if (s, labels.value) in models])
        shown, parts, means = (model.value, labels.value), [], {}
        try:
            means = extremes.breeds(*shown, border.value) if model.value else {}
            controls.offer(breed, [(f"{name}  {v:.3f}", name) for name, v in means.items()])
            if breed.value and cached:
                parts = extremes.photos(*shown, breed.value, border.value)
        except (OSError, ValueError) as error:  # it is being trained again, or a photo is gone
            parts = [screen.captioned("", html.escape(str(error)))]
        photos.value = screen.join(parts)

    controls.follow(draw, sources, labels, metric, border, model, breed)
    menus = controls.row(sources, w.VBox([labels, metric, border]))
    views = menus, chart, controls.row(w.VBox([model, breed]), photos)
    return w.VBox(views).add_class("petweak-results-explorer")
