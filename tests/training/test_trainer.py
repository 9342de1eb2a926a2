"""Training on maps made by hand: it learns, keeps the best epoch, resumes exactly, and says what it
did."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import small
from safetensors.torch import load_file
from toy import CHANNELS, CPU, make_features, names, number, square_targets

from petweak.data.feature_cache import Features
from petweak.data.files import read_json, signed, write_text
from petweak.evaluation.metrics import iou
from petweak.models.maskformer import MaskFormer, MaskFormerConfig
from petweak.training import trainer
from petweak.training.inference import load_model, predict_features
from petweak.training.targets import Targets, no_targets
from petweak.training.trainer import (
    cached_maps,
    is_trained,
    learning_rate,
    publish,
    saved_epochs,
    train_model,
)

ABOUT = {"source": "squares", "labels": "species", "variant": "", "round": None}
META = torch.device("meta")


@pytest.fixture(scope="module")
def targets(tmp_path_factory) -> Targets:
    return square_targets(tmp_path_factory.mktemp("squares"))


def train(folder: Path, targets: Targets, val: int = 4, key: str = "key", **changes) -> dict:
    """The last `val` photos are held out."""
    settings = small(save_epochs=False, **changes)
    features = make_features(targets.ids, settings)
    n = len(targets.ids) - val
    held_out = targets.take(range(n, n + val)) if val else no_targets()
    return train_model(
        features,
        targets.take(range(n)),
        held_out,
        ("cat", "dog"),
        settings,
        folder,
        key,
        CPU,
        ABOUT,
    )


def tensors(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_it_learns_masks_and_classes_of_photos_that_it_has_not_seen(tmp_path, targets):
    """Photos are mirrored in training with their targets: a square would otherwise be on the other
    side."""
    levels = "final,penultimate,stride16,stride8"
    config = train(
        tmp_path, targets, epochs=40, lr=5e-3, batch_size=4, levels=levels, channel_dropout=0
    )
    assert config["val_mask_iou"] > 0.75
    history = pd.read_csv(tmp_path / "history.csv")
    assert history["loss"].iloc[-1] < 0.5 * history["loss"].iloc[0]
    assert np.allclose(history["loss"], history[["class", "mask", "dice"]].sum(axis=1), atol=1e-5)
    features = make_features(targets.ids, small())
    predictions = dict(predict_features(load_model(tmp_path), features, targets.ids[-4:]))
    assert all(p.classes.argmax() == number(i) % 2 for i, p in predictions.items())


def test_the_terms_of_an_epoch_are_means_over_its_photos(tmp_path, targets, monkeypatch):
    """As the steps gave them, in batches of 5, 5 and 2."""
    taken, step = [], trainer.train_step

    def noted(*args):
        terms = step(*args)
        taken.append((len(args[3]), {k: float(v) for k, v in terms.items()}))
        return terms

    monkeypatch.setattr(trainer, "train_step", noted)
    train(tmp_path, targets, epochs=1, batch_size=5)
    (row,) = pd.read_csv(tmp_path / "history.csv").to_dict("records")
    assert [n for n, _ in taken] == [5, 5, 2]
    for term in ("class", "mask", "dice"):
        assert row[term] == round(sum(terms[term] * n / 12 for n, terms in taken), 6)


def test_photos_are_named_of_the_first_step_whose_loss_is_not_finite():
    ids, rows = ["a", "b", "c", "d"], (torch.tensor([2, 0]), torch.tensor([1]), torch.tensor([3]))
    terms = [{"mask": torch.tensor(x), "dice": torch.tensor(0.5)} for x in (1.0, 4.0, math.nan)]
    found = trainer.epoch_terms([*zip(rows, terms, strict=True)][:2], ids[:3], 0.1)
    assert found == pytest.approx({"mask": 2.0, "dice": 0.5})
    terms[1]["dice"] = torch.tensor(math.inf)
    with pytest.raises(FloatingPointError, match=r"inf .* on the photos b\. Lower lr \(0\.1\)"):
        trainer.epoch_terms([*zip(rows, terms, strict=True)], ids, 0.1)


def test_the_epoch_that_is_best_on_val_is_kept(tmp_path, targets):
    """model.safetensors gives the IoU that config.json and history.csv state, computed here
    again."""
    config = train(tmp_path, targets, epochs=8, lr=5e-3, batch_size=4, predict_mirror=False)
    history = pd.read_csv(tmp_path / "history.csv").set_index("epoch")["val_mask_iou"]
    assert config["best_epoch"] == history[history == history.max()].index[-1]
    predictions = predict_features(
        load_model(tmp_path), make_features(targets.ids, small()), targets.ids[-4:]
    )
    pairs = zip(predictions, targets.masks[-4:].numpy(), strict=True)
    ious = [iou(p.soft > 0.5, mask > 127) for (_, p), mask in pairs]
    assert np.mean(ious) == pytest.approx(config["val_mask_iou"], abs=1e-5)
    assert history.max() == pytest.approx(config["val_mask_iou"], abs=1e-5)


def test_what_the_folder_says_about_the_model(tmp_path, targets):
    config = train(tmp_path, targets)
    assert config == read_json(tmp_path / "config.json") | {
        "model": config["model"],
        "settings": config["settings"],
    }
    assert config["classes"] == ["cat", "dog"] and config["model"]["num_classes"] == 2
    assert (config["n_images"], config["epochs"], config["source"]) == (12, 2, "squares")
    header = (tmp_path / "history.csv").read_text().splitlines()[0]
    assert header == "epoch,loss,class,mask,dice,val_mask_iou,lr,seconds"
    assert {p.name for p in tmp_path.iterdir()} == {
        "config.json",
        "history.csv",
        "model.safetensors",
    }
    assert all(torch.isfinite(t).all() for t in load_file(tmp_path / "model.safetensors").values())


def test_without_val_the_last_epoch_is_kept_and_the_iou_is_empty(tmp_path, targets):
    config = train(tmp_path, targets, val=0, epochs=3)
    assert config["n_images"] == 16 and config["best_epoch"] == 3 and config["val_mask_iou"] is None
    rows = (tmp_path / "history.csv").read_text().splitlines()[1:]
    column = trainer.HISTORY.index("val_mask_iou")
    assert [r.split(",")[column] for r in rows] == ["", "", ""]


@pytest.mark.parametrize("val", [15, 0])
def test_any_share_of_photos_can_be_held_out(tmp_path, targets, val):
    """val_fraction near 1 leaves one photo to learn from."""
    assert train(tmp_path, targets, val=val, batch_size=4)["n_images"] == 16 - val


# --- what is there already


def test_a_model_is_trained_if_its_files_and_its_key_say_so(tmp_path, targets):
    assert not is_trained(tmp_path, "key")
    train(tmp_path, targets)
    assert is_trained(tmp_path, "key") and not is_trained(tmp_path, "another")
    (tmp_path / "history.csv").rename(tmp_path / "elsewhere.csv")
    assert not is_trained(tmp_path, "key")


def test_save_epochs_can_be_switched_on_afterwards_and_gives_the_same_model(tmp_path, targets):
    train(tmp_path, targets, epochs=3)
    before = tensors(tmp_path)
    assert is_trained(tmp_path, "key") and not is_trained(tmp_path, "key", save_epochs=True)
    settings = small(epochs=3, save_epochs=True)
    train_model(
        make_features(targets.ids, settings),
        targets.take(range(12)),
        targets.take(range(12, 16)),
        ("cat", "dog"),
        settings,
        tmp_path,
        "key",
        CPU,
        ABOUT,
    )
    assert tensors(tmp_path) == before
    assert is_trained(tmp_path, "key", save_epochs=True) and is_trained(tmp_path, "key")
    files = saved_epochs(tmp_path)
    best = read_json(tmp_path / "config.json")["best_epoch"]
    assert list(files) == [1, 2, 3]
    kept, half = load_file(tmp_path / "model.safetensors"), load_file(files[best])
    assert all(torch.equal(kept[k].half(), half[k]) for k in kept)


def test_a_published_model_is_the_same_under_another_key(tmp_path, targets):
    train(tmp_path / "round", targets)
    (tmp_path / "final").mkdir()
    write_text(tmp_path / "final" / "README.md", signed("of the model before"))
    publish(tmp_path / "round", tmp_path / "final", "published")
    assert is_trained(tmp_path / "final", "published") and is_trained(tmp_path / "round", "key")
    assert tensors(tmp_path / "final") == tensors(tmp_path / "round")
    assert not (tmp_path / "final" / "README.md").exists()


def test_whoever_shares_the_folder_can_read_the_model(tmp_path, targets):
    umask = os.umask(0o022)
    try:
        train(tmp_path, targets, epochs=1)
    finally:
        os.umask(umask)
    for name in ("model.safetensors", "config.json", "history.csv"):
        mode = (tmp_path / name).stat().st_mode
        assert mode & 0o444 == 0o444 & ~umask, name


# --- killed, and gone on with


class Killed(Exception):
    pass


def kill_after(monkeypatch, saves: int) -> None:
    save, count = trainer._save, []

    def stop(*args):
        save(*args)
        count.append(1)
        if len(count) == saves:
            raise Killed

    monkeypatch.setattr(trainer, "_save", stop)


@pytest.mark.parametrize("val", [4, 0])
def test_a_training_that_was_killed_ends_with_the_same_tensors(tmp_path, targets, monkeypatch, val):
    options = dict(
        val=val, epochs=4, batch_size=5, levels="final,stride16", transformer_dropout=0.2
    )
    train(tmp_path / "alone", targets, **options)
    kill_after(monkeypatch, 2)
    with pytest.raises(Killed):
        train(tmp_path / "killed", targets, **options)
    monkeypatch.undo()
    assert not is_trained(tmp_path / "killed", "key")
    train(tmp_path / "killed", targets, **options)
    assert tensors(tmp_path / "killed") == tensors(tmp_path / "alone")
    one, other = (
        pd.read_csv(tmp_path / f / "history.csv").drop(columns="seconds")
        for f in ("killed", "alone")
    )
    pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize("share", [0.02, 0.4, 0.7, 0.99])
def test_a_bit_that_flips_in_a_checkpoint_is_named_and_moves_no_number(
    share, tmp_path, targets, monkeypatch, caplog
):
    kill_after(monkeypatch, 1)
    with pytest.raises(Killed):
        train(tmp_path / "killed", targets)
    monkeypatch.undo()
    content = bytearray((file := tmp_path / "killed" / "checkpoint.safetensors").read_bytes())
    content[int(share * len(content))] ^= 4
    file.write_bytes(content)
    for folder in ("killed", "alone"):
        train(tmp_path / folder, targets)
    assert tensors(tmp_path / "killed") == tensors(tmp_path / "alone")
    (line,) = [r.getMessage() for r in caplog.records]
    assert str(file) in line and "damaged; it counts as missing" in line


def test_a_checkpoint_of_another_key_is_not_gone_on_with(tmp_path, targets, monkeypatch):
    kill_after(monkeypatch, 1)
    with pytest.raises(Killed):
        train(tmp_path / "killed", targets, key="before", lr=1e-2)
    monkeypatch.undo()
    for folder in ("killed", "alone"):
        train(tmp_path / folder, targets)
    assert tensors(tmp_path / "killed") == tensors(tmp_path / "alone")


def test_a_resumed_training_goes_on_with_the_scale_of_mixed_precision(
    tmp_path, targets, monkeypatch
):
    """A scaler that doubles at every step, on the CPU: three steps an epoch, of two epochs."""
    scalers, scaler = [], torch.amp.GradScaler

    def doubling(device, enabled):
        scalers.append(scaler(device, init_scale=4.0, growth_interval=1, enabled=True))
        return scalers[-1]

    monkeypatch.setattr(torch.amp, "GradScaler", doubling)
    with monkeypatch.context() as patch:
        kill_after(patch, 1)
        with pytest.raises(Killed):
            train(tmp_path, targets, batch_size=4)
    train(tmp_path, targets, batch_size=4)
    assert [s.get_scale() for s in scalers] == [4.0 * 2**3, 4.0 * 2**6]


# --- settings


def test_bfloat16_comes_near_to_float32_and_weights_stay_float32(tmp_path, targets):
    losses = {}
    for precision in ("float32", "bfloat16"):
        train(tmp_path / precision, targets, epochs=1, precision=precision)
        losses[precision] = pd.read_csv(tmp_path / precision / "history.csv")["loss"].iloc[-1]
        assert {
            t.dtype for t in load_file(tmp_path / precision / "model.safetensors").values()
        } == {torch.float32}
    assert losses["float32"] == pytest.approx(losses["bfloat16"], rel=0.05)
    assert losses["float32"] != losses["bfloat16"]


def test_dropout_is_as_set_and_channels_are_dropped_in_maskformer_ms_alone(tmp_path, targets):
    settings = dict(epochs=1, channel_dropout=0.3)
    plain, dropped = (
        train(tmp_path / str(p), targets, transformer_dropout=p, **settings) for p in (0, 0.5)
    )
    assert (plain["model"]["transformer_dropout"], dropped["model"]["transformer_dropout"]) == (
        0,
        0.5,
    )
    assert tensors(tmp_path / "0") != tensors(tmp_path / "0.5")
    ms = train(tmp_path / "ms", targets, levels="final,stride16", **settings)
    assert (plain["model"]["channel_dropout"], ms["model"]["channel_dropout"]) == (0, 0.3)


def test_a_loss_that_is_not_finite_names_the_photos(tmp_path, targets):
    with pytest.raises(FloatingPointError, match="pet_[0-9]+.*Lower lr"):
        train(tmp_path, targets, lr=1e30, clip=1e30)
    assert not is_trained(tmp_path, "key")


def test_the_ignore_region_teaches_nothing(tmp_path, targets):
    """With other masks where they are not valid: the same tensors."""
    valid = targets.valid.clone()
    valid[:, :8] = 0
    inverse = torch.where(valid > 0, targets.masks, 255 - targets.masks)
    one, other = (Targets.pack(targets.ids, targets.classes, zip(masks, valid, strict=True))
                  for masks in (targets.masks, inverse))
    train(tmp_path / "one", one)
    train(tmp_path / "other", other)
    assert tensors(tmp_path / "one") == tensors(tmp_path / "other")


def test_the_learning_rate_by_hand():
    onecycle, cosine = (small(lr=1.0, schedule=s) for s in ("onecycle", "cosine"))
    rates = [learning_rate(p, onecycle) for p in (0, 0.05, 0.1, 0.55, 1.0)]
    assert rates == pytest.approx([0.04, 0.52, 1.0, 0.5, 0.0])
    assert [learning_rate(p, cosine) for p in (0, 0.5, 1.0)] == pytest.approx([1.0, 0.5, 0.0])


# --- devices


def test_cached_maps_travel_to_the_device_as_float16(monkeypatch):
    settings, moved, to = small(), [], torch.Tensor.to

    def spy(self, *args, **kwargs):
        if args[0] == META and self.device != META:
            moved.append(self.dtype)
        return to(self, *args, **kwargs)

    features = make_features(names(2), settings)
    assert features.half("final", names(2)).dtype == torch.float16
    torch.testing.assert_close(
        features.half("final", names(2)).float(), features.batch("final", names(2))
    )
    config = MaskFormerConfig(2, (CHANNELS,) * 2, levels=("final", "stride16"), decoder_channels=8)
    model = MaskFormer(config).to(META)
    monkeypatch.setattr(torch.Tensor, "to", spy)
    monkeypatch.setattr(Features, "batch", lambda *a: pytest.fail("widened before the transfer"))
    maps = cached_maps(model, features, names(2))
    assert moved == [torch.float16] * 2
    assert [(m.device, m.dtype) for m in maps] == [(META, torch.float32)] * 2
