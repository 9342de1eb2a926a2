"""What trimaps and the labels of test may reach, for every source that there is: scores, and the
masks of those that say they read trimaps. All else is the same to the bit."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from conftest import ROUNDS, small
from few import few_photos
from PIL import Image
from safetensors.numpy import load_file

from petweak.data import oxford_pets
from petweak.data.files import write_json
from petweak.data.oxford_pets import SPLITS, load_trimap
from petweak.pseudo_masks import SOURCES, source_class
from petweak.study.run import FEATURES_FROM, Run
from petweak.training.inference import load_model, predict_features

LABELS = "species"  # every source has them
# `mask_rcnn` is `mask_rcnn_compact` with a detector that cannot be had everywhere (test_sources).
HERE = [name for name in SOURCES if name != "mask_rcnn"]


@pytest.fixture(scope="module")
def data(rendered, tmp_path_factory) -> Path:
    """A data root of six photos, with masks for `external` beside it."""
    root = few_photos(rendered, tmp_path_factory.mktemp("leaks"), breeds=2)
    run = Run(root / "masks", root, small())
    run.masks("ground_truth")
    run.features  # noqa: B018 - once for all runs
    shutil.copytree(run.masks_folder("ground_truth"), root / "pngs")
    return root


def shuffled(trimaps: dict[str, np.ndarray], sizes: dict[str, tuple]) -> dict[str, np.ndarray]:
    """Each photo gets that of another one, upside down, at its own size."""
    others = dict(zip(trimaps, [*list(trimaps)[1:], list(trimaps)[0]], strict=True))
    turned = {i: Image.fromarray(np.flipud(trimaps[k])) for i, k in others.items()}
    return {i: np.asarray(t.resize(sizes[i], Image.Resampling.NEAREST)) for i, t in turned.items()}


def retold(data: Path, to: Path, how: str, split: str = "") -> Path:
    """A copy of the data set whose trimaps, of one split or of all, are `shuffled` or `removed`."""
    shutil.copytree(data / "oxford-iiit-pet", to / "oxford-iiit-pet")
    samples = [s for s in oxford_pets.read_pets(to).samples if s.split == split or not split]
    trimaps = {s.id: load_trimap(s.trimap) for s in samples}
    new = shuffled(trimaps, {i: t.shape[::-1] for i, t in trimaps.items()})
    for s in samples:
        s.trimap.unlink()
        if how == "shuffled":
            Image.fromarray(new[s.id]).save(s.trimap)
            assert (new[s.id] != trimaps[s.id]).any()
    return to


def open_run(folder: Path, root: Path, data: Path) -> Run:
    settings = small(**ROUNDS).replace(external_masks=str(data / "pngs"))
    write_json(folder / FEATURES_FROM, [str(data / "masks" / "features")])
    return Run(folder, root, settings)


def tensors(run: Run, name: str, split: str = "") -> dict[str, bytes]:
    """The masks, the model and its predictions for every photo (the masks of one split)."""
    run.masks(name)
    model = run.model(name, LABELS)
    found = {f"mask {s.id}": (run.masks_folder(name) / f"{s.id}.png").read_bytes()
             for s in run.pets.samples if s.split == split or not split}
    found |= {k: v.tobytes() for k, v in load_file(model / "model.safetensors").items()}
    for i, p in predict_features(load_model(model), run.features, sorted(run.ids)):
        found[f"prediction {i}"] = p.soft.tobytes() + p.classes.tobytes()
    return found


@pytest.fixture(scope="module")
def made(data, tmp_path_factory):
    """(run, tensors) of a source with the data as they are, made once."""

    @cache
    def of(name: str) -> tuple[Run, dict[str, bytes]]:
        run = open_run(tmp_path_factory.mktemp(name) / "run", data, data)
        return run, tensors(run, name)

    return of


def files(run: Run) -> dict[str, tuple[int, int]]:
    """{file: (size, time)} of the masks and models."""
    found = (p for top in ("masks", "models") for p in (run.folder / top).rglob("*"))
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in found
            if p.is_file() and not p.name.startswith("scores")}


@pytest.mark.parametrize("name", HERE)
def test_trimaps_change_scores_and_the_sources_that_read_them_and_nothing_else(
    data, made, tmp_path, name
):
    run, expected = made(name)
    before = files(run)
    other = retold(data, tmp_path / "shuffled", "shuffled")
    if source_class(name).reads_trimaps:
        changed = tensors(open_run(tmp_path / "anew", other, data), name)
        assert changed.keys() == expected.keys()
        assert sum(changed[k] != expected[k] for k in expected if k.startswith("mask")) > 3
        return
    roots = {"shuffled": other, "removed": retold(data, tmp_path / "removed", "removed")}
    for how, root in roots.items():
        again = open_run(run.folder, root, data)  # the same keys: nothing is made again
        assert tensors(again, name) == expected and files(again) == before, how
        assert tensors(open_run(tmp_path / f"anew {how}", root, data), name) == expected, how
    scores, others = (r.baseline_scores("centre_box").photos.set_index("id")["iou/foreground"]
                      for r in (run, open_run(run.folder, other, data)))
    assert (scores != others).sum() > 3  # which do read trimaps


@pytest.mark.parametrize("how", ["shuffled", "removed"])
@pytest.mark.parametrize("name", [n for n in HERE if source_class(n).reads_trimaps])
def test_trimaps_of_test_change_no_tensor_of_sources_that_read_them(
    data, made, tmp_path, name, how
):
    """Masks of train, models and predictions; the masks of test are those trimaps."""
    expected = tensors(made(name)[0], name, "train")
    root = retold(data, tmp_path / "data", how, "test")
    assert tensors(open_run(tmp_path / "anew", root, data), name, "train") == expected


@pytest.mark.parametrize("name", HERE)
def test_labels_of_test_change_no_tensor(data, made, tmp_path, monkeypatch, name):
    _, expected = made(name)
    read = oxford_pets.read_pets

    def relabelled(root):
        """Every photo of test has the classes of another one, of the other species if it can."""
        pets = read(root)
        test = [s for s in pets.samples if s.split != "train"]
        by_species = sorted(test, key=lambda s: s.species)
        dealt = dict(zip((s.id for s in by_species), reversed(by_species), strict=True))
        new = tuple(s if s.id not in dealt else replace(
            s, breed=dealt[s.id].breed, species=dealt[s.id].species,
            breed_name=dealt[s.id].breed_name) for s in pets.samples)
        assert sum(a.label(LABELS) != b.label(LABELS)
                   for a, b in zip(new, pets.samples, strict=True)) > 1
        return replace(pets, samples=new)

    monkeypatch.setattr(oxford_pets, "read_pets", relabelled)
    assert set(SPLITS) == {"train", "test"}
    assert tensors(open_run(tmp_path / "anew", data, data), name) == expected
