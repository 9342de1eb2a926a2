"""Pictures, curves and bars for the screen, as markup: quick enough to follow a finger."""

import html
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from matplotlib import colormaps
from PIL import Image

from petweak.data.pictures import data_uri
from petweak.visualization.style import palette

WIDTH, HEIGHT, EDGE = 420, 190, 34  # of a curve, in CSS pixels
LINE_COLOURS = ("#0072B2", "#D55E00")  # as many curves are drawn


def heat(photo: np.ndarray, soft: np.ndarray) -> np.ndarray:
    """A map (H, W) in [0, 1] in colours over its photo (H, W, 3)."""
    return np.uint8(0.45 * photo + 0.55 * 255 * colormaps["inferno"](soft)[..., :3])


def picture(image: np.ndarray, alt: str, side: int) -> str:
    """An `<img>` of (H, W, 3) uint8 or of (H, W) in [0, 1], `side` pixels long at most."""
    shown = Image.fromarray(image if image.dtype == np.uint8 else np.uint8(255 * image))
    shown.thumbnail((side, side))
    about = f'alt="{html.escape(alt)}" width="{shown.width}" style="max-width:100%"'
    return f'<img {about} src="{data_uri(shown, "jpeg", quality=88)}">'


def download(mask: np.ndarray, file: str, text: str) -> str:
    """A link that saves (H, W) uint8 as a PNG file."""
    look = f'style="text-decoration:underline" download="{html.escape(file)}"'
    return f'<a {look} href="{data_uri(Image.fromarray(mask), "png")}">{text}</a>'


def captioned(image: str, text: str, style: str = "") -> str:
    """A picture's markup above its caption."""
    caption = f'<figcaption style="font-size:12px;line-height:1.4">{text}</figcaption>'
    return f'<figure style="margin:0;{style}">{image}{caption}</figure>'


def join(parts: Iterable[str]) -> str:
    return f'<div style="display:flex;flex-wrap:wrap;gap:12px">{"".join(parts)}</div>'


def curves(lines: Mapping[str, Mapping], marks: Mapping[str, float], now: float) -> str:
    """An SVG of {name: {threshold: IoU}}; a dashed line at each of `marks`, a solid one at `now`,
    with a dot where it meets each curve. Its ink is that of the page."""
    body = [f'<path d="M{_at(0, 1)}L{_at(0, 0)}L{_at(1, 0)}" fill="none" stroke="currentColor"/>']
    for t in (0, 0.5, 1):
        body += [_text(t, 0, f"{t:g}", 0, 16, "middle"), _text(0, t, f"{t:g}", -6, 4, "end")]
    for k, ((name, line), colour) in enumerate(zip(lines.items(), LINE_COLOURS, strict=False)):
        x, y = np.array(sorted(line.items()), dtype=float).T
        points, iou = "L".join(map(_at, x, y)), float(np.interp(now, x, y))
        body += [f'<path d="M{points}" fill="none" stroke="{colour}" stroke-width="2"/>',
                 f'<circle r="4" transform="translate({_at(now, iou)})" fill="{colour}"/>',
                 _text(1, 1, f"{name}: {iou:.3f}", 4, 8 + 14 * k, "end", f'fill="{colour}"')]
    uprights = [(f"{name} {t:.2f}", t, 'stroke-dasharray="4 3"') for name, t in marks.items()]
    for k, (text, t, look) in enumerate([*uprights, (f"{now:.2f}", now, 'stroke-width="1.6"')]):
        body.append(f'<path d="M{_at(t, 0)}L{_at(t, 1)}" stroke="currentColor" {look}/>')
        shift, anchor = (-4, "end") if t > 0.8 else (4, "start")
        body.append(_text(t, 0, text, shift, -14 * (k + 1), anchor))
    look = f"max-width:{WIDTH}px;width:100%;color:inherit;fill:currentColor;font-size:11px"
    return (f'<svg role="img" aria-label="IoU by threshold, now {now:.2f}" '
            f'viewBox="0 0 {WIDTH} {HEIGHT}" style="{look}">{"".join(body)}</svg>')


def bars(rows: pd.DataFrame) -> str:
    """A table of scores in [0, 1] (`source`, `labels`, `value`, `low`, `high`, ...) with bars, and
    whiskers from `low` to `high`."""
    if rows.empty:
        return "<p>results.csv has no scores of this choice.</p>"
    colours = palette(rows["source"])

    def look(r: pd.Series) -> list[str]:
        low, high = (f"{100 * r[end]:.1f}%" for end in ("low", "high"))
        whisker = f"transparent {low},currentColor {low} {high},transparent {high}"
        bar = f"linear-gradient(90deg,{colours[r['source']]} {100 * r['value']:.1f}%,#8882 0)"
        line = f"linear-gradient(90deg,{whisker}) center/100% 2px no-repeat"
        return [f"background:{line},{bar}" if name == "" else "" for name in r.index]

    table = rows.assign(**{"": ""}).style.apply(look, axis=1).hide()
    table = table.format(precision=3, escape="html", na_rep="")
    table = table.set_uuid("petweak").set_table_attributes('style="width:100%"')
    return table.set_properties(subset=[""], width="50%").to_html()


def _at(x: float, y: float) -> str:
    """Where a point of the curves, in [0, 1] each, lies in the SVG."""
    return f"{EDGE + x * (WIDTH - EDGE - 8):.1f},{10 + (1 - y) * (HEIGHT - 32):.1f}"


def _text(x: float, y: float, text: str, dx: int, dy: int, anchor: str, look: str = "") -> str:
    where = f'transform="translate({_at(x, y)})" dx="{dx}" dy="{dy}" text-anchor="{anchor}"'
    return f"<text {where} {look}>{html.escape(text)}</text>"
