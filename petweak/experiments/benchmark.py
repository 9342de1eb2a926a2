"""How fast is training on cached features, beside what people would use instead?

Each part times petweak and its rivals one after another in every round, so that whatever else the
machine does slows all of them. Rivals get photos that are decoded already. transformers and
segmentation_models_pytorch are needed here alone: `pip install -e .[benchmark]`.
"""

import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.functional import normalize

from petweak.config import Settings
from petweak.data.feature_cache import photo_tensor
from petweak.data.oxford_pets import TRIMAP_FOREGROUND, Sample, load_photo, load_trimap
from petweak.evaluation.scoring import against_ground_truth
from petweak.experiments.trials import scored
from petweak.models import losses
from petweak.models.backbones import Backbone
from petweak.pseudo_masks import SOURCES, source_class
from petweak.pseudo_masks import cam as cams
from petweak.pseudo_masks.base import Batch, Source
from petweak.pseudo_masks.refinement import STEPS, Pipeline
from petweak.study.run import Run
from petweak.training.inference import Predictor, predict_features, predict_photo, predict_photos
from petweak.training.self_training import BATCH, round_settings
from petweak.training.targets import Targets, load_targets
from petweak.training.trainer import prepare, train_step

OURS = "petweak"  # what ratios are to
Calls = dict[str, Callable[[], Any]]
CAM_BATCH, PREDICTED = 32, 16  # photos


def benchmark(run: Run, parts: tuple[str, ...] = ("epoch", "cams", "predict", "stages", "start"),
              photos: int = 64, rounds: int = 5, seed: int = 0) -> pd.DataFrame:
    """Time each part on `photos` of train with a trimap, on the run's device, with nothing beside.

    epoch: an epoch of training, on cached features, with the backbone in every step, by
        transformers' MaskFormer, and by segmentation_models_pytorch's FPN and U-Net, whose encoders
        are the run's backbone and learn;
    cams: Grad-CAM of the predicted class, from the cache and from the photos, and by
        pytorch-grad-cam, one by one and in batches; ValueError where they differ;
    predict: masks of decoded photos, one by one and in batches;
    stages: soft masks of each source of the run that reads no trimaps, and of those that are always
        self-trained; each step of refinement, of maps of such a source; the masks and an epoch of a
        round of self-training; metrics;
    start: processes that import petweak, print its help, predict.

    Returns a row per part and what was timed: `seconds` (median over rounds, of all photos), the
    quartiles `low` and `high`, `ratio` (of the median to that of the part's first row), `rounds`,
    `n_images`, `threads`, `device`. ValueError for an unknown part."""
    if unknown := ", ".join(sorted(set(parts) - set(PARTS))):
        raise ValueError(f"unknown {unknown}: there are {', '.join(PARTS)}")
    train = scored(run, "train")
    chosen = np.random.default_rng(seed).permutation(len(train))[:photos]
    samples, rows = [train[i] for i in chosen], []
    for part in parts:
        taken = alternate(PARTS[part](run, samples), rounds, run.device)
        table = medians(taken)
        rows.append(table.assign(part=part, ratio=table["seconds"] / table["seconds"].iloc[0],
                                 rounds=rounds, n_images=1 if part == "start" else len(samples)))
    columns = ["part", *rows[0].columns.drop("part")]
    return pd.concat(rows, ignore_index=True)[columns].assign(**hardware(run.device))


def medians(taken: pd.DataFrame) -> pd.DataFrame:
    """A row per column of `alternate`: `what`, its median `seconds`, the quartiles."""
    low, middle, high = taken.quantile([0.25, 0.5, 0.75]).to_numpy()
    return pd.DataFrame({"what": taken.columns, "seconds": middle, "low": low, "high": high})


def hardware(device: torch.device) -> dict[str, Any]:
    """For a table of measurements: `threads`, and `device`, the name of the card or processor."""
    name = platform.processor() or platform.machine()
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    elif (info := Path("/proc/cpuinfo")).is_file():  # Linux, whose `platform` knows the kind alone
        text = info.read_text(encoding="utf-8")
        name = next(iter(re.findall(r"model name\s*: (.+)", text)), name)
    return {"threads": torch.get_num_threads(), "device": name}


def alternate(calls: Calls, rounds: int, device: torch.device, folder: Path | None = None
              ) -> pd.DataFrame:
    """Seconds of each call, a row per round, after one for warming up; each is first in turn. The
    `folder` that they fill is deleted after each, off the clock."""
    taken: dict[str, list[float]] = {what: [] for what in calls}
    for k in range(rounds + 1):
        for what in np.roll(list(calls), k):
            start = time.perf_counter()
            calls[what]()
            if device.type == "cuda":
                torch.cuda.synchronize()
            taken[what].append(time.perf_counter() - start)
            if folder:
                shutil.rmtree(folder, ignore_errors=True)
    return pd.DataFrame(taken).iloc[1:]


class InEveryStep:
    """As `Features`, but the backbone runs for every batch."""

    def __init__(self, run: Run, samples: list[Sample]) -> None:
        self.run, self.photos = run, dict(zip((s.id for s in samples), pictures(run, samples),
                                              strict=True))
        self.map = run.features.map

    @torch.no_grad()
    def half(self, level: str, ids: list[str], mirror: np.ndarray) -> Tensor:
        if level == self.run.settings.model.levels[0]:  # the first of a step
            x = torch.stack([self.photos[i] for i in ids])
            x = torch.where(torch.as_tensor(mirror)[:, None, None, None], x.flip(-1), x)
            self.maps = self.run.backbone(x.to(self.run.device).float() / 255)
        return self.maps[level].half()


def pictures(run: Run, samples: list[Sample]) -> Tensor:
    """(N, 3, S, S) of 0 ... 255, decoded and resized."""
    size = run.settings.backbone.image_size
    photos = [photo_tensor(load_photo(s.photo), size) for s in samples]
    return (255 * torch.stack(photos)).round().to(torch.uint8)


def exact_targets(run: Run, samples: list[Sample]) -> Targets:
    run.masks("ground_truth")
    labels = run.settings.labels[0]
    return load_targets(run.masks_folder("ground_truth"), [s.id for s in samples],
                        [s.label(labels) for s in samples], run.settings.backbone.image_size // 2)


def epoch_on(features: Any, run: Run, targets: Targets, settings: Settings,
             layout: torch.memory_format = torch.preserve_format) -> Callable[[], None]:
    """An epoch of training with these settings, with the model's weights in this layout."""
    classes = len(run.pets.classes(run.settings.labels[0]))
    model, *rest = prepare(features, classes, settings, run.device)
    model.to(memory_format=layout).train()

    def epoch() -> None:
        for rows in torch.arange(len(targets.ids)).split(run.settings.training.batch_size):
            mirror = torch.zeros(len(rows), dtype=torch.bool)
            train_step(model, features, targets, rows, mirror, settings, *rest)
    return epoch


def _epoch(run: Run, samples: list[Sample]) -> Calls:
    targets, live = exact_targets(run, samples), InEveryStep(run, samples)
    calls = {name: epoch_on(features, run, targets, run.settings) for name, features in
             {OURS: run.features, "the backbone in every step": live}.items()}
    photos, classes = pictures(run, samples), len(run.pets.classes(run.settings.labels[0]))

    def epoch(net: torch.nn.Module, loss: Callable, optimizer: torch.optim.Optimizer) -> None:
        for rows in torch.arange(len(samples)).split(run.settings.training.batch_size):
            classes, masks, _ = targets.batch(rows, torch.zeros(len(rows), dtype=torch.bool))
            x = normalize(photos[rows].to(run.device).float() / 255, run.backbone.mean,
                          run.backbone.std)
            masks = F.interpolate(masks.to(run.device), x.shape[-2:])
            optimizer.zero_grad(set_to_none=True)
            loss(net, x, masks, classes.to(run.device)).backward()
            optimizer.step()

    for name, (net, loss) in rivals(run.backbone, classes).items():
        optimizer = torch.optim.AdamW(net.to(run.device).parameters(), run.settings.training.lr)
        calls[name] = partial(epoch, net.train(), loss, optimizer)
    return calls


def rivals(backbone: Backbone, classes: int) -> dict[str, tuple[torch.nn.Module, Callable]]:
    """{name: (network, its loss from photos, masks (B, 1, S, S) and classes (B, 1))}: encoders of
    the backbone's class, with its weights where the network takes them."""
    try:
        import segmentation_models_pytorch as smp
        import transformers
    except ImportError as error:
        raise ValueError(f"the part epoch needs {error.name}: pip install -e .[benchmark]"
                         ) from error
    name = backbone.name if backbone.name == "resnet50" else f"tf_{backbone.name}"

    def binary(net, x: Tensor, masks: Tensor, classes: Tensor) -> Tensor:
        logits, valid = net(x)[:, 0], torch.ones_like(masks[:, 0])
        terms = losses.mask_loss, losses.dice_loss
        return sum(term(logits, masks[:, 0], valid).mean() for term in terms)

    def universal(kind: type) -> torch.nn.Module:
        net = kind(encoder_name=f"tu-{name}", encoder_weights=None, classes=1)
        # timm's network without its last layers
        missing, _ = net.encoder.model.load_state_dict(backbone.net.state_dict(), strict=False)
        if missing:
            raise ValueError(f"{kind.__name__} lacks weights of {name}: {missing[:3]}")
        return net

    def matched(net, x: Tensor, masks: Tensor, classes: Tensor) -> Tensor:
        return net(pixel_values=x, mask_labels=list((masks > 0.5).float()),
                   class_labels=list(classes)).loss.sum()

    body = transformers.TimmBackboneConfig(
        backbone=name, out_indices=[1, 2, 3, 4], use_pretrained_backbone=False)
    whole = transformers.MaskFormerForInstanceSegmentation(
        transformers.MaskFormerConfig(backbone_config=body, num_labels=classes))
    return {"transformers MaskFormer": (whole, matched),
            "smp FPN": (universal(smp.FPN), binary), "smp U-Net": (universal(smp.Unet), binary)}


def _cams(run: Run, samples: list[Sample]) -> Calls:
    head, size = run.context.classifier(), run.settings.backbone.image_size
    network = cams.Network(run.backbone, head.to(run.device))
    ids, parts = [s.id for s in samples], range(0, len(samples), CAM_BATCH)

    def heatmaps(maps: Iterable[Tensor]) -> Tensor:  # as those of the library: scaled, 0 to 1
        coarse = torch.cat([cams.grad_cam(m, head.cpu(), cams.top1) for m in maps])
        return cams.min_max(cams.upsample(coarse, size))

    def cached() -> Tensor:
        return heatmaps(run.features.batch("final", ids[k : k + CAM_BATCH]) for k in parts)

    def photos_of(k: int, n: int) -> Tensor:
        return torch.stack([photo_tensor(load_photo(s.photo), size) for s in samples[k : k + n]]
                           ).to(run.device)

    def whole() -> Tensor:
        return heatmaps(run.backbone(photos_of(k, CAM_BATCH))["final"].cpu() for k in parts)

    def library(n: int) -> Tensor:
        head.to(run.device)
        return torch.cat([cams.library_cam("gradcam", network, run.backbone.last_layer,
                                           photos_of(k, n), cams.top1).cpu()
                          for k in range(0, len(samples), n)])

    calls = {f"{OURS}, from the cache": cached, f"{OURS}, from the photos": whole,
             "pytorch-grad-cam, one by one": partial(library, 1),
             f"pytorch-grad-cam, batches of {CAM_BATCH}": partial(library, CAM_BATCH)}
    first, *others = (cams.min_max(call()) for call in calls.values())
    for what, soft in zip([*calls][1:], others, strict=True):
        if (largest := (soft - first).abs().max().item()) > 0.02:  # the cache is float16
            raise ValueError(f"{what} gives other maps than {[*calls][0]}: up to {largest:.3f}")
    return calls


def untrained(run: Run) -> Predictor:
    """The run's model before it has learnt, which takes as long as afterwards."""
    classes, s = run.pets.classes(run.settings.labels[0]), run.settings.backbone
    model, *_ = prepare(run.features, len(classes), run.settings, run.device)
    return Predictor(model.eval(), classes, s.backbone, s.image_size,
                     run.settings.inference.predict_mirror)


def predictions(run: Run, samples: list[Sample]) -> Calls:
    predictor, photos = untrained(run), [load_photo(s.photo) for s in samples]

    def one_by_one() -> list[np.ndarray]:
        return [predict_photo(predictor, photo, run.backbone).mask(photo.height, photo.width)
                for photo in photos]

    def in_batches() -> list[np.ndarray]:
        parts = (photos[k : k + PREDICTED] for k in range(0, len(photos), PREDICTED))
        return [one.mask(photo.height, photo.width) for part in parts for one, photo in
                zip(predict_photos(predictor, part, run.backbone), part, strict=True)]

    return {f"{OURS}, one by one": one_by_one, f"{OURS}, batches of {PREDICTED}": in_batches}


def _stages(run: Run, samples: list[Sample]) -> Calls:
    ids, rounds = [s.id for s in samples], round_settings(run.settings)
    context, predictor = run.context, untrained(run)
    trimaps = [load_trimap(s.trimap, s.photo) for s in samples]
    masks, calls = [trimap == TRIMAP_FOREGROUND for trimap in trimaps], {}

    @torch.no_grad()
    def over(refine: Pipeline, soft: Callable[[Batch], Tensor]) -> None:
        for batch in context.batches(ids, BATCH):
            refine(soft(batch), batch)

    def predicted(batch: Batch) -> Tensor:
        predictions = predict_features(predictor, run.features, batch.ids)
        return torch.stack([torch.from_numpy(one.soft) for _, one in predictions])

    @torch.no_grad()
    def masked(source: Source) -> list[Tensor]:
        return [source.refined(batch) for batch in context.batches(ids, source.batch_size)]

    more = [name for name in SOURCES if source_class(name).self_trained]
    sources = {name: run.fitted_source(name) for name in dict.fromkeys([
        *run.settings.sources, *more]) if not source_class(name).reads_trimaps}
    calls |= {f"soft masks, {name}": partial(masked, of) for name, of in sources.items()}
    seen = sources[more[0]]
    for step in STEPS:
        calls[f"refinement, {step}"] = partial(over, Pipeline((step,), context, seen), seen.view)
    pipeline = Pipeline(rounds.self_training.round_refinement, context.replace(rounds))
    calls["self-training, masks of a round"] = partial(over, pipeline, predicted)
    calls["self-training, an epoch of a round"] = epoch_on(
        run.features, run, exact_targets(run, samples), rounds)
    calls["metrics"] = lambda: list(map(against_ground_truth, masks, trimaps))
    return calls


def _start(run: Run, samples: list[Sample]) -> Calls:
    source, labels = run.settings.sources[0], run.settings.labels[0]
    model = run.model(source, labels)  # trained if it is missing

    def python(*words: str) -> None:
        subprocess.run([sys.executable, *words], check=True, capture_output=True)

    def predict(n: int) -> None:
        with tempfile.TemporaryDirectory() as out:
            python("-m", "petweak", "predict", *(str(s.photo) for s in samples[:n]), "--model",
                   str(model), "--out", out)

    return {"import petweak": partial(python, "-c", "import petweak"),
            "petweak --help": partial(python, "-m", "petweak", "--help"),
            "petweak predict, 1 photo": partial(predict, 1),
            "petweak predict, 16 photos": partial(predict, 16)}


PARTS = {"epoch": _epoch, "cams": _cams, "predict": predictions, "stages": _stages, "start": _start}
