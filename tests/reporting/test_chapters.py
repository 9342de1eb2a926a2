"""The map of the series in notebook 00."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import nbformat
import pandas as pd
from PIL import Image

from petweak.reporting import chapters as module
from petweak.reporting.chapters import chapter_map, chapters, run_times

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
SERIES = sorted(FOLDER.glob("[0-9][0-9]*_*.ipynb"))


def test_every_chapter_is_on_the_map_with_picture_and_time():
    markup = chapter_map(pd.DataFrame({"notebook": ["01", "03"], "seconds": [12.4, 30.0]}))
    assert [c.file for c in chapters()] == SERIES[1:]
    for path in SERIES[1:]:
        assert f'href="{path.name}"' in markup
    assert markup.count("<img alt=") == len(SERIES) - 1 and "12 s" in markup and "30 s" in markup
    assert all(len(c.question) > 20 and c.picture and 20 <= c.minutes <= 180 for c in chapters())


def test_title_and_question_are_those_of_the_first_cell(tmp_path, monkeypatch):
    text = "# 07 · A <b> of\n\nlinks\n\n**Question.** Why\n*this*?\n\nabout 35\nminutes to learn"
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])
    nbformat.write(nb, tmp_path / "07_x.ipynb")
    monkeypatch.setattr(module, "series", lambda: [tmp_path / "07_x.ipynb"])
    (chapter,) = chapters()
    assert chapter[1:] == ("07 · A <b> of", "Why this?", 35, "")
    markup = chapter_map(pd.DataFrame({"notebook": [7], "seconds": [1.6]}))
    assert "A &lt;b&gt; of" in markup and "35 min" in markup
    assert "2 s" in markup and "<img" not in markup


def test_pictures_are_small():
    for c in chapters():
        image = Image.open(io.BytesIO(base64.b64decode(c.picture.partition(",")[2])))
        assert max(image.size) <= module.SIDE and len(c.picture) < 12_000


def test_run_times_are_those_of_the_executed_chapters(tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "01_x.json").write_text('{"key": "k", "seconds": 3.1}')
    (tmp_path / "notebooks" / "07a_x.json").write_text('{"key": "k", "seconds": 4}')
    (tmp_path / "notebooks" / "00_y.json").write_text('{"key": "k", "seconds": 2}')
    (tmp_path / "notebooks" / "08_z.json").write_text('{"key": "k", "seconds": 5}')  # now 08a, 08b
    assert run_times(tmp_path).to_dict("list") == {"notebook": ["01", "07a"], "seconds": [3.1, 4]}
