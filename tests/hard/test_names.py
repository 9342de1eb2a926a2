"""Breeds and files with names that a page could take for HTML or Markdown: a study of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import small
from few import LISTS, few_photos

from petweak.reporting.cards import write_cards
from petweak.reporting.report import write_report
from petweak.study.results import run_study
from petweak.study.run import Run

EVIL = "<img src=x onerror=alert(1)>|`b`&<script>"


@pytest.fixture
def evil(rendered, tmp_path) -> Path:
    """A few photos, of which one breed has such a name, and one file cannot be read."""
    root = few_photos(rendered, tmp_path / "data")
    top = root / "oxford-iiit-pet"
    ids = [line.split() for f in LISTS for line in (top / "annotations" / f).read_text(
        encoding="utf-8").splitlines() if line and not line.startswith("#")]
    old = ids[0][0].rsplit("_", 1)[0]
    new = EVIL.replace(" ", "\u00a0")  # a list is cut at spaces
    for file in LISTS:
        path = top / "annotations" / file
        path.write_text(path.read_text(encoding="utf-8").replace(f"{old}_", f"{new}_"),
                        encoding="utf-8")
    for path in [*(top / "images").iterdir(), *(top / "annotations" / "trimaps").iterdir()]:
        path.rename(path.with_name(path.name.replace(f"{old}_", f"{new}_")))
    first = next(p for p in sorted((top / "images").iterdir()) if new not in p.name)
    first.rename(first.with_name(f"<script>{first.name}"))
    return root


def test_no_page_takes_a_name_for_html(evil, tmp_path, reliability):
    run = Run(tmp_path / "run", evil, small(sources="ground_truth", epochs=1))
    run_study(run)
    write_cards(run)
    write_report(run.folder, ["html", "md"])
    pages = [p for pattern in ("*.md", "*.html", "models/*/README.md")
             for p in run.folder.glob(pattern)]
    texts = {p.name: p.read_text(encoding="utf-8") for p in pages}
    bad = [n for n, t in texts.items() if "<img\u00a0" in t or "<script>" in t.replace(
        "<script>alert", "") and "<script>" in t]
    reliability("names of breeds and files with HTML and Markdown in them: pages", len(pages),
                f"{len(pages) - len(bad)} of {len(pages)} show them as text")
    assert len(pages) >= 5 and not bad
    assert any("&lt;img" in t for t in texts.values())
