"""Valid files, mutated: what petweak has to read right, or to refuse or quarantine by name.

`KINDS` has a function for each kind of input: it makes a small world of valid files in a folder and
returns a `Case`. `try_out` runs one under hypothesis; `make test` does so with few examples,
`make test-hard` with many. A failing example prints its `Edits`, which are all that it depends on.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import itertools
import json
import os
import shutil
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import tiny_worlds as worlds
import torch
from conftest import small
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from PIL import Image
from run_content import content

from petweak.config import TYPES, Settings, settings
from petweak.data.download import FetchError, fetch_official
from petweak.data.files import to_json
from petweak.data.importing import import_photos
from petweak.data.masks import read_mask
from petweak.data.oxford_pets import Pets, check, load_photo, read_pets
from petweak.models import weights as torchvision_weights
from petweak.study.results import read_results, run_study
from petweak.study.run import Run, reopen
from petweak.training.inference import load_model

REFUSED = (OSError, ValueError, FetchError)
HTML = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>proxy</body></html>\n"
POINTER = (b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d" * 32
           + b"\nsize 12345\n")


@dataclass
class Case:
    """`read` reads the world with the mutated file in it and says what happened in a word or two;
    it raises only to refuse. `broken` are texts or bytes that are no such file at all."""
    file: Path
    read: Callable[[], str]
    edits: st.SearchStrategy  # of functions, bytes -> bytes

    def __post_init__(self) -> None:
        self.valid = self.file.read_bytes()


# --- edits: of any bytes, of pictures, of text, of JSON

@dataclass(frozen=True)
class Edit:
    name: str
    change: Callable[[bytes], bytes]

    def __repr__(self) -> str:
        return self.name


def _at(data: bytes, share: float) -> int:
    return int(share * max(len(data) - 1, 0))


SHARE = st.floats(0, 1, allow_nan=False)
# Most headers lie in front: half of the places are among the first 64 bytes.
PLACE = st.one_of(SHARE, SHARE.map(lambda s: s / 50))


@st.composite
def of_bytes(draw) -> Edit:
    kind = draw(st.sampled_from("flip cut insert swap zero double empty replace".split()))
    a, b = sorted((draw(PLACE), draw(PLACE)))
    extra = draw(st.binary(min_size=1, max_size=24))

    def change(d: bytes) -> bytes:
        i, j = _at(d, a), _at(d, b)
        return {
            "flip": lambda: d[:i] + bytes(x ^ y for x, y in zip(d[i:], extra, strict=False))
            + d[i + len(extra):],
            "cut": lambda: d[:j],
            "insert": lambda: d[:i] + extra + d[i:],
            "swap": lambda: d[:i] + d[j:] + d[i:j],
            "zero": lambda: d[:i] + bytes(j - i) + d[j:],
            "double": lambda: d[:j] + d[i:],
            "empty": lambda: b"",
            "replace": lambda: (HTML, POINTER, extra, bytes(len(d)))[len(extra) % 4],
        }[kind]()

    return Edit(f"{kind} {a:.4f} {b:.4f} {extra!r}", change)


@st.composite
def of_pngs(draw) -> Edit:
    """A chunk dropped, doubled or of other content, with a right checksum."""
    kind = draw(st.sampled_from(("drop", "double", "size", "depth", "content")))
    number, extra = draw(st.integers(0, 5)), draw(st.binary(min_size=4, max_size=8))

    def change(d: bytes) -> bytes:
        chunks, at = [], 8
        while at + 12 <= len(d):
            n = int.from_bytes(d[at : at + 4], "big")
            chunks.append([d[at + 4 : at + 8], d[at + 8 : at + 8 + n]])
            at += 12 + n
        k = number % len(chunks)
        if kind == "drop":
            del chunks[k]
        elif kind == "double":
            chunks.insert(k, chunks[k])
        elif kind == "size":  # up to 16 million pixels wide
            chunks[0][1] = b"\0" + extra[:3] + chunks[0][1][4:]
        elif kind == "depth":  # bits, colours, interlacing
            chunks[0][1] = chunks[0][1][:8] + bytes(x % 17 for x in extra[:4]) + b"\0"
        else:
            chunks[k][1] = chunks[k][1][:-4] + extra
        parts = (len(c).to_bytes(4, "big") + name + c + zlib.crc32(name + c).to_bytes(4, "big")
                 for name, c in chunks)
        return d[:8] + b"".join(parts)

    return Edit(f"png {kind} {number} {extra!r}", change)


@st.composite
def of_lines(draw, words: tuple[str, ...] = ()) -> Edit:
    """A line dropped, doubled, moved, cut, or with another word in it."""
    kind = draw(st.sampled_from(("drop", "double", "move", "cut", "word", "encode", "ends")))
    a, b, w = draw(SHARE), draw(SHARE), draw(SHARE)
    word = draw(st.one_of(st.sampled_from(
        (*words, "", "-1", "0", "99999999999999999999", "nan", "1e400", "é\u202e", "../../x", "a/b",
         "/etc/passwd", '"', ",", "\x00", "None", "[]", "=1+1")), st.text(max_size=12)))

    def change(d: bytes) -> bytes:
        lines = d.decode().splitlines() or [""]
        i, j = round(a * (len(lines) - 1)), round(b * (len(lines) - 1))
        if kind == "drop":
            del lines[i]
        elif kind == "double":
            lines.insert(j, lines[i])
        elif kind == "move":
            lines.insert(j, lines.pop(i))
        elif kind == "cut":
            lines[i] = lines[i][: round(w * len(lines[i]))]
        elif kind == "word":
            glue = "," if "," in lines[i] else " "
            parts = lines[i].split(glue)
            parts[round(w * (len(parts) - 1))] = word
            lines[i] = glue.join(parts)
        text = ("\r", "\r\n")[w > 0.5].join(lines) if kind == "ends" else "\n".join(lines) + "\n"
        code = ("latin-1", "utf-16", "utf-8-sig")[round(2 * w)] if kind == "encode" else "utf-8"
        return (text + "é" * (kind == "encode")).encode(code, "replace")

    return Edit(f"line {kind} {a:.3f} {b:.3f} {w:.3f} {word!r}", change)


@st.composite
def of_json(draw) -> Edit:
    """A key dropped, or a value of another type, anywhere in the tree; or another top."""
    path = draw(st.lists(SHARE, min_size=1, max_size=4))
    drop = draw(st.booleans())
    value = draw(st.sampled_from((None, [], {}, "", "x", -1, 1e300, True, [None], {"a": 1})))

    def change(d: bytes) -> bytes:
        tree = at = json.loads(d)
        if path[0] > 0.97 or not tree:
            return json.dumps(value).encode()
        for n, share in enumerate(path):
            keys = list(at) if isinstance(at, dict) else range(len(at))
            key = keys[round(share * (len(keys) - 1))]
            inner = at[key]
            if n + 1 == len(path) or not isinstance(inner, dict | list) or not inner:
                if drop:
                    del at[key]
                else:
                    at[key] = value
                break
            at = inner
        return json.dumps(tree).encode()

    return Edit(f"json {path} {'drop' if drop else value!r}", change)


@st.composite
def of_gzips(draw) -> Edit:
    """What is inside is mutated, and packed again with a right checksum."""
    edit = draw(of_bytes())
    return Edit(f"gzip {edit}", lambda d: gzip.compress(edit.change(gzip.decompress(d)), 1))


# --- the property

def try_out(case: Case, examples: int) -> Counter:
    """Mutate `case.file` so often; {what happened: how often}. AssertionError where an error is of
    another kind, or its text does not name the file."""
    seen, ticks = Counter(), itertools.count(10**18, 10**9)

    # No deadline, which a busy machine would miss: pytest's timeout ends what hangs.
    @hypothesis(max_examples=examples, derandomize=True, database=None, deadline=None,
                suppress_health_check=list(HealthCheck))
    @given(case.edits)
    def property(edit: Edit) -> None:
        case.file.write_bytes(edit.change(case.valid))
        # Files are known by size and time, and a clock's ticks are longer than an example.
        os.utime(case.file, ns=(next(ticks),) * 2)
        try:
            with warnings.catch_warnings(action="ignore"):
                seen[case.read()] += 1
        except REFUSED as error:
            assert not isinstance(error, RecursionError)
            assert case.file.name in str(error), f"{type(error).__name__}: {error}"
            seen["refused"] += 1
        finally:
            case.file.write_bytes(case.valid)

    property()
    return seen


def in_words(seen: Counter) -> str:
    return ", ".join(f"{n} {what}" for what, n in sorted(seen.items()))


# --- kinds: a data set

def _others_are_alike(case_pets: Pets, before: dict, top: Path) -> None:
    """The maps and trimaps of the photos that are not mutated."""
    now = worlds.results(case_pets, top)
    for image_id, value in now.items():
        if image_id != "beagle_1":
            assert value == before[image_id], image_id


def _in_set(top: Path, file: str, edits: st.SearchStrategy) -> Case:
    root = worlds.pets(top / "data")
    before = worlds.results(check(read_pets(root)), top)
    path = root / "oxford-iiit-pet" / file

    def read() -> str:
        pets = check(read_pets(root))
        _others_are_alike(pets, before, top)
        for q in pets.quarantine:
            assert q.id == "beagle_1" and Path(q.file).name == path.name and q.reason, q
        assert len(pets) + len(pets.quarantine) == len(before)
        return "quarantined" if pets.quarantine else "read"

    return Case(path, read, edits)


def photo(top: Path) -> Case:
    return _in_set(top, "images/beagle_1.jpg", of_bytes())


def png_photo(top: Path) -> Case:
    """A PNG that is called .jpg, as the official set has some."""
    case = _in_set(top, "images/beagle_1.jpg", st.one_of(of_pngs(), of_bytes()))
    with Image.open(case.file) as image:
        image.convert("RGB").save(case.file, "PNG")
    case.valid = case.file.read_bytes()
    return case


def trimap(top: Path) -> Case:
    return _in_set(top, "annotations/trimaps/beagle_1.png", st.one_of(of_pngs(), of_bytes()))


def photo_alone(top: Path) -> Case:
    """As `predict` and the explorers read it."""
    file = top / "photo.png"
    worlds.picture(1).save(file)

    def read() -> str:
        with load_photo(file) as image:
            assert image.mode == "RGB" and min(image.size) > 0
        return "read"

    return Case(file, read, st.one_of(of_pngs(), of_bytes()))


def lists(top: Path) -> Case:
    root = worlds.pets(top / "data")
    words = ("beagle_1", "beagle_9", "Abyssinian_1", "3", "cat")

    def read() -> str:
        pets = check(read_pets(root))
        inside = (root / "oxford-iiit-pet" / "images").resolve()
        for sample in pets.samples:
            assert sample.photo.resolve().parent == inside, sample
        return "quarantined" if pets.quarantine else "read"

    file = root / "oxford-iiit-pet" / "annotations" / "trainval.txt"
    return Case(file, read, st.one_of(of_lines(words), of_bytes()))


# --- kinds: masks

def external_mask(top: Path) -> Case:
    """A photo's mask from elsewhere, through the source `external`."""
    ids, folder = worlds.external(top)
    before = worlds.external_masks(top)

    def read() -> str:
        now = worlds.external_masks(top)
        assert all(now[i] == before[i] for i in ids[1:])
        return "read"

    return Case(folder / f"{ids[0]}.png", read, st.one_of(of_pngs(), of_bytes()))


def mask_of_a_run(top: Path) -> Case:
    file = top / "mask.png"
    mask = np.zeros((40, 56), np.uint8)
    mask[8:30, 10:40] = 255
    Image.fromarray(mask).save(file)

    def read() -> str:
        assert read_mask(file).dtype == np.uint8
        return "read"

    return Case(file, read, st.one_of(of_pngs(), of_bytes()))


# --- kinds: models

def _model(top: Path, file: str, edits: st.SearchStrategy) -> Case:
    folder = worlds.model(top)
    before = {k: v.clone() for k, v in load_model(folder).model.state_dict().items()}

    def read() -> str:
        now = load_model(folder).model.state_dict()
        same = now.keys() == before.keys() and all(torch.equal(now[k], before[k]) for k in now)
        return "read" if same else "read, other values"

    return Case(folder / file, read, edits)


def weights(top: Path) -> Case:
    return _model(top, "model.safetensors", of_bytes())


def model_config(top: Path) -> Case:
    return _model(top, "config.json", st.one_of(of_json(), of_bytes()))


def checkpoint(top: Path) -> Case:
    """Weights of torchvision, as they are downloaded into TORCH_HOME."""
    net, home = torch.nn.Linear(3, 2), mock.patch.dict(os.environ, TORCH_HOME=str(top))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with home:
        file = torchvision_weights.cached_path("resnet50")
        file.parent.mkdir(parents=True)
        torch.save(before, file)

    def read() -> str:
        with home:
            torchvision_weights.fill(net, "resnet50")
        same = all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
        return "read" if same else "read, other values"

    return Case(file, read, of_bytes())


# --- kinds: what is imported or unpacked

def _files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*"))
            if f.is_file() and f.name[0] != "."}


def _imported(top: Path, which: str, edits: st.SearchStrategy,
              untouched: Callable[[bytes, bytes], set[str]] = lambda valid, now: set()) -> Case:
    """`untouched`: the photos, by their file's stem, of which the mutated file says the same."""
    file, to = worlds.own_photos(top)[which], top / "set"
    source = file.parent if which == "classes" else file
    photos = {f.stem: f.read_bytes() for f in file.parent.rglob("*.png") if "masks" not in f.parts}

    def made() -> dict[str, tuple]:
        import_photos(source, to, progress=False, species="cat")
        pets = check(read_pets(to))
        assert not pets.quarantine and len(set(pets.breeds)) == len(pets.breeds)
        assert all(s.photo.read_bytes() == photos[s.id] for s in pets.samples)
        return {s.id: (s.breed_name, s.trimap and s.trimap.read_bytes()) for s in pets.samples}

    before = made() if which != "zip" else {}
    shutil.rmtree(to, ignore_errors=True)
    valid = file.read_bytes()

    def read() -> str:
        now, data = _files(file.parent), file.read_bytes()
        try:
            after = made()
            for i in untouched(valid, data):
                assert after[i] == before[i], i
            return "read" if after == before else "read, other values"
        finally:
            assert _files(file.parent) == now
            whole = (to / "oxford-iiit-pet" / "annotations" / "import.json").is_file()
            assert whole or not to.is_dir() or not _files(to)  # all of it, or nothing
            shutil.rmtree(to, ignore_errors=True)

    return Case(file, read, edits)


def import_csv(top: Path) -> Case:
    def untouched(valid: bytes, now: bytes) -> set[str]:
        lines, text = valid.decode().splitlines(), now.decode("utf-8-sig", "replace")
        same = [x for x in lines[1:] if text.splitlines().count(x) == 1]
        if text.splitlines()[:1] != lines[:1] or '"' in text:
            return set()
        return {i for x in same if text.count(i := Path(x.split(",")[0]).stem) == x.count(i)}

    words = ("Rex/Rex1.png", "masks/Rex1.png", "rex", "Rex", "test", "val", "mask", "file", "..")
    return _imported(top, "csv", st.one_of(of_lines(words), of_bytes()), untouched)


def import_coco(top: Path) -> Case:
    def parts(data: dict) -> dict[str, str]:
        return {Path(image["file_name"]).stem: json.dumps([
            image, [a for a in data["annotations"] if a["image_id"] == image["id"]],
            data["categories"]]) for image in data["images"]}

    def untouched(valid: bytes, now: bytes) -> set[str]:
        before, after = parts(json.loads(valid)), parts(json.loads(now))
        return {i for i in before if before[i] == after.get(i)}

    return _imported(top, "coco", st.one_of(of_json(), of_bytes()), untouched)


def import_classes(top: Path) -> Case:
    return _imported(top, "classes", st.one_of(of_lines(("Rex", "1", "2 Minka")), of_bytes()))


def import_archive(top: Path) -> Case:
    """An archive in place of a folder is refused, whatever is in it."""
    return _imported(top, "zip", of_bytes())


def classes(top: Path) -> Case:
    """classes.txt beside the lists of a data set."""
    root = worlds.pets(top / "data")
    file = root / "oxford-iiit-pet" / "annotations" / "classes.txt"
    file.write_text("\n".join(worlds.BREEDS) + "\n")

    def read() -> str:
        pets = check(read_pets(root))
        assert len(set(pets.breeds)) == len(pets.breeds) == 2 and not pets.quarantine
        return "read" if pets.breeds == tuple(worlds.BREEDS) else "read, other values"

    return Case(file, read, st.one_of(of_lines(("beagle", "1", "2 Bengal")), of_bytes()))


def archive(top: Path) -> Case:
    """An official archive that was put there by hand, whose md5 is as it should be."""
    files, root = worlds.archives(top), top / "root"
    file, beside = root / "images.tar.gz", set(top.iterdir()) | {root}

    def read() -> str:
        now = file.read_bytes()
        shutil.copy(files["annotations.tar.gz"], root)
        md5 = {f.name: hashlib.md5(f.read_bytes()).hexdigest() for f in sorted(root.glob("*.gz"))}
        folder = root / "oxford-iiit-pet"
        try:
            fetch_official(root, base_urls=("http://127.0.0.1:9",), archives=md5, progress=False)
            pets = check(read_pets(root))
            return "quarantined" if pets.quarantine else "read"
        except FetchError:
            assert not (folder / "images").exists()  # whole or not at all
            raise
        finally:
            assert set(top.iterdir()) == beside  # nothing has left the folder
            shutil.rmtree(root)
            root.mkdir()
            file.write_bytes(now)

    root.mkdir()
    shutil.copy(files["images.tar.gz"], file)
    return Case(file, read, st.one_of(of_bytes(), of_gzips()))


# --- kinds: what a run has left

def _of_run(top: Path, file: str, edits: st.SearchStrategy,
            settings: Settings = worlds.STUDY) -> Case:
    """A study is asked for again: what is damaged is named and made anew, or refused."""
    data, run = worlds.study(top, settings)
    before, valid = content(run), (run / file).read_bytes()
    kept = top / "kept"
    shutil.copytree(run, kept)

    def parses(data: bytes) -> bool:
        with contextlib.suppress(ValueError):
            if file.endswith(".json"):
                return isinstance(json.loads(data), dict)
            return file.endswith((".csv", ".npy", ".safetensors")) and len(data) == len(valid)
        return False

    def read() -> str:
        now = (run / file).read_bytes()
        try:
            run_study(Run(run, data, settings))
            if content(run) == before:
                return "read or made anew"
            # A value that is as good as another one: only a checksum could tell.
            assert parses(now) or file.endswith(".csv"), "other results"
            return "read, other values"
        finally:
            shutil.rmtree(run)
            shutil.copytree(kept, run)

    return Case(run / file, read, edits)


RUN_FILES = """data.json run.json features/index.json baselines/all_ones/scores.json
    baselines/all_ones/scores.csv masks/ground_truth/manifest.json masks/ground_truth/scores.json
    masks/ground_truth/scores.csv models/ground_truth-species/config.json
    models/ground_truth-species/scores.json models/ground_truth-species/scores.csv
    models/ground_truth-species/history.csv timings.csv results.csv quarantine.csv""".split()


def _run_kind(file: str) -> Callable[[Path], Case]:
    text = of_lines() if file.endswith(".csv") else of_json()
    return partial(_of_run, file=file, edits=st.one_of(text, of_bytes()))


def external_manifest(top: Path) -> Case:
    """What a run knows of the masks that it made of others'."""
    edits = st.one_of(of_json(), of_bytes())
    return _of_run(top, "masks/external/manifest.json", edits, worlds.external_study(top))


def progress(top: Path) -> Case:
    """What a killed run left of its masks."""
    data, run = worlds.study(top)
    before, kept, folder = content(run), top / "kept", run / "masks" / "ground_truth"
    manifest = json.loads((folder / "manifest.json").read_text())
    half = dict(list(manifest["confidence"].items())[:2])
    lines = [{"key": manifest["key"], "confidence": {}, "seconds": 0.0},
             {"key": manifest["key"], "confidence": half, "seconds": 1.0}]
    (folder / "progress.jsonl").write_text("".join(map(to_json, lines)))
    (folder / "manifest.json").unlink()
    shutil.copytree(run, kept)

    def read() -> str:
        try:
            run_study(Run(run, data, worlds.STUDY))
            masks = {k: v for k, v in content(run).items() if k.endswith(".png")}
            assert masks.items() <= before.items() and len(masks) > 3
            return "read or made anew"
        finally:
            shutil.rmtree(run)
            shutil.copytree(kept, run)

    return Case(folder / "progress.jsonl", read, st.one_of(of_lines(), of_bytes()))


def reopened(top: Path) -> Case:
    """run.json, as the report, the explorers and sweeps read it."""
    _, run = worlds.study(top)

    def read() -> str:
        return "read" if reopen(run).settings == worlds.STUDY else "read, other values"

    return Case(run / "run.json", read, st.one_of(of_json(), of_bytes()))


def table(top: Path) -> Case:
    """results.csv, as the report and notebooks read it."""
    _, run = worlds.study(top)

    def read() -> str:
        return f"read{', fewer columns' * ('value' not in read_results(run))}"

    return Case(run / "results.csv", read, st.one_of(of_lines(), of_bytes()))


def setting(top: Path) -> Case:
    """Settings as text: a line `name=value` each, in a file that the test reads."""
    file = top / "settings.txt"
    flat = small().flat()
    words = tuple(f"{k}={v}" for k, v in flat.items() if k in TYPES and not isinstance(v, tuple))
    file.write_text("\n".join(words) + "\n")

    def read() -> str:
        pairs = [x.split("=", 1) for x in file.read_text("utf-8", "replace").splitlines()
                 if "=" in x]
        try:
            settings("embedded", **dict(pairs))
        except ValueError as error:  # names the setting rather than a file
            names = [k for k, _ in pairs if k and k in str(error)]
            assert names or "unknown setting" in str(error), error
            return "refused"
        return "read"

    return Case(file, read, st.one_of(of_lines(words), of_bytes()))


KINDS: dict[str, Callable[[Path], Case]] = {
    "photo (JPEG)": photo, "photo (PNG named .jpg)": png_photo, "photo of predict": photo_alone,
    "trimap": trimap, "list of photos": lists, "external mask": external_mask,
    "mask of a run": mask_of_a_run, "weights (safetensors)": weights,
    "model's config.json": model_config, "progress.jsonl": progress, "run.json, reopened": reopened,
    "results.csv, read": table, "settings": setting, "weights (torchvision)": checkpoint,
    "import: CSV": import_csv, "import: COCO": import_coco, "import: classes.txt": import_classes,
    "import: archive": import_archive, "classes.txt": classes, "archive (tar.gz)": archive,
    "manifest of external": external_manifest,
    **{f"run: {file}": _run_kind(file) for file in RUN_FILES},
}
