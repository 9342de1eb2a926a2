"""A run's folder -> tables.md, figures/, and the report as HTML, PDF, Markdown or LaTeX.

The report says nothing that is not in the run's files, in the paper's tables, or in the photos:
written twice from the same files, it is the same twice.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from petweak.files import read_json, write_json, write_text
from petweak.looks import save_or_show
from petweak.report_html import html
from petweak.report_latex import write_latex
from petweak.report_parts import Section, captions
from petweak.report_pdf import find_browser, print_pdf
from petweak.report_sections import all_sections
from petweak.results import read_results
from petweak.runs import stage_key, write_timing

# What each format is, in a run's folder.
FORMATS = {
    "html": "report.html",
    "pdf": "report.pdf",
    "md": "report.md",
    "latex": "latex/report.tex",
}


def write_report(run_folder: str | Path, formats: Sequence[str] = ("html",)) -> Path:
    """Write tables.md, figures/*.png, figures/captions.json and the report in each of `formats`
    (names of `FORMATS`) into a run's folder; returns the first one's path.

    Pictures that need the photos, or a student's features, are left out where these are not found,
    and a sentence says so.

    Raises:
        FileNotFoundError: there is no results.csv or run.json, or no browser to print a PDF.
        ValueError: an unknown format.
    """
    start, folder = time.perf_counter(), Path(run_folder)
    if unknown := [f for f in formats if f not in FORMATS] or not formats:
        raise ValueError(f"unknown format {unknown}: known are {', '.join(FORMATS)}")
    results, run = read_results(folder), read_json(folder / "run.json")
    if run is None:
        raise FileNotFoundError(f"{folder / 'run.json'} is missing: `petweak study` writes it")
    if "pdf" in formats:
        find_browser()  # now, and not after minutes of drawing
    sections, figures = all_sections(folder, results, run), folder / "figures"
    pictures = [p for s in sections for p in s.pictures]
    for old in figures.glob("gallery_*.png"):  # of a student that is no more
        if old.stem not in {p.name for p in pictures}:
            old.unlink()
    for p in pictures:
        save_or_show(p.draw(), figures / f"{p.name}.png")
    write_json(figures / "captions.json", captions(sections))
    title = f"petweak report: {run['profile']}, {run['dataset']}, {run['n_photos']} photos"
    write_text(folder / "tables.md", _markdown(title, sections))
    if "html" in formats:
        write_text(folder / FORMATS["html"], html(title, sections, figures))
    if "pdf" in formats:
        print_pdf(html(title, sections, figures, printed=True), folder / FORMATS["pdf"])
    if "md" in formats:
        write_text(folder / FORMATS["md"], _markdown(title, sections, pictures=True))
    if "latex" in formats:
        write_latex(folder, title, sections)
    write_timing(folder, "report", run["n_photos"], time.perf_counter() - start)
    return folder / FORMATS[formats[0]]


def ensure_report(run_folder: str | Path) -> Path:
    """The run's report.html, written anew only where what it is drawn from has changed. The other
    formats stay as they are."""
    folder = Path(run_folder)
    note = folder / "report.json"
    written = [folder / name for name in ("report.html", "tables.md", "figures/captions.json")]
    key = stage_key(stage="report", version=2, **_content(folder))
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


def _markdown(title: str, sections: list[Section], pictures: bool = False) -> str:
    """Text and tables; with `pictures`, those of figures/ and what is to be read under them."""
    lines = [f"# {title}"]
    for s in sections:
        lines += [f"## {s.title}", *s.text]
        for p in s.pictures if pictures else ():
            lines += [f"![{p.alt}](figures/{p.name}.png)", f"*{p.caption}*"]
        if s.table is not None:
            lines.append(_table(s.table))
        for name, table in s.folded.items():
            lines += [f"### {name}", _table(table)]
    return "\n\n".join(lines) + "\n"


def _table(table: pd.DataFrame) -> str:
    cells = table.map(lambda cell: str(cell).replace("|", "\\|"))
    return cells.to_markdown(index=False, disable_numparse=True)
