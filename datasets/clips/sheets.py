"""Annotation sheets (xlsx, xls, csv), read by the names of their columns.

Every error says where a person finds the cell: file, sheet, row as Excel numbers it, column with
its letter.
"""

import csv
import datetime
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from miex.datasets.labels import Emotion, parse_emotion

Columns = Mapping[str, tuple[str, ...]]
"""Our name of each column, and how sheets head it. Case, blanks and underscores do not matter."""

HEADER_ROWS = 60
"""How far down the header is looked for; SAMM has notes in the rows above it."""

_ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII")

_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table of a file, with its header found.

    Attributes:
        path: The file.
        name: The sheet's name, None in a CSV file.
        header: Excel's number of the header row.
        columns: Index of each of our columns, from 0.
        titles: What the header calls them.
    """

    path: Path
    name: str | None
    header: int
    columns: Mapping[str, int]
    titles: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One row below the header.

    Attributes:
        sheet: Where it stands.
        number: Excel's number of the row, or the line of a CSV file.
        cells: The values, None where empty.
    """

    sheet: Sheet
    number: int
    cells: Sequence[object]

    @property
    def where(self) -> str:
        """For people: ``coding.xlsx, sheet 'label', row 12``."""
        return _place(self.sheet.path.name, self.sheet.name, self.number)

    def error(self, column: str, message: str) -> ValueError:
        """An error about one cell."""
        index = self.sheet.columns.get(column)
        title = self.sheet.titles.get(column, column)
        letter = "" if index is None else f" {_letter(index)}"
        return ValueError(f"{self.where}, column{letter} ({title}): {message}")

    def cell(self, column: str) -> object:
        """The value of a cell, None if it is empty or the sheet has no such column."""
        index = self.sheet.columns.get(column)
        return None if index is None or index >= len(self.cells) else self.cells[index]

    def text(self, column: str) -> str:
        """The text of a cell.

        Raises:
            ValueError: It is empty.
        """
        text = self.optional_text(column)
        if text is None:
            raise self.error(column, "the cell is empty")
        return text

    def optional_text(self, column: str) -> str | None:
        """The text of a cell as Excel shows it, None if it is empty.

        Raises:
            ValueError: Excel has taken the text for a date (4/10 becomes the 4th of October).
        """
        value = self.cell(column)
        if isinstance(value, datetime.date | datetime.time):
            raise self.error(
                column, f"Excel has made the date {value} of it; format the cell as text and retype"
            )
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return None if value is None else str(value).strip() or None

    def frame_rate(self, column: str) -> float | None:
        """Frames a second, None if the cell is empty.

        Raises:
            ValueError: Anything but a number between 0 and 10,000, both excluded.
        """
        text = self.optional_text(column)
        try:
            fps = None if text is None else float(text)
        except ValueError:
            fps = 0.0
        if fps is not None and not 0 < fps < 10_000:
            raise self.error(column, f"{text!r}, expected frames a second")
        return fps

    def frame(self, column: str) -> int:
        """A frame number, 0 or more.

        Raises:
            ValueError: Empty, or something else than a whole number.
        """
        number = self.optional_frame(column)
        if number is None:
            raise self.error(column, "the cell is empty, expected a frame number")
        return number

    def optional_frame(self, column: str, absent: Sequence[str] = ()) -> int | None:
        """A frame number, None if the cell is empty or holds a mark for 'none'.

        Args:
            column: Our name of the column.
            absent: Marks that stand for 'none', for instance ``/`` in CASME II.

        Raises:
            ValueError: Something else than a whole number.
        """
        text = self.optional_text(column)
        if text is None or text in absent:
            return None
        # Some sheets hold every number as text.
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise self.error(column, f"{text!r} is no frame number, expected a whole number")
        return int(text)

    def emotion(self, column: str = "emotion") -> Emotion:
        """The emotion that a cell names.

        Raises:
            ValueError: Empty, or no emotion that is known here.
        """
        text = self.text(column)
        try:
            return parse_emotion(text)
        except ValueError as error:
            raise self.error(column, str(error)) from None

    def objective_class(self, column: str = "objective_class") -> int | None:
        """An objective class, 1 to 7, in Arabic or Roman numerals; None if the cell is empty.

        Raises:
            ValueError: Something else.
        """
        text = self.optional_text(column)
        if text is None:
            return None
        for number, numeral in enumerate(_ROMAN, start=1):
            if text.upper() in (numeral, str(number)):
                return number
        raise self.error(column, f"{text!r} is no objective class, expected 1 to 7 or I to VII")


def read_rows(path: Path, required: Columns, optional: Columns | None = None) -> list[Row]:
    """Reads the rows of the first table that has the required columns.

    The header is looked for in the first rows of every sheet, so that notes above it and empty
    sheets do no harm. Rows that are empty in every column asked for are left out.

    Args:
        path: An .xlsx, .xls or .csv file.
        required: Columns that must be there.
        optional: Columns that may be.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file cannot be read, no sheet has the columns, or it has no rows.
    """
    wanted = {**required, **(optional or {})}
    best: tuple[int, str] = (0, "no row looks like a header")
    for name, numbered in _tables(path):
        for position, (number, cells) in enumerate(numbered[:HEADER_ROWS]):
            columns = _find_columns(cells, wanted)
            missing = [column for column in required if column not in columns]
            if not missing:
                titles = {column: str(cells[index]).strip() for column, index in columns.items()}
                sheet = Sheet(path, name, number, columns, titles)
                return _body(sheet, numbered[position + 1 :])
            found = len(required) - len(missing)
            if found > best[0]:
                titles_here = ", ".join(str(cell).strip() for cell in cells if cell is not None)
                lacking = ", ".join(f"{required[column][0]!r}" for column in missing)
                place = _place("", name, number).removeprefix(", ")
                best = (found, f"{place} has no column {lacking}, only: {titles_here}")
    expected = ", ".join(names[0] for names in required.values())
    raise ValueError(f"{path}: {best[1]}; expected a header with the columns {expected}")


def _body(sheet: Sheet, numbered: Sequence[tuple[int, Sequence[object]]]) -> list[Row]:
    rows = [Row(sheet, number, cells) for number, cells in numbered]
    rows = [row for row in rows if any(row.cell(c) is not None for c in sheet.columns)]
    if not rows:
        raise ValueError(f"{sheet.path}: no rows below the header in row {sheet.header}")
    return rows


def _find_columns(cells: Sequence[object], wanted: Columns) -> dict[str, int]:
    titles = [_normal(cell) for cell in cells]
    found: dict[str, int] = {}
    for column, names in wanted.items():
        places = [titles.index(_normal(name)) for name in names if _normal(name) in titles]
        if places:
            found[column] = places[0]
    return found


def _normal(cell: object) -> str:
    return re.sub(r"[\s_]+", "", str(cell)).casefold() if cell is not None else ""


def _tables(path: Path) -> Iterator[tuple[str | None, list[tuple[int, Sequence[object]]]]]:
    """Yields every sheet: its name, and its rows with their numbers."""
    if not path.is_file():
        raise FileNotFoundError(f"no annotation sheet at {path}")
    if path.suffix.lower() == ".csv":
        yield None, list(_csv_rows(path))
        return
    try:
        with warnings.catch_warnings():
            # openpyxl warns of Excel's extras that it does not keep; only values are read here.
            warnings.simplefilter("ignore", UserWarning)
            tables = pd.read_excel(path, sheet_name=None, header=None, dtype=object)
    # openpyxl, xlrd and zipfile raise many kinds of errors for damaged files.
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as an Excel file ({error}); open it in Excel and save it as "
            ".xlsx, or export it as CSV UTF-8"
        ) from None
    for name, table in tables.items():
        values = table.astype(object).where(table.notna(), None).to_numpy().tolist()
        yield str(name), list(enumerate(values, start=1))


def _csv_rows(path: Path) -> Iterator[tuple[int, Sequence[object]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8; export it from Excel as CSV UTF-8") from None
    delimiter = max(_DELIMITERS, key=text.count)
    reader = csv.reader(text.splitlines(), delimiter=delimiter, skipinitialspace=True)
    for cells in reader:
        yield reader.line_num, [cell.strip() or None for cell in cells]


def _place(file: str, sheet: str | None, row: int) -> str:
    return f"{file}, " + (f"sheet {sheet!r}, row {row}" if sheet else f"row {row}")


def _letter(index: int) -> str:
    """Excel's letter of a column, counted from 0: A, ..., Z, AA, ..."""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters
