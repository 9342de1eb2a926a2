"""What a report is made of: sections of text, pictures and tables, whatever file they end in."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd

from petweak.looks import Figure


@dataclass(frozen=True)
class Picture:
    """A figure of the report: `draw(dark=..., size=...)` makes it, `alt` says what it shows to
    those who cannot see it, `caption` how it is to be read."""

    name: str
    alt: str
    caption: str
    draw: Callable[..., Figure]
    photos: bool = False  # as JPEG in report.html


@dataclass(frozen=True)
class Section:
    """One part of the report; tables are text, as `tables.readable` makes them."""

    title: str
    text: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    table: pd.DataFrame | None = None
    caption: str = ""  # of the table
    group: str = ""  # the table's column that becomes headings between its rows
    folded: dict[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The title as a name for files and labels."""
        return slug(self.title)


def slug(title: str) -> str:
    """`The paper's tables` -> `the-papers-tables`"""
    return re.sub(r"[^a-z0-9]+", "-", title.lower().replace("'", "")).strip("-")


def numeric(column: pd.Series) -> bool:
    """Whether a column of text holds numbers, which are set to the right."""
    cells = [str(c) for c in column if str(c)]
    return bool(cells) and all(c[0] in "+0123456789\N{MINUS SIGN}" for c in cells)


def captions(sections: list[Section]) -> dict[str, dict[str, str]]:
    """{picture's name: {"section", "alt", "caption"}}, for who takes the pictures elsewhere."""
    return {
        p.name: {"section": s.title, "alt": p.alt, "caption": p.caption}
        for s in sections
        for p in s.pictures
    }
