"""Mutated files are read right, or refused or quarantined by name: a few of each kind, of which a
run's own files are some. `make test-hard` tries many of all (test_many_mutated_inputs.py)."""

from __future__ import annotations

from collections import Counter

from mutated import KINDS, RUN_FILES, try_out

EACH = 1  # and two that are tried of every file
OF_RUNS = ("run.json", "masks/ground_truth/manifest.json", "results.csv",
           "models/ground_truth-species/history.csv")
OTHERS = {f"run: {file}" for file in RUN_FILES} - {f"run: {file}" for file in OF_RUNS}
QUICK = {kind: case for kind, case in KINDS.items() if kind not in OTHERS}


def test_mutated_files_are_read_right_or_named(tmp_path, reliability):
    seen: Counter = Counter()
    for n, (kind, case) in enumerate(QUICK.items()):
        (folder := tmp_path / str(n)).mkdir()
        try:
            seen += try_out(case(folder), EACH)
        except AssertionError as error:
            error.add_note(f"the kind is {kind}")
            raise
    # How many of each kind of end may depend on what ran before; the hard rows count them.
    reliability(f"Mutated files of {len(QUICK)} kinds (a few of each)", (EACH + 2) * len(QUICK),
                f"each: {', '.join(sorted(seen))}")
    assert len(QUICK) == len(KINDS) - len(RUN_FILES) + len(OF_RUNS)
    assert seen.total() >= (EACH + 1) * len(QUICK) and seen["refused"] and seen["quarantined"]
