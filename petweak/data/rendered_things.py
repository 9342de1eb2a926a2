"""Balls, bowls, cushions, plants: shaded solids that furnish a place and distract from the pet."""

from __future__ import annotations

import numpy as np

from petweak.data.rendered_coat import linear, noise, ramp
from petweak.data.rendered_raster import Light

# Cloth by domain, and toys, sRGB. The two domains share no cloth.
FABRICS = {"pets": [(120, 50, 44), (60, 80, 110), (150, 130, 100), (90, 100, 74), (200, 190, 176),
                    (70, 60, 56), (176, 120, 70), (130, 134, 140), (40, 42, 50), (190, 160, 120)],
           "other": [(90, 40, 90), (30, 100, 100), (200, 180, 90), (160, 90, 110), (50, 60, 90),
                     (230, 230, 226), (100, 110, 60)]}
VIVID = [(200, 40, 40), (40, 90, 190), (230, 180, 40), (60, 150, 70), (220, 110, 40),
         (150, 60, 150), (230, 230, 230), (40, 150, 160)]


def pick(rng: np.random.Generator, options):
    """One of ``options``, as it is (numpy's choice would turn tuples into arrays)."""
    return options[int(rng.integers(len(options)))]


def _power(x, exponent: int):
    """x to a whole power by repeated squaring, many times faster than numpy's."""
    result, factor = None, x
    while exponent:
        if exponent & 1:
            result = factor if result is None else result * factor
        exponent >>= 1
        factor = factor * factor if exponent else factor
    return result


def solid(image, centre, radii, colour, light: Light, power=2, texture=None, angle=0.0):
    """Paint a shaded superellipse (2 a ball, 5 a cushion, 14 a box); returns its (H, W) cover."""
    h, w = image.shape[:2]
    cover = np.zeros((h, w), np.float32)
    co, si = abs(np.cos(angle)), abs(np.sin(angle))
    rx = (radii[0] * co + radii[1] * si) * 1.06 + 1
    ry = (radii[0] * si + radii[1] * co) * 1.06 + 1
    x0, x1 = int(max(centre[0] - rx, 0)), int(min(centre[0] + rx + 1, w))
    y0, y1 = int(max(centre[1] - ry, 0)), int(min(centre[1] + ry + 1, h))
    if x0 >= x1 or y0 >= y1:
        return cover
    dx = np.arange(x0, x1, dtype=np.float32)[None, :] - np.float32(centre[0])
    dy = np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(centre[1])
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u, v = (dx * c + dy * s) / np.float32(radii[0]), (dy * c - dx * s) / np.float32(radii[1])
    au, av = np.abs(u), np.abs(v)
    pu, pv = (_power(a, power - 1) for a in (au, av))
    level = au * pu + av * pv
    edge = power / min(radii)
    alpha = ramp(level, 1 + edge, 1 - edge)
    nx, ny = np.copysign(pu, u), np.copysign(pv, v)
    nz = np.sqrt(np.maximum(1.0 - np.clip(level, 0, 1), 0.02))
    inv = 1 / np.sqrt(nx * nx + ny * ny + nz * nz)
    nx, ny, nz = nx * inv, ny * inv, nz * inv
    sun = np.clip((nx * light.sun[0] + ny * light.sun[1] + nz * light.sun[2] + .2) / 1.2, 0, 1)
    up = 0.5 - 0.5 * ny
    lit = light.sky_colour * up[..., None] + light.ground_colour * (1 - up)[..., None]
    lit = lit + light.sun_colour * sun[..., None]
    tone = linear(colour) * (texture[y0:y1, x0:x1, None] if texture is not None else 1.0)
    area = image[y0:y1, x0:x1]
    area += alpha[..., None] * (tone * lit - area)
    cover[y0:y1, x0:x1] = alpha
    return cover


def _contact(image, x, y, r):
    """The soft dark patch under a thing of radius ``r`` that stands at (x, y)."""
    h, w = image.shape[:2]
    x0, x1 = max(int(x - 2.6 * r), 0), min(int(x + 2.6 * r), w)
    y0, y1 = max(int(y - .8 * r), 0), min(int(y + .8 * r), h)
    if x0 < x1 and y0 < y1:
        across = np.exp(-((np.arange(x0, x1) - x) / (1.3 * r)) ** 2).astype(np.float32)
        down = np.exp(-((np.arange(y0, y1) - y) / (.35 * r)) ** 2).astype(np.float32)
        image[y0:y1, x0:x1] *= (1 - .45 * down[:, None] * across[None, :])[..., None]


def props(rng, image, light: Light, coat_colour, domain, count, rows, scale):
    """Paint ``count`` things between the given rows; returns their (H, W) cover.

    A third of them have a coat's colour and texture, so colour alone finds no pet.
    """
    h, w = image.shape[:2]
    cover = np.zeros((h, w), np.float32)
    fur = 1 + .16 * noise(rng, (h, w), 1.5) + .12 * noise(rng, (h, w), .04 * w, 2)
    for _ in range(count):
        x, y = rng.uniform(0, w), rng.uniform(*rows)
        r = scale * w * rng.uniform(0.6, 1.3)
        kind = pick(rng, ("ball", "bowl", "cushion", "box", "plant", "plush", "bone", "blanket"))
        colour = pick(rng, VIVID + FABRICS[domain])
        if rng.random() < 0.35:
            colour = tuple(np.clip(np.array(coat_colour) * rng.uniform(.8, 1.2), 0, 240))
        _contact(image, x, y + .75 * r, r)
        if kind == "ball":
            made = solid(image, (x, y), (r, r), colour, light, 2)
            band = solid(image, (x, y), (r * .98, r * .26), (236, 236, 230), light, 2, None,
                         rng.uniform(0, 3))
            made = np.maximum(made, band)
        elif kind == "bowl":
            made = solid(image, (x, y + r * .25), (r, r * .42), colour, light, 4)
            solid(image, (x, y), (r * .92, r * .22), (70, 50, 40), light, 2, fur)
        elif kind == "plant":
            made = solid(image, (x, y + r * .5), (r * .5, r * .55), (150, 86, 60), light, 5)
            for _ in range(12):
                a = rng.uniform(-2.9, -.2)
                at = (x + np.cos(a) * r * .8, y - r * .2 + np.sin(a) * r * .8)
                made = np.maximum(made, solid(image, at, (r * .55, r * .13), (70, 110, 60),
                                              light, 2, None, a))
        elif kind == "bone":
            a = rng.uniform(-.6, .6)
            made = solid(image, (x, y), (r * .7, r * .16), (222, 206, 176), light, 4, None, a)
            for s in (-1, 1):
                for k in (-1, 1):
                    at = (x + s * r * .7 * np.cos(a) - k * r * .14 * np.sin(a),
                          y + s * r * .7 * np.sin(a) + k * r * .14 * np.cos(a))
                    made = np.maximum(made, solid(image, at, (r * .2, r * .2), (222, 206, 176),
                                                  light, 2))
        else:
            power, flat = {"cushion": (4, .75), "box": (16, .7), "plush": (2, .9),
                           "blanket": (3, .35)}[kind]
            wide = 1.9 if kind == "blanket" else 1.0
            made = solid(image, (x, y), (r * wide, r * flat), colour, light, power, fur,
                         0.0 if kind == "box" else rng.normal(0, .25))
        cover = np.maximum(cover, made)
    return cover
