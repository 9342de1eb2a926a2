"""Class activation maps on cached features.

The score of a class is w . mean(A) + b, A the final map (C, h, w). So the weights of Grad-CAM
(Selvaraju et al. 2017: the mean over the map of d score / d A) are w up to a factor that
normalisation removes, and the map is relu(w . A). Other methods run on the head alone.
"""

import importlib
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from petweak.models.backbones import Backbone

Score = Callable[[Tensor], Tensor]  # logits (B, K) -> (B,)
# ImageNet-1k's dogs (Chihuahua ... Mexican hairless) and house cats (tabby ... Egyptian cat).
DOGS, CATS = range(151, 269), range(281, 286)


def pet_log_odds(logits: Tensor) -> Tensor:
    """(B, 1000) -> (B,): log p(a cat or a dog) - log p(anything else)."""
    pets = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
    pets[[*DOGS, *CATS]] = True
    return logits[..., pets].logsumexp(-1) - logits[..., ~pets].logsumexp(-1)


def top1(logits: Tensor) -> Tensor:
    """(B, K) -> (B,): the logit of the predicted class (the paper's)."""
    return logits.max(dim=-1).values


def grad_cam(maps: Tensor, head: nn.Linear, score: Score) -> Tensor:
    """Grad-CAM of `score`, in closed form: (B, C, h, w) -> (B, h, w), at least 0. The only gradient
    taken is that of the score with respect to the logits, a (B, K) table."""
    with torch.enable_grad():
        logits = head(maps.mean(dim=(-2, -1))).detach().requires_grad_()
        (by_logit,) = torch.autograd.grad(score(logits).sum(), logits)
    weights = by_logit @ head.weight.detach() / (maps.shape[-2] * maps.shape[-1])
    return torch.einsum("bc,bchw->bhw", weights, maps).relu()


def layer_cam(maps: Tensor, logits_of: Callable[[Tensor], Tensor], score: Score) -> Tensor:
    """LayerCAM (Jiang et al. 2021) of `score` on an inner map: (B, C, h, w) -> (B, h, w), >= 0.
    logits_of: the network from the map on, (B, C, h, w) -> (B, K), which is not linear."""
    with torch.enable_grad():
        maps = maps.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(score(logits_of(maps)).sum(), maps)
    return (gradient.relu() * maps.detach()).sum(1).relu()


def min_max(maps: Tensor) -> Tensor:
    """(B, h, w) -> [0, 1] each, as pytorch-grad-cam does it (the 1e-7 is its)."""
    maps = maps - maps.amin(dim=(-2, -1), keepdim=True)
    return maps / (1e-7 + maps.amax(dim=(-2, -1), keepdim=True))


def upsample(maps: Tensor, size: int) -> Tensor:
    """(B, h, w) -> (B, size, size), normalised before and, as in pytorch-grad-cam, again after."""
    return min_max(F.interpolate(min_max(maps)[:, None], (size, size), mode="bilinear")[:, 0])


# {name: class} of pytorch-grad-cam, which takes a second and a half to import: only where needed.
METHODS = {"gradcam++": "GradCAMPlusPlus"} | {name.lower().replace("_", ""): name for name in (
    "GradCAM XGradCAM HiResCAM GradCAMElementWise LayerCAM EigenCAM EigenGradCAM KPCA_CAM FEM "
    "AblationCAM ShapleyCAM RandomCAM ScoreCAM FullGrad").split()}
NEED_PHOTOS = ("scorecam", "fullgrad")  # they change or attribute the photo: the whole network runs


class Head(nn.Module):
    """The network after a map, (B, C, h, w) -> logits: the mean and a linear layer after the final
    map, `rest` before these after an inner one."""
    def __init__(self, linear: nn.Linear, rest: Callable | None = None) -> None:
        super().__init__()
        self.map, self.linear, self.rest = nn.Identity(), linear, rest or nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        return self.linear(self.rest(self.map(maps)).mean(dim=(-2, -1)))


class Network(Head):
    """Backbone and head: photos (B, 3, S, S) in [0, 1] -> logits."""
    def __init__(self, backbone: Backbone, linear: nn.Linear) -> None:
        super().__init__(linear, lambda photos: backbone(photos)["final"])
        self.backbone = backbone


def library_cam(method: str, model: nn.Module, layer: nn.Module, x: Tensor, score: Score) -> Tensor:
    """A method of pytorch-grad-cam by name: (B, h', w') in [0, 1], at the size of `x`. Its hooks
    are gone when this returns, also by an error. ValueError for an unknown method."""
    if method not in METHODS:
        raise ValueError(f"cam={method!r}: there are {', '.join(METHODS)}")
    kind = getattr(importlib.import_module("pytorch_grad_cam"), METHODS[method])
    with torch.enable_grad(), kind(model=model, target_layers=[layer]) as cam:
        x = x.detach().clone().requires_grad_()
        return torch.from_numpy(cam(x, targets=[score] * len(x))).float()
