"""Unsupervised selection criteria (`CRITERIA`): how good are masks, without ground truth?

`refinement=auto` ranks pipelines by the mean rank over several criteria. Which criteria can be
trusted is measured afterwards, by the experiment `selection_criteria`: no source reads a trimap.
"""

from collections.abc import Callable, Iterable
from functools import cache, cached_property
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from petweak.config import Settings
from petweak.pseudo_masks.base import Batch, Context, Source
from petweak.pseudo_masks.refinement import Pipeline
from petweak.pseudo_masks.refinement.base import on_grid, photos_on_grid, resized
from petweak.pseudo_masks.refinement.pamr import pamr
from petweak.pseudo_masks.thresholds import coarse_maps, separation

AREA = 1 / 3  # of the photo: a guess
SAMPLE = 16  # photos of train that a choice is made on


def agreement(a: Tensor, b: Tensor) -> Tensor:
    """IoU of two masks, photo by photo: (B, H, W) bool each -> (B,); two empty ones agree."""
    union = (a | b).sum((1, 2))
    return torch.where(union > 0, (a & b).sum((1, 2)) / union.clamp(min=1), 1.0)


def confidence(soft: Tensor, threshold: float | Tensor = 0.5) -> Tensor:
    """Soft IoU of a map with its own decision, (B, H, W) in [0, 1] -> (B,): 1 where the map is 0 or
    1 everywhere; an empty mask has 0."""
    hard = (soft > threshold).to(soft.dtype)
    union = torch.maximum(soft, hard).sum((1, 2))
    return torch.minimum(soft, hard).sum((1, 2)) / union.clamp(min=1e-6)


def otsu_share(soft: Tensor, threshold: float = 0.5) -> Tensor:
    """The share of a map's variance that lies between the two sides of the threshold (Otsu's
    criterion), (B, H, W) -> (B,) in [0, 1]."""
    x, inside = soft.flatten(1), (soft > threshold).flatten(1).to(soft.dtype)
    share = inside.mean(1)
    mean_in = (x * inside).sum(1) / inside.sum(1).clamp(min=1)
    mean_out = (x * (1 - inside)).sum(1) / (1 - inside).sum(1).clamp(min=1)
    between = share * (1 - share) * (mean_in - mean_out).square()
    return between / x.var(1, unbiased=False).clamp(min=1e-12)


class Maps:
    """A pipeline's maps of some photos, computed when a criterion asks for them, and the same maps
    if the source had seen only one view of each photo. Pipelines of one source and the same photos
    may be given one `shared`, for the steps that they begin with."""
    def __init__(self, source: Source, names: tuple[str, ...], ids: list[str],
                 shared: dict | None = None) -> None:
        self.source, self.names, self.context, self.ids = source, names, source.context, ids
        self.batches = self.context.batches(ids, source.batch_size)
        self._shared = {} if shared is None else shared
        self.of_view = cache(self._of_view)

    @cached_property
    def soft(self) -> Tensor:
        """(B, G, G) in [0, 1]."""
        return self._run(self.source, self.source.probabilities, self.batches)

    @cached_property
    def after_pamr(self) -> Tensor:
        """(B, G, G): after one more refinement step."""
        photos = torch.cat([photos_on_grid(b, self.soft.shape[-1]) for b in self.batches])
        return pamr(self.soft, photos)

    def _of_view(self, mirror: bool, scale: float) -> Tensor:
        """(B, G, G): the maps if source and steps saw this view alone, in the photo's own frame."""

        def view(batch: Batch) -> Tensor:  # the source's, of any view: its map of this one
            soft = self.source.view(batch.view(mirror, scale))
            return soft.flip(-1) if mirror != batch.mirror else soft

        batches = [b.view(mirror, scale) for b in self.batches]
        soft = self._run(SimpleNamespace(view=view), view, batches)
        return soft.flip(-1) if mirror else soft

    @torch.no_grad()
    def _run(self, source: Source, ask: Callable[[Batch], Tensor], batches: list[Batch]) -> Tensor:
        pipeline, soft = Pipeline(self.names, self.context, source), []
        for b in batches:
            shared = self._shared.setdefault((ask.__name__, b.mirror, b.scale, b.ids[0]), {})
            soft.append(on_grid(pipeline(ask(b), b, shared), self.context.settings))
        return torch.cat(soft)


def _separation(m: Maps, threshold: float) -> Tensor:
    """On features that no walk uses: a walk would be good at those it has seen."""
    maps = coarse_maps(m.source, m.ids)
    return separation(maps, resized(m.soft, maps.shape[-1]) > threshold)


def _around(context: Context) -> tuple[float, float]:
    scales = context.settings.refinement.refinement_scales
    return (max((s for s in scales if s < 1), default=1.0),
            min((s for s in scales if s > 1), default=1.0))


CRITERIA: dict[str, Callable[[Maps, float], Tensor]] = {  # maps, threshold -> (B,); more is better
    # the mask splits the frozen features in two
    "separation": _separation,
    # the variance between the map's two sides, as a share of all its variance
    "otsu": lambda m, t: otsu_share(m.soft, t),
    # the map is near 0 or 1 wherever it matters
    "confidence": lambda m, t: confidence(m.soft, t),
    # one more refinement step, PAMR, would not change the mask
    "agreement": lambda m, t: agreement(m.soft > t, m.after_pamr > t),
    # the mask of the mirror image is the mirror image of the mask
    "mirror": lambda m, t: agreement(m.of_view(False, 1.0) > t, m.of_view(True, 1.0) > t),
    # the masks of the photo at two sizes, next to 1 in `refinement_scales`, are equal
    "scale": lambda m, t: agreement(*(m.of_view(False, s) > t for s in _around(m.context))),
    # the foreground is about a third of the photo: a prior, near the true mean here
    "area": lambda m, t: -((m.soft > t).float().mean((1, 2)) - AREA).abs(),
}


def check_criteria(settings: Settings) -> None:
    """ValueError for an unknown name in `selection_criteria`, or none."""
    names = settings.refinement.selection_criteria
    if not names or set(names) - set(CRITERIA):
        raise ValueError(f"selection_criteria={','.join(names)}: use {', '.join(CRITERIA)}")


def sample_of_train(source: Source, among: Iterable[str] = ()) -> list[str]:
    """The photos that choices are made on: a seeded part of train, or of the photos `among` it,
    drawn without its labels (val is drawn by breed, and a choice on it would depend on that)."""
    ids = sorted(among or source.context.train_labels)
    order = np.random.default_rng(source.context.settings.data.seed).permutation(len(ids))
    return sorted(ids[i] for i in order[:SAMPLE])


def mean_rank(values: pd.DataFrame) -> pd.Series:
    """A row per candidate, a column per criterion -> the mean of a row's ranks; more is better.
    Criteria have different units and each can be fooled; ranks need no weights."""
    return values.rank().mean(axis=1)


@torch.no_grad()
def rank_pipelines(source: Source, names: Iterable[str]) -> pd.DataFrame:
    """Pipelines on a sample of train, the best one first: `pipeline`, the mean of each of the
    `selection_criteria`, and `rank`, their mean rank. Equal ones stay in the order given."""
    criteria, ids = source.context.settings.refinement.selection_criteria, sample_of_train(source)
    rows, shared = [], {}
    for name in names:
        maps = Maps(source, (name,), ids, shared)
        values = {c: CRITERIA[c](maps, 0.5).mean().item() for c in criteria}
        rows.append({"pipeline": name} | values)
    table = pd.DataFrame(rows)
    table["rank"] = mean_rank(table[list(criteria)])
    return table.sort_values("rank", ascending=False, kind="stable", ignore_index=True)
