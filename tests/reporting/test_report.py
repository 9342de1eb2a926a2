"""The report in its formats, on a run's folder that is written by hand."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import partial
from html.parser import HTMLParser

import cv2
import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import small
from few import drop_trimaps, few_photos
from handmade import CHROMIUM, make_run, reported_run

from petweak.__main__ import main
from petweak.data.files import read_json, write_json
from petweak.experiments.ablation import sentences
from petweak.experiments.cam_heads import two_by_two
from petweak.experiments.label_efficiency import summary
from petweak.experiments.supervision import (
    answers,
    both_borders,
    compared,
    counts,
    labels_of_head,
    satisfying,
    with_limits,
)
from petweak.experiments.unseen_breeds import lost
from petweak.reporting import report
from petweak.study.results import read_results
from petweak.study.run import Run
from petweak.study.tables import readable, stored
from petweak.visualization import style
from petweak.visualization.overlays import show_photos
from petweak.visualization.style import png

NAMES = {"overview", "learning_curves", "per_breed", "costs", "masks_compared"}
NAMES |= {"gallery_ground_truth-breed", "gallery_gradcam_pretrained-breed"}
SECTIONS = [
    "What was asked",
    "Overview",
    "The paper's tables beside ours",
    "The paper's questions on 37 breeds, and here",
    "Known oddities of the paper",
    "Baselines",
    "Breeds",
    "Learning curves",
    "Rounds of self-training",
    "The sources' masks",
    "Photos: best, median and worst",
    "Costs",
    "Quarantine",
    "Versions, hardware, settings",
]
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    return reported_run(tmp_path_factory.getbasetemp())


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_the_page_needs_no_other_file(reported):
    page = reported / "report.html"
    text, tags = page.read_text(), Tags(page.read_text()).tags
    assert page.stat().st_size < report.MAX_BYTES <= 5_000_000
    images = [a for tag, a in tags if tag == "img"]
    assert len(images) == len(NAMES) and all(len(a["alt"]) > 20 for a in images)
    for tag, a in tags:
        for name in ("src", "srcset", "href", "action", "poster", "data"):
            assert a.get(name, "#").startswith(("data:image/", "#")), (tag, name)
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in tags}
    assert "url(" not in text and "@import" not in text and "://" not in text
    assert "prefers-color-scheme: dark" in text


@pytest.fixture
def in_this_process(monkeypatch):
    """The notebook without a kernel, which takes 5 s to start, without the forms of charts for
    phones and paper, and with a pixel for each figure in the page: the report of `reported` has it
    all."""
    monkeypatch.setattr(report, "FORMS", {report.DARK: report.FORMS[report.DARK]})
    pixel = cv2.imencode(".png", np.zeros((1, 1, 3), np.uint8))[1].tobytes()
    monkeypatch.setattr(style, "png", lambda figure: pixel)

    def execute(notebook, out, values):
        book, names = nbformat.read(notebook, as_version=4), {}
        for cell in (c for c in book.cells if c.cell_type == "code"):
            def display(data, raw, metadata, to=cell.outputs):
                to.append(nbformat.v4.new_output("display_data", data, metadata=metadata))

            monkeypatch.setattr(report, "display", display)
            exec(cell.source, names)
            names |= values if "parameters" in cell.metadata.get("tags", ()) else {}
        out.parent.mkdir(exist_ok=True)
        nbformat.write(book, out)

    monkeypatch.setattr(report, "execute", execute)


@pytest.fixture(scope="module")
def study(rendered, tmp_path_factory):
    """`petweak study` on photos of which `keep` chooses those that have trimaps: the run's folder
    and what the command says."""

    def run(keep, capsys):
        top = tmp_path_factory.mktemp("study")
        data, settings = few_photos(rendered, top / "data"), small()
        pets = Run(top / "whole", data, settings).pets
        drop_trimaps(data, {s.id for s in pets.samples if keep(s)})
        words = "image_size=64 decoder_channels=8 epochs=1 bootstrap=9 engine=eager".split()
        at = ["--data-root", str(data), "--run", str(top / "run")]
        chosen = ["--sources", "ground_truth", "gradcam_finetuned", "--labels", "species"]
        assert main(["study", "--profile", "photos", *at, *chosen, "--set", *words]) == 0
        return top / "run", capsys.readouterr().out

    return run


def test_a_study_without_any_trimap_has_its_report_and_cards(
    study, in_this_process, capsys, monkeypatch
):
    formats = ["html", "md", "latex"]  # in all of them at once: the study writes its report
    monkeypatch.setattr(report, "write_report", partial(report.write_report, formats=formats))
    monkeypatch.setattr(report.latex, "write_figure", lambda *_: None)  # four files of each figure
    run, said = study(lambda s: False, capsys)
    assert str(run / "masks") in said
    assert f"petweak predict {run.parent / 'data' / 'oxford-iiit-pet' / 'images'} --model " in said
    assert (run / "latex" / "report.tex").is_file()
    text = (run / "report.md").read_text()
    assert "No photo of test has ground truth, so there is no IoU with it." in text
    assert "ground_truth is left out" in text and "so they have no scores" in text
    assert "learnt from" in text and not re.search(r"\bnan\b", text)
    row = next(x for x in text.splitlines() if x.startswith("| gradcam_finetuned"))
    assert [c.strip() for c in row.split("|")][2:7] == ["species", "maskformer", "4", "4", "0"]
    pictures = read_json(run / "figures" / "captions.json")
    assert {"overview", "masks_compared", "gallery_gradcam_finetuned-species"} <= set(pictures)
    assert "per_breed" not in pictures
    assert not any("outline" in about["caption"] for about in pictures.values())
    card = (run / "models" / "gradcam_finetuned-species" / "README.md").read_text()
    assert "4 photos of test (0 with ground truth)" in card
    assert "No photo of test has ground truth" in card and "Weakest breeds" not in card
    data = (run / "data_card.md").read_text()
    assert "and for 0 of them a trimap" in data and "| with trimap" in data


def test_a_report_and_cards_where_some_have_trimaps_have_both_counts(
    study, in_this_process, capsys
):
    run, _ = study(lambda s: s.split == "train" or s.species, capsys)
    text = (run / "tables.md").read_text()
    assert "8 of the 8 of train and 3 of the 4 of test have ground truth" in text
    rows = [[c.strip() for c in x.split("|")] for x in text.splitlines() if x[:2] == "| "]
    counts = {r[1]: r[4:7] for r in rows if r[2] == "species" and r[3] == "maskformer"}
    assert counts["ground_truth"] == counts["gradcam_finetuned"] == ["4", "4", "3"]
    card = (run / "models" / "ground_truth-species" / "README.md").read_text()
    assert "4 photos of test (3 with ground truth)" in card
    assert "4 of the 8 of train; the others were held out as val" in card


def test_the_page_says_everything(reported):
    text = (reported / "report.html").read_text()
    tags = Tags(text).tags
    ids = [a["id"] for _, a in tags if "id" in a]
    links = [a["href"] for _, a in tags if "href" in a]
    assert len(set(ids)) == len(ids) and {link[1:] for link in links} <= set(ids)
    assert [re.sub("&#39;", "'", h) for h in re.findall("<h2.*>(.*)</h2>", text)] == SECTIONS
    assert len(links) == len(SECTIONS)
    assert str(reported.parent) not in text and "/somewhere/else" not in text
    assert "Sphynx_9.jpg" in text and "is a &lt;text&gt;" in text
    assert "import pandas" not in text  # no code
    assert "conjecture" in text and "mistake" not in text
    assert "0.0900 on test and 0.0900 on train" in text
    assert "This run has no self-trained model." in text and "Left out" not in text


def test_stored_verdicts_stand_beside_the_runs_own_scores(reported):
    text = (reported / "report.md").read_text()
    models = stored("photos37", "supervision.csv")
    for said in (*answers(models), satisfying(models),
                 *sentences(stored("photos37", "ablation.csv"))):
        assert said.replace("`", "") in text
    results = read_results(reported).query("split == 'test' and metric == 'mask_iou_gt'")
    iou = results[results["border"] == "ignore"].groupby("source")["value"].max()
    assert (f"border ignore, maskformer: the best weak source is gradcam_pretrained, IoU "
            f"{iou['gradcam_pretrained']:.3f}; full supervision has {iou['ground_truth']:.3f}."
            ) in text and "without a verdict" in text
    alone = stored("photos37", "supervision_cpu.csv").query(
        "of == 'imagenet_only' and labels == 'species' and model == 'maskformer-ms' and "
        "photos == 'all' and border == 'foreground' and metric == 'mask_iou_gt'")["value"].mean()
    assert f"border foreground: IoU {alone:.3f}, minus full supervision of the same" in text
    best = both_borders(models).query("of == 'external_deeplab'").set_index(["border", "model"])
    cells = (f"{r.iou:.3f}, {r.verdict}" for _, r in best.sort_index().iterrows())
    assert re.search(r"external_deeplab +\|.*" + r" +\| ".join(cells), text)
    for said in labels_of_head(stored("photos37", "supervision_species.csv")):
        assert said[1:].replace("`", "") in text
    cpu = stored("photos37", "supervision_cpu.csv").query(
        "labels == 'breed' and photos == 'with_trimap' and not of.str.startswith('ground')")
    same = compared(cpu, "minus_ground_truth", models)
    for said in counts(same, "weak masks", "exact masks of the same photos"):
        assert said.replace("`", "") in text
    gap = compared(stored("photos37", "supervision_external.csv"), "minus_best")
    gap = gap[gap["of"].str.startswith("external")]
    assert len(gap) and all(f"{with_limits(r)}, {r.verdict}" in text for r in gap.itertuples())
    for file, say in (("cam_heads", two_by_two), ("unseen_breeds", lost),
                      ("label_efficiency", summary)):
        row = readable(say(stored("photos37", f"{file}.csv"))).iloc[-1]
        assert re.search(r"\| +".join(re.escape(v) + " +" for v in row), text), file
    assert "faults that were tried on real photos (chapter 12), none fits all clues" in text


def test_figures_have_captions(reported):
    about = read_json(reported / "figures" / "captions.json")
    assert set(about) == NAMES
    assert {p.stem for p in (reported / "figures").glob("*.png")} == NAMES
    assert all(len(a["alt"]) > 20 and len(a["caption"]) > 20 for a in about.values())
    assert about["overview"]["section"] == "Overview"


def test_markdown_shows_the_figures_and_tables_md_does_not(reported):
    text, tables = (reported / "report.md").read_text(), (reported / "tables.md").read_text()
    shown = re.findall(r"^!\[(.{20,})\]\((figures/.*\.png)\)$", text, re.M)
    assert {file for _, file in shown} == {f"figures/{name}.png" for name in NAMES}
    assert "![" not in tables and "<table" not in tables and "bars: models" not in tables.lower()
    for line in ("| all_ones ", "| centre_box ", "| ground_truth "):
        assert line in text and line in tables
    assert "0.100 [0.050, 0.150] ▼" in tables
    assert re.findall("^## (.*)$", tables, re.M) == SECTIONS


def test_photos_and_features_that_are_gone_are_said(in_this_process, tmp_path):
    run = make_run(tmp_path)
    shutil.rmtree(run / "features")
    stale, mine = (run / "figures" / f"gallery_{n}.png" for n in ("mask_rcnn-breed", "mine"))
    outside = tmp_path / "outside.png"
    names = [stale.stem, "../../outside", str(outside.with_suffix(""))]
    write_json(stale.parent / "captions.json", dict.fromkeys(names, {}))  # of an earlier report
    for file in (stale, mine, outside):
        file.write_bytes(b"a picture")
    text = report.write_report(run, ["md"]).read_text()
    assert "Left out: ground_truth-breed" in text and "gallery_" not in text
    assert not stale.exists() and (run / "figures" / "masks_compared.png").is_file()
    assert mine.is_file() and outside.is_file()


def test_pages_of_somebody_else_and_changed_ones_are_kept(reported, tmp_path, caplog, monkeypatch):
    run = make_run(tmp_path)
    executed = (reported / report.NOTEBOOK).read_bytes()  # of a run like this one

    def execute(notebook, out, values):
        out.parent.mkdir(exist_ok=True)
        out.write_bytes(executed)

    monkeypatch.setattr(report, "execute", execute)
    (run / "report.md").write_text("my own notes")
    assert "Overview" in report.write_report(run, ["md"]).read_text()
    assert (run / "report.md.kept").read_text() == "my own notes" and "kept as" in caplog.text
    report.write_report(run, ["md"])  # its own page is replaced
    assert sorted(p.name for p in run.glob("*.kept")) == ["report.md.kept"]
    with (run / "tables.md").open("a") as page:
        page.write("a remark")
    report.write_report(run, ["md"])
    assert (run / "tables.md.kept").read_text().endswith("a remark")
    (run / "report.md").write_text("other notes")
    with pytest.raises(FileExistsError, match="move one of them away"):
        report.write_report(run, ["md"])
    assert (run / "report.md").read_text() == "other notes"


def test_a_folder_of_somebody_else_gets_no_report(tmp_path):
    run = make_run(tmp_path)
    write_json(run / "run.json", {"profile": "mine", "dataset": "mine", "n_photos": 3})
    (run / "report.html").write_text("mine")
    with pytest.raises(ValueError, match="is not a run of petweak"):
        report.write_report(run)
    assert (run / "report.html").read_text() == "mine" and not (run / "notebooks").exists()


def test_a_report_is_written_again_only_where_its_inputs_changed(reported, tmp_path, monkeypatch):
    run, calls = tmp_path / "run", []
    shutil.copytree(reported, run)
    monkeypatch.setattr(report, "write_report", calls.append)
    for _ in range(2):
        assert report.ensure_report(run) == run / "report.html"
    assert len(calls) == 1
    results = run / "results.csv"
    results.write_text(results.read_text().replace("0.85", "0.86"))
    report.ensure_report(run)
    (run / "figures" / "overview.png").unlink()
    report.ensure_report(run)
    assert len(calls) == 3


def test_a_report_needs_a_study(tmp_path):
    with pytest.raises(FileNotFoundError, match="petweak study"):
        report.write_report(tmp_path)


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match="docx.*there are html, pdf, md, latex"):
        report.write_report(tmp_path, ["html", "docx"])


def test_a_pdf_without_a_browser_says_the_way_out_before_any_work(tmp_path, monkeypatch):
    run = make_run(tmp_path)
    monkeypatch.setattr(report, "BROWSERS", ["no-such-browser"])
    with pytest.raises(FileNotFoundError, match="install one, or write --format html"):
        report.write_report(run, ["html", "pdf"])
    assert not (run / "notebooks").exists()


def test_a_page_that_is_too_large_gets_smaller_photos(monkeypatch):
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype="uint8")
    page = f'<img src="{report._inline(png(show_photos([noise])), True)}">'
    monkeypatch.setattr(report, "MAX_BYTES", len(page) // 2)
    smaller = report._small(page)
    assert len(smaller) < len(page) // 2 and smaller.startswith('<img src="data:image/jpeg;base64')
    monkeypatch.setattr(report, "MAX_BYTES", 10)
    with pytest.raises(ValueError, match="above 10"):
        report._small(page)


@needs_chromium
def test_pdf(reported):
    content = (reported / "report.pdf").read_bytes()
    assert content.startswith(b"%PDF-") and content.rstrip().endswith(b"%%EOF")
    assert len(re.findall(rb"/Type\s*/Page\b", content)) >= 3


@needs_chromium
def test_on_a_phone_nothing_but_tables_scrolls_sideways(reported, tmp_path):
    """The page in a frame of 390 pixels, asked by a script how wide it is."""
    asks = """<iframe id="f" src="%s" style="width:390px;height:844px;border:0"></iframe><script>
    f.onload = () => { const d = f.contentDocument, wide = [], page = d.documentElement;
      d.querySelectorAll("details").forEach(e => e.open = true);
      d.querySelectorAll("body *").forEach(e => { if (!e.closest(".scroll table") &&
        e.getBoundingClientRect().right > page.clientWidth + 0.5) wide.push(e.tagName) });
      document.title = [page.scrollWidth - page.clientWidth, wide.length,
        [...d.querySelectorAll(".scroll")].some(e => e.scrollWidth > e.clientWidth)].join() }
    </script>"""
    frame = tmp_path / "frame.html"
    frame.write_text(asks % (reported / "report.html").as_uri())
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += ["--allow-file-access-from-files", "--virtual-time-budget=20000"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", frame.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    assert re.search("<title>(.*)</title>", dom)[1] == "0,0,true"


NAME = "<script>alert(1)</script> | `x` & \"y\""


def test_names_are_text_wherever_they_are_shown(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(report, "display", lambda data, **options: shown.append(data))
    page, frame = report.Page(tmp_path), pd.DataFrame({"breed": [NAME], "IoU": ["0.5"]})
    page.text(NAME)
    page.table("breeds", frame, NAME, folded=NAME)
    page.figure("x", lambda **form: overview_bars_of_nothing(), NAME, NAME)
    for data in shown:
        assert "<script" not in data["text/html"] and "<script" not in data["text/markdown"]
        assert "&lt;script" in data["text/html"] and "&lt;script" in data["text/markdown"]
    row = shown[1]["text/markdown"].splitlines()[-1]
    assert row.replace("\\|", "").count("|") == 3 and "\\`x\\`" in row


def overview_bars_of_nothing():
    from matplotlib.figure import Figure

    return Figure((1, 1))
