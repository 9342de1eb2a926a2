"""The breeds that can be drawn: 37 of Oxford-IIIT Pet, and others for a separate domain.

A breed is a set of proportions, a few shape words and a coat. The coat is a stack of
``(colour, zones)`` layers painted from first to last; a zone is a word that
:mod:`petweak.data.rendered_coat` turns into a soft weight on the animal's surface.
"""

from __future__ import annotations

from dataclasses import dataclass

Colour = tuple[int, int, int]

# Coat colours, sRGB. Real coats are darker and less saturated than their names suggest.
BLACK = (34, 31, 31)
WHITE = (236, 230, 220)
CREAM = (226, 202, 166)
TAN = (181, 121, 66)
RED = (158, 88, 44)
FAWN = (203, 160, 112)
LIVER = (82, 49, 35)
BROWN = (112, 74, 47)
SEAL = (66, 47, 41)
GREY = (126, 126, 130)
BLUE = (104, 111, 124)
SILVER = (182, 178, 172)
SKIN = (216, 164, 143)
GOLD = (192, 138, 72)

AMBER, GREEN, SKY, COPPER, HAZEL = (
    (206, 150, 40), (140, 170, 70), (104, 160, 222), (196, 112, 34), (150, 132, 60))
DARK_EYE = (66, 38, 20)

Layer = tuple[Colour, str]


@dataclass(frozen=True)
class Breed:
    """How one breed is drawn.

    Lengths are in trunk lengths (hip to shoulder of an average animal = 1); ``muzzle``,
    ``muzzle_width``, ``skull_width`` and ``ear`` are in skull radii.

    Args:
        name: Oxford-IIIT's spelling; cats start with a capital letter, dogs do not.
        species: ``"cat"`` or ``"dog"``.
        coat: ``(colour, zones)`` layers, painted in order; zones are space separated words.
        fur: ``"short"``, ``"long"``, ``"curly"``, ``"wiry"`` or ``"bare"``.
        fur_length: length of the coat at the outline, in trunk lengths (0 to 0.15).
        trunk: length of the trunk.
        girth: radius of the chest.
        leg: length of the leg below the chest.
        head: skull radius.
        neck: length of the neck.
        muzzle: how far the muzzle stands out of the skull.
        muzzle_width: its thickness.
        skull_width: width of the skull over its height.
        ears: ``"cat"``, ``"round"``, ``"bat"``, ``"prick"``, ``"rose"``, ``"button"``,
            ``"drop"``, ``"long"`` or ``"tufted"``.
        ear: length of the ear.
        tail: ``"cat"``, ``"whip"``, ``"curl"``, ``"plume"``, ``"stub"`` or ``"brush"``.
        eye: colour of the iris.
        eye_size: 1 is the species' usual size.
        nose: colour of the nose leather.
        ruff: thickness of the collar of long hair (0 none, 1 lion).
        beard: length of moustache and beard (0 none, 1 to the chest).
        jowl: how far the upper lips hang (0 tight, 1 a Saint Bernard's).
    """

    name: str
    species: str
    coat: tuple[Layer, ...]
    fur: str = "short"
    fur_length: float = 0.02
    trunk: float = 1.0
    girth: float = 0.27
    leg: float = 0.50
    head: float = 0.22
    neck: float = 0.40
    muzzle: float = 0.75
    muzzle_width: float = 0.50
    skull_width: float = 0.92
    ears: str = "drop"
    ear: float = 1.0
    tail: str = "whip"
    eye: Colour = DARK_EYE
    eye_size: float = 1.0
    nose: Colour = (28, 24, 25)
    ruff: float = 0.0
    beard: float = 0.0
    jowl: float = 0.2


def _cat(name: str, *coat: Layer, **shape) -> Breed:
    usual = {"trunk": 0.95, "girth": 0.225, "leg": 0.40, "head": 0.215, "neck": 0.30,
             "muzzle": 0.22, "muzzle_width": 0.42, "skull_width": 1.08, "ears": "cat",
             "ear": 0.95, "tail": "cat", "eye": HAZEL, "nose": (150, 84, 78), "jowl": 0.0}
    return Breed(name, "cat", coat, **{**usual, **shape})


def _dog(name: str, *coat: Layer, **shape) -> Breed:
    return Breed(name, "dog", coat, **shape)


BREEDS: tuple[Breed, ...] = (
    _cat("Abyssinian", (TAN, "all"), (SEAL, "ticking"), (CREAM, "chin"), (SEAL, "tailtip"),
         trunk=0.95, girth=0.195, leg=0.46, head=0.19, neck=0.36, muzzle=0.34, skull_width=0.98,
         ears="cat", ear=1.35, eye=GREEN),
    _dog("american_bulldog", (WHITE, "all"), (BROWN, "patches eyepatch"), girth=0.33, leg=0.44,
         head=0.29, muzzle=0.50, muzzle_width=0.66, skull_width=1.12, ears="rose", ear=0.62,
         jowl=0.55, neck=0.36),
    _dog("american_pit_bull_terrier", (BLUE, "all"), (WHITE, "chest socks"), girth=0.29,
         leg=0.48, head=0.26, muzzle=0.58, muzzle_width=0.58, skull_width=1.10, ears="rose",
         ear=0.62, nose=(70, 66, 72), eye=AMBER),
    _dog("basset_hound", (TAN, "all"), (BLACK, "saddle"),
         (WHITE, "chest legs muzzle blaze tailtip"), trunk=1.22, girth=0.29, leg=0.20, head=0.26,
         muzzle=0.92, muzzle_width=0.52,
         skull_width=0.86, ears="long", ear=1.75, jowl=0.8, neck=0.34),
    _dog("beagle", (TAN, "all"), (BLACK, "saddle"), (WHITE, "chest legs muzzle blaze tailtip"),
         trunk=0.95, girth=0.25, leg=0.42, head=0.225, muzzle=0.72, ears="long", ear=1.15,
         jowl=0.3),
    _cat("Bengal", (GOLD, "all"), (CREAM, "belly chin"), (SEAL, "rosettes headstripes rings"),
         girth=0.23, leg=0.42, head=0.20, muzzle=0.30, ear=0.85, eye=GREEN),
    _cat("Birman", (CREAM, "all"), (SEAL, "points"), (WHITE, "paws"), fur="long",
         fur_length=0.075, girth=0.25, head=0.22, ear=0.82, eye=SKY, ruff=0.55, tail="plume",
         nose=(92, 62, 60)),
    _cat("Bombay", (BLACK, "all"), girth=0.225, head=0.215, ear=0.90, eye=COPPER,
         nose=(36, 32, 33), skull_width=1.10),
    _dog("boxer", (FAWN, "all"), (BLACK, "muzzle"), (WHITE, "chest socks blaze"), girth=0.28,
         leg=0.56, head=0.255, muzzle=0.42, muzzle_width=0.66, skull_width=0.98, ears="drop",
         ear=0.72, jowl=0.7, tail="stub"),
    _cat("British_Shorthair", (BLUE, "all"), fur_length=0.034, girth=0.27, leg=0.33, head=0.26,
         neck=0.24, muzzle=0.20, skull_width=1.22, ears="round", ear=0.66, eye=COPPER,
         nose=(84, 84, 94)),
    _dog("chihuahua", (FAWN, "all"), (CREAM, "chest belly muzzle"), trunk=0.80, girth=0.20,
         leg=0.42, head=0.25, neck=0.32, muzzle=0.46, muzzle_width=0.36, skull_width=1.06,
         ears="bat", ear=1.15, eye_size=1.45, tail="whip", jowl=0.0),
    _cat("Egyptian_Mau", (SILVER, "all"), (WHITE, "belly chin"), (BLACK, "spots headstripes rings"),
         girth=0.205, leg=0.46, head=0.195, muzzle=0.28, ear=1.08, eye=GREEN),
    _dog("english_cocker_spaniel", (GOLD, "all"), (CREAM, "belly"), fur="long", fur_length=0.05,
         girth=0.26, leg=0.42, head=0.235, muzzle=0.74, muzzle_width=0.48, ears="long", ear=1.45,
         ruff=0.15, jowl=0.35, tail="stub"),
    _dog("english_setter", (WHITE, "all"), (BLACK, "roan ears eyepatch"), fur="long",
         fur_length=0.055, girth=0.26, leg=0.56, head=0.215, muzzle=1.05, muzzle_width=0.46,
         skull_width=0.84, ears="long", ear=1.20, tail="plume", jowl=0.45, ruff=0.15),
    _dog("german_shorthaired", (SILVER, "all"), (LIVER, "roan head saddlepatch"), girth=0.265,
         leg=0.60, head=0.215, muzzle=0.98, muzzle_width=0.46, skull_width=0.86, ears="drop",
         ear=1.10, tail="stub", eye=AMBER, nose=(70, 44, 36)),
    _dog("great_pyrenees", (WHITE, "all"), (CREAM, "ears patchlight"), fur="long",
         fur_length=0.095, girth=0.33, leg=0.50, head=0.255, muzzle=0.80, muzzle_width=0.52,
         ears="drop", ear=0.80, tail="plume", ruff=0.7),
    _dog("havanese", (CREAM, "all"), (BROWN, "patchlight ears"), fur="curly", fur_length=0.095,
         trunk=0.88, girth=0.27, leg=0.27, head=0.25, muzzle=0.46, ears="long", ear=1.05,
         tail="plume", beard=0.45, ruff=0.3),
    _dog("japanese_chin", (WHITE, "all"), (BLACK, "ears eyepatches patches"), fur="long",
         fur_length=0.075, trunk=0.82, girth=0.24, leg=0.30, head=0.25, muzzle=0.16,
         muzzle_width=0.54, skull_width=1.12, ears="long", ear=1.00, eye_size=1.5, tail="plume",
         ruff=0.4, jowl=0.35),
    _dog("keeshond", (SILVER, "all"), (BLACK, "tips saddle mask ears"), (CREAM, "spectacles legs"),
         fur="long", fur_length=0.105, girth=0.30, leg=0.42, head=0.235, muzzle=0.62,
         muzzle_width=0.40, ears="prick", ear=0.72, tail="curl", ruff=1.0),
    _dog("leonberger", (TAN, "all"), (BLACK, "mask ears tips"), fur="long", fur_length=0.08,
         girth=0.32, leg=0.54, head=0.25, muzzle=0.86, muzzle_width=0.54, ears="drop", ear=0.95,
         tail="plume", ruff=0.75, jowl=0.4),
    _cat("Maine_Coon", (BROWN, "all"), (BLACK, "tabby headstripes rings"), (CREAM, "chin chest"),
         fur="long", fur_length=0.09, trunk=1.1, girth=0.26, leg=0.42, head=0.22, muzzle=0.42,
         muzzle_width=0.50, ears="tufted", ear=1.18, eye=AMBER, ruff=0.8, tail="plume"),
    _dog("miniature_pinscher", (BLACK, "all"), (RED, "tanpoints"), trunk=0.85, girth=0.215,
         leg=0.52, head=0.195, muzzle=0.80, muzzle_width=0.36, skull_width=0.88, ears="prick",
         ear=1.15, tail="stub", jowl=0.0),
    _dog("newfoundland", (BLACK, "all"), (LIVER, "patchlight"), fur="long", fur_length=0.085,
         girth=0.34, leg=0.48, head=0.285, muzzle=0.68, muzzle_width=0.60, skull_width=1.04,
         ears="drop", ear=0.80, tail="plume", ruff=0.5, jowl=0.6),
    _cat("Persian", (CREAM, "all"), (GOLD, "patchlight headtop"), fur="long", fur_length=0.12,
         trunk=0.85, girth=0.28, leg=0.26, head=0.26, neck=0.22, muzzle=0.06, muzzle_width=0.40,
         skull_width=1.24, ears="round", ear=0.52, eye=COPPER, eye_size=1.2, ruff=1.0,
         tail="plume", nose=(176, 106, 100)),
    _dog("pomeranian", (RED, "all"), (GOLD, "belly tailtip muzzle"), fur="long", fur_length=0.12,
         trunk=0.72, girth=0.28, leg=0.27, head=0.225, neck=0.28, muzzle=0.48, muzzle_width=0.34,
         skull_width=1.02, ears="prick", ear=0.58, tail="curl", ruff=1.1, jowl=0.0),
    _dog("pug", (FAWN, "all"), (BLACK, "mask ears"), trunk=0.80, girth=0.29, leg=0.30,
         head=0.28, neck=0.26, muzzle=0.16, muzzle_width=0.68, skull_width=1.16, ears="button",
         ear=0.62, tail="curl", eye_size=1.5, jowl=0.55),
    _cat("Ragdoll", (WHITE, "all"), (CREAM, "back"), (GREY, "points"), (WHITE, "blaze muzzle"),
         fur="long", fur_length=0.09, trunk=1.05, girth=0.27, head=0.235, ear=0.80, eye=SKY,
         ruff=0.8, tail="plume"),
    _cat("Russian_Blue", (BLUE, "all"), ((138, 144, 156), "tips"), girth=0.205, leg=0.44, head=0.20,
         muzzle=0.28, skull_width=1.02, ear=1.12, eye=GREEN, nose=(78, 76, 84)),
    _dog("saint_bernard", (WHITE, "all"), (RED, "saddlepatch eyepatches ears"), (BLACK, "mask2"),
         (WHITE, "blaze muzzletip chest legs"), fur="long", fur_length=0.05, girth=0.34,
         leg=0.52, head=0.285, muzzle=0.66, muzzle_width=0.66, skull_width=1.04, ears="drop",
         ear=0.88, tail="brush", ruff=0.25, jowl=1.0),
    _dog("samoyed", (WHITE, "all"), fur="long", fur_length=0.105, girth=0.31, leg=0.48,
         head=0.245, muzzle=0.66, muzzle_width=0.42, skull_width=1.0, ears="prick", ear=0.66,
         tail="curl", ruff=1.0),
    _dog("scottish_terrier", (BLACK, "all"), fur="wiry", fur_length=0.06, trunk=0.95, girth=0.27,
         leg=0.20, head=0.24, neck=0.32, muzzle=1.02, muzzle_width=0.48, skull_width=0.76,
         ears="prick", ear=0.72, tail="stub", beard=0.75),
    _dog("shiba_inu", (RED, "all"), (CREAM, "urajiro"), fur="short", fur_length=0.04, girth=0.255,
         leg=0.46, head=0.235, muzzle=0.60, muzzle_width=0.40, skull_width=1.02, ears="prick",
         ear=0.70, tail="curl", ruff=0.25, jowl=0.0),
    _cat("Siamese", (CREAM, "all"), (SEAL, "points"), girth=0.185, leg=0.48, head=0.185,
         neck=0.36, muzzle=0.44, muzzle_width=0.36, skull_width=0.92, ear=1.32, eye=SKY,
         nose=(60, 44, 42)),
    _cat("Sphynx", (SKIN, "all"), (BLUE, "patchlight headtop"), fur="bare", fur_length=0.0,
         girth=0.225, leg=0.44, head=0.195, neck=0.34, muzzle=0.30, skull_width=0.94, ear=1.55,
         eye=GREEN, eye_size=1.1, tail="whip"),
    _dog("staffordshire_bull_terrier", (BROWN, "all"), (BLACK, "brindle"), (WHITE, "chest"),
         girth=0.31, leg=0.38, head=0.28, muzzle=0.46, muzzle_width=0.58, skull_width=1.18,
         ears="rose", ear=0.58, jowl=0.3),
    _dog("wheaten_terrier", (FAWN, "all"), (CREAM, "tips"), fur="curly", fur_length=0.09,
         girth=0.27, leg=0.48, head=0.235, muzzle=0.82, muzzle_width=0.52, ears="button",
         ear=0.75, tail="stub", beard=0.7),
    _dog("yorkshire_terrier", (GOLD, "all"), (BLUE, "saddle back"), fur="long", fur_length=0.10,
         trunk=0.78, girth=0.225, leg=0.28, head=0.21, muzzle=0.48, muzzle_width=0.38,
         ears="prick", ear=0.85, tail="brush", beard=0.6, ruff=0.35),
)

# Breeds that Oxford-IIIT Pet does not have: the domain that the segmenter is trained on.
OTHER_BREEDS: tuple[Breed, ...] = (
    _cat("Tortoiseshell", (BLACK, "all"), (RED, "patches"), ear=0.9, eye=AMBER),
    _cat("Orange_Tabby", (GOLD, "all"), (RED, "tabby headstripes rings"), (CREAM, "chin"),
         girth=0.24, ear=0.85, eye=AMBER),
    _cat("Tuxedo", (BLACK, "all"), (WHITE, "chest socks muzzle blaze belly"), eye=GREEN),
    _cat("Turkish_Angora", (WHITE, "all"), fur="long", fur_length=0.07, ear=1.1, eye=SKY,
         ruff=0.4, tail="plume"),
    _cat("Grey_Tabby", (GREY, "all"), (BLACK, "tabby headstripes rings"), (WHITE, "chin chest"),
         eye=GREEN),
    _cat("Norwegian_Forest", (SILVER, "all"), (BROWN, "tabby headstripes rings"),
         (WHITE, "chest chin paws"), fur="long", fur_length=0.085, ears="tufted", ear=1.05,
         ruff=0.7, tail="plume", eye=HAZEL),
    _dog("dalmatian", (WHITE, "all"), (BLACK, "spots ears"), leg=0.58, muzzle=0.88,
         ears="drop", ear=0.95),
    _dog("corgi", (GOLD, "all"), (WHITE, "chest legs blaze muzzle belly"), fur_length=0.05,
         trunk=1.1, leg=0.20, muzzle=0.64, muzzle_width=0.42, ears="prick", ear=0.95,
         tail="stub", ruff=0.3),
    _dog("husky", (GREY, "all"), (WHITE, "chest legs muzzle belly spectacles"),
         fur="long", fur_length=0.07, leg=0.52, muzzle=0.68, ears="prick", ear=0.75,
         tail="brush", eye=SKY, ruff=0.5),
    _dog("labrador", (CREAM, "all"), (FAWN, "back ears"), girth=0.29, leg=0.50, head=0.25,
         muzzle=0.74, ears="drop", ear=0.85, tail="brush"),
    _dog("doberman", (BLACK, "all"), (RED, "tanpoints"), leg=0.64, girth=0.26, muzzle=1.0,
         skull_width=0.82, ears="prick", ear=1.0, tail="stub"),
    _dog("poodle", (BROWN, "all"), fur="curly", fur_length=0.09, leg=0.56, muzzle=0.9,
         muzzle_width=0.36, ears="long", ear=1.1, tail="stub"),
    _dog("border_collie", (BLACK, "all"), (WHITE, "chest socks blaze muzzle tailtip"),
         fur="long", fur_length=0.06, leg=0.50, muzzle=0.8, ears="button", ear=0.9,
         tail="plume", ruff=0.4),
    _dog("vizsla", (RED, "all"), leg=0.60, girth=0.25, muzzle=0.92, ears="drop", ear=1.1,
         eye=AMBER, nose=(120, 74, 60)),
    _dog("dachshund", (BLACK, "all"), (RED, "tanpoints"), trunk=1.25, girth=0.22, leg=0.17,
         muzzle=0.98, muzzle_width=0.40, ears="long", ear=1.15),
    _dog("french_bulldog", (BLACK, "all"), (WHITE, "chest"), trunk=0.85, girth=0.29, leg=0.30,
         head=0.28, muzzle=0.20, muzzle_width=0.64, skull_width=1.15, ears="bat", ear=0.95,
         tail="stub", jowl=0.6),
    _dog("australian_shepherd", (SILVER, "all"), (BLUE, "patches"), (BLACK, "merle ears"),
         (WHITE, "chest blaze socks"), fur="long", fur_length=0.065, ears="button", ear=0.9,
         tail="plume", eye=SKY, ruff=0.4),
)
