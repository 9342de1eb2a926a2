"""CAMs in closed form against pytorch-grad-cam, which runs the network forwards and backwards."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from petweak.data.feature_cache import photo_tensor
from petweak.data.oxford_pets import load_photo, read_pets
from petweak.models.backbones import load_backbone
from petweak.models.weights import torchvision_enums
from petweak.pseudo_masks import cam


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("efficientnet_lite0")


@pytest.fixture(scope="module")
def photos(rendered) -> torch.Tensor:
    samples = read_pets(rendered).samples[:3]
    return torch.stack([photo_tensor(load_photo(s.photo), 96) for s in samples])


@pytest.fixture(scope="module")
def maps(backbone, photos) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return backbone(photos)


@pytest.mark.parametrize("score", [cam.top1, cam.pet_log_odds])
def test_the_closed_form_is_pytorch_grad_cam(backbone, photos, maps, score):
    network = cam.Network(backbone, backbone.classifier)
    theirs = cam.library_cam("gradcam", network, backbone.last_layer, photos, score)
    ours = cam.upsample(cam.grad_cam(maps["final"], backbone.classifier, score), 96)
    assert theirs.max() > 0.5  # something to compare
    assert (ours - theirs).abs().max() < 1e-4


def test_layer_cam_on_an_inner_map_is_pytorch_grad_cams(backbone, photos, maps):
    network = cam.Network(backbone, backbone.classifier)
    layer = backbone.net.blocks[4]
    theirs = cam.library_cam("layercam", network, layer, photos, cam.pet_log_odds)
    ours = cam.layer_cam(
        maps["stride16"], lambda m: backbone.logits(m, "stride16"), cam.pet_log_odds
    )
    assert (cam.upsample(ours, 96) - theirs).abs().max() < 1e-3


@pytest.mark.parametrize("method", ["gradcam++", "layercam"])
def test_the_head_alone_gives_what_the_whole_network_gives(backbone, photos, maps, method):
    network = cam.Network(backbone, backbone.classifier)
    whole = cam.library_cam(method, network, backbone.last_layer, photos[:1], cam.top1)
    head = cam.Head(backbone.classifier)
    alone = cam.library_cam(method, head, head.map, maps["final"][:1], cam.top1)
    assert (whole - cam.upsample(alone, 96)).abs().max() < 1e-3


@pytest.mark.parametrize("method", [m for m in cam.METHODS if m not in cam.NEED_PHOTOS])
def test_every_method_runs_on_the_head_alone(method):
    head = cam.Head(nn.Linear(6, 4)).eval()
    soft = cam.library_cam(method, head, head.map, torch.rand(2, 6, 3, 3), cam.top1)
    assert soft.shape == (2, 3, 3) and 0 <= soft.min() and soft.max() <= 1


def test_hooks_are_released_also_by_an_error():
    head, maps = cam.Head(nn.Linear(6, 4)).eval(), torch.rand(1, 6, 3, 3)

    def broken(logits):
        raise RuntimeError("no score")

    with pytest.raises(RuntimeError, match="no score"):
        cam.library_cam("gradcam", head, head.map, maps, broken)
    cam.library_cam("gradcam", head, head.map, maps, cam.top1)
    assert not head.map._forward_hooks and not head.map._backward_hooks
    with pytest.raises(ValueError, match="xgradcam, hirescam"):
        cam.library_cam("gradcam+", head, head.map, maps, cam.top1)


def test_pet_log_odds_by_hand():
    assert cam.pet_log_odds(torch.zeros(1, 1000)).item() == pytest.approx(
        np.log(123 / 877), abs=1e-5
    )
    names = torchvision_enums()["resnet50"].meta["categories"]
    assert (names[cam.DOGS[0]], names[cam.DOGS[-1]]) == ("Chihuahua", "Mexican hairless")
    assert (names[cam.CATS[0]], names[cam.CATS[-1]]) == ("tabby", "Egyptian cat")


def test_upsample_normalises_before_and_after():
    soft = cam.upsample(torch.tensor([[[2.0, 4.0], [2.0, 2.0]]]), 8)
    assert soft.min() == 0 and soft.max() == pytest.approx(1, abs=1e-5)
    assert torch.equal(cam.min_max(torch.zeros(1, 2, 2)), torch.zeros(1, 2, 2))
