"""What happened in a training, one JSON object a line, readable while it runs."""

import json
from pathlib import Path
from typing import Any

from miex.datasets.files import whole_file

METRICS = "metrics.jsonl"


class TrainingLog:
    """Appends to a log; lines of steps that will be made again are dropped.

    Args:
        folder: Holds the log, `METRICS`.
        step: The step with which training goes on; 0 begins anew.
        tensorboard: Whether TensorBoard's files are written too.

    Raises:
        ImportError: TensorBoard is asked for and not installed.
        DiskFullError: The disk is full; the log that was there before is still there.
    """

    def __init__(self, folder: Path, step: int, tensorboard: bool) -> None:
        path = folder / METRICS
        kept = [line for line in _lines(path) if _step_of(line) <= step] if step else []
        self._board: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise ImportError(
                    "TensorBoard is not installed: pip install 'miex[tensorboard]'"
                ) from None
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step)
        with whole_file(path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")

    def step(self, step: int, epoch: int, learning_rate: float, terms: dict[str, float]) -> None:
        """Writes one step."""
        line = {"step": step, "epoch": epoch, "learning_rate": learning_rate, **terms}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if self._board:
            for name, value in terms.items():
                self._board.add_scalar(name, value, step)

    def warn(self, step: int, epoch: int, message: str) -> None:
        """Write what goes wrong after a step."""
        line = {"step": step, "epoch": epoch, "warning": message}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the files."""
        self._file.close()
        if self._board:
            self._board.close()


def _lines(path: Path) -> list[str]:
    """Whole lines; the last one may have been cut by a kill."""
    if not path.is_file():
        return []
    return [
        line
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True)
        if line.endswith("\n")
    ]


def _step_of(line: str) -> float:
    """The step that a line is of; infinite, so that it is dropped, if it is damaged."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
