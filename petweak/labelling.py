"""How much labelling is a mask worth? Students of few true masks, of pseudo-masks, and of both.

    true     the true masks of a share of train, and nothing else
    pseudo   the pseudo-masks of all of train
    both     pseudo-masks, true ones where there are some

Every student takes the same number of steps, photos coming round as often as it takes, so that what
differs is the masks. None looks at val: true masks there would be further labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from petweak import evaluate
from petweak.data.pets import Sample
from petweak.files import read_json, write_json
from petweak.maskformer.predict import load_student, predict_cached
from petweak.maskformer.targets import Targets, cycled, load_targets, no_targets
from petweak.maskformer.train import is_trained, train_student
from petweak.runs import pick, stage_key, write_frame
from petweak.students import STUDENT
from petweak.study import Run

SHARES = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)


def labelled_part(train: tuple[Sample, ...], share: float, seed: int) -> list[str]:
    """A seeded share of train, at least one photo; a larger share holds the smaller ones."""
    order = np.random.default_rng(seed).permutation(len(train))
    chosen = order[: max(1, round(share * len(train)))]
    return sorted(train[i].id for i in chosen)


def labelling_curve(
    run: Run,
    source: str = "labels_free",
    labels: str = "species",
    shares: Iterable[float] = SHARES,
    seeds: Iterable[int] = (0, 1, 2),
    steps: int = 150,
    border: str = "ignore",
) -> pd.DataFrame:
    """Train and score what is lacking of the curve, and write labelling.csv into the run's folder.

    The pseudo-masks are those that the last round of self-training from `source` began with, tight
    as they are, whatever `border` is; the true ones treat the trimap's border as it says.
    Returns a row per student and border: `kind`, `share` (of train with a true mask), `masks` (how
    many that are), `seed`, `border`, `value` (mask_iou_gt on test).
    """
    pseudo = run.rounds(source, labels)[-1].masks
    truth = run.variant(f"border-{border}", border=border)
    truth.masks("ground_truth")
    true = truth.masks_folder("ground_truth")
    own = run.source(source).image_labels()
    train, rows = {s.id: s for s in run.pets.split("train")}, []
    for seed in seeds:
        wanted = [("pseudo", 0.0), *((k, s) for s in shares for k in ("true", "both"))]
        for kind, share in wanted:
            marked = labelled_part(run.pets.split("train"), share, seed) if share else []
            folders = {i: true for i in marked}
            if kind != "true":
                folders = {s.id: pseudo for s in run.pets.split("train")} | folders
            classes = {i: s.label(labels) for i, s in train.items()}
            if own is not None:  # a pseudo-mask comes with a pseudo-label
                classes |= {i: own[i][labels] for i in train if i not in marked}
            # With a true mask for every photo, "both" is "true".
            name = f"{'true' if len(marked) == len(train) else kind}-{share:g}-{seed}"
            values = _student(run, name, folders, classes, labels, seed, steps)
            row = {"kind": kind, "share": share, "masks": len(marked), "seed": seed}
            rows += [row | {"border": border, "value": v} for border, v in values.items()]
    frame = pd.DataFrame(rows)
    write_frame(run.folder / "labelling.csv", frame)
    return frame


def crossing(curve: pd.DataFrame, border: str = "ignore") -> float:
    """At how many true masks alone a student is as good as one of pseudo-masks alone: linear in
    the logarithm between the points of the curve; inf where it never is."""
    means = curve[curve["border"] == border].groupby(["kind", "masks"])["value"].mean()
    level, points = means["pseudo"].iloc[0], means["true"].sort_index()
    above = points[points >= level]
    if above.empty:
        return math.inf
    right = above.index[0]
    left = points.index[points.index < right]
    if left.empty:
        return float(right)
    a, b = points[left[-1]], points[right]
    share = (level - a) / (b - a)
    return float(np.exp(np.log(left[-1]) * (1 - share) + np.log(right) * share))


def _student(
    run: Run, name: str, folders: dict[str, Path], classes: dict[str, int], labels: str, seed: int,
    steps: int,
) -> dict[str, float]:
    """Train a student on masks that lie in several folders; {border: IoU on test}."""
    s, folder = run.settings, run.folder / "labelling" / name
    settings = replace(s, taps=s.selftrain_taps, seed=seed, epochs=1)
    keys = {f.name: read_json(f / "manifest.json")["key"] for f in set(folders.values())}
    where = {i: keys[f.name] for i, f in sorted(folders.items())}
    own = pick(settings, (*STUDENT, "predict_mirror"))
    key = stage_key(stage="labelling", version=2, steps=steps, masks=where, labels=labels,
                    features=run.features_key, classes={i: classes[i] for i in where},
                    trimaps=run.content["trimaps"], **own)  # fmt: skip
    note = read_json(folder / "value.json")
    if note is not None and note["key"] == key:
        return note["value"]
    if not is_trained(folder, key):
        train = _targets(folders, classes, s.image_size // 2)
        train = cycled(train, steps * s.batch_size, seed)
        about = {"source": name, "labels": labels, "variant": "labelling"}
        train_student(run.features, train, no_targets(), run.pets.classes(labels), settings,
                      folder, key, run.device, about)  # fmt: skip
    student, test = load_student(folder, run.device), run.pets.split("test")
    answers = (a for _, a in predict_cached(student, run.features, [p.id for p in test]))
    value = evaluate.mean_iou(zip(test, answers, strict=True))
    write_json(folder / "value.json", {"key": key, "value": value})
    return value


def _targets(folders: dict[str, Path], classes: dict[str, int], grid: int) -> Targets:
    ids = sorted(folders)
    parts = [load_targets(folders[i], [i], [classes[i]], grid) for i in ids]
    return Targets(ids, *(torch.cat([getattr(p, k) for p in parts])
                          for k in ("classes", "masks", "valid")))  # fmt: skip
