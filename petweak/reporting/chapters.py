"""The series as a map for notebook 00: what each notebook asks, a picture, and its run time."""

import base64
import html
import io
import re
from pathlib import Path
from typing import NamedTuple

import nbformat
import pandas as pd
from PIL import Image

from petweak.data.files import project_path, read_json
from petweak.data.pictures import data_uri
from petweak.reporting.notebooks import number, series

SIDE = 150  # pixels of a picture, the longer side


class Chapter(NamedTuple):
    """A notebook of the series, by its first cell."""

    file: Path
    title: str  # "01 · Explore the data"
    question: str
    minutes: int  # to learn, as it estimates them; 0 where it does not
    picture: str  # the first one it shows, as a small JPEG in a `data:` address, or nothing


def chapters() -> list[Chapter]:
    """The numbered notebooks but for 00, in order."""
    return [_chapter(file) for file in series() if not file.name.startswith("00_")]


def _chapter(file: Path) -> Chapter:
    cells = nbformat.read(file, as_version=4).cells
    question = re.search(r"\*\*Question\.\*\*(.*?)\n\n", cells[0].source, re.DOTALL)[1]
    title = cells[0].source.splitlines()[0].removeprefix("# ")
    minutes = re.search(r"about\s+(\d+)\s+minutes\s+to\s+learn", cells[0].source)
    shown = [o.get("data", {}) for cell in cells for o in cell.get("outputs", [])]
    picture = ""
    for data in [d[k] for d in shown for k in ("image/png", "image/jpeg") if k in d][:1]:
        image = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        picture = data_uri(image, "jpeg", quality=70, optimize=True)
    return Chapter(file, title, " ".join(question.replace("*", "").split()),
                   int(minutes[1]) if minutes else 0, picture)


def run_times(run: str | Path) -> pd.DataFrame:
    """`notebook` (its number), `seconds`, of the chapters that `petweak notebooks` has executed in
    this run; a notebook that makes a stage counts its time, those after it do not."""
    rows = [(n, read_json(f)["seconds"]) for n in map(number, series()[1:])
            for f in project_path(run).glob(f"notebooks/{n}_*.json")]
    return pd.DataFrame(rows, columns=["notebook", "seconds"])


def chapter_map(times: pd.DataFrame) -> str:
    """The series as an HTML table, with minutes to learn and the measured run times in `times`."""
    took = {str(n).zfill(2): f"{s:.0f} s" for n, s in times.itertuples(index=False)}
    left = "style='text-align:left'"
    rows = [f"<th></th><th {left}>notebook and question</th><th>to learn</th><th>took</th>"]
    for c in chapters():
        title, file = html.escape(c.title), html.escape(c.file.name)
        picture = f'<img alt="a picture from {title}" src="{c.picture}">' if c.picture else ""
        text = f'<a href="{file}"><b>{title}</b></a><br>{html.escape(c.question)}'
        times_of = f"<td>{c.minutes} min</td><td>{took.get(number(c.file), '')}</td>"
        rows.append(f"<td>{picture}</td><td {left}>{text}</td>{times_of}")
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"
