"""The wheel, built and installed into an empty environment, from an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from conftest import SMALL
from few import few_photos

TOP = Path(__file__).resolve().parents[2]
SETTINGS = [f"{k}={v}" for k, v in SMALL.items()]


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """The Python of an environment with the wheel, whose other packages are those of this one."""
    top = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    source = top / "source"  # a build leaves files beside the code
    ignored = subprocess.run(["git", "ls-files"], cwd=TOP, capture_output=True, encoding="utf-8",
                             check=True).stdout.splitlines()
    for name in ignored:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((TOP / name).read_bytes())
    subprocess.run([*build, "-w", str(top), str(source)], check=True)
    venv.create(top / "env", symlinks=True)
    (site,) = (top / "env").glob("lib/python*/site-packages")
    (wheel,) = top.glob("petweak-*.whl")
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target",
                    str(site), str(wheel)], check=True)
    # nbconvert finds its templates, and Jupyter its kernel, there.
    (top / "env" / "share").symlink_to(Path(sys.prefix) / "share")
    # After the wheel, and as plain folders: no editable petweak comes with them.
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return top / "env" / "bin" / "python"


def petweak(python: Path, folder: Path, *words: str) -> str:
    """What the command prints, without git and with a HOME that cannot be made."""
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    clean |= {"TQDM_DISABLE": "1", "HOME": "/proc/nothing", "PATH": "/nothing"}
    done = subprocess.run([str(python), "-m", "petweak", *words], cwd=folder, env=clean,
                          capture_output=True, encoding="utf-8", timeout=540)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_works_from_an_empty_folder(environment, rendered, tmp_path, reliability):
    root, folder = few_photos(rendered, tmp_path / "data"), tmp_path / "empty"
    folder.mkdir()
    code = "import petweak; print(petweak.__file__)"
    place = subprocess.run([str(environment), "-c", code], cwd=folder, capture_output=True,
                           encoding="utf-8", env={"PATH": os.environ["PATH"]}).stdout
    assert str(environment.parents[1]) in place
    assert "COMMAND" in petweak(environment, folder, "--help")
    assert "ok  weights efficientnet_lite0" in petweak(environment, folder, "doctor")
    run = ["--profile", "photos", "--data-root", str(root), "--run", "out"]
    said = petweak(environment, folder, "study", *run, "--sources", "mask_rcnn_compact",
                   "--labels", "species", "--set", *SETTINGS)
    assert "report.html" in said and (folder / "out" / "report.html").stat().st_size > 100_000
    said = petweak(environment, folder, "notebooks", *run, "--only", "01")
    assert "executed" in said
    petweak(environment, folder, "report", "out", "--format", "md")
    assert [p.name for p in folder.iterdir()] == ["out"]  # and nothing in the package
    written = [p for p in environment.parents[1].rglob("petweak/*") if p.name in ("runs", "data")
               and (p / "rendered").exists()]
    what = "help, doctor, study, notebook, report"
    reliability(f"the built wheel from an empty folder, no git, no HOME: {what}", 5,
                "5 of 5 work, nothing written elsewhere")
    assert not written
