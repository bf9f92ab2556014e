"""One chunk of photographs becomes one part file; parts outlive a killed run.

A part is a Parquet file of candidates (rows of the face table and a column of hashes) whose
metadata holds the chunk's rejections and the fingerprint of the run that it belongs to. Worker
processes execute `start_worker` once and `make_part` for each chunk.
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
from miex.pipeline.faces.config import FaceConfig
from miex.pipeline.faces.detection import FaceDetector
from miex.pipeline.faces.filters import perceptual_hash
from miex.pipeline.faces.preparation import prepare_face
from miex.pipeline.faces.table import (
    SCHEMA,
    face_to_row,
    pack_rejections,
    unpack_rejections,
)
from miex.pipeline.workers import leave_with_parent

DetectorFactory = Callable[[FaceConfig], FaceDetector]

PART_SCHEMA = SCHEMA.append(pa.field("hash", pa.binary(32)))

_FINGERPRINT_KEY = b"miex.fingerprint"
_REJECTIONS_KEY = b"miex.rejections"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A unit of work.

    Attributes:
        path: The part file to write.
        fingerprint: Of the run; a part with another one is made again.
        photographs: What to prepare.
    """

    path: Path
    fingerprint: str
    photographs: tuple[Photograph, ...]


@dataclass(frozen=True, slots=True)
class PartSummary:
    """What a part says without reading its faces.

    Attributes:
        candidates: Faces that passed every filter of their own.
        rejections: The other photographs of the chunk.
    """

    candidates: int
    rejections: list[Rejection]


def make_part(chunk: Chunk, config: FaceConfig, detector: FaceDetector) -> PartSummary:
    """Prepares a chunk and writes its part file, at once or not at all."""
    rows: list[dict[str, object]] = []
    rejections: list[Rejection] = []
    for photograph in chunk.photographs:
        result = prepare_face(photograph, config, detector)
        if isinstance(result, Rejection):
            rejections.append(result)
        else:
            rows.append({**face_to_row(result), "hash": perceptual_hash(result.crop)})
    schema = PART_SCHEMA.with_metadata(
        {
            _FINGERPRINT_KEY: chunk.fingerprint.encode(),
            _REJECTIONS_KEY: pack_rejections(rejections),
        }
    )
    with whole_file(chunk.path) as temporary:
        pq.write_table(
            pa.Table.from_pylist(rows, schema),
            temporary,
            use_dictionary=False,
            write_page_checksum=True,
        )
    return PartSummary(len(rows), rejections)


def finished_part(chunk: Chunk) -> PartSummary | None:
    """The summary of a part that an earlier run finished, None if there is no valid one."""
    try:
        with pq.ParquetFile(chunk.path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, OSError):
        return None
    metadata = schema.metadata or {}
    if metadata.get(_FINGERPRINT_KEY) != chunk.fingerprint.encode():
        return None
    return PartSummary(rows, unpack_rejections(metadata[_REJECTIONS_KEY]))


_worker: tuple[FaceConfig, FaceDetector] | None = None
"""What a worker process keeps between chunks: dlib's models take 130 MB and most of a second."""


def start_worker(config: FaceConfig, factory: DetectorFactory) -> None:
    """Loads the models in a worker process, and ties its life to its parent's."""
    global _worker
    # As many processes as cores run already; threads inside each would only get in the way.
    os.environ["OMP_NUM_THREADS"] = "1"
    cv2.setNumThreads(1)
    leave_with_parent()
    _worker = (config, factory(config))


def make_part_in_worker(chunk: Chunk) -> PartSummary:
    """`make_part` with the models of this worker process."""
    if _worker is None:
        raise RuntimeError("start_worker has not run in this process")
    return make_part(chunk, *_worker)
