"""Which configuration of self-training would the criteria choose, and which ground truth?"""

import numpy as np
import pandas as pd
import torch

from petweak.experiments import trials
from petweak.pseudo_masks.refinement.base import photos_on_grid
from petweak.pseudo_masks.refinement.pamr import pamr
from petweak.pseudo_masks.selection import AREA, agreement, confidence
from petweak.study.run import Run
from petweak.training.inference import Predictor, predict_features

# One thing at a time differs from the run's settings, which are the first configuration; IRN's
# ignore band is 0.05 to 0.3.
CONFIGURATIONS = (trials.DEFAULT, "round_refinement=walk", "round_refinement=walk,pamr",
                  "channel_dropout=0.0", "ignore_band=0.05,0.3", "background_threshold=0.05")
CRITERIA = ("rounds", "mirror", "pamr", "confidence", "area")
BORDERS = ("ignore", "foreground")


def configurations(run: Run, source: str = "imagenet_only", labels: str = "species",
                   configurations: tuple[str, ...] = CONFIGURATIONS) -> pd.DataFrame:
    """Self-train by every configuration, from the same masks. Returns a row each: `configuration`;
    criteria of the last model on train, the larger the better; `train/ignore`, `train/foreground`,
    `test/ignore`, `test/foreground`: its mean IoU with ground truth.

    The criteria: IoU of the last two rounds' masks (`rounds`), of the masks of photo and mirror
    image (`mirror`), of masks before and after PAMR (`pamr`); `confidence` and `area` as in
    `petweak.pseudo_masks.selection`."""
    rows, train = [], [s.id for s in run.pets.split("train")]
    ids = {split: [s.id for s in trials.scored(run, split)] for split in ("train", "test")}
    for name in configurations:
        rounds = run.rounds(source, labels)
        if changed := trials.changes(name):
            rounds = trials.self_train(run, f"rounds {name}", source, labels, **changed)
        predictor = run.predictor(rounds[-1].model)
        row = {"configuration": name, "rounds": rounds[-1].agreement or 0.0}
        row |= _criteria(run, predictor, train)
        predictor.mirror = run.settings.inference.predict_mirror
        row |= {f"{split}/{border}": trials.model_ious(run, predictor, part, border).mean()
                for split, part in ids.items() for border in BORDERS}
        rows.append(row)
    return pd.DataFrame(rows)


@torch.no_grad()
def _criteria(run: Run, predictor: Predictor, ids: list[str]) -> dict[str, float]:
    parts = []
    for batch in run.context.batches(ids, 16):
        views = []
        for predictor.mirror in (False, True):
            predictions = predict_features(predictor, run.features, batch.ids)
            views.append(torch.from_numpy(np.stack([p.soft for _, p in predictions])))
        one, both = views
        other = 2 * both - one  # the prediction for the mirror image, because both is the mean
        smooth, mask = pamr(both, photos_on_grid(batch, both.shape[-1])), both > 0.5
        area = -(mask.float().mean((1, 2)) - AREA).abs()
        mirror, stable = agreement(one > 0.5, other > 0.5), agreement(mask, smooth > 0.5)
        parts.append(torch.stack([mirror, stable, confidence(both), area]))
    return dict(zip(CRITERIA[1:], torch.cat(parts, 1).mean(1).tolist(), strict=True))
