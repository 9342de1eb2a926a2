"""What is in each frozen map: read off by a linear rule, and learnt by students that see more."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from petweak import metrics
from petweak.config import STRIDES
from petweak.data.pets import BORDER, PET, Sample, load_trimap
from petweak.features import Features
from petweak.study import Run

STEPS = 40  # of L-BFGS, which has converged well before
WEIGHT_DECAY = 1e-3


def probe(features: Features, tap: str, samples: list[Sample]) -> tuple[nn.Conv2d, Tensor, Tensor]:
    """Logistic regression of "pet" on the cells of a map, border left out: a 1x1 convolution.

    Returns the convolution, and the mean and the standard deviation (C, 1, 1) of the channels.
    """
    maps = features.batch(tap, [s.id for s in samples])
    mean, std = maps.mean((0, 2, 3))[:, None, None], maps.std((0, 2, 3))[:, None, None] + 1e-6
    x = ((maps - mean) / std).permute(0, 2, 3, 1).flatten(0, 2)
    pet, sure = (torch.cat(t) for t in zip(*(_cells(s, maps.shape[-1]) for s in samples),
                                           strict=True))  # fmt: skip
    head = nn.Linear(x.shape[1], 1)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        terms = F.binary_cross_entropy_with_logits(head(x)[:, 0], pet, weight=sure)
        value = terms + WEIGHT_DECAY * head.weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    convolution = nn.Conv2d(x.shape[1], 1, 1).requires_grad_(False)
    convolution.weight.copy_(head.weight.detach()[..., None, None])
    convolution.bias.copy_(head.bias.detach())
    return convolution, mean, std


def probe_taps(run: Run, split: str = "test") -> pd.DataFrame:
    """A row per tap that is stored: `tap`, `stride`, `channels`, `iou` (mean over `split`, border
    ignored). The probes learn from the true masks of train: what they show is the features."""
    train = list(run.pets.split("train"))
    rows = []
    for tap in run.features.taps:
        convolution, mean, std = probe(run.features, tap, train)
        ious = []
        for s in run.pets.split(split):
            logits = convolution((run.features.batch(tap, [s.id]) - mean) / std)
            target, valid = metrics.truth(load_trimap(s.trimap), "ignore")
            large = F.interpolate(logits, target.shape, mode="bilinear")[0, 0].numpy()
            ious.append(metrics.iou(large > 0, target, valid))
        rows.append((tap, STRIDES[tap], convolution.in_channels, float(np.mean(ious))))
    return pd.DataFrame(rows, columns=["tap", "stride", "channels", "iou"])


def students_by_taps(run: Run, epochs: int, border: str = "ignore") -> pd.DataFrame:
    """Full supervision by students that see one map more each time, everything else equal (none has
    dropout or looks at val): `taps`, `iou` (mean over test, in the convention `border`, which they
    are trained in, too). Makes what is lacking in the run's variants/."""
    rows, own = [], dict(border=border, epochs=epochs, val_fraction=0.0, plus_dropout=0.0)
    for n in range(1, len(run.features.taps) + 1):
        taps = run.features.taps[:n]
        one = run.variant(f"taps-{n}", taps=taps, **own)
        scores = one.student_scores("ground_truth", "species")
        ious = scores.photos.query("split == 'test'")[f"iou/{border}"]
        rows.append((", ".join(taps), ious.mean()))
    return pd.DataFrame(rows, columns=["taps", "iou"])


def _cells(s: Sample, grid: int) -> tuple[Tensor, Tensor]:
    """The share of pet in the sure part of each cell, and that part's size: (grid^2,) each."""
    trimap = torch.tensor(load_trimap(s.trimap))
    pet, sure = ((trimap == PET).float(), (trimap != BORDER).float())
    pet, sure = (F.adaptive_avg_pool2d(m[None, None], grid).flatten() for m in (pet, sure))
    return pet / sure.clamp(min=1e-6), sure
