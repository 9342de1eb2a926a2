"""The seconds of architectures: each row has its own, and no model is kept."""

from __future__ import annotations

import pytest
import torch
from conftest import small
from few import few_photos

from petweak.experiments.ablation_times import ablation_times
from petweak.study.run import Run

ROWS = ("maskformer", "maskformer image_size=128", "maskformer-ms reduce=True", "U-Net",
        "prototypes")
TIMES = ["forward_ms", "step_ms"]


@pytest.fixture(scope="module")
def run(rendered, tmp_path_factory) -> Run:
    root = few_photos(rendered, tmp_path_factory.mktemp("few"))
    return Run(tmp_path_factory.mktemp("times"), root, small())


def test_each_row_has_its_seconds(run):
    table = ablation_times(run, (*ROWS[:3], "U-[N]et", "prototypes"), rounds=3, steps=2)
    assert table["row"].tolist() == list(ROWS)
    for name in TIMES:
        of = table[[f"{name}_low", name, f"{name}_high"]].dropna()
        assert (of > 0).all(axis=None) and (of.diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
    assert table["step_ms"].isna().tolist() == [row == "prototypes" for row in ROWS]
    ms = table.set_index("row")
    assert ms.loc["maskformer image_size=128", "forward_ms"] > ms.loc["prototypes", "forward_ms"]
    photos = sum(s.trimap is not None for s in run.pets.split("train"))
    about = table[["rounds", "steps", "n_images", "threads"]].drop_duplicates().to_numpy().tolist()
    assert about == [[3, 2, min(photos, run.settings.training.batch_size), torch.get_num_threads()]]
    assert not list(run.folder.rglob("*.safetensors"))
    other = run.folder / "variants" / "times-128"
    assert (other / "features").is_dir() and not (run.folder / "variants/times/features").exists()


def test_an_unknown_row_is_refused(run):
    with pytest.raises(ValueError, match="unknown row unet: there are maskformer"):
        ablation_times(run, ("unet",))
