"""Train a student on cached features and a source's masks; stop and go on at any epoch.

Everything random in an epoch follows from (seed, epoch), and the checkpoint holds the rest, so a
run that was killed ends with the same tensors as one that was not.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm.auto import tqdm

from petweak.config import Settings, to_dict
from petweak.features import Features
from petweak.files import read_json, replacing, write_csv, write_json
from petweak.maskformer.loss import set_loss
from petweak.maskformer.model import MaskFormer, MaskFormerConfig, foreground
from petweak.maskformer.targets import Targets

HISTORY = ("epoch", "loss", "class", "mask", "dice", "val_mask_iou", "lr", "seconds")
FILES = ("model.safetensors", "config.json", "history.csv")
CARD = "README.md"  # beside them, by petweak.cards, when the student has been scored


def is_trained(folder: Path, key: str) -> bool:
    """Whether `folder` holds a finished student that was trained with `key`."""
    config = read_json(folder / "config.json")
    here = all((folder / name).is_file() for name in FILES)
    return here and config is not None and config["key"] == key


def publish(student: Path, folder: Path, key: str) -> None:
    """Copy a finished student to another folder, under another key."""
    _retire(folder)
    for name in FILES[:1] + FILES[2:]:
        with replacing(folder / name) as beside:
            shutil.copyfile(student / name, beside)
    shutil.rmtree(folder / "epochs", ignore_errors=True)
    if (student / "epochs").is_dir():
        shutil.copytree(student / "epochs", folder / "epochs")
    write_json(folder / "config.json", read_json(student / "config.json") | {"key": key})


def _retire(folder: Path) -> None:
    """No model, while the files disagree, and no card of the one before."""
    for name in ("config.json", CARD):
        (folder / name).unlink(missing_ok=True)


def train_student(
    features: Features,
    train: Targets,
    val: Targets,
    classes: tuple[str, ...],
    settings: Settings,
    folder: Path,
    key: str,
    device: torch.device,
    about: dict[str, str],
) -> None:
    """Train on `train`, keep the epoch that is best on `val` (against the source's own masks; the
    last epoch where `val` has no photo), and write `model.safetensors`, `history.csv` and
    `config.json` into `folder`.

    Raises FloatingPointError with the photos' ids where a loss is not finite.
    """
    torch.manual_seed(settings.seed)
    config = MaskFormerConfig(
        num_classes=len(classes),
        in_channels=tuple(features.map(tap).shape[2] for tap in settings.taps),
        taps=settings.taps,
        decoder_channels=settings.decoder_channels,
        queries=settings.queries,
        dropout=0.0 if settings.taps == ("last",) else settings.plus_dropout,
    )
    model = MaskFormer(config).to(device)
    mixed = mixed_precision(settings, device)
    if mixed is torch.bfloat16:  # whose convolutions are faster with the channels last
        model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
    )
    scaler = torch.amp.GradScaler(device.type, enabled=mixed is torch.float16)
    checkpoint = folder / "checkpoint.safetensors"
    history, best = _resume(checkpoint, key, model, optimizer, scaler)
    if not history:
        shutil.rmtree(folder / "epochs", ignore_errors=True)  # of a training that is no more
    steps = math.ceil(len(train.ids) / settings.batch_size)

    name = "-".join(about.values())
    epochs = tqdm(
        range(len(history), settings.epochs),
        desc=f"train {name}",
        unit="epoch",
        total=settings.epochs,
        initial=len(history),
    )
    for epoch in epochs:
        start = time.perf_counter()
        generator = torch.Generator().manual_seed(settings.seed * 100_003 + epoch)
        torch.manual_seed(settings.seed * 100_003 + epoch)  # dropout
        order = torch.randperm(len(train.ids), generator=generator)
        sums: dict[str, float] = {}
        model.train()
        for step, rows in enumerate(order.split(settings.batch_size)):
            lr = learning_rate((epoch * steps + step) / (settings.epochs * steps), settings)
            for group in optimizer.param_groups:
                group["lr"] = lr
            mirror = torch.rand(len(rows), generator=generator) < 0.5
            terms = _step(model, features, train, rows, mirror, settings, optimizer, scaler, device)
            for term, value in terms.items():
                sums[term] = sums.get(term, 0.0) + value * len(rows) / len(train.ids)
        iou = val_mask_iou(model, features, val, settings, device) if val.ids else 0.0
        history.append(
            {
                "epoch": epoch + 1,
                "loss": sum(sums.values()),
                **sums,
                "val_mask_iou": iou,
                "lr": lr,
                "seconds": time.perf_counter() - start,
            }
        )
        if not val.ids or iou >= max(row["val_mask_iou"] for row in history):
            best = {k: v.detach().cpu().clone(memory_format=torch.contiguous_format)
                    for k, v in model.state_dict().items()}  # fmt: skip
        if settings.save_epochs:
            _save_epoch(folder, epoch + 1, model)
        _save(checkpoint, key, model, optimizer, scaler, best, history)
        epochs.set_postfix(loss=f"{history[-1]['loss']:.3f}", val=f"{iou:.3f}")

    _retire(folder)
    with replacing(folder / "model.safetensors") as beside:
        save_file(best, beside)
    rounded = [{k: round(v, 6) for k, v in row.items()} for row in history]
    write_csv(folder / "history.csv", HISTORY, rounded)
    best_row = max(history, key=lambda row: (row["val_mask_iou"], row["epoch"]))
    write_json(
        folder / "config.json",
        {
            "key": key,
            **about,
            "classes": list(classes),
            "best_epoch": best_row["epoch"],
            "val_mask_iou": best_row["val_mask_iou"],
            "photos": len(train.ids),
            "seconds": round(sum(row["seconds"] for row in history), 3),
            "model": vars(config),
            "settings": to_dict(settings),
        },
    )
    checkpoint.unlink()


def saved_epochs(folder: Path) -> dict[int, Path]:
    """{epoch: its weights}, from 1, of a student that was trained with `save_epochs`: what training
    looked like. `model.safetensors` is the one that was kept."""
    return {int(p.stem): p for p in sorted((folder / "epochs").glob("*.safetensors"))}


def _save_epoch(folder: Path, epoch: int, model: MaskFormer) -> None:
    """`epochs/<NN>.safetensors`, in half precision: to be looked at, not to be trained on."""
    tensors = {k: v.half().cpu().contiguous() for k, v in model.state_dict().items()}
    with replacing(folder / "epochs" / f"{epoch:02d}.safetensors") as beside:
        save_file(tensors, beside)


def learning_rate(progress: float, settings: Settings) -> float:
    """At `progress` in [0, 1] of training: a warm-up over the first tenth, then half a cosine.

    `onecycle` warms up from lr / 25 (Smith & Topin 2018), `cosine` starts at lr.
    """
    warm = 0.1 if settings.schedule == "onecycle" else 0.0
    if progress < warm:
        return settings.lr * (1 / 25 + (1 - 1 / 25) * progress / warm)
    return settings.lr * 0.5 * (1 + math.cos(math.pi * (progress - warm) / (1 - warm)))


@torch.inference_mode()
def val_mask_iou(
    model: MaskFormer, features: Features, val: Targets, settings: Settings, device: torch.device
) -> float:
    """Mean IoU of the student's masks with the source's, on the training grid; sure pixels only."""
    model.eval()
    ious = []
    for rows in torch.arange(len(val.ids)).split(settings.batch_size):
        ids = [val.ids[r] for r in rows]
        out = model([features.batch(tap, ids).to(device) for tap in settings.taps])
        _, masks, valid = val.batch(rows, torch.zeros(len(rows), dtype=torch.bool))
        found, wanted = foreground(out).cpu() > 0.5, masks[:, 0] > 0.5
        keep = valid > 0
        union = ((found | wanted) & keep).sum((1, 2))
        overlap = (found & wanted & keep).sum((1, 2))
        ious.append(torch.where(union > 0, overlap / union.clamp(min=1), 1.0))
    return torch.cat(ious).mean().item()


def mixed_precision(settings: Settings, device: torch.device) -> torch.dtype | None:
    """The type that convolutions and products are computed in; None is float32, like the rest."""
    if settings.precision == "auto":
        return torch.float16 if device.type == "cuda" else None
    return torch.bfloat16 if settings.precision == "bfloat16" else None


def _step(model, features, train, rows, mirror, settings, optimizer, scaler, device):
    """One step of the optimizer; returns the loss terms as numbers."""
    ids = [train.ids[r] for r in rows]
    maps = [features.batch(tap, ids, mirror.numpy()).to(device) for tap in settings.taps]
    classes, masks, valid = (t.to(device) for t in train.batch(rows, mirror))
    weights = (settings.class_weight, settings.mask_weight, settings.dice_weight)
    mixed = mixed_precision(settings, device)
    with torch.autocast(device.type, mixed, enabled=mixed is not None):
        out = model(maps)
    terms = set_loss(out, classes, masks, valid, weights, settings.no_object_weight)
    loss = sum(terms.values())
    if not torch.isfinite(loss):
        raise FloatingPointError(
            f"the loss is {loss.item()} (terms { {k: v.item() for k, v in terms.items()} }) on the "
            f"photos {', '.join(ids)}. Lower lr ({settings.lr}) or look at these photos' masks."
        )
    optimizer.zero_grad(set_to_none=True)
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
    scaler.step(optimizer)
    scaler.update()
    return {k: v.item() for k, v in terms.items()}


def _save(path: Path, key: str, model, optimizer, scaler, best: dict, history: list) -> None:
    """One file: the model, the best model so far, AdamW's moments; the history, and the scale of
    mixed precision where there is one, as metadata."""
    tensors = {f"model.{k}": v.contiguous() for k, v in model.state_dict().items()}
    tensors |= {f"best.{k}": v for k, v in best.items()}
    for i, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{k}": v.contiguous() for k, v in state.items()}
    with replacing(path) as beside:
        about = {"history": history, "scaler": scaler.state_dict()}
        save_file(tensors, beside, {"key": key} | {k: json.dumps(v) for k, v in about.items()})


def _resume(path: Path, key: str, model, optimizer, scaler) -> tuple[list, dict | None]:
    """Load what `_save` wrote with the same key; otherwise start: ([], None)."""
    if not path.is_file():
        return [], None
    with safe_open(path, "pt") as file:
        if file.metadata()["key"] != key:
            return [], None
        parts: dict[str, dict] = {"model": {}, "best": {}, "optimizer": {}}
        for name in file.keys():  # noqa: SIM118 - not a dict
            part, rest = name.split(".", 1)
            parts[part][rest] = file.get_tensor(name)
        history = json.loads(file.metadata()["history"])
        scale = json.loads(file.metadata().get("scaler", "{}"))
    model.load_state_dict(parts["model"])
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        i, k = name.split(".")
        moments.setdefault(int(i), {})[k] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    if scale and scaler.is_enabled():
        scaler.load_state_dict(scale)
    return history, parts["best"]
