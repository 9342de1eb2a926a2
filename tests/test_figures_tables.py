"""Tables and sentences of README.md and figures/results.md, beside what the rows of the committed
tables come to when they are read and added up here."""

import csv
import re
import shlex
import sys
from pathlib import Path
from statistics import mean

import pandas as pd
import pytest

from petweak.data.files import read_frame

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "figures"))  # not in the package

import aims
import pages
import result_tables
import sentences

TOP = Path(__file__).resolve().parents[1]
README, RESULTS = (TOP / page for page in pages.PAGES)
GRAD_CAM, TRUE = "gradcam_pretrained", "ground_truth"


def rows(name: str, **equal: str) -> list[dict[str, str]]:
    """Those of a table of 37 breeds, as text, with these values."""
    with open(TOP / f"figures/data/photos37/{name}.csv", encoding="utf-8", newline="") as file:
        return [r for r in csv.DictReader(file) if all(r[k] == v for k, v in equal.items())]


def value(name: str, **equal: str) -> float:
    """The mean over seeds of the rows of test."""
    found = [float(r["value"]) for r in rows(name, split="test", **equal)]
    assert len(found) == 3, equal
    return mean(found)


def frame(name: str) -> pd.DataFrame:
    return read_frame(TOP / f"figures/data/photos37/{name}.csv")


def block(mark: str, page: Path = RESULTS) -> str:
    """What stands in a page between two marks."""
    text = page.read_text(encoding="utf-8")
    return text.partition(f"<!-- {mark} -->\n")[2].partition(f"<!-- /{mark} -->")[0]


def table(mark: str) -> list[dict[str, str]]:
    """The rows of a table in figures/results.md."""
    lines = [line for line in block(mark).splitlines() if line.startswith("|")]
    head, _, *body = ([c.strip() for c in line.split("|")[1:-1]] for line in lines)
    return [dict(zip(head, cells, strict=True)) for cells in body]


def words(page: Path) -> str:
    return " ".join(page.read_text(encoding="utf-8").split())


def test_the_aims_stand_beside_what_came_out():
    """The aims in their order: (metric, source with the border ignored and as foreground, labels,
    architecture, aims), as they were set."""
    iou, free = "mask_iou_gt", "imagenet_only"
    expected = [
        (iou, (f"{free} background_threshold=0.5", free), "species", "maskformer-ms", 0.91, 0.83),
        *((iou, (of, of), "breed", model, *both)
          for model, both in (("maskformer", (0.82, 0.75)), ("maskformer-ms", (0.93, 0.84)))
          for of in ("external_deeplab", "external_yolo")),
        (iou, (f"{TRUE} border=ignore", f"{TRUE} border=foreground"), "breed", "maskformer-ms",
         0.93, 0.86),
        ("pseudo_iou_gt", ("gradcam_finetuned",) * 2, "breed", "maskformer", None, 0.58),
        (iou, ("gradcam_finetuned",) * 2, "breed", "maskformer", None, 0.60)]
    shown = table("aims photos37")
    assert len(shown) == len(expected) + 3
    for row, (metric, sources, labels, model, *both) in zip(shown, expected, strict=False):
        name = "supervision_cpu" if sources[0].startswith(free) else "supervision"
        about = {"metric": metric, "labels": labels, "model": model, "photos": "all"}
        if sources[0].startswith(TRUE):
            about["photos"] = "with_trimap"
        met = True
        for border, of, aim, column in zip(
                ("ignore", "foreground"), sources, both, list(row)[1:3], strict=True):
            found = value(name, of=of, border=border, **about)
            assert row[column] == f"{found:.3f}" + (f" ({aim:.2f})" if aim else "")
            met = met and (aim is None or found >= aim)
        assert row["met"] == ("yes" if met else "no") == "yes"
        assert sources[0].split()[0] in row["aim for"]
    accuracy = {(r["of"], r["model"]) for r in rows("supervision", metric="class_accuracy")}
    accuracy = {(of, model): value("supervision", metric="class_accuracy", labels="breed", of=of,
                                   model=model) for of, model in accuracy}
    most = max(accuracy.values())
    right, match, small = shown[-3:]
    assert right["border ignored (aim)"] == f"{most:.3f} (0.88)" and right["met"] == "yes"
    best = {at for at, found in accuracy.items() if found > most - 1e-9}
    assert all(f"`{model}` of `{of}`" in right["aim for"] for of, model in best)
    assert right["aim for"].count("` of `") == len(best)
    full = [v for (of, _), v in accuracy.items() if of.startswith(TRUE)]
    assert f"has {min(full):.3f} to {max(full):.3f}" in right["limit"]
    assert match["border ignored (aim)"].startswith("worse, -0.020 [")
    assert match["border as foreground (aim)"] == "the best" and match["met"] == "in part"
    fine = [r for r in rows("ablation_wide", satisfies="yes")
            if float(r["share"]) <= 0.1 and r["p"] and float(r["p"]) < 0.05]
    assert small["border as foreground (aim)"].count("`") == 2 * len(fine) == 4
    assert all(f"`{r['row']}` with {float(r['share']):.1%}" in small["border as foreground (aim)"]
               for r in fine)
    assert all(r["post_hoc"] == "True" for r in fine)  # so in part
    assert small["met"] == "in part" and small["limit"].endswith("were known: none")


def test_what_limits_an_aim_is_said_in_numbers():
    shown, about = table("aims photos37"), {
        "metric": "mask_iou_gt", "labels": "species", "model": "maskformer-ms", "photos": "all"}
    wide, tight = ([value("supervision_cpu", of=of, border=b, **about)
                    for b in ("ignore", "foreground")]
                   for of in ("imagenet_only", "imagenet_only background_threshold=0.5"))
    limit = shown[0]["limit"]
    for ious in (wide, tight):
        assert f"{ious[0]:.3f} and {ious[1]:.3f}" in limit
    assert tight[0] >= 0.91 and tight[1] >= 0.83 and wide[0] < 0.91
    one = "`imagenet_only background_threshold=0.5`"
    assert f"both aims are reached with one model alone by {one};" in limit
    scored = [int(rows(name, of="all_ones", metric="mask_iou_gt")[0]["n_images"])
              for name in ("supervision", "supervision_without")]
    assert f"of which {scored[0] - scored[1]} photos are in test" in limit
    fixed = mean(float(r["value"]) for r in rows(
        "cam_heads", cam="gradcam", head="finetuned", explained="top1", threshold="0.5",
        border="foreground", metric="iou"))
    assert f"at a fixed 0.5 the masks have {fixed:.3f}" in shown[6]["limit"] == shown[7]["limit"]
    learnt = {r["learnt_from"] for r in rows("supervision", of=f"{TRUE} border=ignore")}
    assert f"from {learnt.pop()} masks" in shown[5]["limit"] and not learnt


def test_an_aim_that_is_missed_is_said_to_be():
    both = result_tables.of_both(TOP / "figures/data/photos37")
    others = [frame(name) for name in ("supervision_external", "ablation_wide", "cam_heads")]
    low = (both["metric"] == "mask_iou_gt") & (both["of"] == "external_yolo")
    worse = both.assign(value=both["value"].mask(low & (both["border"] == "ignore"), 0.5))
    shown = aims.aims_table(worse, *others).set_index("aim for")
    assert shown.loc["`maskformer` of `external_yolo`", "met"] == "in part"
    assert shown.loc["`maskformer` of `external_yolo`"].iloc[0] == "0.500 (0.82)"
    worse = both.assign(value=both["value"].mask(low, 0.5))
    shown = aims.aims_table(worse, *others).set_index("aim for")
    assert shown.loc["`maskformer-ms` of `external_yolo`", "met"] == "no"


def test_all_metrics_of_all_models_are_in_one_table():
    shown = table("metrics photos37")
    models = rows("supervision") + [r for r in rows("supervision_cpu")
                                    if r["of"].startswith("imagenet_only")]
    keys = ("labels", "of", "model", "learnt_from")
    assert len(shown) == len({tuple(r[k] for k in keys) for r in models}) == 42
    heads = {"class_accuracy": "Class accuracy", "class_iou": "Class IoU",
             "mask_iou": "Mask IoU vs source's masks", "mask_iou_gt": "Mask IoU vs ground truth",
             "dataset_iou_gt": "Pooled IoU vs ground truth",
             "boundary_iou_gt": "Boundary IoU vs ground truth", "semantic_miou": "Semantic mIoU",
             "pseudo_iou_gt": "its masks (test)"}
    stored = {r["metric"] for r in models if not r["metric"].startswith("minus_")}
    assert stored == set(heads)
    for row in shown:
        of = {"labels": row["labels"], "of": row["source"], "model": row["model"]}
        own = [r for r in models if all(r[k] == v for k, v in of.items())
               and row["learnt from"] in ("", r["learnt_from"])]
        assert row["seeds"] == ("" if row["model"] == "-" else str(len({r["seed"] for r in own})))
        for metric, head in heads.items():
            cells = []
            for border in ("-", "foreground", "ignore", "background"):
                found = [float(r["value"]) for r in own if r["split"] == "test"
                         and r["metric"] == metric and r["border"] == border]
                cells += [f"{mean(found):.3f}"] if found else []
            assert row[head] == " / ".join(cells), (row, metric)
        train = [float(r["value"]) for r in own if r["split"] == "train"
                 and r["metric"] == "pseudo_iou_gt" and r["border"] == "foreground"]
        assert row["its masks (train)"].startswith(f"{mean(train):.3f} / ")


def test_of_a_model_no_score_of_train_is_stored_as_the_limits_say():
    for name in ("supervision", "supervision_cpu"):
        assert {r["metric"] for r in rows(name, split="train")} == {"pseudo_iou_gt"}
    assert "A model is scored on test alone." in words(README).partition("## Limits")[2]
    assert "the command keeps the scores of test alone" in words(RESULTS)


def on_front(part: list[dict[str, str]]) -> list[str]:
    """The rows that none of the others beats, the smallest first."""
    sizes = [(int(r["parameters"]), -float(r["iou"]), r["row"]) for r in part]
    return [row for n, iou, row in sorted(sizes) if not any(
        m <= n and other <= iou and (m, other) != (n, iou) for m, other, _ in sizes)]


@pytest.mark.parametrize(("mark", "name", "source"), [
    ("noisy_rows", "ablation", GRAD_CAM), ("true_rows", "ablation_ground_truth", TRUE),
    ("ablation_wide", "ablation_wide", TRUE)])
def test_every_row_of_the_grid_is_shown_with_the_pareto_front(mark, name, source):
    stored = {r["row"]: r for r in rows(name, source=source)}
    shown = {r["row"]: r for r in table(f"{mark} photos37") if r["source"]}
    assert set(stored) <= set(shown)
    for row, of in stored.items():
        assert shown[row]["IoU"].startswith(f"{float(of['iou']):.3f}"), row
        assert shown[row]["seeds"] == of["seeds"]
    front = on_front([*stored.values()])
    assert len(front) > 1
    assert {row for row, r in shown.items() if r["Pareto front"] == "yes"} == set(front)
    said = block(f"{name} photos37").partition("The Pareto front of this table, ")[2]
    said = said.partition(f"masks of `{source}`: ")[2].partition("\n")[0].partition(";")[0]
    assert re.findall("`(.+?)`", said) == front
    first = stored[front[0]]
    assert said.startswith(f"`{front[0]}` {float(first['iou']):.3f} with "
                           f"{float(first['share']):.1%}")


def test_rows_that_differ_in_one_thing_stand_beside_each_other():
    """Each with the seeds of the table that has most of them."""
    every: dict[str, dict[str, str]] = {}
    for name in ("ablation_wide", "ablation", "ablation_ground_truth"):
        for r in rows(name, source=TRUE):
            if int(r["seeds"]) >= int(every.get(r["row"], {"seeds": 0})["seeds"]):
                every[r["row"]] = r
    shown, n = {r["varied"].strip("`"): r for r in table("ablation_ground_truth photos37")}, 0
    heads = {base: next(head for head in shown["layers"] if head.startswith(f"`{base}`,"))
             for base in ("maskformer", "maskformer-ms")}
    for row, of in every.items():
        base, _, change = row.partition(" ")
        if base in heads and "=" in change:
            what, _, said = change.partition("=")
            seeds = f" ({of['seeds']} seeds)" if of["seeds"] != "1" else ""
            cells = shown[what][heads[base]].split("; ")
            assert f"{said}: {float(of['iou']):.3f}{seeds}" in cells, row
            n += 1
    assert n == sum(bool(row[head]) * (row[head].count(";") + 1)
                    for row in shown.values() for head in heads.values())
    plain = float(every["maskformer"]["iou"])
    assert heads["maskformer"] == f"`maskformer`, IoU {plain:.3f} (3 seeds)"
    usual = {"layers": "3", "heads": "8", "queries": "2", "decoder_channels": "64", "blocks": "4",
             "hidden": "768", "positional": "False", "class_weight": "2.0", "mask_weight": "5.0",
             "dice_weight": "5.0", "image_size": "320", "backbone": "efficientnet_lite0"}
    assert {what: shown[what]["usual value"] for what in usual} == usual
    assert set(shown) - set(usual) == {"levels", "reduce"}


def test_each_width_of_one_architecture_stands_beside_that_of_the_other():
    shown = {r["row"]: r for r in table("ablation_wide photos37")}
    other = {r["row"]: r for r in rows("ablation_ground_truth")}
    for width in (128, 256):
        assert shown[f"maskformer-ms decoder_channels={width}"]["seeds"] == "3"
        row = shown[name := f"maskformer decoder_channels={width}"]
        assert row["IoU"] == f"{float(other[name]['iou']):.3f}"
        assert row["seeds"] == other[name]["seeds"] == "1" and row["satisfies"] == "one seed"
        assert {row["minus the best"], row["minus the best by it, satisfies"],
                row["Pareto front"]} == {""}
    assert len(shown) == len(rows("ablation_wide")) + 2 + 2  # and both baselines


def test_the_short_answer_to_the_first_question_has_its_differences():
    said = block("headline photos37", README).splitlines()
    first = next(line for line in said if "compare with full supervision" in line)
    pairs = {}
    for r in rows("supervision", labels="breed", metric="minus_ground_truth"):
        if not r["of"].startswith(TRUE):
            pairs.setdefault((r["of"], r["model"], r["border"]), []).append(r)

    def limits(of: str, model: str, border: str) -> str:
        each = pairs[of, model, border]
        return (f"{mean(float(r['value']) for r in each):+.3f} "
                f"[{min(float(r['low']) for r in each):+.3f}, "
                f"{max(float(r['high']) for r in each):+.3f}]")

    best, plain, multi = "external_deeplab", "maskformer", "maskformer-ms"
    assert (f"better in 2 of 4 columns ({limits(best, plain, 'foreground')} to "
            f"{limits(best, plain, 'ignore')}), worse in 1 ({limits(best, multi, 'foreground')}), "
            f"not told apart in 1 ({limits(best, multi, 'ignore')})") in first
    cams = sorted((mean(float(r["value"]) for r in each), at) for at, each in pairs.items()
                  if at[0].startswith("gradcam"))
    assert (f"worse in 12 of 12 cells ({limits(*cams[0][1])} to {limits(*cams[-1][1])}).") in first


def test_each_answer_of_the_readme_and_each_of_its_numbers_is_one_sentence():
    said = block("headline photos37", README).partition("\n|")[0]
    both, _ = said.split("**Do noisy masks")
    points = re.findall(r"^ *- (.+)$", both, re.M)
    assert len(points) == 5
    for point in points:
        text = point.partition("?** ")[2] or point
        assert text.endswith(".") and not re.search(r"[a-z)`]\. [A-Z]", text), text


def test_the_readme_says_which_rows_have_a_model_for_each_border():
    of = {r["of"] for r in rows("supervision", labels="breed")}
    assert {name.split()[0] for name in of if "border=" in name} == {TRUE}
    assert len(set(result_tables.ALONE.values())) == 2
    assert ("Full supervision and `imagenet_only` have a model for each treatment of the border, "
            "each scored as it was trained; the other sources have one model for both."
            ) in words(README)


def test_both_readings_of_whether_noisy_masks_want_a_simpler_model_are_answered():
    grid, wide = frame("ablation"), frame("ablation_wide")
    said = sentences.noisy(grid, wide)
    assert f"**Do noisy masks want a simpler model?** {said}" in block(
        "headline photos37", README)

    def smallest(source: str) -> dict[str, str]:
        return min(rows("ablation", source=source, satisfies="yes"),
                   key=lambda r: int(r["parameters"]))

    noisy, exact = smallest(GRAD_CAM), smallest(TRUE)
    assert float(noisy["share"]) < float(exact["share"])
    (beside,) = rows("ablation_wide", row=exact["row"])
    assert float(noisy["minus_best"]) == 0 and exact["row"] == "small maskformer-ms"
    assert said.startswith(
        "What satisfies in this grid suggests it, which is no verdict, as no test compares two "
        f"such rows: with masks of `{GRAD_CAM}` the simplest is `{noisy['row']}` with "
        f"{float(noisy['share']):.1%} of the parameters (itself the best on test), with `{TRUE}` "
        f"`{exact['row']}` with {float(exact['share']):.1%} of the parameters (after Holm's "
        "correction `maskformer-ms layers=0`); beside wider models the second is "
        f"{beside['satisfies']}, and the first was not run beside them. ")
    smaller = [r for r in rows("ablation", source=GRAD_CAM, seeds="3") if r["gain"]]
    unknown = [r for r in smaller if not r["gain_low"]]
    assert f"of {len(smaller)} smaller architectures with 3 seeds" in said
    assert f"and {len(unknown)} have no interval." in said
    assert [r["row"] for r in unknown] == ["per pixel-ms", "U-Net"]
    better = grid["source"].eq(GRAD_CAM) & grid["row"].eq("maskformer blocks=0")
    grid.loc[better, ["gain_low", "gain_high", "gain_p"]] = 0.001, 0.02, 0.001
    told = sentences.noisy(grid, wide)
    assert "larger one is shown: " in told and " 1 are better, 1 worse, 8 not told" in told
    assert "is not shown: " in said and " 0 are better, 1 worse, 9 not told apart" in said


def test_the_command_of_the_models_of_the_same_photos_is_whole():
    page = RESULTS.read_text(encoding="utf-8").replace("\\\n", "")
    (line,) = re.findall(r"^(petweak .+)  # supervision_cpu, seed 0 of the breeds$", page, re.M)
    options = dict(word.split("=", 1) for word in shlex.split(line)[3:] if "=" in word)
    stored = rows("supervision_cpu", labels="breed", seed="0", metric="mask_iou_gt")
    of = {r["of"].removesuffix(" border=ignore").removesuffix(" border=foreground")
          for r in stored}
    assert set(options["of"].split(";")) == of
    assert options["photos"] == "all,with_trimap" and options["labels"] == "breed"
    assert {r["photos"] for r in stored} == {"all", "with_trimap"} and options["seeds"] == "0"
    assert options["precision"] == "bfloat16"
    assert options["external_masks"] == "deeplab=M1,yolo=M2"
    assert "`make figures` computes it (`figures/result_tables.py`, `machine_hours`)" in words(
        RESULTS)


def test_the_changelog_has_the_differences_of_models_without_annotation():
    about = {"metric": "minus_ground_truth", "model": "maskformer-ms", "photos": "all"}
    gaps = [-value("supervision_cpu", of=of, border=border, **about)
            for border, of in result_tables.ALONE.items()]
    said = f"as MaskFormer-MS it is worse by {gaps[0]:.3f} and {gaps[1]:.3f}."
    assert said in words(TOP / "CHANGELOG.md")
