"""Files are whole or absent, readable by others, and read once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from safetensors.numpy import save_file

from petweak.data import files
from petweak.data.files import file_hash, project_path, replacing, write_frame, write_text


def test_a_failure_leaves_what_was_there(tmp_path):
    write_text(tmp_path / "a.txt", "before")
    with pytest.raises(RuntimeError), replacing(tmp_path / "a.txt") as beside:
        beside.write_text("half")
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"


def test_what_a_killed_process_left_is_gone_after_the_next_write(tmp_path):
    code = (
        "import os, sys; from petweak.data.files import replacing\n"
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


def test_the_mode_follows_the_umask_whatever_wrote_the_file(tmp_path):
    """safetensors and temporary files write 0600: a colleague on the same server was shut out."""
    code = (
        "import os, sys; os.umask(0o027)\n"
        "from petweak.data.files import replacing\n"
        "with replacing(sys.argv[1]) as beside:\n"
        "    os.close(os.open(beside, os.O_CREAT | os.O_WRONLY, 0o600))\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=True)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
    with replacing(tmp_path / "model.safetensors") as beside:
        save_file({}, beside)
    plain = tmp_path / "plain"
    plain.touch()
    assert (tmp_path / "model.safetensors").stat().st_mode == plain.stat().st_mode


def test_a_file_is_read_once_a_process_and_again_when_it_changes(tmp_path, monkeypatch):
    path, reads, opened = tmp_path / "a", [], Path.open

    def counted(self, *args, **kwargs):
        reads.append(self)
        return opened(self, *args, **kwargs)

    write_text(path, "one")
    monkeypatch.setattr(files.Path, "open", counted)
    first = file_hash(path)
    assert file_hash(path) == first and len(first) == 32 and len(reads) == 1
    path.write_bytes(b"three")
    assert file_hash(path) != first
    path.write_bytes(b"one")
    assert file_hash(path) == first
    assert file_hash(tmp_path / "none") == "missing"


def test_relative_paths_count_from_the_project(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert project_path("runs/a") == tmp_path / "runs" / "a"
    assert project_path(tmp_path / "b") == tmp_path / "b"


def test_outside_of_a_project_the_wheel_has_the_notebooks(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "petweak"
    (package / "notebooks").mkdir(parents=True)
    (package / "notebooks" / "report.ipynb").touch()
    monkeypatch.setattr(files, "__file__", str(package / "data" / "files.py"))
    monkeypatch.chdir(tmp_path)
    assert files.shipped("notebooks/report.ipynb") == package / "notebooks/report.ipynb"
    (tmp_path / "pyproject.toml").touch()  # a project of the user's, without notebooks
    assert files.shipped("notebooks") == package / "notebooks"
    (tmp_path / "notebooks").mkdir()
    assert files.shipped("notebooks") == tmp_path / "notebooks"


def test_outside_of_a_project_a_package_in_place_has_those_beside_it(tmp_path, monkeypatch):
    top = Path(files.__file__).parents[2]
    monkeypatch.chdir(tmp_path)
    for name in ("notebooks/report.ipynb", "figures/data"):
        assert files.shipped(name) == top / name and (top / name).exists()


def test_frames_have_a_header_and_no_index(tmp_path):
    write_frame(tmp_path / "a.csv", pd.DataFrame({"x": [1, None], "y": ["a", "b"]}))
    assert (tmp_path / "a.csv").read_text() == "x,y\n1.0,a\n,b\n"
