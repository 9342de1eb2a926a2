"""What colour a coat has at each visible point: zone words turned into soft weights."""

from __future__ import annotations

import cv2
import numpy as np

from petweak.data.rendered_animal import Animal
from petweak.data.rendered_raster import EAR, HEAD, INNER_EAR, LEG, TAIL, TRUNK, DepthBuffer


def linear(colour) -> np.ndarray:
    """sRGB 0..255 to linear light 0..1 (gamma 2, near enough and quick to undo)."""
    return np.square(np.asarray(colour, np.float32) / 255.0)


def noise(rng: np.random.Generator, shape, cell: float, octaves: int = 1, stretch=1.0):
    """Smooth noise, about zero mean and unit deviation.

    Args:
        shape: (rows, columns). cell: pixels per blob. octaves: finer copies added on top.
        stretch: blobs are this much longer along x.
    """
    rows, columns = int(shape[0] / cell) + 3, int(shape[1] / (cell * stretch)) + 3
    grid = rng.standard_normal((rows, columns), dtype=np.float32)
    weight = 1.0
    # Octaves are summed on the smallest grid that holds them: one large resize in all.
    for _ in range(octaves - 1):
        if cell < 2:
            break
        rows, columns, cell, weight = rows * 2, columns * 2, cell / 2, weight * 0.55
        grid = cv2.resize(grid, (columns, rows), interpolation=cv2.INTER_CUBIC)
        grid += weight * rng.standard_normal((rows, columns), dtype=np.float32)
    if cell <= 1.0 and stretch == 1.0:
        return np.ascontiguousarray(grid[: shape[0], : shape[1]])
    across, down = cell * stretch, cell
    corner = np.float32([[1 / across, 0, 0.5], [0, 1 / down, 0.5]])
    return cv2.warpAffine(grid, corner, (shape[1], shape[0]), borderMode=cv2.BORDER_REFLECT,
                          flags=(cv2.INTER_CUBIC if cell > 6 else cv2.INTER_LINEAR)
                          | cv2.WARP_INVERSE_MAP)


def ramp(x, low: float, high: float):
    """0 below ``low``, 1 above ``high``, smooth between (either order)."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


class Zones:
    """Weights (H, W) in 0..1 by zone word, over the visible surface of one animal."""

    def __init__(self, animal: Animal, buffer: DepthBuffer, rng: np.random.Generator):
        self.buffer, self.rng, self.breed = buffer, rng, animal.breed
        h, w = buffer.shape
        unit = buffer.scale
        px = np.arange(w, dtype=np.float32)[None, :] - np.float32(buffer.origin[0])
        py = np.arange(h, dtype=np.float32)[:, None] - np.float32(buffer.origin[1])
        z = np.maximum(buffer.z, -1e4)
        inverse = np.linalg.inv(buffer.view)

        def local(frame, at, size):
            rows = ((frame.T @ inverse) / size).astype(np.float32)
            shift = (frame.T @ at / size).astype(np.float32)
            return [rows[i, 0] * px + rows[i, 1] * py + rows[i, 2] * z - shift[i]
                    for i in range(3)]

        self.head = local(animal.head, animal.head_at, animal.breed.head)
        self.trunk = local(animal.trunk, animal.trunk_at, 1.0)
        self.t = buffer.t
        self.on = {k: (buffer.kind == k).astype(np.float32) for k in (TRUNK, HEAD, LEG, TAIL)}
        self.ear = ((buffer.kind == EAR) | (buffer.kind == INNER_EAR)).astype(np.float32)
        coarse = 0.16 * unit
        self.wobble = noise(rng, (h, w), coarse, 3)
        self.unit = unit

    def weight(self, words: str) -> np.ndarray:
        """The union of the zones in ``words``."""
        total = None
        for word in words.split():
            w = getattr(self, "_" + word)()
            total = w if total is None else np.maximum(total, w)
        return total

    def _blobs(self, size, threshold, soft=0.25, stretch=1.3):
        return ramp(noise(self.rng, self.buffer.shape, size * self.unit, 2, stretch), threshold,
                    threshold + soft)

    def _head_distance(self, x, y, z):
        hx, hy, hz = self.head
        return np.sqrt((hx - x) ** 2 + (hy - y) ** 2 + (hz - z) ** 2)

    def _all(self):
        return np.ones(self.buffer.shape, np.float32)

    def _height(self):
        return self.trunk[1] / self.breed.girth + 0.12 * self.wobble

    def _belly(self):
        return (self.on[TRUNK] + 0.6 * self.on[LEG]) * ramp(self._height(), 0.0, -0.8)

    def _chest(self):
        front = self.trunk[0] / self.breed.trunk
        low = ramp(front - 0.45 * self._height() + 0.05 * self.wobble, 0.48, 0.66)
        face_down = self.on[HEAD] * ramp(self.head[1] + 0.1 * self.wobble, -0.7, -0.95)
        narrow = ramp(np.abs(self.trunk[2]) / self.breed.girth, 1.0, 0.6)
        return np.maximum(self.on[TRUNK] * low * narrow, face_down)

    def _back(self):
        return self.on[TRUNK] * ramp(self._height(), 0.0, 0.6)

    def _saddle(self):
        on = self.on[TRUNK] + self.on[TAIL] * ramp(self.t, 0.75, 0.6) + self.on[LEG] * ramp(
            self.t, 0.2, 0.05)
        ahead = ramp(self.trunk[0] / self.breed.trunk + 0.04 * self.wobble, 0.62, 0.42)
        return on * ramp(self._height() + 0.1 * self.wobble, -0.35, 0.0) * ahead

    def _saddlepatch(self):
        return self._saddle() * ramp(self.wobble, -0.9, -0.6)

    def _legs(self):
        return self.on[LEG] * ramp(self.t + 0.06 * self.wobble, 0.28, 0.5)

    def _socks(self):
        return self.on[LEG] * ramp(self.t + 0.04 * self.wobble, 0.66, 0.76)

    def _paws(self):
        return self.on[LEG] * ramp(self.t + 0.03 * self.wobble, 0.80, 0.88)

    def _tailtip(self):
        return self.on[TAIL] * ramp(self.t, 0.62, 0.78)

    def _tail(self):
        return self.on[TAIL]

    def _ears(self):
        return self.ear

    def _head(self):
        return np.maximum(self.on[HEAD], self.ear)

    def _muzzle(self):
        reach = 0.62 + 0.5 * self.breed.muzzle
        d = self._head_distance(0.75 + 0.5 * self.breed.muzzle, -0.48, 0)
        return self.on[HEAD] * ramp(d + 0.05 * self.wobble, reach, reach - 0.16)

    def _muzzletip(self):
        d = self._head_distance(0.95 + 0.75 * self.breed.muzzle, -0.5, 0)
        return self.on[HEAD] * ramp(d + 0.05 * self.wobble, 0.62, 0.50)

    def _mask(self):
        reach = 0.92 + 0.45 * self.breed.muzzle
        d = self._head_distance(0.80 + 0.45 * self.breed.muzzle, -0.35, 0)
        return self.on[HEAD] * ramp(d + 0.08 * self.wobble, reach, reach - 0.35)

    def _mask2(self):
        band = ramp(np.abs(np.abs(self.head[2]) - 0.62), 0.30, 0.12)
        return 0.8 * self.on[HEAD] * band * ramp(np.abs(self.head[1]), 0.55, 0.3)

    def _chin(self):
        return self.on[HEAD] * ramp(self.head[1] + 0.04 * self.wobble, -0.34, -0.5)

    def _blaze(self):
        hx, hy, hz = self.head
        wide = 0.15 + 0.10 * np.clip(-hy, 0, 1) + 0.03 * self.wobble
        return self.on[HEAD] * ramp(np.abs(hz) - wide, 0.06, -0.04) * ramp(hx, 0.0, 0.25)

    def _headtop(self):
        return 0.8 * self.on[HEAD] * ramp(self.head[1] + 0.1 * self.wobble, 0.1, 0.6)

    def _eyepatch(self):
        d = self._head_distance(0.65, 0.18, 0.46 * self.breed.skull_width)
        return self.on[HEAD] * ramp(d + 0.08 * self.wobble, 0.52, 0.42)

    def _eyepatches(self):
        hx, hy, hz = self.head
        d = np.sqrt((hx - 0.5) ** 2 + (hy - 0.20) ** 2
                    + (np.abs(hz) - 0.62 * self.breed.skull_width) ** 2)
        return self.on[HEAD] * ramp(d + 0.06 * self.wobble, 0.56, 0.44)

    def _spectacles(self):
        hx, hy, hz = self.head
        d = np.sqrt((hx - 0.75) ** 2 + (hy - 0.26) ** 2 + (np.abs(hz) - 0.34) ** 2)
        return 0.85 * self.on[HEAD] * ramp(d, 0.34, 0.2)

    def _tanpoints(self):
        hx, hy, hz = self.head
        brow = np.sqrt((hx - 0.78) ** 2 + (hy - 0.42) ** 2 + (np.abs(hz) - 0.30) ** 2)
        side = self._muzzle() * ramp(hy - 0.35 * np.abs(hz), -0.12, -0.3)
        return np.maximum.reduce([self.on[HEAD] * ramp(brow, 0.2, 0.12), side, self._legs(),
                                  0.9 * self._chest()])

    def _urajiro(self):
        hx, hy, hz = self.head
        cheek = self.on[HEAD] * ramp(hy + 0.5 * ramp(np.abs(hz), .3, 0.0) * (hx < 1), -0.10, -0.32)
        return np.maximum.reduce([cheek, self._belly(), self._chest(), 0.7 * self._legs(),
                                  self._tailtip()])

    def _points(self):
        """Seal points: darkest where the body is coolest."""
        d = self._head_distance(0.80 + 0.4 * self.breed.muzzle, -0.15, 0)
        face = self.on[HEAD] * ramp(d + 0.06 * self.wobble, 0.98, 0.50)
        return np.maximum.reduce([face, self.ear, self.on[TAIL] * ramp(self.t, -.2, .2),
                                  self.on[LEG] * ramp(self.t, 0.40, 0.80)])

    def _ticking(self):
        fine = noise(self.rng, self.buffer.shape, max(0.012 * self.unit, 1.0))
        return 0.55 * ramp(fine, -0.2, 1.0) * ramp(self._height(), -0.6, 0.4)

    def _tips(self):
        fine = noise(self.rng, self.buffer.shape, max(0.018 * self.unit, 1.0))
        return (0.60 * ramp(fine + 0.3 * self.wobble, -0.6, 1.8)
                * (1 - 0.7 * self.on[HEAD]) * (1 - self.ear))

    def _patches(self):
        return self._blobs(0.42, 0.40, 0.10) * (1 - 0.7 * self._muzzle())

    def _patchlight(self):
        return 0.55 * self._blobs(0.42, 0.0, 1.0)

    def _roan(self):
        fine = noise(self.rng, self.buffer.shape, max(0.030 * self.unit, 1.0), 2)
        return 0.9 * ramp(fine + 0.45 * self.wobble, 0.35, 0.8)

    def _merle(self):
        return 0.9 * self._blobs(0.16, 0.65, 0.15)

    def _spots(self):
        body = self.on[TRUNK] + self.on[LEG] * ramp(self.t, 0.9, 0.7) + 0.5 * self.on[HEAD] * ramp(
            self.head[0], 0.6, 0.3) + self.on[TAIL]
        return body * self._blobs(0.062, 0.66, 0.25, 1.3)

    def _rosettes(self):
        field = noise(self.rng, self.buffer.shape, 0.066 * self.unit, 2, 1.5)
        ring = ramp(np.abs(field - 0.62), 0.34, 0.18)
        body = self.on[TRUNK] + self.on[LEG] * ramp(self.t, 0.7, 0.4)
        return np.maximum(body * ring, 0.45 * body * ramp(field, 0.5, 0.7))

    def _brindle(self):
        wave = np.sin((self.trunk[0] * 3 + self.trunk[1]) * 26 + 1.5 * self.wobble)
        return 0.7 * ramp(wave, -0.6, 0.6)

    def _tabby(self):
        wave = np.sin(self.trunk[0] * 38 / self.breed.trunk + 2.6 * self.wobble)
        spine = ramp(self._height(), 0.75, 0.95)
        body = self.on[TRUNK] * np.maximum(ramp(wave, 0.05, 0.65), spine)
        return 0.88 * body * ramp(self._height(), -0.9, -0.3)

    def _rings(self):
        wave = np.sin(self.t * 34 + 0.9 * self.wobble)
        return 0.88 * (self.on[TAIL] + self.on[LEG] * ramp(self.t, 0.92, 0.84)) * ramp(wave, 0, .6)

    def _headstripes(self):
        hx, hy, hz = self.head
        crown = ramp(np.sin(np.abs(hz) * 22 + 0.8 + 0.3 * self.wobble), 0.2, 0.7) * ramp(
            hy, 0.26, 0.42)
        cheek = ramp(np.sin(hy * 19 + np.abs(hz) * 5), 0.35, 0.8) * ramp(
            np.abs(hz), 0.52, 0.66) * ramp(hx, 0.85, 0.6)
        return 0.85 * self.on[HEAD] * np.maximum(crown, cheek)


def coat(animal: Animal, buffer: DepthBuffer, rng: np.random.Generator) -> np.ndarray:
    """Albedo (H, W, 3) in linear light; valid where the buffer holds a part."""
    zones = Zones(animal, buffer, rng)
    individual = np.float32(np.exp(rng.normal(0, 0.10))) * np.exp(
        rng.normal(0, 0.03, 3)).astype(np.float32)
    colour = None
    for paint, words in animal.breed.coat:
        paint = linear(paint) * individual
        if colour is None:
            colour = np.broadcast_to(paint, (*buffer.shape, 3)).copy()
        else:
            colour += zones.weight(words)[..., None] * (paint - colour)
    colour *= (1.0 + 0.07 * zones.wobble)[..., None]
    colour *= 1 - 0.22 * cv2.blur(zones.ear, (3, 3))[..., None]  # thin hair, and deep shade
    inner = (buffer.kind == INNER_EAR).astype(np.float32)
    bare = ramp(buffer.t, 0.95, 0.55) * inner
    skin = linear((206, 146, 132)) * (0.35 + 0.65 * np.sqrt(np.clip(colour, 0, 1)))
    colour += 0.75 * bare[..., None] * (skin - colour)
    return np.clip(colour, 0.004, 0.92)
