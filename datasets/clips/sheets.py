"""Rows of annotation sheets and clip tables, read by the names of their columns.

Every error names the cell: file, sheet, row as Excel numbers it, column with its letter.
"""

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from miex.datasets.cells import ErrorCell, decimal, whole_number
from miex.datasets.labels import Emotion, parse_emotion
from miex.datasets.tables import (
    HEADER_ROWS,
    Columns,
    Numbered,
    TableSheet,
    find_columns,
    letter,
    open_sheets,
)

_ABSENT_WORDS = ("na", "n/a", "nan", "none", "null", "nil", "?")

_REMARK = re.compile(
    r"\S\s+\S|[:;!?*()\u3001\u3002\uff01\uff08\uff09\uff0c\uff1a\uff1b\uff1f\u203b]|^(?:\u5907\u6ce8|\u6ce8|note|remark)",
    re.IGNORECASE,
)
"""A sentence, or a word that announces one; Chinese is written without blanks, with marks of full
width."""

_ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII")


@dataclass(frozen=True, slots=True)
class Sheet:
    """Table of a file with a known header.

    Attributes:
        path: The file.
        name: The sheet's name, None in a CSV file.
        header: Excel's number of the header row.
        columns: Index of each column of miex, from 0.
        titles: Titles of these columns in the header.
        width: Number of cells of the header up to its last title.
    """

    path: Path
    name: str | None
    header: int
    columns: Mapping[str, int]
    titles: Mapping[str, str]
    width: int


@dataclass(frozen=True, slots=True)
class Row:
    """Row below the header.

    Attributes:
        sheet: The sheet of the row.
        number: Excel's number of the row, or the line of a CSV file.
        cells: The values; None if empty.
    """

    sheet: Sheet
    number: int
    cells: Sequence[object]

    @property
    def where(self) -> str:
        """Return the place for messages: ``coding.xlsx, sheet 'label', row 12``."""
        return _place(self.sheet.path.name, self.sheet.name, self.number)

    def error(self, column: str, message: str) -> ValueError:
        """Return an error about one cell."""
        index = self.sheet.columns.get(column)
        title = self.sheet.titles.get(column, column)
        place = "" if index is None else f" {letter(index)}"
        return ValueError(f"{self.where}, column{place} ({title}): {message}")

    def cell(self, column: str) -> object:
        """Return the value of a cell, None if it is empty or the sheet has no such column.

        Raises:
            ValueError: A formula failed or was never computed, so that the value is unknown.
        """
        value = self.raw(column)
        if isinstance(value, ErrorCell):
            raise self.error(
                column, f"the cell shows {value.text}; type the value itself into the cell"
            )
        return value

    def raw(self, column: str) -> object:
        """Return the content of a cell, also an error; None if it is empty."""
        index = self.sheet.columns.get(column)
        return None if index is None or index >= len(self.cells) else self.cells[index]

    def text(self, column: str) -> str:
        """Return the text of a cell.

        Raises:
            ValueError: It is empty.
        """
        text = self.optional_text(column)
        if text is None:
            raise self.error(column, "the cell is empty")
        return text

    def optional_text(self, column: str) -> str | None:
        """Return the text of a cell as Excel shows it; None if it is empty.

        Raises:
            ValueError: Excel converted the text to a date (4/10 becomes the 4th of October).
        """
        value = self.cell(column)
        if isinstance(value, datetime.date | datetime.time):
            raise self.error(
                column,
                f"Excel converted it to the date {value}; format the cell as text and type again",
            )
        if value is None:
            return None
        if isinstance(value, bool):
            return str(value).upper()
        # Some programs export identifiers and AUs that were numbers in Excel as 6.0.
        return whole_number(value) or str(value).strip() or None

    def frame_rate(self, column: str) -> float | None:
        """Return the frames per second; None if the cell is empty.

        Raises:
            ValueError: The value is no number between 0 and 10,000 (both excluded).
        """
        text = self.optional_text(column)
        try:
            fps = None if text is None else decimal(text)
        except ValueError:
            fps = 0.0
        if fps is not None and not 0 < fps < 10_000:
            raise self.error(column, f"{text!r}, expected frames per second")
        return fps

    def frame(self, column: str) -> int:
        """Return a frame number, 0 or more.

        Raises:
            ValueError: The cell is empty or holds no whole number.
        """
        number = self.optional_frame(column)
        if number is None:
            raise self.error(column, "the cell is empty, expected a frame number")
        return number

    def optional_frame(self, column: str, absent: Sequence[str] = ()) -> int | None:
        """Return a frame number; None if the cell is empty or holds a mark for 'none'.

        Args:
            column: Name of the column in miex.
            absent: Marks for 'none', as ``/`` in CASME II.

        Raises:
            ValueError: The cell holds no whole number.
        """
        text = self.optional_text(column)
        if text is None or text in absent:
            return None
        number = whole_number(text)
        if number is None or len(number) > 9:
            hint = ""
            if text.casefold() in _ABSENT_WORDS:
                hint = "; leave the cell empty if there is none"
            raise self.error(column, f"{text!r} is no frame number, expected a whole number{hint}")
        return int(number)

    def emotion(self, column: str = "emotion") -> Emotion:
        """Return the emotion that a cell names.

        Raises:
            ValueError: The cell is empty or names no known emotion.
        """
        text = self.text(column)
        try:
            return parse_emotion(text)
        except ValueError as error:
            raise self.error(column, str(error)) from None

    def objective_class(self, column: str = "objective_class") -> int | None:
        """Return an objective class, 1 to 7 in Arabic or Roman numerals; None if it is empty.

        Raises:
            ValueError: The cell holds another value.
        """
        text = self.optional_text(column)
        if text is None:
            return None
        for number, numeral in enumerate(_ROMAN, start=1):
            if text.upper() in (numeral, str(number)):
                return number
        raise self.error(column, f"{text!r} is no objective class, expected 1 to 7 or I to VII")


def read_rows(
    path: Path, required: Columns, optional: Columns | None = None, what: str = "annotation sheet"
) -> list[Row]:
    """Read the rows of the one visible table that has the required columns.

    The first rows of every visible sheet are searched for the header, so that there may be notes
    above it and empty sheets. Rows that are empty in every requested column, and remarks below the
    table, are left out.

    Args:
        path: A table, see `miex.datasets.tables.open_sheets`.
        required: Columns that the table must have.
        optional: Columns that it may have.
        what: Name of the table, for messages.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file cannot be read, no sheet or several sheets have the columns, or the
            table has no rows.
    """
    wanted = {**required, **(optional or {})}
    search = _Search(path, required, wanted)
    try:
        tables = [table for sheet in open_sheets(path, wanted) if (table := search.look(sheet))]
    except FileNotFoundError:
        raise FileNotFoundError(f"no {what} at {path}") from None
    if len(tables) > 1:
        names = " and ".join(repr(table[0].name) for table in tables)
        raise ValueError(
            f"{path}: the sheets {names} both have the columns of the {what}; hide or delete the "
            "one that is not meant"
        )
    if not tables:
        expected = ", ".join(names[0] for names in required.values())
        names = ", ".join(map(repr, search.hidden))
        hidden = f"; hidden sheets are not read, unhide the one that is meant: {names}"
        raise ValueError(
            f"{path}: {search.nearest}; expected a header with the columns {expected}"
            f"{hidden if names else ''}"
        )
    sheet, numbered = tables[0]
    return _body(sheet, numbered, required)


class _Search:
    """Search for the header in one sheet after the other, and keep the nearest miss."""

    def __init__(self, path: Path, required: Columns, wanted: Columns) -> None:
        self.nearest = "no row looks like a header"
        self.hidden: tuple[str, ...] = ()
        self._path = path
        self._required = required
        self._wanted = wanted
        self._found = 0

    def look(self, table: TableSheet) -> tuple[Sheet, list[Numbered]] | None:
        """Return the sheet and its rows below the header; None if it has no such header."""
        self.hidden = table.hidden
        for position, (number, cells) in enumerate(table.rows):
            if position >= HEADER_ROWS:
                return None
            try:
                columns = find_columns(cells, self._wanted)
            except ValueError as error:
                place = _place(self._path.name, table.name, number)
                raise ValueError(f"{place}: {error}") from None
            missing = [column for column in self._required if column not in columns]
            if not missing:
                titles = {column: str(cells[index]).strip() for column, index in columns.items()}
                # There may be a million blank rows; a remark is recognized by the gap above it.
                rows = [row for row in table.rows if any(cell is not None for cell in row[1])]
                width = max(place for place, cell in enumerate(cells) if cell is not None) + 1
                return Sheet(self._path, table.name, number, columns, titles, width), rows
            self._miss(table.name, number, cells, missing)
        return None

    def _miss(
        self, name: str | None, number: int, cells: Sequence[object], missing: Sequence[str]
    ) -> None:
        found = len(self._required) - len(missing)
        if found > self._found:
            titles = ", ".join(str(cell).strip() for cell in cells if cell is not None)
            lacking = ", ".join(f"{self._required[column][0]!r}" for column in missing)
            place = _place("", name, number).removeprefix(", ")
            self._found = found
            self.nearest = f"{place} has no column {lacking}, only: {titles[:300]}"


def _body(sheet: Sheet, numbered: Iterable[Numbered], required: Columns) -> list[Row]:
    rows = [Row(sheet, number, cells) for number, cells in numbered]
    rows = [row for row in rows if any(row.raw(c) is not None for c in sheet.columns)]
    end = len(rows)
    while end and _is_remark(rows, end - 1, required):
        end -= 1
    if not end:
        raise ValueError(f"{sheet.path}: no rows below the header in row {sheet.header}")
    for row in rows[:end]:
        _refuse_surplus(row)
    return rows[:end]


def _refuse_surplus(row: Row) -> None:
    """Raise an error for a line with more values than titles: a delimiter split one of them."""
    width = row.sheet.width
    if row.sheet.name is None and len(row.cells) > width and row.cells[width] is not None:
        raise ValueError(
            f"{row.where}: {len(row.cells)} values, but the header has {width} titles; put values "
            'with a comma into quotes ("1,2,4"), or give the last column a title'
        )


def _is_remark(rows: Sequence[Row], last: int, required: Columns) -> bool:
    """Return whether the last row is a remark below the table.

    A remark fills few of the required columns and is separated from the table by a blank row, or
    is a sentence.
    """
    filled = [row for column in required if (row := rows[last].raw(column)) is not None]
    if len(required) < 3 or 2 * len(filled) >= len(required):
        return False
    above = 0
    for row in reversed(rows[:last]):
        if 2 * sum(row.raw(column) is not None for column in required) >= len(required):
            above = row.number
            break
    gap = any(
        later.number - earlier.number > 1
        for earlier, later in pairwise(rows[: last + 1])
        if earlier.number >= above
    )
    return gap or (len(filled) <= 1 and all(_REMARK.search(str(text)) for text in filled))


def _place(file: str, sheet: str | None, row: int) -> str:
    return f"{file}, " + (f"sheet {sheet!r}, row {row}" if sheet else f"row {row}")
