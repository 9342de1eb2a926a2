"""The matcher by hand: two query masks over two pets, their costs, and who is assigned to whom."""

import functools
from typing import Any, NamedTuple

import ipywidgets as w
import numpy as np
import torch
from PIL import Image

from petweak.data.masks import FOREGROUND, read_mask
from petweak.data.oxford_pets import resize
from petweak.data.pictures import data_uri, load_photo
from petweak.explorers import controls
from petweak.explorers.drag import Draggable
from petweak.models import matcher
from petweak.study.run import Run
from petweak.visualization.overlays import overlay

GRID = 64  # positions of a pet's half of the scene, in height and in width
SHARP = 4.0  # the logit inside of a query's mask, and minus that outside
PETS, COLOURS = ("A", "B"), ("#0072B2", "#D55E00")  # of the queries: query 0 begins on pet A


class Query(NamedTuple):
    """What a query predicts: the mask of its pet, moved by `right` and `down` (in shares of a
    half's side), and that pet A is there with probability `of_a`, pet B with 1 - `of_a`."""

    right: float = 0.0
    down: float = 0.0
    of_a: float = 0.5


class Matching(NamedTuple):
    """The costs of every query (rows) and pet (columns), (2, 2), and the query of each pet."""

    terms: dict[str, np.ndarray]  # {"-p", "BCE", "dice"}: without their weights
    cost: np.ndarray  # the weighted sum
    query_of: tuple[int, int]

    def total(self, query_of: tuple[int, int]) -> float:
        return float(sum(self.cost[q, o] for o, q in enumerate(query_of)))


class Scene:
    """Two pets of a run, pet A in the left half and pet B in the right half."""

    def __init__(self, run: Run, source: str, image_ids: tuple[str, str]) -> None:
        s, halves = run.settings.training, np.zeros((2, GRID, 2 * GRID), bool)
        self.weights = (s.class_weight, s.mask_weight, s.dice_weight)
        photos = []
        for k, i in enumerate(image_ids):
            mask = read_mask(run.masks_folder(source) / f"{i}.png") == FOREGROUND
            small = np.asarray(resize(Image.fromarray(np.uint8(255 * mask)), GRID)) > 127
            halves[k, :, k * GRID : (k + 1) * GRID] = small
            photos.append(np.asarray(resize(load_photo(run.pets.sample(i).photo), 3 * GRID)))
        self.photo, self.pets = np.concatenate(photos, 1), halves

    def moved(self, k: int, query: Query) -> np.ndarray:
        """The mask of query k, (GRID, 2 GRID) bool; what leaves the scene is lost."""
        out, (rows, columns) = np.zeros_like(self.pets[k]), np.nonzero(self.pets[k])
        rows, columns = rows + round(GRID * query.down), columns + round(GRID * query.right)
        inside = (rows >= 0) & (rows < GRID) & (columns >= 0) & (columns < 2 * GRID)
        out[rows[inside], columns[inside]] = True
        return out

    @functools.cached_property
    def images(self) -> list[str]:
        """The photo, each query's mask where it begins and the pets' outlines, as URIs."""
        a, b = np.kron(self.pets, np.ones((1, 3, 3), bool))
        drawn = (a, COLOURS[0]), (b, COLOURS[1]), (None, "", a | b)
        layers = [Image.fromarray(_alone(self.photo, *one)) for one in drawn]
        photo = data_uri(Image.fromarray(self.photo), "jpeg", quality=88)
        return [photo, *(data_uri(layer, "png") for layer in layers)]

    def match(self, queries: tuple[Query, Query]) -> Matching:
        """Costs and assignment as training computes them; the classes are A, B and no object."""
        masks = torch.from_numpy(np.stack([self.moved(k, q) for k, q in enumerate(queries)]))
        classes = torch.tensor([[[q.of_a, 1 - q.of_a, 0.0] for q in queries]])
        output = {"mask_logits": SHARP * (2.0 * masks[None] - 1), "class_logits": classes.log()}
        pets = torch.from_numpy(self.pets).float()[None]
        given = (output, torch.tensor([[0, 1]]), pets, torch.ones_like(pets[:, 0]))
        alone = dict(zip(("-p", "BCE", "dice"), torch.eye(3).tolist(), strict=True))
        terms = {name: matcher.costs(*given, one)[0].numpy() for name, one in alone.items()}
        cost, indices = (f(*given, self.weights)[0] for f in (matcher.costs, matcher.match))
        return Matching(terms, cost.numpy(), tuple(indices.tolist()))


@controls.or_one_line
def matcher_explorer(run: Run) -> w.Widget:
    """Two photos, and for each query where its mask lies (dragged, or set by sliders) and which
    pet it takes it for."""
    manifests = controls.Sources(run).manifests
    if not manifests:
        return controls.missing("This run has no masks yet", "petweak masks SOURCE")
    source = controls.choice("masks of", manifests)
    photos = [controls.photos_of(run) for _ in PETS]
    photos[1].index = min(1, len(photos[1].options) - 1)
    dragged = Draggable(alt="two pets outlined in white and the masks of two queries, "
                        "each as far right and down as its sliders say").add_class("petweak-scene")

    def slider(k: int, name: str, value: float, least: float) -> w.FloatSlider:
        return w.FloatSlider(value, min=least, max=1, step=dragged.step, description=f"{name} {k}",
                             layout=w.Layout(width="320px"), style={"handle_color": COLOURS[k]})

    sliders = [[slider(k, "right", 0, -1), slider(k, "down", 0, -1), slider(k, "p(A)", p, 0)]
               for k, p in enumerate((0.8, 0.2))]
    for pet, photo in zip(PETS, photos, strict=True):
        photo.description = f"pet {pet}"
    table = w.HTML().add_class("petweak-costs")
    scene = functools.lru_cache(4)(lambda *choice: Scene(run, choice[0], choice[1:]))

    def draw(changed: w.Widget | None) -> None:
        now = scene(source.value, *(photo.value for photo in photos))
        if changed is dragged:
            for of, at in zip(sliders, dragged.value, strict=True):
                of[0].value, of[1].value = at
        queries = tuple(Query(*(s.value for s in of)) for of in sliders)
        dragged.images, dragged.value = now.images, [[q.right, q.down] for q in queries]
        table.value = _costs(now.match(queries), now.weights)

    controls.follow(draw, source, *photos, *sliders[0], *sliders[1], dragged, says=table)
    columns = [w.VBox([w.HTML(f'<b style="color:{COLOURS[k]}">query {k}</b>'), *of])
               for k, of in enumerate(sliders)]
    views = controls.row(source, *photos), controls.row(*columns), dragged, table
    return w.VBox(views).add_class("petweak-matcher-explorer")


def _alone(photo: np.ndarray, *drawn: Any) -> np.ndarray:
    """What `overlay` draws on a photo of this size, as RGBA: black and white photos tell."""
    black, white = (overlay(np.full_like(photo, v), *drawn).astype(int) for v in (0, 255))
    opaque = 255 - (white - black).max(2, keepdims=True)
    return np.uint8(np.concatenate([255 * black // np.maximum(opaque, 1), opaque], 2))


def _costs(matching: Matching, weights: tuple[float, float, float]) -> str:
    """The cost matrix, each cost with its terms; the assigned pairs are framed."""
    terms = matching.terms.items()
    rows = ["<th></th>" + "".join(f"<th>pet {pet}</th>" for pet in PETS)]
    for q in range(2):
        cells = [f'<th style="color:{COLOURS[q]}">query {q}</th>']
        for o in range(2):
            parts = [f"{weight:g} · ({values[q, o]:.2f}) <small>{name}</small>"
                     for (name, values), weight in zip(terms, weights, strict=True)]
            look = "outline:3px solid #009E73" * (matching.query_of[o] == q)
            cost = f"<b>{matching.cost[q, o]:.2f}</b>"
            cells.append(f'<td style="padding:6px 12px;{look}">{" + ".join(parts)} = {cost}</td>')
        rows.append("".join(cells))
    best, other = matching.query_of, matching.query_of[::-1]
    words = [f"A by query {a}, B by query {b}: {matching.total((a, b)):.2f}"
             for a, b in (best, other)]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table>{body}</table><p>The cheapest: <b>{words[0]}</b>. The other: {words[1]}.</p>"
