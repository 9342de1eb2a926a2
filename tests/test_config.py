import dataclasses

import pytest

from petweak.config import PROFILES, Settings, parse_assignments, settings, to_dict


def test_profiles_are_defaults_of_known_settings_and_nothing_else():
    known = {f.name for f in dataclasses.fields(Settings)}
    for profile, values in PROFILES.items():
        assert set(values) <= known
        assert settings(profile).profile == profile


def test_every_value_of_a_profile_can_be_overridden():
    s = settings("embedded", image_size="64", taps="last,before", cam_mirror="false", lr="1e-3")
    assert (s.image_size, s.taps, s.cam_mirror, s.lr) == (64, ("last", "before"), False, 1e-3)


@pytest.mark.parametrize(
    "bad, says",
    [
        (dict(epoch=3), "known are"),
        (dict(epochs="three"), "not a value of type int"),
        (dict(epochs=2.5), "not a value of type int"),
        (dict(epochs=0), "at least 1"),
        (dict(image_size=100), "multiple of 32"),
        (dict(border="petty"), "pet, ignore, background"),
        (dict(threshold="1.5"), "between 0 and 1"),
        (dict(taps="first"), "not in store"),
        (dict(labels="colour"), "breed, species"),
        (dict(scales="0.5"), "starts with 1.0"),
        (dict(val_fraction=1), "0 or more, and below 1"),
        (dict(settled="nan"), "between 0 and 1"),
        (dict(walk_beta=-1), "more than 0"),
        (dict(sure_background=0.6), "at most 0.5"),
        (dict(grabcut_iterations=0), "at least 1"),
        (dict(plus_dropout=1), "0 or more, and below 1"),
        (dict(precision="int8"), "auto, float32, bfloat16"),
        (dict(decoder_channels=12), "multiple of 8"),
        (dict(lr="nan"), "more than 0"),
        (dict(queries="inf"), "not a value of type int"),
        (dict(store="before", taps="before"), "last and any of"),
        (dict(taps=""), "taps is empty"),
        (dict(sources=""), "at least one"),
        (dict(score_threshold=7), "between 0 and 1"),
        (dict(seed=-1), "0 or more"),
    ],
)
def test_a_bad_value_is_refused_with_the_way_out(bad, says):
    with pytest.raises(ValueError, match=says):
        settings("photos", **bad)


def test_an_unknown_profile_lists_the_known_ones():
    with pytest.raises(ValueError, match="embedded, photos, paper"):
        settings("laptop")


def test_assignments():
    assert parse_assignments(["a=1", "b=x=y"]) == {"a": "1", "b": "x=y"}
    with pytest.raises(ValueError, match="key=value"):
        parse_assignments(["a"])


def test_settings_survive_the_way_through_text():
    s = settings("photos", taps="last,before", scales="1.0,1.5")
    assert settings(**to_dict(s)) == s
