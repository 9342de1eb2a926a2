"""latex/: the report's tables and figures for a paper, one file each, and a document with all.

    latex/report.tex                    compiles with pdflatex; says what a paper has to load
    latex/tables/<name>.tex             booktabs, with caption and label, for \\input
    latex/figures/<name>-{one,two}.pdf  and .png, 3.4 and 7.0 inches wide: one or two columns
    latex/captions.json                 of each: its files, label, caption, alternative text

`petweak report R --format latex` writes them.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

import jinja2
import pandas as pd

from petweak.files import read_json, write_json, write_text
from petweak.looks import save_or_show
from petweak.report_parts import Section, captions, numeric, slug

PAPER_SIZES = ("one", "two")  # of petweak.looks.SIZES
LINE = 112  # characters of \footnotesize in 7 inches
HEADING = 16  # characters, after which a heading is broken
LONG = 36  # characters, from which on a column's text is broken
PAGE = 45  # rows that fit on one page
ESCAPES = str.maketrans({
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    **{c: rf"\{c}" for c in "&%$#_{}"},
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "▼": r"$\blacktriangledown$", "\N{MINUS SIGN}": "$-$", "×": r"$\times$",
    "“": "``", "”": "''", "‘": "`", "’": "'", "–": "--", "—": "---", "…": r"\ldots{}",
    "\N{NO-BREAK SPACE}": "~", "\n": " ",
})  # fmt: skip


def write_latex(folder: Path, title: str, sections: list[Section]) -> Path:
    """Write `folder`/latex; returns report.tex. Other files there stay, but those that an earlier
    report has made and this one has not are deleted."""
    out = folder / "latex"
    known = read_json(out / "captions.json") or {}
    figures, tables = {}, {}
    for name, about in captions(sections).items():
        files = [f"figures/{name}-{s}.{kind}" for s in PAPER_SIZES for kind in ("pdf", "png")]
        figures[name] = {"label": f"fig:{name}", **about, "files": files}
    for picture in (p for s in sections for p in s.pictures):
        for size in PAPER_SIZES:
            drawn = picture.draw(size=size)
            for kind in ("pdf", "png"):
                save_or_show(drawn, out / "figures" / f"{picture.name}-{size}.{kind}")
    parts = []
    for s in sections:
        shown = [] if s.table is None else [(s.name, s.caption or s.title, s.table, s.group)]
        shown += [(f"{s.name}-{slug(n)}", f"{s.title}: {n}.", t, "") for n, t in s.folded.items()]
        for name, caption, table, group in shown:
            write_text(out / "tables" / f"{name}.tex", table_tex(table, name, caption, group))
            about = {"label": f"tab:{name}", "section": s.title, "caption": caption}
            tables[name] = about | {"files": [f"tables/{name}.tex"]}
        parts.append((s, [name for name, *_ in shown]))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("petweak"), trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined, block_start_string="<%", block_end_string="%>",
        variable_start_string="<<", variable_end_string=">>", comment_start_string="<#",
        comment_end_string="#>",
    )  # fmt: skip
    environment.filters["tex"] = escape
    document = environment.get_template("report.tex.j2").render(title=title, parts=parts)
    write_text(out / "report.tex", document + "\n")
    write_json(out / "captions.json", {"figures": figures, "tables": tables})
    for file in _files(known) - _files({"figures": figures, "tables": tables}):
        (out / file).unlink(missing_ok=True)
    return out / "report.tex"


def _files(captions: dict[str, dict[str, dict]]) -> set[str]:
    every = (about for part in captions.values() for about in part.values())
    return {file for about in every for file in about["files"]}


def escape(text: str) -> str:
    """Plain text for pdflatex. A character that it has no glyph for becomes [U+25BC], its number:
    the run's own texts (names of files, reasons) may hold any."""
    safe = str(text).translate(ESCAPES)
    return "".join(c if ord(c) < 0x100 else f"[U+{ord(c):04X}]" for c in safe)


def table_tex(table: pd.DataFrame, name: str, caption: str, group: str = "") -> str:
    """A table of text as LaTeX, with caption and label `tab:<name>`.

    What is wider than two columns of a paper is cut between columns, and each part begins with the
    columns of names; what is longer than a page becomes a `longtable`. `group`: as in `Section`.
    """
    groups = table[group].tolist() if group else []
    parts = _parts(table.drop(columns=group) if group else table)
    whole, rows = escape(caption), len(table) + len(set(groups)) + 4
    if len(parts) * rows <= PAGE:
        blocks = "\n\\par\\medskip\n".join(_tabular(p, groups) for p in parts)
        return _float(blocks, whole, f"tab:{name}")
    out = []
    for i, part in enumerate(parts):
        label = f"tab:{name}" + f"-{i + 1}" * bool(i)
        said = whole + f" Part {i + 1} of {len(parts)}." * (len(parts) > 1)
        if rows <= PAGE:
            out.append(_float(_tabular(part, groups), said, label))
        else:
            body = _latex(part, longtable=True, caption=said, label=label)
            out.append(f"{{\\footnotesize\\setlength{{\\tabcolsep}}{{4pt}}\n{body}}}\n")
    return "\n".join(out)


def _float(blocks: str, caption: str, label: str) -> str:
    return (
        "\\begin{table*}[htbp]\n\\centering\\footnotesize\\setlength{\\tabcolsep}{4pt}\n"
        f"\\caption{{{caption}}}\n\\label{{{label}}}\n\\par\\smallskip\n{blocks}\\end{{table*}}\n"
    )


def _tabular(part: pd.DataFrame, groups: list[str]) -> str:
    """One block; `groups` has the heading that each row stands under."""
    lines = _latex(part).splitlines()
    start = lines.index("\\midrule") + 1
    for i in reversed(range(len(groups))):
        if i == 0 or groups[i] != groups[i - 1]:
            text = f"\\textit{{{escape(groups[i])}}}"
            heading = f"\\multicolumn{{{part.shape[1]}}}{{l}}{{{text}}} \\\\"
            lines[start + i : start + i] = ["\\addlinespace"] * bool(i) + [heading]
    return "\n".join(lines) + "\n"


def _latex(part: pd.DataFrame, **more) -> str:
    right = [numeric(part[c]) for c in part]
    cells = part.map(_cell)
    cells.columns = [_heading(c, "r" if r else "l") for c, r in zip(part, right, strict=True)]
    kinds = ["r" if r else _text_column(part, c) for c, r in zip(part, right, strict=True)]
    return cells.to_latex(index=False, escape=False, column_format="".join(kinds), **more)


def _cell(text: str) -> str:
    # After the end of a row, a bracket or a star would be taken for an argument of it.
    return "{}" * str(text).startswith(("[", "*")) + escape(text)


def _broken(heading: str) -> list[str]:
    return textwrap.wrap(heading, HEADING, break_long_words=False) or [""]


def _heading(text: str, side: str) -> str:
    lines = r"\\".join(escape(line) for line in _broken(text))
    return f"\\shortstack[{side}]{{{lines}}}" if r"\\" in lines else lines


def _width(column: pd.Series) -> int:
    """In characters, the space between columns included."""
    longest = max(map(len, column.astype(str)), default=0)
    return max(longest, *map(len, _broken(column.name))) + 2


def _text_column(part: pd.DataFrame, name: str) -> str:
    """`l`, or a paragraph where the text is long and the line would be too: such columns share
    what the others leave."""
    widths = {c: _width(part[c]) for c in part}
    long = [c for c in part if widths[c] > LONG and not numeric(part[c])]
    if name not in long or sum(widths.values()) <= LINE:
        return "l"
    left = max(LINE - sum(w for c, w in widths.items() if c not in long), LONG * len(long))
    inches = 7 * min(widths[name], left // len(long)) / LINE
    return f">{{\\raggedright\\arraybackslash}}p{{{inches:.2f}in}}"


def _parts(table: pd.DataFrame) -> list[pd.DataFrame]:
    """The table, cut between columns where it is wider than `LINE`."""
    widths = {c: _width(table[c]) for c in table}
    if sum(widths.values()) <= LINE or not any(numeric(table[c]) for c in table):
        return [table]
    first = next(i for i, c in enumerate(table) if numeric(table[c]))
    names, parts = list(table)[: max(first, 1)], [[]]
    for c in list(table)[len(names) :]:
        if parts[-1] and sum(widths[n] for n in (*names, *parts[-1], c)) > LINE:
            parts.append([])
        parts[-1].append(c)
    return [table[[*names, *part]] for part in parts]
