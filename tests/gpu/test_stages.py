"""What the CPU gives, CUDA gives within a tolerance that is stated beside each check."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from petweak.__main__ import main
from petweak.config import LEVELS
from petweak.data.masks import FOREGROUND, read_mask
from petweak.data.oxford_pets import load_photo
from petweak.experiments.benchmark import PARTS, exact_targets
from petweak.models.backbones import load_backbone
from petweak.models.maskformer import MaskFormer, MaskFormerConfig
from petweak.models.onnx import make_engine
from petweak.pseudo_masks import SOURCES, cam
from petweak.study.run import Run
from petweak.training.inference import load_model, predict_features, predict_photo
from petweak.training.trainer import prepare, train_step

# `mask_rcnn` needs COCO's weights, `external` a folder; both have no arithmetic of their own here.
HERE = [name for name in SOURCES if name not in ("mask_rcnn", "external")]
METHODS = [name for name in cam.METHODS if name != "gradcam"]


def iou(a: np.ndarray, b: np.ndarray) -> float:
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 1.0  # two empty masks are equal


def iou_on_test(run: Run, labels: str, source: str = "ground_truth") -> float:
    rows = run.model_scores(source, labels).rows
    (value,) = [r["value"] for r in rows if (r["split"], r["metric"], r["border"]) == (
        "test", "mask_iou_gt", "foreground")]
    return value



def test_features(cpu, cuda, measured):
    """cuDNN's convolutions use TensorFloat-32: 10 bits of mantissa, as float16 has."""
    ids = list(cpu.ids)
    for level in LEVELS:
        a, b = (run.features.batch(level, ids) for run in (cpu, cuda))
        measured(level, (a - b).abs().max() / a.abs().max(), most=0.02)
    assert cuda.device.type == "cuda" and cuda.backbone.net.conv_stem.weight.is_cuda


def test_onnx_runtime_gives_the_same_features(cuda, open_run, measured):
    run = open_run("cuda", engine="onnxruntime")
    for level in LEVELS:
        a, b = (r.features.batch(level, list(run.ids)) for r in (cuda, run))
        measured(level, (a - b).abs().max() / a.abs().max(), most=0.02)


def test_auto_is_pytorch_on_a_gpu(cuda):
    assert make_engine(cuda.backbone, torch.rand(2, 3, 64, 64).cuda(), "auto")[0] == "eager"


@pytest.mark.parametrize("source", HERE)
def test_masks(cpu, cuda, source, measured):
    values = []
    for run in (cpu, cuda):
        run.masks(source)
    for image_id in cpu.ids:
        a, b = (read_mask(run.masks_folder(source) / f"{image_id}.png") == FOREGROUND
                for run in (cpu, cuda))
        values.append(iou(a, b))
    # A map near its threshold may fall on either side, and a choice among pipelines with it.
    measured("mean IoU of masks on CPU and GPU", np.mean(values), least=0.97)


@pytest.mark.parametrize("method", METHODS)
def test_methods_of_pytorch_grad_cam(cpu, cuda, method, measured):
    maps = []
    for run in (cpu, cuda):
        source = run.source("gradcam_pretrained", cam=method)
        source.fit()
        torch.manual_seed(0)
        np.random.seed(0)
        maps.append(source.probabilities(source.context.batch(list(cpu.ids)[:4])))
    assert maps[1].shape == maps[0].shape and torch.isfinite(maps[1]).all()
    if method != "randomcam":  # its weights are drawn
        measured("mean difference", (maps[0] - maps[1]).abs().mean(), most=0.05)


@pytest.mark.parametrize("levels", [("final",), LEVELS])
def test_one_model_gives_one_output(levels, measured):
    channels = tuple(dict(zip(LEVELS, (64, 48, 32, 16), strict=True))[level] for level in levels)
    model = MaskFormer(MaskFormerConfig(5, channels, levels, decoder_channels=32)).eval()
    side = {"final": 6, "penultimate": 6, "stride16": 12, "stride8": 24}
    maps = [torch.randn(2, c, side[v], side[v]) for c, v in zip(channels, levels, strict=True)]
    with torch.inference_mode():
        here = model(maps)
        there = model.cuda()([m.cuda() for m in maps])
    for name, values in here.items():
        measured(name, (there[name].cpu() - values).abs().max() / values.abs().max(), most=0.02)


def test_training_in_float32(cpu, cuda, open_run, measured):
    run = open_run("cuda", precision="float32")
    histories = [pd.read_csv(r.model("ground_truth", "breed") / "history.csv") for r in (cpu, run)]
    first = [h["loss"][0] for h in histories]
    # dropout is drawn on the device, so the two trainings are not the same one
    measured("loss of the first epoch, GPU / CPU", first[1] / first[0], 0.9, 1.1)
    difference = iou_on_test(run, "breed") - iou_on_test(cpu, "breed")
    measured("mask IoU on test, GPU - CPU", difference, -0.08, 0.08)


@pytest.mark.parametrize("precision", ["auto", "bfloat16"])
@pytest.mark.parametrize("levels", ["final", ",".join(LEVELS)])
def test_training_in_16_bits(open_run, precision, levels, measured):
    run = open_run("cuda", precision=precision, levels=levels)
    exact = open_run("cuda", precision="float32", levels=levels)
    history = pd.read_csv(run.model("ground_truth", "species") / "history.csv")
    assert np.isfinite(history["loss"]).all()
    state = load_file(run.model("ground_truth", "species") / "model.safetensors")
    assert all(t.dtype == torch.float32 and torch.isfinite(t).all() for t in state.values())
    difference = iou_on_test(run, "species") - iou_on_test(exact, "species")
    measured("mask IoU on test, 16 - 32 bits", difference, -0.08, 0.08)


@pytest.mark.parametrize("precision", ["float32", "auto", "bfloat16"])
def test_a_training_step_waits_for_nothing_of_the_gpu(open_run, precision):
    run = open_run("cuda", precision=precision)
    samples = list(run.pets.split("train"))[:8]
    targets, settings = exact_targets(run, samples), run.settings
    classes = len(run.pets.classes(settings.labels[0]))
    model, *rest = prepare(run.features, classes, settings, run.device)
    model.train()
    for mode in ("default", "error"):  # what is chosen and allocated once comes with the first
        torch.cuda.set_sync_debug_mode(mode)
        try:
            terms = train_step(model, run.features, targets, torch.arange(8),
                               torch.zeros(8, dtype=torch.bool), settings, *rest)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert all(t.is_cuda and torch.isfinite(t) for t in terms.values())


def test_the_benchmark_command(rendered, tmp_path, measured):
    pytest.importorskip("transformers")
    pytest.importorskip("segmentation_models_pytorch")
    command = ["experiment", "benchmark", "--data-root", str(rendered), "--run",
               str(tmp_path / "run"), "--device", "cuda", "--set", "image_size=96",
               "decoder_channels=16", f"levels={','.join(LEVELS)}", "engine=eager", "epochs=1",
               "-o", "photos=8", "rounds=1"]
    assert main(command) == 0
    table = pd.read_csv(tmp_path / "run" / "experiments" / "benchmark.csv")
    assert set(table["device"]) == {torch.cuda.get_device_name(0)}
    assert set(table["part"]) == set(PARTS)
    for row in table.itertuples():
        measured(f"seconds of {row.part}, {row.what}", row.seconds, least=0)


def test_two_queries_and_a_hundred(open_run, measured):
    measured("mask IoU on test", iou_on_test(open_run("cuda", queries=100), "species"), least=0.2)


def test_self_training(open_run, measured):
    run = open_run("cuda", sources="imagenet_only", labels="species", rounds=2, round_epochs=2,
                   last_epochs=3)
    assert len(run.rounds("imagenet_only", "species")) >= 1
    measured("mask IoU on test", iou_on_test(run, "species", "imagenet_only"), least=0.2)


def test_a_training_that_was_stopped_goes_on(open_run, monkeypatch, measured):
    from petweak.training import trainer

    whole, run = open_run("cuda"), open_run("cuda")
    save, calls = trainer._save, []

    def stops(*args):
        save(*args)
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    whole.model("ground_truth", "species")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainer, "_save", stops)
        run.model("ground_truth", "species")
    a, b = (load_file(r.model("ground_truth", "species") / "model.safetensors")
            for r in (whole, run))
    history = pd.read_csv(run.model_folder("ground_truth", "species") / "history.csv")
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    # atomics of a backward pass add up in any order
    largest = max(float((a[k] - b[k]).abs().max()) for k in a)
    measured("largest difference of a weight", largest, most=0.05)


def test_a_run_does_not_go_on_on_another_device(cuda):
    cuda.masks("gradcam_pretrained")
    settings = cuda.settings.replace(device="cpu")
    elsewhere = Run(cuda.folder, cuda.data_root, settings, device="cuda")
    with pytest.raises(ValueError, match="was made on cuda"):
        elsewhere.model("gradcam_pretrained", "species")


def test_out_of_memory_names_a_smaller_batch(rendered, tmp_path, capsys):
    options = ["--data-root", str(rendered), "--run", str(tmp_path / "run"), "--set"]
    options += ["image_size=512", "decoder_channels=256", "device=cuda", "engine=eager"]
    free = torch.cuda.memory_reserved() / torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, free + 0.003))
    try:
        assert main(["train", "--source", "ground_truth", *options, "batch_size=64"]) == 1
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    error = capsys.readouterr().err
    assert "out of memory" in error and "batch_size" in error and "Traceback" not in error


def test_predictions(cpu, tmp_path, measured):
    folder = cpu.model("ground_truth", "species")
    ids, values = list(cpu.ids)[:16], []
    here, there = (load_model(folder, device) for device in ("cpu", "cuda"))
    pairs = zip(predict_features(here, cpu.features, ids),
                predict_features(there, cpu.features, ids), strict=True)
    for (_, a), (_, b) in pairs:
        values.append(np.abs(a.soft - b.soft).max())
        assert a.classes.argmax() == b.classes.argmax()
    measured("largest difference of a probability", max(values), most=0.02)
    photo = cpu.pets.samples[0].photo
    backbone = load_backbone(there.backbone).cuda()
    alone = predict_photo(there, load_photo(photo), backbone).soft
    first = next(iter(predict_features(here, cpu.features, [cpu.ids[0]])))[1].soft
    measured("the same of one photo, through the backbone", np.abs(alone - first).max(), most=0.05)
    arguments = [str(photo), "--model", str(folder), "--out", str(tmp_path / "out")]
    assert main(["predict", *arguments, "--device", "cuda"]) == 0
    assert read_mask(tmp_path / "out" / f"{photo.stem}.png").shape == load_photo(photo).size[::-1]
