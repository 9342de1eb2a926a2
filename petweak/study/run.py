"""One run: a folder, a data set, settings. A stage is made when it is asked for and missing.

    run = open_run("photos", data_root="data")
    run.masks("gradcam_pretrained")              # makes the features, too, if they are missing
    run.model("gradcam_pretrained", "breed")     # trains
    petweak.study.results.run_study(run)         # everything, and results.csv

The methods of `Run` read as the study does.
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from petweak.config import DATA_ROOTS, Settings, settings
from petweak.data import feature_cache, files, oxford_pets
from petweak.data.feature_cache import Features, extract_features, mend_rows, open_features
from petweak.evaluation import scoring
from petweak.models.backbones import BACKBONES, Backbone, load_backbone
from petweak.models.maskformer import model_name
from petweak.models.onnx import Engine, make_engine
from petweak.pseudo_masks import refinement, selection, source_class
from petweak.pseudo_masks.base import Context, Source
from petweak.pseudo_masks.store import make_masks, open_manifest, prepare
from petweak.rendered import make_rendered
from petweak.study.about import about_run, pick_device
from petweak.study.cache import ensure, note_time, peak_rss_mb
from petweak.study.folder import FEATURES_FROM, MARK, check_folder
from petweak.study.keys import Keys
from petweak.training import self_training
from petweak.training.inference import Prediction, Predictor, load_model, predict_features
from petweak.training.self_training import Round, Start
from petweak.training.targets import load_targets
from petweak.training.trainer import CONFIG, is_trained, publish, train_model

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scores:
    photos: pd.DataFrame  # a row per photo
    rows: list[dict]  # the scores computed from them, as results.csv has them
    seconds: float  # that scoring took


class Run:
    """The stages of a study and their results, all in `folder`."""

    def __init__(self, folder: str | Path, data_root: str | Path, settings: Settings,
                 device: str = "") -> None:
        """`device`: the kind that an existing run was made on (cpu, cuda, mps), which its keys
        hold; that of this machine otherwise. ValueError for settings that cannot work."""
        for source in settings.sources:
            check_source(source, settings)
        if (name := settings.backbone.backbone) not in BACKBONES:
            raise ValueError(f"backbone={name}: there are {', '.join(BACKBONES)}")
        self.folder, self.data_root, self.settings = Path(folder), Path(data_root), settings
        self.device = pick_device(settings.system.device)
        self.made_on = device or self.device.type
        self.parent: Run | None = None
        self.only: frozenset[str] | None = None  # the photos of a variant that does not need all
        self._opened = cache(self._pass)

    def __getstate__(self) -> dict[str, Any]:
        """What another process makes this run of; maps and networks it opens itself."""
        kept = ("folder", "data_root", "settings", "made_on", "parent", "only")
        return {k: getattr(self, k) for k in kept} | {"device": torch.device(self.device.type)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _opened=cache(self._pass))

    def variant(self, name: str, only: frozenset[str] | None = None, **changes: Any) -> "Run":
        """The same study with other settings, on all photos or on some, in a folder of its own:
        `variants/<name>/`. It reads this run's features where its backbone settings are the same
        (this run makes them, of all its photos, where they are missing), and nothing else of it."""
        changed = self.settings.replace(**changes)
        other = Run(self.folder / "variants" / name, self.data_root, changed, self.made_on)
        other.parent, other.only = self, self.only if only is None else only
        return other

    def _ensure(self, stage: tuple, read: Callable, make: Callable, cost: Callable | None = None):
        """`cache.ensure` in this run's folder; nothing of another device's is made on this one."""

        def make_here() -> None:
            if self.device.type != self.made_on and stage[0] != "evaluate":
                raise ValueError(f"{self.folder} was made on {self.made_on}, and this is a "
                                 f"{self.device.type}: make what is missing in another --run")
            make()

        return ensure(self.folder, stage, read, make_here, cost)

    # --- data

    @cached_property
    def pets(self) -> oxford_pets.Pets:
        """The usable photos. Files are decoded once per content; bad ones are in quarantine.csv."""
        pets = self._checked(oxford_pets.read_pets(self.data_root))
        for q in pets.quarantine:
            log.warning("left out: %s: %s", q.file, q.reason)
        for doubt in pets.doubts:
            log.warning("doubt: %s", doubt)
        oxford_pets.require_splits(pets)
        if files.read_json(self.folder / "run.json") is None:
            self.write_about(pets)
        if breeds := self.settings.data.leave_out:
            pets = pets.leaving_out(*breeds.split(","))
        return pets if self.only is None else pets.only(self.only)

    def _checked(self, pets: oxford_pets.Pets) -> oxford_pets.Pets:
        content = oxford_pets.fingerprint(pets) | {"version": 2}  # of the check itself
        note = files.read_json(self.folder / "data.json") or {}
        table = self.folder / "quarantine.csv"
        if note.get("content") != content:
            checked = oxford_pets.check(pets)
            note = {"content": content, "doubts": list(checked.doubts),
                    "quarantine": [vars(q) for q in checked.quarantine]}
            files.make_run_folder(self.folder)
            (self.folder / MARK).touch()
        if "table" not in note or not files.is_as_written(table, note["table"]):
            frame = pd.DataFrame(note["quarantine"], columns=["id", "file", "reason"])
            files.write_frame(table, frame)
            files.write_json(self.folder / "data.json", note | {"table": files.file_hash(table)})
        bad = (oxford_pets.Quarantined(**q) for q in note["quarantine"])
        return replace(pets.with_quarantine(tuple(bad)), doubts=tuple(note["doubts"]))

    def write_about(self, pets: oxford_pets.Pets, table: str = "") -> None:
        """run.json: the settings, versions, and hardware of this run, where it was made; the hash
        of the `table` that results.csv is going to be, beside that of the one before it."""
        files.make_run_folder(self.folder)
        about = there = files.read_json(self.folder / "run.json") or {}
        if self.device.type == self.made_on or not there:
            about = about_run(self.settings, self.data_root, pets.name, len(pets), self.made_on)
        known = [t for t in there.get("table", []) if t != table] + [table] * bool(table)
        files.write_json(self.folder / "run.json", about | {"table": known[-2:]})

    @cached_property
    def ids(self) -> tuple[str, ...]:
        return tuple(s.id for s in self.pets.samples)

    @cached_property
    def val_ids(self) -> frozenset[str]:
        data = self.settings.data
        return oxford_pets.val_ids(self.pets, data.val_fraction, data.seed)

    @cached_property
    def content(self) -> dict[str, str]:
        """Hashes of the usable photos, labels and trimaps."""
        return oxford_pets.fingerprint(self.pets)

    @cached_property
    def keys(self) -> Keys:
        return Keys(self.settings, self.content, self.ids, self.made_on, self.features_key)

    # --- features

    @cached_property
    def backbone(self) -> Backbone:
        """The frozen backbone, on `device`."""
        return load_backbone(self.settings.backbone.backbone).to(self.device)

    @property
    def features_run(self) -> "Run":
        """The run whose feature cache this one reads: itself, or its parent."""
        shared = self.parent and self.parent.settings.backbone == self.settings.backbone
        return self.parent.features_run if shared else self

    @cached_property
    def features_key(self) -> str:
        run = self.features_run
        return Keys.of_features(run.settings, run.content, run.ids, run.made_on)

    @property
    def features(self) -> Features:
        """The frozen backbone's maps of every photo."""
        return self.more_features()

    def more_features(self, scale: float = 1.0, backbone: str = "") -> Features:
        """The final map at another picture size or of another backbone, by a pass of its own."""
        return self.features_run._opened(scale, backbone)

    def _pass(self, scale: float, backbone: str) -> Features:
        settings, s, name = self.settings, self.settings.backbone, ""
        if (scale, backbone) != (1.0, ""):
            self.features  # noqa: B018 - first, because its pass replaces the folder as a whole
            name = f"{backbone or s.backbone}@{scale}"
            settings = settings.replace(
                image_size=feature_cache.scaled_size(s.image_size, scale),
                backbone=backbone or s.backbone, stored_levels=("final",), levels=("final",))
        key = Keys.of_features(settings, self.content, self.ids, self.made_on)
        others = files.read_json(self.folder / FEATURES_FROM, list) or []
        places = [Path(folder) / name for folder in (self.folder / "features", *others)]
        engine = partial(self._engine, settings.backbone.backbone)

        def read() -> Features | None:
            return next(filter(None, (open_features(f, key) for f in places)), None)

        def make() -> None:
            extract_features(self.pets.samples, engine, settings, places[0], key, self.device)

        stage = ("features", name or "-", "-")
        features = self._ensure(stage, read, make, lambda f: (f.passes, f.seconds))
        if features.folder == places[0]:  # what another run has made is only read
            features.mend = partial(mend_rows, self.pets.samples, engine, settings, self.device)
        return features

    def _engine(self, backbone: str, photos: Tensor, chosen: str) -> tuple[str, Engine]:
        same = backbone == self.settings.backbone.backbone
        network = self.backbone if same else load_backbone(backbone).to(self.device)
        return make_engine(network, photos, chosen)

    # --- pseudo-masks

    @cached_property
    def context(self) -> Context:
        """What sources may learn from: it has no trimap."""
        train = self.pets.split("train")
        return Context(
            self.settings, lambda: self.features, lambda: self.backbone, self.more_features,
            photo_paths={s.id: s.photo for s in self.pets.samples},
            train_labels={s.id: {"breed": s.breed, "species": s.species} for s in train},
            num_classes={k: len(self.pets.classes(k)) for k in oxford_pets.LABELS},
            val_ids=self.val_ids, device=self.device)

    def source(self, name: str, **changes: Any) -> Source:
        """The source `name`, not yet fitted, with other settings if any. Only one that reads
        trimaps is told where they lie."""
        source = source_class(name)(self.context.replace(self.settings.replace(**changes)))
        if source.reads_trimaps:
            source.trimap_path = lambda image_id: self.pets.sample(image_id).trimap
        return source

    def fitted_source(self, name: str, **changes: Any) -> Source:
        """The source, fitted, with its refinement pipeline."""
        source = self.source(name, **changes)
        prepare(source)
        return source

    def masks_folder(self, source: str) -> Path:
        return self.folder / "masks" / source

    def masked(self, name: str) -> list[str]:
        """The photos that the source makes masks of: all, or, of ground truth, those that have a
        trimap. ValueError where that is none."""
        ids = [s.id for s in self.pets.samples if s.trimap or not source_class(name).reads_trimaps]
        if not ids:
            raise ValueError(f"{name}: no photo of {self.pets.root} has a trimap")
        return ids

    def check_masks(self, name: str) -> None:
        """Raise where the files that the source reads cannot work, unless it has read them."""
        if open_manifest(self.masks_folder(name), self.keys.masks(name)) is None:
            self.source(name).check_files()

    def masks(self, name: str) -> dict[str, Any]:
        """The manifest of the source's masks, which are made if they are missing."""
        folder, read = self.masks_folder(name), self.settings.external.folders().get(name)
        if read and files.project_path(read).resolve() == folder.resolve():
            raise ValueError(f"external_masks={read}: petweak writes the masks of {name} there, "
                             "over those it reads: give the folder that yours came from")
        key, source = self.keys.masks(name), source_class(name)
        steps = source.refinement(self.settings)

        def make() -> None:  # passes first, so that they have seconds of their own
            (made := self.source(name)).check_files()
            if source.features or steps:
                self.features  # noqa: B018
            if source.features and refinement.asks_for_scales(steps):
                for scale in self.settings.refinement.refinement_scales:
                    self.more_features(scale)
            make_masks(made, name, self.masked(name), folder, key)

        return self._ensure(("masks", name, "-"), lambda: open_manifest(folder, key), make,
                            lambda m: (len(m["ids"]), m["seconds"]))

    # --- models

    def model_folder(self, source: str, labels: str) -> Path:
        """`models/<source>-<labels>`, with `-ms` for MaskFormer-MS; what a self-trained source
        comes to has no further name."""
        ms = model_name(self.settings.model.levels) == "maskformer-ms"
        ms = ms and not source_class(source).self_trained
        return self.folder / "models" / (f"{source}-{labels}" + "-ms" * ms)

    def model(self, source: str, labels: str) -> Path:
        """The folder of the trained model, which is trained if it is missing."""
        self.check_labels(source, labels)
        self.masks(source)
        if source_class(source).self_trained:
            return self.self_trained(source, labels)
        folder, key = self.model_folder(source, labels), self.keys.model(source, labels)

        def make() -> None:
            train, val = (load_targets(
                self.masks_folder(source), [s.id for s in part], [s.label(labels) for s in part],
                self.settings.backbone.image_size // 2) for part in self.taught(source))
            if open_manifest(self.masks_folder(source), self.keys.masks(source)) is None:
                raise OSError(f"{self.masks_folder(source)}: another process makes these masks "
                              "with other settings: give one of the two a --run of its own")
            about = {"source": source, "labels": labels, "variant": "", "round": None}
            train_model(self.features, train, val, self.pets.classes(labels), self.settings, folder,
                        key, self.device, about)

        self._ensure(("train", source, labels), lambda: self._config(folder, key), make,
                     _cost_of_training)
        return folder

    def check_labels(self, source: str, labels: str) -> None:
        """ValueError where models of this source cannot learn these labels, or be trained."""
        if labels not in (possible := source_class(source).labels):
            raise ValueError(f"{source} has no {labels} labels: labels={', '.join(possible)}")
        if source_class(source).self_trained:
            self_training.check(self.settings)
        if source_class(source).reads_trimaps:
            self.taught(source)

    def taught(self, source: str) -> tuple[list[oxford_pets.Sample], list[oxford_pets.Sample]]:
        """The photos of train that a model of this source learns from, and those of val that choose
        its epoch. Of ground truth both are photos with a trimap; where only val has any, they are
        learnt from and nothing is held out. ValueError where train has none."""
        train = self.pets.split("train")
        if source_class(source).reads_trimaps and not (train := [s for s in train if s.trimap]):
            raise ValueError(f"{source}: no photo of train in {self.pets.root} has a trimap, so no "
                             "model can learn from it; other sources need none")
        val = [s for s in train if s.id in self.val_ids]
        rest = [s for s in train if s.id not in self.val_ids]
        return (rest, val) if rest else (val, [])

    def _config(self, folder: Path, key: str) -> dict[str, Any] | None:
        """Of the model in `folder`, if it is finished and was trained with `key`."""
        whole = is_trained(folder, key, self.settings.system.save_epochs)
        return files.read_json(folder / CONFIG) if whole else None

    def predictor(self, folder: Path) -> Predictor:
        """The model in `folder` (of `model`, or of a round), opened on `device`."""
        predictor = load_model(folder, self.device)
        predictor.mirror = self.settings.inference.predict_mirror  # training does not depend on it
        return predictor

    def predictions(self, predictor: Predictor, ids: Iterable[str]) -> dict[str, Prediction]:
        """{id: the prediction}, from the feature cache."""
        return dict(predict_features(predictor, self.features, list(ids)))

    # --- self-training

    def start(self, source: str, labels: str) -> Start:
        """What self-training begins with; the source's masks are made if they are missing."""
        self.masks(source)
        predicted = self.source(source).image_labels()
        targets = {s.id: predicted[s.id][labels] if predicted else s.label(labels)
                   for s in self.pets.split("train")}
        return Start(source, labels, self.masks_folder(source), self.pets.classes(labels), targets,
                     self.keys.start(source, labels))

    def rounds(self, source: str, labels: str) -> list[Round]:
        """The rounds of self-training, which are made if they are missing."""
        self.check_labels(source, labels)
        self_training.check(self.settings)
        epochs = self.settings.system.save_epochs

        def make() -> None:
            start = self.start(source, labels)
            rounds = self_training.self_train(start, self.context, self.folder)
            note_times(rounds, peak_rss_mb())
            notes = [vars(r) | {"masks": r.masks.name, "model": r.model.name} for r in rounds]
            key = self.keys.rounds(source, labels)
            files.write_json(self._rounds_file(source, labels), {"key": key, "rounds": notes})

        def note_times(rounds: list[Round], peak: float | None = None) -> None:
            for r in rounds:
                stage = ("train", source, f"{labels}-round{r.number}")
                cost = _cost_of_training(files.read_json(r.model / CONFIG))
                note_time(self.folder, stage, *cost, peak)

        rounds = self._ensure(("train", source, f"{labels} rounds"),
                              lambda: self.open_rounds(source, labels, epochs), make)
        note_times(rounds)
        return rounds

    def open_rounds(self, source: str, labels: str, epochs: bool = False) -> list[Round] | None:
        """The rounds (and their `epochs`), if all are there and up to date; nothing is made."""
        note = files.read_json(self._rounds_file(source, labels))
        if note is None or note.get("key") != self.keys.rounds(source, labels):
            return None
        rounds, start = [], self.keys.start(source, labels)
        for r in note["rounds"]:
            masks, model = self.folder / "masks" / r["masks"], self.folder / "models" / r["model"]
            key = f"{start}-{r['number'] - 1}" if r["number"] else self.keys.masks(source)
            config = files.read_json(model / CONFIG)
            if config is None or not is_trained(model, config.get("key", ""), epochs) or (
                    open_manifest(masks, key) is None):
                return None
            rounds.append(Round(**r | {"masks": masks, "model": model}))
        return rounds

    def _rounds_file(self, source: str, labels: str) -> Path:
        return self.folder / "models" / f"{source}-{labels}-rounds.json"

    def self_trained(self, source: str, labels: str) -> Path:
        """The folder of the last round's model: `models/<source>-<labels>` where the source is
        always self-trained, `models/<source>-<labels>-selftrained` elsewhere."""
        folder, key = self.model_folder(source, labels), self.keys.rounds(source, labels)
        if not source_class(source).self_trained:
            folder = self.folder / "models" / f"{source}-{labels}-selftrained"
        self._ensure(("train", source, f"{labels} result"), lambda: self._config(folder, key),
                     lambda: publish(self.rounds(source, labels)[-1].model, folder, key))
        return folder

    # --- scores

    def baseline_scores(self, name: str) -> Scores:
        """`all_ones` or `centre_box` against ground truth (`baselines/<name>/scores.csv`)."""

        def rows(table: pd.DataFrame, n: int) -> list[dict]:
            return scoring.ground_truth_rows(table, n) + scoring.mask_rows(table, n)

        score = partial(scoring.score_baseline, self.pets.samples, name)
        return self._scores(self.folder / "baselines" / name, name, name, "-", score, rows)

    def mask_scores(self, source: str) -> Scores:
        """The source's masks against ground truth (`masks/<source>/scores.csv`)."""
        self.masks(source)
        folder, key = self.masks_folder(source), self.keys.masks(source)
        score = partial(scoring.score_masks, self.pets.samples, folder)
        return self._scores(folder, key, source, "-", score, scoring.mask_rows)

    def model_scores(self, source: str, labels: str) -> Scores:
        """The model's predictions against ground truth and against its source's masks
        (`models/<source>-<labels>/scores.csv`)."""
        folder, key = self.model(source, labels), self.keys.model(source, labels)
        score = partial(self._predictions_scored, folder, source, labels)
        return self._scores(folder, key, source, labels, score, self._model_rows(labels))

    def self_trained_scores(self, source: str, labels: str) -> Scores:
        """The last round's model on every photo."""
        folder, key = self.self_trained(source, labels), self.keys.rounds(source, labels)
        last = self.rounds(source, labels)[-1]
        name = labels if source_class(source).self_trained else f"{labels}-selftrained"
        return self._scores(folder, key, source, name, lambda: self.round_scores(
            source, labels, last).photos, self._model_rows(labels))

    def round_scores(self, source: str, labels: str, r: Round) -> Scores:
        """A round's model on every photo, and the masks of train that it began with."""

        def rows(table: pd.DataFrame, n: int) -> list[dict]:
            masks = scoring.score_masks(self.pets.split("train"), r.masks)
            return self._model_rows(labels)(table, n) + scoring.mask_rows(masks, n)

        key, name = files.read_json(r.model / CONFIG)["key"], f"{labels}-round{r.number}"
        score = partial(self._predictions_scored, r.model, source, labels)
        return self._scores(r.model, key, source, name, score, rows)

    def _predictions_scored(self, folder: Path, source: str, labels: str) -> pd.DataFrame:
        predictions = predict_features(self.predictor(folder), self.features, list(self.ids))
        predictions = (p for _, p in predictions)
        pairs = zip(self.pets.samples, predictions, strict=True)
        return scoring.score_model(pairs, self.masks_folder(source), labels)

    def _model_rows(self, labels: str) -> Callable[[pd.DataFrame, int], list[dict]]:
        return partial(scoring.model_rows, num_classes=len(self.pets.classes(labels)))

    def _scores(self, folder: Path, of: str, source: str, labels: str,
                score: Callable[[], pd.DataFrame],
                rows: Callable[[pd.DataFrame, int], list[dict]]) -> Scores:
        """The scores in `folder` of the stage with the key `of`: a table of photos by `score`, and
        from it the `rows` of results.csv, with intervals of so many resamples."""
        key, note = self.keys.scores(of), folder / "scores.json"

        def make() -> None:
            start = time.perf_counter()
            note.unlink(missing_ok=True)
            table = score()
            value = {"key": key, "rows": rows(table, self.settings.evaluation.bootstrap)}
            files.write_frame(file := folder / "scores.csv", table)
            seconds = time.perf_counter() - start
            files.write_json(note, value | {"seconds": seconds, "table": files.file_hash(file)})

        return self._ensure(("evaluate", source, labels), lambda: open_scores(folder, key),
                            make, lambda scores: (len(scores.photos), scores.seconds))


def _cost_of_training(config: dict[str, Any]) -> tuple[int, float]:
    return config["n_images"] * config["epochs"], config["seconds"]


def open_scores(folder: Path, key: str) -> Scores | None:
    """The scores in `folder` if they were made with `key` and are as they were written."""
    note, table = files.read_json(folder / "scores.json"), folder / "scores.csv"
    if (note or {}).get("key") != key or not files.is_as_written(table, note.get("table", "")):
        return None
    return Scores(files.read_frame(table), note["rows"], note["seconds"])


def check_source(name: str, settings: Settings) -> None:
    """ValueError where the source `name`, or its refinement, cannot work with `settings`."""
    source = source_class(name)
    source.check(settings)
    steps = source.refinement(settings)
    if steps == ("auto",):
        selection.check_criteria(settings)
        steps = tuple(refinement.PIPELINES)
    refinement.check_pipeline(steps, source, settings)
    if source.self_trained:
        self_training.check(settings)


def open_run(profile: str = "embedded", run: str | Path = "", data_root: str | Path = "",
             **overrides: Any) -> Run:
    """A run by its name: what the notebooks and the commands begin with.

    run: its folder, `runs/<profile>` unless given; data_root: the folder that has
    oxford-iiit-pet/, the profile's own unless given, where the rendered set is drawn if it is
    missing. Relative paths count from the project. `overrides` are settings; bad ones raise
    ValueError.
    """
    chosen = settings(profile, **overrides)
    root = files.project_path(data_root or DATA_ROOTS[profile])
    opened = Run(files.project_path(run or f"runs/{profile}"), root, chosen)
    check_folder(opened.folder)
    if profile == "embedded" and not data_root and not _is_drawn(root):
        root.mkdir(parents=True, exist_ok=True)
        with files.locked(root / ".lock", "the rendered pets", root):
            if not _is_drawn(root):  # no other process has drawn them meanwhile
                make_rendered(root)
    return opened


def _is_drawn(root: Path) -> bool:
    """Whether a whole set of rendered pets, of whatever settings, is in `root`."""
    note = files.read_json(root / "oxford-iiit-pet" / "annotations" / "rendered.json")
    return bool(note and note["complete"])


def reopen(folder: str | Path) -> Run:
    """A run as it was made, with the settings, the data root and the device in its run.json, so
    that looking at it makes nothing again. FileNotFoundError where there is none."""
    folder = files.project_path(folder)
    if (about := files.read_json(folder / "run.json")) is None:
        raise FileNotFoundError(f"{folder / 'run.json'} is missing: `make demo` makes "
                                "runs/embedded, `petweak study --run R` any other")
    try:
        settings = Settings.from_dict(about["settings"])
        root, device = Path(about["data_root"]), str(about["device"])
    except (KeyError, TypeError, AttributeError, ValueError):
        raise ValueError(f"{folder / 'run.json'} is of an older version of petweak: delete "
                         f"{folder}, or choose another --run") from None
    try:
        return Run(folder, root, settings, device)
    except ValueError:  # made on a machine with another device
        return Run(folder, root, settings.replace(device="auto"), device)
