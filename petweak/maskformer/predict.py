"""A trained student's answers: from the cache in a study, from photos elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from petweak.backbones import Backbone, load_backbone
from petweak.data.pets import load_photo
from petweak.features import Features, photo_tensor
from petweak.files import project_path, read_json
from petweak.maskformer.model import MaskFormer, MaskFormerConfig, class_probabilities, foreground
from petweak.pseudo_masks.store import BACKGROUND, PET, write_mask


@dataclass
class Student:
    """A trained model with what is needed to use it."""

    model: MaskFormer
    classes: tuple[str, ...]
    backbone: str
    image_size: int
    mirror: bool  # whether answers are averaged over the photo and its mirror image

    @property
    def taps(self) -> tuple[str, ...]:
        return self.model.config.taps


@dataclass(frozen=True)
class Answer:
    """One photo: soft foreground (G, G) in [0, 1], and class probabilities (K,)."""

    soft: np.ndarray
    classes: np.ndarray

    def mask(self, height: int, width: int) -> np.ndarray:
        """(H, W) bool: upsampled to the photo's size, then decided at 0.5."""
        soft = torch.from_numpy(self.soft)[None, None]
        return (F.interpolate(soft, (height, width), mode="bilinear")[0, 0] > 0.5).numpy()


def load_student(folder: str | Path, device: torch.device | str = "cpu") -> Student:
    """Open `models/<source>-<labels>/`. FileNotFoundError where it is not a trained student."""
    folder = Path(folder)
    config = read_json(folder / "config.json")
    weights = folder / "model.safetensors"
    if config is None or not weights.is_file():
        raise FileNotFoundError(
            f"{folder} holds no trained student (config.json and model.safetensors); "
            "`petweak train` makes one in runs/<name>/models/<source>-<labels>/"
        )
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in config["model"].items()}
    model = MaskFormer(MaskFormerConfig(**fields))
    model.load_state_dict(load_file(weights))
    settings = config["settings"]
    return Student(
        model.to(device).eval(),
        tuple(config["classes"]),
        settings["backbone"],
        settings["image_size"],
        settings["predict_mirror"],
    )


@torch.inference_mode()
def predict_cached(
    student: Student, features: Features, ids: list[str], batch_size: int = 32
) -> Iterator[tuple[str, Answer]]:
    """The student's answer to each of `ids`, from cached maps."""
    device = next(student.model.parameters()).device
    for k in range(0, len(ids), batch_size):
        part = ids[k : k + batch_size]
        views = [
            [features.batch(tap, part, mirror).to(device) for tap in student.taps]
            for mirror in (False, True)[: 1 + student.mirror]
        ]
        yield from zip(part, _answers(student, views), strict=True)


@torch.inference_mode()
def predict_photo(student: Student, photo: Image.Image, backbone: Backbone | None = None) -> Answer:
    """The answer to a photo that is in no cache: the frozen backbone runs here."""
    backbone = backbone or load_backbone(student.backbone)
    x = photo_tensor(photo, student.image_size)[None]
    views = []
    for picture in (x, x.flip(-1))[: 1 + student.mirror]:
        maps = backbone(picture)
        # The cache holds float16, and so the student was trained on float16's values.
        views.append([maps[tap].half().float() for tap in student.taps])
    return _answers(student, views)[0]


def _answers(student: Student, views: list[list[Tensor]]) -> list[Answer]:
    """The mean answer over views; the first is the photo, the second its mirror image."""
    soft, classes = 0, 0
    for mirror, maps in enumerate(views):
        out = student.model(maps)
        found = foreground(out)
        soft = soft + (found.flip(-1) if mirror else found) / len(views)
        classes = classes + class_probabilities(out) / len(views)
    rows = zip(soft.cpu().numpy(), classes.cpu().numpy(), strict=True)
    return [Answer(s, c) for s, c in rows]


def predict_files(photos: list[str], model: str | Path, out: str | Path) -> Iterator[Path]:
    """Write `<out>/<photo's stem>.png` (0 or 255, the photo's size) for each photo; yields paths.

    Raises ValueError where two photos would have one name or a file does not begin as a picture,
    before any work; where a picture breaks off further in, when it is its turn.
    """
    paths = [Path(p) for p in photos]
    stems = [p.stem for p in paths]
    if twice := sorted({s for s in stems if stems.count(s) > 1}):
        raise ValueError(f"two photos would both become {twice[0]}.png: predict them one by one")
    for path in paths:
        _opened(path, Image.open).close()  # reads the header only
    student = load_student(project_path(model))
    backbone = load_backbone(student.backbone)
    for path in paths:
        photo = _opened(path, load_photo)
        mask = predict_photo(student, photo, backbone).mask(photo.height, photo.width)
        target = Path(out) / f"{path.stem}.png"
        write_mask(target, np.where(mask, PET, BACKGROUND).astype(np.uint8))
        yield target


def _opened(path: Path, read: Callable[[Path], Image.Image]) -> Image.Image:
    try:
        return read(path)
    except Exception as error:  # Pillow's many kinds, see data.pets.check
        raise ValueError(f"{path} cannot be read as a picture: {error}") from None
