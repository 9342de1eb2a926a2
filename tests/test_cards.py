"""Cards say what the files say: numbers, what was learnt from, what was left out."""

from __future__ import annotations

import re
import shlex
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import small
from PIL import Image

from petweak.cards import write_data_card, write_model_card
from petweak.cli import main
from petweak.data.pets import check, fingerprint, read_pets
from petweak.evaluate import score_baseline
from petweak.files import read_json, write_json
from petweak.pseudo_masks.store import read_mask
from petweak.results import collect_results
from petweak.study import Run

CHOSEN = {"seed": 0, "val_fraction": 0.1, "leave_out": ""}


@pytest.fixture(scope="module")
def run(rendered, tmp_path_factory) -> Run:
    run = Run(tmp_path_factory.mktemp("cards") / "run", rendered, small())
    run.student_scores("ground_truth", "species")
    run.student_scores("mask_rcnn", "breed")
    collect_results(run)
    return run


def card_of(run: Run, student: str) -> str:
    return (run.folder / "models" / student / "README.md").read_text()


def cells(card: str, first: str) -> list[list[str]]:
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in card.splitlines()]
    return [r for r in rows if r[0] == first]


@pytest.mark.parametrize("student", ["ground_truth-species", "mask_rcnn-breed"])
def test_its_figures_are_those_of_the_scores(run, student):
    card, folder = card_of(run, student), run.folder / "models" / student
    for row in read_json(folder / "scores.json")["rows"]:
        border = row["border"].strip("-")
        (line,) = [c for c in cells(card, row["metric"]) if c[1] == border]
        figure = f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
        assert line[2 if row["split"] == "train" else 3] == figure
    test = pd.read_csv(folder / "scores.csv").query("split == 'test'")
    worst = test.loc[test["iou/pet"].idxmin()]  # one photo of each breed
    name = worst["id"].rsplit("_", 1)[0]
    assert f"border as pet: {name} {worst['iou/pet']:.3f} (1 photo)" in card


def test_it_says_what_the_student_learnt_from(run):
    true, pseudo = card_of(run, "ground_truth-species"), card_of(run, "mask_rcnn-breed")
    for card in (true, pseudo):
        assert "37 of the 74 of train; the others were held out as val" in card
        assert "2 epochs" in card and "seed 0" in card and "`efficientnet_lite0`" in card
        assert "`last` (stride 32)" in card and "64 x 64 px" in card
        assert "rendered pets, drawn by petweak" in card and "say\n  nothing of photos" in card
        assert "undefined" not in card.lower() and "None" not in card
        assert "which agreed best with the masks of val" in card
    assert "true ones, of the data set" in true and "in training: `pet`" in true
    assert "species, 2 classes" in true and ": cat, dog." in true
    assert "inherits its teacher" not in true
    assert "pseudo-masks, no true one" in pseudo and "Detector: compact" in pseudo
    assert "reads no trimap" in pseudo and "breed, 37 classes" in pseudo and "Sphynx" in pseudo
    rows = {r["border"]: r for r in run.mask_scores("mask_rcnn").rows if r["split"] == "train"}
    assert f"on train of {rows['pet']['value']:.3f} (pet)" in pseudo


def test_its_commands_work(run, rendered, tmp_path):
    folder = run.folder / "models" / "ground_truth-species"
    photo = sorted((rendered / "oxford-iiit-pet" / "images").glob("*.jpg"))[0]
    card = (folder / "README.md").read_text()
    card = card.replace("THIS_FOLDER", str(folder)).replace("PHOTO.jpg", str(photo))
    (command,) = re.findall(r"^petweak (predict .*)$", card, re.M)
    assert main(shlex.split(command.replace("--out masks", f"--out {tmp_path}"))) == 0
    mask = read_mask(tmp_path / f"{photo.stem}.png")
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    names: dict = {}
    exec(code, names)
    assert np.array_equal(names["mask"], mask == 255)


def test_a_card_is_renewed_when_it_has_to_be_and_not_otherwise(run, rendered, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    card = folder / "models" / "ground_truth-species" / "README.md"
    files, text = (card, folder / "data_card.md"), card.read_text()

    def scored(**overrides) -> Run:
        again = Run(folder, rendered, small(**overrides))
        again.student_scores("ground_truth", "species")
        collect_results(again)
        return again

    before = [f.stat().st_mtime_ns for f in files]
    scored()
    assert [f.stat().st_mtime_ns for f in files] == before
    contents = [f.read_bytes() for f in files]
    for f in files:
        f.unlink()
    scored()
    assert [f.read_bytes() for f in files] == contents
    scored(bootstrap=30)  # other intervals
    assert card.read_text() != text
    Run(folder, rendered, small(epochs=1)).student("ground_truth", "species")
    assert not card.exists()  # of a student that is no more
    scored(epochs=1)
    assert "1 epochs, epoch 1" in card.read_text()


# --- cards of students made by hand


def by_hand(run: Run, folder, iou: float, config: dict, masks: dict) -> str:
    """The card of a student whose IoU is `iou` everywhere."""
    shutil.copytree(run.folder / "models" / "ground_truth-species", folder)
    made = read_json(folder / "config.json")
    made["settings"] |= config.pop("settings", {})
    write_json(folder / "config.json", made | config)
    scores = run.student_scores("ground_truth", "species")
    rows = [r | {"value": iou} for r in scores.rows]
    floor, own = run.baseline_scores("all_ones"), run.mask_scores("mask_rcnn")
    return write_model_card(
        folder, run.pets, masks, rows, scores.photos, floor.rows, own.rows
    ).read_text()


def test_a_self_trained_student(run, tmp_path):
    settings = {"round_refine": ["walk"], "unsure": [0.2, 0.8], "leave_out": "beagle"}
    card = by_hand(
        run, tmp_path / "s", 0.9,
        {"source": "labels_free", "variant": "round2", "photos": 60, "settings": settings},
        {"threshold": 0.25, "refine": ["vote"], "vote": ["colour", "dense"]},
    )  # fmt: skip
    assert "student of round 2, counted from 0: its masks are the answers" in card
    assert "channels left out" not in card
    assert "refined by walk" in card and "60 of the 74 of train; the masks of the others" in card
    assert "the data set's labels were not read" in card and "Threshold: 0.25." in card
    assert "Refined by vote of the chains colour, dense." in card
    assert "between the probabilities 0.2 and 0.8 were left out" in card
    assert "never seen beagle" in card and "degenerate" not in card
    assert "which agreed best" not in card
    plus = read_json(run.student_folder("ground_truth", "species") / "config.json")["model"]
    about = {"source": "labels_free", "variant": "round0", "model": plus | {"dropout": 0.125}}
    first = by_hand(run, tmp_path / "t", 0.9, about, {})
    assert "12.5 % of the frozen channels left out" in first
    assert "student of round 0, counted from 0.\n" in first


def test_a_student_without_val_keeps_its_last_epoch(run, rendered, tmp_path):
    other = Run(tmp_path / "run", rendered, small(val_fraction=0.0, sources="ground_truth"))
    shutil.copytree(run.features_folder, other.features_folder)
    other.student_scores("ground_truth", "species")
    card = card_of(other, "ground_truth-species")
    assert "74 of the 74 of train.\n" in card and "epoch 2 kept, the last one;" in card
    collect_results(other)
    assert "No photo of train is held out" in (other.folder / "data_card.md").read_text()


def test_a_student_worse_than_calling_everything_pet(run, tmp_path):
    card = by_hand(run, tmp_path / "s", 0.01, {}, {})
    assert "its result is degenerate**, with the border as pet, ignore, background" in card


# --- the data card


@pytest.fixture
def tiny(tmp_path):
    """Six photos of two breeds: pet 160 of 1200 pixels, border 120; one file breaks off."""
    root = tmp_path / "data" / "oxford-iiit-pet"
    for folder in ("images", "annotations/trimaps"):
        (root / folder).mkdir(parents=True)
    trimap = np.full((30, 40), 2, np.uint8)
    trimap[8:22, 10:30], trimap[10:20, 12:28] = 3, 1
    lists: dict[str, list[str]] = {"trainval": [], "test": []}
    for k, breed in enumerate(("Abyssinian", "beagle"), 1):
        for n in (1, 2, 3):
            name = f"{breed}_{n}"
            lists["test" if n == 3 else "trainval"].append(f"{name} {k} {k} 1")
            Image.new("RGB", (40, 30), "grey").save(root / "images" / f"{name}.jpg")
            Image.fromarray(trimap).save(root / "annotations" / "trimaps" / f"{name}.png")
    for file, lines in lists.items():
        (root / "annotations" / f"{file}.txt").write_text("\n".join(lines))
    Image.new("RGB", (9, 9)).save(root / "images" / "beagle_77.jpg")  # in no list
    (root / "images" / "beagle_1.mat").write_bytes(b"")
    Image.new("L", (50, 40)).save(root / "images" / "beagle_3.jpg", "PNG")
    Image.fromarray(np.ones((40, 50), np.uint8)).save(
        root / "annotations" / "trimaps" / "beagle_3.png"
    )
    (root / "annotations" / "trimaps" / "beagle_2.png").unlink()
    return root.parent


def data_card(root, out, **changes) -> str:
    pets = check(read_pets(root))
    table = score_baseline(pets.samples, "all_ones")
    content = fingerprint(pets)
    path = write_data_card(out, pets, content, table, CHOSEN | changes, held_out=1)
    return path.read_text()


def test_a_data_card_counts_what_is_there(tiny, tmp_path):
    card = data_card(tiny, tmp_path / "run")
    assert "5 photos of cats and dogs" in card and "7,349 photos of 37 breeds" in card
    assert cells(card, "train")[0] == ["train", "3", "2", "1", "2"]
    assert cells(card, "test")[0] == ["test", "2", "1", "1", "2"]
    assert cells(card, "train")[1] == ["train", "13.3 %", "10.0 %", "76.7 %"]
    # of the two photos of beagle, one is nothing but pet
    assert cells(card, "beagle") == [["beagle", "dog", "1", "1", "56.7 %", "5.0 %"]]
    assert cells(card, "beagle_2.png") == [["beagle_2.png", "the trimap is missing"]]
    assert "from 40 x 30 to 50 x 40 px" in card and "JPEG, RGB: 4; PNG, L: 1" in card
    assert "in no list, which are left alone (1): beagle_77.jpg" in card
    assert "between the photos (1): beagle_1.mat" in card
    assert "CC BY-SA 4.0" in card and "Parkhi" in card and "drawn" not in card
    assert str(tmp_path) not in card


def test_a_set_of_ones_own_gets_no_licence_of_others(tiny, tmp_path):
    for path in tiny.rglob("*beagle*"):
        path.rename(path.with_name(path.name.replace("beagle", "lynx")))
    for file in (tiny / "oxford-iiit-pet" / "annotations").glob("*.txt"):
        file.write_text(file.read_text().replace("beagle", "lynx"))
    card = data_card(tiny, tmp_path / "run")
    assert "not among those of Oxford-IIIT Pet: lynx" in card
    assert "CC BY-SA" not in card and "7,349" not in card


def test_a_data_card_follows_the_photos_and_the_settings(tiny, tmp_path):
    first = data_card(tiny, tmp_path / "run")
    assert "By the setting `leave_out`" not in first
    assert "all photos of beagle" in data_card(tiny, tmp_path / "run", leave_out="beagle")
    photo = tiny / "oxford-iiit-pet" / "images" / "Abyssinian_1.jpg"
    photo.write_bytes(photo.read_bytes()[:200])
    assert "| Abyssinian_1.jpg | " in data_card(tiny, tmp_path / "run")


def test_the_rendered_set_says_what_it_is(run):
    card = (run.folder / "data_card.md").read_text()
    assert "111 pictures of cats and dogs that petweak has drawn" in card
    assert "what they are not" in card and "no sample of any cats and dogs" in card
    assert "2 pictures of each in train and 1 in test" in card
    assert cells(card, "train")[0] == ["train", "74", "24", "50", "37"]
    assert "CC BY-SA" not in card and str(run.folder) not in card


def test_the_card_of_the_real_photos(real_photos, tmp_path):
    pets = read_pets(real_photos)
    area = {"union/pet": 4, "intersection/pet": 2, "intersection/background": 1}
    table = pd.DataFrame([{"id": s.id, "split": s.split, **area} for s in pets.samples])
    card = write_data_card(tmp_path, pets, {}, table, CHOSEN, 30).read_text()
    assert "(2): Abyssinian_34.jpg, Abyssinian_82.jpg" in card and "(3): Abyssinian_100.mat" in card
    assert cells(card, "Bengal")[0][4:] == ["25.0 %", "25.0 %"]
