"""What all figures share: sizes, colours, the style, saving.

    with style(size="one"):
        fig = canvas(3.6)
    save_or_show(fig, "overview-one.pdf")

That figure is 3.4 inches wide and has fonts of 8 pt; `styled` does the same for every function that
draws.
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.figure import Figure as _Figure

from petweak.files import replacing


class Size(NamedTuple):
    """Of a figure: `width` and the `tallest` it may be in inches, `font` in points, and how many
    `more` photos than on a screen stand side by side."""

    width: float
    font: float
    tallest: float = math.inf
    more: int = 0


SIZES = {
    "screen": Size(5.6, 10),  # 10 pt can still be read where a phone shows it
    "one": Size(3.4, 8, tallest=8.6),  # one of a paper's two columns
    "two": Size(7.0, 9, tallest=8.6, more=2),  # both of them
}
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


class Figure(_Figure):
    """A matplotlib figure that a notebook shows without pyplot."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        return png(self), {"width": int(self.get_figwidth() * 110)}  # IPython: data, metadata


_now: ContextVar[Size] = ContextVar("size", default=SIZES["screen"])


def size_now() -> Size:
    """The size of the style that is being drawn in."""
    return _now.get()


@contextmanager
def style(dark: bool = False, size: str = "screen") -> Iterator[None]:
    """The look of all figures, as a context manager (`with style(): ...`); sizes: `SIZES`."""
    ink, paper, grid = ("#e6e6e6", "#16181d", "#3a3d45") if dark else ("#222", "#fff", "#ddd")
    inks = ("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color")
    look = {
        "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture everywhere
        "font.size": SIZES[size].font,
        "axes.titlesize": SIZES[size].font,
        "axes.edgecolor": grid,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": grid,
        "legend.frameon": False,
        "legend.fontsize": SIZES[size].font - 1,
        "lines.linewidth": 1.8,
        "figure.facecolor": paper,
        "axes.facecolor": paper,
        "savefig.facecolor": paper,
    }
    before = _now.set(SIZES[size])
    try:
        with matplotlib.rc_context(look | dict.fromkeys(inks, ink)):
            yield
    finally:
        _now.reset(before)


def styled(draw):
    """Gives a function that returns a Figure its keywords `dark` and `size`, and our style."""
    @functools.wraps(draw)
    def call(*args, dark: bool = False, size: str = "screen", **kwargs):
        with style(dark, size):
            return draw(*args, **kwargs)

    return call


def canvas(height: float) -> Figure:
    """An empty figure of the style's size; `height` is in inches at 10 pt, and follows the font."""
    size = size_now()
    height = min(height * size.font / 10, size.tallest)
    return Figure(figsize=(size.width, height), layout="constrained")


def legend(fig: _Figure, columns: int) -> None:
    """Above the axes, where it hides no value, in as many of `columns` as the width allows."""
    for n in range(columns, 0, -1):
        box = fig.legend(loc="outside upper left", ncols=n)
        if n == 1 or box.get_window_extent().width <= fig.bbox.width:
            return
        box.remove()


def png(fig: _Figure) -> bytes:
    """The figure as a PNG file, the same bytes for the same figure."""
    return _file(fig, "png", {"Software": None})


def save_or_show(fig: _Figure, path: str | Path | None = None) -> Path | None:
    """Write the figure to `path` (.png or .pdf), whole or not at all, and return the path; without
    a path show it in the notebook."""
    if path is None:
        from IPython.display import display

        display(fig)
        return None
    pdf = Path(path).suffix == ".pdf"
    with replacing(path) as beside:
        beside.write_bytes(_file(fig, "pdf", {"CreationDate": None}) if pdf else png(fig))
    return Path(path)


def _file(fig: _Figure, kind: str, metadata: dict) -> bytes:
    out = io.BytesIO()
    with matplotlib.rc_context({"pdf.fonttype": 42}):  # TrueType: journals refuse Type 3
        fig.savefig(out, format=kind, dpi=DPI, metadata=metadata)
    return out.getvalue()


def palette(sources: Iterable[str]) -> dict[str, str]:
    """{source: "#rrggbb"}; sources without a colour of their own get spare ones, in order."""
    unknown = [s for s in dict.fromkeys(sources) if s not in SOURCE_COLOURS]
    spare = {s: SPARE_COLOURS[i % len(SPARE_COLOURS)] for i, s in enumerate(unknown)}
    return SOURCE_COLOURS | spare
