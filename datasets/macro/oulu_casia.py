"""Oulu-CASIA NIR&VIS (Zhao et al. 2011): 80 subjects, 480 sequences per condition, 25 fps.

`oulu_casia:FOLDER?spectrum=VL&light=Strong` with
``PreProcess_Img/VL_Acropped/Strong/P001/Anger/000.jpeg``. A condition is a spectrum (VL visible, NI
near infrared) and a light (Strong, Weak, Dark). A sequence starts with a neutral face and ends
at its peak. There are no AUs.
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
    name="oulu_casia",
    licence="Oulu-CASIA: research under a signed agreement, no redistribution",
    fps=25.0,
    published=480,
)

_SPECTRA = ("VL", "NI")
_LIGHTS = ("Strong", "Weak", "Dark")
_EMOTION_FOLDERS = ("Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise")


def _scan(images: Path, condition: str) -> Iterator[Annotation | Rejection]:
    """Yield the annotations of one condition.

    Args:
        images: Folder of the subjects.
        condition: ``VL_Strong``; the names of the clips begin with it.

    Raises:
        ValueError: The name of a folder is no emotion.
    """
    for subject in subfolders(images, "P[0-9]*"):
        for folder in subfolders(subject, "*"):
            where = folder.relative_to(images).as_posix()
            if folder.name.capitalize() not in _EMOTION_FOLDERS:
                expected = ", ".join(_EMOTION_FOLDERS)
                raise ValueError(f"{folder}: no emotion of this database, expected {expected}")
            name = f"{condition}_{folder.name}"
            frames = frames_of(folder, (_ABOUT.name, subject.name, name), where)
            if isinstance(frames, Rejection):
                yield frames
                continue
            last = frames.numbers[-1]
            yield Annotation(
                subject=subject.name,
                clip=name,
                emotion=parse_emotion(folder.name),
                emotion_text=folder.name,
                onset=frames.numbers[0],
                apex=last,
                offset=last,
                where=where,
                apex_rule=ApexRule.LAST_FRAME,
                frames=frames,
            )


_FACTS = Facts(
    about="Oulu-CASIA NIR&VIS: 80 subjects, 480 sequences per condition, 25 fps (Zhao et al. 2011)",
    title="Oulu-CASIA",
    written="oulu_casia:FOLDER",
    found_by=(
        "PreProcess_Img",
        "VL_Acropped",
        "NI_Acropped",
    ),
)


@register_clips("oulu_casia", _FACTS)
def open_oulu_casia(spec: SourceSpec, frames: bool) -> ClipReader:
    """Open `oulu_casia:FOLDER`, with the options `spectrum`, `light` and `images`.

    The frames are the annotation, so that they are always read. `images` is the folder with the
    folders of the spectra, if it has another name.
    """
    options = spec.known_options("spectrum", "light", "images")
    spectrum, light = options.get("spectrum", "VL"), options.get("light", "Strong")
    for value, known in ((spectrum, _SPECTRA), (light, _LIGHTS)):
        if value not in known:
            raise ValueError(f"oulu_casia: {value!r} is unknown, expected {' or '.join(known)}")
    root = spec.existing_folder()
    bases = [options["images"]] if "images" in options else ["PreProcess_Img", "PreProcess", "."]
    folders = [f"{base}/{spectrum}_Acropped/{light}" for base in bases]
    images = find(_ABOUT.name, root, folders, f"folder of {spectrum} {light}")
    condition = f"{spectrum}_{light}"
    return ClipDatabase(_ABOUT, root, lambda: _scan(images, condition), images=images)
