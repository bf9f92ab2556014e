"""Plan an experiment: its datasets, its cells, its departures from the paper."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from miex.datasets.config import build
from miex.datasets.given_files import require_file
from miex.generators.base import GeneratorConfig, create_generator
from miex.pipeline.experiments.clip_roles import ClipRoles
from miex.pipeline.experiments.config import (
    Column,
    Experiment,
    Row,
    filled,
    placeholders,
)
from miex.pipeline.experiments.scale import Inputs as Inputs
from miex.pipeline.experiments.scale import Scale as Scale
from miex.pipeline.experiments.tracks import missing_tracks
from miex.pipeline.recognition.input_form import with_form_training
from miex.pipeline.recognition.job_config import EvaluateJob
from miex.pipeline.recognition.jobs import result_folder
from miex.pipeline.recognition.protocols import Protocol, find_protocol
from miex.pipeline.recognition.recognizer_config import RecognizerConfig, TrainingStage
from miex.pipeline.recognition.recognizers.base import recognizer_class, with_preset
from miex.pipeline.synthesis.config import SynthesisConfig

_PLACES = frozenset(
    {
        "clips.databases",
        "synthetic.datasets",
        "pretraining_clips.databases",
        "training_clips.databases",
    }
)
"""Fields that the command fills; a setting must not."""

_HARMLESS = ("evaluation.run.device", "evaluation.run.checkpoint_seconds", "generator.device")
"""Settings that change no number beyond its last digits."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the table.

    Attributes:
        row: Name of its row.
        column: Its column.
        job: What is evaluated; None if nothing can be.
        folder: Of the result.
        datasets: Folders and configs of the datasets it pretrains on.
        cannot: Why nothing can be evaluated.
        paper: The paper's numbers by metric.
    """

    row: str
    column: Column
    job: EvaluateJob | None
    folder: Path | None
    datasets: Mapping[Path, SynthesisConfig]
    cannot: str | None
    paper: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that will be done.

    Attributes:
        experiment: The experiment.
        columns: Those that are left.
        rows: Names of those that are left.
        cells: All of them, by row, then by column.
        departures: What is not as in the paper.
        changed: Those of them that make its cells others than the paper's.
        stand_in: What the clips are, if they are not the paper's.
    """

    experiment: Experiment
    columns: tuple[Column, ...]
    rows: tuple[str, ...]
    cells: tuple[Cell, ...]
    departures: tuple[str, ...]
    changed: tuple[str, ...]
    stand_in: str | None


def plan_experiment(
    experiment: Experiment, inputs: Inputs, out: Path, scale: Scale | None = None
) -> Plan:
    """Plan every cell, and check what can be checked before anything is computed.

    Args:
        experiment: What to do.
        inputs: Clips and files.
        out: Folder of the experiment.
        scale: How to depart from it.

    Raises:
        ValueError: A file of a name that the experiment does not know, a setting that does not fit,
            or nothing is left of the table.
        FileNotFoundError: A given file is not there.
    """
    scale = scale or Scale()
    _check_files(experiment, inputs.files)
    _check_settings(experiment, scale)
    columns, merged = _columns(experiment, scale)
    rows = [row for row in experiment.rows if _wanted(row.name, scale.rows)]
    builder = _Builder(experiment, inputs, out, scale)
    made = [[builder.cell(row, column) for column in columns] for row in rows]
    left = [[cell for cell in line if cell is not None] for line in made]
    cells = [cell for line in left for cell in line]
    if not cells:
        raise ValueError(
            f"{experiment.name}: nothing is left of the table; its rows are"
            f" {', '.join(row.name for row in experiment.rows)}"
        )
    there = {cell.column.name for cell in cells}
    changed = (*_changes(experiment, scale), *builder.notes())
    return Plan(
        experiment,
        tuple(column for column in columns if column.name in there),
        tuple(row.name for row, line in zip(rows, left, strict=True) if line),
        tuple(cells),
        (*merged, *_selection(experiment, scale, len(rows)), *changed),
        tuple(each for each in changed if not each.startswith(_HARMLESS)),
        scale.stand_in or (f"evaluated by {scale.protocol}" if scale.protocol else None),
    )


def _check_files(experiment: Experiment, files: Mapping[str, str]) -> None:
    for name, path in files.items():
        if name not in experiment.inputs:
            known = ", ".join(experiment.inputs) or "none"
            raise ValueError(f"{experiment.name} takes no file called {name!r}; it takes: {known}")
        require_file(Path(path).expanduser(), f"file for {name}", "give another path")
        about = experiment.inputs[name].about
        if "face table" in about and not path.endswith(".parquet"):
            raise ValueError(
                f"{name}={path}: expected a face table (.parquet), so that all datasets share it;"
                " `miex faces SOURCE --out faces.parquet` makes one"
            )


def _check_settings(experiment: Experiment, scale: Scale) -> None:
    for fields in (experiment.settings, scale.settings):
        for name in _PLACES & set(fields):
            raise ValueError(f"{name} is no setting of an experiment: the command fills it")
    if "evaluation.protocol" in scale.settings:
        raise ValueError(
            "evaluation.protocol is no setting of a run: give --protocol, and every heading says so"
        )
    known = {each.settings.get("evaluation.recognizer") for each in experiment.columns}
    known.add(experiment.settings.get("evaluation.recognizer"))
    known |= {row.settings.get("evaluation.recognizer") for row in experiment.rows}
    for name in scale.recognizers:
        if name not in known:
            there = ", ".join(sorted(each for each in known if each))
            raise ValueError(f"{experiment.name} has no recognizer {name!r}; it has: {there}")


def _wanted(name: str, patterns: Iterable[str]) -> bool:
    patterns = tuple(patterns)
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def _columns(experiment: Experiment, scale: Scale) -> tuple[list[Column], list[str]]:
    """Return the columns, and notes on merged ones; on one protocol some are the same."""
    if scale.protocol is None:
        return list(experiment.columns), []
    protocol = find_protocol(scale.protocol)
    notes = [
        f"every protocol is replaced by {protocol.name} ({protocol.citation}), with"
        f" {len(protocol.space.classes)} classes"
    ]
    whole = [column for column in experiment.columns if column.database is None]
    parts = [column.name for column in experiment.columns if column.database is not None]
    if parts:
        notes.append(f"left out, being of one database each: {', '.join(parts)}")
    alike: dict[str, list[Column]] = {}
    for column in whole or experiment.columns:
        kept = {name: it for name, it in column.settings.items() if name != "evaluation.protocol"}
        alike.setdefault(repr(sorted(kept.items())), []).append(column)
    result = []
    for group in alike.values():
        name = " / ".join(column.name for column in group)
        if len(group) > 1:
            notes.append(f"one column, as they differ in the protocol only: {name}")
        result.append(group[0].model_copy(update={"name": name}) if len(group) > 1 else group[0])
    return result, notes


def _selection(experiment: Experiment, scale: Scale, rows: int) -> list[str]:
    """Return which part of the table is computed."""
    notes = []
    if rows < len(experiment.rows):
        notes.append(f"{len(experiment.rows) - rows} of {len(experiment.rows)} rows left out")
    if scale.recognizers:
        notes.append(f"recognizers: {', '.join(scale.recognizers)} only")
    return notes


def _changes(experiment: Experiment, scale: Scale) -> list[str]:
    """Return how the computation departs from the experiment."""
    notes = []
    own = experiment.settings.get("evaluation.seeds")
    if scale.seeds is not None and own != list(range(scale.seeds)):
        notes.append(f"{scale.seeds} run{'s' if scale.seeds > 1 else ''} of each cell")
    pretraining = scale.pretraining_epochs or scale.epochs
    if scale.epochs != 1:
        notes.append(f"{scale.epochs:g} of the epochs of each training")
    if pretraining != scale.epochs:
        notes.append(f"{pretraining:g} of the epochs of each pretraining")
    for name, value in (scale.settings | scale.synthesis).items():
        notes.append(f"{name} = {value}")
    return notes


class _Builder:
    """Make the cells."""

    def __init__(self, experiment: Experiment, inputs: Inputs, out: Path, scale: Scale) -> None:
        self._experiment, self._inputs, self._out, self._scale = experiment, inputs, out, scale
        self._files = {
            name: str(Path(path).expanduser().resolve()) for name, path in inputs.files.items()
        }
        self._roles = ClipRoles(experiment, inputs.clips)
        self._absent: dict[str, None] = {}
        self._sizes: dict[str, str] = {}
        self._generators: dict[GeneratorConfig, str | None] = {}

    def cell(self, row: Row, column: Column) -> Cell | None:
        """Return a cell; None if its recognizer is not wanted."""
        experiment, scale = self._experiment, self._scale
        where = f"{experiment.name}, row {row.name!r}, column {column.name!r}"
        fields: dict[str, Any] = {"evaluation.protocol": experiment.protocol}
        fields |= experiment.settings | row.settings | column.settings | scale.settings
        if scale.protocol:
            fields["evaluation.protocol"] = scale.protocol
        if scale.seeds is not None:
            fields["evaluation.seeds"] = list(range(scale.seeds))
        if scale.recognizers and fields.get("evaluation.recognizer") not in scale.recognizers:
            return None
        missing = self._missing([fields, *(experiment.datasets[name] for name in row.datasets)])
        protocol = find_protocol(fields["evaluation.protocol"])
        missing += self._roles.missing(row) + self._untestable(protocol)
        unwanted = row.columns and column.name not in row.columns
        cannot = "not of this experiment" if unwanted else row.cannot
        cannot = cannot or (f"needs {'; '.join(missing)}" if missing else None)
        paper = {str(name): value for name, value in row.paper.get(column.name, {}).items()}
        if cannot:
            return Cell(row.name, column, None, None, {}, cannot, paper)
        try:
            job = self._job(fields, row, protocol)
            space = job.evaluation.space_of_pretraining.name
            datasets = dict(self._dataset(name, space) for name in row.datasets)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        synthetic = job.synthetic.model_copy(update={"datasets": tuple(map(str, datasets))})
        job = job.model_copy(update={"synthetic": synthetic})
        folder = result_folder(_portable(job), self._out / "cells")
        cannot = next(filter(None, map(self._unable, datasets.values())), None)
        return Cell(row.name, column, job, folder, datasets, cannot, paper)

    def notes(self) -> list[str]:
        """Return what datasets and databases differ in from the paper's."""
        return [*self._sizes.values(), *self._absent]

    def _untestable(self, protocol: Protocol) -> list[str]:
        """Return what a protocol needs if nothing is given that it tests; note what it lacks."""
        absent = self._roles.absent(protocol)
        if absent and not self._roles.tested(protocol):
            return [f"clips to test on, of {' or '.join(protocol.databases)} (--clips NAME:FOLDER)"]
        if absent:
            tests = ", ".join(protocol.databases)
            self._absent[f"{protocol.name} tests {tests}; not given: {', '.join(absent)}"] = None
        return []

    def _missing(self, values: list[dict[str, Any]]) -> list[str]:
        """Return the inputs that some values name and that are not given."""
        known = self._experiment.inputs
        names = {
            name: None
            for name in placeholders(values)
            if name not in self._files and not known[name].optional
        }
        return [f"{name} ({known[name].about})" for name in names]

    def _job(self, fields: dict[str, Any], row: Row, protocol: Protocol) -> EvaluateJob:
        content = filled(fields, self._files)
        content["clips.databases"] = self._roles.tested(protocol)
        for stage in ("pretraining_clips", "training_clips"):
            if names := getattr(row, stage):
                given = self._roles.training(names)
                content |= {f"{stage}.databases": given.databases, f"{stage}.only": given.only}
        job = build(EvaluateJob, content)
        config = job.evaluation
        pretrained = bool(row.datasets or row.pretraining_clips)
        stages: tuple[tuple[str, TrainingStage, float], ...] = (
            (
                "pretraining",
                "pretraining" if config.finetune else "alone",
                self._scale.pretraining_epochs or self._scale.epochs,
            ),
            ("finetuning", "fine_tuning" if pretrained else "training", self._scale.epochs),
        )
        changed = {}
        for name, stage, factor in stages:
            changes: dict[str, Any] = getattr(config, name)
            hyper = _own_config(job).hyperparameters(changes, stage)
            if factor != 1:
                # Given epochs replace a largest number of steps, which is scaled instead.
                field = "epochs" if hyper.max_steps is None else "max_steps"
                amount = getattr(hyper, field)
                changed[name] = changes | {field: max(1, round(amount * factor))}
        evaluation = config.model_copy(update=changed)
        return job.model_copy(update={"evaluation": evaluation})

    def _dataset(self, name: str, label_space: str) -> tuple[Path, SynthesisConfig]:
        """Return folder and config of a dataset in some classes."""
        fields = dict(self._experiment.datasets[name])
        stated = {key: fields[key] for key in ("identities", "samples")}
        fields |= self._sized(fields) | self._scale.synthesis
        made = {key: fields[key] for key in stated}
        if made != stated:
            self._sizes[name] = (
                f"{name}: {made['samples']} samples of {made['identities']} identities, not"
                f" {stated['samples']} of {stated['identities']}"
            )
        content = {"name": name, "label_space": label_space} | fields
        config = build(SynthesisConfig, filled(content, self._files))
        folder = self._out.resolve() / "datasets" / f"{name}-{config.sha256()[:10]}"
        return folder, config

    def _unable(self, config: SynthesisConfig) -> str | None:
        """Return why a dataset cannot be rendered, for example for lack of weights."""
        generator = config.generator.model_copy(update={"device": "cpu", "compile": False})
        if generator not in self._generators:
            try:
                create_generator(generator)
                self._generators[generator] = None
            except (ValueError, FileNotFoundError) as error:
                self._generators[generator] = " ".join(str(error).split())
        problem = self._generators[generator] or missing_tracks(config)
        return problem and f"dataset {config.name}: {problem}"

    def _sized(self, fields: Mapping[str, Any]) -> dict[str, int]:
        """Return identities, samples and AU triplets of a dataset, reduced by the scale."""
        scale, datasets = self._scale, self._experiment.datasets.values()
        most = {key: max(int(each[key]) for each in datasets) for key in ("identities", "samples")}
        people = 1.0 if scale.identities is None else scale.identities / most["identities"]
        samples = people if scale.samples is None else scale.samples / most["samples"]
        sizes = {
            "identities": max(1, round(fields["identities"] * people)),
            "samples": max(1, round(fields["samples"] * samples)),
        }
        if "au_triplets" in fields:
            sizes["au_triplets"] = max(1, round(fields["au_triplets"] * samples))
        return sizes


def _portable(job: EvaluateJob) -> EvaluateJob:
    """Return the job with its datasets by name, so that a moved folder finds its cells."""
    names = tuple(Path(folder).name for folder in job.synthetic.datasets)
    return job.model_copy(
        update={"synthetic": job.synthetic.model_copy(update={"datasets": names})}
    )


def _own_config(job: EvaluateJob) -> RecognizerConfig:
    """Return the config of a job's recognizer, with its preset and the training of its form."""
    config = job.evaluation
    given = with_preset(config.recognizer, config.preset, config.config)
    given = with_form_training(config.recognizer, given)
    return build(recognizer_class(config.recognizer).Config, given)


def pretraining_key(job: EvaluateJob) -> str:
    """Return the hash of all that a cell's pretraining depends on, except seeds and refused people.

    Cells that differ in what comes after it, or in nothing but the clips, share it.
    """
    config = job.evaluation
    stage: TrainingStage = "pretraining" if config.finetune else "alone"
    own = _own_config(job)
    later = {"training", "fine_tuning", "pre_training", "alone"}
    parts = [
        config.recognizer,
        own.model_dump(mode="json", exclude=later),
        own.hyperparameters(config.pretraining, stage).model_dump(mode="json"),
        config.space_of_pretraining.name,
        config.run.model_dump(mode="json"),
        job.pretraining_clips.model_dump(mode="json") | {"samples": job.clips.samples.model_dump()},
        _portable(job).synthetic.model_dump(mode="json"),
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
