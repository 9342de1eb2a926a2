"""`petweak predict`: what it finds, what it calls the masks, and what it never replaces."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from test_inference import NO_QUERY, backbone, folder, photo  # noqa: F401 - fixtures
from toy import HEIGHT, WIDTH

from petweak.data.masks import PREDICT, read_mask, write_mask, writer_of
from petweak.training import predict
from petweak.training.inference import Prediction, load_model, predict_photo
from petweak.training.predict import COLUMNS, find_photos, name_masks, predict_files


@pytest.fixture
def quick(monkeypatch):
    """No network: the left half of every photo is a cat with 0.75."""
    monkeypatch.setattr(predict, "load_backbone", lambda name: torch.nn.Identity())
    monkeypatch.setattr(
        predict,
        "predict_photo",
        lambda *_: Prediction(np.float32([[1, 0]]), np.float32([0.75, 0.25]), *NO_QUERY),
    )


def draw(path: Path, colour: str = "red", size: tuple[int, int] = (12, 8), **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **options)
    return path


def files_in(top: Path) -> list[str]:
    return sorted(p.relative_to(top).as_posix() for p in top.rglob("*") if p.is_file())


def write(photos, model, out) -> list[str]:
    return [p.relative_to(out).as_posix() for p in predict_files(photos, model, out)]


# --- masks and the table


def test_a_mask_a_photo_of_the_photos_size(folder, photo, tmp_path):  # noqa: F811
    Image.new("L", (33, 21), 90).save(tmp_path / "tiny grey.jpg")
    photos = [str(tmp_path / "photo.png"), str(tmp_path / "tiny grey.jpg")]
    out = list(predict_files(photos, folder, tmp_path / "out"))
    assert [p.name for p in out] == ["photo.png", "tiny grey.png"]
    assert [read_mask(p).shape for p in out] == [(HEIGHT, WIDTH), (21, 33)]
    expected = predict_photo(load_model(folder), photo)
    mask = expected.mask(HEIGHT, WIDTH)
    assert np.array_equal(read_mask(out[0]), np.where(mask, 255, 0))
    row = pd.read_csv(tmp_path / "out" / "predictions.csv").iloc[0]
    assert list(row.index) == COLUMNS
    assert (row["photo"], row["mask"]) == (photos[0], "photo.png")
    assert row["class"] == ("cat", "dog")[expected.classes.argmax()]
    assert row["probability"] == pytest.approx(expected.classes.max(), abs=1e-4)
    assert row["foreground"] == pytest.approx(mask.mean(), abs=1e-4)


def test_files_are_predicted_on_the_device(folder, photo, tmp_path, monkeypatch):  # noqa: F811
    """The meta device stands for a GPU: the model and the backbone go there."""
    seen = []

    def spy(predictor, photo, network):
        seen.append((predictor.device.type, network.classifier.weight.device.type))
        return Prediction(np.zeros((4, 4), np.float32), np.ones(2), *NO_QUERY)

    monkeypatch.setattr(predict, "predict_photo", spy)
    for device in ("meta", "cpu"):
        list(predict_files([tmp_path / "photo.png"], folder, tmp_path / "out", device))
    assert seen == [("meta", "meta"), ("cpu", "cpu")]


@pytest.mark.usefixtures("quick")
def test_the_mask_is_turned_as_the_photo_is_seen(folder, tmp_path):  # noqa: F811
    exif = Image.Exif()
    exif[0x0112] = 6
    draw(tmp_path / "phone.jpg", size=(12, 8), exif=exif)
    (mask,) = predict_files([tmp_path / "phone.jpg"], folder, tmp_path / "out")
    assert read_mask(mask).shape == (12, 8)  # (H, W)


@pytest.mark.usefixtures("quick")
def test_the_same_command_again_and_another_one_keep_all_rows(folder, tmp_path):  # noqa: F811
    one, two, out = draw(tmp_path / "a.jpg"), draw(tmp_path / "b.jpg"), tmp_path / "out"
    for photos in ([one], [one], [two]):
        write(photos, folder, out)
    table = pd.read_csv(out / "predictions.csv")
    assert table["mask"].tolist() == ["a.png", "b.png"]
    assert table["class"].tolist() == ["cat"] * 2 and table["foreground"].tolist() == [0.5] * 2
    (out / "a.png").rename(tmp_path / "sorted.png")
    write([two], folder, out)
    assert pd.read_csv(out / "predictions.csv")["mask"].tolist() == ["a.png", "b.png"]


@pytest.mark.usefixtures("quick")
def test_a_mask_of_another_photo_stays(folder, tmp_path):  # noqa: F811
    (tmp_path / "A").mkdir(), (tmp_path / "B").mkdir()
    one, other = draw(tmp_path / "A" / "x.jpg"), draw(tmp_path / "B" / "x.jpg")
    (mask,) = predict_files([one], folder, tmp_path / "out")
    before, table = mask.read_bytes(), (tmp_path / "out" / "predictions.csv").read_bytes()
    with pytest.raises(ValueError, match=f"x.png is the mask of {one}, .* another --out"):
        list(predict_files([other], folder, tmp_path / "out"))
    assert mask.read_bytes() == before
    assert (tmp_path / "out" / "predictions.csv").read_bytes() == table
    one.rename(tmp_path / "moved.jpg")  # as where all photos are moved
    assert list(predict_files([other], folder, tmp_path / "out")) == [mask]


@pytest.mark.usefixtures("quick")
def test_a_table_that_was_corrected_is_set_aside(folder, tmp_path, caplog):  # noqa: F811
    photos, out = [draw(tmp_path / f"{name}.jpg") for name in "ab"], tmp_path / "out"
    list(predict_files(photos, folder, out))
    list(predict_files(photos, folder, out))
    table = out / "predictions.csv"
    assert [p.name for p in sorted(out.iterdir())] == ["a.png", "b.png", "predictions.csv"]
    corrected = table.read_text().replace(",cat,", ",my own word,", 1)
    table.write_text(corrected)
    list(predict_files(photos[1:], folder, out))  # another photo than the corrected one
    assert "my own word" in table.read_text() and not list(out.glob("*.kept"))
    list(predict_files(photos, folder, out))
    assert "my own word" in (out / "predictions.csv.kept").read_text()
    assert "kept as predictions.csv.kept" in caplog.text
    assert pd.read_csv(table)["class"].tolist() == ["cat"] * 2


# --- what is found


@pytest.mark.usefixtures("quick")
def test_a_folder_is_mirrored_and_what_is_no_photo_is_passed_over(folder, tmp_path, caplog):  # noqa: F811
    photos = tmp_path / "my photos"
    for name in ("a.JPG", "b.jpeg", "cats/a.PNG", "cats/old/c.webp", "ünï 猫's [1].bmp"):
        draw(photos / name)
    for name in ("._a.JPG", ".DS_Store", "cats/Thumbs.db", "notes.txt", ".trash/x.jpg"):
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).write_bytes(b"\0")
    (photos / "linked").symlink_to(photos / "cats")
    masks = write([photos], folder, tmp_path / "out")
    assert masks == ["a.png", "b.png", "ünï 猫's [1].png", "cats/a.png", "cats/old/c.png"]
    assert files_in(tmp_path / "out") == sorted([*masks, "predictions.csv"])
    said = caplog.text
    assert "passed over, hidden: " in said and "._a.JPG" in said and ".trash" in said
    assert "no picture by its name: " in said and "notes.txt" in said and "a link to" in said


@pytest.mark.usefixtures("quick")
def test_masks_in_the_folder_of_the_photos_are_no_photos(folder, tmp_path, caplog):  # noqa: F811
    """The same command twice, with masks beside the photos and in a folder below them."""
    draw(tmp_path / "p" / "a.jpg")
    for out in (tmp_path / "p" / "masks", tmp_path / "p", tmp_path / "p" / "other"):
        for _ in range(2):
            assert write([tmp_path / "p"], folder, out) == ["a.png"]
    assert "a mask that petweak wrote: " in caplog.text and "the folder of the masks" in caplog.text


def test_globs_in_quotes_and_several_folders(tmp_path, monkeypatch):
    for name in ("cats/x.jpg", "dogs/x.jpg", "dogs/y.jpg", "a[1].jpg"):
        draw(tmp_path / name)

    def found(*given):
        return sorted(map(str, find_photos(given, tmp_path / "out")[0].values()))

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path / "dogs")
    assert found("*.jpg") == found("~/dogs/*.jpg") == found(".") == ["x.jpg", "y.jpg"]
    mirrored = [os.path.join(*p) for p in (("cats", "x.jpg"), ("dogs", "x.jpg"), ("dogs", "y.jpg"))]
    assert found("~/*/*.jpg") == found("../cats", "../dogs") == mirrored
    assert found("~/**/x.jpg") == mirrored[:2]
    assert found("~/a[1].jpg") == ["a[1].jpg"]  # the name of a file before it is a pattern
    assert found("x.jpg", "../dogs/x.jpg", "./x.jpg") == ["x.jpg"]
    with pytest.raises(ValueError, match=r"none\*.jpg: there is no such file"):
        found("none*.jpg")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no picture in .*empty"):
        found("../empty")


# --- what cannot be read


@pytest.mark.usefixtures("quick")
def test_bad_photos_are_named_at_the_end_and_the_good_ones_are_kept(folder, tmp_path, caplog):  # noqa: F811
    good = [draw(tmp_path / f"{name}.jpg", size=(90, 70)) for name in "az"]
    half, text, none = (tmp_path / name for name in ("half.jpg", "text.png", "none.jpg"))
    half.write_bytes(good[0].read_bytes()[:400])
    text.write_text("no picture")
    os.mkfifo(tmp_path / "pipe.jpg") if hasattr(os, "mkfifo") else None
    out, masks = tmp_path / "out", []
    photos = [good[0], half, text, none, tmp_path / "pipe.jpg", good[1]]
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(OSError, match="4 of 6 could not be read and have no mask"),
    ):
        masks.extend(p.name for p in predict_files(photos, folder, out))
    assert masks == ["a.png", "z.png"]
    assert files_in(out) == ["a.png", "predictions.csv", "z.png"]
    assert pd.read_csv(out / "predictions.csv")["mask"].tolist() == ["a.png", "z.png"]
    for path, reason in ((half, "runcated"), (text, "cannot identify"), (none, "no such file")):
        (line,) = (r.message for r in caplog.records if f"not read: {path}: " in r.message)
        assert reason in line and line.count(str(path)) == 1


@pytest.mark.usefixtures("quick")
def test_what_was_done_before_a_stop_has_its_rows(folder, tmp_path):  # noqa: F811
    photos = [draw(tmp_path / f"{name}.jpg") for name in "ab"]
    stopped = predict_files(photos, folder, tmp_path / "out")
    next(stopped)
    with pytest.raises(KeyboardInterrupt):
        stopped.throw(KeyboardInterrupt)
    assert files_in(tmp_path / "out") == ["a.png", "predictions.csv"]


# --- names


def test_photos_of_one_stem_have_names_of_their_own():
    def names(*paths):
        return [p.as_posix() for p in name_masks({Path("/", p): Path(p) for p in paths})]

    assert names("a.jpg", "sub/a.jpg") == ["a.png", "sub/a.png"]
    assert names("a.jpg", "a.png", "b.jpg") == ["a.jpg.png", "a.png.png", "b.png"]
    assert names("a.jpg", "A.png") == ["a.jpg.png", "A.png.png"]  # one file on many disks
    assert names("v1.2", "no suffix") == ["v1.png", "no suffix.png"]
    with pytest.raises(ValueError, match="/a.jpg and /A.JPG would have one mask"):
        names("a.jpg", "A.JPG")
    with pytest.raises(ValueError, match="would have one mask, a.jpg.png"):
        names("a.jpg", "a.tif", "a.jpg.bmp")
    with pytest.raises(ValueError, match="give them by the folder above"):
        name_masks({Path("/one/a.jpg"): Path("a.jpg"), Path("/two/a.jpg"): Path("a.jpg")})


# --- what is never replaced


@pytest.mark.parametrize("where", [".", "sub/..", "link"])
def test_a_mask_never_replaces_its_photo(folder, photo, tmp_path, where, monkeypatch):  # noqa: F811
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = (tmp_path / "photo.png").read_bytes()
    for given in ("photo.png", str(tmp_path / "photo.png"), "link/photo.png"):
        with pytest.raises(ValueError, match="would replace the photo"):
            list(predict_files([given], folder, where))
    assert (tmp_path / "photo.png").read_bytes() == before


@pytest.mark.parametrize("link", [os.link, os.symlink])
@pytest.mark.parametrize("linked", ["photo", "mask"])
def test_a_link_to_a_photo_is_the_photo(folder, photo, tmp_path, link, linked):  # noqa: F811
    """A photo that is linked from elsewhere into the folder of the masks, or the other way round,
    under any name, and as the mask of another photo."""
    one, other = tmp_path / "photo.png", draw(tmp_path / "in" / "mask.jpg")
    (tmp_path / "out").mkdir()
    ends = (one, tmp_path / "out" / "mask.png")
    if linked == "photo":
        one.rename(ends[1])
        ends = ends[::-1]
    link(*ends)
    before = ends[0].read_bytes()
    with pytest.raises(ValueError, match="would replace the photo"):
        list(predict_files([other, one], folder, tmp_path / "out"))
    assert one.read_bytes() == ends[0].read_bytes() == before and ends[1].exists()


@pytest.mark.usefixtures("quick")
def test_a_file_of_somebody_else_stays(folder, tmp_path, monkeypatch):  # noqa: F811
    photo, out = draw(tmp_path / "a.jpg"), tmp_path / "out"  # noqa: F811
    second = draw(tmp_path / "b.jpg")
    loads = []
    monkeypatch.setattr(predict, "load_model", lambda *a: loads.append(a))
    foreign = {
        "b.png": lambda p: draw(p),
        "./b.png": lambda p: write_mask(p, np.zeros((2, 2), np.uint8)),  # of a run
        "predictions.csv": lambda p: p.write_text("photo,mask\nx.jpg,mine\n"),
        "a.png": lambda p: p.write_text("not even a picture"),
    }
    out.mkdir()
    for name, make in foreign.items():
        make(out / name)
        before, name = (out / name).read_bytes(), Path(name).name
        with pytest.raises(ValueError, match=f"{name} is there, and petweak predict did not"):
            list(predict_files([photo, second], folder, out))
        assert (out / name).read_bytes() == before and files_in(out) == [name]
        (out / name).unlink()
    (out / "a.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(ValueError, match="a.png is there"):
        list(predict_files([photo], folder, out))
    (out / "a.png").unlink()
    (out / "a.png").mkdir()
    with pytest.raises(ValueError, match="a.png is there"):
        list(predict_files([photo], folder, out))
    with pytest.raises(ValueError, match="a.jpg is a file, no folder"):
        list(predict_files([second], folder, photo))
    assert not loads


@pytest.mark.usefixtures("quick")
def test_a_file_that_comes_meanwhile_stays(folder, tmp_path):  # noqa: F811
    photos = [draw(tmp_path / f"{name}.jpg") for name in "ab"]
    masks = predict_files(photos, folder, tmp_path / "out")
    assert writer_of(next(masks)) == PREDICT
    mine = draw(tmp_path / "out" / "b.png")
    with pytest.raises(ValueError, match="b.png is there"):
        next(masks)
    assert not writer_of(mine) and (tmp_path / "out" / "predictions.csv").is_file()


@pytest.mark.usefixtures("quick")
def test_a_mask_that_was_edited_stays(folder, tmp_path):  # noqa: F811
    photos, out = [draw(tmp_path / "a.jpg")], tmp_path / "out"
    (mask,) = predict_files(photos, folder, out)
    (again,) = predict_files(photos, folder, out)  # its own is replaced
    assert again == mask
    with Image.open(mask) as image:
        about = PngInfo()
        for name, text in image.text.items():
            about.add_text(name, text)
        image = Image.fromarray(255 - np.asarray(image))
    image.save(mask, pnginfo=about)
    content = mask.read_bytes()
    with pytest.raises(ValueError, match="a.png was edited since petweak predict wrote it"):
        list(predict_files(photos, folder, out))
    assert mask.read_bytes() == content


def test_a_folder_that_cannot_be_written_to_is_told(folder, tmp_path, monkeypatch):  # noqa: F811
    photos = [draw(tmp_path / "a.jpg")]
    monkeypatch.setattr("petweak.data.files.os.access", lambda *_: False)
    with pytest.raises(PermissionError, match="out cannot be written to .* folder, --out"):
        list(predict_files(photos, folder, tmp_path / "out"))


def test_nothing_is_written_where_nothing_can_be_read(folder, tmp_path):  # noqa: F811
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(OSError, match="1 of 1 could not be read"):
        list(predict_files([tmp_path / "text.png"], folder, tmp_path / "out"))
    assert not (tmp_path / "out").exists()
