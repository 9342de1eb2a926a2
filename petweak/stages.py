"""The first stages of a run, each made when it is asked for and lacking: data, features, masks.

A stage is up to date when the key it was made with is the key it would be made with now. Keys hold
the content of files, the settings that matter to the stage, and the keys of the stages before.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from filelock import FileLock

from petweak import selftrain, weights
from petweak.backbones import BACKBONES, Backbone, load_backbone
from petweak.config import Settings
from petweak.data import pets as data
from petweak.features import (
    Features,
    extract_features,
    link_features,
    open_features,
    scaled_size,
)
from petweak.files import read_json, write_csv, write_json
from petweak.pseudo_masks import source_named
from petweak.pseudo_masks.base import Context, Source
from petweak.pseudo_masks.refiners import CHAINS, check_chain, settings_of, versions_of
from petweak.pseudo_masks.signals import check_signal
from petweak.pseudo_masks.store import make_masks, manifest
from petweak.runs import (
    pick,
    pick_device,
    restore_timing,
    stage_key,
    write_run_json,
    write_timing,
)

log = logging.getLogger(__name__)

# Which settings the pass depends on. A source names its own.
FEATURES = ("backbone", "image_size", "scales", "store", "engine", "pass_batch")
# In a run's folder, optional: the features/ folders of other runs that may hold the same pass.
FEATURES_FROM = "features_from.json"


def check_source(name: str, settings: Settings) -> type[Source]:
    """The source `name`; ValueError where it, or its refiners, cannot work with `settings`."""
    source = source_named(name)
    source.check(settings)
    chain = source.refine(settings)
    if chain == ("auto",):
        check_signal(settings)
        chain = tuple(CHAINS)
    check_chain(tuple(chain), source, settings)
    return source


def _weights(backbone: str) -> dict[str, str]:
    """What keys hold of a backbone's weights: nothing, where they are the ones everybody has."""
    changed = weights.changed(backbone)
    return {"weights": changed} if changed else {}


class Stages:
    """A folder, a data set, settings: data, features, masks. `petweak.study.Run` has the rest."""

    def __init__(self, folder: str | Path, data_root: str | Path, settings: Settings) -> None:
        # Unknown names are refused before anything runs.
        for source in settings.sources:
            if check_source(source, settings).self_trained:
                selftrain.check(settings)
        if settings.backbone not in BACKBONES:
            known = ", ".join(BACKBONES)
            raise ValueError(f"unknown backbone {settings.backbone!r}: known are {known}")
        self.folder, self.data_root, self.settings = Path(folder), Path(data_root), settings
        self.features_folder = self.folder / "features"
        self.device = pick_device(settings.device)
        self._lock = FileLock(self.folder / ".lock")
        self._more: dict[str, Features] = {}
        self.only: frozenset[str] | None = None  # the photos of a variant that does not need all

    def variant(self, name: str, only: frozenset[str] | None = None, **changes):
        """The same study with other settings, in `variants/<name>/` of this run's folder, on all
        photos or `only` on some; the features, which no such setting may change, stay where they
        are."""
        folder = self.folder / "variants" / name
        other = type(self)(folder, self.data_root, replace(self.settings, **changes))
        other.features_folder = self.features_folder
        if only is not None:
            other.only = only
            other.features_key, other.features = self.features_key, self.features
        return other

    # --- data

    @cached_property
    def pets(self) -> data.Pets:
        """The usable photos. Files are opened once per content; bad ones go to quarantine.csv."""
        pets = data.read_pets(self.data_root)
        content = data.fingerprint(pets)
        known = read_json(self.folder / "data.json")
        if known is not None and known["content"] == content:
            bad = tuple(data.Quarantined(**q) for q in known["quarantine"])
            pets = pets.with_quarantine(bad)
        else:
            pets = data.check(pets)
        bad = [vars(q) for q in pets.quarantine]
        write_json(self.folder / "data.json", {"content": content, "quarantine": bad})
        write_csv(self.folder / "quarantine.csv", ("id", "file", "reason"), bad)
        if not (self.folder / "run.json").is_file():  # results.csv renews it
            write_run_json(self.folder, self.settings, self.data_root, pets.name, len(pets))
        for q in pets.quarantine:
            log.warning("left out: %s: %s", q.file, q.reason)
        pets = pets.leaving_out(self.settings.leave_out) if self.settings.leave_out else pets
        return pets if self.only is None else pets.only(self.only)

    @cached_property
    def content(self) -> dict[str, str]:
        """Hashes of the usable photos, labels and trimaps."""
        return data.fingerprint(self.pets)

    @cached_property
    def val_ids(self) -> frozenset[str]:
        return data.val_ids(self.pets, self.settings.val_fraction, self.settings.seed)

    # --- features

    @cached_property
    def backbone(self) -> Backbone:
        return load_backbone(self.settings.backbone).to(self.device)

    @cached_property
    def features_key(self) -> str:
        ids = [s.id for s in self.pets.samples]
        return stage_key(stage="features", version=1, ids=ids, photos=self.content["photos"],
                         **pick(self.settings, FEATURES),
                         **_weights(self.settings.backbone))  # fmt: skip

    @cached_property
    def features(self) -> Features:
        """The frozen backbone's maps of every photo."""
        return self._pass(self.settings, lambda: self.backbone, self.features_folder,
                          self.features_key, "-")  # fmt: skip

    def more_features(self, scale: float = 1.0, backbone: str = "") -> Features:
        """The last map alone, at another picture size or of another backbone: a pass of its own,
        made when a refiner asks for it."""
        name = f"{backbone or self.settings.backbone}@{scale}"
        if name not in self._more:
            s = replace(self.settings, store=("last",), taps=("last",), scales=(1.0,),
                        image_size=scaled_size(self.settings.image_size, scale),
                        backbone=backbone or self.settings.backbone)  # fmt: skip
            own = pick(s, FEATURES)
            key = stage_key(stage="more", features=self.features_key, **own, **_weights(backbone))
            self.features  # noqa: B018 - first, because it replaces the folder as a whole
            self._more[name] = self._pass(
                s, lambda: load_backbone(s.backbone).to(self.device) if backbone else self.backbone,
                self.features_folder / name, key, name,
            )  # fmt: skip
        return self._more[name]

    def _pass(self, settings: Settings, backbone, folder: Path, key: str, name: str) -> Features:
        with self._lock:
            found = open_features(folder, key) or self._linked(folder, key)
            if found is None:
                found = extract_features(
                    self.pets.samples, backbone(), settings, folder, key, self.device
                )
                write_timing(self.folder, "features", found.passes, found.seconds, name)
            restore_timing(self.folder, "features", found.passes, found.seconds, name)
        return found

    def _linked(self, folder: Path, key: str) -> Features | None:
        """The same pass of another run, if one of those that `FEATURES_FROM` lists has it."""
        others = read_json(self.features_folder.with_name(FEATURES_FROM)) or []
        inside = folder.relative_to(self.features_folder)
        found = (link_features(Path(other) / inside, folder, key) for other in others)
        return next((f for f in found if f is not None), None)

    # --- pseudo-masks

    @cached_property
    def context(self) -> Context:
        """What sources may know: no trimap is in it."""
        samples = self.pets.samples
        return Context(
            settings=self.settings,
            open_features=lambda: self.features,
            open_backbone=lambda: self.backbone,
            photo_paths={s.id: s.photo for s in samples},
            train_labels={
                s.id: {"breed": s.breed, "species": s.species} for s in self.pets.split("train")
            },
            num_classes={labels: len(self.pets.classes(labels)) for labels in data.LABELS},
            val_ids=self.val_ids,
            device=self.device,
            more_features=self.more_features,
        )

    def source(self, name: str) -> Source:
        """The source `name`, not yet fitted. Only one that reads trimaps is told where they lie."""
        source = source_named(name)(self.context)
        if source.reads_trimaps:
            paths = {s.id: s.trimap for s in self.pets.samples}
            source.trimap_path = paths.__getitem__
        return source

    def masks_folder(self, source: str) -> Path:
        return self.folder / "masks" / source

    def masks_key(self, name: str) -> str:
        source, s = source_named(name), self.settings
        parts = {"photos": self.content["photos"], "labels": self.content["labels"]}
        if source.features:
            parts |= {"features": self.features_key, **pick(s, ("seed", "val_fraction"))}
        if source.reads_trimaps:
            parts["trimaps"] = self.content["trimaps"]
        else:
            parts |= pick(s, ("unsure",))
        if chain := source.refine(s):
            auto = chain == ("auto",)
            own = settings_of(tuple(CHAINS) if auto else chain)
            own += ("choose_by", "panel") if auto else ()
            versions = versions_of(tuple(CHAINS) if auto else chain)
            parts |= {"refine": list(chain), "versions": versions, "features": self.features_key,
                      **pick(s, (*own, "seed", "val_fraction"))}  # fmt: skip
        ids = [s.id for s in self.pets.samples]
        return stage_key(
            stage="masks", store=2, source=name, version=source.version, ids=ids, **parts,
            settings=pick(s, source.settings), own=self.source(name).depends_on(),
        )  # fmt: skip

    def masks(self, name: str) -> dict:
        """The manifest of the source's masks, which are made if they are lacking."""
        folder, key = self.masks_folder(name), self.masks_key(name)
        with self._lock:
            found = manifest(folder, key)
            if found is None:
                source = source_named(name)
                chain = source.refine(self.settings)
                # Passes are made now, so that they have seconds of their own.
                if source.features or chain:
                    self.features  # noqa: B018
                names = tuple(CHAINS) if chain == ("auto",) else chain
                if source.features and "refine_scales" in settings_of(names):
                    for scale in self.settings.refine_scales:
                        self.context.more_features(scale)
                ids = [s.id for s in self.pets.samples]
                found = make_masks(self.source(name), name, ids, self.context, folder, key)
                write_timing(self.folder, "masks", len(ids), found["seconds"], name)
            restore_timing(self.folder, "masks", len(found["ids"]), found["seconds"], name)
        return found
