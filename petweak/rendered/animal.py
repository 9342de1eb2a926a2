"""An animal as solid parts: skeleton, pose and head, from a breed's proportions.

The animal's frame is X forward, Y up and Z to its right, in trunk lengths, with the ground at
Y = 0. The head's frame is forward, up and side, in skull radii. Nothing here knows about pixels.
"""

import numpy as np

from petweak.rendered.breeds import DRAWING, Breed
from petweak.rendered.raster import Ellipsoid, Kind, Leaf, Limb, unit


def vec(x, y, z=0.0) -> np.ndarray:
    return np.array([x, y, z], float)


def rotation(yaw: float, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """Columns are where X, Y and Z go. Yaw turns X towards Z, pitch raises X, roll tilts Y."""
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))
    turn = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    raise_ = np.array([[cp, -sp, 0], [sp, cp, 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    return turn @ raise_ @ tilt


class Animal:
    """Parts to draw (far ones not necessarily first), and the frames for coats and faces.

    pose: stand, sit, lie or portrait. gaze: (3, 3) the head's frame in the animal's, columns
    forward, up, side; `trunk` is the trunk's. rng: the gait and differences between individuals."""

    def __init__(self, breed: Breed, pose: str, gaze: np.ndarray, rng: np.random.Generator):
        self.breed, self.pose, self.head, self.parts, self.paws = breed, pose, gaze, [], []
        self.cat = breed.species == "cat"
        hip, chest = self._trunk()
        self._legs(hip, chest, rng)
        self._neck(chest, rng)
        self._tail(hip, rng)
        (self._cat_head if self.cat else self._dog_head)(rng)
        self._ears(rng)

    def ellipsoid(self, centre, radii, kind, frame=None, **options):
        axes = (np.eye(3) if frame is None else frame) * np.asarray(radii, float)
        self.parts.append(Ellipsoid(centre, axes, kind, **options))

    def limb(self, start, end, r0, r1, kind, **options):
        self.parts.append(Limb(start, end, r0, r1, kind, **options))

    def on_head(self, x, y, z) -> np.ndarray:
        """Point of the animal's frame from coordinates of the head."""
        return self.head_at + self.head @ (np.array([x, y, z]) * self.breed.head)

    def ball(self, x, y, z, *radii, kind=Kind.HEAD, blend=0.05):
        radii = np.array(radii) * self.breed.head
        self.ellipsoid(self.on_head(x, y, z), radii, kind, self.head, blend=blend)

    def bar(self, start, end, r0, r1, kind=Kind.HEAD, blend=0.06):
        start, end, k = self.on_head(*start), self.on_head(*end), self.breed.head
        self.limb(start, end, r0 * k, r1 * k, kind, blend=blend)

    def _trunk(self):
        b, g, leg, n = self.breed, self.breed.girth, self.breed.leg, self.breed.trunk
        if self.pose == "stand":
            hip, chest = vec(-0.5 * n, leg + g * 0.98), vec(0.5 * n, leg + g)
        elif self.pose == "lie":
            hip, chest = vec(-0.5 * n, g * 0.90), vec(0.42 * n, g * 1.12)
        else:
            up = leg * 0.98 + g * 0.75 + 0.10
            rise = min(up - g * 0.95, 0.86 * n)
            back = np.sqrt(max(n * n * 0.80 - rise * rise, 0.05))
            hip, chest = vec(-back * 0.62, g * 0.95), vec(back * 0.38, g * 0.95 + rise)
        forward = unit(chest - hip)
        self.trunk = np.column_stack([forward, vec(-forward[1], forward[0]), vec(0, 0, 1)])
        self.trunk_at = (hip + chest) / 2
        loin = g * (0.80 if leg > 0.4 else 0.92)
        self.limb(hip, chest, loin * 0.96, g * 0.94, Kind.TRUNK)
        ribs, rump = (g * 1.15, g * 1.06, g * 0.95), (g * 1.05, g * 0.92, g * 0.90)
        self.ellipsoid(chest - forward * 0.10, ribs, Kind.TRUNK, self.trunk, blend=0.1)
        self.ellipsoid(hip + forward * 0.04, rump, Kind.TRUNK, self.trunk, blend=0.1)
        if b.fur_length > 0.05:  # the skirt of a long coat
            middle = self.trunk_at - self.trunk[:, 1] * b.fur_length * 0.9
            self.ellipsoid(middle, (n * 0.52, g * 0.95, g * 0.9), Kind.TRUNK, self.trunk, blend=0.1)
        return hip, chest

    def _neck(self, chest, rng) -> None:
        b, g, k, r = self.breed, self.breed.girth, self.breed.head, self.breed.ruff
        lift = {"stand": 0.95, "lie": 1.05}.get(self.pose, 1.15) + rng.normal(0, 0.08)
        neck, throat = b.neck + k * 0.35, k * (0.66 if self.cat else 0.70)
        self.head_at = chest + vec(np.cos(lift) * neck, np.sin(lift) * neck + g * 0.40)
        nape = self.head_at - self.head[:, 0] * k * 0.35 - vec(0, k * 0.25)
        self.limb(chest + vec(0, g * 0.25), nape, g * 0.72, throat, Kind.TRUNK, blend=0.12)
        axis = unit(self.head_at - chest)
        ring = np.column_stack([axis, unit(np.cross([0, 0, 1], axis)), [0, 0, 1]])
        if r > 0:
            middle = self.head_at * 0.55 + chest * 0.45 + vec(g * 0.12, -k * 0.1)
            mane = (k * (0.9 + 0.3 * r), k * (0.9 + 0.5 * r), k * (0.9 + 0.6 * r))
            self.ellipsoid(middle, mane, Kind.TRUNK, ring, blend=0.12)
            bib = (g * (0.5 + 0.25 * r), g * (0.8 + 0.3 * r), g * (0.7 + 0.2 * r))
            self.ellipsoid(chest + vec(g * 0.5, -g * 0.1), bib, Kind.TRUNK, blend=0.12)
        elif rng.random() < 0.25:
            at, r = self.head_at * 0.42 + chest * 0.58, (throat + g * 0.72) * 0.53
            self.ellipsoid(at + vec(0, g * 0.10), (0.035, r, r), Kind.COLLAR, ring, blend=0)

    def _legs(self, hip, chest, rng) -> None:
        g, leg, stand = self.breed.girth, self.breed.leg, self.pose == "stand"
        thin = (0.060 if self.cat else 0.066) * (0.75 + g) + 0.25 * self.breed.fur_length
        heavy = thin * 1.55

        def paw(foot):
            radii = (heavy, thin * 0.85, thin * 1.15)
            self.ellipsoid(foot + vec(thin * 0.7, 0), radii, Kind.LEG, blend=0.03)
            self.paws.append(foot + vec(thin * 1.0, 0))

        for side in (-1, 1):
            swing = rng.normal(0, 0.10) if stand else 0
            shoulder = chest + vec(0, -g * 0.25, side * g * 0.56)
            if self.pose == "lie":
                elbow = vec(chest[0] - 0.05, thin * 1.3, side * g * 0.85)
                x = chest[0] + 0.30 + 0.30 * leg + rng.normal(0, 0.04)
                foot = vec(x, thin * 0.9, side * g * (0.62 + rng.normal(0, 0.06)))
            else:
                x = shoulder[0] + (0.03 if stand else 0.06) + swing
                foot = vec(x, thin * 0.8, side * g * 0.50)
                y = foot[1] + (shoulder[1] - foot[1]) * 0.55
                elbow = vec(shoulder[0] - 0.03 + swing * 0.3, y, side * g * 0.56)
            self.limb(shoulder, elbow, g * 0.50, heavy, Kind.LEG, t0=0, t1=0.45, blend=0.09)
            self.limb(elbow, foot, heavy, thin, Kind.LEG, t0=0.45, t1=0.95)
            paw(foot)
            swing, z = rng.normal(0, 0.10) if stand else 0, side * g * (0.58 if stand else 0.80)
            if stand:
                thigh = hip + vec(0.02, -g * 0.25, z)
                knee = vec(hip[0] + 0.13 + swing * 0.5, leg * 0.62, z)
                hock = vec(hip[0] - 0.13 + swing, leg * 0.32, z)
                foot = vec(hip[0] - 0.07 + swing, thin * 0.8, z)
                self.limb(thigh, knee, g * 0.62, heavy * 1.2, Kind.LEG, t0=0, t1=0.4, blend=0.10)
                self.limb(knee, hock, heavy * 1.2, thin * 1.0, Kind.LEG, t0=0.4, t1=0.65)
                self.limb(hock, foot, thin * 1.0, thin * 0.95, Kind.LEG, t0=0.65, t1=0.95)
            else:
                thigh, size = vec(hip[0] + 0.16, g * 0.82, z), (g * 1.10, g * 0.80, g * 0.50)
                lean = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1.0]])
                self.ellipsoid(thigh, size, Kind.LEG, lean, blend=0.08)
                foot = vec(hip[0] + 0.36 + 0.2 * leg, thin * 0.8, side * g * 1.02)
                heel = vec(hip[0] + 0.05, thin, side * g)
                self.limb(heel, foot, thin * 1.15, thin, Kind.LEG, t0=0.6, t1=0.95, blend=0.05)
            paw(foot)

    def _tail(self, hip, rng) -> None:
        b, g, fur, low = self.breed, self.breed.girth, self.breed.fur_length, self.pose != "stand"
        at = hip - self.trunk[:, 0] * g * 0.80 + self.trunk[:, 1] * g * 0.45
        sway, curl = rng.normal(0, 0.5), rng.uniform(0.6, 1.9)
        if b.tail == "stub":
            tip = at + vec(-0.08, 0.08)
            return self.limb(at, tip, 0.05 + fur * 0.5, 0.035 + fur * 0.5, Kind.TAIL)
        if b.tail == "curl":
            start, end, count, step, r = 2.3, -1.6, 8, 0.095, 0.055 + fur * 0.75
        else:
            start, end, r = DRAWING["tails"][b.tail]
            if low:
                start, end = 3.6, 3.05
            elif self.cat and rng.random() < 0.5:
                start, end = 2.3, 1.2
            count, step, r = 7, 0.12, (r + fur * 0.6) * (1.25 if b.tail == "plume" else 1)
        for i, a in enumerate(np.linspace(start, end, count)):
            bend = sway * (i / count)
            heading = vec(np.cos(a) * np.cos(bend), np.sin(a), np.sin(bend))
            if low and b.tail != "curl":
                round_ = curl * (0.35 + i / count)  # laid along the flank
                heading = 0.85 * vec(-np.cos(round_), 0, np.sin(round_))
            nxt = at + heading * step
            nxt[1] = max(nxt[1], r * 0.8)  # not into the ground
            taper = 1 - (0.55 if b.tail == "whip" else 0.25) * i / count
            t0, t1 = i / count, (i + 1) / count
            self.limb(at, nxt, r * taper, r * (taper - 0.05), Kind.TAIL, t0=t0, t1=t1, blend=0.04)
            at = nxt

    def _cat_head(self, rng) -> None:
        ball, sw, ml = self.ball, self.breed.skull_width, self.breed.muzzle
        mw = self.breed.muzzle_width / 0.42
        ball(0, 0.04, 0, 0.88, 0.82, 0.88 * sw)
        for s in (-1, 1):
            ball(0.22, -0.30, s * 0.46 * sw, 0.52, 0.42, 0.42 * sw)
            ball(0.66 + ml * 0.62, -0.38, s * 0.17 * mw, 0.30, 0.21 * mw, 0.23 * mw, blend=0.02)
        self.bar((0.50, 0.20, 0), (0.70 + ml * 0.6, -0.14, 0), 0.34, 0.17)
        ball(0.62 + ml * 0.52, -0.60, 0, 0.26, 0.17, 0.20 * mw, blend=0.02)
        ball(0.84 + ml * 0.68, -0.20, 0, 0.10, 0.085, 0.135, kind=Kind.NOSE, blend=0.01)

    def _dog_head(self, rng) -> None:
        b, ball, bar = self.breed, self.ball, self.bar
        sw, ml, mw, beard = b.skull_width, b.muzzle, b.muzzle_width, b.beard
        tip, drop = 0.62 + ml * 0.78, -0.34 - 0.05 * ml
        gape = float(rng.uniform(0.10, 0.26)) if rng.random() < 0.45 else 0.0
        ball(0, 0.05, 0, 0.94, 0.82, 0.90 * sw)
        ball(0.42, 0.20, 0, 0.48, 0.42, 0.60 * sw)
        for s in (-1, 1):
            ball(0.26, -0.34, s * 0.42 * sw, 0.52, 0.46, 0.40 * sw)
        if gape:
            roof, chin = (tip - 0.14, -0.50 - mw * 0.2, 0), (tip - 0.12, -0.60 - mw * 0.3 - gape, 0)
            bar((0.4, -0.62, 0), roof, mw * 0.55, mw * 0.52, Kind.MOUTH, 0)
            bar((0.35, -0.66 - gape, 0), chin, mw * 0.56, mw * 0.42, blend=0.01)
            out = (tip + 0.06, -0.52 - mw * 0.25 - gape, 0)
            back = (tip - 0.20, -0.46 - mw * 0.30 - gape * 0.5, 0)
            bar(back, out, mw * 0.34, mw * 0.36, Kind.TONGUE, 0.01)
            if gape > 0.17:
                out, k = self.on_head(*out), b.head
                fall = out + self.head @ vec(0.08, -0.42, 0.04) * k
                self.limb(out, fall, mw * 0.33 * k, mw * 0.30 * k, Kind.TONGUE, blend=0.01)
        else:
            chin = (tip - 0.10, -0.50 - mw * 0.32, 0)
            bar((0.35, -0.60, 0), chin, mw * 0.60, mw * 0.46, blend=0.02)
        bar((0.38, -0.22, 0), (tip, drop, 0), mw * 0.98, mw * 0.70)
        x, y = tip - 0.10 - 0.08 * ml, drop - 0.16 - 0.16 * b.jowl
        for s in (-1, 1):
            lip = (0.24 + 0.24 * ml, 0.20 * (mw + 0.5) + 0.16 * b.jowl, mw * 0.46)
            ball(x, y, s * mw * 0.36, *lip, blend=0.03)
        if beard:
            for s in (-1, 1):
                hair = (0.34 + 0.2 * ml, 0.32 + 0.40 * beard, mw * 0.70)
                ball(tip - 0.12, drop - 0.20 - 0.25 * beard, s * mw * 0.5, *hair, blend=0.04)
                ball(0.66, 0.34, s * 0.34, 0.24, 0.20, 0.26, blend=0.04)
            ball(tip - 0.16, drop - 0.42 - 0.4 * beard, 0, 0.34, 0.30 + 0.3 * beard, mw * 0.6)
        nose = [radius * (0.70 + 0.55 * mw) for radius in (0.15, 0.155, 0.215)]
        ball(tip + mw * 0.56, drop + mw * 0.34, 0, *nose, kind=Kind.NOSE, blend=0.01)

    def _ears(self, rng) -> None:
        b, k, sw, at = self.breed, self.breed.head, self.breed.skull_width, self.on_head
        size, alert = b.ear * k, rng.normal(0, 0.08)

        def leaf(base, length, wide, outward, outline, inner=Kind.EAR, **options):
            width, outline = unit(np.cross(length, outward)) * wide, DRAWING["outlines"][outline]
            self.parts.append(Leaf(base, width, length, outline, Kind.EAR, inner, **options))

        for s in (-1, 1):

            def way(x, y, z, s=s):
                return unit(self.head @ vec(x, y, s * z))

            if b.ears in DRAWING["upright"]:
                spread, wide = DRAWING["upright"][b.ears]
                base = at(-0.10, 0.42, s * (0.50 if self.cat else 0.46) * sw)
                length = way(-0.05 + alert, 1.0, spread + alert) * (size + 0.30 * k)
                wide, outline = wide * k * (0.70 + 0.30 * b.ear), b.ears.replace("tufted", "cat")
                leaf(base, length, wide, -way(0.85, 0.05, 0.50), outline, Kind.INNER_EAR, cup=0.6)
            elif b.ears in ("rose", "button"):
                base = at(-0.05, 0.68, s * 0.52 * sw)
                self.ellipsoid(base, vec(0.20, 0.18, 0.22) * k, Kind.EAR, self.head, blend=0.05)
                base = base + self.head @ vec(0.05, 0.10, s * 0.05) * k
                length = way(-0.15, -0.55, 0.75) if b.ears == "rose" else way(0.55, -0.55, 0.42)
                length, wide = length * (size + 0.1 * k), 0.36 * k
                leaf(base, length, wide, way(0.5, 0.45, 0.8), "button", cup=0.7, blend=0.02)
            else:
                drop, wide = b.ears == "drop", (0.46 if b.ears == "long" else 0.40) * k
                base = at(-0.10, 0.55 if drop else 0.38, s * 0.80 * sw)
                length = way(0.14, -1.0, 0.30 if drop else 0.16) * size
                leaf(base, length, wide, way(0.32, 0.15, 1.0), b.ears, cup=0.8, blend=0.02)
