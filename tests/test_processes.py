"""`--processes`: what every test comes to is told, that of a process that dies, too."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from reliability import TESTS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="all tests run in one process here")
ALONE = """
import time

def test_no_other_in_turn_runs(tmp_path_factory):
    (taken := tmp_path_factory.getbasetemp() / "taken").mkdir()
    time.sleep(0.5)
    taken.rmdir()
"""
FILES = {
    "test_a.py": "def test_holds(): print('said')\ndef test_fails(): print('told'); assert not 1",
    "test_b.py": "import os\ndef test_dies(): os._exit(3)\ndef test_is_not_reached(): pass",
    "test_c.py": "import sys\ndef test_another_process(): assert not hasattr(sys, 'seen')",
    "test_d.py": "import sys\ndef test_a_mark(): sys.seen = True",
    "test_run.py": ALONE, "test_sweep.py": ALONE,
}


def pytest_of(tmp_path, *options: str) -> subprocess.CompletedProcess:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "processes", "-p", "no:cacheprovider", "-rA",
               f"--rootdir={tmp_path}", f"--basetemp={tmp_path / 'base'}", *options, str(tmp_path)]
    env = os.environ | {"PYTHONPATH": str(TESTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, env=env, text=True, capture_output=True)


@pytest.mark.parametrize("n", [1, 3])
def test_every_test_is_told_once(tmp_path, n):
    done = pytest_of(tmp_path, "--processes", str(n))
    assert done.returncode == 1, done.stdout + done.stderr
    assert sorted(re.findall(r"^(PASSED|FAILED) .*?::(\w+)", done.stdout, re.M)) == [
        ("FAILED", "test_dies"), ("FAILED", "test_fails"), ("PASSED", "test_a_mark"),
        ("PASSED", "test_another_process"), ("PASSED", "test_holds"),
        *[("PASSED", "test_no_other_in_turn_runs")] * 2]
    assert "the process of this file has ended, with exit code 3" in done.stdout
    failed = done.stdout[done.stdout.index("= FAILURES ="):]
    assert re.search(r"test_fails _+\n.*^told\n", failed, re.M | re.S)


def test_it_ends_at_the_first_failure_that_is_too_much(tmp_path):
    done = pytest_of(tmp_path, "--processes", "1", "--maxfail", "1", "-k", "not in_turn")
    assert done.returncode == 1 and "stopping after 1 failures" in done.stdout
    assert "1 failed, 1 passed" in done.stdout


def test_a_file_that_cannot_be_collected_is_told(tmp_path):
    (tmp_path / "test_e.py").write_text("import not_there")
    done = pytest_of(tmp_path, "--processes", "2")
    assert done.returncode == 2 and "No module named 'not_there'" in done.stdout
