"""Trials beside a run: what they measure by hand, and that the run stays as it was."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import small
from few import drop_trimaps, few_photos

from petweak.data.oxford_pets import load_trimap
from petweak.experiments import trials
from petweak.study.run import Run


@pytest.fixture(scope="module")
def run(eight_breeds, tmp_path_factory) -> Run:
    run = Run(tmp_path_factory.mktemp("trials"), eight_breeds, small(threshold="0.3"))
    run.masks("ground_truth")
    run.mask_scores("gradcam_pretrained")
    return run


def test_ious_of_any_masks_with_any_border(run):
    sample = run.pets.samples[0]
    trimap = load_trimap(sample.trimap)
    inside = {sample.id: trimap == 1}
    assert trials.ious(run, inside, "background")[sample.id] == 1
    assert trials.ious(run, inside, "ignore")[sample.id] == 1
    share = (trimap == 1).sum() / (trimap != 2).sum()
    assert trials.ious(run, inside)[sample.id] == pytest.approx(share)
    assert trials.ious(run, {}).empty
    assert trials.photo_shapes(run, [sample.id]) == {sample.id: trimap.shape}


def test_masks_on_disk_and_a_fitted_source_have_the_runs_scores(run):
    test = [s.id for s in run.pets.split("test")]
    photos = run.mask_scores("gradcam_pretrained").photos.set_index("id").loc[test]
    ious = photos["iou/foreground"]
    read = trials.ious(run, trials.read_masks(run.masks_folder("gradcam_pretrained"), test))
    fitted = run.fitted_source("gradcam_pretrained")
    assert np.allclose(read, ious) and np.allclose(trials.source_ious(run, fitted, test), ious)
    other = run.fitted_source("gradcam_pretrained", threshold="0.6")
    assert not np.allclose(trials.source_ious(run, other, test), ious)
    again = trials.source_ious(run, other, test, threshold=0.3)
    assert np.allclose(again, ious) and run.settings.cam.threshold == "0.3"


def test_all_sources_can_learn_from_the_photos_with_ground_truth(rendered, tmp_path):
    root = few_photos(rendered, tmp_path / "data")
    run = Run(tmp_path / "run", root, small(val_fraction=0.0, threshold="otsu"))
    every = [s.id for s in run.pets.split("train")]
    test = [s.id for s in run.pets.split("test")]
    drop_trimaps(root, {*every[::2], *test})
    run = Run(tmp_path / "run", root, run.settings)
    few = trials.learning_from(run, "with_trimap")
    assert trials.learning_from(run, "all") is run
    for source in ("ground_truth", "gradcam_pretrained"):
        assert {s.id for part in few.taught(source) for s in part} == set(every[::2])
    assert [s.id for s in few.pets.split("test")] == test
    with pytest.raises(ValueError, match="unknown photos=some: there are all, with_trimap"):
        trials.learning_from(run, "some")


def test_targets_are_of_train_alone_and_keep_their_order(run):
    train, test = (run.pets.split(split) for split in ("train", "test"))
    folder, ids = run.masks_folder("ground_truth"), [train[1].id, train[0].id]
    targets = trials.targets(run, folder, ids, "species")
    assert targets.ids == ids
    assert targets.classes.tolist() == [train[1].species, train[0].species]
    folders = {ids[0]: folder, ids[1]: run.masks_folder("gradcam_pretrained")}
    mixed = trials.targets(run, folders, ids, "species", {ids[1]: 1 - train[0].species})
    assert mixed.classes.tolist() == [train[1].species, 1 - train[0].species]
    assert torch.equal(mixed.masks[0], targets.masks[0])
    assert not torch.equal(mixed.masks[1], targets.masks[1])
    with pytest.raises(ValueError, match=f"{test[0].id}: not in train"):
        trials.targets(run, folder, [test[0].id], "species")


def test_ground_truth_with_another_border_lies_in_a_variant(run):
    assert trials.ground_truth(run, "foreground") == run.masks_folder("ground_truth")
    one = run.pets.samples[0]
    tight = trials.read_masks(trials.ground_truth(run, "background"), [one.id])[one.id]
    assert np.array_equal(tight, load_trimap(one.trimap) == 1)


def test_a_configuration_is_text():
    assert trials.changes("default") == {}
    assert trials.changes("rounds=1 ignore_band=0.05,0.3") == {
        "rounds": "1",
        "ignore_band": "0.05,0.3",
    }


def test_a_model_is_widened_for_the_border_as_foreground_alone(run):
    tight = trials.for_border(run, "imagenet_only", 0, "ignore")
    wide = trials.for_border(run, "imagenet_only", 0, "foreground")
    both = (r.settings.self_training.background_threshold for r in (tight, wide))
    assert list(both) == [0.5, 0.05] and tight.folder != wide.folder
    assert tight.settings.ground_truth.border == "ignore"
    threshold = run.settings.self_training.background_threshold
    assert trials.for_border(run, "imagenet_only", 0, "foreground", threshold) is run


def test_a_trial_stays_beside_the_run_and_is_trained_again_only_for_another_question(run):
    before = sorted(p for p in run.folder.rglob("*.csv") if "experiments" not in p.parts)
    ids = [s.id for s in run.pets.split("train")][:8]
    taught = trials.targets(run, run.masks_folder("ground_truth"), ids, "species")
    model = trials.train(run, "x", taught, "species", epochs=1)
    file = run.folder / "experiments" / "trials" / "x" / "model.safetensors"
    written = file.stat().st_mtime_ns
    assert len(pd.read_csv(file.with_name("history.csv"))) == 1
    again = trials.train(run, "x", taught, "species", epochs=1)
    assert file.stat().st_mtime_ns == written
    values = [trials.model_ious(run, one, ids) for one in (model, again)]
    assert values[0].equals(values[1]) and list(values[0].index) == ids

    class Other(type(taught)):
        """The same masks, used in another way."""

    trials.train(run, "x", Other(**vars(taught)), "species", epochs=1)
    assert file.stat().st_mtime_ns != written  # the same masks, but not the same question
    assert before == sorted(p for p in run.folder.rglob("*.csv") if "experiments" not in p.parts)


def test_rounds_with_other_settings_begin_with_the_runs_masks(run):
    flat = dict(rounds=2, round_epochs=1, last_epochs=1, keep_fractions=(1.0,), round_walk_steps=1)
    rounds = trials.self_train(run, "all", "gradcam_pretrained", "species", **flat)
    assert rounds[0].masks == run.masks_folder("gradcam_pretrained")
    assert [r.n_images for r in rounds] == [len(run.pets.split("train"))] * 2
    assert all("experiments" in p.parts for p in (rounds[0].model, rounds[1].masks))
    assert not (run.folder / "models").exists()
    with pytest.raises(ValueError, match="round_refinement is empty"):
        trials.self_train(run, "none", "gradcam_pretrained", "species", round_refinement=())


def test_scratch_is_empty_though_a_kill_left_something(tmp_path):
    (tmp_path / "point" / "left").mkdir(parents=True)
    with pytest.raises(KeyError), trials.scratch(tmp_path / "point") as folder:
        assert folder.is_dir() and not list(folder.iterdir())
        raise KeyError
    assert not folder.exists()


def test_what_is_kept_is_made_once_a_key(tmp_path):
    made = iter(range(9))
    of = [trials.kept(tmp_path / "a.json", known, lambda: next(made)) for known in "kkxxk"]
    assert of == [0, 0, 1, 1, 2]
