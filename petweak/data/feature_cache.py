"""Feature extraction, the one pass of the frozen backbone over the photos, and its cache.

    features/index.json          key, ids, levels, engine, passes, seconds, crc32 of each row
    features/<level>.npy         (N, 2, C, h, w) float16: the photo and its mirror image
    features/pooled.npy          (N, 2, C) float32: means of the final map, as stored

The pass writes into `features.partial/` batch by batch, notes each in a line of progress.jsonl, and
renames the folder at the end. Batches are always cut alike, so a pass that was killed goes on with
the same values as without a stop. Its files have their full size from the first batch on: a disk
that is too small is told there. A row is compared with its checksum when a process first reads it;
a damaged one is made again. Of several processes, each writes the rows of its batches, and the
first one notes them when they are written.
"""

import errno
import functools
import logging
import mmap
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from petweak.config import Settings
from petweak.data.distributed import gathered, quiet, share, together
from petweak.data.files import add_to, is_whole, lines_of, read_json, replacing, reserve, write_json
from petweak.data.oxford_pets import Sample, load_photo, resize

log = logging.getLogger(__name__)
VIEWS = 2  # the photo and its mirror image
INDEX, PROGRESS = "index.json", "progress.jsonl"
Network = Callable[[Tensor], dict[str, Tensor]]  # (B, 3, S, S) in [0, 1] -> {level: (B, C, h, w)}


@dataclass
class Features:
    """An open cache. Rows are photos, in the order of `ids`."""

    folder: Path
    ids: tuple[str, ...]
    levels: tuple[str, ...]
    passes: int = 0  # pictures that went through the network, mirror images included
    seconds: float = 0.0  # that the pass took, over all the runs that it took
    arrays: dict[str, np.ndarray] = field(default_factory=dict)  # {level: map}, once opened
    crc32: dict[str, str] = field(default_factory=dict)  # {level: 8 hexadecimal digits a row}
    # Makes these damaged rows again; None where the cache is another run's.
    mend: Callable[["Features", list[int]], None] | None = None

    def __post_init__(self) -> None:
        self.row = {image_id: i for i, image_id in enumerate(self.ids)}
        self._good: set[tuple[str, int]] = set()  # what has been compared with its checksum

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which maps the files into its own memory."""
        inside = {k: m for k, m in self.arrays.items() if not isinstance(m, np.memmap)}
        return vars(self) | {"arrays": inside}

    def map(self, level: str) -> np.ndarray:
        """(N, 2, C, h, w) float16, memory-mapped and read-only; (N, 2, C) of `pooled`."""
        if level not in (*self.levels, "pooled"):
            raise ValueError(f"{self.folder} has the levels {', '.join(self.levels)}, not {level}: "
                             "see the setting stored_levels")
        if level not in self.arrays:
            self.arrays[level] = np.load(self.folder / f"{level}.npy", mmap_mode="r")
        return self.arrays[level]

    def half(self, level: str, ids: list[str], mirror: np.ndarray | bool = False) -> Tensor:
        """(B, C, h, w) float16 of the photos `ids`; where `mirror` is true, of the mirror image."""
        views = np.broadcast_to(np.asarray(mirror, dtype=np.int64), len(ids))
        return self._read(level, [self.row[i] for i in ids], views)

    def batch(self, level: str, ids: list[str], mirror: np.ndarray | bool = False) -> Tensor:
        """As `half`, in float32."""
        return self.half(level, ids, mirror).float()

    def pooled(self, ids: list[str]) -> Tensor:
        """(B, 2, C) float32: what the classifier's linear layer sees, photo and mirror image."""
        return self._read("pooled", [self.row[i] for i in ids])

    def _read(self, level: str, *index: Any) -> Tensor:
        """A copy of these rows. The pages of the file that they lie on leave the process's memory
        again, which would otherwise grow to the size of the cache."""
        maps = self.map(level)
        if new := [r for r in index[0] if level in self.crc32 and (level, r) not in self._good]:
            self._verify(level, new)
        rows = torch.from_numpy(maps[index])
        if isinstance(maps, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
            maps._mmap.madvise(mmap.MADV_DONTNEED)
        return rows

    def bad_rows(self, level: str, rows: Iterable[int]) -> list[int]:
        """Those whose bytes have another checksum than those that the pass wrote."""
        maps, sums = self.map(level), self.crc32[level]
        return [r for r in rows if _crc32(maps[r]) != sums[8 * r : 8 * r + 8]]

    def _verify(self, level: str, rows: list[int]) -> None:
        if bad := self.bad_rows(level, rows):
            names = ", ".join(self.ids[r] for r in bad)
            what = f"{self.folder / level}.npy is damaged in the maps of {names}"
            if self.mend is None:
                raise OSError(f"{what}, and is another run's, which is only read: delete "
                              f"{self.folder}, and each run that needs it makes its own")
            log.warning("%s, which are made again", what)
            self.mend(self, bad)
            if self.bad_rows(level, bad):
                raise OSError(f"{what}, and they could not be made as they were: delete "
                              f"{self.folder}, and `petweak study` makes it again")
        self._good.update((level, r) for r in rows)


def _crc32(row: np.ndarray) -> str:
    return f"{zlib.crc32(row):08x}"


def photo_tensor(photo: Image.Image, size: int) -> Tensor:
    """(3, size, size) float32 in [0, 1], by the one resize rule of photos."""
    return torch.from_numpy(np.array(resize(photo, size))).permute(2, 0, 1).float() / 255


def _photo_tensors(samples: list[Sample], size: int) -> Tensor:
    return torch.stack([photo_tensor(load_photo(s.photo), size) for s in samples])


def photo_features(photo: Image.Image, network: Network, settings: Settings, name: str,
                   device: Any = "cpu") -> Features:
    """The features of one photo that is in no data set, in memory; its id is `name`."""
    x, levels = photo_tensor(photo, settings.backbone.image_size), settings.backbone.stored_levels
    arrays = _maps(network, x[None].to(device), levels)
    return Features(Path(), (name,), levels, VIEWS, arrays=arrays)


def scaled_size(size: int, scale: float) -> int:
    """The picture size at a scale: the nearest multiple of 32, the largest stride."""
    return max(32, round(size * scale / 32) * 32)


def open_features(folder: Path, key: str) -> Features | None:
    """The cache in `folder` if it is complete and was made with `key`, else None."""
    index = read_json(folder / INDEX)
    if index is None or index.get("key") != key or "crc32" not in index:
        return None
    features = Features(folder, tuple(index["ids"]), tuple(index["levels"]), index["passes"],
                        index["seconds"], crc32=index["crc32"])
    return features if _files_whole(folder, features.levels) else None


def extract_features(samples: tuple[Sample, ...],
                     choose_engine: Callable[[Tensor, str], tuple[str, Network]],
                     settings: Settings, folder: Path, key: str, device: torch.device,
                     loader: Callable[..., Iterable[Tensor]] = DataLoader) -> dict[str, Any]:
    """Run the frozen network once per photo and view, write the cache, and return its index.

    `choose_engine` gets the first batch and the setting `engine`, and returns the engine's name and
    the network in it; the name is kept with the pass, so a pass that goes on has the same one. A
    pass with the same key goes on; anything else in `folder` is replaced. `loader` gives the
    decoded batches. OSError where the disk has no room for the pass."""
    s = settings.backbone
    partial = folder.with_name(folder.name + ".partial")
    if open_features(partial, key):  # killed between its end and its place
        _publish(partial, folder)
        return read_json(folder / INDEX)
    notes = [{"key": key, "engine": None, "rows": [0, 0], "seconds": 0.0,
              "crc32": dict.fromkeys((*s.stored_levels, "pooled"), "")}]
    for note in lines_of(partial / PROGRESS) if _files_whole(partial, s.stored_levels) else ():
        if note.get("key") == key and note["rows"][0] == notes[-1]["rows"][1]:
            notes.append(note)
    if len(notes) == 1:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    together(_pass, samples, choose_engine, settings, partial, notes, device, loader)
    index = {k: notes[-1][k] for k in ("key", "engine", "seconds")}
    index |= {"crc32": {k: "".join(note["crc32"][k] for note in notes) for k in notes[0]["crc32"]},
              "passes": VIEWS * len(samples), "levels": list(s.stored_levels),
              "ids": [sample.id for sample in samples]}
    write_json(partial / INDEX, index)
    _publish(partial, folder)
    return index


def _pass(samples: tuple[Sample, ...], choose_engine: Callable, settings: Settings, partial: Path,
          notes: list[dict[str, Any]], device: torch.device, loader: Callable) -> None:
    """The rest of a pass, after its last note: a batch for each process, then the next ones. The
    first batch of all chooses the engine, and makes the files."""
    s, (rank, n), network, note = settings.backbone, share(), None, dict(notes[-1])
    start, done, size = time.perf_counter() - note["seconds"], note["rows"][1], s.extraction_batch
    batches = [range(len(samples))[k : k + size] for k in range(done, len(samples), size)]
    decoded = iter(loader(
        samples, batch_sampler=batches[rank::n], num_workers=settings.system.workers,
        collate_fn=functools.partial(_photo_tensors, size=s.image_size)))
    name = f"features {s.backbone} {s.image_size} px"
    with tqdm(total=len(samples), initial=done, desc=name, unit="photo", **quiet()) as bar:
        for turn in range(0, len(batches), n):
            if not turn and rank:
                note["engine"] = gathered(None)[0]
            sums = {}
            for rows in batches[turn : turn + n][rank : rank + 1]:
                batch = next(decoded).to(device)
                if network is None:
                    views = torch.cat([batch, batch.flip(-1)])
                    note["engine"], network = choose_engine(views, note["engine"] or s.engine)
                maps = _maps(network, batch, s.stored_levels)
                if rows.start == 0:
                    _check_room(partial, len(samples), maps)
                for level, m in maps.items():
                    # Not flushed: rows that a power cut loses fail their checksum, and are mended.
                    _array(partial / f"{level}.npy", len(samples), m)[rows.start : rows.stop] = m
                    sums[level] = "".join(map(_crc32, m))
            if not turn and not rank:
                gathered(note["engine"])
            parts, done, end = gathered(sums), note["rows"][1], batches[turn : turn + n][-1].stop
            note = note | {"rows": [done, end], "seconds": time.perf_counter() - start,
                           "crc32": {k: "".join(p.get(k, "") for p in parts) for k in sums}}
            bar.update(end - done)
            notes.append(note)
            if not rank:
                add_to(partial / PROGRESS, note)


@torch.random.fork_rng(devices=[])  # in the middle of a training perhaps
def mend_rows(samples: tuple[Sample, ...], choose_engine: Callable, settings: Settings,
              device: torch.device, features: Features, rows: list[int]) -> None:
    """Make rows of a finished cache again as `extract_features` made them, in the same batches, and
    put those of their maps in place that have the checksum of the pass."""
    size, network = settings.backbone.extraction_batch, None
    engine = read_json(features.folder / INDEX)["engine"]
    for first in sorted({row // size * size for row in rows}):
        batch = _photo_tensors(samples[first : first + size], settings.backbone.image_size)
        batch = batch.to(device)
        if network is None:
            _, network = choose_engine(torch.cat([batch, batch.flip(-1)]), engine)
        for level, maps in _maps(network, batch, features.levels).items():
            out = np.load(features.folder / f"{level}.npy", mmap_mode="r+")
            for row in features.bad_rows(level, range(first, first + len(batch))):
                if _crc32(maps[row - first]) == features.crc32[level][8 * row : 8 * row + 8]:
                    out[row] = maps[row - first]
            out.flush()


def _publish(partial: Path, folder: Path) -> None:
    """Put a new cache in its place, before the old one is deleted."""
    (partial / PROGRESS).unlink(missing_ok=True)
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(partial, folder)
    shutil.rmtree(old, ignore_errors=True)


@torch.inference_mode()
def _maps(network: Network, photos: Tensor, levels: tuple[str, ...]) -> dict[str, np.ndarray]:
    """(B, 3, S, S) -> (B, 2, C, h, w) float16 each, and `pooled`, (B, 2, C)."""
    maps = network(torch.cat([photos, photos.flip(-1)]))
    out = {k: torch.stack(maps[k].half().chunk(VIEWS), dim=1).cpu().numpy() for k in levels}
    pooled = out["final"].astype(np.float32).mean(axis=(-2, -1), dtype=np.float32)
    return out | {"pooled": pooled}


def _files_whole(folder: Path, levels: tuple[str, ...]) -> bool:
    return all(is_whole(folder / f"{level}.npy") for level in (*levels, "pooled"))


def _check_room(folder: Path, n: int, maps: dict[str, np.ndarray]) -> None:
    """OSError where `n` photos with such maps do not fit on the disk."""
    needed = sum(m[0].nbytes * n for m in maps.values())
    if needed > (free := shutil.disk_usage(folder.parent).free):
        raise OSError(
            errno.ENOSPC, f"the feature maps of {n} photos take {needed / 1e6:,.0f} MB, and "
            f"{free / 1e6:,.0f} MB are free: make room, choose another --run, fewer stored_levels "
            "or a smaller image_size", str(folder))


def _array(path: Path, n: int, like: np.ndarray) -> np.ndarray:
    if not path.is_file():
        shape = (n, *like.shape[1:])
        with replacing(path) as beside:
            np.lib.format.open_memmap(beside, "w+", dtype=like.dtype, shape=shape)
            reserve(beside)
    return np.load(path, mmap_mode="r+")
