"""Measures faces in any number of processes; what comes out does not depend on how many."""

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
"""Faces that a process measures in one go."""

_CASE_STREAM, _LOOK_STREAM = 4, 5


@dataclass(frozen=True, slots=True)
class Job:
    """What is measured; small and picklable.

    Attributes:
        config: With estimators chosen.
        faces: A Parquet file.
        people: How many faces.
        parts: Folder for what is measured of each chunk.
    """

    config: AssessmentConfig
    faces: Path
    people: int
    parts: Path

    @property
    def chunks(self) -> int:
        """Chunks of faces for each generator."""
        return -(-self.people // _CHUNK)

    def part(self, number: int) -> Path:
        """File of a chunk."""
        return self.parts / f"{number:06d}.npz"


def cases_of(config: AssessmentConfig, sources: Sequence[AUSource], face: int) -> list[Case]:
    """The cases of a face: all AUs alone, as for every face, and micro-expressions of its own."""
    rng = np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(_CASE_STREAM, face)))
    return [
        *single_cases(config.intensities),
        *micro_cases(config.sources, sources, config.draws, rng),
    ]


def looks_of(config: AssessmentConfig, cases: Sequence[Case], face: int) -> list[int]:
    """Cases whose apex is embedded: half of them micro-expressions, as many for every face."""
    rng = np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=(_LOOK_STREAM, face)))
    groups = [
        [number for number, case in enumerate(cases) if case.kind == kind]
        for kind in ("single", "micro")
    ]
    half = min(config.looks // 2, *map(len, groups))
    return [int(n) for group in groups for n in np.sort(rng.choice(group, half, replace=False))]


def open_sources(config: AssessmentConfig) -> list[AUSource]:
    """The AU sources of the micro-expressions."""
    return [open_source(spec) for spec in config.sources]


def open_instruments(config: AssessmentConfig) -> Instruments:
    """Estimators and embeddings.

    Raises:
        ValueError, FileNotFoundError, ModuleNotFoundError: One of them cannot be opened.
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
    job: Job, workers: int | None, on_faces: Callable[[int], None] | None
) -> list[Measurements]:
    """Measures every face with every generator.

    Args:
        job: What to measure.
        workers: Processes, all cores by default.
        on_faces: Called with the number of faces measured since the last call.

    Returns:
        One for each generator of the config.
    """
    chunks = job.chunks
    count = chunks * len(job.config.generators)
    map_in_processes(measure_chunk, job, range(count), workers=workers, on_progress=on_faces)
    parts = [Measurements.load(job.part(number)) for number in range(count)]
    return [Measurements.join(parts[first : first + chunks]) for first in range(0, count, chunks)]


def measure_chunk(job: Job, number: int, on_faces: Callable[[int], None] | None) -> None:
    """Measures a few faces with one generator and writes a part file."""
    shop = _workshop(job)
    generator_number, chunk = divmod(number, job.chunks)
    generator = shop.generator(generator_number)
    found = []
    for face in range(chunk * _CHUNK, min((chunk + 1) * _CHUNK, job.people)):
        cases = cases_of(job.config, shop.sources, face)
        looks = looks_of(job.config, cases, face)
        one = measure_face(shop.faces.faces[face], generator, cases, looks, shop.instruments)
        found.append(one)
        if on_faces:
            on_faces(1)
    with whole_file(job.part(number)) as temporary:
        Measurements.join(found).save(temporary)


@dataclass(frozen=True, slots=True)
class _Workshop:
    config: AssessmentConfig
    faces: HeldOutFaces
    sources: Sequence[AUSource]
    instruments: Instruments
    opened: dict[int, FaceGenerator[Any]]

    def generator(self, number: int) -> FaceGenerator[Any]:
        """The generator of that number in the config, opened once."""
        if number not in self.opened:
            self.opened[number] = create_generator(self.config.generators[number])
        return self.opened[number]


_local = threading.local()


def _workshop(job: Job) -> _Workshop:
    """Opened inputs, kept for the next chunk in the same thread."""
    if getattr(_local, "job", None) != job:
        # Chunks are the unit of parallelism, and sums must not depend on the number of threads.
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        config = job.config
        _local.workshop = _Workshop(
            config,
            open_held_out(job.faces, config.identities, config.seed),
            open_sources(config),
            open_instruments(config),
            {},
        )
        _local.job = job
    workshop: _Workshop = _local.workshop
    return workshop
