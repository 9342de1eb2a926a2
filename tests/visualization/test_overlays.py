"""Photos with masks: what is tinted, outlined, and written above."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from petweak.data.masks import write_mask
from petweak.data.oxford_pets import Sample
from petweak.visualization.overlays import gallery, overlay, show_examples, show_masks, show_photos
from petweak.visualization.style import SIZES, SOURCE_COLOURS

PHOTO = Image.new("RGB", (60, 40), (100, 100, 100))


def mask(dtype: type = bool) -> np.ndarray:
    out = np.zeros((40, 60), dtype)
    out[10:30, 10:40] = 255 if dtype is np.uint8 else True
    return out


def names(fig) -> list[str]:
    return [t.get_text() for t in fig.axes[0].texts if t.get_text()]


def test_a_mask_is_tinted_and_outlined_and_its_ignore_region_greyed():
    drawn = mask(np.uint8)
    drawn[:, 50:] = 128
    out = overlay(PHOTO, drawn, "#ff0000")
    assert tuple(out[5, 5]) == (100, 100, 100)
    assert tuple(out[20, 20]) == (169, 55, 55)
    assert tuple(out[10, 20]) == (255, 127, 127) and tuple(out[9, 20]) == (63, 0, 0)
    assert tuple(out[5, 55]) == (112, 112, 112)
    assert np.array_equal(overlay(PHOTO, mask(), "#ff0000")[:, :45], out[:, :45])


def test_an_edge_shows_where_the_tint_does_not():
    """A brown mask on a brown animal could not be seen."""
    for fur in SOURCE_COLOURS.values():
        out = overlay(Image.new("RGB", PHOTO.size, fur), mask(), fur).astype(int)
        assert np.abs(out[20, 20] - out[5, 5]).max() <= 1  # the tint
        assert out[10, 20].sum() - out[9, 20].sum() > 250


def test_ground_truth_is_outlined_in_white_on_black():
    out = overlay(PHOTO, None, "", mask())
    assert tuple(out[20, 20]) == (100, 100, 100)
    assert tuple(out[10, 20]) == (255, 255, 255) and tuple(out[9, 20]) == (0, 0, 0)


def test_the_photo_is_not_changed_and_shapes_have_to_fit():
    pixels = np.asarray(PHOTO).copy()
    overlay(pixels, mask(), "#ff0000", mask())
    assert np.array_equal(pixels, np.asarray(PHOTO))
    for wrong in ((mask().T, None), (None, mask().T)):
        with pytest.raises(ValueError, match="shape"):
            overlay(PHOTO, wrong[0], "#ff0000", wrong[1])


def test_show_masks_gives_the_iou_with_the_border_as_foreground():
    trimap = np.where(mask(), 1, 2).astype(np.uint8)
    trimap[10:30, 40:50] = 3
    fig = show_masks(PHOTO, {"external": mask(), "gradcam_finetuned": mask(np.uint8)}, trimap)
    assert names(fig)[:4] == ["photo", "trimap", "external 0.75", "gradcam_finetuned 0.75"]
    assert "border as foreground" in names(fig)[-1] and len(fig.axes[0].images) == 4
    assert names(show_masks(PHOTO, {"external": mask()})) == ["photo", "external"]
    assert names(show_masks(PHOTO, {}, trimap)) == ["photo", "trimap"]  # no line, no note


def test_examples_are_the_best_the_median_and_the_worst_of_test(tmp_path):
    PHOTO.save(tmp_path / "photo.png")
    Image.fromarray(np.where(mask(), 1, 2).astype(np.uint8)).save(tmp_path / "trimap.png")
    sample = Sample("a", tmp_path / "photo.png", tmp_path / "trimap.png", 0, 0, "test", "pug")
    for i in "abcd":
        write_mask(tmp_path / f"{i}.png", mask(np.uint8))
    table = pd.DataFrame({"id": list("abcd"), "split": ["test"] * 3 + ["train"],
                          "iou/foreground": [0.5, 0.123, 0.9, 1.0]})
    run = SimpleNamespace(
        mask_scores=lambda source: SimpleNamespace(photos=table), masks_folder=lambda s: tmp_path,
        pets=SimpleNamespace(sample=lambda i: sample))
    shown = names(show_examples(run, "external"))
    assert [t for t in shown if ": " in t][:3] == ["best: c", "median: a", "worst: b"]
    assert [t for t in shown if t.startswith("external")] == [
        "external 0.90", "external 0.50", "external 0.12"]


def test_names_and_headings_wrap_and_lie_within_the_figure():
    row = {
        "title": "best, breed labels: american_pit_bull_terrier_13, IoU 0.95, and more of it",
        "photo": PHOTO,
        "target": mask(),
        "masks": {
            f"{name} mask 0.8{k}": mask()
            for k, name in enumerate(("gradcam_finetuned", "mask_rcnn_compact", "imagenet_only"))
        },
    }
    for size in SIZES:
        fig = gallery([row, row | {"plain": False}], columns=4, size=size)
        fig.draw_without_rendering()
        heading = names(fig)[0]
        assert heading.replace("\n", " ").replace("_ ", "_") == row["title"]
        assert ("\n" in heading) == (size != "two") and len(fig.axes[0].images) == 7
        boxes = [t.get_window_extent() for t in fig.axes[0].texts if t.get_text()]
        assert all(
            b.x0 >= 0 and b.y0 >= 0 and b.x1 <= fig.bbox.x1 and b.y1 <= fig.bbox.y1 for b in boxes
        )
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_a_page_is_not_exceeded():
    rows = [
        {"title": str(k), "photo": PHOTO, "target": None, "masks": {"external": mask()}}
        for k in range(12)
    ]
    assert gallery(rows, columns=2, size="one").get_figheight() <= 8.6 + 1e-6
    assert gallery(rows, columns=2).get_figheight() > 20


def test_photos_are_four_in_a_row_or_two_and_two():
    fig = show_photos([PHOTO] * 4, columns=3)
    lefts = sorted({round(im.get_extent()[0], 2) for im in fig.axes[0].images})
    assert len(lefts) == 2
    assert names(show_photos({"pug_1": PHOTO})) == ["pug_1"]


def test_photos_that_a_page_would_make_small_stand_in_fewer_rows():
    masks = {f"external {k}": mask() for k in range(5)}
    rows = [{"title": "a pug", "photo": PHOTO, "target": None, "masks": masks}] * 8
    for size, columns in (("screen", 3), ("two", 6)):
        images = gallery(rows, size=size).axes[0].images
        assert len({round(im.get_extent()[0], 2) for im in images}) == columns
