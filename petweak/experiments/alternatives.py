"""What petweak does to be fast, beside the plain way to do it: does it pay?

Both ways of a stage are timed in turn. The first one of each stage is what petweak does.
"""

import io
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from petweak.config import LEVELS, Settings
from petweak.data.feature_cache import Features, extract_features
from petweak.data.oxford_pets import Sample
from petweak.experiments import benchmark
from petweak.experiments.benchmark import Calls, epoch_on, exact_targets
from petweak.experiments.trials import scored
from petweak.models.backbones import Backbone
from petweak.models.onnx import Engine, export, onnx_engine, onnx_graph
from petweak.study.run import Run

GRID, STEPS = 40, 16  # 1,600 positions, as of 320 pixels at stride 8; steps of the walk
PASSES = Path("experiments", "alternatives")  # of the run's folder: what `extract` makes


def alternatives(run: Run, stages: tuple[str, ...] = ("graph", "engine", "decoding", "batch",
                                                      "views", "precision", "queries",
                                                      "crf", "walk"),
                 photos: int = 32, rounds: int = 5, seed: int = 0) -> pd.DataFrame:
    """Time both ways of each stage on `photos` of train that have a trimap, on the run's device;
    nothing else should run beside.

    graph: ONNX Runtime ready to run, its graph kept in the user's cache, or exported anew;
    engine: feature extraction by ONNX Runtime, or by PyTorch, in both types; by OpenVINO,
        too, where the package `openvino` is installed (`pip install -e .[benchmark]`), and
        `decoding` is not among the stages: OpenVINO 2026.4 and a fork end a process;
    decoding: photos decoded in the same process, or ahead of it by two others or threads;
    batch: so many photos that pass the network together, where there are as many;
    views: final maps of photos and mirror images, from the run's cache or by a second pass;
    precision: training steps, in both types and with the channels first or last in memory; also on
        maps that are in memory before the clock starts, in the layout of the model's weights;
    queries: from a cost of 100 queries and one object a photo to the best, or by SciPy;
    crf, walk: their products of matrices, photo by photo or as a batch.

    Returns a row per stage and way: `seconds` (median over rounds, of all photos), the quartiles
    `low` and `high`, `ratio` (to the stage's first way), `rounds`, `n_images`, `threads`, `device`.
    The first way is the default on a CPU. ValueError for an unknown stage."""
    if unknown := ", ".join(sorted(set(stages) - set(STAGES))):
        raise ValueError(f"unknown {unknown}: there are {', '.join(STAGES)}")
    train, tables = scored(run, "train"), []
    ways_of = STAGES | {"engine": partial(_engine, forks="decoding" in stages)}
    samples = [train[i] for i in np.random.default_rng(seed).permutation(len(train))[:photos]]
    for stage in stages:
        ways = ways_of[stage](run, samples)
        taken = benchmark.alternate(ways, rounds, run.device, run.folder / PASSES)
        table = benchmark.medians(taken)
        table.insert(0, "stage", stage)
        tables.append(table.assign(ratio=table["seconds"] / table["seconds"].iloc[0]))
    table = pd.concat(tables, ignore_index=True)
    return table.assign(rounds=rounds, n_images=len(samples), **benchmark.hardware(run.device))


def _graph(run: Run, samples: list[Sample]) -> Calls:
    return {"kept in the user's cache": partial(onnx_engine, run.backbone),
            "exported anew": lambda: (export(run.backbone), onnx_engine(run.backbone))}


def extract(run: Run, samples: list[Sample], network: Callable, settings: Settings, **how: Any
            ) -> None:
    """Extract features into a new cache. `how`: as of `extract_features`."""
    extract_features(tuple(samples), lambda *_: ("given", network), settings,
                     run.folder / PASSES / "features", secrets.token_hex(), run.device, **how)


def openvino_engine(backbone: Backbone, precision: str) -> Engine:
    """As `onnx_engine`, by OpenVINO. `precision`: f32, or bf16, which a processor that lacks it
    computes in float32; the maps are float32."""
    import openvino

    core, config = openvino.Core(), {"INFERENCE_PRECISION_HINT": precision,
                                     "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    model = core.read_model(io.BytesIO(onnx_graph(backbone)))
    compiled = core.compile_model(model, "CPU", config)

    def run(photos: Tensor) -> dict[str, Tensor]:
        backbone.passes += len(photos)
        maps = compiled({"photos": photos.cpu().numpy()})
        return {level: torch.from_numpy(maps[level]) for level in LEVELS}

    return run


def _engine(run: Run, samples: list[Sample], forks: bool = False) -> Calls:
    half = torch.autocast(run.device.type, torch.bfloat16)(run.backbone.forward)
    engines = {"ONNX Runtime": onnx_engine(run.backbone), "PyTorch": run.backbone,
               "PyTorch, bfloat16": half}
    if find_spec("openvino") and not forks:  # a segmentation fault, in whichever order
        engines |= {"OpenVINO": openvino_engine(run.backbone, "f32"),
                    "OpenVINO, bfloat16": openvino_engine(run.backbone, "bf16")}
    return {name: partial(extract, run, samples, network, run.settings)
            for name, network in engines.items()}


def _decoding(run: Run, samples: list[Sample]) -> Calls:
    network = onnx_engine(run.backbone)
    ways = {"in the same process": (0, {}), "ahead, in two processes": (2, {}),
            "ahead, in two threads": (0, {"loader": in_threads})}
    return {name: partial(extract, run, samples, network, run.settings.replace(workers=n), **how)
            for name, (n, how) in ways.items()}


def in_threads(samples: list[Sample], batch_sampler: list[range], collate_fn: Callable, **_
               ) -> Iterator[Tensor]:
    """In place of a DataLoader. Decoding releases the interpreter's lock."""
    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(lambda rows: collate_fn([samples[i] for i in rows]), batch_sampler)


def _batch(run: Run, samples: list[Sample]) -> Calls:
    network = onnx_engine(run.backbone)
    sizes = [run.settings.backbone.extraction_batch, 1, *[32] * (len(samples) >= 32)]
    return {f"{n} photos": partial(extract, run, samples, network,
                                   run.settings.replace(extraction_batch=n)) for n in sizes}


def _views(run: Run, samples: list[Sample]) -> Calls:
    ids, final = [s.id for s in samples], {"levels": ("final",), "stored_levels": ("final",)}
    return {"from the cache": lambda: [run.features.half("final", ids, m) for m in (False, True)],
            "by a second pass": partial(extract, run, samples, onnx_engine(run.backbone),
                                        run.settings.replace(**final))}


def _precision(run: Run, samples: list[Sample]) -> Calls:
    targets = exact_targets(run, samples)
    first, last = torch.contiguous_format, torch.channels_last
    ways = {"float32, channels first": ("float32", first),
            "float32, channels last": ("float32", last),
            "bfloat16, channels last": ("bfloat16", last),
            "bfloat16, channels first": ("bfloat16", first)}
    calls = {}
    for name, (precision, layout) in ways.items():
        settings = run.settings.replace(precision=precision)
        maps = InMemory(run.features, targets.ids, settings.model.levels, layout)
        calls[name] = epoch_on(run.features, run, targets, settings, layout)
        calls[f"{name}, maps in memory"] = epoch_on(maps, run, targets, settings, layout)
    return calls


class InMemory:
    """As `Features`, of these photos and levels: their maps lie in memory in this layout."""

    def __init__(self, features: Features, ids: list[str], levels: tuple[str, ...],
                 layout: torch.memory_format) -> None:
        self.map, self.row = features.map, {image_id: k for k, image_id in enumerate(ids)}
        self.maps = {(level, view): features.half(level, ids, view).contiguous(memory_format=layout)
                     for level in levels for view in (False, True)}

    def half(self, level: str, ids: list[str], mirror: np.ndarray) -> Tensor:
        rows = [(self.row[i], bool(view)) for i, view in zip(ids, mirror, strict=True)]
        # unlike `stack` and an index, `cat` keeps the layout
        return torch.cat([self.maps[level, view][k : k + 1] for k, view in rows])


def _queries(run: Run, samples: list[Sample]) -> Calls:
    cost = torch.rand(len(samples), 100, 1, device=run.device)
    return {"the least cost": partial(torch.argmin, cost, 1),
            "SciPy": lambda: [linear_sum_assignment(one)[0] for one in cost.cpu().numpy()]}


def _products(steps: int, then: Callable, run: Run, samples: list[Sample]) -> Calls:
    """Steps from vectors (B, N) by matrices (B, N, N), with what follows each product."""
    matrices = torch.rand(len(samples), GRID**2, GRID**2).softmax(-1)
    start = torch.rand(matrices.shape[:2])

    def walked(product: Callable, matrix: Tensor, x: Tensor) -> Tensor:
        for _ in range(steps):
            x = then(product(matrix, x))
        return x

    return {"photo by photo": lambda: torch.stack(
                [walked(torch.mv, *of) for of in zip(matrices, start, strict=True)]),
            "batched": lambda: walked(torch.matmul, matrices, start[..., None])[..., 0]}


STAGES = {"graph": _graph, "engine": _engine, "decoding": _decoding, "batch": _batch,
          "views": _views, "precision": _precision, "queries": _queries,
          "crf": partial(_products, 10, lambda x: (2 * x - 1).sigmoid()),
          "walk": partial(_products, STEPS, lambda x: x)}
