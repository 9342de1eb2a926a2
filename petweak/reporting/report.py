"""The report of a run: `notebooks/report.ipynb`, executed on its folder and turned by nbconvert.

    notebooks/report.ipynb       executed: its outputs are the text, the tables and the figures
    figures/<name>.png           the figures; captions.json has their captions and alternative texts
    tables.md                    text and tables
    report.html, .pdf, .md       the whole, as asked for; latex/: see `petweak.reporting.latex`

Everything in it comes from the run's files, the paper's tables and the photos: written twice from
the same files, it is the same twice. What writes it takes seconds to import, and is where a report
is written: most studies find theirs up to date.
"""

import html
import io
import logging
import os
import re
import shutil
import subprocess
import tempfile
from base64 import b64decode
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from IPython.display import display
from PIL import Image

from petweak.data import files
from petweak.data.pictures import data_uri
from petweak.reporting import latex
from petweak.reporting.notebooks import execute
from petweak.study import cache
from petweak.study.folder import claim
from petweak.study.results import read_results

if TYPE_CHECKING:
    import nbformat

    from petweak.visualization.style import Figure

log = logging.getLogger(__name__)
NOTEBOOK = "notebooks/report.ipynb"  # of the project, and, executed, of a run
HTML = "report.html"
WRITTEN = "report_files.json"  # {page: its last hashes}: what a report may replace
FORMATS = {"html": HTML, "pdf": "report.pdf", "md": "report.md", "latex": "latex/report.tex"}
MAX_BYTES = 5_000_000  # of report.html: it can be sent by mail, and opened on a phone
JPEGS = ((80, 1000), (70, 800), (50, 700), (35, 500))  # quality, width: tried until it is small
NARROW, DARK = "(max-width: 30rem)", "(prefers-color-scheme: dark)"
# Forms of a chart; its letters would be too small on a phone, or on paper.
FORMS = {"print": {"size": "two"}, f"{NARROW} and {DARK}": {"dark": True, "size": "one"},
         NARROW: {"size": "one"}, DARK: {"dark": True}}
# Browsers of Chromium's family, in the order they are looked for; all print the same page.
BROWSERS = """chromium chromium-browser google-chrome google-chrome-stable chrome microsoft-edge
    msedge brave-browser""".split()
BROWSERS += [f"/Applications/{n}.app/Contents/MacOS/{n}" for n in ("Google Chrome", "Chromium")]
PRINT_SECONDS = 180
INPUTS = """results.csv run.json quarantine.csv timings.csv */*/scores.csv models/*/config.json
    models/*/history.csv masks/*/manifest.json""".split()


def write_report(run_folder: str | Path, formats: Sequence[str] = ("html",)) -> Path:
    """Execute the notebook on a finished run and write it in each of `formats` (of `FORMATS`), with
    tables.md and figures/; returns the path of the first one.

    Raises FileNotFoundError where there is no results.csv or run.json, or no browser to print a
    PDF; ValueError for an unknown format, and for a page above `MAX_BYTES`."""
    import nbformat

    folder = Path(run_folder).resolve()
    if unknown := [f for f in formats if f not in FORMATS] or not formats:
        raise ValueError(f"unknown format {unknown}: there are {', '.join(FORMATS)}")
    read_results(folder)
    if (run := files.read_json(folder / "run.json")) is None:
        raise FileNotFoundError(f"{folder / 'run.json'} is missing: `petweak study` writes it")
    claim(folder)
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if "pdf" in formats and browser is None:
        raise FileNotFoundError(
            "a PDF takes Chromium or Google Chrome, and none is on the PATH: install one, or write "
            "--format html, open report.html in any browser and print it into a file")
    if for_paper := "latex" in formats:
        latex.clear(folder / "latex")
    execute(files.shipped(NOTEBOOK), folder / NOTEBOOK, {"run": str(folder), "latex": for_paper})
    notebook = nbformat.read(folder / NOTEBOOK, as_version=4)
    about = captions(notebook)
    note = folder / "figures" / "captions.json"
    gone = files.read_json(note) or {}  # of the report before this one
    files.write_json(note, about["figures"])
    for name in gone.keys() - about["figures"]:  # of a model that is gone, for one
        (folder / "figures" / f"{Path(name).name}.png").unlink(missing_ok=True)
    title = f"petweak report: {run['profile']}, {run['dataset']}, {run['n_photos']} photos"
    text, page = (_convert(notebook, kind, title) for kind in ("markdown", "html"))
    pages = {"tables.md": re.sub(r"^!\[.*\n\n\*.*\*\n\n*", "", text, flags=re.M)}
    if "md" in formats:
        pages[FORMATS["md"]] = text
    if "html" in formats:
        pages[HTML] = _small(page)
    if for_paper:
        pages[FORMATS["latex"]] = _convert(notebook, "latex", title)
        latex.write_captions(folder / "latex", about)
    for name, content in pages.items():
        _set_aside(folder, name, files.text_hash(content))
        files.write_text(folder / name, content)
    if "pdf" in formats:
        _set_aside(folder, FORMATS["pdf"])
        print_pdf(browser, page, folder / FORMATS["pdf"])
        _set_aside(folder, FORMATS["pdf"], files.file_hash(folder / FORMATS["pdf"]))
    return folder / FORMATS[formats[0]]


def _set_aside(folder: Path, name: str, new: str = "") -> None:
    """Note that the page `name` will have the hash `new`. A page there that no report has written,
    or that somebody has changed, is kept as `<name>.kept`, with a warning."""
    note, path, wrote = folder / WRITTEN, folder / name, files.read_json(folder / WRITTEN) or {}
    known = [*wrote.get(name, []), new]
    files.set_aside(path, known)
    if new:
        files.write_json(note, wrote | {name: known[-2:]})


def ensure_report(run_folder: str | Path) -> Path:
    """The run's report.html, written again only where its inputs have changed."""
    folder, note = Path(run_folder), Path(run_folder) / "report.json"
    inputs = [files.shipped(NOTEBOOK), *sorted(f for p in INPUTS for f in folder.glob(p))]
    key = cache.key(stage="report", files={str(file): files.file_hash(file) for file in inputs})
    names = files.read_json(folder / "figures" / "captions.json") or {}
    outputs = [HTML, "tables.md", *(f"figures/{name}.png" for name in names)]
    if files.read_json(note) != {"key": key} or not all(
            files.is_whole(folder / name) for name in outputs):
        write_report(folder)
        files.write_json(note, {"key": key})
    for page, known in (files.read_json(folder / WRITTEN) or {}).items():
        if (folder / page).is_file() and files.file_hash(folder / page) not in known:
            log.warning("%s has changed since it was written: delete it to have it made again",
                        folder / page)
    return folder / HTML


class Page:
    """What the notebook shows, in HTML and in Markdown; the template of LaTeX makes the rest.

    folder: the run's; for_paper: whether tables and figures are written into its latex/, too."""

    def __init__(self, folder: Path, for_paper: bool = False) -> None:
        self.folder, self.for_paper = folder, for_paper

    def text(self, *paragraphs: str) -> None:
        shown = "\n".join(f"<p>{html.escape(p, quote=False)}</p>" for p in paragraphs)
        _show(shown, "\n\n".join(paragraphs))

    def table(self, name: str, frame: pd.DataFrame, caption: str, folded: str = "") -> None:
        """A frame of text, as `tables.readable` makes it: in HTML numbers to the right, intervals
        on lines by themselves. `folded` is the heading that it hides under in report.html."""
        write = partial(pd.DataFrame.to_markdown, index=False, disable_numparse=True)
        sides = ["right" if latex.numeric(frame[c]) else "left" for c in frame]
        shown = write(frame, tablefmt="html", colalign=sides)
        shown = re.sub(r"(?<=\d) (\[[^\]]*\])", r" <span>\1</span>", shown)
        shown = f'<div class="scroll" tabindex="0">{shown}</div>'
        text = write(frame.map(lambda v: re.sub(r"([|`])", r"\\\1", " ".join(str(v).split()))))
        if folded:
            shown = f"<details><summary>{html.escape(folded)}</summary>{shown}</details>"
            text = f"**{folded}**\n\n{text}"
        if self.for_paper:
            file = self.folder / "latex" / "tables" / f"{name}.tex"
            files.write_text(file, latex.table_tex(frame, name, caption))
        _show(shown, text, name=name, caption=caption)

    def figure(self, name: str, draw: Callable[..., "Figure"], alt: str, caption: str,
               photos: bool = False) -> None:
        """`draw(dark=, size=)` makes it, `alt` says what is on it to those who cannot see it;
        `photos`: as JPEG, and without forms for phones and paper."""
        from petweak.visualization.style import png, save_figure

        save_figure(fig := draw(), self.folder / "figures" / f"{name}.png")
        forms = {DARK: FORMS[DARK]} if photos else FORMS
        shown = "".join(f'<source media="{media}" srcset="{_inline(png(draw(**form)), photos)}">'
                        for media, form in forms.items())
        shown += f'<img src="{_inline(png(fig), photos)}" alt="{html.escape(alt)}">'
        kind, below = ' class="photos"' * photos, f"<figcaption>{html.escape(caption)}</figcaption>"
        if self.for_paper:
            latex.write_figure(self.folder / "latex", name, draw)
        _show(f"<figure{kind}><picture>{shown}</picture>{below}</figure>",
              f"![{alt}](figures/{name}.png)\n\n*{caption}*", name=name, alt=alt, caption=caption)


def _show(page: str, markdown: str, **about: str) -> None:
    # A name may contain what a reader of Markdown would take for HTML.
    data = {"text/html": page, "text/markdown": markdown.replace("<", "&lt;"),
            "text/plain": markdown}
    display(data, raw=True, metadata={"report": about})


def _inline(content: bytes, photos: bool, quality: int = 80, width: int = 1000) -> str:
    """A picture as a data: address: of photos a JPEG, of a chart a PNG of few colours."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    if photos:
        image.thumbnail((width, image.height), Image.Resampling.LANCZOS)
        return data_uri(image, "jpeg", quality=quality, optimize=True)
    image = image.quantize(64, dither=Image.Dither.NONE)
    return data_uri(image, "png", optimize=True)


def captions(notebook: "nbformat.NotebookNode") -> dict[str, dict[str, dict[str, str]]]:
    """{"figures" or "tables": {name: {"section", "caption" and, of figures, "alt"}}}."""
    about, section = {"figures": {}, "tables": {}}, ""
    for cell in notebook.cells:
        section = cell.source.removeprefix("## ") if cell.cell_type == "markdown" else section
        for output in cell.get("outputs", []):
            note = {"section": section, **output.get("metadata", {}).get("report", {})}
            if name := note.pop("name", ""):
                about["figures" if "alt" in note else "tables"][name] = note
    return about


def _convert(notebook: "nbformat.NotebookNode", kind: str, title: str) -> str:
    """The headings and outputs of the executed notebook, by nbconvert and our template."""
    import nbconvert
    from traitlets.config import Config

    shown = {"latex": "text/plain"}.get(kind, f"text/{kind}")
    template = Path(__file__).with_name("templates") / f"report.{kind}.j2"
    config = Config(NbConvertBase={"display_data_priority": [shown]})
    exporter = nbconvert.get_exporter(kind)(config, template_file=str(template), exclude_input=True)
    exporter.register_filter("tex", latex.tex)
    text, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": title}})
    return re.sub(r"\n{3,}", "\n\n", text.strip()) + "\n"


def _small(page: str) -> str:
    """The page with its photos compressed until it is below `MAX_BYTES`."""
    for quality, width in JPEGS:
        if len(page.encode()) < MAX_BYTES:
            return page
        parts = re.split(r"data:image/jpeg;base64,([\w+/=]+)", page)  # every second one is a photo
        parts[1::2] = [_inline(b64decode(p), True, quality, width) for p in parts[1::2]]
        page = "".join(parts)
    raise ValueError(f"report.html would be {len(page.encode())} bytes, above {MAX_BYTES}")


def print_pdf(browser: str, page: str, path: Path) -> None:
    """Print a page that needs no other file; OSError where the browser fails. (nbconvert's
    webpdf takes no browser but one that Playwright has downloaded.)"""
    page = page.replace("<details>", "<details open>").replace('media="print"', 'media="all"')
    with tempfile.TemporaryDirectory() as scratch, files.replacing(path) as beside:
        files.write_text(source := Path(scratch, "page.html"), page)
        command = [browser, "--headless", "--disable-gpu", "--no-pdf-header-footer"]
        # As root Chromium runs without its sandbox only; the page has no script.
        command += ["--no-sandbox"] * (getattr(os, "geteuid", lambda: 1)() == 0)
        command += [f"--user-data-dir={scratch}", f"--print-to-pdf={beside}", source.as_uri()]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace",
                              timeout=PRINT_SECONDS)
        if done.returncode or not beside.is_file():
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise OSError(f"{browser} printed no PDF (exit {done.returncode}): {last}")
