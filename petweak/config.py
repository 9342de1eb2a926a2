"""The settings of a study, and the profiles: named defaults, every one of which can be overridden.

A profile changes numbers, never the code that runs. `settings("photos", epochs=3)` is the way in;
`--set key=value` on the command line and papermill's `-p key value` end in the same function.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field, fields
from typing import Any, get_type_hints

# The frozen maps of every backbone, see petweak.backbones: pixels from one cell to the next.
STRIDES = {"last": 32, "before": 32, "stride16": 16, "stride8": 8}
TAPS = tuple(STRIDES)


def _one_of(default: str, *known: str) -> Any:
    """A text field with a closed list of values, which `Settings` checks."""
    return field(default=default, metadata={"known": known})


@dataclass(frozen=True)
class Settings:
    """Every value that a result can depend on. The defaults are those of `photos`."""

    profile: str = "photos"
    sources: tuple[str, ...] = (
        "ground_truth",
        "mask_rcnn",
        "gradcam_pretrained",
        "gradcam_finetuned",
    )
    labels: tuple[str, ...] = ("breed", "species")
    seed: int = 0
    leave_out: str = ""  # a breed that nothing is learnt from: its photos are a split `left_out`
    val_fraction: float = 0.1  # of train, breed by breed: for thresholds of CAMs, and epochs; with
    # 0 students learn from all of train, and their last epoch is kept

    # the frozen backbone
    backbone: str = "efficientnet_lite0"
    image_size: int = 320  # pixels; a photo is resized to image_size x image_size, whole
    scales: tuple[float, ...] = (1.0,)  # of the pass; further ones cost one more pass each
    store: tuple[str, ...] = TAPS  # the taps that the pass writes
    engine: str = _one_of("auto", "auto", "eager", "onnxruntime")
    pass_batch: int = 8  # photos in one batch of the pass; each goes through twice

    # pseudo-masks
    detector: str = _one_of("auto", "auto", "v1", "v2", "compact")  # auto: v1 if in TORCH_HOME
    score_threshold: float = 0.5  # of a detection
    mask_threshold: float = 0.5  # of a detection's soft mask
    cam: str = "gradcam"  # or any method of pytorch-grad-cam, by name
    cam_target: str = _one_of("pets", "pets", "top1")  # top1 is the paper's
    cam_mirror: bool = True  # average the map of the photo with that of its mirror image
    threshold: str = "val"  # of a CAM: a number (the paper's way), otsu, or chosen on val
    finetune_labels: str = _one_of("breed", "breed", "species")
    finetune_epochs: int = 20
    finetune_lr: float = 1e-3
    refine: tuple[str, ...] = ()  # refiners one after the other, a chain's name, or auto
    refine_scales: tuple[float, ...] = (0.5, 0.75, 1.0, 1.25, 1.5)  # of the refiner multiscale
    fuse: tuple[str, ...] = ("before", "stride16")  # what the refiner fusion adds to the last map
    vote: tuple[str, ...] = ("affinity", "colour", "affinity_colour")  # of the refiner vote
    walk_taps: tuple[str, ...] = ("stride16", "stride8")
    walk_beta: float = 8.0  # IRN has 10
    walk_steps: int = 128  # IRN has 256
    grabcut_iterations: int = 5
    choose_by: tuple[str, ...] = ("agreement", "mirror", "scale", "area", "otsu")  # see signals
    panel: int = 4  # how many of the best chains refine=auto has vote
    unsure: tuple[float, ...] = ()  # two probabilities: what lies between is left out of training
    external_masks: str = ""  # the folder of PNGs that the source `external` reads

    # the student
    # in training: of true masks and, with pet, of the masks of self-training's last round
    border: str = _one_of("pet", "pet", "ignore", "background")
    taps: tuple[str, ...] = ("last",)  # `last` alone is the paper's model, more is petweak+
    plus_dropout: float = 0.1  # share of the frozen channels that petweak+ leaves out in training
    decoder_channels: int = 64
    queries: int = 2  # one for the pet, one to spare: more share the photos out among them
    epochs: int = 10
    batch_size: int = 16
    lr: float = 5e-4
    weight_decay: float = 0.01
    schedule: str = _one_of("onecycle", "onecycle", "cosine")
    clip: float = 1.0  # the largest norm of a gradient
    class_weight: float = 2.0
    mask_weight: float = 5.0
    dice_weight: float = 5.0
    no_object_weight: float = 0.1
    save_epochs: bool = True  # keep the weights of every epoch, for the explorer of notebook 07
    predict_mirror: bool = True  # average the answers for the photo and its mirror image

    # self-training
    rounds: int = 5  # at most
    round_epochs: int = 8  # of every round but the last
    last_epochs: int = 20
    keep: tuple[float, ...] = (0.5, 0.7, 0.8, 1.0)  # of train, round by round; the last one's last
    settled: float = 0.975  # the next round is the last when two rounds' masks agree by this IoU
    # PAMR ends a mask where the photo has an edge, the walk spreads it over what looks alike
    round_refine: tuple[str, ...] = ("pamr", "walk")
    round_walk_steps: int = 32
    # with border=pet the last masks take in what a student gives more than this: 0.05 is IRN's, and
    # with 0.5 they take in nothing
    sure_background: float = 0.05
    selftrain_taps: tuple[str, ...] = TAPS  # petweak+: the student's eyes have to be good

    # everything else
    bootstrap: int = 1000  # resamples behind an interval
    device: str = "auto"  # auto, cpu, cuda, cuda:1, mps
    precision: str = _one_of("auto", "auto", "float32", "bfloat16")  # of training; auto is mixed
    # precision with float16 on CUDA and float32 elsewhere, bfloat16 is fast where the CPU has it
    workers: int = 0  # processes that decode photos; 0 decodes in this one

    def __post_init__(self) -> None:
        for f in fields(self):
            value, known = getattr(self, f.name), f.metadata.get("known")
            if known and value not in known:
                raise ValueError(f"{f.name}={value!r}: known are {', '.join(known)}")
        for name in ("image_size", "queries", "epochs", "batch_size", "pass_batch", "bootstrap",
                     "finetune_epochs", "decoder_channels"):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: has to be at least 1")
        for name in ("seed", "workers", "weight_decay", "class_weight", "mask_weight",
                     "dice_weight", "no_object_weight"):  # fmt: skip
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)}: has to be 0 or more")
        for name in ("lr", "finetune_lr", "clip", "walk_beta"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}={getattr(self, name)}: has to be more than 0")
        for name in ("score_threshold", "mask_threshold", "settled"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)}: has to lie between 0 and 1")
        if self.decoder_channels % 8:
            raise ValueError(
                f"decoder_channels={self.decoder_channels}: has to be a multiple of 8, the heads"
            )
        if unknown := [tap for tap in self.store if tap not in TAPS] or "last" not in self.store:
            raise ValueError(f"store={self.store}: last and any of {', '.join(TAPS)}; {unknown}")
        if not self.taps:
            raise ValueError(f"taps is empty: name some of store={self.store}")
        if not self.sources or not self.labels:
            raise ValueError("sources and labels: name at least one of each")
        if missing := [tap for tap in self.taps if tap not in self.store]:
            raise ValueError(f"taps={self.taps}: {missing} is not in store={self.store}")
        for name in ("taps", "selftrain_taps"):
            if not {"last", "before"} & set(getattr(self, name)):
                raise ValueError(f"{name}: name last or before, where the pixel decoder begins")
        for name in ("rounds", "round_epochs", "last_epochs", "walk_steps", "round_walk_steps",
                     "grabcut_iterations"):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: has to be at least 1")
        if self.panel < 2:
            raise ValueError(f"panel={self.panel}: a vote takes two chains or more")
        if not self.keep or not all(0 < share <= 1 for share in self.keep):
            raise ValueError(f"keep={self.keep}: shares of train, each in (0, 1]")
        low, high = self.unsure if len(self.unsure) == 2 else (0.0, 1.0)
        if len(self.unsure) not in (0, 2) or not 0 <= low < high <= 1:
            raise ValueError(f"unsure={self.unsure}: two probabilities, the lower one first")
        if not self.refine_scales or not all(0 < scale <= 8 for scale in self.refine_scales):
            raise ValueError(f"refine_scales={self.refine_scales}: each between 0 and 8")
        if not 0 < self.sure_background <= 0.5:
            raise ValueError(f"sure_background={self.sure_background}: above 0, at most 0.5")
        for name in ("val_fraction", "plus_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: has to be 0 or more, and below 1")
        if self.image_size % 32:
            raise ValueError(f"image_size={self.image_size}: has to be a multiple of 32")
        if self.scales[:1] != (1.0,) or len(set(self.scales)) < len(self.scales):
            raise ValueError(f"scales={self.scales}: starts with 1.0, each scale once")
        if not all(0 < scale <= 8 for scale in self.scales):
            raise ValueError(f"scales={self.scales}: each has to lie between 0 and 8")
        if self.threshold not in ("otsu", "val"):
            try:
                inside = 0 < float(self.threshold) < 1
            except ValueError:
                inside = False
            if not inside:
                raise ValueError(
                    f"threshold={self.threshold!r}: otsu, val, or a number between 0 and 1"
                )
        if unknown := set(self.labels) - {"breed", "species"}:
            raise ValueError(f"labels: {', '.join(sorted(unknown))} unknown; breed, species")


PROFILES: dict[str, dict[str, Any]] = {
    # Rendered pets: small pictures, a small decoder; the whole study is minutes on a CPU.
    "embedded": dict(
        image_size=192, decoder_channels=32, epochs=8, bootstrap=500,
        refine_scales=(1.0, 1.25), grabcut_iterations=2, panel=3,
        rounds=3, round_epochs=4, last_epochs=8,
        sure_background=0.5,  # rendered borders are thin; found with the true masks in sight
    ),  # fmt: skip
    # A folder in the official layout, on a laptop.
    "photos": dict(),
    # The paper's: all photos, ResNet-50, COCO Mask R-CNN, a GPU.
    "paper": dict(
        backbone="resnet50",
        detector="v1",
        cam_target="top1",
        cam_mirror=False,
        predict_mirror=False,
        save_epochs=False,
        threshold="0.5",
        image_size=512,
        decoder_channels=256,
        queries=100,
        epochs=20,
        workers=8,
        store=("last", "before", "stride16"),  # stride 8 would be 8 MB a photo and view
        selftrain_taps=("last", "before", "stride16"),
        walk_taps=("before", "stride16"),
    ),
}

# Where a profile looks for `oxford-iiit-pet/` unless told otherwise (--data-root).
DATA_ROOTS = {"embedded": "data/rendered", "photos": "data", "paper": "data"}


def settings(profile: str, **overrides: Any) -> Settings:
    """The settings of `profile` with `overrides` on top; text is turned into the field's type.

    Raises ValueError for an unknown profile or key (the message lists the known ones) and for a
    value that cannot be what the field holds.
    """
    if profile not in PROFILES:
        raise ValueError(f"unknown profile {profile!r}: known are {', '.join(PROFILES)}")
    types = get_type_hints(Settings)
    if unknown := sorted(set(overrides) - set(types)):
        raise ValueError(
            f"unknown setting {', '.join(unknown)}: known are {', '.join(sorted(types))}"
        )
    values = PROFILES[profile] | {k: _parse(k, v, types[k]) for k, v in overrides.items()}
    return Settings(**{"profile": profile, **values})


def parse_assignments(pairs: list[str]) -> dict[str, str]:
    """`["epochs=3", "taps=last,before"]` -> `{"epochs": "3", "taps": "last,before"}`."""
    for pair in pairs:
        if "=" not in pair:
            raise ValueError(f"{pair!r}: write key=value, for example epochs=3")
    return dict(pair.split("=", 1) for pair in pairs)


def to_dict(s: Settings) -> dict[str, Any]:
    """The settings as plain values for JSON (tuples become lists)."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(s).items()}


def _parse(key: str, value: Any, kind: Any) -> Any:
    try:
        if kind in (tuple[str, ...], tuple[float, ...]):
            item = kind.__args__[0]
            parts = value.split(",") if isinstance(value, str) else list(value)
            return tuple(item(p.strip() if isinstance(p, str) else p) for p in parts if p != "")
        if kind is bool:
            return {"true": True, "false": False, "1": True, "0": False}[str(value).lower()]
        if kind is int and float(value) != int(float(value)):
            raise ValueError
        return int(float(value)) if kind is int else kind(value)
    except (ValueError, KeyError, TypeError, OverflowError):
        wanted = getattr(kind, "__name__", str(kind))
        raise ValueError(f"{key}={value!r}: not a value of type {wanted}") from None
