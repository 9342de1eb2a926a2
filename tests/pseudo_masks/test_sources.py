"""Every entry of SOURCES, on rendered pets: the contract, and that no other one sees ground
truth."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from conftest import small
from PIL import Image
from toy import register

from petweak.data.masks import read_mask
from petweak.data.oxford_pets import load_trimap
from petweak.models import mask_rcnn_compact, weights
from petweak.pseudo_masks import SOURCES, mask_rcnn, source_class
from petweak.pseudo_masks.base import Source
from petweak.study.run import Run

KEPT = ("1", "3")  # class ids of two breeds: six photos


def shrink(rendered, root):
    """A data root of two breeds, whose files a test may delete."""
    for folder in ("annotations/trimaps", "images"):
        (root / "oxford-iiit-pet" / folder).mkdir(parents=True)
    for name in ("trainval.txt", "test.txt"):
        path = rendered / "oxford-iiit-pet" / "annotations" / name
        lines = [
            x
            for x in path.read_text().splitlines()
            if not x.startswith("#") and x.split()[1] in KEPT
        ]
        (root / "oxford-iiit-pet" / "annotations" / name).write_text("\n".join(lines) + "\n")
        for file in (
            f
            for x in lines
            for f in (f"images/{x.split()[0]}.jpg", f"annotations/trimaps/{x.split()[0]}.png")
        ):
            shutil.copy(rendered / "oxford-iiit-pet" / file, root / "oxford-iiit-pet" / file)
    return root


@pytest.fixture(scope="module")
def folder(rendered, tmp_path_factory):
    """The data, a run on them, and its masks of ground truth copied for `external`."""
    root = tmp_path_factory.mktemp("sources")
    run = Run(root / "run", shrink(rendered, root / "data"), small(sources=("ground_truth",)))
    run.masks("ground_truth")
    run.features  # noqa: B018 - once for the module
    shutil.copytree(run.masks_folder("ground_truth"), root / "pngs")
    return root


@pytest.fixture(autouse=True, scope="module")
def detector():
    """COCO's weights cannot be had: the compact detector stands for torchvision's, at its
    interface."""
    with pytest.MonkeyPatch.context() as patch:
        load = mask_rcnn.load_detector
        patch.setattr(mask_rcnn, "load_detector", lambda name: load("compact"))
        yield


def open_run(folder, **overrides) -> Run:
    changes = dict(external_masks=str(folder / "pngs"), refinement="pamr") | overrides
    return Run(folder / "run", folder / "data", small(**changes))


@pytest.mark.parametrize("name", SOURCES)
def test_contract(folder, name):
    run = open_run(folder)
    source = run.source(name)
    source.fit()
    batch = run.context.batch(list(run.ids[: source.batch_size]))
    with torch.no_grad():
        soft = source.probabilities(batch)
    assert soft.ndim == 3 and len(soft) == len(batch.ids) and soft.device.type == "cpu"
    assert torch.isfinite(soft).all() and 0 <= soft.min() and soft.max() <= 1
    assert source.threshold() == "otsu" or 0 < source.threshold() < 1
    if source.views:
        with torch.no_grad():
            straight, mirror = source.view(batch.view(False)), source.view(batch.view(True))
        right, wrong = ((m - straight).abs().mean() for m in (mirror.flip(-1), mirror))
        assert right < wrong, "the view is not in its own frame"
    predicted = source.image_labels()
    assert predicted is None or (set(predicted) == set(run.ids) and source.labels == ("species",))


@pytest.mark.parametrize("name", SOURCES)
def test_masks_have_the_photos_sizes_and_need_no_trimap_but_those_of_ground_truth(
    folder, tmp_path, name
):
    """Take the trimaps away after the lists were read: the same masks, byte for byte."""
    run = open_run(folder)
    manifest = run.masks(name)
    assert manifest["ids"] == list(run.ids) == list(manifest["confidence"])
    for s in run.pets.samples:
        mask = read_mask(run.masks_folder(name) / f"{s.id}.png")
        with Image.open(s.photo) as photo:
            assert mask.shape == photo.size[::-1] and set(np.unique(mask)) <= {0, 255}
    shutil.copytree(folder / "data", tmp_path / "data")
    blind = Run(tmp_path / "run", tmp_path / "data", run.settings)
    assert len(blind.pets) == len(run.pets)
    shutil.rmtree(tmp_path / "data" / "oxford-iiit-pet" / "annotations" / "trimaps")
    if source_class(name).reads_trimaps:
        with pytest.raises(FileNotFoundError):
            blind.masks(name)
        return
    blind.masks(name)
    for i in run.ids:
        one, other = (r.masks_folder(name) / f"{i}.png" for r in (run, blind))
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("border, value", [("foreground", 255), ("ignore", 128), ("background", 0)])
def test_ground_truth_is_the_trimap_with_its_border_as_set(folder, tmp_path, border, value):
    run = Run(tmp_path / "run", folder / "data", small(border=border))
    run.masks("ground_truth")
    for s in run.pets.samples[:2]:
        trimap = load_trimap(s.trimap)
        expected = np.select([trimap == 1, trimap == 3], [255, value], 0)
        assert (trimap == 3).any()
        assert np.array_equal(read_mask(run.masks_folder("ground_truth") / f"{s.id}.png"), expected)


def test_the_detectors_union_is_of_pets_above_the_score(folder):
    """Three detections by hand: a dog, a cat below `score_threshold`, a person."""
    run = open_run(folder)
    source = run.source("mask_rcnn")
    source.pets, masks = mask_rcnn.COCO_PETS, torch.zeros(3, 1, 9, 9)
    masks[0, 0, :3], masks[1, 0, 3:6], masks[2, 0, 6:] = 0.7, 0.9, 1.0
    found = {
        "labels": torch.tensor([18, 17, 1]),
        "scores": torch.tensor([0.9, 0.4, 0.99]),
        "masks": masks,
    }
    source._model = lambda photos: [found]
    soft = source.probabilities(run.context.batch([run.ids[0]]))
    assert torch.equal(soft[0], masks[0, 0])
    source.context = run.context.replace(run.settings.replace(score_threshold=0.3))
    soft = source.probabilities(run.context.batch([run.ids[0]]))
    assert torch.equal(soft[0], masks[:2, 0].amax(0))
    found["labels"] = torch.tensor([1, 1, 1])
    assert source.probabilities(run.context.batch([run.ids[0]])).sum() == 0


def test_mask_rcnn_compact_is_mask_rcnn_with_another_detector():
    """So what holds for one holds for the other, whose weights cannot be had everywhere."""
    compact, full = mask_rcnn.MaskRCNNCompact, mask_rcnn.MaskRCNN
    assert compact.__bases__ == (full,)
    assert vars(compact).keys() - vars(type("New", (full,), {})).keys() <= {"detector"}


def test_labels_of_pets_are_the_cat_and_the_dog_of_each_detector():
    categories = weights.torchvision_enums()["mask_rcnn_v1"].meta["categories"]
    assert [categories[i] for i in mask_rcnn.COCO_PETS] == ["cat", "dog"]
    assert [mask_rcnn_compact.CLASSES[i] for i in mask_rcnn_compact.PETS] == ["cat", "dog"]


def test_imagenet_only_predicts_the_species_of_a_photo(folder):
    """Against the definition: softmax over 1000 classes, cats against dogs, mean of both views' log
    odds."""
    run = open_run(folder)
    source = run.source("imagenet_only")
    predicted = source.image_labels()
    for i in run.ids:
        p = source.head(run.features.pooled([i])[0]).softmax(-1)  # (2, 1000)
        cat, dog = p[:, 281:286].sum(1).log().mean(), p[:, 151:269].sum(1).log().mean()
        assert predicted[i] == {"species": int(dog > cat)}


def test_unknown_sources_are_refused_with_those_there_are():
    with pytest.raises(
        ValueError, match="unknown source 'grabcut': there are ground_truth, mask_rcnn"
    ):
        source_class("grabcut")
    with pytest.raises(ValueError, match=r"gradcam\+\+"):
        source_class("gradcam_pretrained").check(small(cam="nonsense"))


def test_a_new_source_is_a_class_and_a_line(folder, tmp_path, monkeypatch):
    class Everything(Source):
        def probabilities(self, batch):
            return torch.ones(len(batch.ids), 4, 4)

    register(monkeypatch, SOURCES, "petweak.pseudo_masks", "everything", Everything)
    run = Run(tmp_path / "run", folder / "data", small(sources="everything"))
    run.masks("everything")
    assert (read_mask(run.masks_folder("everything") / f"{run.ids[0]}.png") == 255).all()
