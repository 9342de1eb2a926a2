"""The Grad-CAM sources on maps made by hand: views, the finetuned layer, and where things are
computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from toy import CHANNELS, square, world

from petweak.models.backbones import load_backbone
from petweak.pseudo_masks import cam
from petweak.pseudo_masks.gradcam import GradCAMFinetuned, GradCAMPretrained
from petweak.pseudo_masks.refinement.fusion import Fusion

META = torch.device("meta")  # stands for a GPU: tensors know that they are there, and no more


class Pinned(nn.Module):
    """A backbone that may not be moved: it is the run's."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(CHANNELS, 1000)
        self.last_layer = nn.Identity()

    def _apply(self, *args, **kwargs):
        pytest.fail("the run's backbone was moved")


def with_backbone(context):
    backbone = Pinned()
    context.open_backbone = lambda: backbone
    return context


def test_the_mirrored_view_is_flipped_back_and_averaged(tmp_path):
    context = with_backbone(world(tmp_path))
    source, batch = GradCAMPretrained(context), context.batch(["pet_00", "pet_01"])
    straight, mirror = (source.view(batch.view(m)) for m in (False, True))
    torch.testing.assert_close(source.probabilities(batch), cam.min_max(straight + mirror.flip(-1)))
    one = world(tmp_path, cam_mirror=False)
    source_of_one = GradCAMPretrained(with_backbone(one))
    source_of_one.head = source.head
    torch.testing.assert_close(source_of_one.probabilities(batch), cam.min_max(straight))


def test_the_finetuned_layer_learns_the_labels_from_pooled_features(tmp_path):
    context = world(tmp_path, n=12, finetune_labels="species", finetune_epochs=80, finetune_lr=0.1)
    source, ids = GradCAMFinetuned(context), sorted(context.train_labels)
    before = torch.get_rng_state()
    source.fit()
    assert torch.equal(torch.get_rng_state(), before), "fit has a generator of its own"
    targets = np.array([context.train_labels[i]["species"] for i in ids])
    assert source.accuracy(ids, targets) == 1.0 and source.accuracy(ids, 1 - targets) == 0.0
    again = GradCAMFinetuned(context)
    again.fit()
    assert torch.equal(source.head.weight, again.head.weight)
    assert not source.head.weight.requires_grad


def test_the_map_is_where_the_features_of_the_class_are(tmp_path):
    context = with_backbone(world(tmp_path, image_size=160))
    source = GradCAMPretrained(context)
    with torch.no_grad():  # one class of a cat, seen in channel 0 alone
        source.head.weight.zero_()
        source.head.weight[cam.CATS[0], 0] = 1
    batch = context.batch(["pet_00", "pet_01", "pet_02"])
    for soft, i in zip(source.probabilities(batch), batch.ids, strict=True):
        inside = F.adaptive_avg_pool2d(square(i)[None], 160)[0] > 0.5
        assert soft[inside].mean() > soft[~inside].mean() + 0.2


@pytest.mark.parametrize("method", cam.NEED_PHOTOS)
def test_methods_that_need_photos_run_on_the_device_and_move_nothing_of_the_runs(
    tmp_path, monkeypatch, method
):
    context, seen = with_backbone(world(tmp_path, device=META, cam=method)), []

    def library(method, model, layer, x, score):
        seen.append((x.device, model.linear.weight.device, model.backbone is context.backbone))
        return torch.rand(len(x), 64, 64)

    monkeypatch.setattr(cam, "library_cam", library)
    source = GradCAMPretrained(context)
    soft = source.probabilities(context.batch(["pet_00", "pet_01"]))
    assert seen == [(META, META, True)] * 2  # the photo and its mirror image
    assert soft.device.type == source.head.weight.device.type == "cpu"


def test_fullgrad_works_on_the_whole_network(tmp_path):
    context, backbone = world(tmp_path, cam="fullgrad"), load_backbone("efficientnet_lite0")
    context.open_backbone = lambda: backbone
    soft = GradCAMPretrained(context).probabilities(context.batch(["pet_00"]))
    assert soft.shape == (1, 64, 64) and 0 <= soft.min() < soft.max() <= 1


def test_the_inner_level_of_a_fusion_is_explained_on_the_device(tmp_path, monkeypatch):
    context, seen = with_backbone(world(tmp_path, device=META, fusion_maps="stride16")), []

    def layer_cam(maps, logits_of, score):
        seen.append(maps.device)
        return torch.rand(len(maps), 4, 4)

    monkeypatch.setattr(cam, "layer_cam", layer_cam)
    soft = Fusion(context).refine(torch.rand(2, 32, 32), context.batch(["pet_00", "pet_01"]), None)
    assert seen == [META, META] and soft.device.type == "cpu"
