"""A vote of several pipelines: near 0 or 1 where they agree, in between where they do not."""

import torch
from torch import Tensor

from petweak.config import Settings
from petweak.pseudo_masks.base import Batch, Source
from petweak.pseudo_masks.refinement import Pipeline, Shared, pipeline_steps, step_class
from petweak.pseudo_masks.refinement.base import RefinementStep


class Vote(RefinementStep):
    """The share of the pipelines of `vote_pipelines` that decide "foreground". Steps that two of
    them begin with are computed once.

    Pipelines err in different places (a graph cut on colours, a walk on features), so the vote's
    confidence tells good masks from bad ones (`petweak.pseudo_masks.selection.confidence`). The
    mean of their maps would measure how soft each of them is instead; it only breaks ties.
    """

    asks_source = True
    centres = True
    ties = 0.02  # the weight of the mean of the maps, less than that of one vote

    @classmethod
    def check(cls, settings: Settings) -> None:
        names = settings.refinement.vote_pipelines
        if len(names) < 2 or "vote" in pipeline_steps(names):
            raise ValueError(
                f"vote_pipelines={','.join(names)}: name two or more pipelines that do not vote"
            )
        for name in pipeline_steps(names):
            step_class(name).check(settings)

    def refine(self, soft: Tensor, batch: Batch, source: Source | None) -> Tensor:
        shared: Shared = {}
        pipelines = [Pipeline((p,), self.context, source) for p in self.settings.vote_pipelines]
        maps = torch.stack([pipeline(soft, batch, shared) for pipeline in pipelines])
        return (1 - self.ties) * (maps > 0.5).float().mean(0) + self.ties * maps.mean(0)
