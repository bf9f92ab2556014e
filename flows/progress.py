"""Measure and show the progress of the stages of a command: bars, or lines without a terminal."""

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from threading import RLock

from rich.console import Console
from rich.progress import Progress, Task
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

LINE_INTERVAL = 5.0
"""Seconds between two progress lines without a terminal."""

PACE_WINDOW = 60.0
"""Seconds of the recent past from which rate and remaining time are computed."""

SETTLED = 5.0
"""Seconds of work before a remaining time is shown: the first units also load and compile."""

LONG = 600.0
"""Expected seconds from which a stage is announced as long, with the faster choices."""

_NAME_SHARE = 0.25
"""Largest share of a line for the name of a stage."""

_CUT = 12
"""Characters that must be left in a line for a part that is cut off."""


class Meter(ABC):
    """Count what is done in one stage. Safe to call from several threads.

    Attributes:
        note: Text that is shown with the pace, such as losses.
        done: Number of finished units.
        total: Number of all units; None if it is not known.
    """

    def __init__(self, stage: str, unit: str) -> None:
        self.stage, self.unit = stage, unit
        self.note = ""
        self.done = 0
        self.total: int | None = None
        self.began = time.monotonic()
        self.ended: float | None = None
        self._counts = deque([(self.began, 0)])
        self._guess: float | None = None
        self._lock = RLock()

    def advance(self, count: int = 1, *, timed: bool = True) -> None:
        """Add finished units; units that an earlier run finished are not timed."""
        with self._lock:
            self.to(self.done + count, self.total, timed=timed)

    def to(self, done: int, total: int | None, *, timed: bool = True) -> None:
        """Set the number of finished units, and of all units; fewer than before begin anew."""
        now = time.monotonic()
        with self._lock:
            if done < self.done:
                self.began = now
            if not timed or done < self.done:
                self._counts = deque([(now, done)])
            elif done != self.done:
                self._counts.append((now, done))
                # The interval that ends with the newest count is always kept.
                while len(self._counts) > 2 and self._counts[1][0] <= now - PACE_WINDOW:
                    self._counts.popleft()
            self.done, self.total = done, total
            self.ended = now if total is not None and done >= total else None
            self._show()

    def expect(self, seconds: float) -> None:
        """Set the expected time of one unit, which is used until the first unit is finished."""
        with self._lock:
            self._guess = seconds
            self._show()

    def rate(self) -> float | None:
        """Return the units per second over the last minute; None while unknown."""
        (first, before), (last, after) = self._counts[0], self._counts[-1]
        if after > before:
            return (after - before) / max(last - first, 1e-3)
        return 1 / self._guess if self._guess else None

    def remaining(self) -> float | None:
        """Return the expected seconds until the end; None while unknown, and after the end."""
        rate, now = self.rate(), time.monotonic()
        if not rate or self.total is None or self.done >= self.total:
            return None
        if now - self._counts[0][0] < SETTLED:
            return None
        since = now - self._counts[-1][0]
        return max(0.0, (self.total - self.done) / rate - since)

    def parts(self) -> list[str]:
        """Return remaining or elapsed time, note and rate, the most important first."""
        remaining, rate = self.remaining(), self.rate()
        elapsed = duration((self.ended or time.monotonic()) - self.began)
        if remaining is not None:
            span = f"{rough(remaining)} left"
        else:
            span = f"in {elapsed}" if self.ended else elapsed
        return [span, self.note, pace(rate, self.unit)]

    def close(self) -> None:
        """End the stage."""
        self.ended = self.ended or time.monotonic()

    @abstractmethod
    def _show(self) -> None:
        """Draw the state of the stage."""


class Stages:
    """Hold the meters of a command, one per stage; a stage ends when the next one begins.

    Args:
        create: Makes the meter of a stage from its name and its unit.
        warn: Prints one line about a long stage; None to print nothing.
    """

    def __init__(
        self,
        create: Callable[[str, str], Meter],
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self._create = create
        self._warn = warn
        self._meters: dict[str, Meter] = {}
        self._announced: set[str] = set()

    def of(self, stage: str, unit: str) -> Meter:
        """Return the meter of a stage; the first call shows it."""
        if stage not in self._meters:
            self.close()
            self._meters[stage] = self._create(stage, unit)
        return self._meters[stage]

    def samples(self, stage: str, done: int, total: int) -> None:
        """Set the progress of a stage that counts samples."""
        self.of(stage, "samples").to(done, total)

    def announce(self, stage: str, faster: str) -> None:
        """Say once that a stage takes long, as soon as that can be estimated.

        Args:
            stage: A stage that has begun.
            faster: The faster choices, as `--epochs 5; a GPU`.
        """
        meter = self._meters[stage]
        remaining = meter.remaining()
        if self._warn is None or stage in self._announced or remaining is None:
            return
        if remaining < LONG:
            return
        self._announced.add(stage)
        self._warn(
            f"the stage {stage} needs about {rough(remaining)} on this machine; faster: {faster}"
        )

    def close(self) -> None:
        """End the current stage."""
        if self._meters:
            list(self._meters.values())[-1].close()


class BarMeter(Meter):
    """Show a stage as a bar.

    Args:
        bars: All bars of the command.
        stage: Name of the stage.
        unit: What is counted, in the plural.
    """

    def __init__(self, bars: "Bars", stage: str, unit: str) -> None:
        super().__init__(stage, unit)
        self._bars = bars
        self._task = bars.add_task(stage, total=None, meter=self)

    def _show(self) -> None:
        self._bars.update(self._task, completed=self.done, total=self.total)


class Bars(Progress):
    """Draw one line per stage that fits the width of the terminal.

    Args:
        console: Where to draw.
    """

    def __init__(self, console: Console) -> None:
        self._width = console.width - 1
        super().__init__(console=console)

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """Return the lines: name, bar, count, and as much of the pace as fits."""
        meters = [task.fields["meter"] for task in tasks]
        width = self._width
        names = max((len(meter.stage) for meter in meters), default=0)
        names = max(8, min(names, int(_NAME_SHARE * width)))
        counts = [_count(meter) for meter in meters]
        count = max(map(len, counts), default=0)
        bar = max(8, min(40, (width - 60) // 3))
        rest = width - names - bar - count - 3
        table = Table.grid(padding=(0, 1, 0, 0))
        for size in (names, bar, count, rest):
            table.add_column(width=max(1, size), no_wrap=True, overflow="ellipsis")
        for meter, shown in zip(meters, counts, strict=True):
            table.add_row(
                Text(meter.stage),
                ProgressBar(meter.total, meter.done, bar, pulse=meter.total is None),
                Text(shown.rjust(count), "progress.download"),
                Text(fitted(meter.parts(), rest), "progress.remaining"),
            )
        return table


class LineMeter(Meter):
    """Print a line about a stage every few seconds.

    Args:
        console: Where to print.
        stage: Name of the stage.
        unit: What is counted, in the plural.
    """

    def __init__(self, console: Console, stage: str, unit: str) -> None:
        super().__init__(stage, unit)
        self._console = console
        self._shown = self.began

    def close(self) -> None:
        """Print how long the stage took."""
        super().close()
        assert self.ended is not None
        more = (self.note, pace(self.rate(), self.unit))
        self._print(f"{self.done} {self.unit} in {duration(self.ended - self.began)}", *more)

    def _show(self) -> None:
        now = time.monotonic()
        if now - self._shown >= LINE_INTERVAL:
            self._shown = now
            total = f" of {self.total}" if self.total else ""
            span, note, speed = self.parts()
            left = span if self.remaining() is not None else ""
            self._print(f"{self.done} {self.unit}{total}", left, note, speed)

    def _print(self, *parts: str) -> None:
        text = f"{self.stage}: {', '.join(filter(None, parts))}"
        self._console.print(text, markup=False, soft_wrap=True)


def fitted(parts: Iterable[str], width: int) -> str:
    """Join as many of the parts as fit into a width; the last one may be cut off."""
    text = ""
    for part in filter(None, parts):
        longer = f"{text}, {part}" if text else part
        if len(longer) <= width:
            text = longer
        elif width - len(text) >= _CUT:
            return f"{longer[: width - 1]}…"
    return text


def pace(rate: float | None, unit: str) -> str:
    """Return a rate as text: ``5.1 samples/s``, or ``12 s each`` below one a second."""
    if not rate:
        return ""
    return f"{rate:.1f} {unit}/s" if rate >= 1 else f"{duration(1 / rate)} each"


def duration(seconds: float) -> str:
    """Format a time span: ``0.4 s``, ``12 s``, ``3 min 20 s``, ``1 h 05 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def rough(seconds: float) -> str:
    """Format an expected time span, from five minutes on without seconds."""
    return (
        duration(seconds) if seconds < 300 else duration(seconds + 30).partition(" min")[0] + " min"
    )


def _count(meter: Meter) -> str:
    return f"{meter.done}/{'?' if meter.total is None else meter.total}"
