"""One list of dependencies: environment.yml, the installed package and the imports follow it."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).resolve().parents[1]
TOML = tomllib.loads((TOP / "pyproject.toml").read_text())
PROJECT = TOML["project"]

# import name -> name in the list, where they differ
NAMES = {
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "pytorch_grad_cam": "grad-cam",
    "yaml": "pyyaml",
    "IPython": "jupyterlab",
    "nbformat": "nbconvert",
    "traitlets": "nbconvert",
}


def listed() -> set[str]:
    extra = [r for group in PROJECT["optional-dependencies"].values() for r in group]
    return {re.split(r"[\[<>=!~ ]", r)[0] for r in PROJECT["dependencies"] + extra}


def test_environment_yml_has_no_list_of_its_own():
    environment = yaml.safe_load((TOP / "environment.yml").read_text())
    plain = [d for d in environment["dependencies"] if isinstance(d, str)]
    (pip,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    assert pip == ["-e .[test]"]
    assert sorted(re.split("[=<>]", d)[0] for d in plain) == ["pip", "python"]
    (python,) = [d.split("=")[1] for d in plain if d.startswith("python=")]
    lowest = re.search(r">=([\d.]+)", PROJECT["requires-python"])[1]
    assert tuple(map(int, python.split("."))) >= tuple(map(int, lowest.split(".")))[:2]


def test_the_makefile_installs_that_list_and_checks_the_form_of_the_code():
    text = (TOP / "Makefile").read_text()
    assert "-e .[test]" in text
    assert "ruff check ." in text


def test_torch_and_torchvision_are_pinned_as_a_pair():
    pins = dict(
        r.split("==") for r in PROJECT["dependencies"] if r.startswith("torch") and "==" in r
    )
    assert set(pins) == {"torch", "torchvision"}


@pytest.mark.parametrize("folder", ["petweak", "tests"])
def test_whatever_is_imported_is_listed(folder):
    imported = set()
    for path in (TOP / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {a.name.split(".")[0] for a in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add(node.module.split(".")[0])
    ours = {"petweak"} | {p.stem for p in (TOP / "tests").rglob("*.py")}
    others = imported - ours - set(sys.stdlib_module_names)
    assert {NAMES.get(n, n).replace("_", "-") for n in others} <= listed()


def test_the_package_holds_its_files_and_no_name_of_one_that_is_gone():
    package = TOP / "petweak"
    patterns = TOML["tool"]["setuptools"]["package-data"]["petweak"]
    matched = [{p for p in package.glob(pattern) if p.is_file()} for pattern in patterns]
    assert all(matched), patterns
    files = {p for p in package.rglob("*.*") if p.suffix not in (".py", ".pyc")}
    files = {p for p in files if p.is_file() and "/." not in str(p.relative_to(TOP))}
    assert files == set().union(*matched)


def test_the_command_is_there():
    module, name = PROJECT["scripts"]["petweak"].split(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_the_modules_that_the_makefile_runs_are_there():
    text = (TOP / "Makefile").read_text()
    modules = set(re.findall(r"python -m (petweak\S+)", text))
    assert modules and all(importlib.util.find_spec(m) for m in modules)
    scripts = re.findall(r"python (\S+\.py)", text)
    assert scripts and all((TOP / script).is_file() for script in scripts)
