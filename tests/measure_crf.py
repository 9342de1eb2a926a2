"""How alike are the dense CRF in torch and that of pydensecrf? How long do they take?

The second one is an extra:

    pip install -e .[densecrf]; python tests/measure_crf.py --data-root ../shared/data

Both refine the same CAMs of some photos of train, so that nothing is tuned on test: the one in
torch on its coarse grid, the other on that and, as the refiner `densecrf` has it, on the whole one.
Writes crf.csv into the run's folder: `what`, `grid`; `iou` with ground truth, border ignored;
`agrees`, IoU of its masks with those of the one in torch; the median `seconds` a photo.
"""

import argparse
import statistics
import time

import numpy as np
import pandas as pd
import torch

from petweak import metrics
from petweak.data.pets import load_trimap
from petweak.pseudo_masks.refiners import Chain
from petweak.pseudo_masks.refiners.base import photos_on_grid, resized
from petweak.pseudo_masks.refiners.crf import GRID, mean_field
from petweak.pseudo_masks.refiners.densecrf import dense_crf
from petweak.pseudo_masks.store import PET, to_mask
from petweak.runs import write_frame
from petweak.study import open_run

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--data-root", required=True)
parser.add_argument("--run", default="runs/photos")
parser.add_argument("--photos", type=int, default=20)
args = parser.parse_args()

run = open_run("photos", args.run, args.data_root)
source = run.source("labels_free")
batch = run.context.batch(sorted(run.val_ids)[: args.photos])
trimaps = {s.id: s.trimap for s in run.pets.samples}
with torch.no_grad():
    soft = Chain(("multiscale",), run.context, source)(source.probabilities(batch), batch)
trimaps = {s.id: load_trimap(s.trimap) for s in run.pets.samples if s.id in set(batch.ids)}


def by_torch(m, p):
    return mean_field(m, p)


def by_pydensecrf(m, p):
    colours = (p * 255).round().byte().permute(1, 2, 0).numpy()
    return torch.from_numpy(dense_crf(m.numpy(), colours)).float()


def masks_of(refine, grid: int) -> tuple[list[np.ndarray], float]:
    found, seconds = [], []
    maps, photos = resized(soft, grid), photos_on_grid(batch, grid)
    for i, m, p in zip(batch.ids, maps, photos, strict=True):
        start = time.perf_counter()
        refined = refine(m, p)
        seconds.append(time.perf_counter() - start)
        found.append(to_mask(refined, trimaps[i].shape, 0.5) == PET)
    return found, statistics.median(seconds)


whole = soft.shape[-1]
made = {("the map", whole): (lambda m, p: m), ("crf", GRID): by_torch,
        ("densecrf", GRID): by_pydensecrf, ("densecrf", whole): by_pydensecrf}  # fmt: skip
masks = {name: masks_of(refine, name[1]) for name, refine in made.items()}
rows, ours = [], masks["crf", GRID][0]
for (what, grid), (found, seconds) in masks.items():
    truth = [metrics.iou(m, *metrics.truth(trimaps[i], "ignore"))
             for i, m in zip(batch.ids, found, strict=True)]  # fmt: skip
    agrees = [metrics.iou(a, b) for a, b in zip(found, ours, strict=True)]
    rows.append((what, grid, len(found), np.mean(truth), np.mean(agrees), seconds))
table = pd.DataFrame(rows, columns=["what", "grid", "photos", "iou", "agrees", "seconds"])
write_frame(run.folder / "crf.csv", table.round(5))
print(table.round(4).to_string())
