"""Interpret cells of tables: empty cells, errors, and numbers in different notations."""

import re
from dataclasses import dataclass

_ERROR_WORDS = ("#REF!", "#N/A", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#SPILL!")
"""Text of a cell whose formula failed in Excel; exported as text into CSV files."""


@dataclass(frozen=True, slots=True)
class ErrorCell:
    """Cell that is not empty but has no valid value.

    Attributes:
        text: Text that Excel shows, or description of the error.
    """

    text: str


def plain_cell(text: str) -> object:
    """Return the text of a cell: None if it is blank, an `ErrorCell` for Excel's error words."""
    stripped = text.strip().strip("\u3000\xa0\u200b\ufeff").strip()
    if not stripped:
        return None
    if stripped.startswith("#") and stripped.upper() in _ERROR_WORDS:
        return ErrorCell(stripped)
    return stripped


def whole_number(value: object) -> str | None:
    """Return a whole number as digits, in any notation of a table: 6, 6.0, "6", "6.0", "6,0".

    Leading zeros of a text are kept, since identifiers have them. None for anything else, also for
    1,000 and 1.000, which are a thousand in one language and one in another.
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else None
    match = re.fullmatch(r"([0-9]{1,15})([.,]0+)?", str(value).strip())
    if match is None or (len(match[2] or "") == 4 and len(match[1]) <= 3 and match[1][0] != "0"):
        return None
    return match[1]


def decimal(text: str) -> float:
    """Return a number written with a decimal point or a decimal comma.

    Raises:
        ValueError: No number.
    """
    if re.fullmatch(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?", text):
        text = text.replace(",", ".")
    if "_" in text:
        raise ValueError(f"{text!r} is no number")
    return float(text)
