"""A source's masks on disk: `masks/<source>/<image_id>.png` and `manifest.json`."""

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from petweak.data.files import (
    content_of,
    from_json,
    is_whole,
    on_disk,
    read_json,
    to_json,
    write_json,
    write_text,
)
from petweak.data.masks import BACKGROUND, FOREGROUND, IGNORE, RUN, write_mask, writer_of
from petweak.data.pictures import header
from petweak.pseudo_masks.base import Source
from petweak.pseudo_masks.refinement import PIPELINES, Pipeline
from petweak.pseudo_masks.selection import confidence, rank_pipelines
from petweak.pseudo_masks.thresholds import otsu

MANIFEST = "manifest.json"
SCORES = ("scores.csv", "scores.json")
PROGRESS = "progress.jsonl"  # a line a batch, so that a killed run goes on and no line is rewritten


def to_mask(soft: Tensor, shape: tuple[int, int], threshold: float | str,
            ignore_band: tuple[float, ...] = ()) -> np.ndarray:
    """Probabilities (h, w) -> (H, W) uint8: brought to the photo's size, then decided. Above
    `threshold` is foreground. With `ignore_band` the threshold is not used: foreground is at or
    above its upper end, background at or below its lower end, and IGNORE between."""
    if tuple(soft.shape) != tuple(shape):
        soft = F.interpolate(soft[None, None], tuple(shape), mode="bilinear")[0, 0]
    soft = soft.numpy()
    if ignore_band:
        decided = [soft >= ignore_band[1], soft <= ignore_band[0]]
        return np.select(decided, [FOREGROUND, BACKGROUND], IGNORE).astype(np.uint8)
    cut = otsu(soft) if threshold == "otsu" else threshold
    return np.where(soft > cut, FOREGROUND, BACKGROUND).astype(np.uint8)


def open_manifest(folder: Path, key: str) -> dict | None:
    """What was written when the masks in `folder` were finished, if that was with `key` and all of
    them are still there, and whole."""
    manifest = read_json(folder / MANIFEST)
    if manifest is None or manifest.get("key") != key:
        return None
    return manifest if all(is_whole(folder / f"{i}.png") for i in manifest["ids"]) else None


def prepare(source: Source) -> dict[str, Any]:
    """Fit a source and put its refinement pipeline after it; the choices made, for the manifest."""
    source.fit()
    settings, context, note = source.context.settings, source.context, source.notes()
    steps = source.refinement(settings)
    if steps == ("auto",):
        ranked = rank_pipelines(source, [p for p in PIPELINES if p != "consensus"])
        vote = tuple(ranked["pipeline"][: settings.refinement.ensemble_size])
        note |= {"ranking": ranked.round(5).to_dict("records"), "vote": list(vote)}
        steps, context = ("vote",), context.replace(settings.replace(vote_pipelines=vote))
    if steps:
        source.pipeline = Pipeline(steps, context, source)
        note["refinement"] = list(steps)
    return note


def make_masks(source: Source, name: str, ids: list[str], folder: Path, key: str) -> dict[str, Any]:
    """Write the masks of `ids` that are missing, and return the manifest. Masks that a killed run
    left behind with the same key are kept; others of petweak's are deleted first. Raises ValueError
    where somebody else's files are in `folder`, and where the source breaks its contract
    (`Source.probabilities`)."""
    done = Progress(folder, key)
    confidences, missing = done.confidence, done.missing(ids)
    note, threshold, band = prepare(source), source.threshold(), source.ignore_band()

    def write(image_id: str, soft: Tensor, photo: Path) -> None:
        width, height = header(photo).size
        write_mask(folder / f"{image_id}.png", to_mask(soft, (height, width), threshold, band))

    def finish(written: Iterable, values: dict[str, float]) -> None:
        list(written)  # raises what a writer raised
        done.note(values)
        bar.update(len(values))

    bar = tqdm(total=len(ids), initial=len(ids) - len(missing), desc=f"masks {name}", unit="photo")
    with torch.no_grad(), ThreadPoolExecutor(2) as pool, bar:
        pending: tuple = ()  # the masks of a batch are written while the next one is made
        for batch in source.context.batches(missing, source.batch_size):
            soft = source.refined(batch)
            _check(soft, name, batch.ids)
            if pending:
                finish(*pending)
            written = pool.map(write, batch.ids, soft, batch.paths)
            # of each map as it is here, which differs from that of the mask by resizing alone
            cuts = [otsu(m.numpy()) if threshold == "otsu" else threshold for m in soft]
            values = confidence(soft, soft.new_tensor(cuts)[:, None, None]).tolist()
            pending = written, dict(zip(batch.ids, values, strict=True))
        if pending:
            finish(*pending)
    centred = source.pipeline is not None and source.pipeline.centres
    manifest = {"key": key, "source": name, "threshold": threshold, "centred": centred,
                "seconds": round(done.seconds, 3), **note,
                **source.depends_on(source.context.settings),
                "ids": ids, "confidence": {i: round(confidences[i], 4) for i in ids}}
    return done.finish(manifest)


class Progress:
    """What is done of the masks in a folder: a line a batch, so that a killed run goes on. Those
    that earlier runs finished with the same key count; an empty folder where there are none.

    confidence, agreements: {id: value}; of each mask, and, of a round's, with that of the round
    before; seconds: that they took, over all the runs that it took.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self.key = folder, key
        notes = [read_json(folder / MANIFEST)]
        with suppress(FileNotFoundError, ValueError):  # ValueError: a kill has cut the last line
            for line in (folder / PROGRESS).read_bytes().splitlines():
                notes.append(from_json(line))
        same = [note for note in notes if isinstance(note, dict) and note.get("key") == key]
        if not same:
            _clear(folder, notes)
        self.confidence, self.agreements = {}, {}
        for note in same:
            self.confidence |= note["confidence"]
            self.agreements |= note.get("agreements", {})
        self._start = time.perf_counter() - (same[-1]["seconds"] if same else 0.0)
        folder.mkdir(parents=True, exist_ok=True)
        # Whole: a kill here costs no mask.
        write_text(folder / PROGRESS, self._line(self.confidence, self.agreements))
        (folder / MANIFEST).unlink(missing_ok=True)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start

    def _line(self, confidence: dict[str, float], agreements: dict[str, float]) -> str:
        return to_json({"key": self.key, "confidence": confidence, "agreements": agreements,
                        "seconds": self.seconds})

    def missing(self, ids: list[str]) -> list[str]:
        return [i for i in ids if i not in self.confidence
                or not is_whole(self.folder / f"{i}.png")]

    def note(self, confidence: dict[str, float], agreements: dict[str, float] | None = None
             ) -> None:
        """These masks are written."""
        self.confidence |= confidence
        self.agreements |= agreements or {}
        file = self.folder / PROGRESS
        with on_disk(file), file.open("a", encoding="utf-8", newline="\n") as lines:
            lines.write(self._line(confidence, agreements or {}))

    def finish(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """All are: `manifest` says what of."""
        write_json(self.folder / MANIFEST, manifest)
        (self.folder / PROGRESS).unlink()
        return manifest


def _clear(folder: Path, notes: list[dict | None]) -> None:
    """Delete the masks that petweak wrote, as they or `notes` tell, and their scores."""
    known = {f"{i}.png" for note in notes if note for i in note["confidence"]}
    masks = list(folder.glob("[!.]*.png"))
    others = (p for p in masks if p.name not in known and writer_of(p) != RUN)
    # an empty file, or a pointer in place of a mask, is nobody's picture
    if foreign := sorted(p.name for p in others if not content_of(p, "")):
        raise ValueError(f"{folder} is where petweak writes masks, and it did not write "
                         f"{foreign[0]}, which is there: move your files to a folder of their own")
    for file in (*masks, *(folder / name for name in SCORES)):
        file.unlink(missing_ok=True)


def _check(soft: Tensor, name: str, ids: list[str]) -> None:
    """The contract of a source."""
    if soft.ndim != 3 or len(soft) != len(ids):
        raise ValueError(f"source {name}: {tuple(soft.shape)} for {len(ids)} photos, not (B, H, W)")
    if not torch.isfinite(soft).all() or soft.min() < 0 or soft.max() > 1:
        raise ValueError(f"source {name}: values outside [0, 1] for {', '.join(ids[:3])} ...")
