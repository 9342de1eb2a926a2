"""The command line: `petweak COMMAND`, parsing and one call a command.

What a command needs is imported when it is called, so `--help` and a typing error answer at once.
"""

import argparse
import atexit
import ctypes
import inspect
import logging
import os
import shlex
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NoReturn

import psutil

from petweak.config import DATA_ROOTS, PROFILES, from_here, parse_assignments

# Of files and memory: their text says what is wrong, as that of petweak's own classes does.
EXPECTED = (OSError, FloatingPointError, MemoryError)
# glibc's environment variables, with the parameter of the same meaning in malloc.h.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": -3, "MALLOC_TRIM_THRESHOLD_": -1}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. 0 on success, 1 on failure, 2 and one clear line for a bad argument; 130 and
    143 for one that Ctrl-C and SIGTERM have stopped."""
    for stream in (sys.stdout, sys.stderr):  # a console without ▼ shows a question mark
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    logging.basicConfig(format="petweak: %(message)s", level=logging.WARNING)
    args = parser().parse_args(argv)
    without_home()
    stop = Stop("goes on from here" if args.goes_on else "starts again")
    try:
        with stop:
            for line in _called(args):
                print(line, flush=True)
        return 0
    except KeyboardInterrupt as stopped:
        return stop.say(next(iter(stopped.args), signal.SIGINT))
    except BrokenPipeError:  # `petweak doctor | head`: nobody reads on, so there is nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if stop.number:  # what an import that was interrupted makes of it
            return stop.say(stop.number)
        if args.debug:
            traceback.print_exc()
        print(f"petweak: {_message(error)}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) and _expected(error) else 1


def program() -> NoReturn:
    """`main` as a process. One that was stopped ends at once: taking PyTorch apart takes 2 s."""
    keep_memory()
    code = main()
    if code > 128:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


class Stop:
    """While it is entered, Ctrl-C and a process manager's SIGTERM raise KeyboardInterrupt. Where
    that is caught on its way, as in an import, or waits, the process ends after PATIENCE."""

    PATIENCE = 1.2  # seconds

    def __init__(self, way: str) -> None:
        self.way, self.number, self.asked = way, 0, SimpleQueue()
        self.one, self.said = threading.Lock(), False

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():  # no other may listen to signals
            self.before = {n: signal.signal(n, self) for n in (signal.SIGINT, signal.SIGTERM)}
            threading.Thread(target=self._watch, daemon=True).start()

    def __exit__(self, *error: object) -> None:
        for number, handler in vars(self).pop("before", {}).items():
            signal.signal(number, handler)
        self.asked.put(0)
        if self.number and not error[0]:
            raise KeyboardInterrupt(self.number)

    def __call__(self, number: int, frame: object) -> None:
        self.number = number
        self.asked.put(number)  # safe where a signal came in the middle of another one
        raise KeyboardInterrupt(number)

    def _watch(self) -> None:
        number = asked = self.asked.get()
        until = time.monotonic() + self.PATIENCE
        while asked:
            try:
                asked = self.asked.get(timeout=max(0.0, until - time.monotonic()))
            except Empty:
                for child in psutil.Process().children(recursive=True):
                    child.kill()
                os._exit(self.say(number))

    def say(self, number: int) -> int:
        """Once, from whichever thread. Returns the exit code."""
        with self.one:
            if not self.said:
                print(f"petweak: stopped; the same command {self.way}", file=sys.stderr, flush=True)
            self.said = True
        return 128 + number


def _expected(error: Exception) -> bool:
    """Whether the error's text is meant for the user. That of a ValueError is if petweak itself
    raises it; one of Python or of a library is about values that petweak gave them."""
    if type(error).__module__.startswith("petweak.") or isinstance(error, EXPECTED):
        return True
    if not isinstance(error, ValueError):
        return False
    last = traceback.extract_tb(error.__traceback__)[-1]
    own = Path(last.filename).is_relative_to(Path(__file__).parent)
    return own and (last.line or "").startswith("raise ")


def _message(error: Exception) -> str:
    """One line: an expected error in its own words, any other as what it is, a fault."""
    kind, text = type(error), "; ".join(str(error).splitlines())
    if kind.__name__ == "OutOfMemoryError":  # torch's, of a GPU
        return f"{text.split('. ')[0]}: take a smaller batch, --set batch_size=8 for a training " \
            "and extraction_batch=2 for the features, or --set device=cpu"
    if text and _expected(error):
        return text
    return f"{kind.__name__}: {text} (a fault of petweak's: --debug shows the traceback)"


def keep_memory() -> None:
    """Keep up to 512 MB of freed memory in this process, and in the kernels that it starts.

    Training frees and allocates the same blocks hundreds of times a second, and glibc would hand
    them back to the system each time. Programs that import petweak keep their own settings.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    for name, parameter in MALLOC.items():
        if name in os.environ or not (mallopt and mallopt(parameter, 512 << 20)):
            return  # the user's own settings, or another C library
        os.environ[name] = str(512 << 20)


def without_home() -> None:
    """Matplotlib and IPython say on every command, and in every kernel, that they take a temporary
    folder where HOME cannot be written to: this gives them one, for as long as the command runs."""
    if not os.access(os.path.expanduser("~"), os.W_OK):
        with suppress(OSError):  # no temporary folder either: what needs one says so
            folder = tempfile.mkdtemp(prefix="petweak-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            for name in ("MPLCONFIGDIR", "IPYTHONDIR"):
                os.environ.setdefault(name, folder)


def _called(args: argparse.Namespace) -> Iterator:
    """What the command yields. Of the processes that torchrun has started, all but the first yield
    nothing and help it (`petweak.data.distributed`)."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return args.call(args)
    if not args.shares:
        if os.environ["RANK"] == "0":
            raise ValueError("this command has nothing to share: call it without torchrun")
        return iter(())
    from petweak.data.distributed import led

    return led(partial(args.call, args))


def _call(function: str, args: argparse.Namespace) -> Iterator:
    """A command that is one call: arguments go to the parameters of their names."""
    module, name = function.split(":")
    target = getattr(import_module(f"petweak.{module}"), name)
    names = inspect.signature(target).parameters.keys() & vars(args)
    result = target(**{name: getattr(args, name) for name in names})
    yield from [result] if isinstance(result, str | Path) else result or ()


def data(args: argparse.Namespace) -> Iterator:
    from petweak.data.download import fetch_official
    from petweak.data.files import project_path
    from petweak.data.oxford_pets import check, describe, read_pets, require_splits
    from petweak.data.pairing import Photo, twins_apart
    from petweak.rendered import make_rendered

    profile = {"make": "embedded", "fetch": "paper", "check": "photos"}[args.action]
    root = args.data_root or project_path(DATA_ROOTS[profile])
    if args.action == "make":
        numbers = {"train_per_breed": args.train, "test_per_breed": args.test}
        yield f"drawn: {make_rendered(root, seed=args.seed, size=args.size, **numbers)}"
    elif args.action == "fetch":
        yield f"fetched: {fetch_official(root)}"
    else:
        pets = check(read_pets(root))
        yield from describe(pets)
        yield from twins_apart([Photo(s.photo, s.photo.name, s.breed_name, s.split)
                                for s in pets.samples])
        require_splits(pets)


def masks(args: argparse.Namespace) -> Iterator:
    run = _run(args, args.source)
    scores = run.mask_scores(args.source)
    _collect(run)
    manifest = run.masks(args.source)
    yield f"{len(manifest['ids'])} masks in {run.masks_folder(args.source)}"
    if "read_as" in manifest:
        yield f"read as {manifest['read_as']}"
    yield from _on_test(scores, "pseudo_iou_gt")
    yield "for comparison, all_ones, which calls every pixel foreground:"
    yield from _on_test(run.baseline_scores("all_ones"), "pseudo_iou_gt")


def train(args: argparse.Namespace) -> Iterator:
    run = _run(args, args.source, args.labels)
    run.mask_scores(args.source)
    scores = run.model_scores(args.source, args.labels)
    _collect(run)
    yield f"model in {run.model_folder(args.source, args.labels)}"
    yield from _on_test(scores, "mask_iou_gt", "class_accuracy")


def selftrain(args: argparse.Namespace) -> Iterator:
    from petweak.study.results import score_rounds
    from petweak.training.self_training import check

    run = _run(args, args.source, args.labels)
    check(run.settings)
    run.mask_scores(args.source)
    for r, scores in score_rounds(run, args.source, args.labels):
        agreement = "" if r.agreement is None else f", masks agree {r.agreement:.4f} with the last"
        yield f"round {r.number}: {r.n_images} photos{agreement}"
        yield from _on_test(scores, "mask_iou_gt")
    run.self_trained_scores(args.source, args.labels)
    _collect(run)
    yield f"model in {run.self_trained(args.source, args.labels)}"


def study(args: argparse.Namespace) -> Iterator:
    from petweak.reporting.cards import write_cards
    from petweak.reporting.report import ensure_report
    from petweak.study.results import run_study
    from petweak.study.tables import models
    from petweak.study.tasks import cluster

    run = _run(args, sources=args.sources, labels=args.labels, seed=args.seed)
    with cluster(args.on, args.task, run.folder):
        results = run_study(run)
    write_cards(run)
    report = ensure_report(run.folder)
    yield (run.folder / "tables.md").read_text(encoding="utf-8")
    yield f"the sources' masks of every photo: {run.folder / 'masks'}"
    model, out = run.model_folder(*models(results)[0]), run.folder / "predictions"
    command = ["petweak", "predict", run.pets.root / "images", "--model", model, "--out", out]
    yield f"a model's masks of these photos, or of others: {shlex.join(map(str, command))}"
    yield f"report: {report}"


def experiment(args: argparse.Namespace) -> Iterator:
    from petweak.experiments import run_experiment
    from petweak.study.tasks import cluster

    options, run = parse_assignments(args.options), _run(args)
    with cluster(args.on, args.task, run.folder):
        table = run_experiment(args.name, run, **options)
    yield table.to_string(index=False)


def predict(args: argparse.Namespace) -> Iterator:
    from petweak.study.about import pick_device
    from petweak.training.predict import predict_files

    yield from predict_files(args.photos, args.model, args.out, pick_device(args.device))


def _path(text: str) -> Path:
    """What is typed counts from where the user stands; only defaults count from the project."""
    if not text:  # of a variable without a value: it would be the current folder
        raise argparse.ArgumentTypeError("an empty path")
    return Path(os.path.abspath(os.path.expanduser(text)))


def _run(args: argparse.Namespace, source: str = "", trained_on: str = "", **chosen):
    """The run that the arguments mean. ValueError for a bad name or value, before any work."""
    from petweak.config import settings
    from petweak.study.run import check_source, open_run

    changes = parse_assignments(args.settings)
    changes |= {name: value for name, value in chosen.items() if value is not None}
    if options := {"profile", "run", "data_root"} & set(changes):
        raise ValueError(f"{', '.join(options)} is no setting: say --profile, --run, --data-root")
    changes = {name: from_here(name, value) for name, value in changes.items()}
    if source:  # before the rendered pets are drawn
        check_source(source, settings(args.profile, **changes))
    run = open_run(args.profile, args.run or "", args.data_root or "", **changes)
    if trained_on:
        run.check_labels(source, trained_on)
    return run


def _collect(run) -> None:
    """results.csv of what is up to date with the settings, and the cards of its models."""
    from petweak.reporting.cards import write_cards
    from petweak.study.results import collect_results

    collect_results(run)
    write_cards(run)


def _on_test(scores, *metrics: str) -> Iterator[str]:
    names = {"class_accuracy": "class accuracy"}
    for r in (rows := [r for r in scores.rows if r["split"] == "test" and r["metric"] in metrics]):
        name = names.get(r["metric"], "IoU with ground truth")
        border = "" if r["border"] == "-" else f", border {r['border']}"
        yield f"{name} on test{border}: {r['value']:.4f}"
    if not rows:
        yield "no scores on test: its photos have no trimaps"


def parser() -> argparse.ArgumentParser:
    """Every command with its arguments."""
    about = "How little labelling does it take to segment pets?"
    top = argparse.ArgumentParser(prog="petweak", description=about)
    top.add_argument("--debug", action="store_true", help="show the traceback of an error")
    names = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, call: Callable | str, about: str, *groups: str, of=names) -> Callable:
        p = of.add_parser(name, help=about, description=about)
        p.set_defaults(call=partial(_call, call) if isinstance(call, str) else call,
                       goes_on="run" in groups or name in ("make", "fetch"),
                       shares="settings" in groups)
        add = p.add_argument
        add("--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks")
        if groups:
            add("--data-root", type=_path, metavar="D", help="the folder of oxford-iiit-pet/")
        if "run" in groups:
            add("--profile", choices=tuple(PROFILES), default="embedded", help="default: embedded")
            add("--run", type=_path, metavar="R", help="the run's folder; default: runs/<profile>")
        if "settings" in groups:
            add("--set", dest="settings", nargs="+", action="extend", default=[], metavar="k=v")
            add("--device", dest="settings", type="device={}".format, action="append",
                metavar="auto|cpu|cuda", help="the setting device, shorter")
        if "parameters" in groups:
            add("-p", dest="parameters", action="append", default=[], metavar="k=v")
        if "cluster" in groups:
            add("--on", default="", metavar="ray[://HOST:PORT]", help="a cluster to work on")
            add("--task", nargs="+", action="extend", default=[], metavar="k=v",
                help="what a task takes of it; default: cpus=1 memory=2 (GiB) gpus=1, if there are")
        return add

    command("doctor", "reporting.doctor:doctor", "what is here, and what is missing", "data")
    about = "make, fetch, import or check a data set"
    actions = names.add_parser("data", help=about, description=about).add_subparsers(
        title="actions", dest="action", required=True, metavar="ACTION")
    add = command("make", data, "draw the rendered pets", "data", of=actions)
    add("--seed", type=int, default=0, help="of the drawing; default: 0")
    add("--train", type=int, default=12, help="photos a breed in train; default: 12")
    add("--test", type=int, default=6, help="photos a breed in test; default: 6")
    add("--size", type=int, default=256, help="pixels, the shorter side; default: 256")
    command("fetch", data, "download the official set", "data", of=actions)
    command("check", data, "open every photo and trimap of a set", "data", of=actions)
    call = "data.importing:import_photos"
    add = command("import", call, "make a set of your own photos", of=actions)
    add("source", type=_path, metavar="SOURCE", help="a folder of class folders or of photos, a "
        "re-packing of Oxford-IIIT Pet, COCO instances, or a .csv of file, class, split, mask")
    add("--to", type=_path, required=True, dest="data_root", metavar="D",
        help="a new folder, the --data-root later")
    add("--masks", type=_path, metavar="M", help="a folder of masks with the photos' names")
    add("--foreground", default="", metavar="F", help="what their foreground is, if it is unclear: "
        "nonzero, alpha, soft, above:N, below:N, 1,3 or #ff0000")
    add("--species", nargs="+", action="extend", default=[], metavar="CLASS=cat",
        help="of classes whose names do not tell it; or one species for all")
    add("--classes", nargs="+", action="extend", default=[], metavar="C", help="default: all")
    add("--test-fraction", type=float, default=0.2, metavar="F",
        help="of each class, where the source has no split; default: 0.2")
    add("--seed", type=int, default=0, help="of that split; default: 0")
    how = add.__self__.add_mutually_exclusive_group()
    how.add_argument("--copy", action="store_false", dest="link", default=False,
                     help="copy photos; the default")
    how.add_argument("--link", action="store_true", help="symbolic links instead")
    add = command("masks", masks, "make a source's masks", "run", "settings")
    add("source", metavar="SOURCE", help="as in petweak.pseudo_masks.SOURCES, or external_NAME")
    for name, call, default in (("train", train, "breed"), ("selftrain", selftrain, "species")):
        add = command(name, call, f"{name} one model and score it", "run", "settings")
        add("--source", required=True, help="where the pseudo-labels come from")
        add("--labels", choices=("breed", "species"), default=default, help=f"default: {default}")
    groups = "run", "settings", "cluster"
    add = command("study", study, "the whole grid, results.csv and the report", *groups)
    add("--sources", nargs="+", metavar="S", help="default: the profile's four")
    add("--labels", nargs="+", metavar="L", help="default: breed species")
    add("--seed", type=int, help="default: 0")
    call = "reporting.notebooks:run_notebooks"
    add = command("notebooks", call, "execute the series by papermill", "run", "parameters")
    add("--only", nargs="+", metavar="NN", help="numbers of notebooks, default: all")
    add("--solutions", action="store_true", help="the solutions of the exercises instead")
    add("--jobs", type=int, default=1, metavar="N", help="so many at once, default: 1")
    about = "one notebook, for every combination of parameters"
    add = command("sweep", "reporting.sweep:sweep", about, "run", "parameters", "cluster")
    add("notebook", type=_path, help="takes -p key=value,value or -p key='v,v;v'")
    add = command("report", "reporting.report:write_report", "write the report again")
    add("run_folder", type=_path, metavar="R", help="the run's folder")
    add("--format", dest="formats", nargs="+", default=["html"], help="html, pdf, md, latex")
    add = command("predict", predict, "masks of photos by a trained model")
    add("photos", type=_path, nargs="+", metavar="PHOTO", help="files, folders, or globs in quotes")
    add("--model", type=_path, required=True, metavar="M", help="runs/R/models/S-L")
    add("--out", type=_path, required=True, metavar="D", help="for masks and predictions.csv")
    add("--device", default="auto", help="auto (CUDA, else the CPU), cpu, cuda, cuda:1")
    about = "answer a further question by a table"
    add = command("experiment", experiment, about, *groups)
    add("name", metavar="NAME", help="a name of petweak.experiments.EXPERIMENTS")
    add("-o", dest="options", nargs="+", action="extend", default=[], metavar="k=v",
        help="options of the experiment")
    return top


if __name__ == "__main__":
    program()
