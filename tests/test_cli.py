"""The command line: exit codes, one clear line on bad usage, predict."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import SMALL
from PIL import Image

from petweak.cli import main
from petweak.pseudo_masks.store import read_mask

SET = [f"{k}={v}" for k, v in SMALL.items()]


@pytest.fixture(scope="module")
def trained(rendered, tmp_path_factory):
    run = tmp_path_factory.mktemp("cli") / "run"
    arguments = ["--data-root", str(rendered), "--run", str(run), "--set", *SET]
    assert main(["train", *arguments, "--source", "ground_truth", "--labels", "species"]) == 0
    return run


COMMANDS = (["doctor"],
            ["data", "make"], ["data", "fetch"], ["data", "check"], ["masks"], ["train"],
            ["study"], ["notebooks"], ["sweep"], ["report"], ["predict"])  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_defaults(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([*command, "--help"])
    assert end.value.code == 0 and "usage: petweak" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command, says",
    [
        (["study", "--set", "epoch=3"], "known are"),
        (["study", "--set", "epochs"], "key=value"),
        (["study", "--sources", "grabcut"], "known are ground_truth"),
        (["masks", "nothing"], "known are ground_truth"),
        (["masks", "external"], "external_masks"),
        (["study", "--sources", "external"], "external_masks"),
        (["study", "--set", "cam=nonsense"], "gradcam++"),
        (["study", "--set", "backbone=resnet18"], "efficientnet_lite0"),
        (["study", "--set", "profile=photos"], "--profile"),
        (["notebooks", "--only", "77"], "no notebook 77"),
        (["notebooks", "-p", "colour=red"], "unknown parameter colour"),
        (["sweep", "notebooks/77.ipynb", "-p", "seed=0"], "no such notebook"),
        (["sweep", "notebooks/01_explore_the_data.ipynb", "-p", "seed="], "an empty value"),
        (["sweep", "notebooks/01_explore_the_data.ipynb", "-p", "colour=red"], "known are data_r"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(command, says, capsys, rendered, tmp_path):
    where = ["--run", str(tmp_path / "run"), "--data-root", str(rendered)]
    assert main([*command, *where]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
    assert not (tmp_path / "run" / "results.csv").exists()


def test_an_unknown_command_is_bad_usage():
    with pytest.raises(SystemExit) as end:
        main(["segment"])
    assert end.value.code == 2


def test_a_failure_is_exit_code_1(tmp_path, capsys):
    assert main(["data", "check", "--data-root", str(tmp_path)]) == 1
    assert "--data-root is the folder that holds" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "nowhere")]) == 1


def test_data_check_lists_what_it_leaves_out(rendered, capsys):
    assert main(["data", "check", "--data-root", str(rendered)]) == 0
    assert "111 photos of 37 breeds" in capsys.readouterr().out


def test_predict_writes_masks_of_the_photos_sizes(trained, rendered, tmp_path, capsys):
    photos = sorted((rendered / "oxford-iiit-pet" / "images").glob("*.jpg"))[:2]
    grey = tmp_path / "tiny grey.png"
    Image.new("L", (33, 21), 90).save(grey)
    model = trained / "models" / "ground_truth-species"
    out = tmp_path / "out"
    arguments = [str(p) for p in (*photos, grey)]
    assert main(["predict", *arguments, "--model", str(model), "--out", str(out)]) == 0
    for photo in (*photos, grey):
        mask = read_mask(out / f"{photo.stem}.png")
        with Image.open(photo) as image:
            assert mask.shape == image.size[::-1]
        assert set(np.unique(mask)) <= {0, 255}


def test_predict_agrees_with_the_study(trained, rendered, tmp_path):
    """The same photo through the cache and through the backbone: the same mask but for noise."""
    from conftest import small

    from petweak.data.pets import load_photo
    from petweak.maskformer.predict import load_student, predict_cached, predict_photo
    from petweak.study import Run

    run = Run(trained, rendered, small())
    student = load_student(trained / "models" / "ground_truth-species")
    sample = run.pets.samples[0]
    ((_, cached),) = predict_cached(student, run.features, [sample.id])
    fresh = predict_photo(student, load_photo(sample.photo), run.backbone)
    assert np.abs(cached.soft - fresh.soft).max() < 1e-2
    assert np.abs(cached.classes - fresh.classes).max() < 1e-2


def test_predict_decodes_each_photo_once(trained, rendered, tmp_path, monkeypatch):
    from petweak.maskformer import predict

    decoded = []
    once = lambda path: (decoded.append(path), load_photo(path))[1]  # noqa: E731
    load_photo = predict.load_photo
    monkeypatch.setattr(predict, "load_photo", once)
    photos = sorted((rendered / "oxford-iiit-pet" / "images").glob("*.jpg"))[:3]
    model = trained / "models" / "ground_truth-species"
    done = list(predict.predict_files([str(p) for p in photos], model, tmp_path))
    assert decoded == photos and len(done) == 3


def test_predict_names_a_picture_that_breaks_off(trained, rendered, tmp_path, capsys):
    whole = sorted((rendered / "oxford-iiit-pet" / "images").glob("*.jpg"))[0]
    half = tmp_path / "half.jpg"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    model, out = str(trained / "models" / "ground_truth-species"), tmp_path / "out"
    assert main(["predict", str(whole), str(half), "--model", model, "--out", str(out)]) == 1
    assert "half.jpg cannot be read as a picture" in capsys.readouterr().err
    assert [p.name for p in out.iterdir()] == [f"{whole.stem}.png"]


def test_predict_refuses_before_any_work(trained, rendered, tmp_path, capsys):
    model = str(trained / "models" / "ground_truth-species")
    (tmp_path / "a").mkdir()
    for name in ("x.png", "a/x.jpg"):
        Image.new("RGB", (9, 9)).save(tmp_path / name)
    twice = [str(tmp_path / "x.png"), str(tmp_path / "a" / "x.jpg")]
    out = ["--out", str(tmp_path / "out")]
    assert main(["predict", *twice, "--model", model, *out]) == 1
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    assert main(["predict", str(tmp_path / "bad.jpg"), "--model", model, *out]) == 1
    assert "bad.jpg cannot be read" in capsys.readouterr().err
    assert main(["predict", twice[0], "--model", str(tmp_path), *out]) == 1
    assert not (tmp_path / "out").exists()
