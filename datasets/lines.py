"""Lists with one item a line, as databases publish them: read with the rules of tables.

UTF-8 with or without a byte order mark, UTF-16 and GBK; lines end in LF, CRLF or CR; blank lines
are dropped. A line that is too long or in another encoding costs itself, not the list.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from miex.datasets.given_files import require_file
from miex.datasets.paths import is_utf8, open_regular
from miex.datasets.tables import MAX_LINE, text_encoding


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a list.

    Attributes:
        number: Counted from 1.
        text: Without its end.
        problem: Why it cannot be read; empty where it can.
    """

    number: int
    text: str
    problem: str = ""


def read_lines(path: Path, what: str, remedy: str) -> Iterator[Line]:
    """Read every line of a list that is not blank.

    Args:
        path: The list.
        what: What it is, for messages.
        remedy: What the user can do, for messages.

    Raises:
        FileNotFoundError: No such file.
        ValueError: A folder, a special file, an empty file, or no text at all.
        OSError: The file cannot be read.
    """
    require_file(path, what, remedy)
    with open_regular(path) as file:
        try:
            encoding = text_encoding(path, file)
        except ValueError:
            file.seek(0)
            if b"\0" in file.read(4096):
                raise ValueError(f"{path} is no text, expected a {what}; {remedy}") from None
            # Some lines are in another encoding; each of them is told by itself.
            encoding = "utf-8-sig"
        file.seek(0)
        errors = "replace" if encoding.startswith("utf-16") else "surrogateescape"
        text = io.TextIOWrapper(file, encoding=encoding, errors=errors, newline=None)
        yield from _lines(text)


def _lines(text: io.TextIOWrapper) -> Iterator[Line]:
    number = 0
    while line := text.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE and not line.endswith("\n"):
            while (rest := text.readline(MAX_LINE)) and not rest.endswith("\n"):
                pass
            yield Line(number, line[:80], f"longer than {MAX_LINE} characters")
        elif not is_utf8(line):
            yield Line(number, "", "not in the encoding of the rest (UTF-8)")
        elif "\0" in line:
            yield Line(number, "", "it holds NUL bytes")
        elif stripped := line.strip("\r\n \t\ufeff\xa0"):
            yield Line(number, line.strip("\r\n\ufeff") if "\t" in line else stripped)
