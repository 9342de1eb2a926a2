"""What the results explorer shows: figures of students, and a breed's best and worst photos."""

from __future__ import annotations

import pandas as pd

from petweak import tables
from petweak.data.pets import load_photo, load_trimap
from petweak.maskformer.predict import load_student, predict_cached
from petweak.metrics import truth
from petweak.pictures import overlay, palette
from petweak.study import Run


def chosen(
    results: pd.DataFrame, sources: list[str], labels: list[str], metric: str, border: str,
    split: str = "test",
) -> pd.DataFrame:
    """`source`, `labels`, `value`, `low`, `high`, `n_images`, the largest value first; a metric
    that knows no border has the same row whatever `border` says."""
    rows = tables.final(results)
    keep = rows["source"].isin(sources) & (rows["labels"].isin(labels) | (rows["labels"] == "-"))
    keep &= (rows["metric"] == metric) & (rows["split"] == split)
    keep &= rows["border"].isin([border, "-"])
    columns = ["source", "labels", "value", "low", "high", "n_images"]
    return rows[keep][columns].sort_values("value", ascending=False, ignore_index=True)


def extremes(
    run: Run, source: str, labels: str, breed: str, border: str = "pet", n: int = 3
) -> list[dict]:
    """The best `n` and the worst `n` photos of a breed in test, without repeats: {"id", "word"
    (best or worst), "iou", "image" (H, W, 3) with the student's mask on it}."""
    scores = tables.read_scores(run.folder, source, labels)
    own = scores[scores["id"].str.rsplit("_", n=1).str[0] == breed]
    ranked = own.sort_values([f"iou/{border}", "id"], ascending=[False, True])
    half = min(n, (len(ranked) + 1) // 2)
    words = {i: "best" for i in ranked["id"][:half]}
    words |= {i: "worst" for i in ranked["id"][::-1][: min(n, len(ranked) - half)]}
    student = load_student(tables.student_folder(run.folder, source, labels), run.device)
    samples = {s.id: s for s in run.pets.samples}
    colour, values, found = palette([source])[source], own.set_index("id")[f"iou/{border}"], []
    for image_id, answer in predict_cached(student, run.features, list(words)):
        sample = samples[image_id]
        target, _ = truth(load_trimap(sample.trimap), "pet")
        image = overlay(load_photo(sample.photo), answer.mask(*target.shape), colour, target)
        iou = float(values[image_id])
        found.append({"id": image_id, "word": words[image_id], "iou": iou, "image": image})
    return found
