"""Run an experiment: synthesize its datasets, evaluate its cells, write its table.

OUT/datasets/miex-3f9c...   each dataset once, found by the hash of its config
OUT/cells/branches-...      each evaluation, found by the hash of its job
OUT/pretrained/...          pretrainings that several cells share
OUT/inputs.json             hashes of its inputs
OUT/index.html              the table; also table.json, table.csv, table.md

The table is rewritten after every cell. An interrupted experiment resumes when it is run again.
"""

import hashlib
import os
from collections.abc import Mapping
from functools import cache as remember
from pathlib import Path
from typing import Any

from miex.datasets.base import Rejection
from miex.datasets.clips.base import open_clips
from miex.datasets.dataset_format import DatasetFolder
from miex.datasets.documents import read_document, write_document
from miex.datasets.files import sha256_file
from miex.datasets.labels import LABEL_SPACES, LabelSpace
from miex.pipeline.experiments.config import Experiment
from miex.pipeline.experiments.page import write_table
from miex.pipeline.experiments.plan import (
    Cell,
    Inputs,
    Plan,
    Scale,
    plan_experiment,
    pretraining_key,
)
from miex.pipeline.experiments.table import Outcome, make_table
from miex.pipeline.make_dataset import synthesize_as_stage
from miex.pipeline.recognition.clip_samples import ClipBlock
from miex.pipeline.recognition.job_config import ClipData, EvaluateJob
from miex.pipeline.recognition.jobs import read_clips, run_evaluation
from miex.pipeline.recognition.results import Result
from miex.pipeline.reports.results_page import write_results_page
from miex.pipeline.synthesis.config import SynthesisConfig
from miex.pipeline.workers import OnStage

_INPUTS = "inputs.json"
"""Hashes of the files and annotations that the cells in a folder were computed of."""


def run_experiment(
    experiment: Experiment,
    inputs: Inputs,
    out: Path,
    cache: Path,
    scale: Scale | None = None,
    *,
    workers: int | None = None,
    on_stage: OnStage | None = None,
) -> dict[str, Any]:
    """Run an experiment, or resume one that was interrupted.

    What cannot be computed, for want of a file, a checkpoint or clips, is an empty cell with its
    reason; the others are computed.

    Args:
        experiment: What to do.
        inputs: Clips and files.
        out: Its folder.
        cache: Folder of cached representations.
        scale: How to depart from the paper.
        workers: Processes that synthesize; all cores by default.
        on_stage: Progress.

    Returns:
        The table, see `experiment_table.make_table`.

    Raises:
        ValueError, FileNotFoundError: See `plan_experiment`; or the folder holds cells that were
            computed of other files or other clips under the same names.
        DiskFullError: The disk is full; what is finished is kept.
    """
    plan = plan_experiment(experiment, inputs, out, scale)
    _claim(out, inputs)
    runner = _Runner(plan, out, cache, workers, on_stage)
    outcomes: list[Outcome] = [Outcome(cell, None, cell.cannot) for cell in plan.cells]
    table = make_table(plan, outcomes, out)
    for index, cell in enumerate(plan.cells):
        if on_stage:
            on_stage(f"cells: {cell.row}, {cell.column.name}", index, len(plan.cells))
        outcomes[index] = runner.run(cell)
        table = make_table(plan, outcomes, out)
        write_table(table, out)
    if on_stage:
        on_stage("cells", len(plan.cells), len(plan.cells))
    return table


def _claim(out: Path, inputs: Inputs) -> None:
    """Record the inputs of an experiment, so that finished cells are not taken for those of others.

    Raises:
        ValueError: No clips; or a file or the annotation of a database is another than before.
        FileNotFoundError: A database is not there.
    """
    found = {f"{name}={path}": sha256_file(Path(path)) for name, path in _paths(inputs).items()}
    if not inputs.clips:
        raise ValueError("no clips to test on; give --clips NAME:PATH, as casme2:/data/CASME2")
    for spec in inputs.clips:
        clips = "\n".join(map(repr, open_clips(spec).clips()))
        found[spec] = hashlib.sha256(clips.encode()).hexdigest()
    path = out / _INPUTS
    remedy = f"give another --out, or delete {out} to begin anew"
    before = read_document(path, "list of inputs", remedy) if path.exists() else {}
    for name, sha256 in found.items():
        if before.get(name, sha256) != sha256:
            raise ValueError(f"{name} is not what it was when {out} was begun; {remedy}")
    write_document(path, before | found)


def _paths(inputs: Inputs) -> dict[str, str]:
    return {name: str(Path(path).expanduser()) for name, path in inputs.files.items()}


class _Runner:
    """Evaluate cells; keep in memory what several of them need."""

    def __init__(
        self, plan: Plan, out: Path, cache: Path, workers: int | None, on_stage: OnStage | None
    ) -> None:
        self._out, self._cache, self._workers, self._on_stage = out, cache, workers, on_stage
        self._problems: dict[Path, str | None] = {}
        self._read = remember(self._read_clips)

    def run(self, cell: Cell) -> Outcome:
        """Return a cell's result, or the reason why there is none."""
        if cell.job is None or cell.folder is None:
            return Outcome(cell, None, cell.cannot)
        try:
            result = Result.open(cell.folder)
        except (FileNotFoundError, ValueError):
            if cell.cannot:
                return Outcome(cell, None, cell.cannot)
            # Not finished, or damaged: its complete folds are reused.
            return self._evaluate(cell, cell.job, cell.folder)
        return Outcome(cell, result, None)

    def _evaluate(self, cell: Cell, job: EvaluateJob, folder: Path) -> Outcome:
        for place, config in cell.datasets.items():
            problem = self._synthesize(place, config)
            if problem:
                return Outcome(cell, None, f"dataset {config.name}: {problem}")
        if cell.datasets or job.pretraining_clips.databases:
            self._share_pretraining(folder, pretraining_key(job))
        try:
            result = run_evaluation(
                job,
                folder,
                self._cache,
                on_stage=self._on_stage,
                read=lambda data, space, _: self._read(data.model_dump_json(), space.name),
            )
        except (ValueError, FileNotFoundError) as error:
            return Outcome(cell, None, " ".join(str(error).split()))
        write_results_page([result], folder)
        return Outcome(cell, result, None)

    def _read_clips(self, data: str, space: str) -> tuple[list[ClipBlock], list[Rejection]]:
        # Otherwise every cell would decode the same clips again.
        found: LabelSpace = LABEL_SPACES[space]
        return read_clips(ClipData.model_validate_json(data), found, self._on_stage)

    def _synthesize(self, folder: Path, config: SynthesisConfig) -> str | None:
        """Make a dataset unless it exists; return why it cannot be made, if so."""
        if folder not in self._problems:
            try:
                self._make(folder, config)
                self._problems[folder] = None
            except (ValueError, FileNotFoundError) as error:
                self._problems[folder] = " ".join(str(error).split())
        return self._problems[folder]

    def _make(self, folder: Path, config: SynthesisConfig) -> None:
        try:
            DatasetFolder.open(folder)
        except FileNotFoundError:
            stage = f"synthesizing {config.name}"
            synthesize_as_stage(
                config, folder, stage, workers=self._workers, on_stage=self._on_stage
            )

    def _share_pretraining(self, folder: Path, key: str) -> None:
        """Let a cell find equal pretrainings of other cells."""
        link, shared = folder / "pretrained", self._out / "pretrained" / key
        shared.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            folder.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(shared, folder), target_is_directory=True)


def show_plan(plan: Plan) -> Mapping[str, list[str]]:
    """Return cells by the reason why they cannot be computed; under '' those that can."""
    found: dict[str, list[str]] = {}
    for cell in plan.cells:
        found.setdefault(cell.cannot or "", []).append(f"{cell.row}, {cell.column.name}")
    return found
