"""A photo: place, animals, things in front of them, and what a camera does to it all."""

from dataclasses import replace

import cv2
import numpy as np

from petweak.rendered.animal import Animal, rotation
from petweak.rendered.backdrop import backdrop, blades, pick, props
from petweak.rendered.breeds import OTHER_BREEDS, Breed
from petweak.rendered.coat import over
from petweak.rendered.paint import paint
from petweak.rendered.raster import DepthBuffer, Kind, Light, window

SUPERSAMPLE = 1.15  # the animal is drawn this much larger than the photo


def _extent(parts, view):
    """Box (x0, y0, x1, y1) of parts in view units, loosely."""
    points = np.array([point[:2] for part in parts for point in part.points(view)])
    return np.concatenate([points.min(0), points.max(0)])


def _place(breed: Breed, rng, h, w, share, column):
    """An animal that fills a share of the photo, its view and origin (to photo pixels), the box
    (x0, y0, x1, y1) around it."""
    pose = pick(rng, ("stand", "sit", "sit", "lie", "portrait", "portrait"))
    if pose == "stand":
        yaw = rng.choice([rng.uniform(-0.15, 0.75), rng.uniform(0.75, 1.2)], p=[0.75, 0.25])
    else:
        yaw = rng.uniform(0.05, 1.2) if pose == "lie" else rng.uniform(0.45, 1.5)
    look = np.clip(rng.normal(1.25, 0.28), 0.15, 2.0)  # mostly towards the camera
    if rng.random() < 0.15:
        look = rng.uniform(0.0, 0.8)
    look = np.clip(look, yaw - 0.5, yaw + 1.35)
    gaze = rotation(look - yaw, rng.normal(-0.02, 0.14), rng.normal(0, 0.12))
    animal = Animal(breed, pose, gaze, rng)
    tip = rng.uniform(0.03, 0.30)
    camera = np.array([[1, 0, 0], [0, np.cos(tip), -np.sin(tip)], [0, np.sin(tip), np.cos(tip)]])
    flip = np.diag([-1.0 if rng.random() < 0.5 else 1.0, -1.0, 1.0])
    view = flip @ camera @ rotation(yaw)
    box = _extent(animal.parts, view)
    on_face = (Kind.HEAD, Kind.EAR, Kind.NOSE)
    face = _extent([p for p in animal.parts if p.kind in on_face], view)
    if pose == "portrait":
        size = rng.uniform(0.42, 0.66) * (0.6 + 0.8 * share)
        scale = size * np.sqrt(h * w) / max(face[3] - face[1], face[2] - face[0])
        centre = (face[:2] + face[2:]) / 2
        at = np.array([w * (column + rng.normal(0, 0.05)), h * rng.uniform(0.36, 0.46)])
    else:
        fill = {"stand": 0.46, "sit": 0.56, "lie": 0.58}[pose]
        wide, tall = box[2] - box[0], box[3] - box[1]
        scale = np.sqrt(share * h * w / (fill * wide * tall))
        scale = min(scale, 1.12 * w / wide, 1.02 * h / tall)
        centre, slack = np.array([(box[0] + box[2]) / 2, box[3]]), max(h - tall * scale, 0)
        at = np.array([w * (column + rng.normal(0, 0.06)), h - slack * rng.uniform(0.06, 0.5)])
    origin = at - centre * scale
    # A photographer keeps the head in the picture.
    x0, y0, x1, y1 = face * scale + np.tile(origin, 2)
    slip = rng.uniform(-0.03, 0.06) * w
    origin[0] += max(slip - x0, 0) - max(x1 + slip - w, 0)
    origin[1] += max(0.02 * h - y0, 0) if y1 - y0 < 0.9 * h else 0
    return animal, view * scale, origin, np.tile(origin, 2) + box * scale


def _draw(image, animal: Animal, view, origin, box, light: Light, rng):
    """Paint an animal of `_place` and its shadow into `image`; returns its (H, W) cover."""
    pad, cover = 0.12 * np.linalg.norm(view[0]) + 4, np.zeros(image.shape[:2], np.float32)
    area = window(image.shape, box[:2] - pad, np.ceil(box[2:] + pad))
    rows, columns = cover[area].shape if area else (0, 0)
    if min(rows, columns) < 4:
        return cover
    shape, size = (round(rows * SUPERSAMPLE), round(columns * SUPERSAMPLE)), (columns, rows)
    zoom, corner = np.divide(shape[::-1], size), [area[1].start, area[0].start]
    buffer = DepthBuffer(animal.parts, view * zoom.mean(), (origin - corner) * zoom, shape)
    layers = paint(animal, buffer, light, rng)
    colour, alpha, thin = (cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in layers)
    cover[area] = alpha
    if animal.pose != "portrait":
        _shadow(image, cover, [(view @ paw)[:2] + origin for paw in animal.paws], view, box, light)
    image[area] *= 1 - alpha[..., None]
    image[area] += colour
    over(image[area], 0.55 * thin, 0.75 * light.sky_colour)
    return cover


def _shadow(image, cover, paws, view, box, light: Light):
    (h, w), feet, unit = cover.shape, box[3], float(np.linalg.norm(view[0]))
    squash, lean = 0.22, -light.sun[0] * 0.55
    # (x, y) of the shadow comes from the outline, laid back from the feet.
    x, y = [1, lean / squash, -lean / squash * feet], [0, 1 / squash, feet - feet / squash]
    flat = cv2.warpAffine(
        cover, np.float32([x, y]), (w, h), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    flat = cv2.GaussianBlur(flat, (0, 0), 0.03 * unit + 0.8)
    contact = np.zeros((h, w), np.float32)
    for p in paws:
        if np.abs(p).max() < 4000:
            at, size = (int(p[0]), int(p[1] + 0.03 * unit)), (int(0.15 * unit), int(0.05 * unit))
            cv2.ellipse(contact, at, (size[0] + 1, size[1] + 1), 0, 0, 360, 1.0, -1)
    contact = cv2.GaussianBlur(contact, (0, 0), 0.035 * unit + 0.8)
    hard = 0.25 + 0.35 * float(light.sun_colour.mean())
    image *= (1 - np.clip(hard * flat + 0.45 * contact, 0, 0.8))[..., None]


def _camera(image, rng):
    """Linear light (H, W, 3) to uint8 as a small camera would: exposure to grain."""
    h, w = image.shape[:2]
    level = float(np.mean(np.minimum(image[::3, ::3], 1.2)))
    gain = np.clip(rng.uniform(0.16, 0.30) / max(level, 1e-3), 0.55, 2.0) ** 0.7
    balance = np.exp(rng.normal(0, 0.05) * np.array([1, 0, -1]) + rng.normal(0, 0.02, 3))
    x, y = (np.linspace(-1, 1, n, dtype=np.float32) for n in (w, h))
    image *= (1 - rng.uniform(0, 0.22) * (x * x + (y * y)[:, None]) * 0.5)[..., None]
    blur = rng.uniform(0, 0.75)
    if blur > 0.35:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    contrast = rng.uniform(0.95, 1.2)
    # The tone curve is a table: highlights roll off instead of clipping, then gamma, contrast.
    steps, top = 1 << 15, 2.5
    light = np.linspace(0, top, steps, dtype=np.float32)
    high = np.maximum(light - 0.72, 0)
    value = np.sqrt(np.minimum(light, 0.72) + high / (1 + high / 0.34))
    value += (contrast - 1) * 4 * (value - 0.5) * value * (1 - value)
    index = image * (gain * balance * (steps - 1) / top).astype(np.float32)
    photo = (value * np.float32(255))[np.clip(index, 0, steps - 1).astype(np.int32)]
    grain = np.float32(255 * rng.uniform(0.003, 0.018))
    photo += grain * rng.standard_normal((h, w, 1), dtype=np.float32)
    return cv2.convertScaleAbs(np.maximum(photo, 0))


def render(rng: np.random.Generator, size: int, domain: str, breeds: list[Breed]):
    """A scene with one animal of each of `breeds`, the first one farthest: (H, W, 3) uint8 photo
    and, by animal, an (H, W) boolean mask of what is visible."""
    longer = size * rng.uniform(1.0, 1.35)
    aspect = np.exp(rng.uniform(np.log(0.72), np.log(1.38)))
    w, h = (longer, longer / aspect) if aspect > 1 else (longer * aspect, longer)
    h, w = round(h), round(w)
    blur = float(rng.choice([0.5, rng.uniform(0.9, 4.0)], p=[0.25, 0.75])) * size / 256
    zoom = 1.0 if blur < size / 256 else 0.6  # what will be out of focus need not be drawn finely
    bh, bw = int(np.ceil(h * zoom)), int(np.ceil(w * zoom))
    image, floor, light, grass = backdrop(rng, bh, bw, domain)
    tone = breeds[0].coat[0][0] if breeds else (180, 130, 80)
    rows = (floor, 0.55 * floor + 0.45 * bh)
    props(rng, image, light, tone, domain, int(rng.integers(1, 4)), rows, 0.07)
    image = cv2.GaussianBlur(image, (0, 0), blur * zoom)
    if zoom < 1:
        image = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
    covers = []
    for i, breed in enumerate(breeds):
        share = float(np.clip(rng.beta(3.0, 3.2) * 0.62 + 0.07, 0.14, 0.60)) / len(breeds) ** 0.6
        column = 0.5 if len(breeds) == 1 else (0.28, 0.70)[i]
        new = _draw(image, *_place(breed, rng, h, w, share, column), light, rng)
        covers = [c * (1 - new) for c in covers] + [new]
    front = np.zeros((h, w), np.float32)
    if rng.random() < 0.30:
        before = image.copy()
        front = props(rng, image, light, tone, domain, 1, (0.86 * h, 1.02 * h), 0.09)
        image = before + (image - before) * (front > 0.02)[..., None]
    if grass is not None:  # a few blades in front of the feet
        blades(rng, image, floor / zoom, grass, 120, (h * 0.95, h * 1.06))
    return _camera(image, rng), [(c * (1 - front)) > 0.5 for c in covers]


def trimap(mask: np.ndarray) -> np.ndarray:
    """Boolean mask to Oxford-IIIT's values: 1 pet, 2 background, 3 a band along the outline."""
    width = max(round(0.015 * float(np.hypot(*mask.shape))), 2)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width | 1, width | 1))
    inner, outer = (f(mask.astype(np.uint8), kernel) for f in (cv2.erode, cv2.dilate))
    return np.where((outer > 0) & (inner == 0), 3, np.where(mask, 1, 2)).astype(np.uint8)


def other_breed(rng: np.random.Generator) -> Breed:
    """A random individual around one of the breeds that Oxford-IIIT Pet does not have."""
    breed = pick(rng, OTHER_BREEDS)
    sizes = "trunk girth leg head neck muzzle muzzle_width skull_width ear fur_length".split()
    about = {n: getattr(breed, n) * float(np.exp(rng.normal(0, 0.08))) for n in sizes}
    coat = tuple(
        (tuple(np.clip(np.array(colour) * rng.uniform(0.85, 1.15), 8, 246).tolist()), words)
        for colour, words in breed.coat)
    return replace(breed, coat=coat, **about)
