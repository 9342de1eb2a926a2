"""Menus that keep their value, and observers that draw once."""

from __future__ import annotations

import ipywidgets as w
import pytest

from petweak.explorers.controls import choice, follow, offer, row


def test_a_menu_keeps_its_value_if_it_can():
    menu, drawn = choice("menu", "abc"), []
    menu.value = "b"
    menu.observe(drawn.append, "value")
    offer(menu, ["a", "b", "c"])
    assert menu.value == "b" and not drawn
    offer(menu, [("the c", "c"), ("the b", "b")])
    assert menu.value == "b"
    offer(menu, ["c", "d"])
    assert menu.value == "c"
    offer(menu, [])
    assert menu.value is None
    breeds = w.Select(options=[("pug 0.5", "pug"), ("Bengal 0.4", "Bengal")], value="Bengal")
    offer(breeds, [("Bengal 0.9", "Bengal"), ("pug 0.1", "pug")])
    assert breeds.value == "Bengal"


def test_every_change_is_drawn_once_by_whom_it_came_from():
    first, second, drawn = choice("first", "abc"), choice("second", "xyz"), []

    def draw(changed):
        if first.value == "c":
            raise ValueError("no c")
        offer(second, {"a": "xyz", "b": "uv"}[first.value])
        drawn.append((changed, first.value, second.value))

    follow(draw, first, second)
    first.value = "b"
    second.value = "v"
    assert drawn == [(None, "a", "x"), (first, "b", "u"), (second, "b", "v")]
    with pytest.raises(ValueError):
        first.value = "c"
    first.value = "a"  # an error does not stop later changes
    assert drawn[-1] == (first, "a", "x")


def test_rows_wrap():
    assert row(w.HTML()).layout.flex_flow == "row wrap"
