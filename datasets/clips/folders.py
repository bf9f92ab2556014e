"""Folders whose names are the annotation."""

import re
from fnmatch import fnmatch
from pathlib import Path

from miex.datasets.clips.frames import inside


def subfolders(folder: Path, pattern: str, root: Path | None = None) -> list[Path]:
    """The folders in a folder, by name as people count (s2 before s10), hidden ones left out.

    Args:
        folder: Where to look; nothing is found in one that is not there.
        pattern: What their names look like, for instance ``s*``; case does not matter.
        root: Folder that no link may leave; the folder itself by default.

    Raises:
        ValueError: A link leaves the root.
    """
    if not folder.is_dir():
        return []
    limit = root or folder
    found = [
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".") and _alike(path.name, pattern)
    ]
    for path in found:
        inside(limit, *path.relative_to(limit).parts)
    return sorted(found, key=natural)


def natural(path: Path) -> tuple[tuple[int, int | str], ...]:
    """Sorts names as people count."""
    parts = re.findall(r"\d+|\D+", path.name.casefold())
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in parts)


def _alike(name: str, pattern: str) -> bool:
    return fnmatch(name.casefold(), pattern.casefold())
