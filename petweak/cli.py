"""The command line: arguments in, a call of the package, an exit code."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from petweak.config import DATA_ROOTS, PROFILES


class UsageError(Exception):
    """Something the caller can mend by typing another command: exit code 2."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. 0 on success, 1 on failure, 2 and one clear line on bad usage."""
    logging.basicConfig(format="petweak: %(message)s", level=logging.WARNING)
    args = _parser().parse_args(argv)
    try:
        args.call(args)
    except UsageError as error:
        print(f"petweak: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("petweak: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    except (OSError, ValueError, FloatingPointError, RuntimeError, KeyError) as error:
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        print(f"petweak: {text}", file=sys.stderr)
        return 1
    return 0


# --- commands: each imports what it needs, so that --help and a typing error answer at once -------


def _doctor(args: argparse.Namespace) -> None:
    from petweak import doctor

    findings = doctor.examine(args.data_root)
    print(doctor.table(findings))
    if not all(f.good for f in findings if f.what == "torch pair"):
        raise RuntimeError("torch and torchvision do not belong together")


def _data_make(args: argparse.Namespace) -> None:
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


def _data_fetch(args: argparse.Namespace) -> None:
    from petweak.data.fetch import fetch_official

    print(f"photos in {fetch_official(_root(args.data_root or DATA_ROOTS['paper']))}")


def _data_check(args: argparse.Namespace) -> None:
    from petweak.data.pets import check, read_pets

    pets = check(read_pets(_root(args.data_root or DATA_ROOTS["photos"])))
    print(f"{pets.root}: {len(pets)} photos of {len(pets.breeds)} breeds can be used "
          f"({len(pets.split('train'))} train, {len(pets.split('test'))} test)")  # fmt: skip
    for q in pets.quarantine:
        print(f"left out: {q.file}: {q.reason}")


def _masks(args: argparse.Namespace) -> None:
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


def _train(args: argparse.Namespace) -> None:
    from petweak.results import collect_results

    run = _run(args, args.source, args.labels)
    run.mask_scores(args.source)
    scores = run.student_scores(args.source, args.labels)
    collect_results(run)
    print(f"student in {run.student_folder(args.source, args.labels)}")
    for row in scores.rows:
        if row["split"] == "test" and row["metric"] in ("mask_iou_gt", "class_accuracy"):
            print(f"{row['metric']} on test, border {row['border']}: {row['value']:.4f}")


def _selftrain(args: argparse.Namespace) -> None:
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


def _study(args: argparse.Namespace) -> None:
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


def _notebooks(args: argparse.Namespace) -> None:
    from petweak.notebooks import NotebookUsageError, run_notebooks

    try:
        run_notebooks(
            args.profile, args.run, args.data_root, args.only, _assignments(args.parameter),
            args.solutions,
        )  # fmt: skip
    except NotebookUsageError as error:
        raise UsageError(error) from None


def _sweep(args: argparse.Namespace) -> None:
    from petweak.notebooks import NotebookUsageError
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


def _report(args: argparse.Namespace) -> None:
    from petweak.report import FORMATS, write_report

    formats = list(dict.fromkeys(args.format or ["html"]))
    if unknown := [f for f in formats if f not in FORMATS]:
        raise UsageError(f"unknown format {', '.join(unknown)}: known are {', '.join(FORMATS)}")
    folder = _root(args.run)
    write_report(folder, formats)
    for name in formats:
        print(folder / FORMATS[name])


def _predict(args: argparse.Namespace) -> None:
    from petweak.maskformer.predict import predict_files

    if missing := [p for p in args.photo if not Path(p).is_file()]:
        raise UsageError(f"no such file: {', '.join(missing)}")
    for path in predict_files(args.photo, args.model, args.out):
        print(path)


# --- arguments ------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="petweak", description="How little labelling does it take to segment pets?"
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    p = _command(commands, "doctor", _doctor, "what is here, and what is missing")
    p.add_argument("--data-root", help="the folder that holds oxford-iiit-pet/")

    data = commands.add_parser("data", help="make, fetch or check a data set")
    kinds = data.add_subparsers(title="commands", required=True, metavar="COMMAND")
    p = _command(kinds, "make", _data_make, "draw the rendered pets")
    p.add_argument("--data-root", help=f"default: {DATA_ROOTS['embedded']}")
    p.add_argument("--seed", type=int, default=0, help="of the drawing")
    p.add_argument("--train", type=int, default=12, help="photos a breed in train")
    p.add_argument("--test", type=int, default=6, help="photos a breed in test")
    p.add_argument("--size", type=int, default=256, help="pixels, about the shorter side")
    p = _command(kinds, "fetch", _data_fetch, "get the official archives")
    p.add_argument("--data-root", help=f"default: {DATA_ROOTS['paper']}")
    p = _command(kinds, "check", _data_check, "open every photo and trimap")
    p.add_argument("--data-root", help=f"default: {DATA_ROOTS['photos']}")

    p = _command(commands, "masks", _masks, "make a source's masks")
    p.add_argument("source", metavar="SOURCE", help="a name of petweak.pseudo_masks.SOURCES")
    _run_arguments(p)

    p = _command(commands, "train", _train, "train and score one student")
    _run_arguments(p)
    p.add_argument("--source", required=True, help="where its masks come from")
    p.add_argument("--labels", choices=("breed", "species"), default="breed", help="its classes")

    p = _command(commands, "selftrain", _selftrain, "rounds of predicting, refining, retraining")
    _run_arguments(p)
    p.add_argument("--source", required=True, help="where the first masks come from")
    p.add_argument("--labels", choices=("breed", "species"), default="species", help="its classes")

    p = _command(commands, "study", _study, "the whole grid, results.csv and the report")
    _run_arguments(p)
    p.add_argument("--sources", nargs="+", metavar="S", help="default: the profile's four")
    p.add_argument("--labels", nargs="+", metavar="L", help="default: breed species")
    p.add_argument("--seed", type=int, help="default: 0")

    p = _command(commands, "notebooks", _notebooks, "execute the series by papermill")
    _run_arguments(p, settings=False)
    p.add_argument("--only", nargs="+", metavar="NN", help="numbers of notebooks, default: all")
    p.add_argument("--solutions", action="store_true",
                   help="the worked solutions of the exercises instead")  # fmt: skip
    p.add_argument("-p", dest="parameter", action="append", default=[], metavar="key=value",
                   help="a notebook parameter")  # fmt: skip

    p = _command(commands, "sweep", _sweep, "one notebook, for every combination of parameters")
    p.add_argument("notebook", metavar="NOTEBOOK", help="its path: notebooks/NN_verb_what.ipynb")
    _run_arguments(p, settings=False)
    p.add_argument("-p", dest="parameter", action="append", default=[], metavar="key=v,v",
                   help="a parameter's values; with commas in them: key=[\"v,v\", \"v\"]")

    p = _command(commands, "report", _report, "write tables.md, figures and the report anew")
    p.add_argument("run", metavar="R", help="the run's folder")
    p.add_argument("--format", nargs="+", action="extend", metavar="F",
                   help="html, pdf, md, latex, or several of them; default: html")  # fmt: skip

    p = _command(commands, "predict", _predict, "masks of photos by a trained student")
    p.add_argument("photo", nargs="+", metavar="PHOTO", help="a picture file")
    p.add_argument("--model", required=True, metavar="M", help="runs/R/models/S-L")
    p.add_argument("--out", required=True, metavar="D", help="folder for <photo's stem>.png")
    return parser


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Appends defaults, but for None and [], whose meaning the help text says itself."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if not action.default else super()._get_help_string(action)


def _command(commands, name: str, call, about: str) -> argparse.ArgumentParser:
    p = commands.add_parser(
        name, help=about, description=about,
        formatter_class=_Help,
    )  # fmt: skip
    p.set_defaults(call=call)
    return p


def _run_arguments(p: argparse.ArgumentParser, settings: bool = True) -> None:
    p.add_argument("--profile", choices=tuple(PROFILES), default="embedded", help="the defaults")
    p.add_argument(
        "--data-root", metavar="D", help="holds oxford-iiit-pet/; default: the profile's"
    )
    p.add_argument("--run", metavar="R", help="the run's folder; default: runs/<profile>")
    if settings:
        p.add_argument("--set", dest="settings", nargs="+", action="extend", default=[],
                       metavar="key=value", help="change settings of the profile")  # fmt: skip


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


if __name__ == "__main__":
    sys.exit(main())
