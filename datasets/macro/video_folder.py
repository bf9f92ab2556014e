"""Own videos or folders of frames, with a CSV table of their clips.

`video_folder:FOLDER` with a table `clips.csv`, or `video_folder:TABLE.csv`. Columns: `path` (a
video, or a folder of numbered images; absolute or relative to the table), `subject`, `emotion`,
and optionally `clip`, `onset`, `apex`, `offset`, `aus` and `fps`. Frames of a video are counted
from 1, those of a folder by their names. Without `onset` and `offset` a clip is the whole video;
without `apex` the apex has to be found in the frames. Several rows may share a video. A clip whose
video or frames cannot be used is left out and counted.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from miex.datasets.base import Rejection
from miex.datasets.clips.annotations import IGNORED_IMAGES, Annotation
from miex.datasets.clips.base import ApexRule, ClipReader, origin_of, register_clips
from miex.datasets.clips.database import About, ClipDatabase, find_table
from miex.datasets.clips.frames import (
    VIDEO_SUFFIXES,
    FrameFolder,
    Frames,
    VideoFrames,
    index_frames,
)
from miex.datasets.clips.sheets import Row, read_rows
from miex.datasets.faces.base import SourceSpec
from miex.datasets.labels import Emotion
from miex.datasets.paths import in_table
from miex.datasets.registry import Facts

_ABOUT = About(
    name="video_folder",
    licence="not stated: the terms of your own videos",
    fps=None,
)

_TABLE = "clips.csv"

_REQUIRED = {"path": ("path",), "subject": ("subject",), "emotion": ("emotion",)}
_OPTIONAL = {name: (name,) for name in ("clip", "onset", "apex", "offset", "aus", "fps")}


def _scan(table: Path) -> Iterator[Annotation | Rejection]:
    """Yield the annotations of a table, or rejections of clips.

    Raises:
        ValueError: A cell cannot be read; the message names file, row and column.
    """
    videos: dict[str, Frames] = {}
    for row in read_rows(table, _REQUIRED, _OPTIONAL, "table of clips"):
        path, subject, emotion = row.text("path"), row.text("subject"), row.emotion()
        plain = PurePosixPath(path.replace("\\", "/"))
        name = (plain.with_suffix("") if plain.name else plain).as_posix()
        try:
            if path not in videos:
                videos[path] = _open(row, table.parent)
        except ValueError as error:
            origin = origin_of(_ABOUT.name, subject, row.optional_text("clip") or name)
            yield Rejection(origin, "unusable_frames", str(error))
            continue
        yield _annotation(row, name, emotion, videos[path])


def _annotation(row: Row, name: str, emotion: Emotion, frames: Frames) -> Annotation:
    numbers = frames.numbers
    given = row.optional_frame("onset"), row.optional_frame("offset")
    onset = numbers[0] if given[0] is None else given[0]
    offset = numbers[-1] if given[1] is None else given[1]
    for column, number in (("onset", onset), ("offset", offset)):
        if not numbers[0] <= number <= numbers[-1]:
            raise row.error(
                column, f"frame {number} of {numbers[0]} to {numbers[-1]} in {row.text('path')}"
            )
    apex = row.optional_frame("apex")
    return Annotation(
        subject=row.text("subject"),
        clip=row.optional_text("clip") or (name if given[0] is None else f"{name}_{onset}"),
        emotion=emotion,
        emotion_text=row.text("emotion"),
        onset=onset,
        apex=apex,
        offset=offset,
        where=row.where,
        aus=row.optional_text("aus"),
        apex_rule=ApexRule.NONE if apex is None else ApexRule.ANNOTATED,
        fps=row.frame_rate("fps") or (frames.fps if isinstance(frames, VideoFrames) else None),
        frames=frames,
        notes=_notes(frames),
    )


def _notes(frames: Frames) -> tuple[str, ...]:
    if isinstance(frames, VideoFrames):
        return (frames.note,) if frames.note else ()
    return (IGNORED_IMAGES,) if isinstance(frames, FrameFolder) and frames.ignored else ()


def _open(row: Row, root: Path) -> Frames:
    text = row.text("path")
    try:
        path = in_table(root, text)
        if path is None:
            raise ValueError(f"nothing at {root / text}")
        if path.is_file():
            if path.suffix.lower() not in VIDEO_SUFFIXES:
                known = ", ".join(sorted(VIDEO_SUFFIXES))
                raise ValueError(f"{text} is no video (expected {known}) and no folder of frames")
            return VideoFrames.open(path)
        frames = index_frames(path)
        if not frames.files:
            raise ValueError(f"no numbered image in {path}")
        return frames
    except ValueError as error:
        raise row.error("path", str(error)) from None


_FACTS = Facts(
    about="videos or folders of frames of your own, with a table `clips.csv`",
    title="videos of your own",
    written="video_folder:FOLDER",
    found_by=("clips.csv",),
)


@register_clips("video_folder", _FACTS)
def open_video_folder(spec: SourceSpec, frames: bool) -> ClipReader:
    """Open `video_folder:FOLDER` or `video_folder:TABLE.csv`; the videos are always opened."""
    spec.known_options()
    table = spec.existing_path()
    if table.is_dir():
        table = find_table(_ABOUT.name, table, _TABLE, "table of clips")
    return ClipDatabase(_ABOUT, table.parent, lambda: _scan(table), table, table.parent)
