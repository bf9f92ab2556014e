"""SAMM (Davison et al. 2018): 159 clips of 29 subjects, grey, 200 frames a second.

`samm:FOLDER` with the sheet `SAMM_Micro_FACS_Codes_v2.xlsx`, whose table stands below a block of
notes, and the frames as ``006/006_1_2/006_05562.jpg``. The numbers of the files are padded to four
digits in some clips and to five in others. Subjects are numbers in the sheet and three digits in
the names of the folders. Some AU cells leave the AU open ("R12 or R15"); they are handed over as
they are.
"""

from miex.datasets.annotations import Annotation
from miex.datasets.clip_database import About, SheetLayout, open_sheet_database
from miex.datasets.clips import ClipReader, register_clips
from miex.datasets.faces.base import SourceSpec
from miex.datasets.sheets import Row


def read(row: Row) -> Annotation:
    """The annotation of a row."""
    return Annotation(
        subject=row.text("subject").zfill(3),
        clip=row.text("clip"),
        emotion=row.emotion(),
        emotion_text=row.text("emotion"),
        onset=row.frame("onset"),
        apex=row.optional_frame("apex", ("/", "-")),
        offset=row.frame("offset"),
        where=row.where,
        aus=row.optional_text("aus"),
        objective_class=row.objective_class(),
    )


LAYOUT = SheetLayout(
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
    required={
        "subject": ("Subject",),
        "clip": ("Filename",),
        "onset": ("Onset Frame",),
        "apex": ("Apex Frame",),
        "offset": ("Offset Frame",),
        "aus": ("Action Units",),
        "emotion": ("Estimated Emotion",),
    },
    optional={"objective_class": ("Objective Classes", "Objective Class")},
    read=read,
    images=("SAMM", "SAMM_CROP", "."),
    places=lambda annotation: [((annotation.subject, annotation.clip), "")],
)


@register_clips("samm")
def create(spec: SourceSpec, frames: bool) -> ClipReader:
    """`samm:FOLDER`, with the options `sheet`, `images` and `corrections`."""
    return open_sheet_database(LAYOUT, spec, frames)
