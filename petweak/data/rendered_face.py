"""Eyes, lips, toes and whiskers: what is drawn on a head rather than modelled."""

from __future__ import annotations

import cv2
import numpy as np

from petweak.data.rendered_animal import Animal
from petweak.data.rendered_coat import linear, ramp
from petweak.data.rendered_raster import HEAD, TRUNK, DepthBuffer, Light, of_kinds


def _local_patch(shape, centre, right, up):
    """Grid (u, v) around ``centre`` in the skewed frame of two projected vectors."""
    det = right[0] * up[1] - right[1] * up[0]
    if abs(det) < 1e-2:
        return None
    ext = 1.6 * (np.abs(right[:2]) + np.abs(up[:2]))
    x0, y0 = np.maximum(np.floor(centre[:2] - ext), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(centre[:2] + ext) + 1, [shape[1], shape[0]]).astype(int)
    if x0 >= x1 or y0 >= y1:
        return None
    dx = np.arange(x0, x1, dtype=np.float32)[None, :] - np.float32(centre[0])
    dy = np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(centre[1])
    u = ((dx * up[1] - dy * up[0]) / det).astype(np.float32)
    v = ((dy * right[0] - dx * right[1]) / det).astype(np.float32)
    return (slice(y0, y1), slice(x0, x1)), u, v


def eyes(image, animal: Animal, buffer: DepthBuffer, light: Light, look, pupil, shut):
    b = animal.breed
    cat = b.species == "cat"
    iris = linear(b.eye)
    bright = float(light.sky_colour.mean() + 0.6 * light.sun_colour.mean())
    for s in (-1, 1):
        if cat:
            at, out, r = (0.76, 0.08, s * 0.40 * b.skull_width), (0.9, 0.12, s * 0.40), 0.225
        else:
            at, out, r = (0.78, 0.16, s * 0.37 * b.skull_width), (0.85, 0.16, s * 0.42), 0.150
        r *= b.eye_size
        centre = buffer.project(animal.on_head(*at))
        normal = buffer.view @ (animal.head @ np.array(out)) / buffer.scale
        ix, iy = round(float(centre[0])), round(float(centre[1]))
        if not (0 <= ix < buffer.shape[1] and 0 <= iy < buffer.shape[0]) or normal[2] < 0.12:
            continue
        if buffer.kind[iy, ix] not in (HEAD, TRUNK) or (
                buffer.z[iy, ix] > centre[2] + 0.42 * b.head * buffer.scale):
            continue
        tilt = 0.22 if cat else 0.02
        o = animal.head @ np.array(out) / np.linalg.norm(out)
        up = animal.head[:, 1] - (animal.head[:, 1] @ o) * o
        right = np.cross(up, o) * s
        right, up = right + tilt * up, up - tilt * right  # outer corner higher
        right, up = (buffer.view @ (v * r * b.head) for v in (right, up))
        found = _local_patch(buffer.shape, centre, right, up)
        if found is None:
            continue
        window, u, v = found
        pixel = 1.2 / max(np.hypot(*up[:2]), 1.0)
        lid = np.sqrt(np.maximum(1 - u * u, 0))
        top, low = (0.86 * lid * (1 - shut), 0.74 * lid) if cat else (0.80 * lid * (1 - shut),
                                                                     0.76 * lid)
        open_ = ramp(np.minimum(top - v, v + low), -pixel, pixel) * ramp(np.abs(u), 1.0, 0.92)
        rim = ramp(np.minimum(1.22 * top + .10 - v, v + low * 1.2 + .10), -pixel * 1.5, pixel * 1.5)
        rim *= ramp(np.abs(u), 1.36, 1.12)
        face = cv2.blur(of_kinds(buffer.kind[window], HEAD, TRUNK), (3, 3))
        rim, open_ = rim * face, open_ * face
        area = image[window]
        dark = linear((30, 24, 22)) * bright
        area += (0.85 * rim)[..., None] * (dark - area)
        du, dv = u - look[0], v - look[1]
        d = np.sqrt(du * du + dv * dv)
        ball = iris * (1.0 if cat else 0.6) * (0.55 + 0.75 * ramp(d, 0.2, 0.8))[..., None] * (
            0.75 - 0.55 * v * 1.0)[..., None]
        size = 0.98 if cat else 0.84
        white = linear((206, 196, 184)) * 0.55
        edge = ramp(d, size - 0.10, size + 0.06)[..., None]
        ball = ball + edge * (white - ball)
        ball = ball * (1 - 0.75 * ramp(np.abs(d - size), 0.14, 0.02))[..., None]
        if cat:
            hole = np.sqrt((du / pupil) ** 2 + (dv / 0.74) ** 2)
        else:
            hole = d / 0.48
        ball = ball * (1 - 0.96 * ramp(hole, 1.12, 0.92))[..., None]
        ball = ball * (1 - 0.6 * ramp(top - v, 0.34, 0.0))[..., None]
        glint = ramp(np.sqrt((u * s - light.sun[0] * 0.4 * s) ** 2 + (v - 0.36) ** 2), 0.23, 0.12)
        soft = ramp(np.sqrt((u + .2) ** 2 + (v + 0.40) ** 2), 0.45, 0.1) * 0.10
        ball = ball * bright + (0.95 * glint + soft)[..., None] * np.float32(min(bright, 1.1))
        area += open_[..., None] * (ball - area)


def lines(image, animal: Animal, buffer: DepthBuffer, rng):
    """Dark lines of nostrils, lips and toes, and pale whiskers; returns nothing."""
    b = animal.breed
    cat = b.species == "cat"
    h, w = buffer.shape
    dark, pale = np.zeros((h, w), np.uint8), np.zeros((h, w), np.uint8)
    facing = buffer.view @ animal.head[:, 0] / buffer.scale
    k = b.head * buffer.scale
    thick = max(round(0.035 * k), 1)

    def draw(canvas, points, width, value=255):
        p = buffer.project(np.array([animal.on_head(*q) for q in points]))[:, :2]
        if np.abs(p).max() < 4000:
            cv2.polylines(canvas, [np.round(p * 16).astype(np.int32)], False, value, width,
                          cv2.LINE_AA, 4)

    ml, mw = b.muzzle, b.muzzle_width
    if facing[2] > 0.25:
        if cat:
            x = 0.92 + ml * 0.68
            draw(dark, [(x, -0.26, 0), (x, -0.42, 0)], thick)
            for s in (-1, 1):
                draw(dark, [(x, -0.42, 0), (x - .04, -0.50, s * .10), (x - .12, -0.50, s * .22),
                            (x - .2, -0.43, s * .33)], thick)
                if facing[2] > 0.5:
                    draw(dark, [(x + .06, -.22, s * .05), (x + .05, -.20, s * .09)], thick, 200)
        else:
            tip, drop = 0.62 + ml * 0.78, -0.34 - 0.05 * ml
            x, y = tip + mw * 0.62, drop + mw * 0.22
            low = drop - 0.34 - 0.12 * b.jowl
            draw(dark, [(x, y, 0), (x - .05, low, 0)], thick, 220)
            for s in (-1, 1):
                draw(dark, [(x - .05, low, 0), (x - .14, low - .08 - .1 * b.jowl, s * mw * .4),
                            (x - .35, low - .10 - .2 * b.jowl, s * mw * .80),
                            (max(x - .35 - .5 * ml, .4), low + .05, s * mw * 0.98)], thick, 220)
    image *= 1 - 0.80 * (dark.astype(np.float32) / 255)[..., None]
    if facing[2] > -0.2 and b.fur != "bare":
        reach, drop = (1.35, -0.40) if cat else (0.7, -0.5)
        x = 0.80 + (ml * 0.65 if cat else ml * 0.75)
        for s in (-1, 1):
            for i in range(6 if cat else 3):
                a = rng.uniform(-0.25, 0.30)
                r = reach * rng.uniform(0.7, 1.1)
                z0 = 0.26 if cat else mw * 0.6
                draw(pale, [(x, drop + .10 * (i % 3 - 1), s * z0),
                            (x - .05, drop + a * r * .6, s * (z0 + r * .5)),
                            (x - .30, drop + a * r - .08, s * (z0 + r))], 1, 150)
    return pale.astype(np.float32) / 255
