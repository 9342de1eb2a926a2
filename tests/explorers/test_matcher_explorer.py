"""The matcher by hand: its costs are training's, and moved masks change the assignment."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from conftest import small
from explored import control, refuse, run, texts  # noqa: F401 - fixtures
from PIL import Image
from scipy.optimize import linear_sum_assignment

from petweak.data.masks import FOREGROUND, read_mask
from petweak.explorers import matcher_explorer
from petweak.explorers.drag import Draggable
from petweak.explorers.matcher import COLOURS, GRID, Query, Scene
from petweak.study.run import Run
from petweak.visualization.overlays import overlay

SOURCE = "gradcam_pretrained"


@pytest.fixture
def ids(run) -> tuple[str, str]:  # noqa: F811
    """Two photos whose masks are neither empty nor the whole photo."""
    folder = run.masks_folder(SOURCE)
    shares = {i: (read_mask(folder / f"{i}.png") == FOREGROUND).mean() for i in run.ids}
    return tuple([i for i, share in shares.items() if 0.15 < share < 0.6][:2])


@pytest.fixture
def scene(run, ids) -> Scene:  # noqa: F811
    return Scene(run, SOURCE, ids)


def test_the_terms_are_those_of_the_definition(scene):
    queries = Query(0.35, -0.2, 0.7), Query(-0.6, 0.1, 0.45)
    matching, (of_class, of_mask, of_dice) = scene.match(queries), scene.weights
    for q, query in enumerate(queries):
        p = 1 / (1 + np.exp(-4.0 * (2 * scene.moved(q, query) - 1)))
        for o, t in enumerate(scene.pets):
            right = np.where(t, p, 1 - p)
            bce, dice = -np.log(right).mean(), 1 - (2 * p[t].sum() + 1) / (p.sum() + t.sum() + 1)
            by_class = -(query.of_a, 1 - query.of_a)[o]
            found = [terms[q, o] for terms in matching.terms.values()]
            assert np.allclose(found, [by_class, bce, dice], atol=1e-4)
            total = of_class * by_class + of_mask * bce + of_dice * dice
            assert matching.cost[q, o] == pytest.approx(total, abs=1e-3)
    rows, columns = linear_sum_assignment(matching.cost)
    assert dict(enumerate(matching.query_of)) == dict(zip(columns, rows, strict=True))
    assert matching.total(matching.query_of) <= matching.total(matching.query_of[::-1])


def test_masks_that_change_places_change_the_assignment(scene):
    assert scene.match((Query(), Query())).query_of == (0, 1)
    assert scene.match((Query(right=1), Query(right=-1))).query_of == (1, 0)
    # Masks that are gone leave it to the class.
    gone = [scene.match((Query(-1, 1, a), Query(1, 1, 1 - a))) for a in (0.9, 0.1)]
    assert [m.query_of for m in gone] == [(0, 1), (1, 0)]


def test_a_mask_is_moved_by_shares_of_a_half_and_cut_at_the_edge(scene):
    assert (scene.moved(0, Query()) == scene.pets[0]).all()
    right = scene.moved(0, Query(right=0.25))
    assert (right[:, GRID // 4 :] == scene.pets[0][:, : -GRID // 4]).all() and right.any()
    down = scene.moved(1, Query(down=0.25))
    assert (down[GRID // 4 :] == scene.pets[1][: -GRID // 4]).all() and not down[: GRID // 4].any()
    assert not scene.moved(0, Query(right=-1)).any()


def test_the_images_over_each_other_are_the_overlay(scene):
    expected = scene.photo
    for k, pet in enumerate(scene.pets):
        mask, pets = (np.kron(m, np.ones((3, 3), bool)) for m in (pet, scene.pets.any(0)))
        expected = overlay(expected, mask, COLOURS[k], pets if k else None)
    photo, *above = (Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))
                     for uri in scene.images)
    assert photo.size == scene.photo.shape[1::-1] and len(above) == 3
    shown = Image.fromarray(scene.photo).convert("RGBA")
    for image in above:
        shown = Image.alpha_composite(shown, image)
    assert np.abs(np.asarray(shown)[..., :3].astype(int) - expected).max() <= 3


@pytest.fixture
def box(run, ids, refuse):  # noqa: F811
    box = matcher_explorer(run)
    for name, value in zip(("masks of", "pet A", "pet B"), (SOURCE, *ids), strict=True):
        control(box, name).value = value
    return box


def dragged(box) -> Draggable:
    return next(child for child in box.children if isinstance(child, Draggable))


def test_a_slider_moves_the_mask_and_the_assignment_flips(box):
    before, images = texts(box), dragged(box).images
    assert re.findall(r"by query (\d)", before) == ["0", "1", "1", "0"]
    assert before.count("outline") == 2 and len(images) == 4
    for k, way in enumerate((1, -1)):
        control(box, f"right {k}").value = way
    after = texts(box)
    assert re.findall(r"by query (\d)", after) == ["1", "0", "0", "1"]
    assert dragged(box).value == [[1, 0], [-1, 0]] and dragged(box).images == images
    control(box, "p(A) 0").value = 0.05
    assert texts(box) != after
    control(box, "pet A").value = control(box, "pet A").options[3]
    assert control(box, "right 0").value == 1
    assert [a == b for a, b in zip(images, dragged(box).images, strict=True)] == [
        False, False, True, False]


def test_sliders_and_costs_follow_a_drag_once_and_within_the_range(box):
    table, changes = box.children[-1], []
    table.observe(lambda _: changes.append("table"), "value")
    dragged(box).observe(lambda change: changes.append(change["new"]), "value")

    def drag(*value):
        """As the page sends it."""
        changes.clear()
        dragged(box).set_state({"value": list(value)})
        return [control(box, f"{way} {k}").value for k in range(2) for way in ("right", "down")]

    before = table.value
    assert drag([0.3, -0.14], [0, 0]) == [0.3, -0.14, 0, 0]
    assert changes == ["table", [[0.3, -0.14], [0, 0]]] or changes == [
        [[0.3, -0.14], [0, 0]], "table"]
    by_drag = table.value
    assert by_drag != before
    for way in ("right", "down"):
        control(box, f"{way} 0").value = 0
    assert table.value == before and dragged(box).value == [[0, 0], [0, 0]]
    control(box, "right 0").value, control(box, "down 0").value = 0.3, -0.14
    assert table.value == by_drag  # whichever way it came there
    assert drag([3, 0], [0, -2]) == [1, 0, 0, -1]
    assert dragged(box).value == [[1, 0], [0, -1]] and changes.count("table") == 1


def test_a_run_without_masks_says_so(rendered, tmp_path):
    assert "make demo" in matcher_explorer(Run(tmp_path, rendered, small())).value
