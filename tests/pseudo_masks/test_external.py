"""Masks from elsewhere: 128 stays "ignore", a missing PNG is named, the key follows the files."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image
from toy import HEIGHT, WIDTH, world

from petweak.data import files
from petweak.data.masks import read_mask
from petweak.pseudo_masks.external import External
from petweak.pseudo_masks.refinement import Pipeline
from petweak.pseudo_masks.store import make_masks

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


def rows_of_masks(folder, stripes, **overrides) -> list[int]:
    context = world(folder, n=2, external_masks=str(stripes), **overrides)
    make_masks(External(context), "external", ["pet_00", "pet_01"], folder / "masks", "key")
    mask = read_mask(folder / "masks" / "pet_01.png")
    assert mask.shape == (HEIGHT, WIDTH) and len(np.unique(mask[:5], axis=1)[0]) == 1
    return mask[:5, 0].tolist()


def test_128_is_ignored_and_the_rest_is_cut_at_a_half(tmp_path, stripes):
    assert rows_of_masks(tmp_path, stripes) == [0, 0, 128, 255, 255]


def test_a_band_that_is_set_takes_its_place(tmp_path, stripes):
    assert rows_of_masks(tmp_path, stripes, ignore_band=(0.1, 0.9)) == [0, 128, 128, 128, 255]


def test_after_refinement_128_is_a_probability(tmp_path, stripes):
    source = External(world(tmp_path, external_masks=str(stripes)))
    assert source.ignore_band() != ()
    source.pipeline = Pipeline(("pamr",), source.context)
    assert source.ignore_band() == ()


def test_what_is_missing_or_of_other_values_is_named(tmp_path, stripes):
    with pytest.raises(ValueError, match="external_masks='' is not a folder"):
        External.check(world(tmp_path).settings)
    source = External(world(tmp_path, external_masks=str(stripes)))
    with pytest.raises(FileNotFoundError, match="pet_02.png is missing.*every photo"):
        source.probabilities(source.context.batch(["pet_02"]))
    Image.fromarray(np.eye(9, dtype=np.uint8)).save(stripes / "pet_02.png")
    with pytest.raises(ValueError, match="foreground is 255"):
        source.probabilities(source.context.batch(["pet_02"]))


def test_the_key_follows_the_files_and_reads_each_once(tmp_path, stripes, monkeypatch):
    settings, read = world(tmp_path, external_masks=str(stripes)).settings, []
    digest = files.hashlib.file_digest
    monkeypatch.setattr(
        files.hashlib, "file_digest", lambda f, *a: read.append(f.name) or digest(f, *a)
    )
    keys = [External.depends_on(settings) for _ in range(5)]
    assert keys[1:] == keys[:1] * 4 and len(read) == 2
    shutil.copy(stripes / "pet_00.png", stripes / "pet_02.png")
    assert External.depends_on(settings) != keys[0] and len(read) == 3
