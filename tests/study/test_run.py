"""A run and its variants: who writes where, who waits, what a kill or another device changes."""

from __future__ import annotations

import os
import shutil
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROUNDS, every_lock, process_context, small
from few import drop_trimaps, few_photos
from PIL import Image
from safetensors.numpy import load_file

from petweak.config import DATA_ROOTS
from petweak.data import feature_cache
from petweak.data.files import read_json, write_json
from petweak.data.oxford_pets import load_trimap, read_pets
from petweak.pseudo_masks import store
from petweak.study import cache
from petweak.study.results import collect_results, run_study
from petweak.study.run import FEATURES_FROM, MARK, Run, open_run, reopen
from petweak.training import self_training, trainer
from petweak.training.targets import load_targets
from petweak.training.trainer import finished_models

# One source, one kind of labels, maps at two sizes.
SCALES = dict(sources="gradcam_pretrained", labels="species", refinement="multiscale",
              refinement_scales=(1.0, 1.5), threshold="otsu", extraction_batch=2, epochs=1)
SOURCE = ("gradcam_pretrained", "species")
FREE = ("imagenet_only", "species")


@pytest.fixture(scope="module")
def few(rendered, tmp_path_factory) -> Path:
    return few_photos(rendered, tmp_path_factory.mktemp("few"))


@pytest.fixture(scope="module")
def done(few, tmp_path_factory) -> Run:
    """A finished study; tests leave its folder as it is."""
    run = Run(tmp_path_factory.mktemp("done") / "run", few, small(**SCALES))
    run_study(run)
    return run


@pytest.fixture(scope="module")
def rounds(few, tmp_path_factory) -> Run:
    """A finished study with two rounds of self-training."""
    run = Run(tmp_path_factory.mktemp("rounds") / "run", few, small(**ROUNDS))
    run_study(run)
    return run


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """{file: (size, time)} of a run, without its variants."""
    files = (p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): (p.stat().st_size, p.stat().st_mtime_ns)
            for p in files if "variants" not in p.relative_to(folder).parts}


def equal(one: Path, other: Path) -> bool:
    """Whether two models have the same tensors, bit for bit."""
    a, b = (load_file(folder / "model.safetensors") for folder in (one, other))
    return a.keys() == b.keys() and all((a[k] == b[k]).all() for k in a)


def some(run: Run) -> frozenset[str]:
    """All photos but those of one breed."""
    return frozenset(s.id for s in run.pets.samples if s.breed_name != "Abyssinian")


# --- variants


def test_a_variant_on_some_photos_leaves_its_parents_caches_whole(few, tmp_path):
    run = Run(tmp_path / "run", few, small(**SCALES))
    part = run.variant("without_Abyssinian", only=some(run))
    assert len(part.masks(SOURCE[0])["ids"]) == 9  # first, so that the variant asks for features
    assert len(run.masks(SOURCE[0])["ids"]) == 12
    for folder in ("features", "features/efficientnet_lite0@1.5"):
        assert read_json(run.folder / folder / "index.json")["ids"] == list(run.ids)
    assert {p.stem for p in part.masks_folder(SOURCE[0]).glob("*.png")} == some(run)


def test_a_variant_and_its_run_never_write_into_each_others_folder(few, tmp_path):
    run = Run(tmp_path / "run", few, small(**SCALES))
    run_study(run)
    before = snapshot(run.folder)
    again = Run(run.folder, few, run.settings)
    for changes in (
        {"only": some(run)}, {"image_size": 96}, {"leave_out": "Abyssinian"}, {"lr": 1e-3}
    ):
        variant = again.variant("-".join(changes), **changes)
        variant.model_scores(*SOURCE)
        assert variant.folder.parent == run.folder / "variants"
        assert (variant.model_folder(*SOURCE) / "model.safetensors").is_file()
        assert snapshot(run.folder) == before, changes
    variants = snapshot(run.folder / "variants")
    shutil.rmtree(run.masks_folder(SOURCE[0]))
    Run(run.folder, few, run.settings.replace(epochs=2)).model_scores(*SOURCE)
    assert snapshot(run.folder / "variants") == variants


def test_a_variant_reads_its_parents_features_where_they_are_the_same(done):
    run = Run(done.folder, done.data_root, done.settings)
    same, big = run.variant("lr", lr=1e-3), run.variant("big", image_size=96)
    inner = same.variant("inner", only=some(run))
    assert same.features.folder == inner.features.folder == run.folder / "features"
    assert same.features_key == inner.features_key == run.features_key != big.features_key
    assert big.features.folder == big.folder / "features"
    assert (big.features.map("final").shape[-1], run.features.map("final").shape[-1]) == (3, 2)
    assert inner.only == same.variant("x", only=some(run)).only and len(inner.ids) == 9


def test_nothing_is_learnt_from_a_breed_that_is_left_out(few, tmp_path):
    run = Run(tmp_path, few, small(**SCALES, leave_out="Abyssinian"))
    left = {s.id for s in run.pets.split("left_out")}
    assert len(left) == 3 and left <= set(run.masks(SOURCE[0])["ids"])
    assert not left & set(run.context.train_labels) and not left & run.val_ids
    assert read_json(run.model(*SOURCE) / "config.json")["n_images"] == 6 - len(run.val_ids)


def _variant_at_once(folder: Path, root: Path, ready, go) -> None:
    run = Run(folder, root, small(**SCALES))
    variant = run.variant("some", only=some(run))
    ready.set()
    go.wait(120)
    variant.model_scores(*SOURCE)


def test_a_run_and_its_variant_at_once_both_finish(few, done, tmp_path):
    context = process_context()
    ready, go = context.Event(), context.Event()
    run = Run(tmp_path / "run", few, small(**SCALES))
    other = context.Process(target=_variant_at_once, args=(run.folder, few, ready, go))
    other.start()
    try:
        assert ready.wait(120)
        go.set()
        run.model_scores(*SOURCE)
        other.join(120)
        assert other.exitcode == 0
    finally:
        other.kill()
    assert equal(run.model_folder(*SOURCE), done.model_folder(*SOURCE))
    model = run.folder / "variants" / "some" / "models" / "-".join(SOURCE)
    assert len(pd.read_csv(model / "scores.csv")) == 9


# --- reading and waiting


def test_complete_results_are_read_while_another_process_writes(done, rounds, monkeypatch):
    before = snapshot(done.folder)
    monkeypatch.setattr(cache, "locked", lambda *a: pytest.fail("it would wait"))
    with every_lock(done), every_lock(rounds):
        run = Run(done.folder, done.data_root, done.settings)
        assert run.features.ids == done.ids
        assert run.more_features(1.5).map("final").shape[-1] == 3
        assert run.masks(SOURCE[0])["source"] == SOURCE[0]
        assert run.model(*SOURCE) == done.folder / "models" / "-".join(SOURCE)
        assert len(run.model_scores(*SOURCE).photos) == len(run.mask_scores(SOURCE[0]).photos) == 12
        run.baseline_scores("all_ones")
        other = Run(rounds.folder, rounds.data_root, rounds.settings)
        assert [r.number for r in other.rounds(*FREE)] == [0, 1]
        other.model_scores(*FREE)
        assert reopen(done.folder).features.passes == 24
    assert snapshot(done.folder) == before


def test_others_can_read_what_a_run_leaves(done):
    umask = os.umask(0)
    os.umask(umask)
    files = [done.folder / f for f in snapshot(done.folder) if not f.endswith(".lock")]
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in files}
    assert "model.safetensors" in modes and set(modes.values()) == {0o666 & ~umask}


# --- settings


def test_epochs_can_be_saved_afterwards(few, rounds, tmp_path):
    settings = small(**ROUNDS, save_epochs=False)
    plain = Run(tmp_path, few, settings)
    for source in ("ground_truth", "imagenet_only"):
        folder = plain.model(source, "species")
        assert not (folder / "epochs").exists()
        kept = shutil.copytree(folder, tmp_path / "before" / source)
        saving = Run(tmp_path, few, settings.replace(save_epochs=True))
        assert saving.model(source, "species") == folder
        epochs = len(list((folder / "epochs").iterdir()))
        assert epochs == read_json(folder / "config.json")["epochs"]
        assert equal(folder, kept)  # the same model, trained again
    assert all((r.model / "epochs").is_dir() for r in saving.rounds(*FREE))


def test_nearly_all_of_train_may_be_val(few, tmp_path):
    run = Run(tmp_path, few, small(**SCALES, val_fraction=0.95))
    config = read_json(run.model(*SOURCE) / "config.json")
    assert config["n_images"] == 4 == len(run.val_ids)  # of each breed's two photos one is left


@pytest.mark.parametrize("where", ["train", "val"])
def test_ground_truth_takes_the_trimaps_that_there_are(where, rendered, tmp_path):
    """Without one in val the last epoch is kept; those of val alone are learnt from."""
    data, settings = few_photos(rendered, tmp_path / "data"), small(labels="species")
    train, val = Run(tmp_path / "whole", data, settings).taught("ground_truth")
    keep = {s.id for s in {"train": train, "val": val}[where][:3]}
    run = Run(tmp_path / "run", drop_trimaps(data, keep), settings)
    learnt, held_out = run.taught("ground_truth")
    assert {s.id for s in learnt} == keep and held_out == []
    assert [len(part) for part in run.taught("gradcam_finetuned")] == [4, 4]
    config = read_json(run.model("ground_truth", "species") / "config.json")
    assert config["n_images"] == 3 and config["val_mask_iou"] is None
    assert config["best_epoch"] == settings.training.epochs
    assert sorted(run.masks("ground_truth")["ids"]) == sorted(keep)


def test_a_trimap_that_goes_moves_what_depends_on_it_and_nothing_else(rendered, tmp_path):
    data = few_photos(rendered, tmp_path / "data")
    before = Run(tmp_path / "run", data, small()).keys
    ids = list(Run(tmp_path / "run", data, small()).ids)
    after = Run(tmp_path / "run", drop_trimaps(data, ids[1:]), small()).keys
    assert after.features == before.features and after.ids == before.ids
    for source in ("gradcam_finetuned", "mask_rcnn_compact"):
        assert after.masks(source) == before.masks(source)
        assert after.model(source, "breed") == before.model(source, "breed")
    assert after.start(*FREE) == before.start(*FREE)
    assert after.masks("ground_truth") != before.masks("ground_truth")
    assert after.scores("all_ones") != before.scores("all_ones")


def test_self_training_from_a_few_trimaps_predicts_all_of_train(rendered, tmp_path):
    settings = small(**ROUNDS | dict(sources="ground_truth", round_refinement="pamr"))
    data = few_photos(rendered, tmp_path / "data")
    keep = {s.id for s in Run(tmp_path / "whole", data, settings).pets.split("train")[::3]}
    run = Run(tmp_path / "run", drop_trimaps(data, keep), settings)
    first, last = run.rounds("ground_truth", "species")
    assert 1 <= first.n_images < len(keep) == 3 and last.n_images > len(keep)
    assert len(list(last.masks.glob("*.png"))) == 8 and 0 <= last.agreement <= 1


def test_without_val_a_model_learns_from_all_of_train_and_says_that_there_is_none(few, tmp_path):
    settings = small(val_fraction=0, labels="species")
    run = Run(tmp_path, few, settings)
    config = read_json(run.model("ground_truth", "species") / "config.json")
    assert run.val_ids == frozenset() and config["n_images"] == 8
    assert config["val_mask_iou"] is None and config["best_epoch"] == settings.training.epochs
    history = pd.read_csv(run.model_folder("ground_truth", "species") / "history.csv")
    assert history["val_mask_iou"].isna().all() and history["loss"].notna().all()
    with pytest.raises(ValueError, match="val_fraction=0 leaves no photo"):
        run.masks("gradcam_pretrained")


@pytest.mark.parametrize(
    "bad, says",
    [(dict(backbone="resnet18"), "efficientnet_lite0"), (dict(sources="cam"), "unknown source"),
     (dict(sources="ground_truth,external"), "external_masks"), (dict(cam="gradcam2"), "gradcam"),
     (dict(refinement="sharpen"), "unknown sharpen"),
     (dict(refinement="auto,walk"), "stands alone"),
     (dict(refinement="auto", selection_criteria="iou"), "selection_criteria"),
     (dict(ROUNDS, round_refinement=""), "round_refinement is empty"),
     (dict(ROUNDS, round_refinement="multiscale"), "asks for other views"),
     (dict(device="cuda:77"), "no such device")],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_made(bad, says, few, tmp_path):
    with pytest.raises(ValueError, match=says):
        Run(tmp_path / "run", few, small(**bad))
    assert not (tmp_path / "run").exists()


def test_labels_that_a_source_does_not_have_are_refused(done):
    with pytest.raises(ValueError, match="imagenet_only has no breed labels: labels=species"):
        done.model("imagenet_only", "breed")


def test_a_pass_is_taken_from_another_run(done, tmp_path):
    write_json(tmp_path / FEATURES_FROM, [str(done.folder / "features")])
    run = Run(tmp_path, done.data_root, done.settings)
    assert run.features.folder == done.folder / "features"
    assert run.more_features(1.5).folder.parent == done.folder / "features"
    other = Run(tmp_path, done.data_root, done.settings.replace(image_size=96))
    assert other.features.folder == tmp_path / "features"


def test_a_damaged_pass_of_another_run_is_not_written_to(done, tmp_path):
    """That run mends it, also for its variants."""
    owner = Run(tmp_path / "owner", done.data_root, done.settings)
    shutil.copytree(done.folder / "features", folder := owner.folder / "features")
    whole, file = (folder / "final.npy").read_bytes(), folder / "final.npy"
    file.write_bytes(damaged := whole[:-1] + bytes([whole[-1] ^ 1]))
    reader = Run(tmp_path / "reader", done.data_root, done.settings)
    write_json(reader.folder / FEATURES_FROM, [str(folder)])
    with pytest.raises(OSError, match=f"another run's, which is only read: delete {folder}, and"):
        reader.features.batch("final", list(reader.ids))
    assert file.read_bytes() == damaged
    variant = owner.variant("other", epochs=2)
    variant.features.batch("final", list(variant.ids))
    assert file.read_bytes() == whole


def test_open_run_takes_names_and_settings(few, tmp_path):
    run = open_run("embedded", tmp_path / "run", few, epochs="3")
    assert (run.folder, run.data_root) == (tmp_path / "run", few)
    assert run.settings.training.epochs == 3 and not run.folder.exists()


def test_rendered_pets_that_are_complete_are_opened_without_a_lock(tmp_path, monkeypatch):
    """The lock file could not be made in a folder that is read-only."""
    note = tmp_path / "oxford-iiit-pet" / "annotations" / "rendered.json"
    monkeypatch.setitem(DATA_ROOTS, "embedded", str(tmp_path))
    drawn = []
    monkeypatch.setattr("petweak.study.run.make_rendered", drawn.append)
    write_json(note, {"complete": True})
    assert open_run("embedded", tmp_path / "run").data_root == tmp_path and drawn == []
    assert [p.name for p in tmp_path.iterdir()] == ["oxford-iiit-pet"]
    write_json(note, {"complete": False})
    open_run("embedded", tmp_path / "run")
    assert drawn == [tmp_path]


def test_a_folder_of_somebody_else_is_no_run(few, done, tmp_path):
    """`--run` on a folder with a user's own results replaced and deleted them (issue 12)."""
    mine = {"results.csv": "a,b\n", "run.json": '{"my": "run"}', "masks/external/a.png": "mine"}
    for name, text in mine.items():
        folder = tmp_path / name.replace("/", "-")
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text)
        there = name.split("/")[0]
        with pytest.raises(ValueError, match=f"{folder} is not a run of petweak, and has {there}:"):
            open_run("embedded", folder, few)
        assert [p.name for p in folder.iterdir()] == [there]
        assert (folder / name).read_text() == text
    with pytest.raises(ValueError, match="a run needs a new or an empty folder"):
        open_run("embedded", folder / name, few)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".DS_Store").touch()
    for folder in ("empty", "new"):
        open_run("embedded", tmp_path / folder, few)


def test_masks_are_not_read_from_where_they_are_written(few, tmp_path):
    """They were deleted before they were read (issue 12)."""
    mine = tmp_path / "masks" / "external"
    mine.mkdir(parents=True)
    (mine / "a.png").write_bytes(b"mine")
    (tmp_path / "linked").symlink_to(mine)
    for folder in (mine, tmp_path / "linked"):
        run = Run(tmp_path, few, small(sources="external", external_masks=str(folder)))
        with pytest.raises(ValueError, match="petweak writes the masks of external there"):
            run.masks("external")
    assert (mine / "a.png").read_bytes() == b"mine"


@pytest.mark.parametrize("left", ["run.json", "data.json", MARK])
def test_a_run_is_known_by_what_is_left_of_it(few, tmp_path, left):
    Run(tmp_path, few, small()).pets  # noqa: B018
    for name in {"run.json", "data.json", MARK} - {left}:
        (tmp_path / name).unlink()
    (tmp_path / "results.csv").touch()
    assert open_run("embedded", tmp_path, few).folder == tmp_path  # and is not refused


# --- opened again, on this device or another


def all_keys(run: Run) -> tuple[str, ...]:
    return (run.features_key, run.keys.masks(SOURCE[0]), run.keys.masks("mask_rcnn_compact"),
            run.keys.model(*SOURCE), run.keys.rounds(*FREE))


def test_a_run_is_opened_again_as_it_was_made(done):
    run = reopen(done.folder)
    assert run.settings == done.settings and run.data_root == done.data_root
    assert all_keys(run) == all_keys(done)
    with pytest.raises(FileNotFoundError, match="petweak study --run"):
        reopen(done.folder / "nothing")


def test_looking_at_a_run_of_another_device_makes_nothing_again(few, tmp_path):
    made = Run(tmp_path, few, small(**SCALES), device="cuda")
    there = all_keys(made)  # writes run.json
    about = read_json(tmp_path / "run.json")
    assert about["device"] == "cuda"
    here = all_keys(Run(tmp_path / "here", few, small(**SCALES)))
    assert not set(here) & set(there)
    for asked in ("auto", "cuda:77", "mps"):  # what stood in the settings where it was made
        about["settings"]["system"]["device"] = asked
        write_json(tmp_path / "run.json", about)
        run = reopen(tmp_path)
        assert run.device.type in ("cpu", "cuda") and all_keys(run) == there
        assert all_keys(run.variant("v", only=some(run)).features_run) == there


# --- killed


def _killed_everywhere(folder: Path, root: Path) -> None:
    """Die by SIGKILL in the pass, in the masks and in the training; leave what is there then."""

    def dies_in(module, name: str, calls: int) -> Callable:
        real, count = getattr(module, name), 0

        def counted(*args, **kwargs):
            nonlocal count
            count += 1
            if count == calls:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return counted

    # The second batch's note, the fifth mask, the second epoch's checkpoint.
    for module, name, calls in ((feature_cache, "write_json", 2), (store, "write_mask", 5),
                                (trainer, "_save", 2)):
        if (child := os.fork()) == 0:
            setattr(module, name, dies_in(module, name, calls))
            Run(folder, root, small(**SCALES | dict(epochs=3))).model_scores(*SOURCE)
            os._exit(1)  # it has survived
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, name


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs SIGKILL and fork")
def test_killed_at_any_stage_it_ends_with_the_same_tensors_and_results(few, tmp_path):
    killed, alone = (Run(tmp_path / name, few, small(**SCALES | dict(epochs=3)))
                     for name in ("killed", "alone"))
    arguments = killed.folder, few
    process = process_context().Process(target=_killed_everywhere, args=arguments)
    process.start()
    process.join(240)
    assert process.exitcode == 0
    model = killed.model_folder(*SOURCE)
    assert (model / "checkpoint.safetensors").is_file() and not (model / "config.json").exists()
    masks = {p: p.stat().st_mtime_ns for p in killed.masks_folder(SOURCE[0]).glob("*.png")}
    for run in (killed, alone):
        run_study(run)
    for file in ("features/final.npy", "features/pooled.npy", "models/{}-{}/model.safetensors"):
        file = file.format(*SOURCE)
        assert (killed.folder / file).read_bytes() == (alone.folder / file).read_bytes(), file
    assert len(masks) == 12 and {p: p.stat().st_mtime_ns for p in masks} == masks
    tables = (pd.read_csv(r.folder / "results.csv", dtype=str) for r in (killed, alone))
    pd.testing.assert_frame_equal(*(t.drop(columns="seconds") for t in tables))
    assert not list(killed.folder.rglob("*.partial*"))


def test_a_killed_round_goes_on(rounds, tmp_path, monkeypatch):
    other = Run(tmp_path, rounds.data_root, rounds.settings)

    def killed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(self_training, "_next_masks", killed)
    with pytest.raises(KeyboardInterrupt):
        other.rounds(*FREE)
    monkeypatch.undo()
    first = tmp_path / "models" / "imagenet_only-species-round0" / "model.safetensors"
    before = first.stat().st_mtime_ns
    assert equal(other.model(*FREE), rounds.model(*FREE))
    assert first.stat().st_mtime_ns == before


def test_changed_masks_of_a_source_and_of_a_round_are_not_learnt_from(rounds, tmp_path):
    """They are set aside, the ones that teach are as they were, and so is what is learnt."""
    shutil.copytree(rounds.folder, tmp_path / "run")
    other = Run(tmp_path / "run", rounds.data_root, rounds.settings)
    last, result = other.rounds(*FREE)[-1], other.model(*FREE)
    for folder in (other.masks_folder(FREE[0]), last.masks):
        file = sorted(folder.glob("*.png"))[0]
        before = file.read_bytes()
        Image.fromarray(255 - np.asarray(Image.open(file))).save(file)
        changed = file.read_bytes()
        shutil.rmtree(last.model)
        shutil.rmtree(result)
        again = Run(other.folder, rounds.data_root, rounds.settings)
        assert equal(again.model(*FREE), rounds.model(*FREE))
        assert file.read_bytes() == before
        assert file.with_name(f"{file.name}.kept").read_bytes() == changed


# --- self-training


def test_only_the_last_round_depends_on_the_background_threshold(rounds, tmp_path):
    """Two conventions, one folder: the rounds before the last are those that are there."""
    shutil.copytree(rounds.folder, tmp_path / "run")

    def times(threshold: float) -> list[int]:
        settings = rounds.settings.replace(background_threshold=threshold)
        run = Run(tmp_path / "run", rounds.data_root, settings)
        config = read_json(run.model(*FREE) / "config.json")
        assert config["variant"] == ("round1-wide" if threshold < 0.5 else "round1")
        return [(r.model / "model.safetensors").stat().st_mtime_ns for r in run.rounds(*FREE)]

    wide, tight, again = times(0.05), times(0.5), times(0.05)
    assert wide[0] == tight[0] == again[0]
    assert len({wide[1], tight[1], again[1]}) == 3


def test_the_last_masks_take_in_what_the_model_before_gives_more_than_the_threshold(rounds):
    before, last = rounds.rounds(*FREE)
    ids = [s.id for s in rounds.pets.split("train")][:3]
    targets = load_targets(last.masks, ids, [0] * 3, 32)
    settings = self_training.round_settings(rounds.settings)
    wide = self_training.widened(targets, before.model, settings, rounds.context)
    predictions = rounds.predictions(rounds.predictor(before.model), ids)
    for old, new, i in zip(targets.masks, wide.masks, ids, strict=True):
        by_hand = np.where(predictions[i].soft > 0.05, 255, old.numpy())
        assert (new.numpy() == by_hand).all()
    assert torch.equal(wide.valid, targets.valid) and not torch.equal(wide.masks, targets.masks)


def test_rounds_of_other_settings_leave_the_table(rounds, tmp_path):
    shutil.copytree(rounds.folder, tmp_path / "run")
    other = Run(tmp_path / "run", rounds.data_root, rounds.settings.replace(seed=5))
    assert other.open_rounds(*FREE) is None and collect_results(other)["round"].isna().all()
    same = Run(tmp_path / "run", rounds.data_root, rounds.settings)
    assert collect_results(same)["round"].notna().any()


# --- what a second review has asked for


def test_nothing_of_another_devices_run_is_made_here(done, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(done.folder, folder)
    elsewhere = Run(folder, done.data_root, done.settings, device="cuda")
    before = (folder / "run.json").read_bytes()
    with pytest.raises(ValueError, match="was made on cuda"):
        elsewhere.masks("gradcam_pretrained")  # its key is another one, so they are missing
    elsewhere.write_about(elsewhere.pets)
    assert (folder / "run.json").read_bytes() == before


def test_a_run_of_an_older_version_is_named_and_its_models_are_passed_over(done, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(done.folder, folder)
    old = folder / "models" / "labels_free-species"
    write_json(old / "config.json", {"key": "k", "source": "labels_free", "labels": "species"})
    assert old not in finished_models(folder) and len(finished_models(folder)) == 1
    write_json(folder / "run.json", {"settings": {"taps": ["last"]}, "data_root": "d"})
    with pytest.raises(ValueError, match="older version"):
        reopen(folder)


def test_what_the_rounds_came_to_is_no_single_round(rounds):
    result, last = rounds.self_trained(*FREE), rounds.rounds(*FREE)[-1].model
    assert read_json(last / "config.json")["variant"].endswith("-wide")
    every, results = (finished_models(rounds.folder, r) for r in (True, False))
    assert {result, last} <= set(every)
    assert result in results and last not in results


def test_epochs_that_are_missing_are_saved_by_training_again(few, done, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(done.folder, folder)
    run = Run(folder, few, done.settings)
    model = run.model(*SOURCE)
    (epoch,) = trainer.saved_epochs(model).values()
    content = epoch.read_bytes()
    epoch.unlink()
    again = Run(folder, few, done.settings).model(*SOURCE)
    assert equal(again, done.model(*SOURCE)) and epoch.read_bytes() == content


def test_a_set_of_which_no_test_photo_can_be_read_is_refused_before_any_work(rendered, tmp_path):
    few = few_photos(rendered, tmp_path / "data")
    for s in read_pets(few).split("test"):
        s.photo.write_bytes(b"")
    run = Run(tmp_path / "run", few, small(sources="ground_truth", labels="species"))
    with pytest.raises(ValueError, match="no photo of test .* can be used"):
        run.mask_scores("ground_truth")
    assert not (run.folder / "features").exists() and not (run.folder / "masks").exists()


def test_a_doubt_of_the_data_is_logged_and_kept(rendered, tmp_path, caplog):
    few = few_photos(rendered, tmp_path / "data")
    for s in read_pets(few).samples:
        trimap = load_trimap(s.trimap)
        Image.fromarray(np.array([0, 2, 1, 3], np.uint8)[trimap]).save(s.trimap)
    for _ in range(2):  # the second one opens no picture
        caplog.clear()
        pets = Run(tmp_path / "run", few, small()).pets
        assert len(pets.doubts) == 1 and caplog.text.count("are 1 and 2 exchanged?") == 1
