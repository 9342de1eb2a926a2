"""The folder for a paper: LaTeX tables, and figures for one and two columns."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from handmade import about_run, make_run
from matplotlib.colors import to_rgb
from PIL import Image

from petweak import looks, plots
from petweak.files import read_json, write_json
from petweak.report import write_report
from petweak.report_latex import escape, table_tex, write_latex
from petweak.report_parts import Section
from petweak.tables import BASELINES


@pytest.fixture(scope="module")
def latex(tmp_path_factory):
    top = tmp_path_factory.mktemp("latex")
    make_run(top)
    write_json(top / "run" / "run.json", about_run() | {"data_root": str(top)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("petweak.looks.DPI", 50)
        assert write_report(top / "run", ["latex"]) == top / "run" / "latex" / "report.tex"
    return top / "run" / "latex"


def rows(tex: str) -> list[str]:
    """The rows between the rules of every block."""
    blocks = re.findall(r"\\midrule\n(.*?)\\bottomrule", tex, re.S)
    return [line for block in blocks for line in block.splitlines() if line.endswith(r"\\")]


def test_escape():
    assert escape("50 % of a_b & {c} #1 $x^2~") == (
        r"50 \% of a\_b \& \{c\} \#1 \$x\textasciicircum{}2\textasciitilde{}"
    )
    assert escape("C:\\new <é>") == "C:\\textbackslash{}new \\textless{}é\\textgreater{}"
    assert escape("0.1 ▼ −0.2") == r"0.1 $\blacktriangledown$ $-$0.2"
    assert escape("猫") == "[U+732B]"


def test_a_table():
    table = pd.DataFrame({"source": ["a_b", "[c]"], "IoU": ["0.5 [0.4, 0.6]", "−0.1"]})
    tex = table_tex(table, "my-table", "50 % better")
    assert r"\caption{50 \% better}" in tex and r"\label{tab:my-table}" in tex
    assert r"\begin{tabular}{lr}" in tex  # text to the left, numbers to the right
    assert [tex.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    assert rows(tex) == [r"a\_b & 0.5 [0.4, 0.6] \\", r"{}[c] & $-$0.1 \\"]


def test_a_group_is_a_heading_between_rows():
    table = pd.DataFrame({"group": ["G_1", "G_1", "G_2"], "n": ["x", "y", "z"], "v": list("123")})
    assert rows(table_tex(table, "t", "", "group")) == [
        r"\multicolumn{2}{l}{\textit{G\_1}} \\", r"x & 1 \\", r"y & 2 \\",
        r"\multicolumn{2}{l}{\textit{G\_2}} \\", r"z & 3 \\",
    ]  # fmt: skip


def test_a_wide_table_is_cut_and_each_part_keeps_the_names():
    values = {f"v{i}": ["0.123 [0.100, 0.200]"] for i in range(9)}
    table = pd.DataFrame({"name": ["first"]} | values)
    found = rows(table_tex(table, "t", "Wide"))
    assert len(found) > 1 and all(row.startswith("first & 0.123") for row in found)
    assert sum(row.count("0.123") for row in found) == 9


def test_a_long_table_goes_over_pages():
    table = pd.DataFrame({"name": [f"n{i}" for i in range(90)], "v": ["1"] * 90})
    tex = table_tex(table, "t", "Long")
    assert tex.count(r"\begin{longtable}") == tex.count(r"\end{longtable}") == 1
    assert r"\begin{table" not in tex and r"\label{tab:t}" in tex


def test_the_folder_is_whole(latex):
    document = re.sub(r"(?m)^%.*$", "", (latex / "report.tex").read_text())
    about = read_json(latex / "captions.json")
    listed = [f for part in about.values() for a in part.values() for f in a["files"]]
    here = [p for folder in ("figures", "tables") for p in (latex / folder).iterdir()]
    assert sorted(listed) == sorted(f"{p.parent.name}/{p.name}" for p in here)
    for name in re.findall(r"\\input{(.*?)}", document):
        assert (latex / f"{name}.tex").is_file()
    for name in re.findall(r"\\includegraphics{(.*?)}", document):
        assert (latex / name).is_file()
    texts = [document, *(p.read_text() for p in (latex / "tables").iterdir())]
    labels = re.findall(r"\\label{(.*?)}", "\n".join(texts))
    assert len(labels) == len(set(labels))
    assert {a["label"] for part in about.values() for a in part.values()} <= set(labels)
    for text in texts:
        bare = re.sub(r"\\[\\{}%&]", "", text)
        assert bare.count("{") == bare.count("}")
        begun, ended = (re.findall(rf"\\{word}{{(\w+\*?)}}", text) for word in ("begin", "end"))
        assert sorted(begun) == sorted(ended)
    block = r"\\begin{tabular}{([^\n]*)}\n\\toprule\n(.*?)\\bottomrule"
    blocks = re.findall(block, "\n".join(texts[1:]), re.S)
    assert len(blocks) > 8
    for kinds, lines in blocks:
        columns = len(re.sub(r">{.*?}p{.*?}", "p", kinds))
        plain = [line for line in lines.splitlines() if " & " in line]
        assert {len(re.findall(r"(?<!\\)&", line)) for line in plain} == {columns - 1}


def test_figures_are_of_two_widths(latex):
    for name, inches in (("one", 3.4), ("two", 7.0)):
        for picture in latex.glob(f"figures/*-{name}.png"):
            assert Image.open(picture).width == pytest.approx(inches * 50, abs=1)
        for pdf in latex.glob(f"figures/*-{name}.pdf"):
            box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", pdf.read_bytes())
            assert float(box[1]) == pytest.approx(72 * inches) and float(box[2]) <= 72 * 8.7
            assert b"/Type3" not in pdf.read_bytes()


def test_what_an_earlier_report_made_is_deleted_and_the_authors_own_is_not(latex, tmp_path):
    shutil.copytree(latex, tmp_path / "latex")
    mine = tmp_path / "latex" / "tables" / "mine.tex"
    mine.write_text("x")
    table = pd.DataFrame({"name": ["a"], "v": ["1"]})
    write_latex(tmp_path, "Another run", [Section("Overview", table=table)])
    left = sorted(p.name for p in (tmp_path / "latex").rglob("*.*"))
    assert left == ["captions.json", "mine.tex", "overview.tex", "report.tex"]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_it_compiles(latex, tmp_path):
    shutil.copytree(latex, tmp_path / "paper")
    done = subprocess.run(["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "report.tex"],
                          cwd=tmp_path / "paper", capture_output=True, timeout=120)  # fmt: skip
    said = done.stdout.decode("latin-1")
    assert done.returncode == 0, said[-2000:]
    assert "Overfull" not in said


@pytest.mark.parametrize("size", ["screen", "one", "two"])
def test_letters_can_be_read_and_nothing_is_cut_off(size):
    photo, mask = np.zeros((30, 40, 3), np.uint8), np.ones((30, 40), bool)
    names = ["mask_rcnn 0.81", "gradcam_pretrained 0.51", "gradcam_finetuned 0.59", "labels_free 1"]
    row = {"title": "median, species labels: american_pit_bull_terrier_123, IoU 0.12",
           "photo": photo, "truth": mask, "masks": dict.fromkeys(names, mask)}  # fmt: skip
    breeds = pd.DataFrame({"breed": [f"american_pit_bull_terrier{i}" for i in range(38)],
                           "n_images": 6, "gradcam_pretrained-species": 0.5})  # fmt: skip
    tall = plots.gallery([row | {"photo": np.zeros((90, 40, 3), np.uint8), "truth": None,
                                 "masks": {"mask_rcnn": np.ones((90, 40), bool)}}] * 6, size=size)
    for fig in (plots.gallery([row] * 3, size=size), tall, plots.breed_points(breeds, size=size)):
        width, font, tallest, _ = looks.SIZES[size]
        assert fig.get_figwidth() == width and fig.get_figheight() <= tallest
        texts = [t for t in fig.findobj(plt_text) if t.get_text().strip()]
        assert min(t.get_fontsize() for t in texts) >= min(6.5, font - 1)
        fig.draw_without_rendering()
        box = fig.get_tightbbox()
        assert box.x0 >= -0.02 and box.x1 <= width + 0.02 and box.y0 >= -0.02


# Machado, Oliveira and Fernandes 2009: what is left of linear RGB, severity 1.
BLINDNESS = {
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


@pytest.mark.parametrize("matrix", BLINDNESS.values(), ids=BLINDNESS)
def test_colours_of_sources_are_told_apart_by_the_colour_blind(matrix):
    """By their distance in CIELAB, where 2 is about what can be seen side by side."""
    sources = [c for name, c in looks.SOURCE_COLOURS.items() if name not in BASELINES]
    for one, two in itertools.combinations(sources, 2):
        assert np.linalg.norm(lab(one, matrix) - lab(two, matrix)) > 15, (one, two)


def lab(colour: str, matrix) -> np.ndarray:
    srgb = np.array(to_rgb(colour))
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(matrix) @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ seen / [0.9505, 1, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def plt_text(artist) -> bool:
    return hasattr(artist, "get_fontsize") and hasattr(artist, "get_text")
