"""PyTorch against ONNX Runtime on the frozen backbone: python tests/measure_engines.py

Prints the seconds of each and the ratio of the medians, in turn on one batch. Not a test: a busy
machine changes it.
"""

from __future__ import annotations

import statistics
import time

import torch

from petweak.backbones import load_backbone
from petweak.config import settings
from petweak.engines import onnx_engine

ROUNDS = 10


def main() -> None:
    s = settings("photos")
    backbone, photos = load_backbone(s.backbone), torch.rand(16, 3, s.image_size, s.image_size)
    engines = {"eager": backbone, "onnxruntime": onnx_engine(backbone, photos)}
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    with torch.inference_mode():
        for _ in range(ROUNDS):
            for name, engine in engines.items():
                start = time.perf_counter()
                engine(photos)
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print({name: f"{m:.3f} s" for name, m in medians.items()})
    print(f"ratio of medians: {medians['eager'] / medians['onnxruntime']:.2f}")


if __name__ == "__main__":
    main()
