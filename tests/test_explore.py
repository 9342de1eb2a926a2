"""The explorers without a browser: what a control changes, and how quickly."""

from __future__ import annotations

import io
import time

import ipywidgets as w
import numpy as np
import pytest
from conftest import small
from PIL import Image

from petweak import metrics
from petweak.data.pets import load_trimap
from petweak.explore import screen
from petweak.explore.cams import METHODS, CamMaps, Choice
from petweak.explore.made import students_of
from petweak.explore.outcomes import chosen, extremes
from petweak.explore.own_photo import MAX_BYTES, OwnPhoto, open_own
from petweak.explore.queries import Forming
from petweak.maskformer.predict import load_student, predict_cached
from petweak.pseudo_masks.store import PET, read_mask
from petweak.results import read_results, run_study
from petweak.study import Run, reopen
from petweak.widgets import (
    cam_explorer,
    maskformer_explorer,
    photo_explorer,
    results_explorer,
)

SOURCES = ("ground_truth", "gradcam_pretrained", "gradcam_finetuned")


@pytest.fixture(scope="module")
def run(rendered, tmp_path_factory) -> Run:
    settings = small(sources=SOURCES, labels="species", threshold="0.4", cam_target="pets")
    run = Run(tmp_path_factory.mktemp("explore"), rendered, settings)
    run_study(run)
    return run


def control(widget, name: str):
    """The control that is described so, wherever it is in the box."""
    if getattr(widget, "description", None) == name:
        return widget
    found = (control(child, name) for child in getattr(widget, "children", ()))
    return next((f for f in found if f is not None), None)


def texts(widget) -> str:
    if isinstance(widget, w.HTML):
        return widget.value
    return "\n".join(texts(child) for child in getattr(widget, "children", ()))


# --- maps


def test_the_maps_are_those_of_the_masks_on_disk(run):
    maps, sample = CamMaps(run), run.pets.split("test")[0]
    assert maps.sources == ["gradcam_pretrained", "gradcam_finetuned"]
    for source in maps.sources:
        shown = maps.shown(Choice(source), sample.id)
        mask = read_mask(run.masks_folder(source) / f"{sample.id}.png") == PET
        assert np.array_equal(shown.soft > maps.threshold(source), mask)
        for border, value in shown.ious(0.4).items():
            assert value == metrics.iou(mask, *metrics.truth(load_trimap(sample.trimap), border))


def test_a_refined_source_is_shown_as_the_run_refined_it(rendered, run, tmp_path):
    settings = small(refine="multiscale,walk", refine_scales=(1.0,), walk_steps=4,
                     sources="gradcam_pretrained")  # fmt: skip
    refined = Run(tmp_path, rendered, settings)
    refined.features_folder = run.features_folder
    refined.masks("gradcam_pretrained")
    maps, sample = CamMaps(refined), run.pets.split("test")[0]
    first = maps.refiners("gradcam_pretrained")[0]
    shown = maps.shown(Choice("gradcam_pretrained", refiner=first), sample.id)
    mask = read_mask(refined.masks_folder("gradcam_pretrained") / f"{sample.id}.png") == PET
    assert first == "as in the run"
    assert metrics.iou(shown.soft > maps.threshold("gradcam_pretrained"), mask) > 0.97
    assert CamMaps(run).refiners("gradcam_pretrained")[0] == "none"


def test_every_layer_method_and_refiner_gives_maps_of_its_own(run):
    maps, ids = CamMaps(run), [s.id for s in run.pets.split("test")[:6]]

    def of(*choice):
        found = [maps.shown(Choice("gradcam_finetuned", *choice), i).soft for i in ids]
        assert all(np.isfinite(m).all() and 0 <= m.min() and m.max() <= 1 for m in found), choice
        return found

    plain = of()
    others = [of(method) for method in METHODS[-2:]]
    others += [of("layercam", layer) for layer in maps.layers("gradcam_finetuned")[1:]]
    others.append(of("gradcam", "last", "affinity"))
    for other in others:
        assert any(not np.allclose(a, b, atol=0.1) for a, b in zip(plain, other, strict=True))


def test_the_curve_of_the_data_set_is_a_mean_over_val(run):
    maps, choice = CamMaps(run), Choice("gradcam_pretrained")
    curve, ids = maps.curve(choice), sorted(run.val_ids)
    by_hand = np.mean([maps.shown(choice, i).curve()[0.4] for i in ids[:24]])
    assert curve[0.4] == pytest.approx(by_hand, abs=1e-9)


def test_the_threshold_changes_overlay_and_iou_within_a_frame_or_two(run):
    box = cam_explorer(run)
    slider, before = control(box, "threshold"), texts(box)
    times = []
    for t in np.linspace(0.1, 0.9, 30):
        start = time.perf_counter()
        slider.value = float(t)
        times.append(time.perf_counter() - start)
    assert texts(box) != before and "now 0.90" in texts(box)
    assert np.median(times) < 0.1
    control(box, "Otsu").click()
    maps = CamMaps(run)
    shown = maps.shown(Choice(control(box, "source").value), control(box, "photo").value)
    assert slider.value == pytest.approx(shown.otsu, abs=0.006)


# --- queries


def test_the_queries_of_the_kept_epoch_are_the_students_answer(run):
    folder, image_id = students_of(run)["gradcam_finetuned-species"], run.pets.split("test")[0].id
    forming = Forming(run, folder)
    assert list(forming.epochs) == [1, 2]
    queries, soft = forming.answer(image_id)
    student = load_student(folder)
    student.mirror = False
    ((_, answer),) = predict_cached(student, run.features, [image_id])
    assert np.allclose(soft, answer.soft, atol=1e-6)
    assert sum(q.wins for q in queries) == 1
    assert min(queries, key=lambda q: q.no_object).wins
    first, _ = forming.answer(image_id, 1)
    assert not np.allclose(first[0].mask, forming.answer(image_id, 2)[0][0].mask, atol=1e-3)
    with pytest.raises(KeyError, match="epoch 7 was not saved: there are 1, 2"):
        forming.answer(image_id, 7)


def test_the_slider_goes_through_training(run):
    box = maskformer_explorer(run)
    assert "was kept" in texts(box)
    control(box, "epoch").value = 1
    assert "after epoch 1" in texts(box) and texts(box).count("<figure") == 4


def test_a_run_without_students_says_so(rendered, tmp_path):
    empty = Run(tmp_path, rendered, small())
    assert "No student" in maskformer_explorer(empty).value
    for explorer in (cam_explorer, results_explorer, photo_explorer):
        assert "make demo" in explorer(empty).value


# --- results


def test_chosen_figures_are_those_of_results_csv(run):
    results = read_results(run.folder)
    rows = chosen(results, ["ground_truth", "all_ones"], ["species"], "mask_iou_gt", "ignore")
    assert list(rows["source"]) in (["ground_truth", "all_ones"], ["all_ones", "ground_truth"])
    assert rows["value"].is_monotonic_decreasing
    markup = screen.bars(rows)
    assert all(f"{v:.3f}" in markup for v in rows["value"])
    assert "No figures" in screen.bars(rows[:0])


def test_a_breed_has_its_best_and_worst_photos_once_each(run):
    breed = run.pets.breeds[0]
    found = extremes(run, "ground_truth", "species", breed)
    assert [f["word"] for f in found] == ["best"] and found[0]["image"].ndim == 3
    box = results_explorer(run)
    before = texts(box)
    control(box, "metric").value = "boundary_iou_gt"
    assert texts(box) != before
    control(box, "breed").value = breed
    assert f"best: {breed}" in texts(box)


# --- a photo of one's own


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def test_a_photo_of_the_set_gets_the_masks_that_the_run_gave_it(run):
    sample = run.pets.split("test")[0]
    photo = open_own(sample.photo.read_bytes())
    found = {f.name: f for f in OwnPhoto(run).answers(photo)}
    assert set(found) == {"gradcam_pretrained", "gradcam_finetuned",
                          *(f"student {s}-species" for s in SOURCES)}  # fmt: skip
    for source in SOURCES[1:]:
        mask = read_mask(run.masks_folder(source) / f"{sample.id}.png") == PET
        assert metrics.iou(found[source].mask, mask) > 0.97  # a batch of one, a batch of many
    student = load_student(run.folder / "models" / "ground_truth-species")
    ((_, answer),) = predict_cached(student, run.features, [sample.id])
    own = found["student ground_truth-species"]
    assert metrics.iou(own.mask, answer.mask(photo.height, photo.width)) > 0.97
    assert own.says.split()[0] == student.classes[answer.classes.argmax()]


def test_bad_uploads_get_a_word_for_their_owner(run):
    whole = encoded(Image.new("RGB", (40, 30), "red"))
    for content, words in (
        (b"no picture", "cannot be read"),
        (whole[: len(whole) // 2], "cannot be read"),
        (b"", "cannot be read"),
        (b"x" * (MAX_BYTES + 1), "too large"),
        (encoded(Image.new("1", (6000, 5000))), "make it smaller"),
    ):
        with pytest.raises(ValueError, match=words):
            open_own(content)
    box = photo_explorer(run)
    control(box, "or a path").value = "/nowhere/at/all"
    assert "no picture and no folder" in texts(box)


def test_a_folder_offers_its_pictures(run, tmp_path):
    Image.new("RGB", (50, 40), "blue").save(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(b"broken")
    box = photo_explorer(run)
    control(box, "or a path").value = str(tmp_path)
    assert [name for name, _ in control(box, "in it").options] == ["a.png", "b.jpg"]
    assert "5 answers" in texts(box) and "download=" in texts(box)
    control(box, "in it").value = tmp_path / "b.jpg"
    assert "cannot be read" in texts(box) and "<figure" not in texts(box)


def test_a_photo_is_upright_and_a_narrow_one_is_drawn(run, tmp_path):
    lying = Image.new("RGB", (60, 40), "red")
    exif = lying.getexif()
    exif[0x0112] = 6  # "turn me to the right"
    lying.save(tmp_path / "phone.jpg", exif=exif)
    assert open_own((tmp_path / "phone.jpg").read_bytes()).size == (40, 60)
    Image.new("RGB", (900, 2), "blue").save(tmp_path / "thin.png")
    box = photo_explorer(run)
    control(box, "or a path").value = str(tmp_path / "thin.png")
    assert "5 answers" in texts(box)


def test_another_student_shows_its_own_photos_of_the_same_breed(run):
    box = results_explorer(run)
    breed = run.pets.breeds[0]
    seen = []
    for source in SOURCES[:2]:
        control(box, "student").value = source
        control(box, "breed").value = breed
        seen.append(texts(box).split("best: ")[1])
    assert seen[0] != seen[1]


def test_a_run_is_opened_again_as_it_was_made(run, tmp_path):
    before = {p: p.stat().st_mtime_ns for p in run.folder.rglob("*") if p.is_file()}
    again = reopen(run.folder)
    assert again.settings == run.settings and again.features_key == run.features_key
    cam_explorer(again), maskformer_explorer(again), results_explorer(again)
    after = {p: p.stat().st_mtime_ns for p in run.folder.rglob("*") if p.is_file()}
    kept = {p for p in before if p.name not in ("data.json", "quarantine.csv")}
    assert all(after[p] == before[p] for p in kept)
    with pytest.raises(FileNotFoundError, match="make demo"):
        reopen(tmp_path)
