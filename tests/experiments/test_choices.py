"""Configurations compared on val alone."""

from __future__ import annotations

import pytest
from conftest import small
from few import drop_trimaps, few_photos

from petweak.data.masks import FOREGROUND, read_mask
from petweak.data.oxford_pets import load_trimap
from petweak.evaluation import metrics
from petweak.experiments.choices import choices
from petweak.study.run import Run

OF = ("default", "epochs=2 lr=0.001")


@pytest.fixture(scope="module")
def run(rendered, tmp_path_factory) -> Run:
    root = few_photos(rendered, tmp_path_factory.mktemp("choices"))
    return Run(tmp_path_factory.mktemp("run"), root, small(val_fraction=0.5, epochs=1))


def test_each_configuration_has_its_scores_on_val(run):
    table = choices(run, OF, labels="species", model="maskformer", seeds=(0, 1))
    assert table[["configuration", "seed"]].to_numpy().tolist() == [
        ["default", 0], [OF[1], 0], ["default", 1], [OF[1], 1]]
    assert set(table["n_images"]) == set(table["n_ground_truth"]) == {len(run.val_ids)} == {4}
    folder = run.folder / "variants" / "choices" / "default-maskformer-seed-0" / "masks"
    ious = [metrics.iou(read_mask(folder / "gradcam_pretrained" / f"{i}.png") == FOREGROUND,
                        *metrics.target(load_trimap(run.pets.sample(i).trimap), "foreground"))
            for i in run.val_ids]
    assert table["masks"][0] == pytest.approx(sum(ious) / 4)


def test_the_trimaps_of_test_do_not_count(run, rendered, tmp_path):
    root = few_photos(rendered, tmp_path)
    train = {s.id for s in run.pets.split("train")}
    without = Run(tmp_path / "run", drop_trimaps(root, train), run.settings)
    columns = ["ignore", "foreground", "masks", "accuracy"]
    of = {"labels": "species", "model": "maskformer", "seeds": (0,)}
    assert choices(without, OF[:1], **of)[columns].equals(choices(run, OF[:1], **of)[columns])


def test_val_without_trimaps_is_refused(run, rendered, tmp_path):
    root = few_photos(rendered, tmp_path)
    test = {s.id for s in run.pets.split("test")}
    without = Run(tmp_path / "run", drop_trimaps(root, test), run.settings)
    with pytest.raises(ValueError, match="has a trimap"):
        choices(without, labels="species", seeds=(0,))
