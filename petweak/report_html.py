"""report.html: one file with everything in it, which asks for no other."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import jinja2
from PIL import Image

from petweak.looks import png
from petweak.report_parts import Picture, Section, numeric

MAX_BYTES = 5_000_000  # of report.html: it can be sent by mail, and opened on a phone
# Quality and width of the pictures of photos in it, tried until it is small enough.
JPEGS = ((80, 1000), (70, 800), (50, 700), (35, 500))


def html(title: str, sections: list[Section], figures: Path, printed: bool = False) -> str:
    """The page, with the pictures of `figures` (`<name>.png`) in it; dark and narrow ones, too.

    printed: for paper, which is white, and on which nothing can be unfolded.
    Raises ValueError where it would be larger than `MAX_BYTES`.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("petweak"), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters["numeric"] = numeric
    template = environment.get_template("report.html.j2")
    pictures = [p for s in sections for p in s.pictures]
    drawn = {p.name: _drawn(p, figures, printed) for p in pictures}
    for jpeg in JPEGS:
        sources = {
            p.name: {which: _inline(content, jpeg if p.photos else None)
                     for which, content in drawn[p.name].items()}
            for p in pictures
        }  # fmt: skip
        page = template.render(title=title, sections=sections, sources=sources, printed=printed)
        if len(page.encode()) < MAX_BYTES:
            return page
    raise ValueError(f"report.html would be {len(page.encode())} bytes, over {MAX_BYTES}")


def _drawn(p: Picture, figures: Path, printed: bool) -> dict[str, bytes]:
    """The picture as PNG, by what it is shown on: "light", "dark", "phone", "dark phone"."""
    if printed:  # as for a paper, which has no picture that is taller than a page
        return {"light": png(p.draw(size="two"))}
    drawn = {"light": (figures / f"{p.name}.png").read_bytes(), "dark": png(p.draw(dark=True))}
    if not p.photos:  # a chart's letters would be too small
        drawn["phone"] = png(p.draw(size="one"))
        drawn["dark phone"] = png(p.draw(size="one", dark=True))
    return drawn


def _inline(content: bytes, jpeg: tuple[int, int] | None) -> str:
    """A data: address of the picture: a chart as PNG of few colours, or, where a quality and a
    width are given, a JPEG."""
    picture, out = Image.open(io.BytesIO(content)).convert("RGB"), io.BytesIO()
    if jpeg is None:
        picture.quantize(128, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    else:
        picture.thumbnail((jpeg[1], picture.height), Image.Resampling.LANCZOS)
        picture.save(out, "JPEG", quality=jpeg[0], optimize=True)
    kind = "png" if jpeg is None else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}"
