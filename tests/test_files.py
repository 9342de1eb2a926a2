"""Files are whole or absent, and what a kill leaves behind does not stay."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from petweak.files import replacing, write_text


def test_a_failure_leaves_what_was_there(tmp_path):
    write_text(tmp_path / "a.txt", "before")
    with pytest.raises(RuntimeError), replacing(tmp_path / "a.txt") as beside:
        beside.write_text("half")
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"


def test_what_a_killed_process_left_is_gone_after_the_next_write(tmp_path):
    code = (
        "import os, sys; from petweak.files import replacing\n"
        "with replacing(sys.argv[1]) as one, replacing(sys.argv[2]) as two:\n"
        "    one.write_text('half'); two.write_text('half'); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, *(str(tmp_path / n) for n in ("a.csv", "README"))])
    assert len(list(tmp_path.glob(".*.partial*"))) == 2 == len(list(tmp_path.iterdir()))
    # Of a process that lives, and of nobody's: neither is ours to delete.
    living = tmp_path / f".a.csv.{os.getppid()}.partial.csv"
    other = tmp_path / ".notes.partial"
    for file in (living, other):
        file.write_text("half")
    write_text(tmp_path / "a.csv", "whole")
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "a.csv", living, other])
    assert (tmp_path / "a.csv").read_text() == "whole"
