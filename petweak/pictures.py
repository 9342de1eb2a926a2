"""The figures that show photos and masks.

Photos are (H, W, 3) uint8 or PIL pictures, masks (H, W): bool, or uint8 as `pseudo_masks.store` has
them (255 pet, 0 background, 128 unsure). `petweak.plots` has all of this, and the charts.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from matplotlib.colors import to_rgb

from petweak import metrics
from petweak.looks import SOURCE_COLOURS, Figure, palette, size_now, styled

TRUTH_COLOUR = "#FFFFFF"  # with a black edge, so that it shows on a white cat, too
BORDER_COLOUR = "#F0E442"
SMALLEST = 6.5  # points, of names above photos: what does not fit has two lines
_TRUTH_NOTE = "white line: ground truth, border as pet"


def overlay(
    photo: Any, mask: np.ndarray | None, colour: str, truth: np.ndarray | None = None
) -> np.ndarray:
    """The photo (H, W, 3) uint8 with `mask` tinted and outlined in `colour`, `truth` (bool)
    outlined in white; unsure pixels (128) are greyed. ValueError where shapes differ."""
    out = np.array(photo, dtype=np.uint8)
    line = max(1, round(float(np.hypot(*out.shape[:2])) / 220))
    for m in (mask, truth):
        if m is not None and m.shape != out.shape[:2]:
            raise ValueError(f"a mask of shape {m.shape} on a photo of shape {out.shape}")
    if mask is not None:
        pet = mask if mask.dtype == bool else mask == 255
        unsure = np.zeros_like(pet) if mask.dtype == bool else mask == 128
        for where, rgb, share in ((pet, _rgb(colour), 0.45), (unsure, (128, 128, 128), 0.6)):
            out[where] = ((1 - share) * out[where] + share * np.array(rgb)).astype(np.uint8)
        _outline(out, pet, _rgb(colour), line)
    if truth is not None:
        _outline(out, truth, (0, 0, 0), line + 2)
        _outline(out, truth, _rgb(TRUTH_COLOUR), line)
    return out


@styled
def show_masks(
    photo: Any, masks: Mapping[str, np.ndarray], trimap: np.ndarray | None = None, columns: int = 3
) -> Figure:
    """The photo and each of `masks` on it. With a trimap (H, W) of 1, 2, 3: truth is outlined, the
    trimap has its own panel (its border in yellow), and titles give the IoU, border as pet."""
    colours, truth = palette(masks), None
    panels = [(np.asarray(photo), "photo")]
    if trimap is not None:
        truth, _ = metrics.truth(trimap, "pet")
        drawn = overlay(photo, trimap == 1, SOURCE_COLOURS["ground_truth"])
        drawn[trimap == 3] = _rgb(BORDER_COLOUR)
        panels.append((drawn, "trimap"))
    for name, mask in masks.items():
        pet = mask if mask.dtype == bool else mask == 255
        score = "" if truth is None else f" {metrics.iou(pet, truth):.2f}"
        panels.append((overlay(photo, mask, colours[name], truth), name + score))
    return _panels(_rows(panels, columns), note="" if truth is None else _TRUTH_NOTE)


@styled
def show_photos(photos: Sequence[Any] | Mapping[str, Any], columns: int = 4) -> Figure:
    """A grid of photos; a mapping {title: photo} gives them titles."""
    named = photos.items() if isinstance(photos, Mapping) else (("", p) for p in photos)
    return _panels(_rows([(np.asarray(p), title) for title, p in named], columns))


@styled
def gallery(rows: Sequence[Mapping[str, Any]], columns: int = 3) -> Figure:
    """Photos with masks, a heading above each.

    A row is {"title": text, "photo": photo, "truth": bool mask or None, "masks": {name: mask}};
    `"plain": False` leaves out the photo without masks. `name` may go on after a space:
    "mask_rcnn 0.81" has the colour of mask_rcnn.
    """
    colours = palette(name.split()[0] for row in rows for name in row["masks"])
    lines, titles = [], []
    for row in rows:
        panels = [(overlay(row["photo"], None, "", row["truth"]), "truth")]
        panels = panels if row.get("plain", True) else []
        panels += [
            (overlay(row["photo"], m, colours[name.split()[0]], row["truth"]), name)
            for name, m in row["masks"].items()
        ]
        cut = _rows(panels, columns)
        lines += cut
        titles += [row["title"], *[""] * (len(cut) - 1)]
    return _panels(lines, titles, _TRUTH_NOTE)


# --- helpers --------------------------------------------------------------------------------------


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(round(255 * c) for c in to_rgb(colour))


def _outline(image: np.ndarray, mask: np.ndarray, rgb: tuple[int, ...], width: int) -> None:
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(image, found, -1, rgb, width)


def _rows(panels: list, columns: int) -> list[list]:
    columns += size_now().more
    columns = -(-len(panels) // -(-len(panels) // columns))  # four panels are 2 x 2, not 3 + 1
    return [panels[i : i + columns] for i in range(0, len(panels), columns)]


def _panels(rows: list[list], titles: Sequence[str] = (), note: str = "") -> Figure:
    """(image, title) pairs in rows as wide as the column, without space lost between them."""
    (width, font, tallest, _), columns, gap = size_now(), max(map(len, rows)), 0.08
    line = font / 10  # of the heights below, which are for 10 pt
    foot = 0.3 * line if note else 0.04
    cell = (width - gap * (columns + 1)) / columns
    titles = [textwrap.wrap(title, int(width * 72 / (0.66 * font))) for title in titles]
    heads = [0.14 * line + 0.2 * line * len(t) if t else 0.0 for t in titles] or [0.0] * len(rows)
    shapes = [max(i.shape[0] / i.shape[1] for i, _ in row) for row in rows]
    for _ in range(2):  # smaller photos, narrower names
        texts = [[_inside(text, cell) for _, text in row] for row in rows]
        lines = [max(len(t.splitlines()) for t, _ in row) for row in texts]
        names = [(0.1 + 0.14 * n) * line if n else 0.0 for n in lines]
        fixed = sum(names) + sum(heads) + gap * (len(rows) + 1) + foot
        cell = min(cell, (tallest - fixed) / sum(shapes))
    total = fixed + cell * sum(shapes)
    fig, top = Figure(figsize=(width, total)), total - gap
    for r, row in enumerate(rows):
        top -= heads[r]
        if heads[r]:
            fig.text(gap / width, (top + 0.08) / total, "\n".join(titles[r]), weight="bold")
        top -= names[r]
        for k, (image, _) in enumerate(row):
            height, left = cell * image.shape[0] / image.shape[1], gap + k * (cell + gap)
            ax = fig.add_axes((left / width, (top - height) / total, cell / width, height / total))
            ax.imshow(image)
            ax.set_axis_off()
            ax.set_title(texts[r][k][0], fontsize=texts[r][k][1], pad=3, loc="left")
        top -= cell * shapes[r] + gap
    if note:
        fig.text(gap / width, 0.1 * line / total, note, fontsize=font - 1)
    return fig


def _inside(text: str, cell: float) -> tuple[str, float]:
    """A name above a photo `cell` inches wide, in as many lines as it takes, and its font size."""
    lines, room = [""], int(cell * 72 / (0.62 * SMALLEST))
    for word in re.findall(r"[^ _]+[ _]?|[ _]", text):
        if lines[-1] and len(lines[-1] + word.rstrip()) > room:
            lines.append("")
        lines[-1] += word
    size = cell * 72 / (0.62 * max(1, *(len(line.rstrip()) for line in lines)))
    return "\n".join(lines), min(size_now().font - 1, size)
