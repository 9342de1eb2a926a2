"""Files of a run that are empty, cut or something else: named, and made again."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import small
from few import few_photos

from petweak.data.files import content_of
from petweak.reporting.report import write_report
from petweak.study.results import read_results, run_study
from petweak.study.run import Run

SETTINGS = dict(sources="gradcam_pretrained", labels="species", epochs=1)
# Those that a study makes, one of each kind.
FILES = """run.json data.json quarantine.csv results.csv timings.csv features/index.json
    features/final.npy features/pooled.npy masks/gradcam_pretrained/manifest.json
    masks/gradcam_pretrained/Abyssinian_*.png masks/gradcam_pretrained/scores.csv
    masks/gradcam_pretrained/scores.json models/gradcam_pretrained-species/config.json
    models/gradcam_pretrained-species/history.csv
    models/gradcam_pretrained-species/model.safetensors baselines/all_ones/scores.csv""".split()
DAMAGE = {"empty": lambda c: b"", "cut": lambda c: c[: len(c) // 2],
          "flipped in one bit": lambda c: flipped(c, len(c) // 2),
          "git-LFS pointers": lambda c: b"version https://git-lfs.github.com/spec/v1\noid sha\n"}


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]


def results(folder: Path, root: Path) -> pd.DataFrame:
    run_study(Run(folder, root, small(**SETTINGS)))
    return pd.read_csv(folder / "results.csv").drop(columns="seconds")


@pytest.fixture(scope="module")
def world(rendered, tmp_path_factory):
    root = few_photos(rendered, tmp_path_factory.mktemp("few"), breeds=2)
    folder = tmp_path_factory.mktemp("run")
    return folder, root, results(folder, root)


@pytest.mark.parametrize("damage", DAMAGE)
def test_every_kind_of_file_is_made_anew(damage, world, caplog, reliability):
    folder, root, expected = world
    paths = [sorted(folder.glob(pattern))[0] for pattern in FILES]
    before = {path: path.read_bytes() for path in paths}
    for path in paths:
        path.write_bytes(DAMAGE[damage](before[path]))
    what = {path: content_of(path) for path in paths}
    got = results(folder, root)
    says = {p: "is damaged and" if p.suffix == ".json" else f"{what[p]}; it" for p in paths}
    named = [p for p in paths if f"{p} {says[p]} counts as missing" in caplog.text]
    alike = [p for p in paths if p.suffix in (".png", ".npy", ".safetensors")
             and p.read_bytes() == before[p]]
    reliability(f"files of a run that are {damage}", len(paths),
                "all made anew, scores alike" if got.equals(expected) else "scores differ")
    pd.testing.assert_frame_equal(got, expected, check_exact=True)
    assert len(alike) == 4
    # A stage's later files are not looked at where its first one, a JSON, has to be made.
    assert {p.suffix for p in named} >= {".json"}


@pytest.mark.parametrize(
    "pattern", [f for f in FILES if re.search("npy|png|safetensors|history", f)])
def test_each_is_named_by_a_line(pattern, world, caplog):
    folder, root, expected = world
    path = sorted(folder.glob(pattern))[0]
    before = path.read_bytes()
    path.write_bytes(before[: len(before) // 2])
    pd.testing.assert_frame_equal(results(folder, root), expected)
    assert path.suffix == ".csv" or path.read_bytes() == before  # a history has seconds
    assert [r.getMessage() for r in caplog.records if "counts as missing" in r.getMessage()] == [
        f"{path} is cut or damaged; it counts as missing"]


@pytest.mark.parametrize("pattern", ["features/final.npy", "masks/*/Abyssinian_*.png",
                                     "models/*/model.safetensors", "models/*/history.csv",
                                     "*/*/scores.csv", "results.csv", "quarantine.csv"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.999])
def test_a_bit_that_flips_moves_no_number_and_is_named(pattern, share, world, tmp_path, caplog):
    kept, root, expected = world
    shutil.copytree(kept, folder := tmp_path / "run")
    path = sorted(folder.glob(pattern))[-1]
    before = path.read_bytes()
    path.write_bytes(flipped(before, int(share * len(before))))
    if path.suffix == ".npy":
        shutil.rmtree(folder / "models")  # what has been made of it is not made again
    pd.testing.assert_frame_equal(results(folder, root), expected, check_exact=True)
    assert path.read_bytes() == before or path.name in ("history.csv", "results.csv")  # seconds
    (line,) = {r.getMessage() for r in caplog.records if str(path) in r.getMessage()}
    assert "damaged" in line or "has changed since it was written; it counts as missing" in line


def test_a_report_of_a_table_that_has_changed_is_refused(world, tmp_path):
    shutil.copytree(world[0], folder := tmp_path / "run")
    table = folder / "results.csv"
    table.write_bytes(table.read_bytes().replace(b"0.5", b"0.6"))
    with pytest.raises(ValueError, match="results.csv has changed since the study wrote it: `petw"):
        write_report(folder)
    table.write_bytes(b"")
    with pytest.raises(ValueError, match="results.csv is damaged"):
        read_results(folder)
