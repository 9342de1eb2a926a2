"""More photos without labels, and steps of self-training taken away one at a time."""

import pytest
from conftest import ROUNDS, small

from petweak.data.files import read_json
from petweak.experiments.unlabelled_photos import unlabelled_photos
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
