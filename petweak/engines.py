"""Ways to run the frozen backbone: PyTorch, or ONNX Runtime where its numbers are the same."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from petweak.backbones import Backbone
from petweak.config import TAPS

Engine = Callable[[Tensor], dict[str, Tensor]]

# The maps are stored as float16, whose step is 2^-11 of a value; equal to a few float32 steps is
# well below that.
TOLERANCE = dict(rtol=1e-3, atol=1e-3)


def onnx_engine(backbone: Backbone, example: Tensor) -> Engine:
    """The backbone as an ONNX Runtime session on the CPU, for pictures of `example`'s size."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "backbone.onnx"
        _export(backbone, example[:2], path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        options.enable_cpu_mem_arena = False  # it would keep its peak for the rest of the study
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(photos: Tensor) -> dict[str, Tensor]:
        backbone.passes += len(photos)
        maps = session.run(list(TAPS), {"photos": photos.numpy()})
        return {tap: torch.from_numpy(m) for tap, m in zip(TAPS, maps, strict=True)}

    return run


def make_engine(backbone: Backbone, photos: Tensor, wanted: str) -> tuple[str, Engine]:
    """The engine `wanted` and its name; `auto` is the faster one that gives equal maps.

    `photos` (B, 3, S, S) is a batch as the engine will get it. On a GPU, auto is PyTorch. On a CPU
    it is ONNX Runtime, whose maps are first held against PyTorch's: `tests/measure_engines.py` has
    the ratio of the two. A stopwatch does not decide here, because two runs of one study could
    then differ. The pictures of the trial are not counted: the chosen engine runs them again.
    """
    if wanted == "eager" or (wanted == "auto" and photos.device.type != "cpu"):
        return "eager", backbone
    if wanted == "onnxruntime":
        return wanted, onnx_engine(backbone, photos)
    passes, trial = backbone.passes, photos[:4]  # a few: activations are what memory goes to
    try:
        session = onnx_engine(backbone, photos)
        with torch.inference_mode():
            ours, theirs = backbone(trial), session(trial)
        equal = all(torch.allclose(ours[t], theirs[t], **TOLERANCE) for t in TAPS)
    except Exception as error:  # the exporter and the runtime raise their own, many kinds
        logging.getLogger(__name__).info("ONNX Runtime cannot run %s: %s", backbone.name, error)
        return "eager", backbone
    finally:
        backbone.passes = passes
    return ("onnxruntime", session) if equal else ("eager", backbone)


class _TapsInOrder(torch.nn.Module):
    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, photos: Tensor) -> tuple[Tensor, ...]:
        maps = self.backbone(photos)
        return tuple(maps[tap] for tap in TAPS)


def _export(backbone: Backbone, example: Tensor, path: Path) -> None:
    """Export without the exporter's chatter."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _TapsInOrder(backbone),
            (example,),
            path,
            input_names=["photos"],
            output_names=list(TAPS),
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
            dynamo=True,
            verbose=False,
        )
