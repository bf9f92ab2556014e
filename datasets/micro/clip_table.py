"""Own micro-expression clips: a CSV table, and a folder of frames for each clip.

`clip_table:FOLDER` with a table `clip_table.csv`, or `clip_table:TABLE.csv`. Columns: `subject`,
`clip`, `emotion`, `onset`, `offset`, and optionally `apex`, `aus` (FACS codes such as ``4+L12``),
`fps` and `frames`. Frames are images with numbered names, in the folder that `frames` names,
absolute or relative to the table; ``frames/SUBJECT/CLIP`` if the column is missing or empty. A
clip whose frames cannot be used is left out and counted. Several clips may share a folder. Without
`apex` the apex is the middle frame.

`clip_table:FOLDER?name=ours` gives the database another name. Subjects are identified by
(database, subject), so that two tables with equal names of subjects need two names.

Videos, and sequences without annotated frames, are read by `video_folder`.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from miex.datasets.base import Rejection
from miex.datasets.clips.annotations import Annotation
from miex.datasets.clips.base import (
    ApexRule,
    ClipReader,
    clip_database_names,
    origin_of,
    register_clips,
)
from miex.datasets.clips.database import About, ClipDatabase, find_table
from miex.datasets.clips.frames import FrameFolder, index_frames
from miex.datasets.clips.sheets import Row, read_rows
from miex.datasets.faces.base import SourceSpec
from miex.datasets.paths import in_table
from miex.datasets.registry import Facts

NAME = "clip_table"

_TABLE = "clip_table.csv"

_REQUIRED = {name: (name,) for name in ("subject", "clip", "emotion", "onset", "offset")}
_OPTIONAL = {name: (name,) for name in ("apex", "aus", "fps", "frames")}

_LICENCE = "not stated: the terms of your own clips"


def _scan(table: Path, frames: bool, name: str = NAME) -> Iterator[Annotation | Rejection]:
    """Yield the annotations of a table, or rejections of clips.

    Args:
        table: The CSV file.
        frames: Whether the images are searched for.
        name: Name of the database, for rejections.

    Raises:
        ValueError: A cell cannot be read, or frame numbers are not in order; the message names
            file, row and column.
    """
    folders: dict[str, FrameFolder] = {}
    for row in read_rows(table, _REQUIRED, _OPTIONAL, "table of clips"):
        annotation = _annotation(row)
        if not frames:
            yield annotation
            continue
        path = row.optional_text("frames") or _usual_place(row)
        try:
            if path not in folders:
                folders[path] = _open(row, table.parent, path)
            _require_files(row, annotation, folders[path])
        except ValueError as error:
            origin = origin_of(name, annotation.subject, annotation.clip)
            yield Rejection(origin, "unusable_frames", str(error))
            continue
        yield replace(annotation, frames=folders[path])


def _annotation(row: Row) -> Annotation:
    numbers = {name: row.frame(name) for name in ("onset", "offset")}
    apex = row.optional_frame("apex")
    if numbers["offset"] < numbers["onset"]:
        raise row.error("offset", f"frame {numbers['offset']} lies before onset {numbers['onset']}")
    if apex is not None and not numbers["onset"] <= apex <= numbers["offset"]:
        raise row.error(
            "apex", f"frame {apex} of a clip from {numbers['onset']} to {numbers['offset']}"
        )
    return Annotation(
        subject=row.text("subject"),
        clip=row.text("clip"),
        emotion=row.emotion(),
        emotion_text=row.text("emotion"),
        onset=numbers["onset"],
        apex=apex,
        offset=numbers["offset"],
        where=row.where,
        aus=row.optional_text("aus"),
        apex_rule=ApexRule.MIDDLE_FRAME if apex is None else ApexRule.ANNOTATED,
        fps=row.frame_rate("fps"),
    )


def _require_files(row: Row, annotation: Annotation, frames: FrameFolder) -> None:
    numbers = {"onset": annotation.onset, "offset": annotation.offset}
    if annotation.apex_rule is ApexRule.ANNOTATED and annotation.apex is not None:
        numbers["apex"] = annotation.apex
    for column, number in numbers.items():
        if number not in frames.files:
            there = frames.numbers
            raise row.error(
                column,
                f"no image of frame {number} in {frames.folder}, which has {len(there)} from "
                f"{there[0]} to {there[-1]}",
            )


def _usual_place(row: Row) -> str:
    return f"frames/{row.text('subject')}/{row.text('clip')}"


def _open(row: Row, root: Path, text: str) -> FrameFolder:
    try:
        folder = in_table(root, text)
        if folder is None or not folder.is_dir():
            raise ValueError(f"no folder {root / text}; it is relative to the table")
        frames = index_frames(folder)
        if not frames.files:
            raise ValueError(f"no numbered image in {folder}")
        return frames
    except ValueError as error:
        raise row.error("frames", str(error)) from None


def _database_name(spec: SourceSpec) -> str:
    name = spec.known_options("name").get("name", NAME)
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        raise ValueError(
            f"{NAME}: name {name!r}, expected a small letter, then small letters, digits and "
            "underscores"
        )
    if name != NAME and name in clip_database_names():
        raise ValueError(f"{NAME}: {name!r} is the name of another database; choose another name")
    return name


_FACTS = Facts(
    about="clips of your own: a CSV table and a folder of frames for each clip",
    title="clips of your own",
    written="clip_table:FOLDER",
    found_by=("clip_table.csv",),
)


@register_clips(NAME, _FACTS)
def open_clip_table(spec: SourceSpec, frames: bool) -> ClipReader:
    """Open `clip_table:FOLDER` or `clip_table:TABLE.csv`, with the option `name`."""
    about = About(name=_database_name(spec), licence=_LICENCE, fps=None)
    table = spec.existing_path()
    if table.is_dir():
        table = find_table(NAME, table, _TABLE, "table of clips")
    images = table.parent if frames else None
    return ClipDatabase(
        about, table.parent, lambda: _scan(table, frames, about.name), table, images
    )
