"""Measurement of faces in several processes; the result does not depend on their number."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from miex.au_sources.base import AUSource, open_source
from miex.datasets.files import whole_file
from miex.generators.base import FaceGenerator, create_generator
from miex.pipeline.assessment.cases import Case, micro_cases, single_cases
from miex.pipeline.assessment.config import AssessmentConfig
from miex.pipeline.assessment.embeddings import IDENTITY, dlib_identity, open_embedding
from miex.pipeline.assessment.held_out import HeldOutFaces, open_held_out
from miex.pipeline.assessment.measure import Instruments, Measurements, measure_face
from miex.pipeline.aus.fidelity import AUReader
from miex.pipeline.workers import map_in_processes

_CHUNK = 4
"""Number of faces per part file."""

_CASE_STREAM, _LOOK_STREAM = 4, 5


@dataclass(frozen=True, slots=True)
class AssessmentJob:
    """An assessment that any process can work on; it is picklable.

    Attributes:
        config: The config, with estimators.
        faces: A training set or face table (.parquet).
        people: Number of identities.
        parts: Folder for the part files.
    """

    config: AssessmentConfig
    faces: Path
    people: int
    parts: Path

    @property
    def chunks(self) -> int:
        """Number of chunks of faces per generator."""
        return -(-self.people // _CHUNK)

    def part(self, number: int) -> Path:
        """Return the part file of a chunk."""
        return self.parts / f"{number:06d}.npz"


def cases_of(config: AssessmentConfig, sources: Sequence[AUSource], face: int) -> list[Case]:
    """Return the cases of a face: the same single AUs for every face, and drawn micro-expressions.

    Args:
        config: The config.
        sources: The opened AU sources of the config.
        face: Index of the face, from which its random draws derive.
    """
    rng = np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(_CASE_STREAM, face)))
    return [
        *single_cases(config.intensities),
        *micro_cases(config.sources, sources, config.draws, rng),
    ]


def _choose_looks(config: AssessmentConfig, cases: Sequence[Case], face: int) -> list[int]:
    """Draw the cases of a face whose apex is embedded, half of them micro-expressions."""
    rng = np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(_LOOK_STREAM, face)))
    groups = [
        [number for number, case in enumerate(cases) if case.kind == kind]
        for kind in ("single", "micro")
    ]
    half = min(config.looks // 2, *map(len, groups))
    return [int(n) for group in groups for n in np.sort(rng.choice(group, half, replace=False))]


def open_sources(config: AssessmentConfig) -> list[AUSource]:
    """Open the AU sources of the micro-expressions."""
    return [open_source(spec) for spec in config.sources]


def open_instruments(config: AssessmentConfig) -> Instruments:
    """Open the estimators and embeddings of a config.

    Raises:
        ValueError: An estimator or embedding does not exist, or a model file is damaged.
        FileNotFoundError: A model file is missing.
        ModuleNotFoundError: A package that an estimator needs is not installed.
    """
    identity = dlib_identity()
    return Instruments(
        readers=[AUReader.create(spec, config.calibration) for spec in config.estimators],
        identity=identity,
        embeddings={
            spec.partition(":")[0]: identity if spec == IDENTITY else open_embedding(spec)
            for spec in config.embeddings
        },
    )


def measure_all(
    job: AssessmentJob, workers: int | None, on_faces: Callable[[int], None] | None
) -> list[Measurements]:
    """Measure every face with every generator.

    Args:
        job: The assessment.
        workers: Number of processes, all cores by default.
        on_faces: Called with the number of faces measured since the last call.

    Returns:
        The measurements of each generator, in the order of the config.
    """
    chunks = job.chunks
    count = chunks * len(job.config.generators)
    map_in_processes(_measure_chunk, job, range(count), workers=workers, on_progress=on_faces)
    parts = [Measurements.load(job.part(number)) for number in range(count)]
    return [Measurements.join(parts[first : first + chunks]) for first in range(0, count, chunks)]


def _measure_chunk(job: AssessmentJob, number: int, on_faces: Callable[[int], None] | None) -> None:
    """Measure a chunk of faces with one generator and write its part file."""
    inputs = _inputs(job)
    generator_number, chunk = divmod(number, job.chunks)
    generator = inputs.generator(generator_number)
    found = []
    for face in range(chunk * _CHUNK, min((chunk + 1) * _CHUNK, job.people)):
        cases = cases_of(job.config, inputs.sources, face)
        looks = _choose_looks(job.config, cases, face)
        one = measure_face(inputs.faces.faces[face], generator, cases, looks, inputs.instruments)
        found.append(one)
        if on_faces:
            on_faces(1)
    with whole_file(job.part(number)) as temporary:
        Measurements.join(found).save(temporary)


@dataclass(frozen=True, slots=True)
class _Inputs:
    """The opened inputs of an assessment."""

    config: AssessmentConfig
    faces: HeldOutFaces
    sources: Sequence[AUSource]
    instruments: Instruments
    opened: dict[int, FaceGenerator[Any]]

    def generator(self, number: int) -> FaceGenerator[Any]:
        """Return a generator by its index in the config; each one is opened once."""
        if number not in self.opened:
            self.opened[number] = create_generator(self.config.generators[number])
        return self.opened[number]


_local = threading.local()


def _inputs(job: AssessmentJob) -> _Inputs:
    """Return the opened inputs of a job; each thread keeps them for its next chunk."""
    if getattr(_local, "job", None) != job:
        # Chunks are measured in parallel processes. Within one, a single thread keeps the order of
        # floating-point sums, and thus the result, independent of the machine.
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        config = job.config
        _local.inputs = _Inputs(
            config,
            open_held_out(job.faces, config.identities, config.seed),
            open_sources(config),
            open_instruments(config),
            {},
        )
        _local.job = job
    inputs: _Inputs = _local.inputs
    return inputs
