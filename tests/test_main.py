"""The command line: exit codes, one clear line, where paths count from, what it leaves alone."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SMALL, small
from handmade import on_a_read_only_disk, reported_run
from PIL import Image

from petweak import __main__ as cli
from petweak.__main__ import main
from petweak.config import settings
from petweak.data.download import FetchError
from petweak.data.files import from_json, read_json
from petweak.data.masks import read_mask
from petweak.evaluation.metrics import centre_box
from petweak.reporting.notebooks import NotebookError
from petweak.reporting.report import FORMATS

SET = [f"{k}={v}" for k, v in SMALL.items()]
SWEEP = ["sweep", str(Path(__file__).parents[1] / "notebooks" / "01_explore_the_data.ipynb")]


@pytest.fixture(scope="module")
def trained(rendered, tmp_path_factory):
    run = tmp_path_factory.mktemp("cli") / "run"
    arguments = ["--data-root", str(rendered), "--run", str(run), "--set", *SET]
    assert main(["train", *arguments, "--source", "ground_truth", "--labels", "species"]) == 0
    return run


COMMANDS = [
    "doctor",
    "data",
    "masks",
    "train",
    "selftrain",
    "study",
    "notebooks",
    "sweep",
    "report",
    "predict",
    "experiment",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0 and f"usage: petweak {command}" in capsys.readouterr().out


def test_help_lists_every_command_and_loads_nothing_heavy():
    code = "import sys, petweak.__main__ as m; m.parser(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "pandas", "numpy", "papermill"} & set(done.stdout.split())
    assert all(re.search(rf"^    {c}\b", cli.parser().format_help(), re.M) for c in COMMANDS)


@pytest.mark.parametrize(
    "command, says",
    [
        (["study", "--set", "epoch=3"], "did you mean epochs"),
        (["study", "--set", "epochs"], "key=value"),
        (["study", "--sources", "grabcut"], "ground_truth"),
        (["masks", "nothing"], "ground_truth"),
        (["masks", "labels_free"], "labels_free is now imagenet_only"),
        (["train", "--source", "labels_free"], "labels_free is now imagenet_only"),
        (["selftrain", "--source", "labels_free"], "labels_free is now imagenet_only"),
        (["study", "--sources", "labels_free"], "labels_free is now imagenet_only"),
        (["study", "--set", "taps=last"], "levels"),
        (["train", "--source", "ground_truth", "--set", "border=pet"], "foreground"),
        (["masks", "external"], "external_masks"),
        (["study", "--sources", "external"], "external_masks"),
        (["study", "--set", "cam=nonsense"], "gradcam++"),
        (["study", "--set", "backbone=resnet18"], "efficientnet_lite0"),
        (["study", "--set", "profile=photos"], "--profile"),
        (["train", "--source", "ground_truth", "--set", "device=cuda:99"], "device=cpu"),
        (["train", "--source", "ground_truth", "--device", "cuda:99"], "device=cpu"),
        (["experiment", "benchmark", "--device", "cuda:99"], "device=cuda:99: torch sees no such"),
        (["experiment", "benchmark", "--device", "graphics"], "write auto, cpu, cuda"),
        (["notebooks", "--only", "77"], "the number 77"),
        (["notebooks", "-p", "colour=red"], "unknown parameter colour"),
        (["notebooks", "-p", "taps=last"], "taps is now levels"),
        (["notebooks", "-p", "run=there"], "--run"),
        (["sweep", "notebooks/77.ipynb", "-p", "seed=0"], "no such notebook"),
        ([*SWEEP, "-p", "seed="], "a value is empty"),
        ([*SWEEP, "-p", "colour=red"], "there are"),
        (["experiment", "nothing"], "label_efficiency"),
    ],
)
def test_a_bad_argument_is_one_line_and_exit_code_2(command, says, capsys, rendered, tmp_path):
    where = ["--run", str(tmp_path / "run"), "--data-root", str(rendered)]
    assert main([*command, *where]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1 and "a fault of" not in error
    assert not (tmp_path / "run" / "results.csv").exists()


def test_an_unknown_command_is_a_bad_argument():
    with pytest.raises(SystemExit) as end:
        main(["segment"])
    assert end.value.code == 2


def test_a_failure_is_exit_code_1(tmp_path, capsys):
    assert main(["data", "check", "--data-root", str(tmp_path)]) == 1
    assert "--data-root is the folder that has" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "nowhere")]) == 1


# --- errors: expected ones in their own words, all others as faults


def failing(monkeypatch, error: Exception) -> None:
    def fail(args):
        raise error

    monkeypatch.setattr(cli, "masks", fail)


EXPECTED = [
    (FileNotFoundError("run.json is missing"), 1),
    (PermissionError(13, "Permission denied", "/x"), 1),
    (FloatingPointError("the loss is nan"), 1),
    (FetchError("no network"), 1),
    (NotebookError("01.ipynb, cell 3: KeyError: 'x'"), 1),
]
FAULTS = [
    KeyError("pug_1"),
    RuntimeError("mat1 and mat2\ncannot be multiplied"),
    IndexError("9"),
    TypeError("x() takes 1 argument"),
    AttributeError("no y"),
    AssertionError(),
    OSError(),
]


INSIDE = [
    lambda: np.zeros(3).reshape(2, 2),
    lambda: np.concatenate([]),
    lambda: list(zip([1], [], strict=True)),
    lambda: b"\xff".decode("utf-8"),
    lambda: from_json("{"),  # of the json module, called by petweak
    lambda: centre_box((1, 2, 3)),  # of Python, in a line of petweak's
]


@pytest.mark.parametrize("error, code", EXPECTED, ids=lambda e: type(e).__name__)
def test_an_expected_error_speaks_for_itself(error, code, monkeypatch, capsys):
    failing(monkeypatch, error)
    assert main(["masks", "x"]) == code
    assert capsys.readouterr().err == f"petweak: {error}\n"


def test_a_reader_who_stops_reading_gets_no_complaint():
    code = "import petweak.__main__ as cli; cli.masks = lambda args: map(str, range(99_999)); " \
        "cli.main(['masks', 'x'])"  # more lines than a pipe holds
    command = f"{sys.executable} -c {shlex.quote(code)} | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_too_little_memory_of_a_gpu_names_a_smaller_batch(monkeypatch, capsys):
    text = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15 GiB"
    failing(monkeypatch, torch.OutOfMemoryError(text))
    assert main(["masks", "x"]) == 1
    said = capsys.readouterr().err
    assert "CUDA out of memory: " in said and "batch_size" in said and "device=cpu" in said


@pytest.mark.parametrize("error", FAULTS, ids=lambda e: type(e).__name__)
def test_a_program_error_is_never_its_bare_text(error, monkeypatch, capsys):
    failing(monkeypatch, error)
    assert main(["masks", "x"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"petweak: {type(error).__name__}: ") and said.count("\n") == 1
    assert said.endswith("(a fault of petweak's: --debug shows the traceback)\n")
    if isinstance(error, KeyError):
        assert "KeyError: 'pug_1'" in said


def test_a_value_that_petweak_refuses_is_a_bad_argument(monkeypatch, capsys):
    monkeypatch.setattr(cli, "masks", lambda args: settings("embedded", seed=-1))
    assert main(["masks", "x"]) == 2
    assert capsys.readouterr().err == "petweak: seed=-1: has to be at least 0\n"


@pytest.mark.parametrize("inside", INSIDE)
def test_a_value_error_of_inside_is_a_fault(inside, monkeypatch, capsys):
    """Of Python or of a library, whose text tells a user nothing; also of a line of petweak's that
    calls them."""
    monkeypatch.setattr(cli, "masks", lambda args: inside())
    assert main(["masks", "x"]) == 1
    said = capsys.readouterr().err
    assert "Error: " in said and said.endswith("(a fault of petweak's: --debug shows the "
                                               "traceback)\n")


@pytest.mark.parametrize("command", [["--debug", "masks", "x"], ["masks", "x", "--debug"]])
@pytest.mark.parametrize("error", [KeyError("pug_1"), ValueError("bad")])
def test_debug_shows_the_traceback_of_every_error(command, error, monkeypatch, capsys):
    failing(monkeypatch, error)
    main(command)
    said = capsys.readouterr().err
    assert "Traceback (most recent call last)" in said and "raise error" in said


def test_nobody_raises_a_fault_on_purpose():
    """RuntimeError and bare KeyError would be printed as faults of petweak."""
    for path in Path(cli.__file__).parent.rglob("*.py"):
        if path.parts[-2] not in ("explorers", "rendered"):
            assert "raise RuntimeError" not in path.read_text(), path


def test_warnings_such_as_waiting_for_a_lock_are_shown():
    code = """
import logging, petweak.__main__ as cli
cli.masks = lambda args: logging.getLogger("petweak.study.cache").warning("waiting") or []
cli.main(["masks", "x"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "petweak: waiting\n"


# --- data


def test_data_make_draws_a_set_and_data_check_tells_what_it_did(tmp_path, capsys):
    make = ["data", "make", "--train", "1", "--test", "1", "--size", "64"]
    assert main([*make, "--data-root", str(tmp_path)]) == 0
    photo = next((tmp_path / "oxford-iiit-pet" / "images").glob("*.jpg"))
    photo.write_bytes(photo.read_bytes()[:100])
    capsys.readouterr()
    assert main(["data", "check", "--data-root", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert f"opened every photo and trimap of {tmp_path}" in out
    assert "73 photos of 37 breeds" in out and "1 left out" in out and photo.name in out
    assert main([*make[:-1], "32", "--data-root", str(tmp_path)]) == 2


def test_data_check_fails_after_its_report_where_a_split_cannot_be_used(tmp_path, capsys):
    make = ["data", "make", "--train", "1", "--test", "1", "--size", "64"]
    assert main([*make, "--data-root", str(tmp_path)]) == 0
    base = tmp_path / "oxford-iiit-pet"
    for line in (base / "annotations" / "test.txt").read_text().splitlines():
        if not line.startswith("#"):
            (base / "images" / f"{line.split()[0]}.jpg").write_bytes(b"")
    capsys.readouterr()
    assert main(["data", "check", "--data-root", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert "37 in train, 0 in test" in out and "37 left out" in out
    assert "no photo of test (test.txt) can be used" in err


# --- paths count from where the user stands


def test_typed_paths_count_from_the_current_folder(tmp_path, monkeypatch, rendered, capsys):
    (tmp_path / "pyproject.toml").touch()  # a project above
    here = tmp_path / "a" / "b"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    args = cli.parser().parse_args(
        ["predict", "x.jpg", "--model", "m", "--out", "../o", "--device", "cpu"]
    )
    assert (args.photos, args.model) == ([here / "x.jpg"], here / "m")
    assert args.out == here.parent / "o"
    for command in (["sweep", "n.ipynb"], ["study"], ["notebooks"], ["experiment", "probes"]):
        args = cli.parser().parse_args([*command, "--run", "r", "--data-root", "d"])
        assert (args.run, args.data_root) == (here / "r", here / "d")
    assert cli.parser().parse_args(["sweep", "n.ipynb"]).notebook == here / "n.ipynb"
    assert cli.parser().parse_args(["report", "r"]).run_folder == here / "r"
    where = ["--run", "run", "--data-root", os.path.relpath(rendered)]
    assert main(["masks", "ground_truth", *where, "--set", *SET]) == 0
    assert (here / "run" / "masks" / "ground_truth" / "manifest.json").is_file()
    assert "111 masks in" in capsys.readouterr().out
    masks = ["external_masks=run/masks/ground_truth"]
    assert main(["masks", "external", *where, "--set", *SET, *masks]) == 0


# --- predict


def test_predict_writes_masks_of_the_photos_sizes(trained, rendered, tmp_path, monkeypatch):
    photos = sorted((rendered / "oxford-iiit-pet" / "images").glob("*.jpg"))[:2]
    grey = tmp_path / "tiny grey.png"
    Image.new("L", (33, 21), 90).save(grey)
    monkeypatch.chdir(trained)
    arguments = ["--model", "models/ground_truth-species", "--device", "cpu"]
    out = tmp_path / "out"
    files = [str(p) for p in (*photos, grey)]
    assert main(["predict", *files, *arguments, "--out", str(out)]) == 0
    for photo in (*photos, grey):
        mask = read_mask(out / f"{photo.stem}.png")
        with Image.open(photo) as image:
            assert mask.shape == image.size[::-1]
        assert set(np.unique(mask)) <= {0, 255}


def test_a_device_is_a_setting_that_is_typed_shorter(rendered, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("petweak.experiments.run_experiment", lambda name, run, **options: (
        asked.append((name, run.settings, options)) or pd.DataFrame({"seconds": [1.0]})))
    command = ["experiment", "benchmark", "--run", str(tmp_path / "run"), "--data-root",
               str(rendered), "--device", "cpu", "--set", "epochs=3", "-o", "photos=2"]
    assert main(command) == 0
    ((name, settings, options),) = asked
    assert (settings.system.device, settings.training.epochs) == ("cpu", 3)
    assert name == "benchmark" and options == {"photos": "2"}


def test_predict_takes_a_device(trained, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "petweak.training.predict.predict_files", lambda *a: asked.append(a) or ()
    )
    command = ["predict", "x.jpg", "--model", "m", "--out", "o", "--device"]
    assert main([*command, "cpu"]) == 0 and str(asked[0][-1]) == "cpu"
    assert main([*command, "cuda:99"]) == 2 and len(asked) == 1


def test_predict_agrees_with_the_study(trained, rendered):
    """The same photo through the cache and through the backbone: the same mask but for noise."""
    from petweak.data.oxford_pets import load_photo
    from petweak.study.run import Run
    from petweak.training.inference import load_model, predict_features, predict_photo

    run = Run(trained, rendered, small())
    predictor = load_model(trained / "models" / "ground_truth-species")
    sample = run.pets.samples[0]
    ((_, cached),) = predict_features(predictor, run.features, [sample.id])
    fresh = predict_photo(predictor, load_photo(sample.photo), run.backbone)
    assert np.abs(cached.soft - fresh.soft).max() < 1e-2
    assert np.abs(cached.classes - fresh.classes).max() < 1e-2


def test_predict_goes_on_after_a_bad_photo_and_says_so_at_the_end(
    trained, rendered, tmp_path, capsys
):
    whole = sorted((rendered / "oxford-iiit-pet" / "images").glob("*.jpg"))[0]
    half = tmp_path / "a half.jpg"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    model, out = str(trained / "models" / "ground_truth-species"), tmp_path / "out"
    assert main(["predict", str(half), str(whole), "--model", model, "--out", str(out)]) == 1
    said = capsys.readouterr()
    assert "1 of 2 could not be read" in said.err and "a fault of" not in said.err
    assert said.out.splitlines() == [str(out / f"{whole.stem}.png")]
    assert sorted(p.name for p in out.iterdir()) == [f"{whole.stem}.png", "predictions.csv"]


def test_predict_refuses_before_any_work(trained, tmp_path, capsys):
    model = str(trained / "models" / "ground_truth-species")
    (tmp_path / "a").mkdir()
    for name in ("x.png", "a/x.png"):
        Image.new("RGB", (9, 9)).save(tmp_path / name)
    twice, out = [str(tmp_path / "x.png"), str(tmp_path / "a" / "x.png")], tmp_path / "out"
    for photos, of, into, code, says in (
        (twice, model, out, 2, "would have one mask"),
        ([str(tmp_path / "missing.jpg")], model, out, 2, "there is no such file"),
        ([twice[0]], str(tmp_path), out, 1, "has no trained model"),
        ([twice[0]], str(trained), out, 1, f"there is {model}"),
        ([twice[0]], model, tmp_path, 2, "would replace the photo"),
    ):
        assert main(["predict", *photos, "--model", of, "--out", str(into)]) == code
        error = capsys.readouterr().err
        assert says in error and error.count("\n") == 1
    assert not out.exists()


# --- folders that are read-only, and commands that are stopped


def test_a_read_only_home_is_no_matter(tmp_path_factory):
    """A report starts Matplotlib and IPython, here and in a kernel, which write there."""
    top = reported_run(tmp_path_factory.getbasetemp()).parent
    if not (said := read_json(top / "said.json")):
        pytest.skip("unshare and mount are not permitted here")
    assert said == {"returncode": 0, "stdout": f"{top / 'run' / 'report.html'}\n", "stderr": ""}
    assert not list((top / "home").iterdir())


def test_a_temporary_home_is_removed():
    code = "import os; from petweak import __main__ as m; m.without_home(); " \
        "print(os.environ['MPLCONFIGDIR'] if os.path.isdir(os.environ['IPYTHONDIR']) else '')"
    env = {k: v for k, v in os.environ.items() if k not in ("MPLCONFIGDIR", "IPYTHONDIR")}
    said = subprocess.check_output([sys.executable, "-c", code], env=env | {"HOME": "/nothing"},
                                   encoding="utf-8").strip()
    assert Path(said).is_absolute() and not Path(said).exists()


READ_ONLY = [
    (["train", "--source", "ground_truth", "--labels", "species"], ""),  # is there; its table, too
    (["masks", "ground_truth"], "new/er"),
    (["report"], ""),
]


def test_a_read_only_run_is_one_line_that_says_the_way_out(trained, rendered, tmp_path):
    """In one process, which says what each command printed and returned."""
    run = shutil.copytree(trained, tmp_path / "run")
    options = ["--data-root", str(rendered), "--set", *SET]
    commands = [[*words, str(run)] if words == ["report"] else
                [*words, "--run", str(run / below), *options] for words, below in READ_ONLY]
    code = "import json, sys; from petweak.__main__ import main; " \
        "[print(main(words)) for words in json.loads(sys.argv[1])]"
    done = on_a_read_only_disk(run, "-c", code, json.dumps(commands))
    assert (done.returncode, done.stdout) == (0, "1\n" * len(READ_ONLY))
    assert done.stderr.splitlines() == [
        f"petweak: {run / below} cannot be written to ({run} is read-only, or another user's): "
        "choose another folder, --run R" for _, below in READ_ONLY]


@pytest.mark.parametrize("words, says", [
    (["study"], "goes on from here"),
    (["data", "make"], "goes on from here"),
    (["data", "import", "x", "--to", "y"], "starts again"),
    (["predict", "x.jpg", "--model", "m", "--out", "o"], "starts again"),
])
def test_a_stopped_command_says_what_the_same_command_does(words, says, monkeypatch, capsys):
    def stopped(*_):
        raise KeyboardInterrupt

    for name in ("study", "data", "_call", "predict"):
        monkeypatch.setattr(cli, name, stopped)
    assert main(words) == 130
    assert capsys.readouterr().err == f"petweak: stopped; the same command {says}\n"


def test_the_formats_of_the_report_are_those_of_the_help():
    help_text = cli.parser()._subparsers._group_actions[0].choices["report"].format_help()
    assert ", ".join(FORMATS) in " ".join(help_text.split())


# --- memory: the command line keeps it, an importing program is left alone

PROBE = """
import ctypes, os, resource
{first}
def cycle():
    a = ctypes.create_string_buffer(32 << 20)  # glibc would map and unmap this every time
    ctypes.memset(a, 1, len(a))
cycle(); cycle()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    cycle()
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults, "MALLOC_TRIM_THRESHOLD_" in os.environ)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_only_the_command_line_keeps_freed_memory():
    """5 times 32 MiB are 40,000 pages to fault in again, or nearly none."""

    clean = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}

    def faults(first: str) -> tuple[int, str]:
        code = [sys.executable, "-c", PROBE.format(first=first)]
        done = subprocess.run(code, capture_output=True, text=True, check=True, env=clean)
        count, inherited = done.stdout.split()
        return int(count), inherited

    plain, inherited = faults("import petweak, petweak.config, petweak.__main__")
    kept, passed_on = faults("import petweak.__main__; petweak.__main__.keep_memory()")
    assert inherited == "False" and plain > 20_000
    assert passed_on == "True" and kept * 10 < plain


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_a_console_that_lacks_a_letter_shows_another(encoding, monkeypatch):
    text, console = "0.3 ▼ “best” − 豆.jpg", io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", console)
    monkeypatch.setattr("petweak.__main__.data", lambda args: iter([text]))
    assert main(["data", "check"]) == 0
    console.seek(0)
    assert console.read() == text.encode(encoding, "replace").decode(encoding) + "\n"


@pytest.mark.parametrize("words", [["--help"], ["data", "check", "--data-root", "DATA"]])
def test_the_command_works_on_any_console(words, rendered, tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONIOENCODING"}
    words = [str(rendered) if w == "DATA" else w for w in words]
    for more in ({"PYTHONIOENCODING": "cp1252"}, {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0",
                                                  "LC_ALL": "C"}):
        done = subprocess.run([sys.executable, "-m", "petweak", *words], env=environment | more,
                              capture_output=True, cwd=tmp_path)
        assert done.returncode == 0 and not done.stderr and done.stdout


@pytest.mark.parametrize("words, link", [([], False), (["--copy"], False), (["--link"], True)])
def test_an_import_copies_unless_links_are_asked_for(words, link):
    assert cli.parser().parse_args(["data", "import", "a", "--to", "b", *words]).link is link


SWALLOWED = """
import os, signal, subprocess, sys, time
from petweak import __main__ as cli

def call(args):
    try:
        os.kill(os.getpid(), getattr(signal, sys.argv.pop()))
    except KeyboardInterrupt:
        {then}
    return []

cli.parser = lambda: type("P", (), {{"parse_args": lambda self, argv: type(
    "A", (), {{"call": staticmethod(call), "goes_on": True, "debug": False}})}})()
cli.program()
"""


@pytest.mark.parametrize("name, code", [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize("then", ["subprocess.run(['sleep', '60'])",
                                  "raise RecursionError from None", "pass"])
def test_a_stop_that_an_import_swallows_is_one_all_the_same(name, code, then):
    """The process ends, with what it has started and what holds its output, and says nothing of a
    fault."""
    done = subprocess.run([sys.executable, "-c", SWALLOWED.format(then=then), name],
                          capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (
        code, "petweak: stopped; the same command goes on from here\n")
