"""The API pages: made by the command of `make docs`, whole, and without links that lead nowhere."""

from __future__ import annotations

import ast
import os
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from conftest import process_context
from pdoc.__main__ import cli

TOP = Path(__file__).resolve().parents[1]


def is_public(path: Path) -> bool:
    """pdoc leaves out what is private, and in packages with `__all__` the modules behind it."""
    inside = path.name != "__init__.py" and "__all__" in (path.parent / "__init__.py").read_text()
    return path.name != "__main__.py" and not inside


MODULES = sorted(p for p in (TOP / "petweak").rglob("*.py") if is_public(p))


class Page(HTMLParser):
    """The links, the anchors and the text of an HTML file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.links += [attrs[k] for k in ("href", "src") if attrs.get(k)]
        self.anchors |= {attrs[k] for k in ("id", "name") if attrs.get(k)}

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("docs") / "site"
    (command,) = re.findall(r"^docs:.*\n\t(.+)$", (TOP / "Makefile").read_text(), re.M)
    *first, words = command.partition("$(BIN)/python -m pdoc ")
    words = shlex.split(words)
    assert not first[0] and words[-2:] == ["-o", "site"]
    words[-2:] = ["--no-search", "-o", str(out)]  # its index takes as long as the pages
    process = process_context().Process(target=_pdoc, args=words)
    process.start()
    process.join()
    assert process.exitcode == 0
    return out


def _pdoc(*words: str) -> None:
    os.chdir(TOP)
    cli(list(words))


def page_of(path: Path) -> Path:
    parts = path.relative_to(TOP).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return Path(*parts).with_suffix(".html")


def test_every_public_module_has_its_page_with_what_it_says_of_itself(site):
    for path in MODULES:
        page = Page(site / page_of(path))
        tree = ast.parse(path.read_text())
        # The first words, before any mark of Markdown.
        words = re.split(r"[`*<\n]", ast.get_docstring(tree))[0].strip()
        assert words in " ".join(page.text.split()), path
        for node in tree.body:
            public = isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"
            if public and "__all__" not in path.read_text():
                assert node.name in page.anchors, f"{path}: {node.name}"


def test_no_link_leads_nowhere(site):
    pages = {p: Page(p) for p in sorted(site.rglob("*.html"))}
    assert len(pages) > len(MODULES)
    followed = 0
    for path, page in pages.items():
        for link in page.links:
            if re.match(r"[a-z]+:", link):  # of another host, or a picture in the page
                continue
            file, anchor = urldefrag(unquote(link))
            target = (path.parent / file).resolve() if file else path
            assert target.is_file(), f"{path.name}: {link}"
            if anchor and target in pages:
                assert anchor in pages[target].anchors, f"{path.name}: {link}"
            followed += 1
    assert followed > 10 * len(pages)


def test_docstrings_read_well_as_markdown():
    """No <name> outside of backticks, which a browser takes for a tag; nothing aligned by blanks
    outside of an indented block, which would run together."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                for line in (ast.get_docstring(node) or "").splitlines():
                    if not line.startswith("    "):
                        plain = re.sub(r"`[^`]*`", "x", line)
                        assert not re.search(r"<\w+>", plain), f"{path}: {line}"
                        assert not re.search(r"\S {2,}\S", plain), f"{path}: {line}"
