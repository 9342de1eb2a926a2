"""A photo: place, animals, things in front of them, and what a camera does to it all."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from petweak.data.rendered_animal import Animal, build, rotation
from petweak.data.rendered_backdrop import Backdrop, backdrop, blades
from petweak.data.rendered_breeds import OTHER_BREEDS, Breed
from petweak.data.rendered_paint import paint, rasterise
from petweak.data.rendered_raster import EAR, HEAD, INNER_EAR, NOSE, Ellipsoid, Limb
from petweak.data.rendered_things import pick, props

SUPERSAMPLE = 1.15  # the animal is drawn this much larger than the photo


@dataclass
class Placed:
    """Where an animal stands in the photo: view to photo pixels, and its outline's box."""

    animal: Animal
    view: np.ndarray
    origin: np.ndarray
    box: np.ndarray  # x0, y0, x1, y1


def _extent(parts, view):
    """Box (x0, y0, x1, y1) of parts in view units, loosely."""
    low, high = np.full(2, 1e9), np.full(2, -1e9)
    for part in parts:
        if isinstance(part, Ellipsoid):
            c, e = view @ part.centre, np.linalg.norm(view @ part.axes, axis=1)
            points = [c - e, c + e]
        elif isinstance(part, Limb):
            a, b = view @ part.start, view @ part.end
            points = [a - part.r0, a + part.r0, b - part.r1, b + part.r1]
        else:
            a = view @ part.base
            b = view @ (part.base + part.length)
            points = [a, b]
        for p in points:
            low, high = np.minimum(low, p[:2]), np.maximum(high, p[:2])
    return np.concatenate([low, high])


def _place(breed: Breed, rng, h, w, share, column=0.5) -> Placed:
    pose = pick(rng, ("stand", "sit", "sit", "lie", "portrait", "portrait"))
    if pose == "stand":
        yaw = rng.choice([rng.uniform(-0.15, 0.75), rng.uniform(0.75, 1.2)], p=[.75, .25])
    elif pose == "lie":
        yaw = rng.uniform(0.05, 1.2)
    else:
        yaw = rng.uniform(0.45, 1.5)
    # Pets in photos mostly look towards the camera.
    look = np.clip(rng.normal(1.25, 0.28), 0.15, 2.0)
    if rng.random() < 0.15:
        look = rng.uniform(0.0, 0.8)
    look = np.clip(look, yaw - 0.5, yaw + 1.35)
    gaze = rotation(look - yaw, rng.normal(-0.02, 0.14), rng.normal(0, 0.12))
    animal = build(breed, pose, gaze, rng)
    tip = rng.uniform(0.03, 0.30)
    turn = rotation(yaw)
    camera = np.array([[1, 0, 0], [0, np.cos(tip), -np.sin(tip)], [0, np.sin(tip), np.cos(tip)]])
    flip = np.diag([-1.0 if rng.random() < 0.5 else 1.0, -1.0, 1.0])
    view = flip @ camera @ turn
    box = _extent(animal.parts, view)
    if pose == "portrait":
        face = [p for p in animal.parts if getattr(p, "kind", EAR) in (HEAD, EAR, INNER_EAR, NOSE)]
        head = _extent(face, view)
        size = rng.uniform(0.42, 0.66) * (0.6 + 0.8 * share)
        scale = size * np.sqrt(h * w) / max(head[3] - head[1], head[2] - head[0])
        centre = (head[:2] + head[2:]) / 2
        at = np.array([w * (column + rng.normal(0, 0.05)), h * rng.uniform(0.36, 0.46)])
    else:
        fill = {"stand": 0.46, "sit": 0.56, "lie": 0.58}[pose]
        wide, tall = box[2] - box[0], box[3] - box[1]
        scale = np.sqrt(share * h * w / (fill * wide * tall))
        scale = min(scale, 1.12 * w / wide, 1.02 * h / tall)
        centre = np.array([(box[0] + box[2]) / 2, box[3]])
        slack = max(h - tall * scale, 0)
        at = np.array([w * (column + rng.normal(0, 0.06)), h - slack * rng.uniform(0.06, 0.5)])
    origin = at - centre * scale
    # A photographer keeps the head in the picture.
    face = [p for p in animal.parts if getattr(p, "kind", EAR) in (HEAD, EAR, INNER_EAR, NOSE)]
    head = _extent(face, view) * scale + np.concatenate([origin, origin])
    slip = rng.uniform(-0.03, 0.06) * w
    origin[0] += max(slip - head[0], 0) - max(head[2] + slip - w, 0)
    origin[1] += max(0.02 * h - head[1], 0) if head[3] - head[1] < 0.9 * h else 0
    return Placed(animal, view * scale, origin, np.concatenate([origin, origin]) + box * scale)


def _draw(image, placed: Placed, place: Backdrop, rng):
    """Paint a placed animal and its shadow into ``image``; returns its (H, W) cover."""
    h, w = image.shape[:2]
    pad = 0.12 * np.linalg.norm(placed.view[0]) + 4
    x0, y0 = np.maximum(np.floor(placed.box[:2] - pad), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(placed.box[2:] + pad), [w, h]).astype(int)
    cover = np.zeros((h, w), np.float32)
    if x1 - x0 < 4 or y1 - y0 < 4:
        return cover
    ss = SUPERSAMPLE
    shape = (round(float(y1 - y0) * ss), round(float(x1 - x0) * ss))
    zoom = np.array([shape[1] / (x1 - x0), shape[0] / (y1 - y0)])
    buffer = rasterise(placed.animal, placed.view * zoom.mean(),
                       (placed.origin - [x0, y0]) * zoom, shape)
    colour, alpha, whiskers = paint(placed.animal, buffer, place.light, rng)
    small = (int(x1 - x0), int(y1 - y0))
    layers = cv2.resize(np.dstack([colour, alpha]), small, interpolation=cv2.INTER_AREA)
    thin = cv2.resize(whiskers, small, interpolation=cv2.INTER_AREA)[..., None]
    cover[y0:y1, x0:x1] = layers[..., 3]
    if placed.animal.pose != "portrait":
        _shadow(image, cover, placed, place)
    area = image[y0:y1, x0:x1]
    area *= 1 - layers[..., 3:4]
    area += layers[..., :3]
    area += 0.55 * thin * (0.75 * place.light.sky_colour - area)
    return cover


def _shadow(image, cover, placed: Placed, place: Backdrop):
    h, w = cover.shape
    feet = placed.box[3]
    squash, lean = 0.22, -place.light.sun[0] * 0.55
    # (x, y) of the shadow comes from the outline, laid back from the feet.
    matrix = np.float32([[1, lean / squash, -lean / squash * feet],
                         [0, 1 / squash, feet - feet / squash]])
    flat = cv2.warpAffine(cover, matrix, (w, h), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    unit = float(np.linalg.norm(placed.view[0]))
    flat = cv2.GaussianBlur(flat, (0, 0), 0.03 * unit + 0.8)
    contact = np.zeros((h, w), np.float32)
    for paw in placed.animal.paws:
        p = (placed.view @ paw)[:2] + placed.origin
        if np.abs(p).max() < 4000:
            cv2.ellipse(contact, (int(p[0]), int(p[1] + 0.03 * unit)),
                        (int(0.15 * unit) + 1, int(0.05 * unit) + 1), 0, 0, 360, 1.0, -1)
    contact = cv2.GaussianBlur(contact, (0, 0), 0.035 * unit + 0.8)
    hard = 0.25 + 0.35 * float(place.light.sun_colour.mean())
    image *= (1 - np.clip(hard * flat + 0.45 * contact, 0, 0.8))[..., None]


def _camera(image, rng):
    """Linear light (H, W, 3) to uint8 as a small camera would: exposure to grain."""
    h, w = image.shape[:2]
    level = float(np.mean(np.minimum(image[::3, ::3], 1.2)))
    gain = np.clip(rng.uniform(0.16, 0.30) / max(level, 1e-3), 0.55, 2.0) ** 0.7
    balance = np.exp(rng.normal(0, 0.05) * np.array([1, 0, -1]) + rng.normal(0, 0.02, 3))
    x = np.linspace(-1, 1, w, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, h, dtype=np.float32)[:, None]
    image *= (1 - rng.uniform(0, 0.22) * (x * x + y * y) * .5)[..., None]
    blur = rng.uniform(0, 0.75)
    if blur > 0.35:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    contrast = rng.uniform(0.95, 1.2)
    # The tone curve is a table: highlights roll off instead of clipping, then gamma, contrast.
    steps, top = 1 << 15, 2.5
    linear_ = np.linspace(0, top, steps, dtype=np.float32)
    over = np.maximum(linear_ - 0.72, 0)
    value = np.sqrt(np.minimum(linear_, 0.72) + over / (1 + over / 0.34))
    value += (contrast - 1) * 4 * (value - 0.5) * value * (1 - value)
    table = value * np.float32(255)
    index = image * (gain * balance * (steps - 1) / top).astype(np.float32)
    photo = table[np.clip(index, 0, steps - 1).astype(np.int32)]
    grain = np.float32(255 * rng.uniform(.003, .018))
    photo += grain * rng.standard_normal((h, w, 1), dtype=np.float32)
    return cv2.convertScaleAbs(np.maximum(photo, 0))


def render(rng: np.random.Generator, size: int, domain: str, breeds: list[Breed]):
    """A scene with one animal of each of ``breeds``, the first one farthest.

    Returns:
        (H, W, 3) uint8 photo and, by animal, an (H, W) boolean mask of what is visible.
    """
    longer = size * rng.uniform(1.0, 1.35)
    aspect = np.exp(rng.uniform(np.log(0.72), np.log(1.38)))
    w, h = (longer, longer / aspect) if aspect > 1 else (longer * aspect, longer)
    h, w = round(h), round(w)
    blur = float(rng.choice([0.5, rng.uniform(0.9, 4.0)], p=[0.25, 0.75])) * size / 256
    zoom = 1.0 if blur < size / 256 else 0.6  # what will be out of focus need not be drawn finely
    bh, bw = int(np.ceil(h * zoom)), int(np.ceil(w * zoom))
    place = backdrop(rng, bh, bw, domain)
    tone = breeds[0].coat[0][0] if breeds else (180, 130, 80)
    floor = place.floor
    rows = (floor, 0.55 * floor + 0.45 * bh)
    props(rng, place.image, place.light, tone, domain, int(rng.integers(1, 4)), rows, 0.07)
    place.image = cv2.GaussianBlur(place.image, (0, 0), blur * zoom)
    if zoom < 1:
        place.image = cv2.resize(place.image, (w, h), interpolation=cv2.INTER_LINEAR)
        place.floor = floor / zoom
    covers = []
    for i, breed in enumerate(breeds):
        share = float(np.clip(rng.beta(3.0, 3.2) * 0.62 + 0.07, 0.14, 0.60)) / len(breeds) ** 0.6
        column = 0.5 if len(breeds) == 1 else (0.28, 0.70)[i]
        placed = _place(breed, rng, h, w, share, column)
        new = _draw(place.image, placed, place, rng)
        covers = [c * (1 - new) for c in covers] + [new]
    front = np.zeros((h, w), np.float32)
    if rng.random() < 0.30:
        before = place.image.copy()
        front = props(rng, place.image, place.light, tone, domain, 1, (0.86 * h, 1.02 * h), 0.09)
        place.image = before + (place.image - before) * (front > 0.02)[..., None]
    if place.grass is not None:  # a few blades in front of the feet
        _front_grass(place, rng)
    masks = [(c * (1 - front)) > 0.5 for c in covers]
    return _camera(place.image, rng), masks


def _front_grass(place: Backdrop, rng):
    h = place.image.shape[0]
    blades(rng, place.image, place.floor, place.grass, 120, (h * .95, h * 1.06))


def trimap(mask: np.ndarray) -> np.ndarray:
    """Boolean mask to Oxford-IIIT's values: 1 pet, 2 background, 3 a band along the outline."""
    h, w = mask.shape
    width = max(round(0.015 * float(np.hypot(h, w))), 2)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width | 1, width | 1))
    solid = mask.astype(np.uint8)
    inner, outer = cv2.erode(solid, kernel), cv2.dilate(solid, kernel)
    out = np.where(mask, 1, 2).astype(np.uint8)
    out[(outer > 0) & (inner == 0)] = 3
    return out


def other_breed(rng: np.random.Generator) -> Breed:
    """A random individual around one of the breeds that Oxford-IIIT Pet does not have."""
    breed = pick(rng, OTHER_BREEDS)
    about = {name: getattr(breed, name) * float(np.exp(rng.normal(0, 0.08))) for name in (
        "trunk", "girth", "leg", "head", "neck", "muzzle", "muzzle_width", "skull_width", "ear",
        "fur_length")}
    coat = tuple((tuple(float(v) for v in np.clip(np.array(c) * rng.uniform(.85, 1.15), 8, 246)),
                  words) for c, words in breed.coat)
    return replace(breed, coat=coat, **about)
