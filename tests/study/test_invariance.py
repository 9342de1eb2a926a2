"""What results may not depend on: the order and the batches in which photos come, the number of
threads, and left and right. For every source that there is.

Two ways of summing differ in the last bits of float32, so maps agree within 1e-4 (of values from
0 to 1) and masks but for pixels that lie on the threshold. The order of the lists is part of the
data: val and the batches of training are drawn from it by their seeds.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import small
from few import few_photos

from petweak.data.feature_cache import Features
from petweak.evaluation import scoring
from petweak.models.maskformer import MaskFormer, MaskFormerConfig
from petweak.pseudo_masks import SOURCES, source_class
from petweak.pseudo_masks.refinement import STEPS
from petweak.study.run import Run
from petweak.training.inference import Predictor, predict_features

NEAR = dict(rtol=0, atol=1e-4)
# `mask_rcnn` is `mask_rcnn_compact` with a detector that cannot be had everywhere (test_sources).
HERE = [name for name in SOURCES if name != "mask_rcnn"]


@contextmanager
def threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(rendered, tmp_path_factory) -> Path:
    root = few_photos(rendered, tmp_path_factory.mktemp("invariance"), breeds=2)
    run = Run(root / "run", root, small())
    run.masks("ground_truth")
    shutil.copytree(run.masks_folder("ground_truth"), root / "pngs")
    return root


def open_run(data: Path, **changes) -> Run:
    return Run(data / "run", data, small(external_masks=str(data / "pngs"), **changes))


def maps(run: Run, name: str, ids: list[str], size: int, **changes) -> dict[str, torch.Tensor]:
    """{id: map} of the source fitted again, in batches of `size`."""
    source = run.fitted_source(name, **changes)
    with torch.no_grad():
        return {i: m for b in run.context.batches(ids, size)
                for i, m in zip(b.ids, source.refined(b), strict=True)}


def assert_near(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for i, m in one.items():
        torch.testing.assert_close(other[i], m, **NEAR)


# Every source, and every step after a source that honours views.
CASES = [(name, "pamr" if name == "imagenet_only" else "") for name in HERE]
CASES += [("gradcam_pretrained", step) for step in STEPS]


@pytest.mark.parametrize("name, refinement", CASES)
def test_maps_do_not_depend_on_order_batches_or_threads(data, name, refinement):
    run, size = open_run(data, refinement=refinement), source_class(name).batch_size
    ids = list(run.ids)
    expected = maps(run, name, ids, size)
    assert_near(expected, maps(run, name, ids[::2] + ids[1::2], min(size, 5)))
    with threads(2):
        assert_near(expected, maps(run, name, ids[::-1], 1))


def mirrored(features: Features) -> Features:
    """The features of a set in which every photo was mirrored before: the views change places."""
    arrays = {level: np.ascontiguousarray(features.map(level)[:, ::-1])
              for level in (*features.levels, "pooled")}
    return Features(Path(), features.ids, features.levels, arrays=arrays)


@pytest.mark.parametrize("name", [n for n in HERE if source_class(n).features])
def test_the_map_of_a_mirrored_photo_is_the_mirrored_map(data, name):
    run = open_run(data, cam_mirror=True)
    source = run.source(name)
    source.fit()
    batch = run.context.batch(list(run.ids))
    with torch.no_grad():
        expected = source.probabilities(batch).flip(-1)
        source.context = run.context.replace(source.context.settings)
        source.context.features = mirrored(run.features)
        torch.testing.assert_close(source.probabilities(batch), expected, **NEAR)


def half_ulp(maps: np.ndarray) -> np.ndarray:
    """What rounding to float16 may add to values that differ in the last bits of float32."""
    return np.maximum(np.abs(maps.astype(np.float32)) * 2.0**-9, 2e-3)


def test_features_do_not_depend_on_order_batches_or_threads(data, tmp_path):
    """They are stored in half precision, where one step may lie between them."""
    run = open_run(data)
    lists = data / "oxford-iiit-pet" / "annotations"
    shutil.copytree(data / "oxford-iiit-pet", tmp_path / "reversed" / "oxford-iiit-pet")
    for file in ("trainval.txt", "test.txt"):
        lines = (lists / file).read_text().splitlines()
        other = tmp_path / "reversed" / "oxford-iiit-pet" / "annotations" / file
        other.write_text("\n".join(lines[::-1]) + "\n")
    others = [Run(tmp_path / "by 5", data, small(extraction_batch=5)),
              Run(tmp_path / "run", tmp_path / "reversed", small(extraction_batch=1))]
    for other in others:
        with threads(2):
            features = other.features
        for level in features.levels:
            ours, theirs = (f.batch(level, list(run.ids)).numpy() for f in (run.features, features))
            assert (np.abs(ours - theirs) <= half_ulp(ours)).all()


@pytest.fixture(scope="module")
def predictor(data) -> Predictor:
    """An untrained model of the levels of MaskFormer-MS."""
    features = open_run(data).features
    torch.manual_seed(0)
    levels = ("final", "stride16")
    channels = tuple(features.map(level).shape[2] for level in levels)
    config = MaskFormerConfig(2, channels, levels=levels, decoder_channels=8, queries=3, hidden=8)
    return Predictor(MaskFormer(config).eval(), ("cat", "dog"), "efficientnet_lite0", 64, True)


def predictions(predictor: Predictor, features: Features, ids: list[str], size: int = 32):
    return {i: torch.cat([torch.from_numpy(x).flatten() for x in (p.soft, p.classes)])
            for i, p in predict_features(predictor, features, ids, size)}


def test_predictions_do_not_depend_on_order_batches_or_threads(data, predictor):
    features = open_run(data).features
    ids = list(features.ids)
    expected = predictions(predictor, features, ids)
    assert_near(expected, predictions(predictor, features, ids[::-1]))
    assert_near(expected, predictions(predictor, features, ids[::2] + ids[1::2], 5))
    assert_near(expected, predictions(predictor, features, ids, 1))
    with threads(2):
        assert_near(expected, predictions(predictor, features, ids))


def test_the_prediction_of_a_mirrored_photo_is_the_mirrored_prediction(data, predictor):
    features = open_run(data).features
    ids = list(features.ids)
    pairs = zip(predict_features(predictor, features, ids),
                predict_features(predictor, mirrored(features), ids), strict=True)
    for (_, straight), (_, mirror) in pairs:
        assert np.array_equal(straight.soft[:, ::-1], mirror.soft)
        assert np.array_equal(straight.classes, mirror.classes)


def test_scores_do_not_depend_on_the_order_of_rows(data):
    """Intervals are drawn by the rows' places: another order is another draw, of the same."""
    run = open_run(data)
    table = scoring.score_masks(run.pets.samples, run.masks_folder("ground_truth"))
    rng = np.random.default_rng(0)
    table = pd.concat([table.assign(id=table["id"] + f"-{k}") for k in range(20)])
    for column in [c for c in table if c.startswith(("iou/", "boundary/"))]:
        table[column] = rng.random(len(table))
    classes, pixels = rng.integers(0, 2, (2, len(table))), rng.integers(0, 99, (len(table), 3, 2))
    cells = [[[k, *sorted(p)] for k, p in enumerate(photo.tolist())] for photo in pixels]
    table = table.assign(mask_iou=rng.random(len(table)), predicted=classes[0], **{
        "class": classes[1], "semantic/ignore": [json.dumps(cell) for cell in cells]})

    def rows(frame: pd.DataFrame) -> dict[tuple, dict]:
        found = scoring.model_rows(frame, 1000, 2) + scoring.mask_rows(frame, 1000)
        return {(r["split"], r["border"], r["metric"]): r for r in found}

    one, other = rows(table), rows(table.sample(frac=1, random_state=1))
    assert one.keys() == other.keys() and len(one) == 2 * (3 + 4 * 3 + 1)
    for place, row in one.items():
        assert other[place]["n_images"] == row["n_images"]
        assert other[place]["value"] == pytest.approx(row["value"], abs=1e-12), place
        width = row["high"] - row["low"]
        for end in ("low", "high"):
            assert other[place][end] == pytest.approx(row[end], abs=width / 5 + 1e-12), place
