"""The parts of a report that show photos: the sources' masks, and the students' best and worst."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from petweak import metrics, tables
from petweak.data.pets import Sample, load_photo, load_trimap, read_pets
from petweak.features import open_features
from petweak.files import project_path, read_json
from petweak.maskformer.predict import load_student, predict_cached
from petweak.pictures import gallery
from petweak.pseudo_masks.store import read_mask
from petweak.report_parts import Picture, Section

OUTLINE = "White: the outline of ground truth, border as pet."


def photo_sections(folder: Path, results: pd.DataFrame, run: dict) -> Iterator[Section]:
    """What has to be left out, because photos or features are gone, is left out and said."""
    title, samples = "Photos: best, median and worst", _samples(folder, run)
    if samples is None:
        yield Section(title, ["Left out: the photos are not where run.json says they were."])
        return
    sources = list(dict.fromkeys(s for s, _ in tables.students(results)))
    weak = [s for s in sources if s != "ground_truth"]  # its masks are the outline already
    if weak:
        rows = _compared(folder, weak, samples)
        yield Section(
            "The sources' masks",
            ["Test photos at the quartiles of the mean IoU of all weak sources' masks with ground "
             "truth; beside each name, its IoU."],
            [Picture("masks_compared", "Photos with the masks of each weak source.",
                     "Three test photos, and the masks of each weak source with their IoU. "
                     + OUTLINE, partial(gallery, rows), photos=True)],
        )  # fmt: skip
    pictures, text = [], ["By mask IoU on test, border as pet."]
    for source, labels in tables.students(results):
        try:
            rows = _examples(folder, source, labels, samples)
        except (OSError, KeyError):
            text.append(f"Left out: {source}-{labels}, whose model or features are gone.")
            continue
        pictures.append(
            Picture(f"gallery_{source}-{labels}", f"Best, median and worst test photo of the "
                    f"student of {source} with {labels} labels: truth, its source's mask, its own.",
                    f"Best, median and worst test photo of the student of {source} with {labels} "
                    f"labels, by mask IoU with the border as pet. {OUTLINE}",
                    partial(gallery, rows), photos=True)
        )  # fmt: skip
    yield Section(title, text, pictures)


def _samples(folder: Path, run: dict) -> dict[str, Sample] | None:
    """The scored test photos, or None where one of them is not there any more."""
    try:
        samples = {s.id: s for s in read_pets(project_path(run["data_root"])).samples}
        samples = {i: samples[i] for i in tables.read_scores(folder, "all_ones", "-")["id"]}
    except (KeyError, FileNotFoundError, ValueError):
        return None
    files = (file for s in samples.values() for file in (s.photo, s.trimap))
    return samples if all(file.is_file() for file in files) else None


def _row(sample: Sample, title: str, masks: dict[str, Any], **more: Any) -> dict[str, Any]:
    truth, _ = metrics.truth(load_trimap(sample.trimap), "pet")
    photo = load_photo(sample.photo)
    return {"title": title, "photo": photo, "truth": truth, "masks": masks, **more}


def _compared(folder: Path, sources: list[str], samples: dict[str, Sample]) -> list[dict]:
    scores = {s: tables.read_scores(folder, s, "masks").set_index("id")["iou/pet"] for s in sources}
    ranked = pd.DataFrame(scores).assign(mean=lambda f: f.mean(axis=1)).reset_index()
    ranked = ranked.sort_values(["mean", "id"])["id"].tolist()
    rows = []
    for share in (0.75, 0.5, 0.25):
        i = ranked[round(share * (len(ranked) - 1))]
        masks = {f"{s} {scores[s][i]:.2f}": read_mask(folder / "masks" / s / f"{i}.png")
                 for s in sources}  # fmt: skip
        rows.append(_row(samples[i], i, masks))
    return rows


def _examples(folder: Path, source: str, labels: str, samples: dict[str, Sample]) -> list[dict]:
    """Rows of the gallery. OSError or KeyError where the student cannot be asked any more."""
    scores = tables.read_scores(folder, source, labels)
    chosen, scores = tables.pick_examples(scores), scores.set_index("id")["iou/pet"]
    index = read_json(folder / "features" / "index.json")
    features = open_features(folder / "features", index["key"]) if index else None
    if features is None:
        raise FileNotFoundError("no features")
    student = load_student(tables.student_folder(folder, source, labels))
    answers = dict(predict_cached(student, features, list(dict.fromkeys(chosen.values()))))
    rows = []
    for which, i in chosen.items():
        row = _row(samples[i], f"{which}, {labels} labels: {i}, IoU {scores[i]:.2f}", {})
        own = read_mask(folder / "masks" / source / f"{i}.png")
        student_mask = answers[i].mask(*row["truth"].shape)
        rows.append(row | {"masks": {f"{source} mask": own, f"{source} student": student_mask}})
    return rows
