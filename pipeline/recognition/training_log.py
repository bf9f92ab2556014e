"""Log of a training, one JSON object per line, readable while it runs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from miex.datasets.files import whole_file
from miex.datasets.trackers import TrackerName, Trackers

METRICS = "metrics.jsonl"


class TrainingLog:
    """Append to a log; lines of steps that will be made again are dropped.

    Args:
        folder: Holds the log, `METRICS`.
        step: The step at which the training resumes; 0 begins a new log.
        trackers: Trackers that get the same numbers.
        config: Config of the training, for the trackers.

    Raises:
        ImportError: A tracker is not installed.
        DiskFullError: The disk is full; the log that was there before is still there.
    """

    def __init__(
        self,
        folder: Path,
        step: int,
        trackers: Sequence[TrackerName] = (),
        config: Mapping[str, Any] | None = None,
    ) -> None:
        path = folder / METRICS
        kept = [line for line in _lines(path) if _step_of(line) <= step] if step else []
        folder.mkdir(parents=True, exist_ok=True)
        self._trackers = Trackers(trackers, folder, step, config)
        with whole_file(path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")

    def step(self, step: int, epoch: int, learning_rate: float, terms: dict[str, float]) -> None:
        """Write one step."""
        line = {"step": step, "epoch": epoch, "learning_rate": learning_rate, **terms}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        self._trackers.log(step, {"learning_rate": learning_rate, **terms})

    def warn(self, step: int, epoch: int, message: str) -> None:
        """Write a warning after a step."""
        line = {"step": step, "epoch": epoch, "warning": message}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file and end the runs of the trackers."""
        self._file.close()
        self._trackers.close()


def _lines(path: Path) -> list[str]:
    """Return complete lines; a kill may have truncated the last one."""
    if not path.is_file():
        return []
    return [
        line
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        if line.endswith("\n")
    ]


def _step_of(line: str) -> float:
    """Return the step of a line; infinity for a damaged line, so that it is dropped."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
