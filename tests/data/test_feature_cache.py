"""The feature cache, filled by a network whose maps are known: means of the photo's squares."""

from __future__ import annotations

import errno
import re
import shutil
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import small
from torch.nn import functional as F

from petweak.config import STRIDES
from petweak.data import feature_cache, files
from petweak.data.feature_cache import (
    PROGRESS,
    Features,
    extract_features,
    mend_rows,
    open_features,
    photo_features,
    photo_tensor,
    scaled_size,
)
from petweak.data.files import read_json
from petweak.data.oxford_pets import load_photo, read_pets

CPU = torch.device("cpu")


class Means:
    """Each level is the mean of squares of its stride. It is killed at the batch `stop_at`."""

    def __init__(self, stop_at: int = 0):
        self.sizes, self.stop_at, self.engines = [], stop_at, []

    def __call__(self, x):
        self.sizes.append(len(x))
        if len(self.sizes) == self.stop_at:
            raise KeyboardInterrupt
        return {level: F.avg_pool2d(x, stride) for level, stride in STRIDES.items()}

    def engine(self, views, setting):
        self.engines.append((tuple(views.shape), setting))
        return "means", self


@pytest.fixture(scope="module")
def samples(rendered):
    return read_pets(rendered).samples[:5]


def extract(samples, folder, network, key="key", **changes):
    settings = small(**{"extraction_batch": 2} | changes)
    return extract_features(samples, network.engine, settings, folder, key, CPU)


def test_the_cache_holds_the_maps_of_photo_and_mirror_image(samples, tmp_path):
    network = Means()
    index = extract(samples, tmp_path / "f", network)
    assert network.sizes == [4, 4, 2]  # two photos a batch, each with its mirror image
    assert index["passes"] == 10 and index["engine"] == "means" and index["seconds"] > 0
    assert network.engines == [((4, 3, 64, 64), "eager")]
    features, ids = open_features(tmp_path / "f", "key"), [s.id for s in samples]
    assert (features.ids, features.passes) == (tuple(ids), 10)
    photo = np.asarray(load_photo(samples[3].photo).resize((64, 64), 2), np.float32) / 255
    squares = photo.reshape(2, 32, 2, 32, 3).mean((1, 3)).transpose(2, 0, 1)
    final = features.batch("final", [ids[3]])[0].numpy()
    assert np.allclose(final, squares, atol=1e-3)
    mirrored = features.batch("final", [ids[3]], True)[0].numpy()
    assert np.allclose(mirrored, squares[:, :, ::-1], atol=1e-3)
    assert features.pooled([ids[3]]).shape == (1, 2, 3)
    assert np.allclose(features.pooled([ids[3]])[0, 0], final.mean((1, 2)), atol=1e-6)
    assert features.map("stride8").shape == (5, 2, 3, 8, 8)
    assert features.map("stride8").dtype == np.float16
    assert isinstance(features.map("final"), np.memmap)


def test_views_can_be_mixed_in_a_batch(samples, tmp_path):
    extract(samples, tmp_path / "f", Means())
    features, ids = open_features(tmp_path / "f", "key"), [s.id for s in samples]
    mixed = features.batch("final", ids[:2], np.array([True, False]))
    assert torch.equal(mixed[0], features.batch("final", ids[:1], True)[0])
    assert torch.equal(mixed[1], features.batch("final", ids[1:2])[0])
    assert not torch.equal(mixed[0], features.batch("final", ids[:1])[0])


def test_only_stored_levels_are_there(samples, tmp_path):
    extract(samples, tmp_path / "f", Means(), stored_levels="final,stride16")
    assert {p.name for p in (tmp_path / "f").iterdir()} == {
        "final.npy", "stride16.npy", "pooled.npy", "index.json"}
    with pytest.raises(ValueError, match="final, stride16, not stride8: see the setting stored_"):
        open_features(tmp_path / "f", "key").map("stride8")


def test_a_pass_that_was_killed_goes_on_where_it_was(samples, tmp_path):
    folder, killed, rest = tmp_path / "f", Means(stop_at=2), Means()
    with pytest.raises(KeyboardInterrupt):
        extract(samples, folder, killed)
    assert open_features(folder, "key") is None
    index = extract(samples, folder, rest)
    assert rest.sizes == [4, 2] and index["passes"] == 10
    assert rest.engines == [((4, 3, 64, 64), "means")]  # the engine that it began with
    extract(samples, tmp_path / "whole", Means())
    for file in ("final.npy", "stride8.npy", "pooled.npy"):
        assert (folder / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert not folder.with_name("f.partial").exists()


def test_a_batch_costs_the_progress_file_as_much_at_the_end_as_at_the_beginning(samples, tmp_path):
    """Written again, it had more bytes than the maps from some 280,000 photos on."""
    class Watched(Means):
        def __call__(self, x):
            file = tmp_path / "f.partial" / PROGRESS
            written.append(file.read_bytes() if file.is_file() else b"")
            return super().__call__(x)

    written: list[bytes] = []
    extract(samples * 8, tmp_path / "f", Watched(), stored_levels="final")
    assert len(written) == 20 and not written[0]
    assert all(after.startswith(before) for before, after in pairwise(written))
    steps = np.diff([len(text) for text in written])
    assert 0 < steps.min() and steps.max() < steps.min() + 16  # digits of rows and of seconds


@pytest.mark.parametrize("stop_at, change, again", [
    (3, lambda lines: lines[:1] + [lines[1][:40]], [4, 2]),  # torn by the kill
    (3, lambda lines: [lines[0].replace(b'"rows": [0, 2]', b'"rows": [0, 1]'), lines[1]],
     [4, 4, 2]),
    (3, lambda lines: [re.sub(rb'(final": "[^"]*)"', rb'\g<1>0"', lines[0]), lines[1]], [4, 4, 2]),
    (3, lambda lines: lines[1:], [4, 4, 2]),
    (3, lambda lines: lines[:1] * 2 + lines[1:], [2]),
    (3, lambda lines: [b"\xff\xfe", b"[]", *lines], [2]),
])
def test_what_is_damaged_in_the_progress_file_does_not_count(
    stop_at, change, again, samples, tmp_path
):
    """Killed twice: the second pass appends to what is left of the first one's lines."""
    extract(samples, tmp_path / "whole", Means())
    with pytest.raises(KeyboardInterrupt):
        extract(samples, tmp_path / "f", Means(stop_at=stop_at))
    file = tmp_path / "f.partial" / PROGRESS
    lines = list(filter(None, file.read_bytes().splitlines()))
    file.write_bytes(b"\n".join(change(lines)))
    killed, rest = Means(stop_at=2), Means()
    if len(again) > 1:
        with pytest.raises(KeyboardInterrupt):
            extract(samples, tmp_path / "f", killed)
        assert killed.sizes == again[:2]
    extract(samples, tmp_path / "f", rest)
    assert rest.sizes == again[len(again) > 1 :]
    for name in ("final.npy", "stride8.npy", "pooled.npy"):
        assert (tmp_path / "f" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    notes = [read_json(tmp_path / f / "index.json") | {"seconds": 0} for f in ("f", "whole")]
    assert notes[0] == notes[1]


def test_the_progress_of_older_versions_is_made_anew(samples, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        extract(samples, tmp_path / "f", Means(stop_at=2))
    (tmp_path / "f.partial" / PROGRESS).rename(tmp_path / "f.partial" / "progress.json")
    again = Means()
    extract(samples, tmp_path / "f", again)
    assert again.sizes == [4, 4, 2] and not (tmp_path / "f" / "progress.json").exists()


def test_a_pass_of_another_key_begins_anew(samples, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        extract(samples, tmp_path / "f", Means(stop_at=2))
    other = Means()
    extract(samples, tmp_path / "f", other, key="other")
    assert other.sizes == [4, 4, 2]


def test_a_cache_of_another_key_or_with_a_file_gone_is_not_opened(samples, tmp_path):
    extract(samples, tmp_path / "f", Means())
    assert open_features(tmp_path / "f", "another") is None
    shutil.copytree(tmp_path / "f", tmp_path / "g")
    (tmp_path / "g" / "penultimate.npy").unlink()
    assert open_features(tmp_path / "g", "key") is None
    assert open_features(tmp_path / "absent", "key") is None
    extract(samples, tmp_path / "f", Means(), key="another", image_size=96)  # takes its place
    assert open_features(tmp_path / "f", "another").map("final").shape[-1] == 3


@pytest.mark.parametrize("damage", ["empty", "cut", "gone"])
def test_a_damaged_file_is_made_again(damage, samples, tmp_path):
    def harm(path):
        if damage == "gone":
            return path.unlink()
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 if damage == "cut" else 0])

    extract(samples, tmp_path / "whole", Means())
    with pytest.raises(KeyboardInterrupt):
        extract(samples, tmp_path / "f", Means(stop_at=3))
    harm(tmp_path / "f.partial" / "stride8.npy")  # a pass must not go on with zeros in it
    again = Means()
    extract(samples, tmp_path / "f", again)
    assert again.sizes == [4, 4, 2]
    harm(tmp_path / "f" / "pooled.npy")
    assert open_features(tmp_path / "f", "key") is None
    extract(samples, tmp_path / "f", Means())
    for file in ("final.npy", "stride8.npy", "pooled.npy"):
        assert (tmp_path / "f" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


class TestAFlippedBit:
    """Rows of two batches, in a whole cache and in one whose pass was killed after the flip."""

    def damaged(self, samples, folder, stop_at=0):
        """The cache, opened, with a flipped bit in the maps of the second photo."""
        extract(samples, folder.with_name("whole"), Means())
        if stop_at:
            with pytest.raises(KeyboardInterrupt):
                extract(samples, folder, Means(stop_at=stop_at))
        else:
            extract(samples, folder, Means())
        file = (folder.with_name("f.partial") if stop_at else folder) / "stride8.npy"
        maps = np.load(file, mmap_mode="r+")
        maps[1].view(np.uint16)[1, 2, 3, 4] ^= 1
        maps.flush()
        if stop_at:
            extract(samples, folder, Means())
        return open_features(folder, "key")

    def mend(self, features, samples, network):
        s = small(extraction_batch=2)
        features.mend = partial(mend_rows, samples, network.engine, s, CPU)

    @pytest.mark.parametrize("stop_at", [0, 2])
    def test_its_batch_is_made_anew_when_it_is_read(self, stop_at, samples, tmp_path, caplog):
        features, network = self.damaged(samples, tmp_path / "f", stop_at), Means()
        self.mend(features, samples, network)
        ids, whole = list(features.ids), open_features(tmp_path / "whole", "key")
        assert torch.equal(features.batch("stride8", ids[2:]), whole.batch("stride8", ids[2:]))
        assert torch.equal(features.batch("final", ids), whole.batch("final", ids))
        assert not network.sizes and not caplog.records
        before = torch.get_rng_state()
        assert torch.equal(features.batch("stride8", ids), whole.batch("stride8", ids))
        assert torch.equal(torch.get_rng_state(), before)
        assert network.sizes == [4] and network.engines == [((4, 3, 64, 64), "means")]
        assert [r.getMessage() for r in caplog.records] == [
            f"{tmp_path / 'f' / 'stride8.npy'} is damaged in the maps of {ids[1]}, which are made "
            "again"]
        for file in ("final.npy", "stride8.npy", "pooled.npy"):
            assert (tmp_path / "f" / file).read_bytes() == (
                tmp_path / "whole" / file).read_bytes()

    def test_a_row_is_compared_once(self, samples, tmp_path, monkeypatch):
        features, rows, crc32 = self.damaged(samples, tmp_path / "f"), [], feature_cache._crc32
        monkeypatch.setattr(feature_cache, "_crc32", lambda m: rows.append(m) or crc32(m))
        for _ in range(3):
            features.half("stride8", list(features.ids[2:]), np.array([True, False, True]))
        assert len(rows) == 3

    def test_what_cannot_be_made_as_it_was_is_an_error(self, samples, tmp_path):
        features = self.damaged(samples, tmp_path / "f")
        with pytest.raises(OSError, match=rf"stride8.npy is damaged in the maps of "
                                          rf"{features.ids[1]}, and .*delete .*/f, and"):
            features.half("stride8", list(features.ids))
        self.mend(features, samples[1:] + samples[:1], Means())  # photos that are others by now
        with pytest.raises(OSError, match="could not be made as they were"):
            features.half("stride8", list(features.ids))


def test_a_pass_that_was_killed_at_its_end_is_not_repeated(samples, tmp_path, monkeypatch):
    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(feature_cache, "_publish", killed)
        extract(samples, tmp_path / "f", Means())
    rest = Means()
    assert extract(samples, tmp_path / "f", rest)["passes"] == 10 and rest.sizes == []
    assert {p.name for p in (tmp_path / "f").iterdir()} == {
        *(f"{level}.npy" for level in (*STRIDES, "pooled")), "index.json"}


def test_the_size_of_a_pass_is_checked_before_it(samples, tmp_path, monkeypatch):
    network, free = Means(), SimpleNamespace(free=1000)
    extract(samples, tmp_path / "f", Means())
    size = sum(p.stat().st_size - 128 for p in (tmp_path / "f").glob("*.npy"))
    monkeypatch.setattr(feature_cache.shutil, "disk_usage", lambda folder: free)
    with pytest.raises(OSError, match=r"5 photos take 0 MB.*stored_levels.*image_size") as caught:
        extract(samples, tmp_path / "g", network)
    assert caught.value.errno == errno.ENOSPC and str(tmp_path / "g") in str(caught.value)
    assert network.sizes == [4] and not list((tmp_path / "g.partial").iterdir())
    for free.free, enough in ((size - 1, False), (size, True)):
        if enough:
            extract(samples, tmp_path / "g", Means())
        else:
            with pytest.raises(OSError):
                extract(samples, tmp_path / "g", Means())


def test_a_full_disk_is_told_before_a_map_is_written(samples, tmp_path, monkeypatch):
    """Where the free space was told wrongly: the files have all their blocks before they are
    mapped, or a write into them would end the process."""
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="npy") as caught:
        extract(samples, tmp_path / "f", Means())
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    extract(samples, tmp_path / "f", Means())
    for file in (tmp_path / "f").glob("*.npy"):
        assert file.stat().st_blocks * 512 >= file.stat().st_size


def test_a_photo_of_no_data_set_has_the_same_features_in_memory(samples, tmp_path):
    extract(samples, tmp_path / "f", Means())
    stored, photo = open_features(tmp_path / "f", "key"), load_photo(samples[0].photo)
    alone = photo_features(photo, Means(), small(), "photo")
    for level in STRIDES:
        for mirror in (False, True):
            one, other = (f.batch(level, [i], mirror) for f, i in
                          ((alone, "photo"), (stored, samples[0].id)))
            assert torch.equal(one, other)
    assert torch.equal(alone.pooled(["photo"]), stored.pooled([samples[0].id]))


def test_a_photo_is_resized_whole_and_in_its_range(samples):
    x = photo_tensor(load_photo(samples[0].photo), 32)
    assert x.shape == (3, 32, 32) and x.dtype == torch.float32
    assert x.min() >= 0 and 0.1 < x.max() <= 1


def test_a_scale_is_rounded_to_the_largest_stride():
    assert [scaled_size(64, s) for s in (0.1, 0.5, 1, 1.25, 1.5)] == [32, 32, 64, 64, 96]


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="it is Linux that says it")
def test_reading_every_row_leaves_little_of_the_file_in_memory(tmp_path):
    """A cache may be larger than memory; 32 MB of one here."""
    def in_memory() -> float:
        text = Path("/proc/self/status").read_text()
        return int(re.search(r"RssFile:\s+(\d+) kB", text)[1]) / 2**10

    ids = tuple(map(str, range(512)))
    maps = (np.arange(512 * 2 * 16 * 32 * 32, dtype=np.uint32) % 7).astype(np.float16)
    maps = maps.reshape(512, 2, 16, 32, 32)
    np.save(tmp_path / "final.npy", maps)
    features, before = Features(tmp_path, ids, ("final",)), in_memory()
    for k in range(0, 512, 8):
        rows = features.half("final", list(ids[k : k + 8]), np.arange(8) % 2)
        assert np.array_equal(rows, maps[np.arange(k, k + 8), np.arange(8) % 2])
    assert in_memory() - before < 8
