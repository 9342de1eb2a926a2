"""The tables and figures of what goes beyond the paper, from frames made by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from petweak import tables
from petweak.beyond import _with_earlier, summary
from petweak.choices import BALLOT, rank_signals
from petweak.config import Settings
from petweak.figures import beyond_table, recipes_table, tried_table, unseen_table
from petweak.plots_beyond import labelling_lines, probe_bars, round_lines
from petweak.pseudo_masks.signals import SIGNALS
from petweak.recipes import SIGNALS as RECIPE_SIGNALS
from petweak.recipes import choices
from petweak.unseen import by_recipe, lost

CURVE = pd.DataFrame(
    [(kind, masks, seed, "ignore", 0.5 + 0.01 * masks + 0.02 * seed)
     for kind, points in (("pseudo", [0]), ("true", [3, 30]), ("both", [3, 30]))
     for masks in points for seed in (0, 1)],
    columns=["kind", "masks", "seed", "border", "value"],
)  # fmt: skip


def results() -> pd.DataFrame:
    rows = [
        ("train", "pseudo_iou_gt", 0.6, 0), ("test", "mask_iou_gt", 0.7, 0),
        ("train", "pseudo_iou_gt", 0.8, 1), ("test", "mask_iou_gt", 0.9, 1),
        ("test", "mask_iou_gt", 0.9, None),
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["split", "metric", "value", "round"])
    return frame.assign(source="labels_free", labels="species", border="ignore", low=0.1, high=1.0)


def test_rounds_are_a_table_of_their_own():
    table = tables.rounds(results(), border="ignore")
    assert table["round"].tolist() == [0, 1]
    assert table["masks"].tolist() == [0.6, 0.8] and table["student"].tolist() == [0.7, 0.9]
    assert len(tables.final(results())) == 1
    assert tables.rounds(results()).empty  # none with the border as pet
    assert tables.rounds(results().drop(columns="round")).empty
    assert len(round_lines(table).axes[0].get_xticks()) == 2


def test_the_curve_shows_means_and_bands():
    axes = labelling_lines(CURVE).axes[0]
    true = next(line for line in axes.lines if line.get_label() == "true masks alone")
    assert true.get_xdata().tolist() == [3, 30]
    assert true.get_ydata() == pytest.approx([0.54, 0.81])
    assert len(axes.collections) >= 3


def test_probe_bars():
    probes = pd.DataFrame({"tap": ["last", "stride8"], "channels": [8, 4], "iou": [0.5, 0.75]})
    assert [bar.get_width() for bar in probe_bars(probes).axes[0].patches] == [0.5, 0.75]


def test_the_summary_is_over_seeds():
    rows = [("no labels", "labels_free", "species", s, "pet", 0.6, v, 4)
            for s, v in ((0, 0.7), (1, 0.8))]  # fmt: skip
    table = pd.DataFrame(rows, columns=["what", "source", "labels", "seed", "border", "masks",
                                        "student", "rounds"])  # fmt: skip
    (row,) = summary(table).to_dict("records")
    assert (row["seeds"], row["smallest"], row["largest"]) == (2, 0.7, 0.8)
    assert row["student"] == pytest.approx(0.75)
    assert "0.750" in beyond_table(table) and "2: 0.700 to 0.800" in beyond_table(table)


def test_what_an_unseen_breed_costs_is_a_mean_over_breeds_then_seeds():
    rows = [("labels_free", "student", "ignore", seed, unseen, 0.9)
            for seed, unseen in ((0, 0.6), (0, 0.8), (1, 0.8), (1, 0.9))]  # fmt: skip
    rows.append(("labels_free", "student", "pet", 0, 0.1, 0.1))
    columns = ["source", "of", "border", "seed", "unseen", "seen"]
    table = pd.DataFrame(rows, columns=columns)
    (row,) = lost(table).to_dict("records")
    assert row["unseen"] == pytest.approx(0.775) and row["lost"] == pytest.approx(0.125)
    assert (row["smallest"], row["largest"], row["seeds"]) == pytest.approx((0.7, 0.85, 2))
    assert "| 0.775" in unseen_table(table) and "2: 0.700 to 0.850" in unseen_table(table)
    assert lost(table.drop(columns="seed"))["seeds"].tolist() == [1]


def test_what_was_tried_for_an_unseen_breed_has_a_column_per_breed_and_their_mean():
    rows = [("cat", "pseudo", "as it is", 0.8), ("dog", "pseudo", "as it is", 0.6),
            ("cat", "true", "as it is", 0.9), ("dog", "true", "as it is", 0.5)]  # fmt: skip
    found = pd.DataFrame(rows, columns=["breed", "masks", "recipe", "iou"])
    table = by_recipe(found)
    assert table.columns.tolist() == ["cat", "dog", "mean"]
    assert table.loc[("pseudo", "as it is")].tolist() == pytest.approx([0.8, 0.6, 0.7])
    assert "| true" in tried_table(found) and "0.700" in tried_table(found)


def test_the_ways_of_choosing_a_recipe():
    names, better = ["as it is", "a=1", "b=2"], [0.1, 0.3, 0.2]
    compared = pd.DataFrame({"recipe": names} | dict.fromkeys(RECIPE_SIGNALS, better)).assign(
        **{"train/ignore": [0.5, 0.6, 0.9], "train/pet": [0.9, 0.6, 0.5],
           "test/ignore": [0.4, 0.5, 0.8], "test/pet": [0.8, 0.7, 0.6]}
    )  # fmt: skip
    table = choices(compared)
    assert table["recipe"].tolist() == ["as it is", "a=1", "b=2", "as it is"]
    assert table["ignore"].tolist() == [0.4, 0.5, 0.8, 0.4]
    assert "| oracle, border ignored | b=2" in recipes_table(compared)


def test_rows_of_other_chains_and_seeds_stay_if_their_settings_were_the_same(tmp_path):
    def table(*rows):
        return pd.DataFrame(rows, columns=["what", "seed", "border", "student", "key"])

    old = table(("true masks", 0, "pet", 0.8, "k"), ("no labels", 1, "pet", 0.7, "k"),
                ("no labels", 2, "pet", 0.6, "other"))  # fmt: skip
    new = table(("no labels", 0, "pet", 0.5, "k"), ("no labels", 1, "pet", 0.9, "k"))
    assert _with_earlier(new, tmp_path / "none.csv") is new
    old.to_csv(tmp_path / "beyond.csv", index=False)
    found = _with_earlier(new, tmp_path / "beyond.csv")
    assert found["what"].tolist() == ["no labels", "true masks", "no labels"]
    assert found["student"].tolist() == [0.5, 0.8, 0.9]


def test_signals_are_ranked_against_the_truth():
    truth = [0.1, 0.2, 0.3, 0.4]
    compared = pd.DataFrame({name: truth for name in SIGNALS}).assign(
        chain=list("abcd"), cut=0.5, area=truth[::-1], **{"iou/ignore": truth}
    )
    table = rank_signals(compared).set_index("signal")
    assert table.loc["mirror", "spearman"] == pytest.approx(1)
    assert table.loc["area", "spearman"] == pytest.approx(-1) and table.loc["area", "iou"] == 0.1
    assert table.loc["ballot", "chain"] == table.loc["oracle", "chain"] == "d"
    assert BALLOT == Settings().choose_by
