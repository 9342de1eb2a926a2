"""Photos, (H, W, 3) uint8 or PIL images, with masks, (H, W) bool or uint8 as they are on disk."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from matplotlib import rcParams
from PIL.ImageColor import getrgb
from torchvision.utils import draw_segmentation_masks

from petweak.data.masks import IGNORE, read_mask
from petweak.data.oxford_pets import TRIMAP_BORDER, Sample
from petweak.evaluation import metrics
from petweak.study.run import Run
from petweak.study.tables import pick_examples
from petweak.visualization.style import SOURCE_COLOURS, Figure, palette, styled

Mask = np.ndarray | None
BORDER_COLOUR, IGNORE_COLOUR = "#F0E442", "#808080"
GAP = 0.08  # inches, between photos
NOTE = "white line: ground truth, border as foreground"


def overlay(photo: Any, mask: Mask, colour: str, target: Mask = None) -> np.ndarray:
    """The photo (H, W, 3) uint8 with `mask` tinted in `colour`, its edge dark outside and light
    inside, which shows on fur of any colour, its ignore region greyed, and `target` outlined in
    white. ValueError where shapes differ."""
    out = np.array(photo, dtype=np.uint8)
    line = max(1, round(float(np.hypot(*out.shape[:2])) / 220))
    for m in (mask, target):
        if m is not None and m.shape != out.shape[:2]:
            raise ValueError(f"a mask of shape {m.shape} on a photo of shape {out.shape}")
    if mask is not None:
        image, inside = torch.from_numpy(out).permute(2, 0, 1), (mask != IGNORE) & (mask > 0)
        masks = torch.from_numpy(np.stack([inside, mask == IGNORE]))
        tinted = draw_segmentation_masks(image, masks, 0.45, [colour, IGNORE_COLOUR])
        out = np.ascontiguousarray(tinted.permute(1, 2, 0).numpy())
        edge, rgb = np.zeros(inside.shape, np.uint8), np.array(getrgb(colour))
        _outline(edge, inside, (1,), 2 * line + 1)
        out[(edge > 0) & ~inside], out[(edge > 0) & inside] = rgb // 4, (rgb + 255) // 2
    if target is not None:  # white on black, so that it shows on a white cat, too
        _outline(out, target, (0, 0, 0), line + 2)
        _outline(out, target, (255, 255, 255), line)
    return out


@styled
def show_masks(photo: Any, masks: Mapping, trimap: Mask = None, columns: int = 3) -> Figure:
    """The photo, and each of `masks` on it. With a trimap (H, W) ground truth is outlined, the
    trimap is shown too (its border in yellow), and titles give the IoU, border as foreground."""
    colours, target = palette(masks), None
    pictures = [(np.asarray(photo), "photo")]
    if trimap is not None:
        target, _ = metrics.target(trimap, "foreground")
        drawn = overlay(photo, target, SOURCE_COLOURS["ground_truth"])
        drawn[trimap == TRIMAP_BORDER] = getrgb(BORDER_COLOUR)
        pictures.append((drawn, "trimap"))
    for name, mask in masks.items():
        inside, drawn = (mask != IGNORE) & (mask > 0), overlay(photo, mask, colours[name], target)
        score = "" if target is None else f" {metrics.iou(inside, target):.2f}"
        pictures.append((drawn, name + score))
    return _grid([("", pictures)], columns, NOTE if target is not None and masks else "")


@styled
def show_photos(photos: Sequence[Any] | Mapping[str, Any], columns: int = 4) -> Figure:
    """A grid of photos; a mapping {title: photo} gives them titles."""
    named = photos.items() if isinstance(photos, Mapping) else (("", p) for p in photos)
    return _grid([("", [(np.asarray(p), title) for title, p in named])], columns)


@styled
def gallery(rows: Iterable[Mapping[str, Any]], columns: int = 3) -> Figure:
    """Photos with masks, a heading above each. A row is {"title": text, "photo": photo, "target":
    bool mask or None, "masks": {name: mask}}; `"plain": False` leaves out the photo without masks.
    Without a target the photo has no outline. `name` may go on after a space: "mask_rcnn 0.81" has
    the colour of mask_rcnn."""
    rows, sections = list(rows), []
    colours = palette(name.split()[0] for row in rows for name in row["masks"])
    for row in rows:
        photo, target = row["photo"], row["target"]
        name = "photo" if target is None else "ground truth"
        pictures = [(overlay(photo, None, "", target), name)] * row.get("plain", True)
        for name, mask in row["masks"].items():
            pictures.append((overlay(photo, mask, colours[name.split()[0]], target), name))
        sections.append((row["title"], pictures))
    outlined = any(row["target"] is not None for row in rows)
    return _grid(sections, columns, NOTE if outlined else "")


def gallery_row(sample: Sample, title: str, masks: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `gallery`, the border as foreground; without a trimap, without an outline."""
    photo, trimap = sample.load()
    outline = None if trimap is None else metrics.target(trimap, "foreground")[0]
    return {"title": title, "photo": photo, "target": outline, "masks": masks}


def show_examples(run: Run, source: str, columns: int = 2, **look) -> Figure:
    """The best, the median and the worst mask of a source on test, by IoU with ground truth (border
    as foreground), which stands beside its name."""
    table, rows = run.mask_scores(source).photos.query("split == 'test'"), []
    ious = table.set_index("id")["iou/foreground"]
    for word, i in pick_examples(table).items():
        masks = {f"{source} {ious[i]:.2f}": read_mask(run.masks_folder(source) / f"{i}.png")}
        rows.append(gallery_row(run.pets.sample(i), f"{word}: {i}", masks))
    return gallery(rows, columns, **look)


def _outline(image: np.ndarray, mask: np.ndarray, rgb: tuple[int, ...], width: int) -> None:
    lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(image, lines, -1, rgb, width)


def _grid(sections: Sequence[tuple[str, list]], columns: int, note: str = "") -> Figure:
    """Sections of a heading and (image, name) pairs, photos as wide as the figure allows, the
    figure as high as they are. All coordinates are inches; no layout of matplotlib does this."""
    (width, tallest), font = rcParams["figure.figsize"], rcParams["font.size"]
    most, line, rows = columns + 2 * (width > 6), font / 62, []
    for heading, pictures in sections:
        n = -(-len(pictures) // -(-len(pictures) // most))  # four are 2 x 2, not 3 + 1
        parts = [pictures[k : k + n] for k in range(0, len(pictures), n)]
        rows += [(heading if part is parts[0] else "", part) for part in parts]
    shapes = [max(image.shape[0] / image.shape[1] for image, _ in row) for _, row in rows]
    side = widest = (width - GAP) / max(len(row) for _, row in rows) - GAP
    for _ in range(2):  # smaller photos, narrower names
        heads = [_wrapped(heading, width, 1.1 * font) for heading, _ in rows]
        names = [[_wrapped(name, side, font - 1.5) for _, name in row] for _, row in rows]
        above = [line * (1.05 * h.count("\n") + 1.5) * bool(h) for h in heads]
        text = [line * 0.9 * max(n.count("\n") + bool(n) for n in row) + GAP for row in names]
        fixed = sum(above) + sum(text) + GAP + 1.5 * line * bool(note)
        side = min(side, (tallest - fixed) / sum(shapes))
    if side < 0.75 * widest and most < max(len(pictures) for _, pictures in sections):
        return _grid(sections, columns + 1, note)  # fewer rows, larger photos
    y = fixed + side * sum(shapes)
    fig = Figure(figsize=(width, y))
    ax = fig.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, y), autoscale_on=False)
    ax.set_axis_off()
    for r, (_, row) in enumerate(rows):
        ax.text(GAP, y - GAP, heads[r], weight="bold", va="top")
        y -= above[r] + text[r]
        for k, (image, _) in enumerate(row):
            left, bottom = GAP + k * (side + GAP), y - side * image.shape[0] / image.shape[1]
            ax.imshow(image, extent=(left, left + side, bottom, y), aspect="auto")
            ax.text(left, y + 0.04, names[r][k], fontsize=font - 1.5)
        y -= side * shapes[r]
    ax.text(GAP, GAP, note, fontsize=font - 1)
    return fig


def _wrapped(text: str, inches: float, points: float) -> str:  # 0.62 points a letter
    return textwrap.fill(text.replace("_", "_ "), int(116 * inches / points) + 1).replace("_ ", "_")
