"""Read annotations from the names of folders."""

import logging
import re
from collections.abc import Collection
from fnmatch import fnmatch
from pathlib import Path

from miex.datasets.base import Rejection
from miex.datasets.clips.base import origin_of
from miex.datasets.clips.frames import FrameFolder, index_frames
from miex.datasets.paths import is_utf8, printable

_log = logging.getLogger("miex")


def subfolders(folder: Path, pattern: str) -> list[Path]:
    """Return the folders in a folder, in natural order (s2 before s10).

    Hidden folders are left out, and folders whose name is no UTF-8, with a warning.

    Args:
        folder: Folder that is searched; a missing one has no folders.
        pattern: Pattern of the names, as ``s*``; case is ignored.
    """
    if not folder.is_dir():
        return []
    found = [
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".") and _alike(path.name, pattern)
    ]
    for path in found:
        if not is_utf8(path.name):
            _log.warning("%s is left out: its name is no UTF-8", printable(str(path)))
    return sorted((path for path in found if is_utf8(path.name)), key=natural)


def frames_of(
    folder: Path,
    key: tuple[str, str, str],
    where: str,
    names: Collection[str] | None = None,
) -> FrameFolder | Rejection:
    """Return the frames of a clip that is a folder, or its rejection.

    Args:
        folder: Its folder.
        key: `Clip.key`.
        where: The folder, for messages.
        names: Use only these files.
    """
    try:
        frames = index_frames(folder, names)
    except ValueError as error:
        return Rejection(origin_of(*key), "unusable_frames", f"{where}: {error}")
    if not frames.files:
        return Rejection(origin_of(*key), "no_frames", f"{where}: no frames are there")
    return frames


def natural(path: Path) -> tuple[tuple[int, int | str], ...]:
    """Return the sort key of a name in which numbers count as numbers."""
    parts = re.findall(r"\d+|\D+", path.name.casefold())
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts)


def _alike(name: str, pattern: str) -> bool:
    return fnmatch(name.casefold(), pattern.casefold())
