"""What the explorers share: their controls, and what a run has for them to show."""

import copy
import functools
import html
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import ipywidgets as w

from petweak.data.feature_cache import open_features
from petweak.data.files import read_json
from petweak.pseudo_masks import source_class, source_names
from petweak.pseudo_masks.base import Context, Source
from petweak.pseudo_masks.refinement import Pipeline
from petweak.pseudo_masks.store import MANIFEST
from petweak.study.folder import FEATURES_FROM
from petweak.study.run import Run

AS_ON_DISK = "as in the run"  # the refinement pipeline of the masks on disk


def choice(description: str, options: Iterable) -> w.Dropdown:
    return w.Dropdown(options=list(options), description=description)


def offer(control: Any, options: Iterable) -> None:
    """Other options of a menu; its value stays if it is among them, else it is the first."""
    before, options = control.value, list(options)
    if options != list(control.options):
        control.options = options
        values = [o[1] if isinstance(o, tuple) else o for o in options] or [None]
        control.value = before if before in values else values[0]


def follow(draw: Callable, *controls: w.Widget, says: w.HTML | None = None) -> None:
    """Calls `draw(None)` now, and `draw(control)` once for every change of a control's value. What
    it changes itself meanwhile, such as the menus of another source, draws nothing. Errors of files
    that are gone meanwhile come into `says`, if it is given."""
    running = False

    def observer(change: Any = None) -> None:
        nonlocal running
        if not running:
            running = True
            try:
                draw(change and change["owner"])
            except (OSError, ValueError, KeyError) as error:
                if change is None or says is None:
                    raise
                says.value = _line(error)
            finally:
                running = False

    observer()
    for control in controls:
        control.observe(observer, "value")


def or_one_line(explorer: Callable) -> Callable:
    """The explorer, or one line that says what it lacks: files of the run or of its data may be
    gone, and a reader of the page has no use for a traceback."""

    @functools.wraps(explorer)
    def shown(run: Run) -> w.Widget:
        try:
            return explorer(run)
        except (OSError, ValueError, KeyError) as error:
            return w.HTML(_line(error))

    return shown


def _line(error: Exception) -> str:
    words = str(error) if isinstance(error, OSError | ValueError) else f"it failed: {error!r}"
    return html.escape("; ".join(words.splitlines()))


def row(*children: w.Widget) -> w.HBox:
    return w.HBox(children, layout=w.Layout(flex_flow="row wrap"))


def missing(what: str, command: str) -> w.HTML:
    return w.HTML(f"{what}: <code>{command}</code> makes it, and so does <code>make demo</code>.")


def photos_of(run: Run) -> w.Dropdown:
    """A menu of photos, test first: nothing has learnt from them."""
    return choice("photo", [s.id for split in ("test", "train") for s in run.pets.split(split)])


def has_features(run: Run) -> bool:
    """Whether `run.features` has only to be opened: an explorer does not extract features."""
    owner = run.features_run
    folders = [owner.folder / "features", *(read_json(owner.folder / FEATURES_FROM, list) or [])]
    return any(open_features(Path(f), run.features_key) is not None for f in folders)


class Sources:
    """The sources whose masks a run has, each fitted once, and the manifests of the masks. Ground
    truth is not among them: it has no threshold, and says nothing of new photos."""

    def __init__(self, run: Run) -> None:
        self.run, self.manifests, self._fitted, cached = run, {}, {}, has_features(run)
        for name in source_names(run.settings):
            kind, manifest = source_class(name), read_json(run.masks_folder(name) / MANIFEST)
            if manifest and not kind.reads_trimaps and (
                    cached or not (kind.features or "refinement" in manifest)):
                self.manifests[name] = manifest

    def source(self, name: str, context: Context, pipeline: str = AS_ON_DISK) -> Source:
        """The fitted source in another context, with the refinement pipeline of this name after it
        (`none`: without one). The choices that `auto` makes are those of the run."""
        if name not in self._fitted:
            self._fitted[name] = self.run.source(name)
            self._fitted[name].fit()
        source, manifest = copy.copy(self._fitted[name]), self.manifests[name]
        if "vote" in manifest:
            vote = tuple(manifest["vote"])
            context = context.replace(context.settings.replace(vote_pipelines=vote))
        names = {AS_ON_DISK: manifest.get("refinement", ()), "none": ()}.get(pipeline, (pipeline,))
        source.context, source.pipeline = context, Pipeline(tuple(names), context, source)
        return source
