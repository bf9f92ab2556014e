"""MMEW (Ben et al. 2022), micro-expressions: 300 clips of 30 subjects, 90 frames per second.

`mmew:FOLDER` with the sheet `MMEW_Micro_Exp.xlsx` and the frames as
``Micro_Expression/disgust/S01-05-001/1.jpg``. The folder of a clip is its emotion. If it does
not agree with the sheet, the clip is searched for in the other folders; it keeps the emotion of the
sheet and gets a note. Some rows state an apex or offset beyond the frames.
"""

from collections.abc import Iterator

from miex.datasets.clips.annotations import Annotation
from miex.datasets.clips.base import ClipReader, register_clips
from miex.datasets.clips.database import (
    CODED_COLUMNS,
    About,
    SheetLayout,
    open_sheet_database,
    read_annotation,
)
from miex.datasets.clips.sheets import Row
from miex.datasets.faces.base import SourceSpec
from miex.datasets.registry import Facts

_EMOTION_FOLDERS = (
    *("anger", "disgust", "fear", "happiness", "others", "repression", "sadness", "surprise"),
)
"""Some copies call the folder of `others` `repression`."""


def _read(row: Row) -> Annotation:
    """Return the annotation of a row."""
    number = row.text("subject").upper().removeprefix("S")
    return read_annotation(row, subject=f"S{number.zfill(2)}")


def _places(annotation: Annotation) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the folder of the sheet's emotion, then the others."""
    stated = annotation.emotion_text.lower()
    yield (stated, annotation.clip), ""
    for folder in _EMOTION_FOLDERS:
        if folder != stated:
            yield (folder, annotation.clip), f"is in the folder {folder}, not {stated}"


_LAYOUT = SheetLayout(
    about=About(
        name="mmew",
        licence="MMEW: research under a signed agreement, no redistribution",
        fps=90.0,
        published=300,
    ),
    sheets=("MMEW_Micro_Exp.xlsx", "MMEW_Final/MMEW_Micro_Exp.xlsx", "MMEW_Micro_Exp.csv"),
    required=CODED_COLUMNS,
    optional={},
    read=_read,
    images=("MMEW_Final/Micro_Expression", "Micro_Expression"),
    places=_places,
)


_FACTS = Facts(
    about="MMEW: 300 micro-expressions, 90 fps (Ben et al. 2022)",
    title="MMEW",
    written="mmew:FOLDER",
    found_by=(
        "MMEW_Micro_Exp.xlsx",
        "MMEW_Micro_Exp.csv",
    ),
)


@register_clips("mmew", _FACTS)
def open_mmew(spec: SourceSpec, frames: bool) -> ClipReader:
    """Open `mmew:FOLDER`, with the options `sheet`, `images` and `corrections`."""
    return open_sheet_database(_LAYOUT, spec, frames)
