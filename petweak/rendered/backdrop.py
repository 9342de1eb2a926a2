"""Rooms, gardens and the shaded solids that furnish them and distract from the pet: balls, bowls,
cushions, plants. Painted in linear light."""

from functools import partial

import cv2
import numpy as np

from petweak.rendered.breeds import DRAWING
from petweak.rendered.coat import linear, noise, over, ramp
from petweak.rendered.raster import Light, offsets, window

VIVID = DRAWING["things"]["vivid"]


def pick(rng: np.random.Generator, options):
    """One of `options`, as it is (numpy's choice would turn tuples into arrays)."""
    return options[int(rng.integers(len(options)))]


def _power(x, exponent: int):
    """x to a whole power by repeated squaring, many times faster than numpy's."""
    result = None
    while exponent:
        if exponent & 1:
            result = x if result is None else result * x
        exponent >>= 1
        x = x * x if exponent else x
    return result


def solid(image, light: Light, centre, radii, colour, power=2, texture=None, angle=0.0):
    """Paint a shaded superellipse (2 a ball, 5 a cushion, 14 a box); returns its (H, W) cover."""
    cover, co, si = np.zeros(image.shape[:2], np.float32), abs(np.cos(angle)), abs(np.sin(angle))
    reach = np.array([radii[0] * co + radii[1] * si, radii[0] * si + radii[1] * co]) * 1.06 + 1
    area = window(image.shape, np.subtract(centre, reach), np.add(centre, reach) + 1)
    if area is None:
        return cover
    dx, dy = offsets(area, centre)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u, v = (dx * c + dy * s) / np.float32(radii[0]), (dy * c - dx * s) / np.float32(radii[1])
    pu, pv = _power(np.abs(u), power - 1), _power(np.abs(v), power - 1)
    level = np.abs(u) * pu + np.abs(v) * pv
    edge = power / min(radii)
    alpha = cover[area] = ramp(level, 1 + edge, 1 - edge)
    nx, ny = np.copysign(pu, u), np.copysign(pv, v)
    nz = np.sqrt(np.maximum(1.0 - np.clip(level, 0, 1), 0.02))
    inv = 1 / np.sqrt(nx * nx + ny * ny + nz * nz)
    nx, ny, nz = nx * inv, ny * inv, nz * inv
    sun = np.clip((nx * light.sun[0] + ny * light.sun[1] + nz * light.sun[2] + 0.2) / 1.2, 0, 1)
    up = (0.5 - 0.5 * ny)[..., None]
    lit = light.sky_colour * up + light.ground_colour * (1 - up) + light.sun_colour * sun[..., None]
    tone = linear(colour) * (1.0 if texture is None else texture[area][..., None])
    over(image[area], alpha, tone * lit)
    return cover


def _contact(image, x, y, r):
    """The soft dark patch under a thing of radius `r` that stands at (x, y)."""
    low, high = np.array([(x - 2.6 * r, y - 0.8 * r), (x + 2.6 * r, y + 0.8 * r)])
    if area := window(image.shape, low, high):
        rows, columns = (np.arange(s.start, s.stop) for s in area)
        across = np.exp(-(((columns - x) / (1.3 * r)) ** 2)).astype(np.float32)
        down = np.exp(-(((rows - y) / (0.35 * r)) ** 2)).astype(np.float32)
        image[area] *= (1 - 0.45 * down[:, None] * across[None, :])[..., None]


def props(rng, image, light: Light, coat_colour, domain, count, rows, scale):
    """Paint `count` things between the given rows; returns their (H, W) cover. A third of them have
    a coat's colour and texture, so colour alone finds no pet."""
    (h, w), cover = image.shape[:2], np.zeros(image.shape[:2], np.float32)
    fur = 1 + 0.16 * noise(rng, (h, w), 1.5) + 0.12 * noise(rng, (h, w), 0.04 * w, 2)
    for _ in range(count):
        x, y, r = rng.uniform(0, w), rng.uniform(*rows), scale * w * rng.uniform(0.6, 1.3)
        kind = pick(rng, DRAWING["things"]["kinds"])
        colour = pick(rng, VIVID + DRAWING[domain]["fabrics"])
        if rng.random() < 0.35:
            colour = np.clip(np.array(coat_colour) * rng.uniform(0.8, 1.2), 0, 240)
        _contact(image, x, y + 0.75 * r, r)
        # Of each solid: centre, radii, colour, power, texture, angle.
        if kind == "ball":
            band = ((x, y), (r * 0.98, r * 0.26), (236, 236, 230), 2, None, rng.uniform(0, 3))
            parts = [((x, y), (r, r), colour, 2), band]
        elif kind == "bowl":
            food = ((x, y), (r * 0.92, r * 0.22), (70, 50, 40), 2, fur)
            parts = [((x, y + r * 0.25), (r, r * 0.42), colour, 4), food]
        elif kind == "plant":
            parts = [((x, y + r * 0.5), (r * 0.5, r * 0.55), (150, 86, 60), 5)]
            for a in rng.uniform(-2.9, -0.2, 12):
                at = (x + np.cos(a) * r * 0.8, y - r * 0.2 + np.sin(a) * r * 0.8)
                parts += [(at, (r * 0.55, r * 0.13), (70, 110, 60), 2, None, a)]
        elif kind == "bone":
            a, ivory = rng.uniform(-0.6, 0.6), (222, 206, 176)
            parts = [((x, y), (r * 0.7, r * 0.16), ivory, 4, None, a)]
            for s, k in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
                across = x + s * r * 0.7 * np.cos(a) - k * r * 0.14 * np.sin(a)
                down = y + s * r * 0.7 * np.sin(a) + k * r * 0.14 * np.cos(a)
                parts += [((across, down), (r * 0.2, r * 0.2), ivory, 2)]
        else:
            power, wide, flat = DRAWING["soft"][kind]
            tilt = 0.0 if kind == "box" else rng.normal(0, 0.25)
            parts = [((x, y), (r * wide, r * flat), colour, power, fur, tilt)]
        covers = [solid(image, light, *part) for part in parts]
        cover = np.maximum.reduce([cover, *(covers[:1] if kind == "bowl" else covers)])
    return cover


def _light(rng, outdoors: bool) -> Light:
    side = rng.choice([-1, 1]) * rng.uniform(0.15, 0.8)
    sun = np.array([side, -rng.uniform(0.35, 0.8), rng.uniform(0.35, 0.9)])
    sun = (sun / np.linalg.norm(sun)).astype(np.float32)
    hard = rng.uniform(0.45, 1.2) if outdoors else rng.uniform(0.25, 0.95)
    warm, fill = rng.uniform(-0.10, 0.18), 1.15 - 0.55 * hard
    colour = np.array([1 + warm, 1.0, 1 - warm], np.float32)
    sky = np.array([1 - warm * 0.4, 1.0, 1 + warm * (0.9 if outdoors else 0.2)], np.float32)
    ground = np.array([1.05, 1.0, 0.9], np.float32) * np.float32(fill * rng.uniform(0.3, 0.55))
    return Light(sun, colour * np.float32(hard), sky * np.float32(fill * 0.85), ground)


def _rgb(tone) -> tuple[float, ...]:
    """A colour as OpenCV's drawing takes it."""
    return tuple(float(c) for c in tone)


def _axes(h, w):
    """x (1, W) from -1 to 1, y (H, 1) from 0 to 1, and the row (H, 1)."""
    x, y = (np.linspace(low, 1, n, dtype=np.float32) for low, n in ((-1, w), (0, h)))
    return x[None, :], y[:, None], np.arange(h, dtype=np.float32)[:, None]


def _ground(rng, h, w, floor, kind, colour, zoom):
    """Wood, tiles, grass, ... (H, W, 3), laid out in perspective below the row `floor`."""
    n = 256
    base = np.broadcast_to(linear(colour), (n, n, 3)).astype(np.float32).copy()
    fine = noise(rng, (n, n), 2.0)
    if kind == "wood":
        planks = np.repeat(rng.normal(0, 0.22, 8), n // 8)[None, :]
        grain = cv2.blur(noise(rng, (n, n), 3.0).T.copy(), (1, 25)) * 2.0
        base *= np.exp(planks + 0.22 * grain)[..., None].astype(np.float32)
        base[:, :: n // 8] *= 0.35
    elif kind == "tiles":
        tone = np.kron(rng.normal(0, 0.10, (4, 4)), np.ones((n // 4, n // 4)))
        base *= np.exp(tone + 0.05 * noise(rng, (n, n), 12, 3))[..., None].astype(np.float32)
        for i in range(3):
            base[i :: n // 4] *= 0.75
            base[:, i :: n // 4] *= 0.75
    elif kind == "rug":
        wave = np.sin(np.arange(n) * 2 * np.pi * rng.integers(4, 12) / n)[:, None]
        stripes = (ramp(wave, -0.1, 0.1) * np.ones((1, n))).astype(np.float32)
        over(base, stripes, linear(pick(rng, DRAWING["pets"]["fabrics"])))
        base *= np.exp(0.25 * fine)[..., None]
    else:
        rough = {"carpet": 0.22, "grass": 0.45, "snow": 0.06, "sand": 0.14, "soil": 0.4}[kind]
        base *= np.exp(rough * fine + 0.6 * rough * noise(rng, (n, n), 32, 3))[..., None]
    x, y = offsets(np.s_[:h, :w], (w / 2, 0))
    depth, zoom = h / np.maximum(y - floor + 0.12 * h, 2.0), rng.uniform(*zoom)
    x, y = x * depth * zoom, np.broadcast_to(depth * h * zoom, (h, w))
    return cv2.remap(base, x, y.copy(), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def _leaves(rng, h, w, colour, cell):
    """Foliage: blotches of lit and shaded leaves, with gaps of sky."""
    lit = np.exp(0.75 * noise(rng, (h, w), cell, 4))[..., None] * linear(colour)
    over(lit, 0.6 * ramp(noise(rng, (h, w), cell, 4), 1.1, 1.5), linear((206, 220, 236)))
    return lit.astype(np.float32)


def blades(rng, image, floor, colour, count, low=None):
    h, w = image.shape[:2]
    for _ in range(count):
        y = floor + (h - floor) * np.sqrt(rng.random()) if low is None else rng.uniform(*low)
        x, tall = rng.uniform(0, w), h * 0.055 * (0.25 + (y - floor) / (h - floor + 1))
        tone = _rgb(linear(colour) * np.exp(rng.normal(0, 0.45)))
        tip = (int(x + rng.normal(0, tall * 0.4)), int(y - tall))
        cv2.line(image, (int(x), int(y)), tip, tone, 1, cv2.LINE_AA)


def _window(rng, image, floor, cloths) -> None:
    """A view outside, with curtains more often than not."""
    h, w = image.shape[:2]
    x, y, _ = _axes(h, w)
    cx, ww = rng.uniform(0.15, 0.85) * w, rng.uniform(0.16, 0.3) * w
    hh, top = floor * 0.48, floor * 0.42
    view = _leaves(rng, h, w, (120, 150, 90), w / 10) * 1.5 + 0.25
    pane, bar = np.zeros((h, w), np.float32), max(w // 70, 1)
    corner = (int(cx + ww), int(top + hh * 0.8))
    cv2.rectangle(pane, (int(cx - ww), int(top - hh)), corner, 1, -1)
    for k in (-1, 0, 1):
        cv2.line(pane, (int(cx + k * ww), 0), (int(cx + k * ww), h), 0, bar)
    cv2.line(pane, (0, int(top)), (w, int(top)), 0, bar)
    over(image, cv2.GaussianBlur(pane, (0, 0), 0.8), view * 1.2)
    if rng.random() < 0.7:
        cloth, fold = linear(pick(rng, cloths)), 0.6 + 0.35 * np.sin(x * 30 + 1.5 * y)
        for s in (-1, 1):
            at = (cx + s * ww * 1.15 - (x + 1) * w / 2) / (ww * 0.35)
            cover = ramp(np.abs(at), 1.0, 0.9) * (y < floor / h + 0.05)
            over(image, cover, cloth * fold[..., None] * 0.8)


def _sofa(rng, image, floor, block, cloths, weave) -> None:
    """A sofa or a bed with cushions; `block` paints a solid."""
    h, w = image.shape[:2]
    cloth = pick(rng, cloths)
    cx, wide = w * rng.uniform(0.3, 0.7), w * rng.uniform(0.42, 0.75)
    back, seat = floor - h * rng.uniform(0.02, 0.16), floor + h * rng.uniform(0.10, 0.24)
    block((cx, back), (wide, h * 0.26), cloth, 8, weave)
    for i in range(n := int(rng.integers(2, 4))):
        at = (cx + (i - (n - 1) / 2) * 2 * wide / n, back + h * 0.05)
        block(at, (wide / n * 0.98, h * 0.20), cloth, 5, weave)
    block((cx, seat + h * 0.12), (wide, h * 0.26), cloth, 12, weave * 0.8)
    block((cx, seat), (wide, h * 0.12), cloth, 6, weave * 1.1)
    for s in (-1, 1):
        block((cx + s * wide, seat), (w * 0.085, h * 0.24), cloth, 5, weave)
    for _ in range(int(rng.integers(0, 3))):
        at, tone = (cx + rng.uniform(-0.8, 0.8) * wide, back + h * 0.10), pick(rng, cloths + VIVID)
        block(at, (w * 0.11, h * 0.10), tone, 4, weave, rng.normal(0, 0.4))


def _indoors(rng, h, w, place, domain, light):
    walls, cloths = DRAWING[domain]["walls"], DRAWING[domain]["fabrics"]
    wall = linear(pick(rng, walls)) * np.float32(rng.uniform(0.5, 1.05))
    floor = h * rng.uniform(0.45, 0.72)
    x, y, row = _axes(h, w)
    glow = np.exp(-((x + light.sun[0] * 1.2) ** 2 * 0.5 + (y - 0.1) ** 2 * 1.2))
    image = wall * (0.45 + 0.75 * glow + 0.03 * noise(rng, (h, w), w / 4, 4))[..., None]
    block = partial(solid, image, light)
    if rng.random() < 0.35:  # wallpaper or boards
        wave = np.sin(x * rng.uniform(20, 70))
        image *= (1 + rng.uniform(0.03, 0.12) * ramp(wave, -0.3, 0.3))[..., None]
    weave = 1 + 0.10 * noise(rng, (h, w), 1.3) + 0.10 * noise(rng, (h, w), w / 8, 2)
    if place in ("window", "bedroom") and rng.random() < 0.85:
        _window(rng, image, floor, cloths)
    elif rng.random() < 0.75:
        for _ in range(int(rng.integers(1, 4))):  # pictures on the wall
            at = (rng.uniform(0, w), rng.uniform(0.05, 0.75) * floor)
            # Python floats, because NumPy's would turn what follows into float64
            rw, rh = (side * w for side in rng.uniform(0.05, 0.13, 2).tolist())
            block(at, (rw, rh), pick(rng, [(60, 44, 34), (190, 170, 130), (30, 30, 32)]), 20)
            art, paint = np.exp(0.5 * noise(rng, (h, w), w / 14, 3)), pick(rng, walls + VIVID)
            block(at, (rw * 0.82, rh * 0.82), paint, 24, art)
    soft = ("wood", "carpet", "carpet", "rug", "wood")
    kind = pick(rng, ("tiles",) if place in ("tiles", "kitchen") else soft)
    tone = pick(rng, DRAWING["floors"].get(kind, cloths))
    ground = _ground(rng, h, w, floor, kind, tone, (0.45, 0.8))
    ground = ground * (0.55 + 0.45 * y)[..., None] * np.float32(rng.uniform(0.7, 1.15))
    over(image, ramp(row, floor - 0.8, floor + 0.8), ground)
    cv2.rectangle(image, (0, int(floor - h * 0.03)), (w, int(floor)), _rgb(wall * 1.15), -1)
    if place in ("sofa", "bedroom"):
        _sofa(rng, image, floor, block, cloths, weave)
    elif place in ("room", "kitchen", "tiles") and rng.random() < 0.8:  # a cupboard
        wood = pick(rng, [(120, 80, 50), (90, 60, 44), (220, 214, 204), (60, 50, 46)])
        cx = float(rng.choice([0.1, 0.9])) * w
        wide, tall = w * rng.uniform(0.14, 0.3), h * rng.uniform(0.12, 0.3)
        grain = 1 + 0.12 * noise(rng, (h, w), 4, 2, 9)
        block((cx, floor - tall * 0.7), (wide, tall), wood, 22, grain)
        for i in range(3):
            at = (cx, floor - tall * (1.3 - 0.62 * i))
            block(at, (wide * 0.88, tall * 0.25), wood, 16, grain * 1.15)
    return image, floor


def _outdoors(rng, h, w, place, light):
    floor, (_, y, row) = h * rng.uniform(0.22, 0.55), _axes(h, w)
    y = y[..., None]
    sky = linear((150, 186, 226)) * (1 - y) + linear((226, 232, 238)) * y
    image = sky * (1 + 0.10 * noise(rng, (h, w), w / 3, 4, 2.0))[..., None]
    block = partial(solid, image, light)
    green = pick(rng, [(70, 100, 50), (90, 116, 60), (60, 84, 56), (120, 120, 60)])
    kind, tone = DRAWING["grounds"][place]
    tint = rng.uniform(0.75, 1.08) * rng.uniform(0.95, 1.05, 3)
    tone = np.clip(np.array(tone) * tint, 0, 245)
    if place == "sand":
        waves = linear((90, 130, 150)) * np.exp(0.2 * noise(rng, (h, w), 3, 2, 8))[..., None]
        over(image, ramp(row, floor * 0.55, floor * 0.6), waves)
    elif place in ("patio", "street"):
        wall = linear(pick(rng, [(170, 90, 70), (200, 190, 176), (150, 140, 130)]))
        line = np.arange(h)[:, None] // max(h // 26, 3)
        brick = (np.arange(w)[None, :] + (line % 2) * (w // 22)) // max(w // 11, 5)
        tones = rng.normal(0, 0.16, (line.max() + 2, brick.max() + 2)).astype(np.float32)
        tones = tones[line, brick] + 0.12 * noise(rng, (h, w), 2.0)
        image[:] = wall * np.exp(tones)[..., None]
    else:
        trees = _leaves(rng, h, w, green, w / rng.uniform(5, 14))
        line = floor * rng.uniform(-0.4, 0.5) + floor * 0.14 * noise(rng, (1, w), w / 5, 3)
        over(image, ramp(row - line, -2, 3), trees * light.sky_colour.mean())
        for _ in range(int(rng.integers(0, 4)) + 2 * (place == "wood")):
            at, r = (rng.uniform(0, w), floor * 0.3), w * rng.uniform(0.015, 0.05)
            block(at, (r, floor * 0.85), (80, 64, 52), 8, 1 + 0.25 * noise(rng, (h, w), 3))
        if place in ("garden", "meadow") and rng.random() < 0.4:  # a fence
            wood = pick(rng, [(150, 120, 90), (220, 218, 210), (110, 84, 62)])
            step = w / rng.uniform(8, 16)
            for i in range(int(w / step) + 1):
                block((i * step, floor * 0.72), (step * 0.40, floor * 0.40), wood, 14)
    ground = _ground(rng, h, w, floor, kind, tone, (0.4, 0.7))
    ground = ground * (light.sky_colour + 0.55 * light.sun_colour) * np.float32(0.85)
    over(image, ramp(row - 2.0 * noise(rng, (1, w), 6, 2), floor - 2, floor + 3), ground)
    if kind == "grass":
        blades(rng, image, floor, tone, 500)
        for _ in range(40 if rng.random() < 0.5 else 0):
            at = (int(rng.uniform(0, w)), int(rng.uniform(floor, h)))
            cv2.circle(image, at, 1, _rgb(linear(pick(rng, VIVID))), -1)
    elif place == "wood":
        for _ in range(160):
            at = (int(rng.uniform(0, w)), int(floor + (h - floor) * rng.random()))
            leaf = _rgb(linear(pick(rng, [(150, 90, 40), (120, 70, 40), (170, 130, 60)])))
            size, turn = (int(rng.integers(2, 5)), 1), rng.uniform(0, 180)
            cv2.ellipse(image, at, size, turn, 0, 360, leaf, -1, cv2.LINE_AA)
    return image, floor, (tone if kind == "grass" else None)


def backdrop(rng: np.random.Generator, h: int, w: int, domain: str):
    """A painted place: (h, w, 3) linear, the row where ground begins, its light, and the colour of
    its grass (None without)."""
    place, grass = pick(rng, DRAWING[domain]["places"]), None
    outdoors = place in DRAWING["grounds"]
    light = _light(rng, outdoors)
    if place == "studio":
        floor, (x, y, _) = h * 0.75, _axes(h, w)
        tone = linear(pick(rng, [(60, 62, 70), (190, 190, 188), (120, 96, 84), (36, 34, 36)]))
        pool = np.exp(-(x * x + (y - 0.5) ** 2 * 3))
        image = tone * (0.5 + 0.7 * pool + 0.06 * noise(rng, (h, w), w / 6, 4))[..., None]
    elif outdoors:
        image, floor, grass = _outdoors(rng, h, w, place, light)
    else:
        image, floor = _indoors(rng, h, w, place, domain, light)
    return np.maximum(image, 0.001), floor, light, grass
