"""tests/RELIABILITY.md says what the rows say, and every row has its test."""

from __future__ import annotations

import json
import tomllib
from importlib.util import find_spec

import pytest
import reliability
from reliability import PAGE, RESULTS, TESTS, page, record


def rows() -> dict[str, dict]:
    files = [json.loads(p.read_text(encoding="utf-8")) for p in sorted(RESULTS.glob("*.json"))]
    return {key: row for of in files for key, row in of.items()}


class Collected:
    """A plugin: the tests that pytest finds."""

    tests: set[str] = set()

    def pytest_collection_finish(self, session):
        self.tests = {f"{item.path.relative_to(TESTS).as_posix()}::{item.name}"
                      for item in session.items}


def test_the_page_is_what_the_rows_give():
    assert PAGE.read_text(encoding="utf-8") == page(), "python tests/reliability.py writes it"


def test_every_row_has_its_test_and_is_said_once():
    """With its parameters: of a kind that is tried no more, no row stays."""
    here = [key for key, row in rows().items() if row["by"] != "make test-ray" or find_spec("ray")]
    files = {str(TESTS / key.split("::")[0]) for key in here}
    options = ["--collect-only", "-p", "no:terminal", "-p", "no:cacheprovider", "-p", "no:capture"]
    assert pytest.main([*options, *files], [found := Collected()]) == 0
    assert not [key for key in here  # alone, or with a part of it
                if not any(f"{key} ".startswith(f"{test} ") for test in found.tests)]
    for key, row in rows().items():
        assert row["by"] == reliability.by(key), key
    said = [row["what"] for row in rows().values()]
    assert len(said) == len(set(said))


def test_a_quick_row_is_written_where_it_says_something_new(tmp_path, monkeypatch):
    def tell(what: str, tried: int, commit: str, folder: str = "") -> dict:
        monkeypatch.setattr(reliability, "commit", lambda: commit)
        record(tmp_path, key := folder + "test_x.py::test_y[cut]", what, tried, "a | b")
        return json.loads((tmp_path / "test_x.json").read_text())[key]

    assert tell("3 cuts", 3, "first")["commit"] == "first" == tell("3 cuts", 3, "2nd")["commit"]
    assert tell("4 cuts", 4, "third") == {"what": "4 cuts", "tried": 4, "happened": "a | b",
                                          "by": "make test", "commit": "third"}
    assert "3 cuts" not in page(tmp_path)  # the same test, under a new number
    assert tell("cuts", 4, "fourth", "hard/")["commit"] == "fourth"
    assert tell("cuts", 4, "fifth", "hard/")["commit"] == "fifth"
    shown = page(tmp_path)
    assert "## X\n" in shown and "| cuts | 4 | a \\| b | `make test-hard` |" in shown


def test_each_part_of_a_test_has_a_row(tmp_path, monkeypatch, request):
    monkeypatch.setattr(reliability, "RESULTS", tmp_path)
    monkeypatch.setattr(reliability, "PAGE", tmp_path / "page.md")
    tell = request.getfixturevalue("reliability")
    for what, part in (("1 file", ""), ("1 cut", "cut"), ("2 files", ""), ("2 cuts", "cut")):
        tell(what, 1, "read", part)
    test = "test_reliability.py::test_each_part_of_a_test_has_a_row"
    told = json.loads((tmp_path / "test_reliability.json").read_text())
    assert {key: row["what"] for key, row in told.items()} == {
        test: "2 files", f"{test} cut": "2 cuts"}


def test_only_make_test_hard_collects_the_slow_tests():
    options = tomllib.loads((TESTS.parent / "pyproject.toml").read_text())["tool"]["pytest"]
    assert {"browser", "hard"} <= set(options["ini_options"]["norecursedirs"])
    assert "-m pytest -q tests/hard" in (TESTS.parent / "Makefile").read_text()
