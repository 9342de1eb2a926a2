"""Controls that the explorers share."""

from __future__ import annotations

import ipywidgets as w

from petweak.study import Run


def choice(description: str, options) -> w.Dropdown:
    return w.Dropdown(options=list(options), description=description)


def offer(dropdown: w.Dropdown, options) -> None:
    """Other options; what was chosen stays so if it is among them, else it is the first."""
    before = dropdown.value
    dropdown.options = list(options)
    values = [o[1] if isinstance(o, tuple) else o for o in dropdown.options]
    dropdown.value = before if before in values else next(iter(values), None)


def photos_of(run: Run) -> w.Dropdown:
    """Photos of test first: they are what nothing has learnt from."""
    ids = [s.id for split in ("test", "train") for s in run.pets.split(split)]
    return choice("photo", ids)


def live(name: str) -> w.HTML:
    """Text that changes, which a screen reader is to read out."""
    text = w.HTML()
    text.add_class(f"petweak-{name}")
    return text


def missing(what: str, command: str) -> w.HTML:
    """In the place of an explorer whose stage is lacking."""
    return w.HTML(f"{what}: <code>{command}</code> makes it, and so does <code>make demo</code>.")


def wrapping() -> w.Layout:
    return w.Layout(flex_flow="row wrap")


def named_box(name: str, children: list[w.Widget]) -> w.VBox:
    box = w.VBox(children)
    box.add_class(f"petweak-{name}")
    return box
