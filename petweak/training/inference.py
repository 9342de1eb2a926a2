"""Predictions of a trained model: from the feature cache, or for photos elsewhere."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from petweak.config import Settings
from petweak.data.feature_cache import Features, photo_tensor
from petweak.data.files import read_json
from petweak.data.masks import BACKGROUND, FOREGROUND, write_mask
from petweak.data.oxford_pets import load_photo
from petweak.models.backbones import Backbone, load_backbone
from petweak.models.maskformer import MaskFormer, MaskFormerConfig, class_probabilities, foreground
from petweak.training.trainer import CONFIG, WEIGHTS, cached_maps


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
        return self.model.mask_head.weight.device


@dataclass(frozen=True)
class Prediction:
    """One photo: foreground probabilities (G, G) and class probabilities (K,)."""
    soft: np.ndarray
    classes: np.ndarray

    def mask(self, height: int, width: int) -> np.ndarray:
        """(H, W) bool: upsampled to the photo's size, then decided at 0.5."""
        soft = torch.from_numpy(self.soft)[None, None]
        return (F.interpolate(soft, (height, width), mode="bilinear")[0, 0] > 0.5).numpy()


def load_model(folder: str | Path, device: torch.device | str = "cpu") -> Predictor:
    """Open `models/<source>-<labels>/`. FileNotFoundError where it holds no trained model."""
    folder = Path(folder)
    config = read_json(folder / CONFIG)
    if config is None or not (folder / WEIGHTS).is_file():
        raise FileNotFoundError(f"{folder} holds no trained model ({CONFIG} and {WEIGHTS}); "
                                "`petweak train` makes one in runs/<name>/models/<source>-<labels>")
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in config["model"].items()}
    model = MaskFormer(MaskFormerConfig(**fields))
    model.load_state_dict(load_file(folder / WEIGHTS))
    s = Settings.from_dict(config["settings"])
    return Predictor(model.to(device).eval(), tuple(config["classes"]), s.backbone.backbone,
                     s.backbone.image_size, s.inference.predict_mirror)


@torch.inference_mode()
def predict_features(predictor: Predictor, features: Features, ids: list[str],
                     batch_size: int = 32) -> Iterator[tuple[str, Prediction]]:
    """The prediction for each of `ids`, from cached maps."""
    for k in range(0, len(ids), batch_size):
        part = ids[k : k + batch_size]
        maps = partial(cached_maps, predictor.model, features, part)
        yield from zip(part, _predict(predictor, maps), strict=True)


@torch.inference_mode()
def predict_photo(predictor: Predictor, photo: Image.Image,
                  backbone: Backbone | None = None) -> Prediction:
    """The prediction for a photo that is in no cache: the frozen backbone runs here."""
    backbone = backbone or load_backbone(predictor.backbone).to(predictor.device)
    x = photo_tensor(photo, predictor.image_size)[None].to(predictor.device)

    def maps(mirror: bool) -> list[Tensor]:  # rounded to float16, as in the cache
        maps = backbone(x.flip(-1) if mirror else x)
        return [maps[level].half().float() for level in predictor.levels]

    return _predict(predictor, maps)[0]


def _predict(predictor: Predictor, maps: Callable[[bool], list[Tensor]]) -> list[Prediction]:
    """The mean over views; `maps` gives those of the photos, or of their mirror images."""
    soft, classes, views = 0, 0, (False, True)[: 1 + predictor.mirror]
    for mirror in views:
        output = predictor.model(maps(mirror))
        mask = foreground(output)
        soft = soft + (mask.flip(-1) if mirror else mask) / len(views)
        classes = classes + class_probabilities(output) / len(views)
    return list(map(Prediction, soft.cpu().numpy(), classes.cpu().numpy()))


def predict_files(photos: list[str], model: str | Path, out: str | Path,
                  device: str = "cpu") -> Iterator[Path]:
    """Write `<out>/<photo's stem>.png` (0 or 255, the photo's size) for each photo; yields paths.
    Raises ValueError where two photos would have one name, a mask would replace its photo, or a
    file does not begin as a picture, before any work; where one breaks off, when its turn comes."""
    paths = [Path(p) for p in photos]
    targets = [Path(out) / f"{p.stem}.png" for p in paths]
    if twice := sorted({t.name for t in targets if targets.count(t) > 1}):
        raise ValueError(f"two photos would both become {twice[0]}: predict them one by one")
    for path, target in zip(paths, targets, strict=True):
        _opened(path, Image.open).close()  # reads the header only
        if target.resolve() == path.resolve():
            raise ValueError(f"the mask would replace its photo {path}: choose another --out")
    predictor = load_model(model, device)
    backbone = load_backbone(predictor.backbone).to(device)
    for path, target in zip(paths, targets, strict=True):
        photo = _opened(path, load_photo)
        mask = predict_photo(predictor, photo, backbone).mask(photo.height, photo.width)
        write_mask(target, np.where(mask, FOREGROUND, BACKGROUND).astype(np.uint8))
        yield target


def _opened(path: Path, read: Callable[[Path], Image.Image]) -> Image.Image:
    try:
        return read(path)
    except Exception as error:  # Pillow has many kinds
        raise ValueError(f"{path} cannot be read as a picture: {error}") from None
