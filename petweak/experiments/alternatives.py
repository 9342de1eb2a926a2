"""What petweak does to be fast, beside the plain way to do it: does it pay?

Both ways of a stage are timed in turn. The first one of each stage is what petweak does.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from petweak.config import Settings
from petweak.data.feature_cache import extract_features
from petweak.data.oxford_pets import Sample
from petweak.experiments.benchmark import (
    Calls,
    alternate,
    epoch_on,
    exact_targets,
    hardware,
    medians,
)
from petweak.experiments.trials import scored, scratch
from petweak.models.onnx import export, onnx_engine
from petweak.study.run import Run

GRID, STEPS = 40, 16  # 1,600 positions, as of 320 pixels at stride 8; steps of the walk


def alternatives(run: Run, stages: tuple[str, ...] = ("graph", "engine", "decoding", "batch",
                                                      "precision", "queries", "crf",
                                                      "walk"),
                 photos: int = 32, rounds: int = 5, seed: int = 0) -> pd.DataFrame:
    """Time both ways of each stage on `photos` of train that have a trimap, on the run's device;
    nothing else should run beside.

    graph: ONNX Runtime ready to run, its graph kept in the user's cache, or exported anew;
    engine: the pass over the photos by ONNX Runtime, or by PyTorch;
    decoding: photos decoded in the process of the pass, or by two others ahead of it;
    batch: so many photos that pass the network together, where there are as many;
    precision: training steps, in both types and with the channels first or last in memory;
    queries: from a cost of 100 queries and one object a photo to the best, or by SciPy;
    crf, walk: their products of matrices, photo by photo or as a batch.

    Returns a row per stage and way: `seconds` (median over rounds, of all photos), the quartiles
    `low` and `high`, `ratio` (to the stage's first way), `rounds`, `n_images`, `threads`, `device`.
    The first way is the default on a CPU. ValueError for an unknown stage."""
    if unknown := ", ".join(sorted(set(stages) - set(STAGES))):
        raise ValueError(f"unknown {unknown}: there are {', '.join(STAGES)}")
    train, tables = scored(run, "train"), []
    samples = [train[i] for i in np.random.default_rng(seed).permutation(len(train))[:photos]]
    for stage in stages:
        table = medians(alternate(STAGES[stage](run, samples), rounds, run.device))
        table.insert(0, "stage", stage)
        tables.append(table.assign(ratio=table["seconds"] / table["seconds"].iloc[0]))
    table = pd.concat(tables, ignore_index=True)
    return table.assign(rounds=rounds, n_images=len(samples), **hardware(run.device))


def _graph(run: Run, samples: list[Sample]) -> Calls:
    return {"kept in the user's cache": partial(onnx_engine, run.backbone),
            "exported anew": lambda: (export(run.backbone), onnx_engine(run.backbone))}


def _pass(run: Run, samples: list[Sample], network: Callable, settings: Settings) -> None:
    with scratch(run.folder / "experiments" / "alternatives") as folder:
        extract_features(tuple(samples), lambda *_: ("given", network), settings,
                         folder / "features", "key", run.device)


def _engine(run: Run, samples: list[Sample]) -> Calls:
    engines = {"ONNX Runtime": onnx_engine(run.backbone), "PyTorch": run.backbone}
    return {name: partial(_pass, run, samples, network, run.settings)
            for name, network in engines.items()}


def _decoding(run: Run, samples: list[Sample]) -> Calls:
    network = onnx_engine(run.backbone)
    return {name: partial(_pass, run, samples, network, run.settings.replace(workers=n))
            for name, n in {"in the same process": 0, "ahead, in two processes": 2}.items()}


def _batch(run: Run, samples: list[Sample]) -> Calls:
    network = onnx_engine(run.backbone)
    sizes = [run.settings.backbone.extraction_batch, 1, *[32] * (len(samples) >= 32)]
    return {f"{n} photos": partial(_pass, run, samples, network,
                                   run.settings.replace(extraction_batch=n)) for n in sizes}


def _precision(run: Run, samples: list[Sample]) -> Calls:
    targets = exact_targets(run, samples)
    first, last = torch.contiguous_format, torch.channels_last
    ways = {"float32, channels first": ("float32", first),
            "float32, channels last": ("float32", last),
            "bfloat16, channels last": ("bfloat16", last),
            "bfloat16, channels first": ("bfloat16", first)}
    return {name: epoch_on(run.features, run, targets, run.settings.replace(precision=p), layout)
            for name, (p, layout) in ways.items()}


def _queries(run: Run, samples: list[Sample]) -> Calls:
    cost = torch.rand(len(samples), 100, 1, device=run.device)
    return {"the least cost": partial(torch.argmin, cost, 1),
            "SciPy": lambda: [linear_sum_assignment(one)[0] for one in cost.cpu().numpy()]}


def _crf(run: Run, samples: list[Sample]) -> Calls:
    kernel = torch.rand(len(samples), GRID**2, GRID**2)
    return _products(kernel, 10, lambda x: (2 * x - 1).sigmoid())


def _walk(run: Run, samples: list[Sample]) -> Calls:
    return _products(torch.rand(len(samples), GRID**2, GRID**2).softmax(-1), STEPS, lambda x: x)


def _products(matrices: Tensor, steps: int, then: Callable[[Tensor], Tensor]) -> Calls:
    """Steps from vectors (B, N) by matrices (B, N, N), with what follows each product."""
    start = torch.rand(matrices.shape[:2])

    def one_by_one() -> Tensor:
        done = []
        for x, matrix in zip(start, matrices, strict=True):
            for _ in range(steps):
                x = then(torch.mv(matrix, x))
            done.append(x)
        return torch.stack(done)

    def batched() -> Tensor:
        x = start[..., None]
        for _ in range(steps):
            x = then(matrices @ x)
        return x[..., 0]

    return {"photo by photo": one_by_one, "batched": batched}


STAGES = {"graph": _graph, "engine": _engine, "decoding": _decoding, "batch": _batch,
          "precision": _precision, "queries": _queries, "crf": _crf, "walk": _walk}
