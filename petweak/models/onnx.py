"""Engines for the frozen backbone: PyTorch, or ONNX Runtime where its maps are equal."""

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from petweak.config import LEVELS
from petweak.models.backbones import Backbone

Engine = Callable[[Tensor], dict[str, Tensor]]

# The maps are stored as float16, whose step is 2^-11 of a value; a few float32 steps are far below.
TOLERANCE = dict(rtol=1e-3, atol=1e-3)


def onnx_engine(backbone: Backbone, example: Tensor) -> Engine:
    """The backbone as an ONNX Runtime session on the CPU, for pictures of `example`'s size. Its
    output stays there, where the cache is written, whatever device the pictures are on."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    options.enable_cpu_mem_arena = False  # it would keep its peak for the rest of the study
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/backbone.onnx"
        with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
            torch.onnx.export(
                backbone, (example[:2],), file, input_names=["photos"], output_names=list(LEVELS),
                dynamo=True, dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
                verbose=False)
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def run(photos: Tensor) -> dict[str, Tensor]:
        backbone.passes += len(photos)
        maps = session.run(list(LEVELS), {"photos": photos.cpu().numpy()})
        return {level: torch.from_numpy(m) for level, m in zip(LEVELS, maps, strict=True)}

    return run


def make_engine(backbone: Backbone, photos: Tensor, engine: str) -> tuple[str, Engine]:
    """The engine's name and the engine, for `photos` (B, 3, S, S), a batch as it will get them.

    On a GPU, `auto` is PyTorch. On a CPU it is ONNX Runtime if its maps equal PyTorch's on a few
    pictures. Time is not compared: two runs of one study could then differ.
    """
    if engine == "eager" or (engine == "auto" and photos.device.type != "cpu"):
        return "eager", backbone
    if engine == "onnxruntime":
        return engine, onnx_engine(backbone, photos)
    passes, trial = backbone.passes, photos[:4]
    try:
        session = onnx_engine(backbone, photos)
        with torch.inference_mode():
            eager, onnx = backbone(trial), session(trial)
        if all(torch.allclose(eager[level], onnx[level], **TOLERANCE) for level in LEVELS):
            return "onnxruntime", session
    except Exception as error:  # the exporter and the runtime raise many kinds of their own
        logging.getLogger(__name__).info("ONNX Runtime cannot run %s: %s", backbone.name, error)
    finally:
        backbone.passes = passes  # the trial is not counted: the engine runs these pictures again
    return "eager", backbone
