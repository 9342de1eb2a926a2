"""Files are whole or absent, readable by others, and read once."""

from __future__ import annotations

import ast
import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import save_file

from petweak.data import files
from petweak.data.files import (
    file_hash,
    is_as_written,
    is_whole,
    project_path,
    read_frame,
    read_json,
    replacing,
    reserve,
    write_frame,
    write_json,
    write_text,
)
from petweak.data.masks import write_mask

TOP = Path(__file__).resolve().parents[2]


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


def test_an_empty_file_is_named_and_made_anew(tmp_path, caplog):
    (tmp_path / "results.csv").touch()
    write_text(tmp_path / "results.csv", "whole")
    assert f"{tmp_path / 'results.csv'} was empty" in caplog.text
    caplog.clear()
    write_text(tmp_path / "results.csv", "again")
    assert not caplog.text


def test_the_longest_name_that_a_disk_takes_can_be_written(tmp_path):
    for name in ("x" * 251 + ".png", "ä" * 125 + ".json"):
        write_text(tmp_path / name, "whole")
        assert (tmp_path / name).read_text() == "whole"
    assert len(list(tmp_path.iterdir())) == 2


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


def test_ids_and_breeds_are_read_as_they_were_written(tmp_path):
    words = ["0001", "1", "1e3", "NA", "nan", "None", "null", "True", "inf", "-", " x", 'a,"b']
    frame = pd.DataFrame({"id": words, "breed": words[::-1], "dataset": "2024", "class": 1})
    frame["iou/foreground"] = [None, *np.linspace(0, 1, len(words) - 1)]
    write_frame(tmp_path / "x.csv", frame)
    there = read_frame(tmp_path / "x.csv")
    for name in frame:
        assert there[name].isna().equals(frame[name].isna()), name
        assert there[name].dropna().tolist() == frame[name].dropna().tolist(), name


def test_tables_of_a_run_are_read_in_one_way():
    """pandas would guess at types, and take a breed NA for a missing one. What the package ships
    has no ids."""
    folder = TOP / "petweak"
    reads = {f.relative_to(folder).as_posix(): line.strip() for f in folder.rglob("*.py")
             for line in f.read_text("utf-8").splitlines() if "read_csv(" in line}
    assert reads.pop("data/files.py").startswith("return")
    assert all("Path(__file__)" in line for line in reads.values()), reads


def write_array(path: Path) -> None:
    np.save(path, np.arange(400, dtype=np.float32))


WRITERS = {
    "a.csv": lambda path: write_frame(path, pd.DataFrame({"x": range(40)})),
    "a.npy": write_array,
    "a.png": lambda path: Image.fromarray(np.eye(40, dtype=np.uint8)).save(path),
    "a.safetensors": lambda path: save_file({"x": np.arange(400)}, path),
}
DAMAGE = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "cut at its end": lambda content: content[:-1],
    "zeros": lambda content: bytes(len(content)),
    "a pointer": lambda content: b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
    "a page": lambda content: b"<!DOCTYPE html><html></html>",
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", WRITERS)
def test_a_damaged_file_counts_as_missing_and_one_line_tells(name, damage, tmp_path, caplog):
    path = tmp_path / name
    assert not is_whole(path)
    WRITERS[name](path)
    assert is_whole(path) and not caplog.text
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    assert not is_whole(path) and not is_whole(path)
    assert [r.getMessage() for r in caplog.records] == [f"{path} {files.content_of(path)}; it "
                                                        "counts as missing"]


@pytest.mark.parametrize("content", [b"", b'{"key": "a', bytes(20), b"\xff\xfe{}", b"[" * 100_000])
def test_damaged_json_counts_as_missing(content, tmp_path, caplog):
    write_json(tmp_path / "a.json", {"key": "a"})
    assert read_json(tmp_path / "a.json") == {"key": "a"} and not caplog.text
    (tmp_path / "a.json").write_bytes(content)
    assert read_json(tmp_path / "a.json") is None
    assert str(tmp_path / "a.json") in caplog.text


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB. Skipped where none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root can mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


BIG = np.random.default_rng(0).integers(0, 256, (1500, 1500), dtype=np.uint8)


def sparse(path: Path) -> None:
    np.lib.format.open_memmap(path, "w+", dtype=np.uint8, shape=BIG.shape)
    reserve(path)


@pytest.mark.parametrize("name, write", {
    "a.txt": lambda path: path.write_text("x" * BIG.size, encoding="utf-8"),
    "a.csv": lambda path: pd.DataFrame(BIG).to_csv(path),
    "a.png": lambda path: Image.fromarray(BIG).save(path),
    "a.safetensors": lambda path: save_file({"x": BIG}, path),
    "a.npy": sparse,
}.items())
def test_a_full_disk_is_an_error_with_the_files_name(name, write, small_disk):
    path = small_disk / name
    with pytest.raises(OSError) as caught, replacing(path) as beside:
        write(beside)
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(path)
    assert not list(small_disk.iterdir())


def test_a_failing_write_is_named_wherever_it_fails(tmp_path):
    for error in (OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EDQUOT, "quota"),
                  RuntimeError("I/O error: No space left on device (os error 28)")):
        with pytest.raises(OSError, match=re.escape(str(tmp_path / "a"))):
            with replacing(tmp_path / "a") as beside:
                beside.write_text("half", encoding="utf-8")
                raise error
    assert not list(tmp_path.iterdir())


def test_a_sparse_file_gets_its_blocks_and_keeps_its_content(tmp_path, monkeypatch):
    for name in ("by the system", "by hand"):
        path = tmp_path / name
        path.write_bytes(b"head")
        os.truncate(path, 5 << 20)
        if name == "by hand":
            monkeypatch.delattr(os, "posix_fallocate", raising=False)
        reserve(path)
        assert path.stat().st_size == 5 << 20 <= path.stat().st_blocks * 512
        assert path.read_bytes().rstrip(b"\0") == b"head"


def calls():
    """(place, function, keywords) of every call in the code."""
    for path in (p for folder in ("petweak", "figures") for p in (TOP / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                words = {k.arg: ast.unparse(k.value) for k in node.keywords}
                words |= {i: ast.unparse(a) for i, a in enumerate(node.args)}
                yield f"{path.name}:{node.lineno}", ast.unparse(node.func), words


def test_every_text_file_is_opened_as_utf_8():
    """The console of Windows and its files are cp1252 by default."""
    found = set()
    for place, name, words in calls():
        last = name.rsplit(".", 1)[-1]
        mode = str(words.get("mode", words.get(1 if name == "open" else 0, "'r'")))
        opens = name == "open" or last == "open" and name.split(".")[0] not in ("Image", "tarfile")
        if opens and "b" not in mode and not name.startswith(("_", "os.")):
            found.add(last)
            assert "utf-8" in words.get("encoding", ""), place
        if last in ("read_text", "write_text", "to_csv") and "utf-8" not in str(words.values()):
            # our own functions of these names, which say utf-8 themselves
            ours = name.removeprefix("oxford_pets.").removeprefix("files.")
            assert ours in ("write_text", "read_text"), place
        if "text" in words or "universal_newlines" in words:
            assert "encoding" in words or "subprocess" not in name, place
    assert found == {"open"}


def test_nothing_is_unpickled_or_evaluated():
    never = {"eval", "exec", "compile", "yaml.load", "pickle.load", "pickle.loads", "joblib.load",
             "pd.read_pickle", "os.system", "os.popen", "marshal.loads", "shelve.open"}
    for place, name, words in calls():
        assert name not in never and words.get("shell") in (None, "False"), place
        assert words.get("allow_pickle") in (None, "False"), place
        if name == "torch.load":
            assert words.get("weights_only") == "True", place


def test_every_bit_of_a_png_counts(tmp_path, caplog):
    """Decoders show wrong pixels for a quarter of these, and say nothing."""
    write_mask(file := tmp_path / "a.png", np.kron(np.eye(7, dtype=np.uint8) * 255, BIG[:9, :9]))
    content = file.read_bytes()
    assert is_whole(file)
    for at in range(len(content)):
        for bit in (1, 32):
            file.write_bytes(content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :])
            assert not is_whole(file), at
    file.write_bytes(content + b"\0")
    assert not is_whole(file)


def test_a_file_that_has_changed_is_told_once(tmp_path, caplog):
    (file := tmp_path / "a.csv").write_text("a\n1\n")
    wrote = file_hash(file)
    assert is_as_written(file, wrote) and is_as_written(file, ["other", wrote])
    assert is_as_written(file, "") and is_as_written(file, []) and not caplog.records
    for _ in range(2):
        assert not is_as_written(file, "other")
    assert not is_as_written(tmp_path / "absent.csv", wrote)
    assert [r.getMessage() for r in caplog.records] == [
        f"{file} has changed since it was written; it counts as missing"]


def test_nobody_waits_without_a_word():
    """`files.locked` says for whom and since when; a bare FileLock says nothing."""
    package = Path(files.__file__).parents[1]
    bare = [p.name for p in package.rglob("*.py") if "FileLock(" in p.read_text(encoding="utf-8")]
    assert bare == ["files.py"]
