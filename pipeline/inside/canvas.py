"""Records and drawing functions that the pictures of a recognizer share.

All pictures have a light background, also on a dark page, since they are saved as files as well.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from miex.pipeline.reports.motion_panel import heat_colours

PAPER, INK, QUIET, LINE = "#faf9f6", "#1c1b19", "#625e58", "#dcd8d0"

PANEL = 168
"""Side of an image on a sheet, in pixels."""

_GAP, _MARGIN, _SIDE = 8, 28, 190
_DIMMED, _OPAQUE = 0.6, 0.85
"""Brightness of the face and largest opacity of the heat map, as on motion panels of a sheet."""

_STYLE = (
    "text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif;"
    f"fill:{QUIET}}}"
    f"text.strong{{fill:{INK}}}text.title{{fill:{INK};font-size:17px}}text.small{{font-size:11px}}"
)

_MEDIA = {".png": "image/png", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture with its caption.

    Attributes:
        file: Name of the file, ending in ``.png`` or ``.svg``.
        caption: Description that can be understood without the rest of the page.
        content: Content of the file.
    """

    file: str
    caption: str
    content: bytes

    @property
    def address(self) -> str:
        """The picture as a ``data:`` address, for pages that load no other file."""
        media = _MEDIA[self.file[self.file.rindex(".") :]]
        return f"data:{media};base64,{base64.b64encode(self.content).decode()}"


@dataclass(frozen=True, slots=True)
class Section:
    """Pictures of one kind.

    Attributes:
        heading: Short heading.
        meaning: Explanation of the pictures and of their limitations.
        pictures: At least one picture.
    """

    heading: str
    meaning: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a sheet.

    Attributes:
        title: Title at the left of the row.
        details: Lines below the title.
        panels: Images ``uint8 (S, S, 3)`` RGB, or None for an empty cell.
        colour: Colour of the bar beside the title.
    """

    title: str
    details: Sequence[str]
    panels: Sequence[NDArray[np.uint8] | None]
    colour: str = LINE


def png_picture(file: str, caption: str, image: Image.Image) -> Picture:
    """Return an image as a picture in PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=6)
    return Picture(file, caption, buffer.getvalue())


def svg_picture(
    file: str, caption: str, size: tuple[float, float], parts: Sequence[str]
) -> Picture:
    """Return a drawing as a picture in SVG.

    Args:
        file: Name of the file.
        caption: Caption, also used as the text for screen readers.
        size: Width and height, pixels.
        parts: SVG elements.
    """
    width, height = (round(each) for each in size)
    drawing = Markup(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="{escape(caption)}"><style>{_STYLE}</style>'
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/>{"".join(parts)}</svg>'
    )
    return Picture(file, caption, drawing.encode())


def sheet(title: str, subtitle: str, heads: Sequence[str], rows: Sequence[Row]) -> Image.Image:
    """Draw rows of images with text beside them.

    Args:
        title: Title of the sheet.
        subtitle: Text below the title; it is wrapped.
        heads: Headings of the columns, wrapped into at most two lines.
        rows: Rows with one panel per column.
    """
    left = _MARGIN + _SIDE
    width = left + len(heads) * (PANEL + _GAP) + _MARGIN
    probe = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    notes = _wrapped(probe, subtitle, width - 2 * _MARGIN, 15)
    top = 66 + 20 * len(notes) + 44
    image = Image.new("RGB", (width, top + len(rows) * (PANEL + _GAP) + _MARGIN), PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((_MARGIN, 20), _fitting(draw, title, 26, width - 2 * _MARGIN), INK, _font(26))
    for place, note in enumerate(notes):
        draw.text((_MARGIN, 58 + 20 * place), note, QUIET, _font(15))
    for column, head in enumerate(heads):
        x = left + column * (PANEL + _GAP)
        lines = _wrapped(draw, head, PANEL, 14)[:2]
        for place, line in enumerate(lines):
            y = top - 8 - 17 * (len(lines) - place)
            draw.text((x, y), _fitting(draw, line, 14, PANEL), QUIET, _font(14))
    for number, row in enumerate(rows):
        _draw_row(image, row, top + number * (PANEL + _GAP))
    return image


def _draw_row(image: Image.Image, row: Row, top: int) -> None:
    draw = ImageDraw.Draw(image)
    draw.rectangle([_MARGIN, top, _MARGIN + 4, top + PANEL - 1], row.colour)
    x, room = _MARGIN + 14, _SIDE - 24
    draw.text((x, top + 2), _fitting(draw, row.title, 18, room), INK, _font(18))
    lines = [line for detail in row.details for line in _wrapped(draw, detail, room, 13)]
    for place, line in enumerate(lines[:8]):
        y = top + 30 + 17 * place
        draw.text((x, y), _fitting(draw, line, 13, room), QUIET, _font(13))
    for column, panel in enumerate(row.panels):
        if panel is not None:
            shown = Image.fromarray(panel).resize((PANEL, PANEL), Image.Resampling.BICUBIC)
            image.paste(shown, (_MARGIN + _SIDE + column * (PANEL + _GAP), top))


def overlaid(face: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Blend a heat map over a grey face.

    Args:
        face: ``uint8 (S, S, 3)`` RGB.
        heat: ``float32 (S, S)``, 0 to 1.

    Returns:
        ``uint8 (S, S, 3)`` RGB.
    """
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)[..., None] * _DIMMED
    opacity = np.clip(heat, 0, 1)[..., None] ** 0.6 * _OPAQUE
    blended = grey * (1 - opacity) + heat_colours(heat) * opacity
    return np.asarray(np.rint(blended), np.uint8)


def _wrapped(draw: ImageDraw.ImageDraw, text: str, width: float, size: int) -> list[str]:
    """Wrap a text into lines of at most `width` pixels; a longer word gets its own line."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and draw.textlength(longer, _font(size)) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _fitting(draw: ImageDraw.ImageDraw, text: str, size: int, width: float) -> str:
    """Shorten a text with an ellipsis if it is wider than `width` pixels."""
    if draw.textlength(text, _font(size)) <= width:
        return text
    while text and draw.textlength(text + "…", _font(size)) > width:
        text = text[:-1]
    return text.rstrip(" ,:") + "…"


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font that is part of Pillow and therefore equal on every machine."""
    return ImageFont.load_default(size)
