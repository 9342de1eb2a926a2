"""Mutated files of every kind are read right, or refused or quarantined by name: many of each."""

from __future__ import annotations

import pytest
from mutated import KINDS, in_words, try_out

EACH = 24  # of 36 kinds, and two that are tried of every file


@pytest.mark.parametrize("kind", KINDS)
def test_many_mutated_files_are_read_right_or_named(kind, tmp_path, reliability):
    seen = try_out(KINDS[kind](tmp_path), EACH)
    reliability(f"Mutated: {kind}", seen.total(), in_words(seen))
    assert seen.total() >= EACH // 2
