"""The names that a notebook needs: `petweak`, what is found after it, and one name for pictures."""

from __future__ import annotations

import subprocess
import sys

import pytest

import petweak
from petweak import visualization as vis
from petweak.experiments import trials
from petweak.models import losses
from petweak.study.run import open_run


def test_a_module_is_imported_when_it_is_first_used():
    code = (
        "import sys, petweak, petweak.__main__\n"
        "heavy = {'torch', 'matplotlib', 'pandas', 'petweak.data.masks'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "print(petweak.data.masks.FOREGROUND, 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8")
    assert done.stdout.splitlines() == ["[]", "255 False"], done.stderr


def test_names_are_those_of_their_modules():
    assert petweak.open_run is open_run
    assert petweak.experiments.trials is trials and petweak.models.losses is losses
    for name in vis.__all__:
        of = [m for m in (vis.style, vis.overlays, vis.charts) if name in vars(m)]
        assert all(getattr(m, name) is getattr(vis, name) for m in of) and of, name


def test_a_name_that_is_nowhere_is_named():
    with pytest.raises(AttributeError, match="petweak.models has neither .* 'unet'"):
        _ = petweak.models.unet
    with pytest.raises(ImportError, match="unet"):
        from petweak.models import unet  # noqa: F401
    assert not hasattr(petweak, "plots")
