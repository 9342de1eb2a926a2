"""Grad-CAM masks: of the ImageNet classifier as it is, and with a last layer for pets."""

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from petweak.config import Settings
from petweak.data.feature_cache import scaled_size
from petweak.pseudo_masks import cam
from petweak.pseudo_masks.base import Batch, Context, Source
from petweak.pseudo_masks.refinement.base import photos_on_grid
from petweak.pseudo_masks.thresholds import choose_threshold


class GradCAM(Source):
    """A linear head on the CPU, and a score of its logits to be explained."""
    sections: tuple[str, ...] = ("cam",)
    features, views, batch_size = True, True, 32
    head: nn.Linear
    score: cam.Score = staticmethod(cam.top1)

    @classmethod
    def check(cls, settings: Settings) -> None:
        if settings.cam.cam not in cam.METHODS:
            raise ValueError(f"cam={settings.cam.cam!r}: there are {', '.join(cam.METHODS)}")

    def probabilities(self, batch: Batch) -> Tensor:
        """(B, S, S) in [0, 1]; with `cam_mirror` the mean over the photo and its mirror image."""
        total = self.view(batch.view(False))
        if self.context.settings.cam.cam_mirror:
            total = total + self.view(batch.view(True)).flip(-1)
        return cam.min_max(total)

    def view(self, batch: Batch) -> Tensor:
        """(B, S, S) in [0, 1] of one view; another scale has a cache of its own."""
        context, score = self.context, self.score
        method, size = context.settings.cam.cam, context.settings.backbone.image_size
        if method in cam.NEED_PHOTOS:  # the network runs again, on the study's device
            photos = photos_on_grid(batch, scaled_size(size, batch.scale)).to(context.device)
            linear, backbone = copy.deepcopy(self.head).to(context.device), context.backbone
            network, layer = cam.Network(backbone, linear), backbone.last_layer
            return cam.upsample(cam.library_cam(method, network, layer, photos, score), size)
        maps = context.more_features(batch.scale).batch("final", batch.ids, batch.mirror)
        if method == "gradcam":
            return cam.upsample(cam.grad_cam(maps, self.head, score), size)
        head = cam.Head(self.head)
        return cam.upsample(cam.library_cam(method, head, head.map, maps, score), size)

    def threshold(self) -> float | str:
        return choose_threshold(self)

    def choice_ids(self) -> list[str]:
        """The photos of train that a threshold is chosen on."""
        return sorted(self.context.val_ids)


class GradCAMPretrained(GradCAM):
    """The ImageNet classifier as it is, without any label of the data set. `cam_target=top1`
    explains the predicted class (the paper, section 3.2), `pets` the log-odds of all cat and dog
    classes against the rest."""
    target = ""  # the setting's

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.head = context.classifier()
        target = self.target or context.settings.cam.cam_target
        self.score = {"pets": cam.pet_log_odds, "top1": cam.top1}[target]


class GradCAMFinetuned(GradCAM):
    """A new last layer, trained on the labels of train from pooled features (section 3.3). The map
    explains the class that this layer predicts, on train as on test."""
    sections = ("cam", "finetuning", "data")

    def fit(self) -> None:
        s, labels = self.context.settings.finetuning, self.context.train_labels
        ids = sorted(labels)
        features = self.context.features
        channels = features.map("pooled").shape[-1]
        targets = torch.tensor([labels[i][s.finetune_labels] for i in ids])
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(self.context.settings.data.seed)
            self.head = nn.Linear(channels, self.context.num_classes[s.finetune_labels])
            optimizer = torch.optim.AdamW(self.head.parameters(), lr=s.finetune_lr)
            for _ in range(s.finetune_epochs):
                for rows in torch.randperm(len(ids)).split(32):
                    # the photo and its mirror image are two examples of one label
                    logits = self.head(features.pooled([ids[r] for r in rows]).flatten(0, 1))
                    loss = F.cross_entropy(logits, targets[rows].repeat_interleave(2))
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
        self.head.requires_grad_(False)

    def accuracy(self, ids: list[str], targets: np.ndarray) -> float:
        """The share of the photos `ids` whose class the finetuned layer predicts."""
        predictions = self.head(self.context.features.pooled(ids)[:, 0]).argmax(1).numpy()
        return float((predictions == np.asarray(targets)).mean())
