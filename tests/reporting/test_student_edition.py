"""The series as a class gets it: nothing that gives an answer away, and every cell still runs."""

from __future__ import annotations

import ast
import itertools
import re
from pathlib import Path

import nbformat
import pytest

from petweak.reporting.notebooks import series
from petweak.reporting.student import Unanswered, student_edition

LINK = re.compile(r"\]\((?!https?://)([^)\s#]+\.\w+)[^)\s]*\)")


@pytest.fixture(scope="module")
def edition(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("class") / "student"
    student_edition(folder)
    return folder


def cells(path: Path) -> list:
    return nbformat.read(path, as_version=4).cells


def names(sources: list[str]) -> set[str]:
    """What code assigns, but for the variables of comprehensions."""
    nodes = [n for source in sources for n in ast.walk(ast.parse(source))]
    inside = {id(n) for c in nodes if isinstance(c, ast.comprehension) for n in ast.walk(c.target)}
    stored = (n for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    return {n.id for n in stored if id(n) not in inside}


def takeaways(given: list) -> tuple[int, nbformat.NotebookNode]:
    """Where the cell of code is that words the takeaways, and this cell."""
    (at,) = [i for i, c in enumerate(given) if c.source.startswith("## Takeaways\n")]
    return at + 1, given[at + 1]


@pytest.mark.parametrize("path", series(), ids=lambda path: path.name)
def test_no_output_answer_or_way_to_a_solution_is_left(path, edition):
    given, there = cells(path), cells(edition / path.name)
    text = "\n".join(c.source for c in there)
    assert "Answer.**" not in text and "solutions/" not in text and "NBVAL" not in text
    code = [c for c in there if c.cell_type == "code"]
    assert not any(c.outputs or c.execution_count for c in code)
    assert text.count("*My prediction") == sum("**Predict" in c.source for c in given)
    _, summed_up = takeaways(given)
    before = [c.source for c in given if c.cell_type == "code" and c is not summed_up]
    assert names(before) == names([c.source for c in code])  # nothing that a later cell needs
    assert len(before) - len(code) == sum("Answer.**" in s and len(ast.parse(s).body) == 1
                                          for s in before)
    assert LINK.search(text)
    for target in LINK.findall(text):
        assert (edition / target).is_file(), target


@pytest.mark.parametrize("path", series(), ids=lambda path: path.name)
def test_what_is_concluded_from_an_answer_goes_with_it(path, edition):
    given, there = cells(path), "\n".join(c.source for c in cells(edition / path.name))
    for before, cell in itertools.pairwise(given):
        if cell.cell_type == "markdown" and "answer" in cell.metadata.get("tags", []):
            assert "**Answer.**" in before.source and "**Predict" not in cell.source
            assert cell.source not in there
        elif cell.cell_type == "markdown" and "Answer.**" in before.source:
            assert not re.match(r"(So|Therefore|Hence|Thus)\b", cell.source), cell.source[:200]


@pytest.mark.parametrize("path", series(), ids=lambda path: path.name)
def test_takeaways_are_left_to_the_student(path, edition):
    given, there = cells(path), cells(edition / path.name)
    at, cell = takeaways(given)
    text = "\n".join(c.source for c in there)
    assert text.count("*What I take away:*") == 1 and cell.source not in text
    said = [part.value for n in ast.walk(ast.parse(cell.source)) if isinstance(n, ast.JoinedStr)
            for part in n.values if isinstance(part, ast.Constant)]
    lines = [line.strip() for part in said for line in part.splitlines() if len(line) > 40]
    assert lines and not [line for line in lines if line in text]
    later = [c.source for c in given[at + 1 :] if c.cell_type == "code"]
    read = {n.id for s in later for n in ast.walk(ast.parse(s)) if isinstance(n, ast.Name)}
    assert not read & names([cell.source])  # the code still runs from top to bottom
    for code in (c.source for c in there if c.cell_type == "code"):
        compile(code, path.name, "exec")


def test_some_conclusions_are_tagged():
    tagged = [c for p in series() for c in cells(p) if "answer" in c.metadata.get("tags", [])]
    assert len(tagged) >= 4 and not any(c.cell_type == "code" for c in tagged)


def test_only_the_words_of_an_answer_are_taken_from_a_cell_that_computes():
    code = Unanswered.code
    assert code('x = 1\nMarkdown(f"""\n**Answer.** It is {x}.\n""")') == (
        'x = 1\nMarkdown("Was your prediction right? Why?")')
    both = code('said = f"**Answer.** {x}"\nMarkdown(said if x else "none")')
    assert both == 'said = "Was your prediction right? Why?"\nMarkdown(said if x else "none")'
    two = code('a = "**Answer.** 1"\nif b:\n    a = f"**Answer.** {b}"\nMarkdown(a)')
    assert "Answer" not in two and two.count("Was your prediction right") == 2
    whole = code('y = 2\nMarkdown("**Answer.**" + "".join(f"{k}" for k in z) + f"é {y}")')
    assert whole == 'y = 2\nMarkdown("Was your prediction right? Why?")'
    assert code('Markdown(f"**Answer.** {x}")') == ""


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "my.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is not empty"):
        student_edition(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["my.txt"]
