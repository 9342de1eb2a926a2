"""A disk that fills up at every write: one clear line, and the rerun with space ends alike."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import tiny
from few import few_photos
from run_content import content, finished, unpartial

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


@pytest.mark.parametrize("how", ["open", "write"])
def test_it_fails_at_every_write_and_ends_alike(how, data, undisturbed, tmp_path, reliability):
    """One run, whose command is started again after each failure and fails at the first file that
    has not failed before. Finished work is not repeated, so all files have their turn."""
    run, log, note, tried = tmp_path / "run", tmp_path / "log", tmp_path / "note", {"tables.md"}
    argv, kept = tiny.study(data, run), {}
    while True:
        fails = {"run": run, "tried": tried, "note": note, "how": how}
        code, name = tiny.finish(argv, log, fails_at=fails), note.read_text()
        if not name:
            break
        assert code == 1, (name, code, log.read_text())
        assert name not in tried, name
        one_clear_line(log, run)
        assert not [p for p in run.rglob("*.partial*") if p.is_file()
                    and unpartial(p.name) != p.name], name
        tried.add(name)
        kept = finished(run) | kept
    assert code == 0, log.read_text()
    alike = content(run) == content(undisturbed)
    written = {p.relative_to(undisturbed).as_posix() for p in undisturbed.rglob("*") if p.is_file()}
    missed = written - tried - {".lock"}
    tried.remove("tables.md")  # of a report that is not made here
    repeated = {n for n, stat in kept.items() if finished(run).get(n) != stat}
    what = "no file can be made" if how == "open" else "no file can grow"
    reliability(f"A full disk at a file of a study: {what}", len(tried),
                f"{len(tried)} of {len(tried)} end with one line and exit code 1; the same folder "
                f"{'ends bit for bit as an undisturbed one' if alike else 'ends otherwise'}")
    assert alike and not missed, missed
    assert not repeated, repeated


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
