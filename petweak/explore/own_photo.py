"""A photo of the reader's own through every source and every student of a run."""

from __future__ import annotations

import copy
import io
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from petweak.backbones import load_backbone
from petweak.explore.made import sources_of, students_of
from petweak.features import photo_features, scaled_size
from petweak.files import read_json
from petweak.maskformer.predict import load_student, predict_cached
from petweak.pseudo_masks.base import Context, Source
from petweak.pseudo_masks.refiners import Chain
from petweak.pseudo_masks.store import PET, to_mask
from petweak.study import Run

MAX_BYTES, MAX_PIXELS = 30_000_000, 25_000_000
OWN = "own photo"  # its id in the features and the context made for it


@dataclass(frozen=True)
class Found:
    """One answer: a mask (H, W) bool of the photo's size, and what a student calls the pet."""

    name: str
    source: str  # it is, or the one its student learnt from
    mask: np.ndarray
    says: str = ""


def open_own(content: bytes) -> Image.Image:
    """The photo in a file's bytes, as RGB. ValueError, in words for its owner, where the file is
    too large or no picture."""
    if len(content) > MAX_BYTES:
        most = f"{MAX_BYTES / 1e6:.0f} MB"
        raise ValueError(f"This file is too large: {most} is the most that is taken here.")
    try:
        with Image.open(io.BytesIO(content)) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ValueError(
                    f"This picture has {width} x {height} pixels, and {MAX_PIXELS // 10**6} "
                    "million is the most that is taken here: make it smaller first."
                )
            # A trimap is drawn on the pixels as they are stored; a photo's owner sees it upright.
            return ImageOps.exif_transpose(image).convert("RGB")
    except ValueError:
        raise
    except Image.DecompressionBombError:
        raise ValueError("This picture has far too many pixels: make it smaller first.") from None
    except Exception:  # Pillow's many kinds, see data.pets.check
        raise ValueError(
            "This file cannot be read as a picture. JPEG, PNG, GIF and WebP can; is it whole?"
        ) from None


class OwnPhoto:
    """Sources and students of a run, ready for photos that are not in it."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._fitted: dict[str, Source] = {}

    def answers(self, photo: Image.Image) -> list[Found]:
        """The mask of every source whose masks the run has (`external` and ground truth know no
        new photo), and of every finished student but those of single rounds."""
        features = photo_features(photo, self.run.backbone, self.run.settings, OWN)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "photo.png"
            photo.save(path)
            found = [
                Found(name, name, self._mask(name, photo, path, features)) for name in self.sources
            ]
        for name, folder in students_of(self.run).items():
            if "-round" in name:
                continue
            student = load_student(folder, self.run.device)
            ((_, answer),) = predict_cached(student, features, [OWN])
            k = int(answer.classes.argmax())
            says = f"{student.classes[k]} {answer.classes[k]:.0%}"
            source = read_json(folder / "config.json")["source"]
            mask = answer.mask(photo.height, photo.width)
            found.append(Found(f"student {name}", source, mask, says))
        return found

    @property
    def sources(self) -> list[str]:
        """`external` has masks of the run's photos alone."""
        return [name for name in sources_of(self.run) if name != "external"]

    @torch.no_grad()
    def _mask(self, name: str, photo: Image.Image, path: Path, features) -> np.ndarray:
        manifest = read_json(self.run.masks_folder(name) / "manifest.json")
        if name not in self._fitted:
            self._fitted[name] = self.run.source(name)
            self._fitted[name].fit()
        source = copy.copy(self._fitted[name])
        source.context = self._context(photo, path, features)
        if vote := manifest.get("vote"):
            settings = replace(self.run.settings, vote=tuple(vote))
            source.context = source.context.with_settings(settings)
        if names := manifest.get("refine"):
            source.chain = Chain(tuple(names), source.context, source)
        (soft,) = source.refined(source.context.batch([OWN]))
        return to_mask(soft, (photo.height, photo.width), manifest["threshold"]) == PET

    def _context(self, photo: Image.Image, path: Path, features) -> Context:
        """The run's context, in which there is one photo, and its features."""
        run = self.run

        def more(scale: float = 1.0, backbone: str = ""):
            size = scaled_size(run.settings.image_size, scale)
            settings = replace(run.settings, store=("last",), taps=("last",), image_size=size)
            network = load_backbone(backbone).to(run.device) if backbone else run.backbone
            return photo_features(photo, network, settings, OWN)

        known = run.context
        return Context(
            settings=run.settings, open_features=lambda: features,
            open_backbone=lambda: run.backbone, photo_paths={OWN: path},
            train_labels=known.train_labels, num_classes=known.num_classes,
            val_ids=known.val_ids, device=run.device, more_features=more,
        )  # fmt: skip
