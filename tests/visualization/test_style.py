"""The style: sizes, colours, files and what a notebook shows."""

from __future__ import annotations

import io
import itertools

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from petweak.evaluation.metrics import BASELINES
from petweak.pseudo_masks import SOURCES
from petweak.visualization import style as module
from petweak.visualization.style import (
    SIZES,
    SOURCE_COLOURS,
    Figure,
    canvas,
    palette,
    png,
    save_figure,
    show,
    style,
    styled,
)

# Machado, Oliveira & Fernandes 2009, complete protanopia and deuteranopia, on linear RGB.
DICHROMATS = {
    "protanopia": [(0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)],
    "deuteranopia": [(0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)],
}


@styled
def line() -> Figure:
    fig = canvas(3)
    fig.add_subplot().plot([0, 1], [0, 1], label="a line")
    return fig


def lab(colour: str, matrix) -> np.ndarray:
    """CIE L*a*b* of a colour as a dichromat sees it."""
    rgb = np.array(to_rgb(colour))
    rgb = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    rgb = np.clip(np.array(matrix) @ rgb, 0, 1)
    xyz = np.array([(0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505)])
    x, y, z = np.cbrt(np.maximum(xyz @ rgb / (0.9505, 1, 1.089), 1e-4))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_every_source_has_a_colour_that_colour_blind_readers_tell_from_the_others():
    assert {*SOURCES, *BASELINES} <= set(SOURCE_COLOURS)
    for matrix in DICHROMATS.values():
        seen = {s: lab(SOURCE_COLOURS[s], matrix) for s in SOURCES}
        assert all(np.linalg.norm(a - b) > 15 for a, b in itertools.combinations(seen.values(), 2))


def test_a_source_without_a_colour_gets_a_spare_one():
    colours = palette(["mine", "external", "theirs", "mine"])
    assert colours["external"] == SOURCE_COLOURS["external"]
    assert colours["mine"] != colours["theirs"]
    assert {colours["mine"], colours["theirs"]}.isdisjoint(SOURCE_COLOURS.values())


@pytest.mark.parametrize(
    ("size", "width", "font"), [("screen", 5.625, 10), ("one", 3.4, 8), ("two", 7, 9)]
)
def test_sizes(size, width, font):
    before = dict(matplotlib.rcParams)
    fig = line(size=size)
    assert size in SIZES and fig.get_figwidth() == width
    assert fig.axes[0].xaxis.label.get_size() == font
    assert fig.get_figheight() == pytest.approx(3 * font / 10)
    with style(size=size):
        tall = canvas(100).get_figheight()
    assert tall == (100 if size == "screen" else 8.6)
    assert dict(matplotlib.rcParams) == before


def test_dark_and_light():
    for dark, paper, ink in ((False, (1, 1, 1), 0.14), (True, (0.09, 0.09, 0.11), 0.9)):
        fig = line(dark=dark)
        assert np.allclose(to_rgb(fig.get_facecolor()), paper, atol=0.01)
        for part in (fig.axes[0].lines[0].get_color(), fig.legends[0].get_texts()[0].get_color()):
            assert np.allclose(
                to_rgb(part), ink, atol=0.02
            )  # also when it is drawn, after the style
        pixels = np.asarray(Image.open(io.BytesIO(png(fig))).convert("RGB"))
        assert np.allclose(pixels[0, 0] / 255, paper, atol=0.01)


def test_a_legend_has_as_many_columns_as_fit():
    @styled
    def named(names):
        fig = canvas(3)
        ax = fig.add_subplot()
        for name in names:
            ax.plot([0, 1], label=name)
        return fig

    for names, columns in ((["a", "b"], 2), (["gradcam_finetuned, breed, and more of it"] * 2, 1)):
        fig = named(names)
        fig.draw_without_rendering()
        boxes = [t.get_window_extent() for t in fig.legends[0].get_texts()]
        assert len({round(b.x0) for b in boxes}) == columns
        assert max(b.x1 for b in boxes) <= fig.bbox.x1
    assert not named([]).legends


def test_a_title_is_at_the_left_and_wrapped_inside_the_figure():
    words = " ".join(["label as class id has the IoU nearest to the paper's"] * 3)
    for size in SIZES:
        fig = line(size=size)
        title = fig.suptitle(words)
        assert title.get_weight() == "bold" and title.get_ha() == "left"
        png(fig)
        box, axes = title.get_window_extent(), fig.axes[0].get_window_extent()
        assert 0 <= box.x0 and box.x1 <= fig.bbox.x1 and axes.y1 <= box.y0 and box.y1 <= fig.bbox.y1
        assert box.height > 2 * title.get_size() * fig.dpi / 72  # of several lines
        with style(size=size):
            assert canvas(3).add_subplot().set_title("a").get_ha() == "left"


def test_files_are_whole_and_the_same_for_the_same_figure(tmp_path):
    for name in ("a.png", "a.pdf"):
        path = save_figure(line(), tmp_path / name)
        first = path.read_bytes()
        assert first[:4] in (b"\x89PNG", b"%PDF") and b"Type3" not in first
        assert save_figure(line(), path).read_bytes() == first
    with pytest.raises(KeyError):
        save_figure(line(), tmp_path / "a.txt")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pdf", "a.png"]


def test_a_notebook_shows_a_small_picture_with_its_alt_text(monkeypatch):
    shown = []
    monkeypatch.setattr(module, "display", shown.append)
    photo = line()
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    photo.axes[0].imshow(noise, extent=(0, 1, 0, 1))
    show(line(), "a line that rises")
    show(photo, "a photo")
    assert [s.format for s in shown] == ["png", "jpeg"]
    assert [s.alt for s in shown] == ["a line that rises", "a photo"]
    assert all(len(s.data) < 60_000 and s.width == 900 for s in shown)  # as in README
    content, about = photo._repr_png_()
    assert content[:4] == b"\x89PNG" and about == {"width": 900}
