"""A study of nine drawn photos by the real command line, in children of one warm process.

The study has every stage: the pass (and one more at another scale), five sources, their models, two
rounds of self-training, scores, results, cards, the report. A fork server imports petweak once, so
a child takes the seconds of its work alone.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import resource
import signal
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

import failing
from conftest import SMALL

SOURCES = """ground_truth mask_rcnn_compact gradcam_pretrained gradcam_finetuned
    imagenet_only""".split()
SETTINGS = SMALL | dict(rounds=2, round_epochs=1, last_epochs=1, finetune_epochs=2,
                        labels="species", extraction_batch=2)
MODULES = """petweak.__main__ petweak.study.results petweak.study.run petweak.reporting.report
    petweak.reporting.cards petweak.training.trainer torch.utils.data""".split()
# Of a child of a fork server; its first import of these takes ten times its work.
MODULES += "timm torchvision scipy.optimize pytorch_grad_cam torchmetrics cv2".split()

warm = multiprocessing.get_context("forkserver")
warm.set_forkserver_preload(MODULES)
os.environ["OMP_NUM_THREADS"] = "1"  # before the server starts: no thread is forked


def study(data: Path, run: Path, *more: str) -> list[str]:
    """The words after `petweak`."""
    settings = [f"{k}={v}" for k, v in SETTINGS.items()]
    return ["study", "--data-root", str(data), "--run", str(run), "--sources", *SOURCES, "--set",
            *settings, *more]


def start(argv: list[str], log: Path, report: bool = False, fails_at: dict | None = None
          ) -> BaseProcess:
    """`petweak ARGV` in a child, its output in `log`. Without `report` a study ends before it: it
    takes most of a study's time and has tests of its own. `fails_at`: see `failing.begin`."""
    child = warm.Process(target=_command, args=(argv, log, report, fails_at))
    child.start()
    return child


def finish(argv: list[str], log: Path, report: bool = False, seconds: float = 240, **more) -> int:
    """The exit code of `start`."""
    child = start(argv, log, report, **more)
    child.join(seconds)
    if child.exitcode is None:
        child.kill()
        raise TimeoutError(f"{argv} has not ended in {seconds} s: {log.read_text()[-2000:]}")
    return child.exitcode


def _command(argv: list[str], log: Path, report: bool, fails_at: dict | None) -> None:
    from petweak import __main__
    from petweak.reporting import report as page

    os.setpgid(0, 0)  # a group of its own, as a shell gives it to a command: Ctrl-C goes to all
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a fork server ignores it
    pipe = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(pipe, stream)
    sys.stdout, sys.stderr = (os.fdopen(n, "w", buffering=1) for n in (1, 2))
    if not report:
        page.ensure_report = lambda folder: (folder / "tables.md").touch()
    if not fails_at:
        sys.exit(__main__.main(argv))
    failing.begin(**fails_at)
    sys.stdout, sys.stderr = (said := io.StringIO()), said  # the log could not grow either
    code = __main__.main(argv)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    os.write(pipe, said.getvalue().encode())
    sys.exit(code)
