"""The base of all refinement steps, and the sizes and scales that they share."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from petweak.config import Settings
from petweak.data.feature_cache import photo_tensor
from petweak.pseudo_masks.base import Batch, Context, Source
from petweak.pseudo_masks.thresholds import otsu


class RefinementStep:
    """Probability maps and photos in, better maps out. A new one writes `refine`."""
    asks_source = False  # whether it asks the source for other views of the photo
    centres = False  # whether foreground is above 0.5 in its maps: then threshold=val means 0.5
    version = 1  # to be raised when the code changes the maps

    def __init__(self, context: Context) -> None:
        self.context, self.settings = context, context.settings.refinement

    @classmethod
    def check(cls, settings: Settings) -> None:
        """Raise ValueError where `settings` cannot work for it; before anything runs."""

    def refine(self, soft: Tensor, batch: Batch, source: Source | None) -> Tensor:
        """(B, G, G) in [0, 1] -> the same. `source` is None where the map is a model's."""
        raise AttributeError(f"{type(self).__name__} has to define refine(soft, batch, source)")

    def both_views(self, batch: Batch, view: Callable[[Batch], Tensor]) -> Iterator[Tensor]:
        """(B, G, G) twice: `view` of the batch and of its mirror image, in the batch's frame."""
        for mirror in (False, True):
            soft = view(batch.view(mirror != batch.mirror, batch.scale))
            yield on_grid(soft.flip(-1) if mirror else soft, self.context.settings)


def on_grid(soft: Tensor, settings: Settings) -> Tensor:
    """(B, H, W) -> (B, G, G), G = image_size / 2: the model's own grid, where steps work."""
    return resized(soft, settings.backbone.image_size // 2)


def resized(soft: Tensor, size: int) -> Tensor:
    """(B, H, W) -> (B, size, size): averaged where it shrinks, bilinear where it grows."""
    if soft.shape[-2:] == (size, size):
        return soft
    if min(soft.shape[-2:]) >= size:
        return F.adaptive_avg_pool2d(soft[:, None], size)[:, 0]
    return F.interpolate(soft[:, None], (size, size), mode="bilinear")[:, 0]


def photos_on_grid(batch: Batch, size: int) -> Tensor:
    """(B, 3, size, size) float32 in [0, 1]."""
    return torch.stack([photo_tensor(p, size) for p in batch.images()])


def centred(soft: Tensor) -> Tensor:
    """(B, G, G) -> the same, map by map stretched to [0, 1] with Otsu's threshold at 0.5: scores
    become probabilities without ground truth."""
    low, high = soft.amin((1, 2), keepdim=True), soft.amax((1, 2), keepdim=True)
    soft = (soft - low) / (high - low).clamp(min=1e-7)
    cuts = torch.tensor([otsu(m) for m in soft.numpy()]).clamp(0.02, 0.98)[:, None, None]
    return torch.where(soft <= cuts, 0.5 * soft / cuts,
                       0.5 + 0.5 * (soft - cuts) / (1 - cuts)).float()
