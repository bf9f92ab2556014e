"""Contact sheets of an assessment, for the visual inspection of rendered faces."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from miex.au_sources.action_units import AU_NAMES, AU_WORDS, format_aus
from miex.datasets.base import Face
from miex.generators.base import FaceGenerator
from miex.pipeline.assessment.cases import Case, single_cases
from miex.pipeline.assessment.measure import render_cases
from miex.pipeline.reports.motion_panel import flow_length, measure_flow, motion_panel

_SINGLE_FACES = 3
"""Number of faces on the sheet of single AUs."""

_MICRO_FACES = 8
"""Number of faces on the sheet of micro-expressions."""

_PANEL, _LARGE = 128, 224
_GAP, _MARGIN, _LABEL, _HEADER = 3, 28, 178, 92
_BACKGROUND, _INK, _QUIET = "#faf9f6", "#1c1b19", "#6c6862"


def draw_single_sheet(
    faces: Sequence[Face], generator: FaceGenerator[Any], intensities: Sequence[float], label: str
) -> Image.Image:
    """Draw the sheet of single AUs, with one row per AU and one column per face and intensity.

    Args:
        faces: Faces, of which the first three are shown.
        generator: The generator.
        intensities: Intensities, 0 to 5, one column each beside the frame without AUs.
        label: Name of the generator.
    """
    shown = faces[:_SINGLE_FACES]
    cases = single_cases(intensities)
    columns = len(intensities) + 1
    group = columns * (_PANEL + _GAP) + 12
    width = 2 * _MARGIN + _LABEL + len(shown) * group
    sheet = Image.new(
        "RGB", (width, _HEADER + len(AU_NAMES) * (_PANEL + _GAP) + _MARGIN), _BACKGROUND
    )
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, 18), f"{label}: single AUs", _INK, _font(30))
    for person, face in enumerate(shown):
        rendered = render_cases(face, generator, cases)
        left = _MARGIN + _LABEL + person * group
        names = ["0", *(f"{intensity:g}" for intensity in intensities)]
        for column, name in enumerate(names):
            at = (left + column * (_PANEL + _GAP) + _PANEL / 2, _HEADER - 8)
            draw.text(at, name, _QUIET, _font(15), anchor="ms")
        for row in range(len(AU_NAMES)):
            first = row * len(intensities)
            numbers = [rendered.onset[first], *rendered.apex[first : first + len(intensities)]]
            for column, number in enumerate(numbers):
                at = left + column * (_PANEL + _GAP), _HEADER + row * (_PANEL + _GAP)
                sheet.paste(_panel(rendered.frames[number], _PANEL), at)
    for row, (name, words) in enumerate(zip(AU_NAMES, AU_WORDS, strict=True)):
        y = _HEADER + row * (_PANEL + _GAP) + _PANEL / 2
        draw.text((_MARGIN, y - 4), name, _INK, _font(22), anchor="ls")
        draw.text((_MARGIN, y + 4), words, _QUIET, _font(15), anchor="lt")
    return sheet


def draw_micro_sheet(
    faces: Sequence[Face],
    cases: Sequence[Sequence[Case]],
    generators: Sequence[FaceGenerator[Any]],
    labels: Sequence[str],
) -> Image.Image:
    """Draw the sheet of micro-expressions.

    Each row shows a photograph, and the onset, apex and motion that each generator renders.

    Args:
        faces: Faces, of which the first eight are shown.
        cases: Micro-expressions of each face. Row n shows number n of its face, so that the rows
            cover different classes and AU sources.
        generators: The generators.
        labels: Names of the generators.
    """
    shown = range(min(_MICRO_FACES, len(faces)))
    chosen = [cases[row][row % len(cases[row])] for row in shown]
    frames = [
        [_pair(faces[row], generator, chosen[row]) for generator in generators] for row in shown
    ]
    flows = [[measure_flow(*pair) for pair in row] for row in frames]
    peaks = [float(np.quantile(flow_length(flow), 0.995)) for row in flows for flow in row]
    scale = max(0.1, float(np.quantile(peaks, 0.75)))
    group = 3 * (_LARGE + _GAP) + 14
    line = _LARGE + 40
    width = 2 * _MARGIN + _LARGE + 14 + len(generators) * group
    sheet = Image.new("RGB", (width, _HEADER + len(shown) * line + 10), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, 14), "Micro-expressions", _INK, _font(30))
    draw.text(
        (width - _MARGIN, 24),
        f"onset, apex, motion up to {scale:.1f} px",
        _QUIET,
        _font(16),
        anchor="ra",
    )
    draw.text((_MARGIN, _HEADER - 10), "photograph", _QUIET, _font(16), anchor="ls")
    for column, label in enumerate(labels):
        x = _MARGIN + _LARGE + 14 + column * group
        draw.text((x, _HEADER - 10), label, _INK, _font(18), anchor="ls")
    for row in shown:
        top = _HEADER + row * line
        sheet.paste(_panel(faces[row].crop, _LARGE), (_MARGIN, top))
        case = chosen[row]
        words = f"{case.source}, {case.detail}:  {format_aus(case.apex)}"
        draw.text((_MARGIN, top + _LARGE + 5), words, _QUIET, _font(16))
        for column, (onset, apex) in enumerate(frames[row]):
            x = _MARGIN + _LARGE + 14 + column * group
            panels = [
                _panel(onset, _LARGE),
                _panel(apex, _LARGE),
                motion_panel(onset, flows[row][column], scale, _LARGE),
            ]
            for place, panel in enumerate(panels):
                sheet.paste(panel, (x + place * (_LARGE + _GAP), top))
    return sheet


def _pair(
    face: Face, generator: FaceGenerator[Any], case: Case
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rendered = render_cases(face, generator, [case])
    return rendered.frames[rendered.onset[0]], rendered.frames[rendered.apex[0]]


def _panel(frame: NDArray[np.uint8], side: int) -> Image.Image:
    image = Image.fromarray(frame)
    return image if image.width == side else image.resize((side, side), Image.Resampling.BICUBIC)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
