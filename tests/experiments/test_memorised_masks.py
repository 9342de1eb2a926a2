"""A model of faulty masks: what it learns by heart, and what it predicts."""

from __future__ import annotations

import pandas as pd
import pytest
from conftest import small
from few import few_photos

from petweak.data.masks import FOREGROUND, read_mask
from petweak.data.oxford_pets import load_trimap
from petweak.experiments.cam_faults import FAULTS, cam_faults
from petweak.experiments.memorised_masks import FORGETS, SUSPECTS, fitting, memorised_masks
from petweak.experiments.trials import TRIALS
from petweak.study.run import Run


@pytest.fixture(scope="module")
def run(rendered, tmp_path_factory) -> Run:
    root = few_photos(rendered, tmp_path_factory.mktemp("memorised"))
    return Run(tmp_path_factory.mktemp("run"), root, small(epochs=1))


def test_a_row_a_fault_and_split_with_the_scores_of_its_masks(run):
    table = memorised_masks(run, ("none", "another photo"), 0.3, "species")
    assert table["fault"].tolist() == ["none", "none", "another photo", "another photo"]
    assert table["split"].tolist() == ["train", "test"] * 2
    assert (table["n_images"] == table["n_ground_truth"]).all()
    measured = cam_faults(run, ("none",), (0.3,), ("test",)).query("head == 'gradcam_pretrained'")
    assert table["pseudo_iou_gt"][1] == pytest.approx(measured["score"].item())
    folder = run.folder / TRIALS / "faulty" / "none-0.3"
    sample = run.pets.split("test")[0]
    mask = read_mask(folder / f"{sample.id}.png") == FOREGROUND
    assert mask.shape == load_trimap(sample.trimap, sample.photo).shape
    assert mask.any() and not mask.all()


def test_it_learns_what_is_drawn_and_not_the_ground_truth(run):
    longer = Run(run.folder, run.data_root, run.settings.replace(epochs=60, lr=0.003))
    table = memorised_masks(longer, ("none",), 0.3, "species").set_index("split")
    short = memorised_masks(run, ("none",), 0.3, "species").set_index("split")
    assert table.loc["train", "mask_iou"] > short.loc["train", "mask_iou"]
    assert table.loc["train", "mask_iou"] > table.loc["train", "mask_iou_gt"]


def test_the_suspects_are_faults():
    assert set(SUSPECTS) <= set(FAULTS)


def test_a_fault_fits_if_it_fits_everything_at_one_threshold():
    yes, no, low = [True] * 4, [False] * 4, [True, True, True, False]
    rows = {"none": [no, no], "all": [yes, no], "apart": [[True, True, False, False], [False, True,
            True, True]], "low": [low, [False, True, True, True]], "predicted": [yes, no],
            "not tried": [yes, no]}
    columns = ["near", "same", "spared", "table_4"]
    clues = pd.DataFrame([{"fault": fault, "threshold": t} | dict(zip(columns, said, strict=True))
                          for fault, of in rows.items()
                          for t, said in zip((0.2, 0.5), of, strict=True)])
    kept = {"none": 0.9, "all": 0.05, "apart": 0.05, "low": 0.05, "predicted": 0.9}
    memorised = pd.DataFrame([{"fault": fault, "split": split, "mask_iou": iou}
                              for fault, share in kept.items()
                              for split, iou in (("train", 0.5), ("test", 0.5 * share))])
    table = fitting(clues, memorised)
    true = {column: {*table.index[table[column]]} for column in table.columns if column != "kept"}
    assert true["fits"] == {"all"}
    assert true["shared"] == {"all", "low", "predicted", "not tried"}
    assert true["table_4"] == true["shared"] - {"low"}  # Table 4's score at another threshold
    assert true["near"] == set(rows) - {"none"}
    assert table["kept"].isna().to_dict()["not tried"] and table.loc["all", "kept"] < FORGETS
