"""What the tests of the explorers share: one finished run, and a way to find a control."""

from __future__ import annotations

import ipywidgets as w
import pytest
from conftest import once, small

from petweak.study.results import run_study
from petweak.study.run import Run

SOURCES = ("ground_truth", "gradcam_pretrained", "gradcam_finetuned")


@pytest.fixture(scope="session")
def run(rendered, tmp_path_factory) -> Run:
    """A finished study of SOURCES, unrefined, with species; the same for all files of tests."""
    settings = small(sources=SOURCES, labels="species", threshold="0.4", cam_target="pets")
    folder = once(tmp_path_factory.getbasetemp() / "explored",
                  lambda folder: run_study(Run(folder, rendered, settings)))
    return Run(folder, rendered, settings)


@pytest.fixture
def refuse(monkeypatch):
    """No stage of a run can be made."""

    def refused(*_, **__):
        raise AssertionError("an explorer made a stage of the run")

    for name in ("extract_features", "make_masks", "train_model"):
        monkeypatch.setattr(f"petweak.study.run.{name}", refused)


def control(widget, name: str):
    """The control that is described so, wherever it is in the box."""
    if getattr(widget, "description", None) == name:
        return widget
    found = (control(child, name) for child in getattr(widget, "children", ()))
    return next((f for f in found if f is not None), None)


def texts(widget) -> str:
    if isinstance(widget, w.HTML):
        return widget.value
    return "\n".join(texts(child) for child in getattr(widget, "children", ()))
