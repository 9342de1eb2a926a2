"""Would another configuration segment an unseen breed better? Ground truth would tell which."""

import pandas as pd

from petweak.experiments import trials
from petweak.experiments.unseen_breeds import without_breed
from petweak.study.run import Run

# A model that depends on fewer channels, or on feature maps that are less specific to classes.
TRIED = (trials.DEFAULT, "channel_dropout=0.0", "channel_dropout=0.3", "channel_dropout=0.5",
         "levels=penultimate,stride16,stride8", "decoder_channels=16")


def unseen_breeds_tried(run: Run, breeds: tuple[str, ...] = (), source: str = "imagenet_only",
                        labels: str = "species", configurations: tuple[str, ...] = TRIED,
                        border: str = "ignore") -> pd.DataFrame:
    """Train the last model of self-training without a breed again, by every configuration from the
    same last masks, and from ground truth of the same photos. No setting may be chosen by this
    table: it looks at trimaps of the breed. Returns `breed`, `masks` (pseudo, true),
    `configuration`, `iou` (on the breed in test)."""
    there = {s.breed_name for s in trials.scored(run, "test")}
    run, rows = trials.for_border(run, source, run.settings.data.seed, border), []
    s = run.settings.self_training
    for breed in breeds or filter(there.__contains__, run.pets.breeds):
        without, test = without_breed(run, breed)
        last, classes = without.rounds(source, labels)[-1], without.start(source, labels).targets
        seed = run.settings.data.seed + 1000 * last.number
        flat = dict(levels=s.self_training_levels, epochs=s.last_epochs, seed=seed)
        folders = {"pseudo": last.masks, "true": trials.ground_truth(without, border)}
        for masks, folder in folders.items():
            ids = classes if masks == "pseudo" else {s.id for s in trials.scored(without, "train")}
            targets = trials.targets(without, folder, sorted(ids), labels, classes)
            for c in configurations if masks == "pseudo" else (trials.DEFAULT,):
                model = trials.train(without, f"{masks} {c}", targets, labels,
                                     **flat | trials.changes(c))
                ious = trials.model_ious(without, model, sorted(test), border)
                rows.append((breed, masks, c, ious.mean()))
    return pd.DataFrame(rows, columns=["breed", "masks", "configuration", "iou"])


def by_configuration(table: pd.DataFrame) -> pd.DataFrame:
    """A row per masks and configuration, a column per breed, and their `mean`."""
    wide = table.pivot_table("iou", ["masks", "configuration"], "breed", sort=False)
    return wide.assign(mean=wide.mean(axis=1))
