"""How many seconds does self-training take, from nothing but train photos to the last model?"""

import time

import pandas as pd

from petweak.data.files import read_frame
from petweak.experiments.trials import scratch
from petweak.study.run import Run


def cost(run: Run, source: str = "imagenet_only", labels: str = "species") -> pd.DataFrame:
    """Self-train from `source` in an empty folder, on train alone; nothing else should run beside.
    A row per stage as timings.csv has it (`stage`, `photos`, `seconds`), then `else` (what no stage
    counts: reading files, masks between rounds) and `all`, the elapsed time."""
    with scratch(run.folder / "experiments" / "cost") as folder:
        alone, start = Run(folder, run.data_root, run.settings), time.perf_counter()
        alone.only = frozenset(s.id for s in run.pets.split("train"))
        alone.self_trained(source, labels)
        elapsed, stages = time.perf_counter() - start, read_frame(folder / "timings.csv")
    rows = [(" ".join(p for p in row[:3] if p != "-"), row.n_images, row.seconds)
            for row in stages.itertuples(index=False)]
    photos, counted = len(alone.only), stages["seconds"].sum()
    rows += [("else", photos, elapsed - counted), ("all", photos, elapsed)]
    return pd.DataFrame(rows, columns=["stage", "photos", "seconds"]).round({"seconds": 3})
