"""CITATION.cff, LICENSE and CHANGELOG.md: there, well formed, and of this version.

cffconvert, which has the whole schema, pins a jsonschema that Jupyter cannot live with; so what is
required by version 1.2.0, and what is used of it here, is checked by hand.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

import petweak

TOP = Path(__file__).resolve().parents[1]
CITATION = yaml.safe_load((TOP / "CITATION.cff").read_text())
PERSON = {"family-names", "given-names", "name-particle", "name-suffix", "affiliation", "alias"}
PERSON |= {"orcid", "email", "website"}
TYPES = {"article", "conference-paper", "generic", "report", "unpublished", "software", "thesis"}


def test_it_has_what_the_format_requires():
    assert {"cff-version", "message", "title", "authors"} <= set(CITATION)
    optional = {"type", "abstract", "version", "license", "keywords", "references"}
    assert set(CITATION) <= {"cff-version", "message", "title", "authors"} | optional
    assert CITATION["cff-version"] == "1.2.0" and CITATION["type"] == "software"
    keywords = CITATION["keywords"]
    assert keywords and len(set(keywords)) == len(keywords)
    texts = [CITATION[k] for k in ("message", "title", "abstract", "version", "license")]
    assert all(isinstance(text, str) and text.strip() for text in (*texts, *keywords))


def test_every_work_has_a_title_a_type_and_authors():
    for work in (CITATION, *CITATION["references"]):
        assert work["title"] and work["type"] in TYPES and work["authors"]
        for author in work["authors"]:
            assert set(author) <= PERSON or set(author) == {"name"}
            assert author.get("name") or author["family-names"]
        assert isinstance(work.get("year", 2000), int)
        assert work["type"] != "conference-paper" or work["conference"]["name"]


def test_the_paper_is_cited_as_it_calls_itself():
    title = "Leveraging Weak Labels for Fine-Grained Pet Image Segmentation with MaskFormer"
    (paper,) = [r for r in CITATION["references"] if r["title"] == title]
    assert paper["authors"] == [{"family-names": "Roy", "given-names": "Ronen Raj"}]
    assert title in " ".join((TOP / "README.md").read_text().split())
    seeds = list((TOP.parent / "shared" / "seed").glob("*.txt"))
    assert all(f"# {title}\n\nRonen Raj Roy" in seed.read_text() for seed in seeds)


def test_version_and_licence_are_those_of_the_package():
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    assert CITATION["version"] == petweak.__version__
    assert CITATION["license"] == project["license"] == "MIT"
    licence = (TOP / "LICENSE").read_text()
    assert licence.startswith("MIT License\n") and CITATION["authors"][0]["name"] in licence


def test_the_changelog_is_in_its_form():
    text = (TOP / "CHANGELOG.md").read_text()
    assert text.startswith("# Changelog\n") and "\n## [Unreleased]\n" in text
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security", "Known"}
    sections = re.split(r"^## ", text, flags=re.M)[1:]
    assert len(sections) >= 4
    for section in sections:
        headings = re.findall(r"^### (.+)$", section, re.M)
        assert headings and set(headings) <= kinds, section[:40]
    released = re.findall(r"^## \[(\d[^]]*)\]", text, re.M)
    assert not released or released[0] == petweak.__version__
