"""What a run comes to, whatever time it took, and what of it is finished."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pandas as pd
from safetensors import safe_open

TIMES = {"seconds", "images_per_second", "peak_rss_mb"}
OTHERS = {"digest", "files", "table", "git_commit"}  # hashes of times; what is committed meanwhile
# Written when somebody was at work, or with a clock in it.
NOT_COMPARED = re.compile(r"timings\.csv|\.lock.*|report\.json|notebooks/.*|tables\.md|report\.html"
                          r"|figures/.*")


def unpartial(name: str) -> str:
    """The name that a file will have, in a folder that is whole."""
    return re.sub(r"\.([^/]+)\.\d+\.partial(\.[^./]*)?$", r"\1", name.replace(".partial/", "/"))


def content(run: Path, ignoring: re.Pattern = NOT_COMPARED) -> dict[str, str]:
    """{file: its bytes as a hash} of a run; times are taken out of JSON and CSV."""
    files = (p for p in run.rglob("*") if p.is_file())
    names = {p.relative_to(run).as_posix(): p for p in files}
    return {n: _hash(p, str(run)) for n, p in sorted(names.items()) if not ignoring.fullmatch(n)}


def _hash(path: Path, run: str) -> str:
    data = path.read_bytes()
    if path.suffix == ".json":
        data = json.dumps(_timeless(json.loads(data))).encode()
    elif path.suffix == ".csv" and (data := path.read_bytes()).isascii():
        frame = pd.read_csv(path, dtype=str)
        data = frame.drop(columns=TIMES & set(frame)).to_csv().encode()
    elif path.suffix == ".md":
        data = re.sub(rb"\d[\d,.]* s\b|written by petweak, \w+", b"", data)  # a hash of them, too
    return hashlib.sha256(data.replace(run.encode(), b"RUN")).hexdigest()


def _timeless(value):
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in TIMES | OTHERS}
    return [_timeless(v) for v in value] if isinstance(value, list) else value


def finished(run: Path) -> dict[str, tuple[int, int]]:
    """{file: (inode, time)} of all that no restart may make again: a whole pass, masks of a batch
    that is noted, epochs before the checkpoint, a model with its config, scores with their note."""
    done: set[Path] = set()
    for index in run.glob("features/**/index.json"):
        done |= {index, *index.parent.glob("*.npy")}
    for masks in (run / "masks").glob("*"):
        if (masks / "manifest.json").is_file():
            done |= {masks / "manifest.json", *masks.glob("*.png")}
        elif (progress := masks / "progress.jsonl").is_file():
            for line in progress.read_bytes().splitlines():
                try:
                    done |= {masks / f"{i}.png" for i in json.loads(line)["confidence"]}
                except ValueError:  # it is empty, or the kill has cut it
                    continue
    for model in (run / "models").glob("*/"):
        if (model / "config.json").is_file():
            done |= {p for p in model.rglob("*") if p.suffix in (".safetensors", ".json")
                     and p.name[0] != "."}
            done |= {model / "history.csv"}
        elif (checkpoint := model / "checkpoint.safetensors").is_file():
            with safe_open(checkpoint, "pt") as file:
                epochs = len(json.loads(file.metadata()["history"]))
            done |= set(sorted((model / "epochs").glob("*.safetensors"))[:epochs])
    for note in run.glob("*/*/scores.json"):
        done |= {note, note.with_name("scores.csv")}
    stats = {p.relative_to(run).as_posix(): p.stat() for p in done if p.is_file()}
    return {name: (s.st_ino, s.st_mtime_ns) for name, s in stats.items()}
