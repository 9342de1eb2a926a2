"""A photo of the reader's own: what it costs, what may be opened, what is said of bad files."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import numpy as np
import pytest
from conftest import small
from explored import SOURCES, control, refuse, run, texts  # noqa: F401 - fixtures
from few import few_photos
from PIL import Image

from petweak.data.masks import FOREGROUND, read_mask
from petweak.data.oxford_pets import example_photos
from petweak.evaluation import metrics
from petweak.explorers import photo, photo_explorer
from petweak.explorers.photo import MAX_BYTES, OwnPhoto, open_photo, pictures_at
from petweak.study.run import Run
from petweak.training.inference import load_model, predict_features


def encoded(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def test_a_photo_of_the_set_gets_the_masks_that_the_run_gave_it(run, refuse):  # noqa: F811
    sample = run.pets.split("test")[0]
    own = open_photo(sample.photo.read_bytes())
    answers = {a.name: a for a in OwnPhoto(run).answers(own)}
    assert set(answers) == {*SOURCES[1:], *(f"model {s}-species" for s in SOURCES)}
    for source in SOURCES[1:]:
        mask = read_mask(run.masks_folder(source) / f"{sample.id}.png") == FOREGROUND
        assert metrics.iou(answers[source].mask, mask) > 0.97  # a batch of one, a batch of many
    model = load_model(run.model_folder("ground_truth", "species"))
    ((_, prediction),) = predict_features(model, run.features, [sample.id])
    answer = answers["model ground_truth-species"]
    assert answer.source == "ground_truth"
    assert metrics.iou(answer.mask, prediction.mask(own.height, own.width)) > 0.97
    assert answer.says.split()[0] == model.classes[prediction.classes.argmax()]


def test_the_real_photos_of_the_project_get_the_masks_that_any_photo_gets(run):  # noqa: F811
    found, own = photo.on_examples(run), OwnPhoto(run)
    assert list(found) == list(example_photos())
    picture, trimap, masks = found["Bengal_192"]
    answers = {a.name: a.mask for a in own.answers(picture)}
    assert masks.keys() == answers.keys() and trimap.max() == 3
    assert all(np.array_equal(masks[name], answers[name]) for name in answers)
    assert {m.shape for m in masks.values()} == {trimap.shape}


def test_the_backbone_runs_once_per_view_and_scale_and_models_are_loaded_once(
    rendered, tmp_path, monkeypatch
):
    """18 passes where 6 do, and every model loaded again for every photo (fault 10)."""
    steps = dict(refinement="multiscale", refinement_scales=(0.5, 1.0, 1.5), labels="species")
    sources = ("gradcam_pretrained", "gradcam_finetuned")
    settings = small(sources=sources, epochs=1, threshold="otsu", **steps)
    data = few_photos(rendered, tmp_path / "data")
    run = Run(tmp_path / "run", data, settings)  # noqa: F811
    for source in sources:
        run.model(source, "species")
    loaded = []
    monkeypatch.setattr(photo, "load_model", lambda *a: loaded.append(a) or load_model(*a))
    new, before = OwnPhoto(run), run.backbone.passes
    picture = open_photo(run.pets.samples[0].photo.read_bytes())
    assert len(new.answers(picture)) == 4
    assert run.backbone.passes - before == 6
    new.answers(picture)
    assert run.backbone.passes - before == 12 and len(loaded) == 2


def test_bad_uploads_get_a_word_for_their_owner(run):  # noqa: F811
    whole = encoded(Image.new("RGB", (40, 30), "red"))
    for content, words in (
        (b"no picture", "cannot be read"),
        (whole[: len(whole) // 2], "cannot be read"),
        (b"", "cannot be read"),
        (b"x" * (MAX_BYTES + 1), "too large"),
        (encoded(Image.new("1", (6000, 5000))), "make it smaller"),
    ):
        with pytest.raises(ValueError, match=words):
            open_photo(content)


def test_an_upload_is_answered(run):  # noqa: F811
    box, content = photo_explorer(run), encoded(Image.new("RGB", (50, 40), "blue"))
    upload = control(box, "your photo")
    about = dict(
        name="a b.png", type="image/png", size=len(content), last_modified=datetime.now(UTC)
    )
    upload.value = ({**about, "content": memoryview(content)},)
    assert "5 answers" in texts(box) and 'download="a b-model-ground_truth-species.png"' in texts(
        box
    )
    upload.value = ({**about, "content": memoryview(b"broken")},)
    assert "cannot be read" in texts(box) and "<figure" not in texts(box)


def test_a_folder_of_the_run_offers_its_pictures(run):  # noqa: F811
    folder = run.folder / "mine"
    folder.mkdir()
    Image.new("RGB", (50, 40), "blue").save(folder / "a.png")
    (folder / "b.jpg").write_bytes(b"broken")
    (folder / "notes.txt").write_text("no picture")
    box = photo_explorer(run)
    control(box, "or a path").value = str(folder)
    inside = control(box, "in it")
    assert [name for name, _ in inside.options] == ["a.png", "b.jpg"] and not inside.layout.display
    assert "5 answers" in texts(box) and "download=" in texts(box)
    inside.value = folder / "b.jpg"
    assert "cannot be read" in texts(box) and "<figure" not in texts(box)
    control(box, "or a path").value = str(folder / "a.png")
    assert "5 answers" in texts(box) and inside.layout.display == "none"


def test_only_the_run_and_its_data_are_listed_or_opened(run, tmp_path, monkeypatch):  # noqa: F811
    """The path box listed and opened pictures anywhere on the server (fault 16)."""
    secret = tmp_path / "secret.png"
    Image.new("RGB", (50, 40), "blue").save(secret)
    monkeypatch.chdir(tmp_path)
    link, outward = run.folder / "link.png", run.folder / "outward"
    link.symlink_to(secret)
    outward.symlink_to(tmp_path)
    up = "/".join([".."] * len(run.folder.resolve().parts))
    box, said = photo_explorer(run), set()
    monkeypatch.setattr(photo, "open_photo", None)
    for path in (
        secret,
        tmp_path,
        "secret.png",
        ".",
        "/",
        "/nowhere/at/all",
        "~nobody/x.png",
        link,
        outward,
        outward / "secret.png",
        f"{run.folder}/{up}{secret}",
        "\0",
        f"{run.folder}-beside/a.png",
    ):
        assert pictures_at(run, str(path)) == []
        control(box, "or a path").value = str(path)
        said.add(texts(box).strip())
        assert control(box, "in it").options == ()
    assert len(said) == 1 and "no such picture" in said.pop()
    sample = run.pets.samples[0].photo
    assert pictures_at(run, f" {sample} ") == [sample.resolve()]
    assert sample.resolve() in pictures_at(run, str(sample.parent))
    assert link not in pictures_at(run, str(run.folder))


def test_a_photo_is_upright_and_a_narrow_one_is_drawn(run, tmp_path):  # noqa: F811
    lying = Image.new("RGB", (60, 40), "red")
    exif = lying.getexif()
    exif[0x0112] = 6  # "turn me to the right"
    lying.save(tmp_path / "phone.jpg", exif=exif)
    assert open_photo((tmp_path / "phone.jpg").read_bytes()).size == (40, 60)
    Image.new("RGB", (900, 2), "blue").save(run.folder / "thin.png")
    box = photo_explorer(run)
    control(box, "or a path").value = str(run.folder / "thin.png")
    assert "5 answers" in texts(box)


def test_a_failure_inside_is_said(run, monkeypatch):  # noqa: F811
    box = photo_explorer(run)
    monkeypatch.setattr(OwnPhoto, "answers", lambda *_: {}["no such key"])
    control(box, "or a path").value = str(run.pets.samples[0].photo)
    assert "it failed: KeyError" in texts(box)


def test_an_empty_run_says_so(rendered, tmp_path):
    assert "make demo" in photo_explorer(Run(tmp_path, rendered, small())).value
