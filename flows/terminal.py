"""Show progress, results and errors of the commands, in a terminal and without one."""

import errno
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import RLock

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from miex.datasets.files import DiskFullError

EXPECTED_ERRORS = (ValueError, OSError, KeyError, ImportError, MemoryError, RuntimeError)
"""Errors of input and machine, shown as one line; any other is a bug and keeps its traceback."""

LINE_INTERVAL = 5.0
"""Seconds between two progress lines without a terminal."""


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
        # Soft wrapping keeps a path on one line, so that it can be copied and grepped.
        self.out = Console(highlight=False, soft_wrap=True, quiet=not (results and first))
        self.err = Console(stderr=True, highlight=False, soft_wrap=True)

    def say(self, text: str = "") -> None:
        """Print a line of the result, with rich markup."""
        self.out.print(text)

    def tell(self, text: str) -> None:
        """Print a line of the result without markup, so that brackets in a path are kept."""
        self.out.print(text, markup=False)

    def fail(self, text: str) -> None:
        """Print one red line to standard error."""
        self.err.print(f"[bold red]error:[/] [red]{escape(text)}[/]")

    def table(self, title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
        """Print a table; without a terminal as plain columns without a frame.

        Without a terminal, a table of two columns has no header.
        """
        if self.out.is_terminal:
            table = Table(*columns, title=title, title_justify="left", box=SIMPLE_HEAD)
            for row in rows:
                table.add_row(*map(escape, row))
            self.out.print(table, soft_wrap=False)
            return
        # Logs and other programs read this, so it is neither padded at the end nor wrapped.
        widths = [min(40, max(map(len, cells))) for cells in zip(columns, *rows, strict=True)]
        self.say(escape(title))
        for row in [columns, *rows] if len(columns) > 2 else rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            self.say(escape(f"  {'  '.join(cells)}".rstrip()))

    @contextmanager
    def stages(self) -> Iterator["Stages"]:
        """Show progress while the block runs: bars, or lines without a terminal."""
        console = self.err if self._progress else Console(quiet=True)
        if console.is_terminal:
            with Progress(*_columns(), console=console) as progress:
                yield Stages(lambda stage, unit: _BarMeter(progress, stage, unit))
            return
        stages = Stages(lambda stage, unit: _LineMeter(console, stage, unit))
        yield stages
        stages.close()


class Meter(ABC):
    """Count what is done in one stage. Safe to call from several threads.

    Attributes:
        note: Text that is shown after the pace, such as losses.
    """

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.note = ""
        self.done = 0
        self.total: int | None = None
        self._base = 0, time.monotonic()
        self._lock = RLock()

    def advance(self, count: int = 1, *, timed: bool = True) -> None:
        """Add finished units; units that an earlier run finished are not timed."""
        with self._lock:
            self.to(self.done + count, self.total, timed=timed)

    def to(self, done: int, total: int | None, *, timed: bool = True) -> None:
        """Set the number of finished units, and of all units."""
        with self._lock:
            self.done, self.total = done, total
            if not timed:
                self._base = done, time.monotonic()
            self._show()

    def pace(self) -> str:
        """Return units per second and the remaining time, as far as they are known."""
        units, began = self._base
        rate = (self.done - units) / max(time.monotonic() - began, 1e-3)
        if not rate:
            return self.note
        left = (self.total or 0) - self.done
        remaining = f"{duration(left / rate)} left" if left > 0 else ""
        return ", ".join(filter(None, (f"{rate:.1f} {self.unit}/s", remaining, self.note)))

    def close(self) -> None:  # noqa: B027 - bars need nothing
        """End the stage."""

    @abstractmethod
    def _show(self) -> None:
        """Draw the state of the stage."""


class Stages:
    """Hold the meters of a command, one per stage; a stage ends when the next one begins."""

    def __init__(self, create: Callable[[str, str], Meter]) -> None:
        self._create = create
        self._meters: dict[str, Meter] = {}

    def of(self, stage: str, unit: str) -> Meter:
        """Return the meter of a stage; the first call shows it."""
        if stage not in self._meters:
            self.close()
            self._meters[stage] = self._create(stage, unit)
        return self._meters[stage]

    def close(self) -> None:
        """End the current stage."""
        if self._meters:
            list(self._meters.values())[-1].close()


class _BarMeter(Meter):
    def __init__(self, progress: Progress, stage: str, unit: str) -> None:
        super().__init__(unit)
        self._progress = progress
        self._task = progress.add_task(stage, total=None, pace="")

    def _show(self) -> None:
        self._progress.update(self._task, completed=self.done, total=self.total, pace=self.pace())


class _LineMeter(Meter):
    def __init__(self, console: Console, stage: str, unit: str) -> None:
        super().__init__(unit)
        self._console, self._stage = console, stage
        self._began = self._shown = time.monotonic()

    def close(self) -> None:
        self._print(f"in {duration(time.monotonic() - self._began)}")

    def _show(self) -> None:
        now = time.monotonic()
        if now - self._shown >= LINE_INTERVAL:
            self._shown = now
            self._print(f"of {self.total}" if self.total else "")

    def _print(self, more: str) -> None:
        parts = (f"{self.done} {self.unit} {more}".rstrip(), self.pace())
        self._console.print(f"{self._stage}: {', '.join(filter(None, parts))}", markup=False)


def _columns() -> tuple[ProgressColumn, ...]:
    return (
        TextColumn("{task.description:8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[pace]}"),
    )


def duration(seconds: float) -> str:
    """Format a time span: ``0.4 s``, ``12 s``, ``3 min 20 s``, ``1 h 05 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def describe(error: BaseException) -> str:
    """Return an error as one line."""
    if isinstance(error, KeyError):
        text = str(error.args[0]) if error.args else "KeyError"
    elif isinstance(error, MemoryError) or _says_out_of_memory(error):
        text = "out of memory: use fewer --workers or a smaller generator.batch_size"
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        if error.errno == errno.ENOSPC and not isinstance(error, DiskFullError):
            text += "; free some space and run the same command again, finished work is kept"
    else:
        text = str(error)
    return " ".join(text.split()) or type(error).__name__


def _says_out_of_memory(error: BaseException) -> bool:
    """Return whether a library ran out of memory: PyTorch and OpenCV have errors of their own."""
    text = str(error).casefold()
    marks = ("out of memory", "can't allocate memory", "insufficient memory", "failed to allocate")
    said = any(mark in text for mark in marks)
    return said and not isinstance(error, ValueError) and is_expected(error)


def reasons(counts: Mapping[str, int]) -> list[tuple[str, ...]]:
    """Return counts by reason as table rows, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(str(count), reason) for reason, count in ordered]
