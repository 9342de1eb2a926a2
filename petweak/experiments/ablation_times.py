"""How many seconds does each architecture of the grid take, to predict and to learn?

Nothing is trained to an end: rows take turns, so that what else the machine does slows all of them.
"""

from copy import deepcopy
from functools import partial

import pandas as pd
import torch

from petweak.experiments.ablation import INPUT, parts_of, rows_of
from petweak.experiments.benchmark import alternate, exact_targets, hardware, medians
from petweak.experiments.trials import scored, shaped
from petweak.study.run import Run
from petweak.training.trainer import cached_maps, prepare, train_step


def ablation_times(run: Run, rows: tuple[str, ...] = (), rounds: int = 10) -> pd.DataFrame:
    """Time `rows` of the grid, by names or patterns, all unless given, on a batch of photos of
    train that have a trimap; nothing else should run beside.

    Returns two rows per architecture, on cached features: `row`, `what` (`predict`, not mirrored,
    or a `step` of training, but of prototypes), `seconds` of all photos (median over `rounds`), its
    quartiles `low`, `high`, `rounds`, `n_images`, `threads`, `device`. ValueError as `rows_of`."""
    samples, calls, inputs = scored(run, "train")[: run.settings.training.batch_size], {}, {}
    few, classes = frozenset(s.id for s in samples), len(run.pets.classes(run.settings.labels[0]))
    for name, row in rows_of(rows).items():
        changes = {k: row[k] for k in INPUT if k in row}
        place = "-".join(["times", *map(str, changes.values())])
        one = inputs.setdefault(place, run.variant(place, few, **changes))
        flat, shape, network = parts_of(row)
        s, targets = one.settings.replace(**flat), exact_targets(one, samples)
        model, *rest = prepare(one.features, classes, s, run.device, shaped(network, shape))
        opened = deepcopy(model).to(memory_format=torch.contiguous_format).eval()  # as from a file
        maps = cached_maps(opened, one.features, targets.ids)
        calls[f"predict {name}"] = partial(torch.inference_mode()(opened.forward), maps)
        if row.get("network") != "prototypes":
            batch = torch.arange(len(few)), torch.zeros(len(few), dtype=torch.bool)
            calls[f"step {name}"] = partial(
                train_step, model.train(), one.features, targets, *batch, s, *rest)
    table = medians(alternate(calls, rounds, run.device))
    table[["what", "row"]] = table["what"].str.split(" ", n=1).tolist()
    return table[["row", "what", "seconds", "low", "high"]].assign(
        rounds=rounds, n_images=len(samples), **hardware(run.device))
