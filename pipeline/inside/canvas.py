"""What the pictures of the inside of a recognizer have in common: records, sheets, SVG frames.

They are drawn on light paper, whatever the page around them: they stand as files of their own, too.
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
"""Side of a picture on a sheet, pixels."""

_GAP, _MARGIN, _SIDE = 8, 28, 190
_DIMMED, _OPAQUE = 0.6, 0.85
"""As on the motion panels of a contact sheet: a dark face, opaque where it is hot."""

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
        file: Name of its file, ``.png`` or ``.svg``.
        caption: What it shows, for people, complete without the page around it.
        content: The file's bytes.
    """

    file: str
    caption: str
    content: bytes

    @property
    def address(self) -> str:
        """The picture as a ``data:`` address, for a page that stands alone."""
        media = _MEDIA[self.file[self.file.rindex(".") :]]
        return f"data:{media};base64,{base64.b64encode(self.content).decode()}"


@dataclass(frozen=True, slots=True)
class Section:
    """Pictures of one kind.

    Attributes:
        heading: What they show, in few words.
        meaning: How to read them, and what they do not say.
        pictures: One or more.
    """

    heading: str
    meaning: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a sheet.

    Attributes:
        title: On its left.
        details: Below the title, one a line.
        panels: ``uint8 (S, S, 3)`` RGB each, None for an empty place.
        colour: Of a bar beside the title.
    """

    title: str
    details: Sequence[str]
    panels: Sequence[NDArray[np.uint8] | None]
    colour: str = LINE


def png_picture(file: str, caption: str, image: Image.Image) -> Picture:
    """A drawn image as a picture."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=6)
    return Picture(file, caption, buffer.getvalue())


def svg_picture(
    file: str, caption: str, size: tuple[float, float], parts: Sequence[str]
) -> Picture:
    """A drawing as a picture.

    Args:
        file: Name of its file.
        caption: What it shows; also what is read aloud in its place.
        size: Width and height.
        parts: Elements of SVG.
    """
    width, height = (round(each) for each in size)
    drawing = Markup(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="{escape(caption)}"><style>{_STYLE}</style>'
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/>{"".join(parts)}</svg>'
    )
    return Picture(file, caption, drawing.encode())


def sheet(title: str, subtitle: str, heads: Sequence[str], rows: Sequence[Row]) -> Image.Image:
    """Draws rows of panels with words beside them.

    Args:
        title: Of the sheet.
        subtitle: Below it, wrapped where it is long.
        heads: Of the columns, each wrapped into two lines at most.
        rows: With as many panels as there are columns.
    """
    left = _MARGIN + _SIDE
    width = left + len(heads) * (PANEL + _GAP) + _MARGIN
    probe = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    notes = wrapped(probe, subtitle, width - 2 * _MARGIN, 15)
    top = 66 + 20 * len(notes) + 44
    image = Image.new("RGB", (width, top + len(rows) * (PANEL + _GAP) + _MARGIN), PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((_MARGIN, 20), fitting(draw, title, 26, width - 2 * _MARGIN), INK, font(26))
    for place, note in enumerate(notes):
        draw.text((_MARGIN, 58 + 20 * place), note, QUIET, font(15))
    for column, head in enumerate(heads):
        x = left + column * (PANEL + _GAP)
        lines = wrapped(draw, head, PANEL, 14)[:2]
        for place, line in enumerate(lines):
            y = top - 8 - 17 * (len(lines) - place)
            draw.text((x, y), fitting(draw, line, 14, PANEL), QUIET, font(14))
    for number, row in enumerate(rows):
        _draw_row(image, row, top + number * (PANEL + _GAP))
    return image


def _draw_row(image: Image.Image, row: Row, top: int) -> None:
    draw = ImageDraw.Draw(image)
    draw.rectangle([_MARGIN, top, _MARGIN + 4, top + PANEL - 1], row.colour)
    x, room = _MARGIN + 14, _SIDE - 24
    draw.text((x, top + 2), fitting(draw, row.title, 18, room), INK, font(18))
    lines = [line for detail in row.details for line in wrapped(draw, detail, room, 13)]
    for place, line in enumerate(lines[:8]):
        y = top + 30 + 17 * place
        draw.text((x, y), fitting(draw, line, 13, room), QUIET, font(13))
    for column, panel in enumerate(row.panels):
        if panel is not None:
            shown = Image.fromarray(panel).resize((PANEL, PANEL), Image.Resampling.BICUBIC)
            image.paste(shown, (_MARGIN + _SIDE + column * (PANEL + _GAP), top))


def overlaid(face: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A heat map on a face.

    Args:
        face: ``uint8 (S, S, 3)`` RGB.
        heat: ``(S, S)``, 0 to 1.

    Returns:
        ``uint8 (S, S, 3)`` RGB.
    """
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)[..., None] * _DIMMED
    opacity = np.clip(heat, 0, 1)[..., None] ** 0.6 * _OPAQUE
    blended = grey * (1 - opacity) + heat_colours(heat) * opacity
    return np.asarray(np.rint(blended), np.uint8)


def wrapped(draw: ImageDraw.ImageDraw, text: str, width: float, size: int) -> list[str]:
    """The text in lines of at most `width` pixels; a longer word stands alone."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and draw.textlength(longer, font(size)) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def fitting(draw: ImageDraw.ImageDraw, text: str, size: int, width: float) -> str:
    """The text, cut where it would be wider than `width`."""
    if draw.textlength(text, font(size)) <= width:
        return text
    while text and draw.textlength(text + "…", font(size)) > width:
        text = text[:-1]
    return text.rstrip(" ,:") + "…"


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, the same on every machine."""
    return ImageFont.load_default(size)
