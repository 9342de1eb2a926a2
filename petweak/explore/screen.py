"""Pictures and curves for the screen, as bytes and markup: quick enough to follow a finger."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping

import cv2
import numpy as np
import pandas as pd
from matplotlib import colormaps

from petweak.pictures import palette

WIDTH, HEIGHT, EDGE = 420, 190, 34  # of a curve, in CSS pixels


def jpeg(image: np.ndarray, quality: int = 88) -> bytes:
    """(H, W, 3) uint8 -> a JPEG file."""
    return _encoded(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])


def png(image: np.ndarray) -> bytes:
    """(H, W, 3) or (H, W) uint8 -> a PNG file."""
    return _encoded(".png", image, [])


def shrunk(image: np.ndarray, side: int) -> np.ndarray:
    """(H, W, 3) uint8 with a longer side of at most `side`."""
    share = side / max(image.shape[:2])
    if share >= 1:
        return image
    size = max(1, round(image.shape[1] * share)), max(1, round(image.shape[0] * share))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def heat(photo: np.ndarray, soft: np.ndarray) -> np.ndarray:
    """A map (H, W) in [0, 1] in colours over its photo (H, W, 3)."""
    colours = 255 * colormaps["inferno"](soft)[..., :3]
    return np.uint8(0.45 * photo + 0.55 * colours)


def picture(image: np.ndarray, alt: str, width: int, style: str = "") -> str:
    """An `<img>` that carries its picture."""
    data = base64.b64encode(jpeg(image)).decode()
    return (
        f'<img src="data:image/jpeg;base64,{data}" alt="{html.escape(alt)}" '
        f'width="{width}" style="max-width:100%;{style}">'
    )


def download(image: np.ndarray, file: str, text: str) -> str:
    """A link that saves a mask (H, W) uint8 as a PNG file."""
    data = base64.b64encode(png(image)).decode()
    look = f'style="text-decoration:underline" download="{html.escape(file)}"'
    return f'<a {look} href="data:image/png;base64,{data}">{text}</a>'


def curves(
    lines: Mapping[str, Mapping[float, float]], marks: Mapping[str, float], now: float
) -> str:
    """An SVG of {name: {threshold: IoU}}; a dashed line at each of `marks`, a solid one at `now`,
    with a dot where it meets each curve."""
    colours, body = ("#0072B2", "#D55E00", "#009E73"), []
    for (name, line), colour in zip(lines.items(), colours, strict=False):
        x, y = np.array(sorted(line.items()), dtype=float).T
        points = " ".join(f"{_x(a):.1f},{_y(b):.1f}" for a, b in zip(x, y, strict=True))
        at = float(np.interp(now, x, y))
        body += [
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>',
            f'<circle cx="{_x(now):.1f}" cy="{_y(at):.1f}" r="4" fill="{colour}"/>',
            f'<text x="{WIDTH - 4}" y="{14 + 14 * len(body) // 3}" text-anchor="end" '
            f'fill="{colour}">{html.escape(name)}: {at:.3f}</text>',
        ]
    for name, where in marks.items():
        body.append(_upright(where, f"{name} {where:.2f}", 'stroke-dasharray="4 3"', HEIGHT - 40))
    body.append(_upright(now, f"{now:.2f}", 'stroke-width="1.6"', HEIGHT - 54))
    ticks = "".join(
        f'<text x="{_x(t):.1f}" y="{HEIGHT - 6}" text-anchor="middle">{t:g}</text>'
        f'<text x="{EDGE - 6}" y="{_y(t) + 4:.1f}" text-anchor="end">{t:g}</text>'
        for t in (0, 0.5, 1)
    )
    frame = f'<path d="M{EDGE} 10V{HEIGHT - 22}H{WIDTH - 8}" fill="none" stroke="currentColor"/>'
    about = f"IoU by threshold, now {now:.2f}"
    return (
        f'<svg role="img" aria-label="{about}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'style="max-width:{WIDTH}px;width:100%;color:inherit;fill:currentColor;font-size:11px">'
        f"{frame}{ticks}{''.join(body)}</svg>"
    )


def bars(rows: pd.DataFrame) -> str:
    """`outcomes.chosen` as bars with intervals, in HTML; the text says what the bar does."""
    colours = palette(rows["source"])
    lines = []
    for r in rows.itertuples():
        name = r.source if r.labels == "-" else f"{r.source}, {r.labels}"
        lines.append(
            f'<div style="display:flex;gap:8px;align-items:center;margin:2px 0">'
            f'<span style="width:13em;text-align:right">{html.escape(name)}</span>'
            f'<span style="flex:1;position:relative;height:14px;background:#8882">'
            f'<span style="position:absolute;inset:0 auto 0 0;width:{100 * r.value:.1f}%;'
            f'background:{colours[r.source]}"></span>'
            f'<span style="position:absolute;top:6px;height:2px;left:{100 * r.low:.1f}%;'
            f'width:{100 * (r.high - r.low):.1f}%;background:currentColor"></span></span>'
            f"<span>{r.value:.3f} [{r.low:.3f}, {r.high:.3f}]</span></div>"
        )
    return "".join(lines) or "<p>No figures of this choice in results.csv.</p>"


def _upright(at: float, text: str, look: str, y: float) -> str:
    shift, anchor = (-4, "end") if at > 0.8 else (4, "start")
    side = f'x="{_x(at) + shift:.1f}" text-anchor="{anchor}"'
    return (
        f'<line x1="{_x(at):.1f}" x2="{_x(at):.1f}" y1="10" y2="{HEIGHT - 22}" '
        f'stroke="currentColor" {look}/><text {side} y="{y}">{html.escape(text)}</text>'
    )


def _x(threshold: float) -> float:
    return EDGE + threshold * (WIDTH - EDGE - 8)


def _y(iou: float) -> float:
    return 10 + (1 - iou) * (HEIGHT - 32)


def join(parts: Iterable[str]) -> str:
    """Pictures with their captions in a row that wraps."""
    return f'<div style="display:flex;flex-wrap:wrap;gap:12px">{"".join(parts)}</div>'


def captioned(image: str, text: str, style: str = "") -> str:
    """A picture's markup above its caption."""
    caption = f'<figcaption style="font-size:12px;line-height:1.4">{text}</figcaption>'
    return f'<figure style="margin:0;{style}">{image}{caption}</figure>'


def _encoded(kind: str, image: np.ndarray, options: list[int]) -> bytes:
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    ok, content = cv2.imencode(kind, image, options)
    if not ok:
        raise ValueError(f"an array of shape {image.shape} and {image.dtype} is no picture")
    return content.tobytes()
