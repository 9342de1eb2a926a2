"""Self-training: a model's predictions on train, refined, become the masks of the next model.

    round 0   the source's masks; the model learns from the photos with the most confident masks
    round r   masks = `round_refinement` of the predictions of model r - 1 on train; a new model
              learns where this refinement and model r - 1 agree most
    end       when the masks of two rounds agree (mean IoU of `stop_agreement`), or after `rounds`

The last model gets `last_epochs` and the last of `keep_fractions`. With a `background_threshold`
below 0.5 its masks, if they are a model's, are widened: foreground is what model r - 1 gives more
than that, as a trimap's border lies around the pet. No trimap and no photo of test is read. Every
round has folders of its own, so a run that was killed goes on where it was.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from petweak.config import Settings
from petweak.data.files import read_json
from petweak.data.masks import FOREGROUND, read_mask, write_mask
from petweak.data.pictures import header
from petweak.pseudo_masks import source_class
from petweak.pseudo_masks.base import Context
from petweak.pseudo_masks.refinement import Pipeline, check_pipeline
from petweak.pseudo_masks.refinement.base import on_grid
from petweak.pseudo_masks.selection import agreement
from petweak.pseudo_masks.store import MANIFEST, Progress, open_manifest, to_mask
from petweak.training.inference import load_model, predict_features
from petweak.training.targets import Targets, load_targets, no_targets
from petweak.training.trainer import CONFIG, is_trained, train_model

BATCH = 16


@dataclass(frozen=True)
class Start:
    """What self-training begins with."""
    source: str
    labels: str
    masks: Path  # the source's masks and their manifest
    classes: tuple[str, ...]
    targets: dict[str, int]  # {id: class} of every photo of train
    key: str  # of everything so far, and of the settings of the rounds

    @property
    def name(self) -> str:
        return f"{self.source}-{self.labels}"


@dataclass(frozen=True)
class Round:
    """One round: the masks that it began with and the model that it ended with."""
    number: int
    masks: Path
    model: Path
    n_images: int  # that the model learnt from
    agreement: float | None  # IoU of its masks with those of the round before, mean over both's
    seconds: float  # of its masks and its training


def check(settings: Settings) -> None:
    """ValueError where rounds cannot work with `settings`; before anything runs."""
    s, stored = settings.self_training, settings.backbone.stored_levels
    if missing := [level for level in s.self_training_levels if level not in stored]:
        raise ValueError(f"self_training_levels: {', '.join(missing)} is not in stored_levels")
    if not s.round_refinement:
        raise ValueError("round_refinement is empty: its changes tell good masks from bad ones")
    check_pipeline(s.round_refinement, None, settings)


def round_settings(settings: Settings) -> Settings:
    """The settings that the rounds use; those that only models trained once use have one value here
    (and in the cache key)."""
    s = settings.self_training
    return settings.replace(levels=s.self_training_levels, epochs=1, walk_steps=s.round_walk_steps,
                            refinement=(), selection_criteria=(), vote_pipelines=())


def self_train(start: Start, context: Context, run_folder: Path) -> list[Round]:
    """Run the rounds that are missing and return all of them; the last one is the result."""
    settings, rounds, masks = round_settings(context.settings), [], start.masks
    s, note = settings.self_training, read_json(masks / MANIFEST)
    while True:
        number, agreed = len(rounds), note.get("agreement")
        last = number == s.rounds - 1 or (agreed or 0.0) >= s.stop_agreement
        fraction = s.keep_fractions[-1 if last else min(number, len(s.keep_fractions) - 1)]
        confidence = {i: note["confidence"][i] for i in note["ids"] if i in start.targets}
        ids = most_confident(confidence, fraction, settings.data.seed)
        widen = rounds[-1].model if rounds and last and widens(settings, start.source) else None
        model = run_folder / "models" / f"{start.name}-round{number}"
        _train(start, number, masks, ids, model, settings, last, context, widen)
        seconds = note["seconds"] + read_json(model / CONFIG)["seconds"]
        rounds.append(Round(number, masks, model, len(ids), agreed, seconds))
        if last:
            return rounds
        before, masks = masks, run_folder / "masks" / f"{start.name}-round{number + 1}"
        note = _next_masks(start, before, model, masks, settings, f"{start.key}-{number}", context)


def widens(settings: Settings, source: str) -> bool:
    """Whether the last model's masks are widened: ground truth has a border already, and a user's
    ignore region stays as it is."""
    return (settings.self_training.background_threshold < 0.5 and not settings.masks.ignore_band
            and not source_class(source).reads_trimaps)


def most_confident(confidence: dict[str, float], fraction: float, seed: int = 0) -> list[str]:
    """The photos with the largest values, at least one; equal ones in a seeded order, because ids
    are sorted by breed."""
    ids = np.random.default_rng(seed).permutation(sorted(confidence)).tolist()
    ranked = sorted(ids, key=lambda i: -confidence[i])
    return sorted(ranked[: max(1, round(fraction * len(ranked)))])


def _train(start, number, masks, ids, model, settings, last, context, widen) -> None:
    s = settings.self_training
    kind = f"wide{s.background_threshold:g}" if widen else "last" if last else "next"
    key = f"{start.key}-{number}-{kind}"
    if is_trained(model, key, settings.system.save_epochs):
        return
    # Epochs count all of train: few photos are seen more often, in as many steps.
    epochs = math.ceil((s.last_epochs if last else s.round_epochs) * len(start.targets) / len(ids))
    settings = settings.replace(epochs=epochs, seed=settings.data.seed + 1000 * number)
    # No val: masks that are still wrong would choose the epoch, so the last one is kept.
    grid = settings.backbone.image_size // 2
    targets = load_targets(masks, ids, [start.targets[i] for i in ids], grid)
    if widen:
        targets = widened(targets, widen, settings, context)
    about = {"source": start.source, "labels": start.labels,
             "variant": f"round{number}" + "-wide" * bool(widen), "round": number}
    train_model(context.features, targets, no_targets(), start.classes, settings, model, key,
                context.device, about)


def widened(targets: Targets, model: Path, settings: Settings, context: Context) -> Targets:
    """The masks and, around them, what `model` gives more than `background_threshold`."""
    threshold = settings.self_training.background_threshold
    soft = _predictions(model, targets.ids, settings, context)
    near = (on_grid(m[None], settings)[0] > threshold for m in soft)
    grids = ((mask.masked_fill(more, 255), valid)
             for (mask, valid), more in zip(targets.pairs(), near, strict=True))
    return Targets.pack(targets.ids, targets.classes, grids)


def _predictions(model: Path, ids: list[str], settings, context) -> Iterator[Tensor]:
    """(G, G) in [0, 1] each: the foreground probabilities of `model`."""
    predictor = load_model(model, context.device)
    predictor.mirror = settings.inference.predict_mirror
    for _, prediction in predict_features(predictor, context.features, ids, 2 * BATCH):
        yield torch.from_numpy(prediction.soft)


@torch.no_grad()
def _next_masks(start, before, model, folder, settings, key, context) -> dict:
    """The predictions of `model` on train, refined, as masks; what their manifest says."""
    if (manifest := open_manifest(folder, key)) is not None:
        return manifest
    ids, done = sorted(start.targets), Progress(folder, key)
    missing = set(done.missing(ids))
    steps, band = settings.self_training.round_refinement, settings.masks.ignore_band
    pipeline = Pipeline(steps, context.replace(settings))
    # The foreground of a mask with an ignore region; otherwise two equal maps would not agree.
    threshold = band[1] if band else 0.5
    # A pair of batches passes the model together, as in a run that is not interrupted.
    pairs = (context.batches(ids[k : k + 2 * BATCH], BATCH) for k in range(0, len(ids), 2 * BATCH))
    pairs = [pair for pair in pairs if any(missing.intersection(batch.ids) for batch in pair)]
    predicted = [i for pair in pairs for batch in pair for i in batch.ids]
    predictions = _predictions(model, predicted, settings, context)
    for pair in pairs:
        confidence, same = {}, {}
        for batch in pair:
            soft = torch.stack([next(predictions) for _ in batch.ids])
            refined = on_grid(pipeline(soft, batch), settings)
            agreed = agreement(soft > 0.5, refined > 0.5).tolist()
            confidence |= zip(batch.ids, agreed, strict=True)
            for i, m, photo in zip(batch.ids, refined, batch.paths, strict=True):
                if (before / f"{i}.png").is_file():  # ground truth begins with fewer
                    old = torch.from_numpy(read_mask(before / f"{i}.png") == FOREGROUND)
                    old = on_grid(old[None].float(), settings) > 0.5
                    same[i] = agreement(m[None] > threshold, old).item()
                if i in missing:
                    width, height = header(photo).size
                    write_mask(folder / f"{i}.png", to_mask(m, (height, width), 0.5, band))
        done.note(confidence, same)
    same = {i: done.agreements[i] for i in ids if i in done.agreements}
    return done.finish(
        {"key": key, "source": start.source, "model": model.name, "refinement": list(steps),
         "seconds": round(done.seconds, 3), "agreements": same, "ids": ids,
         "agreement": torch.tensor(list(same.values())).mean().item(),
         "confidence": {i: done.confidence[i] for i in ids}})
