"""Draws the frames of fictitious clips: real sample faces whose expression grows and falls."""

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

INTENSITY = 1.5
"""Intensity of an AU that a sheet states without a letter: one that can be seen."""

MAX_INTENSITY = 2.0
"""Up to which `warp` is believable."""

TYPICAL_AUS = {
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
"""What is drawn where a database has no AUs: prototypes of Ekman and Friesen's EMFACS; for the
coarse emotions, and for disgust, those of the micro-expressions in CASME II."""


@dataclass(frozen=True, slots=True)
class Take:
    """One clip to draw.

    Attributes:
        subject: Number of the subject, from 1.
        clip: Its name.
        emotion: As the database writes it.
        aus: AU text as the sheet has it; may be empty.
        onset: Frame number.
        apex: Frame number.
        offset: Frame number.
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
        """Frames from onset to offset."""
        return range(self.onset, self.offset + 1)


@dataclass(slots=True)
class Artist:
    """Draws frames and writes files; remembers what it planted.

    Attributes:
        generator: Renders.
        faces: Who may be shown; a subject is shown by the same one in every database.
        seed: Of the strength of each clip.
        quirks: What was planted, for people.
        listed: How many clips were written into the annotation.
    """

    generator: FaceGenerator[Any]
    faces: Sequence[Face]
    seed: int
    quirks: list[str] = field(default_factory=list)
    listed: int = 0
    _states: dict[int, Any] = field(default_factory=dict)

    def frames(self, take: Take) -> dict[int, Frame]:
        """The frames of a take by their number."""
        strength = np.random.default_rng([self.seed, take.subject, take.onset]).uniform(0.8, 1.2)
        course = [_course(number, take) for number in take.numbers]
        peak = drawn_aus(take.aus or TYPICAL_AUS.get(take.emotion.lower(), ""), strength)
        aus = np.outer(np.array(course, np.float32), peak)
        state = self._state((take.subject - 1) % len(self.faces))
        images = self.generator.render([state] * len(aus), aus.astype(np.float32))
        return dict(zip(take.numbers, images, strict=True))

    def _state(self, face: int) -> Any:
        if face not in self._states:
            self._states[face] = self.generator.prepare(self.faces[face])
        return self._states[face]

    def plant(self, quirk: str) -> None:
        """Remembers a quirk."""
        self.quirks.append(quirk)


def drawn_aus(text: str, strength: float = 1.0) -> AUArray:
    """What `Artist` draws for an AU text, ``float32 (17,)``.

    Args:
        text: AU text of a sheet; of alternatives the first is drawn. Empty for no motion.
        strength: Factor on every intensity.
    """
    if not text:
        return np.zeros(17, np.float32)
    stated = parse_facs(text, alternatives="first").intensities
    aus = np.where(np.isnan(stated), INTENSITY, stated) * strength
    return np.asarray(np.clip(aus, 0, MAX_INTENSITY), dtype=np.float32)


def _course(number: int, take: Take) -> float:
    """Strength of the expression in a frame, 0 to 1: linear from onset to apex to offset."""
    if number <= take.apex:
        return (number - take.onset) / max(take.apex - take.onset, 1)
    return (take.offset - number) / (take.offset - take.apex)


def write_image(path: Path, frame: Frame, grey: bool = False) -> None:
    """Writes a frame in the format of the file's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(frame)
    # Formats other than JPEG know no quality and ignore it.
    (image.convert("L") if grey else image).save(path, quality=95)


def write_sheet(
    path: Path,
    rows: Iterable[Sequence[object]],
    title: str = "Sheet1",
    empty_sheets: Sequence[str] = (),
) -> None:
    """Writes an Excel file with one table, and further sheets that are empty."""
    book = Workbook()
    sheet = book.worksheets[0]
    sheet.title = title
    for row in rows:
        sheet.append(list(row))
    for name in empty_sheets:
        book.create_sheet(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)
