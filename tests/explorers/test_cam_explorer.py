"""Soft maps and thresholds: what a control changes, and that menus follow the source."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import every_lock, small
from explored import control, refuse, run, texts  # noqa: F401 - fixtures
from few import few_photos

from petweak.data.masks import FOREGROUND, read_mask
from petweak.data.oxford_pets import load_trimap
from petweak.evaluation import metrics
from petweak.explorers import cam_explorer
from petweak.explorers.cam import METHODS, CamMaps, Choice
from petweak.explorers.controls import AS_ON_DISK
from petweak.study.run import Run


@pytest.fixture(scope="module")
def refined(rendered, tmp_path_factory) -> Run:
    """A run whose CAMs are refined, and whose detector's masks are not."""
    steps = dict(refinement="multiscale,walk", refinement_scales=(1.0,), walk_steps=4)
    data = few_photos(rendered, tmp_path_factory.mktemp("few"))
    refined = Run(tmp_path_factory.mktemp("refined"), data, small(**steps))
    refined.masks("imagenet_only")
    Run(refined.folder, data, small()).masks("mask_rcnn_compact")
    return refined


def test_the_maps_are_those_of_the_masks_on_disk(run):  # noqa: F811
    maps, sample = CamMaps(run), run.pets.split("test")[0]
    assert list(maps.sources.manifests) == ["gradcam_pretrained", "gradcam_finetuned"]
    for source in maps.sources.manifests:
        shown = maps.shown(Choice(source), sample.id)
        mask = read_mask(run.masks_folder(source) / f"{sample.id}.png") == FOREGROUND
        assert metrics.iou(shown.soft > maps.threshold(source), mask) > 0.999  # a batch of one
        for border, value in shown.ious(0.4).items():
            target = metrics.target(load_trimap(sample.trimap), border)
            assert value == metrics.iou(shown.soft > 0.4, *target)


def test_a_refined_source_is_shown_as_the_run_refined_it(refined):
    maps, sample = CamMaps(refined), refined.pets.split("test")[0]
    assert maps.refinements("imagenet_only")[:2] == [AS_ON_DISK, "none"]
    assert maps.refinements("mask_rcnn_compact")[0] == "none"
    shown = maps.shown(Choice("imagenet_only", refinement=AS_ON_DISK), sample.id)
    mask = read_mask(refined.masks_folder("imagenet_only") / f"{sample.id}.png") == FOREGROUND
    assert metrics.iou(shown.soft > maps.threshold("imagenet_only"), mask) > 0.97


def test_menus_follow_the_source_before_anything_is_drawn_and_once(refined, monkeypatch):
    """KeyError: 'refine' after a change from a refined source to one that is not (fault 5)."""
    asked = []
    plain = CamMaps._shown
    monkeypatch.setattr(CamMaps, "_shown", lambda *a: asked.append(a[1:]) or plain(*a))
    drawn = []
    monkeypatch.setattr("petweak.explorers.cam.overlay", lambda *a: drawn.append(a) or a[0])
    box = cam_explorer(refined)
    source, refinement = control(box, "source"), control(box, "refinement")
    assert source.value == "imagenet_only" and refinement.value == AS_ON_DISK and len(drawn) == 1
    for name, steps, layers in (
        ("mask_rcnn_compact", "none", False),
        ("imagenet_only", AS_ON_DISK, True),
        ("mask_rcnn_compact", "none", False),
    ):
        asked.clear(), drawn.clear()
        source.value = name
        assert refinement.value == steps and bool(control(box, "level").options) == layers
        assert len(drawn) == 1
        assert {c for c, _ in asked} <= {Choice(name, "gradcam", "final", steps)}
        assert control(box, "threshold").value == CamMaps(refined).threshold(name)
    drawn.clear()
    control(box, "photo").value = refined.pets.split("train")[0].id
    control(box, "threshold").value = 0.3
    assert len(drawn) == 2


def test_every_level_method_and_pipeline_gives_maps_of_its_own(run):  # noqa: F811
    maps, ids = CamMaps(run), [s.id for s in run.pets.split("test")[:6]]

    def of(*choice):
        soft = [maps.shown(Choice("gradcam_finetuned", *choice), i).soft for i in ids]
        assert all(np.isfinite(m).all() and 0 <= m.min() and m.max() <= 1 for m in soft), choice
        return soft

    plain = of()
    others = [of(METHODS[-1]), *(of("layercam", x) for x in maps.levels("gradcam_finetuned")[1:])]
    for other in others:
        assert any(not np.allclose(a, b, atol=0.1) for a, b in zip(plain, other, strict=True))
    assert maps.levels("mask_rcnn_compact") == ()


def test_pipelines_whose_feature_caches_are_missing_are_not_offered(run, refined):  # noqa: F811
    assert CamMaps(run).refinements("gradcam_finetuned") == ["none"]  # scales 0.5, 0.75, ...
    names = CamMaps(refined).refinements("imagenet_only")
    assert names[:2] == [AS_ON_DISK, "none"] and {"affinity", "consensus"} <= set(names)
    other = Run(
        refined.folder, refined.data_root, refined.settings.replace(refinement_scales=(0.5,))
    )
    other.features_key = refined.features_key
    assert CamMaps(other).refinements("imagenet_only") == ["none"]


def test_the_curve_of_the_data_set_is_a_mean_over_val(run):  # noqa: F811
    maps, choice = CamMaps(run), Choice("gradcam_pretrained")
    by_hand = [maps.shown(choice, i).ious(0.4)["foreground"] for i in sorted(run.val_ids)[:24]]
    assert maps.curve(choice)[0.4] == pytest.approx(np.mean(by_hand), abs=1e-9)


def test_the_threshold_changes_overlay_and_iou_without_a_new_map(run, monkeypatch):  # noqa: F811
    box = cam_explorer(run)
    slider, before = control(box, "threshold"), texts(box)
    monkeypatch.setattr("petweak.explorers.controls.Sources.source", None)
    slider.value = 0.9
    assert texts(box) != before and "now 0.90" in texts(box)
    control(box, "Otsu").click()
    assert slider.value != 0.9 and f"Otsu {slider.value:.2f}" in texts(box)


def test_nothing_moves_the_runs_backbone(run, monkeypatch):  # noqa: F811
    """`run.backbone.cpu()` moved the network of the run for good (fault 14)."""
    run.backbone  # noqa: B018
    monkeypatch.setattr(
        "petweak.models.backbones.Backbone._apply", None
    )  # what to() and cpu() call
    box = cam_explorer(run)
    control(box, "level").value = "stride16"
    assert "svg" in texts(box)


def test_it_opens_while_a_study_runs_and_makes_nothing(run, refuse):  # noqa: F811
    with every_lock(run):
        assert control(cam_explorer(Run(run.folder, run.data_root, run.settings)), "source")


def test_without_features_only_sources_that_need_none_are_offered(refined, refuse):  # noqa: F811
    moved = refined.folder / "features"
    moved.rename(refined.folder / "moved")
    try:
        again = Run(refined.folder, refined.data_root, refined.settings)
        assert control(cam_explorer(again), "source").options == ("mask_rcnn_compact",)
    finally:
        (refined.folder / "moved").rename(moved)
