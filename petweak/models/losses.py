"""The training loss: cross-entropy of all queries, mask and dice losses of the matched ones."""

import torch
from torch import Tensor
from torch.nn import functional as F

from petweak.models.matcher import match


def mask_loss(logits: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """Binary cross-entropy, the mean over valid pixels: (N, H, W) each -> (N,)."""
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none") * valid
    return loss.flatten(1).sum(1) / valid.flatten(1).sum(1).clamp(min=1)


def dice_loss(logits: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """1 - dice of the soft masks over valid pixels: (N, H, W) each -> (N,) in [0, 1]. The 1 in both
    terms, as in MaskFormer, gives two empty masks a loss of 0."""
    p, t = (logits.sigmoid() * valid).flatten(1), (targets * valid).flatten(1)
    return 1 - (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)


def set_loss(output: dict[str, Tensor], classes: Tensor, masks: Tensor, valid: Tensor,
             weights: tuple[float, float, float], no_object_weight: float) -> dict[str, Tensor]:
    """The weighted terms `class`, `mask` and `dice`, each a scalar; their sum is the loss. Shapes
    as in `match`. Most queries have no object: their target "no object" has a small weight."""
    indices = match(output, classes, masks, valid, weights)
    logits = output["class_logits"].float()
    targets = torch.full(logits.shape[:2], logits.shape[-1] - 1, device=logits.device)
    targets.scatter_(1, indices, classes)
    by_class = torch.ones(logits.shape[-1], device=logits.device)
    by_class[-1] = no_object_weight
    rows = torch.arange(len(indices), device=indices.device)[:, None]
    matched = output["mask_logits"].float()[rows, indices].flatten(0, 1)  # (B T, H, W)
    keep, masks = valid[:, None].expand_as(masks).flatten(0, 1), masks.flatten(0, 1)
    return {"class": weights[0] * F.cross_entropy(logits.mT, targets, by_class),
            "mask": weights[1] * mask_loss(matched, masks, keep).mean(),
            "dice": weights[2] * dice_loss(matched, masks, keep).mean()}
