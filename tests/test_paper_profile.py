"""The paper's profile, end to end on a few photos, with checkpoints that this test writes.

The real weights (ImageNet ResNet-50, COCO Mask R-CNN) cannot be fetched everywhere; what runs here
is the code that would use them: TORCH_HOME is searched, the files are read, every stage runs.
Pictures are small, so that it takes seconds; the networks have the profile's sizes.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path

import pandas as pd
import psutil
import pytest
import torch
from conftest import process_context
from few import few_photos
from torchvision.models import detection, resnet50
from torchvision.models.detection import maskrcnn_resnet50_fpn, maskrcnn_resnet50_fpn_v2

from petweak.config import settings
from petweak.data.files import read_json
from petweak.models import weights
from petweak.pseudo_masks.mask_rcnn import COCO_PETS, load_detector
from petweak.study.results import run_study
from petweak.study.run import open_run

# Random weights see nothing; these take every box for a cat.
CAT = COCO_PETS[0]
# Smaller and shorter, one kind of labels, the engine that a GPU has; all else is the profile's.
LESS = dict(image_size=64, epochs=1, bootstrap=5, workers=0, engine="eager", labels="breed")
# torchvision enlarges every photo to 800 pixels; no size is in the checkpoint.
SMALL_DETECTOR = dict(min_size=96, max_size=128, rpn_post_nms_top_n_test=50,
                      box_detections_per_img=5)


@pytest.fixture
def torch_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    weights.cached_path("resnet50").parent.mkdir(parents=True)
    return tmp_path / "torch"


def _study(run: Path, root: Path) -> None:
    """In a process of its own, so that its memory can be measured."""
    torch.manual_seed(0)
    torch.save(resnet50().state_dict(), weights.cached_path("resnet50"))
    detector = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    detector.roi_heads.box_predictor.cls_score.bias.data[CAT] = 12.0
    torch.save(detector.state_dict(), weights.cached_path("mask_rcnn_v1"))
    del detector
    detection.maskrcnn_resnet50_fpn = partial(maskrcnn_resnet50_fpn, **SMALL_DETECTOR)
    run_study(open_run("paper", run, root, **LESS))


def test_a_few_photos_through_the_whole_profile(torch_home, rendered, tmp_path):
    run, root = tmp_path / "run", few_photos(rendered, tmp_path / "data", breeds=2)
    process = process_context().Process(target=_study, args=(run, root))
    process.start()
    child, peak = psutil.Process(process.pid), 0
    while process.is_alive():  # its own memory, with that of a fork's imports
        with suppress(psutil.Error):
            peak = max(peak, child.memory_info().rss)
        process.join(0.05)
    assert process.exitcode == 0 and 0 < peak < 2 << 30
    note = read_json(run / "run.json")["settings"]
    paper = settings("paper").to_dict()
    differs = {k for part in note for k in (note[part] if isinstance(note[part], dict) else ())
               if note[part][k] != (list(v) if isinstance(v := paper[part][k], tuple) else v)}
    assert differs | {"labels"} == set(LESS) and note["labels"] == ["breed"]
    results = pd.read_csv(run / "results.csv")
    assert set(results["dataset"]) == {"oxford-iiit-pet"}
    assert set(results["backbone"]) == {"resnet50"}
    assert results.groupby("split")["n_images"].first().to_dict() == {"train": 4, "test": 2}
    models = results[results["labels"] != "-"].groupby(["source", "labels"])
    assert set(models.groups) == {(s, "breed") for s in paper["sources"]}
    assert set(results["model"].dropna()) == {"maskformer"}
    config = read_json(run / "models" / "mask_rcnn-breed" / "config.json")["model"]
    assert config["in_channels"] == [2048] and config["queries"] == 100
    # The boosted class is detected, so these masks are not empty.
    pseudo = results.query("source == 'mask_rcnn' and metric == 'pseudo_iou_gt'")
    assert pseudo["value"].max() > 0
    # Random weights are not the official ones, and the keys say so.
    assert read_json(run / "masks" / "mask_rcnn" / "manifest.json")["weights"]


def test_version_2_of_the_detector_is_read_the_same_way(torch_home):
    state = maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None).state_dict()
    torch.save(state, weights.cached_path("mask_rcnn_v2"))
    model, pets = load_detector("v2")
    assert pets == (17, 18) and not model.training
    layer = "backbone.body.conv1.weight"
    assert torch.equal(model.state_dict()[layer], state[layer])


def test_coco_calls_them_cat_and_dog():
    names = weights.torchvision_enums()["mask_rcnn_v1"].meta["categories"]
    assert [names[i] for i in COCO_PETS] == ["cat", "dog"]
