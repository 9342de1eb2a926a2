"""Does a mask lie as its photo does? Sizes tell it only of some, so the pixels are asked.

Was it drawn on the photo as it is seen, or as it is stored? Where EXIF mirrors a photo or turns it
upside down, and where it turns a square one, colours tell. Is a whole set turned or mirrored? The
edges of its masks would fit those of the photos better if it were turned back.

Of 200 official photos with masks of annotators or of two segmenters, `evidence` is right for 98 %.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from petweak.data.files import file_hash
from petweak.data.pictures import ARRAY_TURNS, ON_SIDE, header, load_photo

SIDE, LEVELS = 128, 8  # of the small copy that is looked at: its pixels, and steps of each colour
CLEAR = 0.02  # nats: less says nothing
CHOSEN = 60  # masks, evenly, that tests of pixels take of a set
# What would bring a mask that is turned or mirrored back; the first one leaves it as it is.
BACK = {"as they are": lambda a: a, "turned by 180 degrees": lambda a: np.rot90(a, 2),
        "mirrored left to right": np.fliplr, "mirrored top to bottom": np.flipud,
        "turned by 90 degrees clockwise": lambda a: np.rot90(a, -1),
        "turned by 90 degrees counter-clockwise": np.rot90,
        "mirrored along the diagonal": np.transpose,
        "mirrored along the other diagonal": lambda a: np.rot90(a, 2).T}


def is_untold(photo: Path) -> bool:
    """Whether masks of this photo have one size, as it is seen and as it is stored."""
    (width, height), orientation, _ = header(photo)
    return orientation in ARRAY_TURNS and (orientation not in ON_SIDE or width == height)


def evidence(photo: Path, mask: np.ndarray) -> float:
    """How much more a mask (H, W) bool tells of the colours of `photo` as it lies than turned with
    the photo's orientation: a difference of mutual information, in nats."""
    small = load_photo(photo).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    colours = np.zeros(SIDE * SIDE, np.int64)
    for channel in np.asarray(small).reshape(-1, 3).T:
        steps = np.quantile(channel, np.linspace(0, 1, LEVELS + 1)[1:-1])
        colours = colours * LEVELS + np.searchsorted(steps, channel)
    mask = cv2.resize(mask.astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)

    def told(mask: np.ndarray) -> float:
        joint = np.bincount(2 * colours + mask.ravel(), minlength=2 * LEVELS**3).reshape(-1, 2)
        joint = joint / joint.sum()
        alone = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
        there = joint > 0
        return float((joint[there] * np.log(joint[there] / alone[there])).sum())

    return told(mask) - told(ARRAY_TURNS[header(photo).orientation](mask))


def are_stored(evidence: Mapping[str, float]) -> tuple[bool, list[str]]:
    """Of the masks of a set, {name: evidence} where sizes do not tell: whether they were drawn on
    stored pixels, by three quarters of those that say anything; and sentences on that."""
    votes = np.array([e for e in evidence.values() if abs(e) > CLEAR])
    against = (votes < 0).mean() if len(votes) else 0.5
    if not evidence or against <= 0.25:
        return False, []
    what = f"{len(evidence)} photos are stored turned or mirrored ({', '.join([*evidence][:10])}"
    what += " ..." * (len(evidence) > 10) + "), and their masks fit the stored pixels "
    if against >= 0.75:
        return True, [what + "better than what a person sees"]
    return False, [what + "as well as what a person sees: look at them"]


def turned(small: Mapping[str, np.ndarray], photos: Mapping[str, Path], what: str) -> list[str]:
    """A doubt about masks {id: (n, n) bool}, `what`, more than half of which (of an even choice,
    three at least) have their edges best on the photo's when they are turned or mirrored. Photos of
    which `are_stored` tells are not asked.

    Of 600 trimaps, and masks of two segmenters, 96 to 98 % fit best as they are: no choice of 4 or
    more of 3,000 raised a doubt. CAMs follow no edge: 1 of 15 such sets of 5 raises one, 1 of 1,500
    of 10, none of 60; whether they are turned is not seen."""
    asked = chosen([i for i in small if not is_untold(photos[i])])
    ways = {i: _best(small[i], photos[i]) for i in asked}
    for way in list(BACK)[1:]:
        if len(so := [i for i in asked if ways[i] == way]) > max(2, len(asked) / 2):
            return [f"{what} seem to be turned or mirrored: {len(so)} of {len(asked)} fit the "
                    f"edges in their photos better when they are {way}: {', '.join(so[:10])}"
                    + " ..." * (len(so) > 10)]
    return []


def chosen(ids: Sequence[str]) -> list[str]:
    """CHOSEN of them at most, evenly."""
    picked = np.linspace(0, len(ids) - 1, min(CHOSEN, len(ids))).round().astype(int)
    return [ids[k] for k in picked]


def _best(mask: np.ndarray, photo: Path) -> str:
    """The one of BACK by which the photo's colours change most, on average, across the outline."""
    across, down = _edges(photo, len(mask), file_hash(photo))

    def fit(mask: np.ndarray) -> float:
        x, y = _slopes(mask.astype(np.uint8))
        steps = np.linalg.norm(across * x[..., None] + down * y[..., None], axis=2)
        return float(steps.sum()) / (float(np.hypot(x, y).sum()) or 1)

    return max(BACK, key=lambda way: fit(BACK[way](mask)))


@cache
def _edges(photo: Path, side: int, _: str) -> tuple[np.ndarray, np.ndarray]:
    small = load_photo(photo, 4 * side).resize((side, side), Image.Resampling.BILINEAR)
    return _slopes(np.asarray(small))


def _slopes(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of (n, n) or (n, n, 3), float32 of the same shape: the changes to the right and downwards."""
    return cv2.Sobel(pixels, cv2.CV_32F, 1, 0), cv2.Sobel(pixels, cv2.CV_32F, 0, 1)
