"""Hungarian matching of queries to the objects in a photo: DETR's, with masks for boxes.

The cost of a pair is -p(class) + binary cross-entropy + dice, each with its weight (MaskFormer,
section 3.3). Every photo has equally many objects T (one pet), so a batch's costs are one tensor.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def match(output: dict[str, Tensor], classes: Tensor, masks: Tensor, valid: Tensor,
          weights: tuple[float, float, float]) -> Tensor:
    """The query of each object, at the least summed cost: (B, T).

    output: class_logits (B, Q, K + 1), mask_logits (B, Q, H, W); targets: classes (B, T), masks (B,
    T, H, W) in [0, 1]; valid (B, H, W), 0 in the ignore region; weights of the class, mask and dice
    costs. Raises ValueError where there are more objects than queries."""
    with torch.no_grad():
        cost = costs(output, classes, masks, valid, weights)
    if classes.shape[1] == 1:  # the cheapest query, without a copy from the GPU
        return cost.argmin(1)
    from scipy.optimize import linear_sum_assignment  # takes a while, and few ask for it

    indices = torch.empty_like(classes)
    for b, matrix in enumerate(cost.cpu().numpy()):
        rows, columns = linear_sum_assignment(matrix)
        indices[b, columns] = torch.as_tensor(rows, device=classes.device)
    return indices


def costs(output: dict[str, Tensor], classes: Tensor, masks: Tensor, valid: Tensor,
          weights: tuple[float, float, float]) -> Tensor:
    """The weighted cost of every pair, (B, Q, T); arguments as in `match`."""
    logits = output["mask_logits"].float().flatten(2)  # (B, Q, HW)
    targets = masks.flatten(2)  # (B, T, HW)
    if logits.shape[1] < targets.shape[1]:
        raise ValueError(f"{logits.shape[1]} queries are too few for {targets.shape[1]} objects")
    probabilities = output["class_logits"].float().softmax(-1)
    class_cost = -probabilities.gather(2, classes[:, None].expand(-1, logits.shape[1], -1))
    keep = valid.flatten(1)[:, None]  # (B, 1, HW)
    inside, outside = F.softplus(-logits) * keep, F.softplus(logits) * keep
    mask_cost = inside @ targets.mT + outside @ (1 - targets).mT
    mask_cost = mask_cost / keep.sum(-1, keepdim=True).clamp(min=1)
    p = logits.sigmoid() * keep
    sizes = p.sum(-1)[..., None] + (targets * keep).sum(-1)[:, None]
    dice_cost = 1 - (2 * (p @ targets.mT) + 1) / (sizes + 1)
    cost = weights[0] * class_cost + weights[1] * mask_cost + weights[2] * dice_cost
    # A loss that is not finite is reported by the training loop, with the photos' ids.
    return cost.nan_to_num()
