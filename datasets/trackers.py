"""Trackers of trainings: TensorBoard, Weights & Biases, MLflow, through accelerate.

Their own environment variables apply: ``WANDB_MODE=offline``, ``WANDB_PROJECT``,
``MLFLOW_TRACKING_URI`` and so on.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Literal, get_args
from uuid import uuid4

from miex.datasets.extras import how_to_install
from miex.datasets.files import whole_file
from miex.datasets.paths import masked

TrackerName = Literal["tensorboard", "wandb", "mlflow"]

PROJECT = "miex"
"""Project in Weights & Biases, experiment in MLflow."""

RUNS = "trackers.json"
"""Ids of the runs of a training, so that a resumed training goes on in the same runs."""

_PACKAGES = {
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "mlflow": ("mlflow", "mlflow-skinny"),
}


def tracker_names() -> tuple[str, ...]:
    """Return the names of all trackers, installed or not."""
    return get_args(TrackerName)


class Trackers:
    """Send the numbers of a training to the trackers that are asked for.

    Args:
        names: Trackers.
        folder: Folder of the training; its name is the name of the run. TensorBoard's files are
            written to ``tensorboard`` in it.
        step: Step at which the training resumes; 0 begins new runs.
        config: Config of the training, shown beside its numbers.

    Raises:
        ImportError: A tracker is not installed; the message names the extra.
        ValueError: A tracker cannot be reached; the message names the way out.
    """

    def __init__(
        self,
        names: Sequence[TrackerName],
        folder: Path,
        step: int = 0,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        for name in names:
            _require_installed(name)
        self._trackers: dict[str, Any] = {}
        if not names:
            return
        runs = _read_runs(folder) if step else {}
        for name in names:
            with _using(name):
                tracker = _create(name, folder, step, runs)
                tracker.start()
                self._trackers[name] = tracker
                if name == "mlflow":
                    runs[name] = tracker.tracker.info.run_id
                # TensorBoard would make a run of its own for the parameters.
                if config and name != "tensorboard":
                    tracker.store_init_configuration(_flat(config))
        with whole_file(folder / RUNS) as temporary:
            temporary.write_text(json.dumps(runs), encoding="utf-8")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Send numbers of a step."""
        for name, tracker in self._trackers.items():
            with _using(name):
                tracker.log(dict(values), step=step)

    def close(self) -> None:
        """End the runs."""
        for name, tracker in self._trackers.items():
            with _using(name):
                tracker.finish()
        self._trackers = {}


@contextlib.contextmanager
def _using(name: str) -> Iterator[None]:
    """Turn the errors of a tracker, of many kinds, into one that shows no password."""
    try:
        yield
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        said = masked(" ".join(str(error).split()))
        raise ValueError(
            f"the tracker {name} fails ({said}); check its environment variables, or leave out"
            f" --log {name} (metrics.jsonl has the same numbers)"
        ) from None


def _create(name: TrackerName, folder: Path, step: int, runs: dict[str, str]) -> Any:
    # Imported here, since accelerate takes a second.
    from accelerate.tracking import MLflowTracker, TensorBoardTracker, WandBTracker

    run = folder.resolve().name
    if name == "tensorboard":
        return TensorBoardTracker("tensorboard", folder, purge_step=step)
    if name == "wandb":
        runs.setdefault(name, uuid4().hex[:16])
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        return WandBTracker(project, name=run, dir=str(folder), id=runs[name], resume="allow")
    # MLflow prints the address of the run, with the password that it may hold.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    return MLflowTracker(
        os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT),
        run_id=runs.get(name),
        run_name=None if name in runs else run,
    )


def _require_installed(name: str) -> None:
    for package in _PACKAGES[name]:
        try:
            distribution(package)
        except PackageNotFoundError:
            continue
        return
    raise ImportError(f"--log {name}: {name} is not installed; {how_to_install('loggers')}")


def _read_runs(folder: Path) -> dict[str, str]:
    try:
        found = json.loads((folder / RUNS).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(run) for name, run in found.items()} if isinstance(found, dict) else {}


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return nested values by dotted name, each a number or a text without passwords."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{name}.")
        else:
            plain = isinstance(value, bool | int | float)
            found[f"{before}{name}"] = value if plain else masked(str(value))
    return found
