"""A disk that fills up at every write: one clear line, and the rerun with space ends alike."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
import tiny
from few import few_photos
from run_content import content, finished, unpartial

NO_RESULT = re.compile(r"(.*/)?\.(lock.*|import\.lock|petweak)")
WITH_TIMES = re.compile(
    rf"{NO_RESULT.pattern}|(.*/)?(notebooks/.*|report_files\.json|timings\.csv|run\.json)")
LINE = re.compile(r"petweak: .*(\[Errno 28\]|File too large).*")


@pytest.fixture(scope="module")
def data(rendered, tmp_path_factory) -> Path:
    return few_photos(rendered, tmp_path_factory.mktemp("full") / "data", 3)


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("full") / "alone"
    assert tiny.finish(tiny.study(data, run), run.parent / "log") == 0
    return run


def one_clear_line(log: Path, folder: Path) -> str:
    """The message: one line that says what is full and names a file of the run."""
    lines = [line for line in log.read_text().splitlines() if "it/s" not in line and line]
    assert len([x for x in lines if x.startswith("petweak:")]) == 1, lines
    assert LINE.fullmatch(lines[-1]) and "a fault of" not in lines[-1], lines
    assert str(folder) in lines[-1] and "Traceback" not in log.read_text(), lines
    return lines[-1]


def until_it_ends(argv: list[str], folder: Path, how: str, top: Path, tried: set[str] = frozenset(),
                  **more) -> tuple[set[str], dict]:
    """A command that is started again after each failure and fails at the first file in `folder`
    that has not failed before. The names of those files, and what was finished before the last
    start."""
    log, note, tried, kept = top / "log", top / "note", set(tried), {}
    passed = set(tried)
    while True:
        fails = {"run": folder, "tried": tried, "note": note, "how": how}
        code, name = tiny.finish(argv, log, fails_at=fails, **more), note.read_text()
        if not name:
            break
        assert code == 1, (name, code, log.read_text())
        assert name not in tried, name
        one_clear_line(log, folder)
        assert not [p for p in folder.rglob("*.partial*") if p.is_file()
                    and unpartial(p.name) != p.name], name
        tried.add(name)
        kept = finished(folder) | kept
    assert code == 0, log.read_text()
    return tried - passed, kept


@pytest.mark.parametrize("how", ["open", "write"])
def test_it_fails_at_every_write_and_ends_alike(how, data, undisturbed, tmp_path, reliability):
    """Finished work is not repeated, so all files have their turn. tables.md is of a report, which
    is not made here."""
    run = tmp_path / "run"
    tried, kept = until_it_ends(tiny.study(data, run), run, how, tmp_path, {"tables.md"})
    alike = content(run) == content(undisturbed)
    written = {p.relative_to(undisturbed).as_posix() for p in undisturbed.rglob("*") if p.is_file()}
    missed = {n for n in written - tried if not n.endswith(".lock")} - {"tables.md"}
    repeated = {n for n, stat in kept.items() if finished(run).get(n) != stat}
    what = "no file can be made" if how == "open" else "no file can grow"
    reliability(f"A full disk at a file of a study: {what}", len(tried),
                f"{len(tried)} of {len(tried)} end with one line and exit code 1; the same folder "
                f"{'ends bit for bit as an undisturbed one' if alike else 'ends otherwise'}")
    assert alike and not missed, sorted(missed)
    assert not repeated, repeated


COMMANDS = {  # the words of each, after the set, a finished study and the folder that it writes to
    "data import": lambda data, run, to: ["data", "import", str(data / "oxford-iiit-pet"), "--copy",
                                          "--to", str(to)],
    "predict": lambda data, run, to: [
        "predict", str(data / "oxford-iiit-pet" / "images"), "--model",
        str(run / "models" / "ground_truth-species"), "--out", str(to)],
    "experiment": lambda data, run, to: [
        "experiment", "levels", "--data-root", str(data), "--run", str(to), "--set",
        *(f"{k}={v}" for k, v in tiny.SETTINGS.items())],
    "report": lambda data, run, to: ["report", str(to), "--format", "html", "md", "latex"],
    "sweep": lambda data, run, to: ["sweep", str(notebook(data.parent)), "-p", "seed=0,1",
                                    "--data-root", str(data), "--run", str(to)],
}
PARAMETERS = 'profile = "embedded"\nrun = ""\ndata_root = ""\nseed = 0'
CELL = """from petweak.study.run import open_run
study = open_run(profile, run, data_root, seed=seed, image_size=64, bootstrap=20)
study.mask_scores("ground_truth")"""


def notebook(folder: Path) -> Path:
    """A small one, to be swept."""
    file, cells = folder / "01_small.ipynb", map(nbformat.v4.new_code_cell, (PARAMETERS, CELL))
    kernel = {"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}
    book = nbformat.v4.new_notebook(cells=[*cells], metadata=kernel)
    book.cells[0].metadata["tags"] = ["parameters"]
    for n, cell in enumerate(book.cells):
        cell.id = str(n)  # nbformat's is random
    nbformat.write(book, file)
    return file


@pytest.mark.parametrize("name", COMMANDS)
def test_other_commands_fail_at_every_write_and_end_alike(
    name, data, undisturbed, tmp_path, reliability
):
    """A report's pictures and tables are written by a kernel, each kind by one function: one of
    each kind has its turn, a PNG, a PDF, a table. Of a sweep it is one of each file's name, in one
    combination or the other, and one mask."""
    there = name in ("experiment", "report")  # these go on in a run that is there
    to, alone = tmp_path / "to", tmp_path / "alone"
    for folder in (to, alone) if there else ():
        shutil.copytree(undisturbed, folder)
        (folder / "tables.md").unlink()
    argv, before = COMMANDS[name](data, undisturbed, to), content(alone, NO_RESULT)
    assert tiny.finish(COMMANDS[name](data, undisturbed, alone), tmp_path / "log") == 0
    written = {n for n, h in content(alone, NO_RESULT).items() if before.get(n) != h}
    assert len(written) >= 3, written
    kinds = {"report": r"(figures/).*\.png|(latex/figures/).*|(latex/tables/).*",
             "sweep": r"sweeps/.*(\.png|/[^/]*)"}.get(name, "-")
    matches = (re.fullmatch(kinds, n) for n in sorted(written))
    kind_of = {kind.string: kind.groups() for kind in matches if kind}
    passed = kind_of.keys() - {kind: n for n, kind in kind_of.items()}.values()
    total, hows = 0, ["open"] if there or name == "sweep" else ["open", "write"]
    for how in hows:
        tried, _ = until_it_ends(argv, to, how, tmp_path, passed)
        alike = content(to, WITH_TIMES) == content(alone, WITH_TIMES)
        missed = {n.replace("oxford-iiit-pet/", ".import/") for n in written - passed} - tried
        total += len(tried)
        if how != hows[-1]:
            shutil.rmtree(to)
    reliability(f"A full disk at a file of `petweak {name}`", total,
                f"{total} of {total} end with one line and exit code 1; the same command "
                f"{'ends bit for bit as an undisturbed one' if alike else 'ends otherwise'}")
    assert alike and not missed, sorted(missed)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a disk")
def test_a_disk_that_is_really_full_is_a_clear_line_and_no_bus_error(
    data, undisturbed, tmp_path, reliability
):
    """A tmpfs that grows a little after every failure: memory-mapped writes fail here, too."""
    disk, log = tmp_path / "disk", tmp_path / "log"
    disk.mkdir()
    need = sum(p.stat().st_size for p in undisturbed.rglob("*") if p.is_file())
    pages, failed, code = 8, 0, 1
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine mounts no tmpfs")
    try:
        while code:
            code = tiny.finish(tiny.study(data, disk / "run"), log)
            if code:
                assert code == 1, (pages, code, log.read_text())
                one_clear_line(log, disk)
                failed, pages = failed + 1, int(pages * 1.12) + 8
                assert pages * 4096 < 8 * need, "it never ends"
                subprocess.run(["mount", "-o", f"remount,size={pages * 4}k", disk], check=True)
        alike = content(disk / "run") == content(undisturbed)
    finally:
        subprocess.run(["umount", disk], check=True)
    reliability("A disk (tmpfs) that is full, made larger after each failure", failed,
                f"{failed} of {failed} end with one line and exit code 1, none by a bus error; the "
                f"same folder {'ends bit for bit as an undisturbed one' if alike else 'differs'}")
    assert alike and failed > 10
