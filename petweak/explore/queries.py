"""What a student's queries say of one photo, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from petweak.maskformer.model import foreground
from petweak.maskformer.predict import load_student
from petweak.maskformer.train import saved_epochs
from petweak.study import Run

LIKELIEST = 3  # classes that are named


@dataclass(frozen=True)
class Query:
    """One query's answer: where, what, and how sure it is that there is nothing for it to say."""

    mask: np.ndarray  # (G, G) in [0, 1]
    classes: tuple[tuple[str, float], ...]  # its likeliest ones, (name, probability) each
    no_object: float  # probability of "no object"
    wins: bool  # the surest of an object


class Forming:
    """A student through its training: its queries on any photo of the run, after any epoch."""

    def __init__(self, run: Run, folder: Path) -> None:
        self.run, self.student = run, load_student(folder, run.device)
        self.epochs = saved_epochs(folder)  # {epoch: file}, empty where none were saved
        self._final = {k: v.clone() for k, v in self.student.model.state_dict().items()}
        self._tensors: dict[int, dict] = {}

    @torch.inference_mode()
    def answer(self, image_id: str, epoch: int | None = None) -> tuple[list[Query], np.ndarray]:
        """The queries, and the mask that they come to, (G, G) in [0, 1]; `epoch` None: the student
        as it was kept. KeyError for an epoch that was not saved."""
        model = self.student.model
        model.load_state_dict(self._final if epoch is None else self._epoch(epoch))
        taps = self.student.taps
        maps = [self.run.features.batch(t, [image_id]).to(self.run.device) for t in taps]
        out = model(maps)
        masks = out["mask_logits"][0].sigmoid().cpu().numpy()
        classes = out["class_logits"][0].softmax(-1).cpu()
        best, names = int(classes[:, -1].argmin()), self.student.classes
        found = []
        for q, (mask, p) in enumerate(zip(masks, classes, strict=True)):
            values, order = p[:-1].topk(min(LIKELIEST, len(names)))
            likely = tuple((names[k], v) for k, v in zip(order, values.tolist(), strict=True))
            found.append(Query(mask, likely, p[-1].item(), q == best))
        return found, foreground(out)[0].cpu().numpy()

    def _epoch(self, epoch: int) -> dict:
        if epoch not in self.epochs:
            known = ", ".join(map(str, self.epochs)) or "none; train with save_epochs=true"
            raise KeyError(f"epoch {epoch} was not saved: there are {known}")
        if epoch not in self._tensors:
            self._tensors[epoch] = {k: v.float() for k, v in load_file(self.epochs[epoch]).items()}
        return self._tensors[epoch]
