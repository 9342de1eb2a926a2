"""Valid files, mutated: what petweak has to read right, or to refuse or quarantine by name.

`KINDS` has a function for each kind of input: it makes a small world of valid files in a folder and
returns a `Case`. Read right means: the values of the valid file, or those that the mutated one has
by another reader (csv, json, OpenCV, a few lines here). `try_out` runs one under hypothesis;
`make test` does so with few examples, `make test-hard` with many. A failing example prints its
`Edits`, which are all that it depends on.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import io
import itertools
import json
import os
import re
import shutil
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import tiny_worlds as worlds
import torch
from conftest import small
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from PIL import Image
from run_content import content

from petweak.config import TYPES, Settings, settings
from petweak.data.download import FetchError, fetch_official
from petweak.data.files import to_json
from petweak.data.importing import import_photos
from petweak.data.masks import read_mask
from petweak.data.oxford_pets import Pets, check, load_photo, load_trimap, read_pets
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


# What is tried of every file.
PAGE, PLACEHOLDER = Edit("a page", lambda _: HTML), Edit("a pointer", lambda _: POINTER)


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
    """Mutate `case.file` so often, and in the two ways that are tried of every file; {what
    happened: how often}. AssertionError where an error is of another kind, or its text does not
    name the file."""
    seen, ticks = Counter(), itertools.count(10**18, 10**9)

    @hypothesis(max_examples=examples, derandomize=True, database=None,
                suppress_health_check=list(HealthCheck))
    @example(PAGE)
    @example(PLACEHOLDER)
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

def _as_others_see(file: Path, valid: bytes, pixels: np.ndarray) -> None:
    """What was read of a mutated picture is what the valid one shows, or what OpenCV reads of it,
    but for the rounding of JPEG."""
    colour = pixels.ndim == 3
    for data in (file.read_bytes(), valid):
        other = cv2.imdecode(np.frombuffer(data, np.uint8),
                             cv2.IMREAD_COLOR if colour else cv2.IMREAD_UNCHANGED)
        if other is None or other.shape[:2] != pixels.shape[:2]:
            continue
        other = other[..., ::-1] if colour else other
        lossy = data[:2] == b"\xff\xd8"
        if other.shape == pixels.shape and (
                np.abs(other.astype(int) - pixels).mean() < 2 * lossy + 1e-9):
            return
    raise AssertionError(f"{file.name}: pixels that nobody else sees")


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
        if pets.quarantine:
            return "quarantined"
        sample = pets.sample("beagle_1")
        pixels = load_photo(sample.photo) if path == sample.photo else load_trimap(sample)
        _as_others_see(path, case.valid, np.asarray(pixels))
        return "read"

    return (case := Case(path, read, edits))


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
            _as_others_see(file, case.valid, np.asarray(image))
        return "read"

    return (case := Case(file, read, st.one_of(of_pngs(), of_bytes())))


def lists(top: Path) -> Case:
    root = worlds.pets(top / "data")
    words = ("beagle_1", "beagle_9", "Abyssinian_1", "3", "cat")

    def read() -> str:
        pets = check(read_pets(root))
        inside = (root / "oxford-iiit-pet" / "images").resolve()
        for sample in pets.samples:
            assert sample.photo.resolve().parent == inside, sample
        rows = [line.rsplit(None, 3) for _, line in _lines(file.read_bytes())]
        ids = {i.removesuffix(".jpg"): (int(k), int(species) - 1) for i, k, species, _ in rows}
        good = {s.id: (s.breed + 1, s.species) for s in pets.samples if s.split == "train"}
        ranks = {k: n for n, k in enumerate(sorted({k for k, _ in ids.values()} | {1, 2}), 1)}
        left = {q.id for q in pets.quarantine}
        assert good == {i: (ranks[k], n) for i, (k, n) in ids.items() if i not in left}
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
        if now[ids[0]] != before[ids[0]]:
            mask = cv2.imdecode(np.frombuffer(now[ids[0]], np.uint8), cv2.IMREAD_UNCHANGED)
            other = cv2.imread(str(case.file), cv2.IMREAD_GRAYSCALE)
            assert np.array_equal(mask, np.where(other > 127, 255, 0)), "read as another mask"
        return "read"

    return (case := Case(folder / f"{ids[0]}.png", read, st.one_of(of_pngs(), of_bytes())))


def mask_of_a_run(top: Path) -> Case:
    file = top / "mask.png"
    mask = np.zeros((40, 56), np.uint8)
    mask[8:30, 10:40] = 255
    Image.fromarray(mask).save(file)

    def read() -> str:
        _as_others_see(file, case.valid, read_mask(file))
        return "read"

    return (case := Case(file, read, st.one_of(of_pngs(), of_bytes())))


# --- kinds: models

def _model(top: Path, file: str, edits: st.SearchStrategy) -> Case:
    folder = worlds.model(top)
    before = {k: v.clone() for k, v in load_model(folder).model.state_dict().items()}

    def read() -> str:
        now = load_model(folder).model.state_dict()
        assert now.keys() == before.keys() and all(torch.equal(now[k], before[k]) for k in now)
        return "read"

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
        assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
        return "read"

    return Case(file, read, of_bytes())


# --- kinds: what is imported or unpacked

def _files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*"))
            if f.is_file() and f.name[0] != "."}


def _imported(top: Path, which: str, edits: st.SearchStrategy,
              said: Callable[[Path], dict[str, tuple]] | None = None) -> Case:
    """`said`: what the mutated file says by another reader, {photo's name: (class, split, mask)}.
    What is imported says the same; the rest is named in the table of the import."""
    file, to = worlds.own_photos(top)[which], top / "set"
    source = file.parent if which == "classes" else file
    photos = {f.stem: f.read_bytes() for f in file.parent.rglob("*.png") if "masks" not in f.parts}

    def made() -> dict[str, tuple]:
        import_photos(source, to, progress=False, species="cat")
        pets = check(read_pets(to))
        assert not pets.quarantine and len(set(pets.breeds)) == len(pets.breeds)
        assert all(s.photo.read_bytes() == photos[s.id] for s in pets.samples)
        table = pets.root / "annotations" / "import.csv"
        with table.open(encoding="utf-8", newline="") as lines:
            rows = {row["file"]: row for row in csv.DictReader(lines)}
        says = said(file)
        assert {name for name, row in rows.items() if row["id"]} <= says.keys() <= rows.keys()
        for name, (breed, split, mask) in says.items():
            if rows[name]["left_out"]:
                continue
            sample = pets.sample(rows[name]["id"])
            assert sample.breed_name == breed and split in ("", sample.split), name
            if sample.trimap is None:
                assert mask is None or rows[name]["note"], name
            else:  # but for the pixels along an outline
                other = np.pad(mask ^ (load_trimap(sample) == 1), 1).astype(np.uint8)
                assert not cv2.erode(other, np.ones((3, 3), np.uint8)).any(), name
        return {s.id: (s.breed_name, s.split, s.trimap and s.trimap.read_bytes())
                for s in pets.samples}

    before = made() if said else {}
    shutil.rmtree(to, ignore_errors=True)

    def read() -> str:
        now = _files(file.parent)
        try:
            return "read" if made() == before else "read as it is now"
        finally:
            assert _files(file.parent) == now
            whole = (to / "oxford-iiit-pet" / "annotations" / "import.json").is_file()
            assert whole or not to.is_dir() or not _files(to)  # all of it, or nothing
            shutil.rmtree(to, ignore_errors=True)

    return Case(file, read, edits)


def import_csv(top: Path) -> Case:
    def said(file: Path) -> dict[str, tuple]:
        text, out, name_of = file.read_bytes().decode("utf-8-sig"), {}, {}
        delimiter = max(",;\t", key=re.split("[\r\n]", text)[0].count)
        header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        header = [name.strip().lower() for name in header]
        for row in (dict(zip(header, map(str.strip, row), strict=False)) for row in rows):
            if any(row.values()):
                path = os.path.abspath(file.parent / row["file"])
                name = name_of.setdefault(path, row["file"])
                out.setdefault(name, (row["class"], row.get("split", "").lower(), []))
                out[name][2].extend(filter(None, [row.get("mask")]))
        given = {split for _, split, _ in out.values()}
        for name, (breed, split, files) in out.items():
            there = [m for f in files if (m := file.parent / f).is_file()]
            masks = [np.asarray(Image.open(m)) > 0 for m in there]
            split = split if {"train", "test"} <= given and split != "val" else ""
            out[name] = breed, split, np.logical_or.reduce(masks) if masks else None
        return out

    words = ("Rex/Rex1.png", "masks/Rex1.png", "rex", "Rex", "test", "val", "mask", "file", "..")
    return _imported(top, "csv", st.one_of(of_lines(words), of_bytes()), said)


def import_coco(top: Path) -> Case:
    def unpacked(text: str) -> list[int]:
        runs, digits = [], []
        for digit in (c - 48 for c in text.encode()):
            digits.append(digit)
            if digit < 32:  # the last one, with a sign
                n = sum((d & 31) << 5 * k for k, d in enumerate(digits))
                n -= (digit & 16) << 5 * len(digits) - 4
                runs.append(n + (runs[-2] if len(runs) > 2 else 0))
                digits = []
        return runs

    def mask_of(image: dict, annotations: list[dict]) -> np.ndarray:
        h, w = (image.get(k) or n for k, n in (("height", worlds.HEIGHT), ("width", worlds.WIDTH)))
        union, at = np.zeros((h, w), bool), np.indices((w, h)).reshape(2, -1).T + 0.5
        for part in (a["segmentation"] for a in annotations):
            if isinstance(part, dict):
                counts = part["counts"]
                counts = unpacked(counts) if isinstance(counts, str) else counts
                runs = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
                union |= runs.reshape(w, h).T
            for outline in part if isinstance(part, list) else ():
                polygon = Outline(np.array(outline).reshape(-1, 2))
                union |= polygon.contains_points(at).reshape(w, h).T
        size = worlds.WIDTH, worlds.HEIGHT
        return np.asarray(Image.fromarray(union).resize(size, Image.Resampling.NEAREST))

    def said(file: Path) -> dict[str, tuple]:
        data, out = json.loads(file.read_bytes()), {}
        names = {c["id"]: c["name"] for c in data["categories"]}
        for image in data["images"]:
            of, areas = [a for a in data["annotations"] if a["image_id"] == image["id"]], Counter()
            for a in of:
                areas[names[a["category_id"]]] += a.get("area") or np.prod(a["bbox"][2:])
            drawn = of and all(a.get("segmentation") for a in of)
            mask = np.zeros((worlds.HEIGHT, worlds.WIDTH), bool)  # if it is none, there is a note
            with contextlib.suppress(TypeError, ValueError, KeyError):
                mask = mask_of(image, of) if drawn else None
            breed = max(areas, key=areas.get, default="")
            out[image["file_name"]] = breed, "", mask if drawn else None
        return out

    return _imported(top, "coco", st.one_of(of_json(), of_bytes()), said)


def _lines(data: bytes) -> list[tuple[int, str]]:
    """Those of a list, as `oxford_pets` numbers them."""
    lines = enumerate(map(str.strip, re.split("\r\n|\r|\n", data.decode("utf-8-sig"))), 1)
    return [(n, line) for n, line in lines if line and not line.startswith("#")]


def _names(data: bytes) -> tuple[str, str]:
    """The names of the classes 1 and 2 in a classes.txt."""
    assert data.strip() not in (HTML.strip(), POINTER.strip())
    lines = [line for _, line in _lines(data)]
    pairs = [re.split(r"[\s:,;]+", line, maxsplit=1) for line in lines]
    if all(len(pair) == 2 and pair[0].isdecimal() for pair in pairs):
        of = {int(k): name for k, name in pairs}
        return of[1], of[2]
    return lines[0], lines[1]


def import_classes(top: Path) -> Case:
    def said(file: Path) -> dict[str, tuple]:
        names = _names(file.read_bytes())
        return {f"{k}/{pet}{n}.png": (names[k - 1], "", None)
                for k, pet in ((1, "Minka"), (2, "Rex")) for n in (1, 2, 3)}

    return _imported(top, "classes", st.one_of(of_lines(("Rex", "1", "2 Minka")), of_bytes()), said)


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
        assert pets.breeds == _names(file.read_bytes()) and not pets.quarantine
        return "read" if pets.breeds == tuple(worlds.BREEDS) else "read as it is now"

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
    """A study is asked for again: what is damaged is named and made again, or refused."""
    data, run = worlds.study(top, settings)
    before, kept = content(run), top / "kept"
    shutil.copytree(run, kept)

    def read() -> str:
        try:
            run_study(Run(run, data, settings))
            if content(run) == before:
                return "read or made anew"
            raise AssertionError("other results")
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
        assert reopen(run).settings == worlds.STUDY
        return "read"

    return Case(run / "run.json", read, st.one_of(of_json(), of_bytes()))


def table(top: Path) -> Case:
    """results.csv, as the report and notebooks read it."""
    _, run = worlds.study(top)
    before = read_results(run)

    def read() -> str:
        assert read_results(run).equals(before)
        return "read"

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
