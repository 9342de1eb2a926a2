"""The simplified MaskFormer of the paper, section 2.2, for any number of classes K.

    frozen final map, stride 32                               (B, C, h, w)
      |-> pixel decoder: 4 x [conv 3x3, GroupNorm, ReLU, x2]  (B, D, 16h, 16w)
      |     -> mask head: one 1x1 convolution                 (B, D, 16h, 16w)  pixel embeddings
      |-> 1x1 projection -> memory of a TransformerDecoder
            learned queries -> 3 layers, 8 heads              (B, Q, D)         query embeddings
              -> class head: MLP, 768 hidden                  (B, Q, K + 1)     last: "no object"
    mask of a query = pixel embeddings . query embedding      (B, Q, 16h, 16w)

Unlike MaskFormer (Cheng et al. 2021), the paper has no feature pyramid, no positional encoding, no
MLP on the queries before the mask product, no loss on the decoder's inner layers, and 768 hidden
units. Ours are: binary cross-entropy for the focal loss, and weights of 2, 5 and 5 (Mask2Former's);
2 queries, nearly equal at the start, for 100; dropout 0.1 in the transformer, PyTorch's default.

MaskFormer-MS has more `levels` than `final`. Maps of stride 32 are stacked; one of stride 16 or 8
joins by a lateral 1x1 convolution where the pixel decoder reaches its resolution (feature pyramid
networks, Lin et al. 2017, without their second convolution). In training, whole channels of the
frozen maps are dropped (Tompson et al. 2015).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from petweak.config import STRIDES
from petweak.models.losses import set_loss


@dataclass(frozen=True)
class MaskFormerConfig:
    """What the tensors' shapes follow from; saved beside them in config.json."""

    num_classes: int
    in_channels: tuple[int, ...]  # of each level, in the order of `levels`
    levels: tuple[str, ...] = ("final",)
    decoder_channels: int = 64
    queries: int = 2
    layers: int = 3
    heads: int = 8
    hidden: int = 768  # of the class head; 0 makes it one linear layer
    transformer_dropout: float = 0.1
    channel_dropout: float = 0.0  # of the frozen maps' channels, in training
    # The paper's, which `petweak experiment ablation` alone changes.
    blocks: int = 4  # of the pixel decoder, 0 to 4; fewer leave more to the last upsampling
    positional: bool = False  # a sine encoding of the position (Vaswani et al. 2017), in the memory
    reduce: bool = False  # a 1x1 convolution before the first block, as in feature pyramid networks


def model_name(levels: tuple[str, ...]) -> str:
    """`maskformer`, the paper's, or `maskformer-ms`."""
    return "maskformer" if tuple(levels) == ("final",) else "maskformer-ms"


class MaskFormer(nn.Module):
    """forward: one map (B, C, h, w) per level -> {"class_logits": (B, Q, K + 1), "mask_logits": (B,
    Q, 16h, 16w)}. ValueError where the pixel decoder does not reach a level."""

    loss = staticmethod(set_loss)

    def __init__(self, config: MaskFormerConfig) -> None:
        super().__init__()
        self.config, d = config, config.decoder_channels
        if min(map(STRIDES.get, config.levels)) < 2 ** (6 - max(config.blocks, 1)):
            raise ValueError(f"blocks={config.blocks} do not reach {', '.join(config.levels)}")
        channels = dict(zip(config.levels, config.in_channels, strict=True))
        c32 = sum(c for level, c in channels.items() if STRIDES[level] == 32)
        widths = (d if config.reduce else c32, *[d] * config.blocks)
        self.reduce = nn.Conv2d(c32, d, kernel_size=1) if config.reduce else nn.Identity()
        # Every block is followed by `upsample`.
        self.pixel_decoder = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, d, kernel_size=3, padding=1, bias=False),
                          nn.GroupNorm(min(8, d // 4), d), nn.ReLU()) for c in widths[:-1])
        self.laterals = nn.ModuleDict(
            {k: nn.Conv2d(c, d, kernel_size=1) for k, c in channels.items() if STRIDES[k] < 32})
        self.mask_head = nn.Conv2d(widths[-1], d, kernel_size=1)
        self.project = nn.Conv2d(c32, d, kernel_size=1)
        # Only the query that is matched to a photo learns its mask. Queries that differ from the
        # start would share the photos out among them at random, so these start nearly equal.
        self.queries = nn.Embedding(config.queries, d)
        nn.init.normal_(self.queries.weight, std=0.02)
        layer = nn.TransformerDecoderLayer(
            d, config.heads, 4 * d, dropout=config.transformer_dropout, batch_first=True)
        self.transformer = nn.TransformerDecoder(layer, config.layers, norm=nn.LayerNorm(d))
        h, classes = config.hidden, config.num_classes + 1
        self.class_head = nn.Sequential(
            nn.Linear(d, h), nn.ReLU(), nn.Linear(h, classes)) if h else nn.Linear(d, classes)

    def pixels(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The maps of stride 32, stacked, and what the pixel decoder makes of all levels; its last
        upsampling is left out."""
        if self.config.channel_dropout:
            maps = [F.dropout2d(m, self.config.channel_dropout, self.training) for m in maps]
        by_level = dict(zip(self.config.levels, maps, strict=True))
        x = torch.cat([m for level, m in by_level.items() if STRIDES[level] == 32], 1)
        stacked, x = x, self.reduce(x)
        for stride, part in zip((16, 8, 4), self.pixel_decoder[:-1], strict=False):
            x = upsample(part(x))
            for level, lateral in self.laterals.items():
                if STRIDES[level] == stride:
                    x = x + lateral(by_level[level])
        return stacked, self.pixel_decoder[-1](x) if self.pixel_decoder else x

    @property
    def scale(self) -> int:
        """What the last upsampling enlarges by, to stride 2."""
        return 2 ** (5 - max(self.config.blocks, 1))

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        stacked, x = self.pixels(maps)  # strides 32 and, with four blocks, 4
        memory = self.project(stacked)
        if self.config.positional:
            memory = memory + sine_encoding(memory)
        memory = memory.flatten(2).transpose(1, 2)  # (B, hw, D)
        queries = self.queries.weight.expand(len(x), -1, -1)  # (B, Q, D)
        if self.config.layers:
            queries = self.transformer(queries, memory)
        else:  # without layers, the mean over all positions: attention with equal weights
            queries = self.transformer.norm(queries + memory.mean(1, keepdim=True))
        classes = self.class_head(queries)
        # By the definition, a mask is q . (W up(p) + b) at every pixel. The 1x1 convolution is
        # linear, so it is folded into the query; bilinear upsampling is linear, too, with weights
        # that sum to 1, so it comes after the product: up((W^T q) . p + q . b). That leaves D
        # channels less to upsample and a quarter of the pixels to multiply.
        weight, bias = self.mask_head.weight[:, :, 0, 0], self.mask_head.bias
        masks = torch.einsum("bqd,bdhw->bqhw", queries @ weight, x)
        masks = upsample(masks + (queries @ bias)[:, :, None, None], self.scale)
        return {"class_logits": classes, "mask_logits": masks}

    @staticmethod
    def read(output: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of an output: the foreground (B, G, G), the classes of the photos (B, K), and for
        semantic inference weights (B, Q, K) of masks (B, Q, G, G)."""
        return (foreground(output), class_probabilities(output), semantic_weights(output),
                output["mask_logits"].sigmoid())


def upsample(x: Tensor, scale: int = 2) -> Tensor:
    return F.interpolate(x, scale_factor=scale, mode="bilinear")


def sine_encoding(x: Tensor) -> Tensor:
    """(D, h, w) for maps (B, D, h, w), D a multiple of 4: half of it tells the row, half the
    column, as in DETR (Carion et al. 2020), counted in positions and not in shares of the map."""
    d, parts = x.shape[1] // 4, []
    steps = 10_000 ** (-torch.arange(d, device=x.device) / d)
    for axis, n in enumerate(x.shape[-2:]):
        angles = steps[:, None] * torch.arange(n, device=x.device)  # (d, n)
        waves = torch.cat([angles.sin(), angles.cos()])
        parts.append((waves[:, :, None], waves[:, None])[axis].expand(-1, *x.shape[-2:]))
    return torch.cat(parts)


def foreground(output: dict[str, Tensor]) -> Tensor:
    """(B, 16h, 16w) in [0, 1]: the queries' masks, weighted by their probability of an object."""
    objects = 1 - output["class_logits"].softmax(-1)[..., -1]  # (B, Q)
    weight = objects / objects.sum(-1, keepdim=True).clamp(min=1e-6)
    return torch.einsum("bq,bqhw->bhw", weight, output["mask_logits"].sigmoid())


def semantic_weights(output: dict[str, Tensor]) -> Tensor:
    """(B, Q, K): how much of each query's mask is each class's, for MaskFormer's semantic
    inference: a pixel's score of a class is the sum over queries of weight * mask, "no object"
    dropped. Divided as in `foreground`, so the scores of all classes add up to it."""
    by_class = output["class_logits"].softmax(-1)[..., :-1]
    return by_class / by_class.sum((-2, -1), keepdim=True).clamp(min=1e-6)


def class_probabilities(output: dict[str, Tensor]) -> Tensor:
    """(B, K), summing to 1: the image-level classes, summed over the queries."""
    by_class = output["class_logits"].softmax(-1)[..., :-1].sum(1)
    return by_class / by_class.sum(-1, keepdim=True).clamp(min=1e-6)
