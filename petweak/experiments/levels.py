"""How much does a model gain from each further feature level?"""

import pandas as pd

from petweak.experiments.trials import scored
from petweak.study.run import Run


def levels(run: Run, epochs: int = 24, border: str = "ignore") -> pd.DataFrame:
    """Full supervision by models that see one level more each time, all else equal (none has
    channel dropout or looks at val). Returns `levels` and `iou`, the test mean with `border`."""
    scored(run, "test")
    rows, stored = [], run.features.levels
    flat = dict(border=border, epochs=epochs, val_fraction=0.0, channel_dropout=0.0)
    for n in range(1, len(stored) + 1):
        one = run.variant(f"levels-{n}", levels=stored[:n], **flat)
        photos = one.model_scores("ground_truth", "species").photos
        ious = photos.loc[photos["split"] == "test", f"iou/{border}"]
        rows.append((", ".join(stored[:n]), ious.mean()))
    return pd.DataFrame(rows, columns=["levels", "iou"])
