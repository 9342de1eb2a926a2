"""How many seconds does each architecture of the grid take, to learn and to predict?

Nothing is trained to an end: the rows take turns, a few steps each, so that whatever else the
machine does slows all of them.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch

from petweak.data.feature_cache import Features
from petweak.experiments.ablation import INPUT, parts_of, rows_of
from petweak.experiments.benchmark import alternate, exact_targets, hardware
from petweak.experiments.trials import scored
from petweak.study.run import Run
from petweak.training.targets import Targets
from petweak.training.trainer import cached_maps, prepare, train_step


def ablation_times(run: Run, rows: tuple[str, ...] = (), rounds: int = 5, steps: int = 10
                   ) -> pd.DataFrame:
    """Time `rows` of the grid, by names or patterns, all unless given, on a batch of photos of
    train that have a trimap, in so many `rounds`; nothing else should run beside.

    Returns a row per architecture, of the network on cached features: `row`; milliseconds, medians
    over rounds with the quartiles `_low` and `_high`, of `forward_ms`, a prediction of all photos
    (without mirror images), and `step_ms`, a step of training on them, which prototypes do not
    take, each the mean of `steps` calls after one to warm up; `rounds`, `steps`, `n_images`,
    `threads`, `device`. ValueError for an unknown row."""
    chosen, samples = rows_of(rows), scored(run, "train")[: run.settings.training.batch_size]
    inputs, taken = {}, []
    for name, row in chosen.items():  # features of these photos alone, before the clock runs
        changes = {k: row[k] for k in INPUT if k in row}
        place = "-".join(["times", *map(str, changes.values())])
        if place not in inputs:
            one = run.variant(place, frozenset(s.id for s in samples), **changes)
            inputs[place] = one, one.features, exact_targets(one, samples)
        inputs[name] = inputs[place]
    for first in range(rounds):
        for name in np.roll(list(chosen), first):
            ms = 1e3 * alternate(_calls(*inputs[name], chosen[name]), steps, run.device).mean()
            taken.append({"row": name} | ms.to_dict())
    ends = {0.5: "", 0.25: "_low", 0.75: "_high"}
    table = pd.DataFrame(taken).groupby("row").quantile([*ends]).unstack().loc[list(chosen)]
    table.columns = [what + ends[q] for what, q in table.columns]
    return table.reset_index().assign(
        rounds=rounds, steps=steps, n_images=len(samples), **hardware(run.device))


def _calls(run: Run, features: Features, targets: Targets, row: dict[str, Any]
           ) -> dict[str, Callable]:
    """A prediction of all photos, and a step of training on them, of a new model."""
    flat, shape, network = parts_of(row)
    settings, classes = run.settings.replace(**flat), len(run.pets.classes(run.settings.labels[0]))
    batch = torch.arange(len(targets.ids)), torch.zeros(len(targets.ids), dtype=torch.bool)
    model, *rest = prepare(features, classes, settings, run.device,
                           lambda config: network(replace(config, **shape)))
    opened = deepcopy(model).to(memory_format=torch.contiguous_format).eval()  # as from a file
    predict = torch.inference_mode()(opened.forward)
    calls = {"forward_ms": partial(predict, cached_maps(opened, features, targets.ids))}
    if row.get("network") != "prototypes":
        calls["step_ms"] = partial(
            train_step, model.train(), features, targets, *batch, settings, *rest)
    return calls
