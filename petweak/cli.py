"""The command line: arguments in, a command of `petweak.commands`, an exit code."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from petweak import commands
from petweak.commands import UsageError
from petweak.config import DATA_ROOTS, PROFILES


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="petweak", description="How little labelling does it take to segment pets?"
    )
    names = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    p = _command(names, "doctor", commands.doctor, "what is here, and what is missing")
    p.add_argument("--data-root", help="the folder that holds oxford-iiit-pet/")

    data = names.add_parser("data", help="make, fetch or check a data set")
    kinds = data.add_subparsers(title="commands", required=True, metavar="COMMAND")
    p = _command(kinds, "make", commands.data_make, "draw the rendered pets")
    p.add_argument("--data-root", help=f"default: {DATA_ROOTS['embedded']}")
    p.add_argument("--seed", type=int, default=0, help="of the drawing")
    p.add_argument("--train", type=int, default=12, help="photos a breed in train")
    p.add_argument("--test", type=int, default=6, help="photos a breed in test")
    p.add_argument("--size", type=int, default=256, help="pixels, about the shorter side")
    p = _command(kinds, "fetch", commands.data_fetch, "get the official archives")
    p.add_argument("--data-root", help=f"default: {DATA_ROOTS['paper']}")
    p = _command(kinds, "check", commands.data_check, "open every photo and trimap")
    p.add_argument("--data-root", help=f"default: {DATA_ROOTS['photos']}")

    p = _command(names, "masks", commands.masks, "make a source's masks")
    p.add_argument("source", metavar="SOURCE", help="a name of petweak.pseudo_masks.SOURCES")
    _run_arguments(p)

    p = _command(names, "train", commands.train, "train and score one student")
    _run_arguments(p)
    p.add_argument("--source", required=True, help="where its masks come from")
    p.add_argument("--labels", choices=("breed", "species"), default="breed", help="its classes")

    p = _command(names, "selftrain", commands.selftrain,
                 "rounds of predicting, refining, retraining")  # fmt: skip
    _run_arguments(p)
    p.add_argument("--source", required=True, help="where the first masks come from")
    p.add_argument("--labels", choices=("breed", "species"), default="species", help="its classes")

    p = _command(names, "study", commands.study, "the whole grid, results.csv and the report")
    _run_arguments(p)
    p.add_argument("--sources", nargs="+", metavar="S", help="default: the profile's four")
    p.add_argument("--labels", nargs="+", metavar="L", help="default: breed species")
    p.add_argument("--seed", type=int, help="default: 0")

    p = _command(names, "notebooks", commands.notebooks, "execute the series by papermill")
    _run_arguments(p, settings=False)
    p.add_argument("--only", nargs="+", metavar="NN", help="numbers of notebooks, default: all")
    p.add_argument("--solutions", action="store_true",
                   help="the worked solutions of the exercises instead")  # fmt: skip
    p.add_argument("-p", dest="parameter", action="append", default=[], metavar="key=value",
                   help="a notebook parameter")  # fmt: skip

    p = _command(names, "sweep", commands.sweep,
                 "one notebook, for every combination of parameters")  # fmt: skip
    p.add_argument("notebook", metavar="NOTEBOOK", help="its path: notebooks/NN_verb_what.ipynb")
    _run_arguments(p, settings=False)
    p.add_argument("-p", dest="parameter", action="append", default=[], metavar="key=v,v",
                   help="a parameter's values; with commas in them: key=[\"v,v\", \"v\"]")

    p = _command(names, "report", commands.report, "write tables.md, figures and the report anew")
    p.add_argument("run", metavar="R", help="the run's folder")
    p.add_argument("--format", nargs="+", action="extend", metavar="F",
                   help="html, pdf, md, latex, or several of them; default: html")  # fmt: skip

    p = _command(names, "predict", commands.predict, "masks of photos by a trained student")
    p.add_argument("photo", nargs="+", metavar="PHOTO", help="a picture file")
    p.add_argument("--model", required=True, metavar="M", help="runs/R/models/S-L")
    p.add_argument("--out", required=True, metavar="D", help="folder for <photo's stem>.png")
    return parser


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Appends defaults, but for None and [], whose meaning the help text says itself."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if not action.default else super()._get_help_string(action)


def _command(names, name: str, call, about: str) -> argparse.ArgumentParser:
    p = names.add_parser(
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


if __name__ == "__main__":
    sys.exit(main())
