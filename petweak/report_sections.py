"""The parts of a report: what each says, draws and tabulates, from the files of a run."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd

from petweak import plots, tables
from petweak.config import PROFILES, settings, to_dict
from petweak.evaluate import MEANINGS
from petweak.files import read_json
from petweak.plots_beyond import round_lines
from petweak.report_parts import Picture, Section
from petweak.report_photos import photo_sections
from petweak.report_text import asked, oddities
from petweak.tables import readable


def all_sections(folder: Path, results: pd.DataFrame, run: dict) -> list[Section]:
    """The report's parts in order; `run` is what run.json holds."""
    breeds = tables.read_scores(folder, "all_ones", "-")["id"].str.rsplit("_", n=1).str[0].nunique()
    changed = _changed(run)
    made = read_json(folder / "masks" / "mask_rcnn" / "manifest.json") or {}
    detector = made.get("detector")  # what `auto` came to
    every, results = results, tables.final(results)
    return [
        Section("What was asked", asked(results, run, breeds, detector), table=changed,
                caption="The settings of this run that are not the profile's."),
        *_figures_of_merit(folder, results),
        *_self_training(every, run["settings"].get("border", "pet")),
        *photo_sections(folder, results, run),
        *_about_the_run(folder, run),
    ]  # fmt: skip


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
                 "IoU with ground truth on test, border as pet. Bars: students, with the 95 % "
                 "bootstrap interval over photos; diamonds: the masks they learnt from; crosses: "
                 "the paper's students; lines: the whole image called pet, and a centred box.",
                 partial(plots.overview_bars, results))],
        readable(tables.study_overview(results)),
        "Students on test photos, with the 95 % bootstrap interval over photos. ▼: worse than "
        "calling the whole image pet.",
        folded={"What the figures mean": meanings},
    )  # fmt: skip
    yield Section(
        "The paper's tables beside ours",
        ["Ours: border as pet, with the 95 % interval; the difference is ours minus the paper's. "
         "Empty: not in the paper, or not in this run. ▼: below all_ones."],
        table=_beside(tables.compare_with_paper(results)),
        caption="The paper's figures beside ours, border as pet, with the 95 % interval; the "
        "difference is ours minus the paper's. ▼: below all_ones.",
        group="table",
    )  # fmt: skip
    yield Section("Known oddities of the paper", oddities(results))
    yield Section(
        "Baselines",
        ["What needs neither training nor labels: all_ones calls the whole image pet, centre_box a "
         "centred box with half the image's area."],
        table=readable(tables.baselines(results)),
        caption="Two baselines that need neither training nor labels.",
    )  # fmt: skip
    yield Section(
        "Breeds",
        ["Mean mask IoU on test by breed, border as pet."],
        [Picture("per_breed", "Points: mean mask IoU of each breed, one per student.",
                 "Mean mask IoU on test by breed, border as pet; in brackets the number of test "
                 "photos. Squares: students of species labels.",
                 partial(plots.breed_points, breeds))],
        readable(breeds),
        "Mean mask IoU on test by breed, border as pet.",
        folded={f"{s}, {n}": readable(tables.per_breed(folder, s, n)) for s, n in students},
    )  # fmt: skip
    if any((tables.student_folder(folder, *s) / "history.csv").is_file() for s in students):
        yield Section(
            "Learning curves",
            ["The mask IoU on val compares with the source's own masks, so that no ground truth "
             "decides which epoch is kept (the ring)."],
            [Picture("learning_curves", "Lines: loss on train and mask IoU on val by epoch.",
                     "Loss on train, and mask IoU on val with the source's own masks; the ring is "
                     "the epoch that was kept. Dashed: species labels.",
                     partial(plots.learning_curves, folder, students))],
        )  # fmt: skip


def _self_training(results: pd.DataFrame, border: str) -> Iterator[Section]:
    """In the convention that the run's students were trained in."""
    rounds = tables.rounds(results, border=border)
    figure = f"IoU with ground truth, border: {border},"
    if len(rounds):
        yield Section(
            "Rounds of self-training",
            ["The masks that a round begins with against ground truth on train, and its student on "
             f"test with its 95 % interval; border: {border}. No round has seen ground truth."],
            [Picture("rounds", "Lines: IoU of masks and student by round of self-training.",
                     f"Rounds of self-training: {figure} of the masks "
                     "a round begins with on train (dashed), and of its student on test with the "
                     "95 % interval.", partial(round_lines, rounds))],
            readable(rounds),
            f"Rounds of self-training: {figure} of the masks on train "
            "and of the student on test with its 95 % interval.",
        )  # fmt: skip


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
                     "pass apart.",
                     "Seconds per photo to make each source's masks; hatched: the pass of the "
                     "frozen backbone, which is made once and shared.",
                     partial(plots.cost_bars, costs))],
            readable(costs),
            "Seconds per photo to make each source's masks.",
            folded={"All stages": readable(timings, 1)},
        )  # fmt: skip
    bad = folder / "quarantine.csv"
    bad = pd.read_csv(bad, dtype=str).fillna("") if bad.is_file() else pd.DataFrame()
    if len(bad):  # the file's name is enough, and the same on every machine
        bad["file"] = [Path(file).name for file in bad["file"]]
    text = f"{len(bad)} listed photos could not be used:" if len(bad) else "Every photo was usable."
    yield Section("Quarantine", [text], table=bad if len(bad) else None,
                  caption="Listed photos that could not be used.")  # fmt: skip
    made = {**run["versions"], "git commit": run["git_commit"], **run["hardware"]}
    rows = [(k, "none" if v is None else str(v)) for k, v in made.items()]
    yield Section("Versions and hardware", table=pd.DataFrame(rows, columns=["what", "value"]),
                  caption="What this run was made with.",
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
