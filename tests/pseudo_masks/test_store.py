"""Masks on disk: decided once, confident where they are cut, written while the next are made,
resumed."""

from __future__ import annotations

import re
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from toy import HEIGHT, WIDTH, Squares, names, world

from petweak.data.files import write_json
from petweak.data.masks import PREDICT, read_mask, write_mask
from petweak.pseudo_masks import store
from petweak.pseudo_masks.selection import confidence
from petweak.pseudo_masks.store import make_masks, open_manifest, to_mask
from petweak.pseudo_masks.thresholds import otsu


def test_to_mask_brings_a_map_to_the_photos_size_and_decides():
    soft = torch.tensor([[0.0, 1.0]])
    assert np.array_equal(to_mask(soft, (2, 4), 0.5), [[0, 0, 255, 255]] * 2)
    assert np.array_equal(to_mask(soft, (1, 4), 0.8), [[0, 0, 0, 255]])  # 0, 1/4, 3/4, 1
    assert np.array_equal(to_mask(soft, (1, 4), 0.5, (0.1, 0.9)), [[0, 128, 128, 255]])
    assert np.array_equal(to_mask(torch.tensor([[0.1, 0.2, 0.9]]), (1, 3), "otsu"), [[0, 0, 255]])
    assert np.array_equal(to_mask(torch.tensor([[0.5, 0.6]]), (1, 2), 0.5), [[0, 255]])


def test_masks_and_the_manifest(tmp_path):
    context, ids = world(tmp_path), names(6)
    manifest = make_masks(Squares(context), "squares", ids, tmp_path / "m", "key")
    assert open_manifest(tmp_path / "m", "key") == manifest
    assert manifest["ids"] == ids and manifest["threshold"] == 0.5
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == sorted(
        [*(f"{i}.png" for i in ids), "manifest.json"]
    )
    source = Squares(context)
    for i in ids:
        expected = np.where(source.one(i).numpy() > 0.5, 255, 0)
        assert np.array_equal(read_mask(tmp_path / "m" / f"{i}.png"), expected)
    assert open_manifest(tmp_path / "m", "other") is None
    (tmp_path / "m" / "pet_03.png").unlink()
    assert open_manifest(tmp_path / "m", "key") is None


class Faint(Squares):
    """Nowhere above 0.5; `level` is the threshold."""

    level: float | str = "otsu"

    def one(self, image_id):
        return 0.4 * super().one(image_id)

    def threshold(self):
        return self.level


@pytest.mark.parametrize("level", ["otsu", 0.2])
def test_confidence_is_measured_where_the_mask_is_cut(tmp_path, level):
    """At 0.5 every one of these masks would be empty, and its confidence 0."""
    source, ids = Faint(world(tmp_path)), names(6)
    source.level = level
    manifest = make_masks(source, "faint", ids, tmp_path / "m", "key")
    cuts = {i: otsu(source.one(i).numpy()) if level == "otsu" else level for i in ids}
    for i in ids:
        soft = source.one(i).double().numpy()
        hard = read_mask(tmp_path / "m" / f"{i}.png") == 255
        assert np.array_equal(hard, soft > cuts[i]) and hard.any()
        expected = np.minimum(soft, hard).sum() / np.maximum(soft, hard).sum()
        assert manifest["confidence"][i] == pytest.approx(expected, abs=1e-3)
    assert (len(set(cuts.values())) == 1) == (level == 0.2)  # with otsu, one a photo
    assert manifest["threshold"] == level


def test_confidence_takes_one_threshold_a_photo():
    soft = torch.tensor([[[0.2, 0.1]], [[1.0, 0.6]]])
    assert confidence(soft, torch.tensor([0.15, 0.8])[:, None, None]).tolist() == pytest.approx(
        [0.2 / 1.1, 1.0 / 1.6]
    )
    assert confidence(soft).tolist() == pytest.approx([0.0, 1.6 / 2.0])


def test_a_source_that_breaks_the_contract_is_named(tmp_path):
    for wrong, says in (
        (torch.full((2, 4, 4), 2.0), "values outside"),
        (torch.full((2, 4, 4), torch.nan), "values outside"),
        (torch.zeros(2, 1, 4, 4), "not \\(B, H, W\\)"),
        (torch.zeros(1, 4, 4), "for 2 photos"),
    ):
        source = Squares(world(tmp_path))
        source.probabilities = lambda batch, wrong=wrong: wrong
        with pytest.raises(ValueError, match=f"source loud: .*{says}"):
            make_masks(source, "loud", names(6), tmp_path / "m", "key")


# --- written while the next ones are made


def test_the_masks_of_a_batch_are_written_while_the_next_one_is_made(tmp_path, monkeypatch):
    """Writing waits for the second batch to begin, and the second batch for the first one's files:
    neither waits in vain only if they run at the same time."""
    folder, begun, write = tmp_path / "m", threading.Event(), store.write_mask

    def writes(path, mask):
        assert begun.wait(120), "the next batch is not begun while this one is written"
        write(path, mask)

    class Waits(Squares):
        def probabilities(self, batch):
            if batch.ids[0] == "pet_02":
                begun.set()
                deadline = time.monotonic() + 120
                while not all((folder / f"{i}.png").is_file() for i in ("pet_00", "pet_01")):
                    assert time.monotonic() < deadline, "the batch before is not being written"
                    time.sleep(0.005)
            return super().probabilities(batch)

    monkeypatch.setattr(store, "write_mask", writes)
    make_masks(Waits(world(tmp_path)), "waits", names(6), folder, "key")
    assert len(list(folder.glob("*.png"))) == 6


def test_an_error_while_writing_is_not_lost(tmp_path, monkeypatch):
    def full(path, mask):
        raise OSError("no space left")

    monkeypatch.setattr(store, "write_mask", full)
    with pytest.raises(OSError, match="no space left"):
        make_masks(Squares(world(tmp_path)), "squares", names(6), tmp_path / "m", "key")
    assert open_manifest(tmp_path / "m", "key") is None


# --- progress, and how it goes on


class Watched(Squares):
    """Notes what the progress file holds at each batch; ends by a kill at the batch `stop`."""

    stop = ""

    def probabilities(self, batch):
        self.batches = [*getattr(self, "batches", []), batch.ids]
        self.progress = [
            *getattr(self, "progress", []),
            (self.folder / store.PROGRESS).read_bytes(),
        ]
        if batch.ids[0] == self.stop:
            raise KeyboardInterrupt
        return super().probabilities(batch)


def run(source, folder, n):
    source.folder = folder
    return make_masks(source, "watched", names(n), folder, "key")


def test_progress_is_appended_so_that_it_grows_by_a_line_a_batch(tmp_path):
    source = Watched(world(tmp_path, n=40))
    run(source, tmp_path / "m", 40)
    sizes = [len(p) for p in source.progress]
    assert len(sizes) == 20
    for before, after in zip(source.progress, source.progress[1:], strict=False):
        assert after.startswith(before), "a line was rewritten"
    steps = np.diff(sizes)[1:]  # the first batch has nothing before it to note
    assert steps.min() > 0 and steps.max() < 2 * steps.min(), "the file does not grow linearly"


@pytest.mark.parametrize("torn", [b"", b'{"confidence": {"pet_0', b"\xff\xfe"])
def test_a_run_killed_between_batches_goes_on_with_the_same_masks(tmp_path, torn):
    context = world(tmp_path, n=8)
    alone = run(Watched(context), tmp_path / "alone", 8)
    killed = Watched(context)
    killed.stop = "pet_06"
    with pytest.raises(KeyboardInterrupt):
        run(killed, tmp_path / "killed", 8)
    with (tmp_path / "killed" / store.PROGRESS).open("ab") as progress:
        progress.write(torn)
    first = {p: p.stat().st_mtime_ns for p in (tmp_path / "killed").glob("pet_0[0-3].png")}
    again = Watched(context)
    manifest = run(again, tmp_path / "killed", 8)
    # The batch that was being written at the kill may be made again, the ones before it not.
    assert len(first) == 4 and {p: p.stat().st_mtime_ns for p in first} == first
    assert again.batches[-1] == ["pet_06", "pet_07"] and len(again.batches) <= 2
    for key in ("ids", "confidence", "threshold"):
        assert manifest[key] == alone[key]
    for i in names(8):
        one, other = (tmp_path / f / f"{i}.png" for f in ("alone", "killed"))
        assert one.read_bytes() == other.read_bytes()


def test_a_line_of_progress_whose_value_has_changed_is_not_believed(tmp_path):
    """A confidence decides which photos teach."""
    alone = run(Watched(world(tmp_path, n=8)), tmp_path / "alone", 8)
    killed = Watched(world(tmp_path, n=8))
    killed.stop = "pet_06"
    with pytest.raises(KeyboardInterrupt):
        run(killed, tmp_path / "killed", 8)
    file = tmp_path / "killed" / store.PROGRESS
    changed, n = re.subn(r'(_0[03]": )[\d.]+', r"\g<1>0.0625", file.read_text())
    file.write_text(changed)
    assert n == 2
    again = Watched(world(tmp_path, n=8))
    assert run(again, tmp_path / "killed", 8)["confidence"] == alone["confidence"]
    assert again.batches[0][0] == "pet_00"  # whatever stands after a damaged line is doubted, too


def test_masks_of_another_key_are_not_kept(tmp_path):
    context = world(tmp_path)
    killed = Watched(context)
    killed.stop = "pet_04"
    with pytest.raises(KeyboardInterrupt):
        run(killed, tmp_path / "m", 6)
    again = Watched(context)
    again.folder = tmp_path / "m"
    make_masks(again, "watched", names(6), tmp_path / "m", "another key")
    assert len(again.batches) == 3


def test_a_deleted_mask_alone_comes_back(tmp_path):
    context = world(tmp_path)
    manifest = run(Watched(context), tmp_path / "m", 6)
    before = (tmp_path / "m" / "pet_03.png").read_bytes()
    (tmp_path / "m" / "pet_03.png").unlink()
    again = Watched(context)
    back = run(again, tmp_path / "m", 6)
    assert again.batches == [["pet_03"]]
    assert (tmp_path / "m" / "pet_03.png").read_bytes() == before
    assert back["confidence"] == manifest["confidence"]


def change(file: Path) -> bytes:
    """Another valid mask in its place; the new content."""
    Image.fromarray(np.full((HEIGHT, WIDTH), 255, np.uint8)).save(file)
    return file.read_bytes()


@pytest.mark.parametrize("killed", [False, True])
def test_a_mask_that_somebody_has_changed_is_set_aside_and_made_anew(tmp_path, killed, caplog):
    """It was learnt from as it was, without a word."""
    context, folder = world(tmp_path), tmp_path / "m"
    alone = run(Watched(context), tmp_path / "alone", 6)
    source = Watched(context)
    if killed:
        source.stop = "pet_04"
        with pytest.raises(KeyboardInterrupt):
            run(source, folder, 6)
    else:
        run(source, folder, 6)
    mine = change(folder / "pet_01.png")
    assert open_manifest(folder, "key") is None
    again = Watched(context)
    manifest = run(again, folder, 6)
    rest = ["pet_02", "pet_03", "pet_04", "pet_05"] if killed else []  # the last batch, too
    assert {i for batch in again.batches for i in batch} - {"pet_01"} <= set(rest)
    assert (folder / "pet_01.png.kept").read_bytes() == mine
    assert f"{folder / 'pet_01.png'} was not written by petweak, or has been changed" in caplog.text
    assert open_manifest(folder, "key") == manifest
    assert manifest | {"seconds": 0} == alone | {"seconds": 0}
    for i in names(6):
        written = (tmp_path / "alone" / f"{i}.png").read_bytes()
        assert (folder / f"{i}.png").read_bytes() == written
    change(folder / "pet_01.png")
    with pytest.raises(FileExistsError, match=r"pet_01\.png\.kept is there: move one of them away"):
        run(Watched(context), folder, 6)
    assert (folder / "pet_01.png").read_bytes() == mine
    (folder / "pet_01.png.kept").unlink()
    assert run(Watched(context), folder, 6)["confidence"] == alone["confidence"]


def test_a_changed_mask_outlives_other_settings_and_a_damaged_one_does_not(tmp_path):
    context, folder = world(tmp_path), tmp_path / "m"
    run(Watched(context), folder, 6)
    mine = change(folder / "pet_01.png")
    (folder / "pet_02.png").write_bytes(mine[:-5])
    make_masks(Squares(context), "squares", names(6), folder, "other")
    assert [p.name for p in folder.glob("*.kept")] == ["pet_01.png.kept"]
    assert (folder / "pet_01.png.kept").read_bytes() == mine != (folder / "pet_01.png").read_bytes()


def test_masks_that_were_copied_or_noted_without_hashes_stay(tmp_path):
    """Older versions noted none: what is there is what was written."""
    context, folder = world(tmp_path), tmp_path / "m"
    manifest = run(Watched(context), folder, 6)
    shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copyfile)
    assert open_manifest(tmp_path / "copy", "key") == manifest
    hashes = manifest.pop("hashes")
    write_json(folder / "manifest.json", manifest)
    change(folder / "pet_01.png")
    (folder / "pet_05.png").unlink()
    again = Watched(context)
    assert run(again, folder, 6)["hashes"] == {"pet_05": hashes["pet_05"]}
    assert again.batches == [["pet_05"]] and not list(folder.glob("*.kept"))


# --- refinement


def test_masks_are_refined_and_the_ignore_band_is_128(tmp_path):
    context = world(tmp_path, refinement="walk,pamr", walk_steps=4, ignore_band="0.3,0.7")
    manifest = make_masks(Squares(context), "squares", names(6), tmp_path / "m", "key")
    assert manifest["refinement"] == ["walk", "pamr"]
    masks = [read_mask(tmp_path / "m" / f"{i}.png") for i in names(6)]
    assert {v for m in masks for v in np.unique(m).tolist()} == {0, 128, 255}
    assert all(m.shape == (HEIGHT, WIDTH) for m in masks)


def test_auto_lets_the_best_pipelines_vote(tmp_path):
    context = world(
        tmp_path,
        refinement="auto",
        refinement_scales=(1.0,),
        ensemble_size=2,
        selection_criteria="otsu,area",
        fusion_maps="",
        walk_steps=4,
    )

    class Views(Squares):
        views = True

        def one(self, image_id):
            return F.avg_pool2d(super().one(image_id)[None], 5, 1, 2)[0]

        def view(self, batch):
            soft = self.probabilities(batch)
            return soft.flip(-1) if batch.mirror else soft

    manifest = make_masks(Views(context), "views", names(6), tmp_path / "m", "key")
    ranks = [row["rank"] for row in manifest["ranking"]]
    assert ranks == sorted(ranks, reverse=True) and len(ranks) == 8
    assert manifest["vote"] == [row["pipeline"] for row in manifest["ranking"][:2]]
    assert (manifest["refinement"], manifest["threshold"]) == (["vote"], 0.5)


# --- what is not petweak's


def test_masks_of_somebody_else_are_not_replaced(tmp_path):
    """`--set external_masks=R/masks/external` deleted the user's masks before it read them."""
    context, ids, folder = world(tmp_path), names(6), tmp_path / "m"
    folder.mkdir()
    for name, writer in (("pet_00.png", None), ("pet_01.png", PREDICT)):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        if writer:
            write_mask(folder / name, mask, writer)
        else:
            Image.fromarray(mask).save(folder / name)
        before = (folder / name).read_bytes()
        with pytest.raises(ValueError, match=f"{folder} is where petweak writes .* {name}"):
            make_masks(Squares(context), "squares", ids, folder, "key")
        assert [p.name for p in folder.iterdir()] == [name]
        assert (folder / name).read_bytes() == before
        (folder / name).unlink()


def test_masks_of_petweaks_are_replaced_and_notes_stay(tmp_path):
    context, ids, folder = world(tmp_path), names(6), tmp_path / "m"
    make_masks(Squares(context), "squares", ids, folder, "key")
    (folder / "notes.txt").write_text("mine")
    (folder / "scores.json").write_text("{}")
    make_masks(Squares(context), "squares", ids[:3], folder, "other")
    left = [*(f"{i}.png" for i in ids[:3]), "manifest.json", "notes.txt"]
    assert sorted(p.name for p in folder.iterdir()) == sorted(left)
    (folder / "manifest.json").unlink()  # what is deleted comes back
    make_masks(Squares(context), "squares", ids[:3], folder, "other")
    assert sorted(p.name for p in folder.iterdir()) == sorted(left)
