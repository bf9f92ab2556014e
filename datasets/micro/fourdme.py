"""4DME (Li et al. 2022), grey videos: 267 clips.

`fourdme:FOLDER` with the sheet `4DME_Labelling_Micro_release v1.xlsx` and the frames as
``gray_micro/<sub_ID>/<fold_name>/``. Emotions are coarse and a clip may have several. Emotions of
one class are merged (negative and repression are negative); a clip whose emotions belong to
different classes is left out and counted. AUs marked ``(k)`` are doubtful; the text is returned
unchanged. The sheet does not state the frame rate.
"""

import re

from miex.datasets.base import Rejection
from miex.datasets.clips.annotations import Annotation
from miex.datasets.clips.base import ClipReader, origin_of, register_clips
from miex.datasets.clips.database import ABSENT, About, SheetLayout, open_sheet_database
from miex.datasets.clips.sheets import Row
from miex.datasets.faces.base import SourceSpec
from miex.datasets.labels import LABEL_SPACES, Emotion, parse_emotion
from miex.datasets.registry import Facts

NAME = "fourdme"

_EMOTION_COLUMNS = ("positive", "negative", "surprise", "repression", "others")

_SWAPPED_ROWS = (146, 147)
"""Rows of Excel whose AUs and labels are interchanged (MEB counts the clips from 0: 144 and 145;
tvaranka/meb, meb/datasets). The rows do not show it, and the names of the clips are not published,
so that an exchange by row number could damage another version of the sheet: both are left out and
counted."""

_CLASSES = LABEL_SPACES["three_class"]


def _read(row: Row) -> Annotation | Rejection:
    """Return the annotation of a row; a rejection if its emotions have different classes."""
    subject, clip = row.text("subject"), row.text("clip")
    marked = _emotions(row)
    text = "+".join(marked)
    classes = {_CLASSES.merge[emotion] for emotion in marked}
    if row.number in _SWAPPED_ROWS:
        detail = f"{row.where}: its labels are those of the neighbouring row (MEB)"
        return Rejection(origin_of(NAME, subject, clip), "labels_swapped", detail)
    if len(marked) > 1 and (len(classes) > 1 or None in classes):
        detail = f"{row.where}: {text} belong to different classes"
        return Rejection(origin_of(NAME, subject, clip), "several_emotions", detail)
    notes = [f"several emotions of one class: {text}"] if len(marked) > 1 else []
    return Annotation(
        subject=subject,
        clip=clip,
        emotion=_common(marked),
        emotion_text=text,
        onset=row.frame("onset"),
        apex=row.optional_frame("apex", ABSENT),
        offset=row.frame("offset"),
        where=row.where,
        aus=row.optional_text("aus"),
        notes=tuple(notes),
    )


def _emotions(row: Row) -> list[Emotion]:
    """Return the emotions of the column Emotion, or of the columns that are marked with 1."""
    written = row.optional_text("emotion")
    if written is None:
        names = [name for name in _EMOTION_COLUMNS if row.optional_text(name) == "1"]
    else:
        names = [name for name in re.split(r"[+/,&]", written) if name.strip()]
    if not names:
        columns = ", ".join(_EMOTION_COLUMNS)
        raise row.error("emotion", f"no emotion here and none marked with 1 in {columns}")
    try:
        return list(dict.fromkeys(parse_emotion(name) for name in names))
    except ValueError as error:
        raise row.error("emotion", str(error)) from None


def _common(marked: list[Emotion]) -> Emotion:
    """Return the only emotion, or the coarse emotion of several."""
    return marked[0] if len(marked) == 1 else Emotion(str(_CLASSES.merge[marked[0]]))


_LAYOUT = SheetLayout(
    about=About(
        name=NAME,
        licence="4DME: research under a signed agreement, no redistribution",
        fps=None,
        published=267,
    ),
    sheets=("4DME_Labelling_Micro_release v1.xlsx",),
    required={
        "subject": ("sub_ID", "sub_ID'"),
        "clip": ("fold_name",),
        "onset": ("Onset",),
        "apex": ("Apex",),
        "offset": ("Offset",),
        "aus": ("AUs",),
    },
    optional={"emotion": ("Emotion",), **{name: (name,) for name in _EMOTION_COLUMNS}},
    read=_read,
    images=("gray_micro", "gray_micro_crop"),
    places=lambda annotation: [
        ((annotation.subject, annotation.clip), ""),
        ((annotation.clip,), ""),
    ],
)


_FACTS = Facts(
    about="4DME, grey videos: 267 micro-expressions (Li et al. 2022)",
    title="4DME",
    written="fourdme:FOLDER",
    found_by=("4DME_Labelling_Micro*.xlsx",),
)


@register_clips(NAME, _FACTS)
def open_fourdme(spec: SourceSpec, frames: bool) -> ClipReader:
    """Open `fourdme:FOLDER`, with the options `sheet`, `images` and `corrections`."""
    return open_sheet_database(_LAYOUT, spec, frames)
