"""What a MaskFormer has to be better than: networks that classify pixels, on the same features.

They are trained as a MaskFormer is, and read by the same code; only their loss and what their
output means are their own.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from petweak.config import STRIDES
from petweak.data.feature_cache import Features
from petweak.models.maskformer import MaskFormer, MaskFormerConfig, upsample
from petweak.training.targets import Targets
from petweak.training.trainer import cached_maps


class PerPixel(MaskFormer):
    """MaskFormer's per-pixel baseline (Cheng et al. 2021): the same pixel decoder, then a 1x1
    convolution to K + 1 classes, the last one the background, and cross-entropy. Without blocks in
    its decoder it is a linear probe. forward: maps -> {"pixel_logits": (B, K + 1, 16h, 16w)}."""

    def __init__(self, config: MaskFormerConfig) -> None:
        super().__init__(config)
        del self.project, self.queries, self.transformer, self.class_head
        self.mask_head = nn.Conv2d(self.mask_head.in_channels, config.num_classes + 1, 1)

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        return {"pixel_logits": upsample(self.mask_head(self.pixels(maps)[1]), self.scale)}

    @staticmethod
    def loss(output: dict[str, Tensor], classes: Tensor, masks: Tensor, valid: Tensor, *weights
             ) -> dict[str, Tensor]:
        """Cross-entropy, the mean over valid pixels; shapes as in `set_loss`, whose `weights` have
        nothing to weigh here. A pixel that is partly foreground has two classes in its target."""
        logs = output["pixel_logits"].float().log_softmax(1)
        pet = logs.gather(1, classes[..., None, None].expand(-1, -1, *logs.shape[2:]))
        loss = -(masks * pet + (1 - masks) * logs[:, -1:])[:, 0]
        return {"class": (loss * valid).sum() / valid.sum().clamp(min=1)}

    @staticmethod
    def read(output: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As of a MaskFormer: classes are summed over pixels, and each has a mask of its own."""
        probabilities = output["pixel_logits"].float().softmax(1)
        by_class = probabilities[:, :-1]
        total = by_class.sum((2, 3))
        weights = torch.eye(by_class.shape[1], device=total.device).expand(len(total), -1, -1)
        return (1 - probabilities[:, -1], total / total.sum(1, keepdim=True).clamp(min=1e-6),
                weights, by_class)


class UNet(PerPixel):
    """A decoder like U-Net's (Ronneberger et al. 2015): two convolutions at each resolution, before
    the first of which the backbone's map of that resolution is stacked on what comes from below."""

    def __init__(self, config: MaskFormerConfig) -> None:
        super().__init__(config)
        d, c = config.decoder_channels, self.pixel_decoder[0][0].in_channels
        del self.laterals
        channels = dict(zip(config.levels, config.in_channels, strict=True))
        self.pixel_decoder = nn.ModuleList()
        for stride in (32, 16, 8, 4):
            if stride < 32:
                c = d + sum(n for level, n in channels.items() if STRIDES[level] == stride)
            pair = ((nn.Conv2d(n, d, 3, padding=1, bias=False), nn.GroupNorm(min(8, d // 4), d),
                     nn.ReLU()) for n in (c, d))
            self.pixel_decoder.append(nn.Sequential(*next(pair), *next(pair)))

    def pixels(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        by_stride: dict[int, list[Tensor]] = {}
        for level, m in zip(self.config.levels, maps, strict=True):
            dropped = F.dropout2d(m, self.config.channel_dropout, self.training)
            by_stride.setdefault(STRIDES[level], []).append(dropped)
        x = stacked = torch.cat(by_stride[32], 1)
        for stride, part in zip((32, 16, 8, 4), self.pixel_decoder, strict=True):
            if stride < 32:
                x = torch.cat([upsample(x), *by_stride.get(stride, [])], 1)
            x = part(x)
        return stacked, x


@torch.no_grad()
def fit_prototypes(model: PerPixel, features: Features, train: Targets) -> None:
    """Make a linear probe the classifier by the nearest prototype: the mean, over `train`, of a
    class's features, each channel divided by its standard deviation (nearest class mean, Mensink et
    al. 2013). A class that has no pixel in `train` is never the nearest.

    The nearest of the means m has the largest x . m - |m|^2 / 2, which is linear in x."""
    k, c = model.mask_head.weight.shape[:2]
    sums, counts, squares = torch.zeros(k, c), torch.zeros(k), torch.zeros(c)
    for rows in torch.arange(len(train.ids)).split(16):
        x, _ = model.pixels(cached_maps(model, features, [train.ids[r] for r in rows]))
        x = x.cpu()
        classes, masks, valid = train.batch(rows, torch.zeros(len(rows), dtype=torch.bool))
        share, valid = (F.adaptive_avg_pool2d(m, x.shape[-2:])
                        for m in (masks * valid[:, None], valid[:, None]))
        by_class = torch.cat([F.one_hot(classes[:, 0], k)[..., None, None] * share], 1)
        by_class[:, -1:] = valid - share
        sums += torch.einsum("bkhw,bchw->kc", by_class, x)
        counts += by_class.sum((0, 2, 3))
        squares += (valid * x.square()).sum((0, 2, 3))
    mean = sums.sum(0) / counts.sum()
    variance = (squares / counts.sum() - mean.square()).clamp(min=1e-6)
    means = sums / counts.clamp(min=1e-6)[:, None] - mean
    bias = -(means.square() / 2 + means * mean).div(variance).sum(1)
    bias[counts == 0] = -1e4
    model.mask_head.weight.copy_((means / variance)[..., None, None])
    model.mask_head.bias.copy_(bias)
