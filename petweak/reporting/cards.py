"""Cards: what a data set and a trained model are, for readers who did not make them.

    runs/<name>/data_card.md               the photos: what is there, what is not, whose they are
    runs/<name>/models/<model>/README.md   what it learnt from, how good it is, what it is not for

In the form of the Hugging Face Hub: YAML in front, by huggingface_hub. Numbers come from the run's
files. A card that says the same as the one on disk is not written.
"""

import math
from collections import Counter
from inspect import getdoc
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from huggingface_hub import CardData, DatasetCardData, ModelCardData
from PIL import Image
from safetensors import safe_open

from petweak.config import STRIDES
from petweak.data.download import OFFICIAL_PHOTOS
from petweak.data.files import read_json, write_text
from petweak.data.oxford_pets import BREED_NAMES, SPECIES, Pets
from petweak.evaluation.metrics import degenerate
from petweak.evaluation.scoring import MEANINGS
from petweak.models.maskformer import model_name
from petweak.pseudo_masks import source_class
from petweak.pseudo_masks.base import Source
from petweak.study.results import read_results
from petweak.study.run import Run

DATA_CARD, MODEL_CARD = "data_card.md", "README.md"
HUB_NAME = "timm/oxford-iiit-pet"  # the data set there
TAGS = ["petweak", "pets", "weak-supervision"]
WEAKEST = 3  # breeds that a model card names
RULES = dict(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)


def write_cards(run: Run) -> None:
    """Write the run's data card, and a card beside every model that has rows in results.csv."""
    results = read_results(run.folder)
    _write(run.folder / DATA_CARD, *data_card(run))
    for file in sorted(run.folder.glob("models/*/scores.csv")):
        config = read_json(file.with_name("config.json"))
        rows = _rows_of(results, file.parent.name, config)
        if len(rows):
            _write(file.with_name(MODEL_CARD), *model_card(file.parent, config, rows, results, run))


def _write(path: Path, about: CardData, template: str, values: dict[str, Any]) -> None:
    environment = jinja2.Environment(loader=jinja2.PackageLoader("petweak.reporting"), **RULES)
    text = environment.get_template(template).render(values)
    card = f"---\n{about.to_yaml()}\n---\n\n{text}\n"
    if not path.is_file() or path.read_text(encoding="utf-8") != card:
        write_text(path, card)


def _licence(pets: Pets) -> str:
    """An identifier of the Hub."""
    licence = "cc-by-sa-4.0" if set(pets.breeds) <= set(BREED_NAMES) else "unknown"
    return "mit" if pets.name == "rendered" else licence


def _markdown(frame: pd.DataFrame) -> str:
    return frame.fillna("").to_markdown(index=False, disable_numparse=True)


def _rows_of(results: pd.DataFrame, name: str, config: dict) -> pd.DataFrame:
    """The rows of results.csv of the model in the folder `name`: of a round where that says so."""
    model = model_name(tuple(config["model"]["levels"]))
    same = (results["source"] == config["source"]) & (results["labels"] == config["labels"])
    rows = results[same & results["model"].isin([model, np.nan])]
    of_round = config["variant"] and name.endswith(config["variant"])
    rows = rows[rows["round"] == config["round"] if of_round else rows["round"].isna()]
    return rows if rows["model"].notna().any() else rows[:0]


def model_card(
    folder: Path, config: dict, rows: pd.DataFrame, results: pd.DataFrame, run: Run
) -> tuple[CardData, str, dict[str, Any]]:
    """Front matter, template and values of a model's card; `rows` are its rows of `results`."""
    source, pets = source_class(config["source"]), run.pets
    with safe_open(folder / "model.safetensors", "pt") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    photos = pd.read_csv(folder / "scores.csv").query("split == 'test'")
    by_breed = photos.groupby("breed")["iou/foreground"].agg(["mean", "size"])
    texts = [f"{r.value:.3f} ({r.low:.3f} to {r.high:.3f})" for r in rows.itertuples()]
    table = rows.assign(text=texts).groupby(["metric", "border", "split"], sort=False)["text"]
    values = dict(name=folder.name, config=config, s=config["settings"], strides=STRIDES)
    values |= dict(pets=pets, source=source, parameters=sum(map(math.prod, shapes)))
    values |= dict(about=" ".join((getdoc(source) or "").split("\n\n")[0].split()))
    values |= dict(masks=read_json(run.masks_folder(config["source"]) / "manifest.json") or {})
    values |= dict(own_labels=source.image_labels is not Source.image_labels)
    values |= dict(scores=_markdown(table.first().unstack("split", sort=False).reset_index()))
    values |= dict(counts=rows.groupby("split", sort=False)["n_images"].max().to_dict())
    values |= dict(meanings={metric: MEANINGS[metric] for metric in rows["metric"].unique()})
    values |= dict(iou=_by_border(rows, "test", "mask_iou_gt"), degenerate=degenerate)
    all_ones = _by_border(results[results["source"] == "all_ones"], "test", "mask_iou_gt")
    values |= dict(all_ones=all_ones, masks_iou=_by_border(rows, "train", "pseudo_iou_gt"))
    values |= dict(weakest=by_breed.nsmallest(WEAKEST, "mean"))
    about = ModelCardData(license=_licence(pets), library_name="petweak", tags=TAGS)
    about.pipeline_tag, about.metrics = "image-segmentation", ["mean_iou", "accuracy"]
    about.datasets = None if pets.name == "rendered" else [HUB_NAME]
    return about, "model_card.md.j2", values


def _by_border(rows: pd.DataFrame, split: str, metric: str) -> dict[str, float]:
    part = rows[(rows["split"] == split) & (rows["metric"] == metric)]
    return part.set_index("border")["value"].to_dict()


def data_card(run: Run) -> tuple[CardData, str, dict[str, Any]]:
    """Front matter, template and values of the data card."""
    pets, root, kinds, sizes = run.pets, run.pets.root, Counter(), set()
    for s in pets.samples:
        with Image.open(s.photo) as image:  # reads the header only
            sizes.add(image.size)
            kinds[f"{image.format}, {image.mode}"] += 1
    listed = {s.photo.name for s in pets.samples} | {f"{q.id}.jpg" for q in pets.quarantine}
    names = {p.name for p in (root / "images").iterdir() if not p.name.startswith(".")}
    extra = sorted(names - listed)
    bad = [(Path(q.file).name, q.reason.replace(str(root), root.name)) for q in pets.quarantine]
    photos = _photos(pets, run.baseline_scores("all_ones").photos)
    values = dict(pets=pets, s=run.settings.data, held_out=len(run.val_ids))
    values |= dict(splits=_counts(photos, "split"), breeds=_counts(photos, "breed"))
    values |= dict(rendered=read_json(root / "annotations" / "rendered.json"))
    values |= dict(unknown=sorted(set(pets.breeds) - set(BREED_NAMES)), official=OFFICIAL_PHOTOS)
    values |= dict(quarantine=_markdown(pd.DataFrame(bad, columns=["file", "why"])))
    values |= dict(unlisted=[name for name in extra if name.endswith(".jpg")])
    values |= dict(other=[name for name in extra if not name.endswith(".jpg")])
    values |= dict(kinds=sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0])))
    values |= dict(sizes=sorted(sizes, key=math.prod))
    about = DatasetCardData(license=_licence(pets), pretty_name=pets.name, tags=TAGS)
    about.task_categories = ["image-segmentation", "image-classification"]
    return about, "data_card.md.j2", values


def _photos(pets: Pets, all_ones: pd.DataFrame) -> pd.DataFrame:
    """A row per photo: split, breed, species; shares of its area, where it has ground truth: what
    `all_ones` gets right is foreground, with its border or without it."""
    rows = [(s.id, s.split, s.breed_name, SPECIES[s.species]) for s in pets.samples]
    frame = pd.DataFrame(rows, columns=["id", "split", "breed", "species"]).set_index("id")
    scores = all_ones.set_index("id")
    inside = scores["intersection/foreground"] / scores["union/foreground"]
    frame["foreground"] = scores["intersection/background"] / scores["union/foreground"]
    frame["border"], frame["background"] = inside - frame["foreground"], 1 - inside
    return frame


def _counts(photos: pd.DataFrame, by: str) -> str:
    """Counts and mean shares by `split` or `breed`, as Markdown."""
    groups = photos.groupby(by, sort=False)
    shares = groups[["foreground", "border", "background"]].mean().mul(100).map("{:.1f} %".format)
    if by == "split":
        counts = groups["breed"].nunique().rename("breeds").to_frame()
        counts = pd.crosstab(photos["split"], photos["species"]).join(counts)
    else:
        counts = groups[["species"]].first().join(pd.crosstab(photos["breed"], photos["split"]))
    counted = groups.size().rename("photos").to_frame().join(counts).join(shares)
    return _markdown(counted.reset_index())
