"""A data set of a few photos, for what a whole study of it has to show."""

from __future__ import annotations

import shutil
from collections.abc import Container
from pathlib import Path

LISTS = ("trainval.txt", "test.txt")


def few_photos(rendered: Path, root: Path, breeds: int = 4) -> Path:
    """A data root with the first `breeds` rendered ones, cats and dogs: two photos of train and
    one of test each."""
    source, target = (top / "oxford-iiit-pet" for top in (rendered, root))
    for folder in ("images", "annotations/trimaps"):
        (target / folder).mkdir(parents=True)
    for file in LISTS:
        lines = (source / "annotations" / file).read_text().splitlines()
        kept = [x for x in lines if not x.startswith("#") and int(x.split()[1]) <= breeds]
        (target / "annotations" / file).write_text("\n".join(kept) + "\n")
        for image_id in (line.split()[0] for line in kept):
            for path in (f"images/{image_id}.jpg", f"annotations/trimaps/{image_id}.png"):
                shutil.copyfile(source / path, target / path)
    return root


def drop_trimaps(root: Path, keep: Container[str] = ()) -> Path:
    """The same data root without the trimaps of the photos that are not in `keep`."""
    for path in (root / "oxford-iiit-pet" / "annotations" / "trimaps").glob("*.png"):
        if path.stem not in keep:
            path.unlink()
    return root
