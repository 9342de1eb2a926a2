"""What all figures share (look, colours, saving), and those that show photos and masks.

Photos are (H, W, 3) uint8 or PIL pictures, masks (H, W): bool, or uint8 as `pseudo_masks.store` has
them (255 pet, 0 background, 128 unsure). `petweak.plots` has all of this, and the charts.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as _Figure

from petweak import metrics
from petweak.files import replacing

WIDTH = 5.6  # inches: one column, and 10 pt can still be read where a phone shows it
DPI = 200
# Okabe and Ito's colours, told apart by colour-blind readers too; a source keeps its colour.
SOURCE_COLOURS = {
    "ground_truth": "#009E73",
    "mask_rcnn": "#0072B2",
    "gradcam_pretrained": "#E69F00",
    "gradcam_finetuned": "#D55E00",
    "labels_free": "#56B4E9",
    "external": "#CC79A7",
    "all_ones": "#808080",
    "centre_box": "#A8A8A8",
}
SPARE_COLOURS = ("#882255", "#999933", "#44AA99", "#AA4499", "#6699CC")
TRUTH_COLOUR = "#FFFFFF"  # with a black edge, so that it shows on a white cat, too
BORDER_COLOUR = "#F0E442"
_TRUTH_NOTE = "white line: ground truth, border as pet"


class Figure(_Figure):
    """A matplotlib figure that a notebook shows without pyplot."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        return png(self), {"width": int(self.get_figwidth() * 110)}  # IPython: data, metadata


def style(dark: bool = False):
    """The look of all figures, as a context manager (`with style(): ...`)."""
    ink, paper, grid = ("#e6e6e6", "#16181d", "#3a3d45") if dark else ("#222", "#fff", "#ddd")
    inks = ("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color")
    return matplotlib.rc_context(
        {
            "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture everywhere
            "font.size": 10,
            "axes.titlesize": 10,
            "axes.edgecolor": grid,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "grid.color": grid,
            "legend.frameon": False,
            "legend.fontsize": 9,
            "lines.linewidth": 1.8,
            "figure.facecolor": paper,
            "axes.facecolor": paper,
            "savefig.facecolor": paper,
        }
        | dict.fromkeys(inks, ink)
    )


def styled(draw):
    """Gives a function that returns a Figure its keyword `dark`, and draws in our style."""
    @functools.wraps(draw)
    def call(*args, dark: bool = False, **kwargs):
        with style(dark):
            return draw(*args, **kwargs)

    return call


def png(fig: _Figure) -> bytes:
    """The figure as a PNG file, the same bytes for the same figure."""
    out = io.BytesIO()
    fig.savefig(out, format="png", dpi=DPI, metadata={"Software": None})
    return out.getvalue()


def save_or_show(fig: _Figure, path: str | Path | None = None) -> Path | None:
    """Write the figure as a PNG to `path`, whole or not at all, and return the path; without a
    path show it in the notebook."""
    if path is None:
        from IPython.display import display

        display(fig)
        return None
    with replacing(path) as beside:
        beside.write_bytes(png(fig))
    return Path(path)


def palette(sources: Iterable[str]) -> dict[str, str]:
    """{source: "#rrggbb"}; sources without a colour of their own get spare ones, in order."""
    unknown = [s for s in dict.fromkeys(sources) if s not in SOURCE_COLOURS]
    spare = {s: SPARE_COLOURS[i % len(SPARE_COLOURS)] for i, s in enumerate(unknown)}
    return SOURCE_COLOURS | spare


# --- photos and masks -----------------------------------------------------------------------------


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
    columns = -(-len(panels) // -(-len(panels) // columns))  # four panels are 2 x 2, not 3 + 1
    return [panels[i : i + columns] for i in range(0, len(panels), columns)]


def _panels(rows: list[list], titles: Sequence[str] = (), note: str = "") -> Figure:
    """(image, title) pairs in rows as wide as the column, without space lost between them."""
    columns, gap, foot = max(map(len, rows)), 0.08, 0.3 if note else 0.04
    cell = (WIDTH - gap * (columns + 1)) / columns
    names = [0.24 if any(t for _, t in row) else 0.0 for row in rows]
    heads = [0.34 if title else 0.0 for title in titles] or [0.0] * len(rows)
    heights = [max(cell * i.shape[0] / i.shape[1] for i, _ in row) for row in rows]
    total = sum(names) + sum(heads) + sum(heights) + gap * (len(rows) + 1) + foot
    fig, top = Figure(figsize=(WIDTH, total)), total - gap
    for r, row in enumerate(rows):
        top -= heads[r]
        if heads[r]:
            fig.text(gap / WIDTH, (top + 0.08) / total, titles[r], weight="bold")
        top -= names[r]
        for k, (image, text) in enumerate(row):
            height = cell * image.shape[0] / image.shape[1]
            left = gap + k * (cell + gap)
            ax = fig.add_axes((left / WIDTH, (top - height) / total, cell / WIDTH, height / total))
            ax.imshow(image)
            ax.set_axis_off()
            size = min(9.0, cell * 72 / (0.62 * max(len(text), 1)))  # long names stay inside
            ax.set_title(text, fontsize=size, pad=3, loc="left")
        top -= heights[r] + gap
    if note:
        fig.text(gap / WIDTH, 0.1 / total, note, fontsize=9)
    return fig
