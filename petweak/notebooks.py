"""What notebooks call: figures in their outputs, and tables of finished runs.

Executing them is `petweak.execution`. It is a file of its own because what it needs (papermill,
nbformat) takes two seconds to load, and a notebook does not need it.
"""

from __future__ import annotations

import io

import pandas as pd
from IPython.display import Image as Shown
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image

from petweak.files import project_path

SHOW_DPI = 120


def show(fig: Figure, alt: str) -> None:
    """Show a figure in a notebook, small: charts as PNG, photos as JPEG. `alt` says what is on it,
    for those who cannot see it."""
    whole, small = io.BytesIO(), io.BytesIO()
    fig.savefig(whole, format="png", dpi=SHOW_DPI)
    image = Image.open(whole).convert("RGB")
    if chart := image.getcolors(5000) is not None:  # photos have many more colours
        image.quantize(128, dither=Image.Dither.NONE).save(small, format="PNG", optimize=True)
    else:
        image.save(small, format="JPEG", quality=75, optimize=True)
    form, width = "png" if chart else "jpeg", int(fig.get_figwidth() * 110)
    display(Shown(small.getvalue(), format=form, width=width, alt=alt))


def stored(run: str, file: str) -> pd.DataFrame:
    """A table of a finished run, as it lies in figures/data/: what cannot be made in minutes.

    FileNotFoundError where there is none.
    """
    path = project_path("figures/data") / run / file
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: `python -m petweak.figures` copies it there")
    return pd.read_csv(path)
