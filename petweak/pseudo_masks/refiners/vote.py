"""A vote of several chains: where they agree it is sure, where they do not it lies between."""

from __future__ import annotations

import torch
from torch import Tensor

from petweak.config import Settings
from petweak.pseudo_masks.base import Batch, Source
from petweak.pseudo_masks.refiners.base import Refiner

TIES = 0.02  # the weight of the mean of the maps, less than that of a vote


class Vote(Refiner):
    """The share of the chains of `vote` that say "pet". What two begin with is computed once.

    Chains err in different places (a graph cut on colours, a walk on features), so how sure the
    vote is tells good masks from bad ones: see `petweak.pseudo_masks.signals.confidence`. A mean of
    their maps would say how soft each of them is instead; it only settles ties.
    """

    settings = ("vote", "refine_scales", "fuse", "walk_taps", "walk_beta", "walk_steps",
                "grabcut_iterations")  # fmt: skip
    features = True
    asks_source = True
    centres = True

    @classmethod
    def check(cls, settings: Settings) -> None:
        from petweak.pseudo_masks.refiners import REFINERS

        for chain in _chains(settings):
            for name in chain:
                REFINERS[name].check(settings)

    def refine(self, soft: Tensor, batch: Batch, source: Source | None) -> Tensor:
        from petweak.pseudo_masks.refiners import Chain  # which imports this file

        known: dict = {}
        chains = [Chain(c, self.context, source) for c in _chains(self.context.settings)]
        maps = torch.stack([chain(soft, batch, known) for chain in chains])
        return (1 - TIES) * (maps > 0.5).float().mean(0) + TIES * maps.mean(0)


def _chains(settings: Settings) -> list[tuple[str, ...]]:
    from petweak.pseudo_masks.refiners import chain_named

    chains = [chain_named((name,)) for name in settings.vote]
    if len(chains) < 2 or any("vote" in chain for chain in chains):
        raise ValueError(f"vote={settings.vote}: name two or more chains that do not vote")
    return chains
