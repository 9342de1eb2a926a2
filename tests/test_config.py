"""Settings: profiles, overrides, what is refused and with which way out."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from petweak.config import (
    PROFILES,
    RENAMED,
    RENAMED_VALUES,
    SECTION_OF,
    Settings,
    parse_assignments,
    settings,
)
from petweak.data.files import project_path


def test_profiles_are_defaults_of_settings_and_nothing_else():
    for profile, values in PROFILES.items():
        assert set(values) <= set(Settings().flat())
        s = settings(profile)
        assert s.profile == profile
        assert {k: s.flat()[k] for k in values} == values


def test_the_table_says_of_every_default_where_it_was_chosen():
    chosen = pd.read_csv(project_path("figures/data/photos/chosen.csv"), dtype=str).fillna("")
    flat = {k: v for k, v in settings("photos").flat().items() if k in SECTION_OF}
    texts = {k: ",".join(map(str, v)) if isinstance(v, tuple) else str(v) for k, v in flat.items()}
    assert dict(zip(chosen["setting"], chosen["value"], strict=True)) == texts
    assert set(chosen["chosen_on"]) <= {
        "no scores", "test of the three breeds", "scores of the three breeds, split not recorded",
        "val of the 37 breeds"}
    assert (chosen["by"] != "").all()
    on_test = chosen["chosen_on"] == "test of the three breeds"
    said = chosen["by"].str.contains(r"\btest\b(?!-time)")
    assert on_test[said].all()
    assert {"levels", "self_training_levels"} <= {*chosen[on_test]["setting"]}


def test_it_is_said_which_photos_of_test_chose_defaults(real_photos):
    """Test of the 37 breeds shares photos with test of the three, on which defaults were tuned."""
    if not (many := real_photos.with_name("data37") / "oxford-iiit-pet").is_dir():
        pytest.skip("the photos of 37 breeds (../shared/data37) are not here")
    tests, trains = ({name: {line.split()[0] for line in (
        root / "annotations" / f"{file}.txt").read_text().splitlines() if line[0] != "#"}
        for name, root in (("three", real_photos / "oxford-iiit-pet"), ("37", many))}
        for file in ("test", "trainval"))
    both = tests["three"] & tests["37"]
    breeds = {i.rsplit("_", 1)[0] for i in both}
    assert both == {i for i in tests["37"] if i.rsplit("_", 1)[0] in breeds}  # all of these breeds
    assert not tests["37"] & trains["three"]
    short, text = (" ".join(project_path(page).read_text(encoding="utf-8").split())
                   for page in ("README.md", "figures/results.md"))
    said = f"{len(both)} of its {len(tests['37'])} photos"
    assert said in short and said in text
    assert f"({len(both) / len(tests['37']):.1%} of the weight of a mean)" in text
    assert all(f"`{breed}`" in text for breed in breeds)


def test_what_was_tuned_on_test_is_for_self_training_but_for_two_settings():
    chosen = pd.read_csv(project_path("figures/data/photos/chosen.csv"), dtype=str)
    tuned = chosen[chosen["chosen_on"] == "test of the three breeds"]["setting"]
    section = tuned.map(SECTION_OF)
    assert {*tuned[~section.isin(["self_training", "refinement"])]} == {"levels", "channel_dropout"}
    text = " ".join(project_path("figures/results.md").read_text(encoding="utf-8").split())
    unknown = chosen["chosen_on"].str.endswith("split not recorded").sum()
    assert (f"{len(tuned)} settings were tuned on test of the three breeds, and of {unknown} more "
            "the split is not recorded") in text


def test_text_is_turned_into_the_type_of_the_setting():
    s = settings("embedded", image_size="64", levels="final, penultimate", cam_mirror="false",
                 lr="1e-3", keep_fractions="0.5,1", refinement="", ignore_band=[0.2, 0.6])
    assert (s.backbone.image_size, s.model.levels, s.cam.cam_mirror, s.training.lr) == (
        64, ("final", "penultimate"), False, 1e-3)
    assert s.self_training.keep_fractions == (0.5, 1.0) and s.refinement.refinement == ()
    assert s.masks.ignore_band == (0.2, 0.6)


BAD = [
    (dict(epoch=3), "unknown setting epoch.*epochs"),
    (dict(epochs="three"), "not a value of type int"),
    (dict(epochs=2.5), "not a value of type int"),
    (dict(epochs=0), "epochs=0: has to be at least 1"),
    (dict(queries="inf"), "not a value of type int"),
    (dict(cam_mirror="maybe"), "not a value of type bool"),
    (dict(image_size=100), "multiple of 32"),
    (dict(decoder_channels=12), "multiple of 8"),
    (dict(border="edge"), "foreground, ignore, background"),
    (dict(precision="int8"), "auto, float32, bfloat16"),
    (dict(threshold="1.5"), "between 0 and 1"),
    (dict(threshold="best"), "otsu, val, or a number"),
    (dict(lr="nan"), "more than 0"),
    (dict(lr=0), "more than 0"),
    (dict(walk_beta="inf"), "more than 0"),
    (dict(val_fraction=1), "at most 0.95"),
    (dict(background_threshold=0.6), "at most 0.5"),
    (dict(keep_fractions="0.5,1.5"), "at most 1"),
    (dict(keep_fractions=""), "more than 0"),
    (dict(ignore_band="0.6,0.2"), "the lower one first"),
    (dict(levels="first"), "stored_levels"),
    (dict(levels=""), "final or penultimate"),
    (dict(levels="stride8"), "final or penultimate"),
    (dict(stored_levels="penultimate", levels="penultimate"), "final and any of"),
    (dict(labels="colour"), "breed, species"),
    (dict(sources=""), "at least one"),
    (dict(external_masks="DeepLab=../a"), "different names of a-z"),
    (dict(external_masks="a=../x,a=../y"), "different names"),
    (dict(external_masks="a=../x,b="), "name=folder"),
    (dict(external_foreground="pet"), "nonzero, alpha, soft"),
    (dict(external_foreground="1,#ff0000"), "colours such as #ff0000"),
    (dict(external_foreground="a=1;b=pet"), "with ; between"),
    (dict(external_foreground=""), "auto, nonzero"),
]


@pytest.mark.parametrize("bad, says", BAD, ids=[str(bad) for bad, _ in BAD])
def test_a_bad_value_is_refused_with_the_way_out(bad, says):
    with pytest.raises(ValueError, match=says):
        settings("photos", **bad)


@pytest.mark.parametrize("old, new", RENAMED.items())
def test_an_old_setting_is_refused_with_its_new_name(old, new):
    assert old not in SECTION_OF
    assert new.split("=")[0] in SECTION_OF  # scales: refinement=multiscale with ...
    with pytest.raises(ValueError, match=f"{old} is now {new}"):
        settings("photos", **{old: "1"})


@pytest.mark.parametrize(
    "setting, old",
    [("levels", "last"), ("stored_levels", "final,before"), ("border", "pet"),
     ("sources", "labels_free"), ("detector", "compact")],
)
def test_an_old_value_is_refused_with_its_new_name(setting, old):
    with pytest.raises(ValueError, match=f"is now {RENAMED_VALUES[old.split(',')[-1]]}"):
        settings("photos", **{setting: old})


def test_every_old_value_is_among_those():
    assert set(RENAMED_VALUES) == {"last", "before", "pet", "labels_free", "compact", "densecrf"}


def test_a_folder_may_have_the_name_of_an_old_value():
    assert settings("photos", external_masks="last").external.external_masks == "last"


def test_folders_of_external_masks_and_what_is_foreground_in_each():
    one = settings("photos", external_masks="../masks, v2=/a", external_foreground="1,3").external
    assert one.folders() == {"external": "../masks, v2=/a"}
    assert one.foreground("external") == "1,3"
    text = "deeplab=../a b,c, yolo_8=/d=e"
    named = settings("photos", external_masks=text, external_foreground="yolo_8=#ff0000;x=8,12")
    assert named.external.folders() == {"external_deeplab": "../a b,c", "external_yolo_8": "/d=e"}
    assert named.external.foreground("external_yolo_8") == "#ff0000"
    assert named.external.foreground("external_deeplab") == "auto"
    assert settings("photos").external.folders() == {}
    windows = "C:\\masks"
    assert settings("photos", external_masks=windows).external.folders() == {"external": windows}


def test_an_unknown_profile_lists_those_that_there_are():
    with pytest.raises(ValueError, match="embedded, photos, paper"):
        settings("laptop")


def test_assignments():
    assert parse_assignments(["a=1", "b=x=y"]) == {"a": "1", "b": "x=y"}
    with pytest.raises(ValueError, match="key=value"):
        parse_assignments(["a"])


def test_settings_survive_the_way_through_json():
    s = settings("paper", levels="final,penultimate", ignore_band="0.2,0.6", epochs=3)
    stored = json.loads(json.dumps(s.to_dict()))
    assert stored["training"]["epochs"] == 3 and stored["profile"] == "paper"
    assert Settings.from_dict(stored) == s
