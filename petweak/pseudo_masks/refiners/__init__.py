"""Refiners of probability maps. A new one is a file beside this one and a line in `REFINERS`.

`--set refine=multiscale,walk` runs two of them one after the other; a name of `CHAINS` stands for
its refiners, and `auto` for the chain of `CHAINS` that `petweak.pseudo_masks.signals` prefers.
"""

from __future__ import annotations

from torch import Tensor

from petweak.config import Settings
from petweak.pseudo_masks.base import Batch, Context, Source
from petweak.pseudo_masks.refiners.base import Refiner, on_grid
from petweak.pseudo_masks.refiners.crf import MeanFieldCRF
from petweak.pseudo_masks.refiners.densecrf import DenseCRF
from petweak.pseudo_masks.refiners.fusion import Fusion
from petweak.pseudo_masks.refiners.grabcut import GrabCut
from petweak.pseudo_masks.refiners.multiscale import MultiScale
from petweak.pseudo_masks.refiners.pamr import PAMR
from petweak.pseudo_masks.refiners.vote import Vote
from petweak.pseudo_masks.refiners.walk import Walk

REFINERS: dict[str, type[Refiner]] = {
    "multiscale": MultiScale,
    "fusion": Fusion,
    "pamr": PAMR,
    "grabcut": GrabCut,
    "crf": MeanFieldCRF,
    "densecrf": DenseCRF,
    "walk": Walk,
    "vote": Vote,
}

# Chains by name, and what `auto` chooses from.
CHAINS: dict[str, tuple[str, ...]] = {
    "averaged": ("multiscale",),
    "fused": ("multiscale", "fusion"),
    "local": ("multiscale", "pamr"),
    "colour": ("multiscale", "grabcut"),
    "dense": ("multiscale", "crf"),
    "affinity": ("multiscale", "walk"),
    "affinity_local": ("multiscale", "walk", "pamr"),
    "affinity_colour": ("multiscale", "walk", "grabcut"),
    "consensus": ("vote",),
}


def chain_named(names: tuple[str, ...]) -> tuple[str, ...]:
    """The refiners that a setting means; ValueError, with the known names, for one that is none."""
    known = [*REFINERS, *CHAINS]
    if "auto" in names:
        raise ValueError("refine: auto chooses among chains: it stands alone, and only there")
    if unknown := [n for n in names if n not in known]:
        raise ValueError(
            f"refine: {', '.join(unknown)} unknown; refiners: {', '.join(REFINERS)}; "
            f"chains: {', '.join(CHAINS)}; or auto"
        )
    return tuple(r for n in names for r in CHAINS.get(n, (n,)))


def check_chain(names: tuple[str, ...], source: type[Source], settings: Settings) -> None:
    """ValueError where `names` cannot refine this source's maps; before anything runs."""
    for name in chain_named(names):
        REFINERS[name].check(settings)
        if REFINERS[name].asks_source and not source.views:
            raise ValueError(
                f"refine: {name} asks the source about other views of a photo, and "
                f"{source.__name__} has none: take {name} out, or that source"
            )


def settings_of(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the settings that a chain's maps depend on."""
    return tuple(dict.fromkeys(s for n in chain_named(names) for s in REFINERS[n].settings))


def versions_of(names: tuple[str, ...]) -> dict[str, int]:
    """{refiner: its version} of a chain, for the key of masks; of all of them where one votes."""
    chain = chain_named(names)
    return {n: r.version for n, r in REFINERS.items() if n in chain or "vote" in chain}


Known = dict[tuple[str, ...], Tensor]  # the maps after the first refiners of a chain


class Chain:
    """Refiners one after the other: probability maps and photos in, probability maps out."""

    def __init__(self, names: tuple[str, ...], context: Context, source: Source | None = None):
        self.names, self.context, self.source = chain_named(names), context, source
        self.refiners = [REFINERS[name](context) for name in self.names]
        self.centres = any(refiner.centres for refiner in self.refiners)

    def __call__(self, soft: Tensor, batch: Batch, known: Known | None = None) -> Tensor:
        """(B, H, W) in [0, 1] -> (B, G, G) in [0, 1], G half the setting `image_size`; the map as
        it is where the chain is empty.

        `known` holds what chains with the same beginning have made of the same map and batch, and
        is added to.
        """
        if self.refiners:
            soft = on_grid(soft, self.context.settings)
        known = {} if known is None else known
        for end, refiner in enumerate(self.refiners, 1):
            if (names := self.names[:end]) not in known:
                known[names] = refiner.refine(soft, batch, self.source).clamp(0, 1)
            soft = known[names]
        return soft
