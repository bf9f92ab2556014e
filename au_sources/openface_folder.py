"""Find the OpenFace CSV of every clip in a folder, so that no image is needed for a pool.

The rule: the CSV of a clip is

1. the one that a CSV map names (columns subject, clip, csv and, optionally, first_frame);
2. by path: ``.../SUBJECT/.../CLIP.csv``, or the only CSV in a folder ``.../SUBJECT/.../CLIP/``, or,
   of single images, all CSVs of that folder, whose names end in the numbers of the frames;
3. by name: ``SUBJECT_CLIP`` or ``SUBJECT-CLIP``, or ``CLIP`` alone where no other clip of the
   database has this name; a file or a folder, as above.

Case does not matter, and a subject is also found by its number (``sub01``, ``s1``, ``01``, ``1``).
Frames of a video or an image sequence are numbered from 1 by OpenFace. `place_frames` says how they
become the database's numbers. OpenFace sorts the images of a folder by name, ``img100`` before
``img99``; see `in_order_of_names`.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_COUNT, AUArray
from miex.au_sources.estimators.openface import MIN_CONFIDENCE, OpenFaceRecording, read_openface
from miex.datasets.base import Rejection
from miex.datasets.cells import whole_number
from miex.datasets.clips.base import Clip
from miex.datasets.tables import Columns, find_columns, open_sheets

_SUFFIX = ".csv"

_MAP: Columns = {
    "subject": ("subject",),
    "clip": ("clip", "filename"),
    "csv": ("csv", "file", "path"),
    "first_frame": ("first_frame",),
}

_NUMBERED_SUBJECT = re.compile(r"(?:s|sub|subject|sp|spno\.|p)?[ _-]?0*(\d+)")
_SMOOTHER = 0.9
"""Share of the changes between neighbours below which the order by name is taken."""

_LAST_NUMBER = re.compile(r".*?(\d+)$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Mapped:
    """A row of the CSV map."""

    path: Path
    first_frame: int | None
    line: int


@dataclass(frozen=True, slots=True)
class _Found:
    """The CSVs of one clip: one of a video, or one per image."""

    paths: tuple[Path, ...]
    folders: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RecordedClip:
    """The AUs that OpenFace measured in the frames of a clip.

    Attributes:
        numbers: ``int64 (N,)`` as the database numbers the frames, ascending.
        aus: ``float32 (N, 17)``, 0 to 5; NaN where not valid.
        valid: ``bool (N,)``, whether OpenFace found the face, with enough confidence.
    """

    numbers: NDArray[np.int64]
    aus: AUArray
    valid: NDArray[np.bool_]


class OpenFaceFolder:
    """The CSVs of OpenFace for the clips of one database.

    Args:
        folder: Folder of the CSVs, at any depth.
        clips: All clips of the database, by which names are judged to be unique.
        csv_map: A table that names the CSV of some or all clips; paths are relative to `folder`.
        frames: Names of the images that are there, by number and by the key of the clip, if known.
        min_confidence: Frames below it are not valid.

    Attributes:
        name: `openface`, for provenance.
        version: The kind of files.
        scale: `intensity`.

    Raises:
        FileNotFoundError: No such folder or map, or the folder has no CSV.
        ValueError: The map names a clip that the database does not have, or a file that is missing.
    """

    name, version, scale = "openface", "OpenFace 2, CSV", "intensity"

    def __init__(
        self,
        folder: Path,
        clips: Sequence[Clip],
        csv_map: Path | None = None,
        frames: Mapping[tuple[str, str, str], Mapping[int, str]] | None = None,
        min_confidence: float = MIN_CONFIDENCE,
    ) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(f"openface:{folder}: no such folder; expected OpenFace's CSVs")
        self.folder = folder
        self._min_confidence = min_confidence
        self._frames = frames or {}
        self._by_name = _index(folder)
        self._counts = Counter(_plain(clip.clip) for clip in clips)
        self._map = {} if csv_map is None else _read_map(csv_map, folder, clips)
        if not self._by_name and not self._map:
            raise FileNotFoundError(f"openface:{folder}: the folder has no CSV, at any depth")

    def read(self, clip: Clip) -> RecordedClip | Rejection:
        """Return the AUs of a clip, or why there are none.

        The reasons are ``no_csv``, ``several_csvs`` and ``frames_do_not_fit``.

        Raises:
            ValueError: A CSV is damaged; file, line and column are named.
        """
        mapped = self._map.get((_plain(clip.subject), _plain(clip.clip)))
        if mapped is not None:
            return self._recorded(clip, (mapped.path,), mapped.first_frame)
        found = self._find(clip)
        if isinstance(found, Rejection):
            return found
        return self._recorded(clip, found.paths, None)

    def _find(self, clip: Clip) -> _Found | Rejection:
        candidates = self._candidates(clip)
        distinct = {each.paths: each for each in candidates}
        if len(distinct) == 1:
            return next(iter(distinct.values()))
        if distinct:
            names = " and ".join(
                str(paths[0].relative_to(self.folder)) for paths in list(distinct)[:2]
            )
            detail = f"{names} both fit; remove one, or name the right one in a CSV map"
            return Rejection(clip.origin, "several_csvs", detail)
        detail = (
            f"no {clip.subject}/{clip.clip}.csv, {clip.subject}_{clip.clip}.csv or folder of these "
            f"names in {self.folder}; rename the CSV, or name it in a CSV map (--csv-map)"
        )
        return Rejection(clip.origin, "no_csv", detail)

    def _candidates(self, clip: Clip) -> list[_Found]:
        # The clips of one long video are named after it and their onset, as e_62.
        names = [clip.clip]
        stem, _, onset = clip.clip.rpartition("_")
        if stem and onset == str(clip.onset):
            names.append(stem)
        for name in names:
            here = self._by_name.get(_plain(name), [])
            for matches in (_same_text, _same_number):
                by_path = [
                    found
                    for found in here
                    if any(matches(clip.subject, folder) for folder in found.folders)
                ]
                if by_path:
                    return by_path
            joined = [f"{clip.subject}{sign}{name}" for sign in "_-"]
            by_name = [f for each in joined for f in self._by_name.get(_plain(each), [])]
            if by_name:
                return by_name
            if here and self._counts[_plain(name)] <= 1:
                return here
        return []

    def _recorded(
        self, clip: Clip, paths: tuple[Path, ...], first_frame: int | None
    ) -> RecordedClip | Rejection:
        recordings = [read_openface(path, min_confidence=self._min_confidence) for path in paths]
        if recordings[0].kind == "image":
            return self._of_images(clip, paths, recordings)
        if len(recordings) > 1:
            detail = f"{paths[0].parent} has {len(paths)} CSVs of videos, expected one"
            return Rejection(clip.origin, "several_csvs", detail)
        (one,) = recordings
        there = self._frames.get(clip.key)
        numbers = place_frames(one.frames, clip, None if there is None else [*there], first_frame)
        if numbers is None:
            known = "" if there is None else f", of which {len(there)} are there"
            detail = (
                f"{paths[0].relative_to(self.folder)} has frames {one.frames[0]} to "
                f"{one.frames[-1]}, the clip has {clip.onset} to {clip.offset}{known}; state "
                "first_frame in a CSV map"
            )
            return Rejection(clip.origin, "frames_do_not_fit", detail)
        if first_frame is None and not np.array_equal(numbers, one.frames):
            numbers = in_order_of_names(numbers, one.estimates.aus, there or {})
        return _with_absent(clip, numbers, one.estimates.aus, one.estimates.valid)

    def _of_images(
        self, clip: Clip, paths: Sequence[Path], recordings: Sequence[OpenFaceRecording]
    ) -> RecordedClip | Rejection:
        """Return the AUs of single images, whose file names end in the numbers of the frames."""
        rows: dict[int, tuple[AUArray, bool]] = {}
        for path, one in zip(paths, recordings, strict=True):
            match = _LAST_NUMBER.match(path.stem)
            number = None if match is None else int(match[1])
            if number is None or number in rows or one.kind != "image":
                detail = (
                    f"{path.relative_to(self.folder)}: expected one CSV of FaceLandmarkImg for "
                    "each frame, its name ending in the number of the frame"
                )
                return Rejection(clip.origin, "frames_do_not_fit", detail)
            rows[number] = (one.estimates.aus[0], bool(one.estimates.valid[0]))
        numbers = np.array(sorted(rows), dtype=np.int64)
        aus = np.stack([rows[number][0] for number in numbers.tolist()])
        valid = np.array([rows[number][1] for number in numbers.tolist()])
        return _with_absent(clip, numbers, aus, valid)


def place_frames(
    frames: NDArray[np.int64],
    clip: Clip,
    there: Sequence[int] | None = None,
    first_frame: int | None = None,
) -> NDArray[np.int64] | None:
    """Return the database's numbers of the frames of a CSV, which OpenFace counts from 1.

    The first rule that applies:

    1. `first_frame` of the CSV map is the number of the CSV's first frame.
    2. The CSV has as many frames as the clip's folder has images: the first is the first image.
    3. The CSV has the frame numbers of the database already: it begins at the onset, or begins
       before it and ends at the offset or later.
    4. The CSV has as many frames as there are from onset to offset: the first is the onset.

    Args:
        frames: ``int64 (N,)`` of the CSV, ascending.
        clip: With onset and offset.
        there: Numbers of the images of the clip, ascending, if known.
        first_frame: As the CSV map states it.

    Returns:
        ``int64 (N,)``, or None if no rule applies.
    """
    counted: NDArray[np.int64] = frames - frames[0]
    if first_frame is not None:
        return counted + np.int64(first_frame)
    length = clip.offset - clip.onset + 1
    if there is not None and len(there) == len(frames) == counted[-1] + 1:
        return np.array(there, dtype=np.int64)
    if frames[0] == clip.onset or (frames[0] < clip.onset and frames[-1] >= clip.offset):
        return frames
    return counted + np.int64(clip.onset) if counted[-1] + 1 == length else None


def in_order_of_names(
    numbers: NDArray[np.int64], aus: AUArray, names: Mapping[int, str]
) -> NDArray[np.int64]:
    """Return the numbers in the order in which OpenFace read the images of a folder.

    It sorts them by name. Where names without leading zeros gain a digit, that is not the order of
    their numbers, and a CSV of a video, or of images that were renamed, has the other order. The
    CSV does not say which. AUs change little from frame to frame, so the order by name is taken
    where it makes the sum of all changes between neighbours smaller by a tenth.

    Args:
        numbers: ``int64 (N,)``, ascending.
        aus: ``float32 (N, 17)`` in the order of the CSV.
        names: Names of the images, by number; without leading zeros where unknown.

    Returns:
        ``int64 (N,)``, the number of each row of the CSV.
    """
    ordered: list[int] = numbers.tolist()
    known_names = names if all(number in names for number in ordered) else {}
    by_name = np.array(sorted(ordered, key=lambda n: known_names.get(n, str(n))), np.int64)
    if np.array_equal(by_name, numbers):
        return numbers
    known = np.nan_to_num(aus).astype(np.float64)
    changes = np.abs(np.diff(known, axis=0)).sum()
    changes_by_name = np.abs(np.diff(known[np.argsort(by_name)], axis=0)).sum()
    return by_name if changes_by_name < _SMOOTHER * changes else numbers


def _with_absent(
    clip: Clip, numbers: NDArray[np.int64], aus: AUArray, valid: NDArray[np.bool_]
) -> RecordedClip:
    """Add the frames from onset to offset that OpenFace did not write, as not valid."""
    order = np.argsort(numbers)
    numbers, aus, valid = numbers[order], aus[order], valid[order]
    every = np.union1d(numbers, np.arange(clip.onset, clip.offset + 1))
    places = np.searchsorted(every, numbers)
    all_aus = np.full((len(every), AU_COUNT), np.nan, np.float32)
    all_valid = np.zeros(len(every), dtype=bool)
    all_aus[places], all_valid[places] = aus, valid
    return RecordedClip(every, all_aus, all_valid)


def _index(folder: Path) -> dict[str, list[_Found]]:
    """Return the CSVs by the name of the file, and those of a folder by the folder's name."""
    index: dict[str, list[_Found]] = {}
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(place)
        above = here.relative_to(folder).parts
        csvs = tuple(
            here / name
            for name in sorted(files)
            if name.casefold().endswith(_SUFFIX) and not name.startswith(".")
        )
        for path in csvs:
            index.setdefault(_plain(path.stem), []).append(_Found((path,), above))
        if csvs and above:
            index.setdefault(_plain(above[-1]), []).append(_Found(csvs, above[:-1]))
    return index


def _read_map(path: Path, folder: Path, clips: Sequence[Clip]) -> dict[tuple[str, str], _Mapped]:
    known = {(_plain(clip.subject), _plain(clip.clip)) for clip in clips}
    found: dict[tuple[str, str], _Mapped] = {}
    for line, subject, clip, csv, first in _map_rows(path):
        where = f"{path}, line {line}"
        key = (_plain(subject), _plain(clip))
        if key not in known:
            raise ValueError(
                f"{where}: the database has no clip {clip!r} of subject {subject!r}; write them as "
                "`miex clips` names them"
            )
        if key in found:
            raise ValueError(f"{where}: the clip is already on line {found[key].line}")
        target = folder / csv
        if not target.is_file():
            raise ValueError(f"{where}, csv: {target} is missing; paths are relative to {folder}")
        number = whole_number(first)
        if first not in (None, "") and number is None:
            raise ValueError(f"{where}, first_frame: {first!r}, expected a whole number")
        found[key] = _Mapped(target, None if number is None else int(number), line)
    if not found:
        raise ValueError(f"{path}: the CSV map has no rows; expected subject, clip, csv")
    return found


def _map_rows(path: Path) -> Iterator[tuple[int, str, str, str, object]]:
    for sheet in open_sheets(path, _MAP):
        header = next((cells for _, cells in sheet.rows), [])
        columns = find_columns(header, _MAP)
        absent = [name for name in ("subject", "clip", "csv") if name not in columns]
        if absent:
            raise ValueError(
                f"{path}: column {', '.join(absent)} is missing; a CSV map has the columns subject,"
                " clip, csv and, optionally, first_frame"
            )
        for line, cells in sheet.rows:
            if all(cell is None for cell in cells):
                continue
            texts = {name: _cell(cells, index) for name, index in columns.items()}
            if None in (texts["subject"], texts["clip"], texts["csv"]):
                raise ValueError(f"{path}, line {line}: subject, clip and csv are needed")
            yield (
                line,
                str(texts["subject"]),
                str(texts["clip"]),
                str(texts["csv"]),
                texts.get("first_frame"),
            )


def _cell(cells: Sequence[object], index: int) -> object:
    cell = cells[index] if index < len(cells) else None
    return cell.strip() if isinstance(cell, str) else cell


def _plain(name: str) -> str:
    return name.strip().casefold()


def _same_text(subject: str, folder: str) -> bool:
    return _plain(subject) == _plain(folder)


def _same_number(subject: str, folder: str) -> bool:
    numbers = [_NUMBERED_SUBJECT.fullmatch(_plain(name)) for name in (subject, folder)]
    return all(numbers) and len({int(match[1]) for match in _known(numbers)}) == 1


def _known(matches: Iterable[re.Match[str] | None]) -> Iterator[re.Match[str]]:
    return (match for match in matches if match is not None)
