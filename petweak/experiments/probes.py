"""How well does a linear classifier segment each frozen feature map?"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from petweak.config import STRIDES
from petweak.data.feature_cache import Features
from petweak.data.oxford_pets import TRIMAP_BORDER, TRIMAP_FOREGROUND, Sample, load_trimap
from petweak.evaluation import metrics
from petweak.experiments.trials import enlarged, scored
from petweak.study.run import Run

STEPS = 40  # of L-BFGS, which has converged well before
WEIGHT_DECAY = 1e-3


def probes(run: Run, split: str = "test") -> pd.DataFrame:
    """A row per stored level: `level`, `stride`, `channels`, `iou` (mean over `split`, border
    ignored). The probes learn from the ground truth of train: what they show is the features."""
    rows, train, measured = [], scored(run, "train"), scored(run, split)
    for level in run.features.levels:
        logits, ious = probe(run.features, level, train), []
        for s in measured:
            maps = run.features.batch(level, [s.id])
            target, valid = metrics.target(load_trimap(s.trimap, s.photo), "ignore")
            ious.append(metrics.iou(enlarged(logits(maps)[0, 0], target.shape) > 0, target, valid))
        rows.append((level, STRIDES[level], maps.shape[1], float(np.mean(ious))))
    return pd.DataFrame(rows, columns=["level", "stride", "channels", "iou"])


def probe(features: Features, level: str, samples: tuple[Sample, ...]
          ) -> Callable[[Tensor], Tensor]:
    """Logistic regression of the foreground at the spatial positions of a feature map, border left
    out. Returns a function of maps (B, C, h, w) -> logits (B, 1, h, w)."""
    maps = features.batch(level, [s.id for s in samples])
    mean, std = maps.mean((0, 2, 3))[:, None, None], maps.std((0, 2, 3))[:, None, None] + 1e-6
    x = ((maps - mean) / std).permute(0, 2, 3, 1).flatten(0, 2)
    shares = (_shares(s, maps.shape[-1]) for s in samples)
    target, weight = map(torch.cat, zip(*shares, strict=True))
    head = nn.Linear(x.shape[1], 1)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.binary_cross_entropy_with_logits(head(x)[:, 0], target, weight=weight)
        value = value + WEIGHT_DECAY * head.weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    kernel, bias = head.weight.detach()[..., None, None], head.bias.detach()
    return lambda maps: F.conv2d((maps - mean) / std, kernel, bias)


def _shares(s: Sample, grid: int) -> tuple[Tensor, Tensor]:
    """Of each position: the share of foreground outside the border, and the share that is outside
    the border, (grid^2,) each in [0, 1]."""
    trimap = torch.tensor(load_trimap(s.trimap, s.photo))
    pet, inside = (trimap == TRIMAP_FOREGROUND).float(), (trimap != TRIMAP_BORDER).float()
    pet, inside = (F.adaptive_avg_pool2d(m[None, None], grid).flatten() for m in (pet, inside))
    return pet / inside.clamp(min=1e-6), inside
