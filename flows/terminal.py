"""Show progress, results and errors of the commands, in a terminal and without one."""

import errno
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from miex.datasets.files import DiskFullError
from miex.datasets.paths import masked
from miex.flows.progress import BarMeter, Bars, LineMeter, Stages

EXPECTED_ERRORS = (ValueError, OSError, KeyError, ImportError, MemoryError, RuntimeError)
"""Errors of input and machine, shown as one line; any other is a bug and keeps its traceback."""

_WHOLE = 24
"""Longest cell of a column that is not wrapped: names and numbers; the first column never is."""

_LONG_WORD = re.compile(r"\S{1025,}")
"""A word that is longer than a path of most systems; a message shows its beginning."""

_LIBRARIES = frozenset(
    [
        "cv2",
        "h5py",
        "httpcore",
        "httpx",
        "jinja2",
        "PIL",
        "pyarrow",
        "safetensors",
        "struct",
        "torch",
        "xlrd",
        "yaml",
        "zipfile",
        "zlib",
        "_pickle",
        "pickle",
    ]
)
"""Whose own kinds of errors tell of a damaged file or a full memory, not of a defect here."""


def is_expected(error: BaseException) -> bool:
    """Return whether an error comes from bad input or a bad machine."""
    if isinstance(error, EXPECTED_ERRORS):
        return True
    return type(error).__module__.partition(".")[0] in _LIBRARIES


class Terminal:
    """Print results to standard output, progress and errors to standard error.

    Args:
        results: Whether results are printed.
        progress: Whether progress is shown.
    """

    def __init__(self, *, results: bool = True, progress: bool = True) -> None:
        # One of the processes of torchrun prints for all; each prints its own errors.
        rank = os.environ.get("RANK", "0")
        first = not rank.isdecimal() or int(rank) == 0
        self._progress = progress and first
        self.out = Console(highlight=False, quiet=not (results and first))
        self.err = Console(stderr=True, highlight=False)

    def say(self, text: str = "") -> None:
        """Print a line of the result, with rich markup."""
        _print(self.out, text)

    def tell(self, text: str) -> None:
        """Print a line of the result without markup, so that brackets in a path are kept."""
        _print(self.out, text, markup=False)

    def note(self, text: str) -> None:
        """Print a line about what begins, without markup, where progress is shown."""
        if self._progress:
            _print(self.err, text, markup=False)

    def fail(self, text: str) -> None:
        """Print one red line to standard error."""
        _print(self.err, f"[bold red]error:[/] [red]{escape(text)}[/]")

    def table(self, title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
        """Print a table; without a terminal as plain columns without a frame.

        Without a terminal, a table of two columns has no header.
        """
        if self.out.is_terminal:
            table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
            for number, column in enumerate(columns):
                longest = max((len(row[number]) for row in rows), default=0)
                whole = number == 0 or longest <= _WHOLE
                table.add_column(column, no_wrap=whole, overflow="fold")
            for row in rows:
                table.add_row(*map(escape, row))
            self.out.print(table)
            return
        # Logs and other programs read this, so it is neither padded at the end nor wrapped.
        widths = [min(40, max(map(len, cells))) for cells in zip(columns, *rows, strict=True)]
        self.say(escape(title))
        for row in [columns, *rows] if len(columns) > 2 else rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            self.say(escape(f"  {'  '.join(cells)}".rstrip()))

    @contextmanager
    def stages(self) -> Iterator[Stages]:
        """Show progress while the block runs: bars, or lines without a terminal."""
        console = self.err if self._progress else Console(quiet=True)

        def warn(text: str) -> None:
            _print(console, f"[yellow]note:[/] {escape(text)}")

        if console.is_terminal:
            with Bars(console) as bars:
                yield Stages(lambda stage, unit: BarMeter(bars, stage, unit), warn)
            return
        stages = Stages(lambda stage, unit: LineMeter(console, stage, unit), warn)
        yield stages
        stages.close()


def _print(console: Console, text: str, markup: bool = True) -> None:
    """Print a text that a terminal wraps between words; a path stays whole, to be copied.

    Without a terminal nothing is wrapped, so that lines can be searched.
    """
    whole = Text.from_markup(text) if markup else Text(text)
    for line in whole.split("\n", allow_blank=True):
        parts = line.divide(_breaks(line.plain, console.width)) if console.is_terminal else [line]
        for part in parts:
            part.rstrip()
            console.print(part, soft_wrap=True)


def _breaks(line: str, width: int) -> list[int]:
    """Return where the words begin with which a new line of the terminal begins."""
    breaks: list[int] = []
    start = 0
    for word in re.finditer(r"\S+", line):
        if cell_len(line[start : word.end()]) > width and word.start() > start:
            start = word.start()
            breaks.append(start)
    return breaks


def describe(error: BaseException) -> str:
    """Return an error as one line, without passwords of addresses and with long words cut."""
    if isinstance(error, KeyError):
        text = str(error.args[0]) if error.args else "KeyError"
    elif is_out_of_memory(error):
        text = "out of memory: use fewer processes, smaller batches or a machine with more memory"
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        if error.errno == errno.ENOSPC and not isinstance(error, DiskFullError):
            text += "; free some space and run the same command again, finished work is kept"
    else:
        text = str(error)
    text = _LONG_WORD.sub(_cut, masked(" ".join(text.split())))
    return text or type(error).__name__


def _cut(word: re.Match[str]) -> str:
    return f"{word[0][:80]}... ({len(word[0])} characters)"


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the memory is full; PyTorch and OpenCV have errors of their own."""
    if isinstance(error, MemoryError):
        return True
    text = str(error).casefold()
    marks = ["out of memory", "can't allocate memory", "insufficient memory", "failed to allocate"]
    # How the loader says that a library does not fit into the memory of the process.
    marks += ["failed to map segment", "cannot allocate memory"]
    said = any(mark in text for mark in marks)
    return said and not isinstance(error, ValueError) and is_expected(error)


def reasons(counts: Mapping[str, int]) -> list[tuple[str, ...]]:
    """Return counts by reason as table rows, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(str(count), reason) for reason, count in ordered]
