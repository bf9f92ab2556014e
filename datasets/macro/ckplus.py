"""CK+ (Lucey et al. 2010): 593 sequences of 123 subjects, 327 of them with an emotion.

`ckplus:FOLDER` with ``cohn-kanade-images/S005/001/S005_001_00000011.png``,
``Emotion/S005/001/..._emotion.txt`` and ``FACS/S005/001/..._facs.txt``. A sequence starts with
a neutral face and ends at its peak. An emotion file holds one number, a FACS file one line per AU:
its number and its intensity 0 to 5, where 0 means present but not scored. Sequences without an
emotion file, or with one that cannot be read, are left out and counted. Sadness is negative (a
widely copied table has it as positive). The frame rate is not part of the data.
"""

from collections.abc import Iterator
from pathlib import Path

from miex.datasets.base import Rejection
from miex.datasets.cells import decimal
from miex.datasets.clips.annotations import Annotation
from miex.datasets.clips.base import ApexRule, ClipReader, origin_of, register_clips
from miex.datasets.clips.database import WITHOUT_IMAGES, About, ClipDatabase, find
from miex.datasets.clips.folders import frames_of, subfolders
from miex.datasets.faces.base import SourceSpec
from miex.datasets.labels import Emotion
from miex.datasets.lines import read_lines
from miex.datasets.registry import Facts

_ABOUT = About(
    name="ckplus",
    licence="CK+: research under a signed agreement, no redistribution",
    fps=None,
    published=593,
)

_EMOTIONS = {
    1: Emotion.ANGER,
    2: Emotion.CONTEMPT,
    3: Emotion.DISGUST,
    4: Emotion.FEAR,
    5: Emotion.HAPPINESS,
    6: Emotion.SADNESS,
    7: Emotion.SURPRISE,
}
"""Emotions by the numbers of the emotion files; 0 is neutral."""

_IMAGES = ("cohn-kanade-images", "extended-cohn-kanade-images/cohn-kanade-images")
_EMOTION_FOLDERS = ("Emotion", "Emotion_labels/Emotion")
_FACS_FOLDERS = ("FACS", "FACS_labels/FACS")


def _scan(
    images: Path | None, emotions: Path, facs: Path | None
) -> Iterator[Annotation | Rejection]:
    """Yield the annotation of every sequence, or its rejection.

    Args:
        images: Folder of the frames; without it the sequences are those of `emotions`.
        emotions: Folder of the emotion files.
        facs: Folder of the FACS files; None if there is none.
    """
    folder = images or emotions
    for subject in subfolders(folder, "S[0-9]*"):
        for sequence in subfolders(subject, "*"):
            key = (subject.name, sequence.name)
            origin = origin_of(_ABOUT.name, *key)
            try:
                label = _only_file(emotions.joinpath(*key), "_emotion.txt")
                number = None if label is None else _number(label)
                aus = _facs(_only_file(facs.joinpath(*key), "_facs.txt") if facs else None)
            except (ValueError, OSError) as error:
                yield Rejection(origin, "unreadable_annotation", str(error))
                continue
            if label is None or number is None:
                yield Rejection(origin, "no_emotion", "the sequence has no emotion file")
                continue
            if number not in _EMOTIONS:
                yield Rejection(origin, "neutral", f"{label.name}: emotion {number}")
                continue
            peak = int(label.name.split("_")[2])
            frames = frames_of(sequence, (_ABOUT.name, *key), "/".join(key)) if images else None
            if isinstance(frames, Rejection):
                yield frames
                continue
            last = peak if frames is None else frames.numbers[-1]
            yield Annotation(
                subject=subject.name,
                clip=sequence.name,
                emotion=_EMOTIONS[number],
                emotion_text=str(number),
                onset=1 if frames is None else frames.numbers[0],
                apex=last,
                offset=last,
                where=f"{'/'.join(key)}/{label.name}",
                aus=aus,
                apex_rule=ApexRule.LAST_FRAME,
                frames=frames,
                notes=() if last == peak else (f"the last frame is not the labelled {peak}",),
            )


def _only_file(folder: Path, ending: str) -> Path | None:
    if not folder.is_dir():
        return None
    found = sorted(p for p in folder.glob(f"*{ending}") if not p.name.startswith("."))
    if len(found) > 1:
        raise ValueError(f"{folder}: {len(found)} files end in {ending}, expected one")
    if found and (
        len(found[0].name.split("_")) != 4 or not found[0].name.split("_")[2].isdecimal()
    ):
        raise ValueError(f"{found[0]}: expected a name such as S005_001_00000011{ending}")
    return found[0] if found else None


def _numbers(path: Path) -> list[list[int]]:
    """Return the whole numbers of each line, which are written as ``3.0000000e+00``."""
    lines = list(read_lines(path, "file of CK+", "copy it again"))
    try:
        values = [[decimal(word) for word in line.text.split()] for line in lines]
    except ValueError as error:
        raise ValueError(f"{path}: text, expected numbers") from error
    if not all(value.is_integer() for line in values for value in line):
        raise ValueError(f"{path}: expected whole numbers")
    return [[int(value) for value in line] for line in values]


def _number(path: Path) -> int:
    values = _numbers(path)
    if [len(line) for line in values] != [1]:
        raise ValueError(f"{path}: expected one number, the emotion")
    return values[0][0]


def _facs(path: Path | None) -> str | None:
    """Return a FACS file in FACS notation: AU 1 at 0 and AU 4 at 5 are ``1+4E``."""
    if path is None:
        return None
    lines = _numbers(path)
    if any(len(line) != 2 or not 0 <= line[1] <= 5 for line in lines):
        raise ValueError(f"{path}: expected an AU and its intensity from 0 to 5 in each line")
    return "+".join(f"{au}{'ABCDE'[level - 1] if level else ''}" for au, level in lines) or None


_FACTS = Facts(
    about="CK+: sequences from neutral to peak (Lucey et al. 2010)",
    title="CK+",
    written="ckplus:FOLDER",
    found_by=("cohn-kanade-images",),
)


@register_clips("ckplus", _FACTS)
def open_ckplus(spec: SourceSpec, frames: bool) -> ClipReader:
    """Open `ckplus:FOLDER`, with the options `images`, `emotions` and `facs`."""
    options = spec.known_options("images", "emotions", "facs")
    root = spec.existing_folder()
    emotions = find(
        _ABOUT.name,
        root,
        _EMOTION_FOLDERS,
        "folder of emotions",
        options.get("emotions"),
        "emotions",
    )
    images = None
    if frames:
        given = options.get("images")
        images = find(_ABOUT.name, root, _IMAGES, "folder of frames", given, hint=WITHOUT_IMAGES)
    facs = next((root / name for name in _FACS_FOLDERS if (root / name).is_dir()), None)
    if "facs" in options:
        facs = find(
            _ABOUT.name, root, _FACS_FOLDERS, "folder of FACS files", options["facs"], "facs"
        )
    return ClipDatabase(_ABOUT, root, lambda: _scan(images, emotions, facs), emotions, images)
