"""Rendering of the frames of fictitious clips: sample photographs with synthetic expressions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openpyxl import Workbook
from PIL import Image

from miex.au_sources.action_units import AUArray, parse_facs
from miex.datasets.base import Face
from miex.generators.base import FaceGenerator

Frame = NDArray[np.uint8]
"""``uint8 (H, W, 3)`` RGB."""

_INTENSITY = 1.5
"""Visible intensity, on the 0-5 scale, of an AU that a sheet states without an intensity."""

_MAX_INTENSITY = 2.0
"""Highest intensity at which frames of `warp` look natural."""

_TYPICAL_AUS = {
    "happiness": "6+12",
    "positive": "6+12",
    "surprise": "1+2+5+26",
    "sadness": "1+4+15",
    "fear": "1+2+4+5+20",
    "anger": "4+5+7+23",
    "disgust": "9+10+17",
    "negative": "4+7+17",
    "contempt": "R14",
}
"""AUs of an emotion in databases without AUs.

They are the prototypes of Ekman and Friesen's EMFACS; those of the coarse emotions and of disgust
are the AUs of the micro-expressions in CASME II.
"""


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """Description of one clip to render.

    Attributes:
        subject: Number of the subject, from 1.
        clip: Name of the clip.
        emotion: Emotion as the database spells it.
        aus: AUs as the annotation spells them; can be empty.
        onset: Number of the onset frame.
        apex: Number of the apex frame.
        offset: Number of the offset frame.
    """

    subject: int
    clip: str
    emotion: str
    aus: str
    onset: int
    apex: int
    offset: int

    @property
    def numbers(self) -> range:
        """Numbers of the frames from onset to offset."""
        return range(self.onset, self.offset + 1)


@dataclass(slots=True)
class ClipRenderer:
    """Renders the frames of clips and collects the irregularities of a fictitious database.

    Attributes:
        generator: The generator.
        faces: Faces of the subjects; a subject has the same face in every database.
        seed: Seed of the strength of each expression.
        quirks: Descriptions of the irregularities that the database contains.
        listed: Number of clips in the annotation.
    """

    generator: FaceGenerator[Any]
    faces: Sequence[Face]
    seed: int
    quirks: list[str] = field(default_factory=list)
    listed: int = 0
    _states: dict[int, Any] = field(default_factory=dict)

    def frames(self, spec: ClipSpec) -> dict[int, Frame]:
        """Render the frames of a clip, by frame number."""
        strength = np.random.default_rng([self.seed, spec.subject, spec.onset]).uniform(0.8, 1.2)
        course = [_course(number, spec) for number in spec.numbers]
        peak = _apex_aus(spec.aus or _TYPICAL_AUS.get(spec.emotion.lower(), ""), strength)
        aus = np.outer(np.array(course, np.float32), peak)
        state = self._state((spec.subject - 1) % len(self.faces))
        images = self.generator.render([state] * len(aus), aus.astype(np.float32))
        return dict(zip(spec.numbers, images, strict=True))

    def _state(self, face: int) -> Any:
        if face not in self._states:
            self._states[face] = self.generator.prepare(self.faces[face])
        return self._states[face]

    def note(self, quirk: str) -> None:
        """Record an irregularity of the database."""
        self.quirks.append(quirk)


def _apex_aus(text: str, strength: float) -> AUArray:
    """Return the AUs of an apex, ``float32 (17,)``, 0 to 2.

    Args:
        text: AUs as an annotation spells them; the first of several alternatives is used. An empty
            text gives no motion.
        strength: Factor on every intensity.
    """
    if not text:
        return np.zeros(17, np.float32)
    stated = parse_facs(text, alternatives="first").intensities
    aus = np.where(np.isnan(stated), _INTENSITY, stated) * strength
    return np.asarray(np.clip(aus, 0, _MAX_INTENSITY), dtype=np.float32)


def _course(number: int, spec: ClipSpec) -> float:
    """Return the strength of the expression in a frame, 0 to 1, piecewise linear with apex 1."""
    if number <= spec.apex:
        return (number - spec.onset) / max(spec.apex - spec.onset, 1)
    return (spec.offset - number) / (spec.offset - spec.apex)


def write_image(path: Path, frame: Frame, grey: bool = False) -> None:
    """Write a frame in the format that the file extension names, optionally in grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(frame)
    # Formats other than JPEG ignore the quality.
    (image.convert("L") if grey else image).save(path, quality=95)


def write_sheet(
    path: Path,
    rows: Iterable[Sequence[object]],
    title: str = "Sheet1",
    empty_sheets: Sequence[str] = (),
) -> None:
    """Write an Excel file with one table and optional empty sheets."""
    book = Workbook()
    sheet = book.worksheets[0]
    sheet.title = title
    for row in rows:
        sheet.append(list(row))
    for name in empty_sheets:
        book.create_sheet(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)
