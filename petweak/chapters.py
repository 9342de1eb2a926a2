"""The series as a map: what each notebook asks, a picture of it, and how long it took to run."""

from __future__ import annotations

import base64
import html
import io
import re
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pandas as pd
from PIL import Image

from petweak.files import project_path, read_json

SIDE = 150  # pixels of a picture, the longer side


@dataclass(frozen=True)
class Chapter:
    """A notebook of the series, by what its file says."""

    file: Path
    title: str  # "01 · Explore the data"
    question: str

    @property
    def number(self) -> str:
        return self.file.name[:2]


def chapters() -> list[Chapter]:
    """The numbered notebooks but for 00, in order."""
    found = []
    for file in sorted(project_path("notebooks").glob("[0-9][0-9]_*.ipynb")):
        first = nbformat.read(file, as_version=4).cells[0].source
        title = first.splitlines()[0].removeprefix("# ").strip()
        question = re.search(r"\*\*Question\.\*\*(.*?)\n\n", first, re.DOTALL)[1]
        found.append(Chapter(file, title, " ".join(question.replace("*", "").split())))
    return [c for c in found if c.number != "00"]


def picture_of(notebook: Path) -> bytes | None:
    """A small JPEG of the first picture among a notebook's outputs; None where it has none."""
    for cell in nbformat.read(notebook, as_version=4).cells:
        for output in cell.get("outputs", []):
            for kind in ("image/png", "image/jpeg"):
                if data := output.get("data", {}).get(kind):
                    image = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
                    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
                    small = io.BytesIO()
                    image.save(small, "JPEG", quality=70, optimize=True)
                    return small.getvalue()
    return None


def run_times(run: str | Path) -> pd.DataFrame:
    """`notebook` (its number), `seconds`, of the chapters that `petweak notebooks` has executed in
    this run; a notebook that makes a stage counts its time, those after it do not."""
    rows = []
    for note in sorted(project_path(run).glob("notebooks/[0-9][0-9]_*.json")):
        if note.name.startswith("00"):
            continue
        if seconds := (read_json(note) or {}).get("seconds"):
            rows.append((note.name[:2], round(seconds, 1)))
    return pd.DataFrame(rows, columns=["notebook", "seconds"])


def chapter_map(times: pd.DataFrame) -> str:
    """The series as HTML: picture, link, question and, from `times`, the measured run time."""
    seconds = dict(zip(times["notebook"].astype(str).str.zfill(2), times["seconds"], strict=True))
    rows = []
    for c in chapters():
        small, took = picture_of(c.file), seconds.get(c.number)
        picture = ""
        if small:
            data = base64.b64encode(small).decode()
            picture = (
                f'<img alt="a picture from {html.escape(c.title)}" '
                f'src="data:image/jpeg;base64,{data}">'
            )
        rows.append(
            f"<tr><td>{picture}</td><td style='text-align:left'>"
            f'<a href="{c.file.name}"><b>{html.escape(c.title)}</b></a><br>'
            f"{html.escape(c.question)}</td><td>{'' if took is None else f'{took:.0f} s'}</td></tr>"
        )
    head = "<tr><th></th><th style='text-align:left'>notebook and question</th><th>took</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>"
