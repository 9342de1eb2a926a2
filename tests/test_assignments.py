"""The graded assignments: a solution passes the tests of all points, what is handed out of none;
nbgrader's own commands hand them out and grade them."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from test_teaching import ASSIGNMENTS, FOLDER, table
from traitlets.config import Config, PyFileConfigLoader

pytest.importorskip("nbgrader", reason="pip install -e .[teaching]")

RUBRIC = (FOLDER / "rubric.md").read_text(encoding="utf-8")


def cells(path: Path) -> list:
    return nbformat.read(path, as_version=4).cells


def source(name: str) -> Path:
    return FOLDER / "source" / name / f"{name}.ipynb"


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_the_rubric_has_the_points_of_every_graded_cell(name):
    graded = [c.metadata["nbgrader"] | {"code": c.cell_type == "code"} for c in cells(source(name))
              if c.metadata.get("nbgrader", {}).get("grade")]
    rows = [row for row in table("Points", RUBRIC) if row[0] == f"`{name}`"]
    says = [[f"`{g['grade_id']}`", str(g["points"]), "by tests" if g["code"] else "by hand"]
            for g in graded]
    assert [row[1:4] for row in rows] == says
    total = sum(g["points"] for g in graded)
    assert f"**{total} points**" in cells(source(name))[0].source
    by_hand = RUBRIC.split("What the mechanism is")[1]
    assert [f"`{g['grade_id']}`" in by_hand for g in graded] == [not g["code"] for g in graded]


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_every_graded_cell_has_hidden_tests_and_no_outputs_are_kept(name):
    for cell in cells(source(name)):
        about = cell.metadata.get("nbgrader", {})
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None
            assert max(map(len, cell.source.splitlines())) <= 100
            assert ("### BEGIN SOLUTION" in cell.source) == bool(about.get("solution"))
            assert ("### BEGIN HIDDEN TESTS" in cell.source) == bool(about.get("grade"))


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    from nbgrader.apps import NbGraderAPI

    root = tmp_path_factory.mktemp("course")
    shutil.copytree(FOLDER / "source", root / "source")
    config = PyFileConfigLoader("nbgrader_config.py", str(FOLDER)).load_config()
    own = {"root": str(root), "db_url": f"sqlite:///{root}/gradebook.db"}
    config.merge(Config({"CourseDirectory": own}))
    with pytest.MonkeyPatch.context() as patch:  # it calls alembic, as in an active environment
        bin = str(Path(sys.executable).parent)
        patch.setenv("PATH", os.pathsep.join([bin, os.environ["PATH"]]))
        yield root, NbGraderAPI(config=config)


def is_graded(cell) -> bool:
    """Whether it has the tests of points."""
    return cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("grade", False)


def failing(notebook: list) -> list:
    """The cells that fail when all are executed in their order, as autograding does it."""
    names, failed = {}, []
    for cell in (c for c in notebook if c.cell_type == "code"):
        try:
            exec(cell.source, names)
        except (AssertionError, RuntimeError):
            failed.append(cell)
    return failed


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_a_solution_passes_all_tests_and_what_is_handed_out_none(name, course):
    root, api = course
    done = api.generate_assignment(name)
    assert done["success"], done
    release = root / "release" / name / f"{name}.ipynb"
    text = "\n".join(c.source for c in cells(release))
    assert "raise NotImplementedError()" in text and "*Your answer:*" in text
    for word in ("SOLUTION", "HIDDEN", "Model answer", "reference"):
        assert word not in text
    tests = [c.source for c in cells(source(name)) if is_graded(c)]
    assert len(tests) == 3
    for given, expected in ((source(name), []), (release, tests)):
        notebook = cells(given)
        for cell, test in zip(filter(is_graded, notebook), tests, strict=True):
            cell.source = test  # those that are hidden come back
        assert [c.source for c in failing(notebook)] == expected


def test_nbgrader_gives_all_points_for_passed_tests_and_none_for_failed_ones(course):
    """Its own commands, for the assignment that is quick to execute."""
    (root, api), name = course, "iou_dice"
    done = api.generate_assignment(name)
    assert done["success"], done
    release = root / "release" / name / f"{name}.ipynb"
    for student, given in {"solver": source(name), "sleeper": release}.items():
        folder = root / "submitted" / student / name
        folder.mkdir(parents=True)
        shutil.copy(given, folder)
        done = api.autograde(name, student)
        assert done["success"], done
    with api.gradebook as book:
        for student in ("solver", "sleeper"):
            grades = book.find_submission_notebook(name, name, student).grades
            auto = [g for g in grades if g.cell.cell_type == "code"]
            assert len(auto) == 3
            share = 1 if student == "solver" else 0
            assert [g.auto_score for g in auto] == [share * g.max_score for g in auto], student


WRONG = [
    ("iou_dice", "if union else 1.0", "if union else 0.0"),
    ("iou_dice", "(prediction & target & valid)", "(prediction & target)"),
    ("iou_dice", "2 * value / (1 + value)", "value / (2 - value)"),
    ("iou_dice", 'if border == "foreground":', 'if border != "background":'),
    ("grad_cam", "    hook.remove()\n", ""),
    ("grad_cam", "kept[\"A\"].detach()).relu()[0]", "kept[\"A\"].detach())[0]"),
    ("grad_cam", "/ A[0].numel(), A).relu()\n    ### END", ", A).relu()\n    ### END"),
    ("grad_cam", "share * (1 - share) * gap**2", "gap**2"),
    ("grad_cam", "soft = (cam - cam.min()) / (cam.max() - cam.min())", "soft = cam"),
    ("matcher", "F.logsigmoid(-z)", "(1 - z.sigmoid()).log()"),
    ("matcher", "+ 1) / (m.sum()", "+ 0) / (m.sum()"),
    ("matcher", "-weights[0] * p[q, k]", "-weights[0] * p[q, k].log()"),
    ("matcher", "return list(min(options", "return sorted(min(options"),
    ("matcher", "[0.2, 0.3], [0.4, 0.9]", "[0.2, 0.9], [0.9, 0.2]"),
    ("self_training", "* valid[chosen]).sum() / valid[chosen].sum()", ").mean()"),
    ("self_training", "valid, most_confident(soft, keep))", "valid, torch.arange(len(soft)))"),
    ("self_training", "((soft < low) | (soft > high))", "((soft <= low) | (soft >= high))"),
    ("self_training", "descending=True", "descending=False"),
]


@pytest.mark.parametrize("name, right, wrong", WRONG)
def test_a_likely_mistake_loses_points(name, right, wrong):
    """What the tests would not notice, a student would never learn."""
    solved = [c for c in cells(source(name)) if "BEGIN SOLUTION" in c.source]
    assert sum(right in c.source for c in solved if c.cell_type == "code") == 1
    notebook = cells(source(name))
    for cell in notebook:
        if "BEGIN SOLUTION" in cell.source:
            cell.source = cell.source.replace(right, wrong)
    failed = failing(notebook)
    assert failed and all(map(is_graded, failed)), "no test fails"
