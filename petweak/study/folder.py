"""Whether a folder is a run's. What asks this imports nothing that takes a while."""

from pathlib import Path

from petweak.data.files import make_run_folder, read_json

# In a run's folder, optional: the features/ folders of other runs, which may have the same maps.
FEATURES_FROM = "features_from.json"
MARK = ".petweak"  # in a run's folder: that petweak made it


def check_folder(folder: Path) -> None:
    """ValueError where files are in `folder` and nothing there says that petweak wrote them: a run
    replaces and deletes what it finds under the names that it uses."""
    ours = any((folder / name).is_file() for name in (MARK, FEATURES_FROM))
    ours |= any(key in (read_json(folder / name) or {}) for name, key in (
        ("run.json", "settings"), ("data.json", "quarantine")))
    if ours or not folder.exists():
        return
    there = [folder.name]
    if folder.is_dir():  # hidden files are the system's, and no names of a run's
        there = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    if there:
        raise ValueError(f"{folder} is not a run of petweak, and has {there[0]}: a run needs a "
                         "new or an empty folder (--run R)")


def claim(folder: Path) -> None:
    """Make `folder` a run's, before other files come there. ValueError as in `check_folder`,
    PermissionError where nothing can be written."""
    check_folder(folder)
    make_run_folder(folder)
    (folder / MARK).touch()
