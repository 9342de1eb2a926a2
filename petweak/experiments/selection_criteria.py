"""Which selection criterion ranks pipelines and thresholds of train as ground truth does?"""

import pandas as pd
import torch
from scipy.stats import spearmanr

from petweak.config import Settings
from petweak.data.masks import FOREGROUND
from petweak.experiments.trials import ious, photo_shapes, scored
from petweak.pseudo_masks.refinement import PIPELINES
from petweak.pseudo_masks.selection import CRITERIA, Maps, mean_rank, sample_of_train
from petweak.pseudo_masks.store import to_mask
from petweak.study.run import Run

RANKED = Settings().refinement.selection_criteria  # by default, whatever a run has


@torch.no_grad()
def selection_criteria(run: Run, source: str = "imagenet_only", pipelines: tuple[str, ...] = (),
                       thresholds: tuple[float, ...] = (0.3, 0.4, 0.5, 0.6, 0.7)) -> pd.DataFrame:
    """A row per pipeline (all of PIPELINES unless given) and threshold: `pipeline`, `threshold`,
    the mean of every criterion over a sample as `refinement=auto` chooses on, of photos with ground
    truth, and `iou/ignore`, `iou/foreground`: mean IoU with ground truth there."""
    fitted = run.source(source)
    fitted.fit()
    ids, rows, shared = sample_of_train(fitted, [s.id for s in scored(run, "train")]), [], {}
    shapes = photo_shapes(run, ids)
    for pipeline in pipelines or PIPELINES:
        maps = Maps(fitted, (pipeline,), ids, shared)
        soft = dict(zip(ids, maps.soft, strict=True))
        for t in thresholds:
            masks = {i: to_mask(m, shapes[i], t) == FOREGROUND for i, m in soft.items()}
            row = {"pipeline": pipeline, "threshold": t}
            row |= {name: f(maps, t).mean().item() for name, f in CRITERIA.items()}
            row |= {f"iou/{b}": ious(run, masks, b).mean() for b in ("ignore", "foreground")}
            rows.append(row)
    return pd.DataFrame(rows)


def rank_criteria(compared: pd.DataFrame, score: str = "iou/ignore",
                  ranked: tuple[str, ...] = RANKED) -> pd.DataFrame:
    """How well each criterion ranks the rows of `selection_criteria` or `configurations`: its
    `criterion`, `spearman` (with the column `score`, over all rows), and what the row is that it
    ranks first, with its score as `iou`. `mean_rank` is the mean of the ranks by the criteria
    `ranked`; the last row is what ground truth would choose."""
    shown = [c for c in ("pipeline", "threshold", "configuration") if c in compared]
    columns = {c: compared[c] for c in compared if c not in shown and "/" not in c}
    columns |= {"mean_rank": mean_rank(compared[list(ranked)]), "ground truth": compared[score]}
    rows = []
    for name, values in columns.items():
        best, spearman = compared.loc[values.idxmax()], spearmanr(values, compared[score]).statistic
        rows.append((name, spearman, *best[shown], best[score]))
    return pd.DataFrame(rows, columns=["criterion", "spearman", *shown, "iou"])
