"""Figures and the report, on a run's folder that is written by hand."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pandas as pd
import pytest
from handmade import about_run, make_run, timings

from petweak import plots, report_pdf, tables
from petweak.files import read_json, write_json
from petweak.report import write_report
from petweak.report_html import MAX_BYTES

NAMES = {"overview", "learning_curves", "per_breed", "costs", "masks_compared",
         "gallery_ground_truth-breed", "gallery_gradcam_pretrained-breed"}  # fmt: skip
CHROMIUM = next(filter(None, map(shutil.which, report_pdf.BROWSERS)), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    top = tmp_path_factory.mktemp("report")
    make_run(top)
    return top


@pytest.fixture(autouse=True)
def _coarse(monkeypatch):
    monkeypatch.setattr("petweak.looks.DPI", 50)  # the drawing is most of the time


@pytest.fixture
def run(template, tmp_path):
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    write_json(tmp_path / "run" / "run.json", about_run() | {"data_root": str(tmp_path)})
    return tmp_path / "run"


def test_overlay():
    photo, mask = np.full((40, 60, 3), 100, np.uint8), np.zeros((40, 60), np.uint8)
    mask[10:30, 10:30], mask[10:30, 40:50] = 255, 128
    out = plots.overlay(photo, mask, "#FF0000")
    assert (photo == 100).all() and out.shape == photo.shape and out.dtype == np.uint8
    assert out[20, 20].tolist() == [169, 55, 55]  # 0.55 x 100 + 0.45 x colour
    assert out[10, 20].tolist() == [255, 0, 0]  # the outline
    assert (out[:8] == 100).all()
    assert out[20, 45].tolist() == [116, 116, 116]  # unsure
    truth = np.zeros((40, 60), bool)
    truth[5:35, 5:55] = True
    assert plots.overlay(photo, None, "", truth)[5, 30].tolist() == [255, 255, 255]
    with pytest.raises(ValueError, match="shape"):
        plots.overlay(photo, mask[1:], "#FF0000")


def test_a_source_keeps_its_colour():
    one, two = plots.palette(["mine", "mask_rcnn"]), plots.palette(["mask_rcnn", "other", "mine"])
    assert one["mask_rcnn"] == two["mask_rcnn"] == plots.SOURCE_COLOURS["mask_rcnn"]
    assert len({two["mask_rcnn"], two["other"], two["mine"]}) == 3


def test_figures_leave_matplotlib_alone(tmp_path):
    def look() -> dict:  # the backend is found out when it is first asked for
        return {k: v for k, v in matplotlib.rcParams.items() if k != "backend"}

    before = look()
    photo, mask = np.zeros((30, 40, 3), np.uint8), np.ones((30, 40), bool)
    trimap = np.full((30, 40), 3, np.uint8)
    curves = {"otsu": {0.2: 0.5, 0.4: 0.6}}
    for fig in (
        plots.show_masks(photo, {"mask_rcnn": mask, "otsu": mask}, trimap),
        plots.show_photos([photo] * 5),
        plots.threshold_curves(curves, {"otsu": 0.3}, dark=True),
        plots.cost_bars(tables.costs(timings())),
    ):
        content, about = fig._repr_png_()  # as IPython wants it
        assert content.startswith(b"\x89PNG") and about["width"] < 800
    assert plots.save_or_show(fig, tmp_path / "new" / "a.png").read_bytes() == plots.png(fig)
    assert look() == before


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_report(run):
    path = write_report(run)
    assert path == run / "report.html"
    files = {p.name for p in (run / "figures").iterdir()}
    assert files == {f"{name}.png" for name in NAMES} | {"captions.json"}
    about = read_json(run / "figures" / "captions.json")
    assert set(about) == NAMES
    assert all(len(a["alt"]) > 20 and len(a["caption"]) > 20 for a in about.values())
    text = path.read_text()
    assert path.stat().st_size < MAX_BYTES <= 5_000_000
    tags = Page(text).tags
    images = [a for tag, a in tags if tag == "img"]
    assert len(images) == len(NAMES) and all(len(a["alt"]) > 20 for a in images)
    for tag, a in tags:
        for name in ("src", "srcset", "href", "action", "poster", "data"):
            assert a.get(name, "#").startswith(("data:image/", "#")), (tag, name)
    ids = [a["id"] for _, a in tags if "id" in a]
    assert len(set(ids)) == len(ids)
    links = [a["href"] for _, a in tags if "href" in a]
    assert links and {link[1:] for link in links} <= set(ids)
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in tags}
    assert "url(" not in text and "@import" not in text and "://" not in text
    assert str(run.parent) not in text and "/somewhere/else" not in text
    assert "Sphynx_9.jpg" in text and "is a &lt;text&gt;" in text
    markdown = (run / "tables.md").read_text()
    for line in ("| all_ones ", "| centre_box ", "| ground_truth "):
        assert line in markdown
    assert "0.100 [0.050, 0.150] ▼" in markdown
    assert "report" in pd.read_csv(run / "timings.csv")["stage"].tolist()

    before = {p: p.read_bytes() for p in (path, run / "tables.md", *(run / "figures").iterdir())}
    write_report(run)
    assert all(p.read_bytes() == content for p, content in before.items())


def test_report_without_photos_or_features(run):
    shutil.rmtree(run / "features")
    stale = run / "figures" / "gallery_mask_rcnn-breed.png"
    stale.parent.mkdir()
    stale.write_bytes(b"of an earlier run")
    text = write_report(run).read_text()
    assert "Left out: ground_truth-breed" in text and "gallery_" not in text
    assert not stale.exists() and (run / "figures" / "masks_compared.png").is_file()
    shutil.rmtree(run.parent / "oxford-iiit-pet")
    text = write_report(run).read_text()
    assert "Left out: the photos are not where" in text


def test_report_needs_a_study(tmp_path):
    with pytest.raises(FileNotFoundError, match="petweak study"):
        write_report(tmp_path)


def test_markdown_shows_the_pictures(run):
    path = write_report(run, ["md"])
    assert path == run / "report.md" and not (run / "report.html").exists()
    found = re.findall(r"^!\[(.{20,})\]\((figures/.*\.png)\)$", path.read_text(), re.M)
    assert {file for _, file in found} == {f"figures/{name}.png" for name in NAMES}
    assert all((run / file).is_file() for _, file in found)


def test_an_unknown_format_is_refused(run):
    with pytest.raises(ValueError, match="docx.*known are html, pdf, md, latex"):
        write_report(run, ["html", "docx"])
    assert not (run / "report.html").exists()


def test_a_pdf_without_a_browser_says_the_way_out_before_any_work(run, monkeypatch):
    monkeypatch.setattr(report_pdf, "BROWSERS", ("no-such-browser",))
    with pytest.raises(FileNotFoundError, match="install one, or write --format html"):
        write_report(run, ["html", "pdf"])
    assert not (run / "figures").exists()


@needs_chromium
def test_pdf(run):
    path = write_report(run, ["pdf"])
    content = path.read_bytes()
    assert content.startswith(b"%PDF-") and content.rstrip().endswith(b"%%EOF")
    assert len(re.findall(rb"/Type\s*/Page\b", content)) >= 3


@needs_chromium
def test_on_a_phone_nothing_but_tables_scrolls_sideways(run, tmp_path):
    """The page in a frame of 390 pixels, asked by a script how wide it is."""
    page = write_report(run)
    asks = """<iframe id="f" src="%s" style="width:390px;height:844px;border:0"></iframe><script>
    f.onload = () => { const d = f.contentDocument, wide = [], page = d.documentElement;
      d.querySelectorAll("details").forEach(e => e.open = true);
      d.querySelectorAll("body *").forEach(e => { if (!e.closest(".scroll table") &&
        e.getBoundingClientRect().right > page.clientWidth + 0.5) wide.push(e.tagName) });
      document.title = [page.scrollWidth - page.clientWidth, wide.length,
        [...d.querySelectorAll(".scroll")].some(e => e.scrollWidth > e.clientWidth)].join() }
    </script>"""
    (tmp_path / "frame.html").write_text(asks % page.as_uri())
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
               "--allow-file-access-from-files", "--virtual-time-budget=20000",
               f"--user-data-dir={tmp_path / 'profile'}",
               (tmp_path / "frame.html").as_uri()]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    assert re.search("<title>(.*)</title>", dom)[1] == "0,0,true"
