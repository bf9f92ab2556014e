"""CASME II (Yan et al. 2014): 255 clips of 26 subjects, 200 frames per second.

`casme2:FOLDER` with the sheet `CASME2-coding-*.xlsx` and the frames as the archives unpack. The
files of a clip are ``img46.jpg``, in the cropped release ``reg_img46.jpg``; numbers are not padded.
Subjects share file names. An apex that was not found is written ``/``.
"""

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


def _read(row: Row) -> Annotation:
    """Return the annotation of a row."""
    number = row.text("subject").lower().removeprefix("sub")
    return read_annotation(row, subject=f"sub{number.zfill(2)}")


_LAYOUT = SheetLayout(
    about=About(
        name="casme2",
        licence="CASME II: research under a signed agreement, no redistribution",
        fps=200.0,
        published=255,
    ),
    sheets=(
        "CASME2-coding-20190701.xlsx",
        "CASME2-coding-20140508.xlsx",
        "CASME2-coding-updated.xlsx",
        "CASME2-coding.xlsx",
        "CASME2-coding.csv",
    ),
    required=CODED_COLUMNS,
    optional={},
    read=_read,
    images=(
        "CASME2_RAW_selected/CASME2_RAW_selected",
        "CASME2_RAW_selected",
        "Cropped-updated/Cropped",
        "Cropped/Cropped",
        "Cropped",
    ),
    places=lambda annotation: [((annotation.subject, annotation.clip), "")],
)


_FACTS = Facts(
    about="CASME II: 255 micro-expressions of 26 subjects, 200 fps (Yan et al. 2014)",
    title="CASME II",
    written="casme2:FOLDER",
    found_by=(
        "CASME2-coding*.xlsx",
        "CASME2-coding*.csv",
    ),
)


@register_clips("casme2", _FACTS)
def open_casme2(spec: SourceSpec, frames: bool) -> ClipReader:
    """Open `casme2:FOLDER`, with the options `sheet`, `images` and `corrections`."""
    return open_sheet_database(_LAYOUT, spec, frames)
