"""Draw a sheet of training photographs: random ones, and the strongest of each AU.

Wrong labels become visible: for example, the row of AU12 must show smiles.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from miex.au_sources.action_units import AU_NAMES, AU_NUMBERS, AU_WORDS
from miex.datasets.files import whole_file
from miex.datasets.quantity import quantity
from miex.generators.ganimation.training_notes import AUAgreement
from miex.generators.ganimation.training_set import TrainingSet

_TILE = 128
_GAP = 6
_COLUMNS = 10
_RANDOM_LINES = 3
_MARGIN, _HEADER, _SIDE, _CAPTION = 28, 92, 190, 22
_BACKGROUND, _INK, _QUIET, _WRONG = "#faf9f6", "#1c1b19", "#6c6862", "#b85000"

_STRONGEST_NAMED = 3
"""AUs under a random photograph; more do not fit."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A row of tiles.

    Attributes:
        title: Beside it.
        detail: Below the title.
        warning: Whether the detail is one.
        origins: Photographs.
        captions: One each.
    """

    title: str
    detail: str
    warning: bool
    origins: Sequence[str]
    captions: Sequence[str]


def training_sheet(training_set: TrainingSet, out: Path, seed: int = 0) -> Path:
    """Draw photographs of the split `train` with their AUs into one PNG.

    Args:
        training_set: What is shown; its validation and held-out people stay unseen.
        out: The image file.
        seed: Another seed shows other random photographs.

    Returns:
        Path of the image.
    """
    rows = training_set.table(["origin", "split"]).to_pylist()
    origins = [row["origin"] for row in rows if row["split"] == "train"]
    aus = training_set.aus("train")
    lines = _random_lines(origins, aus, seed) + [
        _strongest(origins, aus[:, au], training_set.notes.agreement[au])
        for au in range(len(AU_NAMES))
    ]
    crops = training_set.crops({origin for line in lines for origin in line.origins})
    height = _HEADER + len(lines) * (_TILE + _CAPTION + _GAP) + _MARGIN
    width = 2 * _MARGIN + _SIDE + _COLUMNS * (_TILE + _GAP)
    sheet = Image.new("RGB", (width, height), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    notes = training_set.notes
    draw.text(
        (_MARGIN, 20),
        f"Training set of {quantity(len(training_set), 'photograph')}",
        _INK,
        _font(28),
    )
    words = f"{notes.source}; AUs by {notes.estimator}, {notes.estimator_version}; {notes.encoding}"
    draw.text((_MARGIN, 58), words, _QUIET, _font(15))
    for number, line in enumerate(lines):
        top = _HEADER + number * (_TILE + _CAPTION + _GAP)
        draw.text((_MARGIN, top + 4), line.title, _INK, _font(19))
        for place, text in enumerate(_wrapped(draw, line.detail, _SIDE - 16)):
            colour = _WRONG if line.warning else _QUIET
            draw.text((_MARGIN, top + 32 + 17 * place), text, colour, _font(13))
        for column, (origin, caption) in enumerate(zip(line.origins, line.captions, strict=True)):
            left = _MARGIN + _SIDE + column * (_TILE + _GAP)
            tile = Image.fromarray(crops[origin])
            sheet.paste(tile.resize((_TILE, _TILE), Image.Resampling.BICUBIC), (left, top))
            draw.text((left, top + _TILE + 3), caption, _QUIET, _font(13))
    with whole_file(out) as temporary:
        sheet.save(temporary, "PNG", compress_level=4)
    return out


def _random_lines(origins: Sequence[str], aus: NDArray[np.float32], seed: int) -> list[_Line]:
    count = min(_RANDOM_LINES * _COLUMNS, len(origins))
    chosen = np.random.default_rng(seed).permutation(len(origins))[:count]
    captions = []
    for row in aus[chosen]:
        order = np.argsort(-np.nan_to_num(row, nan=-1))[:_STRONGEST_NAMED]
        named = [f"{AU_NUMBERS[au]}:{row[au]:.1f}" for au in order if row[au] >= 0.5]
        captions.append("  ".join(named) or "none above 0.5")
    return [
        _Line(
            "random" if not start else "",
            "each with its strongest AUs, 0 to 5" if not start else "",
            False,
            [origins[row] for row in chosen[start : start + _COLUMNS]],
            captions[start : start + _COLUMNS],
        )
        for start in range(0, count, _COLUMNS)
    ]


def _strongest(origins: Sequence[str], values: NDArray[np.float32], found: AUAgreement) -> _Line:
    order = np.argsort(-np.nan_to_num(values, nan=-1), kind="stable")[:_COLUMNS]
    rows = [row for row in order.tolist() if values[row] > 0]
    words = AU_WORDS[AU_NAMES.index(found.au)]
    verdict = found.reason if found.trusted else f"not trusted: {found.reason}"
    return _Line(
        found.au,
        f"{words}. {verdict}",
        not found.trusted,
        [origins[row] for row in rows],
        [f"{values[row]:.1f}" for row in rows],
    )


def _wrapped(draw: ImageDraw.ImageDraw, text: str, width: float) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and draw.textlength(longer, _font(13)) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
