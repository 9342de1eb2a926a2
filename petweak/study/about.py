"""run.json: what was asked for, with which versions, on what hardware; and the device."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import petweak
from petweak.config import Settings

PACKAGES = ("torch", "torchvision", "timm", "grad-cam", "numpy", "onnxruntime")


def about_run(
    settings: Settings, data_root: Path, dataset: str, n_photos: int, device: str
) -> dict[str, Any]:
    """The content of run.json."""
    return {
        "profile": settings.profile, "dataset": dataset, "data_root": str(data_root),
        "n_photos": n_photos, "settings": settings.to_dict(), "seed": settings.data.seed,
        "versions": {"petweak": petweak.__version__, "python": platform.python_version()}
        | {name: _version(name) for name in PACKAGES},
        "git_commit": _git_commit(),
        "device": device,
        "hardware": {
            "machine": platform.machine(), "system": platform.system(),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        },
    }


def pick_device(name: str) -> torch.device:
    """auto: CUDA where there is a GPU, else the CPU. ValueError for a device that is not here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device={name}: write auto, cpu, cuda, cuda:1 or mps") from None
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": torch.backends.mps.is_available()}
    if (device.index or 0) >= count.get(device.type, 0):
        raise ValueError(f"device={name}: torch sees no such device here; device=cpu runs")
    return device


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    command = ["git", "rev-parse", "HEAD"]
    try:
        out = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    except OSError:  # there is no git
        return None
    return out.stdout.strip() if out.returncode == 0 else None
