"""CAMs against hooks and torch's autograd on networks of any size, and maps against loops."""

from __future__ import annotations

import pytest
import pytorch_grad_cam
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from petweak.pseudo_masks import cam


def last(logits):
    """A score that is not one logit, with a gradient for all of them."""
    return (logits.softmax(-1) * torch.arange(logits.shape[-1])).sum(-1)


@st.composite
def networks(draw):
    """A convolution, a linear layer and photos of any size; and a score, with its classes."""
    score, classes = draw(st.sampled_from([(cam.top1, 4), (last, 3), (cam.pet_log_odds, 1000)]))
    channels, batch = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    height, width = draw(st.integers(2, 6)), draw(st.integers(2, 6))
    torch.manual_seed(draw(st.integers(0, 2**31)))
    net = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), nn.Tanh())
    return net, nn.Linear(channels, classes), score, torch.rand(batch, 3, height, width)


def by_hooks(net, head, score, photos):
    """Selvaraju et al.: activations A and d score / d A, which hooks catch on the way; A weighted
    by the gradient's means, summed over channels. Loops over photos and channels."""
    seen = {}
    caught = net.register_forward_hook(lambda m, x, y: (seen.update(a=y), y.register_hook(
        lambda gradient: seen.update(g=gradient)))[0])
    score(head(net(photos).mean((-2, -1)))).sum().backward()
    caught.remove()
    maps = []
    for a, g in zip(seen["a"].detach(), seen["g"], strict=True):
        total = torch.zeros(a.shape[-2:])
        for channel, gradient in zip(a, g, strict=True):
            total += gradient.mean() * channel
        maps.append(total.clamp(min=0))
    return torch.stack(maps)


@settings(max_examples=50)
@given(networks())
def test_the_closed_form_is_autograds_grad_cam(drawn):
    net, head, score, photos = drawn
    expected = by_hooks(*drawn)
    with torch.no_grad():  # as the masks are made
        ours = cam.grad_cam(net(photos), head, score)
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-6)
    assert not ours.requires_grad and head.weight.grad is not None  # the oracle's: ours takes none
    head.zero_grad()
    cam.grad_cam(net(photos).detach(), head, score)
    assert head.weight.grad is None


@settings(max_examples=25)
@given(networks())
def test_the_closed_form_is_pytorch_grad_cam_on_any_network(drawn):
    """Up to normalisation, where there is a map at all."""
    net, head, score, photos = drawn
    whole = nn.Sequential(net, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    with pytorch_grad_cam.GradCAM(model=whole, target_layers=[net]) as library:
        theirs = torch.from_numpy(library(photos, targets=[score] * len(photos)))
    with torch.no_grad():
        ours = cam.grad_cam(net(photos), head, score)
    for one, other in zip(ours, theirs, strict=True):
        if one.max() - one.min() > 1e-3:  # the library adds 1e-7 to what it divides by
            torch.testing.assert_close(cam.min_max(one[None])[0], other, rtol=0, atol=2e-3)


@settings(max_examples=25)
@given(networks())
def test_the_map_of_a_mirror_image_is_the_mirror_image_and_a_batch_is_its_photos(drawn):
    net, head, score, photos = drawn
    with torch.no_grad():
        maps = net(photos)
        together = cam.grad_cam(maps, head, score)
        torch.testing.assert_close(cam.grad_cam(maps.flip(-1), head, score), together.flip(-1),
                                   rtol=1e-4, atol=1e-7)
        alone = torch.cat([cam.grad_cam(m[None], head, score) for m in maps])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-7)


@settings(max_examples=25)
@given(networks())
def test_layer_cam_is_the_gradient_times_the_map_pixel_by_pixel(drawn):
    net, head, score, photos = drawn
    rest = nn.Sequential(nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    maps = net(photos).detach()
    ours = cam.layer_cam(maps, rest, score)
    asked = maps.clone().requires_grad_()
    score(rest(asked)).sum().backward()
    for one, a, g in zip(ours.tolist(), maps.tolist(), asked.grad.tolist(), strict=True):
        expected = [[max(0.0, sum(max(g[c][y][x], 0) * a[c][y][x] for c in range(len(a))))
                     for x in range(len(a[0][0]))] for y in range(len(a[0]))]
        torch.testing.assert_close(torch.tensor(one), torch.tensor(expected), rtol=1e-4, atol=1e-7)
    assert not ours.requires_grad and ours.min() >= 0


def bilinear(grid: list[list[float]], size: int) -> list[list[float]]:
    """Pixels are squares: the centre of a new one, in old pixels, and the four values around it;
    at the edge, the edge."""
    def around(i: int, n: int) -> tuple[int, int, float]:
        at = min(max((i + 0.5) * n / size - 0.5, 0), n - 1)
        return int(at), min(int(at) + 1, n - 1), at - int(at)

    def value(y: int, x: int) -> float:
        top, bottom, down = around(y, len(grid))
        left, right, across = around(x, len(grid[0]))
        upper, lower = (g[left] * (1 - across) + g[right] * across for g in (grid[top],
                                                                            grid[bottom]))
        return upper * (1 - down) + lower * down

    return [[value(y, x) for x in range(size)] for y in range(size)]


def stretched(grid: list[list[float]]) -> list[list[float]]:
    low, high = min(map(min, grid)), max(map(max, grid))
    return [[(v - low) / (high - low + 1e-7) for v in row] for row in grid]


@settings(max_examples=50)
@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(1, 5), st.integers(1, 12))
def test_maps_are_stretched_resized_and_stretched_again(seed, height, width, size):
    maps = 5 * torch.randn(2, height, width, generator=torch.Generator().manual_seed(seed))
    for one, ours, small in zip(maps.tolist(), cam.upsample(maps, size).tolist(),
                                cam.min_max(maps).tolist(), strict=True):
        assert torch.tensor(small).allclose(torch.tensor(stretched(one)), atol=1e-5)
        expected = torch.tensor(stretched(bilinear(stretched(one), size)))
        spread = (torch.tensor(bilinear(stretched(one), size))).aminmax()
        if spread.max - spread.min > 1e-2:  # of a flat map rounding alone is left
            assert torch.tensor(ours).allclose(expected, atol=1e-3)


@settings(max_examples=25)
@given(st.integers(0, 2**31))
def test_log_odds_are_sums_of_probabilities(seed):
    logits = 4 * torch.randn(2, 1000, generator=torch.Generator().manual_seed(seed)).double()
    for row, ours in zip(logits.softmax(-1).tolist(), cam.pet_log_odds(logits), strict=True):
        pets = sum(p for k, p in enumerate(row) if 151 <= k <= 268 or 281 <= k <= 285)
        assert ours.item() == pytest.approx(torch.tensor(pets).logit().item(), abs=1e-4)
    with torch.device("meta"):  # whatever the usual device is
        assert cam.pet_log_odds(logits).device.type == "cpu"
    assert cam.top1(logits).tolist() == [max(row) for row in logits.tolist()]


def test_a_network_is_its_layers_in_order():
    class Backbone(nn.Module):
        def forward(self, photos):
            return {"final": 2 * photos, "stride16": photos}

    linear, photos = nn.Linear(3, 4), torch.rand(2, 3, 5, 6)
    backbone = Backbone()
    network = cam.Network(backbone, linear)
    torch.testing.assert_close(network(photos), linear(2 * photos.mean((-2, -1))))
    assert network.backbone is backbone and network.linear is linear
    torch.testing.assert_close(cam.Head(linear)(photos), linear(photos.mean((-2, -1))))
    squared = cam.Head(linear, torch.square)
    torch.testing.assert_close(squared(photos), linear(photos.square().mean((-2, -1))))


@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "layercam", "eigencam"])
def test_a_method_by_name_is_the_librarys_own(method):
    torch.manual_seed(1)
    head, maps = cam.Head(nn.Linear(5, 4)).eval(), torch.rand(2, 5, 4, 3)
    kind = getattr(pytorch_grad_cam, cam.METHODS[method])
    with kind(model=head, target_layers=[head.map]) as theirs:
        expected = torch.from_numpy(theirs(maps.clone().requires_grad_(), targets=[last] * 2))
    with torch.no_grad():
        ours = cam.library_cam(method, head, head.map, maps, last)
    assert ours.dtype == torch.float32 and not maps.requires_grad
    torch.testing.assert_close(ours, expected.float(), rtol=0, atol=1e-6)
    assert ours.max() > 0.5  # something to compare


def test_hooks_are_gone_and_an_unknown_method_is_named():
    head, maps = cam.Head(nn.Linear(5, 4)).eval(), torch.rand(1, 5, 3, 3)
    cam.library_cam("gradcam", head, head.map, maps, cam.top1)
    assert not head.map._forward_hooks and not head.map._backward_hooks
    with pytest.raises(ValueError, match=r"cam='gradcam\+': there are gradcam\+\+, gradcam, xgrad"):
        cam.library_cam("gradcam+", head, head.map, maps, cam.top1)
