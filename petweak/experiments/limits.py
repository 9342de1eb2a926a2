"""How near does each stage come to what the machine can do?

A stage has to do its arithmetic, and to move what it reads and writes. Neither is faster than a
large matrix product or a large copy, which are measured in the same rounds: the longer of the two
is the least that the stage can take (the roofline, Williams et al. 2009).
"""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.autograd import DeviceType
from torch.autograd.profiler import profile
from torchvision.transforms.functional import to_tensor

from petweak.config import STRIDES
from petweak.data.feature_cache import VIEWS, photo_tensor
from petweak.data.oxford_pets import TRIMAP_FOREGROUND, Sample, load_photo, load_trimap
from petweak.evaluation.scoring import against_ground_truth, score_model
from petweak.experiments import benchmark
from petweak.experiments.alternatives import PASSES, extract
from petweak.experiments.benchmark import alternate, hardware, medians
from petweak.experiments.trials import flops, scored
from petweak.models import mask_rcnn_compact
from petweak.models.maskformer import model_name
from petweak.models.onnx import onnx_engine
from petweak.pseudo_masks import cam as cams
from petweak.pseudo_masks.gradcam import GradCAMFinetuned
from petweak.pseudo_masks.refinement import STEPS, Pipeline
from petweak.pseudo_masks.refinement.base import on_grid, photos_on_grid
from petweak.study.run import Run
from petweak.training.inference import predict_features
from petweak.training.trainer import mixed_precision, prepare

CPU = torch.device("cpu")
LARGEST = 3  # operators that are named


class Stage(NamedTuple):
    call: Callable[[], Any]
    moved: int  # bytes
    device: torch.device = CPU
    half: bool = False  # whether its products are of float16 or bfloat16
    counted: Callable[[], Any] | None = None  # a call with the same products, which torch sees


def limits(run: Run, photos: int = 16, of_pass: int = 128, rounds: int = 5, side: int = 2048,
           copied: int = 256, seed: int = 0) -> pd.DataFrame:
    """Time each stage on `photos` of train that have a trimap, in turn with products of matrices of
    `side` x `side` and a copy of so many MB; nothing else should run beside. The pass, and the
    engine that it runs, have `of_pass` photos: it costs something before its first batch.

    Returns a row per stage: `stage`; `gflop`, of its products and convolutions (a multiplication
    and an addition are two; the rest of its arithmetic is not counted); `mb`, the least that has to
    move: files, tensors and weights that it takes, and what it returns, each once, as they lie in
    memory (in training, a parameter and the two moments of AdamW are read and written); `seconds`
    (median over rounds) for all photos with the quartiles `low` and `high`; `least`, the seconds
    that it would take at the slower of both peaks, those of products in its `precision` and of the
    copy, and `bound`, which of them that is; `share`, `least` / `seconds`; `rest`, which operators
    of torch take most of the time, in shares of it, and what is outside of them; the best of all
    rounds on its device: `gflops_float32`, `gflops_bfloat16`, and `gb_copied`, read and written, a
    second; `rounds`, `n_images`, `threads`, `device`."""
    train = scored(run, "train")
    order = np.random.default_rng(seed).permutation(len(train))
    few, many = ([train[i] for i in order[:n]] for n in (photos, of_pass))
    of_few, stages = stages_of(run, few), stages_of_pass(run, many)
    n_images = dict.fromkeys(stages, len(many)) | dict.fromkeys(of_few, len(few))
    stages |= of_few
    work = {"float32": 2 * side**3, "bfloat16": 2 * side**3, "copy": 2 * copied * 10**6}
    tests = {f"{what} {device}": call for device in {CPU, run.device}
             for what, call in zip(work, _tests(device, side, copied), strict=True)}
    calls = {name: stage.call for name, stage in stages.items()} | tests
    taken, rows = alternate(calls, rounds, run.device, run.folder / PASSES), []
    for s in stages.values():
        peaks = {what: n / taken[f"{what} {s.device}"].min() for what, n in work.items()}
        flop, precision = flops(s.counted or s.call), "bfloat16" if s.half else "float32"
        least = {"arithmetic": flop / peaks[precision], "memory": s.moved / peaks["copy"]}
        rows.append({"gflop": flop / 1e9, "mb": s.moved / 1e6, "precision": precision,
                     "least": max(least.values()), "bound": max(least, key=least.get),
                     "rest": largest(s.call, s.device), "gflops_float32": peaks["float32"] / 1e9,
                     "gflops_bfloat16": peaks["bfloat16"] / 1e9, "gb_copied": peaks["copy"] / 1e9,
                     **hardware(s.device)})
    shutil.rmtree(run.folder / PASSES, ignore_errors=True)  # of `largest`
    table = medians(taken[list(stages)]).rename(columns={"what": "stage"}).join(pd.DataFrame(rows))
    table = table.assign(share=table["least"] / table["seconds"], rounds=rounds,
                         n_images=[*n_images.values()])
    return table[["stage", "gflop", "mb", "seconds", "low", "high", "least", "bound", "share",
                  "rest", "precision", "gflops_float32", "gflops_bfloat16", "gb_copied", "rounds",
                  "n_images", "threads", "device"]]


def _tests(device: torch.device, side: int, copied: int) -> list[Callable]:
    a = torch.rand(side, side, device=device)
    content = torch.ones(copied * 10**6, dtype=torch.uint8, device=device)
    return [partial(torch.mm, a, a), partial(torch.mm, a.bfloat16(), a.bfloat16()),
            partial(torch.empty_like(content).copy_, content)]


def moved(*of: Any) -> int:
    """Bytes of files, of tensors and arrays, and of the weights of networks."""
    def size(x: Any) -> int:
        if isinstance(x, Path):
            return x.stat().st_size
        return sum(map(size, x.state_dict().values())) if isinstance(x, nn.Module) else x.nbytes
    return sum(map(size, of))


def largest(call: Callable[[], Any], device: torch.device) -> str:
    """Where the time of a call goes: the LARGEST operators of torch, without those that they call,
    and all that is outside of them, with their shares."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # of the profiler, which tells of no GPU
    cuda = device.type == "cuda"
    with profile(use_device="cuda" if cuda else None, use_kineto=cuda) as profiled:
        start = time.perf_counter()
        call()
        if cuda:
            torch.cuda.synchronize()
        elapsed = time.perf_counter() - start
    field = "self_device_time_total" if cuda else "self_cpu_time_total"
    operators = (e for e in profiled.key_averages() if e.device_type == DeviceType.CPU)
    shares = pd.Series({e.key.removeprefix("aten::"): getattr(e, field) / 1e6 / elapsed
                        for e in operators}, dtype=float)
    named = shares.nlargest(LARGEST)
    named["outside of torch"] = 1 - shares.sum()
    named = named[named >= 0.01].sort_values(ascending=False)
    return ", ".join(f"{name} {share:.0%}" for name, share in named.items())


def stages_of_pass(run: Run, samples: list[Sample]) -> dict[str, Stage]:
    """Feature extraction of these photos, decoding alone, and both engines on ready tensors."""
    backbone, s, device = run.backbone, run.settings.backbone, run.device
    photos = torch.stack([photo_tensor(load_photo(x.photo), s.image_size) for x in samples])
    views = torch.cat([photos, photos.flip(-1)]).split(VIEWS * s.extraction_batch)

    def passed(network: Callable) -> None:  # keeps no maps: new memory for them would take time
        for part in views:
            network(part.to(device))

    eager, session = partial(passed, backbone), onnx_engine(backbone)
    out = (m for part in views for m in backbone(part.to(device)).values())
    through = moved(*views, *backbone.stages, *out)
    written = [run.features.map(level)[: len(samples)] for level in (*s.stored_levels, "pooled")]
    files = [x.photo for x in samples]
    return {
        "decode and resize": Stage(
            lambda: [photo_tensor(load_photo(x.photo), s.image_size) for x in samples],
            moved(*files, photos)),
        "pass, with decoding and writing": Stage(
            partial(extract, run, samples, session if device == CPU else backbone, run.settings),
            moved(*files, *backbone.stages, *written), device, counted=eager),
        "backbone, ONNX Runtime": Stage(partial(passed, session), through, counted=eager),
        "backbone, PyTorch": Stage(eager, through, device)}


def stages_of(run: Run, samples: list[Sample]) -> dict[str, Stage]:
    """Each stage after feature extraction, on these photos."""
    backbone, context, s, device = run.backbone, run.context, run.settings.backbone, run.device
    ids, decoded = [x.id for x in samples], [load_photo(x.photo) for x in samples]
    maps, head = run.features.half("final", ids), context.classifier()
    trimaps = [load_trimap(x.trimap, x.photo) for x in samples]
    masks = [trimap == TRIMAP_FOREGROUND for trimap in trimaps]
    run.masks("ground_truth")
    folder, predictor = run.masks_folder("ground_truth"), benchmark.untrained(run)

    def cam() -> Tensor:
        return cams.grad_cam(run.features.batch("final", ids), head, cams.top1)

    def evaluate() -> pd.DataFrame:  # of what has not learnt, more classes are enlarged
        predictions = (p for _, p in predict_features(predictor, run.features, ids))
        return score_model(zip(samples, predictions, strict=True), folder, run.settings.labels[0])

    views = [run.features.half(level, ids, mirror) for level in predictor.levels
             for mirror in (False, True)[: 1 + predictor.mirror]]
    stages = {"CAMs from the cache": Stage(cam, moved(maps, head, cam()))}
    for levels in (("final",), s.stored_levels):
        stages[f"training step, {model_name(levels)}"] = _training(run, samples, levels)
    one_by_one, _ = benchmark.predictions(run, samples).values()
    stages["prediction"] = Stage(one_by_one, moved(
        *map(np.asarray, decoded), *backbone.stages, predictor.model, *masks), device)
    stages |= _refinement(run, ids)
    detector = mask_rcnn_compact.load().requires_grad_(False).to(device)
    photos = [to_tensor(photo).to(device) for photo in decoded]
    stages["Mask R-CNN, compact"] = Stage(  # a mask a photo at least
        lambda: [detector([x]) for x in photos],
        moved(*photos, detector, *(x[0] for x in photos)), device)
    labels = {i: context.train_labels[i] for i in ids}
    (finetuned := GradCAMFinetuned(replace(context, train_labels=labels))).fit()
    stages["finetuning of the head"] = Stage(
        finetuned.fit, moved(run.features.pooled(ids), *[finetuned.head] * 6))
    stages["metrics"] = Stage(lambda: list(map(against_ground_truth, masks, trimaps)),
                              moved(*masks, *trimaps))
    files = [file for x in samples for file in (x.trimap, folder / f"{x.id}.png")]
    stages["evaluation"] = Stage(evaluate, moved(*views, predictor.model, *files), device)
    return stages


def _refinement(run: Run, ids: list[str]) -> dict[str, Stage]:
    """Each step on maps of `imagenet_only`, and the masks of that source. What these and a vote
    read at least are the maps of all scales, with which each of the voting pipelines begins."""
    context, batch, of = run.context, run.context.batch(ids), run.settings.refinement
    source = run.fitted_source("imagenet_only")
    soft = on_grid(source.view(batch), run.settings).detach()

    def both(level: str, scale: float = 1.0) -> list[Tensor]:
        features = context.more_features(scale)
        return [features.half(level, ids, mirror) for mirror in (False, True)]

    scales = [m for scale in of.refinement_scales for m in both("final", scale)]
    read = dict.fromkeys(STEPS, [photos_on_grid(batch, soft.shape[-1])]) | {
        "multiscale": scales, "vote": scales,
        "fusion": [m for level in of.fusion_maps if level in STRIDES for m in both(level)],
        "walk": [run.features.half(level, ids) for level in of.walk_levels]}
    steps = {f"refinement, {name}": (partial(Pipeline((name,), context, source), soft, batch),
                                     moved(*maps, soft, soft)) for name, maps in read.items()}
    steps["masks, imagenet_only"] = partial(source.refined, batch), moved(*scales, soft)
    return {name: Stage(torch.no_grad()(call), n) for name, (call, n) in steps.items()}


def _training(run: Run, samples: list[Sample], levels: tuple[str, ...]) -> Stage:
    settings, targets = run.settings.replace(levels=levels), benchmark.exact_targets(run, samples)
    model, *_ = prepare(run.features, len(run.pets.classes(settings.labels[0])), settings, CPU)
    weights = moved(*(p for p in model.parameters() for _ in range(6)))
    maps = moved(*(run.features.half(level, targets.ids) for level in levels))
    return Stage(benchmark.epoch_on(run.features, run, targets, settings),
                 maps + sum(map(len, targets.packed)) + weights, run.device,
                 mixed_precision(settings, run.device) is not None)
