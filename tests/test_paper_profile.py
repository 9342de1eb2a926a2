"""The paper's profile, end to end on 16 photos, with checkpoints that this test writes.

The real weights (ImageNet ResNet-50, COCO Mask R-CNN) cannot be fetched everywhere; what runs here
is the code that would use them: TORCH_HOME is searched, the files are read, every stage runs.
"""

from __future__ import annotations

import shutil

import pandas as pd
import pytest
import torch
from torchvision.models import resnet50
from torchvision.models.detection import maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2

from petweak import weights
from petweak.cli import main
from petweak.files import read_json
from petweak.pseudo_masks.mask_rcnn import COCO_PETS, detector_in_use, load_detector

# A checkpoint of random weights sees nothing; this one takes every box for a cat.
CAT = COCO_PETS[0]


@pytest.fixture
def torch_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    weights.cached_path("resnet50").parent.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(resnet50().state_dict(), weights.cached_path("resnet50"))
    detector = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    detector.roi_heads.box_predictor.cls_score.bias.data[CAT] = 12.0
    torch.save(detector.state_dict(), weights.cached_path("mask_rcnn_v1"))


@pytest.fixture
def sixteen_photos(rendered, tmp_path):
    """16 photos in the official layout: five breeds, eleven photos in train and five in test."""
    root = tmp_path / "data" / "oxford-iiit-pet"
    shutil.copytree(rendered / "oxford-iiit-pet", root)
    annotations = root / "annotations"
    (annotations / "rendered.json").unlink()
    for file, count in (("trainval.txt", 11), ("test.txt", 5)):
        lines = (annotations / file).read_text().splitlines()
        lines.sort(key=lambda line: int(line.split()[1]))
        (annotations / file).write_text("\n".join(lines[:count]) + "\n")
    return root.parent


def test_sixteen_photos_through_the_whole_profile(torch_home, sixteen_photos, tmp_path, capsys):
    run = tmp_path / "run"
    # The profile's own backbone, detector, picture size, decoder and queries; one epoch of twenty.
    arguments = ["study", "--profile", "paper", "--data-root", str(sixteen_photos)]
    assert (
        main([*arguments, "--run", str(run), "--set", "epochs=1", "workers=0", "bootstrap=10"]) == 0
    )
    note = read_json(run / "run.json")
    assert note["settings"]["backbone"] == "resnet50" and note["settings"]["image_size"] == 512
    results = pd.read_csv(run / "results.csv")
    assert results.n_images.groupby(results.split).first().sum() == 16
    assert set(results.dataset) == {"oxford-iiit-pet"}
    assert len(results[results.labels != "-"].groupby(["source", "labels"])) == 8
    masks = read_json(run / "masks" / "mask_rcnn" / "manifest.json")
    assert masks["detector"] == "v1"
    # the boosted class is found, so these masks are not empty
    pseudo = results.query("source == 'mask_rcnn' and metric == 'pseudo_iou_gt'")
    assert pseudo.value.max() > 0
    assert "report:" in capsys.readouterr().out


def test_version_2_of_the_detector_is_found_the_same_way(torch_home):
    state = maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None).state_dict()
    torch.save(state, weights.cached_path("mask_rcnn_v2"))
    model, pets = load_detector("v2")
    assert pets == (17, 18) and not model.training
    assert torch.equal(model.state_dict()["backbone.body.conv1.weight"],
                       state["backbone.body.conv1.weight"])  # fmt: skip


def test_auto_takes_the_papers_detector_where_it_is_and_the_compact_one_elsewhere(
    torch_home, monkeypatch, tmp_path
):
    assert detector_in_use("auto") == "v1"
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    assert detector_in_use("auto") == "compact"
    assert detector_in_use("v2") == "v2"


def test_coco_calls_them_cat_and_dog():
    names = weights.TORCHVISION["mask_rcnn_v1"].meta["categories"]
    assert [names[i] for i in COCO_PETS] == ["cat", "dog"]
