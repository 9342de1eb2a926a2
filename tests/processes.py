"""`pytest --processes N`: every file of tests in a process of its own, N at once.

Each is a fork of the process that has collected the tests: what is imported, which is most of the
memory, is there once, and what a file leaves behind ends with it. pytest-xdist took twice as much,
as it collects in every worker, and a worker keeps what its files leave.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterable
from multiprocessing.connection import Connection, wait
from pathlib import Path

import pytest

# Of the files that need more than 400 MB, or start processes that do, one runs at a time.
IN_TURN = {f"test_{name}.py" for name in (
    "ablation", "assignments", "benchmark", "contributing", "distributed", "docs", "growth",
    "latex", "main", "mask_costs", "notebooks_execution", "on_ray", "paper_profile", "report",
    "results", "run", "sweep")}


def pytest_addoption(parser):
    parser.addoption("--processes", type=int, default=0, metavar="N",
                     help="each file in a process of its own, N at once (on Linux)")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    config, n = session.config, session.config.option.processes
    # Elsewhere than on Linux, a fork of what has loaded torch may not work.
    if not n or sys.platform != "linux" or config.option.collectonly or session.testsfailed:
        return None  # pytest's own loop, which also tells what could not be collected
    config._tmp_path_factory.getbasetemp()  # one for all, as pytest-xdist does it
    files: dict[Path, list[pytest.Item]] = {}
    for item in session.items:
        files.setdefault(item.path, []).append(item)
    running: dict[Connection, File] = {}
    try:
        while files or running:
            while len(running) < n and (path := _next(files, running.values())):
                file = File(config, files.pop(path))
                running[file.told] = file
            for told in wait(running):
                if not running[told].listen():
                    del running[told]
                if session.shouldfail:  # --maxfail
                    raise session.Failed(session.shouldfail)
    finally:
        for file in running.values():
            file.process.kill()
    return True


def _next(files: Iterable[Path], running: Iterable[File]) -> Path | None:
    """The file to start: one of those in turn if none of them runs, another one otherwise."""
    taken = any(file.path.name in IN_TURN for file in running)
    free = (path for path in files if not (taken and path.name in IN_TURN))
    return max(free, key=lambda path: path.name in IN_TURN, default=None)


class File:
    """The process of a file of tests; `left` are those of them that have not ended."""

    def __init__(self, config, items: list[pytest.Item]) -> None:
        self.config, self.path, self.left = config, items[0].path, items
        self.told, tells = multiprocessing.Pipe(duplex=False)
        fork = multiprocessing.get_context("fork")
        self.process = fork.Process(target=_run, args=(config, items, tells))
        self.process.start()
        tells.close()

    def listen(self) -> bool:
        """Logs a report; False at the end."""
        hook, item = self.config.hook, self.left[0] if self.left else None
        try:
            report = hook.pytest_report_from_serializable(config=self.config, data=self.told.recv())
        except EOFError:
            self.process.join()
            if item:
                why = f"the process of this file has ended, with exit code {self.process.exitcode}"
                report = pytest.TestReport(item.nodeid, item.location, {}, "failed", why, "call")
                hook.pytest_runtest_logreport(report=report)
            return False
        hook.pytest_runtest_logreport(report=report)
        if report.when == "teardown":
            hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
            del self.left[0]
        return True


def _run(config, items: list[pytest.Item], tells: Connection) -> None:
    class Tell:
        def pytest_runtest_logreport(self, report):
            tells.send(config.hook.pytest_report_to_serializable(config=config, report=report))

    config.pluginmanager.unregister(name="terminalreporter")
    config.pluginmanager.register(Tell())
    if capture := config.pluginmanager.getplugin("capturemanager"):
        capture.stop_global_capturing()
        capture.start_global_capturing()  # into files of its own
    for item, following in zip(items, [*items[1:], None], strict=True):
        config.hook.pytest_runtest_protocol(item=item, nextitem=following)
