"""Every picture says what is on it, for those who cannot see it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import pytest

TOP = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((TOP / "notebooks").rglob("*.ipynb"))
PAGES = sorted(f for folder in ("", "figures/", "notebooks/") for f in TOP.glob(f"{folder}*.md"))
SHORTEST = 20  # letters: more than a file's name, or "a figure"
NAMES = [p.name for p in NOTEBOOKS]


def says_something(text: str) -> bool:
    return len(text) >= SHORTEST and len(set(text.split())) >= 4


def text_of(node: ast.expr) -> str:
    """The words of a literal or an f-string; a value that is filled in counts as a word."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        parts = node.values
        return "".join(p.value if isinstance(p, ast.Constant) else "(value)" for p in parts)
    return f"({ast.unparse(node)}) is no literal"


def calls(tree: ast.AST, name: str) -> list[ast.Call]:
    found = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
    return [n for n in found if ast.unparse(n.func).split(".")[-1] == name]


def alt_of(call: ast.Call, position: int) -> ast.expr:
    named = [k.value for k in call.keywords if k.arg == "alt"]
    assert named or len(call.args) > position, ast.unparse(call)
    return named[0] if named else call.args[position]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_every_figure_that_a_notebook_shows(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            for call in calls(ast.parse(cell.source), "show"):
                assert says_something(text_of(alt_of(call, 1))), ast.unparse(call)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_every_picture_that_a_notebook_holds(path):
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            for kind in output.get("data", {}):
                if kind.startswith("image/"):
                    assert says_something(output.metadata.get(kind, {}).get("alt", "")), cell.source
        if cell.cell_type == "markdown":
            assert all(says_something(alt) for alt, _ in images(cell.source)), cell.source


@pytest.mark.parametrize("path", PAGES, ids=[p.name for p in PAGES])
def test_every_picture_of_a_page(path):
    found = images(path.read_text())
    assert found or path.name not in ("README.md", "results.md")
    for alt, file in found:
        assert says_something(alt), file


def test_every_picture_of_the_report():
    cells = nbformat.read(TOP / "notebooks" / "report.ipynb", as_version=4).cells
    trees = [ast.parse(cell.source) for cell in cells if cell.cell_type == "code"]
    figures = [call for tree in trees for call in calls(tree, "figure")]
    assert len(figures) >= 5
    for call in figures:
        assert says_something(text_of(alt_of(call, 2))), ast.unparse(call)


def images(text: str) -> list[tuple[str, str]]:
    """(alt, file) of the pictures in Markdown, as Markdown or as HTML."""
    found = re.findall(r"!\[(.*?)\]\((\S+?)\)", text, re.DOTALL)
    for tag in re.findall(r"<img\b[^>]*>", text):
        alt = re.search(r'alt="([^"]*)"', tag)
        found.append((alt[1] if alt else "", tag))
    return found
