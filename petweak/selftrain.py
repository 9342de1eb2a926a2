"""Self-training: a student's own answers on train, refined, become the next student's masks.

    round 0   the source's masks; the student learns from the photos whose masks are surest
    round r   masks = `round_refine` of the answers of student r - 1 on train; the student learns,
              from the start, where that refiner and student r - 1 agree most
    end       when the masks of two rounds agree (mean IoU of `settled` or more), or after `rounds`

The last student gets `last_epochs` instead of `round_epochs`, and the last share of `keep`. With
`border=pet` its masks, if they are a student's, are wider: what student r - 1 does not surely call
background (more than `sure_background`) is pet, as a trimap's border is. With `ignore` or
`background` they stay tight.

No trimap is read and no photo of test. Every round has folders of its own (`masks/<name>-round1/`,
`models/<name>-round1/`), so a run that was killed goes on with the round it was in.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from petweak.config import Settings
from petweak.files import read_json, write_json
from petweak.maskformer.predict import load_student, predict_cached
from petweak.maskformer.targets import Targets, load_targets, no_targets
from petweak.maskformer.train import is_trained, train_student
from petweak.pseudo_masks import source_named
from petweak.pseudo_masks.base import Context
from petweak.pseudo_masks.refiners import REFINERS, Chain, chain_named
from petweak.pseudo_masks.refiners.base import on_grid
from petweak.pseudo_masks.signals import agreement
from petweak.pseudo_masks.store import PET, manifest, read_mask, to_mask, write_mask

BATCH = 16
OWN = ("rounds", "round_epochs", "last_epochs", "round_refine", "round_walk_steps", "keep",
       "settled", "unsure", "selftrain_taps", "predict_mirror")  # fmt: skip


@dataclass(frozen=True)
class Start:
    """What self-training begins with."""

    source: str
    labels: str
    masks: Path  # the source's masks and their manifest
    classes: tuple[str, ...]
    wanted: dict[str, int]  # the class of every photo of train
    key: str  # of everything up to here, and of the settings of the rounds

    @property
    def name(self) -> str:
        return f"{self.source}-{self.labels}"


@dataclass(frozen=True)
class Round:
    """One round: the masks it began with and the student it ended with."""

    number: int
    masks: Path
    student: Path
    kept: int  # photos that the student learnt from
    agreement: float | None  # IoU of its masks with those of the round before, mean over train
    seconds: float  # of its masks and its training


def check(settings: Settings) -> None:
    """ValueError where rounds cannot work with `settings`; before anything runs."""
    if missing := [t for t in settings.selftrain_taps if t not in settings.store]:
        raise ValueError(f"selftrain_taps={settings.selftrain_taps}: {missing} is not in store")
    if not settings.round_refine:
        raise ValueError("round_refine is empty: what it changes tells good photos from bad ones")
    for name in chain_named(settings.round_refine):
        REFINERS[name].check(settings)
        if REFINERS[name].asks_source:
            raise ValueError(
                f"round_refine: {name} asks a source about other views; a student's answers have "
                "averaged over the mirror image already"
            )


def self_train(start: Start, context: Context, run_folder: Path) -> list[Round]:
    """Run the rounds that are lacking and return all of them; the last one is the result."""
    s, key = context.settings, start.key
    settings = replace(s, taps=s.selftrain_taps, walk_steps=s.round_walk_steps)
    masks, note, rounds = start.masks, _round_zero(start), []
    while True:
        number, agreed = len(rounds), note["agreement"]
        last = number == settings.rounds - 1 or (agreed or 0.0) >= settings.settled
        share = settings.keep[-1 if last else min(number, len(settings.keep) - 1)]
        kept = surest(note["sure"], share, settings.seed)
        student = run_folder / "models" / f"{start.name}-round{number}"
        wide = rounds[-1].student if rounds and last and is_wide(settings, start.source) else None
        _train(start, number, masks, kept, student, settings, last, key, context, wide)
        seconds = note["seconds"] + read_json(student / "config.json")["seconds"]
        rounds.append(Round(number, masks, student, len(kept), agreed, seconds))
        if last:
            return rounds
        before, masks = masks, run_folder / "masks" / f"{start.name}-round{number + 1}"
        note = _next_masks(start, before, student, masks, settings, f"{key}-{number}", context)


def is_wide(settings: Settings, source: str) -> bool:
    """Whether the last student's masks take in a border: true masks have theirs already, and an
    unsure band of the user's own stays what it is."""
    wanted = settings.border == "pet" and settings.sure_background < 0.5
    return wanted and not settings.unsure and not source_named(source).reads_trimaps


def surest(sure: dict[str, float], share: float, seed: int = 0) -> list[str]:
    """The photos with the largest values, at least one; equal ones in a seeded order, because ids
    begin with the breed."""
    ids = sorted(sure)
    ids = [ids[i] for i in np.random.default_rng(seed).permutation(len(ids))]
    ranked = sorted(ids, key=lambda i: -sure[i])
    return sorted(ranked[: max(1, round(share * len(ranked)))])


def _round_zero(start: Start) -> dict:
    found = read_json(start.masks / "manifest.json")
    sure = {i: found["confidence"][i] for i in start.wanted}
    return {"sure": sure, "agreement": None, "seconds": found["seconds"]}


def _train(start, number, masks, kept, student, settings, last, key, context, wide) -> None:
    kind = f"wide{settings.sure_background:g}" if wide else "last" if last else "next"
    key = f"{key}-{number}-{kind}"
    if is_trained(student, key):
        return
    # Epochs count all of train: few photos are seen more often, in as many steps.
    of_all = settings.last_epochs if last else settings.round_epochs
    epochs = math.ceil(of_all * len(start.wanted) / len(kept))
    settings = replace(settings, epochs=epochs, seed=settings.seed + 1000 * number)
    grid = settings.image_size // 2
    # No val: masks that are still wrong would pick the epoch, so the last one it is.
    targets = load_targets(masks, kept, [start.wanted[i] for i in kept], grid)
    if wide:
        targets = with_border(targets, wide, settings, context)
    variant = f"round{number}" + "-wide" * bool(wide)
    about = {"source": start.source, "labels": start.labels, "variant": variant}
    train_student(context.features, targets, no_targets(), start.classes, settings, student, key,
                  context.device, about)  # fmt: skip


def with_border(taught: Targets, student: Path, settings: Settings, context: Context) -> Targets:
    """The masks and, around them, what `student` does not surely call background."""
    near = torch.stack([on_grid(a[None], settings)[0] > settings.sure_background
                        for a in _answers(student, taught.ids, settings, context)])  # fmt: skip
    return replace(taught, masks=taught.masks.masked_fill(near, 255))


def _answers(student: Path, ids: list[str], settings, context) -> Iterator[Tensor]:
    """(G, G) in [0, 1] each: how sure `student` is of pet."""
    model = load_student(student, context.device)
    model.mirror = settings.predict_mirror
    return (torch.from_numpy(a.soft) for _, a in predict_cached(model, context.features, ids))


@torch.no_grad()
def _next_masks(start, before, student, folder, settings, key, context) -> dict:
    """The masks that `student` makes of train, refined; what the manifest says of them."""
    ids = sorted(start.wanted)
    found = manifest(folder, key)
    if found is not None:
        return found
    begin = time.perf_counter()
    (folder / "manifest.json").unlink(missing_ok=True)
    chain = Chain(settings.round_refine, context.with_settings(settings))
    # What a mask with an unsure band calls pet; otherwise two equal maps would not agree.
    pet = settings.unsure[1] if settings.unsure else 0.5
    answers = _answers(student, ids, settings, context)
    sure: dict[str, float] = {}
    same: list[Tensor] = []
    for k in range(0, len(ids), BATCH):
        batch = context.batch(ids[k : k + BATCH])
        soft = torch.stack([next(answers) for _ in batch.ids])
        refined = on_grid(chain(soft, batch), settings)
        sure |= zip(batch.ids, agreement(soft > 0.5, refined > 0.5).tolist(), strict=True)
        old = torch.stack([_on_grid(before / f"{i}.png", settings) for i in batch.ids])
        same.append(agreement(refined > pet, old))
        for i, m in zip(batch.ids, refined, strict=True):
            shape = read_mask(start.masks / f"{i}.png").shape
            write_mask(folder / f"{i}.png", to_mask(m, shape, 0.5, settings.unsure or None))
    note = {
        "key": key,
        "source": start.source,
        "student": student.name,
        "refine": list(settings.round_refine),
        "seconds": round(time.perf_counter() - begin, 3),
        "agreement": torch.cat(same).mean().item(),
        "sure": sure,
        "ids": ids,
    }
    write_json(folder / "manifest.json", note)
    return note


def _on_grid(path: Path, settings: Settings) -> Tensor:
    """(G, G) bool: a mask's pet on the grid of the student's answers."""
    pet = torch.from_numpy(read_mask(path) == PET).float()
    return on_grid(pet[None], settings)[0] > 0.5
