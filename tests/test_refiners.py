"""Every entry of REFINERS: the contract, and oracles by hand for what each of them is."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import small
from torch.nn import functional as F

from petweak.pseudo_masks.refiners import CHAINS, REFINERS, Chain, chain_named
from petweak.pseudo_masks.refiners.base import centred, resized
from petweak.pseudo_masks.refiners.crf import mean_field
from petweak.pseudo_masks.refiners.grabcut import grabcut
from petweak.pseudo_masks.refiners.pamr import pamr
from petweak.pseudo_masks.refiners.walk import affinity, random_walk
from petweak.pseudo_masks.signals import (
    SIGNALS,
    Maps,
    agreement,
    confidence,
    mean_ranks,
    otsu_share,
)
from petweak.pseudo_masks.store import read_mask
from petweak.study import Run

HERE = [n for n in REFINERS if n != "densecrf" or find_spec("pydensecrf")]


@pytest.fixture(scope="module")
def run(rendered, tmp_path_factory) -> Run:
    run = Run(tmp_path_factory.mktemp("refiners"), rendered, small(refine_scales=(1.0, 1.5)))
    run.features  # noqa: B018 - once for the module
    return run


@pytest.fixture(scope="module")
def source(run):
    source = run.source("gradcam_pretrained")
    source.fit()
    return source


@pytest.mark.parametrize("name", HERE)
def test_contract(run, source, name):
    batch = run.context.batch([s.id for s in run.pets.samples][:3])
    blobs = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    soft = F.interpolate(blobs, (64, 64), mode="bilinear")[:, 0]
    found = Chain((name,), run.context, source)(soft, batch)
    assert found.shape == (3, 32, 32) and found.dtype == torch.float32
    assert torch.isfinite(found).all() and 0 <= found.min() and found.max() <= 1
    assert not torch.equal(found, resized(soft, 32))
    one = run.context.batch(batch.ids[1:2])
    alone = Chain((name,), run.context, source)(soft[1:2], one)
    assert torch.allclose(alone, found[1:2], atol=1e-4), "a photo's map depends on its neighbours"


def test_chains_are_named_and_unknown_refiners_refused(run):
    assert chain_named(("affinity", "pamr")) == ("multiscale", "walk", "pamr")
    assert all(r in REFINERS for chain in CHAINS.values() for r in chain)
    with pytest.raises(ValueError, match="refiners: multiscale.*chains: averaged"):
        Run(run.folder, run.data_root, small(refine="grubcut"))
    with pytest.raises(ValueError, match="take multiscale out"):
        Run(run.folder, run.data_root, small(refine="multiscale", sources="external",
                                             external_masks=str(run.data_root)))  # fmt: skip
    with pytest.raises(ValueError, match="two or more chains"):
        Run(run.folder, run.data_root, small(refine="vote", vote="consensus,colour"))
    with pytest.raises(ValueError, match="choose_by"):
        Run(run.folder, run.data_root, small(refine="auto", choose_by="luck",
                                             sources="gradcam_pretrained"))  # fmt: skip


@pytest.mark.skipif(find_spec("pydensecrf") is not None, reason="pydensecrf is installed")
def test_an_extra_that_is_not_installed_is_named(run):
    with pytest.raises(ValueError, match=r"petweak\[densecrf\]"):
        Run(run.folder, run.data_root, small(refine="densecrf"))


def test_ground_truth_is_never_refined(run, tmp_path):
    plain = Run(tmp_path / "a", run.data_root, small(sources="ground_truth"))
    refined = Run(tmp_path / "b", run.data_root, small(sources="ground_truth", refine="walk"))
    assert plain.masks_key("ground_truth") == refined.masks_key("ground_truth")
    assert plain.masks_key("mask_rcnn") != refined.masks_key("mask_rcnn")


def test_masks_are_refined_and_their_unsure_pixels_are_128(run, tmp_path):
    settings = small(refine="multiscale,walk", refine_scales=(1.0,), unsure="0.3,0.7")
    refined = Run(tmp_path, run.data_root, settings)
    made = refined.masks("gradcam_pretrained")
    assert made["refine"] == ["multiscale", "walk"] and 0 < made["threshold"] < 1
    masks = [read_mask(refined.masks_folder("gradcam_pretrained") / f"{i}.png")
             for i in made["ids"][:10]]  # fmt: skip
    assert {v for m in masks for v in np.unique(m)} == {0, 128, 255}


# --- oracles


def test_centred_puts_otsus_cut_at_a_half():
    soft = torch.tensor([[[2.0, 2.0, 3.0], [2.0, 9.0, 10.0]]])
    found = centred(soft)
    assert found.min() == 0 and found.max() == 1
    assert (found > 0.5).tolist() == [[[False, False, False], [False, True, True]]]


def two_halves() -> tuple[torch.Tensor, torch.Tensor]:
    """A photo, black on the left and white on the right, and a map that is wrong at the edge."""
    photo = torch.zeros(3, 16, 16)
    photo[:, :, 8:] = 1
    soft = torch.full((16, 16), 0.1)
    soft[:, 10:] = 0.9
    return photo, soft


def test_pamr_is_its_formula():
    """One step on 5 x 4 pixels, pixel by pixel, from section 4.2 of the paper."""
    rng = np.random.default_rng(0)
    photo, soft = rng.random((3, 5, 4)), rng.random((5, 4))
    wanted = np.zeros_like(soft)
    for y, x in np.ndindex(soft.shape):
        around = [(min(max(y + dy, 0), 4), min(max(x + dx, 0), 3))
                  for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]  # fmt: skip
        colours = np.stack([photo[:, v, u] for v, u in around], 1)
        spread = np.concatenate([colours, photo[:, y, x, None]], 1).std(1, ddof=1)
        far = np.abs(colours - photo[:, y, x, None])
        likeness = -(far / (1e-8 + 0.1 * spread[:, None])).mean(0)
        weights = np.exp(likeness - likeness.max())
        wanted[y, x] = weights @ [soft[v, u] for v, u in around] / weights.sum()
    photos, maps = (torch.tensor(a, dtype=torch.float32)[None] for a in (photo, soft))
    assert np.allclose(pamr(maps, photos, iterations=1, dilations=(1,))[0], wanted, atol=1e-5)


def test_pamr_moves_an_edge_to_the_photos_edge_and_keeps_a_constant():
    photo, soft = two_halves()
    found = pamr(soft[None], photo[None], iterations=10, dilations=(1, 2))[0]
    assert (found[:, 8:10] > 0.5).all() and (found[:, :8] < 0.5).all()
    assert torch.allclose(pamr(soft[None] * 0 + 0.3, photo[None]), torch.tensor(0.3))


def test_the_crf_works_on_at_most_half_the_grid(run, source, monkeypatch):
    seen = []
    monkeypatch.setattr("petweak.pseudo_masks.refiners.crf.mean_field",
                        lambda soft, photo: seen.append((soft.shape, photo.shape)) or soft)
    batch = run.context.batch([run.pets.samples[0].id])
    assert REFINERS["crf"](run.context).refine(torch.rand(1, 32, 32), batch, source).shape[-1] == 32
    REFINERS["crf"](run.context).refine(torch.rand(1, 160, 160), batch, source)
    assert seen == [((16, 16), (3, 16, 16)), ((64, 64), (3, 64, 64))]


def test_grabcut_finds_the_two_colours_and_survives_an_empty_map():
    photo, soft = two_halves()
    noise = np.random.default_rng(0).integers(0, 20, (16, 16, 3))
    picture = np.clip((photo.permute(1, 2, 0).numpy() * 200) + noise, 0, 255).astype(np.uint8)
    unsure = np.where(soft.numpy() > 0.5, 0.7, 0.3).astype(np.float32)
    unsure[:, :2], unsure[:, 14:] = 0.05, 0.95
    assert (grabcut(unsure, picture) > 0).tolist() == (photo[0] > 0).tolist()
    assert grabcut(np.zeros((16, 16), np.float32), picture).sum() == 0


def test_mean_field_is_the_update_written_out_pixel_by_pixel():
    rng = torch.Generator().manual_seed(0)
    soft, photo = torch.rand(3, 4, generator=rng), torch.rand(3, 3, 4, generator=rng)
    weights, widths = (2.0, 1.0), (0.4, 0.3, 0.2)
    found = mean_field(soft, photo, 2, weights, widths)

    p = soft.clamp(0.01, 0.99).flatten().double()
    place = [(y / 4, x / 4) for y in range(3) for x in range(4)]
    colour = photo.flatten(1).T.double()
    n = len(place)
    kernels = torch.zeros(2, n, n, dtype=torch.double)
    for i in range(n):
        for j in range(n):
            if i != j:
                near = sum((a - b) ** 2 for a, b in zip(place[i], place[j], strict=True))
                like = ((colour[i] - colour[j]) ** 2).sum()
                kernels[0, i, j] = np.exp(-near / (2 * 0.4**2) - like / (2 * 0.3**2))
                kernels[1, i, j] = np.exp(-near / (2 * 0.2**2))
    norm = kernels.sum(2) ** -0.5
    kernels = norm[:, :, None] * kernels * norm[:, None]
    q = p
    for _ in range(2):
        # two labels: energies of pet and of background, each a sum of penalties for the other
        pet = p.log() + sum(w * k @ q for w, k in zip(weights, kernels, strict=True)) * 1
        other = (1 - p).log() + sum(w * k @ (1 - q) for w, k in zip(weights, kernels, strict=True))
        q = torch.stack([pet, other]).softmax(0)[0]
    assert torch.allclose(found.flatten().double(), q, atol=1e-4)


def test_a_walk_fills_what_is_alike_and_nothing_else():
    maps = torch.zeros(1, 2, 4, 4)
    maps[:, 0, :, :2], maps[:, 1, :, 2:] = 1, 1  # two kinds of cells
    matrix = affinity([maps], 4, beta=2)
    assert torch.allclose(matrix.sum(-1), torch.ones(1, 16))
    seed = torch.zeros(1, 4, 4)
    seed[0, 0, 0] = 1
    found = random_walk(seed, matrix, steps=3)[0]
    assert torch.allclose(found[:, :2], torch.tensor(1 / 8)) and (found[:, 2:] == 0).all()


def test_a_vote_is_the_share_of_chains_that_say_pet(run, source):
    batch = run.context.batch([s.id for s in run.pets.samples][:3])
    blobs = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    soft = F.interpolate(blobs, (32, 32), mode="bilinear")[:, 0]
    chains = [("averaged",), ("affinity",), ("local",)]
    maps = [Chain(c, run.context, source)(soft, batch) > 0.5 for c in chains]
    settings = small(refine_scales=(1.0, 1.5), vote="averaged,affinity,local")
    found = Chain(("vote",), run.context.with_settings(settings), source)(soft, batch)
    votes = torch.stack(maps).float().mean(0)
    assert ((found - votes).abs() <= 0.02).all() and ((found > 0.5) == (votes > 0.5)).all()


def test_chains_with_the_same_beginning_share_its_work(run, source, monkeypatch):
    batch = run.context.batch([s.id for s in run.pets.samples][:3])
    soft, walks = source.probabilities(batch), []
    plain = REFINERS["walk"].refine
    counted = lambda self, *args: walks.append(1) or plain(self, *args)  # noqa: E731
    alone = Chain(("affinity_local",), run.context, source)(soft, batch)
    monkeypatch.setattr(REFINERS["walk"], "refine", counted)
    known = {}
    for name in ("affinity", "affinity_local"):
        found = Chain((name,), run.context, source)(soft, batch, known)
    assert len(walks) == 1 and torch.equal(found, alone)


@pytest.mark.parametrize("name", ["averaged", "fused", "local", "affinity"])
def test_a_chain_of_mirror_images_is_the_mirror_image_of_the_chain(run, source, name):
    batch = run.context.batch([s.id for s in run.pets.samples][:3])
    chain = Chain((name,), run.context, source)
    straight = chain(source.view(batch), batch)
    other = chain(source.view(batch.seen(True)), batch.seen(True))
    # Not to the digit: the network itself sees a mirror image a little differently.
    right, wrong = ((o - straight).abs().mean() for o in (other.flip(-1), other))
    assert right < 0.3 * wrong


# --- signals


def test_signals_by_hand():
    a = torch.tensor([[[True, True, False]], [[False, False, False]]])
    b = torch.tensor([[[True, False, False]], [[False, False, False]]])
    assert agreement(a, b).tolist() == [0.5, 1.0]
    soft = torch.tensor([[[1.0, 0.6, 0.2]]])  # decided: 1 1 0
    assert confidence(soft).item() == pytest.approx((1 + 0.6) / (1 + 1 + 0.2))
    assert otsu_share(torch.tensor([[[0.0, 0.0, 1.0]]])).item() == pytest.approx(1)
    assert otsu_share(torch.tensor([[[0.3, 0.3, 0.3]]])).item() == 0


@pytest.mark.parametrize("name", SIGNALS)
def test_every_signal_gives_a_number_a_photo(run, source, name):
    ids = [s.id for s in run.pets.split("train")][:3]
    found = SIGNALS[name](Maps(source, ("multiscale", "walk"), ids), 0.5)
    assert found.shape == (3,) and torch.isfinite(found).all() and found.max() <= 1


def test_auto_takes_the_mean_of_the_chains_that_the_ballot_prefers(run, tmp_path):
    chosen = Run(tmp_path, run.data_root, small(refine="auto", refine_scales=(1.0,), panel=2,
                                                choose_by="otsu,area"))  # fmt: skip
    made = chosen.masks("gradcam_pretrained")
    ranks = [row["rank"] for row in made["ranking"]]
    assert ranks == sorted(ranks, reverse=True) and len(ranks) == len(CHAINS) - 1
    assert made["vote"] == [row["chain"] for row in made["ranking"][:2]]
    assert (made["refine"], made["threshold"]) == (["vote"], 0.5)


def test_a_ballot_is_the_mean_of_ranks():
    values = pd.DataFrame({"a": [0.1, 0.2, 0.3], "b": [30.0, 10.0, 20.0]})
    assert mean_ranks(values).tolist() == [2.0, 1.5, 2.5]
