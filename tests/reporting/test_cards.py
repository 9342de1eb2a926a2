"""Cards say what the files say: scores, what was learnt from, what was left out."""

import json
import re
import shlex

import numpy as np
import pandas as pd
import pytest
import tiny_worlds as worlds
import yaml
from conftest import small
from handmade import BREEDS, SETTINGS, make_model, make_run
from PIL import Image

from petweak.__main__ import main
from petweak.data.files import is_signed, read_json, write_json
from petweak.data.masks import FOREGROUND, read_mask
from petweak.data.oxford_pets import read_pets
from petweak.reporting.cards import _counts, _photos, write_cards
from petweak.study import tables
from petweak.study.results import collect_results, run_study
from petweak.study.run import Run, reopen


@pytest.fixture(scope="module")
def run(rendered, tmp_path_factory) -> Run:
    run = Run(tmp_path_factory.mktemp("cards") / "run", rendered, small())
    run.mask_scores("ground_truth")
    run.model_scores("ground_truth", "species")
    collect_results(run)
    write_cards(run)
    return run


@pytest.fixture
def written(tmp_path) -> Run:
    """The run that is written by hand, with cards."""
    run = reopen(make_run(tmp_path))
    write_cards(run)
    return run


def front(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def cells(card: str, first: str) -> list[list[str]]:
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in card.splitlines()]
    return [r for r in rows if r[0] == first]


def card_of(run: Run, model: str = "gradcam_pretrained-breed") -> str:
    return (run.folder / "models" / model / "README.md").read_text()


def again(run: Run, model: str = "gradcam_pretrained-breed", **changes) -> str:
    make_model(run.folder / "models" / model, **dict(source="gradcam_pretrained") | changes)
    write_cards(run)
    return card_of(run, model)


def test_scores_are_those_of_results(run):
    card = card_of(run, "ground_truth-species")
    results = pd.read_csv(run.folder / "results.csv").query("labels == 'species'")
    for row in results.itertuples():
        (line,) = [c for c in cells(card, row.metric) if c[1] == row.border]
        score = f"{row.value:.3f} ({row.low:.3f} to {row.high:.3f})"
        assert line[2 if row.split == "train" else 3] == score
    photos = pd.read_csv(run.folder / "models" / "ground_truth-species" / "scores.csv")
    worst = photos[photos["split"] == "test"].nsmallest(1, "iou/foreground").iloc[0]
    assert f"foreground: {worst['breed']} {worst['iou/foreground']:.3f} (1 photo)" in card
    about = front(card)
    assert about["license"] == "mit" and about["pipeline_tag"] == "image-segmentation"
    assert "datasets" not in about and "petweak" in about["tags"]


def test_a_model_card_says_what_was_learnt_from(run, written):
    true, pseudo = card_of(run, "ground_truth-species"), card_of(written)
    assert "37 of the 74 of train; the others were held out as val" in true
    assert "`final` (stride 32)" in true and "64 x 64 px" in true and "seed 0" in true
    assert "which agreed best with the masks of val" in true
    assert "species, 2 classes" in true and ": cat, dog." in true
    assert "ground truth of the data set" in true and "in the targets: `foreground`" in true
    assert "rendered pets, drawn by petweak" in true and "inherits" not in true
    assert "pseudo-masks, no ground truth" in pseudo and "Threshold: 0.25." in pseudo
    assert "train of 0.100 (foreground), 0.350 (ignore), 0.300 (background)" in pseudo
    assert "its result is degenerate**, with the border as foreground." in pseudo
    assert front(pseudo)["datasets"] == ["timm/oxford-iiit-pet"]
    for card in (true, pseudo):
        assert "None" not in card and "undefined" not in card.lower()


def test_the_commands_of_a_model_card_work(run, rendered, tmp_path):
    folder = run.folder / "models" / "ground_truth-species"
    photo = sorted((rendered / "oxford-iiit-pet" / "images").glob("*.jpg"))[0]
    card = card_of(run, folder.name)
    card = card.replace("THIS_FOLDER", str(folder)).replace("PHOTO.jpg", str(photo))
    (command,) = re.findall(r"^petweak (predict .*)$", card, re.M)
    assert main(shlex.split(command.replace("--out masks", f"--out {tmp_path}"))) == 0
    mask = read_mask(tmp_path / f"{photo.stem}.png")
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    names: dict = {}
    exec(code, names)
    assert np.array_equal(names["mask"], mask == FOREGROUND)


def test_cards_are_written_only_where_their_text_changes(written):
    folder = written.folder
    files = [folder / "data_card.md", *folder.glob("models/*/README.md")]
    assert len(files) == 3
    before = [f.stat().st_mtime_ns for f in files]
    write_cards(written)
    assert [f.stat().st_mtime_ns for f in files] == before
    for scores in folder.glob("models/*/scores.json"):
        write_json(scores, json.loads(json.dumps(read_json(scores)).replace("0.95", "0.94")))
    write_cards(written)
    changed = [f.stat().st_mtime_ns != t for f, t in zip(files, before, strict=True)]
    assert changed == [False, True, True]


def test_a_self_trained_model_and_its_rounds(written):
    settings = SETTINGS.replace(ignore_band="0.2,0.8", leave_out="beagle", round_refinement="walk")
    manifest = {"key": "k", "refinement": ["vote"], "vote": ["colour", "dense"]}
    write_json(written.folder / "masks" / "gradcam_pretrained" / "manifest.json", manifest)
    wide = dict(variant="round2-wide", round=2, published=True, val_mask_iou=None,
                settings=settings.to_dict())
    last = again(written, **wide)
    assert "model of round 2, counted from 0: its masks are the predictions" in last
    assert "refined by walk, and wider than that: what the model before it gives more" in last
    assert "the masks of the others were less certain" in last and "kept, the last one;" in last
    assert "Refinement: vote of the pipelines colour, dense." in last
    assert "between the probabilities 0.2 and 0.8" in last and "never seen beagle" in last
    model = written.folder / "models" / "gradcam_pretrained-breed-round0"
    model.mkdir()
    (model / "scores.csv").write_bytes(
        (model.parent / "ground_truth-breed/scores.csv").read_bytes()
    )
    make_model(model, "gradcam_pretrained", variant="round0", round=0)
    write_cards(written)
    assert not (model / "README.md").exists()  # it has not been scored
    rows = [row | {"value": 0.875} for folder in ("models/gradcam_pretrained-breed",
            "masks/gradcam_pretrained")
            for row in read_json(written.folder / folder / "scores.json")["rows"]]
    write_json(model / "scores.json", {"key": "k", "rows": rows, "seconds": 1.0})
    write_cards(written)
    first = (model / "README.md").read_text()
    assert "model of round 0, counted from 0.\n" in first and "0.875" in first
    assert "0.875" not in card_of(written)


def test_several_levels_are_maskformer_ms(written):
    config = read_json(written.folder / "models" / "gradcam_pretrained-breed" / "config.json")
    levels = config["model"] | {"levels": ["final", "stride16"]}
    card = card_of(written)
    assert again(written, model="gradcam_pretrained-breed") == card
    config["model"] = levels
    write_json(written.folder / "models" / "gradcam_pretrained-breed" / "config.json", config)
    write_cards(written)
    assert "simplified MaskFormer-MS" in card_of(written)
    assert "`final` (stride 32), `stride16` (stride 16)" in card_of(written)


def test_a_card_that_a_user_has_changed_stays(written, caplog):
    path = written.folder / "models" / "gradcam_pretrained-breed" / "README.md"
    first = path.read_text(encoding="utf-8")
    for mine in (first.replace("# gradcam", "# My gradcam"), "# My own card\n", "\n"):
        path.write_text(mine, encoding="utf-8")
        config = read_json(path.with_name("config.json"))
        write_json(path.with_name("config.json"), config | {"n_images": config["n_images"] + 1})
        caplog.clear()
        write_cards(written)
        assert path.read_text(encoding="utf-8") == mine and f"{path} was changed by" in caplog.text
    path.unlink()
    write_cards(written)
    assert is_signed(path) and path.read_text(encoding="utf-8") != first


# --- the data card


def test_a_data_card_counts_what_is_there(written, tmp_path):
    card = (written.folder / "data_card.md").read_text()
    assert "Doubt" not in card
    assert "6 photos of cats and dogs" in card and "7,349 photos of 37 breeds" in card
    shares = ["13.3 %", "10.0 %", "76.7 %"]  # 160, 120 and 920 of 1200 pixels
    assert cells(card, "train") == [["train", "2", "1", "1", "2", *shares]]
    assert cells(card, "beagle") == [["beagle", "3", "dog", "2", "1", *shares]]
    assert "from 40 x 30 to 40 x 30 px" in card and "JPEG, RGB: 6" in card
    assert "CC BY-SA 4.0" in card and "Parkhi" in card and "drawn" not in card
    assert front(card)["license"] == "cc-by-sa-4.0" and str(tmp_path) not in card


def test_a_data_card_names_what_was_left_out(tmp_path):
    folder, photos = make_run(tmp_path), tmp_path / "oxford-iiit-pet" / "images"
    Image.new("RGB", (9, 9)).save(photos / "beagle_77.jpg")  # in no list
    (photos / "beagle_1.mat").write_bytes(b"")
    (photos / "Abyssinian_2.jpg").write_bytes((photos / "Abyssinian_2.jpg").read_bytes()[:200])
    write_cards(reopen(folder))
    card = (folder / "data_card.md").read_text()
    assert "| Abyssinian_2.jpg" in card and "No photo of train is held out" in card
    assert "in no list, which are left alone (1): beagle_77.jpg" in card
    assert "between the photos (1): beagle_1.mat" in card


def test_a_data_card_has_the_doubts_about_the_set(tmp_path):
    folder = make_run(tmp_path)
    for file in (tmp_path / "oxford-iiit-pet" / "annotations" / "trimaps").glob("*.png"):
        trimap = np.array(Image.open(file))  # 1 and 2 exchanged
        Image.fromarray(np.array([0, 2, 1, 3], np.uint8)[trimap]).save(file)
    names = tmp_path / "oxford-iiit-pet" / "annotations" / "classes.txt"
    (rows := names.with_name("trainval.txt")).write_text(
        "\n".join(x for x in rows.read_text().splitlines() if "Abyssinian" not in x))
    names.write_text("<b>Tom</b> *[1]*\nRex\n")
    (run := reopen(folder)).pets  # noqa: B018 - as `data check` says them
    write_cards(run)
    card = (folder / "data_card.md").read_text()
    assert len(run.pets.doubts) >= 2
    assert "- Doubt: 5 of 5 trimaps in oxford-iiit-pet/annotations/trimaps have more pet" in card
    assert r"train has no photo that can be used: &lt;b>Tom&lt;/b> \*\[1\]\*." in card


def test_photos_without_ground_truth_are_counted(written):
    pets = written.pets
    photos = _photos(pets, written.baseline_scores("all_ones").photos.query("breed == 'beagle'"))
    assert len(photos) == 6 and photos["foreground"].notna().sum() == 3
    assert cells(_counts(photos, "breed"), BREEDS[0])[0][1] == "3"


def test_a_data_set_of_other_breeds_gets_no_licence_of_others(tmp_path):
    folder = make_run(tmp_path)
    for path in (tmp_path / "oxford-iiit-pet").rglob("*beagle*"):
        path.rename(path.with_name(path.name.replace("beagle", "lynx")))
    for file in (tmp_path / "oxford-iiit-pet" / "annotations").glob("*.txt"):
        file.write_text(file.read_text().replace("beagle", "lynx"))
    write_cards(reopen(folder))
    card = (folder / "data_card.md").read_text()
    assert "not among those of Oxford-IIIT Pet: lynx" in card
    assert "CC BY-SA" not in card and "7,349" not in card and front(card)["license"] == "unknown"


def test_rendered_pets_say_what_they_are(run):
    card = (run.folder / "data_card.md").read_text()
    assert "111 pictures of cats and dogs that petweak has drawn" in card
    assert "what they are not" in card and "no sample of any cats and dogs" in card
    assert "2 pictures of each in train and 1 in test" in card
    assert cells(card, "train")[0][:5] == ["train", "74", "24", "50", "37"]
    assert "CC BY-SA" not in card and str(run.folder) not in card
    assert read_pets(run.data_root).name == "rendered"


def test_ids_that_are_numbers_and_breeds_that_look_missing_are_as_good_as_others(tmp_path):
    data, run = worlds.pets(tmp_path / "data"), tmp_path / "run"
    top = data / "oxford-iiit-pet"
    new = {f"{breed}_{n}": f"{3 * k + n:04}" for k, breed in enumerate(worlds.BREEDS)
           for n in (1, 2, 3)}
    for old, name in new.items():
        (top / "images" / f"{old}.jpg").rename(top / "images" / f"{name}.jpg")
        trimaps = top / "annotations" / "trimaps"
        (trimaps / f"{old}.png").rename(trimaps / f"{name}.png")
    for file in ("trainval.txt", "test.txt"):
        text = (top / "annotations" / file).read_text()
        for old, name in new.items():
            text = text.replace(old, name)
        (top / "annotations" / file).write_text(text)
    (top / "annotations" / "classes.txt").write_text("NA\nnan\n")
    results = run_study(Run(run, data, worlds.STUDY))
    again = Run(run, data, worlds.STUDY)  # reads what the first one has written
    table = again.model_scores("ground_truth", "species").photos
    assert sorted(table["id"]) == sorted(new.values()) and set(table["breed"]) == {"NA", "nan"}
    assert not collect_results(again)["value"].isna().any() and len(results)
    breeds = tables.breeds_compared(run, [("ground_truth", "species")])
    assert breeds["breed"].tolist() == ["NA", "nan", "all breeds"]
    assert breeds["n_images"].tolist() == [1, 1, 2]
    best = tables.pick_examples(tables.read_scores(run, "ground_truth", "species"))
    assert set(best.values()) <= {"0003", "0006"} == {s.id for s in again.pets.split("test")}
    write_cards(again)
    card = (run / "data_card.md").read_text()
    for breed in ("NA", "nan"):
        shares = cells(card, breed)[0][-3:]
        assert all(re.fullmatch(r"\d+\.\d %", share) for share in shares), shares
