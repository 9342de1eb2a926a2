"""What colour a coat has at each visible point: zone words turned into soft weights."""

import cv2
import numpy as np

from petweak.rendered.animal import Animal
from petweak.rendered.raster import DepthBuffer, Kind, of_kinds, offsets


def linear(colour) -> np.ndarray:
    """sRGB 0..255 to linear light 0..1 (gamma 2, near enough and quick to undo)."""
    return np.square(np.asarray(colour, np.float32) / 255.0)


def noise(rng: np.random.Generator, shape, cell: float, octaves: int = 1, stretch=1.0):
    """Smooth noise of a shape (rows, columns), about zero mean and unit deviation. cell: pixels per
    blob. octaves: finer copies added on top. stretch: blobs are this much longer along x."""
    rows, columns = int(shape[0] / cell) + 3, int(shape[1] / (cell * stretch)) + 3
    grid, weight = rng.standard_normal((rows, columns), dtype=np.float32), 1.0
    # Octaves are summed on the smallest grid that has room for them: one large resize in all.
    for _ in range(octaves - 1):
        if cell < 2:
            break
        rows, columns, cell, weight = rows * 2, columns * 2, cell / 2, weight * 0.55
        grid = cv2.resize(grid, (columns, rows), interpolation=cv2.INTER_CUBIC)
        grid += weight * rng.standard_normal((rows, columns), dtype=np.float32)
    if cell <= 1.0 and stretch == 1.0:
        return np.ascontiguousarray(grid[: shape[0], : shape[1]])
    corner = np.float32([[1 / (cell * stretch), 0, 0.5], [0, 1 / cell, 0.5]])
    flags = (cv2.INTER_CUBIC if cell > 6 else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(grid, corner, shape[::-1], flags=flags, borderMode=cv2.BORDER_REFLECT)


def ramp(x, low: float, high: float):
    """0 below `low`, 1 above `high`, smooth between (either order)."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def over(image, cover, colour) -> None:
    """Paint a colour over an image (H, W, 3), in place, as far as the cover (H, W) says."""
    image += cover[..., None] * (colour - image)


class Zones:
    """Weights (H, W) in 0..1 by zone word, over the visible surface of one animal."""

    def __init__(self, animal: Animal, buffer: DepthBuffer, rng: np.random.Generator):
        self.shape, self.unit, self.rng, self.breed = buffer.shape, buffer.scale, rng, animal.breed
        px, py = offsets(np.s_[: buffer.shape[0], : buffer.shape[1]], buffer.origin)
        z, inverse = np.maximum(buffer.z, -1e4), np.linalg.inv(buffer.view)

        def local(frame, at, size):
            rows = ((frame.T @ inverse) / size).astype(np.float32)
            shift = (frame.T @ at / size).astype(np.float32)
            return [r[0] * px + r[1] * py + r[2] * z - s for r, s in zip(rows, shift, strict=True)]

        self.face = local(animal.head, animal.head_at, animal.breed.head)  # forward, up, side
        self.trunk = local(animal.trunk, animal.trunk_at, 1.0)
        self.side, self.m, self.t = np.abs(self.face[2]), animal.breed.muzzle, buffer.t
        self.body, self.head, self.leg, self.tail = (
            of_kinds(buffer.kind, k) for k in (Kind.TRUNK, Kind.HEAD, Kind.LEG, Kind.TAIL))
        self.ear = of_kinds(buffer.kind, Kind.EAR, Kind.INNER_EAR)
        self.wobble = noise(rng, buffer.shape, 0.16 * self.unit, 3)
        self.height = self.trunk[1] / self.breed.girth + 0.12 * self.wobble

    def weight(self, words: str) -> np.ndarray:
        """The union of the zones in `words`."""
        zones = (ZONES.get(word) or getattr(Zones, f"_{word}") for word in words.split())
        return np.maximum.reduce([zone(self) for zone in zones])

    def fine(self, size, octaves=1):
        return noise(self.rng, self.shape, max(size * self.unit, 1.0), octaves)

    def blobs(self, size, threshold, soft=0.25):
        field = noise(self.rng, self.shape, size * self.unit, 2, 1.3)
        return ramp(field, threshold, threshold + soft)

    def around(self, x, y, z, low, high, wobble=0.0, both=False):
        """The head from `low` to `high` around a point of it, or around two, left and right."""
        hx, hy, hz = self.face
        d = np.sqrt((hx - x) ** 2 + (hy - y) ** 2 + ((self.side if both else hz) - z) ** 2)
        return self.head * ramp(d + wobble * self.wobble, low, high)

    def legs(self, wobble, low, high):
        return self.leg * ramp(self.t + wobble * self.wobble, low, high)

    def _chest(self):
        front = self.trunk[0] / self.breed.trunk - 0.45 * self.height + 0.05 * self.wobble
        face_down = self.head * ramp(self.face[1] + 0.1 * self.wobble, -0.7, -0.95)
        narrow = ramp(np.abs(self.trunk[2]) / self.breed.girth, 1.0, 0.6)
        return np.maximum(self.body * ramp(front, 0.48, 0.66) * narrow, face_down)

    def _saddle(self):
        on = self.body + self.tail * ramp(self.t, 0.75, 0.6) + self.leg * ramp(self.t, 0.2, 0.05)
        ahead = ramp(self.trunk[0] / self.breed.trunk + 0.04 * self.wobble, 0.62, 0.42)
        return on * ramp(self.height + 0.1 * self.wobble, -0.35, 0.0) * ahead

    def _muzzle(self):
        reach = 0.62 + 0.5 * self.m
        return self.around(0.75 + 0.5 * self.m, -0.48, 0, reach, reach - 0.16, 0.05)

    def _blaze(self):
        wide = 0.15 + 0.10 * np.clip(-self.face[1], 0, 1) + 0.03 * self.wobble
        return self.head * ramp(self.side - wide, 0.06, -0.04) * ramp(self.face[0], 0.0, 0.25)

    def _tanpoints(self):
        brow = self.around(0.78, 0.42, 0.30, 0.2, 0.12, both=True)
        side = self._muzzle() * ramp(self.face[1] - 0.35 * self.side, -0.12, -0.3)
        return np.maximum.reduce([brow, side, self.weight("legs"), 0.9 * self._chest()])

    def _urajiro(self):
        low = self.face[1] + 0.5 * ramp(self.side, 0.3, 0.0) * (self.face[0] < 1)
        cheek, legs = self.head * ramp(low, -0.10, -0.32), 0.7 * self.weight("legs")
        return np.maximum.reduce([cheek, self.weight("belly chest tailtip"), legs])

    def _points(self):
        """Seal points: darkest where the body is coolest."""
        face = self.around(0.80 + 0.4 * self.m, -0.15, 0, 0.98, 0.50, 0.06)
        tail, leg = self.tail * ramp(self.t, -0.2, 0.2), self.leg * ramp(self.t, 0.40, 0.80)
        return np.maximum.reduce([face, self.ear, tail, leg])

    def _spots(self):
        leg, head = self.leg * ramp(self.t, 0.9, 0.7), ramp(self.face[0], 0.6, 0.3)
        return (self.body + leg + 0.5 * self.head * head + self.tail) * self.blobs(0.062, 0.66)

    def _rosettes(self):
        field = noise(self.rng, self.shape, 0.066 * self.unit, 2, 1.5)
        ring = ramp(np.abs(field - 0.62), 0.34, 0.18)
        body = self.body + self.leg * ramp(self.t, 0.7, 0.4)
        return np.maximum(body * ring, 0.45 * body * ramp(field, 0.5, 0.7))

    def _tabby(self):
        wave = np.sin(self.trunk[0] * 38 / self.breed.trunk + 2.6 * self.wobble)
        body = self.body * np.maximum(ramp(wave, 0.05, 0.65), ramp(self.height, 0.75, 0.95))
        return 0.88 * body * ramp(self.height, -0.9, -0.3)

    def _headstripes(self):
        hx, hy, side = *self.face[:2], self.side
        crown = ramp(np.sin(side * 22 + 0.8 + 0.3 * self.wobble), 0.2, 0.7) * ramp(hy, 0.26, 0.42)
        cheek = ramp(np.sin(hy * 19 + side * 5), 0.35, 0.8) * ramp(side, 0.52, 0.66)
        return 0.85 * self.head * np.maximum(crown, cheek * ramp(hx, 0.85, 0.6))


# The simple zones; the others are methods.
ZONES = {
    "all": lambda z: np.ones(z.shape, np.float32),
    "back": lambda z: z.body * ramp(z.height, 0.0, 0.6),
    "belly": lambda z: (z.body + 0.6 * z.leg) * ramp(z.height, 0.0, -0.8),
    "brindle": lambda z: 0.7 * ramp(
        np.sin((z.trunk[0] * 3 + z.trunk[1]) * 26 + 1.5 * z.wobble), -0.6, 0.6),
    "chin": lambda z: z.head * ramp(z.face[1] + 0.04 * z.wobble, -0.34, -0.5),
    "ears": lambda z: z.ear,
    "eyepatch": lambda z: z.around(0.65, 0.18, 0.46 * z.breed.skull_width, 0.52, 0.42, 0.08),
    "eyepatches": lambda z: z.around(
        0.5, 0.20, 0.62 * z.breed.skull_width, 0.56, 0.44, 0.06, both=True),
    "head": lambda z: np.maximum(z.head, z.ear),
    "headtop": lambda z: 0.8 * z.head * ramp(z.face[1] + 0.1 * z.wobble, 0.1, 0.6),
    "legs": lambda z: z.legs(0.06, 0.28, 0.5),
    "mask": lambda z: z.around(
        0.80 + 0.45 * z.m, -0.35, 0, 0.92 + 0.45 * z.m, 0.92 + 0.45 * z.m - 0.35, 0.08),
    "mask2": lambda z: (0.8 * z.head * ramp(np.abs(z.side - 0.62), 0.30, 0.12)
                        * ramp(np.abs(z.face[1]), 0.55, 0.3)),
    "merle": lambda z: 0.9 * z.blobs(0.16, 0.65, 0.15),
    "muzzletip": lambda z: z.around(0.95 + 0.75 * z.m, -0.5, 0, 0.62, 0.50, 0.05),
    "patches": lambda z: z.blobs(0.42, 0.40, 0.10) * (1 - 0.7 * z._muzzle()),
    "patchlight": lambda z: 0.55 * z.blobs(0.42, 0.0, 1.0),
    "paws": lambda z: z.legs(0.03, 0.80, 0.88),
    "rings": lambda z: (0.88 * (z.tail + z.leg * ramp(z.t, 0.92, 0.84))
                        * ramp(np.sin(z.t * 34 + 0.9 * z.wobble), 0, 0.6)),
    "roan": lambda z: 0.9 * ramp(z.fine(0.030, 2) + 0.45 * z.wobble, 0.35, 0.8),
    "saddlepatch": lambda z: z._saddle() * ramp(z.wobble, -0.9, -0.6),
    "socks": lambda z: z.legs(0.04, 0.66, 0.76),
    "spectacles": lambda z: 0.85 * z.around(0.75, 0.26, 0.34, 0.34, 0.2, both=True),
    "tailtip": lambda z: z.tail * ramp(z.t, 0.62, 0.78),
    "ticking": lambda z: 0.55 * ramp(z.fine(0.012), -0.2, 1.0) * ramp(z.height, -0.6, 0.4),
    "tips": lambda z: (0.60 * ramp(z.fine(0.018) + 0.3 * z.wobble, -0.6, 1.8)
                       * (1 - 0.7 * z.head) * (1 - z.ear)),
}


def coat(animal: Animal, buffer: DepthBuffer, rng: np.random.Generator) -> np.ndarray:
    """Albedo (H, W, 3) in linear light; valid where the buffer has a part."""
    zones = Zones(animal, buffer, rng)
    bright = np.float32(np.exp(rng.normal(0, 0.10)))
    individual = bright * np.exp(rng.normal(0, 0.03, 3)).astype(np.float32)
    colour = np.zeros((*buffer.shape, 3), np.float32)
    for paint, words in animal.breed.coat:
        over(colour, zones.weight(words), linear(paint) * individual)
    colour *= (1.0 + 0.07 * zones.wobble)[..., None]
    colour *= 1 - 0.22 * cv2.blur(zones.ear, (3, 3))[..., None]  # thin hair, and deep shade
    bare = ramp(buffer.t, 0.95, 0.55) * of_kinds(buffer.kind, Kind.INNER_EAR)
    skin = linear((206, 146, 132)) * (0.35 + 0.65 * np.sqrt(np.clip(colour, 0, 1)))
    over(colour, 0.75 * bare, skin)
    return np.clip(colour, 0.004, 0.92)
