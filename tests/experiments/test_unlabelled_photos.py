"""More photos without labels, and steps of self-training taken away one at a time."""

import pandas as pd
import pytest
from conftest import ROUNDS, small

from petweak.data.files import read_json
from petweak.experiments.unlabelled_photos import sentences, unlabelled_photos
from petweak.study.run import Run
from petweak.training.trainer import CONFIG


@pytest.fixture(scope="module")
def run(eight_breeds, tmp_path_factory) -> Run:
    flat = ROUNDS | dict(refinement_scales=(1.0, 1.5), round_epochs=2, last_epochs=4)
    return Run(tmp_path_factory.mktemp("unlabelled"), eight_breeds, small(**flat))


@pytest.fixture(scope="module")
def table(run):
    steps = ("rounds=1", "refinement=averaged")
    return unlabelled_photos(run, photos=(6, 0), configurations=steps, at=6, steps_of=12)


def test_more_photos_contain_the_fewer_and_take_as_many_steps(run, table):
    train = {s.id for s in run.pets.split("train")}
    few, every = (run.folder / "variants" / f"unlabelled-{n}-like-12-seed-0"
                  for n in (6, len(train)))
    learnt = [{p.stem for p in (f / "masks" / "imagenet_only").glob("*.png")} & train
              for f in (few, every)]
    assert len(learnt[0]) == 6 and learnt[0] < learnt[1] == train
    settings = [read_json(f / "run.json")["settings"]["self_training"] for f in (few, every)]
    assert settings[0]["round_epochs"] == 4 and settings[0]["last_epochs"] == 8
    assert settings[1]["last_epochs"] == max(1, round(4 * 12 / len(train)))
    sizes = table[table["steps_of"] == 12]
    assert sizes["photos"].tolist() == [6, 6, len(train), len(train)]
    assert set(sizes["configuration"]) == {"default"}


def test_a_step_taken_away_is_compared_with_the_same_photos(run, table):
    place = run.folder / "variants" / "unlabelled-6-like-6-seed-0"
    models = [p.parent for p in place.glob(f"experiments/**/{CONFIG}")]
    assert [m.name for m in models] == ["imagenet_only-species-round0"]  # rounds=1
    other = place / "variants" / "refinement-averaged" / "masks" / "imagenet_only"
    assert len(list(other.glob("*.png"))) > 6
    steps = table.tail(6)
    assert steps["configuration"].tolist() == [
        c for c in ("default", "rounds=1", "refinement=averaged") for _ in range(2)]
    same = steps.query("configuration == 'default'")
    assert (same[["difference", "low", "high"]] == 0).all(axis=None)
    for _, part in steps.groupby("border"):
        gaps = part["model"] - part["model"].iloc[0]
        assert part["difference"].to_numpy() == pytest.approx(gaps.to_numpy())
        assert part["masks"].iloc[0] == part["masks"].iloc[1]  # rounds=1 begins with the same ones


def test_more_photos_than_there_are_are_refused(run):
    with pytest.raises(ValueError, match="5000 photos: train has"):
        unlabelled_photos(run, photos=(5000,))


def test_what_the_table_says_is_computed_from_it():
    columns = ["photos", "steps_of", "configuration", "model", "difference", "low", "high"]
    rows = [(6, 12, "default", 0.8, 0, 0, 0), (1200, 12, "default", 0.9, 0.1, 0.05, 0.15),
            (6, 6, "default", 0.7, 0, 0, 0), (6, 6, "rounds=1", 0.6, -0.1, -0.2, -0.05),
            (6, 6, "channel_dropout=0.0", 0.71, 0.01, -0.1, 0.1)]
    table = pd.DataFrame(rows, columns=columns).assign(border="foreground")
    more = ("border foreground: IoU of the last model by photos, 0.800 (6), 0.900 (1,200), rises "
            "from each number to the next. Each is tested against 6 photos alone: 1,200 +0.100 "
            "[+0.050, +0.150]")
    away = ("border foreground, 6 photos, a step taken away, by the interval of one training each, "
            "so no verdict: below 0: `rounds=1` -0.100; above 0: none; around 0: "
            "`channel_dropout=0.0` +0.010")
    assert sentences(table) == [more, away]
    assert sentences(table[table["steps_of"] == 6])[-1] == sentences(table)[-1]
    assert len(sentences(table[table["steps_of"] == 12])) == 1
    falls = table.assign(border="ignore", model=1 - table["model"])
    said = sentences(pd.concat([falls, table]))
    assert said[0] == more and "0.200 (6), 0.100 (1,200), does not rise from" in said[1]
    assert said[2:] == [away]  # for the border that the settings train for
    narrow = table[-1:].assign(configuration="background_threshold=0.5", model=0.64)
    assert sentences(pd.concat([table, narrow]))[-1] == (
        "`rounds=1` widens no masks to the border either. Beside `background_threshold=0.5`, which "
        "leaves out that alone, the IoU of its model is -0.040")
