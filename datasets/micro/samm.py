"""SAMM (Davison et al. 2018): 159 clips of 29 subjects, grey, 200 frames per second.

`samm:FOLDER` with the sheet `SAMM_Micro_FACS_Codes_v2.xlsx`, whose table is below a block of
notes, and the frames as ``006/006_1_2/006_05562.jpg``. The numbers of the files are padded to four
digits in some clips and to five in others. Subjects are numbers in the sheet and three digits in
the names of the folders. Some AU cells are ambiguous ("R12 or R15"); they are returned
unchanged.
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
    return read_annotation(row, subject=row.text("subject").zfill(3))


_LAYOUT = SheetLayout(
    about=About(
        name="samm",
        licence="SAMM: research under a signed agreement, no redistribution",
        fps=200.0,
        published=159,
    ),
    sheets=(
        "SAMM_Micro_FACS_Codes_v2.xlsx",
        "SAMM_20181215_Micro_FACS_Codes_v2.xlsx",
        "SAMM_Micro_FACS_Codes_v2.csv",
    ),
    required=CODED_COLUMNS,
    optional={"objective_class": ("Objective Classes", "Objective Class")},
    read=_read,
    images=("SAMM", "SAMM_CROP", "."),
    places=lambda annotation: [((annotation.subject, annotation.clip), "")],
)


_FACTS = Facts(
    about="SAMM: 159 micro-expressions, 200 fps (Davison et al. 2018)",
    title="SAMM",
    written="samm:FOLDER",
    found_by=(
        "SAMM_*Micro_FACS_Codes*.xlsx",
        "SAMM_*Micro_FACS_Codes*.csv",
    ),
)


@register_clips("samm", _FACTS)
def open_samm(spec: SourceSpec, frames: bool) -> ClipReader:
    """Open `samm:FOLDER`, with the options `sheet`, `images` and `corrections`."""
    return open_sheet_database(_LAYOUT, spec, frames)
