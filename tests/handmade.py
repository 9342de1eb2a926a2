"""A run's folder, written by hand: with scores that the tests expect."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import once
from PIL import Image
from safetensors.torch import save_file

from petweak.config import settings
from petweak.data.files import write_json
from petweak.data.masks import BACKGROUND, FOREGROUND
from petweak.evaluation.metrics import BASELINES, BORDERS
from petweak.models.maskformer import MaskFormer, MaskFormerConfig
from petweak.reporting import report

BREEDS = ("Abyssinian", "beagle")
IDS = [f"{breed}_{n}" for breed in BREEDS for n in (1, 2, 3)]
SPLITS = ["train", "test", "test"] * 2
SOURCES = ("ground_truth", "gradcam_pretrained")  # a model of breed labels each
# Mask IoU on test by border, in the order of BORDERS; the last model is worse than all_ones.
MASK_IOU = {
    "all_ones": (0.40, 0.30, 0.25),
    "centre_box": (0.50, 0.45, 0.40),
    "ground_truth": (0.80, 0.85, 0.60),
    "gradcam_pretrained": (0.10, 0.35, 0.30),
}
SETTINGS = settings("embedded", image_size=64, epochs=2, sources=SOURCES, labels="breed").replace(
    val_fraction=0.0
)


CHROMIUM = next(filter(None, map(shutil.which, report.BROWSERS)), None)
OF_A_COMMAND = ("returncode", "stdout", "stderr")


def on_a_read_only_disk(folder: Path, *words: str, home: Path | None = None):
    """Python where nothing can be written into `folder`, as root either: in a name space of its
    own, in which that folder is mounted read-only."""
    bind = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    begin = ["unshare", "-rm", "sh", "-c", bind, str(folder)]
    said = dict(capture_output=True, encoding="utf-8", timeout=300)
    try:
        subprocess.run([*begin, "true"], check=True, **said)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"unshare and mount are not permitted here: {error}")
    env = {k: v for k, v in os.environ.items() if k not in ("MPLCONFIGDIR", "IPYTHONDIR")}
    env |= {"TQDM_DISABLE": "1"} | ({"HOME": str(home)} if home else {})
    return subprocess.run([*begin, sys.executable, *words], env=env, **said)


def reported_run(top: Path) -> Path:
    """The run's folder with its report in every format that this machine can write, executed once
    for all tests, by a command whose home is read-only; said.json beside it has what that said."""
    def make(folder: Path) -> None:
        run, home, formats = make_run(folder), folder / "home", ["html", "md", "latex"]
        home.mkdir()
        words = ["-m", "petweak", "report", str(run), "--format", *formats]
        with suppress(pytest.skip.Exception):
            done = vars(on_a_read_only_disk(home, *words, home=home))
            write_json(folder / "said.json", {k: done[k] for k in OF_A_COMMAND})
        with pytest.MonkeyPatch.context() as patch:
            left = ["pdf"] * bool(CHROMIUM)
            if (run / report.NOTEBOOK).is_file():
                patch.setattr(report, "execute", lambda *_: None)  # so the figures would be gone
            else:
                left = formats + left
            if left:
                report.write_report(run, left)
            assert (run / "report.html").is_file()

    return once(top / "report", make) / "run"


def results_of(mask_iou: dict) -> pd.DataFrame:
    rows = []
    for source, values in mask_iou.items():
        labels = "-" if source in BASELINES else "breed"
        for split in ("train", "test"):
            at = {"source": source, "labels": labels, "split": split}
            for border, value in zip(BORDERS, values, strict=True):
                for metric in ("mask_iou_gt", "pseudo_iou_gt", "dataset_iou_gt", "boundary_iou_gt"):
                    # The boundary IoU is below all_ones everywhere, which must not be flagged.
                    v = 0.01 if metric[0] == "b" and labels == "breed" else value
                    rows.append(at | {"metric": metric, "border": border, "value": v})
            if labels == "breed":
                for metric, v in (("class_iou", 0.9), ("class_accuracy", 0.95), ("mask_iou", 0.7)):
                    rows.append(at | {"metric": metric, "border": "-", "value": v})
                for border in ("foreground", "ignore"):
                    rows.append(at | {"metric": "semantic_miou", "border": border, "value": 0.6})
    frame = pd.DataFrame(rows).assign(n_images=4, seed=0, seconds=1.0, profile="embedded")
    frame = frame.assign(dataset="rendered", backbone="efficientnet_lite0", round=np.nan)
    of_masks = (frame["labels"] == "-") | (frame["metric"] == "pseudo_iou_gt")
    frame["model"] = pd.Series("maskformer", frame.index).where(~of_masks)
    return frame.assign(low=frame["value"] - 0.05, high=frame["value"] + 0.05)


def scores(iou: list[float]) -> pd.DataFrame:
    breeds = [image_id.split("_")[0] for image_id in IDS]
    frame = pd.DataFrame({"id": IDS, "split": SPLITS, "breed": breeds})
    for border in BORDERS:
        frame = frame.assign(**{f"iou/{border}": iou, f"boundary/{border}": 0.1})
    return frame


def make_run(top: Path) -> Path:
    """Write `run/` and `oxford-iiit-pet/` into `top`, in the formats of a study; returns the run's
    folder."""
    run, data, rng = top / "run", top / "oxford-iiit-pet", np.random.default_rng(0)
    for folder in ("images", "annotations/trimaps"):
        (data / folder).mkdir(parents=True)
    for split, file in (("train", "trainval.txt"), ("test", "test.txt")):
        numbers = [(i, 1 + (k > 2)) for k, i in enumerate(IDS) if SPLITS[k] == split]
        lines = [f"{i} {number} {number} 1" for i, number in numbers]
        (data / "annotations" / file).write_text("\n".join(lines))
    trimap = np.full((30, 40), 2, np.uint8)
    trimap[8:22, 10:30], trimap[10:20, 12:28] = 3, 1
    for i in IDS:
        photo = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(photo).save(data / "images" / f"{i}.jpg")
        Image.fromarray(trimap).save(data / "annotations" / "trimaps" / f"{i}.png")
    results = results_of(MASK_IOU)
    results.to_csv(_folder(run) / "results.csv", index=False)
    for name in BASELINES:
        scores([0.4] * 6).to_csv(_folder(run / "baselines" / name) / "scores.csv", index=False)
    mask = np.where(trimap == 2, BACKGROUND, FOREGROUND).astype(np.uint8)
    for source in SOURCES:
        masks, model = _folder(run / "masks" / source), _folder(run / "models" / f"{source}-breed")
        for i in IDS:
            Image.fromarray(mask).save(masks / f"{i}.png")
        per_photo = scores([0.5, 0.6, 0.7, 0.1, 0.2, 0.3])
        per_photo.to_csv(masks / "scores.csv", index=False)
        write_json(masks / "manifest.json", {"key": "k", "threshold": 0.25, "ids": IDS})
        classes = {"class": [0, 0, 0, 1, 1, 1], "predicted": [0, 0, 0, 1, 1, 0]}
        per_photo.assign(**classes).to_csv(model / "scores.csv", index=False)
        rows = results[results["source"] == source]
        of_masks = rows["metric"] == "pseudo_iou_gt"
        columns = ["split", "border", "metric", "value", "low", "high", "n_images"]
        for folder, part in ((masks, rows[of_masks]), (model, rows[~of_masks])):
            note = {"key": "k", "rows": part[columns].to_dict("records"), "seconds": 1.0}
            write_json(folder / "scores.json", note)
        history = {"epoch": [1, 2], "loss": [2.0, 1.0], "val_mask_iou": [0.5, 0.6]}
        pd.DataFrame(history).to_csv(model / "history.csv", index=False)
        make_model(model, source)
    index = {"key": "k", "ids": IDS, "levels": ["final"], "passes": 12, "seconds": 12, "crc32": {}}
    features = _folder(run / "features")
    write_json(features / "index.json", index)
    np.save(features / "final.npy", rng.random((6, 2, 4, 2, 2)).astype(np.float16))
    np.save(features / "pooled.npy", rng.random((6, 2, 4)).astype(np.float32))
    timings().to_csv(run / "timings.csv", index=False)
    bad = {"id": ["Sphynx_9"], "file": ["/somewhere/else/Sphynx_9.jpg"], "reason": ["is a <text>"]}
    pd.DataFrame(bad).to_csv(run / "quarantine.csv", index=False)
    write_json(run / "run.json", about_run() | {"data_root": str(top)})
    return run


def about_run() -> dict:
    return {
        "profile": "embedded",
        "dataset": "rendered",
        "n_photos": 6,
        "seed": 0,
        "settings": SETTINGS.to_dict(),
        "versions": {"petweak": "0", "timm": None},
        "git_commit": "abc",
        "device": "cpu",
        "hardware": {"gpu": None},
    }


def timings() -> pd.DataFrame:
    rows = [
        ("features", "-", "-", 12, 12.0),
        ("masks", "ground_truth", "-", 6, 3.0),
        ("masks", "gradcam_pretrained", "-", 6, 6.0),
    ]
    columns = ["stage", "source", "labels", "n_images", "seconds"]
    return pd.DataFrame(rows, columns=columns).assign(images_per_second=1.0, peak_rss_mb=9.0)


def make_model(folder: Path, source: str, labels: str = "breed", **changes) -> None:
    """An untrained model in a folder that is there; `changes` go into its config.json."""
    torch.manual_seed(0)
    model = MaskFormerConfig(2, (4,), decoder_channels=8, queries=2, hidden=8)
    save_file(MaskFormer(model).state_dict(), folder / "model.safetensors")
    config = {"key": "k", "source": source, "labels": labels, "variant": "", "round": None}
    config |= {"classes": list(BREEDS), "best_epoch": 2, "val_mask_iou": 0.6, "n_images": 1}
    config |= {"seconds": 1.0, "epochs": 2, "model": vars(model), "settings": SETTINGS.to_dict()}
    write_json(folder / "config.json", config | changes)


def _folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
