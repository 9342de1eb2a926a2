"""Every entry of STEPS: the contract, and oracles by hand for what each of them is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import small
from torch.nn import functional as F
from toy import register

from petweak.pseudo_masks import source_class
from petweak.pseudo_masks.refinement import (
    PIPELINES,
    STEPS,
    Pipeline,
    check_pipeline,
    pipeline_steps,
    step_class,
    versions,
)
from petweak.pseudo_masks.refinement.base import RefinementStep, centred, photos_on_grid, resized
from petweak.pseudo_masks.refinement.crf import MeanFieldCRF, mean_field
from petweak.pseudo_masks.refinement.grabcut import grabcut
from petweak.pseudo_masks.refinement.pamr import pamr
from petweak.pseudo_masks.refinement.walk import Walk, affinity, random_walk
from petweak.study.run import Run


@pytest.fixture(scope="module")
def run(eight_breeds, tmp_path_factory) -> Run:
    """Nine photos, with the real backbone: steps ask for other views and other backbones."""
    settings = small(refinement_scales=(1.0, 1.5))
    run = Run(tmp_path_factory.mktemp("refinement"), eight_breeds, settings)
    run.only = frozenset([s.id for s in run.pets.split("train")][:9])
    del run.pets  # cached without `only`
    run.features  # noqa: B018 - once for the module
    return run


@pytest.fixture(scope="module")
def source(run):
    source = run.source("gradcam_pretrained")
    source.fit()
    return source


@pytest.fixture(scope="module")
def batch(run):
    return run.context.batch(list(run.ids[:3]))


def blobs(size: int, seed: int = 0) -> torch.Tensor:
    soft = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(soft, (size, size), mode="bilinear")[:, 0]


@pytest.mark.parametrize("name", STEPS)
def test_contract(run, source, batch, name):
    soft = blobs(64)
    refined = Pipeline((name,), run.context, source)(soft, batch)
    assert refined.shape == (3, 32, 32) and refined.dtype == torch.float32
    assert torch.isfinite(refined).all() and 0 <= refined.min() and refined.max() <= 1
    assert not torch.equal(refined, resized(soft, 32))
    one = run.context.batch(batch.ids[1:2])
    alone = Pipeline((name,), run.context, source)(soft[1:2], one)
    assert torch.allclose(alone, refined[1:2], atol=1e-4), "a photo's map depends on its neighbours"
    if not step_class(name).asks_source:  # then it refines a model's prediction, too
        torch.testing.assert_close(Pipeline((name,), run.context)(soft, batch), refined)


@pytest.mark.parametrize("name", ["fused", "local", "affinity"])
def test_a_pipeline_of_mirror_images_is_the_mirror_image_of_the_pipeline(run, source, batch, name):
    pipeline, mirror = Pipeline((name,), run.context, source), batch.view(True)
    straight, other = pipeline(source.view(batch), batch), pipeline(source.view(mirror), mirror)
    # Not to the digit: the network itself sees a mirror image a little differently.
    right, wrong = ((o - straight).abs().mean() for o in (other.flip(-1), other))
    assert right < 0.3 * wrong


def test_names_of_pipelines_stand_for_their_steps_and_others_are_refused():
    assert pipeline_steps(("affinity", "pamr")) == ("multiscale", "walk", "pamr")
    assert all(pipeline_steps((p,)) for p in PIPELINES)
    assert set(versions(("walk",))) == {"walk"} and set(versions(("auto",))) == set(STEPS)
    with pytest.raises(ValueError, match="unknown grubcut; steps: multiscale.*pipelines: averaged"):
        pipeline_steps(("grubcut",))
    with pytest.raises(ValueError, match="stands alone"):
        pipeline_steps(("auto", "walk"))


@pytest.mark.parametrize(
    "names, changes, says",
    [
        ("multiscale", {}, "leave out multiscale"),
        ("vote", dict(vote_pipelines="consensus,colour"), "two or more pipelines"),
        ("vote", dict(vote_pipelines="colour"), "two or more pipelines"),
        (
            "walk",
            dict(
                walk_levels="stride8", stored_levels="final,stride16", self_training_levels="final"
            ),
            "stride8 is not in stored_levels",
        ),
        ("fusion", dict(fusion_maps="stride4"), "unknown stride4"),
    ],
)
def test_pipelines_that_cannot_work_are_refused_before_anything_runs(names, changes, says):
    settings = small(**changes)
    source = source_class("external" if names == "multiscale" else "gradcam_pretrained")
    with pytest.raises(ValueError, match=says):
        check_pipeline((names,), source, settings)


def test_ground_truth_is_never_refined():
    refined = small(refinement="walk")
    assert source_class("ground_truth").refinement(refined) == ()
    assert source_class("mask_rcnn").refinement(refined) == ("walk",)
    assert source_class("imagenet_only").refinement(small()) == ("auto",)


# --- oracles


def test_centred_puts_otsus_threshold_at_a_half():
    soft = centred(torch.tensor([[[2.0, 2.0, 3.0], [2.0, 9.0, 10.0]]]))
    assert soft.min() == 0 and soft.max() == 1
    assert (soft > 0.5).tolist() == [[[False, False, False], [False, True, True]]]


def test_photos_come_on_the_grid_of_the_maps_in_the_batchs_view(run, batch):
    photos = photos_on_grid(batch, 16)
    assert photos.shape == (3, 3, 16, 16) and 0 <= photos.min() and photos.max() <= 1
    mirror = photos_on_grid(batch.view(True), 16)
    assert (photos - mirror.flip(-1)).abs().max() < 0.02 < (photos - mirror).abs().max()


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
    expected = np.zeros_like(soft)
    for y, x in np.ndindex(soft.shape):
        around = [
            (min(max(y + dy, 0), 4), min(max(x + dx, 0), 3))
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
            if (dy, dx) != (0, 0)
        ]
        colours = np.stack([photo[:, v, u] for v, u in around], 1)
        spread = np.concatenate([colours, photo[:, y, x, None]], 1).std(1, ddof=1)
        difference = np.abs(colours - photo[:, y, x, None])
        similarity = -(difference / (1e-8 + 0.1 * spread[:, None])).mean(0)
        weights = np.exp(similarity - similarity.max())
        expected[y, x] = weights @ [soft[v, u] for v, u in around] / weights.sum()
    photos, maps = (torch.tensor(a, dtype=torch.float32)[None] for a in (photo, soft))
    assert np.allclose(pamr(maps, photos, iterations=1, dilations=(1,))[0], expected, atol=1e-5)


def test_pamr_moves_an_edge_to_the_photos_edge_and_keeps_a_constant():
    photo, soft = two_halves()
    refined = pamr(soft[None], photo[None], iterations=10, dilations=(1, 2))[0]
    assert (refined[:, 8:10] > 0.5).all() and (refined[:, :8] < 0.5).all()
    assert torch.allclose(pamr(soft[None] * 0 + 0.3, photo[None]), torch.tensor(0.3))


def test_grabcut_finds_the_two_colours_and_survives_an_empty_map():
    photo, soft = two_halves()
    noise = np.random.default_rng(0).integers(0, 20, (16, 16, 3))
    picture = np.clip((photo.permute(1, 2, 0).numpy() * 200) + noise, 0, 255).astype(np.uint8)
    doubtful = np.where(soft.numpy() > 0.5, 0.7, 0.3).astype(np.float32)
    doubtful[:, :2], doubtful[:, 14:] = 0.05, 0.95
    assert np.array_equal(grabcut(doubtful, picture) > 0, photo[0].numpy() > 0)
    assert grabcut(np.zeros((16, 16), np.float32), picture).sum() == 0
    assert grabcut(np.ones((16, 16), np.float32), picture).all()


def test_mean_field_is_the_update_written_out_pixel_by_pixel():
    rng = torch.Generator().manual_seed(0)
    soft, photo = torch.rand(3, 4, generator=rng), torch.rand(3, 3, 4, generator=rng)
    refined = mean_field(soft, photo, 2, weights=(2.0, 1.0), widths=(0.4, 0.3, 0.2))

    p = soft.clamp(0.01, 0.99).flatten().double()
    position = [(y / 4, x / 4) for y in range(3) for x in range(4)]
    colour, n = photo.flatten(1).T.double(), 12
    kernels = torch.zeros(2, n, n, dtype=torch.double)
    for i in range(n):
        for j in range(n):
            if i != j:
                near = sum((a - b) ** 2 for a, b in zip(position[i], position[j], strict=True))
                similar = ((colour[i] - colour[j]) ** 2).sum()
                kernels[0, i, j] = np.exp(-near / (2 * 0.4**2) - similar / (2 * 0.3**2))
                kernels[1, i, j] = np.exp(-near / (2 * 0.2**2))
    norm = kernels.sum(2) ** -0.5
    k = (norm[:, :, None] * kernels * norm[:, None] * torch.tensor([2.0, 1.0])[:, None, None]).sum(
        0
    )
    q = p
    for _ in range(2):  # two labels: energies of foreground and background, penalties for the other
        q = torch.stack([p.log() + k @ q, (1 - p).log() + k @ (1 - q)]).softmax(0)[0]
    assert torch.allclose(refined.flatten().double(), q, atol=1e-4)


def test_the_crf_works_on_at_most_half_the_grid(run, source, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "petweak.pseudo_masks.refinement.crf.mean_field",
        lambda soft, photo: seen.append((soft.shape, photo.shape)) or soft,
    )
    batch = run.context.batch([run.ids[0]])
    crf = MeanFieldCRF(run.context)
    assert crf.refine(torch.rand(1, 32, 32), batch, source).shape[-1] == 32
    crf.refine(torch.rand(1, 160, 160), batch, source)
    assert seen == [((16, 16), (3, 16, 16)), ((64, 64), (3, 64, 64))]


def test_a_walk_fills_what_is_similar_and_nothing_else():
    maps = torch.zeros(1, 2, 4, 4)
    maps[:, 0, :, :2], maps[:, 1, :, 2:] = 1, 1  # two kinds of positions
    matrix = affinity([maps], 4, beta=2)
    assert torch.allclose(matrix.sum(-1), torch.ones(1, 16))
    seed = torch.zeros(1, 4, 4)
    seed[0, 0, 0] = 1
    walked = random_walk(seed, matrix, steps=3)[0]
    assert torch.allclose(walked[:, :2], torch.tensor(1 / 8)) and (walked[:, 2:] == 0).all()


def test_multiscale_is_the_mean_over_views_in_the_frame_of_the_photo(run, source, batch):
    """It replaces what it is given, and asks for each scale and mirror image once."""
    refined = Pipeline(("multiscale",), run.context, source)(blobs(32), batch)
    total = 0
    for scale in (1.0, 1.5):
        for mirror in (False, True):
            soft = resized(source.view(batch.view(mirror, scale)), 32)
            total = total + (soft.flip(-1) if mirror else soft)
    torch.testing.assert_close(refined, centred(total))
    soft = blobs(32)
    assert torch.equal(Pipeline(("multiscale",), run.context)(soft, batch), soft)


def test_a_vote_is_the_share_of_pipelines_that_decide_foreground(run, source, batch):
    soft, names = blobs(32, seed=1), ("averaged", "affinity", "local")
    maps = torch.stack([Pipeline((n,), run.context, source)(soft, batch) for n in names]) > 0.5
    context = run.context.replace(run.settings.replace(vote_pipelines=names))
    voted = Pipeline(("vote",), context, source)(soft, batch)
    share = maps.float().mean(0)
    assert ((voted - share).abs() <= 0.02).all() and ((voted > 0.5) == (share > 0.5)).all()


def test_pipelines_with_the_same_beginning_share_its_work(run, source, batch, monkeypatch):
    soft, walks, refine = source.probabilities(batch), [], Walk.refine
    alone = Pipeline(("affinity_local",), run.context, source)(soft, batch)
    monkeypatch.setattr(Walk, "refine", lambda self, *a: walks.append(1) or refine(self, *a))
    shared = {}
    for name in ("affinity", "affinity_local"):
        refined = Pipeline((name,), run.context, source)(soft, batch, shared)
    assert len(walks) == 1 and torch.equal(refined, alone)


def test_a_new_step_is_a_class_and_a_line(run, batch, monkeypatch):
    class Inverted(RefinementStep):
        def refine(self, soft, batch, source):
            return 1 - soft

    register(monkeypatch, STEPS, "petweak.pseudo_masks.refinement", "inverted", Inverted)
    soft = blobs(32)
    assert torch.equal(Pipeline(("inverted",), run.context)(soft, batch), 1 - soft)
