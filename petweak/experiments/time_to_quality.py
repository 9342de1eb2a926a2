"""How many seconds is it from the photos to an IoU, beside networks whose encoders learn?

The clock runs while masks and photos are read, during petweak's pass over the photos of train, and
in every step; not while a network is scored on test. All learn from the same photos, masks and
batches, by one schedule, and from the same loss of masks.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.functional import normalize

from petweak.config import Settings
from petweak.experiments import trials
from petweak.experiments.benchmark import OURS, hardware, pictures, rivals
from petweak.experiments.trials import ground_truth, kept, photo_shapes, scored, scratch
from petweak.models import losses
from petweak.study.cache import key
from petweak.study.run import Run
from petweak.training.inference import Predictor, upsampled
from petweak.training.targets import Targets, load_targets
from petweak.training.trainer import learning_rate, mixed_precision, prepare, train_step

NETWORKS = (OURS, "smp FPN", "smp U-Net")


class Learner(NamedTuple):
    """A network in training."""

    step: Callable[[Tensor, Tensor, float], object]  # rows, which are mirrored, learning rate
    ious: Callable[[list[str], str], pd.Series]  # of these photos, and treatment of the border


def time_to_quality(run: Run, networks: tuple[str, ...] = NETWORKS,
                    seeds: tuple[int, ...] = (0, 1, 2), epochs: int = 10, every: int = 10,
                    border: str = "ignore", rival_lr: float = 5e-4, rival_epochs: int = 10
                    ) -> pd.DataFrame:
    """Train each of `networks` with each seed on ground truth, and score it on test every so many
    steps; the trimap's `border` is treated so in both. Nothing else should run beside. petweak is
    the run's model; `rival_lr` is the others' largest learning rate. The learning rate falls over
    all epochs, so fewer `rival_epochs` bring the others sooner to an IoU that they reach at all.
    What is trained is kept in the run's folder, the backbone's ONNX graph in the user's cache.

    Returns a row per scoring: `what`, `seed`, `epochs`, `step`, `seconds` on the clock, of them
    `before` the first step, mean `iou`, `threads`, `device`. ValueError for an unknown network."""
    if unknown := ", ".join(sorted(set(networks) - set(NETWORKS))):
        raise ValueError(f"unknown {unknown}: there are {', '.join(NETWORKS)}")
    rows, train, test = [], scored(run, "train"), [s.id for s in scored(run, "test")]
    samples = {s.id: s.label(run.settings.labels[0]) for s in train}
    masks = ground_truth(run, border)
    for seed in seeds:
        for what in networks:
            ours = what == OURS
            length = epochs if ours else rival_epochs
            lr = run.settings.training.lr if ours else rival_lr
            s = run.settings.replace(seed=seed, epochs=length, lr=lr, border=border)
            known = key(s, s.to_dict(), what=what, every=every, data=run.content, version=1,
                        threads=torch.get_num_threads(), device=run.made_on)
            file = run.folder / "experiments" / "time_to_quality" / f"{what}-{seed}.json"
            curve = kept(file, known, partial(_curve, run, what, s, masks, samples, test, every))
            rows += [{"what": what, "seed": seed, "epochs": length, **row} for row in curve]
    return pd.DataFrame(rows).assign(**hardware(run.device))


def _curve(run: Run, what: str, settings: Settings, masks: Path, train: dict[str, int],
           test: list[str], every: int) -> list[dict[str, float]]:
    """`train`: {id: class}."""
    s, seed, ids, spent, step = settings.training, settings.data.seed, list(train), 0.0, 0
    torch.manual_seed(seed)
    generator, curve = torch.Generator().manual_seed(seed), []
    learner_of = _ours if what == OURS else partial(  # the rival is built here, off the clock
        rival_learner, rivals(run.backbone, 1)[what][0].to(run.device), settings)
    steps = s.epochs * -(-len(ids) // s.batch_size)

    def timed(call: Callable, *of: object) -> object:
        nonlocal spent
        start = time.perf_counter()
        result = call(*of)
        if run.device.type == "cuda":
            torch.cuda.synchronize()
        spent += time.perf_counter() - start
        return result

    with scratch(run.folder / "experiments" / "time_to_quality" / "pass") as folder:
        alone = Run(folder, run.data_root, settings, run.made_on)
        alone.only = frozenset(ids)
        alone.pets, run.features  # noqa: B018 - checked once, whoever learns; and to be scored
        grid = settings.backbone.image_size // 2
        targets = timed(load_targets, masks, ids, list(train.values()), grid)
        learner = timed(learner_of, run, alone, targets)
        before = spent
        for _ in range(s.epochs):
            for rows in torch.randperm(len(ids), generator=generator).split(s.batch_size):
                mirror = torch.rand(len(rows), generator=generator) < 0.5
                timed(learner.step, rows, mirror, learning_rate(step / steps, settings))
                if (step := step + 1) % every == 0 or step == steps:
                    iou = float(learner.ious(test, settings.ground_truth.border).mean())
                    curve.append({"step": step, "seconds": spent, "before": before, "iou": iou})
    return curve


def _ours(run: Run, alone: Run, targets: Targets) -> Learner:
    settings, classes = alone.settings, run.pets.classes(run.settings.labels[0])
    model, optimizer, scaler = prepare(alone.features, len(classes), settings, run.device)
    b = settings.backbone

    def step(rows: Tensor, mirror: Tensor, lr: float) -> None:
        model.train()
        optimizer.param_groups[0]["lr"] = lr
        train_step(model, alone.features, targets, rows, mirror, settings, optimizer, scaler)

    def score(ids: list[str], border: str) -> pd.Series:
        predictor = Predictor(model.eval(), classes, b.backbone, b.image_size,
                              settings.inference.predict_mirror)
        return trials.model_ious(run, predictor, ids, border)

    return Learner(step, score)


def rival_learner(net: torch.nn.Module, settings: Settings, run: Run, alone: Run, targets: Targets
                  ) -> Learner:
    """`net` gives logits (B, 1, S, S) of normalised photos."""
    s, device = settings.training, run.device
    photos = pictures(run, [run.pets.sample(i) for i in targets.ids])
    optimizer = torch.optim.AdamW(net.parameters(), lr=s.lr, weight_decay=s.weight_decay)
    precision = mixed_precision(settings, device)
    scaler = torch.amp.GradScaler(device.type, enabled=precision is torch.float16)
    if precision is torch.bfloat16:
        net.to(memory_format=torch.channels_last)

    def logits(x: Tensor) -> Tensor:
        x = normalize(x.to(device).float() / 255, run.backbone.mean, run.backbone.std)
        with torch.autocast(device.type, precision, enabled=precision is not None):
            return net(x)[:, 0].float()

    def step(rows: Tensor, mirror: Tensor, lr: float) -> None:
        net.train()
        optimizer.param_groups[0]["lr"] = lr
        x = photos[rows]
        z = logits(torch.where(mirror[:, None, None, None], x.flip(-1), x))
        _, masks, valid = (t.to(device) for t in targets.batch(rows, mirror))
        masks, valid = (F.interpolate(m, z.shape[-2:])[:, 0] for m in (masks, valid[:, None]))
        loss = s.mask_weight * losses.mask_loss(z, masks, valid).mean()
        loss = loss + s.dice_weight * losses.dice_loss(z, masks, valid).mean()
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(net.parameters(), s.clip)
        scaler.step(optimizer)
        scaler.update()

    @torch.inference_mode()
    def score(ids: list[str], border: str) -> pd.Series:
        net.eval()
        masks = {}
        for i, shape in photo_shapes(run, ids).items():
            x = pictures(run, [run.pets.sample(i)])
            soft = logits(x).sigmoid()
            if settings.inference.predict_mirror:
                soft = (soft + logits(x.flip(-1)).sigmoid().flip(-1)) / 2
            masks[i] = upsampled(soft[0].cpu().numpy(), *shape) > 0.5
        return trials.ious(run, masks, border)

    return Learner(step, score)
