"""Clips in a folder per emotion: `FOLDER/SUBJECT/EMOTION/CLIP/1.png`, the last frame the apex."""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from miex.datasets.base import Rejection
from miex.datasets.clips.annotations import Annotation
from miex.datasets.clips.base import ApexRule, ClipReader, origin_of, register_clips
from miex.datasets.clips.database import About, ClipDatabase
from miex.datasets.clips.folders import subfolders
from miex.datasets.clips.frames import index_frames
from miex.datasets.faces.base import SourceSpec
from miex.datasets.labels import parse_emotion
from miex.datasets.registry import Facts

ABOUT = About(name="emotion_folders", licence="terms of your own clips", fps=None)


def scan(root: Path) -> Iterator[Annotation | Rejection]:
    """Yield the annotation of each clip folder."""
    for subject in subfolders(root, "*"):
        for emotion in subfolders(subject, "*"):
            for clip in subfolders(emotion, "*"):
                frames = index_frames(clip)
                where = clip.relative_to(root).as_posix()
                if not frames.files:
                    origin = origin_of(ABOUT.name, subject.name, clip.name)
                    yield Rejection(origin, "no_frames", f"{where}: no frames are there")
                    continue
                yield Annotation(
                    subject=subject.name,
                    clip=clip.name,
                    emotion=parse_emotion(emotion.name),
                    emotion_text=emotion.name,
                    onset=frames.numbers[0],
                    apex=frames.numbers[-1],
                    offset=frames.numbers[-1],
                    where=where,
                    apex_rule=ApexRule.LAST_FRAME,
                    frames=frames,
                )


def write_toy(folder: Path) -> Path:
    """Write two clips of two people."""
    for subject, emotion in (("p1", "happiness"), ("p2", "surprise")):
        clip = folder / subject / emotion / "first"
        clip.mkdir(parents=True)
        for number in range(1, 5):
            Image.new("RGB", (32, 32), (number * 20, 90, 90)).save(clip / f"{number}.png")
    (folder / "p2" / "surprise" / "empty").mkdir()
    return folder


@register_clips(
    "emotion_folders",
    Facts(
        about="clips in a folder per emotion, the last frame of each the apex",
        title="clips by emotion",
        written="emotion_folders:FOLDER",
        found_by=("emotion_folders.txt",),
        toy=write_toy,
    ),
)
def open_emotion_folders(spec: SourceSpec, frames: bool) -> ClipReader:
    """Open `emotion_folders:FOLDER`. The frames are the annotation, so they are read."""
    spec.known_options()
    root = spec.existing_path()
    return ClipDatabase(ABOUT, root, lambda: scan(root), images=root)
