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


@pytest.fixture(scope="module")
def run(rendered, tmp_path_factory) -> Run:
    root = few_photos(rendered, tmp_path_factory.mktemp("few"))
    return Run(tmp_path_factory.mktemp("times"), root, small())


def test_each_row_has_its_seconds(run):
    table = ablation_times(run, (*ROWS[:3], "U-[N]et", "prototypes"), rounds=3)
    what = table.groupby("row", sort=False)["what"].agg(list)
    assert what.index.tolist() == list(ROWS)
    assert what.iloc[:-1].tolist() == [["predict", "step"]] * 4 and what.iloc[-1] == ["predict"]
    of = table[["low", "seconds", "high"]]
    assert (of > 0).all(axis=None) and (of.diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
    seconds = table.set_index(["row", "what"])["seconds"]
    assert seconds["maskformer image_size=128", "step"] > seconds["maskformer", "predict"]
    photos = sum(s.trimap is not None for s in run.pets.split("train"))
    about = table[["rounds", "n_images", "threads"]].drop_duplicates().to_numpy().tolist()
    assert about == [[3, min(photos, run.settings.training.batch_size), torch.get_num_threads()]]


def test_no_model_is_kept_and_only_other_inputs_have_features_of_their_own(run):
    variants = run.folder / "variants"
    assert not list(run.folder.rglob("*.safetensors"))
    assert (variants / "times-128/features").is_dir()
    assert not (variants / "times/features").exists()


def test_an_unknown_row_is_refused(run):
    with pytest.raises(ValueError, match="unknown row unet: there are maskformer"):
        ablation_times(run, ("unet",))
