"""A run's folder -> tables.md, figures/ and report.html, which is one file and asks for no other.

The report says nothing that is not in the run's files, in the paper's tables, or in the photos:
written twice from the same files, it is the same twice.
"""

from __future__ import annotations

import base64
import hashlib
import io
import time
from pathlib import Path

import jinja2
import pandas as pd
from PIL import Image

from petweak import plots
from petweak.files import read_json, write_json, write_text
from petweak.report_sections import Section, all_sections
from petweak.results import read_results
from petweak.runs import stage_key, write_timing

MAX_BYTES = 5_000_000  # of report.html: it can be sent by mail, and opened on a phone
# Quality and width of the pictures of photos in it, tried until it is small enough.
JPEGS = ((80, 1000), (70, 800), (50, 700), (35, 500))


def write_report(run_folder: str | Path) -> Path:
    """Write tables.md, figures/*.png and report.html into a run's folder; returns the last one.

    Pictures that need the photos, or a student's features, are left out where these are not found,
    and a sentence says so.

    Raises:
        FileNotFoundError: there is no results.csv or run.json.
    """
    start, folder = time.perf_counter(), Path(run_folder)
    results, run = read_results(folder), read_json(folder / "run.json")
    if run is None:
        raise FileNotFoundError(f"{folder / 'run.json'} is missing: `petweak study` writes it")
    sections = all_sections(folder, results, run)
    pictures = [p for s in sections for p in s.pictures]
    for old in (folder / "figures").glob("gallery_*.png"):  # of a student that is no more
        if old.stem not in {p.name for p in pictures}:
            old.unlink()
    for p in pictures:
        plots.save_or_show(p.draw(), folder / "figures" / f"{p.name}.png")
    title = f"petweak report: {run['profile']}, {run['dataset']}, {run['n_photos']} photos"
    write_text(folder / "tables.md", _markdown(title, sections))
    write_text(folder / "report.html", _html(title, sections, folder / "figures"))
    write_timing(folder, "report", run["n_photos"], time.perf_counter() - start)
    return folder / "report.html"


def ensure_report(run_folder: str | Path) -> Path:
    """The run's report.html, written anew only where what it is drawn from has changed."""
    folder = Path(run_folder)
    note, written = folder / "report.json", [folder / "report.html", folder / "tables.md"]
    key = stage_key(stage="report", version=1, **_content(folder))
    known = read_json(note) or {}
    pictures = [folder / "figures" / name for name in known.get("figures", [])]
    if known.get("key") != key or not all(p.is_file() for p in (*written, *pictures)):
        note.unlink(missing_ok=True)
        write_report(folder)
        names = sorted(p.name for p in (folder / "figures").glob("*.png"))
        write_json(note, {"key": key, "figures": names})
    return written[0]


def _content(folder: Path) -> dict[str, str]:
    """Hashes of the files that the report is drawn from; timings.csv is not asked, because the
    report writes a row of its own there and the others change with the files here."""
    files = [folder / name for name in ("results.csv", "run.json", "quarantine.csv")]
    for pattern in ("models/*/scores.json", "masks/*/manifest.json", "models/*/history.csv"):
        files += sorted(folder.glob(pattern))
    return {
        str(f.relative_to(folder)): hashlib.blake2b(f.read_bytes(), digest_size=16).hexdigest()
        for f in files
        if f.is_file()
    }


def _markdown(title: str, sections: list[Section]) -> str:
    lines = [f"# {title}"]
    for s in sections:
        lines += [f"## {s.title}", *s.text]
        if s.table is not None:
            lines.append(s.table.to_markdown(index=False, disable_numparse=True))
        for name, table in s.folded.items():
            lines += [f"### {name}", table.to_markdown(index=False, disable_numparse=True)]
    return "\n\n".join(lines) + "\n"


def _html(title: str, sections: list[Section], figures: Path) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("petweak"), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters["numeric"] = _numeric
    template = environment.get_template("report.html.j2")
    pictures = [p for s in sections for p in s.pictures]
    dark = {p.name: plots.png(p.draw(dark=True)) for p in pictures}
    for jpeg in JPEGS:
        sources = {
            p.name: [_inline(png, jpeg if p.photos else None)
                     for png in ((figures / f"{p.name}.png").read_bytes(), dark[p.name])]
            for p in pictures
        }  # fmt: skip
        html = template.render(title=title, sections=sections, sources=sources)
        if len(html.encode()) < MAX_BYTES:
            return html
    raise ValueError(f"report.html would be {len(html.encode())} bytes, over {MAX_BYTES}")


def _inline(png: bytes, jpeg: tuple[int, int] | None) -> str:
    """A data: address of the picture; as JPEG where a quality and a width are given."""
    kind, content = "png", png
    if jpeg is not None:
        picture, out = Image.open(io.BytesIO(png)).convert("RGB"), io.BytesIO()
        picture.thumbnail((jpeg[1], picture.height), Image.Resampling.LANCZOS)
        picture.save(out, "JPEG", quality=jpeg[0], optimize=True)
        kind, content = "jpeg", out.getvalue()
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _numeric(column: pd.Series) -> bool:
    """Whether a column of text holds numbers, which are set to the right."""
    cells = [str(c) for c in column if str(c)]
    return bool(cells) and all(c[0] in "+0123456789\N{MINUS SIGN}" for c in cells)
