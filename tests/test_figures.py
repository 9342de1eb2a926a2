"""What the README shows is what the committed tables say."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from petweak.figures import write_readme

TOP = Path(__file__).resolve().parents[1]


def test_the_readmes_tables_are_those_of_the_committed_results(tmp_path):
    readme = tmp_path / "README.md"
    shutil.copy(TOP / "README.md", readme)
    write_readme(readme, TOP / "figures")
    assert readme.read_text() == (TOP / "README.md").read_text()


def test_a_missing_mark_is_named(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("# petweak\n")
    with pytest.raises(ValueError, match="results embedded"):
        write_readme(readme, TOP / "figures")


def test_every_file_that_the_readme_shows_is_there():
    import re

    text = (TOP / "README.md").read_text()
    links = re.findall(r"\]\(((?:figures|notebooks)/[^)]+)\)", text)
    assert links and all((TOP / link).is_file() for link in links)


def test_real_photos_are_attributed_and_few():
    text = (TOP / "figures" / "ATTRIBUTION.md").read_text()
    assert "CC BY-SA 4.0" in text and 1 <= text.count("\n- ") <= 6
