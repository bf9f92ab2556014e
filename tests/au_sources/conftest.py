import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from miex.au_sources.action_units import AU_COUNT, AU_NUMBERS
from miex.au_sources.estimators.base import Estimates
from miex.datasets.clips.base import ApexRule, Clip
from miex.datasets.clips.report import make_report
from miex.datasets.labels import Emotion


@pytest.fixture(scope="session")
def sheet_column() -> Callable[[Path, str], list[str | float]]:
    """Reads a column of a workbook's first sheet, by its letter."""
    return _sheet_column


def _sheet_column(path: Path, column: str) -> list[str | float]:
    """A column of the first sheet without its header, as a spreadsheet reader gives it."""
    space = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    with zipfile.ZipFile(path) as file:
        strings = [
            "".join(text.text or "" for text in item.iter(f"{space}t"))
            for item in ElementTree.fromstring(file.read("xl/sharedStrings.xml"))
        ]
        sheet = ElementTree.fromstring(file.read("xl/worksheets/sheet1.xml"))
    cells = [
        (cell, cell.findtext(f"{space}v"))
        for cell in sheet.iter(f"{space}c")
        if re.fullmatch(rf"{column}\d+", cell.get("r", ""))
    ]
    return [
        strings[int(value)] if cell.get("t") == "s" else float(value)
        for cell, value in cells[1:]
        if value is not None
    ]


class NumberedFrames:
    """Frames whose pixels are their number."""

    def __init__(self, numbers):
        self.numbers = list(numbers)

    def images(self, numbers):
        for number in numbers:
            yield np.full((4, 4, 3), number, dtype=np.uint8)


class ListReader:
    """A database of a few clips, with one rejection of its own if asked."""

    name = "listed"
    licence = "terms of listed"

    def __init__(self, clips, rejections=()):
        self._clips, self._rejections = list(clips), list(rejections)

    def clips(self):
        return self._clips

    def report(self):
        return make_report(
            self.name, Path("."), None, None, None, self._clips, [], self._rejections
        )


class FrameEstimator:
    """Measures AU01 to AU26 as a function of the frame's number; None where there is no face."""

    name, version, scale, needs_landmarks = "fake", "fake 1", "intensity", False
    aus = AU_NUMBERS[:-1]

    def __init__(self, intensity):
        self._intensity = intensity
        self.seen = []

    def estimate(self, images, landmarks=None):
        numbers = [int(image[0, 0, 0]) for image in images]
        self.seen += numbers
        aus = np.full((len(images), AU_COUNT), np.nan, dtype=np.float32)
        for row, number in enumerate(numbers):
            value = self._intensity(number)
            if value is not None:
                aus[row, :-1] = value
        return Estimates(aus, ~np.isnan(aus[:, 0]))


@pytest.fixture(scope="session")
def frame_estimator():
    return FrameEstimator


@pytest.fixture(scope="session")
def reader_of():
    """Makes a database of clips; each is given by what differs from a clip of frames 1 to 20."""

    def make(*changes, rejections=()):
        clips = []
        for number, change in enumerate(changes):
            values = {
                "database": "listed",
                "subject": f"s{number}",
                "clip": f"c{number}",
                "emotion": Emotion.SURPRISE,
                "emotion_text": "surprise",
                "onset": 1,
                "apex": 11,
                "offset": 20,
                "apex_rule": ApexRule.ANNOTATED,
                "frames": NumberedFrames(range(1, 21)),
                "annotation": f"row {number}",
            }
            clips.append(Clip(**(values | change)))
        return ListReader(clips, rejections)

    return make
