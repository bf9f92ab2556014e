"""Preparation of one chunk of photographs into one part file, from which a run can resume.

A part is a Parquet file of candidate faces: the columns of the face table and a column of hashes.
Its metadata holds the rejections of the chunk and the fingerprint of the run. A worker process
calls `start_worker` once and `make_part_in_worker` for each chunk.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import pyarrow as pa
import pyarrow.parquet as pq

from miex.datasets.base import Photograph, Rejection
from miex.datasets.files import whole_file
from miex.datasets.seals import SEAL, UNSEALED, has_valid_seal
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.detection import FaceDetector
from miex.pipeline.faces.filters import perceptual_hash
from miex.pipeline.faces.preparation import prepare_photographs
from miex.pipeline.faces.table_file import (
    SCHEMA,
    face_to_row,
    pack_rejections,
    unpack_rejections,
)
from miex.pipeline.workers import keep_freed_memory, leave_with_parent

DetectorFactory = Callable[[FaceConfig], FaceDetector]

_PART_SCHEMA = SCHEMA.append(pa.field("hash", pa.binary(32)))

_FINGERPRINT_KEY = b"miex.fingerprint"
_REJECTIONS_KEY = b"miex.rejections"


@dataclass(frozen=True, slots=True)
class Chunk:
    """The photographs that one part file holds.

    Attributes:
        path: The part file to write.
        fingerprint: Fingerprint of the run; a part with a different fingerprint is replaced.
        photographs: The photographs to prepare.
    """

    path: Path
    fingerprint: str
    photographs: tuple[Photograph, ...]


@dataclass(frozen=True, slots=True)
class PartSummary:
    """The metadata of a part.

    Attributes:
        candidates: Number of faces that met every threshold of `judge`.
        rejections: One rejection for each other photograph of the chunk.
    """

    candidates: int
    rejections: list[Rejection]


def make_part(chunk: Chunk, config: FaceConfig, detector: FaceDetector) -> PartSummary:
    """Prepare the photographs of a chunk and write its part file atomically."""
    rows: list[dict[str, object]] = []
    rejections: list[Rejection] = []
    for result in prepare_photographs(chunk.photographs, config, detector):
        if isinstance(result, Rejection):
            rejections.append(result)
        else:
            rows.append({**face_to_row(result), "hash": perceptual_hash(result.crop)})
    schema = _PART_SCHEMA.with_metadata(
        {
            _FINGERPRINT_KEY: chunk.fingerprint.encode(),
            _REJECTIONS_KEY: pack_rejections(rejections),
            SEAL: UNSEALED,
        }
    )
    with whole_file(chunk.path, sealed=True) as temporary:
        pq.write_table(
            pa.Table.from_pylist(rows, schema),
            temporary,
            use_dictionary=False,
            write_page_checksum=True,
        )
    return PartSummary(len(rows), rejections)


def finished_part(chunk: Chunk) -> PartSummary | None:
    """Return the summary of a part that an earlier run wrote, or None if no valid part exists."""
    try:
        with pq.ParquetFile(chunk.path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, OSError):
        return None
    metadata = schema.metadata or {}
    if metadata.get(_FINGERPRINT_KEY) != chunk.fingerprint.encode():
        return None
    if schema.names != _PART_SCHEMA.names:
        return None
    # A part without a valid checksum is made again, which takes at most a minute.
    if not has_valid_seal(chunk.path):
        return None
    return PartSummary(rows, unpack_rejections(metadata[_REJECTIONS_KEY]))


_worker: tuple[FaceConfig, FaceDetector] | None = None
"""Config and detector of this worker process, kept since loading dlib's models takes 130 MB."""


def start_worker(config: FaceConfig, factory: DetectorFactory) -> None:
    """Load the models in a worker process, and end the process when its parent ends."""
    global _worker
    # There is one process per core already, so that further threads would slow all of them down.
    os.environ["OMP_NUM_THREADS"] = "1"
    cv2.setNumThreads(1)
    keep_freed_memory()
    leave_with_parent()
    _worker = (config, factory(config))


def make_part_in_worker(chunk: Chunk) -> PartSummary:
    """Call `make_part` with the config and the models of this worker process.

    Raises:
        RuntimeError: `start_worker` was not called in this process.
    """
    if _worker is None:
        raise RuntimeError(
            "the face models are not loaded in this process; call start_worker before "
            "make_part_in_worker"
        )
    return make_part(chunk, *_worker)
