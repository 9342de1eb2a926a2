"""Memory and disk per head on a class server: `python notebooks/teaching/measure.py RUN [NN ...]`.

Every chapter is executed as a student would, on a run that links to the shared one: the page
class_server.md says how. class_server.csv gets a row for each, and one for an idle JupyterLab;
shared.csv says what lies on the disk once. Each row has its date and the commit of the code. RUN is
a finished run; nothing is written into it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from datetime import date
from pathlib import Path

import pandas as pd
import papermill
import psutil

from petweak.reporting.notebooks import KERNEL, number, parameters_of, series
from petweak.study.run import reopen

OUT = Path(__file__).with_name("class_server.csv")
LINK = """cp -rs --no-preserve=mode "{shared}" "{own}" && find "{own}" -path "*/.lock*" -delete"""


def own_bytes(folder: Path) -> int:
    """Of the files in it that are no links."""
    files = (p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    return sum(p.stat().st_size for p in files)


class Watch(threading.Thread):
    """The peak memory of this process's children, in bytes: `rss`, and `own`, which they share with
    no other process. Pages of mapped files, such as the feature cache, are in the first alone."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.rss = self.own = 0
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.2):
            with suppress(psutil.Error):
                all_of = [p.memory_full_info() for p in psutil.Process().children(recursive=True)]
                self.rss = max(self.rss, sum(m.rss for m in all_of))
                self.own = max(self.own, sum(m.uss for m in all_of))


def measured(notebook: Path, run: Path, data_root: Path) -> dict:
    """A row of the table."""
    given = {"run": str(run), "data_root": str(data_root)}
    before, watch, start = own_bytes(run), Watch(), time.perf_counter()
    watch.start()
    papermill.execute_notebook(
        notebook, None, {k: v for k, v in given.items() if k in parameters_of(notebook)},
        cwd=notebook.parent, progress_bar=False, **KERNEL)
    watch.done.set()
    return {"chapter": number(notebook), "seconds": round(time.perf_counter() - start),
            "peak_rss_mb": watch.rss // 10**6, "own_memory_mb": watch.own // 10**6,
            "own_disk_mb": round((own_bytes(run) - before) / 1e6, 1)}


def idle_lab(folder: Path) -> dict:
    """The row of a JupyterLab that nobody uses yet."""
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--port=0"]
    watch = Watch()
    watch.start()
    server = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
    time.sleep(15)
    watch.done.set()
    server.terminate()
    server.wait(20)
    return {"chapter": "jupyterlab", "seconds": 0, "peak_rss_mb": watch.rss // 10**6,
            "own_memory_mb": watch.own // 10**6, "own_disk_mb": 0.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("run", type=Path, help="a finished run")
    parser.add_argument("chapters", nargs="*", help="numbers, default: all but 00")
    args = parser.parse_args()
    os.environ["TQDM_DISABLE"] = "1"
    shared, rows = args.run.resolve(), []
    describe = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(describe, cwd=OUT.parent, capture_output=True, text=True, check=True)
    version = {"date": str(date.today()), "commit": commit.stdout.strip()}
    with tempfile.TemporaryDirectory() as home:
        own = Path(home, "run")
        subprocess.run(LINK.format(shared=shared, own=own), shell=True, check=True)
        rows += [idle_lab(Path(home))] if not args.chapters else []
        for notebook in series(args.chapters or [number(p) for p in series()[1:]]):
            rows.append(measured(notebook, own, reopen(shared).data_root))
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows).assign(**version)
    if args.chapters and OUT.is_file():  # of some chapters: the others keep their rows
        there = pd.read_csv(OUT, dtype={"chapter": str, "commit": str})
        table = pd.concat([there[~there["chapter"].isin(table["chapter"])], table])
    table.sort_values("chapter").to_csv(OUT, index=False)
    once = {"environment": Path(sys.prefix), "run": shared, "of it feature cache":
            shared / "features", "data set": reopen(shared).data_root}
    sizes = [(what, own_bytes(folder) // 10**6) for what, folder in once.items()]
    sizes = pd.DataFrame(sizes, columns=["what", "disk_mb"]).assign(**version)
    sizes.to_csv(OUT.with_name("shared.csv"), index=False)


if __name__ == "__main__":
    main()
