"""Animated pictures of a dataset: the contact sheet, and the flip of onset and apex in its card."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from miex.datasets.dataset_format import decode_frames
from miex.pipeline.reports.overview import open_overview
from miex.pipeline.reports.selection import choose_samples
from miex.pipeline.reports.sheet import SheetCard, draw_sheet, sheet_cards
from miex.pipeline.reports.video import HOLD_SECONDS, write_animation

FLIP = "flip.webp"
"""The flip of onset and apex, in the folder of a dataset."""

_FLIPPED = 8
_COLUMNS = 4
_SIDE = 192
_GAP = 4
_QUALITY = 90
"""Of lossy WebP: a lossless sheet of photographs has several megabytes."""

_STEP_SECONDS = 0.15
"""Time of a frame between onset and apex in an animated sheet."""


def animated_sheet(
    folder: Path, out: Path | None = None, *, samples: int = 24, seed: int = 0
) -> Path:
    """Draw a contact sheet whose faces move from onset to apex.

    Args:
        folder: A finished dataset.
        out: File that ends in .webp or .gif; `sheet.webp` in the folder by default.
        samples: Number of samples.
        seed: Another seed shows other samples.

    Returns:
        Path of the image.

    Raises:
        FileNotFoundError: The folder holds no finished dataset.
        ValueError: The dataset is empty or damaged, a number is out of range, or `out` has
            another suffix.
    """
    dataset = open_overview(Path(folder))
    path = dataset.folder / "sheet.webp" if out is None else Path(out)
    cards = sheet_cards(dataset, samples, seed)
    steps = max(len(card.numbers) for card in cards)
    pages = [
        np.asarray(draw_sheet([_at(card, step) for card in cards], dataset), np.uint8)
        for step in range(steps)
    ]
    inner = [_STEP_SECONDS] * max(0, steps - 2)
    write_animation(path, pages, [HOLD_SECONDS, *inner, HOLD_SECONDS][:steps], quality=_QUALITY)
    return path


def write_flip(folder: Path, out: Path | None = None, *, seed: int = 0) -> Path:
    """Write `flip.webp`: eight samples that change from onset to apex and back.

    Args:
        folder: A finished dataset.
        out: The image file; `flip.webp` in the folder by default.
        seed: Another seed shows other samples.

    Returns:
        The file.

    Raises:
        FileNotFoundError: The folder holds no finished dataset.
        ValueError: The dataset is empty or damaged.
    """
    dataset = open_overview(folder)
    rows = choose_samples(dataset, _FLIPPED, seed)
    pairs = np.stack([_pair(row) for row in rows])
    pages = [_grid(pairs[:, place]) for place in (0, 1)]
    path = folder / FLIP if out is None else out
    write_animation(path, pages, [HOLD_SECONDS, HOLD_SECONDS], quality=_QUALITY)
    return path


def _at(card: SheetCard, step: int) -> SheetCard:
    """Return a card that shows one of its frames; a shorter sample stands still at its end."""
    place = min(step, len(card.numbers) - 1)
    return replace(card, numbers=[card.numbers[place]], frames=card.frames[place : place + 1])


def _pair(row: dict[str, Any]) -> NDArray[np.uint8]:
    """Return onset and apex, ``uint8 (2, S, S, 3)``."""
    kept = [row["frames"][0], row["frames"][row["apex_index"]]]
    frames = decode_frames({"sample_id": row["sample_id"], "frames": kept})
    shown = [cv2.resize(each, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC) for each in frames]
    return np.asarray(shown, np.uint8)


def _grid(faces: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> NDArray[np.uint8]:
    columns = min(_COLUMNS, len(faces))
    lines = -(-len(faces) // columns)
    step = _SIDE + _GAP
    page = np.full((lines * step - _GAP, columns * step - _GAP, 3), 255, np.uint8)
    for number, face in enumerate(faces):
        top, left = (step * place for place in divmod(number, columns))
        page[top : top + _SIDE, left : left + _SIDE] = face
    return page
