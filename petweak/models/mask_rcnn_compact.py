"""A compact Mask R-CNN (He et al. 2017) for machines that cannot download COCO's weights.

It was trained on rendered scenes alone, with other breeds, backgrounds and palettes than those of
the rendered pets, and never on a photo: `petweak.rendered.train_detector` does it. Its body is a
frozen EfficientNet-Lite0 up to stride 32, whose weights come with an installed package: the file
beside this module has only torchvision's feature pyramid and heads, all small.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection import MaskRCNN, rpn
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

from petweak.data.files import replacing
from petweak.models.backbones import load_backbone
from petweak.models.weights import MASK_RCNN_COMPACT as WEIGHTS

CLASSES = ("background", "cat", "dog")
PETS = (1, 2)  # the labels of a detection that are pets
SIZE = 256  # pixels: what the network sees is SIZE x SIZE, whatever the photo's size
CHANNELS = 64
MODULE = "petweak.rendered.train_detector"


class Body(nn.Module):
    """(B, 3, S, S) normalised photos -> {"0", "1", "2": EfficientNet-Lite0's, stride 8, 16, 32}."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = load_backbone("efficientnet_lite0")  # not the study's, which counts passes

    @torch.no_grad()
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps = {}
        for i, stage in enumerate(self.backbone.stages[:3]):
            maps[str(i)] = x = stage(x)
        return maps


class SharedMask(nn.Module):
    """(N, 64, 14, 14) -> (N, 3, 28, 28) logits, the same for every class: outlines are learnt from
    cats and dogs together, so a wrong species costs no mask."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(CHANNELS, CHANNELS, 2, 2)
        self.logits = nn.Conv2d(CHANNELS, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(F.relu(self.up(x))).expand(-1, len(CLASSES), -1, -1)


class PetBoxes(nn.Module):
    """(N, 128) of the proposals -> class logits (N, 3), box deltas (N, 12), equal for every class.

    In eval mode the likelier species takes the probability of both: the score says how sure a pet
    is, so that a pet whose species is in doubt is not lost to a threshold on the score."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.logits, self.deltas = nn.Linear(channels, len(CLASSES)), nn.Linear(channels, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits, deltas = self.logits(x), self.deltas(x).repeat(1, len(CLASSES))
        if not self.training:
            pet = logits[:, 1:].logsumexp(dim=1, keepdim=True)
            wins = F.one_hot(logits[:, 1:].argmax(dim=1), len(PETS)).bool()
            logits = torch.cat([logits[:, :1], pet.where(wins, pet.new_tensor(-1e4))], dim=1)
        return logits, deltas


class Square(detection.transform.GeneralizedRCNNTransform):
    """Photos to SIZE x SIZE, whole, averaged where they shrink: the study's resize rule."""

    def resize(self, image: Tensor, target: dict | None = None) -> tuple[Tensor, dict | None]:
        if target is not None:  # torchvision's, which moves boxes and masks along
            return super().resize(image, target)
        return F.interpolate(image[None], self.fixed_size, mode="bilinear", antialias=True)[0], None


def build() -> MaskRCNN:
    """The network with untrained heads on the frozen backbone, in training mode. FileNotFoundError
    if the package with the backbone's weights is missing.

    It is called like torchvision's: a list of (3, H, W) photos in [0, 1] of any sizes; in training
    with targets, giving losses, in eval mode giving {boxes (N, 4) in pixels of the photo, labels
    (N,) of `CLASSES`, scores (N,), masks (N, 1, H, W) in [0, 1]} each, N <= 5, scores >= 0.05."""
    pyramid = nn.Sequential()
    pyramid.body, pyramid.fpn = Body(), FeaturePyramidNetwork([40, 112, 320], CHANNELS)
    pyramid.out_channels = CHANNELS  # torchvision asks for it
    # Two sizes and three shapes per position; pets are 0.3 to 1 of the picture's side.
    anchors = rpn.AnchorGenerator(((40, 64), (96, 136), (184, 240)), ((0.5, 1.0, 2.0),) * 3)
    model = MaskRCNN(
        pyramid, rpn_anchor_generator=anchors,
        rpn_head=rpn.RPNHead(CHANNELS, anchors.num_anchors_per_location()[0]),
        rpn_pre_nms_top_n_train=300, rpn_pre_nms_top_n_test=200, rpn_post_nms_top_n_train=100,
        rpn_post_nms_top_n_test=50, rpn_batch_size_per_image=64,
        box_roi_pool=MultiScaleRoIAlign(["0", "1", "2"], output_size=7, sampling_ratio=2),
        box_head=detection.faster_rcnn.TwoMLPHead(CHANNELS * 7 * 7, 128),
        box_predictor=PetBoxes(128), box_batch_size_per_image=32, box_detections_per_img=5,
        # Outlines need the finest map, and there are few objects: all masks come from stride 8.
        mask_roi_pool=MultiScaleRoIAlign(["0"], output_size=14, sampling_ratio=2),
        mask_head=detection.mask_rcnn.MaskRCNNHeads(CHANNELS, (CHANNELS,) * 3, dilation=1),
        mask_predictor=SharedMask())
    # Here photos are normalised as the backbone needs them; the body does not do it again.
    mean, std = pyramid.body.backbone.mean, pyramid.body.backbone.std
    model.transform = Square(SIZE, SIZE, mean, std, fixed_size=(SIZE, SIZE))
    return model


@torch.inference_mode()
def frozen_maps(model: MaskRCNN, photos: Tensor) -> list[Tensor]:
    """(B, 3, S, S) uint8 -> the body's maps, float16, finest first."""
    maps = model.backbone.body(model.transform.normalize(photos.float() / 255))
    return [m.half() for m in maps.values()]


def losses(model: MaskRCNN, maps: list[Tensor], targets: list[dict[str, Tensor]]
           ) -> dict[str, Tensor]:
    """The five losses of a Mask R-CNN in training mode, from the body's maps (B, C, h, w) on."""
    features, n = model.backbone.fpn({str(i): m.float() for i, m in enumerate(maps)}), len(targets)
    sizes, empty = [(SIZE, SIZE)] * n, features["0"].new_empty(1).expand(n, 3, SIZE, SIZE)
    # The RPN asks the pictures for nothing but their shape.
    proposals, of_rpn = model.rpn(detection.image_list.ImageList(empty, sizes), features, targets)
    return of_rpn | model.roi_heads(features, proposals, sizes, targets)[1]


@torch.inference_mode()
def union(model: MaskRCNN, photo: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (H, W) bool, the mask of the source `mask_rcnn_compact` by default."""
    detections = model([torch.from_numpy(photo).permute(2, 0, 1).float() / 255])[0]
    return (detections["masks"][detections["scores"] >= 0.5, 0] > 0.5).any(dim=0).numpy()


def trainable(model: nn.Module) -> dict[str, Tensor]:
    """What is learnt, and so what is stored: the state without the backbone's."""
    return {k: v for k, v in model.state_dict().items() if not k.startswith("backbone.body.")}


def save(model: nn.Module, path: Path = WEIGHTS) -> None:
    """Write pyramid and heads of `model` to `path`, float16."""
    half = {k: v.to("cpu", torch.float16).contiguous() for k, v in trainable(model).items()}
    with replacing(path) as beside:
        beside.write_bytes(to_bytes(half))


def load(path: Path = WEIGHTS) -> MaskRCNN:
    """The trained network in eval mode, on the CPU, in float32; called as `build` says.

    FileNotFoundError where `path` is missing, ValueError where it is truncated or does not fit this
    network; both name the file and the way to make it."""
    remake = f"`python -m {MODULE}` writes it"
    if not path.is_file():
        raise FileNotFoundError(f"{path}, the compact Mask R-CNN's weights, is missing; {remake}")
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}); {remake}") from error
    model = build()
    stored, expected = ({(k, v.shape) for k, v in s.items()} for s in (state, trainable(model)))
    if wrong := sorted({k for k, _ in stored ^ expected}):
        first = ", ".join(wrong[:4]) + " and others" * (len(wrong) > 4)
        raise ValueError(f"{path} does not fit the compact Mask R-CNN at {first}; {remake}")
    model.load_state_dict(state, strict=False)
    return model.eval()
