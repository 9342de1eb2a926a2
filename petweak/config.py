"""The settings of a study in sections, and the profiles: named defaults, nothing else.

`settings("photos", epochs=3)` is the way in; `--set epochs=3` on the command line and papermill's
`-p epochs 3` end in the same function. Names are flat and unique; code reads them by section
(`s.training.epochs`). The cache key of a stage is the sections that it depends on and the keys of
the stages above it, so a new setting belongs into the section of the stage that reads it.
"""

import math
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any, get_type_hints

# The frozen feature maps that a backbone gives, and their strides in pixels.
STRIDES = {"final": 32, "penultimate": 32, "stride16": 16, "stride8": 8}
LEVELS = tuple(STRIDES)
INF = math.inf


def _one_of(*choices: str) -> Any:
    """A text with a closed list of values; the first one is the default."""
    return field(default=choices[0], metadata={"choices": choices})


def _number(default: float, low: float = -INF, high: float = INF, open_low: bool = False) -> Any:
    """A number in [low, high], or in (low, high]."""
    return field(default=default, metadata={"range": (low, high, open_low)})


def _numbers(*default: float, low: float = 0, high: float = 1) -> Any:
    """At least one number, each in (low, high]."""
    return field(default=default, metadata={"range": (low, high, True)})


@dataclass(frozen=True)
class Data:
    """The split. Masks of learnt sources and models depend on it; features do not."""

    seed: int = _number(0, 0)
    # Of train, breed by breed, for thresholds and for the choice of an epoch. With 0, models learn
    # from all of train and keep their last epoch.
    val_fraction: float = _number(0.1, 0, 0.95)
    leave_out: str = ""  # a breed that nothing is learnt from: its photos are the split `left_out`


@dataclass(frozen=True)
class Backbone:
    """The frozen classifier and the pass that fills the feature cache."""

    backbone: str = "efficientnet_lite0"
    image_size: int = _number(320, 32, 8192)  # pixels; a photo is resized to a square, whole
    stored_levels: tuple[str, ...] = LEVELS
    engine: str = _one_of("auto", "eager", "onnxruntime")
    extraction_batch: int = _number(8, 1)  # photos; each goes through with its mirror image


@dataclass(frozen=True)
class GroundTruth:
    """What a trimap's border counts as in the targets of the source `ground_truth`."""

    border: str = _one_of("foreground", "ignore", "background")


@dataclass(frozen=True)
class MaskRCNN:
    """The sources `mask_rcnn` and `mask_rcnn_compact`."""

    detector: str = _one_of("v1", "v2")  # torchvision's Mask R-CNN with COCO weights; v1: the paper
    score_threshold: float = _number(0.5, 0, 1)  # of a detection
    mask_threshold: float = _number(0.5, 0, 1)  # of a detection's soft mask


@dataclass(frozen=True)
class Cam:
    """Class activation maps."""

    cam: str = "gradcam"  # or any method of pytorch-grad-cam, by name
    cam_target: str = _one_of("pets", "top1")  # the explained score; top1 is the paper's
    cam_mirror: bool = True  # average the map with that of the mirror image
    threshold: str = "val"  # a number (the paper), otsu (one a photo), or chosen on val


@dataclass(frozen=True)
class Finetuning:
    """The new last layer of `gradcam_finetuned`."""

    finetune_labels: str = _one_of("breed", "species")
    finetune_epochs: int = _number(20, 1)
    finetune_lr: float = _number(1e-3, 0, open_low=True)


@dataclass(frozen=True)
class Refinement:
    """What happens to a source's probability maps before the threshold."""

    refinement: tuple[str, ...] = ()  # steps in order, a pipeline's name, or auto
    refinement_scales: tuple[float, ...] = _numbers(0.5, 0.75, 1.0, 1.25, 1.5, high=8)
    fusion_maps: tuple[str, ...] = ("penultimate", "stride16")
    vote_pipelines: tuple[str, ...] = ("affinity", "colour", "affinity_colour")
    walk_levels: tuple[str, ...] = ("stride16", "stride8")
    walk_beta: float = _number(8.0, 0, open_low=True)  # IRN has 10
    walk_steps: int = _number(128, 1)  # IRN has 256
    grabcut_iterations: int = _number(5, 1)
    selection_criteria: tuple[str, ...] = ("agreement", "mirror", "scale", "area", "otsu")
    ensemble_size: int = _number(4, 2)  # how many of the best pipelines vote with refinement=auto


@dataclass(frozen=True)
class Masks:
    """The decision of every source but ground truth."""

    ignore_band: tuple[float, ...] = ()  # two probabilities: what lies between is left out


@dataclass(frozen=True)
class External:
    external_masks: str = ""  # the folder of PNGs that the source `external` reads


@dataclass(frozen=True)
class Model:
    """The architecture."""

    levels: tuple[str, ...] = ("final",)  # `final` alone is the paper's; more is MaskFormer-MS
    decoder_channels: int = _number(64, 8)
    queries: int = _number(2, 1)  # one for the pet and one to spare
    transformer_dropout: float = _number(0.1, 0, 0.95)  # in the transformer decoder
    channel_dropout: float = _number(0.1, 0, 0.95)  # of the frozen channels, MaskFormer-MS alone


@dataclass(frozen=True)
class Training:
    epochs: int = _number(10, 1)
    batch_size: int = _number(16, 1)
    lr: float = _number(5e-4, 0, open_low=True)
    weight_decay: float = _number(0.01, 0)
    schedule: str = _one_of("onecycle", "cosine")
    clip: float = _number(1.0, 0, open_low=True)  # the largest norm of a gradient
    class_weight: float = _number(2.0, 0)
    mask_weight: float = _number(5.0, 0)
    dice_weight: float = _number(5.0, 0)
    no_object_weight: float = _number(0.1, 0)
    # auto: float16 on CUDA, float32 elsewhere; bfloat16 is fast where the CPU has it
    precision: str = _one_of("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class SelfTraining:
    rounds: int = _number(5, 1)  # at most
    round_epochs: int = _number(8, 1)  # of every round but the last
    last_epochs: int = _number(20, 1)
    keep_fractions: tuple[float, ...] = _numbers(0.5, 0.7, 0.8, 1.0)  # of train, round by round
    stop_agreement: float = _number(0.975, 0, 1)  # IoU of two rounds' masks, after which one ends
    # PAMR ends a mask at an edge of the photo, the walk spreads it over similar features.
    round_refinement: tuple[str, ...] = ("pamr", "walk")
    round_walk_steps: int = _number(32, 1)
    # The last masks take in the pixels that the previous model gives more than this, as a trimap's
    # border lies around the pet: 0.05 is IRN's, 0.5 widens nothing.
    background_threshold: float = _number(0.05, 0, 0.5, open_low=True)
    self_training_levels: tuple[str, ...] = LEVELS


@dataclass(frozen=True)
class Inference:
    predict_mirror: bool = True  # average the predictions for the photo and its mirror image


@dataclass(frozen=True)
class Evaluation:
    bootstrap: int = _number(1000, 1)  # resamples behind an interval


@dataclass(frozen=True)
class System:
    """Where and how things run. Only a device's kind changes results, and stands in keys."""

    device: str = "auto"  # auto (CUDA, else the CPU), cpu, cuda, cuda:1, mps
    workers: int = _number(0, 0)  # processes that decode photos; 0 decodes in this one
    save_epochs: bool = True  # keep every epoch's weights, for the explorer of notebook 07


GRID = {"sources": tuple[str, ...], "labels": tuple[str, ...]}  # which cells a study fills
# What old settings and values are called now.
RENAMED = dict(pair.split("=", 1) for pair in (
    "taps=levels store=stored_levels selftrain_taps=self_training_levels walk_taps=walk_levels "
    "plus_dropout=channel_dropout refine=refinement refine_scales=refinement_scales "
    "fuse=fusion_maps vote=vote_pipelines choose_by=selection_criteria panel=ensemble_size "
    "unsure=ignore_band keep=keep_fractions settled=stop_agreement round_refine=round_refinement "
    "sure_background=background_threshold pass_batch=extraction_batch scales=refinement_scales"
).split())
RENAMED_VALUES = {
    "last": "final", "before": "penultimate", "pet": "foreground", "labels_free": "imagenet_only",
    "compact": "the source mask_rcnn_compact",
}


@dataclass(frozen=True)
class Settings:
    """Every value that a result can depend on, by section. The defaults are those of `photos`."""

    profile: str = "photos"
    sources: tuple[str, ...] = (
        "ground_truth", "mask_rcnn_compact", "gradcam_pretrained", "gradcam_finetuned",
    )
    labels: tuple[str, ...] = ("breed", "species")
    data: Data = Data()
    backbone: Backbone = Backbone()
    ground_truth: GroundTruth = GroundTruth()
    mask_rcnn: MaskRCNN = MaskRCNN()
    cam: Cam = Cam()
    finetuning: Finetuning = Finetuning()
    refinement: Refinement = Refinement()
    masks: Masks = Masks()
    external: External = External()
    model: Model = Model()
    training: Training = Training()
    self_training: SelfTraining = SelfTraining()
    inference: Inference = Inference()
    evaluation: Evaluation = Evaluation()
    system: System = System()

    def __post_init__(self) -> None:
        for name in SECTIONS:
            section = getattr(self, name)
            for f in fields(section):
                _check(f.name, getattr(section, f.name), f.metadata)
        stored, levels = set(self.backbone.stored_levels), set(self.model.levels)
        band, start = self.masks.ignore_band, {"final", "penultimate"}
        for good, name, rule in (
            ({"final"} <= stored <= set(LEVELS), "stored_levels",
             f"final and any of {', '.join(LEVELS)}"),
            (levels <= stored, "levels", f"each has to be in stored_levels={','.join(stored)}"),
            (start & levels, "levels", "name final or penultimate, where the pixel decoder begins"),
            (start & set(self.self_training.self_training_levels), "self_training_levels",
             "name final or penultimate, where the pixel decoder begins"),
            (self.backbone.image_size % 32 == 0, "image_size", "has to be a multiple of 32"),
            (self.model.decoder_channels % 8 == 0, "decoder_channels", "a multiple of 8"),
            (not band or len(band) == 2 and 0 <= band[0] < band[1] <= 1, "ignore_band",
             "two probabilities, the lower one first"),
            (_is_threshold(self.cam.threshold), "threshold",
             "otsu, val, or a number between 0 and 1"),
            (self.labels and set(self.labels) <= {"breed", "species"}, "labels",
             "breed, species, or both"),
            (self.sources, "sources", "name at least one"),
        ):
            _require(good, name, self.flat()[name], rule)

    def flat(self) -> dict[str, Any]:
        """{setting: value}, with `profile`, `sources` and `labels`."""
        own = {k: getattr(self, k) for k in ("profile", *GRID)}
        return own | {k: getattr(getattr(self, s), k) for k, s in SECTION_OF.items()}

    def replace(self, **changes: Any) -> "Settings":
        """The same settings but for `changes`, by flat names; text is turned into the type.

        Raises ValueError as `settings` does.
        """
        if unknown := sorted(set(changes) - set(TYPES)):
            rules = [f"{k} is now {RENAMED[k]}" for k in unknown if k in RENAMED]
            rules = rules or [f"there are {', '.join(sorted(TYPES))}"]
            raise ValueError(f"unknown setting {', '.join(unknown)}: {'; '.join(rules)}")
        new: dict[str, Any] = {}
        for name, value in changes.items():
            value = _parse(name, value, TYPES[name])
            if (section := SECTION_OF.get(name)) is None:
                new[name] = value
            else:
                new[section] = replace(new.get(section, getattr(self, section)), **{name: value})
        return replace(self, **new)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, by section."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Settings":
        """The inverse of `to_dict`, also after JSON made lists of the tuples."""
        parts = [{k: values[k] for k in GRID}, *(values[name] for name in SECTIONS)]
        return cls(profile=values["profile"]).replace(**{k: v for p in parts for k, v in p.items()})


SECTIONS = {name: kind for name, kind in get_type_hints(Settings).items() if is_dataclass(kind)}
SECTION_OF = {f.name: name for name, kind in SECTIONS.items() for f in fields(kind)}
TYPES = GRID | {k: t for kind in SECTIONS.values() for k, t in get_type_hints(kind).items()}

PROFILES: dict[str, dict[str, Any]] = {
    # Rendered pets: small pictures, a small decoder; the whole study takes minutes on a CPU.
    "embedded": dict(
        image_size=192, decoder_channels=32, epochs=8, bootstrap=500,
        refinement_scales=(1.0, 1.25), grabcut_iterations=2, ensemble_size=3, rounds=3,
        round_epochs=4, last_epochs=8,
        background_threshold=0.5,  # rendered borders are thin; tuned with ground truth in sight
    ),
    # A folder in the official layout, on a laptop.
    "photos": dict(),
    # The paper's: all photos, ResNet-50, COCO Mask R-CNN, a GPU.
    "paper": dict(
        sources=("ground_truth", "mask_rcnn", "gradcam_pretrained", "gradcam_finetuned"),
        backbone="resnet50", cam_target="top1", cam_mirror=False, predict_mirror=False,
        save_epochs=False, threshold="0.5", image_size=512, decoder_channels=256, queries=100,
        epochs=20, workers=8,
        stored_levels=("final", "penultimate", "stride16"),  # stride8 would be 8 MB a view
        self_training_levels=("final", "penultimate", "stride16"),
        walk_levels=("penultimate", "stride16"),
    ),
}

# Where a profile looks for `oxford-iiit-pet/` unless told otherwise (--data-root).
DATA_ROOTS = {"embedded": "data/rendered", "photos": "data", "paper": "data"}


def settings(profile: str, **overrides: Any) -> Settings:
    """The settings of `profile` with `overrides` on top; text is turned into the setting's type.

    Raises ValueError for an unknown profile or setting (the message lists what there is, or says
    the new name of an old one) and for a value that is not possible.
    """
    if profile not in PROFILES:
        raise ValueError(f"unknown profile {profile!r}: there are {', '.join(PROFILES)}")
    return Settings(profile=profile).replace(**PROFILES[profile] | overrides)


def parse_assignments(pairs: list[str]) -> dict[str, str]:
    """`["epochs=3", "levels=final,stride16"]` -> `{"epochs": "3", "levels": "final,stride16"}`."""
    for pair in pairs:
        if "=" not in pair:
            raise ValueError(f"{pair!r}: write key=value, for example epochs=3")
    return dict(pair.split("=", 1) for pair in pairs)


def _require(good: Any, name: str, value: Any, rule: str) -> None:
    if not good:
        value = ",".join(map(str, value)) if isinstance(value, tuple) else repr(value)
        raise ValueError(f"{name}={value}: {rule}")


def _check(name: str, value: Any, metadata: Any) -> None:
    """The rule that stands beside the field, if there is one."""
    if choices := metadata.get("choices"):
        _require(value in choices, name, value, f"has to be one of {', '.join(choices)}")
    if limits := metadata.get("range"):
        low, high, open_low = limits
        rule = f"has to be {'more than' if open_low else 'at least'} {low:g}"
        rule += f" and at most {high:g}" if high < INF else ""
        values = value if isinstance(value, tuple) else (value,)
        good = all(low <= v <= high and v < INF and (v > low or not open_low) for v in values)
        _require(good and values, name, value, rule)


def _is_threshold(text: str) -> bool:
    try:
        return text in ("otsu", "val") or 0 < float(text) < 1
    except ValueError:
        return False


def _parse(name: str, value: Any, kind: Any) -> Any:
    """`value`, which may be text, as the setting's type."""
    try:
        if kind in (tuple[str, ...], tuple[float, ...]):
            parts = value.split(",") if isinstance(value, str) else list(value)
            parts = [p.strip() if isinstance(p, str) else p for p in parts]
            parsed: Any = tuple(kind.__args__[0](p) for p in parts if p != "")
        elif kind is bool:
            parsed = {"true": True, "false": False, "1": True, "0": False}[str(value).lower()]
        elif kind is int and float(value) != int(float(value)):
            raise ValueError
        else:
            parsed = int(float(value)) if kind is int else kind(value)
    except (ValueError, KeyError, TypeError, OverflowError):
        kind = getattr(kind, "__name__", str(kind))
        raise ValueError(f"{name}={value!r}: not a value of type {kind}") from None
    for item in parsed if isinstance(parsed, tuple) else (parsed,):
        if name != "external_masks" and item in RENAMED_VALUES:
            raise ValueError(f"{name}={item}: {item} is now {RENAMED_VALUES[item]}")
    return parsed
