"""What each command does: the arguments in, a call of the package, a line or two on the screen.

Each imports what it needs, so that --help and a typing error answer at once.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from petweak.config import DATA_ROOTS


class UsageError(Exception):
    """Something the caller can mend by typing another command: exit code 2."""


def doctor(args: argparse.Namespace) -> None:
    from petweak import doctor

    findings = doctor.examine(args.data_root)
    print(doctor.table(findings))
    if not all(f.good for f in findings if f.what == "torch pair"):
        raise RuntimeError("torch and torchvision do not belong together")


def data_make(args: argparse.Namespace) -> None:
    from petweak.data.rendered import make_rendered

    if args.size < 32 or min(args.train, args.test) < 1:
        raise UsageError("--size is at least 32, --train and --test at least 1")
    root = make_rendered(
        _root(args.data_root or DATA_ROOTS["embedded"]),
        seed=args.seed,
        train_per_breed=args.train,
        test_per_breed=args.test,
        size=args.size,
    )
    print(f"rendered pets in {root}")


def data_fetch(args: argparse.Namespace) -> None:
    from petweak.data.fetch import fetch_official

    print(f"photos in {fetch_official(_root(args.data_root or DATA_ROOTS['paper']))}")


def data_check(args: argparse.Namespace) -> None:
    from petweak.data.pets import check, read_pets

    pets = check(read_pets(_root(args.data_root or DATA_ROOTS["photos"])))
    print(f"{pets.root}: {len(pets)} photos of {len(pets.breeds)} breeds can be used "
          f"({len(pets.split('train'))} train, {len(pets.split('test'))} test)")  # fmt: skip
    for q in pets.quarantine:
        print(f"left out: {q.file}: {q.reason}")


def masks(args: argparse.Namespace) -> None:
    from petweak.results import collect_results

    run = _run(args, args.source)
    made = run.masks(args.source)
    scores = {
        r["border"]: r["value"] for r in run.mask_scores(args.source).rows if r["split"] == "test"
    }
    collect_results(run)  # without the students of masks that are no more
    print(f"{len(made['ids'])} masks in {run.masks_folder(args.source)}")
    print("IoU with ground truth on test, border as " + ", ".join(
        f"{border}: {value:.4f}" for border, value in scores.items()))  # fmt: skip


def train(args: argparse.Namespace) -> None:
    from petweak.results import collect_results

    run = _run(args, args.source, args.labels)
    run.mask_scores(args.source)
    scores = run.student_scores(args.source, args.labels)
    collect_results(run)
    print(f"student in {run.student_folder(args.source, args.labels)}")
    for row in scores.rows:
        if row["split"] == "test" and row["metric"] in ("mask_iou_gt", "class_accuracy"):
            print(f"{row['metric']} on test, border {row['border']}: {row['value']:.4f}")


def selftrain(args: argparse.Namespace) -> None:
    from petweak.results import collect_results, score_rounds
    from petweak.selftrain import check

    run = _run(args, args.source, args.labels)
    try:
        check(run.settings)
    except ValueError as error:
        raise UsageError(error) from None
    run.mask_scores(args.source)
    for r, scores in score_rounds(run, args.source, args.labels):
        values = {
            row["border"]: row["value"]
            for row in scores.rows
            if (row["split"], row["metric"]) == ("test", "mask_iou_gt")
        }
        agreed = "" if r.agreement is None else f", masks agree {r.agreement:.4f} with the last"
        shown = ", ".join(f"{border}: {value:.4f}" for border, value in values.items())
        print(f"round {r.number}: {r.kept} photos{agreed}; mask_iou_gt on test, border {shown}")
    run.self_trained_scores(args.source, args.labels)
    print(f"student in {run.self_trained(args.source, args.labels)}")
    collect_results(run)


def study(args: argparse.Namespace) -> None:
    from petweak.report import ensure_report
    from petweak.results import run_study

    chosen = {k: tuple(v) for k, v in (("sources", args.sources), ("labels", args.labels)) if v}
    if args.seed is not None:
        chosen["seed"] = args.seed
    run = _run(args, **chosen)
    run_study(run)
    report = ensure_report(run.folder)
    print((run.folder / "tables.md").read_text())
    print(f"report: {report}")


def notebooks(args: argparse.Namespace) -> None:
    from petweak.execution import NotebookUsageError, run_notebooks

    try:
        run_notebooks(
            args.profile, args.run, args.data_root, args.only, _assignments(args.parameter),
            args.solutions,
        )  # fmt: skip
    except NotebookUsageError as error:
        raise UsageError(error) from None


def sweep(args: argparse.Namespace) -> None:
    from petweak.execution import NotebookUsageError
    from petweak.reruns import sweep

    try:
        swept = sweep(args.notebook, args.parameter, args.profile, args.run, args.data_root)
    except NotebookUsageError as error:
        raise UsageError(error) from None
    if swept.done:
        print(swept.table)
    if swept.failed:
        reasons = "; ".join(f"{name}: {why}" for name, why in swept.failed.items())
        raise RuntimeError(f"{len(swept.failed)} of {swept.done + len(swept.failed)} failed "
                           f"(the same command tries them again): {reasons}")  # fmt: skip


def report(args: argparse.Namespace) -> None:
    from petweak.report import FORMATS, write_report

    formats = list(dict.fromkeys(args.format or ["html"]))
    if unknown := [f for f in formats if f not in FORMATS]:
        raise UsageError(f"unknown format {', '.join(unknown)}: known are {', '.join(FORMATS)}")
    folder = _root(args.run)
    write_report(folder, formats)
    for name in formats:
        print(folder / FORMATS[name])


def predict(args: argparse.Namespace) -> None:
    from petweak.maskformer.predict import predict_files

    if missing := [p for p in args.photo if not Path(p).is_file()]:
        raise UsageError(f"no such file: {', '.join(missing)}")
    for path in predict_files(args.photo, args.model, args.out):
        print(path)


# --- what they share ------------------------------------------------------------------------------


def _root(path: str | Path) -> Path:
    from petweak.files import project_path

    return project_path(path)


def _assignments(pairs: list[str]) -> dict[str, str]:
    from petweak.config import parse_assignments

    try:
        return parse_assignments(pairs)
    except ValueError as error:
        raise UsageError(error) from None


def _run(args: argparse.Namespace, source: str = "", trained_on: str = "", **chosen):
    """The run that the arguments mean. A bad name or value is bad usage, found before any work."""
    from petweak.stages import check_source
    from petweak.study import open_run

    overrides = _assignments(args.settings) | chosen
    for key in ("profile", "run", "data_root"):
        if key in overrides:
            raise UsageError(f"{key} is not a setting: say --{key.replace('_', '-')}")
    try:
        run = open_run(args.profile, args.run or "", args.data_root or "", **overrides)
        if source:
            check_source(source, run.settings)
        if trained_on:
            run.check_labels(source, trained_on)
        return run
    except ValueError as error:
        raise UsageError(error) from None
