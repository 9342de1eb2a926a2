"""CAMs in closed form against pytorch-grad-cam, which runs the network forwards and backwards."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import resnet50

from petweak import weights
from petweak.backbones import load_backbone
from petweak.data.pets import load_photo, read_pets
from petweak.features import photo_tensor
from petweak.pseudo_masks import cam


@pytest.fixture(params=["efficientnet_lite0", "resnet50"])
def backbone(request, tmp_path, monkeypatch):
    if request.param == "resnet50":  # a checkpoint of random weights where torchvision looks
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        path = weights.cached_path("resnet50")
        path.parent.mkdir(parents=True)
        torch.manual_seed(1)
        torch.save(resnet50().state_dict(), path)
    return load_backbone(request.param)


@pytest.mark.parametrize("score", [cam.top1, cam.pet_log_odds])
def test_closed_form_is_pytorch_grad_cam(backbone, score, rendered):
    samples = read_pets(rendered).samples[:8]
    photos = torch.stack([photo_tensor(load_photo(s.photo), 96) for s in samples])
    network = cam.Network(backbone, backbone.classifier)
    theirs = cam.library_cam("gradcam", network, backbone.last_layer, photos, score)
    with torch.no_grad():
        maps = backbone(photos)["last"]
    ours = cam.upsample(cam.grad_cam(maps, backbone.classifier, score), 96)
    assert theirs.max() > 0.5  # something to compare
    assert (ours - theirs).abs().max() < 1e-4


@pytest.mark.parametrize("method", [m for m in cam.METHODS if m not in cam.NEED_PHOTOS])
def test_every_method_runs_on_the_head_alone(method):
    head = cam.Head(nn.Linear(6, 4)).eval()
    maps = torch.rand(2, 6, 3, 3)
    found = cam.library_cam(method, head, head.map, maps, cam.top1)
    assert found.shape == (2, 3, 3) and 0 <= found.min() and found.max() <= 1


@pytest.mark.parametrize("tap", ["before", "stride16", "stride8"])
def test_the_rest_of_the_network_is_the_network(backbone, tap):
    photos = torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        maps = backbone(photos)
        whole = backbone.classifier(maps["last"].mean((2, 3)))
        assert torch.allclose(backbone.logits(maps[tap], tap), whole, atol=1e-3)


def test_layer_cam_on_an_inner_map_is_pytorch_grad_cams():
    backbone = load_backbone("efficientnet_lite0")
    photos = torch.rand(2, 3, 96, 96)
    network = cam.Network(backbone, backbone.classifier)
    layer = backbone.net.blocks[4]
    theirs = cam.library_cam("layercam", network, layer, photos, cam.pet_log_odds)
    with torch.no_grad():
        maps = backbone(photos)["stride16"]
    ours = cam.layer_cam(maps, lambda m: backbone.logits(m, "stride16"), cam.pet_log_odds)
    assert (cam.upsample(ours, 96) - theirs).abs().max() < 1e-3


@pytest.mark.parametrize("method", ["gradcam++", "layercam"])
def test_the_head_alone_gives_what_the_whole_network_gives(method):
    backbone = load_backbone("efficientnet_lite0")
    photos = torch.rand(1, 3, 96, 96)
    network = cam.Network(backbone, backbone.classifier)
    whole = cam.library_cam(method, network, backbone.last_layer, photos, cam.top1)
    with torch.no_grad():
        maps = backbone(photos)["last"]
    head = cam.Head(backbone.classifier)
    alone = cam.upsample(cam.library_cam(method, head, head.map, maps, cam.top1), 96)
    assert (whole - alone).abs().max() < 1e-3


def test_hooks_are_released_also_by_an_error():
    head = cam.Head(nn.Linear(6, 4)).eval()

    def broken(logits):
        raise RuntimeError("no score")

    with pytest.raises(RuntimeError, match="no score"):
        cam.library_cam("gradcam", head, head.map, torch.rand(1, 6, 3, 3), broken)
    cam.library_cam("gradcam", head, head.map, torch.rand(1, 6, 3, 3), cam.top1)
    assert not head.map._forward_hooks and not head.map._backward_hooks


def test_an_unknown_method_lists_the_known_ones():
    head = cam.Head(nn.Linear(6, 4))
    with pytest.raises(ValueError, match=r"gradcam\+\+, xgradcam"):
        cam.library_cam("gradcam+", head, head.map, torch.rand(1, 6, 3, 3), cam.top1)


def test_pet_log_odds_by_hand():
    logits = torch.zeros(1, 1000)
    assert cam.pet_log_odds(logits).item() == pytest.approx(np.log(123 / 877), abs=1e-5)
    names = weights.imagenet_categories()
    assert (names[cam.DOGS[0]], names[cam.DOGS[-1]]) == ("Chihuahua", "Mexican hairless")
    assert (names[cam.CATS[0]], names[cam.CATS[-1]]) == ("tabby", "Egyptian cat")


def test_upsample_normalises_before_and_after():
    maps = torch.tensor([[[2.0, 4.0], [2.0, 2.0]]])
    out = cam.upsample(maps, 8)
    assert out.min() == 0 and out.max() == pytest.approx(1, abs=1e-5)
    assert torch.equal(cam.min_max(torch.zeros(1, 2, 2)), torch.zeros(1, 2, 2))
