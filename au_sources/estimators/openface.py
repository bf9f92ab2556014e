"""Read the AUs that OpenFace 2 has measured, from its CSV files.

Both writers are read, ``frame, face_id, timestamp`` of 2.0 and 2.1 and ``frame,face_id,timestamp``
of later builds, from videos and image sequences (`FeatureExtraction`, `FaceLandmarkVidMulti`) and
from single images (`FaceLandmarkImg`: no frame, no success). Columns are found by name, so gaze,
pose and landmarks may be there or not. The AUs of videos are relative to the person's median face
unless OpenFace ran with `-au_static`; the file does not say which.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from miex.au_sources.action_units import AU_COUNT, AU_NAMES, require_aus
from miex.au_sources.estimators.base import Estimates
from miex.datasets.cells import ErrorCell, decimal
from miex.datasets.tables import Columns, Numbered, find_columns, open_sheets

MIN_CONFIDENCE = 0.8
"""Rows below this confidence of OpenFace's landmarks do not count as measured.

OpenFace's own `success` begins lower, where landmarks are already loose. OpenDBM, the toolkit for
digital biomarkers, draws the line at 80 % too (its page on facial activity).
"""

INTENSITY_COLUMNS: tuple[str, ...] = tuple(f"{name}_r" for name in AU_NAMES)


_META = ("frame", "face_id", "face", "timestamp", "confidence", "success")

_COLUMNS: Columns = {name: (name,) for name in (*_META, *INTENSITY_COLUMNS)}


@dataclass(frozen=True, slots=True, eq=False)
class OpenFaceRecording:
    """One face of an OpenFace file, a row for every frame of the file.

    Attributes:
        kind: Whether a video (or image sequence) or a single image was measured.
        frames: ``int64 (N,)`` frame numbers as OpenFace counts, from 1, each once, ascending. An
            image is frame 1.
        timestamps: ``float64 (N,)`` seconds; NaN for images.
        estimates: AUs of each frame, not valid where the face is absent, `success` is 0, or the
            confidence is too low.
        face: Number of the face that was read.
        faces: Every number of a face in the file.
    """

    kind: Literal["video", "image"]
    frames: NDArray[np.int64]
    timestamps: NDArray[np.float64]
    estimates: Estimates
    face: int
    faces: tuple[int, ...]

    def at(self, frame: int) -> int:
        """Return the row of a frame.

        Raises:
            ValueError: The file has no such frame.
        """
        row = int(np.searchsorted(self.frames, frame))
        if row == len(self.frames) or self.frames[row] != frame:
            raise ValueError(
                f"frame {frame} is not in OpenFace's file, which has {len(self.frames)} frames "
                f"from {self.frames[0]} to {self.frames[-1]}"
            )
        return row


@dataclass(frozen=True, slots=True)
class _Row:
    """The values of one line. AUs are NaN where OpenFace wrote no finite number."""

    line: int
    frame: int
    face: int
    timestamp: float
    confidence: float
    success: bool
    aus: tuple[float, ...]


def read_openface(
    path: Path, *, min_confidence: float = MIN_CONFIDENCE, face: int | None = None
) -> OpenFaceRecording:
    """Read one face of an OpenFace file.

    Args:
        path: The CSV.
        min_confidence: Rows below it are not valid.
        face: Which face to read. By default that of the largest confidence, in videos summed over
            the frames in which it was found: the one that is there longest and clearest.

    Raises:
        FileNotFoundError: No such file.
        ValueError: A column is missing, a row is cut off, holds text for a number or an AU outside
            0 to 5, a frame occurs twice for one face, or the face is not in the file.
    """
    kind, rows = _read(path)
    if not rows:
        raise ValueError(f"{path} has a header and no rows; OpenFace was stopped before a frame")
    faces = tuple(sorted({row.face for row in rows}))
    chosen = _clearest(rows) if face is None else face
    if chosen not in faces:
        raise ValueError(f"{path} has no face {face}; it has {', '.join(map(str, faces))}")
    return _recording(path, kind, rows, chosen, faces, min_confidence)


def _read(path: Path) -> tuple[Literal["video", "image"], list[_Row]]:
    """Return the kind of a file and its rows, all faces together."""
    kind: Literal["video", "image"] = "video"
    rows: list[_Row] = []
    try:
        for sheet in open_sheets(path, _COLUMNS):
            header = next((cells for _, cells in sheet.rows), [])
            columns = find_columns(header, _COLUMNS)
            kind = "video" if "frame" in columns else "image"
            _require_columns(path, columns, kind)
            rows += _rows(path, len(header), columns, sheet.rows)
    except FileNotFoundError:
        raise FileNotFoundError(f"OpenFace's file {path} is absent") from None
    return kind, rows


def _require_columns(path: Path, columns: Mapping[str, int], kind: str) -> None:
    meta = ("confidence", "success") if kind == "video" else ("confidence",)
    absent = [name for name in (*meta, *INTENSITY_COLUMNS) if name not in columns]
    if absent:
        raise ValueError(
            f"{path}: columns {', '.join(absent)} are missing; expected OpenFace 2's CSV with AUs: "
            "run OpenFace with -aus, or without any output flag"
        )


def _rows(
    path: Path, width: int, columns: Mapping[str, int], lines: Iterable[Numbered]
) -> Iterator[_Row]:
    for number, cells in lines:
        if all(cell is None for cell in cells):
            continue
        if len(cells) != width:
            raise ValueError(
                f"{path}, line {number}: {len(cells)} cells, expected {width} as in the "
                "header; the file is cut off or was edited, run OpenFace again"
            )

        def read(
            column: str, default: float, number: int = number, cells: Sequence[object] = cells
        ) -> float:
            if column not in columns:
                return default
            return _number(cells[columns[column]], f"{path}, line {number}, {column}")

        # `face` numbers the faces of an image in OpenFace 2, `face_id` those of a video.
        yield _Row(
            line=number,
            frame=_whole(read("frame", 1), f"{path}, line {number}, frame"),
            face=_whole(read("face_id", read("face", 0)), f"{path}, line {number}, face"),
            timestamp=read("timestamp", np.nan),
            confidence=read("confidence", 0),
            success=read("success", 1) == 1,
            aus=tuple(read(column, np.nan) for column in INTENSITY_COLUMNS),
        )


def _number(cell: object, where: str) -> float:
    """Return a number; NaN for what C++ writes where it has none, such as ``-nan(ind)``."""
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return float(cell)
    text = cell.text if isinstance(cell, ErrorCell) else str(cell or "")
    try:
        return decimal(text)
    except ValueError:
        # Written out, since a word such as "banana" contains it too.
        if re.fullmatch(r"[+-]?(?:nan|1\.#(?:qnan|ind|inf))(?:\(\w*\))?\d*", text.lower()):
            return float("nan")
        raise ValueError(f"{where}: {text!r} is no number") from None


def _whole(value: float, where: str) -> int:
    """Return a frame or face number, which OpenFace counts from 0 or 1 on."""
    if not (math.isfinite(value) and value == int(value) and abs(value) < 1e9):
        raise ValueError(f"{where}: {value!r}, expected a whole number")
    return int(value)


def _clearest(rows: list[_Row]) -> int:
    confidence: dict[int, float] = {}
    for row in rows:
        # Written out as 0 so that a face which was never found can still be the only one.
        found = np.nan_to_num(row.confidence) if row.success else 0.0
        confidence[row.face] = confidence.get(row.face, 0.0) + float(found)
    return max(sorted(confidence), key=confidence.__getitem__)


def _recording(
    path: Path,
    kind: Literal["video", "image"],
    rows: list[_Row],
    face: int,
    faces: tuple[int, ...],
    min_confidence: float,
) -> OpenFaceRecording:
    frames = np.unique([row.frame for row in rows])
    places = {int(frame): place for place, frame in enumerate(frames)}
    timestamps = np.full(len(frames), np.nan)
    aus = np.full((len(frames), AU_COUNT), np.nan, np.float32)
    confidence = np.full(len(frames), np.nan, np.float32)
    valid = np.zeros(len(frames), bool)
    lines: dict[int, int] = {}
    for row in rows:
        place = places[row.frame]
        timestamps[place] = row.timestamp
        if row.face != face:
            continue
        if place in lines:
            raise ValueError(
                f"{path}, line {row.line}: frame {row.frame} of face {face} again, first on line "
                f"{lines[place]}; two runs were written into one file"
            )
        lines[place] = row.line
        confidence[place] = row.confidence
        usable = row.success and row.confidence >= min_confidence
        if usable and np.isfinite(row.aus).all():
            valid[place] = True
            aus[place] = require_aus(row.aus, f"{path}, line {row.line}")
    return OpenFaceRecording(
        kind, frames, timestamps, Estimates(aus, valid, confidence), face, faces
    )
