"""Train a MaskFormer on cached features and a source's masks; stop and resume at any epoch.

Everything random in an epoch follows from (seed, epoch), and the checkpoint has the rest, so a
run that was killed ends with the same tensors as one that was not. Several processes share each
step: all have the same model, and the gradients of their parts of the batch are added up.
"""

import json
import logging
import math
import shutil
import time
import zlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor
from tqdm.auto import tqdm

from petweak.config import Settings
from petweak.data import distributed, files
from petweak.data.feature_cache import Features
from petweak.models.maskformer import MaskFormer, MaskFormerConfig
from petweak.pseudo_masks.selection import agreement
from petweak.training.targets import Targets

log = logging.getLogger(__name__)
HISTORY = ["epoch", "loss", "class", "mask", "dice", "val_mask_iou", "lr", "seconds"]
CONFIG, WEIGHTS, CHECKPOINT = "config.json", "model.safetensors", "checkpoint.safetensors"
FILES = (WEIGHTS, "history.csv")
CARD = "README.md"  # beside them, by petweak.reporting.cards


def is_trained(folder: Path, key: str, save_epochs: bool = False) -> bool:
    """Whether `folder` has a finished model that was trained with `key`, whose files are as they
    were written; with `save_epochs`, and its epochs, too."""
    config = files.read_json(folder / CONFIG)
    if config is None or config.get("key") != key:
        return False
    wrote = config.get("files", {})
    return (all(files.is_as_written(folder / name, wrote.get(name, "")) for name in FILES)
            and (not save_epochs or len(saved_epochs(folder)) == config["epochs"]))


def is_single_round(config: dict[str, Any]) -> bool:
    """Whether a config is of one round of self-training, and not of what the rounds came to."""
    return config.get("round") is not None and not config.get("published", False)


def finished_models(run_folder: str | Path, rounds: bool = True) -> dict[Path, dict[str, Any]]:
    """{folder: config} of the models of a run, but for those of an older version of petweak;
    `rounds`: of single rounds of self-training, too."""
    there = sorted(Path(run_folder).glob("models/*/config.json"))
    configs = {f.parent: c for f in there if "levels" in (c := files.read_json(f)).get("model", {})}
    return {f: c for f, c in configs.items() if rounds or not is_single_round(c)}


def publish(model: Path, folder: Path, key: str) -> dict[str, Any]:
    """Copy a finished model to another folder, under another key; returns its config."""
    _retire(folder)
    for name in FILES:
        with files.replacing(folder / name) as beside:
            shutil.copyfile(model / name, beside)
    shutil.rmtree(folder / "epochs", ignore_errors=True)
    if (model / "epochs").is_dir():
        shutil.copytree(model / "epochs", folder / "epochs")
    config = files.read_json(model / CONFIG) | {"key": key, "published": True}
    files.write_json(folder / CONFIG, config)
    return config


def _retire(folder: Path) -> None:
    """No model while its files disagree, and no card of the one before, unless a user wrote it."""
    (folder / CONFIG).unlink(missing_ok=True)
    if files.is_signed(folder / CARD):
        (folder / CARD).unlink()


def train_model(features: Features, train: Targets, val: Targets, classes: tuple[str, ...],
                settings: Settings, folder: Path, key: str, device: torch.device,
                about: dict[str, Any],
                build: Callable[[MaskFormerConfig], Any] = MaskFormer) -> dict[str, Any]:
    """Train on `train`, keep the epoch that is best on `val` (by IoU with the source's masks; the
    last epoch where `val` has no photo), and write `model.safetensors`, `history.csv` and
    `config.json` with `about` into `folder`. Returns the config. FloatingPointError with the
    photos' ids where a loss is not finite. `build` makes the network of what the settings say of
    it: a MaskFormer, or a module with its `forward`, `config`, `loss` and `read`, which the first
    of several processes trains alone: its loss may be no mean over photos."""
    parts = (features, train, val, len(classes), settings, folder, key, device, build, about)
    model, history, best = (distributed.together(_epochs, *parts) if build is MaskFormer
                            else _epochs(*parts))
    _retire(folder)
    with files.replacing(folder / WEIGHTS) as beside:
        beside.write_bytes(save(best))
    files.write_frame(folder / "history.csv", pd.DataFrame(history, columns=HISTORY).round(6))
    kept = max(history, key=lambda row: (row["val_mask_iou"] or 0.0, row["epoch"]))
    done = {"key": key, **about, "classes": list(classes), "best_epoch": kept["epoch"],
            "val_mask_iou": kept["val_mask_iou"], "n_images": len(train.ids),
            "epochs": len(history), "seconds": round(sum(row["seconds"] for row in history), 3),
            "model": vars(model.config), "settings": settings.to_dict(),
            # no reader of the files sees that a tensor has changed
            "files": {name: files.file_hash(folder / name) for name in FILES}}
    files.write_json(folder / CONFIG, done)
    (folder / CHECKPOINT).unlink()
    return done


def _epochs(features: Features, train: Targets, val: Targets, classes: int, settings: Settings,
            folder: Path, key: str, device: torch.device, build: Callable, about: dict[str, Any]
            ) -> tuple[Any, list[dict], dict[str, Tensor]]:
    """The epochs that are missing: the model, the history, and the tensors of the best epoch. The
    first process alone writes. OSError where they do not begin alike."""
    s, seed, rank = settings.training, settings.data.seed, distributed.share()[0]
    torch.manual_seed(seed)
    model, optimizer, scaler = prepare(features, classes, settings, device, build)
    checkpoint = folder / CHECKPOINT
    history, best = _resume(checkpoint, key, model, optimizer, scaler, settings.system.save_epochs)
    begins = (len(history), _crc32(model.state_dict(), {}))
    if len(set(distributed.gathered(begins))) > 1:
        raise OSError(f"the processes do not begin alike: do all machines see {folder}, and have "
                      "they the same packages?")
    if not history and not rank:
        shutil.rmtree(folder / "epochs", ignore_errors=True)  # of an earlier training
    steps = math.ceil(len(train.ids) / s.batch_size)
    name = "-".join(str(v) for v in about.values() if v not in ("", None))
    bar = tqdm(range(len(history), s.epochs), f"train {name}", s.epochs, unit="epoch",
               initial=len(history), **distributed.quiet())
    for epoch in bar:
        start = time.perf_counter()
        generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
        apart = 0 if device.type == "cpu" else rank << 32  # see distributed.note
        torch.manual_seed(seed * 100_003 + epoch + apart)  # dropout
        order = torch.randperm(len(train.ids), generator=generator)
        model.train()
        taken = []
        for step, rows in enumerate(order.split(s.batch_size), epoch * steps):
            lr = learning_rate(step / (s.epochs * steps), settings)
            optimizer.param_groups[0]["lr"] = lr
            mirror = torch.rand(len(rows), generator=generator) < 0.5
            terms = train_step(model, features, train, rows, mirror, settings, optimizer, scaler)
            taken.append((rows, terms))
        sums = epoch_terms(taken, train.ids, s.lr)
        iou = val_mask_iou(model, features, val, s.batch_size) if val.ids else None
        seconds = time.perf_counter() - start
        row = {"epoch": epoch + 1, "loss": sum(sums.values()), **sums, "val_mask_iou": iou}
        history.append(row | {"lr": lr, "seconds": seconds})
        if iou is None or iou >= max(row["val_mask_iou"] for row in history):
            best = {k: v.cpu().clone(memory_format=torch.contiguous_format)
                    for k, v in model.state_dict().items()}
        if rank:
            continue
        if settings.system.save_epochs:  # in half precision: to be looked at, not to be trained on
            half = {k: v.half().cpu().contiguous() for k, v in model.state_dict().items()}
            with files.replacing(folder / "epochs" / f"{epoch + 1:02d}.safetensors") as beside:
                beside.write_bytes(save(half))
        _save(checkpoint, key, model, optimizer, scaler, best, history)
        bar.set_postfix(loss=f"{history[-1]['loss']:.3f}", val=iou)
    return model, history, best


def saved_epochs(folder: Path) -> dict[int, Path]:
    """{epoch: its weights}, from 1, of a model that was trained with `save_epochs`."""
    return {int(p.stem): p for p in sorted((folder / "epochs").glob("*.safetensors"))
            if files.is_whole(p)}


def learning_rate(progress: float, settings: Settings) -> float:
    """At `progress` in [0, 1] of training: half a cosine, in `onecycle` (Smith & Topin 2018) after
    a linear warm-up from lr / 25 over the first tenth. PyTorch's OneCycleLR has one shape for both
    parts, and a state to save; this one goes on anywhere, as it depends on the step alone."""
    lr, warm = settings.training.lr, 0.1 if settings.training.schedule == "onecycle" else 0.0
    if progress < warm:
        return lr * (1 / 25 + (1 - 1 / 25) * progress / warm)
    return lr * 0.5 * (1 + math.cos(math.pi * (progress - warm) / (1 - warm)))


@torch.inference_mode()
def val_mask_iou(model: MaskFormer, features: Features, val: Targets, batch_size: int) -> float:
    """Mean IoU of the predictions with the source's masks, on the training grid, without the ignore
    region. Several processes share the batches."""
    model.eval()
    ious, (rank, n) = torch.zeros(len(val.ids)), distributed.share()
    for rows in torch.arange(len(val.ids)).split(batch_size)[rank::n]:
        output = model(cached_maps(model, features, [val.ids[r] for r in rows]))
        _, masks, valid = val.batch(rows, torch.zeros(len(rows), dtype=torch.bool))
        keep = valid > 0
        predicted = model.read(output)[0].cpu() > 0.5
        ious[rows] = agreement(predicted & keep, (masks[:, 0] > 0.5) & keep)
    return distributed.total(ious).mean().item()


def mixed_precision(settings: Settings, device: torch.device) -> torch.dtype | None:
    """The type that convolutions and products are computed in; None is float32, like the rest."""
    if settings.training.precision == "auto" and device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if settings.training.precision == "bfloat16" else None


def cached_maps(model: MaskFormer, features: Features, ids: list[str],
                mirror: Any = False) -> list[Tensor]:
    """The model's input (B, C, h, w) of each level, on its device; it travels there as float16."""
    device = next(model.parameters()).device
    return [moved(features.half(k, ids, mirror), device).float() for k in model.config.levels]


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """On the device; a GPU copies it from memory of its own while the program goes on."""
    cuda = device.type == "cuda"
    return (tensor.pin_memory() if cuda else tensor).to(device, non_blocking=cuda)


def prepare(features: Features, classes: int, settings: Settings, device: torch.device,
            build: Callable[[MaskFormerConfig], Any] = MaskFormer
            ) -> tuple[Any, torch.optim.Optimizer, torch.amp.GradScaler]:
    """A new model of `classes` for these features, its optimizer, and the scaler of its gradients,
    which float16 alone needs."""
    s, m = settings.training, settings.model
    channels = tuple(features.map(level).shape[2] for level in m.levels)
    dropout = 0.0 if m.levels == ("final",) else m.channel_dropout
    config = MaskFormerConfig(classes, channels, **vars(m) | {"channel_dropout": dropout})
    model, precision = build(config).to(device), mixed_precision(settings, device)
    if precision is torch.bfloat16:  # its convolutions are faster with the channels last
        model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(  # the fused one skips an overflow of float16 without a wait
        model.parameters(), s.lr, weight_decay=s.weight_decay, fused=device.type == "cuda" or None)
    scaler = torch.amp.GradScaler(device.type, enabled=precision is torch.float16)
    return model, optimizer, scaler


def train_step(model: Any, features: Features, train: Targets, rows: Tensor, mirror: Tensor,
               settings: Settings, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler
               ) -> dict[str, Tensor]:
    """One step of the optimizer on these rows of `train`, mirrored where `mirror` (B,) is true;
    returns the terms of the loss, on the device: no step waits for a GPU. Every photo has one
    object, so each term is a mean over photos, and the sum of weighted means of its parts."""
    s, device = settings.training, next(model.parameters()).device
    part, weight = distributed.part(len(rows))
    maps = cached_maps(model, features, [train.ids[r] for r in rows[part]], mirror[part].numpy())
    classes, masks, valid = (moved(t, device) for t in train.batch(rows[part], mirror[part]))
    precision = mixed_precision(settings, device)
    with (distributed.as_one(len(rows), part),
          torch.autocast(device.type, precision, enabled=precision is not None)):
        output = model(maps)
    weights = (s.class_weight, s.mask_weight, s.dice_weight)
    terms = model.loss(output, classes, masks, valid, weights, s.no_object_weight)
    loss = sum(terms.values()) * weight
    means = distributed.total(torch.stack([*terms.values()]).detach() * weight)
    optimizer.zero_grad(set_to_none=True)
    scaler.scale(loss).backward()
    distributed.add_gradients(model)
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), s.clip)
    scaler.step(optimizer)
    scaler.update()
    return dict(zip(terms, means, strict=True))


def epoch_terms(taken: list[tuple[Tensor, dict[str, Tensor]]], ids: list[str], lr: float
                ) -> dict[str, float]:
    """The terms of the loss, means over the photos of an epoch: of the rows and terms of its steps,
    read at once. FloatingPointError where those of a step are not finite, with its photos."""
    sums = dict.fromkeys(taken[0][1], 0.0)
    steps = torch.stack([torch.stack([*terms.values()]) for _, terms in taken]).tolist()
    for (rows, _), values in zip(taken, steps, strict=True):
        if not math.isfinite(total := sum(values)):
            raise FloatingPointError(
                f"the loss is {total} (terms {dict(zip(sums, values, strict=True))}) on the photos "
                f"{', '.join(ids[r] for r in rows)}. Lower lr ({lr}) or look at their masks.")
        for term, value in zip(sums, values, strict=True):
            sums[term] += value * len(rows) / len(ids)
    return sums


def _save(path: Path, key: str, model, optimizer, scaler, best: dict, history: list) -> None:
    """One file: the model, the best model so far, AdamW's moments; the history, and the scale of
    mixed precision, as metadata."""
    parts = {"model": model.state_dict(), "best": best}
    parts |= {str(i): state for i, state in optimizer.state_dict()["state"].items()}
    tensors = {f"{part}.{k}": v.contiguous() for part, of in parts.items() for k, v in of.items()}
    about = {"key": key, "history": json.dumps(history), "scaler": json.dumps(scaler.state_dict())}
    about["crc32"] = _crc32(tensors, about)
    with files.replacing(path) as beside:  # `save_file` would leave a file of its own after a kill
        beside.write_bytes(save(tensors, about))


def _crc32(tensors: dict[str, Tensor], about: dict[str, str]) -> str:
    """Of all that is in a checkpoint, as no hash of it stands elsewhere."""
    crc = zlib.crc32(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        content = tensors[name].cpu().reshape(-1).view(torch.uint8).numpy()
        crc = zlib.crc32(content, zlib.crc32(name.encode(), crc))
    return f"{crc:08x}"


def _resume(path: Path, key: str, model, optimizer, scaler, save_epochs: bool) -> tuple[list, dict]:
    """Load what `_save` wrote with the same key; otherwise, and where an epoch that has to be saved
    was not, start: ([], {})."""
    if not files.is_whole(path):
        return [], {}
    with safe_open(path, "pt") as file:
        about = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
    if about.pop("crc32", "") != _crc32(tensors, about):
        log.warning("%s is damaged; it counts as missing", path)
        return [], {}
    epochs = len(json.loads(about["history"]))
    if about["key"] != key or save_epochs and len(saved_epochs(path.parent)) < epochs:
        return [], {}
    parts: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in tensors.items():
        part, rest = name.split(".", 1)
        parts[part][rest] = tensor
    model.load_state_dict(parts.pop("model"))
    best, state = parts.pop("best"), optimizer.state_dict()
    optimizer.load_state_dict(state | {"state": {int(i): of for i, of in parts.items()}})
    scale = json.loads(about["scaler"])
    if scale and scaler.is_enabled():
        scaler.load_state_dict(scale)
    return json.loads(about["history"]), best
