"""Engines for the frozen backbone: PyTorch, or ONNX Runtime where its maps are equal.

To export a backbone takes seconds, so its graph is kept in the user's cache, by a hash of the
weights and of what exports them: `pooch.os_cache("petweak")`, ~/.cache/petweak on Linux. Nothing
else is kept there, and it may be deleted at any time.
"""

import contextlib
import hashlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pooch
import torch
from torch import Tensor

from petweak.config import LEVELS
from petweak.data.files import file_hash, read_json, replacing, write_json
from petweak.models.backbones import Backbone

log = logging.getLogger(__name__)
Engine = Callable[[Tensor], dict[str, Tensor]]

# The maps are stored as float16, whose step is 2^-11 of a value; a few float32 steps are far below.
TOLERANCE = dict(rtol=1e-3, atol=1e-3)
AT_ONCE = 8 * 320**2  # pixels; more would take memory, and no less time
EXPORTERS = ("torch", "timm", "onnx", "onnxscript")  # packages that a graph depends on


def onnx_graph(backbone: Backbone) -> bytes:
    """The backbone in ONNX, for pictures of any size (B, 3, S, S), S a multiple of 32: from the
    user's cache, where it is kept if that can be written."""
    key = hashlib.blake2b(" ".join(map(version, EXPORTERS)).encode(), digest_size=16)
    for name, tensor in backbone.state_dict().items():
        key.update(name.encode() + tensor.cpu().numpy().tobytes())
    file = Path(pooch.os_cache("petweak"), f"{backbone.name}-{key.hexdigest()}.onnx")
    note = file.with_suffix(".json")
    try:
        if (read_json(note) or {}).get("file") == file_hash(file):
            return file.read_bytes()
    except OSError as error:
        log.info("%s cannot be read: %s", file, error)
    graph = export(backbone)
    try:
        with replacing(file) as beside:
            beside.write_bytes(graph)
        write_json(note, {"file": file_hash(file)})
    except OSError as error:  # no home, no space: the next process exports again
        log.info("%s cannot be written: %s", file, error)
    return graph


def export(backbone: Backbone) -> bytes:
    """The graph, as bytes."""
    import onnx

    example = torch.zeros(2, 3, 64, 64, device=next(backbone.parameters()).device)
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/backbone.onnx"
        with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
            torch.onnx.export(
                backbone, (example,), file, input_names=["photos"], output_names=list(LEVELS),
                dynamo=True, dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
                verbose=False)
        model = onnx.load(file)
    # Convolutions take any size; the exporter only notes that of the example. Told of any size, it
    # would compute every padding from the picture's at each call, and take twice the time.
    for value in (*model.graph.input, *model.graph.output):
        for axis in (2, 3):
            value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}_{axis}"
    del model.graph.value_info[:]
    return model.SerializeToString()


def onnx_engine(backbone: Backbone) -> Engine:
    """The backbone in ONNX Runtime, on the CPU. Its output stays there, for the cache."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    options.enable_cpu_mem_arena = False  # it would keep its peak for the rest of the study
    session = onnxruntime.InferenceSession(
        onnx_graph(backbone), options, providers=["CPUExecutionProvider"])

    def run(photos: Tensor) -> dict[str, Tensor]:
        backbone.passes += len(photos)
        photos = photos.cpu()
        parts = [session.run(list(LEVELS), {"photos": part.numpy()})
                 for part in photos.split(max(1, AT_ONCE // photos[0, 0].numel()))]
        return {level: torch.cat([torch.from_numpy(maps[i]) for maps in parts])
                for i, level in enumerate(LEVELS)}

    return run


def make_engine(backbone: Backbone, photos: Tensor, engine: str) -> tuple[str, Engine]:
    """The engine's name and the engine, for `photos` (B, 3, S, S), a batch as it will get them.

    On a GPU, `auto` is PyTorch. On a CPU it is ONNX Runtime if its maps equal PyTorch's on a few
    pictures. Time is not compared: two runs of one study could then differ."""
    if engine == "eager" or (engine == "auto" and photos.device.type != "cpu"):
        return "eager", backbone
    if engine == "onnxruntime":
        return engine, onnx_engine(backbone)
    passes, trial = backbone.passes, photos[:4]
    try:
        session = onnx_engine(backbone)
        with torch.inference_mode():
            eager, onnx = backbone(trial), session(trial)
        if all(torch.allclose(eager[level], onnx[level], **TOLERANCE) for level in LEVELS):
            return "onnxruntime", session
    except Exception as error:  # the exporter and the runtime raise many kinds of their own
        log.info("ONNX Runtime cannot run %s: %s", backbone.name, error)
    finally:
        backbone.passes = passes  # the trial is not counted: the engine runs these pictures again
    return "eager", backbone
