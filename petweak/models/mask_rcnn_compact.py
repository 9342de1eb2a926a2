"""A compact Mask R-CNN (He et al. 2017) for machines that cannot download COCO's weights.

It was trained on rendered scenes alone, with other breeds, backgrounds and palettes than those of
the rendered pets, and never on a photo: `petweak.rendered.train_detector` does it. The frozen
ImageNet backbone comes with an installed package, so the file beside this module holds only the
feature pyramid and the heads.

    part      what it is
    body      EfficientNet-Lite0 up to stride 32, frozen: 40, 112 and 320 channels
    fpn       torchvision's feature pyramid over strides 8, 16, 32, 64 channels
    heads     torchvision's RPN, box head and mask head, small; boxes and masks know no species
"""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads
from torchvision.models.detection.rpn import RPNHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

from petweak.data.files import file_hash, replacing
from petweak.models.backbones import load_backbone

CLASSES = ("background", "cat", "dog")
PETS = (1, 2)  # the labels of a detection that are pets
SIZE = 256  # pixels: what the network sees is SIZE x SIZE, whatever the photo's size
STRIDES = (8, 16, 32)
BODY_CHANNELS = (40, 112, 320)
CHANNELS = 64
WEIGHTS = Path(__file__).with_suffix(".safetensors")
MODULE = "petweak.rendered.train_detector"

FROZEN = "backbone.body."  # prefix of parameters that are not stored


class Body(nn.Module):
    """(B, 3, S, S) normalised photos -> EfficientNet-Lite0's maps of strides 8, 16, 32, as "0" to
    "2"."""

    def __init__(self) -> None:
        super().__init__()
        # A Backbone of its own: the study counts the passes of another one.
        self.backbone = load_backbone("efficientnet_lite0")
        self.mean, self.std = self.backbone.mean, self.backbone.std

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        n = self.backbone.net
        stride8 = n.blocks[:3](n.bn1(n.conv_stem(x)))
        stride16 = n.blocks[3:5](stride8)
        return OrderedDict({"0": stride8, "1": stride16, "2": n.blocks[5:](stride16)})


class Pyramid(nn.Module):
    """The frozen body and the feature pyramid on top, as torchvision's detectors expect it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Body()
        self.fpn = FeaturePyramidNetwork(list(BODY_CHANNELS), CHANNELS)
        self.out_channels = CHANNELS

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        with torch.no_grad():
            maps = self.body(x)
        return self.fpn(maps)


class SharedMask(nn.Module):
    """(N, 64, 14, 14) -> (N, 3, 28, 28) logits, the same for every class.

    The outline of a pet is learnt from cats and dogs together, so a wrong species costs no mask.
    """

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(CHANNELS, CHANNELS, 2, 2)
        self.logits = nn.Conv2d(CHANNELS, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(F.relu(self.up(x))).expand(-1, len(CLASSES), -1, -1)


class PetBoxes(nn.Module):
    """(N, 128) of the proposals -> class logits (N, 3), box deltas (N, 12).

    The deltas are the same for every class. In eval mode the likelier species takes the probability
    of both: the score says how sure a pet is, so that a pet whose species is in doubt is not lost
    to a threshold on the score.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.logits = nn.Linear(channels, len(CLASSES))
        self.deltas = nn.Linear(channels, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits, deltas = self.logits(x), self.deltas(x).repeat(1, len(CLASSES))
        if not self.training:
            species = logits[:, 1:]
            pet = species.logsumexp(dim=1, keepdim=True)
            wins = F.one_hot(species.argmax(dim=1), len(PETS)).bool()
            logits = torch.cat([logits[:, :1], pet.where(wins, pet.new_tensor(-1e4))], dim=1)
        return logits, deltas


class Square(GeneralizedRCNNTransform):
    """Photos to SIZE x SIZE, whole, averaged where they shrink: the study's own resize rule."""

    def resize(
        self, image: Tensor, target: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        if target is not None:  # torchvision's, which moves boxes and masks along
            return super().resize(image, target)
        return F.interpolate(image[None], self.fixed_size, mode="bilinear", antialias=True)[0], None


def build() -> MaskRCNN:
    """The network with untrained heads on the frozen backbone, in training mode.

    It is called like torchvision's: a list of (3, H, W) photos in [0, 1] of any sizes; in training
    with targets, giving losses, in eval mode giving {boxes (N, 4) in pixels of the photo, labels
    (N,) of `CLASSES`, scores (N,), masks (N, 1, H, W) in [0, 1]} per photo, N <= 5, scores >= 0.05.

    Raises FileNotFoundError if the package with the backbone's weights is missing.
    """
    pyramid = Pyramid()
    # Two sizes and three shapes per place; pets are 0.3 to 1 of the picture's side.
    anchors = AnchorGenerator(((40, 64), (96, 136), (184, 240)), ((0.5, 1.0, 2.0),) * 3)
    model = MaskRCNN(
        pyramid,
        rpn_anchor_generator=anchors,
        rpn_head=RPNHead(CHANNELS, anchors.num_anchors_per_location()[0]),
        rpn_pre_nms_top_n_train=300,
        rpn_pre_nms_top_n_test=200,
        rpn_post_nms_top_n_train=100,
        rpn_post_nms_top_n_test=50,
        rpn_batch_size_per_image=64,
        box_roi_pool=MultiScaleRoIAlign(["0", "1", "2"], output_size=7, sampling_ratio=2),
        box_head=TwoMLPHead(CHANNELS * 7 * 7, 128),
        box_predictor=PetBoxes(128),
        box_batch_size_per_image=32,
        box_detections_per_img=5,
        # Outlines need the finest map, and there are few objects: all masks come from stride 8.
        mask_roi_pool=MultiScaleRoIAlign(["0"], output_size=14, sampling_ratio=2),
        mask_head=MaskRCNNHeads(CHANNELS, (CHANNELS,) * 3, dilation=1),
        mask_predictor=SharedMask(),
    )
    # The transform normalises with the backbone's mean and std, the body does not do it again.
    model.transform = Square(
        SIZE, SIZE, list(pyramid.body.mean), list(pyramid.body.std), fixed_size=(SIZE, SIZE)
    )
    return model


@torch.inference_mode()
def frozen_maps(model: MaskRCNN, photos: Tensor) -> list[Tensor]:
    """(B, 3, S, S) uint8 -> the body's maps, float16, finest first."""
    maps = model.backbone.body(model.transform.normalize(photos.float() / 255))
    return [m.half() for m in maps.values()]


def losses(
    model: MaskRCNN, maps: list[Tensor], targets: list[dict[str, Tensor]]
) -> dict[str, Tensor]:
    """The five losses of a Mask R-CNN in training mode, from the body's maps (B, C, h, w) on."""
    features = model.backbone.fpn(OrderedDict((str(i), m.float()) for i, m in enumerate(maps)))
    sizes = [(SIZE, SIZE)] * len(targets)
    # The RPN asks the pictures for nothing but their shape.
    pictures = ImageList(features["0"].new_empty(1).expand(len(targets), 3, SIZE, SIZE), sizes)
    proposals, of_rpn = model.rpn(pictures, features, targets)
    _, of_heads = model.roi_heads(features, proposals, sizes, targets)
    return {**of_rpn, **of_heads}


@torch.inference_mode()
def union(model: MaskRCNN, photo: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (H, W) bool, the mask of the source `mask_rcnn_compact` by default."""
    detections = model([torch.from_numpy(photo).permute(2, 0, 1).float() / 255])[0]
    masks = detections["masks"][detections["scores"] >= 0.5, 0]
    return (masks > 0.5).any(dim=0).numpy()


def trainable(model: nn.Module) -> dict[str, Tensor]:
    """What is learnt, and so what is stored: the state without the backbone's."""
    return {k: v for k, v in model.state_dict().items() if not k.startswith(FROZEN)}


def save(model: nn.Module, path: Path = WEIGHTS) -> None:
    """Write pyramid and heads of `model` to `path`, float16."""
    state = {k: v.detach().to("cpu", torch.float16).contiguous() for k, v in
             trainable(model).items()}
    with replacing(path) as beside:
        save_file(state, beside)


def load(path: Path = WEIGHTS) -> MaskRCNN:
    """The trained network in eval mode, on the CPU, in float32; called as `build` says.

    Raises FileNotFoundError where `path` is missing, ValueError where it does not fit this network
    (a truncated file, other layers, other shapes); both name the file and the way to make it.
    """
    remake = f"`python -m {MODULE}` writes it"
    if not path.is_file():
        raise FileNotFoundError(f"{path}, the compact Mask R-CNN's weights, is missing; {remake}")
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}); {remake}") from error
    model = build()
    expected = trainable(model)
    wrong = sorted(set(expected) ^ set(state))
    wrong = wrong or [k for k in expected if expected[k].shape != state[k].shape]
    if wrong:
        raise ValueError(
            f"{path} does not fit the compact Mask R-CNN at {', '.join(wrong[:4])}"
            f"{' and others' if len(wrong) > 4 else ''}; {remake}"
        )
    model.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    return model.eval()


def fingerprint(path: Path = WEIGHTS) -> str:
    """A hash of the weights file, for the keys of masks that are made with it."""
    return file_hash(path)
