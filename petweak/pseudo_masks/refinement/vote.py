"""A vote of several pipelines: near 0 or 1 where they agree, in between where they do not."""

import torch
from torch import Tensor

from petweak.config import Settings
from petweak.pseudo_masks.base import Batch, Source
from petweak.pseudo_masks.refinement import Pipeline, pipeline_steps, step_class
from petweak.pseudo_masks.refinement.base import RefinementStep

TIES = 0.02  # the weight of the mean of the maps, less than that of one vote


class Vote(RefinementStep):
    """The share of the pipelines of `vote_pipelines` that decide "foreground". They err at other
    pixels, so its confidence tells good masks from bad ones. The mean of their maps, which says
    how soft each of them is, only breaks ties."""
    asks_source = centres = True

    @classmethod
    def check(cls, settings: Settings) -> None:
        names = settings.refinement.vote_pipelines
        if len(names) < 2 or "vote" in pipeline_steps(names):
            raise ValueError(f"vote_pipelines={','.join(names)}: name two or more pipelines that "
                             "do not vote")
        for name in pipeline_steps(names):
            step_class(name).check(settings)

    def refine(self, soft: Tensor, batch: Batch, source: Source | None) -> Tensor:
        shared: dict = {}  # steps that two of them begin with are computed once
        maps = torch.stack([Pipeline((name,), self.context, source)(soft, batch, shared)
                            for name in self.settings.vote_pipelines])
        return (1 - TIES) * (maps > 0.5).float().mean(0) + TIES * maps.mean(0)
