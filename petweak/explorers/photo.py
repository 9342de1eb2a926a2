"""A photo that is not in the data set, through every source and every model of a run."""

import functools
import html
import io
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import ipywidgets as w
import numpy as np
import torch
from PIL import Image

from petweak.data.feature_cache import Features, photo_features, scaled_size
from petweak.data.files import project_path
from petweak.data.masks import BACKGROUND, FOREGROUND
from petweak.data.oxford_pets import example_photos
from petweak.data.pictures import SUFFIXES, load_photo
from petweak.explorers import controls, screen
from petweak.models.backbones import load_backbone
from petweak.pseudo_masks import source_class
from petweak.pseudo_masks.external import External
from petweak.pseudo_masks.store import to_mask
from petweak.study.run import Run
from petweak.training.inference import load_model, predict_features
from petweak.training.trainer import finished_models
from petweak.visualization.overlays import overlay
from petweak.visualization.style import palette

MAX_BYTES, MAX_PIXELS = 30_000_000, 25_000_000
SIDE = 240  # pixels of a picture, the longer side
NEW = "new photo"  # its id in the features and the context made for it


class Answer(NamedTuple):
    name: str  # of the source or the model
    source: str  # the source itself, or that of the model
    mask: np.ndarray  # (H, W) bool, of the photo's size
    says: str = ""  # the class that a model predicts


def open_photo(file: Path | bytes) -> Image.Image:
    """The photo in a file, or in its content, as RGB and as its owner sees it. ValueError, in words
    for its owner, where it is too large or no picture."""
    path = isinstance(file, Path)
    if (file.stat().st_size if path else len(file)) > MAX_BYTES:
        raise ValueError(f"This file is too large: {MAX_BYTES // 10**6} MB is the most.")
    pixels = 0
    with suppress(Exception), Image.open(file if path else io.BytesIO(file)) as image:
        pixels = image.width * image.height  # by the header, before it fills the memory
    try:
        photo = load_photo(file if path else io.BytesIO(file)) if pixels <= MAX_PIXELS else None
    except OSError as error:
        reason = str(error).removeprefix(f"{file}: " if path else "the picture: ")
        raise ValueError(f"This file cannot be read as a picture: {reason}") from None
    if photo is None or photo.width * photo.height > MAX_PIXELS:
        raise ValueError(f"This picture has over {MAX_PIXELS:,} pixels: make it smaller first.")
    return photo


def pictures_at(run: Run, path: str) -> list[Path]:
    """The picture that `path` names, or those in that folder; relative paths count from the
    project. Only what lies in the run's folder or in the data root, after links are followed, and
    photos of the set, which may be links: nothing else on the machine is listed, opened or told
    apart from what does not exist."""
    photos = {s.photo.resolve() for s in run.pets.samples}
    roots = [Path(p).resolve() for p in (run.folder, run.data_root)]
    roots += {s.photo.parent.resolve() for s in run.pets.samples}  # a link in the data root

    def inside(file: Path) -> bool:
        return file in photos or any(map(file.is_relative_to, roots))

    try:
        named = project_path(path.strip()).resolve()
        files = sorted(named.iterdir()) if inside(named) and named.is_dir() else [named]
        shown = [f for f in files if f.suffix.lower() in SUFFIXES and not f.name.startswith(".")]
        return [f for f in map(Path.resolve, shown) if inside(f) and f.is_file()]
    except (OSError, RuntimeError, ValueError):  # a circle of links, an unknown user, a null byte
        return []


class OwnPhoto:
    """Sources and models of a run, ready for photos that are not in it; each is fitted or loaded
    once. Masks from elsewhere are of the run's photos alone."""

    def __init__(self, run: Run) -> None:
        self.run, self.sources = run, controls.Sources(run)
        self.models = finished_models(run.folder, rounds=False)
        for name in [n for n in self.sources.manifests if issubclass(source_class(n), External)]:
            del self.sources.manifests[name]
        self._model = functools.cache(lambda folder: load_model(folder, run.device))
        self._network = functools.cache(lambda name: load_backbone(name).to(run.device))

    def answers(self, photo: Image.Image) -> list[Answer]:
        """The mask of every source and model. The backbone runs once per view and scale."""
        answers, shape = [], (photo.height, photo.width)
        features = functools.cache(functools.partial(self._pass, photo))
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            photo.save(path := Path(folder) / "photo.png")
            context = replace(self.run.context, photo_paths={NEW: path},
                              open_features=lambda: features(1.0, ""), open_more_features=features)
            for name, manifest in self.sources.manifests.items():
                source = self.sources.source(name, context)
                (soft,) = source.refined(source.context.batch([NEW]))
                mask = to_mask(soft, shape, manifest["threshold"])
                answers.append(Answer(name, name, mask == FOREGROUND))
        for folder, config in self.models.items():
            model = self._model(folder)
            ((_, prediction),) = predict_features(model, features(1.0, ""), [NEW])
            k = int(prediction.classes.argmax())
            says, mask = f"{model.classes[k]} {prediction.classes[k]:.0%}", prediction.mask(*shape)
            answers.append(Answer(f"model {folder.name}", config["source"], mask, says))
        return answers

    def _pass(self, photo: Image.Image, scale: float, backbone: str) -> Features:
        """The photo's features: all levels at first, the final map at other scales and of other
        backbones, as `Run.more_features` has it."""
        settings = self.run.settings
        network = self._network(backbone) if backbone else self.run.backbone
        if (scale, backbone) != (1.0, ""):
            size = scaled_size(settings.backbone.image_size, scale)
            settings = settings.replace(
                stored_levels=("final",), levels=("final",), image_size=size)
        return photo_features(photo, network, settings, NEW, self.run.device)


def on_examples(run: Run) -> dict[str, tuple[Image.Image, np.ndarray, dict[str, np.ndarray]]]:
    """{id: a real photo that comes with the project, its trimap, {name of a source or a model: its
    mask}}, of all that the run has."""
    new = OwnPhoto(run)
    return {i: (photo, trimap, {a.name: a.mask for a in new.answers(photo)})
            for i, (photo, trimap) in example_photos().items()}


@controls.or_one_line
def photo_explorer(run: Run) -> w.Widget:
    """Upload a photo, or name a picture or a folder of the run or of its data: every source and
    model on it, to download. A Jupyter server drops messages of more than 10 MB unless told
    otherwise, as `make lab` and `make app` do; a path has no such limit."""
    new = OwnPhoto(run)
    if not new.sources.manifests and not new.models:
        return controls.missing("This run has neither masks nor models yet", "petweak study")
    upload = w.FileUpload(accept="image/*,.heic,.heif", description="your photo")
    path = w.Text(description="or a path", placeholder="in the run", continuous_update=False)
    inside, pictures = controls.choice("in it", ()), w.HTML()
    message = w.HTML().add_class("petweak-message")

    def draw(changed: w.Widget | None) -> None:
        if changed is path:
            controls.offer(inside, [(f.name, f) for f in pictures_at(run, path.value)])
            where = html.escape(f"{run.folder} or {run.data_root}")
            words = path.value.strip() and f"no such picture in {where}: upload others"
            pictures.value, message.value = "", words
        inside.layout.display = "" if len(inside.options) > 1 else "none"
        if changed is upload and upload.value:
            show(upload.value[0]["name"], bytes(upload.value[0]["content"]))
        elif inside.value:
            show(inside.value.name, inside.value)

    def show(name: str, file: Path | bytes) -> None:
        title, pictures.value = f"<b>{html.escape(name)}</b>: ", ""
        message.value = f"{title} one moment ..."
        try:
            photo = open_photo(file)
            answers = new.answers(photo)
        except Exception as error:  # a widget shows no traceback, so the message does
            words = str(error) if isinstance(error, ValueError) else f"it failed: {error!r}"
            message.value = title + html.escape(words)
            return
        parts = [screen.captioned(screen.picture(np.asarray(photo), name, SIDE), "the photo")]
        parts += [_figure(photo, answer, Path(name).stem) for answer in answers]
        pictures.value = screen.join(parts)
        message.value = f"{title} {len(answers)} answers"

    controls.follow(draw, upload, path, inside)
    views = controls.row(upload, path, inside), message, pictures
    return w.VBox(views).add_class("petweak-photo-explorer")


def _figure(photo: Image.Image, answer: Answer, stem: str) -> str:
    """One answer with its caption, and a link that saves the mask."""
    drawn = overlay(photo, answer.mask, palette([answer.source])[answer.source])
    mask = np.where(answer.mask, FOREGROUND, BACKGROUND).astype(np.uint8)
    link = screen.download(mask, f"{stem}-{answer.name.replace(' ', '-')}.png", "download the mask")
    caption = f"{html.escape(answer.name)}<br>{html.escape(answer.says)} {link}"
    return screen.captioned(screen.picture(drawn, f"{answer.name} {answer.says}", SIDE), caption)
