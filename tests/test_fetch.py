"""The official archives from a server on this machine that cuts, ignores Range, or lies."""

import hashlib
import io
import re
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import patch

import pooch
import pytest
from filelock import FileLock
from torchvision.datasets import OxfordIIITPet

from petweak.data import fetch

IDS = ["Abyssinian_1", "beagle_2", "pug_3"]


class Server(ThreadingHTTPServer):
    """Serves `files`; `log` holds (path, Range asked for, status, bytes sent)."""

    ignore_range = bare_416 = down = False  # 200 to everything; a 416 without length; 503
    cut_after = cuts = 0  # cuts a body after so many bytes, so many times

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.log, self.url = [], f"http://127.0.0.1:{self.server_address[1]}/pets/"
        self.serve(official())

    def serve(self, archives):
        self.archives = archives
        self.files = {f"/pets/{name}": content for name, content in archives.items()}

    def fetch(self, root, **options):
        md5s = {name: hashlib.md5(content).hexdigest() for name, content in self.archives.items()}
        options = {"base_url": self.url, "archives": md5s, "progress": False} | options
        return fetch.fetch_official(root, **options)

    def of(self, name):
        return [entry[1:] for entry in self.log if entry[0].endswith(name)]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        body, begin, status = server.files.get(self.path, b""), 0, 200
        if server.down or not body:
            status, body = 503 if server.down else 404, b""
        elif asked and not server.ignore_range:
            begin = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            status = 206 if begin < len(body) else 416
        rest = sent = body[begin:]
        if server.cuts and len(rest) > server.cut_after:
            sent, server.cuts = rest[: server.cut_after], server.cuts - 1
        server.log.append((self.path, asked, status, len(sent)))
        self.send_response(status)
        if status == 206 or (status == 416 and not server.bare_416):
            part = f"{begin}-{len(body) - 1}" if status == 206 else "*"
            self.send_header("Content-Range", f"bytes {part}/{len(body)}")
        # Apache labels .tar.gz like this; a client that obeys stores another file.
        self.send_header("Content-Encoding", "x-gzip")
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(fetch.ResumingDownloader, "pause", 0)
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
    assert {url.rsplit("/", 1)[1]: md5 for url, md5 in resources} == fetch.ARCHIVES
    assert {url.rsplit("/", 1)[0] + "/" for url, _ in resources} <= set(fetch.BASE_URLS)


def test_fetch_then_nothing_to_do_then_repair(server, tmp_path):
    root = tmp_path / "data"
    assert_whole(folder := server.fetch(root))
    assert [entry[3] for entry in server.log] == [len(c) for c in server.archives.values()]
    (root / "annotations.tar.gz").unlink()
    assert server.fetch(root) == folder == root / "oxford-iiit-pet"
    (folder / "images" / "pug_3.jpg").unlink()  # comes back from the archive that was kept
    assert_whole(server.fetch(root))
    assert len(server.log) == 2


def test_a_set_unpacked_by_something_else(server, tmp_path, monkeypatch):
    folder = server.fetch(tmp_path)
    for marker in folder.glob("*/" + fetch._MARKER):
        marker.unlink()
    # Another set in the official layout, or half a set, is left alone; the whole one is taken.
    with pytest.raises(fetch.FetchError, match="images is in the way"):
        server.fetch(tmp_path)
    monkeypatch.setattr(fetch, "OFFICIAL_PHOTOS", 3)
    assert_whole(server.fetch(tmp_path))


def test_resume_asks_only_for_the_rest(server, tmp_path):
    content = server.archives["images.tar.gz"]
    (tmp_path / "images.tar.gz.part").write_bytes(content[:300])  # of an earlier run
    server.cut_after, server.cuts = 400, 6  # more cuts than retries: gain resets the count
    assert_whole(server.fetch(tmp_path))
    ranges, statuses, sent = zip(*server.of("images.tar.gz"), strict=True)
    assert ranges == tuple(f"bytes={300 + 400 * n}-" for n in range(7))
    assert set(statuses) == {206} and sum(sent) == len(content) - 300


@pytest.mark.parametrize("ending", [b"", b"too long"])
@pytest.mark.parametrize("bare", [False, True])
def test_416(server, tmp_path, ending, bare):
    (tmp_path / "images.tar.gz.part").write_bytes(server.archives["images.tar.gz"] + ending)
    server.bare_416 = bare
    assert_whole(server.fetch(tmp_path))
    # A part known to be whole is used; any other begins again.
    statuses = [status for _, status, _ in server.of("images.tar.gz")]
    assert statuses == ([416] if not ending and not bare else [416, 200])


def test_a_server_that_ignores_range_and_cuts(server, tmp_path):
    server.ignore_range, server.cut_after, server.cuts = True, 1000, 99
    with pytest.raises(fetch.FetchError, match="1000 bytes are kept"):
        server.fetch(tmp_path)
    assert (tmp_path / "images.tar.gz.part").stat().st_size == 1000
    retries = [("bytes=1000-", 200, 1000)] * (1 + fetch.ResumingDownloader.retries)
    assert server.of("images.tar.gz") == [(None, 200, 1000), *retries]
    server.cuts = 2
    assert_whole(server.fetch(tmp_path))


def test_wrong_hash(server, tmp_path):
    page = b"<html>log in first</html>"
    right, wrong = (hashlib.md5(c).hexdigest() for c in (server.archives["images.tar.gz"], page))
    server.files["/pets/images.tar.gz"] = page
    with pytest.raises(fetch.FetchError, match=f"images.tar.gz .*{right}.*{wrong}.*deleted.*anew"):
        server.fetch(tmp_path)
    assert not list(tmp_path.glob("images*")) and not list(tmp_path.glob("*/images"))
    server.serve(server.archives)
    assert_whole(server.fetch(tmp_path))


def test_by_hand(server, tmp_path):
    for name, content in server.archives.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "annotations.tar.gz").write_bytes(b"half")
    with pytest.raises(fetch.FetchError, match="renamed to annotations.tar.gz.bad"):
        server.fetch(tmp_path)
    assert (tmp_path / "annotations.tar.gz.bad").read_bytes() == b"half"
    (tmp_path / "annotations.tar.gz").write_bytes(server.archives["annotations.tar.gz"])
    assert_whole(server.fetch(tmp_path))
    assert server.log == []


def test_offline_says_what_was_tried(server, tmp_path):
    urls = ["http://127.0.0.1:9/pets", server.url + "gone", server.url]
    with pytest.raises(fetch.FetchError) as caught:
        server.fetch(tmp_path, base_url=urls[:2])
    for part in (*urls[:2], "404", "annotations.tar.gz", f"put them into {tmp_path}"):
        assert part in str(caught.value)
    assert len(server.log) == 1  # a 404 is final, a busy server is not
    server.down = True
    with pytest.raises(fetch.FetchError, match="503"):
        server.fetch(tmp_path)
    assert len(server.log) == 2 + fetch.ResumingDownloader.retries
    server.down = False
    assert_whole(server.fetch(tmp_path, base_url=urls))


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
    with pytest.raises(fetch.FetchError, match=f"refused to unpack '{re.escape(name)}'"):
        server.fetch(tmp_path / "data")
    assert list((tmp_path / "data" / "oxford-iiit-pet").iterdir()) == []
    assert not list(tmp_path.rglob("*evil")) and not Path("/tmp/petweak-evil").exists()


def test_a_killed_extraction_leaves_no_half_folder(server, tmp_path):
    with patch.object(fetch, "_count", side_effect=SystemExit), pytest.raises(SystemExit):
        server.fetch(tmp_path)
    assert list((tmp_path / "oxford-iiit-pet").iterdir()) == []
    # What a kill that runs no clean-up leaves behind is swept away.
    (tmp_path / "oxford-iiit-pet" / ".images.partial").mkdir()
    assert_whole(server.fetch(tmp_path))


def test_others_wait_and_find_it_done(server, tmp_path):
    with ThreadPoolExecutor(3) as pool:
        with FileLock(tmp_path / ".oxford-iiit-pet.lock"):
            folders = [pool.submit(server.fetch, tmp_path) for _ in range(3)]
    assert_whole({folder.result() for folder in folders}.pop())
    assert len(server.log) == 2


def test_pooch_takes_the_downloader(server, tmp_path):
    server.files = {"/pets/a.bin": b"pet" * 1000}
    path = pooch.retrieve(
        server.url + "a.bin",
        None,
        path=tmp_path,
        downloader=fetch.ResumingDownloader(progressbar=False),
    )
    assert Path(path).read_bytes() == b"pet" * 1000
