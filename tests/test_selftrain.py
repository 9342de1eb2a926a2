"""Self-training on the rendered set: what it leaves behind, what it reads, how it stops."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import ROUNDS, small
from safetensors.numpy import load_file

from petweak.cli import main
from petweak.maskformer.predict import load_student, predict_cached
from petweak.maskformer.targets import load_targets
from petweak.pseudo_masks.store import read_mask
from petweak.results import collect_results, figure, run_study, score_rounds
from petweak.selftrain import is_wide, surest, with_border
from petweak.study import Run, grid

WIDE = dict(rounds=3, border="pet", sure_background=0.05)


@pytest.fixture(scope="module")
def run(self_trained) -> Run:
    return self_trained


def blind(rendered, root):
    """A data root whose lists are read, and whose trimaps are then taken away."""
    shutil.copytree(rendered, root / "data")
    return root / "data"


def test_the_study_leaves_the_two_students_and_a_row_per_round(run):
    assert (run.folder / "models" / "labels_free-species" / "model.safetensors").is_file()
    plus = json.loads((run.folder / "models/ground_truth-species-plus/config.json").read_text())
    assert plus["model"]["taps"] == ["last", "before", "stride16", "stride8"]
    cards = {p.parent.name for p in run.folder.glob("models/*/README.md")}
    assert cards == {"labels_free-species", "ground_truth-species-plus"}
    results = pd.read_csv(run.folder / "results.csv")
    assert results.columns[-1] == "round"
    ours = results[(results["source"] == "labels_free") & (results["metric"] == "mask_iou_gt")]
    assert sorted(ours["round"].dropna().unique()) == [0, 1] and ours["round"].isna().any()
    last = dict(source="labels_free", labels="species", border="pet")
    assert figure(results, "mask_iou_gt", **last) == figure(results, "mask_iou_gt", round=1, **last)
    assert set(results[results["source"] == "ground_truth"]["round"].dropna()) == set()
    masks = results[(results["metric"] == "pseudo_iou_gt") & results["round"].notna()]
    assert set(masks["split"]) == {"train"}


def test_a_second_study_makes_nothing(run, monkeypatch):
    before = (run.folder / "results.csv").read_bytes()
    monkeypatch.setattr("petweak.selftrain.train_student", None)
    run_study(Run(run.folder, run.data_root, run.settings))
    assert (run.folder / "results.csv").read_bytes() == before


@pytest.mark.parametrize("refine", ["multiscale,walk", "pamr", "auto"])
def test_no_trimap_and_no_label_is_read(refine, rendered, tmp_path, monkeypatch):
    """Without trimaps, with the other species and other classes in the lists: the same tensors. A
    chain that does not centre its maps (pamr) has a threshold to choose, and auto a chain."""
    own = small(**ROUNDS | dict(refine=refine, threshold="val", choose_by="otsu,area"))
    ours = Run(tmp_path / "ours", rendered, own).student("labels_free", "species")
    root = blind(rendered, tmp_path)
    annotations = root / "oxford-iiit-pet" / "annotations"
    Run(tmp_path / "theirs", root, own).pets  # noqa: B018 - looks at every trimap, once
    for name in ("trainval.txt", "test.txt"):
        lines = [line.split() for line in (annotations / name).read_text().splitlines()
                 if not line.startswith("#")]  # fmt: skip
        turned = [f"{i} {38 - int(breed)} {3 - int(species)} 1" for i, breed, species, _ in lines]
        (annotations / name).write_text("\n".join(turned) + "\n")
    other = Run(tmp_path / "theirs", root, own)
    assert len(other.pets) == len(Run(tmp_path / "x", rendered, own).pets)
    shutil.rmtree(annotations / "trimaps")
    monkeypatch.setattr("petweak.data.pets.Sample.label", None)
    theirs = other.student("labels_free", "species")
    a, b = (load_file(f / "model.safetensors") for f in (ours, theirs))
    assert all((a[k] == b[k]).all() for k in b)


def test_a_killed_round_goes_on(run, tmp_path, monkeypatch):
    other = Run(tmp_path, run.data_root, run.settings)
    shutil.copytree(run.features_folder, other.features_folder)
    import petweak.selftrain as selftrain

    def killed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(selftrain, "_next_masks", killed)
    with pytest.raises(KeyboardInterrupt):
        other.rounds("labels_free", "species")
    monkeypatch.undo()
    first = (tmp_path / "models" / "labels_free-species-round0" / "model.safetensors").stat()
    other.student("labels_free", "species")
    after = (tmp_path / "models" / "labels_free-species-round0" / "model.safetensors").stat()
    assert first.st_mtime_ns == after.st_mtime_ns
    ours, theirs = (load_file(r.student_folder("labels_free", "species") / "model.safetensors")
                    for r in (other, run))  # fmt: skip
    assert all((ours[k] == theirs[k]).all() for k in theirs)


def test_rounds_end_when_masks_agree(run, tmp_path):
    early = Run(tmp_path, run.data_root, small(**ROUNDS | dict(rounds=4, settled=0.01)))
    rounds = early.rounds("labels_free", "species")
    assert [r.number for r in rounds] == [0, 1] and rounds[1].agreement >= 0.01
    assert rounds[0].kept < rounds[1].kept == len(early.pets.split("train"))


def test_rounds_with_an_unsure_band_agree_as_those_without(run, tmp_path):
    """The masks hold 128 where they are unsure; that alone is no disagreement."""
    own = dict(rounds=2, unsure="0.45,0.5", keep=(1.0,))
    banded = Run(tmp_path, run.data_root, small(**ROUNDS | own)).rounds("labels_free", "species")
    plain = Run(tmp_path / "plain", run.data_root, small(**ROUNDS | dict(rounds=2, keep=(1.0,))))
    (_, one), (_, other) = banded, plain.rounds("labels_free", "species")
    values = {int(v) for p in one.masks.glob("*.png") for v in np.unique(read_mask(p))}
    assert values == {0, 128, 255}
    assert one.agreement == pytest.approx(other.agreement, abs=0.1)


def test_the_border_as_pet_widens_the_last_masks_and_nothing_else(run, tmp_path):
    """Two conventions, one folder: the rounds before the last are those that are there."""
    def students(border: str) -> list[int]:
        other = Run(tmp_path, run.data_root, small(**ROUNDS | WIDE | dict(border=border)))
        folder = other.student("labels_free", "species")
        config = json.loads((folder / "config.json").read_text())
        assert config["settings"]["border"] == border
        files = [r.student / "model.safetensors" for r in other.rounds("labels_free", "species")]
        return [f.stat().st_mtime_ns for f in files]

    tight, wide, again = (students(b) for b in ("ignore", "pet", "pet"))
    assert tight[:2] == wide[:2] and tight[2] != wide[2] and wide == again

    pet = Run(tmp_path, run.data_root, small(**ROUNDS | WIDE))
    before, last = pet.rounds("labels_free", "species")[1:]
    ids = [s.id for s in pet.pets.split("train")][:4]
    seen = replace(pet.settings, taps=pet.settings.selftrain_taps)
    taught = load_targets(last.masks, ids, [0] * 4, 32)
    wider = with_border(taught, before.student, seen, pet.context.with_settings(seen))
    answers = predict_cached(load_student(before.student), pet.features, ids)
    for old, new, (_, answer) in zip(taught.masks, wider.masks, answers, strict=True):
        hand = np.where(answer.soft > 0.05, 255, old.numpy())
        assert (new.numpy() == hand).all()
    assert (wider.valid == taught.valid).all() and (wider.masks != taught.masks).any()


def test_what_is_not_widened():
    def wide(source: str = "labels_free", **changes) -> bool:
        return is_wide(small(**WIDE | changes), source)

    assert wide() and not wide(border="ignore") and not wide(sure_background=0.5)
    assert not wide(unsure="0.2,0.6") and not wide("ground_truth")


def test_settings_of_rounds_are_refused_before_any_work(run, tmp_path):
    for bad, says in ((dict(round_refine="nonsense"), "nonsense unknown"),
                      (dict(round_refine="auto"), "stands alone"),
                      (dict(round_refine=()), "is empty")):  # fmt: skip
        with pytest.raises(ValueError, match=says):
            Run(tmp_path, run.data_root, small(**ROUNDS | bad))


def test_selftrain_of_any_source(run, tmp_path, capsys):
    arguments = ["selftrain", "--source", "gradcam_finetuned", "--labels", "breed",
                 "--data-root", str(run.data_root), "--run", str(tmp_path), "--set"]  # fmt: skip
    chosen = {k: v for k, v in ROUNDS.items() if k not in ("sources", "labels", "refine_scales")}
    chosen |= dict(image_size=64, decoder_channels=8, bootstrap=20, engine="eager",
                   refine_scales="1.0")  # fmt: skip
    assert main([*arguments, *(f"{k}={v}" for k, v in chosen.items())]) == 0
    assert "round 1:" in capsys.readouterr().out
    folder = tmp_path / "models" / "gradcam_finetuned-breed-selftrained"
    assert (folder / "config.json").is_file()
    card = (folder / "README.md").read_text()
    assert "student of round 1, counted from 0" in card and "wider than that" in card
    results = pd.read_csv(tmp_path / "results.csv")
    rows = results[results["source"] == "gradcam_finetuned"]
    assert sorted(rows["round"].unique()) == [0, 1]
    assert main(["selftrain", "--source", "labels_free", "--labels", "breed",
                 "--data-root", str(run.data_root), "--run", str(tmp_path)]) == 2  # fmt: skip
    assert "labels_free knows no breed" in capsys.readouterr().err


def test_rounds_of_other_settings_leave_the_table(run):
    other = Run(run.folder, run.data_root, small(**ROUNDS | dict(seed=5)))
    assert collect_results(other)["round"].isna().all()
    score_rounds(run, "labels_free", "species")
    assert collect_results(run)["round"].notna().any()


def test_the_grid_leaves_out_labels_that_a_source_does_not_know():
    pairs = grid(small(sources="labels_free,ground_truth", labels="breed,species"))
    assert ("labels_free", "breed") not in pairs and len(pairs) == 3


def test_surest_takes_the_largest_and_at_least_one():
    sure = {"a": 0.1, "b": 0.9, "c": 0.5, "d": 0.9}
    assert surest(sure, 0.5) == ["b", "d"] and surest(sure, 0.01) == ["b"]
