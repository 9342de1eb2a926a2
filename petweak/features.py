"""The one pass of the frozen backbone, and its memory-mapped cache.

    features/index.json            key, ids, taps, scales, engine
    features/<tap>@<scale>.npy     (N, 2, C, h, w) float16: the photo, its mirror image
    features/pooled@<scale>.npy    (N, 2, C) float32: means of the last map, as stored

The pass writes into `features.partial/` batch by batch and renames the folder at the end. Batches
are cut at fixed places, so a killed pass goes on with the very numbers it would have had.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from petweak.backbones import Backbone
from petweak.config import Settings
from petweak.data.pets import Sample, load_photo, resize
from petweak.engines import make_engine
from petweak.files import read_json, write_json

VIEWS = 2  # the photo and its mirror image


@dataclass
class Features:
    """An open cache. Rows are photos, in the order of `ids`."""

    folder: Path
    ids: tuple[str, ...]
    taps: tuple[str, ...]
    scales: tuple[float, ...]
    passes: int  # forward passes that made it, views and scales included
    seconds: float  # that it took, over all the runs that it took
    arrays: dict[str, np.ndarray] = field(default_factory=dict)  # {"last@1.0": map}, once opened

    def __post_init__(self) -> None:
        self.row = {image_id: i for i, image_id in enumerate(self.ids)}

    def map(self, tap: str, scale: float = 1.0) -> np.ndarray:
        """(N, 2, C, h, w) float16, memory-mapped, read-only."""
        if tap not in (*self.taps, "pooled") or scale not in self.scales:
            raise KeyError(
                f"{self.folder} has the taps {', '.join(self.taps)} at the scales {self.scales}, "
                f"not {tap} at {scale}; see the settings `store` and `scales`"
            )
        name = f"{tap}@{scale}"
        if name not in self.arrays:
            self.arrays[name] = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        return self.arrays[name]

    def batch(
        self, tap: str, ids: list[str], mirror: np.ndarray | bool = False, scale: float = 1.0
    ) -> Tensor:
        """(B, C, h, w) float32 of the photos `ids`; where `mirror` is true, of the mirror image."""
        rows = np.array([self.row[i] for i in ids])
        views = np.broadcast_to(np.asarray(mirror, dtype=np.int64), rows.shape)
        return torch.from_numpy(self.map(tap, scale)[rows, views].astype(np.float32))

    def pooled(self, ids: list[str], scale: float = 1.0) -> Tensor:
        """(B, 2, C) float32: what the classifier's linear layer sees, photo and mirror image."""
        rows = [self.row[i] for i in ids]
        return torch.from_numpy(self.map("pooled", scale)[rows])


class PhotoTensors(Dataset):
    """Photos as (3, size, size) float32 in [0, 1]."""

    def __init__(self, samples: tuple[Sample, ...], size: int) -> None:
        self.samples, self.size = samples, size

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, i: int) -> Tensor:
        return photo_tensor(load_photo(self.samples[i].photo), self.size)


def photo_tensor(photo, size: int) -> Tensor:
    """PIL image -> (3, size, size) float32 in [0, 1], by the one resize rule."""
    array = np.asarray(resize(photo, size))
    return torch.from_numpy(array.copy()).permute(2, 0, 1).float() / 255


def photo_features(photo, backbone: Backbone, settings: Settings, name: str) -> Features:
    """The features of one photo that is in no data set, in memory; its id is `name`."""
    arrays = {}
    for scale in settings.scales:
        x = photo_tensor(photo, scaled_size(settings.image_size, scale))[None]
        x = x.to(next(backbone.parameters()).device)
        with torch.inference_mode():
            maps = backbone(torch.cat([x, x.flip(-1)]))
        arrays |= {f"{tap}@{scale}": _views(maps[tap]) for tap in settings.store}
        last = arrays[f"last@{scale}"].astype(np.float32)
        arrays[f"pooled@{scale}"] = last.mean(axis=(-2, -1), dtype=np.float32)
    passes = VIEWS * len(settings.scales)
    return Features(Path(), (name,), settings.store, settings.scales, passes, 0.0, arrays)


def scaled_size(size: int, scale: float) -> int:
    """The picture size at a scale: the nearest multiple of 32, because that is the stride."""
    return max(32, round(size * scale / 32) * 32)


def open_features(folder: Path, key: str) -> Features | None:
    """The cache in `folder` if it is complete and was made with `key`, else None."""
    index = read_json(folder / "index.json")
    if index is None or index["key"] != key:
        return None
    features = Features(
        folder,
        tuple(index["ids"]),
        tuple(index["taps"]),
        tuple(index["scales"]),
        index["passes"],
        index["seconds"],
    )
    names = [f"{t}@{s}.npy" for t in (*features.taps, "pooled") for s in features.scales]
    return features if all((folder / n).is_file() for n in names) else None


def extract_features(
    samples: tuple[Sample, ...],
    backbone: Backbone,
    settings: Settings,
    folder: Path,
    key: str,
    device: torch.device,
) -> Features:
    """Run the backbone once per photo, view and scale, and write the cache.

    Continues a pass that was killed (same key); anything else in `folder` is replaced.
    """
    partial = folder.with_name(folder.name + ".partial")
    state = read_json(partial / "progress.json")
    if state is None or state["key"] != key:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        state = {"key": key, "engine": None, "done": {}, "passes": 0, "seconds": 0.0}
    for scale in settings.scales:
        _extract_scale(samples, backbone, settings, scale, partial, state, device)
    index = {
        "key": key,
        "engine": state["engine"],
        "taps": list(settings.store),
        "scales": list(settings.scales),
        "passes": state["passes"],
        "seconds": state["seconds"],
        "ids": [s.id for s in samples],
    }
    write_json(partial / "index.json", index)
    _publish(partial, folder)
    (folder / "progress.json").unlink()
    return open_features(folder, key)


def link_features(source: Path, folder: Path, key: str) -> Features | None:
    """The cache in `source` in `folder`, too: by hard links, or copies where the file system has
    none. None, and nothing done, where `source` has no complete cache that was made with `key`.

    No file of a cache is ever written again (a pass writes new ones), so what is done in one folder
    is not seen in the other.
    """
    if open_features(source, key) is None:
        return None
    partial = folder.with_name(folder.name + ".linked")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for file in (f for f in source.iterdir() if f.is_file()):
            try:
                os.link(file, partial / file.name)
            except OSError:
                shutil.copyfile(file, partial / file.name)
    except FileNotFoundError:  # another process is replacing `source`
        pass
    if open_features(partial, key) is None or open_features(source, key) is None:
        shutil.rmtree(partial)
        return None
    _publish(partial, folder)
    return open_features(folder, key)


def _publish(partial: Path, folder: Path) -> None:
    """Put a new cache in its place, before the old one is deleted."""
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(partial, folder)
    shutil.rmtree(old, ignore_errors=True)


def _extract_scale(samples, backbone, settings, scale, partial, state, device) -> None:
    size, step = scaled_size(settings.image_size, scale), settings.pass_batch
    done = state["done"].get(str(scale), 0)
    if done == len(samples):
        return
    todo = samples[done:]
    loader = DataLoader(PhotoTensors(todo, size), step, num_workers=settings.workers)
    out, bar = None, tqdm(total=len(samples), initial=done, desc=f"features @{scale}", unit="photo")
    run = None
    start = time.perf_counter()
    for photos in loader:
        photos = photos.to(device)
        both = torch.cat([photos, photos.flip(-1)])
        if run is None:
            # The choice is kept with the pass, so that a continued pass has the same engine.
            wanted = state["engine"] or settings.engine
            state["engine"], run = make_engine(backbone, both, wanted)
        passes = backbone.passes
        with torch.inference_mode():
            maps = run(both)
        maps = {tap: _views(maps[tap]) for tap in settings.store}
        maps["pooled"] = maps["last"].astype(np.float32).mean(axis=(-2, -1), dtype=np.float32)
        if out is None:
            out = {
                tap: _array(partial / f"{tap}@{scale}.npy", len(samples), m)
                for tap, m in maps.items()
            }
        for tap, m in maps.items():
            out[tap][done : done + len(photos)] = m
        done += len(photos)
        bar.update(len(photos))
        for array in out.values():
            array.flush()
        state["done"][str(scale)] = done
        state["passes"] += backbone.passes - passes
        state["seconds"] += time.perf_counter() - start
        start = time.perf_counter()
        write_json(partial / "progress.json", state)
    bar.close()


def _views(m: Tensor) -> np.ndarray:
    """(2B, C, h, w), photos first -> (B, 2, C, h, w) float16."""
    return torch.stack(m.chunk(2), dim=1).half().cpu().numpy()


def _array(path: Path, n: int, like: np.ndarray) -> np.ndarray:
    if path.is_file():  # a pass that goes on
        return np.load(path, mmap_mode="r+")
    return np.lib.format.open_memmap(path, "w+", dtype=like.dtype, shape=(n, *like.shape[1:]))
