"""Peak memory, in MiB on every system."""

from __future__ import annotations

import types

import pytest

from petweak import runs


def test_peak_memory_is_in_mib_whatever_the_system_counts_in(monkeypatch):
    usage = types.SimpleNamespace(ru_maxrss=3 << 20)
    fake = types.SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda who: usage)
    monkeypatch.setattr(runs, "resource", fake)
    monkeypatch.setattr(runs.sys, "platform", "linux")
    assert runs.peak_rss_mb() == 3 << 10  # KiB
    monkeypatch.setattr(runs.sys, "platform", "darwin")
    assert runs.peak_rss_mb() == 3  # bytes


def test_without_the_module_resource_psutil_answers(monkeypatch):
    info = types.SimpleNamespace(memory_info=lambda: types.SimpleNamespace(peak_wset=5 << 20))
    monkeypatch.setattr(runs, "resource", None)
    monkeypatch.setattr(runs.psutil, "Process", lambda: info)
    assert runs.peak_rss_mb() == 5


@pytest.mark.skipif(runs.resource is None, reason="no resource here")
def test_it_is_a_plausible_number_here():
    assert 50 < runs.peak_rss_mb() < 100_000
