"""Pictures, curves and bars as markup."""

from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
from PIL import Image

from petweak.explorers.screen import bars, curves, download, heat, picture


def content(markup: str) -> Image.Image:
    data = re.search(r'data:image/\w+;base64,([^"]*)', markup)[1]
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_a_picture_is_small_and_says_what_is_on_it():
    markup = picture(np.zeros((300, 200, 3), np.uint8), 'a "cat" & <dog>', 120)
    assert content(markup).size == (80, 120) and 'width="80"' in markup
    assert 'alt="a &quot;cat&quot; &amp; &lt;dog&gt;"' in markup
    grey = content(picture(np.full((20, 30), 0.5), "a mask", 120))
    assert grey.mode == "L" and grey.size == (30, 20) and abs(grey.getpixel((9, 9)) - 127) <= 2


def test_a_mask_is_saved_as_it_is():
    mask = np.zeros((40, 60), np.uint8)
    mask[5:9] = 255
    markup = download(mask, 'x"y.png', "save")
    assert np.array_equal(np.asarray(content(markup)), mask) and "x&quot;y.png" in markup


def test_heat_lies_over_the_photo():
    out = heat(np.full((2, 2, 3), 100, np.uint8), np.array([[0.0, 1.0], [0.5, 0.5]]))
    assert out.dtype == np.uint8 and out[0, 0].sum() < out[0, 1].sum()


def test_curves_meet_the_threshold():
    markup = curves(
        {"this <photo>": {0.2: 0.4, 0.4: 0.6}, "val": {0.2: 0.1, 0.4: 0.3}}, {"Otsu": 0.35}, 0.3
    )
    svg = ET.fromstring(markup)
    assert svg.get("aria-label") == "IoU by threshold, now 0.30"
    words = [t.text for t in svg.iter("text")]
    assert "this <photo>: 0.500" in words and "val: 0.200" in words and "Otsu 0.35" in words
    dots = [c.get("transform") for c in svg.iter("circle")]
    assert len(dots) == 2 and len({d.split(",")[0] for d in dots}) == 1
    assert sum("stroke-dasharray" in p.attrib for p in svg.iter("path")) == 1


def test_bars_are_as_long_as_the_scores_with_whiskers():
    rows = pd.DataFrame(
        {
            "source": ["ground_truth", "all_ones"],
            "labels": ["breed", "-"],
            "value": [0.75, 0.4],
            "low": [0.7, 0.3],
            "high": [0.8, 0.5],
            "n_images": [10, 10],
        }
    )
    markup = bars(rows)
    assert "#009E73 75.0%" in markup and "currentColor 70.0% 80.0%" in markup
    assert re.findall(r">(0\.\d+)</td>", markup) == [
        "0.750",
        "0.700",
        "0.800",
        "0.400",
        "0.300",
        "0.500",
    ]
    assert markup.count("<th ") == len(rows.columns) + 1  # no column of row numbers
    assert "no scores" in bars(rows[:0])
