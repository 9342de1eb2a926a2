"""The class kit in notebooks/teaching: its plan, tables and links against what there is."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import nbformat
import pytest

from petweak.reporting.notebooks import number, series

TOP = Path(__file__).resolve().parents[1]
FOLDER = TOP / "notebooks" / "teaching"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
ASSIGNMENTS = sorted(p.name for p in (FOLDER / "source").iterdir() if p.is_dir())
CHAPTER = re.compile(r"\b(?:0\d|1[0-9])[a-d]?\b")


def table(heading: str, page: str = PAGE) -> list[list[str]]:
    """The cells of the first table under a heading, without its head."""
    part = re.split(r"\n#+ ", page.split(f"# {heading}\n")[1])[0]
    rows = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def exercises(chapter: str) -> set[int]:
    """Of the chapter with this number, or of all its parts."""
    found = set()
    for path in series([chapter]):
        text = "\n".join(c.source for c in nbformat.read(path, 4).cells
                         if c.cell_type == "markdown")  # fmt: skip
        part = text.split("## Exercises")[1].split("## References")[0]
        found |= {int(n) for n in re.findall(r"^(\d)\. ", part, re.M)}
    return found


def test_a_session_needs_only_what_came_before_it():
    rows, known = table("Six sessions"), set()
    assert [int(row[0]) for row in rows] == [1, 2, 3, 4, 5, 6]
    for _, _, before, chapters, needs, _ in rows:
        assert set(CHAPTER.findall(before)) <= known
        assert set(CHAPTER.findall(needs)) <= known
        assert all(series([n]) for n in CHAPTER.findall(chapters))  # ValueError for others
        known |= set(CHAPTER.findall(chapters))
    taught = {number(p) for n in known for p in series([n])}
    (projects,) = re.findall(r"Chapters (.*?)\sare for projects", PAGE, re.S)
    named = {number(p) for n in CHAPTER.findall(projects) for p in series([n])}
    assert {number(p) for p in series()} - {"00"} == taught | named


def test_every_session_has_ninety_minutes_about_its_own_chapters():
    chapters = {row[0]: set(CHAPTER.findall(row[3])) for row in table("Six sessions")}
    minutes = table("Minutes in class")
    for session, own in chapters.items():
        part = [row for row in minutes if row[0] == session]
        assert sum(int(m) for _, m, _ in part) == 90, session
        assert own <= {n for *_, what in part for n in CHAPTER.findall(what)}


def test_every_exercise_of_an_objective_exists_in_a_chapter_of_its_session():
    chapters = {row[0]: CHAPTER.findall(row[3]) for row in table("Six sessions")}
    rows = table("Objectives and exercises")
    assert {row[0] for row in rows} == set(chapters)
    for session, objective, practised, _ in rows:
        named = re.findall(r"(\d\d[a-d]?)\.(\d)", practised)
        assert named and len(objective) > 20
        for chapter, n in named:
            assert chapter in chapters[session], objective
            assert int(n) in exercises(chapter), f"{chapter}.{n} does not exist"


def test_every_assignment_is_in_the_plan_and_in_the_objectives():
    planned = [re.findall(r"`(\w+)`", row[5]) for row in table("Six sessions")]
    rows = table("Objectives and exercises")
    graded = {n for row in rows for n in re.findall(r"`(\w+)`", row[3])}
    assert sorted(sum(planned, [])) == ASSIGNMENTS == sorted(graded)


def links() -> list[str]:
    return re.findall(r"\]\((\S+?)\)", PAGE)


def test_colab_and_binder_open_files_that_exist():
    of = {"colab.research.google.com": [], "mybinder.org": []}
    for link in links():
        url = urlsplit(link)
        if url.hostname == "mybinder.org":
            assert url.path == "/v2/gh/OWNER/petweak/main"
            path = parse_qs(url.query)["urlpath"][0].removeprefix("lab/tree/")
        elif url.hostname == "colab.research.google.com":
            path = url.path.removeprefix("/github/OWNER/petweak/blob/main/")
        else:
            continue
        assert path.endswith(".ipynb") and (TOP / path).is_file(), link
        of[url.hostname].append(path)
    assert set(of["colab.research.google.com"]) < set(of["mybinder.org"])
    assert len(of["colab.research.google.com"]) >= 4
    assert (TOP / "environment.yml").is_file()  # what Binder builds from


@pytest.mark.parametrize("page", sorted(FOLDER.glob("*.md")), ids=lambda p: p.name)
def test_links_inside_the_project_lead_somewhere(page):
    for link in re.findall(r"\]\((?!http)(\S+?)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link
