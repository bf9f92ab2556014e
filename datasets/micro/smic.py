"""SMIC-HS (Li et al. 2013): 164 clips of 16 subjects, 100 frames per second.

`smic:FOLDER` with ``HS/s1/micro/negative/s1_ne_01/image559740.bmp``, raw or cropped
(``reg_image...``). There is no sheet: the emotion is the folder, onset and offset are the first and
the last file, and the apex is the middle frame. Numbers count the frames of the whole session and
are not padded. The folder ``non_micro`` is not read.
"""

from collections.abc import Iterator
from pathlib import Path

from miex.datasets.base import Rejection
from miex.datasets.clips.annotations import Annotation
from miex.datasets.clips.base import ApexRule, ClipReader, register_clips
from miex.datasets.clips.database import About, ClipDatabase, find
from miex.datasets.clips.folders import frames_of, subfolders
from miex.datasets.faces.base import SourceSpec
from miex.datasets.labels import parse_emotion
from miex.datasets.registry import Facts

_ABOUT = About(
    name="smic",
    licence="SMIC: research under a signed agreement, no redistribution",
    fps=100.0,
    published=164,
)

_IMAGES = ("SMIC_all_raw/HS", "SMIC_all_cropped/HS", "HS")
"""Possible folders of the subjects; the last one is the root itself."""

_SUBJECTS = "s[0-9]*"

_EMOTIONS = ("negative", "positive", "surprise")


def _scan(images: Path) -> Iterator[Annotation | Rejection]:
    """Yield the annotation of every clip in a folder of subjects, or its rejection."""
    for subject in subfolders(images, _SUBJECTS):
        for emotion in _EMOTIONS:
            for clip in subfolders(subject / "micro" / emotion, "*"):
                where = clip.relative_to(images).as_posix()
                frames = frames_of(clip, (_ABOUT.name, subject.name, clip.name), where)
                if isinstance(frames, Rejection):
                    yield frames
                    continue
                yield Annotation(
                    subject=subject.name,
                    clip=clip.name,
                    emotion=parse_emotion(emotion),
                    emotion_text=emotion,
                    onset=frames.numbers[0],
                    apex=None,
                    offset=frames.numbers[-1],
                    where=where,
                    apex_rule=ApexRule.MIDDLE_FRAME,
                    frames=frames,
                )


_FACTS = Facts(
    about="SMIC-HS: 164 micro-expressions of 16 subjects, 100 fps (Li et al. 2013)",
    title="SMIC-HS",
    written="smic:FOLDER",
    found_by=(
        "SMIC_all_raw",
        "SMIC_all_cropped",
    ),
)


@register_clips("smic", _FACTS)
def open_smic(spec: SourceSpec, frames: bool) -> ClipReader:
    """Open `smic:FOLDER`, with the option `images`; the frames are always read."""
    options = spec.known_options("images")
    root = spec.existing_folder()
    images = root
    if "images" in options or not subfolders(root, _SUBJECTS):
        images = find(_ABOUT.name, root, _IMAGES, "folder of subjects", options.get("images"))
    return ClipDatabase(_ABOUT, root, lambda: _scan(images), images=images)
