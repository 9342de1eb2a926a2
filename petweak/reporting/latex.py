"""latex/: the report's tables and figures for a paper, a file each, and a document with all.

    latex/report.tex                    compiles with pdflatex; says what a paper has to load
    latex/tables/<name>.tex             booktabs, with caption and label, for \\input
    latex/figures/<name>-{one,two}.pdf  and .png, 3.4 and 7.0 inches wide: one or two columns
    latex/captions.json                 of each: its files, label, caption, alternative text

pandas writes the tables. By hand is what it lacks: glyphs that pdflatex has not, and cutting what
is wider than a page between columns.
"""

import itertools
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from petweak.data.files import read_json, write_json

WIDTHS = ("one", "two")  # columns of a paper
ENDS = {"tables": [".tex"], "figures": [f"-{w}.{k}" for w in WIDTHS for k in ("pdf", "png")]}
SMALL = "\\scriptsize\\setlength{\\tabcolsep}{4pt}\n"
LINE, INCH, PAGE = 120, 17.9, 45  # characters of it in 7 inches and in one, rows on a page
LONG = 26  # characters, above which a column's text is broken
HEADING = textwrap.TextWrapper(14, break_long_words=False)
ESCAPES = str.maketrans({c: rf"\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "▼": r"$\blacktriangledown$", "▽": r"$\triangledown$", "\N{MINUS SIGN}": "$-$",
    "…": r"\ldots{}", "\n": " ",
    "“": "``", "”": "''", "‘": "`", "’": "'", "–": "--", "—": "---"})


def tex(text: object) -> str:
    """Plain text for pdflatex. A character that it has no glyph for becomes [U+25BC], its number:
    names of files and reasons may have any. `## Heading` becomes a section on a new page."""
    if str(text).startswith("## "):
        return f"\\clearpage\n\\section{{{tex(text[3:])}}}"
    safe = str(text).translate(ESCAPES)
    return "".join(c if ord(c) < 0x100 else f"[U+{ord(c):04X}]" for c in safe)


def numeric(column: pd.Series) -> bool:
    """Whether a column of text has numbers, which are set to the right."""
    texts = [str(v) for v in column if str(v)]
    return bool(texts) and all(t[0] in "+0123456789\N{MINUS SIGN}" for t in texts)


def write_figure(folder: Path, name: str, draw: Callable[..., Any]) -> None:
    """Write `figures/<name>-one.pdf`, `-one.png`, `-two.pdf` and `-two.png`."""
    from petweak.visualization.style import save_figure  # imports matplotlib

    for width in WIDTHS:
        fig = draw(size=width)
        for kind in ("pdf", "png"):
            save_figure(fig, folder / "figures" / f"{name}-{width}.{kind}")


def write_captions(folder: Path, about: dict[str, dict[str, dict]]) -> None:
    """captions.json from `petweak.reporting.report.captions`, with labels and files."""
    for kind, notes in about.items():
        for name, note in notes.items():
            note["label"] = f"{kind[:3]}:{name}"
            note["files"] = [f"{kind}/{name}{end}" for end in ENDS[kind]]
    write_json(folder / "captions.json", about)


def clear(folder: Path) -> None:
    """Delete the tables and figures that an earlier report wrote; other files stay."""
    about = read_json(folder / "captions.json") or {}
    for kind, ends in ENDS.items():
        for name, end in itertools.product(about.get(kind, ()), ends):
            (folder / kind / f"{Path(name).name}{end}").unlink(missing_ok=True)


def table_tex(frame: pd.DataFrame, name: str, caption: str) -> str:
    """A frame of text as booktabs tables with caption and label `tab:<name>`. What is wider than
    two columns is cut between columns, and each part begins with the columns of names; what is
    longer than a page becomes a `longtable`."""
    parts, out = _parts(frame.map(str)), ""
    for i, part in enumerate(parts, 1):
        text = caption + f" Part {i} of {len(parts)}." * (len(parts) > 1)
        # After the end of a row, a bracket or a star would be taken for an argument of it.
        styler = part.style.hide(axis="index").format_index(_heading, axis=1).format(
            lambda text: "{}" * text.startswith(("[", "*")) + tex(text))
        latex = partial(styler.to_latex, hrules=True, column_format=_columns(part),
                        caption=tex(text), label=f"tab:{name}" + f"-{i}" * (i > 1))
        if len(part) > PAGE:
            out += f"{{{SMALL}{latex(environment='longtable')}}}\n"
        else:
            text = latex(environment="table*", position="htbp", position_float="centering")
            out += text.replace("\\begin{tabular}", f"{SMALL}\\begin{{tabular}}") + "\n"
    return out


def _heading(text: str) -> str:
    lines = r"\\".join(map(tex, HEADING.wrap(text)))
    return f"\\shortstack[l]{{{lines}}}" if r"\\" in lines else lines


def _widths(frame: pd.DataFrame) -> dict[str, int]:
    """In characters, the space between columns included."""
    return {c: max(map(len, [*frame[c], *HEADING.wrap(c)])) + 2 for c in frame}


def _columns(part: pd.DataFrame) -> str:
    """`r` of numbers, `l` of text, or a paragraph where the text is long: such columns share what
    the others leave of the line."""
    forms, widths = {c: "lr"[numeric(part[c])] for c in part}, _widths(part)
    if sum(widths.values()) > LINE:
        long = [c for c in part if widths[c] > LONG and forms[c] == "l"]
        left = max(LINE - sum(w for c, w in widths.items() if c not in long), LONG * len(long))
        for c in long:
            inches = min(widths[c], left // len(long)) / INCH
            forms[c] = f">{{\\raggedright\\arraybackslash}}p{{{inches:.2f}in}}"
    return "".join(forms.values())


def _parts(frame: pd.DataFrame) -> list[pd.DataFrame]:
    """The frame, cut between columns of numbers where it is wider than `LINE`."""
    widths, columns = {c: min(w, LONG) for c, w in _widths(frame).items()}, list(frame)
    first = next((i for i, c in enumerate(columns) if numeric(frame[c])), len(columns))
    names, parts = columns[:first], [[]]
    for c in columns[first:]:
        if parts[-1] and sum(widths[n] for n in (*names, *parts[-1], c)) > LINE:
            parts.append([])
        parts[-1].append(c)
    return [frame[[*names, *part]] for part in parts]
