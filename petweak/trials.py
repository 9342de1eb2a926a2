"""Short trials beside a run: "what if" on few photos and few epochs, in a folder of their own.

    taught = targets(run, run.masks_folder("mask_rcnn"), ids, "species")
    student = train(run, "two epochs", taught, "species", epochs=2)
    student_ious(run, student, test_ids).mean()

They begin from the run's features and masks, lie in `variants/trials/`, and no table of the run
reads them. A trial that was made before is opened instead of made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from petweak import metrics, selftrain
from petweak.data.pets import load_trimap
from petweak.maskformer.predict import Student, load_student, predict_cached
from petweak.maskformer.targets import Targets, load_targets, no_targets
from petweak.maskformer.train import is_trained, train_student
from petweak.pseudo_masks import source_named
from petweak.pseudo_masks.base import Source
from petweak.pseudo_masks.refiners import settings_of, versions_of
from petweak.pseudo_masks.store import PET, prepare, read_mask, to_mask
from petweak.runs import pick, stage_key
from petweak.students import STUDENT
from petweak.study import Run

FOLDER = "trials"  # in the run's variants/


def ious(run: Run, masks: Mapping[str, np.ndarray], border: str = "pet") -> pd.Series:
    """IoU with ground truth of any masks {id: boolean (H, W), the photo's size}, by id."""
    trimaps = {s.id: s.trimap for s in run.pets.samples}
    values = {i: metrics.iou(mask, *metrics.truth(load_trimap(trimaps[i]), border))
              for i, mask in masks.items()}  # fmt: skip
    return pd.Series(values, name="iou", dtype=float)


def png_masks(folder: Path, ids: Iterable[str]) -> dict[str, np.ndarray]:
    """{id: boolean (H, W)} from `<folder>/<id>.png`, where 255 is pet."""
    return {i: read_mask(folder / f"{i}.png") == PET for i in ids}


def student_ious(
    run: Run, student: Student, ids: Iterable[str], border: str = "pet"
) -> pd.Series:
    """IoU of a student's masks with ground truth, a value per photo, by id."""
    shapes = photo_shapes(run, ids)
    answers = predict_cached(student, run.features, list(shapes))
    return ious(run, {i: answer.mask(*shapes[i]) for i, answer in answers}, border)


def photo_shapes(run: Run, ids: Iterable[str]) -> dict[str, tuple[int, int]]:
    """{id: (height, width)} in pixels."""
    trimaps = {s.id: s.trimap for s in run.pets.samples}
    return {i: load_trimap(trimaps[i]).shape for i in ids}


def fitted_source(run: Run, source: str, **changes) -> Source:
    """The source under settings of the run but for `changes`, fitted, with its refiners."""
    made = source_named(source)(run.context.with_settings(replace(run.settings, **changes)))
    prepare(made)
    return made


def source_ious(
    run: Run, fitted: Source, ids: Iterable[str], threshold: float | str | None = None
) -> pd.Series:
    """IoU (border as pet) of the masks of a fitted source, a value per photo, by id; cut at the
    source's own threshold unless told otherwise. No mask is written."""
    ids, shapes, masks = list(ids), photo_shapes(run, ids), {}
    cut = fitted.threshold() if threshold is None else threshold
    for k in range(0, len(ids), fitted.batch_size):
        part = ids[k : k + fitted.batch_size]
        with torch.no_grad():
            soft = fitted.refined(run.context.batch(part))
        masks |= {i: to_mask(m, shapes[i], cut) == PET for i, m in zip(part, soft, strict=True)}
    return ious(run, masks)


def targets(run: Run, folder: Path, ids: Iterable[str], labels: str) -> Targets:
    """The masks `<folder>/<id>.png` of photos of train, with the data set's own labels."""
    classes = {s.id: s.label(labels) for s in run.pets.split("train")}
    ids = list(ids)
    if strangers := [i for i in ids if i not in classes]:
        raise ValueError(f"{', '.join(strangers[:3])}: not in train, so nothing may learn from it")
    return load_targets(folder, ids, [classes[i] for i in ids], run.settings.image_size // 2)


def joined(parts: Iterable[Targets]) -> Targets:
    """One after the other; a photo may come more than once, and then counts as often."""
    parts = list(parts)
    tensors = (torch.cat([getattr(p, k) for p in parts]) for k in ("classes", "masks", "valid"))
    return Targets([i for p in parts for i in p.ids], *tensors)


def train(run: Run, name: str, taught: Targets, labels: str, **changes) -> Student:
    """A student of these targets, with settings of the run but for `changes` (epochs, taps, seed
    ...). It has no val: the last epoch is kept."""
    settings, folder = replace(run.settings, **changes), _folder(run) / name
    content = hashlib.blake2b(digest_size=16)
    for tensor in (taught.classes, taught.masks, taught.valid):
        content.update(tensor.numpy().tobytes())
    key = stage_key(stage="trial", features=run.features_key, labels=labels, ids=taught.ids,
                    kind=type(taught).__name__, content=content.hexdigest(),
                    **pick(settings, STUDENT))  # fmt: skip
    if not is_trained(folder, key):
        about = {"source": name, "labels": labels, "variant": "trial"}
        train_student(run.features, taught, no_targets(), run.pets.classes(labels), settings,
                      folder, key, run.device, about)  # fmt: skip
    student = load_student(folder, run.device)
    student.mirror = settings.predict_mirror
    return student


def self_train(
    run: Run, name: str, source: str, labels: str, **changes
) -> list[selftrain.Round]:
    """Rounds of self-training with other settings, from the masks that the run has already."""
    context = run.context.with_settings(replace(run.settings, **changes))
    selftrain.check(context.settings)
    start, chain = run.start(source, labels), context.settings.round_refine
    own = pick(context.settings, tuple({**changes, **dict.fromkeys(settings_of(chain))}))
    key = stage_key(stage="trial", start=start.key, refiners=versions_of(chain), **own)
    start = replace(start, key=key)
    return selftrain.self_train(start, context, _folder(run) / name)


def _folder(run: Run) -> Path:
    return run.folder / "variants" / FOLDER
