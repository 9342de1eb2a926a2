"""CONTRIBUTING.md does what it says: its code goes into a copy of the package, its commands run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SMALL

TOP = Path(__file__).resolve().parents[1]
PAGE = (TOP / "CONTRIBUTING.md").read_text()
CODE = re.findall(r"\*\*`(\S+)`\*\*,[^\n]*\n\n```python\n(.*?)```\n", PAGE, re.DOTALL)
SHELL = re.findall(r"\n```\n(.*?)```\n", PAGE, re.DOTALL)
COMMANDS = [line for block in SHELL for line in block.splitlines()]


def lines_of(title: str) -> int:
    """Lines of code in the section `title` that are not empty."""
    section = PAGE.split(f"## {title}")[1].split("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return sum(bool(line.strip()) for block in blocks for line in block.splitlines())


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """The package and its tests with the page's code in them."""
    top = tmp_path_factory.mktemp("contributing")
    for name in ("petweak", "tests"):
        shutil.copytree(TOP / name, top / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(TOP / "pyproject.toml", top)
    for name, code in CODE:
        path = top / name
        if not path.exists():
            path.write_text(code)
            continue
        first, line = code.rstrip().split("\n\n")
        text = path.read_text()
        begin = re.search(r"^(SOURCES|REFINERS): ", text, re.M).start()
        after, end = text.rindex("\nfrom petweak", 0, begin), text.index("\n}\n", begin)
        path.write_text(f"{text[:after]}\n{first}{text[after:end]}\n{line}{text[end:]}")
    return top


def run(copy: Path, command: str, *more: str) -> str:
    """Run a command of the page in the copy; what it printed."""
    words = shlex.split(command)
    start = [] if words[0] == "python" else ["-m", "petweak.cli"]
    words = [sys.executable, *start, *words[1:], *more]
    environment = os.environ | {"PYTHONPATH": str(copy), "TQDM_DISABLE": "1"}
    done = subprocess.run(words, cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_source_takes_20_lines():
    assert [name for name, _ in CODE] == [
        "petweak/pseudo_masks/bright.py",
        "petweak/pseudo_masks/__init__.py",
        "petweak/pseudo_masks/refiners/opened.py",
        "petweak/pseudo_masks/refiners/__init__.py",
    ]
    assert 0 < lines_of("Add a source in 20 lines") <= 20
    readme = (TOP / "README.md").read_text()
    shown = re.search(r"```python\n(class Bright.*?)```", readme, re.DOTALL)
    without_types = CODE[0][1].replace(": Batch", "").replace(" -> Tensor", "")
    assert shown[1] in without_types


def test_its_commands_make_masks_of_the_new_source_and_refiner(copy, rendered, tmp_path):
    wanted = [c for c in COMMANDS if c.startswith("petweak masks")]
    assert [("--set refine=opened" in c) for c in wanted] == [False, True]
    small = [f"{k}={v}" for k, v in SMALL.items()]
    masks = []
    for command in wanted:
        where = ["--data-root", str(rendered), "--run", str(tmp_path / "run"), "--set", *small]
        out = run(copy, command, *where)
        assert "masks in" in out and "IoU with ground truth on test" in out
        files = sorted((tmp_path / "run" / "masks" / "bright").glob("*.png"))
        masks.append([f.read_bytes() for f in files])
    assert len(masks[0]) == len(masks[1]) == 111 and masks[0] != masks[1]


def test_its_commands_hold_both_to_their_contracts(copy):
    """Both commands in one, because each would draw the rendered pets."""
    wanted = [shlex.split(c) for c in COMMANDS if c.startswith("python -m pytest")]
    assert [w[-2] for w in wanted] == ["-k", "-k"] and all(w[3] == "-q" for w in wanted)
    files, names = " ".join(w[4] for w in wanted), " or ".join(f"({w[-1]})" for w in wanted)
    together = f"python -m pytest -q -p no:cacheprovider {files} -k '{names}'"
    assert "2 passed" in run(copy, together)


def test_the_rules_are_ten():
    rules = PAGE.split("## House rules")[1].split("\n## ")[0]
    assert len(re.findall(r"^\d+\. ", rules, re.M)) == 10
