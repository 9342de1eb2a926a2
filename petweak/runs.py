"""A run's folder: where things lie, what they were made from, how long they took."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import torch

try:
    import resource
except ImportError:  # Windows
    resource = None

import petweak
from petweak.config import Settings, to_dict
from petweak.files import replacing, write_json

TIMINGS = (
    "stage",
    "source",
    "labels",
    "n_images",
    "seconds",
    "images_per_second",
    "peak_rss_mb",
)
STAGES = ("features", "masks", "train", "evaluate", "report")


def stage_key(**parts: Any) -> str:
    """A hash of everything that a stage depends on; parts are plain values, or keys of stages."""
    text = json.dumps(parts, sort_keys=True, default=list)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def pick(settings: Settings, names: tuple[str, ...]) -> dict[str, Any]:
    """The values of some settings, for a stage's key."""
    values = to_dict(settings)
    return {name: values[name] for name in names}


def pick_device(wanted: str) -> torch.device:
    """auto: the GPU where there is one, else Apple's, else the CPU. ValueError if it is absent."""
    if wanted != "auto":
        device = torch.device(wanted)
        if device.type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"device={wanted}: torch sees no CUDA device here; device=cpu runs")
        return device
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def peak_rss_mb() -> float:
    """The most memory this process has held so far, in MiB."""
    if resource is None:
        return psutil.Process().memory_info().peak_wset / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, KiB elsewhere


def write_timing(
    folder: Path, stage: str, n_images: int, seconds: float, source: str = "-", labels: str = "-"
) -> None:
    """Put the stage's row into timings.csv, in the place of an earlier one."""
    row = {
        "stage": stage,
        "source": source,
        "labels": labels,
        "n_images": n_images,
        "seconds": round(seconds, 3),
        "images_per_second": round(n_images / max(seconds, 1e-9), 2),
        "peak_rss_mb": round(peak_rss_mb(), 1),
    }
    path = folder / "timings.csv"
    rows = pd.read_csv(path).to_dict("records") if path.is_file() else []
    same = ("stage", "source", "labels")
    rows = [r for r in rows if any(r[k] != row[k] for k in same)] + [row]
    rows.sort(key=lambda r: STAGES.index(r["stage"]))
    write_frame(path, pd.DataFrame(rows, columns=TIMINGS))


def restore_timing(
    folder: Path, stage: str, n_images: int, seconds: float, source: str = "-", labels: str = "-"
) -> None:
    """Put back a row that was deleted, or that a kill prevented, from what the stage itself has
    noted. The memory it took is not known any more: the row's is this process's."""
    path = folder / "timings.csv"
    same = {"stage": stage, "source": source, "labels": labels}
    rows = pd.read_csv(path).to_dict("records") if path.is_file() else []
    same |= {"n_images": n_images, "seconds": round(seconds, 3)}  # else it is of an earlier one
    if not any(all(r[k] == v for k, v in same.items()) for r in rows):
        write_timing(folder, stage, n_images, seconds, source, labels)


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    with replacing(path) as beside:
        frame.to_csv(beside, index=False, lineterminator="\n")


def write_run_json(
    folder: Path, settings: Settings, data_root: Path, dataset: str, n_photos: int
) -> None:
    """run.json: what was asked for, with which versions, on what hardware."""
    write_json(
        folder / "run.json",
        {
            "profile": settings.profile,
            "dataset": dataset,
            "data_root": str(data_root),
            "n_photos": n_photos,
            "settings": to_dict(settings),
            "seed": settings.seed,
            "versions": {"petweak": petweak.__version__, "python": platform.python_version()}
            | {
                name: _version(name)
                for name in ("torch", "torchvision", "timm", "grad-cam", "numpy", "onnxruntime")
            },
            "git_commit": _git_commit(),
            "hardware": {
                "machine": platform.machine(),
                "system": platform.system(),
                "threads": torch.get_num_threads(),
                "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
            },
        },
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    found = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True
    )
    return found.stdout.strip() if found.returncode == 0 else None
