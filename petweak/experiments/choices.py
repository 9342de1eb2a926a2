"""Which configuration is best on val? What a default is chosen by, before test is scored."""

import re
from itertools import product

import pandas as pd

from petweak.data.files import read_json
from petweak.experiments.supervision import MODELS
from petweak.experiments.trials import changes, scored
from petweak.pseudo_masks import source_class
from petweak.study.run import Run
from petweak.study.tasks import ahead, with_masks
from petweak.training.trainer import CONFIG


def choices(run: Run, configurations: tuple[str, ...] = ("default",),
            source: str = "gradcam_pretrained", labels: str = "breed", model: str = "maskformer-ms",
            seeds: tuple[int, ...] = (0, 1, 2)) -> pd.DataFrame:
    """Train `model` on the masks of `source` in each configuration (`"epochs=20 lr=0.001"`), and
    score it on val, which it does not learn from (self-training does, from masks that it makes
    itself). No photo of test counts.

    Returns a row per configuration and seed (which draws val, too): `configuration`, `source`,
    `labels`, `model`, `seed`, `ignore` and `foreground` (IoU with ground truth, by the border),
    `masks` (IoU of the source's masks, border as foreground), `n_ground_truth` photos that these
    are means over, `accuracy` over `n_images` photos, and `seconds` of training. ValueError where
    val is empty or no photo of it has a trimap."""
    rows, level = [], "self_training_levels" if source_class(source).self_trained else "levels"

    def variant(seed: int, configuration: str) -> Run:
        flat = {level: MODELS[model], "seed": seed} | changes(configuration)
        name = re.sub(r"[^\w.]+", "-", f"{configuration}-{model}-seed-{seed}")
        return run.variant(f"choices/{name}", **flat)

    each = list(product(seeds, configurations))
    ahead(with_masks((variant(*of).model_scores, source, labels) for of in each))
    for seed, configuration in each:
        one = variant(seed, configuration)
        there = [s.id for s in scored(one, sorted(one.val_ids))]
        scores = one.model_scores(source, labels).photos.set_index("id")
        masks = one.mask_scores(source).photos.set_index("id")
        val = scores.loc[sorted(one.val_ids)]
        rows.append({
            "configuration": configuration, "source": source, "labels": labels, "model": model,
            "seed": seed, **{b: scores.loc[there, f"iou/{b}"].mean()
                             for b in ("ignore", "foreground")},
            "masks": masks.loc[there, "iou/foreground"].mean(), "n_ground_truth": len(there),
            "accuracy": (val["predicted"] == val["class"]).mean(), "n_images": len(val),
            "seconds": read_json(one.model_folder(source, labels) / CONFIG)["seconds"]})
    return pd.DataFrame(rows)
