"""The settings of a study in sections, and the profiles: named defaults, nothing else.

`settings("photos", epochs=3)` is the way in, also from the command line and papermill. Names are
flat and unique; code reads them by section (`s.training.epochs`). The cache key of a stage is the
sections that it depends on, so a new setting belongs in the section of the stage that reads it.
"""

import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from math import inf
from typing import Any, dataclass_transform

# The frozen feature maps that a backbone gives, and their strides in pixels.
STRIDES = {"final": 32, "penultimate": 32, "stride16": 16, "stride8": 8}
LEVELS = tuple(STRIDES)


def _rule(default: Any, rule: str, holds: Callable[[Any], Any]) -> Any:
    """A value with the rule that it has to keep, in words and as a function."""
    return field(default=default, metadata={"rule": rule, "holds": holds})


def _one_of(*choices: str) -> Any:
    """A text with a closed list of values; the first one is the default."""
    return _rule(choices[0], f"has to be one of {', '.join(choices)}", choices.__contains__)


def _number(default: Any, low: float = -inf, high: float = inf, above: bool = False,
            multiple: int = 1) -> Any:
    """A number in [low, high], or (low, high] if it has to be `above`; or a tuple of such."""

    def holds(value: Any) -> Any:
        values = value if isinstance(value, tuple) else (value,)
        return values and all(low <= v <= high and v < inf and not (above and v == low)
                              and (multiple == 1 or v % multiple == 0) for v in values)

    rule = f"has to be {'more than' if above else 'at least'} {low:g}"
    rule += f" and at most {high:g}" * (high < inf) + f", a multiple of {multiple}" * (multiple > 1)
    return _rule(default, rule, holds)


def _threshold(text: str) -> bool:
    try:
        return text in ("otsu", "val") or 0 < float(text) < 1
    except ValueError:
        return False


# Of a model's levels: the pixel decoder begins at stride 32.
_BEGINS = "some of stored_levels, final or penultimate among them", {*LEVELS[:2]}.intersection


@dataclass_transform(frozen_default=True, field_specifiers=(_rule, _one_of, _number))
class Section:
    """A frozen dataclass. A value that breaks its rule raises ValueError."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True)(cls)

    def __post_init__(self) -> None:
        for f in fields(self):
            if f.metadata:
                _require(f.metadata["holds"], f.name, getattr(self, f.name), f.metadata["rule"])


def _require(holds: Callable[[Any], Any], name: str, value: Any, rule: str) -> None:
    if not holds(value):
        value = ",".join(map(str, value)) if isinstance(value, tuple) else repr(value)
        raise ValueError(f"{name}={value}: {rule}")


class Data(Section):
    """The split. Masks of learnt sources and models depend on it; features do not."""
    seed: int = _number(0, 0)
    # Of train, breed by breed, for thresholds and for the choice of an epoch. With 0, models learn
    # from all of train and keep their last epoch.
    val_fraction: float = _number(0.1, 0, 0.95)
    # Breeds, with commas, that nothing is learnt from: their photos are the split `left_out`.
    leave_out: str = ""

class Backbone(Section):
    """The frozen classifier and feature extraction, which fills the feature cache."""
    backbone: str = "efficientnet_lite0"
    image_size: int = _number(320, 32, 8192, multiple=32)  # pixels; the whole photo, as a square
    stored_levels: tuple[str, ...] = _rule(LEVELS, f"final and any of {', '.join(LEVELS)}",
                                           lambda v: {"final"} <= set(v) <= set(LEVELS))
    engine: str = _one_of("auto", "eager", "onnxruntime")
    extraction_batch: int = _number(8, 1)  # photos; each goes through with its mirror image

class GroundTruth(Section):
    # What it counts as in the targets of ground truth; weak sources have background_threshold.
    border: str = _one_of("foreground", "ignore", "background")

class MaskRCNN(Section):
    """The sources `mask_rcnn` and `mask_rcnn_compact`."""
    detector: str = _one_of("v1", "v2")  # torchvision's Mask R-CNN with COCO weights; v1: the paper
    score_threshold: float = _number(0.5, 0, 1)  # of a detection
    mask_threshold: float = _number(0.5, 0, 1)  # of a detection's soft mask

class Cam(Section):
    cam: str = "gradcam"  # or any method of pytorch-grad-cam, by name
    cam_target: str = _one_of("pets", "top1")  # the explained score; top1 is the paper's
    cam_mirror: bool = True  # average the map with that of the mirror image
    # 0.5 is the paper's, `otsu` takes one a photo, `val` chooses one on val (after a refinement
    # pipeline that centres its maps at Otsu's threshold, `val` is 0.5).
    threshold: str = _rule("val", "otsu, val, or a number between 0 and 1", _threshold)

class Finetuning(Section):
    """The new last layer of `gradcam_finetuned`."""
    finetune_labels: str = _one_of("breed", "species")
    finetune_epochs: int = _number(20, 1)
    finetune_lr: float = _number(1e-3, 0, above=True)

class Refinement(Section):
    """What happens to a source's probability maps before the threshold."""
    refinement: tuple[str, ...] = ()  # steps in order, a pipeline's name, or auto
    refinement_scales: tuple[float, ...] = _number((0.5, 0.75, 1.0, 1.25, 1.5), 0, 8, above=True)
    fusion_maps: tuple[str, ...] = ("penultimate", "stride16")
    vote_pipelines: tuple[str, ...] = ("affinity", "colour", "affinity_colour")
    walk_levels: tuple[str, ...] = ("stride16", "stride8")
    walk_beta: float = _number(8.0, 0, above=True)  # IRN has 10
    walk_steps: int = _number(128, 1)  # IRN has 256
    grabcut_iterations: int = _number(5, 1)
    selection_criteria: tuple[str, ...] = ("agreement", "mirror", "scale", "area", "otsu")
    ensemble_size: int = _number(4, 2)  # how many of the best pipelines vote with refinement=auto

class Masks(Section):
    """The decision of every source but ground truth."""
    ignore_band: tuple[float, ...] = _rule(  # what lies between is left out
        (), "two probabilities, the lower one first",
        lambda v: not v or len(v) == 2 and 0 <= v[0] < v[1] <= 1)

def named_parts(text: str, between: str = ",") -> list[tuple[str, str]]:
    """`a=x,b=y` -> [("a", "x"), ("b", "y")]; a text that begins with no name -> [("", text)]."""
    if not re.match(r"[\w-]+=", text):
        return [("", text)] if text else []
    return [tuple(p.split("=", 1)) for p in re.split(rf"{between}\s*(?=[\w-]+=)", text)]


def _folders(text: str) -> bool:
    parts = named_parts(text)
    return len(dict(parts)) == len(parts) and all(
        folder.strip() and re.fullmatch("[a-z0-9_]*", name) for name, folder in parts)


# What may be foreground in masks of other tools: petweak.data.masks.recognise says what each means.
FOREGROUND = re.compile(r"auto|nonzero|alpha|soft|(above|below):\d+(\.\d+)?|\d+(,\d+)*|"
                        r"#[0-9a-f]{6}(,#[0-9a-f]{6})*", re.I)

class External(Section):
    """Masks from elsewhere: of the source `external`, or of several with names of their own."""
    # A folder, or named ones: `deeplab=../a,yolo=../b` gives external_deeplab and external_yolo.
    external_masks: str = _rule("", "a folder, or name=folder,name=folder with different names of "
                                "a-z, 0-9 and _", _folders)
    # Of their pixels: auto, nonzero, alpha, soft (grey is a probability), above:N, below:N, values
    # (1 or 1,3) or colours (#ff0000). By name, if folders differ: `deeplab=8,12;yolo=nonzero`.
    external_foreground: str = _rule(
        "auto", "auto, nonzero, alpha, soft, above:N, below:N, values such as 1 or 1,3, colours "
        "such as #ff0000, or name=... of these with ; between",
        lambda v: v and all(FOREGROUND.fullmatch(text) for _, text in named_parts(v, ";")))

    def folders(self) -> dict[str, str]:
        """{source: folder}, in order: `external`, or `external_<name>` of each name."""
        parts = named_parts(self.external_masks)
        return {f"external_{name}" if name else "external": folder for name, folder in parts}

    def foreground(self, source: str) -> str:
        """What the setting says of one source; `auto` where it names others alone."""
        of = dict(named_parts(self.external_foreground, ";"))
        return of.get("") or of.get(source.removeprefix("external_"), "auto")

class Model(Section):
    levels: tuple[str, ...] = _rule(("final",), *_BEGINS)  # more than `final` is MaskFormer-MS
    decoder_channels: int = _number(64, 8, multiple=8)
    queries: int = _number(2, 1)  # one for the pet and one to spare
    transformer_dropout: float = _number(0.1, 0, 0.95)  # in the transformer decoder
    channel_dropout: float = _number(0.1, 0, 0.95)  # of the frozen channels, MaskFormer-MS alone

class Training(Section):
    epochs: int = _number(10, 1)
    batch_size: int = _number(16, 1)
    lr: float = _number(5e-4, 0, above=True)
    weight_decay: float = _number(0.01, 0)
    schedule: str = _one_of("onecycle", "cosine")
    clip: float = _number(1.0, 0, above=True)  # the largest norm of a gradient
    class_weight: float = _number(2.0, 0)
    mask_weight: float = _number(5.0, 0)
    dice_weight: float = _number(5.0, 0)
    no_object_weight: float = _number(0.1, 0)
    precision: str = _one_of("auto", "float32", "bfloat16")  # auto: float16 on CUDA, else float32

class SelfTraining(Section):
    rounds: int = _number(5, 1)  # at most
    round_epochs: int = _number(8, 1)  # of every round but the last
    last_epochs: int = _number(20, 1)
    keep_fractions: tuple[float, ...] = _number((0.5, 0.7, 0.8, 1.0), 0, 1, True)  # round by round
    stop_agreement: float = _number(0.975, 0, 1)  # IoU of two rounds' masks, after which one ends
    round_refinement: tuple[str, ...] = ("pamr", "walk")  # to the photo's edges, then by features
    round_walk_steps: int = _number(32, 1)
    # The last masks take in the pixels that the previous model gives more than this, as a trimap's
    # border lies around the pet: 0.05 is IRN's, 0.5 widens nothing.
    background_threshold: float = _number(0.05, 0, 0.5, above=True)
    self_training_levels: tuple[str, ...] = _rule(LEVELS, *_BEGINS)

class Inference(Section):
    predict_mirror: bool = True  # average the predictions for the photo and its mirror image

class Evaluation(Section):
    bootstrap: int = _number(1000, 1)  # resamples behind an interval

class System(Section):
    """Where and how things run. Only a device's kind changes results, and stands in keys."""
    device: str = "auto"  # auto (CUDA, else the CPU), cpu, cuda, cuda:1, mps
    workers: int = _number(0, 0)  # processes that decode photos; 0 decodes in this one
    save_epochs: bool = True  # keep every epoch's weights, for the explorer of notebook 07b


class Settings(Section):
    """Every value that a result can depend on, by section. The defaults are those of `photos`."""
    profile: str = "photos"
    sources: tuple[str, ...] = _rule(
        ("ground_truth", "mask_rcnn_compact", "gradcam_pretrained", "gradcam_finetuned"),
        "name at least one", bool)
    labels: tuple[str, ...] = _rule(("breed", "species"), "breed, species, or both",
                                    lambda v: v and {"breed", "species"}.issuperset(v))
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
        super().__post_init__()
        stored = self.backbone.stored_levels
        _require(set(stored).issuperset, "levels", self.model.levels,
                 f"each has to be in stored_levels={','.join(stored)}")

    def flat(self) -> dict[str, Any]:
        """{setting: value}, with `profile`, `sources` and `labels`."""
        values = {k: getattr(self, k) for k in ("profile", *GRID)}
        return values | {k: v for s in SECTIONS for k, v in vars(getattr(self, s)).items()}

    def replace(self, **changes: Any) -> "Settings":
        """The same settings but for `changes`, by flat names. ValueError as in `settings`."""
        if unknown := sorted(set(changes) - set(TYPES)):
            new = [f"{k} is now {RENAMED[k]}" for k in unknown if k in RENAMED]
            new += [f"did you mean {', '.join(n)}?" for k in unknown if k not in RENAMED
                    and (n := get_close_matches(k, TYPES))]
            new = "; ".join(new) or f"there are {', '.join(sorted(TYPES))}"
            raise ValueError(f"unknown setting {', '.join(unknown)}: {new}")
        flat = self.flat() | {k: parse_value(k, v, TYPES[k]) for k, v in changes.items()}
        sections = (k(*(flat[f.name] for f in fields(k))) for k in SECTIONS.values())
        return Settings(*(flat[k] for k in ("profile", *GRID)), *sections)

    to_dict = asdict  # plain values for JSON, by section

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Settings":
        """The inverse of `to_dict`, also after JSON made lists of the tuples."""
        flat = {k: values[k] for k in GRID} | {k: v for s in SECTIONS for k, v in values[s].items()}
        return cls(values["profile"]).replace(**flat)


GRID = ("sources", "labels")  # which models a study has
# Settings, and parameters of notebooks, that name files or folders.
PATHS = ("external_masks", "photos", "masks")
SECTIONS = {f.name: f.type for f in fields(Settings) if is_dataclass(f.type)}
SECTION_OF = {f.name: name for name, kind in SECTIONS.items() for f in fields(kind)}
TYPES = {f.name: f.type for kind in (Settings, *SECTIONS.values()) for f in fields(kind)
         if f.name in (*GRID, *SECTION_OF)}

# What old settings and values are called now.
RENAMED = dict(pair.split("=", 1) for pair in (
    "taps=levels store=stored_levels selftrain_taps=self_training_levels walk_taps=walk_levels "
    "plus_dropout=channel_dropout refine=refinement refine_scales=refinement=multiscale "
    "fuse=fusion_maps vote=vote_pipelines choose_by=selection_criteria panel=ensemble_size "
    "unsure=ignore_band keep=keep_fractions settled=stop_agreement round_refine=round_refinement "
    "sure_background=background_threshold pass_batch=extraction_batch scales=refinement_scales"
).split())
RENAMED_VALUES = {"last": "final", "before": "penultimate", "pet": "foreground",
                  "labels_free": "imagenet_only", "compact": "the source mask_rcnn_compact",
                  "densecrf": "crf"}

PROFILES: dict[str, dict[str, Any]] = {
    # Rendered pets: small pictures, a small decoder; the whole study takes minutes on a CPU.
    "embedded": dict(
        image_size=192, decoder_channels=32, epochs=8, bootstrap=500, refinement_scales=(1.0, 1.25),
        grabcut_iterations=2, ensemble_size=3, rounds=3, round_epochs=4, last_epochs=8,
        background_threshold=0.5),  # rendered borders are thin; tuned with ground truth
    # A folder in the official layout, on a laptop.
    "photos": dict(),
    # The paper's: all photos, ResNet-50, COCO Mask R-CNN, a GPU; stride8 would be 8 MB a view.
    "paper": dict(
        sources=("ground_truth", "mask_rcnn", "gradcam_pretrained", "gradcam_finetuned"),
        backbone="resnet50", cam_target="top1", cam_mirror=False, predict_mirror=False,
        save_epochs=False, threshold="0.5", image_size=512, decoder_channels=256, queries=100,
        epochs=20, workers=8, stored_levels=LEVELS[:3], self_training_levels=LEVELS[:3],
        walk_levels=("penultimate", "stride16")),
}
# Where a profile looks for `oxford-iiit-pet/` unless told otherwise (--data-root).
DATA_ROOTS = {"embedded": "data/rendered", "photos": "data", "paper": "data"}


def settings(profile: str, **overrides: Any) -> Settings:
    """The settings of `profile` with `overrides` on top; text is turned into the setting's type.
    ValueError for a value that is not possible and for an unknown profile or setting (the message
    lists what there is, or says the new name of an old one)."""
    if profile not in PROFILES:
        raise ValueError(f"unknown profile {profile!r}: there are {', '.join(PROFILES)}")
    return Settings(profile).replace(**PROFILES[profile] | overrides)


def parse_assignments(pairs: list[str]) -> dict[str, str]:
    """`["epochs=3", "levels=final,stride16"]` -> `{"epochs": "3", "levels": "final,stride16"}`."""
    for pair in pairs:
        if "=" not in pair:
            raise ValueError(f"{pair!r}: write key=value, for example epochs=3")
    return dict(pair.split("=", 1) for pair in pairs)


def from_here(name: str, text: str) -> str:
    """The value of a setting or parameter as it is typed: a path counts from where the user stands,
    while those of programs and notebooks count from the project (`data.files.project_path`)."""
    if name not in PATHS:
        return text
    parts = named_parts(text) if name in TYPES else [("", text)] * bool(text)
    paths = [(of, os.path.abspath(os.path.expanduser(path))) for of, path in parts]
    return ",".join(f"{of}={path}" if of else path for of, path in paths)


def parse_value(name: str, value: Any, kind: Any) -> Any:
    """`value`, which may be text, as the type of a setting or option; ValueError if that fails.
    Items of a tuple stand between commas; configurations, whose values may have commas, between
    semicolons."""
    try:
        if several := getattr(kind, "__origin__", None) is tuple:
            text = isinstance(value, str)
            items = value.split(";" if "=" in value else ",") if text else [*map(str, value)]
        elif kind is bool:
            parsed = {"true": True, "false": False, "1": True, "0": False}[str(value).lower()]
        elif kind is int and not float(value).is_integer():
            raise ValueError
        elif kind is int:
            parsed = int(float(value))
        else:
            parsed = kind(value)
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{name}={value!r}: not a value of type {kind.__name__}") from None
    if several:
        items = filter(None, map(str.strip, items))
        return tuple(parse_value(name, item, kind.__args__[0]) for item in items)
    if SECTION_OF.get(name) != "external" and parsed in RENAMED_VALUES:
        raise ValueError(f"{name}={parsed}: {parsed} is now {RENAMED_VALUES[parsed]}")
    return parsed
