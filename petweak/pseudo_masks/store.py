"""A source's masks on disk: `masks/<source>/<image_id>.png` and `manifest.json`."""

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from petweak.data import files
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
    them are still there, and as they were written."""
    manifest = files.read_json(folder / MANIFEST)
    if manifest is None or manifest.get("key") != key:
        return None
    wrote = manifest.get("hashes", {})  # older versions noted none
    same = (files.is_as_written(folder / f"{i}.png", wrote.get(i, "")) for i in manifest["ids"])
    return manifest if all(same) else None


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
    before; hashes: of its file; seconds: that they took, over all the runs that it took."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self.key = folder, key
        begun = files.lines_of(folder / PROGRESS)
        notes = list(filter(None, [files.read_json(folder / MANIFEST), *begun]))
        same = [note for note in notes if note.get("key") == key]
        if not same:
            _clear(folder, notes)
        self.confidence, self.agreements, self.hashes = {}, {}, {}
        for note in same:
            self.confidence |= note["confidence"]
            self.agreements |= note.get("agreements", {})
            self.hashes |= note.get("hashes", {})
        self._start = time.perf_counter() - (same[-1]["seconds"] if same else 0.0)
        folder.mkdir(parents=True, exist_ok=True)
        # Whole: a kill here costs no mask.
        line = self._line(self.confidence, self.agreements, self.hashes)
        files.write_text(folder / PROGRESS, files.to_json(line))
        (folder / MANIFEST).unlink(missing_ok=True)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start

    def _line(self, confidence: dict[str, float], agreements: dict[str, float],
              hashes: dict[str, str]) -> dict[str, Any]:
        return {"key": self.key, "confidence": confidence, "agreements": agreements,
                "hashes": hashes, "seconds": self.seconds}

    def missing(self, ids: list[str]) -> list[str]:
        """Those that are to be made. A mask that somebody has changed is set aside first."""
        wrote = {i: self.hashes.get(i, "") for i in ids if i in self.confidence}
        missing = [i for i in ids if i not in wrote
                   or not files.is_as_written(self.folder / f"{i}.png", wrote[i])]
        _keep_changed(self.folder, {i: wrote[i] for i in missing if i in wrote})
        return missing

    def note(self, confidence: dict[str, float], agreements: dict[str, float] | None = None
             ) -> None:
        """These masks are written."""
        self.confidence |= confidence
        self.agreements |= agreements or {}
        hashes = {i: files.file_hash(self.folder / f"{i}.png") for i in confidence}
        self.hashes |= hashes
        files.add_to(self.folder / PROGRESS, self._line(confidence, agreements or {}, hashes))

    def finish(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """All are: `manifest` says what of."""
        manifest |= {"hashes": {i: self.hashes[i] for i in manifest["ids"] if i in self.hashes}}
        files.write_json(self.folder / MANIFEST, manifest)
        (self.folder / PROGRESS).unlink()
        return manifest


def _clear(folder: Path, notes: list[dict]) -> None:
    """Delete the masks that petweak wrote, as they or `notes` tell, and their scores. Those that
    somebody has changed since are set aside."""
    known = {f"{i}.png" for note in notes for i in note["confidence"]}
    masks = list(folder.glob("[!.]*.png"))
    others = (p for p in masks if p.name not in known and writer_of(p) != RUN)
    # an empty file, or a pointer in place of a mask, is nobody's picture
    if foreign := sorted(p.name for p in others if not files.content_of(p, "")):
        raise ValueError(f"{folder} is where petweak writes masks, and it did not write "
                         f"{foreign[0]}, which is there: move your files to a folder of their own")
    wrote: dict[str, str] = {}
    for note in notes:
        wrote |= note.get("hashes", {})
    _keep_changed(folder, wrote)
    for file in (*masks, *(folder / name for name in SCORES)):
        file.unlink(missing_ok=True)


def _keep_changed(folder: Path, wrote: dict[str, str]) -> None:
    """Set aside the masks {id: hash} with another content, but for damaged ones; an older version
    noted no hash, and its masks are as they are."""
    for image_id, noted in wrote.items():
        if noted and files.is_whole(file := folder / f"{image_id}.png"):
            files.set_aside(file, [noted])


def _check(soft: Tensor, name: str, ids: list[str]) -> None:
    """The contract of a source."""
    if soft.ndim != 3 or len(soft) != len(ids):
        raise ValueError(f"source {name}: {tuple(soft.shape)} for {len(ids)} photos, not (B, H, W)")
    if not torch.isfinite(soft).all() or soft.min() < 0 or soft.max() > 1:
        raise ValueError(f"source {name}: values outside [0, 1] for {', '.join(ids[:3])} ...")
