"""An import writes nothing half and nothing of the user's, and names what stops it; the command."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from own_sets import TWO, annotated, box, imported, pet, photo, save, state, two_pets

from petweak.__main__ import main
from petweak.data import files, importing
from petweak.data.importing import import_photos
from petweak.data.oxford_pets import check, read_pets


def test_nothing_is_overwritten_and_the_same_import_does_nothing(tmp_path):
    source, to = two_pets(tmp_path / "pets"), tmp_path / "D"
    pets, _ = imported(source, to, **TWO)
    (to / "oxford-iiit-pet" / "annotations" / "mine.txt").write_text("notes")
    before = state(to)
    assert "nothing was written" in imported(source, to, **TWO)[1]
    for other in (dict(seed=1), dict(link=True)):
        with pytest.raises(FileExistsError, match="other options"):
            import_photos(source, to, progress=False, **TWO, **other)
    photo(source / "rex" / "new.jpg")
    with pytest.raises(FileExistsError, match="have changed since"):
        import_photos(source, to, progress=False, **TWO)
    assert state(to) == before
    for name in ("images/a.jpg", "notes.txt"):
        foreign = tmp_path / Path(name).stem
        photo(foreign / name) if name.endswith("jpg") else save(foreign / "x.png", pet(0))
        with pytest.raises(FileExistsError, match="left alone"):
            import_photos(source, foreign, progress=False, **TWO)
    for inside in (source, source / "rex" / "new"):
        with pytest.raises(ValueError, match="inside of"):
            import_photos(source, inside, progress=False, **TWO)
    with pytest.raises(FileNotFoundError, match="is not there"):
        import_photos(tmp_path / "nowhere", tmp_path / "D2", progress=False)


@pytest.mark.parametrize("source", ["", "annotations/instances.json"])
def test_outlines_that_were_corrected_are_another_set(source, tmp_path):
    top, to = annotated(tmp_path / "s"), tmp_path / "D"
    imported(top / source, to)
    assert "nothing was written" in imported(top / source, to)[1]
    annotated(top, annotations=lambda a: a[0].update(segmentation=[box(1, 1, 7, 7)]))
    with pytest.raises(FileExistsError, match="files there have changed since"):
        import_photos(top / source, to, progress=False)


def test_links_where_they_can_be_made_and_copies_elsewhere(tmp_path, monkeypatch):
    source = two_pets(tmp_path / "pets")
    pets, _ = imported(source, tmp_path / "L", link=True, **TWO)
    assert all(s.photo.is_symlink() and s.photo.resolve().is_relative_to(source)
               for s in pets.samples)

    def refuse(*args, **kwargs):
        raise OSError("a privilege is not held")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    pets, report = imported(source, tmp_path / "C", link=True, **TWO)
    assert not any(s.photo.is_symlink() for s in pets.samples)
    assert "10 photos are copies" in report


def test_a_disk_that_is_too_small_is_named_before_the_first_copy(tmp_path, monkeypatch):
    source = two_pets(tmp_path / "pets")
    small = shutil.disk_usage(tmp_path)._replace(free=5000)
    monkeypatch.setattr(importing.shutil, "disk_usage", lambda folder: small)
    with pytest.raises(OSError, match="0 MB free.*--link"):
        import_photos(source, tmp_path / "D", progress=False, **TWO)
    assert not list((tmp_path / "D").glob("[!.]*"))
    imported(source, tmp_path / "D", link=True, **TWO)


def test_another_process_that_was_faster_has_done_it(tmp_path, monkeypatch):
    source, to = two_pets(tmp_path / "pets"), tmp_path / "D"
    lock = files.locked

    def meanwhile(*args):
        monkeypatch.setattr(files, "locked", lock)
        import_photos(source, to, progress=False, **TWO)
        return lock(*args)

    monkeypatch.setattr(files, "locked", meanwhile)
    pets, report = imported(source, to, **TWO)
    assert len(pets) == 10 and "nothing was written" in report


@pytest.mark.parametrize("at", ["_put", "write_text", "write_json"])
def test_an_import_that_stops_leaves_nothing(at, tmp_path, monkeypatch):
    source, calls = two_pets(tmp_path / "pets"), []

    def stop(*args, **kwargs):
        calls.append(args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(importing if at == "_put" else importing.files, at, stop)
        import_photos(source, tmp_path / "D", progress=False, **TWO)
    assert calls and not list((tmp_path / "D").glob("[!.]*"))
    notes = tmp_path / "D" / ".import.partial" / "annotations"
    notes.mkdir(parents=True)  # as SIGKILL leaves it
    (notes / importing.RECORD).write_text('{"kind": "import"}')
    pets, _ = imported(source, tmp_path / "D", **TWO)
    assert len(pets) == 10 and not (tmp_path / "D" / ".import.partial").exists()


def test_a_folder_that_is_called_as_that_of_an_import_is_the_users(tmp_path):
    mine = tmp_path / "D" / ".import.partial" / "notes.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("precious")
    pets, _ = imported(two_pets(tmp_path / "pets"), tmp_path / "D", **TWO)
    assert len(pets) == 10 and mine.read_text() == "precious"
    assert not list((tmp_path / "D").glob(".import.2*"))


@pytest.mark.parametrize("link", [False, True])
def test_files_that_went_are_made_anew_and_changed_ones_are_named(link, tmp_path):
    source, masks = two_pets(tmp_path / "pets"), tmp_path / "masks"
    for i in range(4):
        save(masks / "rex" / f"IMG_{1000 + i}.png", 255 * pet(i).astype(np.uint8))
    to, options = tmp_path / "D", TWO | dict(masks=masks, link=link)
    imported(source, to, **options)
    before, top = state(to), to / "oxford-iiit-pet"
    lost = [*top.glob("images/minka*"), *top.glob("annotations/trimaps/*"), top / "annotations" /
            "trainval.txt"]
    shutil.rmtree(top / "annotations" / "trimaps")
    for file in lost:
        file.unlink(missing_ok=True)
    changed = top / "annotations" / "test.txt"
    changed.write_text(changed.read_text() + "# mine\n")
    report = import_photos(source, to, progress=False, **options)
    assert f"{len(lost)} of its files were missing, and are made again: " in report[0]
    said = "doubt: 1 files of the set have changed.*left as they are: annotations/test.txt.*Delete"
    assert re.match(said, report[1]) and changed.read_text().endswith("# mine\n")
    again = import_photos(source, to, progress=False, **options)
    assert "nothing was written" in again[0] and re.match(said, again[1])
    changed.unlink()
    import_photos(source, to, progress=False, **options)
    assert state(to) == before and not list(to.glob(".import.p*"))


def test_a_file_in_the_place_of_the_new_folder_is_named(tmp_path):
    (tmp_path / "D").write_text("mine")
    for to in (tmp_path / "D", tmp_path / "D" / "set"):
        with pytest.raises(NotADirectoryError, match=f"as {tmp_path / 'D'} is no folder.*--to D"):
            import_photos(two_pets(tmp_path / "pets"), to, progress=False, **TWO)
    assert (tmp_path / "D").read_text() == "mine"


def test_a_disk_that_is_read_only_is_named_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(importing.os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match="D cannot be written to.*--to D"):
        import_photos(two_pets(tmp_path / "pets"), tmp_path / "D", progress=False, **TWO)


def test_links_to_photos_that_were_moved_are_named_with_their_target(tmp_path):
    source = two_pets(tmp_path / "pets")
    imported(source, tmp_path / "D", link=True, **TWO)
    source.rename(tmp_path / "elsewhere")
    bad = check(read_pets(tmp_path / "D")).quarantine
    assert len(bad) == 10
    for q in bad:
        assert f"is a link to {source}" in q.reason and "where no file is: put it back" in q.reason


@pytest.mark.parametrize("make, says", [
    (lambda s: s.mkdir(), "no picture"), (lambda s: photo(s / "rex" / "1.jpg"), "1 usable"),
    (lambda s: [photo(s / n / "1.jpg") for n in ("rex", "pug")], "no class has two photos"),
    (lambda s: s.write_bytes(b"x"), "a source is a folder")])
def test_sources_of_which_no_set_can_be_made(make, says, tmp_path):
    make(tmp_path / "s")
    with pytest.raises(ValueError, match=says):
        import_photos(tmp_path / "s", tmp_path / "D", species="dog", progress=False)
    assert not list(tmp_path.glob("D/[!.]*"))


def test_the_command_counts_paths_from_where_the_user_stands(tmp_path, monkeypatch, capsys):
    two_pets(tmp_path / "my photos")
    monkeypatch.chdir(tmp_path)
    assert main(["data", "import", "--to", "set", "my photos"]) == 2
    assert "cat or dog?" in capsys.readouterr().err
    command = ["data", "import", "my photos", "--to", "set", "--species", "minka=cat", "rex=dog"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-1].endswith("--data-root set --run runs/set")
    assert main(["data", "check", "--data-root", "set"]) == 0
    assert "10 photos of 2 breeds" in capsys.readouterr().out


def test_a_killed_import_leaves_nothing_half(tmp_path):
    source = two_pets(tmp_path / "pets", 4)
    code = ("import os, petweak.data.importing as i\n"
            "put, n = i._put, []\n"
            "def stop(*a):\n    n.append(1)\n"
            "    return os.kill(os.getpid(), 9) if len(n) > 3 else put(*a)\n"
            f"i._put, to = stop, {str(tmp_path / 'D')!r}\n"
            f"i.import_photos({str(source)!r}, to, species='cat')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=os.environ)
    assert done.returncode == -9 and not list((tmp_path / "D").glob("[!.]*"))
    pets, _ = imported(source, tmp_path / "D", species="cat")
    assert len(pets) == 8
