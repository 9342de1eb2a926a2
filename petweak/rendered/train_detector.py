"""Make the compact Mask R-CNN's weights, from nothing but rendered scenes of the other domain.

    python -m petweak.rendered.train_detector [--photos DATA_ROOT]

draws the scenes, trains, measures, and writes mask_rcnn_compact.safetensors and
mask_rcnn_compact_log.csv into petweak/models/; no module imports this one. The log has one row per
epoch (mean losses, seconds since the start) and one per set that was measured: the mean IoU of the
union of all detections with the ground truth. Only the scenes are learnt from. The rendered pets
and the photos are measured once, after training, and nothing is chosen on them.

The body is frozen, so its maps are computed once per view and kept in memory as float16 (180 kB a
view): a fixed number of views of each scene replaces new augmentation in every epoch.
"""

import argparse
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torchvision.models.detection import MaskRCNN
from torchvision.ops import masks_to_boxes

from petweak.data.files import write_frame
from petweak.data.oxford_pets import load_photo, load_trimap, read_pets
from petweak.evaluation.metrics import iou, target
from petweak.models import mask_rcnn_compact
from petweak.models.mask_rcnn_compact import CLASSES, SIZE, frozen_maps, losses, union
from petweak.rendered import make_rendered, render_domain_scene

TRAIN, HELD_OUT = 0, 1  # streams of random numbers that never meet
CHUNK = 8  # scenes that lend each other their backgrounds
SMALLEST = 0.005  # of a view's area: what is left of an animal below that is not one
LOSSES = ("loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask")
COLUMNS = ("epoch", "seconds", "views", *LOSSES,
           "set", "border", "n_images", "mean_iou", "detected", "ms_per_image")

Pair = tuple[np.ndarray, np.ndarray]  # a photo (H, W, 3) uint8, its trimap (H, W) uint8
Scene = tuple[np.ndarray, list[tuple[str, np.ndarray]]]  # (H, W, 3) uint8, [(species, (H, W) bool)]


class View(NamedTuple):
    """What the network sees of a scene: a photo, and the masks it is to predict."""

    photo: Tensor  # (3, S, S) uint8
    packed: np.ndarray  # (N, S * S / 8) uint8, eight pixels a byte
    labels: Tensor  # (N,) of CLASSES

    def target(self) -> dict[str, Tensor]:
        """torchvision's: boxes (N, 4) in pixels, labels (N,), masks (N, S, S) of 0 and 1."""
        masks = torch.from_numpy(np.unpackbits(self.packed, axis=1)).view(-1, SIZE, SIZE)
        boxes = masks_to_boxes(masks)
        boxes[:, 2:] += 1  # the far edge of the last pixel
        return {"boxes": boxes, "labels": self.labels, "masks": masks}


def _smooth(rng: np.random.Generator, shape: tuple[int, int], strength: float) -> np.ndarray:
    """(H, W, 3) factors around 1 that vary slowly over the picture."""
    knots = rng.normal(0, strength, (4, 4, 3)).astype(np.float32)
    return np.exp(cv2.resize(knots, shape[::-1], interpolation=cv2.INTER_CUBIC))


def _camera(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(S, S, 3) float in [0, 1] -> uint8: what other cameras, lights and files would make of it."""
    grey = photo.mean(axis=2, keepdims=True)
    photo = grey + (photo - grey) * np.float32(rng.uniform(0, 1.3))
    if rng.random() < 0.2:
        photo = photo[..., rng.permutation(3)]
    photo = photo * np.exp(rng.normal(0, 0.12, 3)).astype(np.float32) - 0.5
    photo = photo * np.float32(rng.uniform(0.6, 1.4)) + np.float32(rng.normal(0.5, 0.07))
    photo = np.clip(photo, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.25)))
    if rng.random() < 0.35:
        photo = cv2.GaussianBlur(photo, (0, 0), rng.uniform(0.3, 1.8))
    if rng.random() < 0.35:
        photo = photo + rng.normal(0, rng.uniform(0.01, 0.06), photo.shape).astype(np.float32)
    out = np.clip(photo * 255 + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))]
        out = cv2.imdecode(cv2.imencode(".jpg", out, quality)[1], cv2.IMREAD_COLOR)
    return out


def _cover(photo: np.ndarray, animals: list[tuple[str, np.ndarray]]) -> np.ndarray:
    return np.any([np.zeros(photo.shape[:2], bool), *(m for _, m in animals)], axis=0)


def make_view(scene: Scene, other: Scene, rng: np.random.Generator) -> View:
    """A random view of a scene. In a quarter of them its animals are cut out and pasted onto the
    scene `other` (Ghiasi et al. 2021), in a third pet and background get different tints."""
    photo, animals = scene[0].astype(np.float32) / 255, scene[1]
    h, w = shape = photo.shape[:2]
    cover = _cover(photo, animals)
    soft = cv2.GaussianBlur(cover.astype(np.float32), (0, 0), 0.7)[..., None]
    if animals and rng.random() < 0.25:
        behind = cv2.resize(other[0], (w, h), interpolation=cv2.INTER_AREA)
        photo = behind.astype(np.float32) / 255 * (1 - soft) + photo * soft
        rest = [(s, cv2.resize(m.astype(np.uint8), (w, h)) > 0) for s, m in other[1]]
        animals = animals + [(s, m & ~cover) for s, m in rest]
    if rng.random() < 0.35:
        photo = photo * (_smooth(rng, shape, 0.4) * (1 - soft) + _smooth(rng, shape, 0.3) * soft)
    if rng.random() < 0.6:  # a part of it
        h, w = (int(side * rng.uniform(0.6, 1)) for side in shape)
    y, x = rng.integers(shape[0] - h + 1), rng.integers(shape[1] - w + 1)
    step = -1 if rng.random() < 0.5 else 1

    def cut(a: np.ndarray) -> np.ndarray:
        part = np.ascontiguousarray(a[y : y + h, x : x + w][:, ::step])
        return cv2.resize(part, (SIZE, SIZE), interpolation=cv2.INTER_AREA)

    seen = [(s, cut(m.astype(np.float32)) > 0.5) for s, m in animals]
    seen = [(s, m) for s, m in seen if m.mean() > SMALLEST]
    masks = np.array([m for _, m in seen], bool).reshape(len(seen), SIZE * SIZE)
    labels = torch.tensor([CLASSES.index(s) for s, _ in seen], dtype=torch.int64)
    out = _camera(cut(np.clip(photo, 0, 1)), rng)
    return View(torch.from_numpy(out).permute(2, 0, 1), np.packbits(masks, axis=1), labels)


def draw_scenes(numbers: Iterable[int], stream: int, seed: int, size: int = 256) -> list[Scene]:
    """The scenes with these numbers: the same for the same seed, whatever is drawn beside them."""
    return [render_domain_scene(np.random.default_rng([seed, stream, i]), size) for i in numbers]


def all_views(scenes: int, views: int, seed: int) -> Iterator[View]:
    """Every view of the training set, in order."""
    for start in range(0, scenes, CHUNK):
        drawn = draw_scenes(range(start, min(start + CHUNK, scenes)), TRAIN, seed)
        rng = np.random.default_rng([seed, TRAIN, start, scenes])
        for s in (s for s in drawn for _ in range(views)):
            yield make_view(s, drawn[rng.integers(len(drawn))], rng)


def train(model: MaskRCNN, views: Iterable[View], epochs: int, lr: float, seed: int, batch=16):
    """Fit pyramid and heads to the views, AdamW and one cycle; one row of the log per epoch."""
    began, rows = time.perf_counter(), []
    if not (views := list(views)):
        raise ValueError("there are no views to train on")
    photos = torch.stack([v.photo for v in views]).split(32)
    maps = [torch.cat(m) for m in zip(*(frozen_maps(model, p) for p in photos), strict=True)]
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr, weight_decay=1e-3)
    steps = epochs * -(-len(views) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, steps, pct_start=0.15)
    order = torch.Generator().manual_seed(seed)
    model.train()
    for epoch in range(1, epochs + 1):
        sums = np.zeros(len(LOSSES))
        for index in torch.randperm(len(views), generator=order).split(batch):
            terms = losses(model, [m[index] for m in maps], [views[i].target() for i in index])
            optimizer.zero_grad()
            sum(terms.values()).backward()
            torch.nn.utils.clip_grad_norm_(weights, 5.0)
            optimizer.step()
            schedule.step()
            sums += [terms[k].item() * len(index) for k in LOSSES]
        row = epoch, round(time.perf_counter() - began, 1), len(views)
        means = np.round(sums / len(views), 4).tolist()
        rows.append(dict(zip(COLUMNS, (*row, *means), strict=False)))
        print(rows[-1], flush=True)
    return rows


def measure(model: MaskRCNN, pairs: Iterable[Pair], name: str) -> list[dict[str, object]]:
    """Rows of the log for photos and trimaps: the mean IoU for each way to count the border, the
    share of photos with a detection, milliseconds per photo."""
    borders, values = ("ignore", "foreground"), []
    for photo, trimap in pairs:
        began = time.perf_counter()
        mask = union(model, photo)
        seconds = time.perf_counter() - began
        values.append((mask.any(), seconds, *(iou(mask, *target(trimap, b)) for b in borders)))
    hits, seconds, *ious = np.array(values, float).T
    row = {"set": name, "n_images": len(hits), "detected": round(float(hits.mean()), 4),
           "ms_per_image": round(float(np.median(seconds)) * 1e3, 1)}
    return [row | {"border": border, "mean_iou": round(float(of.mean()), 4)}
            for border, of in zip(borders, ious, strict=True)]


def held_out(count: int, seed: int) -> Iterator[Pair]:
    """Scenes of the domain that were not trained on, with an exact mask in a trimap's values."""
    for photo, animals in draw_scenes(range(count), HELD_OUT, seed):
        yield photo, np.where(_cover(photo, animals), 1, 2).astype(np.uint8)


def pairs_in(data_root: Path, count: int | None, seed: int) -> Iterator[Pair]:
    """Photos and trimaps of a set in Oxford-IIIT Pet's layout: a seeded `count` of them, or all."""
    samples = read_pets(data_root).samples
    for i in np.sort(np.random.default_rng(seed).permutation(len(samples))[:count]):
        yield np.array(load_photo(samples[i].photo)), load_trimap(samples[i].trimap)


def main() -> None:
    option = (parser := argparse.ArgumentParser(description=__doc__.splitlines()[0])).add_argument
    option("--scenes", type=int, default=1000, help="rendered scenes to learn from")
    option("--views", type=int, default=2, help="augmented views of each scene")
    option("--epochs", type=int, default=5, help="times that every view is seen")
    option("--lr", type=float, default=2e-3, help="the largest learning rate")
    option("--seed", type=int, default=0)
    option("--threads", type=int, default=1, help="more pay on idle cores alone")
    option("--photos", type=Path, help="folder with oxford-iiit-pet/, to measure 40")
    option("--out", type=Path, default=mask_rcnn_compact.WEIGHTS)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    model = mask_rcnn_compact.build()
    views = all_views(args.scenes, args.views, args.seed)
    rows = train(model, views, args.epochs, args.lr, args.seed)
    mask_rcnn_compact.save(model, args.out)
    model = mask_rcnn_compact.load(args.out)  # measured as shipped, in float16
    measured = measure(model, held_out(100, args.seed), "held-out scenes")
    with tempfile.TemporaryDirectory() as folder:
        make_rendered(folder, train_per_breed=1, test_per_breed=1, progress=False)
        measured += measure(model, pairs_in(Path(folder), None, args.seed), "rendered pets")
    if args.photos:
        measured += measure(model, pairs_in(args.photos, 40, args.seed), "photos")
    print(*measured, sep="\n")
    log = pd.DataFrame(rows + measured, columns=COLUMNS).convert_dtypes()  # integers stay integers
    write_frame(args.out.with_name(f"{args.out.stem}_log.csv"), log)


if __name__ == "__main__":
    main()
