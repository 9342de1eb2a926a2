"""Grad-CAM masks: of the ImageNet classifier as it is, and with a last layer for pets."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from petweak.config import Settings
from petweak.features import Features, photo_tensor, scaled_size
from petweak.pseudo_masks import cam
from petweak.pseudo_masks.base import Batch, Context, Source
from petweak.pseudo_masks.thresholds import choose_threshold


class GradCAM(Source):
    """The common part: a linear head and a score of its logits, explained on the last map."""

    settings = ("cam", "cam_target", "cam_mirror", "threshold")
    features = True
    views = True
    batch_size = 32
    head: nn.Linear
    score: cam.Score

    @classmethod
    def check(cls, settings: Settings) -> None:
        if settings.cam not in cam.METHODS:
            raise ValueError(f"cam={settings.cam!r}: known are {', '.join(cam.METHODS)}")

    def probabilities(self, batch: Batch) -> Tensor:
        """(B, S, S) in [0, 1], the mean over scales and, if `cam_mirror`, the mirror image."""
        settings, total = self.context.settings, 0
        for scale in settings.scales:
            for mirror in (False, True)[: 1 + settings.cam_mirror]:
                maps = self._map(batch, mirror, self.context.features, scale)
                total = total + (maps.flip(-1) if mirror else maps)
        return cam.min_max(total)

    def view(self, batch: Batch) -> Tensor:
        """(B, S, S) in [0, 1] of one view; another scale has a cache of its own."""
        return self._map(batch, batch.mirror, self.context.more_features(batch.scale))

    def threshold(self) -> float | str:
        wanted = self.context.settings.threshold
        if wanted == "val" and self.chain is not None and self.chain.centres:
            return 0.5  # where Otsu's cut of each map was put
        if wanted == "val":
            return choose_threshold(self._maps(self.choice_ids()), self.context)
        return wanted if wanted == "otsu" else float(wanted)

    def _map(self, batch: Batch, mirror: bool, features: Features, scale: float = 1.0) -> Tensor:
        settings, size = self.context.settings, self.context.settings.image_size
        maps = features.batch("last", batch.ids, mirror, scale)
        if settings.cam == "gradcam":
            return cam.upsample(cam.grad_cam(maps, self.head, self.score), size)
        if settings.cam not in cam.NEED_PHOTOS:
            head = cam.Head(self.head)
            found = cam.library_cam(settings.cam, head, head.map, maps, self.score)
            return cam.upsample(found, size)
        pictures = batch.seen(mirror).images()
        seen = scaled_size(size, batch.scale)
        photos = torch.stack([photo_tensor(p, seen) for p in pictures])
        backbone = self.context.backbone
        network = cam.Network(backbone, self.head)
        found = cam.library_cam(settings.cam, network, backbone.last_layer, photos, self.score)
        return cam.upsample(found, size)

    def choice_ids(self) -> list[str]:
        """The photos of train that a threshold is chosen on."""
        return sorted(self.context.val_ids)

    def _maps(self, ids: list[str]) -> tuple[list[str], Tensor]:
        if not ids:
            return [], torch.empty(0)
        chunks = [ids[k : k + self.batch_size] for k in range(0, len(ids), self.batch_size)]
        return ids, torch.cat([self.refined(self.context.batch(c)) for c in chunks])


class GradCAMPretrained(GradCAM):
    """What the ImageNet classifier itself says; nobody has labelled a pet for it.

    `cam_target=top1` explains the class it names (the paper, section 3.2), `pets` the log-odds of
    all its cat and dog classes against the rest.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.head = copy.deepcopy(context.backbone.classifier).cpu()
        self.score = {"pets": cam.pet_log_odds, "top1": cam.top1}[context.settings.cam_target]


class GradCAMFinetuned(GradCAM):
    """A new last layer, trained on the labels of train from pooled features (section 3.3).

    The map explains the class that this layer names, on train as on test.
    """

    settings = (
        *(s for s in GradCAM.settings if s != "cam_target"),
        "seed",
        "finetune_labels",
        "finetune_epochs",
        "finetune_lr",
    )

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.score = cam.top1

    def fit(self) -> None:
        s, labels = self.context.settings, self.context.train_labels
        ids = sorted(labels)
        pooled = self.context.features.pooled(ids)  # (N, 2, C)
        wanted = torch.tensor([labels[i][s.finetune_labels] for i in ids])
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(s.seed)
            self.head = nn.Linear(pooled.shape[-1], self.context.num_classes[s.finetune_labels])
            optimizer = torch.optim.AdamW(self.head.parameters(), lr=s.finetune_lr)
            for _ in range(s.finetune_epochs):
                for rows in torch.randperm(len(ids)).split(32):
                    # the photo and its mirror image are two examples of one label
                    logits = self.head(pooled[rows].flatten(0, 1))
                    loss = F.cross_entropy(logits, wanted[rows].repeat_interleave(2))
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
        self.head.requires_grad_(False)

    def accuracy(self, ids: list[str], wanted: np.ndarray) -> float:
        """The share of the photos `ids` whose class the finetuned layer names."""
        named = self.head(self.context.features.pooled(ids)[:, 0]).argmax(1).numpy()
        return float((named == np.asarray(wanted)).mean())
