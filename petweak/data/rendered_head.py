"""Heads as solid parts: skull, muzzle, jaws, nose and ears of cats and dogs.

Coordinates are the head's own (forward, up, side) in skull radii.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from petweak.data.rendered_raster import EAR, HEAD, INNER_EAR, MOUTH, NOSE, TONGUE, Leaf, unit

if TYPE_CHECKING:
    from petweak.data.rendered_animal import Animal

# Half width of an ear over its length, base to tip, in units of its half width.
OUTLINES = {
    "cat": (0.95, 1.0, 0.94, 0.80, 0.60, 0.36, 0.10),
    "round": (0.98, 1.0, 0.98, 0.90, 0.76, 0.56, 0.24),
    "bat": (0.80, 1.0, 1.05, 1.0, 0.86, 0.62, 0.22),
    "prick": (0.95, 1.0, 0.93, 0.78, 0.57, 0.34, 0.08),
    "drop": (0.60, 0.90, 1.05, 1.05, 0.92, 0.66, 0.22),
    "long": (0.50, 0.74, 0.92, 1.06, 1.10, 0.90, 0.40),
    "button": (1.0, 1.05, 1.0, 0.86, 0.64, 0.40, 0.12),
}


def head(animal: Animal, rng: np.random.Generator) -> None:
    """Add the head's parts to an animal whose head frame is set."""
    if animal.breed.species == "cat":
        _cat_head(animal)
    else:
        _dog_head(animal, rng)
    _ears(animal, rng)


def _cat_head(animal: Animal) -> None:
    b = animal.breed
    k, h, sw, ml, mw = b.head, animal.head, b.skull_width, b.muzzle, b.muzzle_width / 0.42

    def ball(x, y, z, *radii, kind=HEAD, blend=.05):
        animal.ellipsoid(animal.on_head(x, y, z), np.array(radii) * k, kind, h, blend=blend)

    ball(0, 0.04, 0, 0.88, 0.82, 0.88 * sw)
    for s in (-1, 1):
        ball(0.22, -0.30, s * 0.46 * sw, 0.52, 0.42, 0.42 * sw)
        ball(0.66 + ml * 0.62, -0.38, s * 0.17 * mw, 0.30, 0.21 * mw, 0.23 * mw, blend=.02)
    animal.limb(animal.on_head(0.50, 0.20, 0), animal.on_head(0.70 + ml * 0.6, -0.14, 0),
                0.34 * k, 0.17 * k, HEAD)
    ball(0.62 + ml * 0.52, -0.60, 0, 0.26, 0.17, 0.20 * mw, blend=.02)
    ball(0.84 + ml * 0.68, -0.20, 0, 0.10, 0.085, 0.135, kind=NOSE, blend=.01)


def _dog_head(animal: Animal, rng) -> None:
    b = animal.breed
    k, h, sw, ml, mw = b.head, animal.head, b.skull_width, b.muzzle, b.muzzle_width
    tip, drop = 0.62 + ml * 0.78, -0.34 - 0.05 * ml
    animal.mouth_open = float(rng.uniform(0.10, 0.26)) if rng.random() < 0.45 else 0.0
    gape = animal.mouth_open

    def ball(x, y, z, *radii, kind=HEAD, blend=.05):
        animal.ellipsoid(animal.on_head(x, y, z), np.array(radii) * k, kind, h, blend=blend)

    ball(0, 0.05, 0, 0.94, 0.82, 0.90 * sw)
    ball(0.42, 0.20, 0, 0.48, 0.42, 0.60 * sw)
    for s in (-1, 1):
        ball(0.26, -0.34, s * 0.42 * sw, 0.52, 0.46, 0.40 * sw)
    if gape:
        animal.limb(animal.on_head(0.4, -0.62, 0), animal.on_head(tip - 0.14, -0.50 - mw * .2, 0),
                    mw * 0.55 * k, mw * 0.52 * k, MOUTH, blend=0)
        animal.limb(animal.on_head(0.35, -0.66 - gape, 0),
                    animal.on_head(tip - 0.12, -0.60 - mw * 0.30 - gape, 0),
                    mw * 0.56 * k, mw * 0.42 * k, HEAD, blend=.01)
        out = animal.on_head(tip + 0.06, -0.52 - mw * 0.25 - gape, 0)
        animal.limb(animal.on_head(tip - 0.20, -0.46 - mw * 0.30 - gape * 0.5, 0), out,
                    mw * 0.34 * k, mw * 0.36 * k, TONGUE, blend=.01)
        if gape > 0.17:
            animal.limb(out, out + h @ np.array([0.08, -0.42, 0.04]) * k, mw * 0.33 * k,
                        mw * 0.30 * k, TONGUE, blend=.01)
    else:
        animal.limb(animal.on_head(0.35, -0.60, 0), animal.on_head(tip - 0.10, -0.50 - mw * .32, 0),
                    mw * 0.60 * k, mw * 0.46 * k, HEAD, blend=.02)
    animal.limb(animal.on_head(0.38, -0.22, 0), animal.on_head(tip, drop, 0), mw * 0.98 * k,
                mw * 0.70 * k, HEAD, blend=.06)
    j = b.jowl
    for s in (-1, 1):
        ball(tip - 0.10 - 0.08 * ml, drop - 0.16 - 0.16 * j, s * mw * 0.36, 0.24 + 0.24 * ml,
             0.20 * (mw + .5) + 0.16 * j, mw * 0.46, blend=.03)
    if b.beard:
        for s in (-1, 1):
            ball(tip - 0.12, drop - 0.20 - 0.25 * b.beard, s * mw * 0.5, 0.34 + .2 * ml,
                 0.32 + 0.40 * b.beard, mw * 0.70, blend=.04)
            ball(0.66, 0.34, s * 0.34, 0.24, 0.20, 0.26, blend=.04)
        ball(tip - 0.16, drop - 0.42 - 0.4 * b.beard, 0, 0.34, 0.30 + 0.3 * b.beard, mw * 0.6)
    size = 0.70 + 0.55 * mw
    ball(tip + mw * 0.56, drop + mw * 0.34, 0, 0.15 * size, 0.155 * size, 0.215 * size, kind=NOSE,
         blend=.01)


def _ears(animal: Animal, rng) -> None:
    b = animal.breed
    h, k, sw = animal.head, b.head, b.skull_width
    size, alert = b.ear * k, rng.normal(0, 0.08)
    for s in (-1, 1):
        def way(x, y, z, s=s):
            return unit(h @ np.array([x, y, s * z]))

        def leaf(base, length, wide, outward, outline, cup=0.6, blend=0.0, inner=EAR):
            width = unit(np.cross(length, outward)) * wide
            animal.parts.append(Leaf(base, width, length, OUTLINES[outline], EAR, inner, cup,
                                     blend))

        if b.ears in ("cat", "tufted", "round", "prick", "bat"):
            spread = {"cat": .38, "tufted": .22, "round": .60, "prick": .24, "bat": .52}[b.ears]
            cat = b.species == "cat"
            base = animal.on_head(-0.10, 0.42, s * (0.50 if cat else 0.46) * sw)
            length = way(-0.05 + alert, 1.0, spread + alert) * (size + 0.30 * k)
            wide = {"cat": .44, "tufted": .42, "round": .46, "prick": .42, "bat": .46}[b.ears] * k
            wide *= 0.70 + 0.30 * b.ear
            outline = "cat" if b.ears == "tufted" else b.ears
            leaf(base, length, wide, -way(0.85, 0.05, 0.50), outline, inner=INNER_EAR)
        elif b.ears in ("rose", "button"):
            base = animal.on_head(-0.05, 0.68, s * 0.52 * sw)
            animal.ellipsoid(base, np.array([0.20, 0.18, 0.22]) * k, EAR, h, blend=.05)
            back = b.ears == "rose"
            length = way(-0.15 if back else 0.55, -0.55, 0.75 if back else 0.42) * (size + .1 * k)
            leaf(base + h @ np.array([0.05, 0.10, s * 0.05]) * k, length, 0.36 * k,
                 way(0.5, 0.45, 0.8), "button", cup=0.7, blend=.02)
        else:
            base = animal.on_head(-0.10, 0.55 if b.ears == "drop" else 0.38, s * 0.80 * sw)
            length = way(0.14, -1.0, 0.30 if b.ears == "drop" else 0.16) * size
            leaf(base, length, (0.46 if b.ears == "long" else 0.40) * k, way(0.32, 0.15, 1.0),
                 b.ears, cup=0.8, blend=.02)
