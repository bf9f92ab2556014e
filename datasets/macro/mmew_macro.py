"""MMEW (Ben et al. 2022), macro-expressions: 900 samples of 30 subjects, 90 frames per second.

`mmew_macro:FOLDER` with ``Macro_Expression/S01/anger/S01-07-001.jpg``: images with the
same name up to the last number form one sequence; some copies have a folder per sequence, which is
read, too. The apex is not annotated, so that `Clip.apex` is None. Single images show no motion and
are left out and counted.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from miex.datasets.base import Rejection
from miex.datasets.clips.annotations import Annotation
from miex.datasets.clips.base import ApexRule, ClipReader, origin_of, register_clips
from miex.datasets.clips.database import About, ClipDatabase, find
from miex.datasets.clips.folders import frames_of, subfolders
from miex.datasets.clips.frames import FrameFolder
from miex.datasets.faces.base import SourceSpec
from miex.datasets.labels import parse_emotion
from miex.datasets.registry import Facts

_ABOUT = About(
    name="mmew_macro",
    licence="MMEW: research under a signed agreement, no redistribution",
    fps=90.0,
    published=900,
)

_IMAGES = ("MMEW_Final/Macro_Expression", "Macro_Expression")


def _scan(images: Path) -> Iterator[Annotation | Rejection]:
    """Yield the annotation of every sequence, or its rejection.

    Raises:
        ValueError: The name of a folder is no emotion.
    """
    for subject in subfolders(images, "S[0-9]*"):
        for folder in subfolders(subject, "*"):
            where = folder.relative_to(images).as_posix()
            try:
                emotion = parse_emotion(folder.name)
            except ValueError as error:
                raise ValueError(f"{folder}: {error}") from None
            for name, frames in _sequences(folder, subject.name, where):
                if isinstance(frames, Rejection):
                    yield frames
                    continue
                if len(frames.files) < 2:
                    origin = origin_of(_ABOUT.name, subject.name, name)
                    yield Rejection(origin, "single_frame", f"{where}: one image shows no motion")
                    continue
                yield Annotation(
                    subject=subject.name,
                    clip=name,
                    emotion=emotion,
                    emotion_text=folder.name,
                    onset=frames.numbers[0],
                    apex=None,
                    offset=frames.numbers[-1],
                    where=f"{where}/{name}",
                    apex_rule=ApexRule.NONE,
                    frames=frames,
                )


def _sequences(
    folder: Path, subject: str, where: str
) -> Iterator[tuple[str, FrameFolder | Rejection]]:
    """Yield single images grouped by their common name, then the folders."""
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.iterdir()):
        match = re.fullmatch(r"(.+?)[-_](\d+)", path.stem)
        if match and path.is_file() and not path.name.startswith("."):
            groups[match.group(1)].append(path)
    for name, paths in groups.items():
        wanted = {path.name for path in paths}
        yield name, frames_of(folder, (_ABOUT.name, subject, name), where, wanted)
    for below in subfolders(folder, "*"):
        yield below.name, frames_of(below, (_ABOUT.name, subject, below.name), where)


_FACTS = Facts(
    about="MMEW, macro-expressions (Ben et al. 2022)",
    title="MMEW macro",
    written="mmew_macro:FOLDER",
)


@register_clips("mmew_macro", _FACTS)
def open_mmew_macro(spec: SourceSpec, frames: bool) -> ClipReader:
    """Open `mmew_macro:FOLDER`, with the option `images`. The frames are the annotation."""
    options = spec.known_options("images")
    root = spec.existing_folder()
    images = find(_ABOUT.name, root, _IMAGES, "folder of frames", options.get("images"))
    return ClipDatabase(_ABOUT, root, lambda: _scan(images), images=images)
