"""An animal as solid parts: skeleton, pose and head, from a breed's proportions.

The animal's own frame is X forward, Y up and Z to its right, in trunk lengths, with the
ground at Y = 0. Nothing here knows about pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from petweak.data.rendered_breeds import Breed
from petweak.data.rendered_head import head
from petweak.data.rendered_raster import COLLAR, LEG, TAIL, TRUNK, Ellipsoid, Limb, unit

POSES = ("stand", "sit", "lie", "portrait")

def rotation(yaw: float, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """Columns are where X, Y and Z go. Yaw turns X towards Z, pitch raises X, roll tilts Y."""
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))
    turn = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    raise_ = np.array([[cp, -sp, 0], [sp, cp, 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    return turn @ raise_ @ tilt


@dataclass
class Animal:
    """Parts to draw and the frames that coats and faces are painted in."""

    breed: Breed
    pose: str
    parts: list = field(default_factory=list)
    head: np.ndarray = field(default_factory=lambda: np.eye(3))  # columns forward, up, side
    head_at: np.ndarray = field(default_factory=lambda: np.zeros(3))
    trunk: np.ndarray = field(default_factory=lambda: np.eye(3))  # columns forward, up, side
    trunk_at: np.ndarray = field(default_factory=lambda: np.zeros(3))
    paws: list = field(default_factory=list)
    mouth_open: float = 0.0

    def ellipsoid(self, centre, radii, kind, frame=None, **options):
        frame = np.eye(3) if frame is None else frame
        self.parts.append(Ellipsoid(np.asarray(centre, float), frame * np.asarray(radii, float),
                                    kind, **options))

    def limb(self, start, end, r0, r1, kind, **options):
        self.parts.append(Limb(np.asarray(start, float), np.asarray(end, float), r0, r1, kind,
                               **options))

    def on_head(self, x, y, z) -> np.ndarray:
        """Animal frame point of head coordinates, in skull radii."""
        return self.head_at + self.head @ (np.array([x, y, z]) * self.breed.head)


def build(breed: Breed, pose: str, gaze: np.ndarray, rng: np.random.Generator) -> Animal:
    """Pose a breed.

    Args:
        breed: proportions. pose: one of ``POSES``.
        gaze: (3, 3) head frame in the animal frame (columns forward, up, side).
        rng: small differences between individuals and the gait.

    Returns:
        parts in the animal frame, far ones not necessarily first.
    """
    animal = Animal(breed, pose, head=gaze)
    g, leg, n = breed.girth, breed.leg, breed.trunk
    cat = breed.species == "cat"
    fur = breed.fur_length
    if pose == "stand":
        hip, chest = np.array([-0.5 * n, leg + g * 0.98, 0]), np.array([0.5 * n, leg + g, 0])
    elif pose == "lie":
        hip, chest = np.array([-0.5 * n, g * 0.90, 0]), np.array([0.42 * n, g * 1.12, 0])
    else:
        up = leg * 0.98 + g * 0.75 + 0.10
        rise = min(up - g * 0.95, 0.86 * n)
        back = np.sqrt(max(n * n * 0.80 - rise * rise, 0.05))
        hip = np.array([-back * 0.62, g * 0.95, 0])
        chest = np.array([back * 0.38, g * 0.95 + rise, 0])
    forward = unit(chest - hip)
    frame = np.column_stack([forward, [-forward[1], forward[0], 0], [0, 0, 1]])
    animal.trunk, animal.trunk_at = frame, (hip + chest) / 2

    loin = g * (0.80 if breed.leg > 0.4 else 0.92)
    animal.limb(hip, chest, loin * 0.96, g * 0.94, TRUNK)
    animal.ellipsoid(chest - forward * 0.10, (g * 1.15, g * 1.06, g * 0.95), TRUNK, frame, blend=.1)
    animal.ellipsoid(hip + forward * 0.04, (g * 1.05, g * 0.92, g * 0.90), TRUNK, frame, blend=.1)
    if fur > 0.05:  # the skirt of a long coat
        animal.ellipsoid((hip + chest) / 2 - frame[:, 1] * fur * 0.9,
                         (n * 0.52, g * 0.95, g * 0.9), TRUNK, frame, blend=.1)
    _legs(animal, hip, chest, rng)
    lift = {"stand": 0.95, "sit": 1.15, "portrait": 1.15, "lie": 1.05}[pose]
    lift += rng.normal(0, 0.08)
    neck = breed.neck + breed.head * 0.35
    animal.head_at = chest + np.array([np.cos(lift) * neck, np.sin(lift) * neck + g * 0.40, 0])
    throat = breed.head * (0.66 if cat else 0.70)
    animal.limb(chest + np.array([0, g * 0.25, 0]), animal.head_at - animal.head[:, 0]
                * breed.head * 0.35 - np.array([0, breed.head * 0.25, 0]),
                g * 0.72, throat, TRUNK, blend=.12)
    if breed.ruff > 0:
        r, k = breed.ruff, breed.head
        middle = animal.head_at * 0.55 + chest * 0.45 + np.array([g * 0.12, -k * 0.1, 0])
        axis = unit(animal.head_at - chest)
        mane = np.column_stack([axis, unit(np.cross([0, 0, 1], axis)), [0, 0, 1]])
        animal.ellipsoid(middle, (k * (0.9 + 0.3 * r), k * (0.9 + 0.5 * r), k * (0.9 + 0.6 * r)),
                         TRUNK, mane, blend=.12)
        animal.ellipsoid(chest + np.array([g * 0.5, -g * 0.1, 0]),
                         (g * (.5 + .25 * r), g * (.8 + .3 * r), g * (.7 + .2 * r)), TRUNK,
                         blend=.12)
    elif rng.random() < 0.25:
        at = animal.head_at * 0.42 + chest * 0.58 + np.array([0, g * 0.10, 0])
        axis = unit(animal.head_at - chest)
        ring = np.column_stack([axis, unit(np.cross([0, 0, 1], axis)), [0, 0, 1]])
        wide = (throat + g * 0.72) * 0.53
        animal.ellipsoid(at, (0.035, wide, wide), COLLAR, ring, blend=0)
    _tail(animal, hip, forward, rng)
    head(animal, rng)
    return animal


def _legs(animal: Animal, hip, chest, rng) -> None:
    b = animal.breed
    g, leg, fur = b.girth, b.leg, b.fur_length
    thin = (0.060 if b.species == "cat" else 0.066) * (0.75 + g) + 0.25 * fur
    heavy = thin * 1.55
    paw = np.array([thin * 1.55, thin * 0.85, thin * 1.15])
    for side in (-1, 1):
        z = side * g * 0.56
        swing = rng.normal(0, 0.10) if animal.pose == "stand" else 0
        shoulder = chest + np.array([0.0, -g * 0.25, z])
        if animal.pose == "lie":
            elbow = np.array([chest[0] - 0.05, thin * 1.3, side * g * 0.85])
            foot = np.array([chest[0] + 0.30 + 0.30 * leg + rng.normal(0, .04), thin * 0.9,
                             side * g * (0.62 + rng.normal(0, .06))])
        else:
            foot = np.array([shoulder[0] + (0.03 if animal.pose == "stand" else 0.06) + swing,
                             thin * 0.8, side * g * 0.50])
            elbow = np.array([shoulder[0] - 0.03 + swing * 0.3, foot[1] + (shoulder[1] - foot[1])
                              * 0.55, side * g * 0.56])
        animal.limb(shoulder, elbow, g * 0.50, heavy, LEG, t0=0, t1=0.45, blend=.09)
        animal.limb(elbow, foot, heavy, thin, LEG, t0=0.45, t1=0.95)
        animal.ellipsoid(foot + np.array([thin * 0.7, 0, 0]), paw, LEG, blend=.03)
        animal.paws.append(foot + np.array([thin * 1.0, 0, 0]))

        swing = rng.normal(0, 0.10) if animal.pose == "stand" else 0
        z = side * g * 0.58
        if animal.pose == "stand":
            thigh = hip + np.array([0.02, -g * 0.25, z])
            knee = np.array([hip[0] + 0.13 + swing * .5, leg * 0.62, z])
            hock = np.array([hip[0] - 0.13 + swing, leg * 0.32, z])
            foot = np.array([hip[0] - 0.07 + swing, thin * 0.8, z])
            animal.limb(thigh, knee, g * 0.62, heavy * 1.2, LEG, t0=0, t1=.4, blend=.10)
            animal.limb(knee, hock, heavy * 1.2, thin * 1.0, LEG, t0=.4, t1=.65)
            animal.limb(hock, foot, thin * 1.0, thin * 0.95, LEG, t0=.65, t1=.95)
        else:
            z = side * g * 0.80
            thigh = np.array([hip[0] + 0.16, g * 0.82, z])
            lean = np.array([[.8, -.6, 0], [.6, .8, 0], [0, 0, 1.0]])
            animal.ellipsoid(thigh, (g * 1.10, g * 0.80, g * 0.50), LEG, lean, blend=.08)
            foot = np.array([hip[0] + 0.36 + 0.2 * leg, thin * 0.8, side * g * 1.02])
            animal.limb([hip[0] + 0.05, thin, side * g], foot, thin * 1.15, thin, LEG,
                        t0=.6, t1=.95, blend=.05)
        animal.ellipsoid(foot + np.array([thin * 0.7, 0, 0]), paw, LEG, blend=.03)
        animal.paws.append(foot + np.array([thin * 1.0, 0, 0]))


def _tail(animal: Animal, hip, forward, rng) -> None:
    b = animal.breed
    g, fur = b.girth, b.fur_length
    root = hip - forward * g * 0.80 + animal.trunk[:, 1] * g * 0.45
    low = animal.pose != "stand"
    sway, curl = rng.normal(0, 0.5), rng.uniform(0.6, 1.9)
    if b.tail == "stub":
        animal.limb(root, root + np.array([-0.08, 0.08, 0]), 0.05 + fur * .5, 0.035 + fur * .5,
                    TAIL)
        return
    if b.tail == "curl":
        angles, r = np.linspace(2.3, -1.6, 8), 0.055 + fur * 0.75
        step = 0.095
    else:
        step = 0.12
        start, end = {"cat": (3.3, 2.0), "whip": (2.9, 2.0), "plume": (3.0, 2.2),
                      "brush": (3.9, 3.2)}[b.tail]
        if low:
            start, end = 3.6, 3.05
        elif b.species == "cat" and rng.random() < 0.5:
            start, end = 2.3, 1.2
        angles = np.linspace(start, end, 7)
        r = {"cat": 0.048, "whip": 0.040, "plume": 0.050, "brush": 0.055}[b.tail] + fur * 0.6
        if b.tail == "plume":
            r *= 1.25
    at = root
    count = len(angles)
    for i, a in enumerate(angles):
        bend = sway * (i / count)
        heading = np.array([np.cos(a) * np.cos(bend), np.sin(a), np.sin(bend)])
        if low and b.tail != "curl":
            round_ = curl * (0.35 + i / count)  # laid along the flank
            heading = 0.85 * np.array([-np.cos(round_), 0, np.sin(round_)])
        nxt = at + heading * step
        nxt[1] = max(nxt[1], r * 0.8)  # not into the ground
        taper = 1 - (0.55 if b.tail in ("whip",) else 0.25) * i / count
        animal.limb(at, nxt, r * taper, r * (taper - .05), TAIL, t0=i / count,
                    t1=(i + 1) / count, blend=.04)
        at = nxt
