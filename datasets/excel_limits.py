"""Check, before a library parses an Excel file, that it takes little memory and time.

An .xlsx is a zip archive of XML parts that compress a thousandfold. openpyxl reads cells and texts
as a stream and parses every other part as a whole, with about 0.1 ms and 1 kB for each tag; expat
before version 2.6 takes time that grows with the square of the length of a comment or attribute.
"""

import re
import zipfile
from xml.parsers import expat

MAX_PART = 1 << 25
"""Largest unpacked part of an Excel file, in bytes (32 MiB); annotation sheets have below 1 MiB."""

_MAX_MEMBERS = 10_000
"""Largest number of parts."""

_MAX_TAGS = {"xl/workbook.xml": 5_000, "xl/sharedStrings.xml": 400_000}
_MAX_SHEET = 4_000_000
_MAX_OTHER = 100_000
"""Largest number of tags of a part: of the list of sheets, each of which is opened, of the list of
texts, of a sheet (a million cells), and of any other part."""

_MAX_BELOW = 100_000
_MAX_DEPTH = 32
"""Largest number of tags inside one row, text or setting of a streamed part, and their depth; these
are kept in memory until their end."""

_FEW = 200_000
"""Number of tags below which neither can fill the memory."""

_MAX_TOKEN = 1 << 20
"""Longest comment or tag, in bytes (1 MiB)."""

_LONG = re.compile(rb"<[^<]{%d}" % _MAX_TOKEN)


def require_bounded(archive: zipfile.ZipFile) -> None:
    """Check that the parts of an Excel file can be parsed in little memory and time.

    Raises:
        ValueError: There are too many parts, or one is too large; the message names it.
    """
    members = archive.infolist()
    if len(members) > _MAX_MEMBERS:
        raise ValueError(f"it has {len(members)} parts, at most {_MAX_MEMBERS} are read")
    for member in members:
        if member.filename.startswith("xl/media/"):
            continue
        if member.file_size > MAX_PART:
            raise ValueError(f"its part {member.filename} is larger than {MAX_PART >> 20} MiB")
        try:
            _check(member.filename, archive.read(member))
        except _TooLarge as error:
            raise ValueError(f"its part {member.filename} has {error}") from None


class _TooLarge(Exception):
    """What a part has too much of."""


def _check(name: str, content: bytes) -> None:
    tags = content.count(b"<")
    sheet = name.startswith("xl/worksheets/sheet")
    most = _MAX_TAGS.get(name, _MAX_SHEET if sheet else _MAX_OTHER)
    if tags > most:
        raise _TooLarge(f"{tags} tags, at most {most} are read")
    if b"<!DOCTYPE" in content:
        raise _TooLarge("a document type, which no Excel file has")
    if len(content) > _MAX_TOKEN and (_LONG.search(content) or _has_long_comment(content)):
        raise _TooLarge(f"a tag, text or comment of more than {_MAX_TOKEN >> 20} MiB")
    if tags > _FEW:
        _Shape().parse(content)


def _has_long_comment(content: bytes) -> bool:
    for begin, end in ((b"<!--", b"-->"), (b"<?", b"?>")):
        at = content.find(begin)
        while at >= 0:
            close = content.find(end, at)
            if close < 0 or close - at > _MAX_TOKEN:
                return True
            at = content.find(begin, close)
    return False


class _Shape:
    """Count what is kept in memory at once: the tags below a row, a text or another setting."""

    def __init__(self) -> None:
        self._depth = self._below = 0
        self._inside = ""

    def parse(self, content: bytes) -> None:
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        try:
            parser.Parse(content, True)
        except expat.ExpatError as error:
            raise ValueError(str(error)) from None

    def _start(self, name: str, _: object) -> None:
        self._depth += 1
        self._below += 1
        plain = name.rpartition(":")[2]
        if self._depth == 2:
            self._inside, self._below = plain, 0
        elif self._depth == 3 and self._inside == "sheetData" and plain == "row":
            self._below = 0
        if self._depth > _MAX_DEPTH:
            raise _TooLarge(f"tags nested deeper than {_MAX_DEPTH}")
        if self._below > _MAX_BELOW:
            raise _TooLarge(f"more than {_MAX_BELOW} tags inside one {self._inside}")

    def _end(self, _: str) -> None:
        self._depth -= 1
