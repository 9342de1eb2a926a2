"""A run's folder, written by hand: every figure in it is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors.torch import save_file

from petweak import tables
from petweak.files import write_json
from petweak.maskformer.model import MaskFormer, MaskFormerConfig

IDS = [f"{breed}_{n}" for breed in ("Abyssinian", "great_dane") for n in (1, 2, 3)]
SPLITS = ["train", "test", "test"] * 2
STUDENTS = ("ground_truth", "gradcam_pretrained")  # breed labels, of six photos of two breeds
# Mask IoU on test by border (pet, ignore, background); the last student is worse than all_ones.
MASK_IOU = {
    "all_ones": (0.40, 0.30, 0.25),
    "centre_box": (0.50, 0.45, 0.40),
    "ground_truth": (0.80, 0.85, 0.60),
    "gradcam_pretrained": (0.10, 0.35, 0.30),
}
BORDERS = ("pet", "ignore", "background")


def results_of(mask_iou: dict) -> pd.DataFrame:
    rows = []
    for source, values in mask_iou.items():
        labels = "-" if source in tables.BASELINES else "breed"
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
    frame = pd.DataFrame(rows).assign(n_images=4, seed=0, seconds=1.0, profile="embedded")
    return frame.assign(low=frame["value"] - 0.05, high=frame["value"] + 0.05)


def scores(iou: list[float]) -> pd.DataFrame:
    frame = pd.DataFrame({"id": IDS, "split": SPLITS})
    for border in BORDERS:
        frame = frame.assign(**{f"iou/{border}": iou, f"boundary/{border}": 0.1})
    return frame


def make_run(top: Path) -> None:
    """Write `run/` and `oxford-iiit-pet/` into `top`, in the formats of a study."""
    run, data, rng = top / "run", top / "oxford-iiit-pet", np.random.default_rng(0)
    for folder in ("images", "annotations/trimaps"):
        (data / folder).mkdir(parents=True)
    for split, file in (("train", "trainval.txt"), ("test", "test.txt")):
        lines = [f"{i} {1 + (k > 2)} {1 + (k > 2)} 1" for k, i in enumerate(IDS)
                 if SPLITS[k] == split]  # fmt: skip
        (data / "annotations" / file).write_text("\n".join(lines))
    trimap = np.full((30, 40), 2, np.uint8)
    trimap[8:22, 10:30], trimap[10:20, 12:28] = 3, 1
    for i in IDS:
        photo = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(photo).save(data / "images" / f"{i}.jpg")
        Image.fromarray(trimap).save(data / "annotations" / "trimaps" / f"{i}.png")
    results_of(MASK_IOU).to_csv(_made(run) / "results.csv", index=False)
    for name in tables.BASELINES:
        scores([0.4] * 6).to_csv(_made(run / "baselines" / name) / "scores.csv", index=False)
    for source in STUDENTS:
        masks, model = _made(run / "masks" / source), _made(run / "models" / f"{source}-breed")
        for i in IDS:
            Image.fromarray(np.where(trimap == 2, 0, 255).astype(np.uint8)).save(masks / f"{i}.png")
        scores([0.5, 0.6, 0.7, 0.1, 0.2, 0.3]).to_csv(masks / "scores.csv", index=False)
        found = scores([0.5, 0.6, 0.7, 0.1, 0.2, 0.3])
        found = found.assign(predicted=[0, 0, 0, 1, 1, 0], **{"class": [0, 0, 0, 1, 1, 1]})
        found.to_csv(model / "scores.csv", index=False)
        history = {"epoch": [1, 2], "loss": [2.0, 1.0], "val_mask_iou": [0.5, 0.6]}
        pd.DataFrame(history).to_csv(model / "history.csv", index=False)
        _student(model, source)
    index = {"key": "k", "ids": IDS, "taps": ["last"], "scales": [1.0], "passes": 12, "seconds": 12}
    features = _made(run / "features")
    write_json(features / "index.json", index)
    np.save(features / "last@1.0.npy", rng.random((6, 2, 4, 2, 2)).astype(np.float16))
    np.save(features / "pooled@1.0.npy", rng.random((6, 2, 4)).astype(np.float32))
    timings().to_csv(run / "timings.csv", index=False)
    bad = {"id": ["Sphynx_9"], "file": ["/somewhere/else/Sphynx_9.jpg"], "reason": ["is a <text>"]}
    pd.DataFrame(bad).to_csv(run / "quarantine.csv", index=False)
    write_json(run / "run.json", about_run())


def about_run() -> dict:
    settings = dict(backbone="efficientnet_lite0", image_size=64, taps=["last"], epochs=2,
                    sources=list(STUDENTS), labels=["breed"], detector="auto")  # fmt: skip
    return {
        "profile": "embedded", "dataset": "rendered", "n_photos": 6, "seed": 0,
        "settings": settings, "versions": {"petweak": "0", "timm": None}, "git_commit": "abc",
        "hardware": {"gpu": None},
    }  # fmt: skip


def timings() -> pd.DataFrame:
    rows = [("features", "-", "-", 12, 12.0), ("masks", "ground_truth", "-", 6, 3.0),
            ("masks", "gradcam_pretrained", "-", 6, 6.0)]  # fmt: skip
    columns = ["stage", "source", "labels", "n_images", "seconds"]
    return pd.DataFrame(rows, columns=columns).assign(images_per_second=1.0, peak_rss_mb=9.0)


def _made(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _student(folder, source: str) -> None:
    model = dict(num_classes=2, in_channels=[4], decoder_channels=8, queries=2, hidden=8)
    torch.manual_seed(0)
    filled = MaskFormer(MaskFormerConfig(**(model | {"in_channels": (4,)})))
    save_file(filled.state_dict(), folder / "model.safetensors")
    config = {"source": source, "labels": "breed", "classes": ["a", "b"], "best_epoch": 2}
    settings = {"backbone": "efficientnet_lite0", "image_size": 64, "predict_mirror": True}
    write_json(folder / "config.json", config | {"model": model, "settings": settings})
