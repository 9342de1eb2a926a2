"""Masks from elsewhere: folders of pictures named after the photos, of any tool."""

import logging
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from petweak.config import Settings, named_parts
from petweak.data import masks
from petweak.data.files import file_hash, project_path, text_hash
from petweak.data.mask_checks import doubts
from petweak.data.orientation import are_stored, evidence, is_untold
from petweak.pseudo_masks.base import Batch, Source

log = logging.getLogger(__name__)


class External(Source):
    """The masks in the folder `external_masks`, or in the one that has this source's name there
    (`external_<name>`). All of them are read before the first is used: what the pixels mean
    (`petweak.data.masks`), and whether it can be right (`petweak.data.mask_checks`). Raises
    ValueError for a setting without such a folder and for masks that are unclear or cannot be
    right, FileNotFoundError for photos without a mask. 128 is "ignore", as in petweak's masks."""

    name, version = "external", 4

    @classmethod
    @cache
    def named(cls, name: str) -> type["External"]:
        """The source of a folder with a name of its own."""
        return type("External", (cls,), {"name": name})

    @classmethod
    def folder(cls, settings: Settings) -> Path:
        said, folders = settings.external.external_masks, settings.external.folders()
        if cls.name not in folders:
            there = f"is for {', '.join(folders)}" if said else "is not set"
            way = "FOLDER" if cls.name == "external" else f"{cls.name[9:]}=FOLDER"
            raise ValueError(f"external_masks={said!r} {there}: the source {cls.name} reads masks "
                             f"from a folder of its own (--set external_masks={way})")
        if not (folder := project_path(folders[cls.name])).is_dir():
            raise ValueError(f"external_masks={said!r}: {folder} is not a folder; write "
                             "external_masks=FOLDER, or NAME=FOLDER,NAME=FOLDER for the sources "
                             "external_NAME")
        return folder

    @classmethod
    def check(cls, settings: Settings) -> None:
        cls.folder(settings)
        names = {n for n, _ in named_parts(settings.external.external_foreground, ";") if n}
        if unknown := {f"external_{n}" for n in names} - settings.external.folders().keys():
            raise ValueError(f"external_foreground names {', '.join(sorted(unknown))}, and "
                             f"external_masks {', '.join(settings.external.folders())}")

    @classmethod
    def depends_on(cls, settings: Settings) -> dict[str, object]:
        files = masks.mask_files(cls.folder(settings))
        return {"content": text_hash("".join(f"{f.name} {file_hash(f)}\n" for f in files)),
                "foreground": settings.external.foreground(cls.name)}

    @cached_property
    def files(self) -> dict[str, Path]:
        """{id: mask} of all photos."""
        return masks.find_masks(self.folder(self.context.settings), list(self.context.photo_paths))

    @cached_property
    def reading(self) -> masks.Reading:
        """What the masks' pixels mean, told from all of them."""
        foreground = self.context.settings.external.foreground(self.name)
        return masks.recognise(list(self.files.values()), foreground)

    @cached_property
    def stored(self) -> tuple[bool, list[str]]:
        """Whether the masks lie as photos are stored, where sizes do not tell, and what is said."""
        photos = {i: photo for i, photo in self.context.photo_paths.items() if is_untold(photo)}
        return are_stored({i: evidence(photo, masks.read_foreground(
            self.files[i], self.reading) > masks.IGNORE) for i, photo in photos.items()})

    @cached_property
    def doubts(self) -> list[str]:
        return doubts(self.files, self.context.photo_paths, self.reading) + self.stored[1]

    def check_files(self) -> None:
        for doubt in self.doubts:
            log.warning("%s: %s", self.name, doubt)

    def notes(self) -> dict[str, object]:
        return {"read_as": self.reading.text, "doubts": self.doubts}

    def probabilities(self, batch: Batch) -> Tensor:
        pairs = zip(batch.ids, batch.paths, strict=True)
        read = [masks.read_foreground(self.files[i], self.reading, photo, self.stored[0])
                for i, photo in pairs]
        return torch.from_numpy(np.stack(read).astype(np.float32) / masks.FOREGROUND)

    def ignore_band(self) -> tuple[float, ...]:
        """The setting's; without it 128 alone. After refinement, 128 is a probability of 1/2."""
        if self.context.settings.masks.ignore_band or self.pipeline is not None:
            return super().ignore_band()
        return (masks.IGNORE - 0.5) / masks.FOREGROUND, (masks.IGNORE + 0.5) / masks.FOREGROUND
