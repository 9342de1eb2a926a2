"""The drawn diagrams of the chapters, as SVG: `python figures/diagrams.py [NAME ...]`.

A chapter shows one by ![what it shows](../figures/diagrams/<name>.svg). It is a function in
`DIAGRAMS` that returns a `Drawing`, with a light panel behind it, so that it can be read on a dark
page. Lengths are pixels. Text stays text.
"""

import argparse
from collections.abc import Callable
from html import escape
from pathlib import Path

OUT = Path(__file__).parent / "diagrams"
INK, PANEL, SMALL, NORMAL = "#1F2933", "#F7F7F5", 13, 15
# Fill and outline of boxes: Okabe and Ito's colours, lightened. What they say, the text says, too.
COLOURS = {
    "plain": ("#FFFFFF", "#52606D"),
    "frozen": ("#DCEBF7", "#0072B2"),  # what is not trained
    "trained": ("#FBE5D6", "#D55E00"),  # what has trained parameters
    "data": ("#DDF3EA", "#007A59"),  # photos, masks, maps
    "loss": ("#F6E3EE", "#A8437E"),  # losses, costs, criteria
}


class Drawing:
    """A panel of `width` x `height` pixels, at most 900 wide; `title` is read out by a screen
    reader."""

    def __init__(self, width: int, height: int, title: str) -> None:
        assert width <= 900, "wider than a notebook's text"
        self.size, self.title, self.parts = (width, height), title, []

    def label(self, x: float, y: float, text: str, size: int = SMALL, anchor: str = "middle",
              bold: bool = False, colour: str = INK) -> None:
        """Lines of text, the middle of them at (x, y); anchor: start, middle or end."""
        lines = text.split("\n")
        for i, line in enumerate(lines):
            at = y + (i - (len(lines) - 1) / 2) * 1.3 * size + 0.35 * size
            weight = ' font-weight="bold"' * (bold or (i == 0 and len(lines) > 1 and size > SMALL))
            self.parts.append(f'<text x="{x:g}" y="{at:.1f}" font-size="{size}" fill="{colour}" '
                              f'text-anchor="{anchor}"{weight}>{escape(line)}</text>')

    def box(self, x: float, y: float, w: float, h: float, text: str, colour: str = "plain",
            size: int = SMALL, bold: bool = False) -> None:
        """A rectangle whose upper left corner is (x, y), with its text in the middle."""
        fill, line = COLOURS[colour]
        self.parts.append(f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="6" '
                          f'fill="{fill}" stroke="{line}" stroke-width="1.5"/>')
        self.label(x + w / 2, y + h / 2, text, size, bold=bold)

    def arrow(self, *points: tuple[float, float], text: str = "", dashed: bool = False) -> None:
        """A line through the points with a head at the last; `text` stands beside its middle."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        dash = ' stroke-dasharray="5 4"' * dashed
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{INK}" '
                          f'stroke-width="1.6"{dash} marker-end="url(#head)"/>')
        if text:
            (x0, y0), (x1, y1) = points[(len(points) - 1) // 2:][:2]
            upright = abs(x1 - x0) < abs(y1 - y0)
            self.label((x0 + x1) / 2 + 6 * upright, (y0 + y1) / 2 - 10 * (not upright), text,
                       anchor="start" if upright else "middle")

    def picture(self, x: float, y: float, side: float, rows: list[list[float]],
                colour: str = "#0072B2") -> None:
        """A square map: values in [0, 1], drawn as how dark a cell is."""
        cell = side / len(rows)
        for r, row in enumerate(rows):
            for c, value in enumerate(row):
                self.parts.append(
                    f'<rect x="{x + c * cell:g}" y="{y + r * cell:g}" width="{cell:g}" '
                    f'height="{cell:g}" fill="{colour}" fill-opacity="{value:g}" '
                    f'stroke="{INK}" stroke-width="0.4"/>')

    def svg(self) -> str:
        w, h = self.size
        head = ('<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
                'markerHeight="7" orient="auto-start-reverse">'
                f'<path d="M0,0 L10,5 L0,10 z" fill="{INK}"/></marker></defs>')
        panel = f'<rect width="{w}" height="{h}" rx="10" fill="{PANEL}"/>'
        start = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" '
                 f'viewBox="0 0 {w} {h}" role="img" font-family="Helvetica, Arial, sans-serif">')
        title = f"<title>{escape(self.title)}</title>"
        return "\n".join([start, title, head, panel, *self.parts, "</svg>\n"])


def maskformer() -> Drawing:
    """07a: the parts of the simplified MaskFormer, with the shapes between them."""
    d = Drawing(900, 520, "The simplified MaskFormer: a feature map becomes masks and classes")
    d.box(30, 30, 110, 50, "photo\n3 × 32h × 32w", "data")
    d.box(210, 30, 160, 50, "frozen backbone", "frozen", NORMAL)
    d.box(440, 30, 190, 50, "final feature map\nC × h × w, stride 32", "data")
    d.arrow((140, 55), (210, 55))
    d.arrow((370, 55), (440, 55))
    d.box(90, 130, 270, 70, "pixel decoder\n4 × [conv 3×3, GroupNorm,\nReLU, upsample ×2]",
          "trained")
    d.box(90, 250, 270, 46, "mask head: conv 1×1", "trained")
    d.box(90, 346, 270, 46, "pixel embeddings\nD × 16h × 16w, stride 2", "data")
    d.box(440, 130, 190, 50, "projection: conv 1×1\n→ h·w vectors of D", "trained")
    d.box(700, 130, 170, 50, "learned queries\nQ × D", "trained")
    d.box(540, 230, 250, 66, "transformer decoder, 3 layers\nself-attention among queries,\n"
          "cross-attention to the map", "trained")
    d.box(540, 346, 250, 46, "query embeddings\nQ × D", "data")
    d.arrow((500, 80), (500, 105), (225, 105), (225, 130))
    d.arrow((570, 80), (570, 130))
    d.arrow((570, 180), (600, 230))
    d.arrow((785, 180), (740, 230))
    d.arrow((225, 200), (225, 250))
    d.arrow((225, 296), (225, 346))
    d.arrow((665, 296), (665, 346))
    d.box(300, 436, 170, 60, "masks\nQ × 16h × 16w", "data", NORMAL)
    d.arrow((225, 392), (225, 466), (300, 466))
    d.arrow((590, 392), (590, 466), (470, 466))
    d.label(385, 420, "dot product of each pair")
    d.box(680, 420, 190, 36, "class head: MLP", "trained")
    d.box(680, 474, 190, 36, "Q × (K + 1) classes", "data")
    d.arrow((775, 392), (775, 420))
    d.arrow((775, 456), (775, 474))
    for i, (colour, text) in enumerate({"frozen": "not trained", "trained": "trained",
                                        "data": "photos, maps"}.items()):
        d.box(740, 24 + 24 * i, 24, 16, "", colour)
        d.label(772, 32 + 24 * i, text, anchor="start")
    return d


DIAGRAMS: dict[str, Callable[[], Drawing]] = {
    "07a_build_maskformer": maskformer,
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="draw the diagrams of the chapters")
    parser.add_argument("only", nargs="*", metavar="NAME", help=", ".join(DIAGRAMS))
    for name in parser.parse_args().only or DIAGRAMS:
        OUT.mkdir(exist_ok=True)
        (OUT / f"{name}.svg").write_text(DIAGRAMS[name]().svg(), encoding="utf-8")
