"""The charts, from frames made by hand: what is drawn where, and what each mark means."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest

from petweak.study import tables
from petweak.visualization import charts
from petweak.visualization.charts import (
    ablation_points,
    annotation_hours,
    breed_points,
    clue_lines,
    cost_bars,
    growth_lines,
    label_efficiency_lines,
    learning_curves,
    overview_bars,
    probe_bars,
    round_lines,
    spread,
    threshold_curves,
)
from petweak.visualization.style import SIZES, SOURCE_COLOURS


def texts(fig) -> list[str]:
    return [t.get_text() for t in fig.legends[0].get_texts()]


def results() -> pd.DataFrame:
    rows = [
        (source, labels, "test", border, metric, value)
        for source, labels, values in (
            ("gradcam_pretrained", "breed", {"mask_iou_gt": 0.7, "pseudo_iou_gt": 0.5}),
            ("imagenet_only", "species", {"mask_iou_gt": 0.8, "pseudo_iou_gt": 0.6}),
            ("all_ones", "-", {"mask_iou_gt": 0.4}),
            ("centre_box", "-", {"mask_iou_gt": 0.45}),
        )
        for border in ("foreground", "ignore")
        for metric, value in values.items()
    ]
    frame = pd.DataFrame(rows, columns=["source", "labels", "split", "border", "metric", "value"])
    return frame.assign(low=frame["value"] - 0.1, high=frame["value"] + 0.05, n_images=10)


def test_overview_bars():
    fig = overview_bars(results())
    (ax,) = fig.axes
    assert [b.get_width() for b in ax.patches] == [0.7, 0.8]
    assert [t.get_text() for t in ax.texts] == ["0.700", "0.800", "model"]
    assert fig.get_suptitle() == (
        "Highest IoU: imagenet_only species 0.800, then gradcam_pretrained breed 0.700")
    assert texts(fig) == ["its pseudo-masks", "the paper's model", "all_ones", "centre_box"]
    (whiskers,) = ax.collections
    ends = [s[:, 0].tolist() for s in whiskers.get_segments()]
    assert np.allclose(ends, [[0.6, 0.75], [0.7, 0.85]])
    assert "the paper's model" not in texts(overview_bars(results(), paper=False))


def test_the_overview_sets_maskformer_ms_apart():
    frame = pd.concat([results(), results().query("source == 'gradcam_pretrained'").assign(
        source="ground_truth")], ignore_index=True)
    of = {"imagenet_only": "maskformer-ms", "gradcam_pretrained": "maskformer-ms"}
    frame["model"] = frame["source"].map(of).fillna("maskformer").where(frame["labels"] != "-")
    (ax,) = (fig := overview_bars(frame)).axes  # an architecture is compared with itself alone
    assert fig.get_suptitle() == "Highest IoU of MaskFormer: ground_truth breed 0.700"
    assert [t.get_text() for t in ax.get_yticklabels()] == [
        "ground_truth\nbreed", "gradcam_pretrained\nbreed, MaskFormer-MS",
        "imagenet_only\nspecies, MaskFormer-MS"]
    middle = [b.get_y() + b.get_height() / 2 for b in ax.patches]
    assert np.allclose(middle, ax.get_yticks()) and np.allclose(np.diff(middle), [1.7, 1])
    assert [b.get_width() for b in ax.patches] == [0.7, 0.7, 0.8]


@pytest.fixture
def run_folder(tmp_path):
    """Models as a run has them: maskformer and maskformer-ms, with and without val, and a round."""
    for name, source, labels, variant, levels, val in (
        ("ground_truth-breed", "ground_truth", "breed", "", ["final"], [0.0, 0.6, 0.5]),
        ("ground_truth-breed-ms", "ground_truth", "breed", "", ["final", "stride8"], [0.3] * 3),
        (
            "gradcam_finetuned-species-ms",
            "gradcam_finetuned",
            "species",
            "",
            ["final", "stride8"],
            [0.2, 0.3, 0.4],
        ),
        (
            "imagenet_only-species",
            "imagenet_only",
            "species",
            "round1",
            ["final", "stride8"],
            [None] * 3,
        ),
        (
            "imagenet_only-species-round1",
            "imagenet_only",
            "species",
            "round1",
            ["final"],
            [None] * 3,
        ),
    ):
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        config = dict(
            source=source, labels=labels, variant=variant, best_epoch=2, model={"levels": levels},
            round=1 if variant else None, published=bool(variant) and not name.endswith(variant)
        )
        (folder / "config.json").write_text(json.dumps(config))
        history = pd.DataFrame({"epoch": [1, 2, 3], "loss": [3, 2, 1], "val_mask_iou": val})
        history.to_csv(folder / "history.csv", index=False)
    (tmp_path / "models" / "in-training").mkdir()
    return tmp_path


def test_curves_of_multi_scale_models_are_there_and_each_mark_means_one_thing(run_folder):
    """They vanished with the suffix of the folder, and dashes meant two things (fault 7)."""
    for models in (
        None,
        [("ground_truth", "breed"), ("gradcam_finetuned", "species"), ("imagenet_only", "species")],
    ):
        fig = learning_curves(run_folder, models)
        loss, val = fig.axes
        assert sorted(texts(fig)) == [
            "gradcam_finetuned, species, maskformer-ms",
            "ground_truth, breed",
            "ground_truth, breed, maskformer-ms",
            "imagenet_only, species, maskformer-ms",
        ]
        for drawn in loss.lines:
            name = drawn.get_label()
            assert drawn.get_linestyle() == ("-" if "breed" in name else "--")
            assert drawn.get_marker() == ("^" if "-ms" in name else "o")
            assert drawn.get_color() == SOURCE_COLOURS[name.split(",")[0]]
    assert texts(learning_curves(run_folder, [("gradcam_finetuned", "species")])) == [
        "gradcam_finetuned, species, maskformer-ms"
    ]


def test_a_missing_val_is_no_zero_and_a_zero_is_drawn(run_folder):
    _, val = learning_curves(run_folder).axes
    drawn = [np.asarray(line.get_ydata(), float) for line in val.lines]
    curves = [y for y in drawn if len(y) == 3]
    assert any(np.array_equal(y, [0.0, 0.6, 0.5]) for y in curves)
    assert sum(np.isnan(y).all() for y in curves) == 1
    rings = [y for y in drawn if len(y) == 1]
    assert sorted(y[0] for y in rings if not np.isnan(y[0])) == [0.3, 0.3, 0.6]
    kept = "Highest IoU on val of a kept epoch: "
    assert learning_curves(run_folder).get_suptitle() == (
        f"{kept}0.60 in epoch 2, ground_truth, breed")
    assert not learning_curves(run_folder, [("imagenet_only", "species")]).get_suptitle()


def test_threshold_curves_mark_what_was_chosen():
    curves = {"gradcam_pretrained val": {0.2: 0.4, 0.4: 0.6}, "gradcam_finetuned": {0.2: 0.1}}
    (ax,) = (fig := threshold_curves(curves, {"gradcam_pretrained val": 0.3})).axes
    assert fig.get_suptitle() == "Highest IoU: 0.60, gradcam_pretrained val at 0.40"
    ring = next(line for line in ax.lines if len(line.get_xdata()) == 1)
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == pytest.approx((0.3, 0.5))
    assert [t.get_text() for t in ax.texts] == ["0.30"]
    assert ax.lines[0].get_color() == SOURCE_COLOURS["gradcam_pretrained"]


def test_breed_points():
    models = [("ground_truth", "breed"), ("ground_truth", "species")]
    table = pd.DataFrame(
        {
            "breed": ["pug", "Bengal", "all breeds"],
            "n_images": [2, 3, 5],
            "ground_truth-breed": [0.5, 0.6, 0.55],
            "all_ones": [0.4] * 3,
            "ground_truth-species": [0.7, 0.8, 0.75],
            "centre_box": [0.3] * 3,
        }
    )
    (ax,) = (fig := breed_points(table, models)).axes
    assert fig.get_suptitle() == "ground_truth-breed: pug has least, 0.50, and Bengal most, 0.60"
    points = {line.get_label(): line for line in ax.lines}
    assert points["ground_truth-species"].get_marker() == "s"
    assert points["ground_truth-breed"].get_xdata().tolist() == [0.5, 0.6, 0.55]
    assert [t.get_text() for t in ax.get_yticklabels()] == [
        "pug (2)",
        "Bengal (3)",
        "all breeds (5)",
    ]
    assert ax.yaxis_inverted()


def test_cost_bars():
    costs = pd.DataFrame(
        {
            "source": ["mask_rcnn", "gradcam_pretrained", "ground_truth"],
            "masks_seconds": [0.5, 0.1, 0.2],
            "features_seconds": [0.0, 0.2, np.nan],
        }
    )
    (ax,) = (fig := cost_bars(costs)).axes
    assert fig.get_suptitle() == (  # a machine reads ground truth, and people have drawn it
        "To make a mask takes 0.300 s (gradcam_pretrained) to 0.500 s (mask_rcnn) a photo")
    assert [t.get_text() for t in ax.texts] == ["0.500", "0.300", "0.200, only read"]
    assert [b.get_width() for b in ax.patches] == pytest.approx([0.5, 0.1, 0.2, 0, 0.2, 0])
    (ax,) = (fig := cost_bars(costs[:1])).axes
    assert fig.get_suptitle() == "To make a mask takes 0.500 s (mask_rcnn) a photo"
    assert ax.get_xlabel() == "seconds per photo on this hardware"
    assert cost_bars(costs[2:].reset_index(drop=True)).get_suptitle() == ""


def test_label_efficiency_lines_show_means_and_bands():
    points = {"pseudo": [0], "true": [3, 30], "both": [3, 30]}
    rows = [
        (kind, masks, seed, "ignore", 0.5 + 0.01 * masks + 0.02 * seed)
        for kind, of in points.items()
        for masks in of
        for seed in (0, 1)
    ]
    curve = pd.DataFrame(rows, columns=["kind", "masks", "seed", "border", "value"])
    (ax,) = (fig := label_efficiency_lines(curve)).axes
    assert fig.get_suptitle() == "On average 3 ground-truth masks do as well as pseudo-masks"
    for less, said in ((0.1, "ground truth overtakes pseudo-masks between 3 and 30 masks"),
                       (0.9, "pseudo-masks are ahead of 30 ground-truth masks")):
        poorer = curve.assign(value=curve["value"] - less * (curve["kind"] == "true"))
        assert label_efficiency_lines(poorer).get_suptitle() == f"On average {said}"
        named = label_efficiency_lines(poorer, of="37 breeds")
        assert named.get_suptitle() == f"37 breeds: on average {said}"
    true = next(line for line in ax.lines if line.get_label() == "ground-truth masks alone")
    assert true.get_xdata().tolist() == [3, 30]
    assert true.get_ydata() == pytest.approx([0.54, 0.81])
    assert len(ax.collections) == 3
    assert [t.get_text() for t in ax.get_xticklabels()] == ["3", "30"]


def test_hours_are_named_beside_lines_points_and_levels():
    points = pd.DataFrame({
        "name": ["outlines", "outlines", "labels", "nobody"],
        "source": ["ground_truth", "ground_truth", "gradcam_finetuned", "imagenet_only"],
        "series": [True, True, False, False],
        "hours": [0.1, 2.0, 1.0, 0.0],
        "iou": [0.5, 0.9, 0.7, 0.7],
        "smallest": [0.4, 0.9, 0.7, 0.7],
        "largest": [0.6, 0.9, 0.7, 0.7],
    })
    fig = annotation_hours(points, "What is found")
    (ax,) = fig.axes
    assert fig.get_suptitle() == "What is found" and ax.get_xscale() == "log"
    names = {t.get_text(): t.xy[1] for t in ax.texts}
    assert set(names) == {"outlines", "labels", "nobody"}
    apart = sorted(names.values())
    assert min(b - a for a, b in zip(apart, apart[1:], strict=False)) > 0.02  # no text on another
    level = next(line for line in ax.lines if line.get_linestyle() == "--")
    assert list(level.get_ydata()) == [0.7, 0.7]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["15 min", "1 h", "3 h"]


def test_values_are_spread_no_more_than_they_have_to():
    assert spread([0.1, 0.5, 0.9], 0.2) == [0.1, 0.5, 0.9]
    assert spread([0.5, 0.5], 0.2) == pytest.approx([0.4, 0.6])
    out = spread([0.5, 0.5, 0.5, 2.0], 0.2)
    assert min(b - a for a, b in zip(out, out[1:], strict=False)) >= 0.199 and out[-1] == 2.0


def test_clues_are_lines_of_faults_and_a_cross_for_the_paper():
    clues = pd.DataFrame({"fault": ["none", "none", "odd"], "threshold": [0.5, 0.2, 0.2],
                          "finetuned": [0.3, 0.5, 0.4], "test": [0.3, 0.6, 0.1]})
    (ax,) = (fig := clue_lines(clues, (0.09, 0.54), ["odd"])).axes
    assert fig.get_suptitle() == "No point is less than 0.14 from the paper's pair"
    none, odd, cross = ax.lines
    name, paper = ax.texts
    assert none.get_xdata().tolist() == [0.5, 0.3] and paper.get_text() == "the paper"
    assert (name.get_text(), name.get_color(), name.xy) == ("odd", odd.get_color(), (0.4, 0.1))
    assert not fig.legends
    assert (cross.get_xdata()[0], cross.get_ydata()[0]) == (0.54, 0.09)
    assert none.get_color() != odd.get_color()


def test_round_lines():
    rows = [
        ("train", "pseudo_iou_gt", 0.6, 0),
        ("test", "mask_iou_gt", 0.7, 0),
        ("train", "pseudo_iou_gt", 0.8, 1),
        ("test", "mask_iou_gt", 0.9, 1),
    ]
    frame = pd.DataFrame(rows, columns=["split", "metric", "value", "round"]).assign(
        source="imagenet_only",
        labels="species",
        border="ignore",
        low=0.1,
        high=1.0,
        model="maskformer-ms",
    )
    fig = round_lines(tables.rounds(frame, border="ignore"))
    assert fig.axes[0].get_xticks().tolist() == [0, 1]
    assert fig.get_suptitle() == "IoU of the model on test: 0.700 in round 0, 0.900 in round 1"
    assert texts(fig) == ["its masks on train", "imagenet_only, species: model on test"]


def test_probe_bars():
    probes = pd.DataFrame({"level": ["final", "stride8"], "channels": [8, 4], "iou": [0.5, 0.75]})
    fig = probe_bars(probes)
    assert [bar.get_width() for bar in fig.axes[0].patches] == [0.5, 0.75]
    assert fig.get_suptitle() == "stride8 has the highest IoU, 0.750: 0.250 more than final"


def test_every_chart_comes_in_every_size_and_dark():
    drawn = {n: f for n, f in vars(charts).items() if "return" in getattr(f, "__annotations__", {})}
    drawn = {n: f for n, f in drawn.items() if f.__annotations__["return"] is charts.Figure}
    assert len(drawn) == 13 and all(
        hasattr(f, "__wrapped__") for n, f in drawn.items() if n != "canvas"
    )


def test_ablation_points():
    """Filled where it satisfies; the front; names of the best, the simplest and the paper's."""
    rows = [("paper", "final", 1000, 0.9, "yes"), ("small", "final", 40, 0.89, "yes"),
            ("other", "final", 500, 0.895, "yes"), ("ms", "final,stride8", 60, 0.8, "no")]
    table = pd.DataFrame(rows, columns=["row", "levels", "parameters", "iou", "satisfies"])
    table = table.assign(source="ground_truth", network="MaskFormer", smallest=table["iou"] - 0.01,
                         largest=table["iou"] + 0.02, share=table["parameters"] / 1000,
                         pareto=table["row"] != "ms", p=[None, 0.01, 0.01, 0.01], all_ones=0.4)
    fig = ablation_points(table, "Small ones do")
    (ax,) = fig.axes
    points = {tuple(np.ravel(c.lines[0].get_xydata())): c.lines[0] for c in ax.containers}
    filled = {at for at, line in points.items() if line.get_mfc() == SOURCE_COLOURS["ground_truth"]}
    assert set(points) - filled == {(60, 0.8)} and len(points) == 4
    assert points[60, 0.8].get_marker() == "^" and points[40, 0.89].get_marker() == "o"
    assert {t.get_text() for t in ax.texts} == {"paper", "small"}
    lines = [list(line.get_xdata()) for line in ax.lines]
    assert [40, 500, 1000] in lines and [100, 100] in lines
    assert [0.4, 0.4] in [list(line.get_ydata()) for line in ax.lines]
    assert fig.get_suptitle() == "Small ones do"
    (legend,) = fig.legends
    looks = {t.get_text(): line.get_ls() for t, line in zip(
        legend.get_texts(), legend.get_lines(), strict=True)}
    front = next(line for line in ax.lines if list(line.get_xdata()) == [40, 500, 1000])
    assert looks["Pareto front"] == front.get_ls() == "-"
    assert looks["all_ones"] == "--" and looks["a tenth of the parameters of full-size"] == ":"


def test_growth_lines():
    axes = ("photos", "side")
    rows = [(axis, n, 1.0 * n, 2.0 * n, 900.0, 500.0) for axis in axes for n in (2, 8)]
    names = ["axis", "value", "features", "all", "rss_mb", "own_mb"]
    fits = pd.DataFrame({"all": [1.0, 2.25], "own_mb": [0.0, 0.5]}, index=axes)
    fig = growth_lines(pd.DataFrame(rows, columns=names), fits)
    assert len(fig.axes) == 4 and {ax.get_xscale() for ax in fig.axes} == {"log"}
    assert [len(ax.lines) for ax in fig.axes] == [2, 2, 2, 2]
    assert fig.axes[0].lines[1].get_ydata().tolist() == [4.0, 16.0]
    titles = [ax.get_title("left") for ax in fig.axes]
    assert titles[0] == "exponent of all: 1.00" and titles[3] == "exponent of own: 0.50"
    assert fig.axes[0].get_xticks().tolist() == [2, 8] and fig.axes[1].get_ylim()[0] == 0
    assert texts(fig) == ["features", "all", "resident memory, MB", "own memory, MB"]
    assert fig.get_suptitle() == (
        "The seconds of all stages grow most with side: as power 2.25")
    fits.loc["photos", "all"] = 2.2499  # to two digits the same: neither is named alone
    assert growth_lines(pd.DataFrame(rows, columns=names), fits).get_suptitle() == (
        "The seconds of all stages grow most with photos and side: as power 2.25")


@pytest.mark.parametrize("size", SIZES)
def test_titles_lie_inside_the_canvas(size, run_folder):
    """One was cut at the right edge."""
    points = pd.DataFrame({"name": ["a", "b"], "source": ["ground_truth", "external"],
                           "series": [False, False], "hours": [0.1, 2.0], "iou": [0.5, 0.9],
                           "smallest": [0.4, 0.9], "largest": [0.6, 0.9]})
    long = "three breeds: pseudo-masks alone are worth 0.7 to 1.0 hours of outlines"
    probes = pd.DataFrame({"level": ["final", "stride8"], "channels": [8, 4], "iou": [0.5, 0.75]})
    for fig in (annotation_hours(points, long, size=size), overview_bars(results(), size=size),
                learning_curves(run_folder, size=size), probe_bars(probes, size=size)):
        fig.savefig(io.BytesIO(), format="png")
        box, axes = fig._suptitle.get_window_extent(), fig.axes[0].get_window_extent()
        assert 0 <= box.x0 and box.x1 <= fig.bbox.x1, fig.get_suptitle()
        assert axes.y1 <= box.y0 and box.y1 <= fig.bbox.y1, fig.get_suptitle()
