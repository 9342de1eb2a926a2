"""Predictions of a trained model: from the feature cache, or for a photo elsewhere."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from petweak.config import Settings
from petweak.data.feature_cache import Features, photo_tensor
from petweak.data.files import file_hash, read_json
from petweak.models.backbones import Backbone, load_backbone
from petweak.models.maskformer import MaskFormer, MaskFormerConfig
from petweak.training.trainer import CONFIG, WEIGHTS, cached_maps

# What files raise that are no model, or one of another version.
FAULTS = (KeyError, TypeError, AttributeError, ValueError, RuntimeError)


@dataclass
class Predictor:
    """A trained model with what is needed to use it."""
    model: MaskFormer
    classes: tuple[str, ...]
    backbone: str
    image_size: int
    mirror: bool  # whether predictions are averaged over the photo and its mirror image

    @property
    def levels(self) -> tuple[str, ...]:
        return self.model.config.levels

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device


@dataclass(frozen=True)
class Prediction:
    """One photo: foreground probabilities (G, G), class probabilities (K,), and for semantic
    inference weights (Q, K) of masks (Q, G, G), which take less than the scores of many classes."""
    soft: np.ndarray
    classes: np.ndarray
    weights: Tensor
    masks: Tensor

    @property
    def semantic(self) -> dict[int, np.ndarray]:
        """{class: its scores (G, G)}, of the classes that may be the largest at a pixel. One that
        nowhere exceeds some other does not after upsampling either: no weight is negative."""
        scores = torch.einsum("qk,qhw->khw", self.weights, self.masks)
        top = int(scores.sum((1, 2)).argmax())
        there = (scores > scores[top]).flatten(1).any(1)
        there[top] = True
        names = there.nonzero()[:, 0].tolist()
        return dict(zip(names, scores[there].cpu().numpy(), strict=True))  # a copy

    def mask(self, height: int, width: int) -> np.ndarray:
        """(H, W) bool: upsampled to the photo's size, then decided at 0.5."""
        return upsampled(self.soft, height, width) > 0.5

    def segments(self, height: int, width: int) -> np.ndarray:
        """(H, W) integer, the class of each pixel: where `mask` is True the one with the largest
        upsampled score, the first of several; elsewhere K, the background.

        MaskFormer has classes for what is behind objects; this model has none, and what it calls
        background is what no class claims: the scores of all classes add up to `soft`. To compare
        each of them with the rest, 1 - soft, would shrink the mask wherever breeds are alike."""
        best, segments = np.full((height, width), -1.0, np.float32), np.zeros((height, width), int)
        for k, scores in self.semantic.items():  # one after the other: K large maps are very large
            scores = upsampled(scores, height, width)
            segments[scores > best] = k
            np.maximum(best, scores, out=best)
        segments[~self.mask(height, width)] = len(self.classes)
        return segments


def upsampled(scores: np.ndarray, height: int, width: int) -> np.ndarray:
    """(G, G) -> (H, W)."""
    scores = torch.from_numpy(scores)[None, None]
    return F.interpolate(scores, (height, width), mode="bilinear")[0, 0].numpy()


def load_model(folder: str | Path, device: torch.device | str = "cpu",
               build: Callable[[MaskFormerConfig], Any] = MaskFormer) -> Predictor:
    """Open `models/<source>-<labels>/`; `build` made its network. FileNotFoundError where it has
    no trained model, naming those near it; ValueError where its files do not make one."""
    folder = Path(folder)
    config = read_json(folder / CONFIG)
    if not all((folder / name).is_file() for name in (CONFIG, WEIGHTS)):
        places = (folder.parent, *sorted(folder.glob("*/")), *sorted(folder.glob("models/*/")))
        near = [str(p) for p in places if (p / CONFIG).is_file() and (p / WEIGHTS).is_file()]
        raise FileNotFoundError(
            f"{folder} has no trained model ({CONFIG} and {WEIGHTS}): "
            + (f"there is {', '.join(near)}" if near else
               "`petweak train` makes one in runs/<name>/models/<source>-<labels>"))
    try:
        if config is None:
            raise ValueError(f"{CONFIG} is damaged")
        if (there := file_hash(folder / WEIGHTS)) != config.get("files", {}).get(WEIGHTS, there):
            raise ValueError(f"{WEIGHTS} has changed")
        fields = {k: tuple(v) if isinstance(v, list) else v for k, v in config["model"].items()}
        model = build(MaskFormerConfig(**fields))
        model.load_state_dict(load_file(folder / WEIGHTS))
        s, classes = Settings.from_dict(config["settings"]), tuple(config["classes"])
    except (*FAULTS, SafetensorError) as error:
        reason = " ".join([type(error).__name__, *str(error).splitlines()[:1]])
        raise ValueError(f"{folder}: {CONFIG} and {WEIGHTS} are no whole model of this version of "
                         f"petweak ({reason}): train it again") from error
    return Predictor(model.to(device).eval(), classes, s.backbone.backbone, s.backbone.image_size,
                     s.inference.predict_mirror)


@torch.inference_mode()
def predict_features(predictor: Predictor, features: Features, ids: list[str],
                     batch_size: int = 32) -> Iterator[tuple[str, Prediction]]:
    """The prediction for each of `ids`, from cached maps."""
    for k in range(0, len(ids), batch_size):
        part = ids[k : k + batch_size]
        maps = partial(cached_maps, predictor.model, features, part)
        yield from zip(part, _predict(predictor, maps), strict=True)


def predict_photo(predictor: Predictor, photo: Image.Image,
                  backbone: Backbone | None = None) -> Prediction:
    """The prediction for a photo that is in no cache: the frozen backbone runs here."""
    return predict_photos(predictor, [photo], backbone)[0]


@torch.inference_mode()
def predict_photos(predictor: Predictor, photos: list[Image.Image],
                   backbone: Backbone | None = None) -> list[Prediction]:
    """The same for a batch."""
    backbone = backbone or load_backbone(predictor.backbone).to(predictor.device)
    x = torch.stack([photo_tensor(photo, predictor.image_size) for photo in photos])
    x = x.to(predictor.device)

    def maps(mirror: bool) -> list[Tensor]:  # rounded to float16, as in the cache
        maps = backbone(x.flip(-1) if mirror else x)
        return [maps[level].half().float() for level in predictor.levels]

    return _predict(predictor, maps)


def _predict(predictor: Predictor, maps: Callable[[bool], list[Tensor]]) -> list[Prediction]:
    """The mean over views; `maps` gives those of the photos, or of their mirror images."""
    soft, classes, queries, views = 0, 0, [], (False, True)[: 1 + predictor.mirror]
    for mirror in views:
        mask, by_class, weights, masks = predictor.model.read(predictor.model(maps(mirror)))
        soft = soft + (mask.flip(-1) if mirror else mask) / len(views)
        classes = classes + by_class / len(views)
        queries.append((weights / len(views), masks.flip(-1) if mirror else masks))
    weights, masks = (torch.cat(of, 1) for of in zip(*queries, strict=True))
    return list(map(Prediction, soft.cpu().numpy(), classes.cpu().numpy(), weights, masks))
