"""A source's masks on disk: `masks/<source>/<image_id>.png` and `manifest.json`."""

import json
import shutil
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from petweak.data.files import read_json, write_json
from petweak.data.masks import BACKGROUND, FOREGROUND, IGNORE, write_mask
from petweak.pseudo_masks.base import Batch, Source
from petweak.pseudo_masks.refinement import PIPELINES, Pipeline
from petweak.pseudo_masks.selection import confidence, rank_pipelines
from petweak.pseudo_masks.thresholds import otsu

MANIFEST = "manifest.json"
PROGRESS = "progress.jsonl"  # a line a batch, so that a killed run goes on and no line is rewritten


def to_mask(
    soft: Tensor, shape: tuple[int, int], threshold: float | str,
    ignore_band: tuple[float, ...] = (),
) -> np.ndarray:
    """Probabilities (h, w) -> (H, W) uint8: brought to the photo's size, then decided.

    Above `threshold` is foreground. With `ignore_band` the threshold is not used: foreground is at
    or above its upper end, background at or below its lower end, and IGNORE between.
    """
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
    them are still there."""
    manifest = read_json(folder / MANIFEST)
    if manifest is None or manifest["key"] != key:
        return None
    here = {p.stem for p in folder.glob("*.png")}
    return manifest if here.issuperset(manifest["ids"]) else None


def prepare(source: Source) -> dict[str, Any]:
    """Fit a source and put its refinement pipeline after it; the choices made, for the manifest."""
    source.fit()
    settings = source.context.settings
    steps, note, context = source.refinement(settings), {}, source.context
    if not steps:
        return note
    if steps == ("auto",):
        ranked = rank_pipelines(source, [p for p in PIPELINES if p != "consensus"])
        vote = tuple(ranked["pipeline"][: settings.refinement.ensemble_size])
        note = {"ranking": ranked.round(5).to_dict("records"), "vote": list(vote)}
        steps, context = ("vote",), context.replace(settings.replace(vote_pipelines=vote))
    source.pipeline = Pipeline(steps, context, source)
    return note | {"refinement": list(steps)}


def make_masks(source: Source, name: str, ids: list[str], folder: Path, key: str) -> dict[str, Any]:
    """Write the masks of `ids` that are missing, and return the manifest.

    Masks that a killed run left behind with the same key are kept; others are deleted first. Raises
    ValueError where the source breaks its contract (`Source.probabilities`).
    """
    start, context = time.perf_counter(), source.context
    confidences, before = _progress(folder, key)
    (folder / MANIFEST).unlink(missing_ok=True)
    missing = [i for i in ids if i not in confidences or not (folder / f"{i}.png").is_file()]
    note = prepare(source)
    threshold, band = source.threshold(), source.ignore_band()
    bar = tqdm(total=len(ids), initial=len(ids) - len(missing), desc=f"masks {name}", unit="photo")
    with (
        torch.no_grad(), ThreadPoolExecutor(2) as pool,
        (folder / PROGRESS).open("a", encoding="utf-8") as progress, bar,
    ):
        pending: list[Future] = []  # the masks of a batch are written while the next one is made

        def finish(values: dict[str, float]) -> None:
            for job in pending:
                job.result()
            confidences.update(values)
            seconds = before + time.perf_counter() - start
            progress.write(json.dumps({"confidence": values, "seconds": seconds}) + "\n")
            progress.flush()
            bar.update(len(values))

        values: dict[str, float] = {}
        for batch in context.batches(missing, source.batch_size):
            soft = source.refined(batch)
            _check(soft, name, batch.ids)
            if values:
                finish(values)
            pending = [
                pool.submit(_write, folder / f"{i}.png", m, path, threshold, band)
                for i, m, path in zip(batch.ids, soft, batch.paths, strict=True)
            ]
            values = _confidences(batch, soft, threshold)
        if values:
            finish(values)
    manifest = {
        "key": key, "source": name, "threshold": threshold,
        "seconds": round(before + time.perf_counter() - start, 3),
        **note, **source.depends_on(context.settings),
        "ids": ids, "confidence": {i: round(confidences[i], 4) for i in ids},
    }
    write_json(folder / MANIFEST, manifest)
    (folder / PROGRESS).unlink()
    return manifest


def _progress(folder: Path, key: str) -> tuple[dict[str, float], float]:
    """{id: confidence} of the masks that an earlier run finished with this key, and its seconds; an
    empty folder where there are none."""
    manifest, lines = read_json(folder / MANIFEST), []
    if manifest is not None and manifest["key"] == key:
        lines = [manifest]
    elif (folder / PROGRESS).is_file():
        for line in (folder / PROGRESS).read_bytes().splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:  # cut by a kill
                break
        lines = lines[1:] if lines and lines[0] == {"key": key} else []
    if not lines:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    noted = {k: v for line in lines for k, v in line["confidence"].items()}
    seconds = lines[-1]["seconds"] if lines else 0.0
    rest = json.dumps({"confidence": noted, "seconds": seconds}) + "\n" if noted else ""
    (folder / PROGRESS).write_text(json.dumps({"key": key}) + "\n" + rest, encoding="utf-8")
    return noted, seconds


def _confidences(batch: Batch, soft: Tensor, threshold: float | str) -> dict[str, float]:
    """Measured at the threshold that the mask is cut at, of each photo its own with `otsu`."""
    cuts = [otsu(m.numpy()) if threshold == "otsu" else threshold for m in soft]
    values = confidence(soft, torch.tensor(cuts, dtype=soft.dtype)[:, None, None])
    return dict(zip(batch.ids, values.tolist(), strict=True))


def _write(
    path: Path, soft: Tensor, photo: Path, threshold: float | str, band: tuple[float, ...]
) -> None:
    with Image.open(photo) as image:  # reads the header only
        width, height = image.size
    write_mask(path, to_mask(soft, (height, width), threshold, band))


def _check(soft: Tensor, name: str, ids: list[str]) -> None:
    """The contract of a source, checked at the one place that all maps pass."""
    if soft.ndim != 3 or len(soft) != len(ids):
        raise ValueError(f"source {name}: {tuple(soft.shape)} for {len(ids)} photos, not (B, H, W)")
    if not torch.isfinite(soft).all() or soft.min() < 0 or soft.max() > 1:
        raise ValueError(f"source {name}: values outside [0, 1] for {', '.join(ids[:3])} ...")
