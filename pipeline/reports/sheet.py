"""Draw the contact sheet: one image with samples of a dataset and their motion."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from miex.au_sources.action_units import format_aus
from miex.datasets.dataset_format import DatasetFolder, decode_frames
from miex.datasets.files import whole_file
from miex.datasets.quantity import quantity
from miex.pipeline.reports.motion_panel import (
    Flow,
    flow_length,
    heat_colours,
    measure_flow,
    motion_panel,
)
from miex.pipeline.reports.overview import open_overview
from miex.pipeline.reports.selection import choose_samples, source_label
from miex.pipeline.workers import OnStage

_PANEL = 256
"""Side of a panel: twice the default frame of 128 pixels."""

_MOST_FRAMES = 6
"""Of a longer sample; with the motion panel the sheet stays under 2,000 pixels."""

_GAP, _GUTTER, _MARGIN = 6, 44, 48
_HEADER, _CAPTION = 176, 94
_BACKGROUND, _INK, _QUIET, _LINE = "#faf9f6", "#1c1b19", "#6c6862", "#dcd8d0"

CLASS_COLOURS = ("#0072b2", "#b85000", "#007a5a", "#a83f7c", "#8a6000", "#2b7bb9", "#555555")
"""By label; tells classes apart without colour vision (after Okabe & Ito 2008), and white text
is readable on each."""


@dataclass(frozen=True, slots=True)
class SheetCard:
    """One sample on the sheet.

    Attributes:
        row: The sample.
        numbers: Which of its frames are shown.
        frames: ``uint8 (len(numbers), S, S, 3)`` RGB.
        onset: ``uint8 (S, S, 3)`` RGB.
        flow: From the onset to the apex.
    """

    row: dict[str, Any]
    numbers: Sequence[int]
    frames: NDArray[np.uint8]
    onset: NDArray[np.uint8]
    flow: Flow


def contact_sheet(
    folder: Path,
    out: Path | None = None,
    *,
    samples: int = 24,
    seed: int = 0,
    on_stage: OnStage | None = None,
) -> Path:
    """Draw onset, apex and motion of a few samples into one PNG.

    Longer samples show up to six of their frames. The motion panel is the onset in grey under the
    optical flow from onset to apex, colour and arrows on one scale for the whole sheet. The sheet
    is at most 2,000 pixels wide; equal datasets give equal sheets.

    Args:
        folder: A finished dataset.
        out: The image file; `sheet.png` in the folder by default.
        samples: How many samples; balanced over classes, AU sources and identities.
        seed: Another seed shows other samples.
        on_stage: Progress callback; the stage is ``sheet``.

    Returns:
        Path of the image.

    Raises:
        FileNotFoundError: No dataset there, or a shard is missing.
        ValueError: The dataset is empty or damaged, or `samples` or `seed` is out of range.
    """
    dataset = open_overview(Path(folder))
    path = dataset.folder / "sheet.png" if out is None else Path(out)
    sheet = draw_contact_sheet(dataset, samples, seed, on_stage)
    with whole_file(path) as temporary:
        sheet.save(temporary, "PNG", compress_level=4)
    return path


def draw_contact_sheet(
    dataset: DatasetFolder, samples: int = 24, seed: int = 0, on_stage: OnStage | None = None
) -> Image.Image:
    """Draw what `contact_sheet` writes.

    Raises:
        FileNotFoundError: A shard is missing.
        ValueError: The dataset is empty or damaged, or `samples` or `seed` is out of range.
    """
    return draw_sheet(sheet_cards(dataset, samples, seed, on_stage), dataset)


def sheet_cards(
    dataset: DatasetFolder, samples: int, seed: int, on_stage: OnStage | None = None
) -> list[SheetCard]:
    """Return the samples of a sheet, balanced over classes, AU sources and identities.

    Raises:
        FileNotFoundError: A shard is missing.
        ValueError: The dataset is empty or damaged, or `samples` or `seed` is out of range.
    """
    rows = choose_samples(dataset, samples, seed)
    cards = []
    for number, row in enumerate(rows, start=1):
        cards.append(_card(row))
        if on_stage:
            on_stage("sheet", number, len(rows))
    if not cards:
        raise ValueError(
            f"{dataset.folder} holds no sample to show; its manifest lists every rejection"
        )
    return cards


def _card(row: dict[str, Any]) -> SheetCard:
    count, apex = len(row["frames"]), row["apex_index"]
    numbers = sorted({*np.linspace(0, count - 1, min(count, _MOST_FRAMES)).round().astype(int)})
    if apex not in numbers:
        nearest = min(numbers[1:], key=lambda number: abs(number - apex))
        numbers[numbers.index(nearest)] = apex
    kept = [row["frames"][number] for number in numbers]
    frames = decode_frames({"sample_id": row["sample_id"], "frames": kept})
    flow = measure_flow(frames[0], frames[numbers.index(apex)])
    return SheetCard({**row, "frames": None}, numbers, frames, frames[0], flow)


def draw_sheet(cards: Sequence[SheetCard], dataset: DatasetFolder) -> Image.Image:
    """Draw the sheet of some samples of a dataset."""
    panels = max(len(card.numbers) for card in cards) + 1
    columns = 2 if panels == 3 and len(cards) > 1 else 1
    card_width = panels * (_PANEL + _GAP) - _GAP
    width = max(2 * _MARGIN + columns * (card_width + _GUTTER) - _GUTTER, 900)
    lines = -(-len(cards) // columns)
    sheet = Image.new("RGB", (width, _HEADER + lines * (_PANEL + _CAPTION)), _BACKGROUND)
    scale = _motion_scale(cards)
    _draw_header(sheet, len(cards), dataset, scale)
    for number, card in enumerate(cards):
        line, column = divmod(number, columns)
        left = _MARGIN + column * (card_width + _GUTTER)
        _draw_card(sheet, (left, _HEADER + line * (_PANEL + _CAPTION)), card, scale, card_width)
    return sheet


def _motion_scale(cards: Sequence[SheetCard]) -> float:
    """Return the motion in pixels that gets the brightest colour: 75 % of the samples are below.

    The very longest vectors of a sample are errors of the flow and the few strongest samples are
    no measure for the others; neither may darken every panel.
    """
    peaks = [float(np.quantile(flow_length(card.flow), 0.995)) for card in cards]
    return max(0.1, float(np.quantile(peaks, 0.75)))


def _draw_header(sheet: Image.Image, shown: int, dataset: DatasetFolder, scale: float) -> None:
    draw = ImageDraw.Draw(sheet)
    counts, generator = dataset.manifest["counts"], dataset.manifest["inputs"]["generator"]["name"]
    right = sheet.width - _MARGIN
    draw.text((_MARGIN, 36), dataset.manifest["name"], _INK, _font(46))
    draw.text(
        (_MARGIN, 96),
        f"Synthetic micro-expressions: {shown} of {quantity(counts['written'], 'sample')}, "
        f"{quantity(counts['identities'], 'identity')}, generator {generator}",
        _QUIET,
        _font(22),
    )
    draw.text((_MARGIN, 130), "Onset, apex, and where the face moves", _QUIET, _font(22))
    bar = heat_colours(np.tile(np.linspace(0, 1, 240, dtype=np.float32), (14, 1)))
    sheet.paste(Image.fromarray(bar), (right - 240, 62))
    draw.text((right - 240, 84), "0", _QUIET, _font(18))
    draw.text((right, 84), f"{scale:.1f} px and more", _QUIET, _font(18), anchor="ra")
    draw.text((right, 34), "motion, pixels of the frame", _QUIET, _font(18), anchor="ra")
    draw.line([(_MARGIN, 164), (right, 164)], _LINE, 1)


def _draw_card(
    sheet: Image.Image, at: tuple[int, int], card: SheetCard, scale: float, width: int
) -> None:
    left, top = at
    apex = card.row["apex_index"]
    last = len(card.row["aus"]) - 1
    names = {last: "offset", 0: "onset", apex: "apex"}
    for place, (number, frame) in enumerate(zip(card.numbers, card.frames, strict=True)):
        image = Image.fromarray(frame).resize((_PANEL, _PANEL), Image.Resampling.BICUBIC)
        x = left + place * (_PANEL + _GAP)
        sheet.paste(image, (x, top))
        _tag(sheet, (x, top), names.get(number, f"{number}"))
    x = left + len(card.numbers) * (_PANEL + _GAP)
    sheet.paste(motion_panel(card.onset, card.flow, scale, _PANEL), (x, top))
    _draw_caption(sheet, (left, top + _PANEL + 12), card.row, width)


def _draw_caption(sheet: Image.Image, at: tuple[int, int], row: dict[str, Any], width: int) -> None:
    draw = ImageDraw.Draw(sheet)
    left, top = at
    pill = draw.textlength(row["emotion"], _font(19)) + 24
    colour = CLASS_COLOURS[row["label"] % len(CLASS_COLOURS)]
    draw.rounded_rectangle([left, top, left + pill, top + 28], 14, colour)
    draw.text((left + pill / 2, top + 14), row["emotion"], "#ffffff", _font(19), anchor="mm")
    aus = format_aus(np.asarray(row["aus"][row["apex_index"]], dtype=np.float32))
    fine = row["fine_emotion"]
    words = aus if fine in (None, "", row["emotion"]) else f"{fine}:  {aus}"
    x = left + pill + 12
    draw.text((x, top + 2), _fitting(draw, words, 21, left + width - x), _INK, _font(21))
    moved = f", moved {row['motion']:.2f} px" if row["motion"] is not None else ""
    small = f"{source_label(row)},  {row['identity']}{moved},  {row['sample_id']}"
    draw.text((left, top + 38), _fitting(draw, small, 17, width), _QUIET, _font(17))


def _tag(sheet: Image.Image, at: tuple[int, int], text: str) -> None:
    """Draw a small label in the corner of a frame, readable on any photograph."""
    draw = ImageDraw.Draw(sheet, "RGBA")
    x, y = at
    width = draw.textlength(text, _font(15))
    draw.rectangle([x, y + _PANEL - 24, x + width + 14, y + _PANEL - 1], (0, 0, 0, 150))
    draw.text((x + 7, y + _PANEL - 12), text, (255, 255, 255, 255), _font(15), anchor="lm")


def _fitting(draw: ImageDraw.ImageDraw, text: str, size: int, width: float) -> str:
    """Return the text, cut where it would be wider than `width`."""
    if draw.textlength(text, _font(size)) <= width:
        return text
    while text and draw.textlength(text + "…", _font(size)) > width:
        text = text[:-1]
    return text.rstrip(" ,:") + "…"


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
