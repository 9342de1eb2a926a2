"""results.csv of a small study: every score of its grid, nothing made twice, nothing of others."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROUNDS, small
from few import drop_trimaps, few_photos

from petweak.data.files import read_json, write_json
from petweak.study import cache, results
from petweak.study import run as study_run
from petweak.study.cache import TIMINGS
from petweak.study.results import COLUMNS, collect_results, grid, read_results, run_study, score
from petweak.study.run import Run
from petweak.training import self_training
from petweak.training.trainer import CONFIG

BORDERS = ["background", "foreground", "ignore"]
STUDY = dict(sources="ground_truth,gradcam_finetuned", labels="breed,species")


@pytest.fixture(scope="module")
def few(rendered, tmp_path_factory) -> Path:
    return few_photos(rendered, tmp_path_factory.mktemp("few"))


@pytest.fixture(scope="module")
def done(few, tmp_path_factory) -> Run:
    """A finished study of two sources with two kinds of labels; tests leave its folder as it is."""
    run = Run(tmp_path_factory.mktemp("study") / "run", few, small(**STUDY))
    run_study(run)
    return run


@pytest.fixture
def copy(done, tmp_path) -> Path:
    shutil.copytree(done.folder, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def nothing_is_made(monkeypatch):
    for module, name in ((study_run, "train_model"), (study_run, "make_masks"),
                         (study_run, "extract_features"), (self_training, "train_model")):
        monkeypatch.setattr(module, name, lambda *a, **k: pytest.fail("work was done again"))


def timings(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "timings.csv")


def same_results(one: Path, other: Path) -> None:
    """Equal to the last digit, but for measured seconds."""
    tables = (pd.read_csv(f / "results.csv", dtype=str) for f in (one, other))
    pd.testing.assert_frame_equal(*(t.drop(columns="seconds") for t in tables))


def test_the_columns_are_the_studys(done):
    header = (done.folder / "results.csv").read_text().splitlines()[0]
    assert header == ("profile,dataset,backbone,source,labels,split,border,metric,value,low,high,"
                      "n_images,seed,seconds,round,model")
    assert header.split(",") == COLUMNS
    header = (done.folder / "timings.csv").read_text().splitlines()[0]
    assert header == "stage,source,labels,n_images,seconds,images_per_second,peak_rss_mb"
    assert header.split(",") == TIMINGS


COMPLETE = """
import sys
from functools import partial
import petweak.reporting.report
from petweak.reporting.cards import write_cards
from petweak.study.results import run_study
from petweak.study.run import reopen
run_study(run := reopen(sys.argv[1]))
write_cards(run)
print(*sys.modules)
"""


def test_a_complete_study_imports_nothing_that_only_makes_things(copy):
    command = [sys.executable, "-c", COMPLETE, str(copy)]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "torch" in loaded  # with which keys are made
    assert not {"timm", "torchvision", "onnx", "scipy.optimize", "matplotlib", "nbformat",
                "nbconvert", "papermill"} & set(loaded)


def test_every_score_of_the_grid_is_there_once(done):
    r = read_results(done.folder)
    cells = r[r["labels"] != "-"].groupby(["source", "labels", "split"])
    assert len(cells) == 2 * 2 * 2
    for (_, _, split), part in cells:
        for metric in ("mask_iou_gt", "pseudo_iou_gt", "dataset_iou_gt", "boundary_iou_gt"):
            assert sorted(part[part["metric"] == metric]["border"]) == BORDERS, metric
        for metric in ("class_iou", "class_accuracy", "mask_iou"):
            assert part[part["metric"] == metric]["border"].tolist() == ["-"], metric
        pixels = part[part["metric"] == "semantic_miou"]
        assert sorted(pixels["border"]) == ["foreground", "ignore"]
        assert set(part["n_images"]) == {8 if split == "train" else 4}
    assert set(r[r["labels"] == "-"]["source"]) == {"all_ones", "centre_box"}
    of_models = r[r["metric"] == "semantic_miou"]  # masks and baselines have no classes
    assert len(of_models) == 2 * 2 * 2 * 2 and set(of_models["model"]) == {"maskformer"}
    assert r["value"].between(0, 1).all()
    assert (r["low"] <= r["value"]).all() and (r["value"] <= r["high"]).all()
    assert r["round"].isna().all() and set(r["dataset"]) == {"oxford-iiit-pet"}


def test_the_masks_of_ground_truth_are_right_and_are_what_its_models_are_measured_by(done):
    r, where = read_results(done.folder), dict(source="ground_truth", labels="breed")
    assert score(r, "pseudo_iou_gt", border="foreground", **where) == 1
    assert score(r, "mask_iou", **where) == score(r, "mask_iou_gt", border="foreground", **where)


def test_the_backbone_runs_once_for_every_photo_and_view(done):
    assert done.backbone.passes == 2 * 12
    assert timings(done.folder).query("stage == 'features'")["n_images"].tolist() == [24]


def test_what_another_process_makes_comes_last():
    """Two stages of it: the first try of each is in vain, then one is waited for."""
    made, others = [], {"b": 1, "d": 2}

    def make(name: str) -> None:
        if others.get(name, 0) and not cache._waits.get():
            others[name] -= 1
            raise cache.Busy(name)
        made.append(name)

    results._make([partial(make, name) for name in "abcd"])
    assert made == ["a", "c", "b", "d"]
    made.clear()
    others |= {"a": 9}
    results._make([partial(make, name) for name in "a"])
    assert made == ["a"]


def test_a_second_study_makes_nothing(done, few, nothing_is_made, monkeypatch):
    monkeypatch.setattr(study_run, "load_backbone", lambda name: pytest.fail("it was opened"))
    before = {p: p.read_bytes() for p in (*done.folder.rglob("*.csv"), done.folder / "run.json")}
    run_study(Run(done.folder, few, small(**STUDY)))  # the report would be made again, too
    assert {p: p.read_bytes() for p in before} == before
    assert set(done.folder.rglob("*.csv")) < set(before)


def test_scores_of_an_older_version_are_made_again_and_nothing_else(
    done, few, copy, nothing_is_made, monkeypatch
):
    """A folder without `semantic_miou`: its models and masks stay, its other scores too."""
    older = [p for p in copy.rglob("scores.json")]
    for path in older:
        note = read_json(path)
        rows = [r for r in note["rows"] if r["metric"] != "semantic_miou"]
        write_json(path, note | {"key": "of version 2", "rows": rows})
    before = read_results(done.folder)
    kept = {p: p.stat().st_mtime_ns for p in copy.rglob("*.*")
            if p.is_file() and p.stem != "scores"}
    assert "semantic_miou" not in set(collect_results(Run(copy, few, small(**STUDY)))["metric"])
    pd.testing.assert_frame_equal(run_study(Run(copy, few, small(**STUDY))), before)
    made = {p for p, when in kept.items() if p.stat().st_mtime_ns != when and p.suffix != ".lock"}
    assert {p.name for p in made} <= {"results.csv", "run.json", "timings.csv"}
    assert len(older) == 2 + 2 + 4


def test_what_is_deleted_comes_back_the_same(done, few, copy):
    mask = min((copy / "masks" / "gradcam_finetuned").glob("*.png"))
    names = ("models/gradcam_finetuned-breed/model.safetensors", "timings.csv", "data.json",
             "models/ground_truth-species/scores.csv", "results.csv", "run.json", "quarantine.csv",
             "masks/ground_truth/manifest.json", "baselines/all_ones/scores.json")
    gone = [mask, *(copy / name for name in names)]
    for path in gone:
        path.unlink()
    shutil.rmtree(copy / "features")
    run_study(Run(copy, few, small(**STUDY)))
    same_results(copy, done.folder)
    for path in gone:
        assert path.is_file(), path
        if path.suffix in (".png", ".safetensors") or path.name == "scores.csv":
            assert path.read_bytes() == (done.folder / path.relative_to(copy)).read_bytes(), path
    columns = TIMINGS[:4]
    assert timings(copy)[columns].values.tolist() == timings(done.folder)[columns].values.tolist()


def test_deleted_rows_of_timings_come_back(done, few, copy, nothing_is_made):
    before = timings(copy)
    for column, value in (("stage", "train"), ("stage", "features"), ("source", "all_ones")):
        gone = before[column] == value
        before[~gone].to_csv(copy / "timings.csv", index=False)
        run_study(Run(copy, few, small(**STUDY)))
        after = timings(copy)
        columns = TIMINGS[:5]  # the peak memory of that time is no longer known
        key = [tuple(r) for r in after[columns].values]
        assert sorted(key) == sorted(tuple(r) for r in before[columns].values)
        assert after["peak_rss_mb"].isna().sum() == gone.sum()


def test_scores_of_other_settings_stay_out_of_the_table(few, copy, nothing_is_made):
    table = collect_results(Run(copy, few, small(**STUDY, epochs=1)))
    assert set(table["source"]) == {"all_ones", "centre_box"}
    assert (copy / "models" / "ground_truth-breed" / "scores.csv").is_file()
    assert len(collect_results(Run(copy, few, small(**STUDY)))) > len(table)


def test_a_model_of_an_older_version_stays_out_of_the_table(few, copy, nothing_is_made):
    """Its config has other keys; the masks beside it are up to date."""
    run = Run(copy, few, small(**STUDY))
    before = collect_results(run)
    config = run.model_folder("gradcam_finetuned", "breed") / CONFIG
    write_json(config, {"key": "older", "num_decoder_layers": 2})
    after = collect_results(run)
    of_model = (before["source"] == "gradcam_finetuned") & (before["labels"] == "breed")
    assert of_model.any()
    pd.testing.assert_frame_equal(after, before[~of_model].reset_index(drop=True))


def test_maskformer_ms_stands_beside_maskformer_and_says_so(few, copy):
    ms = small(sources="ground_truth", labels="species", levels="final,stride16", epochs=1)
    table = run_study(Run(copy, few, ms))
    models = {p.name for p in (copy / "models").iterdir()}
    assert {"ground_truth-species", "ground_truth-species-ms"} <= models
    predicted = table[table["metric"].isin(["mask_iou_gt", "mask_iou"]) & (table["labels"] != "-")]
    assert set(predicted["model"]) == {"maskformer-ms"}
    assert table[table["metric"] == "pseudo_iou_gt"]["model"].isna().all()  # masks have no model
    plain = collect_results(Run(copy, few, small(**STUDY)))
    assert set(plain["model"].dropna()) == {"maskformer"}


def test_rounds_are_rows_of_their_own_and_the_last_one_is_the_result(few, tmp_path):
    r = run_study(Run(tmp_path, few, small(**ROUNDS)))
    where = dict(source="imagenet_only", labels="species", border="foreground")
    assert score(r, "mask_iou_gt", **where) == score(r, "mask_iou_gt", round=1, **where)
    ours = r[r["source"] == "imagenet_only"]
    assert sorted(ours["round"].dropna().unique()) == [0, 1]
    assert r[r["source"] == "ground_truth"]["round"].isna().all()
    begun = r[(r["metric"] == "pseudo_iou_gt") & r["round"].notna()]
    assert set(begun["split"]) == {"train"}  # rounds make masks of train alone
    assert set(ours["model"].dropna()) == {"maskformer-ms"}
    assert (tmp_path / "models" / "imagenet_only-species" / "model.safetensors").is_file()
    before = timings(tmp_path)
    trained = before.query("stage == 'train' and source == 'imagenet_only'")
    assert trained["labels"].tolist() == ["species-round0", "species-round1"]
    assert trained["n_images"].tolist() == [8, 8]  # 4 photos in 2 epochs, 8 in 1
    (tmp_path / "timings.csv").unlink()
    run_study(Run(tmp_path, few, small(**ROUNDS)))
    columns = TIMINGS[:5]
    assert (sorted(map(tuple, timings(tmp_path)[columns].values))
            == sorted(map(tuple, before[columns].values)))


def test_unreadable_photos_do_not_stop_a_study(rendered, tmp_path):
    few = few_photos(rendered, tmp_path / "data")
    images = sorted((few / "oxford-iiit-pet" / "images").glob("*.jpg"))
    images[0].write_bytes(b"")
    images[5].write_bytes(images[5].read_bytes()[:500])
    run = Run(tmp_path / "run", few, small(sources="ground_truth", labels="species", epochs=1))
    table = run_study(run)
    bad = pd.read_csv(tmp_path / "run" / "quarantine.csv")
    assert sorted(bad["id"]) == [images[0].stem, images[5].stem] and bad["reason"].notna().all()
    counts = table[table["metric"] == "mask_iou_gt"].groupby("split")["n_images"].first()
    assert counts.sum() == 12 - 2


def counts(table: pd.DataFrame, source: str) -> dict[tuple[str, str], int]:
    """{(split, metric): n_images} of a source's final rows."""
    rows = table[table["source"] == source].drop_duplicates(["split", "metric"])
    return rows.set_index(["split", "metric"])["n_images"].to_dict()


def test_without_any_trimap_the_whole_study_runs(rendered, tmp_path, caplog):
    data = drop_trimaps(few_photos(rendered, tmp_path / "data"))
    run = Run(tmp_path / "run", data, small(sources="ground_truth,gradcam_finetuned", epochs=1))
    table = run_study(run)
    assert "left out: ground_truth: no photo of train" in caplog.text
    assert run.pets.quarantine == () and set(table["source"]) == {"gradcam_finetuned"}
    of_model = ("class_iou", "class_accuracy", "mask_iou")
    assert counts(table, "gradcam_finetuned") == {
        (split, metric): n for split, n in (("train", 8), ("test", 4)) for metric in of_model}
    assert set(table["learnt_from"]) == {4} and table["value"].between(0, 1).all()
    assert len(list(run.masks_folder("gradcam_finetuned").glob("*.png"))) == 12
    photos = run.baseline_scores("all_ones").photos
    assert len(photos) == 12 and photos["iou/foreground"].isna().all()
    again = run_study(Run(tmp_path / "run", data, run.settings))
    pd.testing.assert_frame_equal(again, table)


def test_scores_are_where_ground_truth_is(rendered, tmp_path):
    """Three photos of train and two of test have it."""
    data, settings = few_photos(rendered, tmp_path / "data"), small(**STUDY, epochs=1)
    whole = Run(tmp_path / "all", data, settings)
    train, val = whole.taught("ground_truth")
    some = [*train[:2], *val[:1], *whole.pets.split("test")[:2]]
    keep = {s.id for s in some}
    table = run_study(Run(tmp_path / "run", drop_trimaps(data, keep), settings))
    truth, weak = (counts(table, s) for s in ("ground_truth", "gradcam_finetuned"))
    against = "mask_iou_gt pseudo_iou_gt dataset_iou_gt boundary_iou_gt semantic_miou".split()
    for of in (truth, weak):
        assert {of["train", m] for m in against} == {3} and {of["test", m] for m in against} == {2}
        assert (of["train", "class_accuracy"], of["test", "class_iou"]) == (8, 4)
    assert (truth["train", "mask_iou"], truth["test", "mask_iou"]) == (3, 2)  # of its masks
    assert (weak["train", "mask_iou"], weak["test", "mask_iou"]) == (8, 4)
    assert counts(table, "all_ones")["train", "mask_iou_gt"] == 3
    learnt = table.drop_duplicates(["source", "labels"]).set_index("source")["learnt_from"]
    assert set(learnt["ground_truth"]) == {2} and set(learnt["gradcam_finetuned"]) == {4}
    assert learnt[["all_ones", "centre_box"]].isna().all()
    header = (tmp_path / "run" / "results.csv").read_text().splitlines()[0]
    assert header.split(",") == COLUMNS


def test_a_study_of_ground_truth_alone_needs_a_trimap_in_train(rendered, tmp_path):
    data = few_photos(rendered, tmp_path / "data")
    settings = small(sources="ground_truth", labels="species", epochs=1)
    test = [s.id for s in Run(tmp_path / "all", data, settings).pets.split("test")]
    run = Run(tmp_path / "run", drop_trimaps(data, test), settings)
    with pytest.raises(ValueError, match="ground_truth: no photo of train .*has a trimap"):
        run_study(run)
    assert len(run.masks("ground_truth")["ids"]) == 4
    none = Run(tmp_path / "none", drop_trimaps(data), settings)
    with pytest.raises(ValueError, match="ground_truth: no photo of .*has a trimap"):
        none.mask_scores("ground_truth")


def test_a_grid_has_the_labels_that_a_source_has():
    assert grid(small(sources="imagenet_only,ground_truth", labels="breed,species")) == [
        ("imagenet_only", "species"), ("ground_truth", "breed"), ("ground_truth", "species")]


def test_a_study_of_no_model_is_refused(few, tmp_path):
    settings = small(**ROUNDS | dict(sources="imagenet_only", labels="breed"))
    with pytest.raises(ValueError, match="none of imagenet_only has the labels breed"):
        run_study(Run(tmp_path, few, settings))


def test_one_value_of_a_table():
    row = dict(source="a", labels="breed", split="test", border="-", metric="class_iou", round=None)
    table = pd.DataFrame([row | dict(value=0.5), row | dict(value=0.6, split="train"),
                          row | dict(value=0.7, round=0), row | dict(value=0.8, source="b")])
    assert score(table, "class_iou", source="a") == 0.5
    assert score(table, "class_iou", source="a", split="train") == 0.6
    assert score(table, "class_iou", source="a", round=0) == 0.7
    for where, n in ((dict(), 2), (dict(source="c"), 0)):
        with pytest.raises(ValueError, match=f"{n} rows of results.csv fit"):
            score(table, "class_iou", **where)


def test_without_a_study_there_is_the_command_for_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="petweak study --run"):
        read_results(tmp_path)
