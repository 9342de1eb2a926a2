"""The class kit in notebooks/teaching: its plan, tables and links against what there is."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import nbformat
import pandas as pd
import pytest
from conftest import small

from petweak.data.files import file_hash
from petweak.reporting.notebooks import number, series
from petweak.study.run import Run

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
                         if c.cell_type == "markdown")
        part = text.split("## Exercises")[1].split("## References")[0]
        found |= {int(n) for n in re.findall(r"^(\d)\. ", part, re.M)}
    return found


def imported(code: list[str]) -> set[str]:
    """The names of the package that cells of code import, the package itself among them."""
    nodes = [n for source in code for n in ast.walk(ast.parse(source))]
    own = [n for n in nodes if isinstance(n, ast.ImportFrom) and n.module.startswith("petweak")]
    names = {a.asname or a.name for n in own for a in n.names}
    whole = [a for n in nodes if isinstance(n, ast.Import) for a in n.names]
    return names | {a.asname or "petweak" for a in whole if a.name.split(".")[0] == "petweak"}


def counted() -> dict[str, str]:
    """What the table of counts says of the series as it is."""
    text, code, names, wide = "", [], [], 0
    for path in series():
        cells = nbformat.read(path, as_version=4).cells
        text += "\n\n".join(c.source for c in cells if c.cell_type == "markdown")
        own = [c.source for c in cells if c.cell_type == "code"]
        code += own
        if number(path) != "00":
            names.append(len(imported(own)))
        for output in (o for c in cells for o in c.get("outputs", [])):
            shown = output.get("data", {}).get("text/html", "")
            shown = re.sub(r"<details.*?</details>", "", shown, flags=re.S)
            bodies = [t.split("<tbody>")[-1] for t in re.findall(r"<table.*?</table>", shown, re.S)]
            wide += sum(body.count("<tr") > 12 for body in bodies)
        said = [c.source for c in cells if c.cell_type == "markdown"]
        said += [o["data"]["text/markdown"] for c in cells for o in c.get("outputs", [])
                 if "text/markdown" in o.get("data", {})]
        said = [re.sub(r"<details.*?</details>", "", t, flags=re.S) for t in said]
        parts = [part for t in said for part in re.findall(r"(?:^\|.*\n?)+", t, re.M)]
        wide += sum(part.count("\n|") - 1 > 12 for part in parts)  # without the two of the head
    references = [part.split("\n## ")[0] for part in text.split("## References\n")[1:]]
    values = {
        "displayed equations": len(re.findall(r"\$\$.+?\$\$", text, re.S)),
        "diagrams (SVG)": len(set(re.findall(r"diagrams/(\S+?\.svg)", text))),
        "chapters with linked references": sum("](http" in part for part in references),
        "predictions": text.count("**Predict"),
        "answers to predictions": sum("**Answer" in source for source in code),
        "names imported from the package, 01 and later": f"{min(names)} to {max(names)}",
        "unfolded tables of more than 12 rows": wide,
    }
    return {what: str(value) for what, value in values.items()}


def test_the_table_of_counts_is_that_of_the_chapters():
    rows = table("What has changed in the chapters")
    assert {what: now for what, _, now in rows} == counted()


@pytest.mark.parametrize("folder", ["", "solutions"])
def test_no_chapter_imports_more_than_six_names_of_the_package(folder):
    many = {}
    for path in sorted((FOLDER.parent / folder).glob("[0-9]*.ipynb")):
        cells = [c for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
        importing = [names for c in cells if (names := imported([c.source]))]
        if len(importing) != 1 or len(importing[0]) > 6:  # of one cell
            many[path.name] = importing
    assert not many


def test_a_session_needs_only_what_came_before_it():
    rows, known = table("Six sessions"), set()
    assert [int(row[0]) for row in rows] == [1, 2, 3, 4, 5, 6]
    for _, _, before, chapters, needs, _ in rows:
        assert set(CHAPTER.findall(before)) <= known | set(CHAPTER.findall(chapters))
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


@pytest.mark.parametrize("chapter", [number(p) for p in series()[1:]])
def test_every_exercise_ends_with_an_estimate_of_its_minutes(chapter):
    (path,) = series([chapter])
    cells = [c.source for c in nbformat.read(path, 4).cells if c.cell_type == "markdown"]
    part = "\n".join(cells).split("## Exercises")[1].split("\n\nTried them?")[0]
    each = re.split(r"^\d\. ", part, flags=re.M)[1:]
    minutes = [re.search(r"\((\d+) min\)$", text.strip()) for text in each]
    assert len(each) == len(exercises(chapter)) and all(minutes)
    assert all(int(m[1]) % 5 == 0 and 10 <= int(m[1]) <= 60 for m in minutes)


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
            assert re.fullmatch(r"/v2/gh/[^/]+/petweak/main", url.path)
            path = parse_qs(url.query)["urlpath"][0].removeprefix("lab/tree/")
        elif url.hostname == "colab.research.google.com":
            path = re.sub(r"^/github/[^/]+/petweak/blob/main/", "", url.path)
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


def on_slides(path: Path) -> list[list]:
    """The cells on each slide, one below another or beside it."""
    slides = []
    for cell in nbformat.read(path, as_version=4).cells:
        kind = cell.metadata.get("slideshow", {}).get("slide_type")
        assert kind in (None, "slide", "subslide", "skip")
        if kind in ("slide", "subslide"):
            slides.append([])
        if kind != "skip":
            slides[-1].append(cell)
    return slides


@pytest.fixture(scope="module")
def slides(tmp_path_factory) -> Path:
    """What `make slides` writes."""
    out = tmp_path_factory.mktemp("slides")
    text = (TOP / "Makefile").read_text().replace("\\\n", " ")
    (command,) = re.findall(r"^slides:.*\n\t(.+)$", text, re.M)
    program = f"{sys.executable} -m nbconvert"
    command = command.replace("$(BIN)/jupyter nbconvert", program)
    command = command.replace("--output-dir slides", f"--output-dir {out}")
    subprocess.run(command, shell=True, cwd=TOP, check=True, capture_output=True)
    return out


@pytest.mark.parametrize("chapter", ["04", "07a"])
def test_slides_keep_a_prediction_apart_from_its_answer(chapter, slides):
    (path,) = series([chapter])
    cells = on_slides(path)
    for slide in cells:
        text = "\n".join(c.source for c in slide)
        assert not ("**Predict" in text and "**Answer.**" in text), text[:200]
        shown = [c for c in slide if "hide-input" not in c.metadata.get("tags", [])]
        assert sum(len(c.source.splitlines()) for c in shown) <= 40, text[:200]
    page = (slides / f"{path.stem}.slides.html").read_text(encoding="utf-8")
    down, across = page.count("<section"), len(re.findall(r"<section>\s*<section", page))
    assert down - across == len(cells) > 20 and across > 8
    assert "What it cost" not in page
    assert page.count("<img ") >= 3 and "No description has been provided" not in page
    for cell in (c for c in sum(cells, []) if "**Answer" in c.source and c.cell_type == "code"):
        only = len(ast.parse(cell.source).body) == 1
        assert not only or "hide-input" in cell.metadata.get("tags", []), cell.source
    assert all(f'src="{link}' in page for link in re.findall(
        r"!\[[^]]*\]\((\S+)\)", "".join(c.source for slide in cells for c in slide)))


def test_the_page_for_a_class_server_shows_the_measured_table():
    page = (FOLDER / "class_server.md").read_text(encoding="utf-8")
    for name in ("class_server.csv", "shared.csv"):
        measured = pd.read_csv(FOLDER / name, dtype=str)
        assert page.count(as_page(measured)) == 1, f"{name}: python notebooks/teaching/measure.py"
    chapters = pd.read_csv(FOLDER / "class_server.csv")["chapter"]
    assert sorted(chapters) == [*(number(p) for p in series()[1:]), "jupyterlab"]


def as_page(table: pd.DataFrame) -> str:
    return table.to_markdown(index=False, disable_numparse=True)


@pytest.fixture
def linked(rendered, tmp_path) -> tuple[Path, Path]:
    """A finished run that nobody writes to, and a student's folder of links to it."""
    shared, own = tmp_path / "shared", tmp_path / "own"
    study = Run(shared, rendered, small())
    study.model("gradcam_pretrained", "species")
    study.model_scores("gradcam_pretrained", "species")
    page = (FOLDER / "class_server.md").read_text(encoding="utf-8")
    (link,) = re.findall(r"^cp -rs (\S+) \S+ ~/petweak/runs/embedded$", page, re.M)
    subprocess.run(f'cp -rs {link} "{shared}" "{own}"', shell=True, check=True)
    shutil.rmtree(own / ".locks")
    return shared, own


def test_a_run_of_links_is_read_and_written_beside_the_shared_one(linked, rendered):
    shared, own = linked
    before = {p: file_hash(p) for p in shared.rglob("*") if p.is_file()}
    model = own / "models" / "gradcam_pretrained-species" / "model.safetensors"
    study = Run(own, rendered, small())
    study.model("gradcam_pretrained", "species")
    assert study.model_scores("gradcam_pretrained", "species").rows
    assert model.is_symlink()  # what is there is used
    other = Run(own, rendered, small(epochs=1))
    other.model("gradcam_pretrained", "species")
    assert model.is_file() and not model.is_symlink()  # what is new is the student's
    assert (own / "features").is_dir() and all(
        p.is_symlink() for p in (own / "features").rglob("*") if p.is_file())
    assert {p: file_hash(p) for p in shared.rglob("*") if p.is_file()} == before
