"""Every setting moves the keys of the stages that depend on it, and no others."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import small
from few import few_photos

from petweak.config import SECTION_OF, SECTIONS, Settings
from petweak.data.masks import write_mask
from petweak.data.oxford_pets import load_trimap
from petweak.pseudo_masks import SOURCES
from petweak.study.run import Run

CAMS = {"gradcam_pretrained", "gradcam_finetuned", "imagenet_only"}  # they read the feature cache
DETECTORS = {"mask_rcnn", "mask_rcnn_compact"}
ALL = set(SOURCES)
assert ALL == CAMS | DETECTORS | {"ground_truth", "external"}

# Settings that move no key. A device's kind does, and sources and labels say which keys there are.
# The device that scores are computed on is in no key of its own. Those of masks and baselines are
# computed by numpy. The key of a model's scores has the key of the model, and so the kind that it
# was made on; where another kind scores it, which `Run._ensure` allows with intent, so that a run
# of a GPU can be looked at on a CPU, float32 is rounded otherwise, and nothing else differs.
NO_KEY = {"profile", "sources", "labels", "device", "workers", "save_epochs"}

# By section: the sources whose masks change, and so their models, rounds and scores. Only
# `imagenet_only` is refined here (by default, with auto).
MASKS = {
    "data": CAMS, "backbone": CAMS, "ground_truth": {"ground_truth"}, "mask_rcnn": DETECTORS,
    "cam": CAMS, "finetuning": {"gradcam_finetuned"}, "refinement": {"imagenet_only"},
    "masks": ALL - {"ground_truth"}, "external": {"external"},
}
# Sections that every model, and every round of self-training, depends on.
MODELS = {"data", "backbone", "model", "training"}
ROUNDS = MODELS | {"self_training", "refinement", "masks", "inference"}
SCORES = {"evaluation", "inference"}
# Settings that differ from their section in the masks ...
MASKS_OF = {
    "leave_out": ALL,  # another split of the photos
    "refinement": ALL - {"ground_truth"},  # whether others are refined
}
# ... or that rounds have no use for: they have values of their own.
NOT_IN_ROUNDS = {
    "levels", "epochs", "refinement", "selection_criteria", "vote_pipelines", "walk_steps"}
WIDENED = ALL - {"ground_truth"}  # whose last round depends on background_threshold

# Another possible value of every setting.
OTHER = {
    "profile": "photos", "sources": ("external", "ground_truth"), "labels": ("species",),
    "seed": 1, "val_fraction": 0.5, "leave_out": "Abyssinian",
    "backbone": "efficientnet_lite1", "image_size": 96, "engine": "auto", "extraction_batch": 4,
    "stored_levels": ("final", "penultimate", "stride16"),
    "border": "ignore", "detector": "v2", "score_threshold": 0.6, "mask_threshold": 0.6,
    "cam": "gradcam++", "cam_target": "top1", "cam_mirror": False, "threshold": "otsu",
    "finetune_labels": "species", "finetune_epochs": 3, "finetune_lr": 0.01,
    "refinement": ("walk",), "refinement_scales": (1.0,), "fusion_maps": ("stride16",),
    "vote_pipelines": ("affinity", "local"), "walk_levels": ("stride16",), "walk_beta": 5.0,
    "walk_steps": 4, "grabcut_iterations": 1, "selection_criteria": ("otsu",), "ensemble_size": 2,
    "ignore_band": (0.2, 0.6), "external_masks": None,  # the second folder of the fixture
    "external_foreground": "nonzero",
    "levels": ("final", "stride16"), "decoder_channels": 16, "queries": 3,
    "transformer_dropout": 0.0, "channel_dropout": 0.3,
    "epochs": 3, "batch_size": 8, "lr": 1e-3, "weight_decay": 0.0, "schedule": "cosine",
    "clip": 2.0, "class_weight": 1.0, "mask_weight": 1.0, "dice_weight": 1.0,
    "no_object_weight": 0.2, "precision": "bfloat16",
    "rounds": 2, "round_epochs": 3, "last_epochs": 3, "keep_fractions": (1.0,),
    "stop_agreement": 0.5, "round_refinement": ("walk",), "round_walk_steps": 8,
    "background_threshold": 0.1, "self_training_levels": ("final",),
    "predict_mirror": False, "bootstrap": 10, "device": "cpu", "workers": 1, "save_epochs": False,
}


def test_a_value_is_written_down_for_every_setting():
    assert set(OTHER) == set(Settings().flat())


@pytest.fixture(scope="module")
def world(rendered, tmp_path_factory):
    """A data root of a few photos, two folders of external masks, and where runs lie."""
    top = tmp_path_factory.mktemp("keys")
    few_photos(rendered, top)
    for name, value in (("masks", 255), ("others", 0)):
        for photo in (top / "oxford-iiit-pet" / "images").iterdir():
            write_mask(top / name / f"{photo.stem}.png", np.full((4, 4), value, np.uint8))
    return top


def settings(world: Path, **changes) -> Settings:
    return small(sources="ground_truth", external_masks=str(world / "masks"),
                 self_training_levels="final,penultimate", background_threshold=0.05, **changes)


def keys(world: Path, settings: Settings, device: str = "") -> dict[tuple[str, str], str]:
    """{(what, of what): key} of everything that a run can make."""
    run = Run(world / "run", world, settings, device)
    k = run.keys
    out = {("features", ""): run.features_key, ("scores", "all_ones"): k.scores("all_ones")}
    for s in SOURCES:
        out |= {("masks", s): k.masks(s), ("model", s): k.model(s, "species"),
                ("start", s): k.start(s, "species"), ("rounds", s): k.rounds(s, "species")}
        out |= {(f"{what} scores", s): k.scores(out[what, s])
                for what in ("masks", "model", "rounds")}
    return out


def moved(before: dict, after: dict) -> dict[str, set[str]]:
    """{what: of what} of the keys that differ."""
    out: dict[str, set[str]] = {}
    for (what, of), key in before.items():
        if after[what, of] != key:
            out.setdefault(what, set()).add(of)
    return out


def expected(name: str) -> dict[str, set[str]]:
    if name in NO_KEY:
        return {}
    section = SECTION_OF[name]
    masks = MASKS_OF.get(name, MASKS.get(section, set()))
    rounds = ALL if section in ROUNDS and name not in NOT_IN_ROUNDS else masks
    start, models = rounds, ALL if section in MODELS else masks
    if name == "channel_dropout":  # of MaskFormer-MS alone, which the rounds train here
        models = set()
    if name == "background_threshold":
        start, rounds = set(), WIDENED
    sources = {"masks": masks, "rounds": rounds, "start": start}
    # The models of imagenet_only are those of its last round.
    alone = {"imagenet_only"}
    sources["model"] = models - alone | rounds & alone
    every = section in SCORES
    for what in ("masks", "model", "rounds"):
        sources[f"{what} scores"] = ALL if every else sources[what]
    out = sources | {"features": {""} if section == "backbone" else set(),
                     "scores": {"all_ones"} if every or name == "leave_out" else set()}
    return {what: of for what, of in out.items() if of}


@pytest.fixture(scope="module")
def before(world):
    return keys(world, settings(world))


@pytest.mark.parametrize("name", OTHER)
def test_a_setting_moves_the_keys_that_depend_on_it_and_no_other(name, world, before):
    value = str(world / "others") if name == "external_masks" else OTHER[name]
    s = settings(world)
    changed = replace(s, profile=value) if name == "profile" else s.replace(**{name: value})
    assert changed.flat()[name] != s.flat()[name]
    assert moved(before, keys(world, changed)) == expected(name)


def test_every_section_has_its_expectation():
    assert set(SECTIONS) == {*MASKS, *ROUNDS, *SCORES, "system"}


def test_the_kind_of_device_moves_what_is_computed_on_it(world, before):
    gpu = moved(before, keys(world, settings(world), "cuda"))
    assert gpu["features"] == {""} and gpu["masks"] == CAMS | DETECTORS
    assert gpu["model"] == gpu["rounds"] == ALL and gpu["model scores"] == ALL
    assert "scores" not in gpu and gpu["masks scores"] == gpu["masks"]
    assert moved(before, keys(world, settings(world, device="cpu"), "cpu")) == {}


@pytest.mark.parametrize("source", ["external", "imagenet_only"])  # a training, and rounds
def test_the_precision_that_is_used_is_in_the_key_of_models(world, source):
    """precision=auto and precision=float32 are one on a CPU, and two on a GPU."""

    def of(device: str, precision: str) -> str:
        k = Run(world / "run", world, settings(world, precision=precision), device).keys
        return k.model(source, "species")

    assert of("cpu", "auto") == of("cpu", "float32") != of("cpu", "bfloat16")
    assert of("cuda", "auto") != of("cuda", "float32") != of("cpu", "float32")


@pytest.mark.parametrize("levels, moves", [("final", False), ("final,stride16", True)])
def test_channel_dropout_moves_the_keys_of_models_that_use_it(world, levels, moves):
    one, other = (Run(world / "run", world, settings(world, levels=levels).replace(
        self_training_levels=levels, channel_dropout=rate)).keys for rate in (0.1, 0.3))
    for source in ("external", "imagenet_only"):
        assert (one.model(source, "species") != other.model(source, "species")) == moves
        assert (one.start(source, "species") != other.start(source, "species")) == moves


def test_content_moves_the_keys_of_what_reads_it(world, before, tmp_path):
    shutil.copytree(world, tmp_path / "world")
    other = tmp_path / "world"
    trimap = sorted((other / "oxford-iiit-pet" / "annotations" / "trimaps").iterdir())[0]
    shutil.copyfile(trimap, other / "kept.png")
    marks = load_trimap(trimap).copy()
    marks[0, 0] = 1 if marks[0, 0] != 1 else 3
    write_mask(trimap, marks)
    same = settings(world)  # the same external masks, by the same path
    trimaps = moved(before, keys(other, same))
    assert trimaps["masks"] == trimaps["model"] == {"ground_truth"}
    assert trimaps["masks scores"] == ALL and "features" not in trimaps
    shutil.copyfile(other / "kept.png", trimap)
    assert moved(before, keys(other, same)) == {}
    photo = sorted((other / "oxford-iiit-pet" / "images").iterdir())[0]
    photo.write_bytes(photo.read_bytes() + b"\0")  # bytes after the picture are allowed
    photos = moved(before, keys(other, same))
    assert photos["masks"] == photos["model"] == ALL and photos["features"] == {""}


def test_external_masks_are_known_by_their_content(world, before, tmp_path):
    shutil.copytree(world / "masks", tmp_path / "masks")
    s = settings(world).replace(external_masks=str(tmp_path / "masks"))
    one = keys(world, s)
    write_mask(sorted((tmp_path / "masks").iterdir())[0], np.zeros((4, 4), np.uint8))
    assert moved(one, keys(world, s))["masks"] == {"external"}


_opened: Counter | None = None  # {file: how often it was opened} while somebody counts
sys.addaudithook(lambda event, args: _opened is not None and event == "open"
                 and isinstance(args[0], str | Path) and _opened.update([str(args[0])]))


def test_keys_open_no_network_and_no_picture_that_this_process_has_checked(
    world, tmp_path, monkeypatch
):
    """The first keys check the data set, for which a photo is opened four times; later ones, also
    of another run, open none."""
    global _opened

    def opened(*args, **kwargs):
        raise AssertionError(f"a network was opened: {args}")

    for place in ("study.run.load_backbone", "pseudo_masks.base.load_backbone",
                  "pseudo_masks.mask_rcnn.load_detector", "models.mask_rcnn_compact.load"):
        monkeypatch.setattr(f"petweak.{place}", opened)
    # Files that no other test has read, and no run that has seen them.
    shutil.copytree(world, tmp_path / "world", ignore=shutil.ignore_patterns("run"))
    world = tmp_path / "world"
    counts = []
    for run in ("run", "run", "another"):
        _opened = Counter()
        try:
            keys(world, settings(world))
            k = Run(world / run, world, settings(world)).keys
            assert k.masks("external") == k.masks("external")
        finally:
            counts.append(Counter({f: n for f, n in _opened.items() if f.startswith(str(world))}))
            _opened = None
    pictures = [{f: n for f, n in c.items() if f.endswith((".png", ".jpg"))} for c in counts]
    external = {f: n for f, n in pictures[0].items() if f.startswith(str(world / "masks"))}
    assert len(external) == 12 and set(external.values()) == {1}
    data = {f: n for f, n in pictures[0].items() if f not in external}
    # hashed and decoded, each once; of a photo the header, too, and, as it has a trimap, its edges
    assert len(data) == 24 and all(n == 4 if "images" in f else n == 2 for f, n in data.items())
    assert pictures[1] == pictures[2] == {}
