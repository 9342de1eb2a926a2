"""Every entry of SOURCES, on the rendered set: the contract, and that none sees ground truth."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from conftest import small
from PIL import Image

from petweak.pseudo_masks import SOURCES, source_named
from petweak.pseudo_masks.store import read_mask, to_mask
from petweak.study import Run


@pytest.fixture(scope="module")
def world(rendered, tmp_path_factory):
    """A data root of its own, whose trimaps a test may delete; a run with masks of ground truth
    copied into a folder for `external`."""
    root = tmp_path_factory.mktemp("sources")
    shutil.copytree(rendered, root / "data")
    run = Run(root / "run", root / "data", small(sources=("ground_truth",)))
    run.masks("ground_truth")
    run.features  # noqa: B018 - made here, once for the module
    shutil.copytree(run.masks_folder("ground_truth"), root / "pngs")
    return root


def open_run(world, **overrides) -> Run:
    return Run(
        world / "run", world / "data", small(external_masks=str(world / "pngs"), **overrides)
    )


@pytest.mark.parametrize("name", SOURCES)
def test_contract(world, name):
    run = open_run(world)
    source = run.source(name)
    source.fit()
    ids = [s.id for s in run.pets.samples][: source.batch_size]
    with torch.no_grad():
        soft = source.probabilities(run.context.batch(ids))
    assert soft.ndim == 3 and len(soft) == len(ids)
    assert torch.isfinite(soft).all() and 0 <= soft.min() and soft.max() <= 1
    assert source.threshold() == "otsu" or 0 < source.threshold() < 1


@pytest.mark.parametrize("name", SOURCES)
def test_masks_are_pngs_of_the_photos_sizes(world, name):
    run = open_run(world)
    made = run.masks(name)
    assert made["ids"] == [s.id for s in run.pets.samples]
    for s in run.pets.samples[::20]:
        mask = read_mask(run.masks_folder(name) / f"{s.id}.png")
        with Image.open(s.photo) as photo:
            assert mask.shape == photo.size[::-1] and set(np.unique(mask)) <= {0, 255}


def test_ground_truth_is_exact(world):
    run = open_run(world)
    figures = {(r["split"], r["border"]): r["value"] for r in run.mask_scores("ground_truth").rows}
    assert figures["test", "pet"] == figures["train", "pet"] == 1.0
    assert figures["test", "background"] < 1.0


@pytest.mark.parametrize("name", [n for n in SOURCES if n != "ground_truth"])
def test_no_other_source_needs_the_trimaps(world, tmp_path, name):
    """Take the trimaps away after the lists were read: the same masks, byte for byte."""
    run = open_run(world)
    run.masks(name)
    with_trimaps = run.masks_folder(name)
    shutil.copytree(world / "data", tmp_path / "data")
    blind = Run(tmp_path / "run", tmp_path / "data", run.settings)
    assert len(blind.pets) == len(run.pets)
    shutil.rmtree(tmp_path / "data" / "oxford-iiit-pet" / "annotations" / "trimaps")
    blind.masks(name)
    for s in run.pets.samples:
        file = f"{s.id}.png"
        assert (blind.masks_folder(name) / file).read_bytes() == (with_trimaps / file).read_bytes()


def test_ground_truth_does_need_them(world, tmp_path):
    shutil.copytree(world / "data", tmp_path / "data")
    run = Run(tmp_path / "run", tmp_path / "data", small())
    run.pets  # noqa: B018 - read while the trimaps are there
    shutil.rmtree(tmp_path / "data" / "oxford-iiit-pet" / "annotations" / "trimaps")
    with pytest.raises(FileNotFoundError):
        run.masks("ground_truth")


def test_an_ignored_border_is_128_in_the_masks_of_ground_truth(world, tmp_path):
    run = Run(tmp_path / "run", world / "data", small(border="ignore"))
    run.masks("ground_truth")
    sample = run.pets.samples[0]
    from petweak.data.pets import load_trimap

    mask, trimap = (
        read_mask(run.masks_folder("ground_truth") / f"{sample.id}.png"),
        load_trimap(sample.trimap),
    )
    assert np.array_equal(mask, np.select([trimap == 1, trimap == 3], [255, 128], 0))


def test_128_in_masks_from_elsewhere_stays_unsure(world, tmp_path):
    """Black, 127, 128, 129 and white in stripes; the threshold has no say in 128."""
    shutil.copytree(world / "pngs", tmp_path / "pngs")
    run = Run(tmp_path / "run", world / "data", small(external_masks=str(tmp_path / "pngs")))
    sample = run.pets.samples[0]
    height, width = read_mask(world / "pngs" / f"{sample.id}.png").shape
    mask = np.full((height, width), 255, np.uint8)
    mask[0], mask[1], mask[2], mask[3] = 0, 127, 128, 129
    Image.fromarray(mask).save(tmp_path / "pngs" / f"{sample.id}.png")
    run.masks("external")
    found = read_mask(run.masks_folder("external") / f"{sample.id}.png")
    assert [np.unique(row).tolist() for row in found[:5]] == [[0], [0], [128], [255], [255]]
    other = run.pets.samples[1].id
    kept = read_mask(run.masks_folder("external") / f"{other}.png")
    assert np.array_equal(kept, read_mask(world / "pngs" / f"{other}.png"))
    # a band that was asked for goes before
    wide = Run(tmp_path / "wide", world / "data",
               small(external_masks=str(tmp_path / "pngs"), unsure=(0.1, 0.9)))  # fmt: skip
    wide.masks("external")
    found = read_mask(wide.masks_folder("external") / f"{sample.id}.png")
    assert [np.unique(row).tolist() for row in found[:5]] == [[0], [128], [128], [128], [255]]


def test_unknown_and_incomplete_sources_are_refused(world, tmp_path):
    with pytest.raises(ValueError, match="known are ground_truth, mask_rcnn"):
        source_named("grabcut")
    with pytest.raises(ValueError, match="external_masks"):
        Run(tmp_path / "run", world / "data", small(sources="external"))
    (tmp_path / "empty").mkdir()
    run = Run(tmp_path / "run", world / "data", small(external_masks=str(tmp_path / "empty")))
    with pytest.raises(FileNotFoundError, match="needs a PNG for every photo"):
        run.masks("external")


def test_a_source_that_breaks_the_contract_is_named(world, tmp_path, monkeypatch):
    class Loud(SOURCES["external"]):
        settings = ()

        def depends_on(self):
            return {}

        def probabilities(self, batch):
            return torch.full((len(batch.ids), 4, 4), 2.0)

    monkeypatch.setitem(SOURCES, "loud", Loud)
    run = Run(tmp_path / "run", world / "data", small())
    with pytest.raises(ValueError, match="source loud: values outside"):
        run.masks("loud")


def test_to_mask_brings_a_map_to_the_photos_size_and_decides():
    soft = torch.tensor([[0.0, 1.0]])
    assert np.array_equal(to_mask(soft, (2, 4), 0.5), [[0, 0, 255, 255]] * 2)
    unsure = to_mask(soft, (1, 4), 0.5, unsure=(0.1, 0.9))
    assert np.array_equal(unsure, [[0, 128, 128, 255]])
