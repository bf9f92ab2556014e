import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest


@pytest.fixture(scope="session")
def sheet_column() -> Callable[[Path, str], list[str | float]]:
    """Reads a column of a workbook's first sheet, by its letter."""
    return _sheet_column


def _sheet_column(path: Path, column: str) -> list[str | float]:
    """A column of the first sheet without its header, as a spreadsheet reader gives it."""
    space = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    with zipfile.ZipFile(path) as file:
        strings = [
            "".join(text.text or "" for text in item.iter(f"{space}t"))
            for item in ElementTree.fromstring(file.read("xl/sharedStrings.xml"))
        ]
        sheet = ElementTree.fromstring(file.read("xl/worksheets/sheet1.xml"))
    cells = [
        (cell, cell.findtext(f"{space}v"))
        for cell in sheet.iter(f"{space}c")
        if re.fullmatch(rf"{column}\d+", cell.get("r", ""))
    ]
    return [
        strings[int(value)] if cell.get("t") == "s" else float(value)
        for cell, value in cells[1:]
        if value is not None
    ]
