"""From an animal's parts to a picture of it: light, fur, face, soft outline."""

from __future__ import annotations

import cv2
import numpy as np

from petweak.data.rendered_animal import Animal
from petweak.data.rendered_coat import coat, linear, noise, ramp
from petweak.data.rendered_face import eyes, lines
from petweak.data.rendered_raster import (
    COLLAR,
    EAR,
    FAR,
    HEAD,
    INNER_EAR,
    LEG,
    MOUTH,
    NOSE,
    TAIL,
    TONGUE,
    TRUNK,
    DepthBuffer,
    Light,
    of_kinds,
)


def _grid(shape):
    """Column and row (H, W) of every pixel."""
    return np.meshgrid(np.arange(shape[1], dtype=np.float32),
                       np.arange(shape[0], dtype=np.float32))


def _smear(image, fx, fy, steps=4):
    """Average along the unit field (fx, fy): each pass doubles the reach (2**steps pixels)."""
    gx, gy = _grid(image.shape)
    reach = 1.0
    for _ in range(steps):
        moved = cv2.remap(image, gx - reach * fx, gy - reach * fy, cv2.INTER_LINEAR,
                          borderMode=cv2.BORDER_REFLECT)
        image = 0.5 * (image + moved)
        reach *= 2
    return image


def _flow(animal: Animal, buffer: DepthBuffer):
    """Unit direction (fx, fy) in which hair lies, defined beyond the outline as well."""
    h, w = buffer.shape
    kind = np.ascontiguousarray(buffer.kind[::4, ::4])  # the field is smooth: a quarter will do
    view = buffer.view / buffer.scale
    table = np.zeros((11, 2), np.float32)
    table[TRUNK] = (view @ (-animal.trunk[:, 0] - 0.45 * animal.trunk[:, 1]))[:2]
    table[LEG] = (view @ np.array([-0.2, -1.0, 0]))[:2]
    table[TAIL] = (view @ np.array([-0.9, -0.3, 0]))[:2]
    for ear in (EAR, INNER_EAR):
        table[ear] = (view @ (animal.head[:, 1] - 0.3 * animal.head[:, 0]))[:2]
    field = table[kind]
    nose = buffer.project(animal.on_head(1.0, -0.05, 0))
    x = np.arange(0, w, 4, dtype=np.float32)[None, :] - np.float32(nose[0])
    y = np.arange(0, h, 4, dtype=np.float32)[:, None] - np.float32(nose[1])
    on_head = kind == HEAD
    radius = np.sqrt(x * x + y * y) + 1.0
    down = 0.9 if animal.breed.beard else 0.15
    field[..., 0] = np.where(on_head, x / radius, field[..., 0])
    field[..., 1] = np.where(on_head, y / radius + down, field[..., 1])
    # At the outline hair stands out, and everywhere it hangs a little.
    solid = (kind >= 0).astype(np.float32)
    out = np.dstack([buffer.nx[::4, ::4], buffer.ny[::4, ::4]])
    length = animal.breed.fur_length
    field += out * np.float32(0.9 + 3 * length)
    field[..., 1] += np.float32(3.0 * length)
    small = field * solid[..., None]
    k = 0.03 * buffer.scale / 4 + 0.8
    wide = cv2.GaussianBlur(small, (0, 0), k) + 0.05 * cv2.GaussianBlur(small, (0, 0), 4 * k)
    wide /= np.sqrt((wide * wide).sum(-1, keepdims=True)) + 1e-4
    wide = cv2.resize(wide, (w, h), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(wide[..., 0]), np.ascontiguousarray(wide[..., 1])


def _shade(buffer: DepthBuffer, light: Light, fold: float, rng):
    """Linear light that falls on each point (H, W, 3), and its mirror highlight (H, W).

    Wrapped sun, sky and ground, soft occlusion, cast shadows and the pale rim of hair seen
    edge on. ``fold`` wrinkles the surface (bare skin).
    """
    solid = (buffer.kind >= 0).astype(np.float32)
    scale = buffer.scale
    h, w = buffer.shape
    z = np.where(buffer.kind >= 0, buffer.z, 0) / np.float32(scale)
    sigma = 0.07 * scale + 0.5
    small = (max(w // 3, 1), max(h // 3, 1))
    zs, ms = (cv2.GaussianBlur(cv2.resize(f, small, interpolation=cv2.INTER_AREA), (0, 0),
                               sigma / 3) for f in (z, solid))
    depth = cv2.resize(zs / (ms + 1e-3), (w, h), interpolation=cv2.INTER_LINEAR) - z
    open_ = np.clip(1.0 - 3.4 * np.maximum(depth - 0.008, 0), 0.28, 1.0)
    # A surface that stands nearer towards the light casts on this one.
    step = 0.13 * scale
    shift = np.float32([[1, 0, -light.sun[0] * step], [0, 1, -light.sun[1] * step]])
    toward = cv2.warpAffine(cv2.GaussianBlur(z, (0, 0), 0.015 * scale + 0.4), shift, (w, h))
    cast = ramp(toward - z, 0.07, 0.22)
    nx, ny = (cv2.GaussianBlur(n, (0, 0), 0.008 * scale + 0.4) for n in (buffer.nx, buffer.ny))
    if fold:
        skin = noise(rng, (h, w), 0.05 * scale, 2, 2.5)
        nx = nx + fold * cv2.Sobel(skin, cv2.CV_32F, 1, 0, ksize=3)
        ny = ny + fold * cv2.Sobel(skin, cv2.CV_32F, 0, 1, ksize=3)
    nz = np.sqrt(np.clip(1 - nx * nx - ny * ny, 0.01, 1))
    sun = np.clip((nx * light.sun[0] + ny * light.sun[1] + nz * light.sun[2] + 0.25) / 1.25, 0, 1)
    sun *= (1 - 0.65 * cast) * (0.35 + 0.65 * open_)
    up = 0.5 - 0.5 * ny
    lit = (light.sky_colour - light.ground_colour) * up[..., None] + light.ground_colour
    sheen = 1 + 0.35 * np.square(np.square(1 - nz))
    lit = lit * (open_ * sheen)[..., None] + light.sun_colour * (sun * sheen)[..., None]
    half = light.sun + np.array([0, 0, 1.0])
    half = (half / np.linalg.norm(half)).astype(np.float32)
    spark = np.clip(nx * half[0] + ny * half[1] + nz * half[2], 0, 1)
    for _ in range(4):  # to the 16th
        spark = spark * spark
    return lit, spark * open_


def paint(animal: Animal, buffer: DepthBuffer, light: Light, rng: np.random.Generator):
    """Colour and cover of one animal.

    Args:
        animal: the parts, already drawn into ``buffer``.

    Returns:
        (H, W, 3) linear radiance premultiplied by the cover, (H, W) cover 0..1 of the body
        with its fur, (H, W) cover of whiskers (thin hairs that no annotator outlines).
    """
    b = animal.breed
    scale, shape, kind = buffer.scale, buffer.shape, buffer.kind
    half = buffer.halved()
    size = shape[::-1]
    albedo = coat(animal, half, rng)
    lit, spark = _shade(half, light, 0.05 if b.fur == "bare" else 0.0, rng)
    for k, colour in ((NOSE, b.nose), (TONGUE, (204, 104, 108)), (MOUTH, (64, 26, 28)),
                      (COLLAR, tuple(rng.integers(20, 200, 3)))):
        albedo[half.kind == k] = linear(colour)
    gloss = np.full(11, 0.020, np.float32)
    gloss[[NOSE, TONGUE]] = 0.28, 0.16
    albedo *= lit
    albedo += (gloss[half.kind] * spark)[..., None] * (light.sun_colour + 0.2)
    image = cv2.resize(albedo, size, interpolation=cv2.INTER_LINEAR)

    fx, fy = lie_x, lie_y = _flow(animal, buffer)
    if b.fur in ("curly", "wiry", "long"):
        wild, locks = {"curly": (0.95, 0.055), "wiry": (0.5, 0.06), "long": (0.32, 0.09)}[b.fur]
        turn = wild * noise(rng, shape, locks * scale, 2)
        if b.fur == "curly":
            c, s = np.cos(turn), np.sin(turn)
            fx, fy = fx * c - fy * s, fx * s + fy * c
        else:
            fx, fy = fx - fy * turn, fy + fx * turn
    long_fur = b.fur_length > 0.045
    hair = _smear(noise(rng, shape, max(scale / (150 if b.fur == "curly" else 210), 1.0)), fx, fy,
                  4 if long_fur else 3)
    hair *= 2.4 if long_fur else 1.6
    locks = noise(rng, shape, max(0.022 * scale, 1.5))
    locks = 2.0 * _smear(locks, fx, fy, 5) if long_fur else 0.5 * locks
    strength = {"short": 0.17, "bare": 0.02, "long": 0.25, "curly": 0.28, "wiry": 0.28}[b.fur]
    furry = of_kinds(kind, TRUNK, HEAD, LEG, TAIL, EAR)
    tone = (hair + 0.55 * locks) * (strength * furry) + 1
    np.clip(tone, 0.35, 1.8, out=tone)

    # Hair carries colour along itself: sample upstream by a length that differs by strand.
    cover = (kind >= 0).astype(np.float32)
    tone *= cover
    image *= tone[..., None]
    rgba = cv2.merge([*cv2.split(image), cover])
    stiff = cv2.GaussianBlur(1.0 * of_kinds(kind, NOSE, TONGUE, COLLAR)
                             + (0.35 if b.beard else 0.55) * of_kinds(kind, HEAD)
                             + 0.86 * of_kinds(kind, EAR, INNER_EAR), (0, 0), 2.0)
    reach = (0.5 * b.fur_length if b.fur in ("short", "bare") else 0.85 * b.fur_length) + 0.004
    length = (reach * scale) * np.clip(0.5 + 0.28 * hair + 0.34 * locks, 0, 1.5)
    length *= np.maximum(1 - stiff, 0)
    px, py = _grid(shape)
    fx, fy = (lie_x + fx) * np.float32(0.5), (lie_y + fy) * np.float32(0.5)  # curls, but outwards
    rgba = cv2.remap(rgba, px - fx * length, py - fy * length, cv2.INTER_LINEAR,
                     borderMode=cv2.BORDER_REPLICATE)
    image, cover = np.ascontiguousarray(rgba[..., :3]), rgba[..., 3]
    pupil = rng.uniform(0.16, 0.62)
    shut = 0.95 if rng.random() < 0.04 else rng.uniform(0, 0.18)
    eyes(image, animal, buffer, light, rng.normal(0, 0.08, 2), pupil, shut)
    whiskers = lines(image, animal, buffer, rng)
    return image, cover, whiskers


def rasterise(animal: Animal, view: np.ndarray, origin, shape) -> DepthBuffer:
    """All parts of an animal in one depth buffer of ``shape`` (rows, columns)."""
    buffer = DepthBuffer(shape[0], shape[1], view, np.asarray(origin, float))
    for part in animal.parts:
        buffer.draw(part)
    # A vanished seam: pixels that no part covers but whose neighbours all do.
    buffer.kind[buffer.z <= FAR / 2] = -1
    return buffer
