"""The whole study on a small set: passes counted, work not repeated, bad files survived."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch
from conftest import SMALL, small
from safetensors import safe_open
from safetensors.torch import load_file

from petweak.files import read_json
from petweak.results import COLUMNS, collect_results, figure, read_results, run_study
from petweak.runs import TIMINGS
from petweak.study import Run


@pytest.fixture(scope="module")
def done(rendered, tmp_path_factory):
    """A finished study of four sources x two labels."""
    run = Run(tmp_path_factory.mktemp("study") / "run", rendered, small())
    run_study(run)
    return run


def timings(run) -> pd.DataFrame:
    return pd.read_csv(run.folder / "timings.csv")


def test_the_backbone_runs_once_per_photo_and_view(done):
    photos = len(done.pets)
    assert done.backbone.passes == 2 * photos == 2 * 37 * 3
    row = timings(done).query("stage == 'features'")
    assert row.n_images.tolist() == [2 * photos]
    students = [p.name for p in (done.folder / "models").iterdir()]
    assert len(students) == 8


def test_columns_are_the_studys(done):
    header = (done.folder / "results.csv").read_text().splitlines()[0]
    assert header == (
        "profile,dataset,backbone,source,labels,split,border,metric,value,low,high,"
        "n_images,seed,seconds,round"
    )
    assert header.split(",") == list(COLUMNS)
    header = (done.folder / "timings.csv").read_text().splitlines()[0]
    assert header == "stage,source,labels,n_images,seconds,images_per_second,peak_rss_mb"
    assert header.split(",") == list(TIMINGS)


def test_results_hold_every_figure_of_the_grid(done):
    r = read_results(done.folder)
    students = r[r.labels != "-"]
    for (_, _, split), part in students.groupby(["source", "labels", "split"]):
        assert split in ("train", "test")
        for metric in ("mask_iou_gt", "pseudo_iou_gt", "dataset_iou_gt", "boundary_iou_gt"):
            borders = part[part.metric == metric].border.tolist()
            assert sorted(borders) == ["background", "ignore", "pet"]
        for metric in ("class_iou", "class_accuracy", "mask_iou"):
            assert len(part[part.metric == metric]) == 1
    assert (r.low <= r.value).all() and (r.value <= r.high).all()
    assert r.value.between(0, 1).all()
    assert set(r[r.labels == "-"].source) == {"all_ones", "centre_box"}
    assert figure(r, "pseudo_iou_gt", source="ground_truth", labels="breed", border="pet") == 1


def test_own_mask_is_ground_truth_for_ground_truth(done):
    r = read_results(done.folder)
    where = dict(source="ground_truth", labels="breed")
    assert figure(r, "mask_iou", **where) == figure(r, "mask_iou_gt", border="pet", **where)


def test_a_second_study_does_no_work(done, rendered, monkeypatch):
    before = {p: p.read_bytes() for p in done.folder.rglob("*.csv")}
    for name in ("petweak.students.train_student", "petweak.stages.make_masks"):
        monkeypatch.setattr(name, lambda *a, **k: pytest.fail("finished work was done again"))
    again = Run(done.folder, rendered, small())
    run_study(again)
    assert "backbone" not in vars(again) or again.backbone.passes == 0
    after = {p: p.read_bytes() for p in done.folder.rglob("*.csv")}
    assert after == before


def test_what_is_deleted_comes_back_the_same(done, rendered, tmp_path):
    shutil.copytree(done.folder, tmp_path / "run")
    folder = tmp_path / "run"
    mask = next((folder / "masks" / "gradcam_pretrained").glob("*.png"))
    (folder / "models" / "gradcam_pretrained-breed" / "model.safetensors").unlink()
    (folder / "results.csv").unlink()
    (folder / "timings.csv").unlink()
    mask.unlink()
    run_study(Run(folder, rendered, small()))
    for file in ("models/gradcam_pretrained-breed/model.safetensors", mask.relative_to(folder)):
        assert (folder / file).read_bytes() == (done.folder / file).read_bytes()
    assert_same_results(folder, done.folder)
    stages = ["stage", "source", "labels", "n_images"]
    back, before = (pd.read_csv(f / "timings.csv")[stages] for f in (folder, done.folder))
    assert sorted(map(tuple, back.values)) == sorted(map(tuple, before.values))


def test_a_changed_setting_remakes_what_depends_on_it_and_nothing_else(done, rendered, tmp_path):
    shutil.copytree(done.folder, tmp_path / "run")
    old = Run(tmp_path / "run", rendered, small())
    new = Run(tmp_path / "run", rendered, small(threshold="0.3"))
    assert new.features_key == old.features_key
    assert new.masks_key("ground_truth") == old.masks_key("ground_truth")
    assert new.masks_key("gradcam_pretrained") != old.masks_key("gradcam_pretrained")
    changed = Run(tmp_path / "run", rendered, small(epochs=1))
    assert changed.masks_key("gradcam_pretrained") == old.masks_key("gradcam_pretrained")
    assert changed.student_key("mask_rcnn", "breed") != old.student_key("mask_rcnn", "breed")
    # scores of other settings stay out of the table
    assert set(collect_results(changed).source) == {"all_ones", "centre_box"}


def test_two_unreadable_photos_do_not_stop_a_study(rendered, tmp_path):
    shutil.copytree(rendered, tmp_path / "data")
    images = sorted((tmp_path / "data" / "oxford-iiit-pet" / "images").glob("*.jpg"))
    images[0].write_bytes(b"")
    images[40].write_bytes(images[40].read_bytes()[:500])
    run = Run(tmp_path / "run", tmp_path / "data",
              small(sources=("gradcam_pretrained",), labels=("species",)))  # fmt: skip
    results = run_study(run)
    bad = pd.read_csv(tmp_path / "run" / "quarantine.csv")
    assert sorted(bad.id) == sorted(p.stem for p in (images[0], images[40]))
    counts = results[results.metric == "mask_iou_gt"].groupby("split").n_images.first()
    assert counts.sum() == 37 * 3 - 2


def assert_same_results(one, other):
    """Equal to the last digit, but for measured seconds."""
    tables = [
        pd.read_csv(f / "results.csv", dtype=str).drop(columns="seconds") for f in (one, other)
    ]
    pd.testing.assert_frame_equal(*tables)


def test_killed_at_any_stage_it_ends_with_the_same_tensors_and_results(rendered, tmp_path):
    """SIGKILL during the pass, the masks and the training; then the run is left alone."""
    chosen = SMALL | {"epochs": 4, "pass_batch": 4, "bootstrap": 5}
    command = [sys.executable, "-m", "petweak.cli", "train", "--profile", "embedded",
               "--data-root", str(rendered), "--source", "gradcam_finetuned",
               "--labels", "species",
               "--set", *(f"{k}={v}" for k, v in chosen.items())]  # fmt: skip
    killed, alone = tmp_path / "killed", tmp_path / "alone"
    signs = ("features.partial/progress.json", "masks/gradcam_finetuned/progress.json",
             "models/gradcam_finetuned-species/checkpoint.safetensors")  # fmt: skip
    masks = killed / "masks" / "gradcam_finetuned"
    for sign in signs:
        process = subprocess.Popen([*command, "--run", str(killed)], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not (killed / sign).exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        assert process.poll() is None, f"{sign}: the run ended before it could be killed"
        process.kill()
        process.wait()
    finished = {p: p.stat().st_mtime_ns for p in masks.glob("*_*.png")}
    with safe_open(killed / signs[-1], "pt") as checkpoint:
        epochs = json.loads(checkpoint.metadata()["history"])
    for folder in (killed, alone):
        subprocess.run([*command, "--run", str(folder)], check=True, capture_output=True)
    file = "models/gradcam_finetuned-species/model.safetensors"
    assert (killed / file).read_bytes() == (alone / file).read_bytes()
    assert_same_results(killed, alone)
    # what was finished was not done again: the masks are the files of then, and an epoch that was
    # trained before the kill still has the seconds that it took then
    assert finished and {p: p.stat().st_mtime_ns for p in finished} == finished
    history = pd.read_csv(killed / "models" / "gradcam_finetuned-species" / "history.csv")
    assert (
        epochs
        and [round(e["seconds"], 6) for e in epochs] == history.seconds[: len(epochs)].tolist()
    )


def test_a_resumed_training_goes_on_with_the_scale_of_mixed_precision(
    rendered, tmp_path, monkeypatch
):
    """A scaler that doubles at every step, on the CPU: three steps an epoch, of two epochs."""
    from petweak.maskformer import train

    scalers = []

    def scaler(device, enabled):
        scalers.append(torch_scaler(device, init_scale=4.0, growth_interval=1, enabled=True))
        return scalers[-1]

    torch_scaler, save = torch.amp.GradScaler, train._save
    monkeypatch.setattr(torch.amp, "GradScaler", scaler)
    monkeypatch.setattr(train, "_save", lambda *a: (save(*a), stop())[0])

    def stop():
        raise KeyboardInterrupt

    run = Run(tmp_path / "run", rendered, small())
    with pytest.raises(KeyboardInterrupt):
        run.student("ground_truth", "species")
    monkeypatch.setattr(train, "_save", save)
    run.student("ground_truth", "species")
    assert [s.get_scale() for s in scalers] == [4.0 * 2**3, 4.0 * 2**6]


def test_bfloat16_comes_near_to_float32_and_dropout_is_for_petweak_plus(rendered, tmp_path):
    own = dict(sources="ground_truth", labels="species", taps="last,stride16", epochs=1)
    losses = {}
    for precision in ("float32", "bfloat16"):
        run = Run(tmp_path / precision, rendered, small(precision=precision, **own))
        folder = run.student("ground_truth", "species")
        losses[precision] = pd.read_csv(folder / "history.csv")["loss"].iloc[-1]
        assert read_json(folder / "config.json")["model"]["dropout"] == run.settings.plus_dropout
        weights = load_file(folder / "model.safetensors").values()
        assert {w.dtype for w in weights} == {torch.float32}
    assert losses["float32"] == pytest.approx(losses["bfloat16"], rel=0.05)
    assert losses["float32"] != losses["bfloat16"]
    plain = Run(tmp_path / "float32", rendered, small(**own | {"taps": "last"}))
    config = read_json(plain.student("ground_truth", "species") / "config.json")
    assert config["model"]["dropout"] == 0


def test_a_loss_that_is_no_number_names_the_photos(rendered, tmp_path):
    run = Run(tmp_path / "run", rendered, small(lr=1e30, clip=1e30))
    with pytest.raises(FloatingPointError, match="_[0-9]+"):
        run.student("ground_truth", "species")


def test_models_are_safetensors_and_their_config_says_what_they_are(done):
    folder = done.student_folder("ground_truth", "breed")
    tensors = load_file(folder / "model.safetensors")
    assert all(torch.isfinite(t).all() for t in tensors.values())
    config = read_json(folder / "config.json")
    assert config["model"]["num_classes"] == 37 == len(config["classes"])
    history = pd.read_csv(folder / "history.csv")
    assert history.epoch.tolist() == [1, 2]
    best = history.set_index("epoch").val_mask_iou
    assert config["best_epoch"] == best[best == best.max()].index[-1]


def test_without_val_a_student_learns_from_all_of_train_and_keeps_its_last_epoch(
    rendered, tmp_path
):
    run = Run(tmp_path, rendered, small(val_fraction=0, sources="ground_truth", labels="species"))
    config = json.loads((run.student("ground_truth", "species") / "config.json").read_text())
    assert config["photos"] == len(run.pets.split("train"))
    assert config["best_epoch"] == run.settings.epochs and run.val_ids == frozenset()
    with pytest.raises(ValueError, match="val_fraction=0 leaves no photo"):
        Run(tmp_path, rendered, small(val_fraction=0)).masks("gradcam_pretrained")
