"""Cards: what a data set and a trained student are, for readers who did not make them.

    runs/<name>/data_card.md                 the photos: what is there, what is not, whose they are
    runs/<name>/models/<student>/README.md   what it learnt from, how good it is, what it is not for

Numbers come from the run's own files. A card that says the same as the one on disk is not written.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from inspect import getdoc
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from PIL import Image
from safetensors import safe_open

from petweak.config import STRIDES
from petweak.data.fetch import OFFICIAL_PHOTOS
from petweak.data.pets import SPECIES, Pets
from petweak.data.rendered import BREEDS, RECORD
from petweak.evaluate import MEANINGS
from petweak.files import read_json, write_text
from petweak.maskformer.train import CARD
from petweak.metrics import BORDERS, NO_BORDER, degenerate
from petweak.pseudo_masks import source_named
from petweak.pseudo_masks.base import Source
from petweak.runs import stage_key

Rows = list[dict[str, Any]]  # of scores.json: split, border, metric, value, low, high, n_images
DATA_CARD = "data_card.md"
WEAKEST = 3  # breeds that a model card names


def write_model_card(
    folder: Path, pets: Pets, masks: dict, rows: Rows, photos: pd.DataFrame, floor: Rows, own: Rows
) -> Path:
    """Write README.md beside a trained and scored student; returns its path.

    folder: of the student, with config.json and model.safetensors; masks: the manifest of its
    source's masks; rows, photos: its scores; floor, own: rows of `all_ones` and of the masks.
    """
    config = read_json(folder / "config.json")
    source = source_named(config["source"])
    iou = {b: _row(rows, "test", "mask_iou_gt", b)["value"] for b in BORDERS}
    at_all_ones = {b: _row(floor, "test", "mask_iou_gt", b)["value"] for b in BORDERS}
    with safe_open(folder / "model.safetensors", "pt") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    text = _template("model_card").render(
        name=folder.name,
        config=config,
        settings=config["settings"],
        seen=[f"`{tap}` (stride {STRIDES[tap]})" for tap in config["model"]["taps"]],
        parameters=sum(_product(shape) for shape in shapes),
        about=_first_paragraph(source),
        true_masks=source.reads_trimaps,
        own_labels=source.image_labels is not Source.image_labels,
        masks=masks,
        round=config.get("variant", "").removeprefix("round").removesuffix("-wide"),
        wide=config.get("variant", "").endswith("-wide"),
        dataset=pets.name,
        breeds=pets.breeds,
        train=len(pets.split("train")),
        table=_table(rows),
        counts={r["split"]: r["n_images"] for r in rows},
        meanings={m: MEANINGS[m] for m in dict.fromkeys(r["metric"] for r in rows)},
        iou=iou,
        all_ones=at_all_ones,
        below=[b for b in BORDERS if degenerate(iou[b], at_all_ones[b])],
        masks_iou={b: _row(own, "train", "pseudo_iou_gt", b)["value"] for b in BORDERS},
        weakest=_weakest(photos),
    )
    return _put(folder / CARD, text)


def write_data_card(folder: Path, pets: Pets, content: dict, all_ones: pd.DataFrame,
                    settings: dict, held_out: int) -> Path:  # fmt: skip
    """Write data_card.md into a run's folder, where it is not there for this content; its path.

    content: the hashes of `pets.fingerprint`; all_ones: the baseline's scores, whose
    intersections are the areas of the trimaps; settings: `seed`, `val_fraction` and `leave_out`;
    held_out: how many photos of train are val.
    """
    path, source = folder / DATA_CARD, _source("data_card")
    key = stage_key(stage="data card", template=source, content=content, **settings)
    if path.is_file() and key in path.read_text(encoding="utf-8"):
        return path
    rendered = read_json(pets.root / "annotations" / RECORD) if pets.name == "rendered" else None
    unknown = sorted(set(pets.breeds) - {breed.name for breed in BREEDS})
    text = _template("data_card").render(
        key=key,
        pets=pets,
        rendered=rendered,
        unknown=unknown,
        official=OFFICIAL_PHOTOS,
        known_breeds=len(BREEDS),
        settings=settings,
        held_out=held_out,
        splits=_splits(pets),
        areas=_areas(all_ones, all_ones["split"]),
        breeds=_breeds(pets, all_ones),
        quarantine=[
            {"file": Path(q.file).name, "reason": q.reason.replace(str(pets.root), pets.root.name)}
            for q in pets.quarantine
        ],
        files=_files(pets),
    )
    return _put(path, text)


# --- what a student's scores say


def _row(rows: Rows, split: str, metric: str, border: str) -> dict[str, Any]:
    wanted = (split, metric, border)
    return next(r for r in rows if (r["split"], r["metric"], r["border"]) == wanted)


def _table(rows: Rows) -> Rows:
    """{metric, border, train, test} in the order of `rows`; cells are rows of scores.json."""
    lines: dict[tuple[str, str], dict] = {}
    for r in rows:
        line = lines.setdefault((r["metric"], r["border"]), {"train": None, "test": None})
        line[r["split"]] = r
    return [
        {"metric": metric, "border": "" if border == NO_BORDER else border, **cells}
        for (metric, border), cells in lines.items()
    ]


def _weakest(photos: pd.DataFrame) -> Rows:
    """The breeds of test with the lowest mean IoU, border as pet."""
    test = photos[photos["split"] == "test"]
    breed = test["id"].str.rsplit("_", n=1).str[0].rename("breed")
    means = test.groupby(breed)["iou/pet"].agg(["mean", "size"]).nsmallest(WEAKEST, "mean")
    return [{"breed": b, "iou": r["mean"], "photos": int(r["size"])} for b, r in means.iterrows()]


def _first_paragraph(source: type[Source]) -> str:
    return " ".join((getdoc(source) or source.__name__).split("\n\n")[0].split())


def _product(shape: list[int]) -> int:
    total = 1
    for n in shape:
        total *= n
    return total


# --- what lies in a data set


def _splits(pets: Pets) -> Rows:
    """Photos by split and species."""
    rows = []
    for split in dict.fromkeys(s.split for s in pets.samples):
        part = pets.split(split)
        counts = {name: sum(s.species == i for s in part) for i, name in enumerate(SPECIES)}
        rows.append({"split": split, "photos": len(part), "species": counts,
                     "breeds": len({s.breed for s in part})})  # fmt: skip
    return rows


def _areas(all_ones: pd.DataFrame, by: pd.Series) -> dict[str, dict[str, float]]:
    """{group: shares of the photo's area, means over its photos}: what `all_ones` gets right is
    pet with its border, or without it."""
    area = all_ones["union/pet"]
    shares = pd.DataFrame({
        "pet": all_ones["intersection/background"] / area,
        "border": (all_ones["intersection/pet"] - all_ones["intersection/background"]) / area,
    })  # fmt: skip
    shares["background"] = 1 - shares["pet"] - shares["border"]
    return shares.groupby(by, sort=False).mean().to_dict("index")


def _breeds(pets: Pets, all_ones: pd.DataFrame) -> Rows:
    areas = _areas(all_ones, all_ones["id"].str.rsplit("_", n=1).str[0])
    rows = []
    for i, name in enumerate(pets.breeds):
        part = [s for s in pets.samples if s.breed == i]
        if part:
            counts = {split: sum(s.split == split for s in part) for split in ("train", "test")}
            rows.append({"name": name, "species": SPECIES[part[0].species], **counts,
                         **areas[name]})  # fmt: skip
    return rows


def _files(pets: Pets) -> dict[str, Any]:
    """What the folder of photos holds beside what the lists name, and how the photos are stored."""
    listed = {s.photo.name for s in pets.samples} | {Path(q.file).name for q in pets.quarantine}
    here = [p for p in sorted((pets.root / "images").iterdir()) if not p.name.startswith(".")]
    kinds: dict[str, int] = {}
    sizes = []
    for s in pets.samples:
        with Image.open(s.photo) as image:  # reads the header only
            sizes.append(image.size)
            kind = f"{image.format}, {image.mode}"
            kinds[kind] = kinds.get(kind, 0) + 1
    extra = [p.name for p in here if p.name not in listed]
    quarantined = {q.id for q in pets.quarantine}
    return {
        "unlisted": [n for n in extra if n.endswith(".jpg") and Path(n).stem not in quarantined],
        "other": [n for n in extra if not n.endswith(".jpg")],
        "kinds": dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0]))),
        "smallest": min(sizes, key=lambda size: size[0] * size[1]),
        "largest": max(sizes, key=lambda size: size[0] * size[1]),
    }


# --- writing


def _source(name: str) -> str:
    return resources.files("petweak").joinpath(f"templates/{name}.md.j2").read_text("utf-8")


@cache
def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.from_string(_source(name))


def _put(path: Path, text: str) -> Path:
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
    return path
