"""Hungarian matching of queries to the things in a picture: DETR's, with masks for boxes.

The three costs are the three losses, up to constants (MaskFormer, section 3.3). Every picture has
the same number T of things here (one pet), so the costs of a batch are one tensor.
"""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F


@torch.no_grad()
def match(
    out: dict[str, Tensor],
    classes: Tensor,
    masks: Tensor,
    valid: Tensor,
    weights: tuple[float, float, float],
) -> Tensor:
    """Which query answers for which thing, at the least summed cost.

    out: class_logits (B, Q, K + 1), mask_logits (B, Q, H, W); classes (B, T); masks (B, T, H, W) in
    [0, 1]; valid (B, H, W), 1 where the masks are sure; weights of the class, mask and dice costs.
    Returns (B, T): the query of each thing. Raises ValueError where there are more things than
    queries.
    """
    logits = out["mask_logits"].float().flatten(2)  # (B, Q, HW)
    things = masks.flatten(2)  # (B, T, HW)
    if logits.shape[1] < things.shape[1]:
        raise ValueError(f"{logits.shape[1]} queries cannot answer for {things.shape[1]} things")
    probabilities = out["class_logits"].float().softmax(-1)
    class_cost = -torch.stack([p[:, c] for p, c in zip(probabilities, classes, strict=True)])

    keep = valid.flatten(1)[:, None]  # (B, 1, HW)
    inside, outside = F.softplus(-logits) * keep, F.softplus(logits) * keep
    mask_cost = inside @ things.mT + outside @ (1 - things).mT
    mask_cost = mask_cost / keep.sum(-1, keepdim=True).clamp(min=1)

    p = logits.sigmoid() * keep
    overlap = p @ things.mT
    sizes = p.sum(-1)[..., None] + (things * keep).sum(-1)[:, None]
    dice_cost = 1 - (2 * overlap + 1) / (sizes + 1)

    cost = weights[0] * class_cost + weights[1] * mask_cost + weights[2] * dice_cost
    # A loss that is no number is reported by the training loop, with the photos' ids.
    cost = cost.nan_to_num(posinf=1e6, neginf=-1e6)
    queries = torch.empty_like(classes)
    for b, matrix in enumerate(cost.cpu().numpy()):
        rows, columns = linear_sum_assignment(matrix)
        queries[b, torch.as_tensor(columns)] = torch.as_tensor(rows, device=classes.device)
    return queries
