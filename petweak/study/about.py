"""run.json: what was asked for, with which versions, on what hardware; and the device."""

import platform
import subprocess
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch

import petweak
from petweak.config import Settings

PACKAGES = ("torch", "torchvision", "timm", "grad-cam", "numpy", "onnxruntime")


def about_run(settings: Settings, data_root: Path, dataset: str, n_photos: int, device: str
              ) -> dict[str, Any]:
    """The content of run.json."""
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return {"profile": settings.profile, "dataset": dataset, "data_root": str(data_root),
            "n_photos": n_photos, "settings": settings.to_dict(), "seed": settings.data.seed,
            "versions": versions(), "git_commit": git_commit(), "device": device,
            "hardware": {"machine": platform.machine(), "system": platform.system(),
                         "threads": torch.get_num_threads(), "gpu": gpu}}


def versions() -> dict[str, str | None]:
    """Of petweak, Python, and the PACKAGES that numbers depend on."""
    packages = {n: next((d.version for d in distributions(name=n)), None) for n in PACKAGES}
    return {"petweak": petweak.__version__, "python": platform.python_version(), **packages}


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


def git_commit() -> str | None:
    """Of the files that run, where they lie in a repository."""
    git = {"cwd": Path(__file__).parent, "encoding": "utf-8", "stderr": subprocess.DEVNULL}
    try:
        return subprocess.check_output(["git", "rev-parse", "HEAD"], **git).strip()
    except (OSError, subprocess.CalledProcessError):  # no git, or no repository
        return None
