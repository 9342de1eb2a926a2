"""How alike are the dense CRF in torch and that of pydensecrf? How long do they take?

The second one is an extra:

    pip install -e .[densecrf]; python tests/measure_crf.py --data-root ../shared/data

Both refine the same CAMs of the first val photos, on the same grid. Prints the mean IoU of one's
masks with the other's, and with ground truth (train photos, so nothing is tuned on test), and the
ratio of the median times.
"""

import argparse
import statistics
import time

import numpy as np
import torch

from petweak import metrics
from petweak.data.pets import load_trimap
from petweak.pseudo_masks.refiners import Chain
from petweak.pseudo_masks.refiners.base import photos_on_grid, resized
from petweak.pseudo_masks.refiners.crf import GRID, mean_field
from petweak.pseudo_masks.refiners.densecrf import dense_crf
from petweak.pseudo_masks.store import PET, to_mask
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
small, photos = resized(soft, GRID), photos_on_grid(batch, GRID)
seconds: dict[str, list[float]] = {"crf": [], "densecrf": []}
alike, right = [], {"the map": [], "crf": [], "densecrf": []}
for i, m, p in zip(batch.ids, small, photos, strict=True):
    start = time.perf_counter()
    ours = mean_field(m, p)
    middle = time.perf_counter()
    theirs = torch.from_numpy(dense_crf(m.numpy(), (p * 255).byte().permute(1, 2, 0).numpy()))
    seconds["crf"].append(middle - start)
    seconds["densecrf"].append(time.perf_counter() - middle)
    alike.append(metrics.iou((ours > 0.5).numpy(), (theirs > 0.5).numpy()))
    trimap = load_trimap(trimaps[i])
    for name, found in (("the map", m), ("crf", ours), ("densecrf", theirs)):
        mask = to_mask(found.float(), trimap.shape, 0.5) == PET
        right[name].append(metrics.iou(mask, *metrics.truth(trimap, "ignore")))
print(f"IoU of one with the other {np.mean(alike):.3f}, {len(alike)} photos, {GRID} x {GRID}")
print("IoU with ground truth, border ignored:", {k: round(np.mean(v), 3) for k, v in right.items()})
medians = {k: statistics.median(v) for k, v in seconds.items()}
print(f"median seconds, ours / theirs: {medians['crf'] / medians['densecrf']:.2f}")
