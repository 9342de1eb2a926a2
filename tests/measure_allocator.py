"""What `petweak.allocator` is worth: python tests/measure_allocator.py

Times training steps of the `photos` profile in processes with and without it, in turn, and prints
the ratio of the medians, with the page faults of each. Not a test: a busy machine changes it.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time

ROUNDS, STEPS = 3, 6


def steps() -> None:
    import torch

    from petweak.config import settings
    from petweak.maskformer.loss import set_loss
    from petweak.maskformer.model import MaskFormer, MaskFormerConfig

    s, cells = settings("photos"), settings("photos").image_size // 32
    config = MaskFormerConfig(3, (1280,), decoder_channels=s.decoder_channels, queries=s.queries)
    model, maps = MaskFormer(config), torch.rand(s.batch_size, 1280, cells, cells)
    masks = (torch.rand(s.batch_size, 1, 16 * cells, 16 * cells) > 0.5).float()
    classes, valid = torch.zeros(s.batch_size, 1, dtype=torch.long), torch.ones_like(masks[:, 0])
    for _ in range(STEPS):
        start = time.perf_counter()
        sum(set_loss(model([maps]), classes, masks, valid, (2, 5, 5), 0.1).values()).backward()
        print(time.perf_counter() - start)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)


def main() -> None:
    seconds: dict[str, list[float]] = {"0": [], "1": []}
    faults: dict[str, list[int]] = {"0": [], "1": []}
    for _ in range(ROUNDS):
        for keep in seconds:
            found = subprocess.run(
                [sys.executable, __file__, "steps"],
                env=os.environ | {"PETWEAK_KEEP_MEMORY": keep}, capture_output=True, text=True,
                check=True,
            ).stdout.split()  # fmt: skip
            seconds[keep] += map(float, found[1:-1])  # the first step warms up
            faults[keep].append(int(found[-1]))
    without, kept = (statistics.median(seconds[k]) for k in ("0", "1"))
    print(f"median step: {without:.3f} s without, {kept:.3f} s with, ratio {without / kept:.2f}")
    before, after = (statistics.median(faults[k]) for k in ("0", "1"))
    print(f"page faults: {before} without, {after} with")


if __name__ == "__main__":
    steps() if sys.argv[1:] else main()
