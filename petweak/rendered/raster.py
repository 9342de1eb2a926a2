"""A depth buffer for round bodies: ellipsoids, tapered limbs and thin curved ears.

Everything is in view space: x to the right and y down in pixels, z towards the viewer in pixels
too, projected orthographically. Surfaces that meet are blended where they are close in depth, so
that limbs grow out of the trunk instead of being stuck on.
"""

from copy import copy
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

FAR = np.float32(-1e6)


class Kind(IntEnum):
    """Of surface, as the buffer stores it; -1 is nothing."""

    TRUNK, HEAD, LEG, TAIL, EAR, INNER_EAR, NOSE, TONGUE, COLLAR, MOUTH = range(10)


def unit(v) -> np.ndarray:
    v = np.asarray(v, float)
    return v / (np.linalg.norm(v) + 1e-9)


def of_kinds(kind, *kinds):
    """1.0 where a pixel is one of `kinds`."""
    table = np.zeros(11, np.float32)  # index -1, nothing there, is the last entry
    table[list(kinds)] = 1
    return table[kind]


def window(shape, low, high):
    """Two slices of a picture, from corner `low` (x, y) to before `high`, or None."""
    x0, y0 = np.maximum(low[:2], 0).astype(int)
    x1, y1 = np.minimum(high[:2], shape[1::-1]).astype(int)
    return (slice(y0, y1), slice(x0, x1)) if x0 < x1 and y0 < y1 else None


def offsets(area, centre):
    """dx (1, W) and dy (H, 1) float32 from `centre` to the pixels of two slices."""
    y, x = (np.arange(s.start or 0, s.stop, s.step, dtype=np.float32) for s in area)
    return x[None, :] - np.float32(centre[0]), y[:, None] - np.float32(centre[1])


def skewed(shape, low, high, centre, right, up, least):
    """The pixels from `low` to `high` as multiples of two vectors from `centre`: two slices, u, v;
    None outside of the picture and where the vectors are nearly parallel."""
    area, det = window(shape, low, np.ceil(high) + 1), right[0] * up[1] - right[1] * up[0]
    if area is None or abs(det) < least:
        return None
    dx, dy = offsets(area, centre)
    u, v = (dx * up[1] - dy * up[0]) / det, (dy * right[0] - dx * right[1]) / det
    return area, u.astype(np.float32), v.astype(np.float32)


@dataclass(frozen=True)
class Light:
    """Where light comes from (view space, y down, unit length) and its linear colours."""

    sun: np.ndarray
    sun_colour: np.ndarray
    sky_colour: np.ndarray
    ground_colour: np.ndarray


class DepthBuffer:
    """What is nearest at each pixel: depth, normal, kind and a coordinate along the part.

    parts: Ellipsoid, Limb, Leaf. view: (3, 3) world to view space (rotation, scale in pixels, y
    turned down). origin: (2,) pixel of the world's origin. shape: (rows, columns)."""

    def __init__(self, parts, view, origin, shape):
        self.shape, self.view, self.scale = shape, view, float(np.linalg.norm(view[0]))
        self.origin = np.array([origin[0], origin[1], 0.0])
        self.z = np.full(shape, FAR, np.float32)
        self.nx, self.ny, self.t = np.zeros((3, *shape), np.float32)
        self.kind = np.full(shape, -1, np.int8)
        for part in parts:
            part.draw(self)
        # A vanished seam: pixels that no part covers but whose neighbours all do.
        self.kind[self.z <= FAR / 2] = -1

    def halved(self):
        """Every second row and column: enough for coats and light, at a quarter of the work."""
        half = copy(self)
        half.view, half.scale, half.origin = self.view / 2, self.scale / 2, self.origin / 2
        for name in ("z", "nx", "ny", "t", "kind"):
            setattr(half, name, np.ascontiguousarray(getattr(self, name)[::2, ::2]))
        half.z, half.shape = half.z * np.float32(0.5), half.z.shape
        return half

    def project(self, point: np.ndarray) -> np.ndarray:
        """World point(s) (..., 3) to view space (..., 3)."""
        return np.asarray(point) @ self.view.T + self.origin

    def merge(self, area, inside, z, nx, ny, t, kind, blend):
        """Nearer surfaces win, close ones blend."""
        old = self.z[area]
        z = np.where(inside, z, FAR)
        if blend > 0:
            k = blend * self.scale
            h = np.clip(0.5 + (z - old) * (0.5 / k), 0.0, 1.0)
            fillet = np.where(inside & (old > FAR), k * h * (1 - h), 0)
            self.z[area] = old + (z - old) * h + fillet
        else:
            h = (z > old).astype(np.float32)
            self.z[area] = np.maximum(z, old)
        for normal, new in ((self.nx[area], nx), (self.ny[area], ny)):
            normal += (new - normal) * h
        won = h > 0.5
        np.copyto(self.t[area], t, where=won)
        np.copyto(self.kind[area], kind, where=won)


@dataclass(frozen=True)
class Ellipsoid:
    """`axes` maps the unit sphere to world offsets: its columns are the semi-axes."""

    centre: np.ndarray
    axes: np.ndarray
    kind: int
    blend: float = 0.06

    def points(self, view):
        """Two corners of the box around it, in view units."""
        c, reach = view @ self.centre, np.linalg.norm(view @ self.axes, axis=1)
        return c - reach, c + reach

    def draw(self, buffer: DepthBuffer) -> None:
        c, axes = buffer.project(self.centre), buffer.view @ self.axes
        shape = axes @ axes.T
        reach = np.sqrt(np.diag(shape))
        if (area := window(buffer.shape, c - reach, np.ceil(c + reach) + 1)) is None:
            return
        a = np.triu(np.linalg.inv(shape).astype(np.float32))
        a += np.triu(a, 1).T
        dx, dy = offsets(area, c)
        b = a[0, 2] * dx + a[1, 2] * dy
        rest = a[0, 0] * dx * dx + a[1, 1] * dy * dy + 2 * a[0, 1] * dx * dy - 1
        root = b * b - a[2, 2] * rest
        dz = (np.sqrt(np.maximum(root, 0)) - b) / a[2, 2]
        nx, ny, nz = (row[0] * dx + row[1] * dy + row[2] * dz for row in a)
        inv = 1.0 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
        z, t = dz + np.float32(c[2]), np.float32(0.5)
        buffer.merge(area, root > 0, z, nx * inv, ny * inv, t, self.kind, self.blend)


@dataclass(frozen=True)
class Limb:
    """A sphere of radius `r0` at `start` swept to `r1` at `end`."""

    start: np.ndarray
    end: np.ndarray
    r0: float
    r1: float
    kind: int
    t0: float = 0.0
    t1: float = 1.0
    blend: float = 0.06

    def points(self, view):
        a, b = view @ self.start, view @ self.end
        return a - self.r0, a + self.r0, b - self.r1, b + self.r1

    def draw(self, buffer: DepthBuffer) -> None:
        p0, p1 = buffer.project(self.start), buffer.project(self.end)
        r0, r1 = self.r0 * buffer.scale, self.r1 * buffer.scale
        low, high = np.minimum(p0 - r0, p1 - r1), np.maximum(p0 + r0, p1 + r1)
        if (area := window(buffer.shape, low, np.ceil(high) + 1)) is None:
            return
        dx, dy = offsets(area, p0)
        d = (p1 - p0).astype(np.float32)
        ux, uy = d[:2] / (flat := max(float(np.hypot(d[0], d[1])), 1e-3))
        along, across2 = dx * ux + dy * uy, np.square(dy * ux - dx * uy)
        lean = d[2] / np.sqrt(d[2] * d[2] + flat * flat)
        t = np.clip(along / flat, 0, 1)
        for _ in range(2):  # the sphere that is nearest to the viewer, radius from the last guess
            r = r0 + (r1 - r0) * t
            t = np.clip((along + np.sqrt(np.maximum(r * r - across2, 0)) * lean) / flat, 0, 1)
        r = r0 + (r1 - r0) * t
        off = along - t * flat
        height2 = r * r - across2 - off * off
        z = np.float32(p0[2]) + t * d[2] + np.sqrt(np.maximum(height2, 0))
        nx, ny = (dx - t * d[0]) / r, (dy - t * d[1]) / r
        t = self.t0 + (self.t1 - self.t0) * t
        buffer.merge(area, height2 > 0, z, nx, ny, t, self.kind, self.blend)


@dataclass(frozen=True)
class Leaf:
    """A thin curved sheet (an ear): `width` and `length` are vectors from `base`, `outline` is the
    half width over the length, sampled evenly from base to tip. `kind` and `inner` are the kinds
    of its two faces; the first one faces `width x length`."""

    base: np.ndarray
    width: np.ndarray
    length: np.ndarray
    outline: list[float]
    kind: int
    inner: int
    cup: float = 0.5
    blend: float = 0.0

    def points(self, view):
        return view @ self.base, view @ (self.base + self.length)

    def draw(self, buffer: DepthBuffer) -> None:
        o, s, t = buffer.project(self.base), buffer.view @ self.width, buffer.view @ self.length
        normal = -unit(np.cross(s, t))  # y points down in view space: the handedness is turned
        sign = 1.0 if normal[2] > 0 else -1.0
        facing, side = sign * normal, unit(s)
        s2, t2, broad = s[:2], t[:2], np.linalg.norm(s)
        across = np.array([-t2[1], t2[0]]) / (np.hypot(*t2) + 1e-6)
        if abs(s2 @ across) < 0.36 * broad:  # seen edge on: an ear is a few millimetres thick
            s2 = s2 + across * (np.copysign(0.36 * broad, s2 @ across) - s2 @ across)
        ends = [o[:2] + a * max(self.outline) * s2 + b * t2 for a in (-1, 1) for b in (0, 1.0)]
        patch = skewed(buffer.shape, np.min(ends, 0), np.max(ends, 0), o, s2, t2, 1e-6)
        if patch is None:
            return
        area, u, v = patch
        half = np.interp(v, np.linspace(0, 1, len(self.outline)), self.outline).astype(np.float32)
        rim, cup = np.abs(u) / np.maximum(half, 1e-3), np.float32(self.cup * sign)
        z = np.float32(o[2]) + u * np.float32(s[2]) + v * np.float32(t[2])
        z = z + cup * np.float32(broad) * (1 - rim * rim) * half * np.float32(abs(facing[2]))
        tilt = np.clip(u / np.maximum(half, 1e-3), -1, 1) * cup
        facing[2] = max(facing[2], 0.15)
        pairs = zip(facing.astype(np.float32), side.astype(np.float32), strict=True)
        nx, ny, nz = (towards + tilt * aside for towards, aside in pairs)
        inv = 1.0 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-6)
        inside, t = (rim < 1) & (v > 0) & (v < 1), np.maximum(rim, v * 0.85)
        kind = self.kind if sign > 0 else self.inner
        buffer.merge(area, inside, z, nx * inv, ny * inv, t, kind, self.blend)
