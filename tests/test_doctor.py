from petweak import doctor, weights


def test_the_pair_is_tried_by_a_call(monkeypatch):
    assert doctor.torch_pair().good

    def broken(*args):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(doctor.torchvision.ops, "nms", broken)
    finding = doctor.torch_pair()
    assert not finding.good and "nms does not exist" in finding.found and finding.way_out


def test_every_profile_runs_or_has_one_command_that_changes_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    findings = {f.what: f for f in doctor.examine(tmp_path)}
    assert findings["profile embedded"].good
    for name in ("profile photos", "profile paper"):
        assert not findings[name].good and "\n" not in findings[name].way_out
    assert findings["profile photos"].way_out.startswith("petweak data fetch")
    assert str(weights.cached_path("resnet50")) in findings["profile paper"].way_out
    text = doctor.table(list(findings.values()))
    assert all(name in text for name in findings)


def test_found_data_are_counted(rendered):
    finding = doctor.data("embedded", rendered)
    assert finding.good and "111 photos, 37 breeds" in finding.found
    assert not doctor.data("paper", rendered).good  # not all 7,349
