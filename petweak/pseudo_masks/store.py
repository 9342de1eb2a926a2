"""A source's masks on disk: `masks/<source>/<image_id>.png` and `manifest.json`."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from petweak.files import read_json, replacing, write_json
from petweak.pseudo_masks.base import Context, Source
from petweak.pseudo_masks.refiners import CHAINS, Chain
from petweak.pseudo_masks.signals import confidence, rank_chains
from petweak.pseudo_masks.thresholds import otsu

PET, UNSURE, BACKGROUND = 255, 128, 0  # the values of a mask's pixels


def read_mask(path: Path) -> np.ndarray:
    """(H, W) uint8 of 255 pet, 0 background, 128 unsure."""
    with Image.open(path) as image:
        return np.asarray(image)


def write_mask(path: Path, mask: np.ndarray) -> None:
    with replacing(path) as beside:
        Image.fromarray(mask).save(beside, format="PNG", compress_level=1)


def to_mask(
    soft: Tensor,
    shape: tuple[int, int],
    threshold: float | str,
    unsure: tuple[float, float] | None = None,
) -> np.ndarray:
    """Probabilities (h, w) -> (H, W) uint8: brought to the photo's size, then decided.

    Above `threshold` is pet. With `unsure` the threshold has no say: pet is what reaches the upper
    of the two numbers, background what does not exceed the lower one, and 128 what lies between.
    """
    if tuple(soft.shape) != shape:
        soft = F.interpolate(soft[None, None], shape, mode="bilinear")[0, 0]
    soft = soft.numpy()
    if unsure is not None:
        sure = [soft >= unsure[1], soft <= unsure[0]]
        return np.select(sure, [PET, BACKGROUND], UNSURE).astype(np.uint8)
    cut = otsu(soft) if threshold == "otsu" else threshold
    return np.where(soft > cut, PET, BACKGROUND).astype(np.uint8)


def manifest(folder: Path, key: str) -> dict | None:
    """What was written when the masks in `folder` were finished, if that was with `key` and all
    of them are still there."""
    found = read_json(folder / "manifest.json")
    if found is None or found["key"] != key:
        return None
    here = {p.stem for p in folder.glob("*.png")}
    return found if here.issuperset(found["ids"]) else None


def prepare(source: Source) -> dict:
    """Fit a source and put its refiners behind it; what was chosen on the way, for the manifest."""
    source.fit()
    s = source.context.settings
    names, note = source.refine(s), {}
    if not names:
        return note
    context = source.context
    if names == ("auto",):
        ranked = rank_chains(source, [c for c in CHAINS if c != "consensus"])
        vote = tuple(ranked["chain"][: s.panel])
        note["ranking"], note["vote"] = ranked.round(5).to_dict("records"), list(vote)
        names, context = ("vote",), context.with_settings(replace(s, vote=vote))
    source.chain = Chain(names, context, source)
    return note | {"refine": list(names)}


def make_masks(
    source: Source, name: str, ids: list[str], context: Context, folder: Path, key: str
) -> dict:
    """Ask `source` for the masks of `ids`, write what is missing, and return the manifest.

    Masks that a killed run left behind with the same key are kept; others are deleted first.
    """
    state_file, start = folder / "progress.json", time.perf_counter()
    state = read_json(state_file) or read_json(folder / "manifest.json")
    if state is None or state["key"] != key:
        shutil.rmtree(folder, ignore_errors=True)
        state = {"key": key, "seconds": 0.0}
    (folder / "manifest.json").unlink(missing_ok=True)
    write_json(state_file, state)
    noted = state.get("confidence", {})
    missing = [i for i in ids if i not in noted or not (folder / f"{i}.png").is_file()]

    note = prepare(source)
    threshold, sure = source.threshold(), state.get("confidence", {})
    step = source.batch_size
    bar = tqdm(total=len(ids), initial=len(ids) - len(missing), desc=f"masks {name}", unit="photo")
    before = state["seconds"]
    with torch.no_grad(), ThreadPoolExecutor(1) as writer:
        for k in range(0, len(missing), step):
            batch = context.batch(missing[k : k + step])
            soft = source.refined(batch)
            _check(soft, name, batch.ids)
            cut = 0.5 if threshold == "otsu" else threshold
            sure |= zip(batch.ids, confidence(soft, cut).tolist(), strict=True)
            jobs = [
                writer.submit(_write, folder / f"{i}.png", m, path, threshold, source.unsure())
                for i, m, path in zip(batch.ids, soft, batch.paths, strict=True)
            ]
            for job in jobs:
                job.result()
            bar.update(len(batch.ids))
            state["confidence"] = sure
            state["seconds"] = before + time.perf_counter() - start
            write_json(state_file, state)
    bar.close()
    done = {
        "key": key,
        "source": name,
        "threshold": threshold,
        "seconds": round(before + time.perf_counter() - start, 3),
        **note,
        **source.depends_on(),
        "ids": ids,
        "confidence": {i: round(sure[i], 4) for i in ids},
    }
    write_json(folder / "manifest.json", done)
    state_file.unlink()
    return done


def _write(path, soft, photo, threshold, unsure) -> None:
    with Image.open(photo) as image:  # reads the header only
        width, height = image.size
    write_mask(path, to_mask(soft, (height, width), threshold, unsure))


def _check(soft: Tensor, name: str, ids: list[str]) -> None:
    """The contract, held at the one place where every source passes."""
    if soft.ndim != 3 or len(soft) != len(ids):
        raise ValueError(f"source {name}: {tuple(soft.shape)} for {len(ids)} photos, not (B, H, W)")
    if not torch.isfinite(soft).all() or soft.min() < 0 or soft.max() > 1:
        raise ValueError(f"source {name}: values outside [0, 1] for {', '.join(ids[:3])} ...")
