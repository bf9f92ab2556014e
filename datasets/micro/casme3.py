"""CAS(ME)3 (Li et al. 2023), parts A and C, 30 frames per second.

Part A has 860 clips of 94 subjects in ``cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx``, with
text cells. `Filename` names a video that may have several clips, so that the name of a clip
consists of its video and its onset. The frames are ``spNO.1/a/color/355.jpg`` (whole videos) or
``spNO.1_a_355/355.jpg`` (the release of clips); copies write spNo. Part C (mock crime) has
165 clips in ``CAS(ME)3_part_C_ME.xlsx``, without apex, with coarse emotions, and with commas
between the AUs.
"""

from collections.abc import Iterator
from dataclasses import replace

from miex.datasets.clips.annotations import Annotation
from miex.datasets.clips.base import ApexRule, ClipReader, register_clips
from miex.datasets.clips.database import (
    About,
    SheetLayout,
    open_sheet_database,
    read_annotation,
)
from miex.datasets.clips.sheets import Row
from miex.datasets.faces.base import SourceSpec
from miex.datasets.registry import Facts

_LICENCE = "CAS(ME)3: research under a signed agreement, no redistribution of its images"


def _read_a(row: Row) -> Annotation:
    """Return the annotation of a row of part A."""
    video, onset = row.text("video").lower(), row.frame("onset")
    return read_annotation(row, row.text("subject"), clip=f"{video}_{onset}")


def _places_a(annotation: Annotation) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the places of whole videos, then of the release of clips."""
    video = annotation.clip.partition("_")[0]
    yield (annotation.subject, video, "color"), ""
    yield (f"{annotation.subject}_{annotation.clip}",), ""


def _read_c(row: Row) -> Annotation:
    """Return the annotation of a row of part C."""
    annotation = read_annotation(row, row.text("subject"))
    return replace(annotation, apex_rule=ApexRule.MIDDLE_FRAME)


def _places_c(annotation: Annotation) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield a folder per clip (as in MEB), then whole videos; subjects with and without padding."""
    for subject in dict.fromkeys((annotation.subject.zfill(2), annotation.subject)):
        yield (subject, annotation.clip, "color"), ""
        yield (subject, "color"), ""


_PARTS = {
    "A": SheetLayout(
        about=About("casme3", _LICENCE, fps=30.0, published=860),
        sheets=(
            "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx",
            "annotation/cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx",
        ),
        required={
            "subject": ("Subject",),
            "video": ("Filename",),
            "onset": ("Onset",),
            "apex": ("Apex",),
            "offset": ("Offset",),
            "aus": ("AU",),
            "emotion": ("emotion",),
        },
        optional={"objective_class": ("Objective class",)},
        read=_read_a,
        images=("part_A", "Part_A_ME_clip/frame", "Part_A_ME_clip", "ME_A"),
        places=_places_a,
    ),
    "C": SheetLayout(
        about=About("casme3", _LICENCE, fps=30.0, published=165),
        sheets=("CAS(ME)3_part_C_ME.xlsx", "annotation/CAS(ME)3_part_C_ME.xlsx"),
        required={
            "subject": ("sub",),
            "clip": ("count",),
            "onset": ("onset",),
            "offset": ("offset",),
            "aus": ("au",),
            "emotion": ("emotion",),
        },
        optional={},
        read=_read_c,
        images=("part_C", "ME_C"),
        places=_places_c,
    ),
}


_FACTS = Facts(
    about="CAS(ME)^3: 860 micro-expressions of part A, 165 of part C, 30 fps (Li et al. 2023)",
    title="CAS(ME)^3",
    written="casme3:FOLDER",
    found_by=(
        "cas(me)3_part_A_ME*.xlsx",
        "cas(me)3_part_C_ME*.xlsx",
    ),
)


@register_clips("casme3", _FACTS)
def open_casme3(spec: SourceSpec, frames: bool) -> ClipReader:
    """Open `casme3:FOLDER?part=A` or C, with the options `sheet`, `images` and `corrections`."""
    part = spec.options.get("part", "A").upper()
    if part not in _PARTS:
        raise ValueError(f"casme3: part {part!r} is unknown; there are A (default) and C")
    return open_sheet_database(_PARTS[part], spec, frames, "part")
