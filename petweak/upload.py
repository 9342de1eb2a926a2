"""A photo of one's own: uploaded, or named by its path."""

from __future__ import annotations

import html
from pathlib import Path

import ipywidgets as w
import numpy as np

from petweak.controls import choice, live, missing, named_box, offer, wrapping
from petweak.explore import screen
from petweak.explore.made import students_of
from petweak.explore.own_photo import MAX_BYTES, Found, OwnPhoto, open_own
from petweak.files import project_path
from petweak.pictures import overlay, palette
from petweak.pseudo_masks.store import BACKGROUND, PET
from petweak.study import Run

SIDE = 240  # pixels of a picture, the longer side
PICTURES = {".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp"}


def photo_explorer(run: Run) -> w.Widget:
    """Upload a photo, or name a file or a folder: every source and student on it, to download.

    A Jupyter server drops messages of more than 10 MB unless told otherwise, which `make lab` and
    `make app` do; a path has no such limit.
    """
    own = OwnPhoto(run)
    if not own.sources and not students_of(run):
        return missing("This run has neither masks nor students yet", "petweak study")
    upload = w.FileUpload(accept="image/*", description="your photo")
    path = w.Text(description="or a path", placeholder="a picture, or a folder of pictures",
                  continuous_update=False)  # fmt: skip
    inside = choice("in it", ())
    inside.layout.display = "none"
    message, answers = live("message"), w.HTML()

    def show(content: bytes, name: str) -> None:
        answers.value = ""
        try:
            photo = open_own(content)
        except ValueError as error:
            message.value = f"<b>{html.escape(name)}</b>: {html.escape(str(error))}"
            return
        message.value = f"<b>{html.escape(name)}</b>: one moment ..."
        pixels = np.asarray(photo)
        try:
            found = own.answers(photo)
        except Exception as error:  # a widget has no traceback: its owner shall know all the same
            message.value = f"<b>{html.escape(name)}</b>: it failed: {html.escape(str(error))}"
            return
        plain = screen.picture(screen.shrunk(pixels, SIDE), "the photo", SIDE)
        parts = [_answer(pixels, f, Path(name).stem) for f in found]
        answers.value = screen.join([screen.captioned(plain, "the photo"), *parts])
        message.value = f"<b>{html.escape(name)}</b>: {len(found)} answers"

    def show_file(place: Path) -> None:
        try:
            with place.open("rb") as file:
                show(file.read(MAX_BYTES + 1), place.name)
        except OSError as error:
            answers.value, message.value = "", html.escape(str(error))

    def uploaded(_) -> None:
        if upload.value:
            show(bytes(upload.value[0].content), upload.value[0].name)

    def named(_) -> None:
        place = project_path(path.value.strip())
        inner = sorted(place.glob("*")) if place.is_dir() else []
        files = [p for p in inner if p.suffix.lower() in PICTURES and p.is_file()]
        inside.layout.display = "" if files else "none"
        offer(inside, [(p.name, p) for p in files])
        if place.is_file():
            show_file(place)
        elif not files and path.value.strip():
            message.value = f"{html.escape(path.value)}: no picture and no folder of pictures"

    def picked(_) -> None:
        if inside.value:
            show_file(inside.value)

    upload.observe(uploaded, "value")
    path.observe(named, "value")
    inside.observe(picked, "value")
    controls = w.HBox([upload, path, inside], layout=wrapping())
    return named_box("photo-explorer", [controls, message, answers])


def _answer(pixels: np.ndarray, found: Found, stem: str) -> str:
    """One answer with its caption, and a link that saves the mask."""
    colour = palette([found.source])[found.source]
    drawn = screen.shrunk(overlay(pixels, found.mask, colour), SIDE)
    png = np.where(found.mask, PET, BACKGROUND).astype(np.uint8)
    link = screen.download(png, f"{stem}-{found.name.replace(' ', '-')}.png", "download the mask")
    text = f"{html.escape(found.name)}<br>{html.escape(found.says)} {link}"
    return screen.captioned(screen.picture(drawn, f"{found.name} {found.says}", SIDE), text)
