"""CONTRIBUTING.md does what it says: its code goes into a copy of the package, its commands run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from conftest import SMALL, process_context
from few import few_photos

TOP = Path(__file__).resolve().parents[1]
PAGE = (TOP / "CONTRIBUTING.md").read_text(encoding="utf-8")
CODE = re.findall(r"\*\*`(\S+)`\*\*,[^\n]*\n\n```python\n(.*?)```\n", PAGE, re.DOTALL)
SHELL = re.findall(r"\n```\n(.*?)```\n", PAGE, re.DOTALL)
COMMANDS = [line for block in SHELL for line in block.splitlines()]


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """The package and its tests with the page's code in them."""
    top = tmp_path_factory.mktemp("contributing")
    for name in ("petweak", "tests"):
        # What is compiled goes with it, but for what is being written.
        shutil.copytree(TOP / name, top / name, ignore=shutil.ignore_patterns("*.pyc.*"))
    shutil.copy(TOP / "pyproject.toml", top)
    for name, code in CODE:
        path = top / name
        if not path.exists():
            path.write_text(code, encoding="utf-8")
            continue
        text = path.read_text(encoding="utf-8")
        begin = re.search(r"^(SOURCES|STEPS|EXPERIMENTS)\b.*\{", text, re.M).start()
        end = text.index("\n}\n", begin)
        path.write_text(f"{text[:end]}\n{code.rstrip()}{text[end:]}", encoding="utf-8")
    return top


def run(copy: Path, function: Callable, *args) -> str:
    """What `function(*args)` prints in a process that imports the copy; it returns an exit code."""
    said = [copy / name for name in ("stdout", "stderr")]
    process = process_context().Process(target=_in_copy, args=(copy, said, function, args))
    process.start()
    process.join()
    out, error = (path.read_text() for path in said)
    assert process.exitcode == 0, out + error
    return out


def _in_copy(copy: Path, said: list[Path], function: Callable, args: tuple) -> None:
    for stream, path in enumerate(said, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    sys.stdout, sys.stderr = (os.fdopen(k, "w", buffering=1) for k in (1, 2))
    os.chdir(copy)
    os.environ |= {"PYTHONPATH": str(copy), "TQDM_DISABLE": "1"}
    sys.path.insert(0, str(copy))
    for name, module in list(sys.modules.items()):
        above = Path(getattr(module, "__file__", None) or "/").parents
        if TOP / "petweak" in above or TOP / "tests" in above:
            del sys.modules[name]
    sys.exit(function(*args))


def _petweak(commands: list[list[str]]) -> int:
    from petweak.__main__ import main

    return next(filter(None, map(main, commands)), 0)


class Drawn:
    """A plugin of pytest: the rendered pets are there, and not drawn again."""

    def __init__(self, rendered: Path) -> None:
        self.rendered = rendered

    def pytest_sessionstart(self, session):
        top = session.config._tmp_path_factory.getbasetemp()
        shutil.copytree(self.rendered, top / "data")
        (top / "data.made").touch()


def _pytest(words: list[str], rendered: Path) -> int:
    return pytest.main(words, [Drawn(rendered)])


def test_a_new_source_is_one_file_and_one_line_of_20():
    by_file = dict(CODE)
    lines = [x for n in ("bright.py", "__init__.py")
             for x in by_file[f"petweak/pseudo_masks/{n}"].splitlines() if x.strip()]
    assert len(by_file["petweak/pseudo_masks/__init__.py"].splitlines()) == 1
    assert 0 < len(lines) <= 20
    shown = re.search(r"```python\n(class Bright.*?)```", (TOP / "README.md").read_text(), re.S)
    without_types = CODE[0][1].replace(": Batch", "").replace(" -> Tensor", "")
    assert shown[1] in without_types


def test_its_commands_use_the_new_source_step_and_experiment(copy, rendered, tmp_path):
    commands = [shlex.split(c)[1:] for c in COMMANDS
                if c.startswith(("petweak masks", "petweak experiment"))]
    assert [c[0] for c in commands] == ["masks", "masks", "experiment"]
    small = [f"{k}={v}" for k, v in SMALL.items()]
    data = few_photos(rendered, tmp_path / "data")
    where = ["--data-root", str(data), "--run", str(tmp_path / "run"), "--set", *small]
    out = run(copy, _petweak, [c + where for c in commands])
    first, second = out.split("masks in ")[1:3]
    for text in (first, second):
        assert "IoU with ground truth on test" in text and "all_ones" in text
    for _, source, *_ in commands[:2]:
        masks = tmp_path / "run" / "masks" / source
        assert len(list(masks.glob("*.png"))) == 12
    assert json.loads((masks / "manifest.json").read_text())["refinement"] == ["opened"]
    areas = pd.read_csv(tmp_path / "run" / "experiments" / "mask_areas.csv")
    assert len(areas) == 8 and areas["area"].between(0, 1).all()


def test_its_commands_check_both_contracts(copy, rendered):
    """Both commands in one, because each would collect the tests."""
    commands = [shlex.split(c) for c in COMMANDS if c.startswith("python -m pytest")]
    assert [w[-2] for w in commands] == ["-k", "-k"] and all(w[3] == "-q" for w in commands)
    files, names = " ".join(w[4] for w in commands), " or ".join(f"({w[-1]})" for w in commands)
    together = ["-q", "-p", "no:cacheprovider", *files.split(), "-k", names]
    assert "2 passed" in run(copy, _pytest, together, rendered)
