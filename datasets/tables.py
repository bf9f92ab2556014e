"""Open tables: CSV, TSV and Excel files of annotations, faces, lists and estimators.

Rows are streamed with limits, so that a small file cannot fill the memory. The kind of a file is
determined by its content: Excel files are zip archives or OLE containers, all others are text in
UTF-8, UTF-16, UTF-32 or GBK with a delimiter that is found in the header. Cells are not
interpreted: an error cell (``#REF!``) or a formula without a stored value is an `ErrorCell`, and
words such as ``NA`` stay text, which readers of numbers refuse.
"""

import codecs
import csv
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, BinaryIO

from miex.datasets.cells import ErrorCell, plain_cell
from miex.datasets.excel_limits import require_bounded
from miex.datasets.paths import SpecialFile, open_regular

Columns = Mapping[str, tuple[str, ...]]
"""Titles of each column by its name in miex; case, blanks and underscores are ignored."""

Numbered = tuple[int, Sequence[object]]
"""Number of a row as Excel counts (line of a text file), and its cells, None if empty."""

HEADER_ROWS = 60
"""Number of rows that are searched for the header; SAMM has notes above it."""

_MAX_ROWS = 1 << 20
_MAX_COLUMNS = 1 << 14
"""Limits of Excel; only a damaged file has rows or cells beyond them."""

_MAX_CELLS = 1_000_000
"""Largest number of cells of an Excel sheet, with the empty ones before the last of each row."""

_MAX_XLS = 1 << 23
"""Largest .xls file, in bytes (8 MiB), which is read as a whole; databases have 0.1 MiB."""

MAX_LINE = 1 << 20
"""Largest number of characters of a line of a text file; lines of OpenFace have up to 10,000."""

_MAX_CELL = 1 << 15
"""Largest number of characters of a cell, the limit of Excel."""

_DELIMITERS = (",", ";", "\t", "|")

_AS_CSV = "open it in Excel and save it as .xlsx, or export it as CSV UTF-8"
_ENCODINGS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class TableSheet:
    """Table of a file.

    Attributes:
        name: Name of the sheet; None for a text file.
        rows: Its rows, which are read when they are used.
        hidden: Names of the hidden sheets of its file, which are not read.
    """

    name: str | None
    rows: Iterator[Numbered]
    hidden: tuple[str, ...] = ()


def _normal_title(cell: object) -> str:
    """Return a title for comparison: without case, blanks, underscores and format marks."""
    if cell is None or isinstance(cell, ErrorCell):
        return ""
    return re.sub(r"[\s_\ufeff\u200b\u200e\u200f\"']+", "", str(cell)).casefold()


def find_columns(cells: Sequence[object], wanted: Columns) -> dict[str, int]:
    """Return the index of each wanted column in a header row, from 0; missing ones are left out.

    Raises:
        ValueError: Two columns have the title of one wanted column.
    """
    places: dict[str, list[int]] = {}
    for index, cell in enumerate(cells):
        title = _normal_title(cell)
        if title:
            places.setdefault(title, []).append(index)
    found: dict[str, int] = {}
    for column, names in wanted.items():
        for name in names:
            here = places.get(_normal_title(name), [])
            if len(here) > 1:
                titles = ", ".join(letter(index) for index in here)
                raise ValueError(
                    f"the columns {titles} all have the title {name!r}; rename all but one of them"
                )
            if here:
                found[column] = here[0]
                break
    return found


def letter(index: int) -> str:
    """Return Excel's letter of a column, counted from 0: A, ..., Z, AA, ..."""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def open_sheets(path: Path, wanted: Columns | None = None) -> Iterator[TableSheet]:
    """Read every visible sheet of a table file, one after the other.

    Args:
        path: An Excel file (.xlsx, .xlsm, .xls) or a text file with delimiters.
        wanted: Columns by which the delimiter of a text file is found; without them the most
            frequent of `_DELIMITERS` in its first lines is used.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is special, empty, unreadable or beyond the limits.
    """
    try:
        file = open_regular(path)
    except SpecialFile as error:
        raise ValueError(str(error)) from None
    except FileNotFoundError:
        raise FileNotFoundError(f"no table at {path}") from None
    with file:
        begin = file.read(8)
        file.seek(0)
        if not begin:
            columns = ", ".join(names[0] for names in list((wanted or {}).values())[:8])
            expected = f"a table with the columns {columns}" if columns else "a table"
            raise ValueError(f"{path} is empty (0 bytes), expected {expected}; copy it again")
        if begin.startswith(b"PK\x03\x04"):
            yield from _xlsx_sheets(path, file)
        elif begin.startswith(b"\xd0\xcf\x11\xe0"):
            yield from _xls_sheets(path, file)
        elif path.suffix.lower() in (".xlsx", ".xlsm", ".xls"):
            raise ValueError(f"{path} cannot be read as an Excel file; {_AS_CSV}")
        else:
            yield TableSheet(None, _text_rows(path, file, wanted))


def _xlsx_sheets(path: Path, file: BinaryIO) -> Iterator[TableSheet]:
    # Imported here since most commands read no Excel file, and it takes a tenth of a second.
    import openpyxl

    try:
        with zipfile.ZipFile(file) as archive:
            require_bounded(archive)
        with warnings.catch_warnings():
            # openpyxl warns of features that it does not support; only values are read here.
            warnings.simplefilter("ignore")
            # Both are needed to see a formula whose value was never stored.
            values = openpyxl.load_workbook(file, read_only=True, data_only=True)
            formulas = openpyxl.load_workbook(file, read_only=True, data_only=False)
            hidden = tuple(s.title for s in values.worksheets if s.sheet_state != "visible")
            for sheet in values.worksheets:
                if sheet.title not in hidden:
                    rows = _xlsx_rows(path, sheet, formulas[sheet.title])
                    yield TableSheet(sheet.title, rows, hidden)
    except MemoryError:
        raise
    # openpyxl and zipfile raise many kinds of exceptions for damaged files.
    except Exception as error:
        raise _no_excel(path, error) from None


def _no_excel(path: Path, error: BaseException) -> ValueError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return ValueError(f"{path} cannot be read as an Excel file ({reason}); {_AS_CSV}")


def _xlsx_rows(path: Path, values: Any, formulas: Any) -> Iterator[Numbered]:
    seen = 0
    try:
        for sheet in (values, formulas):
            # The size that a file states is often wrong, and rows beyond it would be lost.
            sheet.reset_dimensions()
        pairs = zip_longest(values.iter_rows(), formulas.iter_rows(), fillvalue=())
        for number, (row, stated) in enumerate(pairs, start=1):
            if number > _MAX_ROWS or len(row) > _MAX_COLUMNS:
                raise ValueError(f"a cell lies beyond row {_MAX_ROWS} or column {_MAX_COLUMNS}")
            seen += len(row)
            if seen > _MAX_CELLS:
                raise ValueError(f"it has more than {_MAX_CELLS} cells")
            yield number, [_xlsx_value(*pair) for pair in zip_longest(row, stated)]
    except MemoryError:
        raise
    except Exception as error:
        raise _no_excel(path, error) from None


def _xlsx_value(cell: Any, formula: Any) -> object:
    value = None if cell is None else cell.value
    if value is None:
        stands_there = formula is not None and formula.value is not None
        return ErrorCell("a formula without a stored value") if stands_there else None
    if cell.data_type == "e":
        return ErrorCell(str(value))
    return plain_cell(value) if isinstance(value, str) else value


def _xls_sheets(path: Path, file: BinaryIO) -> Iterator[TableSheet]:
    import xlrd

    content = file.read(_MAX_XLS + 1)
    if len(content) > _MAX_XLS:
        raise _no_excel(path, ValueError(f"it is larger than {_MAX_XLS >> 20} MiB"))
    try:
        with open("/dev/null", "w") as nowhere:
            book = xlrd.open_workbook(
                file_contents=content, ragged_rows=True, on_demand=True, logfile=nowhere
            )
            for index in range(book.nsheets):
                sheet = book.sheet_by_index(index)
                if not sheet.visibility:
                    yield TableSheet(sheet.name, _xls_rows(sheet, book.datemode))
    except MemoryError:
        raise
    # xlrd raises many kinds of errors for damaged files.
    except Exception as error:
        raise _no_excel(path, error) from None


def _xls_rows(sheet: Any, datemode: int) -> Iterator[Numbered]:
    for row in range(sheet.nrows):
        yield row + 1, [_xls_value(cell, datemode) for cell in sheet.row(row)]


def _xls_value(cell: Any, datemode: int) -> object:
    import xlrd

    if cell.ctype == xlrd.XL_CELL_ERROR:
        return ErrorCell(xlrd.error_text_from_code.get(cell.value, "#ERROR"))
    if cell.ctype in (xlrd.XL_CELL_EMPTY, xlrd.XL_CELL_BLANK):
        return None
    if cell.ctype == xlrd.XL_CELL_DATE:
        return xlrd.xldate_as_datetime(cell.value, datemode)
    if cell.ctype == xlrd.XL_CELL_BOOLEAN:
        return bool(cell.value)
    return plain_cell(cell.value) if isinstance(cell.value, str) else cell.value


def _text_rows(path: Path, file: BinaryIO, wanted: Columns | None) -> Iterator[Numbered]:
    encoding = text_encoding(path, file)
    file.seek(0)
    with codecs.getreader(encoding)(file) as text:
        lines = _lines(path, text)
        first = [line for _, line in zip(range(HEADER_ROWS), lines, strict=False)]
        yield from _delimited(path, _again(first, lines), _delimiter(first, wanted))


def _again(first: list[str], rest: Iterator[str]) -> Iterator[str]:
    yield from first
    yield from rest


def _delimited(path: Path, lines: Iterable[str], delimiter: str) -> Iterator[Numbered]:
    """Split lines into cells.

    Raises:
        ValueError: A quote is not closed, or a cell or line is beyond the limits; the message
            names the line.
    """
    # strict: otherwise a quote that is not closed extends to the end of the file.
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise ValueError(
                f"{path}, line {reader.line_num}: {error}; a quote may be open or inside a cell"
            ) from None
        if cells is None:
            return
        if max(map(len, cells), default=0) > _MAX_CELL:
            raise ValueError(
                f"{path}, line {reader.line_num}: a cell of more than {_MAX_CELL} characters"
            )
        # Most cells of an estimator's file are plain numbers without blanks.
        yield (
            reader.line_num,
            [
                cell if "$" <= cell[:1] < "\x7f" and " " < cell[-1] < "\x7f" else plain_cell(cell)
                for cell in cells
            ],
        )


def text_encoding(path: Path, file: BinaryIO) -> str:
    """Return the encoding of a text file; it is read once as a whole.

    Raises:
        ValueError: The file is no text in UTF-8, UTF-16, UTF-32 or GBK.
    """
    begin = file.read(4096)
    for mark, name in _ENCODINGS:
        if begin.startswith(mark):
            _decodes(path, file, name, must=True)
            return name
    if b"\0" in begin:
        nuls = begin[1::2].count(0), begin[0::2].count(0)
        if max(nuls) > 0.4 * (len(begin) // 2):
            return "utf-16-le" if nuls[0] > nuls[1] else "utf-16-be"
        raise ValueError(f"{path} is no text file; expected a table as CSV UTF-8 or .xlsx")
    if _decodes(path, file, "utf-8") is not None:
        return "utf-8"
    chinese = _decodes(path, file, "gb18030")
    # Western encodings have single non-ASCII letters, which GBK reads as rare characters.
    if chinese and sum(_is_gb2312(c) for c in chinese) >= 0.8 * len(chinese):
        return "gb18030"
    raise ValueError(
        f"{path} is not UTF-8 (nor UTF-16, UTF-32 or GBK); export it from Excel as CSV UTF-8"
    )


def _decodes(path: Path, file: BinaryIO, name: str, must: bool = False) -> str | None:
    """Return some non-ASCII characters of a file in an encoding; None if it cannot be decoded."""
    decoder = codecs.getincrementaldecoder(name)()
    found = ""
    file.seek(0)
    try:
        while chunk := file.read(_CHUNK):
            text = decoder.decode(chunk)
            if len(found) < _CHUNK and not text.isascii():
                found += "".join(c for c in text if ord(c) > 127)
        decoder.decode(b"", True)
    except UnicodeDecodeError as error:
        if must:
            raise ValueError(f"{path} is damaged: it says {name} and is not ({error})") from None
        return None
    return found


def _is_gb2312(character: str) -> bool:
    try:
        character.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return True


def _lines(path: Path, text: Any) -> Iterator[str]:
    """Yield lines with their ends, each within `MAX_LINE`."""
    number = 0
    while line := text.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise ValueError(f"{path}, line {number}: longer than {MAX_LINE} characters")
        yield line


def _delimiter(first: Sequence[str], wanted: Columns | None) -> str:
    """Return the delimiter that gives most of the columns, or the most frequent one."""
    best, score = ",", (0, 0)
    for delimiter in _DELIMITERS:
        for line in first:
            titles = line.rstrip("\r\n").split(delimiter)
            names = {_normal_title(title) for title in titles}
            known = sum(
                any(_normal_title(name) in names for name in alternatives)
                for alternatives in (wanted or {}).values()
            )
            if (known, len(titles)) > score:
                best, score = delimiter, (known, len(titles))
    return best
