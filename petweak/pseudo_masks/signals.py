"""How good are masks? Signals that need no ground truth, and a choice of chains by their ballot.

    signal        what it says of a photo's map                                      more is better
    separation    the mask splits the frozen features in two (see `thresholds`)
    otsu          the map's own two sides are far apart, for how wide each of them is
    confidence    the map is near 0 or 1 wherever it matters
    agreement     another refiner, PAMR, would not change the mask
    mirror        the mask of the mirror image is the mirror image of the mask
    scale         the masks of the photo at two sizes are the same
    area          a pet fills about a third of a photo

Which of them can be trusted is measured afterwards, in notebook 09: no source reads a trimap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from petweak.config import Settings
from petweak.pseudo_masks.base import Batch, Context, Source
from petweak.pseudo_masks.refiners import Chain
from petweak.pseudo_masks.refiners.base import on_grid, photos_on_grid, resized
from petweak.pseudo_masks.refiners.pamr import pamr
from petweak.pseudo_masks.thresholds import separation

AREA = 1 / 3  # of the photo: a guess
SAMPLE = 16  # photos of train that a choice is made on


def agreement(a: Tensor, b: Tensor) -> Tensor:
    """IoU of two masks, photo by photo: (B, H, W) bool each -> (B,); two empty ones agree."""
    union = (a | b).sum((1, 2))
    return torch.where(union > 0, (a & b).sum((1, 2)) / union.clamp(min=1), 1.0)


def confidence(soft: Tensor, cut: float = 0.5) -> Tensor:
    """IoU of a map with its own decision, (B, H, W) in [0, 1] -> (B,): the soft intersection over
    the soft union. 1 where the map is hard; a map without pet has 0."""
    hard = (soft > cut).to(soft.dtype)
    union = torch.maximum(soft, hard).sum((1, 2))
    return torch.minimum(soft, hard).sum((1, 2)) / union.clamp(min=1e-6)


def otsu_share(soft: Tensor, cut: float = 0.5) -> Tensor:
    """Otsu's criterion: the share of the map's variance that lies between the two sides of the
    cut, (B, H, W) -> (B,) in [0, 1]."""
    x, inside = soft.flatten(1), (soft > cut).flatten(1).to(soft.dtype)
    share = inside.mean(1)
    mean_in = (x * inside).sum(1) / inside.sum(1).clamp(min=1)
    mean_out = (x * (1 - inside)).sum(1) / (1 - inside).sum(1).clamp(min=1)
    between = share * (1 - share) * (mean_in - mean_out).square()
    return between / x.var(1, unbiased=False).clamp(min=1e-12)


class Maps:
    """A chain's maps of some photos, made when a signal asks for them, and the same maps had the
    source seen only one view of each photo."""

    def __init__(
        self, source: Source, names: tuple[str, ...], ids: list[str], known: dict | None = None
    ) -> None:
        """`known` is shared by chains of one source and the same photos, and saves them work."""
        self.source, self.names, self.context = source, names, source.context
        self._known = {} if known is None else known
        self.batches = [
            self.context.batch(ids[k : k + source.batch_size])
            for k in range(0, len(ids), source.batch_size)
        ]
        self.ids = ids
        self._views: dict[tuple[bool, float], Tensor] = {}

    @cached_property
    def soft(self) -> Tensor:
        """(B, G, G) in [0, 1]."""
        return self._run(self.source, self.source.probabilities, self.batches)

    @cached_property
    def other(self) -> Tensor:
        """(B, G, G): after one refiner more, PAMR."""
        photos = [photos_on_grid(b, self.soft.shape[-1]) for b in self.batches]
        return pamr(self.soft, torch.cat(photos))

    def again(self, mirror: bool, scale: float) -> Tensor:
        """(B, G, G): the maps had there been only this view, of refiners and source alike; in the
        photos' own frame."""
        if (mirror, scale) not in self._views:
            one = _OneView(self.source, mirror, scale)
            batches = [b.seen(mirror, scale) for b in self.batches]
            found = self._run(one, one.view, batches)
            self._views[mirror, scale] = found.flip(-1) if mirror else found
        return self._views[mirror, scale]

    @torch.no_grad()
    def _run(self, source: Source, ask: Callable[[Batch], Tensor], batches: list[Batch]) -> Tensor:
        chain, settings, found = Chain(self.names, self.context, source), self.context.settings, []
        for b in batches:
            known = self._known.setdefault((ask.__name__, b.mirror, b.scale, b.ids[0]), {})
            found.append(on_grid(chain(ask(b), b, known), settings))
        return torch.cat(found)


class _OneView:
    """Stands for a source whose answer to every view is its answer to one of them."""

    def __init__(self, source: Source, mirror: bool, scale: float) -> None:
        self.source, self.mirror, self.scale = source, mirror, scale

    def view(self, batch: Batch) -> Tensor:
        found = self.source.view(batch.seen(self.mirror, self.scale))
        return found.flip(-1) if self.mirror != batch.mirror else found


def _separation(m: Maps, cut: float) -> Tensor:
    """Of the features that no walk has walked on: a walk is good at those it has seen."""
    features = m.context.features
    maps = features.batch("before" if "before" in features.taps else "last", m.ids)
    return separation(maps, resized(m.soft, maps.shape[-1]) > cut)


def _around(context: Context) -> tuple[float, float]:
    """The two of `refine_scales` next to 1, below and above it; 1 where there is none."""
    scales = context.settings.refine_scales
    below, above = [s for s in scales if s < 1], [s for s in scales if s > 1]
    return max(below, default=1.0), min(above, default=1.0)


SIGNALS: dict[str, Callable[[Maps, float], Tensor]] = {
    "separation": _separation,
    "otsu": lambda m, cut: otsu_share(m.soft, cut),
    "confidence": lambda m, cut: confidence(m.soft, cut),
    "agreement": lambda m, cut: agreement(m.soft > cut, m.other > cut),
    "mirror": lambda m, cut: agreement(m.again(False, 1.0) > cut, m.again(True, 1.0) > cut),
    "scale": lambda m, cut: agreement(*(m.again(False, s) > cut for s in _around(m.context))),
    "area": lambda m, cut: -((m.soft > cut).float().mean((1, 2)) - AREA).abs(),
}


def check_signal(settings: Settings) -> None:
    """ValueError for an unknown name in `choose_by`, or none."""
    unknown = [name for name in settings.choose_by if name not in SIGNALS]
    if unknown or not settings.choose_by:
        raise ValueError(f"choose_by={settings.choose_by}: known are {', '.join(SIGNALS)}")


def sample_of_train(source: Source) -> list[str]:
    """The photos that choices are made on: a seeded part of train, drawn without its labels (val
    is drawn breed by breed, and a choice on it would know of breeds)."""
    ids = sorted(source.context.train_labels)
    order = np.random.default_rng(source.context.settings.seed).permutation(len(ids))
    return sorted(ids[i] for i in order[:SAMPLE])


def mean_ranks(values: pd.DataFrame) -> pd.Series:
    """A row per setting, a column per signal -> the mean of a row's ranks; the larger the better.

    Signals have different units, and each can be fooled; a ballot of ranks needs no weights.
    """
    return values.rank().mean(axis=1)


@torch.no_grad()
def rank_chains(source: Source, chains: Iterable[str]) -> pd.DataFrame:
    """Chains on a sample of train, the best one first: `chain`, the mean of each signal of the
    setting `choose_by`, and `rank`, their mean rank. Equal ones stay in the order given."""
    wanted, ids = source.context.settings.choose_by, sample_of_train(source)
    rows, known = [], {}
    for chain in chains:
        maps = Maps(source, (chain,), ids, known)
        rows.append({"chain": chain} | {n: SIGNALS[n](maps, 0.5).mean().item() for n in wanted})
    table = pd.DataFrame(rows)
    table["rank"] = mean_ranks(table[list(wanted)])
    return table.sort_values("rank", ascending=False, kind="stable", ignore_index=True)
