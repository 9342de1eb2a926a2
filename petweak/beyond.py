"""Beyond the paper, over several seeds: what notebooks 09 and 10 show of real photos.

    python -m petweak.beyond --profile photos --data-root D --run runs/photos --set border=ignore

writes beyond.csv (this table), signals.csv, recipes.csv, probes.csv, taps.csv, unseen.csv,
tried.csv and labelling.csv into the run's folder, and cost.csv with `--only cost`, beside which
nothing else may run. Students and masks that are there already are not made again. What a run
chooses, it chooses without ground truth; how the defaults of the settings were found, the README
says.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pandas as pd

from petweak.choices import compare_settings
from petweak.config import PROFILES, parse_assignments, to_dict
from petweak.cost import chain_cost
from petweak.labelling import SHARES, labelling_curve
from petweak.probes import probe_taps, students_by_taps
from petweak.recipes import compare_recipes
from petweak.runs import stage_key, write_frame
from petweak.study import Run, Scores, open_run
from petweak.unseen import leave_one_out, tried

# What is compared: a name, the source, its labels, and settings (labels_free is refined by itself).
CHAINS = (
    ("no labels", "labels_free", "species", {}),
    ("breed labels", "gradcam_finetuned", "breed", {"refine": ("auto",)}),
)
SOURCES = (*(c[1] for c in CHAINS), "ground_truth")
CONVENTIONS = ("ignore", "pet")  # a student for each, that is trained and scored in it
TRUE_EPOCHS = 24  # of full supervision; self-training sees photos more often, over its rounds


def of_seed(run: Run, seed: int, **changes) -> Run:
    """The run itself, or its variant, with another seed, border, or more."""
    changes = {"border": run.settings.border, "seed": seed, **changes}
    if all(getattr(run.settings, k) == v for k, v in changes.items()):
        return run
    return run.variant(f"seed-{seed}-border-{changes['border']}", **changes)


def compare(run: Run, seeds: Sequence[int], sources: Sequence[str] = SOURCES) -> pd.DataFrame:
    """A row per student, seed and border: `what`, `source`, `labels`, `seed`, `border`, `masks`
    (pseudo_iou_gt of the first masks on train), `student` (mask_iou_gt on test), `rounds`, `key`
    (of the settings). Rows of an earlier call for other chains or seeds stay, if their key is this.
    """
    rows = []
    for seed in seeds:
        for border, (what, source, labels, changes) in product(CONVENTIONS, CHAINS):
            if source in sources:
                one = of_seed(run, seed, border=border, **changes)
                masks, student = one.mask_scores(source), one.self_trained_scores(source, labels)
                rounds = len(one.rounds(source, labels))
                rows.append(_row(what, source, labels, seed, border, masks, student, rounds))
        for border in CONVENTIONS if "ground_truth" in sources else ():
            # As in self-training: all of train, no val, and the last epoch is the result.
            one = of_seed(run, seed, border=border, taps=run.settings.selftrain_taps,
                          epochs=TRUE_EPOCHS, val_fraction=0.0)  # fmt: skip
            masks = one.mask_scores("ground_truth")
            student = one.student_scores("ground_truth", "species")
            rows.append(_row("true masks", "ground_truth", "species", seed, border, masks,
                             student, 0))  # fmt: skip
    settings = to_dict(run.settings) | {"seed": None, "border": None, "true_epochs": TRUE_EPOCHS}
    frame = pd.DataFrame(rows).assign(key=stage_key(settings=settings, data=run.content))
    frame = _with_earlier(frame, run.folder / "beyond.csv")
    write_frame(run.folder / "beyond.csv", frame)
    return frame


def _with_earlier(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """`frame`, with the rows in `path` that have its key and are of other chains or seeds."""
    columns = ["what", "seed", "border"]
    if not path.is_file() or "key" not in (old := pd.read_csv(path)):
        return frame
    both = pd.concat([old[old["key"] == frame["key"].iloc[0]], frame])
    both = both.drop_duplicates(columns, keep="last")
    order = {what: i for i, what in enumerate([*(c[0] for c in CHAINS), "true masks"])}
    both = both.assign(place=both["what"].map(order)).sort_values(["seed", "place"], kind="stable")
    return both.drop(columns="place").reset_index(drop=True)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds of what `compare` returns, with the smallest and the largest student. The
    column `defaults` says who found those of the settings: an oracle, as the README explains."""
    groups = table.groupby(["what", "source", "labels", "border"], sort=False)
    means = groups.agg(
        seeds=("seed", "nunique"), masks=("masks", "mean"), student=("student", "mean"),
        smallest=("student", "min"), largest=("student", "max"),
    ).reset_index()  # fmt: skip
    return means.assign(defaults="oracle")


def _row(what, source, labels, seed, border, masks: Scores, student: Scores, rounds) -> dict:
    def value(scores: Scores, metric: str, split: str) -> float:
        wanted = (metric, split, border)
        return next(r["value"] for r in scores.rows
                    if (r["metric"], r["split"], r["border"]) == wanted)  # fmt: skip

    return {
        "what": what, "source": source, "labels": labels, "seed": seed, "border": border,
        "masks": value(masks, "pseudo_iou_gt", "train"),
        "student": value(student, "mask_iou_gt", "test"),
        "rounds": rounds,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--profile", choices=tuple(PROFILES), default="photos")
    parser.add_argument("--data-root", default="")
    parser.add_argument("--run", default="")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sources", nargs="+", default=list(SOURCES))
    parser.add_argument("--shares", type=float, nargs="+", default=list(SHARES))
    parser.add_argument("--steps", type=int, default=100, help="of a student of the curve")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings")
    parser.add_argument("--only", nargs="+", default=["compare", "signals", "probes",
                        "unseen", "tried", "labelling", "recipes"])  # fmt: skip
    args = parser.parse_args()
    run = open_run(args.profile, args.run, args.data_root, **parse_assignments(args.set))
    if "cost" in args.only:
        print(chain_cost(run))
    if "compare" in args.only:
        print(summary(compare(run, args.seeds, args.sources)).round(4).to_string())
    if "probes" in args.only:
        write_frame(run.folder / "probes.csv", probe_taps(run))
        write_frame(run.folder / "taps.csv", students_by_taps(run, TRUE_EPOCHS))
    if "unseen" in args.only:
        parts = []
        for _, source, labels, changes in [c for c in CHAINS if c[1] in args.sources]:
            for seed in args.seeds:
                one = of_seed(run, seed, border="ignore", **changes)
                parts.append(leave_one_out(one, source, labels).assign(seed=seed))
        unseen = pd.concat(parts, ignore_index=True)
        write_frame(run.folder / "unseen.csv", unseen)
        print(unseen.round(4).to_string())
    if "tried" in args.only:
        one = of_seed(run, run.settings.seed, border="ignore")
        frame = pd.concat([tried(one, breed) for breed in run.pets.breeds], ignore_index=True)
        write_frame(run.folder / "tried.csv", frame)
        print(frame.round(4).to_string())
    if "labelling" in args.only:
        print(labelling_curve(run, shares=args.shares, seeds=args.seeds, steps=args.steps))
    if "signals" in args.only:
        write_frame(run.folder / "signals.csv", compare_settings(run))
    if "recipes" in args.only:
        write_frame(run.folder / "recipes.csv", compare_recipes(run))


if __name__ == "__main__":
    main()
