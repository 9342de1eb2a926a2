"""The parts of a report: what each says, draws and tabulates, from the files of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from petweak import metrics, plots, tables
from petweak.config import PROFILES, settings, to_dict
from petweak.data.pets import Sample, load_photo, load_trimap, read_pets
from petweak.features import open_features
from petweak.files import project_path, read_json
from petweak.maskformer.predict import load_student, predict_cached
from petweak.plots_beyond import round_lines
from petweak.pseudo_masks.store import read_mask
from petweak.report_text import MEANINGS, asked, oddities
from petweak.tables import readable


@dataclass(frozen=True)
class Picture:
    """A figure of the report: `draw(dark=...)` makes it, `alt` says what it shows."""

    name: str
    alt: str
    draw: Callable[..., plots.Figure]
    photos: bool = False  # as JPEG in report.html


@dataclass(frozen=True)
class Section:
    """One part of the report; tables are text, as `tables.readable` makes them."""

    title: str
    text: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    table: pd.DataFrame | None = None
    group: str = ""  # the table's column that becomes headings between its rows
    folded: dict[str, pd.DataFrame] = field(default_factory=dict)


def all_sections(folder: Path, results: pd.DataFrame, run: dict) -> list[Section]:
    """The report's parts in order; `run` is what run.json holds."""
    breeds = tables.read_scores(folder, "all_ones", "-")["id"].str.rsplit("_", n=1).str[0].nunique()
    changed = _changed(run)
    made = read_json(folder / "masks" / "mask_rcnn" / "manifest.json") or {}
    detector = made.get("detector")  # what `auto` came to
    every, results = results, tables.final(results)
    return [
        Section("What was asked", asked(results, run, breeds, detector), table=changed),
        *_figures_of_merit(folder, results),
        *_self_training(every),
        *_photo_sections(folder, results, run),
        *_about_the_run(folder, run),
    ]


def _figures_of_merit(folder: Path, results: pd.DataFrame) -> Iterator[Section]:
    students = tables.students(results)
    breeds = tables.breeds_compared(folder, students)
    meanings = pd.DataFrame(MEANINGS.items(), columns=["name", "meaning"])
    meanings.insert(0, "figure", meanings["name"].map(tables.HEADINGS))
    yield Section(
        "Overview",
        ["Test photos; in brackets the 95 % bootstrap interval over photos. ▼ and the last column "
         "mark what is worse than calling the whole image pet: such a result is degenerate."],
        [Picture("overview", "Bars: mask IoU of each student against ground truth on test, with "
                 "intervals, its pseudo-masks, the paper's figure and the two baselines.",
                 partial(plots.overview_bars, results))],
        readable(tables.study_overview(results)),
        folded={"What the figures mean": meanings},
    )  # fmt: skip
    yield Section(
        "The paper's tables beside ours",
        ["Ours: border as pet, with the 95 % interval; the difference is ours minus the paper's. "
         "Empty: not in the paper, or not in this run. ▼: below all_ones."],
        table=_beside(tables.compare_with_paper(results)),
        group="table",
    )  # fmt: skip
    yield Section("Known oddities of the paper", oddities(results))
    yield Section(
        "Baselines",
        ["What needs neither training nor labels: all_ones calls the whole image pet, centre_box a "
         "centred box with half the image's area."],
        table=readable(tables.baselines(results)),
    )  # fmt: skip
    yield Section(
        "Breeds",
        ["Mean mask IoU on test by breed, border as pet."],
        [Picture("per_breed", "Points: mean mask IoU of each breed, one per student.",
                 partial(plots.breed_points, breeds))],
        readable(breeds),
        folded={f"{s}, {n}": readable(tables.per_breed(folder, s, n)) for s, n in students},
    )  # fmt: skip
    if any((tables.student_folder(folder, *s) / "history.csv").is_file() for s in students):
        yield Section(
            "Learning curves",
            ["The mask IoU on val compares with the source's own masks, so that no ground truth "
             "decides which epoch is kept (the ring)."],
            [Picture("learning_curves", "Lines: loss on train and mask IoU on val by epoch.",
                     partial(plots.learning_curves, folder, students))],
        )  # fmt: skip


def _self_training(results: pd.DataFrame) -> Iterator[Section]:
    rounds = tables.rounds(results)
    if len(rounds):
        yield Section(
            "Rounds of self-training",
            ["The masks that a round begins with against ground truth on train, and its student on "
             "test with its 95 % interval; border ignored. No round has seen ground truth."],
            [Picture("rounds", "Lines: IoU of masks and student by round of self-training.",
                     partial(round_lines, rounds))],
            readable(rounds),
        )  # fmt: skip


def _photo_sections(folder: Path, results: pd.DataFrame, run: dict) -> Iterator[Section]:
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
                     partial(plots.gallery, rows), photos=True)],
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
                    partial(plots.gallery, rows), photos=True)
        )  # fmt: skip
    yield Section(title, text, pictures)


def _about_the_run(folder: Path, run: dict) -> Iterator[Section]:
    if (folder / "timings.csv").is_file():
        timings = pd.read_csv(folder / "timings.csv")
        timings = timings[timings["stage"] != "report"]  # or each report would differ from the last
        costs = tables.costs(timings)
        yield Section(
            "Costs",
            ["Seconds per photo. The frozen backbone sees each photo and its mirror image once; "
             "every source that reads its maps, and every student, shares that pass."],
            [Picture("costs", "Bars: seconds per photo of each source's masks, the shared features "
                     "pass apart.", partial(plots.cost_bars, costs))],
            readable(costs),
            folded={"All stages": readable(timings, 1)},
        )  # fmt: skip
    bad = folder / "quarantine.csv"
    bad = pd.read_csv(bad, dtype=str).fillna("") if bad.is_file() else pd.DataFrame()
    if len(bad):  # the file's name is enough, and the same on every machine
        bad["file"] = [Path(file).name for file in bad["file"]]
    text = f"{len(bad)} listed photos could not be used:" if len(bad) else "Every photo was usable."
    yield Section("Quarantine", [text], table=bad if len(bad) else None)
    made = {**run["versions"], "git commit": run["git_commit"], **run["hardware"]}
    rows = [(k, "none" if v is None else str(v)) for k, v in made.items()]
    yield Section("Versions and hardware", table=pd.DataFrame(rows, columns=["what", "value"]),
                  folded={"All settings": _settings(run)})  # fmt: skip


def _beside(paper: pd.DataFrame) -> pd.DataFrame:
    """`tables.compare_with_paper` as text in the paper's own layout, test beside train."""
    shown = readable(paper, 4)
    baseline = paper["where"] == "Baselines"
    heading = paper["where"] + ": " + paper["source"] + ", " + paper["labels"]
    shown["table"] = heading.mask(baseline, "Baselines")
    shown["metric"] = shown["metric"].where(~baseline, paper["source"] + ", " + shown["metric"])
    shown["ours"] += paper[tables.BELOW].map({True: " ▼", False: ""})
    keys, values = ["table", "metric"], ["paper", "ours", "difference", "ours, border ignored"]
    test, train = (
        shown.loc[paper["split"] == split, keys + values].rename(
            columns={name: f"{split}: {name}" for name in values}
        )
        for split in ("test", "train")
    )
    return test.merge(train, "left", on=keys)


def _settings(run: dict) -> pd.DataFrame:
    rows = [(k, ", ".join(map(str, v)) if isinstance(v, list) else str(v))
            for k, v in run["settings"].items()]  # fmt: skip
    return pd.DataFrame(rows, columns=["setting", "value"])


def _changed(run: dict) -> pd.DataFrame | None:
    """The settings that are not the profile's, or None if there are none."""
    usual = to_dict(settings(run["profile"])) if run["profile"] in PROFILES else {}
    usual = _settings({"settings": usual}).rename(columns={"value": "profile's"})
    both = _settings(run).rename(columns={"value": "this run's"}).merge(usual, "left").fillna("")
    both = both[both["this run's"] != both["profile's"]].reset_index(drop=True)
    return both if len(both) else None


# --- photos ---------------------------------------------------------------------------------------


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
