"""Refinement steps of probability maps. A new one is a file beside this one and a line in `STEPS`.

`--set refinement=multiscale,walk` runs two of them in order; a name of `PIPELINES` stands for its
steps, and `auto` for a vote of the pipelines that `petweak.pseudo_masks.selection` ranks highest.
"""

from pkgutil import resolve_name

from torch import Tensor

from petweak.config import Settings
from petweak.pseudo_masks.base import Batch, Context, Source
from petweak.pseudo_masks.refinement.base import RefinementStep, on_grid

STEPS: dict[str, str] = {  # name: module:Class, of this package or with a full path
    "multiscale": "multiscale:MultiScale",
    "fusion": "fusion:Fusion",
    "pamr": "pamr:PAMR",
    "grabcut": "grabcut:GrabCut",
    "crf": "crf:MeanFieldCRF",
    "walk": "walk:Walk",
    "vote": "vote:Vote",
}
PIPELINES: dict[str, tuple[str, ...]] = {  # by name; `auto` chooses from them
    "averaged": ("multiscale",), "fused": ("multiscale", "fusion"), "local": ("multiscale", "pamr"),
    "colour": ("multiscale", "grabcut"), "dense": ("multiscale", "crf"),
    "affinity": ("multiscale", "walk"), "affinity_local": ("multiscale", "walk", "pamr"),
    "affinity_colour": ("multiscale", "walk", "grabcut"), "consensus": ("vote",),
}


def step_class(name: str) -> type[RefinementStep]:
    path = STEPS[name]
    return resolve_name(path if "." in path else f"{__name__}.{path}")


def pipeline_steps(names: tuple[str, ...]) -> tuple[str, ...]:
    """The steps that a setting means. ValueError, with the names there are, for an unknown one."""
    if "auto" in names:
        raise ValueError("refinement: auto chooses among pipelines: it stands alone")
    if unknown := [n for n in names if n not in STEPS and n not in PIPELINES]:
        raise ValueError(f"refinement: unknown {', '.join(unknown)}; steps: {', '.join(STEPS)}; "
                         f"pipelines: {', '.join(PIPELINES)}; or auto")
    return tuple(step for n in names for step in PIPELINES.get(n, (n,)))


def check_pipeline(names: tuple[str, ...], source: type[Source] | None, settings: Settings) -> None:
    """ValueError where `names` cannot refine the maps of this source, or, with None, of a model."""
    for name in pipeline_steps(names):
        step_class(name).check(settings)
        if step_class(name).asks_source and not (source and source.views):
            who = f"the source {source.__name__}" if source else "the prediction of a model"
            raise ValueError(f"refinement: {name} asks for other views of a photo, and {who} has "
                             f"none: leave out {name}" + ", or that source" * bool(source))


def versions(names: tuple[str, ...]) -> dict[str, int]:
    """{step: its version} of a pipeline, for the key of masks; of all steps where one votes."""
    steps = STEPS if names == ("auto",) else pipeline_steps(names)
    return {n: step_class(n).version for n in STEPS if n in steps or "vote" in steps}


def asks_for_scales(names: tuple[str, ...]) -> bool:
    """Whether the pipeline needs the feature caches of `refinement_scales`."""
    return any(step_class(step).asks_source for step in versions(names))


class Pipeline:
    """Steps in order: probability maps and photos in, probability maps out."""
    def __init__(self, names: tuple[str, ...], context: Context, source: Source | None = None):
        self.names, self.context, self.source = pipeline_steps(names), context, source
        self.steps = [step_class(name)(context) for name in self.names]
        self.centres = any(step.centres for step in self.steps)

    def __call__(self, soft: Tensor, batch: Batch, shared: dict | None = None) -> Tensor:
        """(B, H, W) in [0, 1] -> (B, G, G) in [0, 1], G half the setting `image_size`; the map as
        it is where the pipeline is empty. Pipelines for the same maps and batch can share `shared`,
        {first steps: maps after them}: each adds what it has computed."""
        if self.steps:
            soft = on_grid(soft, self.context.settings)
        shared = {} if shared is None else shared
        for end, step in enumerate(self.steps, 1):
            if (names := self.names[:end]) not in shared:
                shared[names] = step.refine(soft, batch, self.source).clamp(0, 1)
            soft = shared[names]
        return soft
