"""What a model's queries predict for one photo, epoch by epoch."""

import functools
import html
from pathlib import Path
from typing import NamedTuple

import ipywidgets as w
import numpy as np
import torch
from safetensors.torch import load_file

from petweak.data.pictures import load_photo
from petweak.explorers import controls, screen
from petweak.models.maskformer import foreground
from petweak.study.run import Run
from petweak.training.inference import load_model
from petweak.training.trainer import WEIGHTS, finished_models, saved_epochs

LIKELIEST, MOST = 3, 12  # classes that are named, queries that are shown
THUMB = 110  # pixels, the mask of a query


class Query(NamedTuple):
    """The prediction of one query."""

    mask: np.ndarray  # (G, G) in [0, 1]
    classes: list[tuple[str, float]]  # the most probable ones, (name, probability) each
    no_object: float  # probability of "no object"
    wins: bool  # the one with the smallest


class Forming:
    """A model through its training: its queries on any photo of the run, after any epoch."""

    def __init__(self, run: Run, folder: Path) -> None:
        self.run, self.predictor = run, load_model(folder, run.device)
        self.epochs = saved_epochs(folder)  # {epoch: file}, empty where none were saved
        self._kept = folder / WEIGHTS

    @torch.inference_mode()
    def predict(self, image_id: str, epoch: int | None = None) -> tuple[list[Query], np.ndarray]:
        """The queries, and the mask of all together, (G, G) in [0, 1]; `epoch` None: the one that
        was kept. KeyError for an epoch that was not saved."""
        model, names = self.predictor.model, self.predictor.classes
        tensors = load_file(self._kept if epoch is None else self.epochs[epoch])
        model.load_state_dict({k: v.float() for k, v in tensors.items()})
        maps = [self.run.features.batch(v, [image_id]) for v in self.predictor.levels]
        output = model([m.to(self.predictor.device) for m in maps])
        masks = output["mask_logits"][0].sigmoid().cpu().numpy()
        classes, queries = output["class_logits"][0].softmax(-1).cpu(), []
        best = classes[:, -1].argmin()
        for q, (mask, p) in enumerate(zip(masks, classes, strict=True)):
            values, order = p[:-1].topk(min(LIKELIEST, len(names)))
            likely = [(names[k], v) for k, v in zip(order, values.tolist(), strict=True)]
            queries.append(Query(mask, likely, p[-1].item(), q == int(best)))
        return queries, foreground(output)[0].cpu().numpy()


@controls.or_one_line
def maskformer_explorer(run: Run) -> w.Widget:
    """A model's queries on a photo, and a slider through its training."""
    models = {folder.name: folder for folder in finished_models(run.folder)}
    if not models or not controls.has_features(run):
        return controls.missing("This run has no model with its features", "petweak train")
    name, photo = controls.choice("model", models), controls.photos_of(run)
    epoch = w.SelectionSlider(options=["kept"], description="epoch")
    grid, text = w.HTML(), w.HTML().add_class("petweak-queries")
    opened = functools.lru_cache(1)(lambda name: Forming(run, models[name]))

    def draw(changed: w.Widget | None) -> None:
        model = opened(name.value)
        if changed in (None, name):
            controls.offer(epoch, [*model.epochs, "kept"])
            epoch.value, epoch.disabled = "kept", not model.epochs
        kept = epoch.value == "kept"
        queries, soft = model.predict(photo.value, None if kept else epoch.value)
        pixels = np.asarray(load_photo(run.pets.sample(photo.value).photo))
        views = {"the photo": pixels, "all queries together": soft}
        parts = [screen.captioned(screen.picture(v, k, THUMB), k) for k, v in views.items()]
        for k, q in sorted(enumerate(queries), key=lambda x: x[1].no_object)[:MOST]:
            likely = [f"{html.escape(c)} {p:.2f}" for c, p in q.classes]
            look = "outline:3px solid #009E73;" * q.wins
            look += "opacity:.35;filter:grayscale(1)" * (q.no_object > 0.5)
            caption = "<br>".join([f"query {k}" + " <b>wins</b>" * q.wins, *likely,
                                   f"<i>no object {q.no_object:.2f}</i>"])
            image = screen.picture(q.mask, f"mask of query {k}", THUMB)
            parts.append(screen.captioned(image, caption, look))
        grid.value = screen.join(parts)
        when = "the epoch that was kept" if kept else f"after epoch {epoch.value}"
        pets = sum(q.no_object <= 0.5 for q in queries)
        text.value = f"{when}: {pets} of {len(queries)} queries predict a pet, not no object"

    controls.follow(draw, name, photo, epoch, says=text)
    views = controls.row(name, photo, epoch), text, grid
    return w.VBox(views).add_class("petweak-maskformer-explorer")
