"""Trials beside a run: what they measure by hand, and that the run stays as it was."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import small

from petweak import trials
from petweak.broken import Unmirrored
from petweak.data.pets import load_trimap
from petweak.maskformer.targets import cycled
from petweak.study import Run


@pytest.fixture(scope="module")
def run(rendered, tmp_path_factory) -> Run:
    run = Run(tmp_path_factory.mktemp("trials"), rendered, small(threshold="0.3"))
    run.masks("ground_truth")
    run.mask_scores("gradcam_pretrained")
    return run


def test_ious_of_any_masks_in_any_convention(run):
    sample = run.pets.samples[0]
    trimap = load_trimap(sample.trimap)
    inside = {sample.id: trimap == 1}
    assert trials.ious(run, inside, "background")[sample.id] == 1
    assert trials.ious(run, inside, "ignore")[sample.id] == 1
    share = (trimap == 1).sum() / (trimap != 2).sum()
    assert trials.ious(run, inside)[sample.id] == pytest.approx(share)
    assert trials.ious(run, {}).empty
    assert trials.photo_shapes(run, [sample.id]) == {sample.id: trimap.shape}


def test_masks_on_disk_and_a_fitted_source_have_the_runs_own_figures(run):
    test = [s.id for s in run.pets.split("test")]
    photos = run.mask_scores("gradcam_pretrained").photos.set_index("id").loc[test, "iou/pet"]
    read = trials.ious(run, trials.png_masks(run.masks_folder("gradcam_pretrained"), test))
    fitted = trials.fitted_source(run, "gradcam_pretrained")
    assert fitted.threshold() == 0.3
    assert np.allclose(read, photos) and np.allclose(trials.source_ious(run, fitted, test), photos)
    other = trials.fitted_source(run, "gradcam_pretrained", threshold="0.6")
    assert not np.allclose(trials.source_ious(run, other, test), photos)
    again = trials.source_ious(run, other, test, threshold=0.3)
    assert np.allclose(again, photos) and run.settings.threshold == "0.3"


def test_targets_are_of_train_alone_and_may_repeat(run):
    train, test = (run.pets.split(split) for split in ("train", "test"))
    folder = run.masks_folder("ground_truth")
    one = trials.targets(run, folder, [train[0].id], "species")
    assert one.classes.tolist() == [train[0].species]
    three = trials.joined([one, one, trials.targets(run, folder, [train[1].id], "species")])
    assert three.ids == [train[0].id] * 2 + [train[1].id]
    assert torch.equal(three.masks[0], three.masks[1]) and len(three.valid) == 3
    seven = cycled(three, 7)
    counts = sorted(seven.ids.count(i) for i in set(seven.ids))
    assert len(seven.ids) == len(seven.masks) == 7 and counts in ([2, 5], [3, 4])
    for i, mask in zip(seven.ids, seven.masks, strict=True):
        assert torch.equal(mask, three.masks[three.ids.index(i)])
    with pytest.raises(ValueError, match=f"{test[0].id}: not in train"):
        trials.targets(run, folder, [test[0].id], "species")


def test_a_trial_is_kept_beside_the_run_and_made_again_only_for_another_question(run):
    before = sorted(p for p in run.folder.rglob("*.csv") if "variants" not in p.parts)
    ids = [s.id for s in run.pets.split("train")][:8]
    taught = trials.targets(run, run.masks_folder("ground_truth"), ids, "species")
    student = trials.train(run, "x", taught, "species", epochs=1)
    file = run.folder / "variants" / "trials" / "x" / "model.safetensors"
    made = file.stat().st_mtime_ns
    assert len(pd.read_csv(file.with_name("history.csv"))) == 1
    again = trials.train(run, "x", taught, "species", epochs=1)
    assert file.stat().st_mtime_ns == made
    values = [trials.student_ious(run, one, ids) for one in (student, again)]
    assert values[0].equals(values[1]) and list(values[0].index) == ids
    trials.train(run, "x", Unmirrored(**vars(taught)), "species", epochs=1)
    assert file.stat().st_mtime_ns != made  # the same masks, but not the same question
    assert before == sorted(p for p in run.folder.rglob("*.csv") if "variants" not in p.parts)


def test_rounds_with_other_settings_begin_with_the_runs_masks(run):
    own = dict(rounds=2, round_epochs=1, last_epochs=1, keep=(1.0,), round_walk_steps=1)
    made = trials.self_train(run, "all", "gradcam_pretrained", "species", **own)
    assert made[0].masks == run.masks_folder("gradcam_pretrained")
    assert [r.kept for r in made] == [len(run.pets.split("train"))] * 2
    assert all("variants" in r.student.parts for r in made) and "variants" in made[1].masks.parts
    assert not (run.folder / "models").exists()
    with pytest.raises(ValueError, match="round_refine is empty"):
        trials.self_train(run, "none", "gradcam_pretrained", "species", round_refine=())
