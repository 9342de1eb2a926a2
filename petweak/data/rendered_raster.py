"""A depth buffer for round bodies: ellipsoids, tapered limbs and thin curved ears.

Everything is in view space: x to the right and y down in pixels, z towards the viewer in
pixels too, projected orthographically. Surfaces that meet are blended where they are
close in depth, so that limbs grow out of the trunk instead of being stuck on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FAR = np.float32(-1e6)

# Kinds of surface, as the buffer stores them; -1 is nothing.
TRUNK, HEAD, LEG, TAIL, EAR, INNER_EAR, NOSE, TONGUE, COLLAR, MOUTH = range(10)


@dataclass(frozen=True)
class Ellipsoid:
    """``axes`` maps the unit sphere to world offsets: its columns are the semi-axes."""

    centre: np.ndarray
    axes: np.ndarray
    kind: int
    grow: float = 0.0
    blend: float = 0.06


@dataclass(frozen=True)
class Limb:
    """A sphere of radius ``r0`` at ``start`` swept to ``r1`` at ``end``."""

    start: np.ndarray
    end: np.ndarray
    r0: float
    r1: float
    kind: int
    t0: float = 0.0
    t1: float = 1.0
    grow: float = 0.0
    blend: float = 0.06


@dataclass(frozen=True)
class Leaf:
    """A thin curved sheet (an ear): ``width`` and ``length`` are vectors from ``base``.

    ``outline`` is the half width over the length, sampled evenly from base to tip.
    ``outer`` and ``inner`` are the kinds of its two faces; the outer one faces
    ``width x length``.
    """

    base: np.ndarray
    width: np.ndarray
    length: np.ndarray
    outline: tuple[float, ...]
    outer: int
    inner: int
    cup: float = 0.5
    blend: float = 0.0


@dataclass(frozen=True)
class Light:
    """Where light comes from (view space, y down, unit length) and its linear colours."""

    sun: np.ndarray
    sun_colour: np.ndarray
    sky_colour: np.ndarray
    ground_colour: np.ndarray


class DepthBuffer:
    """What is nearest at each pixel: depth, normal, kind and a coordinate along the part.

    Args:
        height: rows. width: columns.
        view: (3, 3) world to view space (rotation, scale in pixels, y turned down).
        origin: (2,) pixel of the world's origin.
    """

    def __init__(self, height: int, width: int, view: np.ndarray, origin: np.ndarray):
        self.shape = (height, width)
        self.view = view.astype(np.float64)
        self.scale = float(np.linalg.norm(view[0]))
        self.origin = np.array([origin[0], origin[1], 0.0])
        self.z = np.full(self.shape, FAR, np.float32)
        self.nx = np.zeros(self.shape, np.float32)
        self.ny = np.zeros(self.shape, np.float32)
        self.t = np.zeros(self.shape, np.float32)
        self.kind = np.full(self.shape, -1, np.int8)

    def halved(self) -> DepthBuffer:
        """Every second row and column: enough for coats and light, at a quarter of the work."""
        half = object.__new__(DepthBuffer)
        half.view, half.scale, half.origin = self.view / 2, self.scale / 2, self.origin / 2
        for name in ("z", "nx", "ny", "t", "kind"):
            setattr(half, name, np.ascontiguousarray(getattr(self, name)[::2, ::2]))
        half.z *= np.float32(0.5)
        half.shape = half.z.shape
        return half

    def project(self, point: np.ndarray) -> np.ndarray:
        """World point(s) (..., 3) to view space (..., 3)."""
        return np.asarray(point) @ self.view.T + self.origin

    def draw(self, part: Ellipsoid | Limb | Leaf) -> None:
        """Draw one part; nearer surfaces win, close ones blend."""
        if isinstance(part, Ellipsoid):
            self._ellipsoid(part)
        elif isinstance(part, Limb):
            self._limb(part)
        else:
            self._leaf(part)

    def _window(self, x0, y0, x1, y1):
        h, w = self.shape
        x0, y0 = max(int(np.floor(x0)), 0), max(int(np.floor(y0)), 0)
        x1, y1 = min(int(np.ceil(x1)) + 1, w), min(int(np.ceil(y1)) + 1, h)
        if x0 >= x1 or y0 >= y1:
            return None
        x = np.arange(x0, x1, dtype=np.float32)[None, :]
        y = np.arange(y0, y1, dtype=np.float32)[:, None]
        return (slice(y0, y1), slice(x0, x1)), x, y

    def _merge(self, window, inside, z, nx, ny, t, kind, blend):
        old = self.z[window]
        z = np.where(inside, z, FAR)
        if blend > 0:
            k = blend * self.scale
            h = np.clip(0.5 + (z - old) * (0.5 / k), 0.0, 1.0)
            fillet = np.where(inside & (old > FAR), k * h * (1 - h), 0)
            self.z[window] = old + (z - old) * h + fillet
        else:
            h = (z > old).astype(np.float32)
            self.z[window] = np.maximum(z, old)
        for buffer, new in ((self.nx, nx), (self.ny, ny)):
            view = buffer[window]
            view += (new - view) * h
        won = h > 0.5
        np.copyto(self.t[window], t, where=won)
        np.copyto(self.kind[window], kind, where=won)

    def _ellipsoid(self, part: Ellipsoid) -> None:
        c = self.project(part.centre)
        axes = self.view @ part.axes
        if part.grow:
            axes = axes * (1.0 + part.grow * self.scale / np.linalg.norm(axes, axis=0))
        shape = axes @ axes.T
        ex, ey = np.sqrt(shape[0, 0]), np.sqrt(shape[1, 1])
        found = self._window(c[0] - ex, c[1] - ey, c[0] + ex, c[1] + ey)
        if found is None:
            return
        window, x, y = found
        a = np.linalg.inv(shape).astype(np.float32)
        dx, dy = x - np.float32(c[0]), y - np.float32(c[1])
        b = a[0, 2] * dx + a[1, 2] * dy
        rest = a[0, 0] * dx * dx + a[1, 1] * dy * dy + 2 * a[0, 1] * dx * dy - 1
        root = b * b - a[2, 2] * rest
        inside = root > 0
        dz = (np.sqrt(np.maximum(root, 0)) - b) / a[2, 2]
        nx = a[0, 0] * dx + a[0, 1] * dy + a[0, 2] * dz
        ny = a[0, 1] * dx + a[1, 1] * dy + a[1, 2] * dz
        nz = a[0, 2] * dx + a[1, 2] * dy + a[2, 2] * dz
        inv = 1.0 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
        self._merge(window, inside, dz + np.float32(c[2]), nx * inv, ny * inv, np.float32(0.5),
                    part.kind, part.blend)

    def _limb(self, part: Limb) -> None:
        p0, p1 = self.project(part.start), self.project(part.end)
        r0, r1 = ((r + part.grow) * self.scale for r in (part.r0, part.r1))
        found = self._window(min(p0[0] - r0, p1[0] - r1), min(p0[1] - r0, p1[1] - r1),
                             max(p0[0] + r0, p1[0] + r1), max(p0[1] + r0, p1[1] + r1))
        if found is None:
            return
        window, x, y = found
        d = (p1 - p0).astype(np.float32)
        flat = max(float(np.hypot(d[0], d[1])), 1e-3)
        ux, uy = d[0] / flat, d[1] / flat
        dx, dy = x - np.float32(p0[0]), y - np.float32(p0[1])
        along = dx * ux + dy * uy
        across2 = np.square(dy * ux - dx * uy)
        lean = d[2] / np.sqrt(d[2] * d[2] + flat * flat)
        t = np.clip(along / flat, 0, 1)
        for _ in range(2):  # the sphere that is nearest to the viewer, radius from the last guess
            r = r0 + (r1 - r0) * t
            t = np.clip((along + np.sqrt(np.maximum(r * r - across2, 0)) * lean) / flat, 0, 1)
        r = r0 + (r1 - r0) * t
        off = along - t * flat
        height2 = r * r - across2 - off * off
        inside = height2 > 0
        z = np.float32(p0[2]) + t * d[2] + np.sqrt(np.maximum(height2, 0))
        px, py = dx - t * d[0], dy - t * d[1]
        self._merge(window, inside, z, px / r, py / r, part.t0 + (part.t1 - part.t0) * t,
                    part.kind, part.blend)

    def _leaf(self, part: Leaf) -> None:
        o = self.project(part.base)
        s, t = self.view @ part.width, self.view @ part.length
        normal = np.cross(s, t)
        # y points down in view space, which turns the handedness round.
        normal = -normal / (np.linalg.norm(normal) + 1e-9)
        front = normal[2] > 0
        s2, t2 = s[:2].copy(), t[:2]
        tl = np.hypot(*t2) + 1e-6
        across = np.array([-t2[1], t2[0]]) / tl
        thickness = 0.36 * np.linalg.norm(s)
        if abs(s2 @ across) < thickness:  # seen edge on: an ear is a few millimetres thick
            s2 = s2 + across * (np.copysign(thickness, s2 @ across) - s2 @ across)
        det = s2[0] * t2[1] - s2[1] * t2[0]
        wide = max(part.outline)
        corners = np.array([o[:2] + a * wide * s2 + b * t2 for a in (-1, 1) for b in (0, 1.0)])
        found = self._window(*corners.min(0), *corners.max(0))
        if found is None or abs(det) < 1e-6:
            return
        window, x, y = found
        dx, dy = x - np.float32(o[0]), y - np.float32(o[1])
        u = ((dx * t2[1] - dy * t2[0]) / det).astype(np.float32)
        v = ((dy * s2[0] - dx * s2[1]) / det).astype(np.float32)
        half = np.interp(v, np.linspace(0, 1, len(part.outline)), part.outline).astype(np.float32)
        rim = np.abs(u) / np.maximum(half, 1e-3)
        inside = (rim < 1) & (v > 0) & (v < 1)
        side = s / (np.linalg.norm(s) + 1e-9)
        facing = normal if front else -normal
        bulge = part.cup * np.float32(np.linalg.norm(s)) * (1 - rim * rim) * half
        z = np.float32(o[2]) + u * np.float32(s[2]) + v * np.float32(t[2])
        z = z + (bulge if front else -bulge) * np.float32(abs(facing[2]))
        tilt = np.clip(u / np.maximum(half, 1e-3), -1, 1) * np.float32(
            part.cup * (1.0 if front else -1.0))
        nx = np.float32(facing[0]) + tilt * np.float32(side[0])
        ny = np.float32(facing[1]) + tilt * np.float32(side[1])
        nz = np.float32(max(facing[2], 0.15)) + tilt * np.float32(side[2])
        inv = 1.0 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-6)
        self._merge(window, inside, z, nx * inv, ny * inv, np.maximum(rim, v * 0.85),
                    part.outer if front else part.inner, part.blend)


def of_kinds(kind, *kinds):
    """1.0 where a pixel is one of ``kinds``."""
    table = np.zeros(11, np.float32)  # index -1, nothing there, is the last entry
    table[list(kinds)] = 1
    return table[kind]


def unit(v) -> np.ndarray:
    v = np.asarray(v, float)
    return v / (np.linalg.norm(v) + 1e-9)
