"""The folder for a paper: LaTeX tables, and figures for one and two columns."""

from __future__ import annotations

import re
import shutil
import subprocess

import pandas as pd
import pytest
from handmade import reported_run
from PIL import Image

from petweak.data.files import read_json
from petweak.reporting.latex import clear, numeric, table_tex, tex


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    return reported_run(tmp_path_factory.getbasetemp())


def rows(text: str) -> list[str]:
    """The rows between the rules of every block."""
    blocks = re.findall(r"\\midrule\n(.*?)\\bottomrule", text, re.S)
    return [line for block in blocks for line in block.splitlines() if line.endswith(r"\\")]


def test_text_is_escaped():
    assert tex("50 % of a_b & {c} #1 $x^2~") == (
        r"50 \% of a\_b \& \{c\} \#1 \$x\textasciicircum{}2\textasciitilde{}"
    )
    assert tex("C:\\new <é>") == "C:\\textbackslash{}new \\textless{}é\\textgreater{}"
    assert tex("0.1 ▼ −0.2") == r"0.1 $\blacktriangledown$ $-$0.2"
    assert tex("猫") == "[U+732B]"
    assert tex("## A & B") == "\\clearpage\n\\section{A \\& B}"


def test_a_table():
    table = pd.DataFrame({"source": ["a_b", "[c]"], "IoU": ["0.5 [0.4, 0.6]", "−0.1"]})
    text = table_tex(table, "my-table", "50 % better")
    assert r"\caption{50 \% better}" in text and r"\label{tab:my-table}" in text
    assert r"\begin{tabular}{lr}" in text  # text to the left, numbers to the right
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    assert rows(text) == [r"a\_b & 0.5 [0.4, 0.6] \\", r"{}[c] & $-$0.1 \\"]
    assert numeric(table["IoU"]) and not numeric(table["source"])


def test_a_wide_table_is_cut_and_each_part_keeps_the_names():
    values = {f"v{i}": ["0.123 [0.100, 0.200]"] for i in range(9)}
    text = table_tex(pd.DataFrame({"name": ["first"]} | values), "t", "Wide.")
    lines = rows(text)
    assert len(lines) > 1 and all(line.startswith("first & 0.123") for line in lines)
    assert sum(line.count("0.123") for line in lines) == 9
    labels = re.findall(r"\\label{(.*?)}", text)
    assert labels == ["tab:t", *(f"tab:t-{i}" for i in range(2, len(lines) + 1))]


def test_long_text_is_broken():
    table = pd.DataFrame({"name": ["a"], "meaning": ["words " * 60]})
    assert re.search(r"{l>{\\raggedright\\arraybackslash}p{[\d.]+in}}", table_tex(table, "t", ""))


def test_a_long_table_goes_over_pages():
    table = pd.DataFrame({"name": [f"n{i}" for i in range(90)], "v": ["1"] * 90})
    text = table_tex(table, "t", "Long")
    assert text.count(r"\begin{longtable}") == text.count(r"\end{longtable}") == 1
    assert r"\begin{table" not in text and r"\label{tab:t}" in text


def test_the_folder_is_whole(reported):
    latex = reported / "latex"
    document = re.sub(r"(?m)^%.*$", "", (latex / "report.tex").read_text())
    about = read_json(latex / "captions.json")
    listed = [f for part in about.values() for note in part.values() for f in note["files"]]
    there = [p for folder in ("figures", "tables") for p in (latex / folder).iterdir()]
    assert sorted(listed) == sorted(f"{p.parent.name}/{p.name}" for p in there)
    for name in re.findall(r"\\input{(.*?)}", document):
        assert (latex / f"{name}.tex").is_file()
    for name in re.findall(r"\\includegraphics{(.*?)}", document):
        assert (latex / name).is_file()
    texts = [document, *(p.read_text() for p in (latex / "tables").iterdir())]
    labels = re.findall(r"\\label{(.*?)}", "\n".join(texts))
    assert len(labels) == len(set(labels))
    assert {note["label"] for part in about.values() for note in part.values()} <= set(labels)
    for text in texts:
        bare = re.sub(r"\\[\\{}%&]", "", text)
        assert bare.count("{") == bare.count("}")
        begun, ended = (re.findall(rf"\\{word}{{(\w+\*?)}}", text) for word in ("begin", "end"))
        assert sorted(begun) == sorted(ended)


def test_figures_are_of_two_widths(reported):
    figures = reported / "latex" / "figures"
    for name, inches in (("one", 3.4), ("two", 7.0)):
        for picture in figures.glob(f"*-{name}.png"):
            assert Image.open(picture).width == pytest.approx(inches * 200, abs=1)
        for pdf in figures.glob(f"*-{name}.pdf"):
            box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", pdf.read_bytes())
            assert float(box[1]) == pytest.approx(72 * inches) and float(box[2]) <= 72 * 8.7
            assert b"/Type3" not in pdf.read_bytes()


def test_what_an_earlier_report_wrote_is_deleted_and_the_authors_file_is_not(reported, tmp_path):
    shutil.copytree(reported / "latex", tmp_path / "latex")
    mine = tmp_path / "latex" / "tables" / "mine.tex"
    mine.write_text("x")
    clear(tmp_path / "latex")
    left = sorted(p.name for p in (tmp_path / "latex").rglob("*.*"))
    assert left == ["captions.json", "mine.tex", "report.tex"]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_it_compiles(reported, tmp_path):
    shutil.copytree(reported / "latex", tmp_path / "paper")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "report.tex"]
    done = subprocess.run(command, cwd=tmp_path / "paper", capture_output=True, timeout=120)
    output = done.stdout.decode("latin-1")
    assert done.returncode == 0, output[-2000:]
    assert "Overfull" not in output
