"""What petweak does to be fast, beside the plain way to do it: does it pay?

Both ways of a stage are timed in turn. The first one of each stage is what petweak does.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from petweak.config import Settings
from petweak.data import feature_cache
from petweak.data.feature_cache import extract_features
from petweak.data.oxford_pets import Sample
from petweak.experiments import benchmark
from petweak.experiments.benchmark import Calls, epoch_on, exact_targets
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
    engine: the pass over the photos by ONNX Runtime, or by PyTorch, in both types;
    decoding: photos decoded in the process of the pass, or ahead of it by two others or threads;
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
        taken = benchmark.alternate(STAGES[stage](run, samples), rounds, run.device)
        table = benchmark.medians(taken)
        table.insert(0, "stage", stage)
        tables.append(table.assign(ratio=table["seconds"] / table["seconds"].iloc[0]))
    table = pd.concat(tables, ignore_index=True)
    return table.assign(rounds=rounds, n_images=len(samples), **benchmark.hardware(run.device))


def _graph(run: Run, samples: list[Sample]) -> Calls:
    return {"kept in the user's cache": partial(onnx_engine, run.backbone),
            "exported anew": lambda: (export(run.backbone), onnx_engine(run.backbone))}


def pass_anew(run: Run, samples: list[Sample], network: Callable, settings: Settings) -> None:
    """Its cache is deleted."""
    with scratch(run.folder / "experiments" / "alternatives") as folder:
        extract_features(tuple(samples), lambda *_: ("given", network), settings,
                         folder / "features", "key", run.device)


def _engine(run: Run, samples: list[Sample]) -> Calls:
    half = torch.autocast(run.device.type, torch.bfloat16)(run.backbone.forward)
    engines = {"ONNX Runtime": onnx_engine(run.backbone), "PyTorch": run.backbone,
               "PyTorch, bfloat16": half}
    return {name: partial(pass_anew, run, samples, network, run.settings)
            for name, network in engines.items()}


def _decoding(run: Run, samples: list[Sample]) -> Calls:
    network = onnx_engine(run.backbone)
    calls = {name: partial(pass_anew, run, samples, network, run.settings.replace(workers=n))
             for name, n in {"in the same process": 0, "ahead, in two processes": 2}.items()}
    threads = patch.object(feature_cache, "DataLoader", _in_threads)
    return calls | {"ahead, in two threads": threads(calls["in the same process"])}


def _in_threads(samples: list[Sample], batch_sampler: list[range], collate_fn: Callable, **_
                ) -> Iterator[Tensor]:
    """In place of a DataLoader."""
    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(lambda rows: collate_fn([samples[i] for i in rows]), batch_sampler)


def _batch(run: Run, samples: list[Sample]) -> Calls:
    network = onnx_engine(run.backbone)
    sizes = [run.settings.backbone.extraction_batch, 1, *[32] * (len(samples) >= 32)]
    return {f"{n} photos": partial(pass_anew, run, samples, network,
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


def _products(steps: int, then: Callable, run: Run, samples: list[Sample]) -> Calls:
    """Steps from vectors (B, N) by matrices (B, N, N), with what follows each product."""
    matrices = torch.rand(len(samples), GRID**2, GRID**2).softmax(-1)
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
          "precision": _precision, "queries": _queries,
          "crf": partial(_products, 10, lambda x: (2 * x - 1).sigmoid()),
          "walk": partial(_products, STEPS, lambda x: x)}
