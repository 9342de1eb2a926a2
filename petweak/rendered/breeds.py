"""The tables of the drawing: `drawing.toml`, and the breeds of `breeds.csv`.

A breed is one line of the table: proportions, a few shape words and a coat. The coat is a stack of
`colour: zones` layers painted from first to last; a zone is a word that `petweak.rendered.coat`
turns into a soft weight on the animal's surface. A colour is a name or three values.
"""

import csv
import tomllib
from dataclasses import dataclass
from pathlib import Path

Colour = tuple[int, int, int]  # sRGB
DRAWING = tomllib.loads(Path(__file__).with_name("drawing.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Breed:
    """How one breed is drawn. Lengths are in trunk lengths (hip to shoulder of an average animal
    = 1); `muzzle`, `muzzle_width`, `skull_width` and `ear` are in skull radii."""

    name: str  # as Oxford-IIIT Pet spells it: cats begin with a capital letter
    species: str  # cat or dog
    coat: tuple[tuple[Colour, str], ...]  # (colour, zones separated by spaces), in painting order
    fur: str  # short, long, curly, wiry or bare
    fur_length: float  # of the coat at the outline, 0 to 0.15
    trunk: float  # length of the trunk
    girth: float  # radius of the chest
    leg: float  # length of the leg below the chest
    head: float  # radius of the skull
    neck: float  # length of the neck
    muzzle: float  # how far the muzzle stands out of the skull
    muzzle_width: float
    skull_width: float  # over the height of the skull
    ears: str  # cat, round, bat, prick, rose, button, drop, long or tufted
    ear: float  # length of the ear
    tail: str  # cat, whip, curl, plume, stub or brush
    eye: Colour  # of the iris
    eye_size: float  # 1 is the species' usual size
    nose: Colour
    ruff: float  # thickness of the collar of long hair: 0 none, 1 a lion's
    beard: float  # length of moustache and beard: 0 none, 1 to the chest
    jowl: float  # how far the upper lips hang: 0 tight, 1 a Saint Bernard's


def _colour(text: str) -> Colour:
    return tuple(DRAWING["colours"].get(text) or (int(v) for v in text.split()))


def _breed(row: dict[str, str]) -> Breed:
    layers = (layer.split(": ") for layer in row.pop("coat").split("; "))
    values = {"coat": tuple((_colour(colour), zones) for colour, zones in layers)}
    read = {str: str, float: float, Colour: _colour}
    return Breed(**values, **{k: read[Breed.__annotations__[k]](v) for k, v in row.items()})


with Path(__file__).with_suffix(".csv").open(encoding="utf-8", newline="") as _file:
    _rows = [(row.pop("domain"), _breed(row)) for row in csv.DictReader(_file)]
BREEDS = tuple(breed for domain, breed in _rows if domain == "pets")
# Breeds that Oxford-IIIT Pet does not have: the domain that the detector is trained on.
OTHER_BREEDS = tuple(breed for domain, breed in _rows if domain == "other")
