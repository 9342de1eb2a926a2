"""One list of dependencies: environment.yml, the installed package and the imports follow it."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]

# import name -> name in the list, where they differ
NAMES = {
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "pytorch_grad_cam": "grad-cam",
    "yaml": "pyyaml",
    "IPython": "jupyterlab",
    "nbformat": "nbconvert",
    "urllib3": "requests",
    "pydensecrf": "pydensecrf2",
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


def test_the_makefile_installs_that_list():
    assert "-e .[test]" in (TOP / "Makefile").read_text()


def test_torch_and_torchvision_are_pinned_as_a_pair():
    pins = dict(
        r.split("==") for r in PROJECT["dependencies"] if r.startswith("torch") and "==" in r
    )
    assert set(pins) == {"torch", "torchvision"}


@pytest.mark.parametrize("folder", ["petweak", "tests"])
def test_whatever_is_imported_is_listed(folder):
    wanted = set()
    for path in (TOP / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                wanted |= {a.name.split(".")[0] for a in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                wanted.add(node.module.split(".")[0])
    own = {"petweak", "conftest"} | {p.stem for p in (TOP / "tests").glob("*.py")}
    wanted = {
        NAMES.get(n, n).replace("_", "-") for n in wanted - own - set(sys.stdlib_module_names)
    }
    assert wanted <= listed()
