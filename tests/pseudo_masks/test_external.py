"""Masks from elsewhere: read and doubted as a set before any is used, several folders by name."""

from __future__ import annotations

import logging
import shutil

import numpy as np
import pytest
from conftest import small
from few import few_photos
from PIL import Image
from toy import HEIGHT, WIDTH, square, world

from petweak.__main__ import main
from petweak.data import files
from petweak.data.files import read_json
from petweak.data.masks import read_mask, write_mask
from petweak.data.oxford_pets import read_pets
from petweak.pseudo_masks import source_class, source_names
from petweak.pseudo_masks.external import External
from petweak.pseudo_masks.refinement import Pipeline
from petweak.pseudo_masks.store import make_masks
from petweak.study.results import run_study
from petweak.study.run import Run, reopen
from petweak.study.tables import study_overview
from petweak.visualization.style import palette

ROWS = (0, 127, 128, 129, 255)


@pytest.fixture
def stripes(tmp_path):
    """A folder with a PNG for each of two photos: black, 127, 128, 129, and white below."""
    (tmp_path / "pngs").mkdir()
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    mask[: len(ROWS)] = np.array(ROWS)[:, None]
    for name in ("pet_00", "pet_01"):
        Image.fromarray(mask).save(tmp_path / "pngs" / f"{name}.png")
    return tmp_path / "pngs"


def stripes_world(folder, stripes, n=2, **overrides):
    changes = dict(external_masks=str(stripes), external_foreground="soft") | overrides
    return world(folder, n=n, **changes)


def rows_of_masks(folder, stripes, **overrides) -> list[int]:
    context = stripes_world(folder, stripes, **overrides)
    make_masks(External(context), "external", ["pet_00", "pet_01"], folder / "masks", "key")
    mask = read_mask(folder / "masks" / "pet_01.png")
    assert mask.shape == (HEIGHT, WIDTH) and len(np.unique(mask[:5], axis=1)[0]) == 1
    return mask[:5, 0].tolist()


def test_128_is_ignored_and_the_rest_is_cut_at_a_half(tmp_path, stripes):
    assert rows_of_masks(tmp_path, stripes) == [0, 0, 128, 255, 255]


def test_a_band_that_is_set_takes_its_place(tmp_path, stripes):
    assert rows_of_masks(tmp_path, stripes, ignore_band=(0.1, 0.9)) == [0, 128, 128, 128, 255]


def test_after_refinement_128_is_a_probability(tmp_path, stripes):
    source = External(stripes_world(tmp_path, stripes))
    assert source.ignore_band() != ()
    source.pipeline = Pipeline(("pamr",), source.context)
    assert source.ignore_band() == ()


def test_what_is_missing_or_unclear_is_named_before_any_mask_is_written(tmp_path, stripes):
    with pytest.raises(ValueError, match="external_masks='' is not set.*external_masks=FOLDER"):
        External.check(world(tmp_path).settings)
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        External.check(world(tmp_path, external_masks="nowhere").settings)
    context = stripes_world(tmp_path, stripes, n=4)
    with pytest.raises(FileNotFoundError, match=r"lacks the masks of pet_02, pet_03 \(2\)"):
        External(context).check_files()
    context = stripes_world(tmp_path, stripes, external_foreground="auto")
    with pytest.raises(ValueError, match=r"pngs: .*values found: 0, 127, 128, 129, 255\. Say by"):
        make_masks(External(context), "external", ["pet_00"], tmp_path / "masks", "key")
    assert not list((tmp_path / "masks").glob("*.png"))


def test_the_key_follows_the_files_and_reads_each_once(tmp_path, stripes, monkeypatch):
    settings, read = world(tmp_path, external_masks=str(stripes)).settings, []
    digest = files.hashlib.file_digest
    monkeypatch.setattr(
        files.hashlib, "file_digest", lambda f, *a: read.append(f.name) or digest(f, *a)
    )
    keys = [External.depends_on(settings) for _ in range(5)]
    assert keys[1:] == keys[:1] * 4 and len(read) == 2
    shutil.copy(stripes / "pet_00.png", stripes / "pet_02.PNG")
    assert External.depends_on(settings) != keys[0] and len(read) == 3
    told = settings.replace(external_foreground="soft")
    assert External.depends_on(told) != External.depends_on(settings)


def test_the_manifest_says_how_masks_were_read_and_doubts_are_logged(tmp_path, caplog):
    """Labels 1 of cats and 2 of dogs; in the last of five masks they are exchanged with 0."""
    (tmp_path / "pngs").mkdir()
    context = world(tmp_path, n=5, external_masks=str(tmp_path / "pngs"))
    for i, image_id in enumerate(context.photo_paths):
        inside = np.zeros((HEIGHT, WIDTH), bool)
        inside[10:30, 14:42] = True
        label = (inside if i < 4 else ~inside) * (1 + i % 2)
        Image.fromarray(label.astype(np.uint8)).save(tmp_path / "pngs" / f"{image_id}.png")
    source = External(context)
    with caplog.at_level(logging.WARNING, "petweak"):
        source.check_files()
    note = make_masks(source, "external", list(context.photo_paths), tmp_path / "masks", "key")
    assert note["read_as"] == "grey: 1, 2 is foreground"
    (doubt,) = note["doubts"]
    assert "exchanged in 1 of 5 masks" in doubt and "pet_04 (1)" in doubt
    assert doubt in caplog.text
    assert note == read_json(tmp_path / "masks" / "manifest.json")
    assert np.array_equal(read_mask(tmp_path / "masks" / "pet_03.png") == 255, inside)


# --- several folders, each a source of its own


def two(tmp_path, **overrides):
    """Masks of squares: in `a` of the labels 0 and 3, in `b` black where the square is."""
    for name, values in (("a", (0, 3)), ("b", (255, 0))):
        (tmp_path / name).mkdir(exist_ok=True)
        for i in ("pet_00", "pet_01"):
            mask = np.where(square(i).numpy() > 0, values[1], values[0]).astype(np.uint8)
            Image.fromarray(mask).save(tmp_path / name / f"{i}.png")
    changes = dict(external_masks=f"a={tmp_path / 'a'}, b_2={tmp_path / 'b'}",
                   external_foreground="b_2=below:128") | overrides
    return world(tmp_path, n=2, **changes)


def test_each_folder_is_a_source_by_its_name(tmp_path):
    context = two(tmp_path)
    names = source_names(context.settings)
    assert names[-2:] == ["external_a", "external_b_2"] and "external" not in names
    for name in names[-2:]:
        source = source_class(name)(context)
        assert source_class(name) is source_class(name) and isinstance(source, External)
        soft = source.probabilities(context.batch(["pet_00", "pet_01"]))
        assert [s.tolist() for s in soft] == [square(i).tolist() for i in ("pet_00", "pet_01")]
    assert source_names(small())[-1] == "imagenet_only"
    assert source_names(small(external_masks="x"))[-1] == "external"


def test_a_folders_content_moves_its_own_key_alone(tmp_path):
    settings = two(tmp_path).settings
    a, b = source_class("external_a"), source_class("external_b_2")
    before = a.depends_on(settings), b.depends_on(settings)
    (tmp_path / "b" / "pet_00.png").unlink()
    assert a.depends_on(settings) == before[0] and b.depends_on(settings) != before[1]
    told = settings.replace(external_foreground="b_2=0")
    assert a.depends_on(told) == before[0] and b.depends_on(told) != b.depends_on(settings)


@pytest.mark.parametrize("source, changes, says", [
    ("external_c", {}, "external_masks='a=.* is for external_a, external_b_2: .*c=FOLDER"),
    ("external", {}, "is for external_a, external_b_2: .*external_masks=FOLDER"),
    ("external_a", dict(external_masks=""), "is not set.*external_masks=a=FOLDER"),
    ("external_a", dict(external_foreground="d=1"), "external_foreground names external_d, and"),
    ("other", {}, "unknown source 'other'"),
])
def test_a_name_without_a_folder_is_refused(source, changes, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        source_class(source).check(two(tmp_path, **changes).settings)


@pytest.fixture(scope="module")
def labelled(rendered, tmp_path_factory):
    """A data root of 12 photos and two folders of masks: the trimaps, and boxes of label 2."""
    top = tmp_path_factory.mktemp("named")
    few_photos(rendered, top)
    for s in read_pets(top).samples:
        with Image.open(s.photo) as photo:
            w, h = photo.size
        box = np.zeros((h, w), np.uint8)
        box[h // 5 : -h // 5, w // 5 : -w // 5] = 2
        write_mask(top / "boxes" / f"{s.id}.png", box)
        (top / "trimaps").mkdir(exist_ok=True)
        shutil.copy(s.trimap, top / "trimaps" / f"{s.id}.png")
    return top


def test_a_study_of_named_folders(labelled, monkeypatch, capsys):
    """From the command line, with paths that count from where the user stands."""
    where = labelled / "here"
    where.mkdir()
    monkeypatch.chdir(where)
    command = ["--data-root", "..", "--run", "run", "--set", "image_size=64", "decoder_channels=8",
               "epochs=1", "bootstrap=10", "engine=eager",
               "external_masks=tri=../trimaps,box=../boxes"]
    assert main(["masks", "external_box", *command]) == 0
    assert "read as grey: 2 is foreground" in capsys.readouterr().out
    source = ["--source", "external_tri", "--labels", "species"]
    assert main(["train", *source, *command]) == 0
    sources = ("external_tri", "external_box")
    results = run_study(Run("run", "..", reopen(where / "run").settings.replace(
        sources=sources, labels="species")))
    assert tuple(dict.fromkeys(results["source"]))[-2:] == sources
    same = results.query("source == 'external_tri' and metric == 'pseudo_iou_gt'")
    assert same[same["border"] == "ignore"]["value"].eq(1).all()
    for source in sources:
        assert (where / "run" / "masks" / source / "manifest.json").is_file()
        assert (where / "run" / "models" / f"{source}-species" / "config.json").is_file()
    assert set(study_overview(results)["source"]) >= set(sources)
    assert len(set(palette(sources).values())) == len(palette(sources))


def test_bad_masks_stop_a_study_before_the_pass_of_the_backbone(labelled, tmp_path, monkeypatch):
    shutil.copytree(labelled / "boxes", tmp_path / "boxes")
    for file in (tmp_path / "boxes").iterdir():
        write_mask(file, np.zeros((4, 4), np.uint8))
    monkeypatch.setattr("petweak.study.run.extract_features", lambda *a: pytest.fail("a pass"))
    study = Run(tmp_path / "run", labelled,
                small(sources="ground_truth,external", external_masks=str(tmp_path / "boxes")))
    with pytest.raises(ValueError, match="boxes: all masks have no foreground"):
        run_study(study)
    assert not (tmp_path / "run" / "masks" / "external").exists()
