"""latex/: the report's tables and figures for a paper, a file each, and a document with all.

    latex/report.tex                    compiles with pdflatex; says what a paper has to load
    latex/tables/<name>.tex             booktabs, with caption and label, for \\input
    latex/figures/<name>-{one,two}.pdf  and .png, 3.4 and 7.0 inches wide: one or two columns
    latex/captions.json                 of each: its files, label, caption, alternative text

pandas writes the tables. By hand is what it lacks: glyphs that pdflatex has not, and cutting what
is wider than a page between columns.
"""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from petweak.data.files import read_json, write_json, write_text
from petweak.visualization.style import Figure, save_or_show

WIDTHS = ("one", "two")  # of petweak.visualization.style.SIZES
LINE, INCH = 120, 17.9  # characters of \scriptsize that fit in 7 inches, and in one
HEADING = 14  # characters, after which a heading is broken
LONG = 26  # characters, above which a column's text is broken
PAGE = 45  # rows that fit on one page
ESCAPES = {c: rf"\{c}" for c in "&%$#_{}"}
ESCAPES |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
ESCAPES |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "…": r"\ldots{}"}
ESCAPES |= {"▼": r"$\blacktriangledown$", "\N{MINUS SIGN}": "$-$", '"': r"\textquotedbl{}"}
ESCAPES |= {"“": "``", "”": "''", "‘": "`", "’": "'", "–": "--", "—": "---", "\n": " "}


def tex(text: object) -> str:
    """Plain text for pdflatex. A character that it has no glyph for becomes [U+25BC], its number:
    names of files and reasons may hold any. `## Heading` becomes a section on a new page."""
    if str(text).startswith("## "):
        return f"\\clearpage\n\\section{{{tex(text[3:])}}}"
    safe = str(text).translate(str.maketrans(ESCAPES))
    return "".join(c if ord(c) < 0x100 else f"[U+{ord(c):04X}]" for c in safe)


def numeric(column: pd.Series) -> bool:
    """Whether a column of text holds numbers, which are set to the right."""
    texts = [str(v) for v in column if str(v)]
    return bool(texts) and all(t[0] in "+0123456789\N{MINUS SIGN}" for t in texts)


def write_table(folder: Path, name: str, frame: pd.DataFrame, caption: str) -> str:
    """Write `folder`/tables/<name>.tex; returns the command that reads it."""
    write_text(folder / "tables" / f"{name}.tex", table_tex(frame, name, caption))
    return f"\\input{{tables/{name}}}"


def write_figure(folder: Path, name: str, draw: Callable[..., Figure], caption: str) -> str:
    """Write `folder`/figures/<name>-{one,two}.{pdf,png}; returns the figure for a document."""
    for width in WIDTHS:
        fig = draw(size=width)
        for kind in ("pdf", "png"):
            save_or_show(fig, folder / "figures" / f"{name}-{width}.{kind}")
    graphics = f"\\includegraphics{{figures/{name}-two.pdf}}\n\\caption{{{tex(caption)}}}"
    start, end = "\\begin{figure}[htbp]\n\\centering", "\\end{figure}"
    return f"{start}\n{graphics}\n\\label{{fig:{name}}}\n{end}"


def write_captions(folder: Path, about: dict[str, dict[str, dict]]) -> None:
    """captions.json from `petweak.reporting.report.captions`, with labels and files."""
    ends = {"tables": [".tex"], "figures": [f"-{w}.{k}" for w in WIDTHS for k in ("pdf", "png")]}
    for kind, notes in about.items():
        for name, note in notes.items():
            note["label"] = f"{kind[:3]}:{name}"
            note["files"] = [f"{kind}/{name}{end}" for end in ends[kind]]
    write_json(folder / "captions.json", about)


def clear(folder: Path) -> None:
    """Delete the tables and figures that an earlier report wrote; other files stay."""
    for notes in (read_json(folder / "captions.json") or {}).values():
        for file in (file for note in notes.values() for file in note["files"]):
            (folder / file).unlink(missing_ok=True)


def table_tex(frame: pd.DataFrame, name: str, caption: str) -> str:
    """A frame of text as booktabs tables with caption and label `tab:<name>`. What is wider than
    two columns is cut between columns, and each part begins with the columns of names; what is
    longer than a page becomes a `longtable`."""
    parts, out, small = _parts(frame.map(str)), "", "\\scriptsize\\setlength{\\tabcolsep}{4pt}\n"
    for i, part in enumerate(parts, 1):
        said = caption + f" Part {i} of {len(parts)}." * (len(parts) > 1)
        about = {"caption": tex(said), "label": f"tab:{name}" + f"-{i}" * (i > 1)}
        about["column_format"] = "".join(_column(part, c) for c in part)
        styler = part.style.hide(axis="index").format(_protected).format_index(_heading, axis=1)
        if len(part) > PAGE:
            text = styler.to_latex(hrules=True, environment="longtable", **about)
            out += f"{{{small}{text}}}\n"
        else:
            about |= {"environment": "table*", "position": "htbp", "position_float": "centering"}
            text = styler.to_latex(hrules=True, **about)
            out += text.replace("\\begin{tabular}", f"{small}\\begin{{tabular}}") + "\n"
    return out


def _protected(text: str) -> str:
    """After the end of a row, a bracket or a star would be taken for an argument of it."""
    return "{}" * text.startswith(("[", "*")) + tex(text)


def _lines(heading: str) -> list[str]:
    return textwrap.wrap(heading, HEADING, break_long_words=False) or [""]


def _heading(text: str) -> str:
    lines = r"\\".join(map(tex, _lines(text)))
    return f"\\shortstack[l]{{{lines}}}" if r"\\" in lines else lines


def _width(column: pd.Series) -> int:
    """In characters, the space between columns included."""
    return max(map(len, [*column, *_lines(column.name)])) + 2


def _column(part: pd.DataFrame, name: str) -> str:
    """`r` of numbers, `l` of text, or a paragraph where the text is long: such columns share what
    the others leave of the line."""
    widths = {c: _width(part[c]) for c in part}
    long = [c for c in part if widths[c] > LONG and not numeric(part[c])]
    if name not in long or sum(widths.values()) <= LINE:
        return "r" if numeric(part[name]) else "l"
    left = max(LINE - sum(w for c, w in widths.items() if c not in long), LONG * len(long))
    inches = min(widths[name], left // len(long)) / INCH
    return f">{{\\raggedright\\arraybackslash}}p{{{inches:.2f}in}}"


def _parts(frame: pd.DataFrame) -> list[pd.DataFrame]:
    """The frame, cut between columns of numbers where it is wider than `LINE`."""
    widths = {c: min(_width(frame[c]), LONG) for c in frame}
    first = next((i for i, c in enumerate(frame) if numeric(frame[c])), len(widths))
    names, parts = list(frame)[:first], [[]]
    for c in list(frame)[first:]:
        if parts[-1] and sum(widths[n] for n in (*names, *parts[-1], c)) > LINE:
            parts.append([])
        parts[-1].append(c)
    return [frame[[*names, *part]] for part in parts]
