"""Rooms, gardens and the things that stand about in them, painted in linear light."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from petweak.data.rendered_coat import linear, noise, ramp
from petweak.data.rendered_raster import Light
from petweak.data.rendered_things import FABRICS, VIVID, pick, solid

# Palettes by domain, sRGB. The two domains share no kind of place and no palette.
WALLS = {"pets": [(214, 205, 190), (190, 200, 205), (205, 188, 160), (150, 160, 150),
                  (226, 222, 214), (168, 140, 120), (120, 132, 150), (90, 84, 88)],
         "other": [(196, 214, 200), (220, 200, 205), (236, 226, 190), (110, 130, 120),
                   (140, 120, 150), (200, 210, 226)]}
PLACES = {"pets": ("room", "sofa", "window", "garden", "wood", "snow", "sand", "studio", "tiles",
                   "garden", "room", "sofa"),
          "other": ("patio", "bedroom", "meadow", "kitchen", "street", "meadow", "bedroom")}


@dataclass
class Backdrop:
    """A painted place: ``image`` (H, W, 3) linear, the ``floor`` row where ground begins."""

    image: np.ndarray
    floor: float
    light: Light
    outdoors: bool
    grass: tuple[int, int, int] | None = None


def _light(rng, outdoors: bool) -> Light:
    side = rng.choice([-1, 1]) * rng.uniform(0.15, 0.8)
    sun = np.array([side, -rng.uniform(0.35, 0.8), rng.uniform(0.35, 0.9)])
    sun = (sun / np.linalg.norm(sun)).astype(np.float32)
    hard = rng.uniform(0.45, 1.2) if outdoors else rng.uniform(0.25, 0.95)
    warm = rng.uniform(-0.10, 0.18)
    colour = np.array([1 + warm, 1.0, 1 - warm], np.float32)
    sky = np.array([1 - warm * .4, 1.0, 1 + warm * (.9 if outdoors else .2)], np.float32)
    fill = 1.15 - 0.55 * hard
    return Light(sun, colour * np.float32(hard), sky * np.float32(fill * .85),
                 np.array([1.05, 1.0, .9], np.float32) * np.float32(fill * rng.uniform(.3, .55)))


def _ground(h, w, floor, texture, zoom):
    """A flat (N, N, 3) texture laid out in perspective below the row ``floor``."""
    y = np.arange(h, dtype=np.float32)[:, None]
    depth = h / np.maximum(y - floor + 0.12 * h, 2.0)
    x = (np.arange(w, dtype=np.float32)[None, :] - w / 2) * depth * zoom
    return cv2.remap(texture, x.astype(np.float32),
                     np.broadcast_to(depth * h * zoom, x.shape).astype(np.float32),
                     cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def _texture(rng, kind, colour):
    n = 256
    base = np.broadcast_to(linear(colour), (n, n, 3)).astype(np.float32).copy()
    fine = noise(rng, (n, n), 2.0)
    if kind == "wood":
        planks = np.repeat(rng.normal(0, 0.22, 8), n // 8)[None, :]
        grain = noise(rng, (n, n), 3.0).T.copy()
        grain = cv2.blur(grain, (1, 25)) * 2.0
        base *= np.exp(planks + 0.22 * grain)[..., None].astype(np.float32)
        base[:, :: n // 8] *= 0.35
    elif kind == "tiles":
        tone = np.kron(rng.normal(0, 0.10, (4, 4)), np.ones((n // 4, n // 4)))
        base *= np.exp(tone + 0.05 * noise(rng, (n, n), 12, 3))[..., None].astype(np.float32)
        for i in range(3):
            base[i:: n // 4] *= 0.75
            base[:, i:: n // 4] *= 0.75
    elif kind == "rug":
        wave = np.sin(np.arange(n) * 2 * np.pi * rng.integers(4, 12) / n)[:, None]
        other = linear(pick(rng, FABRICS["pets"]))
        base += (ramp(wave, -0.1, 0.1) * np.ones((1, n)))[..., None].astype(np.float32) * (
            other - base)
        base *= np.exp(0.25 * fine)[..., None]
    else:
        rough = {"carpet": .22, "grass": .45, "snow": .06, "sand": .14, "soil": .4}[kind]
        base *= np.exp(rough * fine + 0.6 * rough * noise(rng, (n, n), 32, 3))[..., None]
    return base


def _leaves(rng, h, w, colour, cell):
    """Foliage: blotches of lit and shaded leaves, with gaps of sky."""
    field = noise(rng, (h, w), cell, 4)
    lit = np.exp(0.75 * field)[..., None] * linear(colour)
    hole = ramp(noise(rng, (h, w), cell, 4), 1.1, 1.5)[..., None]
    return (lit + 0.6 * hole * (linear((206, 220, 236)) - lit)).astype(np.float32)


def blades(rng, image, floor, colour, count, low=None):
    h, w = image.shape[:2]
    base = linear(colour)
    for _ in range(count):
        y = floor + (h - floor) * np.sqrt(rng.random()) if low is None else rng.uniform(*low)
        x, depth = rng.uniform(0, w), (y - floor) / (h - floor + 1)
        tall = h * 0.055 * (0.25 + depth)
        tone = base * np.exp(rng.normal(0, 0.45))
        cv2.line(image, (int(x), int(y)), (int(x + rng.normal(0, tall * .4)), int(y - tall)),
                 tuple(float(c) for c in tone), 1, cv2.LINE_AA)


def _indoors(rng, h, w, place, domain, light):
    wall = linear(pick(rng, WALLS[domain])) * np.float32(rng.uniform(0.5, 1.05))
    floor = h * rng.uniform(0.45, 0.72)
    x = np.linspace(-1, 1, w, dtype=np.float32)[None, :]
    y = np.linspace(0, 1, h, dtype=np.float32)[:, None]
    glow = np.exp(-((x + light.sun[0] * 1.2) ** 2 * .5 + (y - .1) ** 2 * 1.2))
    image = wall * (0.45 + 0.75 * glow + 0.03 * noise(rng, (h, w), w / 4, 4))[..., None]
    if rng.random() < 0.35:  # wallpaper or boards
        wave = np.sin(x * rng.uniform(20, 70))
        image *= (1 + rng.uniform(.03, .12) * ramp(wave, -.3, .3))[..., None]
    weave = 1 + 0.10 * noise(rng, (h, w), 1.3) + 0.10 * noise(rng, (h, w), w / 8, 2)
    if place in ("window", "bedroom") and rng.random() < 0.85:
        cx, ww, hh = rng.uniform(.15, .85) * w, rng.uniform(.16, .3) * w, floor * .48
        view = _leaves(rng, h, w, (120, 150, 90), w / 10) * 1.5 + .25
        pane = np.zeros((h, w), np.float32)
        top = floor * .42
        cv2.rectangle(pane, (int(cx - ww), int(top - hh)), (int(cx + ww), int(top + hh * .8)), 1,
                      -1)
        for k in (-1, 0, 1):
            cv2.line(pane, (int(cx + k * ww), 0), (int(cx + k * ww), h), 0, max(w // 70, 1))
        cv2.line(pane, (0, int(top)), (w, int(top)), 0, max(w // 70, 1))
        image += cv2.GaussianBlur(pane, (0, 0), 0.8)[..., None] * (view * 1.2 - image)
        if rng.random() < .7:
            cloth = linear(pick(rng, FABRICS[domain]))
            for s in (-1, 1):
                at = (cx + s * ww * 1.15 - (x + 1) * w / 2) / (ww * .35)
                fold = 0.6 + 0.35 * np.sin(x * 30 + 1.5 * y)
                cover = ramp(np.abs(at), 1.0, .9) * (y < floor / h + .05)
                image += cover[..., None] * (cloth * fold[..., None] * .8 - image)
    elif rng.random() < 0.75:
        for _ in range(int(rng.integers(1, 4))):  # pictures on the wall
            cx, cy = rng.uniform(0, w), rng.uniform(.05, .75) * floor
            rw, rh = rng.uniform(.05, .13) * w, rng.uniform(.05, .13) * w
            frame = pick(rng, [(60, 44, 34), (190, 170, 130), (30, 30, 32)])
            solid(image, (cx, cy), (rw, rh), frame, light, 20)
            art = np.exp(0.5 * noise(rng, (h, w), w / 14, 3))
            solid(image, (cx, cy), (rw * .82, rh * .82), pick(rng, WALLS[domain] + VIVID), light,
                  24, art)
    kinds = {"tiles": ("tiles",), "kitchen": ("tiles",)}.get(place, ("wood", "carpet", "carpet",
                                                                    "rug", "wood"))
    kind = pick(rng, kinds)
    tone = pick(rng, {"wood": [(150, 100, 60), (110, 70, 44), (190, 150, 100)],
                      "tiles": [(200, 190, 176), (150, 110, 90), (120, 126, 130)]}.get(
                          kind, FABRICS[domain]))
    ground = _ground(h, w, floor, _texture(rng, kind, tone), rng.uniform(0.45, .8))
    ground = ground * (0.55 + 0.45 * y)[..., None] * np.float32(rng.uniform(0.7, 1.15))
    below = ramp(np.arange(h, dtype=np.float32)[:, None], floor - .8, floor + .8)[..., None]
    image = image + below * (ground - image)
    cv2.rectangle(image, (0, int(floor - h * .03)), (w, int(floor)),
                  tuple(float(c) for c in wall * 1.15), -1)
    if place in ("sofa", "bedroom"):
        cloth = pick(rng, FABRICS[domain])
        cx, wide = w * rng.uniform(.3, .7), w * rng.uniform(.42, .75)
        back, seat = floor - h * rng.uniform(.02, .16), floor + h * rng.uniform(.10, .24)
        solid(image, (cx, back), (wide, h * .26), cloth, light, 8, weave)
        n = int(rng.integers(2, 4))
        for i in range(n):
            solid(image, (cx + (i - (n - 1) / 2) * 2 * wide / n, back + h * .05),
                  (wide / n * .98, h * .20), cloth, light, 5, weave)
        solid(image, (cx, seat + h * .12), (wide, h * .26), cloth, light, 12, weave * .8)
        solid(image, (cx, seat), (wide, h * .12), cloth, light, 6, weave * 1.1)
        for s in (-1, 1):
            solid(image, (cx + s * wide, seat), (w * .085, h * .24), cloth, light, 5, weave)
        for _ in range(int(rng.integers(0, 3))):
            solid(image, (cx + rng.uniform(-.8, .8) * wide, back + h * .10),
                  (w * .11, h * .10), pick(rng, FABRICS[domain] + VIVID), light, 4, weave,
                  rng.normal(0, .4))
    elif place in ("room", "kitchen", "tiles") and rng.random() < 0.8:
        wood = pick(rng, [(120, 80, 50), (90, 60, 44), (220, 214, 204), (60, 50, 46)])
        cx, wide = float(rng.choice([.1, .9])) * w, w * rng.uniform(.14, .3)
        tall = h * rng.uniform(.12, .3)
        grain = 1 + .12 * noise(rng, (h, w), 4, 2, 9)
        solid(image, (cx, floor - tall * .7), (wide, tall), wood, light, 22, grain)
        for i in range(3):
            solid(image, (cx, floor - tall * (1.3 - .62 * i)), (wide * .88, tall * .25), wood,
                  light, 16, grain * 1.15)
    return image.astype(np.float32), floor


def _outdoors(rng, h, w, place, domain, light):
    floor = h * rng.uniform(0.22, 0.55)
    y = np.linspace(0, 1, h, dtype=np.float32)[:, None, None]
    sky = linear((150, 186, 226)) * (1 - y) + linear((226, 232, 238)) * y
    image = np.broadcast_to(sky, (h, w, 3)).astype(np.float32).copy()
    image *= (1 + .10 * noise(rng, (h, w), w / 3, 4, 2.0))[..., None]
    green = pick(rng, [(70, 100, 50), (90, 116, 60), (60, 84, 56), (120, 120, 60)])
    kind, tone, grass = {
        "garden": ("grass", (104, 136, 60), True), "meadow": ("grass", (150, 150, 80), True),
        "wood": ("soil", (110, 86, 60), False), "snow": ("snow", (232, 236, 244), False),
        "sand": ("sand", (206, 180, 140), False), "patio": ("tiles", (170, 160, 150), False),
        "street": ("tiles", (110, 110, 112), False)}[place]
    tint = rng.uniform(.75, 1.08) * rng.uniform(.95, 1.05, 3)
    tone = tuple(np.clip(np.array(tone) * tint, 0, 245))
    if place == "sand":
        sea = ramp(np.arange(h, dtype=np.float32)[:, None], floor * .55, floor * .6)[..., None]
        image += sea * (linear((90, 130, 150)) * np.exp(
            .2 * noise(rng, (h, w), 3, 2, 8))[..., None] - image)
    elif place in ("patio", "street"):
        wall = linear(pick(rng, [(170, 90, 70), (200, 190, 176), (150, 140, 130)]))
        row = (np.arange(h)[:, None] // max(h // 26, 3)).astype(int)
        col = ((np.arange(w)[None, :] + (row % 2) * (w // 22)) // max(w // 11, 5)).astype(int)
        tones = rng.normal(0, .16, (row.max() + 2, col.max() + 2)).astype(np.float32)[row, col]
        image[:] = wall * np.exp(tones + .12 * noise(rng, (h, w), 2.0))[..., None]
    else:
        trees = _leaves(rng, h, w, green, w / rng.uniform(5, 14))
        line = floor * rng.uniform(-.4, .5) + floor * .14 * noise(rng, (1, w), w / 5, 3)
        tops = ramp(np.arange(h, dtype=np.float32)[:, None] - line, -2, 3)[..., None]
        image += tops * (trees * light.sky_colour.mean() - image)
        for _ in range(int(rng.integers(0, 4)) + 2 * (place == "wood")):
            cx, r = rng.uniform(0, w), w * rng.uniform(.015, .05)
            solid(image, (cx, floor * .3), (r, floor * .85), (80, 64, 52), light, 8,
                  1 + .25 * noise(rng, (h, w), 3))
        if place in ("garden", "meadow") and rng.random() < .4:
            wood = pick(rng, [(150, 120, 90), (220, 218, 210), (110, 84, 62)])
            step = w / rng.uniform(8, 16)
            for i in range(int(w / step) + 1):
                solid(image, (i * step, floor * .72), (step * .40, floor * .40), wood, light, 14)
    ground = _ground(h, w, floor, _texture(rng, kind, tone), rng.uniform(0.4, .7))
    ground = ground * (light.sky_colour + .55 * light.sun_colour) * np.float32(.85)
    edge = 2.0 * noise(rng, (1, w), 6, 2)
    below = ramp(np.arange(h, dtype=np.float32)[:, None] - edge, floor - 2, floor + 3)[..., None]
    image += below * (ground - image)
    if grass:
        blades(rng, image, floor, tone, 500)
        if rng.random() < .5:
            for _ in range(40):
                at = (int(rng.uniform(0, w)), int(rng.uniform(floor, h)))
                cv2.circle(image, at, 1, tuple(float(c) for c in linear(pick(rng, VIVID))), -1)
    elif place == "wood":
        for _ in range(160):
            at = (int(rng.uniform(0, w)), int(floor + (h - floor) * rng.random()))
            tone_ = linear(pick(rng, [(150, 90, 40), (120, 70, 40), (170, 130, 60)]))
            cv2.ellipse(image, at, (int(rng.integers(2, 5)), 1), rng.uniform(0, 180), 0, 360,
                        tuple(float(c) for c in tone_), -1, cv2.LINE_AA)
    return image, floor, (tuple(tone) if grass else None)


def backdrop(rng: np.random.Generator, h: int, w: int, domain: str) -> Backdrop:
    """A place with light, (h, w) pixels."""
    place = pick(rng, PLACES[domain])
    outdoors = place in ("garden", "wood", "snow", "sand", "meadow", "patio", "street")
    light = _light(rng, outdoors)
    grass = None
    if place == "studio":
        floor = h * .75
        y = np.linspace(0, 1, h, dtype=np.float32)[:, None]
        x = np.linspace(-1, 1, w, dtype=np.float32)[None, :]
        tone = linear(pick(rng, [(60, 62, 70), (190, 190, 188), (120, 96, 84), (36, 34, 36)]))
        pool = np.exp(-(x * x + (y - .5) ** 2 * 3))
        cloth = .06 * noise(rng, (h, w), w / 6, 4)
        image = (tone * (.5 + .7 * pool + cloth)[..., None]).astype(np.float32)
    elif outdoors:
        image, floor, grass = _outdoors(rng, h, w, place, domain, light)
    else:
        image, floor = _indoors(rng, h, w, place, domain, light)
    return Backdrop(np.maximum(image, 0.001), floor, light, outdoors, grass)
