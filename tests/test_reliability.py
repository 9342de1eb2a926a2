"""tests/RELIABILITY.md says what the rows say, and every row has its test."""

from __future__ import annotations

import json
import tomllib

import reliability
from reliability import PAGE, RESULTS, TESTS, page, record


def rows() -> dict[str, dict]:
    files = [json.loads(p.read_text(encoding="utf-8")) for p in sorted(RESULTS.glob("*.json"))]
    return {what: row for of in files for what, row in of.items()}


def test_the_page_is_what_the_rows_give():
    assert PAGE.read_text(encoding="utf-8") == page(), "python tests/reliability.py writes it"


def test_every_row_has_its_test():
    for what, row in rows().items():
        file, name = row["test"].split("::")
        assert f"def {name}(" in (TESTS / file).read_text(encoding="utf-8"), what
        assert row["by"] == reliability.BY.get(file.split("/")[0], "make test"), what


def test_a_quick_row_is_written_where_it_says_something_new(tmp_path, monkeypatch):
    def tell(tried: int, commit: str, folder: str = "") -> dict:
        monkeypatch.setattr(reliability, "commit", lambda: commit)
        record(tmp_path, folder + "test_x.py::test_y", "cuts", tried, "a | b")
        return json.loads((tmp_path / "test_x.json").read_text())["cuts"]

    assert tell(3, "first")["commit"] == "first" == tell(3, "second")["commit"]
    assert tell(4, "third") == {"test": "test_x.py::test_y", "tried": 4, "happened": "a | b",
                                "by": "make test", "commit": "third"}
    assert tell(4, "fourth", "hard/")["commit"] == "fourth"
    assert tell(4, "fifth", "hard/")["commit"] == "fifth"
    shown = page(tmp_path)
    assert "## X\n" in shown and "| cuts | 4 | a \\| b | `make test-hard` |" in shown


def test_only_make_test_hard_collects_the_slow_tests():
    options = tomllib.loads((TESTS.parent / "pyproject.toml").read_text())["tool"]["pytest"]
    assert {"browser", "hard"} <= set(options["ini_options"]["norecursedirs"])
    assert "-m pytest -q tests/hard" in (TESTS.parent / "Makefile").read_text()
