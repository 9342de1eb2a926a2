"""From an animal's parts to a picture of it: light, fur, face, soft outline."""

import cv2
import numpy as np

from petweak.rendered.animal import Animal
from petweak.rendered.coat import coat, linear, noise, over, ramp
from petweak.rendered.raster import DepthBuffer, Kind, Light, of_kinds, offsets, skewed


def _upstream(image, fx, fy, reach, border):
    """The image (H, W, ...) as it is `reach` pixels against the field (fx, fy)."""
    x, y = offsets(np.s_[: fx.shape[0], : fx.shape[1]], (0, 0))
    return cv2.remap(image, x - fx * reach, y - fy * reach, cv2.INTER_LINEAR, borderMode=border)


def _smear(image, fx, fy, steps):
    """Average along the unit field (fx, fy): each pass doubles the reach (2**steps pixels)."""
    for i in range(steps):
        image = 0.5 * (image + _upstream(image, fx, fy, 2.0**i, cv2.BORDER_REFLECT))
    return image


def _flow(animal: Animal, buffer: DepthBuffer):
    """Unit direction (fx, fy) in which hair lies, defined beyond the outline as well."""
    h, w, length = *buffer.shape, animal.breed.fur_length
    kind = np.ascontiguousarray(buffer.kind[::4, ::4])  # the field is smooth: a quarter will do
    view = buffer.view / buffer.scale
    table = np.zeros((11, 2), np.float32)
    table[Kind.TRUNK] = (view @ (-animal.trunk[:, 0] - 0.45 * animal.trunk[:, 1]))[:2]
    table[Kind.LEG] = (view @ np.array([-0.2, -1.0, 0]))[:2]
    table[Kind.TAIL] = (view @ np.array([-0.9, -0.3, 0]))[:2]
    table[[Kind.EAR, Kind.INNER_EAR]] = (view @ (animal.head[:, 1] - 0.3 * animal.head[:, 0]))[:2]
    field = table[kind]
    x, y = offsets(np.s_[:h:4, :w:4], buffer.project(animal.on_head(1.0, -0.05, 0)))
    radius, down = np.sqrt(x * x + y * y) + 1.0, 0.9 if animal.breed.beard else 0.15
    on_head = (kind == Kind.HEAD)[..., None]
    field = np.where(on_head, np.dstack([x / radius, y / radius + down]), field)
    # At the outline hair stands out, and everywhere it hangs a little.
    out = np.dstack([buffer.nx[::4, ::4], buffer.ny[::4, ::4]])
    field += out * np.float32(0.9 + 3 * length)
    field[..., 1] += np.float32(3.0 * length)
    small, k = field * (kind >= 0)[..., None], 0.03 * buffer.scale / 4 + 0.8
    wide = cv2.GaussianBlur(small, (0, 0), k) + 0.05 * cv2.GaussianBlur(small, (0, 0), 4 * k)
    wide /= np.sqrt((wide * wide).sum(-1, keepdims=True)) + 1e-4
    wide = cv2.resize(wide, (w, h), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(wide[..., 0]), np.ascontiguousarray(wide[..., 1])


def _shade(buffer: DepthBuffer, light: Light, fold: float, rng):
    """Linear light on each point (H, W, 3), and its mirror highlight (H, W): wrapped sun, sky and
    ground, soft occlusion, cast shadows and the pale rim of hair seen edge on. `fold`
    wrinkles the surface (bare skin)."""
    scale, (h, w) = buffer.scale, buffer.shape
    z = np.where(buffer.kind >= 0, buffer.z, 0) / np.float32(scale)
    size, sigma = (max(w // 3, 1), max(h // 3, 1)), (0.07 * scale + 0.5) / 3
    zs, ms = (cv2.GaussianBlur(cv2.resize(f, size, interpolation=cv2.INTER_AREA), (0, 0), sigma)
              for f in (z, (buffer.kind >= 0).astype(np.float32)))
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
    up = (0.5 - 0.5 * ny)[..., None]
    lit = (light.sky_colour - light.ground_colour) * up + light.ground_colour
    sheen = 1 + 0.35 * np.square(np.square(1 - nz))
    lit = lit * (open_ * sheen)[..., None] + light.sun_colour * (sun * sheen)[..., None]
    half = light.sun + np.array([0, 0, 1.0])
    half = (half / np.linalg.norm(half)).astype(np.float32)
    spark = np.clip(nx * half[0] + ny * half[1] + nz * half[2], 0, 1)
    for _ in range(4):  # to the 16th
        spark = spark * spark
    return lit, spark * open_


def _eyes(image, animal: Animal, buffer: DepthBuffer, light: Light, look, pupil, shut):
    """Paint the eyes that can be seen. look: (2,) where they turn; pupil: width; shut: 0..1."""
    b, cat, head = animal.breed, animal.cat, animal.head
    bright = float(light.sky_colour.mean() + 0.6 * light.sun_colour.mean())
    for s in (-1, 1):
        if cat:
            at, out, r = (0.76, 0.08, s * 0.40 * b.skull_width), (0.9, 0.12, s * 0.40), 0.225
            tilt, above, below, size, depth = 0.22, 0.86, 0.74, 0.98, 1.0
        else:
            at, out, r = (0.78, 0.16, s * 0.37 * b.skull_width), (0.85, 0.16, s * 0.42), 0.150
            tilt, above, below, size, depth = 0.02, 0.80, 0.76, 0.84, 0.6
        r *= b.eye_size
        centre = buffer.project(animal.on_head(*at))
        normal = buffer.view @ (head @ np.array(out)) / buffer.scale
        ix, iy = round(float(centre[0])), round(float(centre[1]))
        if not (0 <= ix < buffer.shape[1] and 0 <= iy < buffer.shape[0]) or normal[2] < 0.12:
            continue
        hidden = buffer.z[iy, ix] > centre[2] + 0.42 * b.head * buffer.scale
        if hidden or buffer.kind[iy, ix] not in (Kind.HEAD, Kind.TRUNK):
            continue
        o = head @ np.array(out) / np.linalg.norm(out)
        up = head[:, 1] - (head[:, 1] @ o) * o
        right = np.cross(up, o) * s
        right, up = right + tilt * up, up - tilt * right  # outer corner higher
        right, up = (buffer.view @ (v * r * b.head) for v in (right, up))
        reach = 1.6 * (np.abs(right) + np.abs(up))
        patch = skewed(buffer.shape, centre - reach, centre + reach, centre, right, up, 1e-2)
        if patch is None:
            continue
        window, u, v = patch
        pixel = 1.2 / max(np.hypot(*up[:2]), 1.0)
        lid = np.sqrt(np.maximum(1 - u * u, 0))
        top, low = above * lid * (1 - shut), below * lid
        face = cv2.blur(of_kinds(buffer.kind[window], Kind.HEAD, Kind.TRUNK), (3, 3))
        rim = np.minimum(1.22 * top + 0.10 - v, v + low * 1.2 + 0.10)
        rim = ramp(rim, -pixel * 1.5, pixel * 1.5) * ramp(np.abs(u), 1.36, 1.12) * face
        over(image[window], 0.85 * rim, linear((30, 24, 22)) * bright)
        du, dv = u - look[0], v - look[1]
        d = np.sqrt(du * du + dv * dv)
        ball = linear(b.eye) * depth * (0.55 + 0.75 * ramp(d, 0.2, 0.8))[..., None]
        ball = ball * (0.75 - 0.55 * v)[..., None]
        over(ball, ramp(d, size - 0.10, size + 0.06), linear((206, 196, 184)) * 0.55)
        hole = np.sqrt((du / pupil) ** 2 + (dv / 0.74) ** 2) if cat else d / 0.48
        for dark in (0.75 * ramp(np.abs(d - size), 0.14, 0.02), 0.96 * ramp(hole, 1.12, 0.92),
                     0.6 * ramp(top - v, 0.34, 0.0)):  # edge of the iris, pupil, shade of the lid
            ball = ball * (1 - dark)[..., None]
        glint = ramp(np.sqrt((u * s - light.sun[0] * 0.4 * s) ** 2 + (v - 0.36) ** 2), 0.23, 0.12)
        soft = ramp(np.sqrt((u + 0.2) ** 2 + (v + 0.40) ** 2), 0.45, 0.1) * 0.10
        ball = ball * bright + (0.95 * glint + soft)[..., None] * np.float32(min(bright, 1.1))
        open_ = ramp(np.minimum(top - v, v + low), -pixel, pixel) * ramp(np.abs(u), 1.0, 0.92)
        over(image[window], open_ * face, ball)


def _lines(image, animal: Animal, buffer: DepthBuffer, rng):
    """Paint the dark lines of nostrils and lips; returns the (H, W) cover of pale whiskers."""
    b, cat, ml, mw = animal.breed, animal.cat, animal.breed.muzzle, animal.breed.muzzle_width
    dark, pale = np.zeros((2, *buffer.shape), np.uint8)
    facing = (buffer.view @ animal.head[:, 0] / buffer.scale)[2]
    thick = max(round(0.035 * (b.head * buffer.scale)), 1)

    def draw(canvas, points, width, value):
        p = buffer.project(np.array([animal.on_head(*q) for q in points]))[:, :2]
        if np.abs(p).max() < 4000:
            p = [np.round(p * 16).astype(np.int32)]
            cv2.polylines(canvas, p, False, value, width, cv2.LINE_AA, 4)

    if facing > 0.25 and cat:
        x = 0.92 + ml * 0.68
        draw(dark, [(x, -0.26, 0), (x, -0.42, 0)], thick, 255)
        for s in (-1, 1):
            lip = [(x, -0.42, 0), (x - 0.04, -0.50, s * 0.10), (x - 0.12, -0.50, s * 0.22)]
            draw(dark, [*lip, (x - 0.2, -0.43, s * 0.33)], thick, 255)
            if facing > 0.5:  # a nostril
                ends = [(x + 0.06, -0.22, s * 0.05), (x + 0.05, -0.20, s * 0.09)]
                draw(dark, ends, thick, 200)
    elif facing > 0.25:
        tip, drop = 0.62 + ml * 0.78, -0.34 - 0.05 * ml
        x, y = tip + mw * 0.62, drop + mw * 0.22
        low = drop - 0.34 - 0.12 * b.jowl
        draw(dark, [(x, y, 0), (x - 0.05, low, 0)], thick, 220)
        for s in (-1, 1):
            one = (x - 0.14, low - 0.08 - 0.1 * b.jowl, s * mw * 0.4)
            two = (x - 0.35, low - 0.10 - 0.2 * b.jowl, s * mw * 0.80)
            end = (max(x - 0.35 - 0.5 * ml, 0.4), low + 0.05, s * mw * 0.98)
            draw(dark, [(x - 0.05, low, 0), one, two, end], thick, 220)
    image *= 1 - 0.80 * (dark.astype(np.float32) / 255)[..., None]
    if facing > -0.2 and b.fur != "bare":
        count, reach, drop, z0 = (6, 1.35, -0.40, 0.26) if cat else (3, 0.7, -0.5, mw * 0.6)
        x = 0.80 + (ml * 0.65 if cat else ml * 0.75)
        for s in (-1, 1):
            for i in range(count):
                a = rng.uniform(-0.25, 0.30)
                r = reach * rng.uniform(0.7, 1.1)
                root = (x, drop + 0.10 * (i % 3 - 1), s * z0)
                bend = (x - 0.05, drop + a * r * 0.6, s * (z0 + r * 0.5))
                draw(pale, [root, bend, (x - 0.30, drop + a * r - 0.08, s * (z0 + r))], 1, 150)
    return pale.astype(np.float32) / 255


def paint(animal: Animal, buffer: DepthBuffer, light: Light, rng: np.random.Generator):
    """One animal whose parts are in `buffer`: (H, W, 3) linear radiance premultiplied by the cover,
    (H, W) cover 0..1 of the body with its fur, (H, W) cover of whiskers, which no trimap has."""
    b, scale, shape, kind = animal.breed, buffer.scale, buffer.shape, buffer.kind
    half = buffer.halved()
    albedo = coat(animal, half, rng)
    lit, spark = _shade(half, light, 0.05 if b.fur == "bare" else 0.0, rng)
    plain = {Kind.NOSE: b.nose, Kind.TONGUE: (204, 104, 108), Kind.MOUTH: (64, 26, 28)}
    for k, colour in (plain | {Kind.COLLAR: tuple(rng.integers(20, 200, 3))}).items():
        albedo[half.kind == k] = linear(colour)
    gloss = np.full(11, 0.020, np.float32)
    gloss[[Kind.NOSE, Kind.TONGUE]] = 0.28, 0.16
    albedo *= lit
    albedo += (gloss[half.kind] * spark)[..., None] * (light.sun_colour + 0.2)
    image = cv2.resize(albedo, shape[::-1], interpolation=cv2.INTER_LINEAR)

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
    hair = noise(rng, shape, max(scale / (150 if b.fur == "curly" else 210), 1.0))
    hair = _smear(hair, fx, fy, 4 if long_fur else 3) * np.float32(2.4 if long_fur else 1.6)
    locks = noise(rng, shape, max(0.022 * scale, 1.5))
    locks = 2.0 * _smear(locks, fx, fy, 5) if long_fur else 0.5 * locks
    strength = {"short": 0.17, "bare": 0.02, "long": 0.25, "curly": 0.28, "wiry": 0.28}[b.fur]
    furry = of_kinds(kind, Kind.TRUNK, Kind.HEAD, Kind.LEG, Kind.TAIL, Kind.EAR)
    tone = np.clip((hair + 0.55 * locks) * (strength * furry) + 1, 0.35, 1.8)

    # Hair carries colour along itself: sample upstream by a length that differs by strand.
    cover = (kind >= 0).astype(np.float32)
    image *= (tone * cover)[..., None]
    rgba = cv2.merge([*cv2.split(image), cover])
    stiff = 1.0 * of_kinds(kind, Kind.NOSE, Kind.TONGUE, Kind.COLLAR)
    stiff = stiff + (0.35 if b.beard else 0.55) * of_kinds(kind, Kind.HEAD)
    stiff = cv2.GaussianBlur(stiff + 0.86 * of_kinds(kind, Kind.EAR, Kind.INNER_EAR), (0, 0), 2.0)
    reach = (0.5 * b.fur_length if b.fur in ("short", "bare") else 0.85 * b.fur_length) + 0.004
    length = (reach * scale) * np.clip(0.5 + 0.28 * hair + 0.34 * locks, 0, 1.5)
    length *= np.maximum(1 - stiff, 0)
    fx, fy = (lie_x + fx) * np.float32(0.5), (lie_y + fy) * np.float32(0.5)  # curls, but outwards
    rgba = _upstream(rgba, fx, fy, length, cv2.BORDER_REPLICATE)
    image, cover = np.ascontiguousarray(rgba[..., :3]), rgba[..., 3]
    pupil = rng.uniform(0.16, 0.62)
    shut = 0.95 if rng.random() < 0.04 else rng.uniform(0, 0.18)
    _eyes(image, animal, buffer, light, rng.normal(0, 0.08, 2), pupil, shut)
    return image, cover, _lines(image, animal, buffer, rng)
