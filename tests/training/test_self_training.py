"""Rounds of self-training on maps made by hand, and on rendered pets whose labels and trimaps are
gone."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from conftest import ROUNDS, small
from safetensors.torch import load_file
from toy import Squares, names, number, world

from petweak.data.masks import read_mask
from petweak.pseudo_masks.refinement.base import on_grid
from petweak.pseudo_masks.store import make_masks
from petweak.study.run import Run
from petweak.training import self_training
from petweak.training.inference import load_model, predict_features
from petweak.training.self_training import Start, check, most_confident, self_train, widened, widens
from petweak.training.targets import load_targets

SHORT = ROUNDS | dict(
    refinement=(), levels="final", stop_agreement=1, batch_size=4, save_epochs=False
)
IDS = names(12)


class Faint(Squares):
    """A source whose masks are cut at Otsu's threshold, which is far below 0.5."""

    def one(self, image_id):
        return 0.4 * super().one(image_id)

    def threshold(self):
        return "otsu"


def start(folder, source=Faint, **changes):
    """What self-training begins with, its context and the run's folder."""
    context = world(folder, n=len(IDS), **SHORT | changes)
    manifest = make_masks(source(context), "faint", IDS, folder / "masks" / "faint", "key")
    targets = {i: number(i) % 2 for i in IDS}
    at = Start(
        "gradcam_pretrained",
        "species",
        folder / "masks" / "faint",
        ("cat", "dog"),
        targets,
        "start",
    )
    return (at, context, folder), manifest


def model_bytes(rounds) -> list[bytes]:
    return [(r.model / "model.safetensors").read_bytes() for r in rounds]


def test_a_round_learns_from_the_predictions_of_the_one_before(tmp_path):
    arguments, manifest = start(tmp_path, rounds=3, keep_fractions=(0.5, 0.75, 1.0))
    rounds = self_train(*arguments)
    assert [r.number for r in rounds] == [0, 1, 2] and [r.n_images for r in rounds] == [6, 9, 12]
    assert rounds[0].agreement is None and all(0 <= r.agreement <= 1 for r in rounds[1:])
    assert [r.masks.name for r in rounds] == ["faint"] + [
        f"gradcam_pretrained-species-round{n}" for n in (1, 2)
    ]
    configs = [json.loads((r.model / "config.json").read_text()) for r in rounds]
    assert [c["variant"] for c in configs] == ["round0", "round1", "round2-wide"]
    assert [c["round"] for c in configs] == [0, 1, 2]
    # As many steps with half of the photos, and `last_epochs` for the last model.
    assert [c["epochs"] for c in configs] == [2, 2, 1]
    context = arguments[1]
    predictions = predict_features(load_model(rounds[0].model), context.features, IDS)
    assert len(list(predictions)) == 12 and len(set(model_bytes(rounds))) == 3
    assert all(read_mask(rounds[1].masks / f"{i}.png").shape == (40, 56) for i in IDS)
    assert set(manifest["confidence"]) == set(IDS)


def test_the_first_round_learns_from_the_most_confident_masks(tmp_path, monkeypatch):
    """Measured at 0.5, all of these masks would be empty, and the photos a matter of chance."""
    arguments, manifest = start(tmp_path, rounds=1, keep_fractions=(0.25,))
    seen, train = [], self_training.train_model
    monkeypatch.setattr(
        self_training,
        "train_model",
        lambda features, targets, *a: seen.append(targets.ids) or train(features, targets, *a),
    )
    self_train(*arguments)
    values = manifest["confidence"]
    assert min(values.values()) > 0.2 and len(set(values.values())) > 3
    best = sorted(values.values())[-3:]
    assert sorted(values[i] for i in seen[0]) == best


def test_rounds_end_when_masks_agree(tmp_path):
    arguments, _ = start(tmp_path, rounds=4, stop_agreement=0.001)
    rounds = self_train(*arguments)
    assert [r.number for r in rounds] == [0, 1] and rounds[1].agreement >= 0.001
    assert rounds[0].n_images < rounds[1].n_images == len(IDS)


def test_rounds_with_an_ignore_band_agree_as_those_without(tmp_path):
    """The masks hold 128 where they are in doubt; that alone is no disagreement."""
    changes = dict(source=Squares, keep_fractions=(1.0,), round_epochs=8, lr=5e-3)
    banded = self_train(*start(tmp_path / "band", ignore_band="0.45,0.5", **changes)[0])[1]
    plain = self_train(*start(tmp_path / "plain", **changes)[0])[1]
    values = {int(v) for i in IDS for v in np.unique(read_mask(banded.masks / f"{i}.png"))}
    assert values == {0, 128, 255}
    assert banded.agreement == pytest.approx(plain.agreement, abs=0.15)


def test_a_killed_round_goes_on(tmp_path, monkeypatch):
    alone = model_bytes(self_train(*start(tmp_path / "alone")[0]))
    arguments, _ = start(tmp_path / "killed")

    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(self_training, "_next_masks", killed)
        with pytest.raises(KeyboardInterrupt):
            self_train(*arguments)
    first = (
        tmp_path / "killed" / "models" / "gradcam_pretrained-species-round0" / "model.safetensors"
    )
    before = first.stat().st_mtime_ns
    rounds = self_train(*arguments)
    assert first.stat().st_mtime_ns == before and model_bytes(rounds) == alone
    monkeypatch.setattr(self_training, "train_model", lambda *a: pytest.fail("trained again"))
    assert self_train(*arguments) == rounds


@pytest.mark.parametrize("stop_at", [0, 1, 2])
def test_the_masks_of_a_round_go_on_after_the_photos_that_are_done(stop_at, tmp_path, monkeypatch):
    """Killed after so many of six photos' pairs of batches, in the middle of the next pair."""
    monkeypatch.setattr(self_training, "BATCH", 1)
    alone, _ = start(tmp_path / "alone", rounds=2)
    rounds = self_train(*alone)
    killed, _ = start(tmp_path / "killed", rounds=2)
    written, write = [], self_training.write_mask

    def stop(path, mask):
        if len(written) == 2 * stop_at + 1:
            raise KeyboardInterrupt
        written.append(path.name)
        write(path, mask)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(self_training, "write_mask", stop)
        self_train(*killed)
    again: list[str] = []
    monkeypatch.setattr(self_training, "write_mask",
                        lambda path, mask: again.append(path.name) or write(path, mask))
    others = self_train(*killed)
    assert again == [f"{i}.png" for i in sorted(IDS)][2 * stop_at :]
    assert model_bytes(others) == model_bytes(rounds)
    one, other = (json.loads((r[1].masks / "manifest.json").read_text()) for r in (rounds, others))
    times = {"seconds", "digest"}
    assert {k: one[k] for k in one if k not in times} == {
        k: other[k] for k in other if k not in times}
    for i in IDS:
        assert (rounds[1].masks / f"{i}.png").read_bytes() == (
            others[1].masks / f"{i}.png").read_bytes()


def test_a_damaged_mask_of_a_round_alone_comes_back(tmp_path, monkeypatch):
    arguments, _ = start(tmp_path, rounds=2)
    rounds = self_train(*arguments)
    folder = rounds[1].masks
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.glob("*.png")}
    file = folder / f"{IDS[5]}.png"
    file.write_bytes(before[file.name][0][:-9])
    assert [vars(r) | {"seconds": 0} for r in self_train(*arguments)] == [
        vars(r) | {"seconds": 0} for r in rounds]
    after = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.glob("*.png")}
    assert {n for n in before if after[n] != before[n]} == {file.name}
    assert after[file.name][0] == before[file.name][0]


def test_the_last_masks_are_widened_by_what_the_model_gives_above_the_threshold(tmp_path):
    """Two thresholds, one folder: the rounds before the last are those that are there."""
    arguments, _ = start(tmp_path, rounds=3)

    def models(threshold: float) -> list[bytes]:
        at, context, folder = arguments
        changed = context.replace(context.settings.replace(background_threshold=threshold))
        return model_bytes(self_train(at, changed, folder))

    tight, wide, again = models(0.5), models(0.05), models(0.05)
    assert tight[:2] == wide[:2] and tight[2] != wide[2] and wide == again

    at, context, folder = arguments
    model, masks = (folder / k / "gradcam_pretrained-species-round1" for k in ("models", "masks"))
    targets = load_targets(masks, IDS, [0] * len(IDS), 32)
    wider = widened(targets, model, context.settings, context)
    predictions = predict_features(load_model(model), context.features, IDS)
    for old, new, (_, p) in zip(targets.masks, wider.masks, predictions, strict=True):
        near = on_grid(torch.from_numpy(p.soft)[None], context.settings)[0] > 0.05
        assert torch.equal(new, torch.where(near, 255, old).to(torch.uint8))
    assert torch.equal(wider.valid, targets.valid) and not torch.equal(wider.masks, targets.masks)


def test_what_is_not_widened():
    def wide(source: str = "imagenet_only", **changes) -> bool:
        return widens(small(**dict(background_threshold=0.05) | changes), source)

    assert wide() and wide("gradcam_finetuned")
    assert not wide("ground_truth") and not wide(background_threshold=0.5)
    assert not wide(ignore_band="0.2,0.6")
    # `border` is what ground truth's targets take it for, and nothing else.
    assert wide(border="ignore") and wide(border="background")


@pytest.mark.parametrize(
    "changes, says",
    [
        (dict(round_refinement="nonsense"), "unknown nonsense"),
        (dict(round_refinement="auto"), "stands alone"),
        (dict(round_refinement=()), "is empty"),
        (dict(round_refinement="multiscale"), "other views of a photo"),
        (dict(stored_levels="final", walk_levels="final"), "self_training_levels: penultimate"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        check(small(**changes))


def test_the_most_confident_photos_are_the_largest_and_at_least_one():
    values = {"a": 0.1, "b": 0.9, "c": 0.5, "d": 0.9}
    assert most_confident(values, 0.5) == ["b", "d"] and most_confident(values, 0.01) in (
        ["b"],
        ["d"],
    )
    equal = dict.fromkeys("abcdefgh", 1.0)  # ids are sorted by breed: not the first ones
    chosen = {tuple(most_confident(equal, 0.5, seed)) for seed in range(4)}
    assert len(chosen) > 1 and most_confident(equal, 0.5, 0) == most_confident(equal, 0.5, 0)


# --- imagenet_only


def shrink(rendered, root, lines_of):
    """A data root with eight photos of train and the lists that `lines_of` makes of theirs."""
    base, ours = rendered / "oxford-iiit-pet", root / "oxford-iiit-pet"
    for folder in ("annotations/trimaps", "images"):
        (ours / folder).mkdir(parents=True)
    for name, n in (("trainval.txt", 8), ("test.txt", 1)):
        lines = [
            x.split() for x in (base / "annotations" / name).read_text().splitlines() if x[0] != "#"
        ][:n]
        (ours / "annotations" / name).write_text("\n".join(map(lines_of, lines)) + "\n")
        for image_id, *_ in lines:
            for file in (f"images/{image_id}.jpg", f"annotations/trimaps/{image_id}.png"):
                shutil.copy(base / file, ours / file)
    return root


@pytest.mark.parametrize("refinement", ["multiscale,walk", "pamr", "auto"])
def test_no_trimap_and_no_label_is_read(refinement, rendered, tmp_path, monkeypatch):
    """With other classes and species in the lists, and without trimaps: the same tensors. A
    pipeline that does not centre its maps (pamr) has a threshold to choose, and auto a
    pipeline."""
    settings = small(
        **ROUNDS
        | dict(
            refinement=refinement,
            threshold="val",
            sources="imagenet_only",
            selection_criteria="otsu,area",
            fusion_maps="penultimate",
        )
    )
    ours = shrink(rendered, tmp_path / "ours", " ".join)
    other = shrink(
        rendered, tmp_path / "theirs", lambda x: f"{x[0]} {38 - int(x[1])} {3 - int(x[2])} 1"
    )
    runs = [Run(root / "run", root, settings) for root in (ours, other)]
    assert {len(r.pets) for r in runs} == {9}
    species = [[r.pets.sample(i).species for i in runs[0].ids] for r in runs]
    assert [1 - s for s in species[0]] == species[1]
    shutil.rmtree(other / "oxford-iiit-pet" / "annotations" / "trimaps")
    models = [
        load_file(r.model("imagenet_only", "species") / "model.safetensors") for r in runs[:1]
    ]
    monkeypatch.setattr(
        "petweak.data.oxford_pets.Sample.label", lambda *a: pytest.fail("a label was read")
    )
    models.append(load_file(runs[1].model("imagenet_only", "species") / "model.safetensors"))
    assert all(torch.equal(models[0][k], models[1][k]) for k in models[1])
