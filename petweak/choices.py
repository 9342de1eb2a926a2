"""Settings compared after the choice: what each signal says of them, and what ground truth says.

Nothing here is read by a source. The photos are of train, and the oracle is called one.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr

from petweak import metrics
from petweak.config import Settings
from petweak.data.pets import load_trimap
from petweak.pseudo_masks.refiners import CHAINS
from petweak.pseudo_masks.signals import SIGNALS, Maps, mean_ranks, sample_of_train
from petweak.pseudo_masks.store import PET, to_mask
from petweak.study import Run

CUTS = (0.3, 0.4, 0.5, 0.6, 0.7)
BALLOT = Settings().choose_by  # as it comes


@torch.no_grad()
def compare_settings(
    run: Run,
    source: str = "labels_free",
    chains: Iterable[str] = tuple(CHAINS),
    cuts: Iterable[float] = CUTS,
) -> pd.DataFrame:
    """A row per chain and threshold: `chain`, `cut`, the mean of every signal over the sample that
    `refine=auto` chooses on, and `iou/ignore`, `iou/pet`: mean IoU with ground truth there."""
    fitted = run.source(source)
    fitted.fit()
    ids = sample_of_train(fitted)
    trimaps = {s.id: s.trimap for s in run.pets.samples}
    truths = [load_trimap(trimaps[i]) for i in ids]
    rows, known = [], {}
    for chain in chains:
        maps = Maps(fitted, (chain,), ids, known)
        for cut in cuts:
            row = {"chain": chain, "cut": cut}
            row |= {name: signal(maps, cut).mean().item() for name, signal in SIGNALS.items()}
            row |= {f"iou/{b}": _iou(maps, truths, cut, b) for b in ("ignore", "pet")}
            rows.append(row)
    return pd.DataFrame(rows)


def rank_signals(compared: pd.DataFrame, border: str = "ignore") -> pd.DataFrame:
    """How well each signal ranks settings: `signal`, `spearman` (with ground truth, over all rows),
    `chain`, `cut` and `iou` of the setting where it is largest. `ballot` is the mean of
    the ranks by the signals that `refine=auto` asks, here of chains and thresholds; the last row
    is the oracle, which looks at ground truth."""
    return spearman_table(compared, SIGNALS, BALLOT, f"iou/{border}", ["chain", "cut"])


def spearman_table(
    compared: pd.DataFrame, signals: Iterable[str], ballot: Iterable[str], truth: str,
    shown: list[str],
) -> pd.DataFrame:
    """For every column of `signals`, for the ballot of some of them, and for the oracle: Spearman
    with the column `truth`, the columns `shown` of the best row, and its `iou`."""
    columns = {name: compared[name] for name in signals}
    columns |= {"ballot": mean_ranks(compared[list(ballot)]), "oracle": compared[truth]}
    rows = []
    for name, values in columns.items():
        best = compared.loc[values.idxmax()]
        spearman = spearmanr(values, compared[truth]).statistic
        rows.append((name, spearman, *best[shown], best[truth]))
    return pd.DataFrame(rows, columns=["signal", "spearman", *shown, "iou"])


def _iou(maps: Maps, truths: list[np.ndarray], cut: float, border: str) -> float:
    ious = []
    for soft, trimap in zip(maps.soft, truths, strict=True):
        target, valid = metrics.truth(trimap, border)
        ious.append(metrics.iou(to_mask(soft, target.shape, cut) == PET, target, valid))
    return float(np.mean(ious))
