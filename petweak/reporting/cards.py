"""Cards: what a data set and a trained model are, for readers who did not make them.

    runs/<name>/data_card.md               the photos: what is there, what is not, whose they are
    runs/<name>/models/<model>/README.md   what it learnt from, how good it is, what it is not for

In the form of the Hugging Face Hub: the YAML in front is huggingface_hub's; jinja2 renders the text
here, as `ModelCard.from_template` leaves a blank line for every statement of a template, and
`ModelCard(content)` only takes a text that is complete. Numbers come from the run's files. A card
that says the same as the one on disk is not written.
"""

import logging
import math
import os
import re
from collections import Counter
from inspect import getdoc
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from huggingface_hub import CardData, DatasetCardData, ModelCardData
from safetensors.torch import load_file

from petweak.config import STRIDES
from petweak.data.download import OFFICIAL_PHOTOS
from petweak.data.files import is_signed, read_frame, read_json, signed, write_text
from petweak.data.oxford_pets import BREED_NAMES, OFFICIAL, SPECIES, Pets
from petweak.data.pictures import SUFFIXES, header
from petweak.evaluation.metrics import NO_BORDER, degenerate
from petweak.evaluation.scoring import MEANINGS
from petweak.pseudo_masks import source_class
from petweak.pseudo_masks.base import Source
from petweak.study.results import read_results
from petweak.study.run import Run
from petweak.training.trainer import finished_models, is_single_round

log = logging.getLogger(__name__)
HUB_NAME = "timm/oxford-iiit-pet"  # the data set there
TAGS = ["petweak", "pets", "weak-supervision"]
TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("petweak.reporting"), trim_blocks=True, lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
    # a name may contain what a reader of Markdown would take for HTML
    finalize=lambda v: v.replace("<", "&lt;") if isinstance(v, str) else v)


def write_cards(run: Run) -> None:
    """Write the run's data card, and a card beside every model that has been scored. A card that a
    user has written or changed stays, with a warning."""
    results, cards = read_results(run.folder), {run.folder / "data_card.md": data_card(run)}
    for folder, config in finished_models(run.folder).items():
        if (folder / "scores.csv").is_file() and (own := read_json(folder / "scores.json")):
            masks = {"rows": []}  # a round's scores have those of its masks
            if not is_single_round(config):
                masks = read_json(run.masks_folder(config["source"]) / "scores.json") or masks
            rows = pd.DataFrame(own["rows"] + masks["rows"])
            cards[folder / "README.md"] = model_card(folder, config, rows, results, run)
    for path, card in cards.items():
        if os.path.lexists(path) and not is_signed(path):
            log.warning("%s was changed by hand and stays: delete it to have it made again", path)
        elif not path.is_file() or path.read_bytes() != card.encode():
            write_text(path, card)


def _card(template: str, front: CardData, **values: Any) -> str:
    text = TEMPLATES.get_template(template).render(values)
    return signed(f"---\n{front.to_yaml()}\n---\n\n{text}\n")


def _licence(pets: Pets) -> str:
    """An identifier of the Hub."""
    official = set(pets.breeds) <= set(BREED_NAMES)
    return "mit" if pets.name == "rendered" else "cc-by-sa-4.0" if official else "unknown"


def _markdown(frame: pd.DataFrame) -> str:
    cells = frame.fillna("").map(lambda v: re.sub(r"([|`])", r"\\\1", " ".join(str(v).split())))
    return cells.to_markdown(index=False, disable_numparse=True)


def model_card(folder: Path, config: dict, rows: pd.DataFrame, results: pd.DataFrame,
               run: Run) -> str:
    """The card of the model in `folder`, with `rows` of `results`."""
    source, pets = source_class(config["source"]), run.pets
    photos = read_frame(folder / "scores.csv").query("split == 'test'")
    by_breed = photos.groupby("breed")["iou/foreground"].agg(["mean", "count"])
    texts = [f"{r.value:.3f} ({r.low:.3f} to {r.high:.3f})" for r in rows.itertuples()]
    table = rows.assign(text=texts).groupby(["metric", "border", "split"], sort=False)["text"]
    scored = rows[rows["border"] != NO_BORDER].groupby("split")["n_images"].max()
    front = ModelCardData(license=_licence(pets), library_name="petweak", tags=TAGS,
                          pipeline_tag="image-segmentation", metrics=["mean_iou", "accuracy"],
                          datasets=[HUB_NAME] if pets.name == OFFICIAL else None)
    return _card(
        "model_card.md.j2", front, name=folder.name, config=config, s=config["settings"],
        strides=STRIDES, pets=pets, source=source, degenerate=degenerate,
        parameters=sum(t.numel() for t in load_file(folder / "model.safetensors").values()),
        about=" ".join((getdoc(source) or "").split("\n\n")[0].split()),
        masks=read_json(run.masks_folder(config["source"]) / "manifest.json") or {},
        own_labels=source.image_labels is not Source.image_labels,
        scores=_markdown(table.first().unstack("split", sort=False).reset_index()),
        counts=rows.groupby("split", sort=False)["n_images"].max().to_dict(),
        scored=scored.to_dict(),
        meanings={metric: MEANINGS[metric] for metric in rows["metric"].unique()},
        iou=_by_border(rows, "test", "mask_iou_gt"),
        masks_iou=_by_border(rows, "train", "pseudo_iou_gt"),
        all_ones=_by_border(results[results["source"] == "all_ones"], "test", "mask_iou_gt"),
        weakest=by_breed.nsmallest(3, "mean"))


def _by_border(rows: pd.DataFrame, split: str, metric: str) -> dict[str, float]:
    part = rows[(rows["split"] == split) & (rows["metric"] == metric)]
    return part.set_index("border")["value"].to_dict()


def data_card(run: Run) -> str:
    """The card of the photos."""
    pets, root, kinds, sizes = run.pets, run.pets.root, Counter(), set()
    folder = pets.samples[0].photo.parent
    for s in pets.samples:
        about = header(s.photo)
        sizes.add(about.size)
        kinds[about.kind] += 1
    listed = {s.photo.name for s in pets.samples}
    listed |= {q.id + end for q in pets.quarantine for end in SUFFIXES}
    extra = sorted({p.name for p in folder.glob("[!.]*")} - listed)
    bad = [(Path(q.file).name, q.reason.replace(str(root), root.name)) for q in pets.quarantine]
    doubts = [" ".join(doubt.replace(str(root), root.name).split()) for doubt in pets.doubts]
    photos = _photos(pets, run.baseline_scores("all_ones").photos)
    front = DatasetCardData(license=_licence(pets), pretty_name=pets.name, tags=TAGS,
                            task_categories=["image-segmentation", "image-classification"])
    return _card(
        "data_card.md.j2", front, pets=pets, s=run.settings.data, held_out=len(run.val_ids),
        with_trimap=int(photos["with trimap"].sum()),
        splits=_counts(photos, "split"), breeds=_counts(photos, "breed"), official=OFFICIAL_PHOTOS,
        rendered=read_json(root / "annotations" / "rendered.json"),
        unknown=sorted(set(pets.breeds) - set(BREED_NAMES)),
        doubts=[re.sub(r"([\\`*_\[\]|])", r"\\\1", doubt) for doubt in doubts],
        quarantine=_markdown(pd.DataFrame(bad, columns=["file", "why"])),
        unlisted=[name for name in extra if Path(name).suffix.lower() in SUFFIXES],
        other=[name for name in extra if Path(name).suffix.lower() not in SUFFIXES],
        kinds=kinds.most_common(), sizes=sorted(sizes, key=math.prod))


def _photos(pets: Pets, all_ones: pd.DataFrame) -> pd.DataFrame:
    """A row per photo: split, breed, species; shares of its area, where it has ground truth: what
    `all_ones` gets right is foreground, with its border or without it."""
    rows = [(s.id, s.split, s.breed_name, SPECIES[s.species]) for s in pets.samples]
    frame = pd.DataFrame(rows, columns=["id", "split", "breed", "species"]).set_index("id")
    scores = all_ones.set_index("id")
    frame["with trimap"] = [s.trimap is not None for s in pets.samples]
    inside = scores["intersection/foreground"] / scores["union/foreground"]
    frame["foreground"] = scores["intersection/background"] / scores["union/foreground"]
    frame["border"], frame["background"] = inside - frame["foreground"], 1 - inside
    return frame


def _counts(photos: pd.DataFrame, by: str) -> str:
    """Counts and mean shares by `split` or `breed`, as Markdown."""
    groups = photos.groupby(by, sort=False)
    shares = groups[["foreground", "border", "background"]].mean().mul(100)
    shares = shares.map("{:.1f} %".format, na_action="ignore")
    counted = groups.size().rename("photos").to_frame()
    if not photos["with trimap"].all():
        counted["with trimap"] = groups["with trimap"].sum()
    if by == "split":
        counted = counted.join(pd.crosstab(photos["split"], photos["species"]))
        counted["breeds"] = groups["breed"].nunique()
    else:
        counted["species"] = groups["species"].first()
        counted = counted.join(pd.crosstab(photos["breed"], photos["split"]))
    return _markdown(counted.join(shares).reset_index())
