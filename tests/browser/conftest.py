"""A JupyterLab with a finished run (runs/embedded, or PETWEAK_RUN), and a Chromium that looks at
it: `make test-browser`."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from papermill import execute_notebook

from petweak.reporting.notebooks import parameters_of
from petweak.study.run import reopen

HERE = Path(__file__).resolve().parents[2]
RUN = Path(os.environ.get("PETWEAK_RUN", HERE / "runs" / "embedded"))
CHAPTERS = {"04": "cam", "07a": "matcher", "07b": "maskformer"}  # and the explorer in each
WITH_MENUS = "08a"  # a chapter with the explorers of results and of a photo
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def chromium() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def run_folder() -> Path:
    if not (RUN / "results.csv").is_file():
        pytest.skip(f"{RUN} has no finished run: `make demo` makes it")
    return RUN


@pytest.fixture(scope="session")
def page(tmp_path_factory):
    """A page of a headless Chromium; what it looked like at the end is in `screenshots/`."""
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install -e .[test]")
    if (binary := chromium()) is None:
        pytest.skip(f"no Chromium is installed (looked for {', '.join(NAMES)})")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


@pytest.fixture(scope="session")
def screenshots(run_folder) -> Path:
    folder = run_folder / "screenshots"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def lab(run_folder, tmp_path_factory):
    """The address of a JupyterLab over a copy of the notebooks, whose explorers show the run."""
    root = tmp_path_factory.mktemp("lab")
    given = {"run": str(run_folder), "data_root": str(reopen(run_folder).data_root)}
    for name in ("explorers", *CHAPTERS, WITH_MENUS):
        (file,) = (HERE / "notebooks").glob(f"{name}*.ipynb")
        there = {k: v for k, v in given.items() if k in parameters_of(file)}
        execute_notebook(file, root / f"{name}.ipynb", there, prepare_only=True)
    with serve(["jupyter", "lab"], root, tmp_path_factory) as address:
        yield address


class serve:
    """`python -m <command>` on a free port, until the block ends."""

    def __init__(self, command: list[str], root: Path, tmp_path_factory, ready: str = "/api"):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        config = tmp_path_factory.mktemp("jupyter")
        self.address, self.ready = f"http://127.0.0.1:{self.port}", ready
        self.log = (config / "log").open("w")
        # All cells are on the page, also where nobody has scrolled to.
        tracker = config / "settings" / "@jupyterlab" / "notebook-extension"
        tracker.mkdir(parents=True)
        (tracker / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
        environment = os.environ | {"JUPYTER_CONFIG_DIR": str(config), "TQDM_DISABLE": "1",
                                    "JUPYTERLAB_SETTINGS_DIR": str(config / "settings"),
                                    "JUPYTERLAB_WORKSPACES_DIR": str(config / "w")}  # fmt: skip
        large = '{"websocket_max_message_size": 100000000}'  # as in the Makefile
        app = "ServerApp" if command[-1] == "lab" else "Voila"
        options = ["--no-browser", f"--port={self.port}", f"--{app}.tornado_settings={large}"]
        if command[-1] == "lab":
            options += ["--allow-root", "--IdentityProvider.token=", "--ip=127.0.0.1"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command, *options], cwd=root, env=environment,
            stdout=self.log, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def __enter__(self) -> str:
        for _ in range(240):
            try:
                urllib.request.urlopen(self.address + self.ready, timeout=5).read()
                return self.address
            except urllib.error.HTTPError:  # an answer, if not to this question
                return self.address
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.5)
        self.__exit__()
        raise RuntimeError(Path(self.log.name).read_text()[-3000:])

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.log.close()
