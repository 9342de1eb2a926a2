"""What all figures share: sizes, colours, the style, saving and showing, without pyplot."""

import functools
import io
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from IPython.display import Image as Shown
from IPython.display import display
from matplotlib import rc_context, rcParams
from matplotlib import style as mpl_style
from matplotlib.figure import Figure as _Figure
from matplotlib.text import Text
from PIL import Image

from petweak.data.files import replacing

QUALITY, COLOURS = 50, 64  # of photos as JPEG, of charts as PNG: a notebook is below 600 kB
SIZES = ("screen", "one", "two")  # a phone or a page, one or both columns of a paper
# Colours of Okabe and Ito, and a brown, which colour-blind readers can tell apart: test_style.py.
SOURCE_COLOURS = {
    "ground_truth": "#009E73",
    "mask_rcnn": "#0072B2",
    "mask_rcnn_compact": "#9A6A3A",
    "gradcam_pretrained": "#E69F00",
    "gradcam_finetuned": "#D55E00",
    "imagenet_only": "#56B4E9",
    "external": "#CC79A7",
    "all_ones": "#808080",
    "centre_box": "#A8A8A8",
}
TITLE = {"x": 0.01, "ha": "left", "weight": "bold", "wrap": True}
SPARE_COLOURS = ("#882255", "#999933", "#44AA99", "#AA4499", "#6699CC")


class Figure(_Figure):
    """A matplotlib figure that a notebook shows without pyplot. Its resolution is the style's."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        return png(self), {"width": int(self.bbox.width)}

    def suptitle(self, t: str, **look) -> Text:
        """The finding, bold and at the left, in lines that fit the figure's width."""
        return super().suptitle(t, **TITLE | look)


def style(dark: bool = False, size: str = "screen") -> AbstractContextManager:
    """The style of all figures, as a context manager; `size` is one of `SIZES`. See the style
    sheets beside this file."""
    names = ("common", "dark" if dark else "light", size)
    return mpl_style.context([f"petweak.visualization.{name}" for name in names])


def styled(draw):
    """Gives a function that returns a Figure the keywords `dark` and `size`, the style, and a
    legend below the axes, where it hides no value, of two columns if they fit."""

    @functools.wraps(draw)
    def call(*args, dark: bool = False, size: str = "screen", **kwargs):
        with style(dark, size):
            fig = draw(*args, **kwargs)
            if any(ax.get_legend_handles_labels()[0] for ax in fig.axes):
                box = fig.legend(loc="outside lower left", ncols=2)
                if box.get_window_extent().width > fig.bbox.width:
                    box.remove()
                    fig.legend(loc="outside lower left")
            return fig

    return call


def canvas(height: float) -> Figure:
    """A figure of the style's width; `height` in inches at 10 pt, and scaled with the font."""
    (width, tallest), font = rcParams["figure.figsize"], rcParams["font.size"]
    return Figure(figsize=(width, min(height * font / 10, tallest)), layout="constrained")


def palette(sources: Iterable[str]) -> dict[str, str]:
    """{source: "#rrggbb"}; sources that `SOURCE_COLOURS` lacks get spare colours, in order."""
    others = [s for s in dict.fromkeys(sources) if s not in SOURCE_COLOURS]
    spare = {s: SPARE_COLOURS[i % len(SPARE_COLOURS)] for i, s in enumerate(others)}
    return SOURCE_COLOURS | spare


def png(fig: _Figure) -> bytes:
    """The figure as a PNG file, the same bytes for the same figure."""
    out = io.BytesIO()
    fig.savefig(out, format="png", dpi="figure", metadata={"Software": None})
    return out.getvalue()


def save_figure(fig: _Figure, path: str | Path) -> Path:
    """Write the figure to `path` (.png or .pdf), whole or not at all, and return the path."""
    stamp = {".pdf": "CreationDate", ".png": "Software"}[Path(path).suffix]  # changes the bytes
    with replacing(path) as beside, rc_context({"pdf.fonttype": 42}):  # no Type 3 fonts
        fig.savefig(beside, dpi="figure", metadata={stamp: None})
    return Path(path)


def show(fig: _Figure, alt: str) -> None:
    """Show the figure in a notebook, small: charts as PNG, photos as JPEG. `alt` says what is on
    it, for those who cannot see it."""
    image, out = Image.open(io.BytesIO(png(fig))).convert("RGB"), io.BytesIO()
    kind = "jpeg" if image.getcolors(5000) is None else "png"  # photos have many more colours
    image = image if kind == "jpeg" else image.quantize(COLOURS, dither=Image.Dither.NONE)
    image.save(out, format=kind, quality=QUALITY, optimize=True)
    display(Shown(out.getvalue(), format=kind, width=image.width, alt=alt))
