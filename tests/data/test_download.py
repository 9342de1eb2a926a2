"""The official archives from a server on this machine that cuts, mislabels, or lies."""

import hashlib
import io
import os
import re
import shutil
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import patch

import pooch
import pytest
from torchvision.datasets import OxfordIIITPet

from petweak.data import download
from petweak.data.files import locked

IDS = ["Abyssinian_1", "beagle_2", "pug_3"]


class Server(ThreadingHTTPServer):
    """Serves `files`; `log` holds the paths that were asked for."""

    cuts = 0  # so many bodies end after 1,000 bytes

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.log, self.url = [], f"http://127.0.0.1:{self.server_address[1]}/pets/"
        self.serve(official())

    def serve(self, archives):
        self.archives = archives
        self.files = {f"/pets/{name}": content for name, content in archives.items()}

    def fetch(self, root, **options):
        md5s = {name: hashlib.md5(content).hexdigest() for name, content in self.archives.items()}
        options = {"base_urls": [self.url], "archives": md5s, "progress": False} | options
        return download.fetch_official(root, **options)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, body = self.server, self.server.files.get(self.path, b"")
        server.log.append(self.path)
        self.send_response(200 if body else 404)
        # Apache labels .tar.gz like this; a client that obeys stores another file.
        self.send_header("Content-Encoding", "x-gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut, server.cuts = server.cuts > 0, server.cuts - 1
        self.wfile.write(body[:1000] if cut else body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(pooch.core.time, "sleep", lambda seconds: None)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield server
        server.shutdown()


def member(name, content=b"", kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(content), kind, target
    return info, io.BytesIO(content)


def pack(members):
    with tarfile.open(fileobj=(buffer := io.BytesIO()), mode="w:gz") as tar:
        for info, content in members:
            tar.addfile(info, content)
    return buffer.getvalue()


def official(*members):
    """Two archives in the official layout, with the stray files that the real ones have."""
    noise = hashlib.shake_128(b"pets").digest(3000)
    images = {f"images/{i}.jpg": noise for i in IDS} | {"images/beagle_2.mat": b"m"}
    annotations = {f"annotations/trimaps/{i}.png": noise[:99] for i in IDS} | {
        "./._annotations": b"",
        "annotations/trainval.txt": b"# a comment\nAbyssinian_1 1 1 1\nbeagle_2 2 2 1\n",
        "annotations/test.txt": b"pug_3 3 2 2\n",
    }
    images, annotations = ([member(*f) for f in files.items()] for files in (images, annotations))
    return {"images.tar.gz": pack([*images, *members]), "annotations.tar.gz": pack(annotations)}


def assert_whole(folder):
    for name in IDS:
        assert (folder / "images" / f"{name}.jpg").stat().st_size == 3000
        assert (folder / "annotations" / "trimaps" / f"{name}.png").stat().st_size == 99
    assert {p.name for p in folder.iterdir()} == {"images", "annotations"}


def test_the_archives_are_torchvisions():
    resources = OxfordIIITPet._RESOURCES
    assert {url.rsplit("/", 1)[1]: md5 for url, md5 in resources} == download.ARCHIVES
    assert {url.rsplit("/", 1)[0] + "/" for url, _ in resources} <= set(download.BASE_URLS)


def test_fetch_then_nothing_to_do_then_repair(server, tmp_path):
    root = tmp_path / "data"
    assert_whole(folder := server.fetch(root))
    assert len(server.log) == 2
    assert (root / "images.tar.gz").stat().st_mode & 0o044  # whoever shares the folder can read it
    (root / "annotations.tar.gz").unlink()
    assert server.fetch(root) == folder == root / "oxford-iiit-pet"
    (folder / "images" / "pug_3.jpg").unlink()  # comes back from the archive that was kept
    assert_whole(server.fetch(root))
    assert len(server.log) == 2
    mine = [folder / "images" / f"{name}.jpg" for name in ("pug_3", "my_cat_1")]
    for file in mine:  # what a user has changed or added stays
        file.write_bytes(b"mine")
    for name in ("Abyssinian_1", "beagle_2"):
        (folder / "images" / f"{name}.jpg").unlink()
    server.fetch(root)
    assert (folder / "images" / "beagle_2.jpg").is_file() and len(server.log) == 2
    assert all(file.read_bytes() == b"mine" for file in mine)


def test_a_set_unpacked_by_something_else(server, tmp_path, monkeypatch):
    folder = server.fetch(tmp_path)
    for marker in folder.glob("*/" + download._MARKER):
        marker.unlink()
    # Another set in the official layout, or half a set, is left alone; the whole one is taken.
    with pytest.raises(download.FetchError, match="images is in the way"):
        server.fetch(tmp_path)
    monkeypatch.setattr(download, "OFFICIAL_PHOTOS", 3)
    assert_whole(server.fetch(tmp_path))


def test_a_cut_download_is_tried_again(server, tmp_path):
    server.cuts = 2
    assert_whole(server.fetch(tmp_path))
    assert len(server.log) == 4


def test_a_wrong_download_is_not_kept(server, tmp_path):
    page = b"<html>log in first</html>"
    right, wrong = (hashlib.md5(c).hexdigest() for c in (server.archives["images.tar.gz"], page))
    server.files["/pets/images.tar.gz"] = page
    with pytest.raises(download.FetchError, match=f"(?s)images.tar.gz.*{right}.*{wrong}.*By hand"):
        server.fetch(tmp_path)
    assert not list(tmp_path.glob("*images*")) and not list(tmp_path.glob("*/images"))


def test_by_hand(server, tmp_path):
    for name, content in server.archives.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "annotations.tar.gz").write_bytes(b"half")
    with pytest.raises(download.FetchError, match="renamed to annotations.tar.gz.bad"):
        server.fetch(tmp_path)
    assert (tmp_path / "annotations.tar.gz.bad").read_bytes() == b"half"
    (tmp_path / "annotations.tar.gz").write_bytes(b"another")
    with pytest.raises(download.FetchError, match="renamed to annotations.tar.gz.bad1"):
        server.fetch(tmp_path)
    assert (tmp_path / "annotations.tar.gz.bad").read_bytes() == b"half"
    (tmp_path / "annotations.tar.gz").write_bytes(server.archives["annotations.tar.gz"])
    assert_whole(server.fetch(tmp_path))
    assert server.log == []


def test_offline_says_what_was_tried(server, tmp_path):
    urls = ["http://127.0.0.1:9/pets", server.url + "gone", server.url]
    with pytest.raises(download.FetchError) as caught:
        server.fetch(tmp_path, base_urls=urls[:2])
    for part in (*urls[:2], "404", "annotations.tar.gz", f"put them into {tmp_path}"):
        assert part in str(caught.value)
    assert list((tmp_path / "oxford-iiit-pet").iterdir()) == []
    assert_whole(server.fetch(tmp_path, base_urls=urls))


@pytest.mark.parametrize(
    "name, kind, target",
    [
        ("../evil", tarfile.REGTYPE, ""),
        ("images/../../evil", tarfile.REGTYPE, ""),
        ("/tmp/petweak-evil", tarfile.REGTYPE, ""),
        ("images/link", tarfile.SYMTYPE, "/etc/passwd"),
        ("images/link", tarfile.SYMTYPE, "pug_3.jpg"),
        ("images/pipe", tarfile.FIFOTYPE, ""),
        ("images/link", tarfile.LNKTYPE, "images/pug_3.jpg"),
        ("images/tty", tarfile.CHRTYPE, ""),
    ],
)
def test_evil_archives_leave_nothing(server, tmp_path, name, kind, target):
    server.serve(official(member(name, b"", kind, target)))
    with pytest.raises(download.FetchError, match=f"refused to unpack '{re.escape(name)}'"):
        server.fetch(tmp_path / "data")
    assert list((tmp_path / "data" / "oxford-iiit-pet").iterdir()) == []
    assert not list(tmp_path.rglob("*evil")) and not Path("/tmp/petweak-evil").exists()


def test_a_folder_with_a_damaged_note_is_taken_for_somebody_elses(server, tmp_path):
    folder = server.fetch(tmp_path)
    (folder / "images" / ".unpacked").write_bytes(b"")
    with pytest.raises(download.FetchError, match="images is in the way"):
        server.fetch(tmp_path)
    assert len(list((folder / "images").glob("*.jpg"))) == len(IDS)


def test_a_killed_extraction_leaves_no_half_folder(server, tmp_path):
    with patch.object(download, "_count", side_effect=SystemExit), pytest.raises(SystemExit):
        server.fetch(tmp_path)
    assert list((tmp_path / "oxford-iiit-pet").iterdir()) == []
    # What a kill that runs no clean-up leaves behind is swept away; a user's folder stays.
    left, mine = (tmp_path / "oxford-iiit-pet" / f".{n}.partial" for n in ("images", "annotations"))
    left.mkdir()
    (left / download._OURS).touch()
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    folder = server.fetch(tmp_path)
    assert not left.exists() and (mine / "notes.txt").read_text() == "mine"
    shutil.rmtree(mine)
    assert_whole(folder)


def test_others_wait_and_say_for_whom_and_return_what_is_there(server, tmp_path, caplog):
    with ThreadPoolExecutor(3) as pool:
        with locked(tmp_path / ".oxford-iiit-pet.lock", "the official set", tmp_path):
            folders = [pool.submit(server.fetch, tmp_path) for _ in range(3)]
            for _ in range(6000):  # at most a minute, if nobody says anything
                if not caplog.messages:  # not `time.sleep`, which takes no time in these tests
                    threading.Event().wait(0.01)
            first = caplog.messages[0]  # the others may not have asked yet
            assert first.startswith(f"waiting for process {os.getpid()} on")
            assert "making the official set" in first
    assert_whole({folder.result() for folder in folders}.pop())
    assert len(server.log) == 2
