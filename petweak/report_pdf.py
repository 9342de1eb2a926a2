"""report.pdf: the report's page, printed by a browser that is already on the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from petweak.files import replacing

# Of Chromium's family, in the order they are looked for; any of them prints the same page.
BROWSERS = (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome",
    "microsoft-edge", "msedge", "brave-browser",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)  # fmt: skip
PATIENCE = 180  # seconds


def find_browser() -> str:
    """The path of a browser that can print.

    Raises:
        FileNotFoundError: there is none; the message says what to do.
    """
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    raise FileNotFoundError(
        "a PDF takes Chromium or Google Chrome, and none is on the PATH: install one, or write "
        "--format html, open report.html in any browser and print it into a file"
    )


def print_pdf(page: str, path: Path) -> None:
    """Print a page of HTML that asks for no other file. RuntimeError where the browser fails."""
    browser = find_browser()
    with tempfile.TemporaryDirectory() as folder, replacing(path) as beside:
        source = Path(folder) / "page.html"
        source.write_text(page, encoding="utf-8")
        # As root Chromium runs without its sandbox only; the page is our own and has no script.
        root = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
        command = [
            browser, "--headless", "--disable-gpu", *root, f"--user-data-dir={folder}/profile",
            "--no-pdf-header-footer", f"--print-to-pdf={beside}", source.as_uri(),
        ]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{browser} did not print within {PATIENCE} s") from None
        if done.returncode or not beside.is_file():
            said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            raise RuntimeError(f"{browser} printed no PDF (exit code {done.returncode}): {said}")
