"""figures/diagrams.py: the committed diagrams are those of the code, and chapters show them."""

import re
import runpy
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

TOP = Path(__file__).resolve().parents[1]
drawn = SimpleNamespace(**runpy.run_path(str(TOP / "figures" / "diagrams.py")))
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", drawn.DIAGRAMS)
def test_the_committed_diagram_is_the_one_of_the_code(name):
    text = drawn.DIAGRAMS[name]().svg()
    assert (TOP / f"figures/diagrams/{name}.svg").read_text(encoding="utf-8") == text


@pytest.mark.parametrize("name", drawn.DIAGRAMS)
def test_a_diagram_fits_keeps_text_as_text_and_has_a_light_panel(name):
    root = ET.fromstring(drawn.DIAGRAMS[name]().svg())
    width, height = int(root.get("width")), int(root.get("height"))
    assert width <= 900 and root.get("viewBox") == f"0 0 {width} {height}"
    assert len(root.findtext(f"{SVG}title")) >= 20
    panel = root.find(f"{SVG}rect")
    assert (panel.get("width"), panel.get("fill")) == (str(width), drawn.PANEL)
    texts = root.findall(f"{SVG}text")
    assert texts and all(int(t.get("font-size")) >= 12 for t in texts)
    for r in root.findall(f"{SVG}rect"):
        x, y = float(r.get("x", 0)), float(r.get("y", 0))
        assert x + float(r.get("width")) <= width and y + float(r.get("height")) <= height


def test_no_picture_is_missing_and_none_is_left_over():
    shown = set()
    for path in sorted((TOP / "notebooks").glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        text = "\n".join(c.source for c in cells if c.cell_type == "markdown")
        for target in re.findall(r"!\[[^\]]*\]\((?!attachment:|data:)([^)]+)\)", text):
            assert (path.parent / target).is_file(), f"{path.name}: {target}"
            shown.add(Path(target).stem)
    files = {p.stem for p in (TOP / "figures" / "diagrams").glob("*.svg")}
    assert files == set(drawn.DIAGRAMS) <= shown


def test_lines_of_text_stand_around_the_middle_and_are_escaped():
    d = drawn.Drawing(100, 50, "a title that is long enough")
    d.box(10, 10, 80, 30, "a < b\nc", "loss")
    first, second = re.findall(r'y="([\d.]+)" font-size', d.svg())
    assert float(second) - float(first) == pytest.approx(1.3 * drawn.SMALL, abs=0.1)
    assert "a &lt; b" in d.svg() and drawn.COLOURS["loss"][0] in d.svg()
    with pytest.raises(AssertionError, match="wider"):
        drawn.Drawing(901, 50, "a title that is long enough")
