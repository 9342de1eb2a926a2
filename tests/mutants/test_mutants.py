"""Small changes of the code that numbers come from, one at a time: do the tests notice?

`make mutants` runs mutmut, with the settings of pyproject.toml, and then this file. A mutant that
no test kills stands in survivors.csv, by its function and its change, with the reason why it may
live; a new one has to be judged there, or killed by a test. mutmut leaves decorated functions as
they are.
"""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

TOP, JUDGED = Path(__file__).parents[2], Path(__file__).with_name("survivors.csv")
KILLED = {"killed", "timeout", "segfault"}


def mutmut(*arguments: str) -> list[str]:
    command = [sys.executable, "-m", "mutmut", *arguments]
    return subprocess.run(command, cwd=TOP, text=True, capture_output=True, check=True
                          ).stdout.splitlines()


def change(mutant: str) -> tuple[str, str, str]:
    """Its function, the lines that it changes, and what they become."""
    lines = [line for line in mutmut("show", mutant) if not line.startswith(("---", "+++"))]
    was, now = (" ".join(x[1:].strip() for x in lines if x.startswith(sign)) for sign in "-+")
    function = re.sub(r"\.x[_ǁ]", ".", mutant.split("__mutmut")[0]).replace("ǁ", ".")
    return function.removeprefix("petweak."), was, now


def test_nine_in_ten_mutants_are_killed_and_the_others_are_judged(reliability):
    of: dict[str, dict[str, str]] = defaultdict(dict)  # {module: {mutant: status}}
    for line in mutmut("results", "--all", "true"):
        mutant, status = line.strip().rsplit(": ", 1)
        of[re.split(r"\.x[_ǁ]", mutant)[0]][mutant] = status
    with JUDGED.open(encoding="utf-8", newline="") as file:
        judged = {(r["function"], r["was"], r["now"]) for r in csv.DictReader(file)}
    total, unjudged = 0, {}
    assert not [m for found in of.values() for m, s in found.items() if s == "not checked"]
    for module, found in sorted(of.items()):
        alive = {m: change(m) for m, status in found.items() if status not in KILLED}
        new = {m: c for m, c in alive.items() if c not in judged}
        unjudged |= new
        total += len(alive)
        happened = f"{len(found) - len(alive)} are killed"
        if alive:
            happened += (f", {len(alive) - len(new)} judged in tests/mutants/survivors.csv"
                         + f", {len(new)} not judged" * bool(new))
        reliability(f"changes of {module}, one at a time", len(found), happened, module)
    assert total <= 0.1 * sum(map(len, of.values()))
    assert not unjudged, "\n".join(map(str, unjudged.items()))
