"""Faults on maps made by hand, and no fault against the study's own scores."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import small
from torch import nn

from petweak.experiments.cam_faults import (
    BREEDS,
    FAULTS,
    HEADS,
    NAMES,
    PAPER,
    Case,
    cam_faults,
    faulty_maps,
    joined,
)
from petweak.study.run import Run
from petweak.study.tables import paper_tables


@pytest.fixture
def case() -> Case:
    """Two photos of 2 x 2 positions. Channel 0 is on in the left column, 1 in the right one; class
    0 looks at channel 0, class 1 at channel 1; the head names class 0, the labels say 1 and 0."""
    maps = torch.zeros(2, 2, 2, 2)
    maps[:, 0, :, 0], maps[:, 1, :, 1] = 4.0, 2.0
    maps[1] *= 3
    head = nn.Linear(2, 2)
    with torch.no_grad():
        head.weight.copy_(torch.eye(2))
        head.bias.zero_()
    return Case(maps, maps, torch.tensor([1, 0]), head, finetuned=False, backbone=None)


LEFT, RIGHT = [[1.0, 0.0], [1.0, 0.0]], [[0.0, 0.5], [0.0, 0.5]]


def test_what_each_explanation_responds_to(case):
    def explained(name: str) -> torch.Tensor:  # a map is sum of weight / positions * channel
        return FAULTS[name].explain(case).detach()

    scale = torch.tensor([1.0, 3.0])[:, None, None]
    assert torch.allclose(explained("none"), torch.tensor([LEFT, LEFT]) * scale)
    assert torch.allclose(explained("label as class id"), torch.tensor([RIGHT, LEFT]) * scale)
    assert explained("minus gradient").max() == 0
    assert torch.allclose(explained("another photo"), torch.tensor([LEFT, LEFT]) * scale.flip(0))
    # the mean of the weights (1, 0) / 4 for both channels
    both = torch.tensor([[0.5, 0.25], [0.5, 0.25]])
    assert torch.allclose(explained("mean over channels"), both.expand(2, 2, 2) * scale)


def test_a_wrong_class_is_the_next_one_or_leaves_no_mask(case):
    scale = torch.tensor([1.0, 3.0])[:, None, None]
    after = FAULTS["next class"].explain(case).detach()
    assert torch.allclose(after, torch.tensor([RIGHT, RIGHT]) * scale)
    case.head.bias.data[1] = 100  # class 1, the last, is named: the next one is 0
    after = FAULTS["next class"].explain(case).detach()
    assert torch.allclose(after, torch.tensor([LEFT, LEFT]) * scale)
    trained = Case(**{**vars(case), "finetuned": True})
    counts = FAULTS["class counts"]
    assert torch.allclose(counts.explain(trained).detach(),
                          torch.tensor([RIGHT, [[0.0, 0.0]] * 2]))  # the labels are 1 and 0
    assert not (counts.scale(counts.explain(case).detach(), 4) > 0).any()  # 1 is the goldfish
    pugs = nn.Linear(2, 255)
    with torch.no_grad():
        pugs.weight.zero_()
        pugs.bias.zero_()
        pugs.weight[254, 0] = pugs.bias[254] = 1.0
    of_pug = Case(**{**vars(case), "head": pugs, "labels": torch.tensor([BREEDS.index("pug"), 0])})
    assert torch.allclose(counts.explain(of_pug).detach(), torch.tensor([LEFT, [[0.0, 0.0]] * 2]))


def test_the_classes_of_imagenet_that_are_called_as_a_breed():
    names = {breed for breed in BREEDS if breed.lower() in NAMES}
    assert {"pug", "beagle", "saint_bernard", "great_pyrenees"} <= names and len(names) == 13
    assert NAMES[254] == "pug" and len(NAMES) == 1000
    assert not {"Siamese", "Persian", "Abyssinian"} & names  # "Siamese cat", "Persian cat", none


def test_an_untrained_head_does_not_respond_as_the_trained_one_does(case):
    explain = FAULTS["untrained head"].explain
    assert not torch.allclose(explain(case), FAULTS["none"].explain(case))
    assert torch.equal(explain(case), explain(case))  # drawn with a fixed seed
    trained = Case(**{**vars(case), "finetuned": True})
    assert torch.equal(explain(trained), FAULTS["label as class id"].explain(trained))


def test_decisions_and_targets_by_hand():
    soft = np.arange(20).reshape(4, 5) / 20  # 0, 0.05, ... 0.95
    counts = {"none": 9, "inverted map": 11, "peak above 0.9": 1, "0/255 threshold": 0}
    assert {name: FAULTS[name].decide(soft, 0.5).sum() for name in counts} == counts
    many = np.arange(1000.0).reshape(20, 50)
    assert FAULTS["top 5 %"].decide(many, 0.5).sum() == 49
    trimap = np.array([[1, 2, 3, 3]], np.uint8)
    targets = {
        "none": [1, 0, 1, 1],
        "target: background": [0, 1, 0, 0],
        "target: border": [0, 0, 1, 1],
        "target: not zero": [1, 1, 1, 1],
    }
    for name, target in targets.items():
        assert FAULTS[name].target(trimap).astype(int).tolist() == [target]


def test_scores_by_hand():
    mask, target = np.array([[True, True, False]]), np.array([[True, False, False]])
    # overlap 255, sums 510 and 1
    assert FAULTS["0/255 sums"].score(mask, target) == pytest.approx(255 / (510 + 1 - 255))
    # foreground 1/2, background 1/2, over 38 classes
    assert FAULTS["absent classes"].score(mask, target) == pytest.approx(1 / 38)


def test_every_fault_says_what_differs():
    assert FAULTS["none"].about == ""
    assert all(p.about for name, p in FAULTS.items() if name != "none")


@pytest.fixture(scope="module")
def run(eight_breeds, tmp_path_factory) -> Run:
    chosen = small(cam_target="top1", cam_mirror=False, threshold="0.5")
    return Run(tmp_path_factory.mktemp("faults"), eight_breeds, chosen)


def test_no_fault_gives_the_studys_scores(run):
    table = cam_faults(run, ("none", "inverted map"), splits=("train", "test"))
    assert len(table) == 2 * 2 * 2 and table["area"].between(0, 1).all()
    for source in HEADS:
        photos = run.mask_scores(source).photos
        for split in ("train", "test"):
            (row,) = table.query("head == @source and split == @split and fault == 'none'").to_dict(
                "records")
            of = photos.loc[photos["split"] == split, "iou/foreground"]
            assert (row["score"], row["std"]) == pytest.approx((of.mean(), of.std()), abs=1e-6)
            assert row["n_images"] == len(of) == len(run.pets.split(split))


def test_every_threshold_has_its_scores_and_a_fault_of_the_decision_keeps_its_own(run):
    table = cam_faults(run, ("none", "peak above 0.9"), (0.1, 0.9), photos=8)
    table = table[table["head"] == HEADS[0]].set_index(["fault", "threshold"])
    assert set(table["split"]) == {"test"} and set(table["n_images"]) == {8}
    assert table.loc[("none", 0.1), "area"] > table.loc[("none", 0.9), "area"]
    peak = table.loc["peak above 0.9", "score"]
    assert peak[0.1] == peak[0.9] == table.loc[("none", 0.9), "score"]


def test_faults_that_are_drawn_differ_from_photo_to_photo_and_spare_the_finetuned_head(run):
    first, second = (s.id for s in run.pets.split("test")[:2])
    drawn = ["new head for each photo", "random class", "untrained network"]
    for fault in drawn:
        for source, same in zip(HEADS, (False, True), strict=True):
            ((_, _, maps),) = faulty_maps(run, source, [first], ("none", fault))
            assert np.array_equal(maps["none"], maps[fault]) == same, fault
        pair = [m[fault] for *_, m in faulty_maps(run, HEADS[0], [second, first], (fault,))]
        ((_, _, alone),) = faulty_maps(run, HEADS[0], [first], (fault,))
        assert np.allclose(pair[1], alone[fault], atol=1e-3)  # whatever its batch


def clues(**scores: tuple[float, float, float]) -> pd.DataFrame:
    """{fault: (pretrained on train, on test, finetuned on test)}, 400 photos, standard deviation
    0.1: two standard errors of a difference are 0.014."""
    rows = [{"fault": fault.replace("_", " "), "threshold": 0.2, "head": head, "split": split,
             "score": score, "std": 0.1, "n_images": 400}
            for fault, (train, test, finetuned) in scores.items()
            for head, of in zip(HEADS, ((train, test), (finetuned, finetuned)), strict=True)
            for split, score in zip(("train", "test"), of, strict=True)]
    return joined(pd.DataFrame(rows)).set_index("fault")


def test_the_clues_are_joined():
    table = clues(none=(0.5, 0.5, 0.53), one=(0.10, 0.09, 0.53), other=(0.07, 0.09, 0.30),
                  high=(0.2, 0.2, 0.5))
    said = ["near", "same", "spared", "table_4"]
    assert table.loc["one", said].tolist() == [True, True, True, True]
    assert table.loc["other", said].tolist() == [True, False, False, False]
    assert table.loc["high", said].tolist() == [False, True, True, True]
    assert not table.loc["none", "near"] and (table["unharmed"] == 0.53).all()
    low = clues(none=(0.5, 0.5, 0.3), one=(0.10, 0.09, 0.3))
    assert low.loc["one", said].tolist() == [True, True, True, False]  # 0.3 is not Table 4


def test_masks_of_faults_have_the_photos_size_and_the_network_stays_where_it_was(run):
    first, backbone, device = run.pets.samples[0].id, run.backbone, run.device
    ((sample, trimap, maps),) = faulty_maps(run, HEADS[0], [first], tuple(FAULTS))
    masks = {name: FAULTS[name].decide(soft, 0.5) for name, soft in maps.items()}
    assert sample.id == first and set(masks) == set(FAULTS)
    assert all(m.dtype == bool and m.shape == trimap.shape for m in masks.values())
    assert np.array_equal(masks["inverted map"], ~masks["none"])
    assert run.backbone is backbone
    assert {p.device.type for p in backbone.parameters()} == {device.type}


def test_an_earlier_layer_is_explained_on_the_networks_device(case):
    """The maps go there; the network, which is the run's, is not moved."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.Parameter(torch.ones(()), requires_grad=False)

        def final_from(self, maps, level):
            assert level == "stride16" and maps.device == self.factor.device
            return maps * self.factor

        def _apply(self, *args, **kwargs):
            raise AssertionError("moved")

    moving = Case(**{**vars(case), "backbone": Net()})
    explained = FAULTS["earlier layer"].explain(moving)
    assert torch.allclose(explained, FAULTS["none"].explain(case).detach())


def test_unknown_names_are_refused(run):
    with pytest.raises(ValueError, match="unknown fault no such fault"):
        cam_faults(run, ("no such fault",))
    with pytest.raises(ValueError, match="no linear head"):
        next(faulty_maps(run, "mask_rcnn", ["x"], ("none",)))


def test_the_papers_scores_are_those_of_its_tables():
    table = paper_tables().query("metric == 'pseudo_iou_gt' and labels == 'breed'")
    table = table.set_index(["source", "split"])["value"]
    assert tuple(table[head, "test"] for head in HEADS) == PAPER
