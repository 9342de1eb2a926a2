"""The report of a run: `notebooks/report.ipynb`, executed on its folder and turned by nbconvert.

    notebooks/report.ipynb       executed: its outputs are the text, the tables and the figures
    figures/<name>.png           the figures; captions.json has their captions and alternative texts
    tables.md                    text and tables
    report.html, .pdf, .md       the whole, as asked for; latex/: see `petweak.reporting.latex`

Everything in it comes from the run's files, the paper's tables and the photos: written twice from
the same files, it is the same twice.
"""

import html
import io
import os
import re
import shutil
import subprocess
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nbconvert
import nbformat
import pandas as pd
from IPython.display import display
from PIL import Image
from traitlets.config import Config

from petweak.data.files import file_hash, project_path, read_json, replacing, write_json
from petweak.data.files import write_text as write
from petweak.data.oxford_pets import Sample, load_photo, load_trimap
from petweak.evaluation.metrics import target
from petweak.reporting import latex
from petweak.reporting.notebooks import execute
from petweak.study import cache
from petweak.study.results import read_results
from petweak.visualization.style import Figure, png, save_or_show

NOTEBOOK = "notebooks/report.ipynb"  # of the project, and, executed, of a run
TEMPLATES = Path(__file__).with_name("templates")
HTML, PDF, MARKDOWN, LATEX = "report.html", "report.pdf", "report.md", "latex/report.tex"
FORMATS = {"html": HTML, "pdf": PDF, "md": MARKDOWN, "latex": LATEX}
MAX_BYTES = 5_000_000  # of report.html: it can be sent by mail, and opened on a phone
JPEGS = ((80, 1000), (70, 800), (50, 700), (35, 500))  # quality, width: tried until it is small
NARROW, DARK = "(max-width: 30rem)", "(prefers-color-scheme: dark)"
# Browsers of Chromium's family, in the order they are looked for; all print the same page.
BROWSERS = """chromium chromium-browser google-chrome google-chrome-stable chrome microsoft-edge
    msedge brave-browser""".split()
APPLICATIONS = "/Applications/{0}.app/Contents/MacOS/{0}"  # of a Mac
BROWSERS += [APPLICATIONS.format(name) for name in ("Google Chrome", "Chromium")]
PRINT_SECONDS = 180
INPUTS = """results.csv run.json quarantine.csv timings.csv */*/scores.csv models/*/config.json
    models/*/history.csv masks/*/manifest.json""".split()


def write_report(run_folder: str | Path, formats: Sequence[str] = ("html",)) -> Path:
    """Execute the notebook on a finished run and write it in each of `formats` (of `FORMATS`), with
    tables.md and figures/; returns the path of the first one.

    Raises FileNotFoundError where there is no results.csv or run.json, or no browser to print a
    PDF; ValueError for an unknown format, and for a page above `MAX_BYTES`.
    """
    folder = Path(run_folder).resolve()
    if unknown := [f for f in formats if f not in FORMATS] or not formats:
        raise ValueError(f"unknown format {unknown}: there are {', '.join(FORMATS)}")
    read_results(folder)
    if (run := read_json(folder / "run.json")) is None:
        raise FileNotFoundError(f"{folder / 'run.json'} is missing: `petweak study` writes it")
    if "pdf" in formats:
        find_browser()  # before the work
    for_paper = "latex" in formats
    if for_paper:
        latex.clear(folder / "latex")
    execute(project_path(NOTEBOOK), folder / NOTEBOOK, {"run": str(folder), "latex": for_paper})
    notebook = nbformat.read(folder / NOTEBOOK, as_version=4)
    about = captions(notebook)
    write_json(folder / "figures" / "captions.json", about["figures"])
    for picture in (folder / "figures").glob("gallery_*.png"):  # of a model that is gone
        if picture.stem not in about["figures"]:
            picture.unlink()
    title = f"petweak report: {run['profile']}, {run['dataset']}, {run['n_photos']} photos"
    text, page = (_convert(notebook, kind, title) for kind in ("markdown", "html"))
    write(folder / "tables.md", re.sub(r"^!\[.*\n\n\*.*\*\n\n*", "", text, flags=re.M))
    if "html" in formats:
        write(folder / HTML, _small(page))
    if "pdf" in formats:
        page = page.replace("<details>", "<details open>").replace('media="print"', 'media="all"')
        print_pdf(page, folder / PDF)
    if "md" in formats:
        write(folder / MARKDOWN, text)
    if for_paper:
        write(folder / LATEX, _convert(notebook, "latex", title))
        latex.write_captions(folder / "latex", about)
    return folder / FORMATS[formats[0]]


def ensure_report(run_folder: str | Path) -> Path:
    """The run's report.html, written again only where its inputs have changed."""
    folder, note = Path(run_folder), Path(run_folder) / "report.json"
    files = [project_path(NOTEBOOK), *sorted(f for p in INPUTS for f in folder.glob(p))]
    key = cache.key(stage="report", files={str(file): file_hash(file) for file in files})
    names = read_json(folder / "figures" / "captions.json") or {}
    outputs = [HTML, "tables.md", *(f"figures/{name}.png" for name in names)]
    if read_json(note) != {"key": key} or not all((folder / name).is_file() for name in outputs):
        write_report(folder)
        write_json(note, {"key": key})
    return folder / HTML


class Page:
    """What the notebook shows. Each output has one form per format: HTML, Markdown, LaTeX.

    folder: the run's; for_paper: whether tables and figures are written into its latex/, too.
    """

    def __init__(self, folder: Path, for_paper: bool = False) -> None:
        self.folder, self.for_paper = folder, for_paper

    def text(self, *paragraphs: str) -> None:
        shown = "\n".join(f"<p>{html.escape(p, quote=False)}</p>" for p in paragraphs)
        _show(shown, "\n\n".join(paragraphs), "\n\n".join(map(latex.tex, paragraphs)))

    def table(self, name: str, frame: pd.DataFrame, caption: str, folded: str = "") -> None:
        """A frame of text, as `tables.readable` makes it; `folded` is the heading that it hides
        under in report.html."""
        shown, text = _table_html(frame), frame.map(lambda v: str(v).replace("|", "\\|"))
        text = text.to_markdown(index=False, disable_numparse=True)
        if folded:
            shown = f"<details><summary>{html.escape(folded)}</summary>{shown}</details>"
            text = f"**{folded}**\n\n{text}"
        folder = self.folder / "latex"
        paper = latex.write_table(folder, name, frame, caption) if self.for_paper else ""
        _show(shown, text, paper, name=name, caption=caption)

    def figure(
        self, name: str, draw: Callable[..., Figure], alt: str, caption: str, photos: bool = False
    ) -> None:
        """`draw(dark=, size=)` makes it, `alt` says what is on it to those who cannot see it;
        `photos`: as JPEG, and without a narrow form for phones."""
        save_or_show(fig := draw(), self.folder / "figures" / f"{name}.png")
        forms = {DARK: draw(dark=True)}
        if not photos:  # the letters of a chart would be too small on a phone, or on paper
            narrow = {f"{NARROW} and {DARK}": draw(dark=True, size="one"), NARROW: draw(size="one")}
            forms = {"print": draw(size="two")} | narrow | forms
        shown = '<figure class="photos"><picture>' if photos else "<figure><picture>"
        for media, form in forms.items():
            shown += f'<source media="{media}" srcset="{_inline(png(form), photos)}">'
        shown += f'<img src="{_inline(png(fig), photos)}" alt="{html.escape(alt)}"></picture>'
        shown += f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        folder = self.folder / "latex"
        paper = latex.write_figure(folder, name, draw, caption) if self.for_paper else ""
        text = f"![{alt}](figures/{name}.png)\n\n*{caption}*"
        _show(shown, text, paper, name=name, alt=alt, caption=caption)


def _show(page: str, markdown: str, paper: str, **about: str) -> None:
    data = {"text/html": page, "text/markdown": markdown, "text/latex": paper}
    display(data | {"text/plain": markdown}, raw=True, metadata={"report": about})


def _table_html(frame: pd.DataFrame) -> str:
    """Numbers to the right, an interval on a line by itself, the whole in a box that scrolls.
    (pandas sets no class per column without an id per cell.)"""
    kinds = [' class="n"' * latex.numeric(frame[c]) for c in frame]
    rows = []
    for tag, row in (("th", frame.columns), *(("td", row) for row in frame.to_numpy())):
        texts = zip(kinds, (html.escape(str(v)) for v in row), strict=True)
        rows.append("<tr>" + "".join(f"<{tag}{k}>{v}</{tag}>" for k, v in texts) + "</tr>\n")
    body = re.sub(r"(?<=\d) (\[[^\]]*\])", r" <span>\1</span>", "".join(rows[1:]))
    table = f"<table><thead>{rows[0]}</thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll" tabindex="0">{table}</div>'


def _inline(content: bytes, photos: bool, quality: int = 80, width: int = 1000) -> str:
    """A picture as a data: address: of photos a JPEG, of a chart a PNG of few colours."""
    image, out = Image.open(io.BytesIO(content)).convert("RGB"), io.BytesIO()
    if photos:
        image.thumbnail((width, image.height), Image.Resampling.LANCZOS)
        image.save(out, "JPEG", quality=quality, optimize=True)
    else:
        image.quantize(64, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    kind = "jpeg" if photos else "png"
    return f"data:image/{kind};base64,{b64encode(out.getvalue()).decode()}"


def gallery_row(sample: Sample, title: str, masks: dict[str, Any]) -> dict[str, Any]:
    """A row of `petweak.visualization.overlays.gallery`, the border as foreground."""
    outline, _ = target(load_trimap(sample.trimap), "foreground")
    photo = load_photo(sample.photo)
    return {"title": title, "photo": photo, "target": outline, "masks": masks}


def captions(notebook: nbformat.NotebookNode) -> dict[str, dict[str, dict[str, str]]]:
    """{"figures" or "tables": {name: {"section", "caption" and, of figures, "alt"}}}."""
    about, section = {"figures": {}, "tables": {}}, ""
    for cell in notebook.cells:
        section = cell.source.removeprefix("## ") if cell.cell_type == "markdown" else section
        for output in cell.get("outputs", []):
            note = dict(output.get("metadata", {}).get("report", {}))
            if name := note.pop("name", ""):
                about["figures" if "alt" in note else "tables"][name] = {"section": section, **note}
    return about


def _convert(notebook: nbformat.NotebookNode, kind: str, title: str) -> str:
    """The headings and outputs of the executed notebook, by nbconvert and our template."""
    config = Config(NbConvertBase={"display_data_priority": [f"text/{kind}"]})
    template = str(TEMPLATES / f"report.{kind}.j2")
    exporter = nbconvert.get_exporter(kind)(config=config, template_file=template)
    exporter.exclude_input = True
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


def find_browser() -> str:
    """The path of a browser that prints, or a FileNotFoundError that says what to do."""
    if path := next(filter(None, map(shutil.which, BROWSERS)), None):
        return path
    raise FileNotFoundError(
        "a PDF takes Chromium or Google Chrome, and none is on the PATH: install one, or write "
        "--format html, open report.html in any browser and print it into a file"
    )


def print_pdf(page: str, path: Path) -> None:
    """Print a page that needs no other file; OSError where the browser fails. (nbconvert's
    webpdf takes no browser but one that Playwright has downloaded.)"""
    with tempfile.TemporaryDirectory() as scratch, replacing(path) as beside:
        write(source := Path(scratch, "page.html"), page)
        command = [find_browser(), "--headless", "--disable-gpu", "--no-pdf-header-footer"]
        # As root Chromium runs without its sandbox only; the page has no script.
        command += ["--no-sandbox"] * (getattr(os, "geteuid", lambda: 1)() == 0)
        command += [f"--user-data-dir={scratch}/profile", f"--print-to-pdf={beside}"]
        done = subprocess.run(
            [*command, source.as_uri()], capture_output=True, text=True, timeout=PRINT_SECONDS
        )
        if done.returncode or not beside.is_file():
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise OSError(f"{command[0]} printed no PDF (exit {done.returncode}): {last}")
