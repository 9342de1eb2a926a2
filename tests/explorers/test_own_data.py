"""Explorers on a set of one's own: photos without trimaps, names with markup, missing pieces."""

from __future__ import annotations

import io
import shutil

import numpy as np
import pytest
from conftest import small
from explored import control, texts
from few import few_photos
from PIL import Image

from petweak.explorers import cam_explorer, maskformer_explorer, photo_explorer, results_explorer
from petweak.explorers.photo import open_photo
from petweak.study.results import run_study
from petweak.study.run import Run, reopen

EXPLORERS = (cam_explorer, maskformer_explorer, photo_explorer, results_explorer)
SETTINGS = dict(sources="ground_truth,gradcam_pretrained", labels="species", threshold="0.4")
BREED = "<script>x&amp;"  # a name that means something else in HTML


@pytest.fixture(scope="module")
def own(rendered, tmp_path_factory) -> Run:
    """A finished study of four breeds, one of them called BREED; half of the trimaps are gone."""
    root = few_photos(rendered, tmp_path_factory.mktemp("own"))
    folder = root / "oxford-iiit-pet"
    first = (folder / "annotations" / "test.txt").read_text().split("_")[0]
    for file in folder.rglob(f"{first}_*.*"):
        file.rename(file.with_name(file.name.replace(first, BREED)))
    for file in folder.glob("annotations/*.txt"):
        file.write_text(file.read_text().replace(first, BREED))
    for file in sorted((folder / "annotations" / "trimaps").iterdir())[::2]:
        file.unlink()
    run = Run(tmp_path_factory.mktemp("run") / "run", root, small(**SETTINGS))
    run_study(run)
    return run


def markup(box) -> str:
    """All that is HTML in the box, with every photo and breed shown once."""
    shown = [texts(box)]
    for name in ("photo", "breed"):
        if menu := control(box, name):
            for i in range(len(menu.options)):
                menu.index = i
                shown.append(texts(box))
    return "\n".join(shown)


def test_names_are_text_and_photos_without_trimaps_are_shown(own):
    assert BREED in own.pets.breeds
    without = [s.id for s in own.pets.samples if s.trimap is None]
    assert 0 < len(without) < len(own.pets)
    shown = {explorer: markup(explorer(own)) for explorer in EXPLORERS}
    assert all("<script" not in page and "it failed" not in page for page in shown.values())
    assert "&lt;script&gt;x&amp;amp;" in shown[cam_explorer]
    box = cam_explorer(own)
    for image_id, words in ((without[0], "no trimap: no IoU"), (None, "the trimap's border")):
        control(box, "photo").value = image_id or next(s.id for s in own.pets.samples if s.trimap)
        assert words in texts(box) and texts(box).count("<img") == 2
    breeds = [name for _, name in control(results_explorer(own), "breed").options]
    assert breeds == list(dict.fromkeys(breeds)) and set(breeds) == {
        s.breed_name for s in own.pets.split("test") if s.trimap
    }


def test_no_trimap_at_all(rendered, tmp_path):
    root = few_photos(rendered, tmp_path)
    shutil.rmtree(root / "oxford-iiit-pet" / "annotations" / "trimaps")
    run = Run(tmp_path / "run", root, small(**SETTINGS | {"sources": "gradcam_pretrained"}))
    run_study(run)
    for explorer in EXPLORERS:
        page = markup(explorer(run))
        assert page and "it failed" not in page and "Error" not in page
    assert "no trimap: no IoU" in texts(cam_explorer(run))


def test_the_name_of_an_upload_is_text(own, tmp_path):
    name = "<script>alert(1)<.png"
    Image.new("RGB", (50, 40), "blue").save(own.folder / name)
    box = photo_explorer(own)
    control(box, "or a path").value = str(own.folder / name)
    assert "<script" not in texts(box) and "&lt;script&gt;alert(1)&lt;.png" in texts(box)
    control(box, "or a path").value = "<script>"
    assert "<script" not in texts(box)


@pytest.mark.parametrize("gone", ["data", "models/ground_truth-species/model.safetensors",
                                  "features", "masks", "models", "results.csv",
                                  "masks/gradcam_pretrained/manifest.json"])  # fmt: skip
def test_what_a_run_lacks_is_one_line(own, tmp_path, gone):
    shutil.copytree(own.folder, tmp_path / "run")
    shutil.copytree(own.data_root, tmp_path / "data")
    Run(tmp_path / "run", tmp_path / "data", own.settings).write_about(own.pets)
    lost = tmp_path / gone if gone == "data" else tmp_path / "run" / gone
    shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
    for explorer in EXPLORERS:
        box = explorer(reopen(tmp_path / "run"))
        page = texts(box)
        assert page and "Traceback" not in page and "it failed" not in page
        if gone == "data":
            assert "trainval.txt" in page and "\n" not in page.strip()


def test_a_file_that_goes_while_the_explorer_is_open_is_one_line(own, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(own.data_root, root)
    shutil.copytree(own.folder, tmp_path / "run")
    run = Run(tmp_path / "run", root, own.settings)
    for explorer in (cam_explorer, maskformer_explorer):
        box = explorer(run)
        menu = control(box, "photo")
        photo = run.pets.sample(menu.options[1]).photo
        content = photo.read_bytes()
        photo.unlink()
        menu.index = 1
        assert photo.name.split("_")[0].replace("<", "&lt;")[:6] in texts(box)
        assert "No such file" in texts(box)
        photo.write_bytes(content)
        menu.index = 2
        assert "No such file" not in texts(box)


def test_an_upload_of_16_bits_keeps_its_picture_and_heic_has_a_way_out(own):
    ramp, out = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16), io.BytesIO()
    Image.fromarray(ramp).save(out, "PNG")
    pixels = np.asarray(open_photo(out.getvalue()))
    assert pixels.shape == (48, 64, 3) and np.ptp(pixels) == 255
    assert abs(pixels.mean() - 127.5) < 2
    with pytest.raises(ValueError, match="as a picture: is HEIC.* convert it to JPEG"):
        open_photo(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 40)
