"""README.md and figures/results.md, filled between their marks, and run times of the chapters."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from aims import aims_table
from result_tables import (
    TABLES,
    architectures_table,
    headline_table,
    metrics_table,
    of_both,
    species_table,
)
from sentences import DETAILS, SENTENCES, headline, table_3

from petweak.data.files import read_frame, write_text
from petweak.study import tables

TITLES = {"embedded": "Rendered pets", "photos": "Real photos, three breeds"}
# Folders of figures/data/ with tables; those of the last are of experiments alone.
STORED = (*TITLES, "photos37")
PAGES = "README.md", "figures/results.md"  # whose marks are filled


def block(said: list[str], frames: list[pd.DataFrame], more: list[str]) -> str:
    """What stands between two marks: sentences as a list, tables, more sentences."""
    before, after = ("".join(f"- {text[0].upper()}{text[1:]}\n" for text in part).rstrip()
                     for part in (said, more))
    shown = (tables.readable(f).to_markdown(index=False, disable_numparse=True) for f in frames)
    return "\n\n".join(filter(None, (before, *shown, after)))


def blocks(data: Path) -> Iterator[tuple[str, str]]:
    """Each mark, and what stands there by the tables of every run in `data`."""
    names = ("supervision", "supervision_cpu", "ablation_wide", "ablation", "ablation_ground_truth",
             "supervision_external", "cam_heads")
    files = [data / "photos37" / f"{name}.csv" for name in names]
    if all(f.is_file() for f in files):
        models, cpu, wide, grid, more, external, heads = map(read_frame, files)
        both = of_both(data / "photos37")
        yield "headline photos37", block(
            headline(models, cpu, wide, grid), [headline_table(models, cpu)], [])
        alone = {"species": species_table(models), "metrics": metrics_table(both),
                  "aims": aims_table(both, external, wide, heads),
                  "noisy_rows": architectures_table(grid[grid["source"] != "ground_truth"]),
                  "true_rows": architectures_table(more)}
        yield from ((f"{name} photos37", block([], [frame], [])) for name, frame in alone.items())
        yield "table_3 photos37", block([table_3()], [], [])
    for file in (data / run / f"{name}.csv" for run in STORED for name in TABLES):
        if file.is_file():
            frames = TABLES[file.stem](table := read_frame(file))
            said, more = (of.get(file.stem, lambda _: [])(table) for of in (SENTENCES, DETAILS))
            yield f"{file.stem} {file.parent.name}", block(
                said, frames if isinstance(frames, list) else [frames], more)


def write_tables(pages: list[Path], out: Path) -> None:
    """Put the tables of every run in `out/data/` between their marks in `pages`. ValueError where
    no page has a mark."""
    old = {page: page.read_text(encoding="utf-8") for page in pages}
    new = dict(old)
    for mark, shown in blocks(out / "data"):
        start, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
        page = next((p for p, text in new.items() if start in text and end in text), None)
        if page is None:
            names = ", ".join(p.name for p in pages)
            raise ValueError(f"no '{start.strip()}' ... '{end}' in {names}")
        before, after = new[page].partition(start)[0], new[page].partition(end)[2]
        new[page] = f"{before}{start}\n{shown}\n\n{end}{after}"
    for page, text in new.items():
        if text != old[page]:
            write_text(page, text)


def to_run(seconds: float) -> str:
    """The run time of a chapter as its first cell says it: to ten seconds, and at least ten."""
    return f"About {max(10, 10 * round(seconds / 10))} seconds to run"


def write_times(notebooks: Path, figures: Path) -> None:
    """The measured run times into the first cells of the chapters."""
    measured = read_frame(figures / "data" / "embedded" / "notebooks.csv")
    for chapter, seconds in measured.itertuples(index=False):
        for path in notebooks.glob(f"{str(chapter).zfill(2)}_*.ipynb"):
            write_text(path, re.sub(r"(?<=\*\*Time\.\*\* )About \d+ seconds to run",
                                    to_run(seconds), path.read_text(encoding="utf-8")))
