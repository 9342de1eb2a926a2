"""The series as it is committed: form, size, and that it has been executed. Nothing runs here."""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from collections import defaultdict
from html import unescape
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest

from petweak.reporting.chapters import chapters
from petweak.reporting.notebooks import number, parameters_of
from petweak.study.tables import stored

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
QUESTIONS = (  # of the paper, sections 1.3 and 3.2, in its words
    "to a fully supervised base-line",
    "the simplest version of the architecture which can still produce satisfying results",
    "How simple can we make the pseudo mask generation process while ensuring satisfactory "
    "performance?",
)
SERIES = sorted(FOLDER.glob("[0-9][0-9]*_*.ipynb"))
SOLUTIONS = sorted((FOLDER / "solutions").glob("[0-9][0-9]*_*.ipynb"))
CHAPTERS = [p for p in SERIES if p.name[:2] != "00"]  # those with exercises that are worked out
ALL = [*SERIES, FOLDER / "_template.ipynb"]
READ = [*ALL, FOLDER / "explorers.ipynb", *SOLUTIONS]  # with text for learners, and outputs
EVERY = [*READ, FOLDER / "report.ipynb"]
IDS = [p.name for p in ALL]


def every(of: list[Path]):
    return pytest.mark.parametrize("path", of, ids=[p.name for p in of])


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list:
    return [c for c in read(path).cells if c.cell_type == "code"]


def prose(path: Path) -> str:
    return "\n".join(c.source for c in read(path).cells if c.cell_type == "markdown")


def test_the_series_is_numbered_without_gaps():
    numbers = sorted({p.name[:2] for p in SERIES})
    assert numbers == [f"{n:02d}" for n in range(len(numbers))] and len(numbers) >= 8
    for n in numbers:
        files = [p for p in SERIES if p.name[:2] == n]
        letters = [number(p).removeprefix(n) for p in files]
        assert letters == ([""] if len(files) == 1 else list("abcd"[: len(files)])), files


@every(EVERY)
def test_one_cell_of_parameters_literals_with_a_comment_each(path):
    (cell,) = [c for c in code_cells(path) if "parameters" in c.metadata.get("tags", [])]
    tokens = list(tokenize.generate_tokens(io.StringIO(cell.source).readline))
    commented = {t.start[0] for t in tokens if t.type == tokenize.COMMENT and len(t.string) > 4}
    for statement in ast.parse(cell.source).body:
        assert isinstance(statement, ast.Assign)
        ast.literal_eval(statement.value)
        assert statement.lineno in commented, ast.unparse(statement)
    common = {"profile", "run", "data_root", "seed"}
    assert ({"run"} if path.stem in ("explorers", "report") else common) <= set(parameters_of(path))


def test_a_parameter_has_one_type_in_the_whole_series():
    """`-p photos=FOLDER` goes to every notebook that has `photos`."""
    types = defaultdict(lambda: defaultdict(list))
    for path in EVERY:
        for name, text in parameters_of(path).items():
            types[name][type(ast.literal_eval(text))].append(path.name)
    assert not {name: dict(of) for name, of in types.items() if len(of) > 1}


@pytest.mark.parametrize("path", ALL, ids=IDS)
def test_form(path):
    cells = read(path).cells
    assert cells[0].cell_type == "markdown" and cells[0].source.startswith("# ")
    for words in ("**Question.**", "**You will learn**", "## Takeaways"):
        assert words in prose(path), words
    if path.name[:2] != "00":
        assert 2 <= len(exercises(path)) <= 6
    assert "**Predict" in prose(path)
    after = next(i for i, c in enumerate(cells) if "## Takeaways" in c.source)
    assert "Markdown(f" in cells[after + 1].source  # takeaways read their numbers


@pytest.mark.parametrize("path", SERIES, ids=IDS[:-1])
def test_links_lead_to_neighbours(path):
    targets = set(re.findall(r"\]\((\S+\.ipynb)\)", prose(path)))
    i = SERIES.index(path)
    neighbours = {p.name for p in (*SERIES[max(0, i - 1) : i], *SERIES[i + 1 : i + 2])}
    assert neighbours <= targets
    assert all((FOLDER / t).is_file() for t in targets)


@every(SERIES)
def test_the_first_cell_quotes_a_question_of_the_paper(path):
    first = " ".join(read(path).cells[0].source.split())
    assert any(question in first for question in QUESTIONS)


@every(CHAPTERS)
def test_every_chapter_breaks_something_on_purpose_and_measures_it(path):
    cells = read(path).cells
    heads = {c.source.split("\n")[0]: i for i, c in enumerate(cells) if c.source.startswith("## ")}
    at = heads["## Break it"]
    assert at < heads["## What it cost"] < heads["## Takeaways"]
    assert "**Predict" in cells[at].source and cells[at + 1].cell_type == "code"
    assert "on purpose" in cells[heads["## Takeaways"] + 1].source


def test_the_rules_of_a_verdict_are_the_same_in_both_parts_of_08():
    parts = [p for p in CHAPTERS if p.name.startswith("08")]
    boxes = ["\n".join(re.findall(r"^>.*$", prose(path), re.M)) for path in parts]
    assert len(boxes) == 2 and boxes[0] == boxes[1] and boxes[0].count("\n> **") == 4


def exercises(path: Path) -> list[int]:
    text = prose(path).split("## Exercises")[1].split("## References")[0]
    return [int(n) for n in re.findall(r"^(\d)\. ", text, re.M)]


def test_every_chapter_has_its_solutions():
    names = [f"{p.stem}_solutions.ipynb" for p in CHAPTERS]
    assert [p.name for p in SOLUTIONS] == names
    for path, name in zip(CHAPTERS, names, strict=True):
        assert f"](solutions/{name})" in prose(path).split("## Exercises")[1]


@every(SOLUTIONS)
def test_every_exercise_is_answered_with_a_score_that_is_read(path):
    chapter = FOLDER / path.name.replace("_solutions", "")
    assert prose(path).count(f"](../{chapter.name})") == 2  # at the top and at the end
    cells = read(path).cells
    heads = [(i, c.source) for i, c in enumerate(cells) if c.source.startswith("## Exercise ")]
    numbers = [int(re.match(r"## Exercise (\d)\n", text)[1]) for _, text in heads]
    assert numbers == exercises(chapter)
    ends = [*[i for i, _ in heads[1:]], len(cells)]
    for (start, text), end in zip(heads, ends, strict=True):
        part = [c.source for c in cells[start:end] if c.cell_type == "code"]
        assert re.search(r"\n\n\*[^*]", text)  # what was asked, in short
        assert re.search(r'Markdown\(f""".*\*\*Answer\.\*\*', "\n".join(part), re.S)
        assert cells[end - 1 - (end == len(cells))].cell_type == "code"  # the answer comes last


def test_no_result_is_typed_into_an_answer():
    for path in SOLUTIONS:
        for cell in code_cells(path):
            if "**Answer.**" not in cell.source:
                continue
            said = re.sub(r"\{[^{}]*(\{[^{}]*\}[^{}]*)*\}", "", cell.source.split('"""')[1])
            # The paper's scores and thresholds of settings may be named, measured ones not.
            assert set(re.findall(r"0\.\d{2,}", said)) <= {"0.50", "0.03", "0.09"}, cell.source


def test_the_glossary_is_linked_and_leads_to_where_a_word_is_explained():
    for path in READ:
        link = "](../glossary.md)" if path in SOLUTIONS else "](glossary.md)"
        assert link in read(path).cells[0].source, path.name
    text = (FOLDER / "glossary.md").read_text()
    entry = r"^- \*\*(.+?)\*\* \(\[(\d\d[a-d]?)\]\((\S+)\)\): (.+?)(?=^- |\Z)"
    entries = re.findall(entry, text, re.M | re.S)
    terms = [term for term, *_ in entries]
    assert len(terms) == text.count("\n- ") >= 40
    assert terms == sorted(set(terms), key=str.lower)
    for term, chapter, target, meaning in entries:
        assert target.startswith(f"{chapter}_") and (FOLDER / target).is_file(), term
        said = prose(FOLDER / target).lower()
        assert all(word in said for word in term.lower().split()), f"{term} is not in {target}"
        assert 1 <= len(re.findall(r"[.?!](?=\s|$)", meaning)) <= 3, term


@every([*EVERY, *sorted(FOLDER.glob("teaching/source/**/*.ipynb"))])
def test_no_line_of_a_formula_begins_a_list(path):
    """Markdown makes a list, a quotation or a heading of it, and the formula is torn."""
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            text = re.sub(r"```.*?```|`[^`\n]*`", "", cell.source, flags=re.S)
            for formula in re.findall(r"\$\$.+?\$\$|(?<![\\$])\$(?!\$).+?\$", text, flags=re.S):
                torn = re.search(r"\n[ ]{0,3}([-+*>#]|\d+[.)])(\s|$)", formula)
                assert not torn and "\n\n" not in formula, (cell.id, formula)


@every(READ)
def test_cells_can_be_read_at_a_glance(path):
    for cell in code_cells(path):
        assert len(cell.source.splitlines()) <= 40, cell.source  # the method itself may be long
        assert max(map(len, cell.source.splitlines())) <= 100, cell.source


@every(READ)
def test_executed_clean_and_small(path):
    assert path.stat().st_size < 600_000
    cells = code_cells(path)
    counts = [c.execution_count for c in cells]
    assert counts == list(range(1, len(cells) + 1)), "run `make notebooks`"
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.text  # a logged warning goes there, too
            assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {})
            text = json.dumps({k: v for k, v in output.get("data", {}).items() if "image" not in k})
            text += output.get("text", "")
            assert not re.search(r"(?<![\w<.])/(home|root|tmp|work|Users)/", text), text[:300]
            assert "counts as missing" not in " ".join(text.split()), text[:300]  # of a broken run


@every(EVERY)
def test_nothing_of_the_machine_is_kept(path):
    nb = read(path)
    assert set(nb.metadata) <= {"kernelspec", "language_info"}
    assert all(set(c.metadata) <= {"tags", "slideshow", "jupyter"} for c in nb.cells)


@every(SERIES)
def test_what_only_words_an_answer_is_folded(path):
    """Its template says the answer before the reader has predicted it, and says it twice after."""
    for cell in code_cells(path):
        last = ast.parse(cell.source).body[-1]
        words = (isinstance(last, ast.Expr) and isinstance(last.value, ast.Call)
                 and ast.unparse(last.value.func).split(".")[-1] == "Markdown"
                 and any(isinstance(n, ast.JoinedStr) for n in ast.walk(last)))
        most = words and 2 * (last.end_lineno - last.lineno + 1) >= len(cell.source.splitlines())
        assert not most or cell.metadata.get("jupyter", {}).get("source_hidden"), cell.source


def test_the_stored_run_times_are_of_every_chapter():
    times = stored("embedded", "notebooks.csv")
    assert {str(n).zfill(2) for n in times["notebook"]} >= {number(c.file) for c in chapters()}
    assert (times["seconds"] > 0).all()


def printed(path: Path, kind: str) -> list[str]:
    outputs = [o.get("data", {}) for c in code_cells(path) for o in c.outputs]
    return [data[kind] for data in outputs if kind in data]


def printed_tables(path: Path):
    """The names of the columns, and the rows, of each table that the notebook has printed."""
    for table in re.findall(r"<table.*?</table>", "".join(printed(path, "text/html")), re.S):
        head, body = ([[unescape(re.sub(r"<.*?>", "", cell)).strip() for cell in
                        re.findall(r"<t[hd](?: [^>]*)?>.*?</t[hd]>", row, re.S)]
                       for row in part.split("</tr>")[:-1]]
                      for part in table.partition("</thead>")[::2])
        for above, row in pairwise(body):  # a cell that spans several rows is in the first alone
            row[:0] = above[: max(0, len(above) - len(row))]
        names = zip(*head, strict=False)  # of columns, and below them of the index
        yield ["".join(name) for name in names], body


def test_what_00_quotes_of_a_chapter_is_what_the_chapter_prints():
    texts = "\n".join(printed(SERIES[0], "text/markdown"))
    lines = re.findall(r"^\| (.+) \| .+ \| .+ \| (.*) \| (.*) \| (\d\d[a-d]?) \|$", texts, re.M)
    digits, bold = r"\d+(?:\.\d+)?", r"\d\.\d{3}|(?<=\*\*)\d+(?=\*\*)"
    quotes = [(chapter, re.findall("`(.+?)`", what)[-1], {*re.findall(digits, cell)})
              for what, *cells, chapter in lines for cell in cells if cell]
    for start, chapters_of in {"`imagenet_only (": ("08b", "09b"), "border ": ("08b",),
                               "37 breeds: the": ("10",), "three breeds: the": ("10",)}.items():
        items = re.findall(rf"^- ({re.escape(start)}.+)$", texts, re.M)
        assert items, start
        quotes += [(chapter, "", {*re.findall(bold, x)}) for x in items for chapter in chapters_of]
    assert {chapter for chapter, *_ in quotes} >= {"05", "08b", "09b", "10"}
    parts = {number(path): printed(path, "text/markdown") + [
        " ".join([*head, *row]) for head, rows in printed_tables(path) for row in rows]
        for path in CHAPTERS}
    for chapter, name, numbers in quotes:  # one number beside its name, or several together
        assert any((name in part or len(numbers) > 1) and numbers <= {*re.findall(digits, part)}
                   for part in parts[chapter]), (chapter, name, numbers)


def test_a_score_minus_that_of_full_supervision_is_the_printed_difference():
    found = defaultdict(list)
    pairs = [("IoU", "full supervision"), ("its IoU", "full supervision"), ("pets", "top1"),
             ("finetuned", "ImageNet"), ("finetuned", "imagenet"), ("species", "breed")]
    for path in SERIES:
        for head, rows in printed_tables(path):
            for one, other in pairs:
                if {one, other, "difference"} <= {*head}:
                    found[number(path)] += [[row[head.index(x)] for x in (one, other, "difference")]
                                            for row in rows]
        for line in "\n".join(printed(path, "text/markdown")).splitlines():
            said = re.sub(r"\[.*?\]", "", line)  # without the limits of an interval
            scores = re.findall(r"(?<![-+\d.])0\.\d{3}", said)
            gaps = re.findall(r"[-+]0\.\d{3}", said)
            if "full supervision" in said and (len(scores), len(gaps)) == (2, 1):
                found[number(path)].append([*scores, *gaps])
    assert {"00", "08a", "08b"} <= {*found}
    for chapter, rows in found.items():
        for row in rows:
            one, other, gap = (float(text.split()[0].replace("\u2212", "-")) for text in row)
            assert round(abs(one - other - gap), 4) <= 0.001, (chapter, row)
