"""The simplified MaskFormer of the paper, section 2.2, for any number of classes K.

    frozen map, stride 32                                     (B, C, h, w)
      |-> pixel decoder: 4 x [conv 3x3, GroupNorm, ReLU, x2]  (B, D, 16h, 16w)
      |     -> mask head: one 1x1 convolution                 (B, D, 16h, 16w)  pixel embeddings
      |-> 1x1 projection -> keys of a TransformerDecoder
            learned queries -> 3 layers, 8 heads              (B, Q, D)         query embeddings
              -> class head: MLP, 768 hidden                  (B, Q, K + 1)     last: "no object"
    mask of a query = pixel embeddings . query embedding      (B, Q, 16h, 16w)

What differs from MaskFormer (Cheng et al. 2021), all of it the paper's doing: no feature pyramid,
no positional encoding, no mask MLP on the queries, no loss on the layers between. What differs from
the paper, in time and not in numbers: see `_masks`.

petweak+ departs from the paper where `taps` names more than the last map. Maps of stride 32 are
stacked; one of stride 16 or 8 joins by a lateral 1x1 convolution, added where the pixel decoder
has come to its resolution (Lin et al. 2017, feature pyramid networks, without the 3x3 after it).
While it learns, whole channels of the frozen maps are left out at random (Tompson et al. 2015), so
that it leans on none of them: a few hundred photos are soon learnt by heart.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from petweak.config import STRIDES


@dataclass(frozen=True)
class MaskFormerConfig:
    """What the tensors' shapes follow from; saved beside them as config.json."""

    num_classes: int
    in_channels: tuple[int, ...]  # of each tap, in the order of `taps`
    taps: tuple[str, ...] = ("last",)
    decoder_channels: int = 64
    queries: int = 8
    layers: int = 3
    heads: int = 8
    hidden: int = 768
    dropout: float = 0.0  # of the frozen maps' channels, in training


class MaskFormer(nn.Module):
    """forward: one map (B, C, h, w) per tap -> {"class_logits": (B, Q, K + 1),
    "mask_logits": (B, Q, 16h, 16w)}."""

    def __init__(self, config: MaskFormerConfig) -> None:
        super().__init__()
        self.config = config
        d, taps = config.decoder_channels, dict(zip(config.taps, config.in_channels, strict=True))
        channels = sum(c for tap, c in taps.items() if STRIDES[tap] == 32)
        self.pixel_decoder = nn.ModuleList([block(channels if i == 0 else d, d) for i in range(4)])
        self.laterals = nn.ModuleDict(
            {tap: nn.Conv2d(c, d, kernel_size=1) for tap, c in taps.items() if STRIDES[tap] < 32}
        )
        self.mask_head = nn.Conv2d(d, d, kernel_size=1)
        self.project = nn.Conv2d(channels, d, kernel_size=1)
        self.queries = nn.Embedding(config.queries, d)
        # Nearly equal at first: only the query that is matched to a photo learns its mask, and
        # queries that differ from the start would share the photos out among them at random.
        nn.init.normal_(self.queries.weight, std=0.02)
        layer = nn.TransformerDecoderLayer(d, config.heads, 4 * d, batch_first=True)
        self.transformer = nn.TransformerDecoder(layer, config.layers, norm=nn.LayerNorm(d))
        self.class_head = nn.Sequential(
            nn.Linear(d, config.hidden), nn.ReLU(), nn.Linear(config.hidden, config.num_classes + 1)
        )

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        if self.config.dropout:
            maps = [F.dropout2d(m, self.config.dropout, self.training) for m in maps]
        named = dict(zip(self.config.taps, maps, strict=True))
        x = torch.cat([m for tap, m in named.items() if STRIDES[tap] == 32], 1)
        memory = self.project(x).flatten(2).transpose(1, 2)  # (B, hw, D)
        queries = self.queries.weight.expand(len(x), -1, -1)
        queries = self.transformer(queries, memory)
        classes = self.class_head(queries)
        return {"class_logits": classes, "mask_logits": self._masks(x, named, queries)}

    def _masks(self, x: Tensor, named: dict[str, Tensor], queries: Tensor) -> Tensor:
        """(B, C, h, w), {tap: map}, (B, Q, D) -> (B, Q, 16h, 16w).

        By the definition: q . (W up(p) + b) at every pixel. The 1x1 convolution is linear, so it is
        folded into the query, (W^T q) . up(p) + q . b; the bilinear upsampling is linear, too, with
        weights that sum to 1, so it comes after the product: up((W^T q) . p + q . b). That is D
        channels less to upsample and a quarter of the pixels to multiply.
        """
        for stride, part in zip((16, 8, 4), self.pixel_decoder[:-1], strict=True):
            x = upsample(part(x))
            for tap, lateral in self.laterals.items():
                if STRIDES[tap] == stride:
                    x = x + lateral(named[tap])
        x = self.pixel_decoder[-1](x)  # stride 4; its upsampling comes last
        weight, bias = self.mask_head.weight[:, :, 0, 0], self.mask_head.bias
        masks = torch.einsum("bqd,bdhw->bqhw", queries @ weight, x)
        return upsample(masks + (queries @ bias)[:, :, None, None])


def block(inputs: int, outputs: int) -> nn.Sequential:
    """Conv 3x3 -> GroupNorm -> ReLU; `upsample` follows every one of them."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False),
        nn.GroupNorm(min(8, outputs // 4), outputs),
        nn.ReLU(),
    )


def upsample(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear")


def foreground(out: dict[str, Tensor]) -> Tensor:
    """(B, 16h, 16w) in [0, 1]: the queries' masks, each weighted by how sure it is of an object."""
    sure = 1 - out["class_logits"].softmax(-1)[..., -1]  # (B, Q)
    weight = sure / sure.sum(-1, keepdim=True).clamp(min=1e-6)
    return torch.einsum("bq,bqhw->bhw", weight, out["mask_logits"].sigmoid())


def class_probabilities(out: dict[str, Tensor]) -> Tensor:
    """(B, K), summing to 1: the image-level classes, summed over the queries."""
    by_class = out["class_logits"].softmax(-1)[..., :-1].sum(1)
    return by_class / by_class.sum(-1, keepdim=True).clamp(min=1e-6)
