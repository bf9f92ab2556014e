"""RAVDESS (Livingstone and Russo 2018, PLoS ONE 13(5): e0196391): 24 actors, eight emotions.

`ravdess:FOLDER` with ``Actor_01/01-01-03-02-01-01-01.mp4``; other folders
in between, as ``Video_Speech_Actor_01``, are allowed. The name holds the annotation: modality,
vocal channel, emotion, intensity, statement, repetition, actor. Everybody may download it
(zenodo.org, record 1188976) under CC BY-NC-SA 4.0. A clip starts near rest and its apex is not
annotated. The actors speak or sing, so that mouth AUs (12, 25, 26) also follow the words.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from miex.datasets.base import Rejection
from miex.datasets.clips.annotations import Annotation
from miex.datasets.clips.base import ApexRule, ClipReader, origin_of, register_clips
from miex.datasets.clips.database import About, ClipDatabase
from miex.datasets.clips.folders import natural
from miex.datasets.clips.frames import VIDEO_SUFFIXES, VideoFrames
from miex.datasets.faces.base import SourceSpec
from miex.datasets.labels import Emotion
from miex.datasets.paths import Unusable, walk_files
from miex.datasets.registry import Facts

ABOUT = About(
    name="ravdess",
    licence="RAVDESS: CC BY-NC-SA 4.0; cite Livingstone and Russo, PLoS ONE 2018",
    fps=30.0,
)

_EMOTIONS = {
    "03": Emotion.HAPPINESS,
    "04": Emotion.SADNESS,
    "05": Emotion.ANGER,
    "06": Emotion.FEAR,
    "07": Emotion.DISGUST,
    "08": Emotion.SURPRISE,
}
_NO_EXPRESSION = {"01": "neutral", "02": "calm"}
_CHANNELS = {"01": "speech", "02": "song"}
_INTENSITIES = {"01": "normal", "02": "strong"}
_AUDIO = "03"
_NAME = re.compile(r"(0[1-3])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(\d\d)")


def scan(
    root: Path, channel: str | None, intensity: str | None
) -> Iterator[Annotation | Rejection]:
    """Yield the annotation of each recording, or its rejection.

    Args:
        root: The folder.
        channel: Take only ``speech`` or ``song``.
        intensity: Take only ``normal`` or ``strong`` expressions.
    """
    seen: set[str] = set()
    videos = []
    for found in walk_files(root):
        if isinstance(found, Unusable):
            yield Rejection(f"{ABOUT.name}:{found.path}", found.reason, found.detail)
        elif found.suffix.lower() in VIDEO_SUFFIXES:
            videos.append(root / found)
    # The video with sound comes first; the video without sound shows the same recording.
    for path in sorted(videos, key=natural):
        where = path.relative_to(root).as_posix()
        match = _NAME.fullmatch(path.stem)
        if match is None:
            expected = "expected seven numbers of two digits, as 01-01-03-02-01-01-01"
            yield Rejection(f"{ABOUT.name}:{where}", "not_a_recording", f"{where}: {expected}")
            continue
        vocal, strength = _CHANNELS[match[2]], _INTENSITIES[match[4]]
        if channel in (None, vocal) and intensity in (None, strength):
            yield _recording(path, where, match, seen)


def _recording(
    path: Path, where: str, match: re.Match[str], seen: set[str]
) -> Annotation | Rejection:
    modality, vocal, emotion, strength, statement, repetition, actor = match.groups()
    subject, clip = f"Actor_{actor}", "-".join((vocal, emotion, strength, statement, repetition))
    origin = origin_of(ABOUT.name, subject, clip)
    if modality == _AUDIO:
        return Rejection(origin, "no_frames", f"{where}: sound only")
    if emotion in _NO_EXPRESSION:
        return Rejection(origin, "no_expression", f"{where}: {_NO_EXPRESSION[emotion]}")
    if origin in seen:
        return Rejection(origin, "duplicate", f"{where}: another file shows this recording")
    try:
        frames = VideoFrames.open(path)
    except ValueError as error:
        return Rejection(origin, "unreadable_video", str(error))
    seen.add(origin)
    return Annotation(
        subject=subject,
        clip=clip,
        emotion=_EMOTIONS[emotion],
        emotion_text=_EMOTIONS[emotion].value,
        onset=frames.numbers[0],
        apex=None,
        offset=frames.numbers[-1],
        where=where,
        apex_rule=ApexRule.NONE,
        fps=frames.fps,
        frames=frames,
    )


FACTS = Facts(
    about="RAVDESS: videos of 24 actors, eight emotions in two strengths, free for everybody "
    "(Livingstone and Russo 2018, CC BY-NC-SA 4.0)",
    title="RAVDESS",
    written="ravdess:FOLDER",
    found_by=("Actor_[0-2][0-9]",),
)


@register_clips("ravdess", FACTS)
def open_ravdess(spec: SourceSpec, frames: bool) -> ClipReader:
    """Open `ravdess:FOLDER`, with the options `channel` (speech, song) and `intensity`.

    The videos are the annotation, so that they are always opened.

    Raises:
        ValueError: An option has another value.
        FileNotFoundError: There is no such folder.
    """
    del frames
    options = spec.known_options("channel", "intensity")
    for name, known in (("channel", _CHANNELS), ("intensity", _INTENSITIES)):
        if name in options and options[name] not in known.values():
            raise ValueError(
                f"ravdess: {name}={options[name]!r} is unknown, expected "
                f"{' or '.join(known.values())}"
            )
    root = spec.existing_folder()
    channel, intensity = options.get("channel"), options.get("intensity")
    return ClipDatabase(ABOUT, root, lambda: scan(root, channel, intensity), images=root)
