"""Mutated files of every kind are read right, or refused or quarantined by name: a few of each.
`make test-hard` tries many (tests/hard/test_many_mutated_inputs.py)."""

from __future__ import annotations

from collections import Counter

from mutated import KINDS, try_out

EACH = 3  # and two that are tried of every file


def test_mutated_files_are_read_right_or_named(tmp_path, reliability):
    seen: Counter = Counter()
    for n, (kind, case) in enumerate(KINDS.items()):
        (folder := tmp_path / str(n)).mkdir()
        try:
            seen += try_out(case(folder), EACH)
        except AssertionError as error:
            error.add_note(f"the kind is {kind}")
            raise
    # How many of each kind of end may depend on what ran before; the hard rows count them.
    reliability(f"Mutated files of {len(KINDS)} kinds (a few of each)", (EACH + 2) * len(KINDS),
                f"each: {', '.join(sorted(seen))}")
    assert seen.total() >= EACH * len(KINDS) - 10 and seen["refused"] and seen["quarantined"]
